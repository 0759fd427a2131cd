//! Whether the keepalived.conf files of several balancers fit together.
//!
//! Owns [`compare`]: what has to be the same, what has to differ, and who has to name whom. What may differ without harm,
//! such as how addresses are announced, is not looked at. No message here may hold a password.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;
use std::net::IpAddr;

use super::places;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::{Statement, Tree, codes};
use crate::config::source::Span;
use crate::plan::hmac::HmacMode;
use crate::plan::{Authentication, Delivery, Family, Router, Version, Vrid};

/// One balancer's file, and what became of it.
#[derive(Debug)]
pub(super) struct Balancer {
    /// The file's name.
    pub(super) file: String,
    /// What it says.
    pub(super) tree: Tree,
    /// The routers it makes.
    pub(super) routers: Vec<Router>,
}

/// One balancer's part in a virtual router.
#[derive(Clone, Copy, Debug)]
struct Member<'a> {
    balancer: usize,
    tree: &'a Tree,
    instance: &'a Statement,
    router: &'a Router,
}

/// Reports everything that keeps `balancers` from sharing their virtual routers.
pub(super) fn compare(balancers: &[Balancer], diagnostics: &mut Vec<Diagnostic>) {
    let groups = groups(balancers);
    for group in &groups {
        let Some((first, others)) = group.split_first() else { continue };
        for other in others {
            // What else two versions differ in, they have to.
            if first.router.version != other.router.version {
                report_versions(first, other, diagnostics);
            } else {
                check_authentication(first, other, diagnostics);
                check_interval(first, other, diagnostics);
            }
            check_addresses(first, other, diagnostics);
            check_delivery(first, other, diagnostics);
        }
        for (index, member) in group.iter().enumerate() {
            let earlier = group.get(..index).unwrap_or_default();
            check_priority(earlier, member, diagnostics);
            check_masters(earlier, member, diagnostics);
            check_source(earlier, member, diagnostics);
            for other in group.iter().filter(|other| other.balancer != member.balancer) {
                check_peers(member, other, diagnostics);
            }
        }
        check_preemption(group, diagnostics);
        check_presence(first, group, &groups, balancers, diagnostics);
    }
}

/// The members of each virtual router: a number on one interface, for addresses of one family (RFC 9568 §1.2).
fn groups(balancers: &[Balancer]) -> Vec<Vec<Member<'_>>> {
    let mut twice: BTreeSet<(Vrid, Family)> = BTreeSet::new();
    for balancer in balancers {
        let mut seen = BTreeSet::new();
        let again = |router: &&Router| !seen.insert(number(router));
        twice.extend(balancer.routers.iter().filter(again).map(number));
    }
    let mut groups: BTreeMap<_, Vec<Member<'_>>> = BTreeMap::new();
    for (index, balancer) in balancers.iter().enumerate() {
        for router in &balancer.routers {
            let Some(instance) = places::instance(&balancer.tree, &router.name) else { continue };
            let number = number(router);
            // Interfaces may have other names on another machine: they matter where the number alone is ambiguous.
            let interface = if twice.contains(&number) { router.interface.as_str() } else { "" };
            let member = Member { balancer: index, tree: &balancer.tree, instance, router };
            groups.entry((number, interface)).or_default().push(member);
        }
    }
    groups.into_values().collect()
}

fn number(router: &Router) -> (Vrid, Family) {
    (router.vrid, router.family())
}

impl Member<'_> {
    /// Where the first of `keywords` stands that the instance has; its name if it has none.
    fn place(&self, keywords: &[&str]) -> Span {
        let name = || self.instance.values.first().map_or(self.instance.keyword.span, |name| name.span);
        places::setting(self.instance, keywords).map_or_else(name, |statement| statement.keyword.span)
    }

    fn starts_active(&self) -> bool {
        let state = places::setting(self.instance, &["state"]).and_then(|state| state.values.first());
        state.is_some_and(|state| state.text == "MASTER")
    }

    fn addresses(&self, excluded: bool) -> BTreeSet<IpAddr> {
        let list = if excluded { &self.router.excluded_addresses } else { &self.router.addresses };
        list.iter().map(|virtual_ip| virtual_ip.address).collect()
    }
}

fn report_versions(first: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let place = |member: &Member<'_>| {
        let global = places::global(member.tree, "vrrp_version").map(|global| global.keyword.span);
        let own = places::setting(member.instance, &["version"]).map(|own| own.keyword.span);
        own.or(global).unwrap_or_else(|| member.place(&[]))
    };
    let label = |member: &Member<'_>| match member.router.version {
        Version::V2 => "version 2",
        Version::V3 => "version 3",
    };
    let message = format!(
        "virtual router {} has two versions of the protocol: neither balancer hears the other",
        other.router.vrid
    );
    diagnostics.push(
        Diagnostic::error(codes::DIFFERENT_VERSION, place(other), message)
            .label(label(other))
            .related(place(first), label(first))
            .hint("give both the same `version`, or the same `vrrp_version` in `global_defs`"),
    );
}

fn check_authentication(first: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let (one, two) = (&first.router.authentication, &other.router.authentication);
    let vrid = other.router.vrid;
    match (one, two) {
        (Authentication::Hmac(one), Authentication::Hmac(two)) => {
            if one.accepts(two) && two.accepts(one) {
                return;
            }
            let place = |member: &Member<'_>| member.place(&["auth_hmac"]);
            let message = format!(
                "virtual router {vrid} is signed in a way that not every balancer accepts: adverts are refused"
            );
            diagnostics.push(
                Diagnostic::error(codes::DIFFERENT_PASSWORD, place(other), message)
                    .label("other keys, or another mode")
                    .related(place(first), "than here")
                    .hint("give every balancer the same keys under the same numbers"),
            );
            return;
        }
        // It neither signs nor wants others to.
        (Authentication::Hmac(hmac), Authentication::None)
        | (Authentication::None, Authentication::Hmac(hmac))
            if hmac.mode == HmacMode::ReceiveOnly =>
        {
            return;
        }
        _ => {}
    }
    if discriminant(one) != discriminant(two) {
        let place = |member: &Member<'_>| member.place(&["auth_hmac", "authentication"]);
        let label = |authentication: &Authentication| match authentication {
            Authentication::None => "not authenticated",
            _ => "authenticated like this",
        };
        let message =
            format!("virtual router {vrid} is authenticated in two ways: each balancer refuses the other");
        diagnostics.push(
            Diagnostic::error(codes::DIFFERENT_AUTHENTICATION, place(other), message)
                .label(label(two))
                .related(place(first), label(one))
                .hint("write the same `authentication` block on every balancer"),
        );
    } else {
        check_password(first, other, diagnostics);
    }
}

/// Of a password adverts carry eight bytes (none in version 3), and the peer link goes by all of it.
fn check_password(first: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let vrid = other.router.vrid;
    let place = |member: &Member<'_>| {
        let block = places::setting(member.instance, &["authentication"]);
        let password = block.and_then(|block| places::setting(block, &["auth_pass"]));
        password.map_or_else(|| member.place(&["auth_hmac"]), |password| password.keyword.span)
    };
    let diagnostic = if first.router.authentication != other.router.authentication {
        let message =
            format!("virtual router {vrid} has two different passwords: each balancer refuses the other");
        Diagnostic::error(codes::DIFFERENT_PASSWORD, place(other), message)
    } else if first.router.link_secret != other.router.link_secret {
        let message = format!(
            "virtual router {vrid} has passwords that differ where adverts do not carry them: the balancers have no peer link"
        );
        Diagnostic::warning(codes::DIFFERENT_PASSWORD, place(other), message)
    } else {
        return;
    };
    diagnostics.push(
        diagnostic
            .label("not the same password")
            .related(place(first), "as here")
            .hint("write the same password on every balancer"),
    );
}

fn check_interval(first: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let (one, two) = (first.router.advert_interval, other.router.advert_interval);
    if one == two {
        return;
    }
    let (vrid, place) = (other.router.vrid, |member: &Member<'_>| member.place(&["advert_int"]));
    // A version 3 backup follows the interval it hears (RFC 9568 §6.4.2); version 2 has to agree on it.
    let diagnostic = if other.router.version == Version::V3 {
        let message = format!(
            "virtual router {vrid} has two advert intervals: how soon a failure is seen depends on which balancer is active"
        );
        Diagnostic::warning(codes::DIFFERENT_INTERVAL, place(other), message)
    } else {
        let message = format!(
            "virtual router {vrid} has two advert intervals: each balancer refuses the other's adverts"
        );
        Diagnostic::error(codes::DIFFERENT_INTERVAL, place(other), message)
    };
    diagnostics.push(
        diagnostic
            .label(two.to_string())
            .related(place(first), one.to_string())
            .hint("write the same `advert_int` on every balancer"),
    );
}

fn check_addresses(first: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let vrid = other.router.vrid;
    for (excluded, keyword) in [(false, "virtual_ipaddress"), (true, "virtual_ipaddress_excluded")] {
        let (one, two) = (first.addresses(excluded), other.addresses(excluded));
        if one == two {
            continue;
        }
        let place = |member: &Member<'_>| member.place(&[keyword]);
        let only = |these: &BTreeSet<IpAddr>, those| match listed(these.difference(those)) {
            Some(list) => format!("only here: {list}"),
            None => "fewer here".to_owned(),
        };
        let diagnostic = if excluded {
            let message = format!("virtual router {vrid} moves other addresses along on another balancer");
            Diagnostic::warning(codes::DIFFERENT_ADDRESSES, place(other), message)
        } else {
            let message = format!(
                "virtual router {vrid} has other addresses on another balancer: Keepalived refuses such adverts"
            );
            Diagnostic::error(codes::DIFFERENT_ADDRESSES, place(other), message)
        };
        diagnostics.push(
            diagnostic
                .label(only(&two, &one))
                .related(place(first), only(&one, &two))
                .hint(format!("write the same addresses in `{keyword}` on every balancer")),
        );
    }
}

/// Addresses in a few words; `None` if there are none.
fn listed<'a>(mut addresses: impl Iterator<Item = &'a IpAddr>) -> Option<String> {
    let some: Vec<String> = addresses.by_ref().take(SHOWN_ADDRESSES).map(IpAddr::to_string).collect();
    let rest = addresses.count();
    let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    (!some.is_empty()).then(|| some.join(", ") + &more)
}

/// More than that nobody compares by eye.
const SHOWN_ADDRESSES: usize = 3;

fn check_delivery(first: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let (one, two) = (&first.router.delivery, &other.router.delivery);
    let same = match (one, two) {
        (Delivery::Multicast { group }, Delivery::Multicast { group: other }) => group == other,
        _ => discriminant(one) == discriminant(two),
    };
    if same {
        return;
    }
    let place = |member: &Member<'_>| member.place(&["unicast_peer", "mcast_dst_ip"]);
    let label = |delivery: &Delivery| match delivery {
        Delivery::Multicast { group } => format!("multicast to {group}"),
        Delivery::Unicast { .. } => "unicast to these peers".to_owned(),
    };
    let message = format!(
        "virtual router {} sends its adverts in two ways: the balancers do not hear each other",
        other.router.vrid
    );
    diagnostics.push(
        Diagnostic::error(codes::DIFFERENT_DELIVERY, place(other), message)
            .label(label(two))
            .related(place(first), label(one))
            .hint("name the other balancers in `unicast_peer` on every balancer, or on none"),
    );
}

/// Reports that `member` does not send to `other`.
fn check_peers(member: &Member<'_>, other: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let (Delivery::Unicast { peers, .. }, Some(source)) = (&member.router.delivery, other.router.source)
    else {
        return;
    };
    // Two balancers with one address were reported, and so was one that sends to a group.
    let multicast = matches!(other.router.delivery, Delivery::Multicast { .. });
    let named = peers.iter().any(|peer| peer.address == source);
    if named || member.router.source == Some(source) || multicast {
        return;
    }
    let message = format!(
        "virtual router {}: `{source}` is not among the peers, hears no adverts, and becomes active too",
        member.router.vrid
    );
    diagnostics.push(
        Diagnostic::error(codes::ONE_SIDED, member.place(&["unicast_peer"]), message)
            .label("not among these")
            .related(other.place(&["unicast_src_ip", "mcast_src_ip"]), "its address")
            .hint(format!("add `{source}` to `unicast_peer`")),
    );
}

fn check_priority(earlier: &[Member<'_>], member: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let priority = member.router.priority;
    let Some(twin) = earlier.iter().find(|other| other.router.priority == priority) else { return };
    let place = |member: &Member<'_>| member.place(&["priority", "state"]);
    let message = format!(
        "virtual router {} has the priority {priority} twice: the higher address decides who is active",
        member.router.vrid
    );
    diagnostics.push(
        Diagnostic::warning(codes::EQUAL_PRIORITY, place(member), message)
            .label("the same priority")
            .related(place(twin), "as here")
            .hint("give the balancer that you prefer a higher `priority`"),
    );
}

fn check_masters(earlier: &[Member<'_>], member: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let Some(first) = earlier.iter().find(|other| other.starts_active() && member.starts_active()) else {
        return;
    };
    let message = format!(
        "virtual router {} has `state MASTER` on two balancers; the priority decides, not the state",
        member.router.vrid
    );
    diagnostics.push(
        Diagnostic::warning(codes::TWO_MASTERS, member.place(&["state"]), message)
            .label("MASTER here")
            .related(first.place(&["state"]), "and here")
            .hint("write `state BACKUP` on all but the balancer with the highest priority"),
    );
}

fn check_source(earlier: &[Member<'_>], member: &Member<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let Some(source) = member.router.source else { return };
    let Some(twin) = earlier.iter().find(|other| other.router.source == Some(source)) else { return };
    let place = |member: &Member<'_>| member.place(&["unicast_src_ip", "mcast_src_ip"]);
    let message = format!("virtual router {}: two balancers have the address `{source}`", member.router.vrid);
    diagnostics.push(
        Diagnostic::error(codes::SAME_SOURCE, place(member), message)
            .label("the second one")
            .related(place(twin), "the first one")
            .hint("write each balancer's own address"),
    );
}

/// `nopreempt` keeps one balancer from taking over; a router that starts as active takes over all the same.
fn check_preemption(group: &[Member<'_>], diagnostics: &mut Vec<Diagnostic>) {
    let active = group.iter().filter(|member| member.starts_active());
    let Some(taker) = active.max_by_key(|member| member.router.priority) else { return };
    let waits = |member: &&Member<'_>| {
        places::setting(member.instance, &["nopreempt"]).is_some()
            && !member.starts_active()
            && member.router.priority < taker.router.priority
    };
    let Some(waiter) = group.iter().find(waits) else { return };
    let message = format!(
        "virtual router {}: `state MASTER` takes over whenever it returns, in spite of `nopreempt` here",
        waiter.router.vrid
    );
    diagnostics.push(
        Diagnostic::warning(codes::PREEMPTED_ANYWAY, waiter.place(&["nopreempt"]), message)
            .label("keeps this balancer alone from taking over")
            .related(taker.place(&["state"]), "this one takes over")
            .hint("to leave the addresses where they are, write `state BACKUP` and `nopreempt` on every balancer"),
    );
}

/// Reports the balancers that do not have the virtual router of `group`, whose first member is `first`.
fn check_presence(
    first: &Member<'_>,
    group: &[Member<'_>],
    groups: &[Vec<Member<'_>>],
    balancers: &[Balancer],
    diagnostics: &mut Vec<Diagnostic>,
) {
    for (index, balancer) in balancers.iter().enumerate() {
        if group.iter().any(|member| member.balancer == index) {
            continue;
        }
        let place = |member: &Member<'_>| member.place(&["virtual_router_id"]);
        if let Some(double) = double(first, index, groups) {
            // The other way round it is the same finding.
            if first.balancer < index {
                let message = format!(
                    "`{}` and `{}` seem to be one virtual router, but have the ids {} and {}",
                    first.router.name, double.router.name, first.router.vrid, double.router.vrid
                );
                diagnostics.push(
                    Diagnostic::error(codes::DIFFERENT_VRID, place(double), message)
                        .label(double.router.vrid.to_string())
                        .related(place(first), first.router.vrid.to_string())
                        .hint("write the same `virtual_router_id` on every balancer"),
                );
            }
            continue;
        }
        let message = format!("{} has no virtual router {}", balancer.file, first.router.vrid);
        diagnostics.push(
            Diagnostic::warning(codes::NOT_EVERYWHERE, place(first), message)
                .label("not on every balancer")
                .hint("a virtual router is only protected by the balancers that have it"),
        );
    }
}

/// What `balancer` has in place of `member`: a router that the balancer of `member` lacks in turn, with the same name
/// or an address in common.
fn double<'a, 'b>(
    member: &Member<'_>,
    balancer: usize,
    groups: &'b [Vec<Member<'a>>],
) -> Option<&'b Member<'a>> {
    let lacking = groups.iter().filter(|group| group.iter().all(|other| other.balancer != member.balancer));
    lacking.flatten().filter(|other| other.balancer == balancer).find(|other| {
        other.router.name == member.router.name
            || !other.addresses(false).is_disjoint(&member.addresses(false))
    })
}
