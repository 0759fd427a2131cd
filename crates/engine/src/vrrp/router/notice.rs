//! What one router notices about the others: whom it refuses, who is active beside it, who is odd though taken.
//!
//! Owns when that is said. Nothing here changes who is active: two routers that refuse each other both are, as with
//! Keepalived, but not in silence.

use std::net::IpAddr;
use std::time::Duration;

use super::differences::{Difference, Sight, Subject, Who};
use super::receive::Mismatch;
use super::{Delivery, Priority, Router, State, mending};
use crate::limits;
use crate::time::Instant;
use crate::vrrp::event::VrrpEvent;
use crate::vrrp::hmac;
use crate::vrrp::packet::{Advert, ChecksumForm, Form, GROUP, Malformed};

/// A refused datagram.
pub(super) struct Refusal {
    sender: IpAddr,
    name: &'static str,
    detail: String,
    hint: &'static str,
    claims: bool,
    /// The sender's, if it can be known.
    interval: Option<Duration>,
    lets_go: bool,
}

impl Refusal {
    /// Of an advert that does not fit.
    pub(super) fn of(advert: &Advert, mismatch: &Mismatch) -> Self {
        // Who repeats others' adverts is no router.
        let is_none_of_ours =
            matches!(mismatch, Mismatch::VridTaken(_) | Mismatch::Hmac(hmac::Refusal::Replay));
        Self {
            sender: advert.source,
            name: mismatch.name(),
            detail: mismatch.to_string(),
            hint: mending::of_mismatch(mismatch),
            claims: !is_none_of_ours,
            interval: Some(advert.interval.to_duration()),
            lets_go: advert.priority == Priority::RELEASE,
        }
    }

    /// Of a datagram that could not be read.
    pub(super) fn of_malformed(sender: IpAddr, malformed: Malformed) -> Self {
        Self {
            sender,
            name: malformed.name(),
            detail: malformed.to_string(),
            hint: mending::of_malformed(malformed),
            claims: mending::is_of_a_router(malformed),
            interval: None,
            lets_go: false,
        }
    }
}

impl Router {
    /// Counts and names a refused datagram.
    pub(super) fn refuse(&mut self, refusal: Refusal, now: Instant) {
        let Refusal { sender, name, detail, hint, claims, interval, lets_go } = refusal;
        let refused = self.counters.refused.entry(name).or_default();
        refused.count += 1;
        refused.latest = format!("{sender}: {detail}");
        let sight = Sight {
            who: Who::Router(sender),
            subject: Subject::Refusal,
            kind: name,
            detail: format!("is refused: {detail}"),
            hint,
            harmful: true,
            claims: claims && !lets_go,
            certain: true,
            pace: interval.unwrap_or_else(|| self.config.advert_interval.to_duration()),
        };
        let was_beside = self.differences.see(sight, now).is_some_and(|difference| difference.both_active);
        if self.complaints.worth_saying(name, sender, &detail, now) {
            let router = self.config.name.clone();
            self.say(VrrpEvent::PeerMismatch { router, peer: sender, mismatch: name, detail, hint });
        }
        self.name_claimants(now);
        // It said so to others, and its addresses may be known as there.
        if was_beside && lets_go && self.state == State::Active {
            self.announce_against_lower_priority(now);
        }
    }

    /// Says who is active beside this router, though it refuses them, if that is news.
    pub(super) fn name_claimants(&mut self, now: Instant) {
        if self.state != State::Active {
            return;
        }
        for Sight { who, kind, hint, .. } in self.differences.take_claimants(now) {
            self.counters.both_active += 1;
            let address = self.address_of(who);
            if self.complaints.worth_saying("both_active", address, kind, now) {
                let (router, peer) = (self.config.name.clone(), who.to_string());
                self.say(VrrpEvent::BothActive { router, peer, mismatch: kind, hint });
            }
        }
    }

    /// Looks at what is odd about an advert that is taken.
    pub(super) fn look_closer(&mut self, advert: &Advert, now: Instant) {
        self.differences.agree(Who::Router(advert.source));
        self.look_for_stranger(advert, now);
        self.look_at_checksum(advert, now);
        if advert.priority == self.config.priority {
            let what = format!("advertises priority {}, as this router does", advert.priority);
            let detail = format!("{what}; of two equals the one with the higher address is active");
            let hint = "give each router of the group a `priority` of its own";
            self.notice(odd(advert, Subject::EqualPriority, "equal_priority", detail, hint), now);
        }
    }

    /// An active router of lower claim goes on although this router's adverts tell it to yield.
    pub(super) fn look_for_deafness(&mut self, advert: &Advert, now: Instant) {
        let (source, priority, own) = (advert.source, advert.priority, self.priority());
        let lasts = self.differences.lasts(Who::Router(source), Subject::SecondActive, now);
        let interval = advert.interval.to_duration();
        let patience = limits::YIELD_PATIENCE.max(interval * 2);
        let detail = format!(
            "is active too, with priority {priority}, and does not yield to this router's {own}: it does not hear this \
             router, or refuses it"
        );
        let hint = "see what that router says of this one, and let protocol 112 pass from here to there (firewalls, \
                    multicast snooping of switches)";
        let sight = Sight {
            harmful: true,
            certain: lasts >= patience,
            ..odd(advert, Subject::SecondActive, "second_active", detail, hint)
        };
        self.notice(sight, now);
    }

    /// Remembers a sight, and says it when it is news. One that does no harm is said once while it lasts.
    pub(super) fn notice(&mut self, sight: Sight, now: Instant) {
        let known = self.differences.get(sight.who, sight.subject).is_some_and(|known| known.said);
        let certain = sight.certain;
        if self.differences.see(sight.clone(), now).is_some() && certain {
            self.say_differs(sight, known, now);
        }
    }

    /// Says what is wrong with another router, unless that is `known` and does no harm, or was said lately.
    pub(super) fn say_differs(&mut self, sight: Sight, known: bool, now: Instant) {
        let Sight { who, kind: difference, detail, hint, harmful, .. } = sight;
        let worth_saying = self.complaints.worth_saying(difference, self.address_of(who), &detail, now);
        if !known || (harmful && worth_saying) {
            let (router, who) = (self.config.name.clone(), who.to_string());
            self.say(VrrpEvent::PeerDiffers { router, who, difference, detail, hint, harmful });
        }
    }

    /// Whom complaints are about.
    fn address_of(&self, who: Who) -> IpAddr {
        match who {
            Who::Router(address) => address,
            Who::Host(_) => self.nobody(),
        }
    }

    /// Says what has ended. After a split, the LAN may still know the addresses as elsewhere.
    pub(super) fn end_differences(&mut self, now: Instant) {
        let ended = self.differences.take_ended(now);
        self.say_ended(ended, now);
    }

    /// As [`Router::end_differences`], for what nobody can see any more because this router is not active.
    pub(super) fn end_activity(&mut self, now: Instant) {
        let ended = self.differences.end_activity();
        self.say_ended(ended, now);
    }

    fn say_ended(&mut self, ended: Vec<Difference>, now: Instant) {
        for ended in ended.into_iter().filter(|ended| ended.said) {
            let Sight { who, subject, kind: difference, .. } = ended.sight;
            let (router, who) = (self.config.name.clone(), who.to_string());
            self.say(VrrpEvent::DifferenceEnded { router, who, difference, agrees: ended.agrees });
            let was_split =
                ended.both_active || matches!(subject, Subject::SecondActive | Subject::AddressConflict(_));
            if was_split && self.state == State::Active {
                self.announce_against_lower_priority(now);
            }
        }
    }

    /// What a difference means for who is active, as `status` continues its sentence.
    pub(super) fn consequence(&self, difference: &Difference, now: Instant) -> &'static str {
        match self.state {
            _ if !self.differences.claims(difference, now) => "",
            State::Active => "; both are active, neither hears the other",
            State::Backup if self.peer.is_none() => {
                "; this router does not hear it and will be active beside it"
            }
            _ => "",
        }
    }

    /// A unicast sender that is not a configured peer counts, as with Keepalived, but is named.
    fn look_for_stranger(&mut self, advert: &Advert, now: Instant) {
        let Delivery::Unicast { peers, .. } = &self.config.delivery else { return };
        if peers.iter().any(|known| known.address == advert.source) {
            return;
        }
        let detail = "is not one of this router's peers; its adverts count nevertheless".to_owned();
        let sight = Sight {
            harmful: true,
            ..odd(advert, Subject::Stranger, "stranger", detail, mending::of_mismatch(&Mismatch::Stranger))
        };
        self.notice(sight, now);
    }

    /// Routers that understand one form of the checksum alone refuse those that send another.
    fn look_at_checksum(&mut self, advert: &Advert, now: Instant) {
        let Form::V3 { checksum: theirs } = advert.form else { return };
        let on_wire = |form| match form {
            ChecksumForm::GroupPseudoHeader if advert.destination == IpAddr::V4(GROUP) => {
                ChecksumForm::PseudoHeader
            }
            form => form,
        };
        let differs = |form| on_wire(form) != on_wire(theirs);
        let before = self.heard_checksum.replace((advert.source, theirs));
        let detail = match (self.config.checksum, before) {
            (Some(ours), _) if differs(ours) => {
                format!("sends checksums {theirs}, this router {ours}")
            }
            (None, Some((other, form))) if other != advert.source && differs(form) => {
                format!("sends checksums {theirs}, {other} {form}")
            }
            _ => return,
        };
        let detail = format!("{detail}; this router takes both, others may not");
        let hint = "write `v3_checksum_as_v2` on all sides, or on none, and no `old_unicast_checksum`";
        self.notice(odd(advert, Subject::ChecksumForm, "checksum_form", detail, hint), now);
    }
}

/// Something about an advert that is taken, which does no harm by itself.
fn odd(advert: &Advert, subject: Subject, kind: &'static str, detail: String, hint: &'static str) -> Sight {
    Sight {
        who: Who::Router(advert.source),
        subject,
        kind,
        detail,
        hint,
        harmful: false,
        claims: false,
        certain: true,
        pace: advert.interval.to_duration(),
    }
}
