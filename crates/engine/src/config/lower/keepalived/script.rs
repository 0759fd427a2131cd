//! One `vrrp_script` block.

use std::time::Duration;

use super::command::lower_command;
use super::fields::Fields;
use super::tracking::weight_statement;
use super::{Globals, missing, script_user};
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::config::source::Span;
use crate::plan::{Script, ScriptCommand, TrackEffect};

/// A script, and what is known about it beside the plan.
#[derive(Debug)]
pub(super) struct KnownScript {
    /// What goes into the plan.
    pub(super) script: Script,
    /// Where its name stands.
    pub(super) span: Span,
    /// What it does to a router that tracks it without saying more.
    pub(super) effect: TrackEffect,
    /// Whether a router tracks it.
    pub(super) tracked: bool,
}

/// Makes a script of a block; `None` if it has no name. A block with mistakes still makes one, so that what tracks it
/// is not reported too.
pub(super) fn lower_script(
    statement: &Statement,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<KnownScript> {
    let name = statement.values.first()?;
    let fields = Fields::read(Place::Script, statement.statements(), diagnostics);
    let command = match fields.word("script") {
        Some(word) => lower_command(word, diagnostics),
        None => {
            if !fields.has("script") {
                let message = format!("script `{}` has no command", name.text);
                missing(
                    statement,
                    message,
                    "add a line such as `script \"/etc/keepalived/check.sh\"`",
                    diagnostics,
                );
            }
            None
        }
    };
    if let Some(init_fail) = fields.last("init_fail") {
        diagnostics.push(Diagnostic::note(
            codes::INIT_FAIL,
            init_fail.keyword.span,
            "`init_fail` has no effect: as in Keepalived, a script that an instance tracks starts undecided",
        ));
    }
    let interval = fields.integer("interval").unwrap_or(1);
    if interval > LONGEST_USUAL_INTERVAL
        && let Some(word) = fields.word("interval")
    {
        diagnostics.push(
            Diagnostic::warning(
                codes::ODD_TIME,
                word.span,
                format!("`interval` is in seconds: this script runs every {} minutes", interval / 60),
            )
            .hint("if milliseconds were meant, divide by 1000"),
        );
    }
    let effect = weight_statement(&fields, 0, 253, diagnostics);
    let script = Script {
        name: name.text.clone(),
        command: command.unwrap_or(ScriptCommand::Execute { arguments: Vec::new() }),
        interval: Duration::from_secs(interval),
        timeout: Duration::from_secs(fields.integer("timeout").unwrap_or(interval)),
        rise: fields.integer("rise").unwrap_or(1),
        fall: fields.integer("fall").unwrap_or(1),
        weight: effect.weight,
        user: script_user(fields.last("user")).or_else(|| globals.script_user.clone()),
    };
    Some(KnownScript { script, span: name.span, effect, tracked: false })
}

/// In seconds. A check that runs less often than this protects nothing, and `interval 3000` was seen in the wild.
const LONGEST_USUAL_INTERVAL: u64 = 300;
