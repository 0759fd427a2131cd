//! Connections that the kernel forwards, and what balancers tell each other about them.
//!
//! Owns [`Flow`]. `wire` is how flows are told on a peer link, [`Outgoing`] what this node tells of those it has, and
//! [`Incoming`] what it keeps of the others' until it takes an address over. docs/adr/0007 has the reasons. Whoever holds
//! an address tells of its established flows; nothing that was told is given up before something better is known.

mod incoming;
mod outgoing;
pub mod wire;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use self::incoming::Incoming;
pub use self::outgoing::Outgoing;

/// One established connection that the kernel rewrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    /// Where the client is.
    pub client: SocketAddr,
    /// What the client connected to.
    pub endpoint: SocketAddr,
    /// The server that answers.
    pub server: SocketAddr,
    /// Whom the server takes for its client.
    pub source: SocketAddr,
}

/// What names a flow among those of one address: the client, and the endpoint's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowName {
    /// Where the client is.
    pub client: SocketAddr,
    /// The port of the endpoint.
    pub port: u16,
}

/// Where the packets of a flow go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Path {
    server: SocketAddr,
    source: SocketAddr,
}

impl Flow {
    /// What names it among those of its address.
    pub fn name(&self) -> FlowName {
        FlowName { client: self.client, port: self.endpoint.port() }
    }

    /// Whether it can go on at another node: it is rewritten, within one family, and its client does not have the address of
    /// the endpoint itself, as clients on the same node do.
    pub fn is_forwarded(&self) -> bool {
        let family = self.endpoint.is_ipv4();
        let same = [self.client, self.server, self.source].iter().all(|end| end.is_ipv4() == family);
        same && self.server != self.endpoint && self.client.ip() != self.endpoint.ip()
    }

    fn path(&self) -> Path {
        Path { server: self.server, source: self.source }
    }
}

impl FlowName {
    fn flow(self, address: IpAddr, path: Path) -> Flow {
        let endpoint = SocketAddr::new(address, self.port);
        Flow { client: self.client, endpoint, server: path.server, source: path.source }
    }
}

/// Names a peer that tells of its flows, or hears of ours, for as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerKey(pub u64);

/// How far the flows of this node and a peer are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerFlows {
    /// The peer's address.
    pub peer: IpAddr,
    /// Flows of the peer that are kept here.
    pub kept: usize,
    /// Addresses of which all are.
    pub whole: BTreeSet<IpAddr>,
    /// How old the latest word about them is; `None` if the peer never told of any.
    pub age: Option<Duration>,
    /// Flows of this node that the peer was told of.
    pub told: usize,
}

#[cfg(test)]
mod tests;
