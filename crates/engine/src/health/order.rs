//! What can be changed while the daemon runs, and the words for why not.
//!
//! Owns the types only; `operator` carries orders out. Servers and frontends go by their names, because whoever gives an
//! order cannot know whether they are still there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

pub use super::settings::AdminState;
use crate::plan::Server;

/// What can be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Change a server.
    Server {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// What about it.
        change: ServerOrder,
    },
    /// Add a server. Its checks are off.
    AddServer {
        /// The pool's name.
        pool: String,
        /// The server.
        server: Box<Server>,
    },
    /// Remove a server that is in maintenance and has no connections.
    RemoveServer {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
    },
    /// Change a frontend.
    Frontend {
        /// Its name.
        frontend: String,
        /// What about it.
        change: FrontendOrder,
    },
    /// Let so many connections in at once; 0 is as configured.
    Maxconn(u32),
    /// Let so many connections in each second; 0 is any number.
    SessionRate(u32),
    /// Let in so many connections in a second, and no more; 0 is any number.
    ConnectionRate(u32),
    /// Start counting again: maxima only, or everything.
    ClearCounters {
        /// Everything that only ever grows, too.
        all: bool,
    },
}

/// What can be changed of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerOrder {
    /// Whether it is in service.
    State(AdminState),
    /// Its share of new connections.
    Weight(Weight),
    /// Connections it holds at once; 0 is any number.
    Maxconn(u32),
    /// Where it is; without a port, the one it has stays.
    Address(IpAddr, Option<u16>),
    /// Nobody knows where it is. It is as in maintenance until somebody does.
    NoAddress,
    /// Where its checks go; 0 as the port is the server's own.
    CheckAddress(Option<IpAddr>, Option<u16>),
    /// What counts until the next check says otherwise; for good where there is none.
    Health(ForcedHealth),
    /// Whether it is checked.
    Checks(bool),
    /// What its agent is taken to have said: whether it works.
    AgentHealth(bool),
    /// Whether its agent is asked.
    Agent(bool),
    /// Where its agent is asked, or how, is to change, which it does not.
    AimAgent,
    /// Close its connections.
    ShutdownSessions,
    /// Change nothing, and tell its weight.
    ShowWeight,
}

/// A weight that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// 0 to 256.
    Absolute(u16),
    /// Percentage of the configured one.
    Percent(u32),
}

/// What an operator says of the health of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ForcedHealth {
    /// It works.
    Up,
    /// It does not.
    Down,
    /// It works, and takes no new connections but those that belong to it.
    Stopping,
}

/// What can be changed of a frontend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendOrder {
    /// Listen again.
    Enable,
    /// Refuse connections until it is enabled.
    Disable,
    /// Refuse connections for good and give the ports back.
    Shutdown,
    /// Connections held at once; 0 is as many as the whole daemon may hold.
    Maxconn(u32),
}

/// Who changes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Somebody at a socket.
    Operator,
    /// The server's own agent.
    Agent,
    /// A name server.
    Dns,
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Operator => "an operator",
            Self::Agent => "its agent",
            Self::Dns => "DNS",
        })
    }
}

/// What came of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is so now.
    Done,
    /// The server's address was one and is another, or the same.
    Moved {
        /// Before; `None` if nobody knew.
        from: Option<SocketAddr>,
        /// Now.
        to: Option<SocketAddr>,
    },
    /// The server's weight.
    Weight {
        /// Now.
        now: u16,
        /// As configured.
        configured: u16,
    },
}

/// Why an order was not carried out. Nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such pool.
    NoPool,
    /// There is no such server in the pool.
    NoServer,
    /// There is no such frontend.
    NoFrontend,
    /// The algorithm of the pool takes only the configured weight, or none.
    StaticWeights,
    /// The algorithm of the pool takes no servers at run time.
    StaticServers,
    /// The server is a socket of this machine, which has no address.
    NoAddress,
    /// The server has no check.
    NoCheck,
    /// The server has no agent, or none that is asked.
    NoAgent,
    /// Agents are asked where the configuration says.
    FixedAgent,
    /// The pool has a server of this name.
    SameName,
    /// The pool has as many servers as it can.
    TooManyServers,
    /// The server is not in maintenance.
    InService,
    /// The server has connections.
    HasSessions,
    /// The frontend listens already.
    Enabled,
    /// The frontend refuses connections already.
    Disabled,
    /// The frontend was shut down for good.
    ShutDown,
    /// More than was configured when the daemon started.
    TooManyConnections,
    /// The kernel forwards connections to servers of this pool, and only a proxy can do this.
    NeedsProxy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPool => "there is no such pool",
            Self::NoServer => "there is no such server in this pool",
            Self::NoFrontend => "there is no such frontend",
            Self::StaticWeights => {
                "the pool's balance algorithm takes only the configured weight (100%) or none (0%)"
            }
            Self::NoAddress => "the server is a socket of this machine, which cannot be moved",
            Self::StaticServers => "the pool's balance algorithm takes no servers while it runs",
            Self::NoAgent => "this server has no agent that is asked",
            Self::FixedAgent => "agents are asked where and as the configuration says",
            Self::NoCheck => "the server has no check",
            Self::SameName => "the pool has a server of this name",
            Self::TooManyServers => "the pool has as many servers as it can have",
            Self::InService => "the server is not in maintenance",
            Self::HasSessions => "the server still has connections",
            Self::Enabled => "the frontend listens already",
            Self::Disabled => "the frontend refuses connections already",
            Self::ShutDown => "the frontend was shut down",
            Self::NeedsProxy => {
                "the kernel forwards connections to servers of this pool, and only a proxy can do this"
            }
            Self::TooManyConnections => "that is more than was configured when the daemon started",
        })
    }
}
