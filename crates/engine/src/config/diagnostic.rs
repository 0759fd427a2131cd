//! What is wrong with a configuration, where, and how to mend it.
//!
//! Owns [`Diagnostic`]; rendering is the shell's.

use serde::Serialize;

use crate::config::source::Span;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub level: Level,
    /// A stable code, such as `H012` (haproxy.cfg), `K003` (keepalived.conf) or `P001` (the plan as a whole).
    pub code: &'static str,
    /// One sentence without a full stop: what is wrong. Literals in backticks.
    pub message: String,
    /// Where; `None` when it is about no line in particular.
    pub span: Option<Span>,
    /// A few words at the caret: what was expected.
    pub label: String,
    /// Other places that matter: where the clashing line stands.
    pub related: Vec<(Span, String)>,
    /// How to mend it.
    pub hint: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Accepted and without effect here, which changes nothing that matters.
    Note,
    /// Accepted, but it does something else than the author may think.
    Warning,
    /// Refused.
    Error,
}
