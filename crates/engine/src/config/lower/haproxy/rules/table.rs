//! `stick-table` lines.

use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::config::lower::haproxy::value::time;
use crate::plan::{Count, KeyKind, Table};

/// What a table can be told.
const PARAMETERS: [&str; 7] = ["type", "size", "expire", "nopurge", "store", "peers", "srvkey"];

/// Counts that stay 0 in any table of a TCP proxy that does not change them itself: nothing is lost without them.
const IDLE_COUNTS: [&str; 16] = [
    "server_id",
    "server_key",
    "gpc",
    "gpc_rate",
    "gpc0",
    "gpc0_rate",
    "gpc1",
    "gpc1_rate",
    "gpt",
    "gpt0",
    "http_req_cnt",
    "http_req_rate",
    "http_err_cnt",
    "http_err_rate",
    "http_fail_cnt",
    "http_fail_rate",
];

/// Counts that HAProxy has and mainstay does not.
const OTHER_COUNTS: [&str; 4] = ["bytes_in_cnt", "bytes_in_rate", "bytes_out_cnt", "bytes_out_rate"];

const COUNTS: [(&str, Count); 5] = [
    ("conn_cnt", Count::ConnectionsTotal),
    ("conn_cur", Count::Connections),
    ("conn_rate", Count::ConnectionRate),
    ("sess_cnt", Count::SessionsTotal),
    ("sess_rate", Count::SessionRate),
];

/// Reads the table of the proxy `name`. One that has mistakes, which are reported, comes out as far as it is understood.
pub(super) fn read(name: &str, line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Table {
    let mut table = Table {
        name: name.to_owned(),
        keys: KeyKind::Ip,
        size: 0,
        expire: None,
        purges: true,
        counts: Vec::new(),
    };
    let (mut keys, mut words) = (None, line.values);
    while !words.is_empty() {
        let Some(length) = parameter(&mut table, &mut keys, words, reader) else { return table };
        words = words.get(length..).unwrap_or_default();
    }
    if keys.is_none() {
        reader.diagnostics.push(missing(line.whole(), "a stick table needs a `type`".to_owned()));
    } else if table.size == 0 {
        let message = "a stick table needs a `size` that is not 0".to_owned();
        reader.diagnostics.push(missing(line.whole(), message));
    }
    table.keys = keys.unwrap_or(KeyKind::Ip);
    table
}

/// Takes in the parameter that `words` start with; how many words it has, or `None` if that cannot be known.
fn parameter(
    table: &mut Table,
    keys: &mut Option<KeyKind>,
    words: &[Word],
    reader: &mut Reader<'_, '_>,
) -> Option<usize> {
    let (word, rest) = words.split_first()?;
    match (word.text.as_str(), rest.first()) {
        ("nopurge", _) => {
            table.purges = false;
            return Some(1);
        }
        ("type", Some(value)) => {
            let (kind, length) = key_kind(value, rest, reader);
            *keys = keys.or(kind);
            return Some(1 + length);
        }
        ("size", Some(value)) => match size(&value.text) {
            Some(size) => table.size = size,
            None => {
                let expected = "the size of a table is a number, perhaps with k, m or g";
                reader.diagnostics.push(bad_value(value, expected));
            }
        },
        ("expire", Some(value)) => match time(&value.text) {
            Ok((time, _)) => table.expire = Some(time).filter(|time| !time.is_zero()),
            Err(_) => reader.diagnostics.push(bad_value(value, "`expire` takes a time, such as 30m")),
        },
        ("store", Some(value)) => store(table, value, reader),
        (name @ ("peers" | "srvkey" | "write-to"), Some(_)) => {
            let message =
                format!("mainstay does not act on `{name}` of a table yet: it is this balancer's own");
            reader.diagnostics.push(Diagnostic::warning(codes::NOT_ACTED_ON, word.span, message));
        }
        (name, None) if PARAMETERS.contains(&name) => {
            reader.diagnostics.push(missing(word.span, format!("`{name}` needs a value")));
            return None;
        }
        (other, _) => {
            let message = format!("`stick-table` does not know `{other}`");
            let diagnostic = Diagnostic::error(codes::BAD_VALUE, word.span, message);
            reader.diagnostics.push(match did_you_mean(other, PARAMETERS) {
                Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                None => diagnostic.label("expected type, size, expire, nopurge or store"),
            });
            return None;
        }
    }
    Some(2)
}

/// The kind of keys, and how many words say it.
fn key_kind(value: &Word, words: &[Word], reader: &mut Reader<'_, '_>) -> (Option<KeyKind>, usize) {
    let make: fn(usize) -> KeyKind = match value.text.as_str() {
        "ip" => return (Some(KeyKind::Ip), 1),
        "ipv6" => return (Some(KeyKind::Ipv6), 1),
        "integer" => return (Some(KeyKind::Integer), 1),
        "string" => KeyKind::Text,
        "binary" => KeyKind::Bytes,
        _ => {
            let expected = "the `type` of a table is ip, ipv6, integer, string or binary";
            reader.diagnostics.push(bad_value(value, expected));
            // Something was said: that it is missing would be wrong.
            return (Some(KeyKind::Ip), 1);
        }
    };
    let default = if value.text == "string" { Table::KEY_BYTES } else { Table::KEY_BYTES + 1 };
    match words.get(1..3) {
        Some([len, length]) if len.text == "len" => {
            let bytes = length.text.parse().ok().filter(|bytes| (1..=LONGEST_KEY).contains(bytes));
            if bytes.is_none() {
                let expected = format!("the length of keys is from 1 to {LONGEST_KEY}");
                reader.diagnostics.push(bad_value(length, &expected));
            }
            (Some(make(bytes.unwrap_or(default))), 3)
        }
        _ => (Some(make(default)), 1),
    }
}

/// Bytes of one key: each of possibly a million is held in memory.
const LONGEST_KEY: usize = 16_384;

fn size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}

fn store(table: &mut Table, word: &Word, reader: &mut Reader<'_, '_>) {
    for item in word.text.split(',') {
        let (name, argument) = match item.split_once('(') {
            Some((name, rest)) => (name, Some(rest.trim_end_matches(')'))),
            None => (item, None),
        };
        if OTHER_COUNTS.contains(&name) {
            let message = format!("mainstay does not count `{name}` yet");
            reader.diagnostics.push(Diagnostic::warning(codes::NOT_ACTED_ON, word.span, message));
            continue;
        }
        if IDLE_COUNTS.contains(&name) {
            if name.starts_with("server_") {
                continue;
            }
            let message = format!("`{name}` has no effect: nothing here changes it, so it stays 0");
            reader.diagnostics.push(Diagnostic::note(codes::NO_EFFECT, word.span, message));
            continue;
        }
        let Some((_, count)) = COUNTS.iter().find(|(known, _)| *known == name) else {
            let message = format!("there is nothing called `{name}` to count");
            let diagnostic = Diagnostic::error(codes::BAD_VALUE, word.span, message);
            reader.diagnostics.push(match did_you_mean(name, COUNTS.iter().map(|(known, _)| *known)) {
                Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                None => diagnostic.label("expected conn_cnt, conn_cur, conn_rate, sess_cnt or sess_rate"),
            });
            continue;
        };
        let is_rate = name.ends_with("_rate");
        let period: Option<Duration> =
            argument.and_then(|argument| time(argument).ok()).map(|(time, _)| time);
        if is_rate != argument.is_some() || is_rate && period.is_none() {
            let message = match is_rate {
                true => format!("`{name}` needs a period, such as `{name}(10s)`"),
                false => format!("`{name}` takes no period"),
            };
            reader.diagnostics.push(Diagnostic::error(codes::BAD_VALUE, word.span, message));
        } else if table.counts.iter().any(|(known, _)| known == count) {
            let message = format!("`{name}` is counted already; the first period counts, as in HAProxy");
            reader.diagnostics.push(Diagnostic::warning(codes::GIVEN_TWICE, word.span, message));
        } else {
            table.counts.push((*count, period));
        }
    }
}
