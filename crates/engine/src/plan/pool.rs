//! Servers, and how a connection finds one of them.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::plan::log::Logging;
use crate::plan::{Agent, Check, Dial, LocalAddress, Lookup, Outage, PoolRules, ProxyHeader, ServerId};

/// The servers of one endpoint and how a connection finds one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// The section's name.
    pub name: String,
    /// HAProxy's number of the section.
    pub id: u32,
    /// How a server is chosen.
    pub algorithm: Algorithm,
    /// The servers, in the order of the file. [`ServerIndex`] is an index into this.
    pub servers: Vec<Server>,
    /// How long one connect may take; `None` is for as long as the kernel tries.
    pub connect_timeout: Option<Duration>,
    /// How long a server may stay silent; `None` is for ever (`timeout server`).
    pub server_timeout: Option<Duration>,
    /// How long a half-closed server side may stay silent (`timeout server-fin`).
    pub server_fin_timeout: Option<Duration>,
    /// Replaces client and server time-outs once both sides have talked (`timeout tunnel`).
    pub tunnel_timeout: Option<Duration>,
    /// How long a connection may wait for a server's slot (`timeout queue`, by default `timeout connect`).
    pub queue_timeout: Option<Duration>,
    /// Further connect attempts after the first one failed (`retries`).
    pub retries: u32,
    /// Whether a retry may go to another server. Unlike HAProxy's, mainstay's default is yes.
    pub redispatch: bool,
    /// Which retries do (`option redispatch N`): every N-th, or, if negative, that place from the end; `None` is each.
    /// Where servers take turns, or the one that was tried is down, each does in any case.
    pub redispatch_interval: Option<i32>,
    /// As many connections fill it: its servers' limits are then those of `maxconn`, and less with fewer (`fullconn`).
    pub fullconn: u32,
    /// With no other server left, use all backup servers instead of the first (`option allbackups`).
    pub all_backups: bool,
    /// The rules on its connections.
    pub rules: PoolRules,
    /// Where changes of its servers are logged.
    pub logging: Logging,
    /// A client that ends its side before a server is connected has given up (`option abortonclose`).
    pub abort_on_close: bool,
    /// Say how each check ended that is news (`option log-health-checks`).
    pub log_checks: bool,
    /// What is done about servers that die and return.
    pub outage: Outage,
}

/// How a pool chooses a server for a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Algorithm {
    /// In turn, in HAProxy's fixed order.
    #[serde(rename = "static-rr")]
    StaticRr,
    /// In turn, smoothly by weight.
    RoundRobin,
    /// The one with the fewest connections for its weight.
    LeastConn,
    /// By the client's address.
    Source(HashType),
    /// By what a sample finds out about the connection ([`PoolRules::hash`]).
    Hash(HashType),
    /// The least loaded of a few that are drawn by weight.
    Random {
        /// How many are drawn.
        draws: u16,
    },
    /// The first one with a free slot.
    First,
}

/// How a hash leads to a server (`hash-type`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct HashType {
    /// By the closest point on a ring instead of a place in a table: few clients move when a server comes or goes.
    pub consistent: bool,
    /// Scrambles the hash first.
    pub avalanche: bool,
    /// What makes a number of what a sample finds; addresses of clients are numbers already.
    pub function: HashFunction,
    /// A server on a ring takes no more than so many per cent of its fair share of connections, and those beyond go to the next
    /// one (`hash-balance-factor`).
    pub balance_factor: Option<NonZeroU32>,
}

/// What makes a number of a few bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum HashFunction {
    /// That of the sdbm database.
    #[default]
    Sdbm,
    /// Dan Bernstein's.
    Djb2,
    /// One for short keys, made for HAProxy.
    Wt6,
    /// CRC-32, that of Ethernet.
    Crc32,
}

/// One server behind the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The server's name, unique in its pool.
    pub name: String,
    /// Where it listens. An unspecified address is one that nobody knows yet, and port 0 one that DNS tells.
    pub address: SocketAddr,
    /// How it is connected, where that is more than a connect to `address`.
    pub dial: Option<Arc<Dial>>,
    /// Where its address comes from while the daemon runs; `None` leaves it as it is.
    pub lookup: Option<Lookup>,
    /// Its share of new connections, 0 to 256; 0 takes none.
    pub weight: u16,
    /// Used only when no other server of the pool is usable.
    pub backup: bool,
    /// Starts in maintenance (`disabled`).
    pub disabled: bool,
    /// Connections it holds at once; more wait in the queue.
    pub maxconn: Option<u32>,
    /// Connections it holds at once while its pool is empty; grows to `maxconn` as the pool fills (`minconn`).
    pub minconn: Option<u32>,
    /// How many connections may wait for this very server (`maxqueue`).
    pub maxqueue: Option<u32>,
    /// How long a server that comes back takes to reach its full weight and maxconn.
    pub slow_start: Option<Duration>,
    /// Close its connections when it is marked down (`on-marked-down shutdown-sessions`).
    pub shutdown_sessions_when_down: bool,
    /// The PROXY header that it expects on every connection (`send-proxy`).
    pub proxy_header: Option<ProxyHeader>,
    /// How to find out whether it works; `None` trusts it.
    pub check: Option<Check>,
    /// It was removed while the daemon runs. Its place is kept, so that those of others stay what they are.
    pub removed: bool,
    /// The server whose health is its own (`track`).
    pub track: Option<ServerId>,
    /// What is thought of it before its first check.
    pub initial_state: InitialState,
    /// What failed connections of clients say about it.
    pub observe: Option<Observe>,
    /// When it comes up, close the connections of the backup servers of its pool
    /// (`on-marked-up shutdown-backup-sessions`).
    pub shutdown_backup_sessions_when_up: bool,
    /// A program on it that says how it is.
    pub agent: Option<Agent>,
}

/// What is thought of a server before its first check (`init-state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InitialState {
    /// Up; one failed check takes it down.
    #[default]
    Up,
    /// Up; `fall` failed checks take it down.
    FullyUp,
    /// Down; one passed check brings it up.
    Down,
    /// Down; `rise` passed checks bring it up.
    FullyDown,
}

/// What failed connections of clients do (`observe layer4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observe {
    /// As many in a row (`error-limit`).
    pub limit: u32,
    /// Do this.
    pub on_error: OnError,
}

/// What is done about failed connections (`on-error`). The next check comes after `fastinter` in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// Nothing more.
    FastInterval,
    /// They count as one failed check.
    FailCheck,
    /// They count as one failed check, and one more takes the server down.
    SuddenDeath,
    /// The server goes down.
    MarkDown,
}

impl Pool {
    /// A pool of which nothing but this was said: HAProxy's defaults, but for `redispatch`.
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            id: 0,
            algorithm: Algorithm::RoundRobin,
            servers,
            connect_timeout: None,
            server_timeout: None,
            server_fin_timeout: None,
            tunnel_timeout: None,
            queue_timeout: None,
            retries: 3,
            redispatch: true,
            redispatch_interval: None,
            fullconn: 0,
            all_backups: false,
            rules: PoolRules::default(),
            logging: Logging::default(),
            abort_on_close: false,
            log_checks: false,
            outage: Outage::default(),
        }
    }
}

impl Pool {
    /// Whether the next try after so many failed connects may go to another server than the one that was just tried.
    pub fn redispatches(&self, failures: u32) -> bool {
        let in_turn = matches!(self.algorithm, Algorithm::RoundRobin | Algorithm::StaticRr);
        let (failures, retries) = (i64::from(failures), i64::from(self.retries));
        self.redispatch
            && match self.redispatch_interval.map(i64::from) {
                None => true,
                Some(_) if in_turn => true,
                Some(every @ 1..) => failures % every == 0,
                Some(from_end) => {
                    from_end < 0 && failures.checked_rem(retries + 1 + from_end).is_some_and(|rest| rest == 0)
                }
            }
    }
}

impl Server {
    /// A server of which nothing but this was said: HAProxy's defaults.
    pub fn new(name: impl Into<String>, address: SocketAddr) -> Self {
        Self {
            name: name.into(),
            address,
            dial: None,
            lookup: None,
            weight: 1,
            backup: false,
            disabled: false,
            maxconn: None,
            minconn: None,
            maxqueue: None,
            slow_start: None,
            shutdown_sessions_when_down: false,
            proxy_header: None,
            check: None,
            removed: false,
            track: None,
            initial_state: InitialState::Up,
            observe: None,
            shutdown_backup_sessions_when_up: false,
            agent: None,
        }
    }

    /// The socket of this machine that it is, if it has no address.
    pub fn local(&self) -> Option<&LocalAddress> {
        self.dial.as_ref()?.local()
    }
}
