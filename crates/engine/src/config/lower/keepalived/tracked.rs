//! The `track_file` and `vrrp_track_process` blocks.

use std::time::Duration;

use super::fields::{Fields, integer};
use super::missing;
use super::tracking::{KnownTracked, weight_statement};
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::plan::{InitialValue, Parameters, ProcessMatch, ProcessTarget, TrackedFile, TrackedProcess};

/// Makes a tracked file of a block; `None` if it has no name.
pub(super) fn lower_file(
    statement: &Statement,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(TrackedFile, KnownTracked)> {
    let name = statement.values.first()?;
    let fields = Fields::read(Place::TrackFile, statement.statements(), diagnostics);
    if !fields.has("file") {
        let message = format!("track file `{}` has no file", name.text);
        missing(statement, message, "add a line such as `file \"/run/priority\"`", diagnostics);
    }
    let file = TrackedFile {
        name: name.text.clone(),
        path: fields.word("file").map(|word| word.text.clone()).unwrap_or_default(),
        initial: fields.last("init_file").map(|line| initial_value(line, diagnostics)),
    };
    let effect = weight_statement(&fields, 1, 254, diagnostics);
    Some((file, KnownTracked { name: name.text.clone(), span: name.span, effect, tracked: false }))
}

/// `init_file [VALUE] [overwrite]`.
fn initial_value(line: &Statement, diagnostics: &mut Vec<Diagnostic>) -> InitialValue {
    let mut initial = InitialValue { value: 0, overwrite: false };
    for word in &line.values {
        match integer(&word.text).and_then(|value| i32::try_from(value).ok()) {
            Some(value) => initial.value = value,
            None if word.text == "overwrite" => initial.overwrite = true,
            None => diagnostics.push(
                Diagnostic::error(
                    codes::BAD_VALUE,
                    word.span,
                    format!("`init_file` takes a whole number and `overwrite`, not `{}`", word.text),
                )
                .label("neither"),
            ),
        }
    }
    initial
}

/// Makes tracked processes of a block; `None` if it has no name.
pub(super) fn lower_process(
    statement: &Statement,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(TrackedProcess, KnownTracked)> {
    let name = statement.values.first()?;
    let fields = Fields::read(Place::TrackProcess, statement.statements(), diagnostics);
    if !fields.has("process") {
        let message = format!("track process `{}` has no process", name.text);
        missing(statement, message, "add a line such as `process nginx`", diagnostics);
    }
    let delay = |name| fields.seconds(name).or_else(|| fields.seconds("delay")).unwrap_or(Duration::ZERO);
    let (quorum, quorum_max) = quorum(&fields, diagnostics);
    let process = TrackedProcess {
        name: name.text.clone(),
        target: target(&fields, diagnostics),
        quorum,
        quorum_max,
        fork_delay: delay("fork_delay"),
        terminate_delay: delay("terminate_delay"),
    };
    let effect = weight_statement(&fields, 0, 254, diagnostics);
    Some((process, KnownTracked { name: name.text.clone(), span: name.span, effect, tracked: false }))
}

fn target(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> ProcessTarget {
    let mut words = fields.last("process").into_iter().flat_map(|line| &line.values);
    let Some(command) = words.next() else {
        return ProcessTarget::Matching(ProcessMatch { command: String::new(), command_line: None });
    };
    let parameters: Vec<String> = words.map(|word| word.text.clone()).collect();
    let kind = fields.last("param_match").map(|line| line.values.first());
    let command_line = match kind {
        Some(Some(word)) => match word.text.as_str() {
            "partial" => Some(Parameters::Beginning(parameters)),
            "initial" => Some(Parameters::Initial(parameters)),
            _ => {
                let message = format!("`param_match` takes initial or partial, not `{}`", word.text);
                diagnostics.push(Diagnostic::error(codes::BAD_VALUE, word.span, message).label("neither"));
                None
            }
        },
        Some(None) => Some(Parameters::Exactly(parameters)),
        None if !parameters.is_empty() => Some(Parameters::Exactly(parameters)),
        None => fields.has("full_command").then_some(Parameters::Any),
    };
    let is_haproxy = command.text.rsplit('/').next() == Some("haproxy");
    if is_haproxy && matches!(command_line, None | Some(Parameters::Any)) {
        let message = "`haproxy` means mainstay's own data plane, which is one process while it serves";
        diagnostics.push(
            Diagnostic::note(codes::DATA_PLANE_PROCESS, command.span, message)
                .label("without a frontend, processes of that name are counted"),
        );
        return ProcessTarget::DataPlane(ProcessMatch { command: command.text.clone(), command_line });
    }
    ProcessTarget::Matching(ProcessMatch { command: command.text.clone(), command_line })
}

fn quorum(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> (u32, u32) {
    let most = fields.integer("quorum_max").unwrap_or(u32::MAX);
    let least = fields.integer("quorum").unwrap_or(most.min(1));
    if let Some(line) = fields.last("quorum_max").filter(|_| least > most) {
        diagnostics.push(
            Diagnostic::error(
                codes::QUORUM,
                line.span(),
                format!("at most {most} processes can never be the {least} that `quorum` asks for"),
            )
            .hint("make `quorum_max` at least `quorum`"),
        );
    }
    (least, most)
}
