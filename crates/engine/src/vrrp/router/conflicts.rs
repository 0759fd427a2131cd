//! Whether somebody else on the link has the addresses too: a host with the address configured, a dead router's kernel, a
//! router that does not hear this one.
//!
//! While active, a router asks for each address who else has it (RFC 5227 §2.1.1), beginning with its first advert,
//! which the question does not delay. It also hears everybody who says so unasked (§2.4). A takeover is no conflict: the
//! predecessor's last announcements are expected, so an answer has to come twice, once of that after
//! [`limits::CONFLICT_SETTLING`], and is judged a moment later, when every advert that could explain it has arrived.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::differences::{Sight, Subject, Who};
use super::{Router, State, Timer};
use crate::engine::Output;
use crate::limits;
use crate::plan::HardwareAddress;
use crate::plan::VirtualAddress;
use crate::time::Instant;

/// When each address was last announced against somebody else's claim.
pub(super) type Defended = BTreeMap<IpAddr, Instant>;

impl Router {
    /// Takes in that somebody else says that it has an address.
    pub(crate) fn handle_address_claimed(
        &mut self,
        interface: &str,
        address: IpAddr,
        hardware: HardwareAddress,
        now: Instant,
    ) {
        self.start_over_if_overslept(now);
        let is_own = self.all_addresses().any(|own| own.address == address && own.interface == interface);
        if self.state != State::Active || !is_own || self.is_virtual(hardware) {
            return;
        }
        let (who, subject) = (Who::Host(hardware), Subject::AddressConflict(address));
        let sight = Sight {
            who,
            subject,
            kind: "address_conflict",
            detail: format!("answers for {address} too, so some clients are led there"),
            hint: "find the machine with that hardware address and take the address off it; if it is a balancer of this \
                   group, see why it is active too",
            harmful: true,
            claims: false,
            // That is judged later: an advert that explains it may be under way.
            certain: false,
            pace: limits::CONFLICT_PROBE_INTERVAL,
        };
        self.notice(sight, now);
        self.timers.set_sooner(Timer::Probe, now, limits::CONFLICT_REPEAT);
        self.check_invariants();
    }

    /// Says which claims are conflicts, and announces against them.
    fn judge_conflicts(&mut self, now: Instant) {
        if self.state != State::Active {
            return;
        }
        for sight in self.differences.confirm_conflicts(self.since + limits::CONFLICT_SETTLING, now) {
            let (subject, known) = (sight.subject, sight.certain);
            self.say_differs(sight, known, now);
            let Subject::AddressConflict(address) = subject else { continue };
            let lately =
                self.defended.get(&address).is_some_and(|&at| now.since(at) < limits::DEFEND_INTERVAL);
            let own = self.all_addresses().find(|own| own.address == address).cloned();
            if let Some(own) = own.filter(|_| !lately) {
                // RFC 5227 §2.4 (b): once, so that those who heard the other hear this router again.
                self.defended.insert(address, now);
                self.announce_one(&own);
            }
        }
        self.name_claimants(now);
    }

    /// Asks who else has the addresses, and when to ask again.
    pub(super) fn probe_addresses(&mut self, now: Instant) {
        self.judge_conflicts(now);
        let settled = now.since(self.since) >= limits::CONFLICT_SETTLING;
        let pause = match settled {
            false => limits::CONFLICT_SETTLING,
            true if self.differences.has_conflict() => limits::CONFLICT_PROBE_INTERVAL,
            true => limits::PROBE_INTERVAL,
        };
        self.timers.set(Timer::Probe, now, pause);
        if self.state != State::Active {
            return;
        }
        let probe =
            |own: &VirtualAddress| Output::Probe { interface: own.interface.clone(), address: own.address };
        let probes: Vec<_> = self.all_addresses().map(probe).collect();
        self.outputs.extend(probes);
    }

    /// Whether a hardware address is that of this virtual router itself (RFC 9568 §7.3), which all its routers share.
    fn is_virtual(&self, hardware: HardwareAddress) -> bool {
        let vrid = self.config.vrid.get();
        matches!(hardware.0, [0x00, 0x00, 0x5e, 0x00, 0x01 | 0x02, last] if last == vrid)
    }
}
