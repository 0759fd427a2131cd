//! Where passwords and keys stand, so that nothing that quotes the file shows them.
//!
//! It looks at lines and not at the tree, because a file with a mistake in it is the one that gets quoted.

use crate::config::diagnostic::did_you_mean;
use crate::config::source::{SourceId, Span};

/// The rests of all lines that may hold a secret.
pub(super) fn secrets(source: SourceId, text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut start = 0;
    let mut inside = None;
    for line in text.split_inclusive('\n') {
        if let Some(from) = secret_from(line, &mut inside) {
            let until = line.trim_end().len();
            if from < until {
                spans.push(Span { source, start: offset(start + from), end: offset(start + until) });
            }
        }
        if closes_block(line) {
            inside = None;
        }
        start += line.len();
    }
    spans
}

/// Where the secret of a line begins, if it may hold one. `inside` is the block it stands in, if that holds secrets.
fn secret_from<'a>(line: &'a str, inside: &mut Option<&'a str>) -> Option<usize> {
    let mut end = 0;
    for word in line.split_inclusive(|c: char| c.is_whitespace() || c == '{' || c == '}') {
        let keyword = word.trim_matches(|c: char| c.is_whitespace() || c == '{' || c == '}');
        let start = end;
        end += word.len();
        if word.ends_with('}') && keyword.is_empty() {
            *inside = None;
        } else if BLOCKS.contains(&keyword) {
            *inside = Some(keyword);
        } else if keyword == "key" && names_file(line.get(end..).unwrap_or_default()) {
            return None;
        } else if names_secret(keyword) {
            return Some(end);
        } else if keyword.contains("hex:") || inside.is_some_and(|block| is_foreign(block, keyword)) {
            // An unknown word inside the block may be the secret itself, on a line of its own.
            return Some(start);
        }
    }
    None
}

const BLOCKS: [&str; 2] = ["authentication", "auth_hmac"];

fn names_secret(keyword: &str) -> bool {
    keyword != "auth_type"
        && !BLOCKS.contains(&keyword)
        && (did_you_mean(keyword, ["auth_pass", "password"]).is_some() || keyword == "key")
}

/// Whether what follows `key` is a number and the name of the file that holds the key: the name is no secret, and
/// findings about the file are.
fn names_file(values: &str) -> bool {
    let Some((number, value)) = values.trim().split_once(char::is_whitespace) else { return false };
    let Some(path) = value.trim_start().strip_prefix("file:") else { return false };
    let path =
        path.strip_prefix("${_ENV ").and_then(|from_name| from_name.split_once('}')).map_or(path, |it| it.1);
    number.parse::<u8>().is_ok() && !path.contains(|c: char| c.is_whitespace() || "{}\"#!".contains(c))
}

/// Whether a line has a `}` that ends a block; that of `${NAME}` does not.
fn closes_block(line: &str) -> bool {
    let mut rest = line;
    while let Some((before, reference)) = rest.split_once("${") {
        if before.contains('}') {
            return true;
        }
        rest = reference.split_once('}').map_or("", |(_, after)| after);
    }
    rest.contains('}')
}

/// Neither a keyword of the block nor one of its harmless values.
fn is_foreign(block: &str, word: &str) -> bool {
    let harmless = if block == "auth_hmac" { HARMLESS_HMAC.as_slice() } else { HARMLESS.as_slice() };
    // No key is as short as its number, but a password may be.
    let number = block == "auth_hmac" && word.parse::<u8>().is_ok();
    !word.is_empty() && !number && !harmless.contains(&word) && !word.starts_with(['#', '!'])
}

const HARMLESS: [&str; 4] = ["auth_type", "PASS", "PASS;", "AH"];

const HARMLESS_HMAC: [&str; 9] = [
    "active_key",
    "anti_replay",
    "time",
    "monotonic",
    "time_window",
    "mode",
    "enforce",
    "permissive",
    "receive-only",
];

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
