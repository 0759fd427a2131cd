//! Where two nodes of a group differ though they should not.
//!
//! Owns [`shared_parts`], the parts of a plan that balancers of one group have in common, and [`drift`]. Priorities, own
//! addresses, interfaces, preemption and tracking are a node's own affair and in no part.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::view::View;
use crate::plan::{Authentication, Plan, Router};

/// Clocks further apart than this make logs of two nodes hard to read side by side, and certificates and replay windows
/// disagree. Views are one LAN's delay old.
const CLOCKS_APART: Duration = Duration::from_secs(2);

/// A digest of each part of `plan` that balancers of one group share, by what it is.
pub(crate) fn shared_parts(plan: &Plan) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for router in &plan.routers {
        texts.entry(format!("virtual router {}", router.vrid)).or_default().push(shared_part(router));
    }
    for pool in &plan.pools {
        // Within one version of mainstay, equal plans read equal; others are not compared.
        texts.entry(format!("pool {}", pool.name)).or_default().push(format!("{pool:?}"));
    }
    for nat in plan.frontends.iter().filter_map(|frontend| frontend.forwarding.nat()) {
        // A flow finds its server on another balancer only if both choose alike.
        for endpoint in &nat.endpoints {
            let part = format!("kernel forwarding of {endpoint}");
            texts.entry(part).or_default().push(format!("{:?}", nat.key));
        }
    }
    texts
        .into_iter()
        .map(|(name, mut texts)| {
            texts.sort();
            (name, digest(&texts.join("\n")))
        })
        .collect()
}

fn shared_part(router: &Router) -> String {
    let kind = match router.authentication {
        Authentication::None => "none",
        Authentication::Password(_) => "password",
        Authentication::Hmac(_) => "hmac",
    };
    let mut text = format!("{:?} {} {kind}", router.version, router.advert_interval);
    let advertised = router.addresses.iter().map(|own| (true, own.address));
    let excluded = router.excluded_addresses.iter().map(|own| (false, own.address));
    let mut addresses: Vec<_> = advertised.chain(excluded).collect();
    addresses.sort();
    for address in addresses {
        let _ = write!(text, " {address:?}");
    }
    text
}

/// FNV-1a: differences by mistake are what it has to find.
fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// What differs between this node and a peer, one sentence each. `clock_ahead_ms` is how far the peer's clock is ahead.
pub(crate) fn drift(own: &View, peer: &View, clock_ahead_ms: i64) -> Vec<String> {
    let mut drift = Vec::new();
    if own.version == peer.version {
        for (name, digest) in &own.configuration {
            match peer.configuration.get(name) {
                Some(theirs) if theirs != digest => {
                    drift.push(format!("{name} is configured differently there"));
                }
                None if !peer.shortened => drift.push(format!("{name} is not configured there")),
                _ => {}
            }
        }
        let theirs = peer.configuration.keys().filter(|name| !own.configuration.contains_key(*name));
        if !own.shortened {
            drift.extend(theirs.map(|name| format!("{name} is configured only there")));
        }
    } else {
        drift.push(format!("it runs mainstay {}, this node {}", peer.version, own.version));
    }
    if clock_ahead_ms.unsigned_abs() > u64::try_from(CLOCKS_APART.as_millis()).unwrap_or(u64::MAX) {
        let apart = Duration::from_millis(clock_ahead_ms.unsigned_abs()).as_secs();
        let direction = if clock_ahead_ms > 0 { "ahead of" } else { "behind" };
        drift.push(format!("its clock is {apart} s {direction} this node's"));
    }
    drift
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FlowKey, Forwarding, Frontend, Nat, Pool, PoolId, Priority};
    use crate::vrrp::testing;

    fn pool(name: &str, retries: u32) -> Pool {
        Pool { retries, ..Pool::new(name, Vec::new()) }
    }

    fn view(plan: &Plan) -> View {
        View { version: "1".to_owned(), configuration: shared_parts(plan), ..View::default() }
    }

    #[test]
    fn what_is_a_nodes_own_affair_is_no_drift() {
        let mut other = testing::router(100);
        other.interface = "ens160".to_owned();
        other.priority = Priority(7);
        other.name = "other".to_owned();
        let (own, peer) = (
            Plan { routers: vec![testing::router(120)], pools: vec![pool("k8s", 3)], ..Plan::default() },
            Plan { routers: vec![other], pools: vec![pool("k8s", 3)], ..Plan::default() },
        );
        assert_eq!(drift(&view(&own), &view(&peer), 1999), [""; 0]);
    }

    #[test]
    fn each_part_that_differs_is_named() {
        let mut other = testing::router(100);
        other.addresses.clear();
        let own =
            Plan { routers: vec![testing::router(100)], pools: vec![pool("k8s", 3)], ..Plan::default() };
        let mut peer = Plan { routers: vec![other], pools: vec![pool("dns", 3)], ..Plan::default() };
        let endpoints = vec!["192.0.2.1:6443".parse().unwrap()];
        let forwarding = Forwarding::Nat(Nat { endpoints, key: FlowKey::Address });
        peer.frontends.push(Frontend { forwarding, ..Frontend::new("api", Vec::new(), PoolId(0)) });
        assert_eq!(
            drift(&view(&own), &view(&peer), -3500),
            [
                "pool k8s is not configured there",
                "virtual router 33 is configured differently there",
                "kernel forwarding of 192.0.2.1:6443 is configured only there",
                "pool dns is configured only there",
                "its clock is 3 s behind this node's",
            ]
        );
    }

    #[test]
    fn another_version_is_named_and_nothing_else_compared() {
        let own = view(&Plan { pools: vec![pool("k8s", 3)], ..Plan::default() });
        let peer = View { version: "2".to_owned(), ..View::default() };
        assert_eq!(drift(&own, &peer, 0), ["it runs mainstay 2, this node 1"]);
    }
}
