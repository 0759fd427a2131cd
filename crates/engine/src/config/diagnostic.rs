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

impl Diagnostic {
    /// An error at `span`: the configuration is refused.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Level::Error, code, Some(span), message.into())
    }

    /// A warning at `span`.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Level::Warning, code, Some(span), message.into())
    }

    /// A note at `span`.
    pub fn note(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Self::new(Level::Note, code, Some(span), message.into())
    }

    /// A finding about no line in particular.
    pub fn nowhere(level: Level, code: &'static str, message: impl Into<String>) -> Self {
        Self::new(level, code, None, message.into())
    }

    /// Says at the caret what was expected.
    #[must_use]
    pub fn label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// Points at another place that matters.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Says how to mend it.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn new(level: Level, code: &'static str, span: Option<Span>, message: String) -> Self {
        Self { level, code, message, span, label: String::new(), related: Vec::new(), hint: None }
    }
}

/// The word of `known` that `typed` was probably meant to be.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|word| (strsim::jaro_winkler(typed, word), word))
        .filter(|&(likeness, _)| likeness >= LIKE_ENOUGH)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, word)| word)
}

/// Below this, suggestions were more often wrong than right for the keywords of both languages.
const LIKE_ENOUGH: f64 = 0.8;

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

#[cfg(test)]
mod tests {
    use super::did_you_mean;

    #[test]
    fn suggests_the_likeliest_word_or_none() {
        let known = ["auth_pass", "auth_type", "priority"];
        assert_eq!(did_you_mean("uth_pass", known), Some("auth_pass"));
        assert_eq!(did_you_mean("prioritty", known), Some("priority"));
        assert_eq!(did_you_mean("balance", known), None);
    }
}
