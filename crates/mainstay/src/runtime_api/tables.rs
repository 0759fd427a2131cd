//! Answers about what stick tables remember, and commands that make them forget.

use std::fmt::Write as _;
use std::sync::Arc;

use mainstay_engine::Plan;
use mainstay_engine::plan::{Count, KeyKind, Level, Table};
use mainstay_engine::rules::{Key, Remembered, SharedTable, StickTable};

use super::Answers;
use crate::clock;

/// Keys that are looked at while connections wait for the table.
const PAGE: usize = 256;

/// Keys of one answer; what is beyond is not shown.
const SHOWN: usize = 100_000;

/// How HAProxy's names of counts are ordered in a line.
const NAMES: [(&str, Count); 5] = [
    ("conn_cnt", Count::ConnectionsTotal),
    ("conn_rate", Count::ConnectionRate),
    ("conn_cur", Count::Connections),
    ("sess_cnt", Count::SessionsTotal),
    ("sess_rate", Count::SessionRate),
];

/// `show table [<table> [key <key> | data.<type> <operator> <value>...]]`.
pub(super) fn show(answers: &Answers, arguments: &[&str], level: Level) -> String {
    let Some(proxy) = &answers.proxy else { return String::new() };
    let (tables, plan) = (proxy.tables(), proxy.plan());
    let Some((name, rest)) = arguments.split_first() else {
        // As in HAProxy, the last one comes first.
        return tables.iter().rev().map(|table| heading(&table.lock())).collect();
    };
    let Some(table) = find(&tables, name) else { return "No such table\n".to_owned() };
    let mut text = heading(&table.lock());
    if level < Level::Operator {
        text.push_str("# contents not dumped due to insufficient privileges\n");
        return text;
    }
    // Read before the match, which would hold the table until its end.
    let selection = Selection::read(rest, table.lock().settings());
    match selection {
        Err(sentence) => sentence,
        Ok(Selection::Key(key)) => {
            let found = table.lock().get(&key, clock::now());
            found.map_or_else(String::new, |found| text + &line(1, &found, name, &plan))
        }
        Ok(Selection::Filters(filters)) => {
            let mut number = 0;
            each(table, SHOWN, |found| {
                number += 1;
                if filters.iter().all(|filter| filter.fits(found)) {
                    text.push_str(&line(number, found, name, &plan));
                }
            });
            text
        }
    }
}

/// `clear table <table> [key <key> | data.<type> <operator> <value>...]`.
pub(super) fn clear(answers: &Answers, arguments: &[&str]) -> String {
    let Some(proxy) = &answers.proxy else { return String::new() };
    let Some((name, rest)) = arguments.split_first() else {
        return "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>\n"
            .to_owned();
    };
    let tables = proxy.tables();
    let Some(table) = find(&tables, name) else { return "No such table\n".to_owned() };
    let selection = Selection::read(rest, table.lock().settings());
    match selection {
        Err(sentence) => return sentence,
        Ok(Selection::Key(key)) => {
            if table.lock().remove(&key) {
                return "Entry currently in use, cannot remove\n".to_owned();
            }
        }
        Ok(Selection::Filters(filters)) if filters.is_empty() => table.lock().clear(),
        Ok(Selection::Filters(filters)) => {
            let mut keys = Vec::new();
            each(table, usize::MAX, |found| {
                if filters.iter().all(|filter| filter.fits(found)) {
                    keys.push(found.key.clone());
                }
            });
            for key in keys {
                table.lock().remove(&key);
            }
        }
    }
    String::new()
}

/// `set table <table> key <key> [data.<type> <value>]...`.
pub(super) fn set(answers: &Answers, arguments: &[&str]) -> String {
    let Some(proxy) = &answers.proxy else { return String::new() };
    let Some((name, rest)) = arguments.split_first() else {
        return "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n".to_owned();
    };
    let tables = proxy.tables();
    let Some(table) = find(&tables, name) else { return "No such table\n".to_owned() };
    let settings = table.lock().settings().clone();
    let (key, values) = match rest {
        [] => return String::new(),
        ["key"] => return "Key value expected\n".to_owned(),
        ["key", text, values @ ..] => (key(text, settings.keys), values),
        _ => {
            return "content-based lookup is only supported with the \"show\" and \"clear\" actions\n"
                .to_owned();
        }
    };
    let Some(key) = key else { return "The key is none of this table\n".to_owned() };
    let mut counts = Vec::new();
    for words in values.chunks(2) {
        match count_to_set(words, &settings) {
            Ok(count) => counts.push(count),
            Err(sentence) => return sentence.to_owned(),
        }
    }
    if table.lock().set(&key, &counts, clock::now()) {
        String::new()
    } else {
        "Unable to allocate a new entry\n".to_owned()
    }
}

fn count_to_set(words: &[&str], table: &Table) -> Result<(Count, u64), &'static str> {
    let name = words.first().and_then(|word| word.strip_prefix("data."));
    let name = name.ok_or("\"data.<type>\" followed by a value expected\n")?;
    let known = NAMES.into_iter().find(|(known, _)| *known == name);
    let (_, count) = known.ok_or("Unknown data type\n")?;
    if !table.counts.iter().any(|(counted, _)| *counted == count) {
        return Err("Data type not stored in this table\n");
    }
    let value = words.get(1).and_then(|value| value.parse().ok());
    Ok((count, value.ok_or("Require a valid integer value to store\n")?))
}

fn find<'a>(tables: &'a [Arc<SharedTable>], name: &str) -> Option<&'a Arc<SharedTable>> {
    tables.iter().find(|table| table.lock().settings().name == name)
}

/// Looks at every key, without holding the table for long.
fn each(table: &SharedTable, most: usize, mut look: impl FnMut(&Remembered)) {
    let (mut last, mut seen): (Option<Key>, usize) = (None, 0);
    while seen < most {
        let page = table.lock().page(last.as_ref(), PAGE, clock::now());
        page.iter().for_each(&mut look);
        let Some(end) = page.last() else { return };
        seen = seen.saturating_add(page.len());
        last = Some(end.key.clone());
    }
}

fn heading(table: &StickTable) -> String {
    let Table { name, keys, size, .. } = table.settings();
    let kind = match keys {
        KeyKind::Ip => "ip",
        KeyKind::Ipv6 => "ipv6",
        KeyKind::Integer => "integer",
        KeyKind::Text(_) => "string",
        KeyKind::Bytes(_) => "binary",
    };
    format!("# table: {name}, type: {kind}, size:{size}, used:{}\n", table.len())
}

fn line(number: usize, found: &Remembered, table: &str, plan: &Plan) -> String {
    let expires = found.expires.map_or(0, |time| time.as_millis());
    let mut text = format!("0x{number:x}: key={} use={} exp={expires}", found.key, found.trackers);
    if let Some(server) = found.server {
        // The pool whose table it is, or the first one that has such a server.
        let pool = plan.pools.iter().find(|pool| pool.name == table);
        let name = pool.and_then(|pool| pool.servers.get(usize::from(server.0))).map(|server| &server.name);
        let _ = write!(text, " server_id={}", u32::from(server.0).saturating_add(1));
        if let Some(name) = name {
            let _ = write!(text, " server_key={name}");
        }
    }
    for (name, count) in NAMES {
        if let Some((_, period, value)) = found.counts.iter().find(|(counted, ..)| *counted == count) {
            let _ = match period {
                Some(period) => write!(text, " {name}({})={value}", period.as_millis()),
                None => write!(text, " {name}={value}"),
            };
        }
    }
    text + "\n"
}

/// Which keys a command is about.
#[derive(Debug)]
enum Selection {
    /// This one.
    Key(Key),
    /// Those that pass all of these.
    Filters(Vec<Filter>),
}

#[derive(Debug)]
struct Filter {
    count: Count,
    operator: fn(&u64, &u64) -> bool,
    value: u64,
}

impl Filter {
    fn fits(&self, found: &Remembered) -> bool {
        let counted = found.counts.iter().find(|(counted, ..)| *counted == self.count);
        counted.is_some_and(|(.., value)| (self.operator)(value, &self.value))
    }
}

impl Selection {
    fn read(words: &[&str], table: &Table) -> Result<Self, String> {
        match words {
            ["key"] => Err("Key value expected\n".to_owned()),
            ["key", text, ..] => key(text, table.keys).map(Self::Key).ok_or_else(String::new),
            _ => Self::filters(words, table),
        }
    }

    fn filters(words: &[&str], table: &Table) -> Result<Self, String> {
        let mut filters = Vec::new();
        for (number, words) in (1..).zip(words.chunks(3)) {
            let problem = |text: &str| Err(format!("Filter entry #{number}: {text}\n"));
            let Some(name) = words.first().and_then(|word| word.strip_prefix("data.")) else {
                return Err(
                    "Optional argument only supports \"data.<store_data_type>\" <operator> <value> and key \
                            <key>\n"
                        .to_owned(),
                );
            };
            let Some((_, count)) = NAMES.into_iter().find(|(known, _)| *known == name) else {
                return problem("Unknown data type");
            };
            if !table.counts.iter().any(|(counted, _)| *counted == count) {
                return problem("Data type not stored in this table");
            }
            let operator: fn(&u64, &u64) -> bool = match words.get(1) {
                Some(&"eq") => u64::eq,
                Some(&"ne") => u64::ne,
                Some(&"le") => u64::le,
                Some(&"ge") => u64::ge,
                Some(&"lt") => u64::lt,
                Some(&"gt") => u64::gt,
                _ => {
                    return problem(
                        "Require and operator among \"eq\", \"ne\", \"le\", \"ge\", \"lt\", \"gt\"",
                    );
                }
            };
            let Some(value) = words.get(2).and_then(|value| value.parse().ok()) else {
                return problem("Require a valid integer value to compare against");
            };
            filters.push(Filter { count, operator, value });
        }
        Ok(Self::Filters(filters))
    }
}

/// A key as a person writes it.
fn key(text: &str, kind: KeyKind) -> Option<Key> {
    match kind {
        KeyKind::Ip => text.parse().ok().map(Key::Ip),
        KeyKind::Ipv6 => text.parse().ok().map(Key::Ipv6),
        KeyKind::Integer => text.parse().ok().map(Key::Integer),
        KeyKind::Text(length) => Some(Key::Bytes(text.bytes().take(length).collect())),
        KeyKind::Bytes(_) => None,
    }
}
