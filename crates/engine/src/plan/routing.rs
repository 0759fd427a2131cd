//! Routes and rules that move with a router's addresses: the types.
//!
//! Their [`Display`](fmt::Display) is what `ip route` and `ip rule` would say of them.

use std::fmt;
use std::net::IpAddr;

use super::{Family, Scope};

/// One entry that the active router puts into the kernel's routing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routing {
    /// What it is.
    pub entry: RoutingEntry,
    /// Whether it is put back when somebody removes it (not `no_track`).
    pub tracked: bool,
}

/// A route, or a rule that says which routes count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RoutingEntry {
    /// A route.
    Route(Route),
    /// A rule.
    Rule(Rule),
}

/// Addresses with a prefix in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    /// Its first address.
    pub address: IpAddr,
    /// Length of the prefix, in bits.
    pub prefix_length: u8,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Route {
    /// What becomes of packets.
    pub kind: RouteKind,
    /// Whose packets it is for.
    pub destination: Network,
    /// The next router; `None` is the destination itself (`via`).
    pub gateway: Option<IpAddr>,
    /// The interface packets leave by; `None` is where the gateway is found (`dev`).
    pub interface: Option<String>,
    /// Source address that the host's own packets get (`src`).
    pub source: Option<IpAddr>,
    /// The table it is in.
    pub table: u32,
    /// Its metric; the kernel's own default when `None`.
    pub metric: Option<u32>,
    /// Who made it, as a number (`protocol`).
    pub protocol: u8,
    /// How far its destination is.
    pub scope: Scope,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Whether the gateway counts as on the link, whatever its address is.
    pub onlink: bool,
}

/// What becomes of packets that follow a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RouteKind {
    /// They go on.
    Unicast,
    /// They vanish.
    Blackhole,
    /// They are answered with "host unreachable".
    Unreachable,
    /// They are answered with "administratively prohibited".
    Prohibit,
    /// The next rule decides.
    Throw,
}

/// A rule of the routing policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The family of the packets it is for.
    pub family: Family,
    /// Their source.
    pub from: Option<Network>,
    /// Their destination.
    pub to: Option<Network>,
    /// The interface they came by (`iif`).
    pub input_interface: Option<String>,
    /// The interface their socket is bound to (`oif`).
    pub output_interface: Option<String>,
    /// Their firewall mark and the bits of it that count (`fwmark`).
    pub mark: Option<(u32, u32)>,
    /// What becomes of them.
    pub action: RuleAction,
    /// When it is asked; lower is earlier.
    pub priority: u32,
    /// Who made it, as a number (`protocol`).
    pub protocol: u8,
}

/// What becomes of packets that a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleAction {
    /// They follow the routes of a table.
    Table(u32),
    /// They vanish.
    Blackhole,
    /// They are answered with "network unreachable".
    Unreachable,
    /// They are answered with "administratively prohibited".
    Prohibit,
}

/// The table that is looked into unless a rule says otherwise.
pub const MAIN_TABLE: u32 = 254;

impl Route {
    /// The family of its destination.
    pub fn family(&self) -> Family {
        Family::of(self.destination.address)
    }
}

impl fmt::Display for RoutingEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(route) => write!(f, "route {route}"),
            Self::Rule(rule) => write!(f, "rule {rule}"),
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = if self.address.is_ipv4() { 32 } else { 128 };
        match self.prefix_length {
            0 => f.write_str("default"),
            length if length == whole => self.address.fmt(f),
            length => write!(f, "{}/{length}", self.address),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            RouteKind::Unicast => "",
            RouteKind::Blackhole => "blackhole ",
            RouteKind::Unreachable => "unreachable ",
            RouteKind::Prohibit => "prohibit ",
            RouteKind::Throw => "throw ",
        })?;
        self.destination.fmt(f)?;
        option(f, "via", self.gateway.as_ref())?;
        option(f, "dev", self.interface.as_ref())?;
        option(f, "table", Some(self.table).filter(|table| *table != MAIN_TABLE).as_ref())?;
        option(f, "src", self.source.as_ref())?;
        option(f, "metric", self.metric.as_ref())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Some(from) => write!(f, "from {from}")?,
            None => f.write_str("from all")?,
        }
        option(f, "to", self.to.as_ref())?;
        option(f, "iif", self.input_interface.as_ref())?;
        option(f, "oif", self.output_interface.as_ref())?;
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        match self.action {
            RuleAction::Table(table) => write!(f, " lookup {table}")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Prohibit => f.write_str(" prohibit")?,
        }
        write!(f, " priority {}", self.priority)
    }
}

fn option(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&impl fmt::Display>) -> fmt::Result {
    value.map_or(Ok(()), |value| write!(f, " {name} {value}"))
}
