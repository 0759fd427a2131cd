//! `server-template` lines: so many servers of one name.
//!
//! Owns [`lower_template`], which makes each a [`ServerLine`] as if it had been written out.

use std::ops::RangeInclusive;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::line::{Line, bad_value};
use crate::config::lower::haproxy::sections::check_name;
use crate::config::lower::haproxy::server::{Parameters, ServerLine};
use crate::limits;

/// The servers of one line.
pub(super) fn lower_template<'a>(
    line: &Line<'a>,
    defaults: &Parameters<'a>,
    reader: &mut Reader<'_, '_>,
) -> Vec<ServerLine<'a>> {
    let [prefix, count, written, rest @ ..] = line.values else { return Vec::new() };
    check_name(prefix, "a server", reader.diagnostics);
    let Some(numbers) = numbers(&count.text) else {
        reader.diagnostics.push(
            bad_value(count, "a number of servers, or a range of numbers was expected")
                .label("such as `3`, or `1-3`"),
        );
        return Vec::new();
    };
    if numbers.clone().count() > limits::SERVERS_PER_POOL {
        reader.diagnostics.push(
            Diagnostic::error(codes::TOO_MANY, count.span, "too many servers in one section")
                .label(format!("more than {}", limits::SERVERS_PER_POOL)),
        );
        return Vec::new();
    }
    // What is wrong with all of them is said once.
    let Some(first) = ServerLine::make(prefix.clone(), written, rest, line.whole(), defaults, reader) else {
        return Vec::new();
    };
    let named = |number| Word { text: format!("{}{number}", prefix.text), ..prefix.clone() };
    numbers.map(|number| ServerLine { name: named(number), ..first.clone() }).collect()
}

/// `3`, which is `1-3`, or `2-5`.
fn numbers(text: &str) -> Option<RangeInclusive<u32>> {
    let range = match text.split_once('-') {
        None => 1..=text.parse().ok()?,
        Some((low, high)) => low.parse().ok()?..=high.parse().ok()?,
    };
    (!range.is_empty()).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::numbers;

    #[test]
    fn a_number_counts_from_one() {
        assert_eq!([numbers("3"), numbers("0-2"), numbers("7-7")], [Some(1..=3), Some(0..=2), Some(7..=7)]);
        assert_eq!(["0", "3-1", "x", "1-", "-3", "3x", ""].map(numbers), [const { None }; 7]);
    }
}
