//! What the two sides of a pair agree on: one row of the matrix, and everything that follows from it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mainstay::lab::topology::VIRTUAL_ADDRESS;
use mainstay_engine::plan::Family;

/// A way to configure a VRRP group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Combination {
    /// VRRP's: 2 or 3.
    pub(crate) version: u8,
    /// Of everything in it.
    pub(crate) family: Family,
    /// How adverts travel.
    pub(crate) delivery: Delivery,
    /// What they prove.
    pub(crate) authentication: Authentication,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Multicast,
    Unicast,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authentication {
    None,
    Password,
    Hmac,
}

impl Combination {
    /// Every way there is on paper, whoever understands it.
    pub(crate) fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for version in [2, 3] {
            for family in [Family::Ipv4, Family::Ipv6] {
                for delivery in [Delivery::Multicast, Delivery::Unicast] {
                    for authentication in
                        [Authentication::None, Authentication::Password, Authentication::Hmac]
                    {
                        all.push(Self { version, family, delivery, authentication });
                    }
                }
            }
        }
        all
    }

    /// Why nobody can speak it, if so.
    pub(crate) fn contradiction(self) -> Option<&'static str> {
        match (self.version, self.family, self.authentication) {
            (2, Family::Ipv6, _) => Some("version 2 is defined over IPv4 alone (RFC 3768 §1)"),
            (3, _, Authentication::Password) => Some("version 3 has no passwords (RFC 9568 §9)"),
            _ => None,
        }
    }

    /// Time between two adverts: the shortest of version 2, and a usual one of version 3.
    pub(crate) fn interval(self) -> Duration {
        Duration::from_millis(if self.version == 2 { 1000 } else { 100 })
    }

    /// `Skew_Time` of a router with `priority` (RFC 3768 §6.1, RFC 9568 §6.1).
    pub(crate) fn skew(self, priority: u8) -> Duration {
        self.interval() * (256 - u32::from(priority)) / 256
    }

    /// `Active_Down_Interval` of a router with `priority`.
    pub(crate) fn active_down(self, priority: u8) -> Duration {
        self.interval() * 3 + self.skew(priority)
    }

    /// The address that tells who is active.
    pub(crate) fn virtual_address(self) -> IpAddr {
        match self.family {
            Family::Ipv4 => VIRTUAL_ADDRESS.into(),
            Family::Ipv6 => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, 140).into(),
        }
    }

    /// All of them as a keepalived.conf has them; over IPv6 a link-local one comes first (RFC 9568 §5.2.9).
    pub(crate) fn virtual_addresses(self) -> impl Iterator<Item = String> {
        let (link_local, prefix_length) = match self.family {
            Family::Ipv4 => (None, 24),
            Family::Ipv6 => (Some("fe80::140/64".to_owned()), 64),
        };
        link_local.into_iter().chain([format!("{}/{prefix_length}", self.virtual_address())])
    }

    /// The own address of the side with the host number `number`.
    pub(crate) fn own_address(self, number: u8) -> IpAddr {
        match self.family {
            Family::Ipv4 => own_ipv4(number).into(),
            Family::Ipv6 => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, number.into()).into(),
        }
    }
}

/// The IPv4 address of a host.
pub(crate) const fn own_ipv4(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 168, 2, number)
}

impl fmt::Display for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let delivery = match self.delivery {
            Delivery::Multicast => "multicast",
            Delivery::Unicast => "unicast",
        };
        let authentication = match self.authentication {
            Authentication::None => "none",
            Authentication::Password => "PASS",
            Authentication::Hmac => "HMAC",
        };
        let family = self.family.to_string();
        write!(f, "{:<8} {family:<7} {delivery:<10} {authentication:<5}", self.version)
    }
}
