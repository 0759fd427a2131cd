//! How the connections of a frontend get to their servers.

use std::net::SocketAddr;

use serde::Serialize;

use crate::plan::{Plan, PoolId, Server, Target};

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

/// What a server has that only a proxy can give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyOnly {
    /// A bound on its connections (`maxconn`).
    Maxconn,
    /// One while its pool is empty (`minconn`).
    Minconn,
    /// A PROXY header (`send-proxy`).
    ProxyHeader,
    /// A socket of this machine instead of an address.
    Local,
    /// A source address (`source`).
    Source,
    /// A port that follows from the client's.
    ClientPort,
}

impl Server {
    /// Why the kernel cannot forward connections to it.
    pub fn proxy_only(&self) -> Option<ProxyOnly> {
        let dial = self.dial.as_deref();
        let found = [
            (ProxyOnly::Maxconn, self.maxconn.is_some()),
            (ProxyOnly::Minconn, self.minconn.is_some()),
            (ProxyOnly::ProxyHeader, self.proxy_header.is_some()),
            (ProxyOnly::Local, self.local().is_some()),
            (ProxyOnly::Source, dial.is_some_and(|dial| dial.source.is_some())),
            (ProxyOnly::ClientPort, dial.is_some_and(|dial| matches!(dial.target, Target::ClientPort(_)))),
        ];
        found.into_iter().find(|(_, there)| *there).map(|(what, _)| what)
    }
}

impl Plan {
    /// Whether the kernel forwards connections to servers of this pool.
    pub fn kernel_forwards_to(&self, pool: PoolId) -> bool {
        let led = |frontend: &&super::Frontend| frontend.pool == Some(pool);
        self.frontends.iter().filter(led).any(|frontend| frontend.forwarding.nat().is_some())
    }
}
