//! Where an instance's adverts come from and go to: source, group or peers, and whom of others it hears.

use std::net::IpAddr;

use super::fields::{Fields, check_values, recognise};
use super::{Globals, VRRP_GROUP, VRRP_GROUP_IPV6};
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, Word, codes};
use crate::limits;
use crate::plan::{Delivery, Family, UnicastPeer};

/// Source address and delivery of an instance whose virtual addresses are of `family`.
pub(super) fn lower_delivery(
    fields: &Fields<'_>,
    family: Family,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<IpAddr>, Delivery) {
    let source = source(fields, family, diagnostics);
    let delivery = delivery(fields, family, globals, diagnostics);
    if let (Delivery::Unicast { peers, .. }, Some(own)) = (&delivery, source) {
        check_own_address(fields, peers, own, diagnostics);
    }
    (source, delivery)
}

fn source(fields: &Fields<'_>, family: Family, diagnostics: &mut Vec<Diagnostic>) -> Option<IpAddr> {
    ["unicast_src_ip", "mcast_src_ip"]
        .into_iter()
        .find_map(|name| address_of(fields, name, family, diagnostics))
}

/// The value of a keyword that takes an address of the instance's family.
fn address_of(
    fields: &Fields<'_>,
    name: &str,
    family: Family,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<IpAddr> {
    let (word, address) = fields.word(name).zip(fields.address(name))?;
    check_family(word, address, family, diagnostics).then_some(address)
}

/// Reports an address of another family than the virtual addresses; whether it is of theirs.
fn check_family(word: &Word, address: IpAddr, family: Family, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let fits = Family::of(address) == family;
    if !fits {
        diagnostics.push(
            Diagnostic::error(
                codes::MIXED_FAMILIES,
                word.span,
                format!(
                    "`{address}` is an {} address, the virtual addresses are {family}",
                    Family::of(address)
                ),
            )
            .label(format!("an {family} address was expected"))
            .hint("give each family an instance of its own"),
        );
    }
    fits
}

fn delivery(
    fields: &Fields<'_>,
    family: Family,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) -> Delivery {
    let (peers, any_ttl_bounds) = peers(fields, family, diagnostics);
    if !peers.is_empty() {
        // Keepalived takes bounds of TTLs as a wish to hear nobody else.
        let only_peers = any_ttl_bounds || fields.flag_or("check_unicast_src", globals.only_peers);
        return Delivery::Unicast { peers, ttl: fields.integer("unicast_ttl").unwrap_or(255), only_peers };
    }
    let unicast = ["unicast_peer", "unicast_src_ip", "unicast_ttl", "check_unicast_src"]
        .into_iter()
        .find_map(|name| fields.last(name));
    if let Some(no_peers) = fields.last("unicast_fault_no_peer") {
        diagnostics.push(
            Diagnostic::error(
                codes::NO_PEERS,
                no_peers.keyword.span,
                "this instance has no unicast peer, and `unicast_fault_no_peer` forbids it to run without",
            )
            .hint("name the other balancers in a `unicast_peer` block"),
        );
    } else if let Some(unicast) = unicast.filter(|_| fields.inside("unicast_peer").next().is_none()) {
        diagnostics.push(
            Diagnostic::warning(
                codes::NO_PEERS,
                unicast.keyword.span,
                "without a peer in `unicast_peer` adverts go to the multicast group, as in Keepalived",
            )
            .hint("name the other balancers in a `unicast_peer` block"),
        );
    }
    Delivery::Multicast { group: group(fields, family, globals, diagnostics) }
}

/// Reports groups for all instances that adverts cannot go to.
pub(super) fn check_usual_groups(globals: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let groups = [
        ("vrrp_mcast_group4", Family::Ipv4, VRRP_GROUP),
        ("vrrp_mcast_group6", Family::Ipv6, VRRP_GROUP_IPV6),
    ];
    for (name, family, usual) in groups {
        let Some((word, group)) = globals.word(name).zip(globals.address(name)) else { continue };
        if Family::of(group) != family || !is_group(group) {
            let message = format!("`{group}` is not an {family} multicast group that adverts can go to");
            diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, word.span, message)
                    .hint(format!("the usual one is {usual}")),
            );
        }
    }
}

fn group(
    fields: &Fields<'_>,
    family: Family,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) -> IpAddr {
    let usual = match family {
        Family::Ipv4 => globals.group,
        Family::Ipv6 => globals.group_ipv6,
    };
    let Some(group) = address_of(fields, "mcast_dst_ip", family, diagnostics) else { return usual };
    if !is_group(group)
        && let Some(word) = fields.word("mcast_dst_ip")
    {
        let message = format!("`{group}` is not a multicast group that adverts can go to");
        diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, message).hint(format!("the usual one is {usual}")),
        );
    }
    group
}

/// Over IPv6 a group has to be link-local, ffX2: adverts stay on their link.
fn is_group(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_multicast(),
        IpAddr::V6(address) => address.is_multicast() && address.segments()[0] & 0xf == 2,
    }
}

/// The peers, and whether any of them has bounds for its TTL.
fn peers(fields: &Fields<'_>, family: Family, diagnostics: &mut Vec<Diagnostic>) -> (Vec<UnicastPeer>, bool) {
    let mut peers: Vec<UnicastPeer> = Vec::new();
    let mut any_ttl_bounds = false;
    for entry in fields.inside("unicast_peer") {
        let word = &entry.keyword;
        let (min_ttl, max_ttl) = ttl_bounds(entry, diagnostics);
        any_ttl_bounds |= min_ttl.is_some() || max_ttl.is_some();
        match word.text.parse::<IpAddr>() {
            _ if !word.filled => {}
            Ok(address) if !check_family(word, address, family, diagnostics) => {}
            Ok(address) if peers.iter().any(|peer| peer.address == address) => {
                diagnostics.push(Diagnostic::warning(
                    codes::GIVEN_TWICE,
                    word.span,
                    format!("`{address}` is a peer already; it gets one advert"),
                ));
            }
            Ok(_) if peers.len() == limits::PEERS_PER_ROUTER => {
                let message = format!("more than {} peers in one instance", limits::PEERS_PER_ROUTER);
                diagnostics.push(Diagnostic::error(codes::TOO_MANY, word.span, message));
                break;
            }
            Ok(address) => peers.push(UnicastPeer {
                address,
                min_ttl: min_ttl.unwrap_or(u8::MIN),
                max_ttl: max_ttl.unwrap_or(u8::MAX),
            }),
            Err(_) => diagnostics.push(
                Diagnostic::error(
                    codes::BAD_VALUE,
                    word.span,
                    format!("`{}` is not an IP address", word.text),
                )
                .label("the address of another balancer was expected"),
            ),
        }
    }
    (peers, any_ttl_bounds)
}

/// `min_ttl` and `max_ttl` of one peer.
fn ttl_bounds(entry: &Statement, diagnostics: &mut Vec<Diagnostic>) -> (Option<u8>, Option<u8>) {
    let (mut least, mut most) = (None, None);
    let mut words = entry.values.iter();
    while let Some(option) = words.next() {
        let values = words.clone().take(1).cloned().collect();
        let statement = Statement { keyword: option.clone(), values, block: None };
        let Some((values, name)) = recognise(Place::Peer, &statement, diagnostics) else { continue };
        check_values(Place::Peer, values, name, &statement, diagnostics);
        let value = words.next().and_then(|value| value.text.parse::<u8>().ok());
        match name {
            "min_ttl" => least = value,
            _ => most = value,
        }
    }
    if let (Some(min), Some(max)) = (least, most)
        && min > max
    {
        diagnostics.push(Diagnostic::error(
            codes::OUT_OF_RANGE,
            entry.keyword.span,
            format!("no TTL is at least {min} and at most {max}"),
        ));
    }
    (least, most)
}

/// A peer that is this balancer itself: the two files were swapped, or copied.
fn check_own_address(
    fields: &Fields<'_>,
    peers: &[UnicastPeer],
    own: IpAddr,
    diagnostics: &mut Vec<Diagnostic>,
) {
    if !peers.iter().any(|peer| peer.address == own) {
        return;
    }
    let source = fields.word("unicast_src_ip").or_else(|| fields.word("mcast_src_ip"));
    let peer = fields.inside("unicast_peer").find(|entry| entry.keyword.text.parse() == Ok(own));
    if let (Some(source), Some(peer)) = (source, peer) {
        diagnostics.push(
            Diagnostic::error(
                codes::ADDRESS_CLASH,
                peer.keyword.span,
                format!("`{own}` is this balancer itself, not a peer"),
            )
            .label("its own peer")
            .related(source.span, "its own address")
            .hint("name the other balancers only"),
        );
    }
}
