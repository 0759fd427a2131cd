//! What rules say of a connection.
//!
//! Owns [`verdict`], which walks through the rules of one kind. The first one that accepts or rejects ends the walk; one
//! that is undecided stops it until more has arrived, and then all are asked anew.

use crate::plan::{Action, Condition, ConnectionRule};
use crate::rules::table::{Undecided, track};
use crate::rules::{Context, Counters, Outcome, outcome};

/// What the rules say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Accept,
    /// Close it.
    Reject,
    /// Ask again when more has arrived.
    Wait,
}

/// Whether a rule with this condition applies.
pub fn applies(condition: Option<&Condition>, context: &Context<'_>) -> Outcome {
    condition.map_or(Outcome::Yes, |condition| outcome(condition, context))
}

/// Asks rules in order. What they count for the connection is kept in `counters`; those of the context are not read.
pub fn verdict(rules: &[ConnectionRule], context: &Context<'_>, counters: &mut Counters) -> Verdict {
    for rule in rules {
        let context = Context { counters: &*counters, ..*context };
        match applies(rule.condition.as_ref(), &context) {
            Outcome::No => continue,
            Outcome::Undecided => return Verdict::Wait,
            Outcome::Yes => {}
        }
        match &rule.action {
            Action::Accept => return Verdict::Accept,
            Action::Reject => return Verdict::Reject,
            Action::Track { slot, key, table } => {
                // A counter that is taken keeps what it counts.
                let taken = counters.get(usize::from(*slot)).is_none_or(Option::is_some);
                if taken {
                    continue;
                }
                match track(key, *table, &context) {
                    Ok(tracked) => {
                        if let Some(counter) = counters.get_mut(usize::from(*slot)) {
                            *counter = tracked;
                        }
                    }
                    Err(Undecided) => return Verdict::Wait,
                }
            }
        }
    }
    Verdict::Accept
}
