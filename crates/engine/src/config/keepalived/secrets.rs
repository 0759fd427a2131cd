//! Where passwords and keys stand, so that nothing that quotes the file shows them.
//!
//! It looks at lines and not at the tree, because a file with a mistake in it is the one that gets quoted.

use crate::config::diagnostic::did_you_mean;
use crate::config::source::{SourceId, Span};

/// The rests of all lines that may hold a secret.
pub(super) fn secrets(source: SourceId, text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        let mut end = 0;
        for word in line.split_inclusive(|c: char| c.is_whitespace() || c == '{' || c == '}') {
            let keyword = word.trim_matches(|c: char| c.is_whitespace() || c == '{' || c == '}');
            end += word.len();
            if word.ends_with('}') && keyword.is_empty() {
                inside = false;
            } else if BLOCKS.contains(&keyword) {
                inside = true;
            } else if names_secret(keyword) || (inside && is_foreign(keyword)) {
                // An unknown word inside the block may be the secret itself, on a line of its own.
                let from = if names_secret(keyword) { end } else { end - word.len() };
                let until = line.trim_end().len();
                if from < until {
                    spans.push(Span { source, start: offset(start + from), end: offset(start + until) });
                }
                break;
            }
        }
        inside &= !line.contains('}');
        start += line.len();
    }
    spans
}

const BLOCKS: [&str; 2] = ["authentication", "auth_hmac"];

fn names_secret(keyword: &str) -> bool {
    keyword != "auth_type"
        && !BLOCKS.contains(&keyword)
        && (did_you_mean(keyword, ["auth_pass", "password"]).is_some() || keyword == "key")
}

/// Neither a keyword of the block nor one of its harmless values.
fn is_foreign(word: &str) -> bool {
    !word.is_empty() && !HARMLESS.contains(&word) && !word.starts_with(['#', '!'])
}

const HARMLESS: [&str; 7] = ["auth_type", "PASS", "PASS;", "AH", "active_key", "time_window", "mode"];

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
