//! One virtual router: RFC 9568 §6.4, as Keepalived lives it where the two differ.
//!
//! Owns [`Router`], its states and the ways between them. `receive` judges adverts, `authenticate` their signatures,
//! `addresses` keeps the virtual addresses, `routing` what moves along with them, `hand_over` gives them away,
//! `challenge` asks an active router whether it lives, `drain` lets old connections end where they began, `group` is what
//! a member of a sync group leaves to it, `differences`, `notice` and `conflicts` name what is wrong with others,
//! `mending` how to mend it, `timers` says when things are due, `status` explains it all.
//!
//! ```text
//!   Initialize --> Backup <--> Active --> HandingOver --> Backup | Stopped
//!                    ^           |
//!                    +-- Fault <-+        (and from every state to Stopped)
//! ```
//! The addresses are held exactly in `Active` and `HandingOver`; debug builds check that after every input.

mod addresses;
mod authenticate;
mod challenge;
mod conflicts;
mod courtesy;
mod differences;
mod drain;
mod group;
mod hand_over;
mod mending;
mod notice;
mod receive;
mod routing;
mod status;
mod timers;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use self::addresses::Addresses;
use self::authenticate::authenticator;
use self::challenge::Challenge;
use self::conflicts::Defended;
use self::courtesy::Courtesy;
use self::differences::Differences;
use self::group::Membership;
pub(crate) use self::group::Standing;
use self::hand_over::{HandOver, Purpose};
use self::receive::Counters;
use self::routing::RoutingState;
use self::timers::{Timer, Timers};
use crate::engine::Output;
use crate::event::Event;
use crate::plan::{Delivery, HardwareAddress, Preempt, Priority, Router as Config, Version};
use crate::time::{Centis, Deadline, Instant, WallClock};
use crate::vrrp::complaints::Complaints;
use crate::vrrp::event::VrrpEvent;
use crate::vrrp::hmac::Authenticator;
use crate::vrrp::notify::{Moved, Notice, What};
use crate::vrrp::packet::{self, Advert, ChecksumForm, Form, LAN_TTL};
use crate::vrrp::phrase::Span;
use crate::vrrp::track::Tracking;

/// One virtual router, this balancer's part in it.
#[derive(Debug)]
pub(crate) struct Router {
    config: Config,
    state: State,
    since: Instant,
    /// Why it is in that state, as a phrase that `status` continues.
    why: String,
    conditions: Conditions,
    timers: Timers,
    /// The active router's interval (RFC 9568 §6.1, `Active_Adver_Interval`): its own until another is heard.
    active_interval: Centis,
    /// The other router that was last heard to be active.
    peer: Option<Peer>,
    /// What the version 3 checksum covered that was accepted last, and who sent it.
    heard_checksum: Option<(IpAddr, ChecksumForm)>,
    /// From when on a lower-priority active router is no longer put up with (`preempt_delay`).
    preempt_from: Option<Instant>,
    /// For how long it is put up with until it has told of its connections.
    courtesy: Courtesy,
    /// Since when an operator wants this router to be the last resort.
    standing_by: Option<Instant>,
    /// The question to the active router that is under way.
    challenge: Option<Challenge>,
    /// Who last asked this router whether it lives, and when.
    challenged: Option<(IpAddr, Instant)>,
    /// From when on the silence of other routers counts.
    not_before: Instant,
    /// When the latest advert was sent.
    advertised: Instant,
    /// The identification of the latest IP header.
    identification: u16,
    addresses: Addresses,
    /// Signs own adverts and judges others', if the configuration asks for it.
    authenticator: Option<Authenticator>,
    wall_clock: WallClock,
    routing: RoutingState,
    /// Whether rules for a move are set.
    has_hand_over_rules: bool,
    counters: Counters,
    complaints: Complaints,
    differences: Differences,
    defended: Defended,
    /// What it leaves to its sync group; `None` outside of one.
    membership: Option<Membership>,
    /// The move that others were told of last.
    noticed: Option<What>,
    /// What others are to be told, until [`Router::take_notices`].
    notices: Vec<Notice>,
    outputs: VecDeque<Output>,
}

/// RFC 9568 §6.4, with Keepalived's fault and mainstay's make before break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not everything it needs is known yet.
    Initialize,
    /// Listens to the active router.
    Backup,
    /// Owns the addresses.
    Active,
    /// Owns the addresses until a successor is heard.
    HandingOver(HandOver),
    /// Cannot take part.
    Fault,
    /// Takes no part any more.
    Stopped,
}

/// What the machine allows a router to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Conditions {
    /// Its own interface.
    pub(crate) link: Link,
    /// Everything else it tracks.
    pub(crate) tracking: Tracking,
}

/// A router's own interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// Nobody looked yet.
    Unknown,
    /// Adverts can leave from this address.
    Usable(IpAddr),
    /// Adverts cannot leave; the phrase says why.
    Unusable(String),
}

/// Another router that advertised itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Peer {
    address: IpAddr,
    /// [`Priority::RELEASE`] when it let go.
    priority: Priority,
    heard: Instant,
}

/// What keeps a router from taking part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// Something it has to know first.
    Awaited(String),
    /// Something that is wrong.
    Fault(String),
}

impl Router {
    /// A router that waits to learn its conditions. Left-over addresses and rules of an earlier life are
    /// removed.
    pub(crate) fn new(config: Config, conditions: Conditions, now: Instant) -> Self {
        let mut router = Self {
            state: State::Initialize,
            since: now,
            why: String::new(),
            conditions,
            timers: Timers::default(),
            active_interval: config.advert_interval,
            peer: None,
            heard_checksum: None,
            preempt_from: None,
            courtesy: Courtesy::default(),
            standing_by: None,
            challenge: None,
            challenged: None,
            not_before: Instant::default(),
            advertised: now,
            identification: 0,
            addresses: Addresses::default(),
            authenticator: authenticator(&config),
            wall_clock: WallClock::default(),
            routing: RoutingState::default(),
            has_hand_over_rules: false,
            counters: Counters::default(),
            complaints: Complaints::default(),
            differences: Differences::default(),
            defended: Defended::new(),
            membership: None,
            noticed: None,
            notices: Vec::new(),
            outputs: VecDeque::new(),
            config,
        };
        router.remove_addresses();
        router.end_left_over_rules();
        router.settle(now);
        router
    }

    /// Its part of the plan.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Takes in what the machine allows from now on.
    pub(crate) fn handle_conditions(&mut self, conditions: Conditions, now: Instant) {
        self.start_over_if_overslept(now);
        let before = self.conditions.tracking.priority;
        self.conditions = conditions;
        let tracking = &self.conditions.tracking;
        if tracking.priority != before && !matches!(self.state, State::Initialize | State::Stopped) {
            self.say(VrrpEvent::PriorityChanged {
                router: self.config.name.clone(),
                from: before,
                to: tracking.priority,
                because: tracking.changes.clone(),
            });
            self.notify(What::PriorityChanged { active: self.moved() == Some(Moved::Active) });
        }
        self.settle(now);
        self.check_invariants();
    }

    /// Takes in that an advert could not be sent. Peers judge that by its absence; people want to know.
    pub(crate) fn handle_send_failed(&mut self, reason: String, now: Instant) {
        let nobody = self.nobody();
        if self.complaints.worth_saying("send", nobody, &reason, now) {
            let (router, interface) = (self.config.name.clone(), self.config.interface.clone());
            self.say(VrrpEvent::SendFailed { router, interface, reason });
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.start_over_if_overslept(now);
        self.listen_again_if_overslept(now);
        while let Some(timer) = self.timers.take_due(now) {
            self.expire(timer, now);
        }
        self.end_differences(now);
        debug_assert!(self.poll_timeout().is_none_or(|deadline| deadline.at > now), "{:?}", self.timers);
        self.check_invariants();
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let end = self.differences.next_end().map(|at| Deadline { at, why: "end of a difference" });
        [self.timers.next(), end].into_iter().flatten().min()
    }

    /// Whether there is something to say.
    pub(crate) fn has_news(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Event(_)))
    }

    /// Where its adverts leave from.
    pub(crate) fn source(&self) -> Option<IpAddr> {
        match self.conditions.link {
            Link::Usable(source) => Some(source),
            Link::Unknown | Link::Unusable(_) => None,
        }
    }

    /// The other router that it last heard to be active.
    pub(crate) fn heard(&self) -> Option<IpAddr> {
        self.peer.map(|peer| peer.address)
    }

    fn expire(&mut self, timer: Timer, now: Instant) {
        match timer {
            Timer::ActiveDown if self.membership.is_some() => self.wait_for_group(now),
            Timer::ActiveDown => self.take_over(now),
            Timer::Challenge => self.judge_challenge(now),
            Timer::Advert => match self.state {
                State::HandingOver(_) => self.advertise(Priority::RELEASE, now),
                _ => self.advertise(self.priority(), now),
            },
            Timer::Renewal => self.renew_addresses(now),
            Timer::SecondBurst => self.announce(self.config.announce.repeat),
            Timer::AfterDeath => self.announce_after_death(now),
            Timer::Refresh => self.refresh_announcements(now),
            Timer::RefreshElsewhere => self.refresh_elsewhere(now),
            Timer::LowerPriorityBurst => self.announce(self.config.announce.lower_priority_repeat),
            Timer::Probe => self.probe_addresses(now),
            Timer::HandOverBound => self.give_up_waiting(now),
            Timer::DrainEnd => self.end_drain(),
            Timer::InstallHold => {
                self.addresses.end_fault();
                self.settle(now);
            }
        }
    }

    /// Brings the state in line with the conditions.
    fn settle(&mut self, now: Instant) {
        match (self.state, self.obstacle()) {
            (State::Stopped, _) | (State::Backup | State::Active, None | Some(Obstacle::Awaited(_))) => {}
            (State::Initialize, None) => self.start_up("since it started", now),
            (State::Fault, None) => self.start_up("since its fault is over", now),
            (State::Initialize, Some(Obstacle::Awaited(what))) => self.why = format!("waiting for {what}"),
            (State::Fault, Some(Obstacle::Awaited(what) | Obstacle::Fault(what))) => self.why = what,
            (State::Initialize | State::Backup | State::Active, Some(Obstacle::Fault(reason))) => {
                self.enter_fault(reason, now);
            }
            // What is tracked says who should take over, which is under way; only a lost link ends it.
            (State::HandingOver(hand_over), _) => {
                if let Link::Unusable(_) = self.conditions.link {
                    self.let_go(hand_over, None, now);
                }
            }
        }
    }

    fn obstacle(&self) -> Option<Obstacle> {
        let group = || self.membership.as_ref().and_then(|membership| membership.obstacle.clone());
        match self.own_obstacle() {
            Some(Obstacle::Awaited(what)) => group()
                .filter(|obstacle| matches!(obstacle, Obstacle::Fault(_)))
                .or(Some(Obstacle::Awaited(what))),
            own => own.or_else(group),
        }
    }

    /// What keeps it from taking part, whatever is with the others of its group.
    pub(crate) fn own_obstacle(&self) -> Option<Obstacle> {
        if self.state == State::Stopped {
            return None;
        }
        let tracking = &self.conditions.tracking;
        if let Link::Unusable(reason) = &self.conditions.link {
            return Some(Obstacle::Fault(reason.clone()));
        }
        if !tracking.faults.is_empty() {
            return Some(Obstacle::Fault(tracking.faults.join(", ")));
        }
        if let Some(reason) = self.addresses.fault() {
            return Some(Obstacle::Fault(reason.to_owned()));
        }
        if let Link::Unknown = self.conditions.link {
            return Some(Obstacle::Awaited(format!("the state of interface {}", self.config.interface)));
        }
        (!tracking.awaited.is_empty()).then(|| Obstacle::Awaited(tracking.awaited.join(", ")))
    }

    /// Lets the silence of other routers begin to count at `at` only.
    pub(crate) fn delay_start(&mut self, at: Instant) {
        self.not_before = at;
    }

    /// Takes over unless another router is heard for so long.
    fn listen_for(&mut self, span: Duration, now: Instant) {
        self.timers.set(Timer::ActiveDown, now.max(self.not_before), span);
    }

    /// RFC 9568 §6.4.1. "state MASTER" changes nothing here: only an owner does without listening first.
    fn start_up(&mut self, why: &str, now: Instant) {
        self.active_interval = self.config.advert_interval;
        self.peer = None;
        let owns = self.priority() == Priority::OWNER;
        if owns && self.membership.is_none() && self.not_before <= now {
            self.become_active("because it owns the addresses".to_owned(), None, now);
        } else {
            self.become_backup(why.to_owned(), now);
            if owns {
                self.listen_for(Duration::ZERO, now);
            }
        }
    }

    /// The active router was silent for too long, let go, died, or is put up with no longer.
    fn take_over(&mut self, now: Instant) {
        if let Some(why) = self.take_unanswered(now) {
            self.become_active(why, None, now);
            return self.outlive(now);
        }
        let own = self.priority();
        // Whoever was heard lately is alive, and has connections.
        let predecessor = self.peer.filter(|peer| now.since(peer.heard) < self.master_down());
        let why = match self.peer {
            Some(Peer { address, priority: Priority::RELEASE, .. }) => format!("because {address} let go"),
            Some(peer) if peer.priority < own && now.since(peer.heard) < self.master_down() => {
                format!("because its priority {own} is above the {} of {}", peer.priority, peer.address)
            }
            peer => {
                let silent = now.since(peer.map_or(self.since, |peer| peer.heard));
                format!("since no other router was heard for {}", Span(silent))
            }
        };
        self.become_active(why, predecessor.map(|peer| peer.address), now);
    }

    /// RFC 9568 §6.4.1 and §6.4.2: the advert comes first, so that a rival stops before the address is here.
    fn become_active(&mut self, why: String, predecessor: Option<IpAddr>, now: Instant) {
        self.timers.clear_all();
        self.expect_nothing_of_group();
        self.enter(State::Active, why, now);
        (self.peer, self.preempt_from) = (None, None);
        self.courtesy.end();
        self.counters.became_active += 1;
        self.advertise(self.priority(), now);
        self.cut_drain_short();
        if let Some(predecessor) = predecessor {
            self.forward_strays(predecessor, now);
        }
        self.install_addresses(now);
        let (router, reason) = (self.config.name.clone(), self.why.clone());
        self.say(VrrpEvent::BecameActive { router, reason });
        self.probe_addresses(now);
        self.name_claimants(now);
    }

    /// RFC 9568 §6.4.3 when it was active: let go and listen.
    fn become_backup(&mut self, why: String, now: Instant) {
        self.timers.clear_all();
        self.end_drain();
        self.release_addresses();
        self.listen_as_backup(why, now);
    }

    /// As [`Router::become_backup`], with a successor that was heard.
    fn yield_to_successor(&mut self, why: String, now: Instant) {
        self.timers.clear_all();
        self.end_drain();
        self.release_to_successor(now);
        self.listen_as_backup(why, now);
    }

    fn listen_as_backup(&mut self, why: String, now: Instant) {
        self.expect_nothing_of_group();
        self.enter(State::Backup, why, now);
        self.preempt_from = None;
        self.courtesy.end();
        self.listen_for(self.master_down(), now);
        let (router, reason) = (self.config.name.clone(), self.why.clone());
        self.say(VrrpEvent::BecameBackup { router, reason });
    }

    fn enter_fault(&mut self, reason: String, now: Instant) {
        self.timers.clear_all();
        self.end_drain();
        if self.state == State::Active {
            self.transmit(Priority::RELEASE, now);
            self.release_addresses();
        }
        self.peer = None;
        self.enter(State::Fault, reason.clone(), now);
        if let Some(hold) = self.addresses.fault_hold() {
            self.timers.set(Timer::InstallHold, now, hold);
        }
        self.say(VrrpEvent::Fault { router: self.config.name.clone(), reason });
    }

    fn enter(&mut self, state: State, why: String, now: Instant) {
        (self.state, self.since, self.why) = (state, now, why);
        if state != State::Active {
            self.end_activity(now);
        }
        if let Some(moved) = self.moved() {
            self.notify(What::Moved(moved));
        }
    }

    /// Has others told something about this router, unless they were told the same move last.
    fn notify(&mut self, what: What) {
        if let What::Moved(_) = what {
            if self.noticed == Some(what) {
                return;
            }
            self.noticed = Some(what);
        }
        self.notices.push(Notice { what, priority: self.priority() });
    }

    /// What others are to be told about it, since this was last asked.
    pub(crate) fn take_notices(&mut self) -> impl Iterator<Item = Notice> + use<> {
        std::mem::take(&mut self.notices).into_iter()
    }

    /// A router that owned the addresses and did not advertise for longer than a peer waits may have a successor by
    /// now. It lets go before it does anything else, and hears what queued up meanwhile as a backup.
    ///
    /// The least a peer waits is the intervals it lets pass: its skew can be next to nothing.
    fn start_over_if_overslept(&mut self, now: Instant) {
        let interval = self.config.advert_interval.to_duration();
        let owned = matches!(self.state, State::Active | State::HandingOver(_));
        if !owned || !self.has_peers() || now.since(self.advertised) <= interval * self.missed_adverts() {
            return;
        }
        self.say_overslept(now.since(self.advertised).saturating_sub(interval));
        match self.state {
            State::HandingOver(hand_over) => self.let_go(hand_over, None, now),
            _ => self.become_backup("because it overslept".to_owned(), now),
        }
    }

    /// A backup whose machine was suspended heard nothing and knows nothing: it listens once more before it takes over.
    /// Adverts that queued up meanwhile were handled before and moved the timer.
    fn listen_again_if_overslept(&mut self, now: Instant) {
        let patience = self.active_interval.to_duration() * self.missed_adverts();
        let late = self.timers.overdue(Timer::ActiveDown, now);
        if self.state == State::Backup && late > patience {
            self.say_overslept(late);
            self.expect_nothing_of_group();
            self.listen_for(self.master_down(), now);
        }
    }

    fn say_overslept(&mut self, late: Duration) {
        self.say(VrrpEvent::Overslept { router: self.config.name.clone(), late: late.as_secs_f64() });
    }

    /// Sends an advert and arms the timer of the next one.
    fn advertise(&mut self, priority: Priority, now: Instant) {
        self.transmit(priority, now);
        self.advertised = now;
        self.timers.set(Timer::Advert, now, self.config.advert_interval.to_duration());
    }

    fn transmit(&mut self, priority: Priority, now: Instant) {
        let (destinations, ttl) = match &self.config.delivery {
            Delivery::Multicast { group } => (vec![*group], LAN_TTL),
            Delivery::Unicast { peers, ttl, .. } => (peers.iter().map(|peer| peer.address).collect(), *ttl),
        };
        self.transmit_to(destinations, ttl, priority, now);
    }

    /// As [`Router::transmit`], to some of its peers.
    fn transmit_to(&mut self, destinations: Vec<IpAddr>, ttl: u8, priority: Priority, now: Instant) {
        let Link::Usable(source) = self.conditions.link else { return };
        let to_nobody = Advert {
            source,
            destination: self.nobody(),
            ttl,
            vrid: self.config.vrid,
            priority,
            interval: self.config.advert_interval,
            addresses: self.config.addresses.iter().map(|own| own.address).collect(),
            form: match self.config.version {
                Version::V2 => Form::V2 { authentication: self.config.authentication.clone() },
                Version::V3 => Form::V3 { checksum: self.checksum_form() },
            },
            trailer: None,
        };
        let trailer = self.sign(&to_nobody, now);
        for destination in destinations {
            // Keepalived counts from 1 and leaves 0 out, which means "not set".
            self.identification = self.identification.checked_add(1).unwrap_or(1);
            let advert = Advert { destination, trailer, ..to_nobody.clone() };
            let datagram = packet::encode(&advert, self.identification);
            self.counters.sent += 1;
            let interface = self.config.interface.clone();
            let hardware = self.advert_hardware();
            self.outputs.push_back(Output::SendAdvert { interface, hardware, destination, datagram });
        }
    }

    /// The form of checksum that the group understands: some routers take no other than their own (RFC 9568 §5.2.8
    /// says one thing, RFC 5798 was read as another).
    fn checksum_form(&self) -> ChecksumForm {
        self.config
            .checksum
            .or(self.heard_checksum.map(|(_, form)| form))
            .unwrap_or(ChecksumForm::PseudoHeader)
    }

    /// The hardware address that adverts come from, if it is not the interface's (RFC 9568 §7.2).
    fn advert_hardware(&self) -> Option<HardwareAddress> {
        let own = self.config.virtual_mac.as_ref().filter(|own| !own.transmit_on_base);
        own.map(|own| own.address)
    }

    /// The priority it takes part with now.
    fn priority(&self) -> Priority {
        match self.standing_by {
            Some(_) => Priority::LOWEST,
            None => self.conditions.tracking.priority,
        }
    }

    /// Adverts that may be missed before a backup takes over.
    fn missed_adverts(&self) -> u32 {
        u32::from(self.config.missed_adverts)
    }

    /// `Active_Down_Interval` (RFC 9568 §6.1).
    fn master_down(&self) -> Duration {
        self.active_interval.to_duration() * self.missed_adverts() + self.skew_under(self.active_interval)
    }

    /// `Skew_Time`: the share of a second (RFC 3768 §6.1) or of the active router's interval (RFC 9568 §6.1) that a
    /// router's priority is below 256.
    fn skew_under(&self, active_interval: Centis) -> Duration {
        let unit = match self.config.version {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => active_interval.to_duration(),
        };
        unit * (256 - u32::from(self.priority().0)) / 256
    }

    /// Whether anybody could take over.
    fn has_peers(&self) -> bool {
        match &self.config.delivery {
            Delivery::Multicast { .. } => true,
            Delivery::Unicast { peers, .. } => !peers.is_empty(),
        }
    }

    /// In complaints, somebody whose address is not known.
    fn nobody(&self) -> IpAddr {
        self.config.family().unspecified()
    }

    fn say(&mut self, event: VrrpEvent) {
        self.outputs.push_back(Output::Event(Event::Vrrp(event)));
    }

    fn check_invariants(&self) {
        let owner = matches!(self.state, State::Active | State::HandingOver(_));
        debug_assert_eq!(self.addresses.held(), owner, "addresses are held exactly by an active router");
        debug_assert_eq!(self.timers.is_set(Timer::Advert), owner, "exactly an active router advertises");
        debug_assert!(
            !self.timers.is_set(Timer::Challenge) || self.state == State::Backup,
            "only a backup asks"
        );
        debug_assert!(!(self.addresses.drains() && owner), "what is owned does not drain");
        debug_assert_eq!(self.timers.is_set(Timer::DrainEnd), self.has_hand_over_rules, "every drain ends");
        debug_assert_eq!(
            self.timers.is_set(Timer::Renewal),
            owner,
            "addresses are renewed while they are held"
        );
        debug_assert_eq!(
            self.timers.is_set(Timer::ActiveDown),
            self.state == State::Backup,
            "exactly a backup waits for the active router's silence"
        );
        debug_assert_eq!(
            self.timers.is_set(Timer::HandOverBound),
            matches!(self.state, State::HandingOver(_)),
            "every hand-over is bounded"
        );
    }
}
