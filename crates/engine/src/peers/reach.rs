//! How much of what the group reaches this node reaches: what its health is worth in an election.
//!
//! Owns [`Reach`], the servers that a peer reaches and this node does not, and for how long. Three rules keep addresses
//! where they are when nothing would be gained by moving them:
//! 1. only a fresh view of a peer that reaches a server makes its loss a lack, so that nobody flaps when it is gone for
//!    all;
//! 2. a lack counts when it has lasted for longer than two nodes can differ about a server that dies or wavers
//!    ([`Patience`]);
//! 3. when the peer's views stop, a lack stays: this node reaches no more than before.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::view::View;
use crate::engine::Share;
use crate::plan::{Check, CheckKind, Plan};
use crate::time::Instant;

/// Added to what checks may take: a view is up to a second old, and machines are busy.
const MARGIN: Duration = Duration::from_secs(2);

/// What checks say of this node's servers. Servers in maintenance or without a check are in neither set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnReach {
    /// Servers that count, `pool/server`.
    pub servers: BTreeSet<String>,
    /// Those of them that take connections.
    pub reached: BTreeSet<String>,
}

/// How long a lack has to last before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Patience {
    /// While some servers are reached.
    some: Duration,
    /// While none is.
    none: Duration,
}

impl Patience {
    /// Two nodes that check one server notice its death up to one interval apart, or a time-out more when it goes
    /// silent. One that wavers can pass a last check on one node just then, which starts the counting to `fall` anew. A node
    /// that reaches nothing at all does not wait for that: all its servers waver together only if it is the cause.
    pub(super) fn of(plan: &Plan) -> Self {
        let checks = || plan.servers().filter_map(|(_, server)| server.check.as_ref());
        let one = |check: &Check| {
            let answer = if check.kind == CheckKind::Connect { Duration::ZERO } else { check.answer_timeout };
            check.interval.max(check.fast_interval) + check.connect_timeout + answer
        };
        let none = checks().map(one).max().unwrap_or_default();
        let some = checks().map(|check| one(check) * check.fall.max(1)).max().unwrap_or_default();
        Self { some: some + MARGIN, none: none + MARGIN }
    }
}

/// What one router's peers reach and this node does not.
#[derive(Debug, Default)]
pub(super) struct Reach {
    missing: BTreeMap<String, Missing>,
}

#[derive(Debug)]
struct Missing {
    since: Instant,
    /// The peer that reaches it.
    peer: IpAddr,
}

impl Reach {
    /// This node's share of what the group reaches, if it is less than all of it. `fresh` are the views of peers that were heard
    /// lately.
    pub(super) fn share<'a>(
        &mut self,
        own: &OwnReach,
        fresh: impl Iterator<Item = (IpAddr, &'a View)>,
        patience: Patience,
        now: Instant,
    ) -> Option<Share> {
        self.missing.retain(|name, _| own.servers.contains(name) && !own.reached.contains(name));
        let (mut claimed, mut heard) = (BTreeMap::new(), BTreeSet::new());
        for (peer, view) in fresh {
            heard.insert(peer);
            let lacks = |name: &&String| own.servers.contains(*name) && !own.reached.contains(*name);
            view.reaches.iter().filter(lacks).for_each(|name| {
                claimed.entry(name).or_insert(peer);
            });
        }
        self.missing.retain(|name, missing| claimed.contains_key(name) || !heard.contains(&missing.peer));
        for (name, peer) in claimed {
            self.missing.entry(name.clone()).or_insert(Missing { since: now, peer }).peer = peer;
        }
        let patience = if own.reached.is_empty() { patience.none } else { patience.some };
        let counts = |missing: &&Missing| now.since(missing.since) >= patience;
        let peer = self.missing.values().find(counts)?.peer;
        let of = own.reached.len() + self.missing.len();
        let reached = of - self.missing.values().filter(counts).count();
        Some(Share { reached, of, peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 9));
    const PATIENCE: Patience = Patience { some: Duration::from_secs(8), none: Duration::from_secs(4) };

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn own(reached: &[&str]) -> OwnReach {
        let set = |names: &[&str]| names.iter().map(|name| format!("p/{name}")).collect();
        OwnReach { servers: set(&["a", "b", "c"]), reached: set(reached) }
    }

    fn view(reaches: &[&str]) -> View {
        View { reaches: reaches.iter().map(|name| format!("p/{name}")).collect(), ..View::default() }
    }

    fn share(reach: &mut Reach, own: &OwnReach, view: Option<&View>, seconds: u64) -> Option<(usize, usize)> {
        let fresh = view.into_iter().map(|view| (PEER, view));
        reach.share(own, fresh, PATIENCE, at(seconds)).map(|share| (share.reached, share.of))
    }

    #[test]
    fn a_lack_counts_after_the_patience_and_ends_at_once() {
        let (mut reach, all) = (Reach::default(), view(&["a", "b", "c"]));
        for (seconds, expected) in [(0, None), (7, None), (8, Some((2, 3)))] {
            assert_eq!(share(&mut reach, &own(&["a", "b"]), Some(&all), seconds), expected, "at {seconds} s");
        }
        assert_eq!(share(&mut reach, &own(&["a", "b", "c"]), Some(&all), 9), None);
        assert_eq!(share(&mut reach, &own(&["a", "b"]), Some(&all), 10), None, "from the start again");
    }

    #[test]
    fn who_reaches_nothing_is_less_patient() {
        let (mut reach, one) = (Reach::default(), view(&["b"]));
        assert_eq!(share(&mut reach, &own(&[]), Some(&one), 0), None);
        assert_eq!(share(&mut reach, &own(&[]), Some(&one), 4), Some((0, 1)));
    }

    #[test]
    fn the_one_who_notices_a_death_first_loses_nothing() {
        let mut reach = Reach::default();
        assert_eq!(share(&mut reach, &own(&["a", "b"]), Some(&view(&["a", "b", "c"])), 0), None);
        assert_eq!(
            share(&mut reach, &own(&["a", "b"]), Some(&view(&["a", "b"])), 2),
            None,
            "noticed there too"
        );
        assert_eq!(share(&mut reach, &own(&["a", "b"]), Some(&view(&["a", "b"])), 60), None);
    }

    #[test]
    fn nobody_flaps_when_all_servers_are_gone_or_nothing_is_known() {
        let mut reach = Reach::default();
        for view in [None, Some(&view(&[]))] {
            assert_eq!(share(&mut reach, &own(&[]), view, 0), None);
            assert_eq!(share(&mut reach, &own(&[]), view, 60), None);
        }
    }

    #[test]
    fn a_lack_outlives_the_views_but_none_begins_without_them() {
        let (mut reach, all) = (Reach::default(), view(&["a", "b", "c"]));
        share(&mut reach, &own(&[]), Some(&all), 0);
        assert_eq!(share(&mut reach, &own(&[]), Some(&all), 4), Some((0, 3)));
        assert_eq!(share(&mut reach, &own(&[]), None, 60), Some((0, 3)), "it still reaches nothing");
        assert_eq!(share(&mut reach, &own(&["a"]), None, 61), Some((1, 3)));
        assert_eq!(share(&mut reach, &own(&["a", "b", "c"]), None, 62), None);
        assert_eq!(share(&mut reach, &own(&["a", "b"]), None, 80), None, "c may be gone for all");
    }

    #[test]
    fn servers_that_only_the_peer_has_do_not_count() {
        let mut reach = Reach::default();
        assert_eq!(share(&mut reach, &own(&["a", "b", "c"]), Some(&view(&["a", "d"])), 0), None);
        assert_eq!(share(&mut reach, &own(&["a", "b", "c"]), Some(&view(&["a", "d"])), 60), None);
    }
}
