//! Make before break: a router that stops or hands over keeps its addresses until a successor is heard.
//!
//! It announces priority 0, again at every advert interval, and goes on serving. The first valid advert of another
//! router ends it. Without one it ends after [`bound`]: a router that stops lets go then, one that was only asked to
//! hand over stays active with the lowest priority, because nobody else would serve.

use std::net::IpAddr;
use std::time::Duration;

use super::{Peer, Priority, Router, State, Timer};
use crate::limits;
use crate::plan::Router as Config;
use crate::time::Instant;
use crate::vrrp::event::VrrpEvent;

/// Why a stopped router is stopped.
const STOPPED: &str = "because the daemon is exiting";

/// A hand-over under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HandOver {
    pub(super) purpose: Purpose,
    pub(super) started: Instant,
}

/// What becomes of the router afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It takes no part any more: the daemon exits.
    Stop,
    /// It stays as a backup of last resort.
    StandBy,
    /// It stays as a backup, as another router of its sync group is one.
    Follow,
}

/// How long a successor may take: even if it misses every priority 0, its master-down interval ends within four advert
/// intervals, three missed adverts and a skew that is below one more (below a second in version 2, whose shortest
/// interval that is). Whoever hears a priority 0 needs no longer than its skew, see [`limits::HAND_OVER_LEAST`].
fn bound(config: &Config) -> Duration {
    let patience = config.advert_interval.to_duration() * (u32::from(config.missed_adverts) + 1);
    patience.max(limits::HAND_OVER_LEAST) + limits::HAND_OVER_MARGIN
}

impl Router {
    /// Gives the addresses to a peer for good.
    pub(crate) fn handle_stop(&mut self, now: Instant) {
        self.start_over_if_overslept(now);
        match self.state {
            State::Stopped => {}
            State::HandingOver(hand_over) => {
                self.state = State::HandingOver(HandOver { purpose: Purpose::Stop, ..hand_over });
            }
            State::Active if self.has_peers() => self.hand_over(Purpose::Stop, now),
            // It gave its addresses away already; the connections it keeps them for still have their time.
            State::Backup if self.addresses.drains() => {
                self.timers.clear(Timer::ActiveDown);
                self.timers.clear(Timer::Challenge);
                self.enter(State::Stopped, STOPPED.to_owned(), now);
            }
            State::Initialize | State::Backup | State::Active | State::Fault => self.stop(now),
        }
        self.check_invariants();
    }

    /// Why the addresses cannot be handed over now; nothing if they can.
    pub(crate) fn refuses_hand_over(&self) -> Option<String> {
        let name = &self.config.name;
        match self.state {
            State::Stopped | State::HandingOver(HandOver { purpose: Purpose::Stop, .. }) => {
                Some("the daemon is stopping, which hands over anyway".to_owned())
            }
            State::Active if !self.has_peers() => {
                Some(format!("router {name} has no peer that could take its addresses"))
            }
            _ => None,
        }
    }

    /// Gives the addresses to a peer and stays a backup of last resort. Only if [`Router::refuses_hand_over`] does not.
    pub(crate) fn handle_hand_over(&mut self, now: Instant) {
        self.start_over_if_overslept(now);
        if self.standing_by.is_none() {
            self.standing_by = Some(now);
            match self.state {
                State::Active => self.hand_over(Purpose::StandBy, now),
                // It goes on giving its addresses away, now because it was asked to.
                State::HandingOver(hand_over) if hand_over.purpose == Purpose::Follow => {
                    self.state = State::HandingOver(HandOver { purpose: Purpose::StandBy, ..hand_over });
                }
                _ => {}
            }
        }
        self.check_invariants();
    }

    /// Whether an operator made it a backup of last resort.
    pub(crate) fn is_standing_by(&self) -> bool {
        self.standing_by.is_some()
    }

    /// Takes part with its own priority again.
    pub(crate) fn handle_resume(&mut self, now: Instant) {
        self.start_over_if_overslept(now);
        if self.standing_by.take().is_none() {
            return;
        }
        self.say(VrrpEvent::Resumed { router: self.config.name.clone() });
        if let State::HandingOver(HandOver { purpose: Purpose::StandBy, .. }) = self.state {
            self.stay_active("because the hand-over was ended", now);
            self.settle(now);
        }
        self.check_invariants();
    }

    /// Whether it takes no part any more and holds nothing.
    pub(crate) fn has_stopped(&self) -> bool {
        self.state == State::Stopped && !self.addresses.drains()
    }

    /// Lets go: to a successor that was heard, or to nobody.
    pub(super) fn let_go(&mut self, hand_over: HandOver, successor: Option<Peer>, now: Instant) {
        let (router, took) = (self.config.name.clone(), now.since(hand_over.started).as_secs_f64());
        let successor_address: Option<IpAddr> = successor.map(|peer| peer.address);
        self.say(VrrpEvent::HandedOver { router, successor: successor_address, took });
        match hand_over.purpose {
            Purpose::Stop if successor.is_some() => {
                self.timers.clear_all();
                self.end_drain();
                self.release_to_successor(now);
                self.enter(State::Stopped, STOPPED.to_owned(), now);
            }
            Purpose::Stop => self.stop(now),
            purpose => {
                self.peer = successor;
                let why = match purpose {
                    Purpose::Follow => "because another router of its group is one".to_owned(),
                    _ => "because it handed over".to_owned(),
                };
                match successor {
                    Some(_) => self.yield_to_successor(why, now),
                    None => self.become_backup(why, now),
                }
                self.settle(now);
            }
        }
    }

    /// The bound was reached.
    pub(super) fn give_up_waiting(&mut self, now: Instant) {
        let State::HandingOver(hand_over) = self.state else { return };
        match hand_over.purpose {
            Purpose::Stop | Purpose::Follow => self.let_go(hand_over, None, now),
            Purpose::StandBy => {
                self.say(VrrpEvent::HandOverUnanswered { router: self.config.name.clone() });
                self.stay_active("because no successor was heard", now);
                self.settle(now);
            }
        }
    }

    pub(super) fn hand_over(&mut self, purpose: Purpose, now: Instant) {
        // Announcing the addresses again would take them back from the successor.
        self.timers.clear(Timer::SecondBurst);
        self.timers.clear(Timer::AfterDeath);
        self.timers.clear(Timer::LowerPriorityBurst);
        self.timers.clear(Timer::Refresh);
        self.timers.clear(Timer::RefreshElsewhere);
        self.enter(State::HandingOver(HandOver { purpose, started: now }), String::new(), now);
        self.advertise(Priority::RELEASE, now);
        self.timers.set(Timer::HandOverBound, now, bound(&self.config));
        let (router, stopping) = (self.config.name.clone(), purpose == Purpose::Stop);
        self.say(VrrpEvent::HandingOver { router, stopping });
    }

    /// Ends a hand-over without having let go.
    pub(super) fn stay_active(&mut self, why: &str, now: Instant) {
        self.timers.clear(Timer::HandOverBound);
        self.enter(State::Active, why.to_owned(), now);
        self.advertise(self.priority(), now);
    }

    fn stop(&mut self, now: Instant) {
        self.timers.clear_all();
        self.end_drain();
        self.release_addresses();
        self.enter(State::Stopped, STOPPED.to_owned(), now);
    }
}
