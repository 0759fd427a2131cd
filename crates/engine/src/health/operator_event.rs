//! What is worth saying about orders that were carried out.

use std::fmt;
use std::net::SocketAddr;

use serde::Serialize;

use super::order::{By, ForcedHealth};
use super::settings::AdminState;
use crate::event::Severity;

/// Something was changed while the daemon runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum OperatorEvent {
    /// About a server.
    ServerChanged {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Who changed it.
        by: By,
        /// What is different.
        #[serde(flatten)]
        change: ServerChange,
    },
    /// About a frontend.
    FrontendChanged {
        /// Its name.
        frontend: String,
        /// What is different.
        #[serde(flatten)]
        change: FrontendChange,
    },
    /// Another number of connections is let in at once.
    MaxconnChanged {
        /// How many; 0 is as configured.
        maxconn: u32,
    },
    /// Another number of connections is let in each second.
    ConnectionRateChanged {
        /// How many; 0 is any number.
        connections_per_second: u32,
    },
    /// Another number of connections is let in each second.
    SessionRateChanged {
        /// How many; 0 is any number.
        sessions_per_second: u32,
    },
    /// Counting starts again.
    CountersCleared {
        /// Not only maxima.
        all: bool,
    },
}

/// What is different of a server.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ServerChange {
    /// Whether it is in service.
    State {
        /// What it is now.
        state: AdminState,
    },
    /// Its weight.
    Weight {
        /// Before.
        from: u16,
        /// Now.
        to: u16,
    },
    /// Its limit of connections.
    Maxconn {
        /// Before; `None` is any number.
        from: Option<u32>,
        /// Now.
        to: Option<u32>,
    },
    /// Its address.
    Address {
        /// Before; `None` if nobody knew.
        from: Option<SocketAddr>,
        /// Now.
        to: Option<SocketAddr>,
    },
    /// Where its checks go.
    CheckAddress {
        /// Now.
        to: SocketAddr,
    },
    /// What checks found until now no longer counts.
    Health {
        /// What counts.
        health: ForcedHealth,
    },
    /// Whether it is checked.
    Checks {
        /// Whether it is.
        on: bool,
    },
    /// What its agent said last no longer counts.
    AgentHealth {
        /// Whether it is taken to have said that the server works.
        up: bool,
    },
    /// Whether its agent is asked.
    Agent {
        /// Whether it is.
        on: bool,
    },
    /// Its connections were closed.
    SessionsShutDown,
    /// It is new.
    Added {
        /// Where it is.
        address: SocketAddr,
    },
    /// It is gone.
    Removed,
}

/// What is different of a frontend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum FrontendChange {
    /// It listens again.
    Enabled,
    /// It refuses connections.
    Disabled,
    /// It refuses connections for good.
    ShutDown,
    /// Its limit of connections; 0 is none of its own.
    Maxconn {
        /// Now.
        maxconn: u32,
    },
}

impl OperatorEvent {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::FrontendChanged { change: FrontendChange::Disabled | FrontendChange::ShutDown, .. } => {
                Severity::Warning
            }
            _ => Severity::Info,
        }
    }
}

impl fmt::Display for OperatorEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerChanged { pool, server, by, change } => {
                write!(f, "server {pool}/{server} ")?;
                change.fmt(f)?;
                write!(f, " by {by}")
            }
            Self::FrontendChanged { frontend, change } => {
                write!(f, "frontend {frontend} {change} by an operator")
            }
            Self::MaxconnChanged { maxconn: 0 } => {
                f.write_str("as many connections as configured are let in again, says an operator")
            }
            Self::MaxconnChanged { maxconn } => {
                write!(f, "at most {maxconn} connections are let in at once, says an operator")
            }
            Self::ConnectionRateChanged { connections_per_second: 0 } => {
                f.write_str("connections are let in at any rate, says an operator")
            }
            Self::ConnectionRateChanged { connections_per_second } => {
                write!(
                    f,
                    "at most {connections_per_second} connections are let in each second, says an operator"
                )
            }
            Self::SessionRateChanged { sessions_per_second: 0 } => {
                f.write_str("connections are let in at any rate, says an operator")
            }
            Self::SessionRateChanged { sessions_per_second } => {
                write!(
                    f,
                    "at most {sessions_per_second} connections are let in each second, says an operator"
                )
            }
            Self::CountersCleared { all: true } => f.write_str("all counters were cleared by an operator"),
            Self::CountersCleared { all: false } => {
                f.write_str("the maxima of all counters were cleared by an operator")
            }
        }
    }
}

impl fmt::Display for ServerChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = |limit: Option<u32>| limit.map_or("any number".to_owned(), |limit| limit.to_string());
        let place = |address: Option<SocketAddr>| {
            address.map_or("an unknown address".to_owned(), |address| address.to_string())
        };
        match self {
            Self::State { state: AdminState::Ready } => f.write_str("is put back in service"),
            Self::State { state: AdminState::Drain } => f.write_str("is drained"),
            Self::State { state: AdminState::Maintenance } => f.write_str("is put in maintenance"),
            Self::Weight { from, to } => write!(f, "gets weight {to} instead of {from}"),
            Self::Maxconn { from, to } => {
                write!(f, "may hold {} connections instead of {}", limit(*to), limit(*from))
            }
            Self::Address { from, to } => write!(f, "is moved from {} to {}", place(*from), place(*to)),
            Self::CheckAddress { to } => write!(f, "is checked at {to} from now on, as told"),
            Self::Health { health: ForcedHealth::Up } => f.write_str("is taken for healthy, as told"),
            Self::Health { health: ForcedHealth::Down } => f.write_str("is taken for broken, as told"),
            Self::Health { health: ForcedHealth::Stopping } => {
                f.write_str("is taken to want no new connections, as told")
            }
            Self::Checks { on: true } => f.write_str("is checked again, as told"),
            Self::Checks { on: false } => f.write_str("is not checked any more, as told"),
            Self::AgentHealth { up: true } => f.write_str("works, as told in place of its agent"),
            Self::AgentHealth { up: false } => f.write_str("does not work, as told in place of its agent"),
            Self::Agent { on: true } => f.write_str("has its agent asked again, as told"),
            Self::Agent { on: false } => f.write_str("does not have its agent asked any more, as told"),
            Self::SessionsShutDown => f.write_str("loses its connections, which are closed"),
            Self::Added { address } => write!(f, "at {address} is added"),
            Self::Removed => f.write_str("is removed"),
        }
    }
}

impl fmt::Display for FrontendChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enabled => f.write_str("is enabled"),
            Self::Disabled => f.write_str("is disabled"),
            Self::ShutDown => f.write_str("is shut down for good"),
            Self::Maxconn { maxconn: 0 } => {
                f.write_str("has no limit of connections of its own any more, set")
            }
            Self::Maxconn { maxconn } => write!(f, "may hold {maxconn} connections, set"),
        }
    }
}
