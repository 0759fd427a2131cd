//! The moment after a move: connections that are in the middle of something end where they began.
//!
//! Owns the drain of docs/adr/0002. For [`HAND_OVER_DRAIN`] after a live router gave its addresses to another, it keeps
//! them for the connections it has, but is silent about them in ARP; and the successor sends on to it the frames of
//! connections that began there. State and timers of RFC 9568 know nothing of it: the one who drains is a backup, or has
//! stopped. Should the daemon die meanwhile, the addresses' lifetime and that of the rules end the drain.

use std::net::{IpAddr, Ipv4Addr};

use super::{Router, Timer};
use crate::engine::{Forwarded, HandOverRules, Output};
use crate::limits::HAND_OVER_DRAIN;
use crate::plan::VirtualAddress;
use crate::time::Instant;
use crate::vrrp::event::VrrpEvent;

impl Router {
    /// Lets the addresses that it holds go to a successor that was heard: at once, or when the connections had time to end.
    pub(super) fn release_to_successor(&mut self, now: Instant) {
        let addresses = self.drainable();
        if addresses.is_empty() {
            return self.release_addresses();
        }
        // The rules come first: nothing of this host may answer for the addresses once the successor does.
        self.hand_over_rules(Some(HandOverRules::Silence { addresses }));
        // For the last time: nothing renews them any more.
        self.install_all();
        self.addresses.let_drain();
        self.timers.set(Timer::DrainEnd, now, HAND_OVER_DRAIN);
    }

    /// Has connections that began at `predecessor` end there, while this router takes over from it.
    pub(super) fn forward_strays(&mut self, predecessor: IpAddr, now: Instant) {
        let IpAddr::V4(predecessor) = predecessor else { return };
        let addresses = self.drainable();
        if !addresses.is_empty() {
            // The engine knows what the kernel forwards.
            let except = Forwarded::default();
            self.hand_over_rules(Some(HandOverRules::Forward { addresses, to: predecessor, except }));
            self.timers.set(Timer::DrainEnd, now, HAND_OVER_DRAIN);
        }
    }

    /// Ends a drain and whatever else was set up for a move.
    pub(super) fn end_drain(&mut self) {
        if self.addresses.drains() {
            self.remove_addresses();
            self.addresses.end_drain();
        }
        self.end_hand_over_rules();
    }

    /// Ends a drain because the addresses are taken again.
    pub(super) fn cut_drain_short(&mut self) {
        self.addresses.end_drain();
        self.end_hand_over_rules();
    }

    /// Ends what a daemon that was killed during a drain left in force.
    pub(super) fn end_left_over_rules(&mut self) {
        if !self.drainable().is_empty() {
            self.hand_over_rules(None);
        }
    }

    /// Takes in that the rules for a move could not be set.
    pub(crate) fn handle_hand_over_rules_failed(&mut self, reason: String, now: Instant) {
        let nobody = self.nobody();
        if self.complaints.worth_saying("hand_over_rules", nobody, &reason, now) {
            let router = self.config.name.clone();
            self.say(VrrpEvent::NoDrain { router, reason });
        }
        // Without silence in ARP, keeping the addresses would take them back from the successor. The rules are ended though
        // they failed: others may have been set before this was known.
        self.end_drain();
    }

    fn end_hand_over_rules(&mut self) {
        self.timers.clear(Timer::DrainEnd);
        if std::mem::take(&mut self.has_hand_over_rules) {
            self.hand_over_rules(None);
        }
    }

    fn hand_over_rules(&mut self, rules: Option<HandOverRules>) {
        self.has_hand_over_rules = rules.is_some();
        let (interface, vrid) = (self.config.interface.clone(), self.config.vrid);
        self.outputs.push_back(Output::HandOverRules { interface, vrid, rules });
    }

    /// The addresses, if all of them are IPv4 and on the interface that adverts come by: only there it is known whom the
    /// frames of others should go to. Otherwise none.
    fn drainable(&self) -> Vec<Ipv4Addr> {
        let ipv4 = |own: &VirtualAddress| match own.address {
            IpAddr::V4(address) if own.interface == self.config.interface => Some(address),
            _ => None,
        };
        self.all_addresses().map(ipv4).collect::<Option<_>>().unwrap_or_default()
    }
}
