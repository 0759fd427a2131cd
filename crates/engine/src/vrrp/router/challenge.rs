//! The question to an active router whose process seems to have ended (docs/adr/0004).
//!
//! Its kernel closed the peer link and refuses a new one, which a firewall can feign. So the router itself is asked: an
//! advert of the lowest priority is one that every living active router answers at once (RFC 9568 §6.4.3). Silence, on
//! top of a link that was closed and refused, is a dead process; the three adverts that RFC 9568 waits for are then not
//! worth waiting for. An answer ends it: nothing has happened.

use std::net::IpAddr;
use std::time::Duration;

use super::{Delivery, LAN_TTL, Priority, Router, State, Timer};
use crate::limits;
use crate::time::Instant;
use crate::vrrp::event::VrrpEvent;
use crate::vrrp::packet::Advert;
use crate::vrrp::phrase::Span;

/// How long any living router may take to answer.
const PATIENCE: Duration = Duration::from_millis(10);

/// Added in part, by priority, so that of several backups the best one takes over (as `Skew_Time`, RFC 9568 §6.1).
const LONGEST_SKEW: Duration = Duration::from_millis(10);

/// When the addresses of a process that died just now are gone: their lifetime, and what a kernel may be late.
const AFTER_DEATH: Duration = limits::ADDRESS_LIFETIME.saturating_add(Duration::from_millis(250));

/// Time between announcements until then: a client that asked just now was perhaps answered by the dead host's kernel.
const UNTIL_THEN: Duration = Duration::from_millis(125);

/// A challenge under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    peer: IpAddr,
    sent: Instant,
}

impl Router {
    /// Asks the active router whether it lives, if it is `peer` that this router follows.
    pub(crate) fn challenge(&mut self, peer: IpAddr, now: Instant) {
        self.listen_again_if_overslept(now);
        let follows = self.peer.is_some_and(|active| {
            let lately = now.since(active.heard) < self.master_down();
            active.address == peer && active.priority != Priority::RELEASE && lately
        });
        if self.state != State::Backup || !follows || self.timers.is_set(Timer::Challenge) {
            return;
        }
        let (asked, ttl) = match self.config.delivery {
            Delivery::Multicast { group } => (group, LAN_TTL),
            // The others of the group are not asked, and need not wonder.
            Delivery::Unicast { ttl, .. } => (peer, ttl),
        };
        self.transmit_to(vec![asked], ttl, Priority::LOWEST, now);
        self.challenge = Some(Challenge { peer, sent: now });
        let skew = LONGEST_SKEW * (256 - u32::from(self.priority().0)) / 256;
        self.timers.set(Timer::Challenge, now, PATIENCE + skew);
        self.say(VrrpEvent::ActiveChallenged { router: self.config.name.clone(), peer });
    }

    /// The time for an answer is over.
    pub(super) fn judge_challenge(&mut self, now: Instant) {
        let unanswered = self.challenge.is_some_and(|challenge| self.is_unanswered(challenge));
        if self.state != State::Backup || !unanswered {
            self.challenge = None;
        } else if self.membership.is_some() {
            self.wait_for_group(now);
        } else {
            self.take_over(now);
        }
    }

    /// Why the peer that was asked is gone, once the time for an answer is over.
    pub(super) fn take_unanswered(&mut self, now: Instant) -> Option<String> {
        let challenge = self.challenge.take().filter(|&challenge| self.is_unanswered(challenge))?;
        let Challenge { peer, sent } = challenge;
        let waited = Span(now.since(sent));
        Some(format!(
            "because {peer} is gone: its kernel closed and refuses the peer link, and nobody answered for {waited}"
        ))
    }

    fn is_unanswered(&self, Challenge { peer, sent }: Challenge) -> bool {
        self.peer.is_some_and(|active| active.address == peer && active.heard < sent)
    }

    /// Begins to announce against the kernel of a host whose daemon died.
    pub(super) fn outlive(&mut self, now: Instant) {
        self.timers.set(Timer::AfterDeath, now, UNTIL_THEN);
    }

    /// Announces the addresses again as long as the dead host's kernel may have them, and answer ARP for them, too.
    pub(super) fn announce_after_death(&mut self, now: Instant) {
        self.announce(1);
        if now.since(self.since) < AFTER_DEATH {
            self.timers.set(Timer::AfterDeath, now, UNTIL_THEN);
        }
    }

    /// Whether an advert of a lower priority is no claim but the question of a backup: one that claims says it again at
    /// every interval. What follows a question within the time for an answer is a copy of it, which LANs make.
    pub(super) fn is_challenged_by(&mut self, advert: &Advert, now: Instant) -> bool {
        if advert.priority != Priority::LOWEST {
            return false;
        }
        let before = self.challenged.filter(|&(peer, _)| peer == advert.source).map(|(_, at)| now.since(at));
        if before.is_some_and(|before| before < PATIENCE) {
            return true;
        }
        self.challenged = Some((advert.source, now));
        before.is_none_or(|before| before >= self.master_down())
    }

    /// Whether an advert is another backup's question to the active router that this one follows, too. A router that let
    /// go is asked nothing, and whoever succeeds with the lowest priority of all says it again.
    pub(super) fn overhears_challenge(&mut self, advert: &Advert, now: Instant) -> bool {
        let follows_another = self.peer.is_some_and(|active| {
            let lately = now.since(active.heard) < self.master_down();
            active.address != advert.source && active.priority != Priority::RELEASE && lately
        });
        follows_another && self.is_challenged_by(advert, now)
    }
}
