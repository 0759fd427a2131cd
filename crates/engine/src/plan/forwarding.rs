//! How the connections of a frontend get to their servers.

use std::net::SocketAddr;

use serde::Serialize;

/// How the connections of a frontend get to their servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Forwarding {
    /// The daemon accepts them and relays.
    #[default]
    Proxy,
    /// The kernel forwards them, and the daemon says to whom.
    Nat(Nat),
}

/// What the kernel forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nat {
    /// The addresses that clients use; never empty, and none is unspecified. No other frontend has one of them.
    pub endpoints: Vec<SocketAddr>,
    /// What decides about the server of a connection.
    pub key: FlowKey,
}

/// What decides about the server of a connection that the kernel forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowKey {
    /// The client's address and port: connections of one client go to all servers.
    AddressAndPort,
    /// The client's address (`balance source`).
    Address,
}

impl Forwarding {
    /// What the kernel forwards, if it does.
    pub const fn nat(&self) -> Option<&Nat> {
        match self {
            Self::Proxy => None,
            Self::Nat(nat) => Some(nat),
        }
    }
}
