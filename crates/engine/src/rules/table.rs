//! Stick tables: what is remembered of the keys of connections.
//!
//! Owns [`StickTable`], its bounds and its forgetting, and [`Tracked`], which a connection holds while it is counted. A key
//! is forgotten when nobody has touched it for as long as the table says, or, where the table is full, when it is the one
//! that would be forgotten first. A key that is tracked is not forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plan::{Count, Expression, KeyKind, ServerIndex, Table, TableId};
use crate::rules::sample::{self, Value};
use crate::rules::{Context, Frequency};
use crate::time::Instant;

/// A key of a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// An IPv4 address.
    Ip(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A whole number.
    Integer(u32),
    /// A text or bytes.
    Bytes(Vec<u8>),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Ipv6(address) => address.fmt(f),
            Self::Integer(number) => number.fmt(f),
            // What could be taken for something else, or moves a terminal, is written as bytes.
            Self::Bytes(bytes) => bytes.iter().try_for_each(|byte| match byte {
                b'!'..=b'~' => write!(f, "{}", char::from(*byte)),
                other => write!(f, "\\{other:02X}"),
            }),
        }
    }
}

/// More has to arrive before there is an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

/// A table that connections share.
#[derive(Debug)]
pub struct SharedTable(Mutex<StickTable>);

/// What is remembered, key by key.
#[derive(Debug)]
pub struct StickTable {
    settings: Table,
    entries: BTreeMap<Key, Entry>,
    /// Keys that nobody tracks, by when they are forgotten.
    by_age: BTreeSet<(Instant, Key)>,
    /// Keys that found no place.
    refused: u64,
}

/// What a table remembers of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The key.
    pub key: Key,
    /// Connections that track it now.
    pub trackers: u32,
    /// When it is forgotten, unless somebody touches or tracks it; `None` is never.
    pub expires: Option<Duration>,
    /// The server that its connections go to.
    pub server: Option<ServerIndex>,
    /// What is counted, over which time where it is a rate.
    pub counts: Vec<(Count, Option<Duration>, u64)>,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    /// When it is forgotten, if nobody touches or tracks it.
    until: Instant,
    trackers: u32,
    server: Option<ServerIndex>,
    connections_total: u64,
    connections: u32,
    connection_rate: Frequency,
    sessions_total: u64,
    session_rate: Frequency,
}

/// A connection that is counted under a key, for as long as this lives.
#[derive(Debug)]
pub struct Tracked {
    table: Arc<SharedTable>,
    id: TableId,
    key: Key,
    /// When it was begun or ended, whichever is later: from then on the key grows old.
    at: Instant,
}

impl SharedTable {
    /// An empty table.
    pub fn new(settings: Table) -> Self {
        Self(Mutex::new(StickTable::new(settings)))
    }

    /// Takes the table for oneself, for a moment.
    pub fn lock(&self) -> MutexGuard<'_, StickTable> {
        // Every change to a table is whole before anything in it could panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StickTable {
    /// An empty table.
    pub fn new(settings: Table) -> Self {
        Self { settings, entries: BTreeMap::new(), by_age: BTreeSet::new(), refused: 0 }
    }

    /// Keys it remembers; some may be due to be forgotten.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it remembers nothing.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Keys that found no place so far, because the table was full.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// What it was made with.
    pub fn settings(&self) -> &Table {
        &self.settings
    }

    /// Some of what is remembered, in the order of the keys and from after `last` on.
    pub fn page(&self, last: Option<&Key>, most: usize, now: Instant) -> Vec<Remembered> {
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        let entries = self.entries.range((from, Bound::Unbounded));
        let alive = entries.filter(|(_, entry)| entry.is_alive(now));
        alive.take(most).map(|(key, entry)| self.remembered(key, entry, now)).collect()
    }

    /// What is remembered of one key.
    pub fn get(&self, key: &Key, now: Instant) -> Option<Remembered> {
        let entry = self.entries.get(key).filter(|entry| entry.is_alive(now))?;
        Some(self.remembered(key, entry, now))
    }

    fn remembered(&self, key: &Key, entry: &Entry, now: Instant) -> Remembered {
        let counts = self.settings.counts.iter();
        Remembered {
            key: key.clone(),
            trackers: entry.trackers,
            expires: self.settings.expire.map(|_| entry.until.since(now)),
            server: entry.server,
            counts: counts.map(|&(count, period)| (count, period, self.count(key, count, now))).collect(),
        }
    }

    /// Forgets one key, unless somebody tracks it; says whether somebody does.
    pub fn remove(&mut self, key: &Key) -> bool {
        let Some(entry) = self.entries.get(key) else { return false };
        if entry.trackers > 0 {
            return true;
        }
        self.by_age.remove(&(entry.until, key.clone()));
        self.entries.remove(key);
        false
    }

    /// Forgets everything that nobody tracks.
    pub fn clear(&mut self) {
        for (_, key) in std::mem::take(&mut self.by_age) {
            self.entries.remove(&key);
        }
    }

    /// A count; 0 for a key that is not there or where the table does not count this.
    pub fn count(&self, key: &Key, count: Count, now: Instant) -> u64 {
        let Some(entry) = self.entries.get(key).filter(|entry| entry.is_alive(now)) else { return 0 };
        match (count, self.period(count)) {
            (Count::Tracked, _) => 1,
            (Count::Trackers, _) => entry.trackers.into(),
            (_, None) => 0,
            (Count::ConnectionsTotal, _) => entry.connections_total,
            (Count::Connections, _) => entry.connections.into(),
            (Count::ConnectionRate, Some(period)) => entry.connection_rate.read(period, now).into(),
            (Count::SessionsTotal, _) => entry.sessions_total,
            (Count::SessionRate, Some(period)) => entry.session_rate.read(period, now).into(),
        }
    }

    /// The server that connections with this key go to. Asking for it makes the key young again.
    pub fn server(&mut self, key: &Key, now: Instant) -> Option<ServerIndex> {
        let server = self.entries.get(key).filter(|entry| entry.is_alive(now))?.server;
        self.touch(key, now);
        server
    }

    /// Sends connections with this key to `server` from now on.
    pub fn store(&mut self, key: &Key, server: ServerIndex, now: Instant) {
        if let Some(entry) = self.entry(key, now) {
            entry.server = Some(server);
            self.touch(key, now);
        }
    }

    /// Sets counts of a key to what an operator says; `false` when there is no place for the key.
    pub fn set(&mut self, key: &Key, counts: &[(Count, u64)], now: Instant) -> bool {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let Some(entry) = self.entry(key, now) else { return false };
        for &(count, value) in counts {
            match count {
                Count::ConnectionsTotal => entry.connections_total = value,
                Count::Connections => entry.connections = small(value),
                Count::ConnectionRate => entry.connection_rate = Frequency::of(small(value), now),
                Count::SessionsTotal => entry.sessions_total = value,
                Count::SessionRate => entry.session_rate = Frequency::of(small(value), now),
                // Who tracks a key is no count.
                Count::Tracked | Count::Trackers => {}
            }
        }
        self.touch(key, now);
        true
    }

    /// Counts a connection under a key; `false` when there is no place for the key.
    fn begin(&mut self, key: &Key, now: Instant) -> bool {
        let period = self.period(Count::ConnectionRate).unwrap_or_default();
        let Some(entry) = self.entry(key, now) else { return false };
        let age = (entry.until, key.clone());
        entry.trackers = entry.trackers.saturating_add(1);
        entry.connections = entry.connections.saturating_add(1);
        entry.connections_total = entry.connections_total.saturating_add(1);
        entry.connection_rate.count(period, now);
        self.by_age.remove(&age);
        true
    }

    /// The connection counts as a session, too.
    fn count_session(&mut self, key: &Key, now: Instant) {
        let period = self.period(Count::SessionRate).unwrap_or_default();
        if let Some(entry) = self.entries.get_mut(key) {
            entry.sessions_total = entry.sessions_total.saturating_add(1);
            entry.session_rate.count(period, now);
        }
    }

    /// A connection that was counted ended at `at`.
    fn end(&mut self, key: &Key, at: Instant) {
        let until = self.until(at);
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.until = entry.until.max(until);
        entry.connections = entry.connections.saturating_sub(1);
        entry.trackers = entry.trackers.saturating_sub(1);
        if entry.trackers == 0 {
            let until = entry.until;
            self.by_age.insert((until, key.clone()));
        }
    }

    /// Over which time something is counted; zero for what is no rate, `None` for what is not counted.
    fn period(&self, count: Count) -> Option<Duration> {
        let counts = &self.settings.counts;
        counts.iter().find(|(counted, _)| *counted == count).map(|(_, period)| period.unwrap_or_default())
    }

    /// The entry of a key, made if there is a place for it.
    fn entry(&mut self, key: &Key, now: Instant) -> Option<&mut Entry> {
        self.forget(now);
        if !self.entries.contains_key(key) {
            if self.entries.len() >= self.settings.size && !self.make_room() {
                self.refused = self.refused.saturating_add(1);
                return None;
            }
            let until = self.until(now);
            self.entries.insert(key.clone(), Entry { until, ..Entry::default() });
            self.by_age.insert((until, key.clone()));
        }
        self.entries.get_mut(key)
    }

    fn make_room(&mut self) -> bool {
        let oldest = if self.settings.purges { self.by_age.pop_first() } else { None };
        oldest.is_some_and(|(_, key)| self.entries.remove(&key).is_some())
    }

    /// Forgets what is due, a few keys at a time: each new key forgets more than it adds.
    fn forget(&mut self, now: Instant) {
        for _ in 0..FORGOTTEN_AT_ONCE {
            match self.by_age.first() {
                Some((until, _)) if *until <= now => {
                    if let Some((_, key)) = self.by_age.pop_first() {
                        self.entries.remove(&key);
                    }
                }
                _ => return,
            }
        }
    }

    fn touch(&mut self, key: &Key, now: Instant) {
        let until = self.until(now);
        if let Some(entry) = self.entries.get_mut(key) {
            let before = std::mem::replace(&mut entry.until, until);
            if entry.trackers == 0 {
                self.by_age.remove(&(before, key.clone()));
                self.by_age.insert((until, key.clone()));
            }
        }
    }

    fn until(&self, now: Instant) -> Instant {
        // Without `expire` the age still tells which key is the oldest: far enough away never to come.
        now + self.settings.expire.unwrap_or(NEVER)
    }
}

/// Keys that one new key makes the table look at: more than one, so that due keys do not pile up.
const FORGOTTEN_AT_ONCE: usize = 4;

/// Longer than any daemon runs.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.trackers > 0 || self.until > now
    }
}

impl Tracked {
    /// The connection ended.
    pub fn end(mut self, now: Instant) {
        self.at = now;
    }

    /// The connection was let in: it counts as a session of its key.
    pub fn count_session(&self, now: Instant) {
        self.table.lock().count_session(&self.key, now);
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.table.lock().end(&self.key, self.at);
    }
}

/// What an expression is as a key of a table; `None` where there is none, `Err` where there may be one later.
pub fn key_of(
    expression: &Expression,
    table: &Table,
    context: &Context<'_>,
) -> Result<Option<Key>, Undecided> {
    let sample = sample::take(expression, context);
    if sample.may_change {
        return Err(Undecided);
    }
    Ok(sample.value.and_then(|value| as_key(&value, table.keys)))
}

fn as_key(value: &Value<'_>, kind: KeyKind) -> Option<Key> {
    Some(match kind {
        KeyKind::Ip => Key::Ip(value.v4()?),
        KeyKind::Ipv6 => Key::Ipv6(value.v6()?),
        KeyKind::Integer => Key::Integer(u32::try_from(value.integer()?).ok()?),
        KeyKind::Text(most) => {
            let text = value.text()?;
            Key::Bytes(text.get(..most).unwrap_or(&text).to_vec())
        }
        KeyKind::Bytes(length) => {
            let mut bytes = match value {
                Value::Address(IpAddr::V4(address)) => address.octets().to_vec(),
                Value::Address(IpAddr::V6(address)) => address.octets().to_vec(),
                other => other.text()?.into_owned(),
            };
            bytes.resize(length, 0);
            Key::Bytes(bytes)
        }
    })
}

/// Counts the connection under what `key` is; `None` where there is no key or no place, `Err` where there may be later.
pub(super) fn track(
    key: &Expression,
    id: TableId,
    context: &Context<'_>,
) -> Result<Option<Tracked>, Undecided> {
    let index = usize::from(id.0);
    let tables = (context.serving.plan.tables.get(index), context.serving.tables.get(index));
    let (Some(settings), Some(table)) = tables else { return Ok(None) };
    let Some(key) = key_of(key, settings, context)? else { return Ok(None) };
    let begun = table.lock().begin(&key, context.now);
    Ok(begun.then(|| Tracked { table: Arc::clone(table), id, key, at: context.now }))
}

/// A count of what a connection is tracked under.
pub(super) fn tracked(context: &Context<'_>, slot: u8, table: Option<TableId>, count: Count) -> u64 {
    let Some(Some(tracked)) = context.counters.get(usize::from(slot)) else { return 0 };
    let table = match table.filter(|table| *table != tracked.id) {
        None => Some(&tracked.table),
        Some(other) => context.serving.tables.get(usize::from(other.0)),
    };
    table.map_or(0, |table| table.lock().count(&tracked.key, count, context.now))
}

/// A count of the client's address.
pub(super) fn of_source(context: &Context<'_>, id: TableId, count: Count) -> u64 {
    let index = usize::from(id.0);
    let tables = (context.serving.plan.tables.get(index), context.serving.tables.get(index));
    let (Some(settings), Some(table)) = tables else { return 0 };
    if context.source.ip().is_unspecified() {
        // It came by a socket of this machine.
        return 0;
    }
    let key = as_key(&Value::Address(context.source.ip()), settings.keys);
    key.map_or(0, |key| table.lock().count(&key, count, context.now))
}
