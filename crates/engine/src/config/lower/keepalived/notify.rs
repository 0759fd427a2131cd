//! The `notify_*` keywords of instances and groups, and the FIFOs of `global_defs`.

use super::Globals;
use super::command::lower_arguments;
use super::fields::Fields;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::{Statement, codes};
use crate::plan::{Notify, NotifyFifo, NotifyScript, ScriptUser};

/// What an instance or a group says about notifications.
pub(super) fn lower_notify(
    fields: &Fields<'_>,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) -> Notify {
    let mut script = |name: &str| {
        fields
            .last(name)
            .and_then(|statement| lower_script(statement, globals.script_user.as_ref(), diagnostics))
    };
    Notify {
        master: script("notify_master"),
        backup: script("notify_backup"),
        fault: script("notify_fault"),
        stop: script("notify_stop"),
        any: script("notify"),
        lower_priority: script("notify_master_rx_lower_pri"),
        priority_changes: fields.flag_or("notify_priority_changes", globals.priority_changes),
    }
}

/// The FIFOs of `global_defs`.
pub(super) fn lower_fifos(
    fields: &Fields<'_>,
    default_user: Option<&ScriptUser>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<NotifyFifo> {
    let mut fifos: Vec<NotifyFifo> = Vec::new();
    for (fifo, script) in
        [("notify_fifo", "notify_fifo_script"), ("vrrp_notify_fifo", "vrrp_notify_fifo_script")]
    {
        let reader = fields.last(script);
        let Some(statement) = fields.last(fifo) else {
            if let Some(reader) = reader {
                let message = format!("`{script}` has no FIFO to read");
                diagnostics.push(
                    Diagnostic::warning(codes::FIFO, reader.keyword.span, message)
                        .label("is not run, as in Keepalived")
                        .hint(format!("add a line such as `{fifo} /run/mainstay-notify`")),
                );
            }
            continue;
        };
        let Some(path) = statement.values.first() else { continue };
        if fifos.iter().any(|other| other.path == path.text) {
            let message = format!("`{}` is the other FIFO already", path.text);
            diagnostics
                .push(Diagnostic::error(codes::FIFO, path.span, message).hint("give each a path of its own"));
            continue;
        }
        let script = reader.and_then(|reader| lower_script(reader, default_user, diagnostics));
        let script = script.map(|mut script| {
            script.arguments.push(path.text.clone());
            script
        });
        let user = user(statement).or_else(|| default_user.cloned());
        fifos.push(NotifyFifo { path: path.text.clone(), user, script });
    }
    fifos
}

/// `COMMAND [USER [GROUP]]`.
fn lower_script(
    statement: &Statement,
    default_user: Option<&ScriptUser>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<NotifyScript> {
    let arguments = lower_arguments(statement.values.first()?, diagnostics)?;
    Some(NotifyScript { arguments, user: user(statement).or_else(|| default_user.cloned()) })
}

/// The user and the group after the first value.
fn user(statement: &Statement) -> Option<ScriptUser> {
    let mut words = statement.values.iter().skip(1).map(|word| word.text.clone());
    Some(ScriptUser { user: words.next()?, group: words.next() })
}
