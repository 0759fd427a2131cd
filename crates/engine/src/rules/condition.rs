//! Whether a condition holds.
//!
//! Owns [`outcome`]. As in HAProxy a test can be undecided as long as more may arrive; a row of terms ends at the first
//! one that does not hold or is undecided.

use crate::plan::{Acl, Condition, Term};
use crate::rules::{Context, pattern, sample};

/// What is known of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It does not hold.
    No,
    /// What arrives later may change it.
    Undecided,
    /// It holds.
    Yes,
}

/// Whether `condition` holds, `unless` taken into account.
pub fn outcome(condition: &Condition, context: &Context<'_>) -> Outcome {
    let mut best = Outcome::No;
    for terms in &condition.any {
        best = best.max(all(terms, context));
        if best == Outcome::Yes {
            break;
        }
    }
    if condition.unless { negate(best) } else { best }
}

fn all(terms: &[Term], context: &Context<'_>) -> Outcome {
    let outcomes = terms.iter().map(|term| {
        let outcome = acl(&term.acl, context);
        if term.negated { negate(outcome) } else { outcome }
    });
    let mut outcomes = outcomes.skip_while(|outcome| *outcome == Outcome::Yes);
    outcomes.next().unwrap_or(Outcome::Yes)
}

fn acl(acl: &Acl, context: &Context<'_>) -> Outcome {
    let mut best = Outcome::No;
    for test in &acl.tests {
        let sample = sample::take(&test.sample, context);
        if sample.value.is_some_and(|value| pattern::matches(&test.pattern, &value)) {
            return Outcome::Yes;
        }
        if sample.may_change {
            best = Outcome::Undecided;
        }
    }
    best
}

const fn negate(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::No => Outcome::Yes,
        Outcome::Undecided => Outcome::Undecided,
        Outcome::Yes => Outcome::No,
    }
}
