//! The reader for haproxy.cfg: texts in, a [`Tree`] of sections and everything wrong with their form out.
//!
//! `tokens` cuts a line into words, `environment` fills in variables, `conditions` judges `.if` lines, `tree` collects
//! lines in sections, `keywords` is the table of everything HAProxy knows. What the lines mean is [`lower`](crate::config::lower::haproxy)'s.

pub mod codes;
mod conditions;
mod environment;
pub mod keywords;
mod secrets;
mod tokens;
mod tree;

pub use tree::{Kind, Prefix, Section, Statement, Tree, Word};

use crate::config::diagnostic::Diagnostic;
use crate::config::source::{SourceId, Sources, Span};

/// Reads the texts that `ids` name, one after the other. `variable` is the environment.
pub fn read(
    sources: &Sources,
    ids: &[SourceId],
    variable: &dyn Fn(&str) -> Option<String>,
) -> (Tree, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut grower = tree::Grower::new(variable, &mut diagnostics);
    for &id in ids {
        if let Some(source) = sources.get(id) {
            grower.read(id, source);
        }
    }
    (grower.finish(), diagnostics)
}

/// The places of passwords in the text `id` names, for [`Sources::mark_secret`].
///
/// It errs on the side of too many: a misspelt keyword must not print a password.
pub fn secrets(sources: &Sources, id: SourceId) -> Vec<Span> {
    sources.get(id).map_or_else(Vec::new, |source| secrets::secrets(id, &source.text))
}
