//! Orders to the kernel about routes and rules.
//!
//! Owns how a plan's routes and rules are said in rtnetlink; [`Netlink`] owns the conversation.

use std::io;
use std::net::IpAddr;

use mainstay_engine::plan::{Family, Network, Route, RouteKind, RoutingEntry, Rule, RuleAction, Scope};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::rule::{self, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::netlink::{Netlink, is};
use super::no_interface;

impl Netlink {
    /// Puts a route or rule in force unless it is. Returns whether it was not.
    ///
    /// A route goes before others to the same network, as Keepalived's do.
    ///
    /// # Errors
    /// The kernel's, or that an interface it names does not exist.
    pub(super) fn install_routing(&mut self, entry: &RoutingEntry) -> io::Result<bool> {
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
        let (message, flags) = match entry {
            RoutingEntry::Route(route) => (RouteNetlinkMessage::NewRoute(self.route(route)?), flags),
            // Without "exclusive" the kernel adds the same rule once more.
            RoutingEntry::Rule(rule) => {
                (RouteNetlinkMessage::NewRule(rule_message(rule)), flags | NLM_F_EXCL)
            }
        };
        match self.request(message, flags, |_, _| {}) {
            Err(error) if is(&error, Errno::EEXIST) => Ok(false),
            answer => answer.map(|()| true),
        }
    }

    /// Takes a route or rule back; fine if it is not there.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn remove_routing(&mut self, entry: &RoutingEntry) -> io::Result<()> {
        let message = match entry {
            RoutingEntry::Route(route) => match self.route(route) {
                Ok(message) => RouteNetlinkMessage::DelRoute(message),
                // Its routes went with the interface.
                Err(error) if is(&error, Errno::ENODEV) => return Ok(()),
                Err(error) => return Err(error),
            },
            RoutingEntry::Rule(rule) => RouteNetlinkMessage::DelRule(rule_message(rule)),
        };
        match self.request(message, NLM_F_REQUEST | NLM_F_ACK, |_, _| {}) {
            Err(error)
                if [Errno::ESRCH, Errno::ENOENT, Errno::ENODEV].iter().any(|gone| is(&error, *gone)) =>
            {
                Ok(())
            }
            answer => answer,
        }
    }

    fn route(&mut self, route: &Route) -> io::Result<RouteMessage> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(route.family());
        message.header.destination_prefix_length = route.destination.prefix_length;
        // The whole number is an attribute; this is for what fits a byte.
        message.header.table = u8::try_from(route.table).unwrap_or(0);
        message.header.protocol = RouteProtocol::from(route.protocol);
        message.header.scope = scope(route.scope);
        message.header.kind = match route.kind {
            RouteKind::Unicast => RouteType::Unicast,
            RouteKind::Blackhole => RouteType::BlackHole,
            RouteKind::Unreachable => RouteType::Unreachable,
            RouteKind::Prohibit => RouteType::Prohibit,
            RouteKind::Throw => RouteType::Throw,
        };
        if route.onlink {
            message.header.flags = RouteFlags::Onlink;
        }
        let attributes = &mut message.attributes;
        if route.destination.prefix_length > 0 {
            attributes.push(RouteAttribute::Destination(RouteAddress::from(route.destination.address)));
        }
        attributes.push(RouteAttribute::Table(route.table));
        let address = |address: Option<IpAddr>| address.map(RouteAddress::from);
        attributes.extend(address(route.gateway).map(RouteAttribute::Gateway));
        attributes.extend(address(route.source).map(RouteAttribute::PrefSource));
        attributes.extend(route.metric.map(RouteAttribute::Priority));
        attributes.extend(route.mtu.map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])));
        if let Some(name) = &route.interface {
            let link = self.link(name)?.ok_or_else(no_interface)?;
            attributes.push(RouteAttribute::Oif(link.index));
        }
        Ok(message)
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let length = |network: Option<Network>| network.map_or(0, |network| network.prefix_length);
    message.header.family = family(rule.family);
    message.header.src_len = length(rule.from);
    message.header.dst_len = length(rule.to);
    let (action, table) = match rule.action {
        RuleAction::Table(table) => (rule::RuleAction::ToTable, Some(table)),
        RuleAction::Blackhole => (rule::RuleAction::Blackhole, None),
        RuleAction::Unreachable => (rule::RuleAction::Unreachable, None),
        RuleAction::Prohibit => (rule::RuleAction::Prohibit, None),
    };
    message.header.action = action;
    message.header.table = table.and_then(|table| u8::try_from(table).ok()).unwrap_or(0);
    let attributes = &mut message.attributes;
    let address = |network: Option<Network>| network.filter(|network| network.prefix_length > 0);
    attributes.extend(address(rule.from).map(|network| RuleAttribute::Source(network.address)));
    attributes.extend(address(rule.to).map(|network| RuleAttribute::Destination(network.address)));
    attributes.extend(rule.input_interface.clone().map(RuleAttribute::Iifname));
    attributes.extend(rule.output_interface.clone().map(RuleAttribute::Oifname));
    if let Some((mark, mask)) = rule.mark {
        attributes.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    attributes.extend(table.map(RuleAttribute::Table));
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Protocol(RouteProtocol::from(rule.protocol)));
    message
}

fn family(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    }
}

fn scope(scope: Scope) -> RouteScope {
    match scope {
        Scope::Global => RouteScope::Universe,
        Scope::Site => RouteScope::Site,
        Scope::Link => RouteScope::Link,
        Scope::Host => RouteScope::Host,
        Scope::Other(number) => RouteScope::from(number),
    }
}
