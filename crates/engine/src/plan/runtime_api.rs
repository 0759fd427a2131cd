//! Where HAProxy's runtime API is answered.

use std::net::SocketAddr;
use std::time::Duration;

/// HAProxy's runtime API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeApi {
    /// Where it is answered.
    pub sockets: Vec<StatsSocket>,
    /// How long a connection may stay silent (`stats timeout`).
    pub timeout: Duration,
    /// Connections of each socket at once (`stats maxconn`).
    pub maxconn: u32,
}

impl Default for RuntimeApi {
    /// Nowhere, with HAProxy's limits.
    fn default() -> Self {
        Self { sockets: Vec::new(), timeout: Duration::from_secs(10), maxconn: 10 }
    }
}

/// One socket of the runtime API (`stats socket`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatsSocket {
    /// Where it is.
    pub address: StatsAddress,
    /// What those who connect may do.
    pub level: Level,
    /// The permissions of its file.
    pub mode: Option<u32>,
    /// The owner of its file, by name or number.
    pub user: Option<String>,
    /// The group of its file, by name or number.
    pub group: Option<String>,
}

/// Where a socket of the runtime API is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatsAddress {
    /// A file.
    Path(String),
    /// A name that is no file.
    Abstract(String),
    /// An address of TCP.
    Tcp(SocketAddr),
}

/// What somebody may do by way of the runtime API; each level may do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Look at what is not sensitive.
    User,
    /// Look at everything, and clear maxima.
    Operator,
    /// Change things.
    Admin,
}
