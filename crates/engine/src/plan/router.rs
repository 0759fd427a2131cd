//! VRRP virtual routers: this balancer's part in them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::plan::hmac::AuthHmac;
use crate::plan::{Notify, Routing, ScriptId, TrackFile, TrackProcess};
use crate::time::Centis;

/// One VRRP virtual router: this balancer's part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Router {
    /// The instance's name.
    pub name: String,
    /// The interface adverts travel on.
    pub interface: String,
    /// The virtual router's identifier on that LAN.
    pub vrid: Vrid,
    /// The configured priority, before tracking.
    pub priority: Priority,
    /// The protocol version.
    pub version: Version,
    /// Time between adverts: 1 to 255 whole seconds in version 2, 0.01 to 40.95 s in version 3.
    pub advert_interval: Centis,
    /// To whom adverts go.
    pub delivery: Delivery,
    /// Source address of adverts; the interface's first address that fits when `None`.
    pub source: Option<IpAddr>,
    /// The one form of checksum to send (`v3_checksum_as_v2`, `old_unicast_checksum`); `None` sends the one that the
    /// group's other routers were heard to send.
    pub checksum: Option<ChecksumForm>,
    /// Adverts that may be missed before a backup takes over (`down_timer_adverts`; RFC 9568 §6.1 has 3).
    pub missed_adverts: u8,
    /// Whether further adverts of the active router that a backup follows are taken whatever TTL and addresses they have
    /// (`skip_check_adv_addr`).
    pub trusts_active_router: bool,
    /// How adverts are authenticated.
    pub authentication: Authentication,
    /// What this group's balancers know and nobody else: it keys the peer link. Without one there is no link.
    pub link_secret: Option<LinkSecret>,
    /// Whether to take over from an active router with a lower priority.
    pub preempt: Preempt,
    /// Addresses in the advert, which the active router owns; never empty, and all of one family.
    pub addresses: Vec<VirtualAddress>,
    /// Addresses that move along but are not in the advert (`virtual_ipaddress_excluded`).
    pub excluded_addresses: Vec<VirtualAddress>,
    /// The hardware address of its own that the addresses have, if any (`use_vmac`).
    pub virtual_mac: Option<VirtualMac>,
    /// Routes that move along, and rules, which come after them.
    pub routing: Vec<Routing>,
    /// Scripts that change the priority.
    pub track_scripts: Vec<TrackScript>,
    /// Interfaces whose loss changes the priority.
    pub track_interfaces: Vec<TrackInterface>,
    /// Files whose number changes the priority.
    pub track_files: Vec<TrackFile>,
    /// Processes whose number changes the priority.
    pub track_processes: Vec<TrackProcess>,
    /// Whether the loss of the router's own interface leaves it alone (`dont_track_primary`).
    pub ignore_own_interface: bool,
    /// Whether it answers an active router with a lower claim with an advert (`lower_prio_no_advert` forbids it).
    pub answers_lower_priority: bool,
    /// Whether it answers a higher claim with an advert before it yields (`higher_prio_send_advert`).
    pub answers_higher_priority: bool,
    /// How addresses are announced.
    pub announce: AnnouncePolicy,
    /// What is run when its state changes.
    pub notify: Notify,
}

impl Router {
    /// The family of its adverts and of all addresses in them.
    pub fn family(&self) -> Family {
        self.addresses.first().map_or(Family::Ipv4, |own| Family::of(own.address))
    }
}

/// A hardware address of the virtual router's own (RFC 9568 §7.3), which moves with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualMac {
    /// The hardware address.
    pub address: HardwareAddress,
    /// The interface that has it: the daemon makes it on top of the router's.
    pub interface: String,
    /// Whether adverts come from the hardware address of the router's interface all the same (`vmac_xmit_base`).
    pub transmit_on_base: bool,
}

/// An Ethernet (MAC) address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HardwareAddress(pub [u8; 6]);

impl HardwareAddress {
    /// The one that belongs to a virtual router (RFC 9568 §7.3).
    pub const fn of(family: Family, vrid: Vrid) -> Self {
        let of_family = match family {
            Family::Ipv4 => 1,
            Family::Ipv6 => 2,
        };
        Self([0x00, 0x00, 0x5e, 0x00, of_family, vrid.get()])
    }
}

impl fmt::Display for HardwareAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::Ipv4,
            IpAddr::V6(_) => Self::Ipv6,
        }
    }

    /// The address that is no address.
    pub const fn unspecified(self) -> IpAddr {
        match self {
            Self::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

/// A VRRP virtual router identifier, 1 to 255 (RFC 9568 §5.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Vrid(u8);

impl Vrid {
    /// `None` for 0, which no virtual router has.
    pub const fn new(vrid: u8) -> Option<Self> {
        if vrid == 0 { None } else { Some(Self(vrid)) }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A VRRP priority (RFC 9568 §5.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Priority(pub u8);

impl Priority {
    /// The active router lets go: its peers take over at once.
    pub const RELEASE: Self = Self(0);
    /// The lowest priority a router that still takes part can have.
    pub const LOWEST: Self = Self(1);
    /// The highest priority below the address owner's.
    pub const HIGHEST: Self = Self(254);
    /// The owner of the addresses.
    pub const OWNER: Self = Self(255);
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// VRRP protocol version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Version {
    /// RFC 3768, with RFC 2338's simple password.
    V2,
    /// RFC 9568.
    V3,
}

/// To whom adverts go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// To the group, with the TTL of 255 that proves a sender is on the LAN.
    Multicast {
        /// The group's address, 224.0.0.18 or ff02::12 by default.
        group: IpAddr,
    },
    /// To each peer.
    Unicast {
        /// The peers; may be empty, for a balancer without one.
        peers: Vec<UnicastPeer>,
        /// TTL of adverts sent.
        ttl: u8,
        /// Whether adverts of others than the peers are refused (`check_unicast_src`).
        only_peers: bool,
    },
}

/// Another balancer that gets adverts of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnicastPeer {
    /// Its address.
    pub address: IpAddr,
    /// The lowest TTL with which its adverts may arrive (`min_ttl`).
    pub min_ttl: u8,
    /// The highest (`max_ttl`).
    pub max_ttl: u8,
}

/// What the checksum of a version 3 advert covers besides the message. Over IPv4 implementations disagree; over IPv6 all
/// cover the pseudo-header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChecksumForm {
    /// A pseudo-header with the real destination, as Keepalived 2.2 sends it (RFC 5798 §5.2.8).
    PseudoHeader,
    /// A pseudo-header with 224.0.0.18 whatever the destination: Keepalived up to 1.3.6, and FRR, in unicast.
    GroupPseudoHeader,
    /// Nothing (RFC 9568 §5.2.8; Holo, and Keepalived with `v3_checksum_as_v2`).
    MessageOnly,
}

impl fmt::Display for ChecksumForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PseudoHeader => "with a pseudo-header",
            Self::GroupPseudoHeader => "with a pseudo-header for 224.0.0.18",
            Self::MessageOnly => "without a pseudo-header",
        })
    }
}

/// How adverts are authenticated.
#[derive(Clone, PartialEq, Eq)]
pub enum Authentication {
    /// Not at all.
    None,
    /// A password in clear, version 2 only (RFC 2338 §5.3.6).
    Password([u8; 8]),
    /// A signature that follows the message (`auth_hmac`).
    Hmac(Arc<AuthHmac>),
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Password(_) => f.write_str("Password(..)"),
            Self::Hmac(hmac) => hmac.fmt(f),
        }
    }
}

/// The secret of a group of balancers, whole: of a password, adverts carry eight bytes at most.
#[derive(Clone, PartialEq, Eq)]
pub struct LinkSecret(Vec<u8>);

impl LinkSecret {
    /// `None` when there is nothing to be secret.
    pub fn new(secret: Vec<u8>) -> Option<Self> {
        (!secret.is_empty()).then_some(Self(secret))
    }

    /// For deriving a key. Not for showing.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for LinkSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkSecret(..)")
    }
}

/// Whether a backup takes over from an active router with a lower priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preempt {
    /// Never (`nopreempt`).
    Never,
    /// After hearing it for this long; zero is at the next expiry of the master-down timer (`preempt_delay`).
    After(Duration),
}

/// An address that the active router owns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Length of its network's prefix, in bits.
    pub prefix_length: u8,
    /// The interface it is put on.
    pub interface: String,
    /// The interface label, as in `eth0:1`.
    pub label: Option<String>,
    /// Broadcast address to set (`brd`).
    pub broadcast: Option<Ipv4Addr>,
    /// Where the address is valid.
    pub scope: Scope,
}

/// Where an address is valid (`scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Everywhere.
    Global,
    /// In this site.
    Site,
    /// On this link.
    Link,
    /// In this host.
    Host,
    /// Any other number, 0 to 255.
    Other(u8),
}

/// A script and what its result does to one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackScript {
    /// The script.
    pub script: ScriptId,
    /// What its result does.
    pub effect: TrackEffect,
}

/// An interface and what its loss does to one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackInterface {
    /// The interface.
    pub interface: String,
    /// What its loss does.
    pub effect: TrackEffect,
}

/// What a tracked thing does to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackEffect {
    /// Positive: added while the thing is good. Negative: subtracted while it is bad. Zero: a fault while it is bad.
    pub weight: i16,
    /// Turns the sign of what is added or subtracted; without a weight, it swaps good and bad (`reverse`).
    pub reverse: bool,
}

/// How the addresses of a new active router are made known on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnouncePolicy {
    /// Announcements in one burst (`garp_master_repeat`).
    pub repeat: u32,
    /// When the second burst follows the first; zero is never (`garp_master_delay`).
    pub delay: Duration,
    /// Time between refreshes while active; `None` is never (`garp_master_refresh`).
    pub refresh: Option<Duration>,
    /// Announcements in one refresh (`garp_master_refresh_repeat`).
    pub refresh_repeat: u32,
    /// Announcements after a router of lower priority was heard (`garp_lower_prio_repeat`).
    pub lower_priority_repeat: u32,
    /// When a second burst follows that one; zero is never (`garp_lower_prio_delay`).
    pub lower_priority_delay: Duration,
    /// Time between refreshes on interfaces that no adverts leave by; `None` is never (`garp_extra_if all`).
    pub other_interfaces_refresh: Option<Duration>,
}
