//! The virtual addresses of one router: installed, renewed, announced, and let go.
//!
//! An installed address has a short lifetime that is renewed while the router owns it, so the kernel takes it away when
//! the daemon dies or hangs. Rules for an address that cannot be installed:
//! 1. it is tried again at every renewal, and said once;
//! 2. after a whole master-down interval of failures the router is in a fault, so that a peer can serve;
//! 3. it comes back after [`limits::INSTALL_HOLD`], twice as long each time in a row, as a backup that listens first.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use super::{Router, State, Timer};
use crate::engine::Output;
use crate::limits;
use crate::plan::VirtualAddress;
use crate::time::Instant;
use crate::vrrp::event::VrrpEvent;

/// What is known about one router's addresses.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    held: bool,
    /// Whether they are still there for old connections, though a successor owns them.
    drains: bool,
    /// When an address was last put back out of turn.
    restored: Option<Instant>,
    /// Whether the next renewal announces, because an address was missing meanwhile.
    announce_at_renewal: bool,
    /// When a burst last answered a lower-priority advert.
    answered: Option<Instant>,
    failures: Failures,
}

#[derive(Debug, Default)]
struct Failures {
    /// What failed, and why, since all of it last worked.
    reasons: BTreeMap<VirtualAddress, String>,
    /// Since when something fails at every renewal.
    since: Option<Instant>,
    /// Whether something failed since the latest renewal.
    fresh: bool,
    /// The fault that came of it.
    fault: Option<String>,
    /// Faults in a row.
    faults: u32,
}

impl Addresses {
    /// Whether the router owns its addresses now.
    pub(super) fn held(&self) -> bool {
        self.held
    }

    /// Whether they are there for old connections only.
    pub(super) fn drains(&self) -> bool {
        self.drains
    }

    /// They stay where they are, and are not owned any more.
    pub(super) fn let_drain(&mut self) {
        *self = Self { drains: true, failures: self.failures.kept(), ..Self::default() };
    }

    /// They are not kept for old connections any more.
    pub(super) fn end_drain(&mut self) {
        self.drains = false;
    }

    /// Whether they really are installed, as far as is known.
    pub(super) fn installed(&self) -> bool {
        self.held && self.failures.reasons.is_empty()
    }

    /// Why they cannot be installed at all.
    pub(super) fn fault(&self) -> Option<&str> {
        self.failures.fault.as_deref()
    }

    /// How long that fault lasts.
    pub(super) fn fault_hold(&self) -> Option<Duration> {
        self.failures.fault.as_ref()?;
        let doubled = 2_u32.saturating_pow(self.failures.faults.saturating_sub(1));
        Some(limits::INSTALL_HOLD.saturating_mul(doubled).min(limits::INSTALL_HOLD_MAX))
    }

    /// Whether a lower-priority advert is to be answered with a burst now; remembers it if so.
    fn may_answer_lower_priority(&mut self, now: Instant) -> bool {
        let lately = self.answered.is_some_and(|at| now.since(at) < limits::LOWER_PRIORITY_BURST_GAP);
        if !lately {
            self.answered = Some(now);
        }
        !lately
    }

    /// Lets the router try again.
    pub(super) fn end_fault(&mut self) {
        self.failures.fault = None;
    }
}

impl Failures {
    /// What outlives the ownership of the addresses.
    fn kept(&mut self) -> Self {
        let Self { fault, faults, .. } = std::mem::take(self);
        Self { fault, faults, ..Self::default() }
    }
}

impl Router {
    /// Takes in that somebody else removed an address.
    pub(crate) fn handle_address_gone(&mut self, interface: &str, address: IpAddr, now: Instant) {
        self.start_over_if_overslept(now);
        let gone =
            self.all_addresses().find(|own| own.address == address && own.interface == interface).cloned();
        let Some(gone) = gone.filter(|_| self.addresses.held) else { return };
        // Somebody who removes it again and again gets it back at the pace of renewals, not in a loop.
        if self.addresses.restored.is_some_and(|restored| now.since(restored) < limits::ADDRESS_RENEWAL) {
            self.addresses.announce_at_renewal = true;
            return;
        }
        self.addresses.restored = Some(now);
        self.install(gone.clone());
        for _ in 0..self.config.announce.repeat {
            self.announce_one(&gone);
        }
        let (router, address) = (self.config.name.clone(), gone.address);
        self.say(VrrpEvent::AddressRestored { router, address });
    }

    /// Takes in that an address could not be installed.
    pub(crate) fn handle_install_failed(&mut self, address: &VirtualAddress, reason: String, now: Instant) {
        self.start_over_if_overslept(now);
        if !self.addresses.held || !self.all_addresses().any(|own| own == address) {
            return;
        }
        let failures = &mut self.addresses.failures;
        failures.fresh = true;
        failures.since.get_or_insert(now);
        if failures.reasons.get(address) == Some(&reason) {
            return;
        }
        failures.reasons.insert(address.clone(), reason.clone());
        let (router, address) = (self.config.name.clone(), address.address);
        self.say(VrrpEvent::InstallFailed { router, address, reason });
    }

    /// Takes the addresses and makes them known.
    pub(super) fn install_addresses(&mut self, now: Instant) {
        self.addresses.held = true;
        self.renew(now);
        self.install_routing();
        self.announce(self.config.announce.repeat);
        let policy = self.config.announce;
        if !policy.delay.is_zero() {
            self.timers.set(Timer::SecondBurst, now, policy.delay);
        }
        self.arm_refresh(now);
        self.arm_refresh_elsewhere(now);
    }

    /// Renews the addresses' lifetimes, which also tries again what failed.
    pub(super) fn renew_addresses(&mut self, now: Instant) {
        let failures = &mut self.addresses.failures;
        if std::mem::take(&mut failures.fresh) {
            let failing = failures.since.map_or(Duration::ZERO, |since| now.since(since));
            // A router that hands over is about to let go anyway.
            if failing >= self.master_down() && self.state == State::Active {
                return self.fail_to_install(now);
            }
        } else if failures.since.is_some() {
            *failures = Failures::default();
            self.addresses.announce_at_renewal = true;
            self.say(VrrpEvent::InstallRecovered { router: self.config.name.clone() });
        } else {
            failures.faults = 0;
        }
        self.renew(now);
        self.renew_routing();
        if std::mem::take(&mut self.addresses.announce_at_renewal) {
            self.announce(self.config.announce.repeat);
        }
    }

    /// Lets the addresses go, if they are held.
    pub(super) fn release_addresses(&mut self) {
        if self.addresses.held {
            self.remove_addresses();
        }
        self.addresses = Addresses { failures: self.addresses.failures.kept(), ..Addresses::default() };
    }

    /// Removes the addresses, and what moves along with them, whether they are known to be there or not.
    pub(super) fn remove_addresses(&mut self) {
        self.remove_routing();
        let removals = self.all_addresses().map(|own| Output::RemoveAddress { address: own.clone() });
        let removals: Vec<_> = removals.collect();
        self.outputs.extend(removals);
    }

    /// Announces every address a number of times.
    pub(super) fn announce(&mut self, repeat: u32) {
        let addresses: Vec<_> = self.all_addresses().cloned().collect();
        for _ in 0..repeat {
            for address in &addresses {
                self.announce_one(address);
            }
        }
    }

    /// Announces the addresses once more, as long as the router is active.
    pub(super) fn refresh_announcements(&mut self, now: Instant) {
        self.announce(self.config.announce.refresh_repeat);
        self.arm_refresh(now);
    }

    /// Announces once the addresses on interfaces that no adverts leave by, whose switches forget where they are.
    pub(super) fn refresh_elsewhere(&mut self, now: Instant) {
        let own = &self.config.interface;
        let elsewhere: Vec<_> = self.all_addresses().filter(|it| it.interface != *own).cloned().collect();
        elsewhere.iter().for_each(|address| self.announce_one(address));
        self.arm_refresh_elsewhere(now);
    }

    /// Whether it owns this very address now.
    pub(crate) fn owns(&self, interface: &str, address: IpAddr) -> bool {
        self.addresses.held
            && self.all_addresses().any(|own| own.interface == interface && own.address == address)
    }

    /// Announces the addresses after somebody else claimed them with less right, unless it just did; whether it did.
    pub(super) fn announce_against_lower_priority(&mut self, now: Instant) -> bool {
        if !self.addresses.may_answer_lower_priority(now) {
            return false;
        }
        let policy = self.config.announce;
        self.announce(policy.lower_priority_repeat);
        if !policy.lower_priority_delay.is_zero() {
            self.timers.set(Timer::LowerPriorityBurst, now, policy.lower_priority_delay);
        }
        true
    }

    fn arm_refresh(&mut self, now: Instant) {
        if let Some(refresh) = self.config.announce.refresh.filter(|refresh| !refresh.is_zero()) {
            self.timers.set(Timer::Refresh, now, refresh);
        }
    }

    fn arm_refresh_elsewhere(&mut self, now: Instant) {
        let elsewhere = self.all_addresses().any(|own| own.interface != self.config.interface);
        let refresh = self.config.announce.other_interfaces_refresh.filter(|_| elsewhere);
        if let Some(refresh) = refresh.filter(|refresh| !refresh.is_zero()) {
            self.timers.set(Timer::RefreshElsewhere, now, refresh);
        }
    }

    fn fail_to_install(&mut self, now: Instant) {
        let failures = &mut self.addresses.failures;
        let what: Vec<_> = std::mem::take(&mut failures.reasons)
            .into_iter()
            .map(|(own, reason)| format!("{} cannot be installed: {reason}", own.address))
            .collect();
        failures.fault = Some(what.join(", "));
        failures.faults = failures.faults.saturating_add(1);
        self.settle(now);
    }

    fn renew(&mut self, now: Instant) {
        self.install_all();
        self.timers.set(Timer::Renewal, now, limits::ADDRESS_RENEWAL);
    }

    /// Gives every address a whole lifetime from now on.
    pub(super) fn install_all(&mut self) {
        let addresses: Vec<_> = self.all_addresses().cloned().collect();
        for address in addresses {
            self.install(address);
        }
    }

    fn install(&mut self, address: VirtualAddress) {
        let lifetime = Some(limits::ADDRESS_LIFETIME);
        self.outputs.push_back(Output::InstallAddress { address, lifetime });
    }

    pub(super) fn announce_one(&mut self, own: &VirtualAddress) {
        let (interface, address) = (own.interface.clone(), own.address);
        self.outputs.push_back(Output::Announce { interface, address });
    }

    pub(super) fn all_addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.config.addresses.iter().chain(&self.config.excluded_addresses)
    }
}
