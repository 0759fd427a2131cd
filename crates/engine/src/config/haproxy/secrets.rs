//! Where passwords stand, so that nothing that quotes the file shows them.
//!
//! It looks at lines and not at the tree, because a file with a mistake in it is the one that gets quoted.

use crate::config::diagnostic::did_you_mean;
use crate::config::source::{SourceId, Span};

/// The rests of all lines that may hold a secret.
pub(super) fn secrets(source: SourceId, text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Some(from) = secret_start(line) {
            let until = line.trim_end().len();
            if from < until {
                spans.push(Span { source, start: offset(start + from), end: offset(start + until) });
            }
        }
        start += line.len();
    }
    spans
}

/// Where the rest of a line may be a secret: after `stats auth`, or after the word before a password.
fn secret_start(line: &str) -> Option<usize> {
    let mut end = 0;
    for word in line.split_inclusive(char::is_whitespace) {
        end += word.len();
        let word = word.trim().trim_matches(['"', '\'']);
        let like = |known: &str| did_you_mean(word, [known]).is_some();
        if NAMES.contains(&word) || like("password") || like("insecure-password") {
            return Some(end);
        }
    }
    None
}

/// Words that a secret follows, in `stats`, `userlist`, `bind`, `peers` and `global`.
const NAMES: [&str; 7] =
    ["auth", "ca-sign-pass", "cluster-secret", "dynamic-cookie-key", "anonkey", "key", "setenv"];

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
