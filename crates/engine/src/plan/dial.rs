//! How a server is connected, where that is more than a connect to its address.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

/// How a server is connected. Most servers have none of this.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dial {
    /// Where to.
    pub target: Target,
    /// Where from (`source`).
    pub source: Option<Source>,
    /// What the kernel is told about the connection.
    pub tuning: Tuning,
}

/// Where a connection goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// To the address of the server.
    #[default]
    Address,
    /// To its address, and the port that the client connected to plus so much, in 16 bits (`:+100`).
    ClientPort(u16),
    /// To a socket of this machine, which has no address.
    Local(LocalAddress),
}

/// The name of a socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LocalAddress {
    /// A file (`unix@`).
    Path(String),
    /// A name that is no file (`abns@`).
    Abstract(String),
}

impl fmt::Display for LocalAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "unix@{path}"),
            Self::Abstract(name) => write!(f, "abns@{name}"),
        }
    }
}

/// Where connections to servers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Own address and port; unspecified is what the kernel chooses, and so is port 0.
    pub address: SocketAddr,
    /// Ports to take one of, instead of the one in `address`.
    pub ports: Option<RangeInclusive<u16>>,
    /// Whose address the server sees instead of ours (`usesrc`).
    pub shown: Option<ShownSource>,
    /// The interface that connections leave by (`interface`).
    pub interface: Option<String>,
}

/// Whose address a server sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShownSource {
    /// The client's, with its port.
    Client,
    /// The client's, with any port.
    ClientIp,
    /// This one.
    Address(SocketAddr),
}

/// What the kernel is told about connections, where mainstay's own ways shall not count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tuning {
    /// How long what was sent may stay unacknowledged (`tcp-ut`).
    pub user_timeout: Option<Duration>,
    /// Silence after which the peer is asked whether it is there (`clitcpka-idle`, `srvtcpka-idle`).
    pub keepalive_idle: Option<Duration>,
    /// Time between such questions (`clitcpka-intvl`, `srvtcpka-intvl`).
    pub keepalive_interval: Option<Duration>,
    /// Unanswered questions that end the connection (`clitcpka-cnt`, `srvtcpka-cnt`).
    pub keepalive_count: Option<u8>,
    /// Ends with a reset, so that nothing is left in the kernel (`option nolinger`).
    pub no_linger: bool,
}

impl Tuning {
    /// Whether it says how a dead peer is found.
    pub const fn watches(&self) -> bool {
        self.user_timeout.is_some()
            || self.keepalive_idle.is_some()
            || self.keepalive_interval.is_some()
            || self.keepalive_count.is_some()
    }
}

impl Source {
    /// Whether it needs leave to use addresses of others.
    pub const fn is_transparent(&self) -> bool {
        self.shown.is_some()
    }
}

impl Dial {
    /// Where a connection goes to a server that is at `address`, for a client that connected to `destination`.
    pub fn address(&self, address: SocketAddr, destination: SocketAddr) -> SocketAddr {
        match self.target {
            Target::ClientPort(offset) => {
                SocketAddr::new(address.ip(), destination.port().wrapping_add(offset))
            }
            Target::Address | Target::Local(_) => address,
        }
    }

    /// The socket of this machine that it goes to.
    pub const fn local(&self) -> Option<&LocalAddress> {
        match &self.target {
            Target::Local(local) => Some(local),
            Target::Address | Target::ClientPort(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_those_of_the_client_and_wrap_as_haproxys_do() {
        let dial = |offset| Dial { target: Target::ClientPort(offset), ..Dial::default() };
        let address = |offset: u16| {
            dial(offset).address("10.0.0.1:0".parse().unwrap(), "192.0.2.1:6443".parse().unwrap()).to_string()
        };
        assert_eq!([address(0), address(100)], ["10.0.0.1:6443", "10.0.0.1:6543"]);
        assert_eq!(address(100_u16.wrapping_neg()), "10.0.0.1:6343");
        assert_eq!(address(60_000), "10.0.0.1:907");
    }
}
