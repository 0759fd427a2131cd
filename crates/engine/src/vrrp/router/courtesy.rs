//! How long a backup puts up with an active router of lower priority so that the move costs no connection: until that one has told
//! of those that its kernel forwards.
//!
//! Owns [`Courtesy`]. Whoever takes an address that another router has could as well take it a moment later; whoever takes one
//! that nobody has cannot wait.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::Router;
use crate::limits::FLOWS_AWAITED;
use crate::time::Instant;

/// Flows that are known here, and those that are waited for.
#[derive(Debug, Default)]
pub(super) struct Courtesy {
    /// Addresses of this router whose connections kernels forward.
    addresses: BTreeSet<IpAddr>,
    /// Peers, each with an address of which it has told all flows.
    told: BTreeSet<(IpAddr, IpAddr)>,
    /// Until when to wait for an active router that has not.
    until: Option<Instant>,
}

impl Courtesy {
    /// Waits for flows of these addresses from now on.
    pub(super) fn expect(&mut self, addresses: impl Iterator<Item = IpAddr>) {
        self.addresses = addresses.collect();
    }

    /// Takes in who has told all flows of which address.
    pub(super) fn learn(&mut self, told: &BTreeSet<(IpAddr, IpAddr)>) {
        self.told.clone_from(told);
    }

    /// Whether to leave the addresses to the active router `peer` for now.
    pub(super) fn wait_for(&mut self, peer: IpAddr, now: Instant) -> bool {
        self.misses_flows_of(peer) && now < *self.until.get_or_insert(now + FLOWS_AWAITED)
    }

    /// How long the addresses are left to `peer` still, if they are.
    pub(super) fn left(&self, peer: IpAddr, now: Instant) -> Option<Duration> {
        let until = self.until.filter(|until| now < *until && self.misses_flows_of(peer))?;
        Some(until.since(now))
    }

    /// Begins anew with the next active router.
    pub(super) fn end(&mut self) {
        self.until = None;
    }

    fn misses_flows_of(&self, peer: IpAddr) -> bool {
        self.addresses.iter().any(|address| !self.told.contains(&(peer, *address)))
    }
}

impl Router {
    /// Has it wait for flows of those of its addresses that are among these.
    pub(crate) fn expect_flows(&mut self, addresses: &BTreeSet<IpAddr>) {
        let own = self.config.addresses.iter().map(|own| own.address);
        self.courtesy.expect(own.filter(|own| addresses.contains(own)));
    }

    /// Takes in which peers have told all flows of which address.
    pub(crate) fn handle_flows_told(&mut self, told: &BTreeSet<(IpAddr, IpAddr)>) {
        self.courtesy.learn(told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_told_everything_is_not_waited_for_and_others_not_for_ever() {
        let [peer, other, address] = ["192.0.2.1", "192.0.2.2", "192.0.2.100"].map(|it| it.parse().unwrap());
        let now = Instant::from_nanos(0);
        let mut courtesy = Courtesy::default();
        assert!(!courtesy.wait_for(peer, now), "there are no flows to wait for");
        courtesy.expect([address].into_iter());
        assert!(courtesy.wait_for(peer, now));
        assert_eq!(courtesy.left(peer, now), Some(FLOWS_AWAITED));
        courtesy.learn(&BTreeSet::from([(other, address)]));
        assert!(courtesy.wait_for(peer, now + FLOWS_AWAITED / 2));
        assert!(!courtesy.wait_for(peer, now + FLOWS_AWAITED));
        assert_eq!(courtesy.left(peer, now + FLOWS_AWAITED), None);
        courtesy.end();
        assert!(courtesy.wait_for(peer, now + FLOWS_AWAITED), "the next one is waited for, too");
        courtesy.learn(&BTreeSet::from([(peer, address)]));
        assert!(!courtesy.wait_for(peer, now + FLOWS_AWAITED));
    }
}
