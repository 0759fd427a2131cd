//! Bytes and expressions that checks send and look for.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::line::bad_value;
use crate::plan::Regex;

/// Whether HAProxy would put in what is only known when the check runs.
pub(super) fn is_format(word: &Word) -> bool {
    word.text.contains('%')
}

/// Bytes written as hexadecimal digits.
pub(super) fn of_digits(word: &Word) -> Result<Vec<u8>, Box<Diagnostic>> {
    let text = word.text.as_bytes();
    let pairs = text.chunks(2).map(|pair| {
        let [high, low] = *pair else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        u8::try_from(digit(high)? * 16 + digit(low)?).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    let problem = || Box::new(bad_value(word, "bytes are pairs of hexadecimal digits, such as 2b504f4e47"));
    bytes.filter(|bytes| !bytes.is_empty()).ok_or_else(problem)
}

/// A regular expression.
pub(super) fn regex(word: &Word) -> Result<Regex, Box<Diagnostic>> {
    Regex::new(&word.text, false).map_err(|reason| {
        let message = format!("`{}` is no regular expression: {reason}", word.text);
        Box::new(
            Diagnostic::error(codes::BAD_EXPRESSION, word.span, message)
                .label("cannot be read")
                .hint("it has to be one without look-around and back-references"),
        )
    })
}
