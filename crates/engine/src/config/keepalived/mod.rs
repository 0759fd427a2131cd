//! The reader for keepalived.conf: text in, a [`Tree`] of keywords and everything wrong with its form out.
//!
//! `tokens` cuts the text, `variables` fills in what the file defines, `tree` nests statements in blocks, `keywords` is
//! the table of everything Keepalived knows. What the statements mean is [`lower`](crate::config::lower::keepalived)'s.

pub mod codes;
pub mod keywords;
mod secrets;
mod tokens;
mod tree;
mod variables;

pub use tree::{Block, Statement, Tree, Word};

pub(crate) use tokens::unescape;

use crate::config::diagnostic::Diagnostic;
use crate::config::source::{SourceId, Sources, Span};

/// Reads the text `id` names, with what `variable` says of the environment. An id of other sources reads as an empty
/// text.
pub fn read(
    sources: &Sources,
    id: SourceId,
    variable: &dyn Fn(&str) -> Option<String>,
) -> (Tree, Vec<Diagnostic>) {
    let text = sources.get(id).map_or("", |source| source.text.as_str());
    let mut diagnostics = Vec::new();
    let tokens = tokens::tokens(id, text, &mut diagnostics);
    let tree = tree::grow(tokens, variable, &mut diagnostics);
    (tree, diagnostics)
}

/// The places of passwords and keys in the text `id` names, for [`Sources::mark_secret`].
///
/// It errs on the side of too many: a misspelt keyword or a forgotten brace must not print a password.
pub fn secrets(sources: &Sources, id: SourceId) -> Vec<Span> {
    sources.get(id).map_or_else(Vec::new, |source| secrets::secrets(id, &source.text))
}
