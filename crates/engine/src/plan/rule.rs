//! Rules on connections: who is let in, where they go, what is remembered of them.
//!
//! Data only; [`rules`](crate::rules) evaluates it.

use std::time::Duration;

use serde::Serialize;

use crate::plan::{AccessRule, Condition, Count, Expression, PoolId, ServerIndex};

/// Index of a [`Table`] in its [`Plan`](crate::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TableId(pub u16);

/// The rules of a frontend, in the order in which they are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrontendRules {
    /// On connections as they come (`tcp-request connection`).
    pub connection: Vec<ConnectionRule>,
    /// On connections whose client is known (`tcp-request session`).
    pub session: Vec<ConnectionRule>,
    /// On what clients send.
    pub content: Inspection,
    /// Where connections go; the first one that applies counts (`use_backend`).
    pub switches: Vec<Switch>,
    /// Any of them makes `monitor-uri` say that the service is down (`monitor fail`).
    pub monitor_fail: Vec<Condition>,
    /// Requests that any of these applies to are answered with metrics (`http-request use-service prometheus-exporter`).
    pub exporter: Vec<Option<Condition>>,
    /// Who may see its page of statistics, in order; everybody where none applies (`stats auth`, `stats http-request`).
    pub stats_access: Vec<AccessRule>,
    /// Who may change servers by way of that page: whom any of these holds for (`stats admin`).
    pub stats_admin: Vec<Condition>,
    /// New connections in a second; more wait in the listen backlog (`rate-limit sessions`).
    pub sessions_per_second: Option<u32>,
}

/// The rules of a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolRules {
    /// On what clients send.
    pub content: Inspection,
    /// Connections that go to one server while it works; the first one that applies counts (`use-server`).
    pub servers: Vec<ServerRule>,
    /// Connections that go where others of their kind went (`stick`).
    pub stick: Vec<Stick>,
    /// What decides about the server (`balance hash`).
    pub hash: Option<Expression>,
}

/// Rules that wait for what a client sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// How long a client may take to send what they look at (`tcp-request inspect-delay`).
    pub delay: Option<Duration>,
    /// Asked in order, from the first one whenever more has arrived (`tcp-request content`).
    pub rules: Vec<ConnectionRule>,
}

/// What to do with a connection, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionRule {
    /// What to do.
    pub action: Action,
    /// When; always without one.
    pub condition: Option<Condition>,
}

/// What can be done with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Let it in: no further rule of this kind is asked.
    Accept,
    /// Close it.
    Reject,
    /// Count it under a key of a table, as long as it lives (`track-sc0` to `track-sc2`).
    Track {
        /// In which of the counters of the connection.
        slot: u8,
        /// The key.
        key: Expression,
        /// The table.
        table: TableId,
    },
}

/// A pool that some connections go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The pool; `None` is a backend without a server.
    pub pool: Option<PoolId>,
    /// When; always without one.
    pub condition: Option<Condition>,
}

/// A server that some connections go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRule {
    /// The server.
    pub server: ServerIndex,
    /// When.
    pub condition: Condition,
}

/// Sends connections where others with the same key went, or remembers where they went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stick {
    /// Whether it looks for a server (`stick on`, `stick match`).
    pub looks_up: bool,
    /// Whether it remembers the server (`stick on`, `stick store-request`).
    pub stores: bool,
    /// The key.
    pub key: Expression,
    /// Where it is remembered.
    pub table: TableId,
    /// When; always without one.
    pub condition: Option<Condition>,
}

/// A stick table: what is remembered of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// The name of its section.
    pub name: String,
    /// What its keys are.
    pub keys: KeyKind,
    /// Keys it holds at most.
    pub size: usize,
    /// How long a key is remembered that nobody touches; `None` is for ever.
    pub expire: Option<Duration>,
    /// Whether a full table forgets its oldest key for a new one; not with `nopurge`.
    pub purges: bool,
    /// What is counted for each key, over which time where it is a rate.
    pub counts: Vec<(Count, Option<Duration>)>,
}

/// What the keys of a table are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// IPv4 addresses.
    Ip,
    /// IPv6 addresses; IPv4 ones are `::ffff:a.b.c.d`.
    Ipv6,
    /// Whole numbers of 32 bits.
    Integer,
    /// Texts, cut to this many bytes.
    Text(usize),
    /// Bytes, cut to or filled with zeros to this many.
    Bytes(usize),
}

impl Table {
    /// What HAProxy's tables hold of a text or of bytes where nobody says how much.
    pub const KEY_BYTES: usize = 31;
}
