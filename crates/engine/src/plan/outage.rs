//! What becomes of connections when a server dies, when none is left, and when one returns.

use std::num::NonZeroU32;

use serde::Serialize;

/// What a pool does about servers that die and return. haproxy.cfg has no words for these; they are options of
/// `mainstay run`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// What becomes of the connections of a dead server.
    pub dead_server: DeadServer,
    /// What becomes of new connections when no server is left.
    pub no_server: NoServer,
    /// After a server has returned, close connections of the others until it has its share: at most so many in a second.
    pub rebalance: Option<NonZeroU32>,
}

/// What becomes of the connections of a server that does not answer any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeadServer {
    /// They are closed, a few at a time, if another server works: their clients would wait for nothing.
    #[default]
    Close,
    /// They stay until somebody ends them.
    Keep,
}

/// What becomes of new connections when no server is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoServer {
    /// They are closed at once, as by HAProxy: a client knows, and can try another address.
    #[default]
    Refuse,
    /// They wait for a server as long as `timeout queue` lets them.
    Hold,
    /// They try servers that checks found dead: the checks may be wrong.
    TryAll,
}
