//! How one router explains itself.

use super::{HandOver, Peer, Preempt, Priority, Purpose, Router, State, Timer};
use crate::admin::{RefusedStatus, RouterStatus};
use crate::time::Instant;
use crate::vrrp::phrase::Span;

impl Router {
    /// Everything there is to see of it at `now`.
    pub(crate) fn status(&self, now: Instant) -> RouterStatus {
        let config = &self.config;
        let refused = self.counters.refused.iter().map(|(&reason, refused)| RefusedStatus {
            reason: reason.to_owned(),
            count: refused.count,
            latest: refused.latest.clone(),
        });
        let addresses = config.addresses.iter().chain(&config.excluded_addresses);
        RouterStatus {
            name: config.name.clone(),
            interface: config.interface.clone(),
            vrid: config.vrid.get(),
            state: self.state_name().to_owned(),
            reason: self.reason(now),
            since: now.since(self.since),
            priority: config.priority.0,
            effective_priority: match self.state {
                State::Fault | State::Stopped => 0,
                _ => self.priority().0,
            },
            tracking: self.conditions.tracking.changes.clone(),
            active_peer: self
                .peer
                .filter(|peer| peer.priority != Priority::RELEASE && self.state != State::Active)
                .map(|peer| peer.address.to_string()),
            addresses: addresses.map(|own| format!("{}/{}", own.address, own.prefix_length)).collect(),
            addresses_installed: self.addresses.installed(),
            virtual_mac: config
                .virtual_mac
                .as_ref()
                .map(|own| format!("{} on {}", own.address, own.interface)),
            routing: self.routing_status(),
            transitions_to_active: self.counters.became_active,
            adverts_sent: self.counters.sent,
            adverts_received: self.counters.received,
            refused: refused.collect(),
            differences: self.differences.status(|difference| self.consequence(difference, now), now),
            differences_total: self.differences.totals(),
            differences_left_out: self.differences.left_out(),
            both_active_total: self.counters.both_active,
        }
    }

    /// Its state, as `status` spells it.
    pub(crate) fn state_name(&self) -> &'static str {
        self.state.name()
    }

    fn reason(&self, now: Instant) -> String {
        let state = self.state.name();
        let why = &self.why;
        match self.state {
            State::Initialize | State::Fault => format!("{state}: {why}"),
            State::Active | State::Stopped => format!("{state} {why}{}", self.standing_by_phrase(now)),
            State::Backup => format!("{}{}", self.backup_reason(now), self.standing_by_phrase(now)),
            State::HandingOver(HandOver { purpose, .. }) => {
                let left = Span(self.timers.left(Timer::HandOverBound, now));
                let purpose = match purpose {
                    Purpose::Stop => "in order to stop",
                    Purpose::StandBy => "as an operator asked",
                    Purpose::Follow => "because another router of its group is a backup",
                };
                format!(
                    "{state} {purpose}: keeps the addresses until another router is heard, for {left} at most"
                )
            }
        }
    }

    fn backup_reason(&self, now: Instant) -> String {
        if self.waits_for_group() {
            return "backup: could take over, waits for the other routers of its group".to_owned();
        }
        let own = self.priority();
        let left = Span(self.timers.left(Timer::ActiveDown, now));
        let Some(Peer { address, priority, .. }) = self.peer else {
            let wait = Span(self.master_down());
            return format!("backup: waiting {wait} for another active router, {left} left");
        };
        if priority == Priority::RELEASE {
            return format!("backup: {address} let go, takes over in {left}");
        }
        let heard = format!("{address} advertises priority {priority}");
        if priority >= own {
            let relation = if priority == own { '=' } else { '>' };
            return format!("backup because {heard} {relation} {own}");
        }
        match (self.config.preempt, self.preempt_from) {
            (Preempt::Never, _) => format!("backup because {heard} < {own} and preemption is off"),
            (Preempt::After(_), Some(from)) if now < from => {
                format!("backup: {heard} < {own}, is put up with for {} more", Span(from.since(now)))
            }
            (Preempt::After(_), _) => match self.courtesy.left(address, now) {
                Some(more) => format!(
                    "backup: {heard} < {own}, is put up with until it has told of its connections, for {} at most",
                    Span(more)
                ),
                None => format!("backup: {heard} < {own}, takes over in {left}"),
            },
        }
    }

    fn standing_by_phrase(&self, now: Instant) -> String {
        self.standing_by.map_or_else(String::new, |since| {
            let ago = Span(now.since(since));
            format!(", standing by since the hand-over {ago} ago; `mainstay resume` ends it")
        })
    }
}

impl State {
    /// As `status` spells it.
    const fn name(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
            Self::HandingOver(_) => "handing over",
            Self::Fault => "fault",
            Self::Stopped => "stopped",
        }
    }
}
