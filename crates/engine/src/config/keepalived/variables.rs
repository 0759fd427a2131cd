//! Variables of a keepalived.conf: `$NAME=value` lines, and `$NAME` or `${NAME}` in others; `${_ENV NAME}` is the
//! environment's.
//!
//! As in Keepalived, a name that is not defined stands for itself, so that `$` needs no escape in a password or a
//! command. Definitions over several lines, `~SEQ` and `~LST` are refused.

use std::collections::BTreeMap;

use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::codes;
use crate::config::keepalived::tree::Word;
use crate::config::source::Span;
use crate::limits;

/// What is defined so far.
pub(super) struct Variables<'a> {
    environment: &'a dyn Fn(&str) -> Option<String>,
    values: BTreeMap<String, String>,
}

impl<'a> Variables<'a> {
    /// Nothing is defined but what `environment` says of a name.
    pub(super) fn new(environment: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { environment, values: BTreeMap::new() }
    }

    /// The words of a line with their variables filled in; `None` if the line was a definition.
    pub(super) fn expand(
        &mut self,
        words: Vec<Word>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Vec<Word>> {
        if let Some((name, first)) = words.first().and_then(|word| definition(&word.text)) {
            let (name, first) = (name.to_owned(), first.to_owned());
            self.define(name, first, &words, diagnostics);
            return None;
        }
        let mut expanded = Vec::with_capacity(words.len());
        for word in words {
            if word.text.starts_with("~SEQ(") || word.text.starts_with("~LST(") {
                diagnostics.push(
                    Diagnostic::error(codes::VARIABLE, word.span, "`~SEQ` and `~LST` are not understood")
                        .hint("write the lines out"),
                );
                return None;
            }
            if word.text.contains('$') {
                self.expand_word(&word, &mut expanded, diagnostics);
            } else {
                expanded.push(word);
            }
        }
        Some(expanded)
    }

    fn define(&mut self, name: String, first: String, words: &[Word], diagnostics: &mut Vec<Diagnostic>) {
        let rest = words.iter().skip(1).map(|word| word.text.as_str());
        let text = std::iter::once(first.as_str()).chain(rest).collect::<Vec<_>>().join(" ");
        if let Some(value) = words.first().and_then(|word| self.filled_in(&text, word.span, diagnostics)) {
            self.values.insert(name, value.trim().to_owned());
        }
    }

    fn expand_word(&self, word: &Word, into: &mut Vec<Word>, diagnostics: &mut Vec<Diagnostic>) {
        let Some(text) = self.filled_in(&word.text, word.span, diagnostics) else { return };
        if let Some(name) = environment_name(&text) {
            diagnostics.push(
                Diagnostic::error(
                    codes::VARIABLE,
                    word.span,
                    format!("the environment has no variable `{name}`"),
                )
                .label("nothing to fill in")
                .hint("systemd sets CREDENTIALS_DIRECTORY for a unit that loads credentials; elsewhere, set it first"),
            );
            into.push(Word { filled: false, ..word.clone() });
        } else if !word.quoted && text.split_once("${").is_some_and(|(_, after)| after.contains('}')) {
            diagnostics.push(
                Diagnostic::error(codes::VARIABLE, word.span, "this variable is not defined in this file")
                    .label("stands for itself in Keepalived")
                    .hint("define it in a `$NAME=value` line above, or fill in the template first"),
            );
            into.push(Word { filled: false, ..word.clone() });
        } else if word.quoted || text == word.text {
            into.push(Word { text, ..word.clone() });
        } else {
            into.extend(text.split_whitespace().map(|part| Word { text: part.to_owned(), ..word.clone() }));
        }
    }

    /// `text` with the values of defined variables; `None` if it grew too long.
    fn filled_in(&self, text: &str, span: Span, diagnostics: &mut Vec<Diagnostic>) -> Option<String> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(dollar) = rest.find('$') {
            let (before, from_dollar) = rest.split_at(dollar);
            filled.push_str(before);
            let (reference, name) = reference(from_dollar);
            match environment_name(reference) {
                Some(name) => filled.push_str((self.environment)(name).as_deref().unwrap_or(reference)),
                None => filled.push_str(self.values.get(name).map_or(reference, String::as_str)),
            }
            rest = from_dollar.get(reference.len()..).unwrap_or_default();
            if filled.len() > limits::CONFIG_WORD_BYTES {
                diagnostics.push(
                    Diagnostic::error(codes::TOO_MANY, span, "this text grows too long with its variables")
                        .label(format!("more than {} bytes", limits::CONFIG_WORD_BYTES)),
                );
                return None;
            }
        }
        filled.push_str(rest);
        Some(filled)
    }
}

/// The name in the first `${_ENV NAME}` of `text`.
fn environment_name(text: &str) -> Option<&str> {
    let (_, after) = text.split_once("${_ENV ")?;
    after.split_once('}').map(|(name, _)| name.trim())
}

/// Name and start of the value, if `word` starts a definition.
fn definition(word: &str) -> Option<(&str, &str)> {
    let (name, value) = word.strip_prefix('$')?.split_once('=')?;
    let is_name = name.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic())
        && name.chars().all(|other| other == '_' || other.is_ascii_alphanumeric());
    is_name.then_some((name, value))
}

/// The reference at the start of `text`, which starts with `$`, and the name in it.
fn reference(text: &str) -> (&str, &str) {
    let after = text.get(1..).unwrap_or_default();
    if let Some(braced) = after.strip_prefix('{')
        && let Some(end) = braced.find('}')
    {
        return (text.get(..end + 3).unwrap_or(text), braced.get(..end).unwrap_or_default());
    }
    let length = after.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(after.len());
    (text.get(..length + 1).unwrap_or(text), after.get(..length).unwrap_or_default())
}
