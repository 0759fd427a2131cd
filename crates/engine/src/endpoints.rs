//! Who is connected to whom, as the client sees it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The client.
    pub client: SocketAddr,
    /// What the client connected to.
    pub destination: SocketAddr,
    /// The number of the listener that the client came by, if that is a socket of this machine: both ends have no
    /// addresses then, and are unspecified.
    pub local: Option<u32>,
}

impl Endpoints {
    /// IPv4 ends of a dual-stack listener are the same ends as those of an IPv4 one.
    pub fn new(client: SocketAddr, destination: SocketAddr) -> Self {
        let canonical = |address: SocketAddr| match address {
            SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
                SocketAddr::new(IpAddr::V6(*v6.ip()).to_canonical(), v6.port())
            }
            other => other,
        };
        Self { client: canonical(client), destination: canonical(destination), local: None }
    }

    /// Of a client that came by a socket of this machine.
    pub const fn local(listener: u32) -> Self {
        let nobody = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Self { client: nobody, destination: nobody, local: Some(listener) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapped_addresses_are_ipv4_addresses() {
        let ends =
            Endpoints::new("[::ffff:192.0.2.7]:4000".parse().unwrap(), "[2001:db8::1]:6443".parse().unwrap());
        assert_eq!(ends.client, "192.0.2.7:4000".parse().unwrap());
        assert_eq!(ends.destination, "[2001:db8::1]:6443".parse().unwrap());
    }
}
