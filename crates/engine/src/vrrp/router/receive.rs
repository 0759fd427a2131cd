//! What one router makes of the adverts it hears: which it refuses, and what the others change.
//!
//! Owns [`Mismatch`]. The checks and their order are Keepalived's; a refused advert never moves a timer, so each is
//! counted and its sender named: two routers that refuse each other both become active.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use super::notice::Refusal;
use super::{Config, HandOver, Link, Peer, Priority, Router, State, Timer};
use crate::plan::{Authentication, Delivery, Preempt, Version};
use crate::time::{Centis, Instant};
use crate::vrrp::event::VrrpEvent;
use crate::vrrp::hmac;
use crate::vrrp::notify::What;
use crate::vrrp::packet::{Advert, Form, LAN_TTL, Malformed};

/// What one router counts.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) sent: u64,
    pub(super) received: u64,
    pub(super) became_active: u64,
    /// Times it was found to be active beside a router that it refuses.
    pub(super) both_active: u64,
    /// By the reason's stable name.
    pub(super) refused: BTreeMap<&'static str, Refused>,
}

/// Datagrams refused for one reason.
#[derive(Debug, Default)]
pub(super) struct Refused {
    pub(super) count: u64,
    pub(super) latest: String,
}

/// How a well-formed advert differs from what its receiver is configured to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Another TTL than its sender's distance allows: 255 in multicast (RFC 9568 §7.1), what the peer's line says in unicast.
    Ttl {
        /// As it arrived.
        theirs: u8,
        /// What would be taken.
        least_and_most: (u8, u8),
        /// Whether that proves that the sender is on the LAN.
        on_lan: bool,
    },
    /// Another protocol version (RFC 9568 §7.1).
    Version {
        /// The sender's.
        theirs: Version,
        /// The receiver's.
        ours: Version,
    },
    /// Only one side uses a password.
    AuthenticationType {
        /// Whether the sender does.
        theirs: bool,
    },
    /// Another password.
    Password,
    /// No signature, where one is required.
    Unsigned,
    /// A signature, where none is known.
    Signed {
        /// The key it names.
        key: u8,
    },
    /// A signature that is not believed.
    Hmac(hmac::Refusal),
    /// Another interval, which version 2 does not allow (RFC 3768 §7.1).
    Interval {
        /// The sender's.
        theirs: Centis,
        /// The receiver's.
        ours: Centis,
    },
    /// Not the same addresses.
    AddressList {
        /// The receiver's that the sender does not have.
        missing_there: Vec<IpAddr>,
        /// The sender's that the receiver does not have.
        missing_here: Vec<IpAddr>,
    },
    /// None of the receiver's addresses: another group with the same identifier. The first of its addresses.
    VridTaken(IpAddr),
    /// A unicast advert of somebody who is not a peer, where only peers are heard.
    Stranger,
    /// Multicast to a unicast router, or the other way round.
    Destination(IpAddr),
}

impl Mismatch {
    /// The stable name that counters and events carry.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Ttl { .. } => "ttl",
            Self::Version { .. } => "version",
            Self::AuthenticationType { .. } => "authentication_type",
            Self::Password => "password",
            Self::Unsigned => "unsigned",
            Self::Signed { .. } => "signed",
            Self::Hmac(refusal) => refusal.name(),
            Self::Interval { .. } => "interval",
            Self::AddressList { .. } => "address_list",
            Self::VridTaken(_) => "vrid_taken",
            Self::Stranger => "stranger",
            Self::Destination(_) => "destination",
        }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ttl { theirs, on_lan: true, .. } => {
                write!(f, "its TTL is {theirs}, not 255, so it does not come from this LAN")
            }
            Self::Ttl { theirs, least_and_most: (least, most), on_lan: false } => {
                write!(f, "its TTL is {theirs}, this router takes {least} to {most} from that peer")
            }
            Self::Version { theirs, ours } => {
                write!(f, "it speaks version {}, this router version {}", digit(*theirs), digit(*ours))
            }
            Self::AuthenticationType { theirs: true } => {
                f.write_str("it authenticates with a password, this router does not")
            }
            Self::AuthenticationType { theirs: false } => {
                f.write_str("it does not authenticate, this router does with a password")
            }
            Self::Password => f.write_str("its password is another"),
            Self::Unsigned => {
                f.write_str("it does not sign its adverts, and this router's `auth_hmac` requires it")
            }
            Self::Signed { key } => {
                write!(f, "it signs its adverts with key {key}, this router has no `auth_hmac`")
            }
            Self::Hmac(refusal) => refusal.fmt(f),
            Self::Interval { theirs, ours } => {
                write!(
                    f,
                    "it advertises every {theirs}, this router every {ours}, and version 2 wants them equal"
                )
            }
            Self::AddressList { missing_there, missing_here } => {
                let mut parts = Vec::new();
                if !missing_there.is_empty() {
                    parts.push(format!("it does not have {}", list(missing_there)));
                }
                if !missing_here.is_empty() {
                    parts.push(format!("this router does not have its {}", list(missing_here)));
                }
                if parts.is_empty() {
                    parts.push("it names an address twice".to_owned());
                }
                f.write_str(&parts.join(", "))
            }
            Self::VridTaken(address) => {
                write!(f, "it uses the same virtual router identifier for other addresses, such as {address}")
            }
            Self::Stranger => f.write_str("it is not one of this router's peers"),
            Self::Destination(destination) if destination.is_multicast() => {
                write!(f, "it sends to the group {destination}, this router expects another way of delivery")
            }
            Self::Destination(destination) => {
                write!(f, "it sends to {destination} alone, this router expects multicast")
            }
        }
    }
}

/// Some addresses, and how many more there are.
fn list(addresses: &[IpAddr]) -> String {
    const SHOWN: usize = 4;
    let mut words: Vec<_> = addresses.iter().take(SHOWN).map(IpAddr::to_string).collect();
    if let Some(more) = addresses.len().checked_sub(SHOWN).filter(|&more| more > 0) {
        words.push(format!("and {more} more"));
    }
    words.join(", ")
}

const fn digit(version: Version) -> u8 {
    match version {
        Version::V2 => 2,
        Version::V3 => 3,
    }
}

impl Router {
    /// Takes in a datagram for this virtual router that could not be read.
    pub(crate) fn handle_malformed(&mut self, sender: IpAddr, malformed: Malformed, now: Instant) {
        self.refuse(Refusal::of_malformed(sender, malformed), now);
    }

    /// Takes in an advert for this virtual router; `message` is what its signature covers.
    pub(crate) fn handle_advert(&mut self, advert: &Advert, message: &[u8], now: Instant) {
        self.start_over_if_overslept(now);
        // Multicast loops back.
        if self.state == State::Stopped || self.conditions.link == Link::Usable(advert.source) {
            return;
        }
        let authentic = self.authenticate(advert, message, now);
        if let Err(mismatch) = authentic.and_then(|()| judge(&self.config, advert, self.is_trusted(advert))) {
            // Whatever else differs: who has none of the addresses is of another group.
            let mismatch = another_group(&self.config, advert).unwrap_or(mismatch);
            return self.refuse(Refusal::of(advert, &mismatch), now);
        }
        self.counters.received += 1;
        self.look_closer(advert, now);
        match self.state {
            State::Backup => self.hear_as_backup(advert, now),
            State::Active => self.hear_as_active(advert, now),
            State::HandingOver(hand_over) => self.hear_while_handing_over(hand_over, advert, now),
            State::Initialize | State::Fault | State::Stopped => self.peer = Some(peer_of(advert, now)),
        }
        self.check_invariants();
    }

    /// Whether an advert is a further one of the active router, whose addresses were looked at before.
    fn is_trusted(&self, advert: &Advert) -> bool {
        let followed = self.peer.filter(|_| self.state == State::Backup && self.config.trusts_active_router);
        followed.is_some_and(|peer| peer.address == advert.source)
    }

    /// RFC 9568 §6.4.2.
    fn hear_as_backup(&mut self, advert: &Advert, now: Instant) {
        if self.overhears_challenge(advert, now) {
            return;
        }
        if advert.priority == Priority::RELEASE {
            // By the interval of the one who lets go, also if this router never followed it: that one waits no longer.
            // "Sooner": one who hands over says so again and again, which must not put the takeover off.
            let skew = self.skew_under(self.interval_under(advert));
            self.timers.set_sooner(Timer::ActiveDown, now.max(self.not_before), skew);
        } else if self.yields_to(advert, now) {
            self.follow(advert, now);
            return;
        }
        self.peer = Some(peer_of(advert, now));
    }

    /// RFC 9568 §6.4.3.
    fn hear_as_active(&mut self, advert: &Advert, now: Instant) {
        let own = self.priority();
        if advert.priority == Priority::RELEASE {
            return self.advertise(own, now);
        }
        let Link::Usable(source) = self.conditions.link else { return };
        if (advert.priority, advert.source) > (own, source) {
            if self.config.answers_higher_priority {
                self.transmit(own, now);
            }
            let relation = if advert.priority > own { "above" } else { "equal to" };
            let Advert { source, priority, .. } = advert;
            self.yield_to_successor(
                format!("because {source} advertises priority {priority}, {relation} its {own}"),
                now,
            );
            self.follow(advert, now);
            return;
        }
        let Advert { source, priority, .. } = *advert;
        if self.is_challenged_by(advert, now) {
            return self.advertise(own, now);
        }
        if self.complaints.worth_saying("also_active", source, &priority.to_string(), now) {
            let router = self.config.name.clone();
            self.say(VrrpEvent::PeerAlsoActive { router, peer: source, priority });
        }
        self.look_for_deafness(advert, now);
        if self.config.answers_lower_priority {
            self.advertise(own, now);
        }
        if self.announce_against_lower_priority(now) {
            self.notify(What::HeardLowerPriority);
        }
    }

    /// A successor has a lower priority more often than not.
    fn hear_while_handing_over(&mut self, hand_over: HandOver, advert: &Advert, now: Instant) {
        if advert.priority != Priority::RELEASE {
            self.active_interval = self.interval_under(advert);
            self.let_go(hand_over, Some(peer_of(advert, now)), now);
        }
    }

    /// Whether a backup accepts the sender as the active router.
    fn yields_to(&mut self, advert: &Advert, now: Instant) -> bool {
        if advert.priority >= self.priority() {
            self.preempt_from = None;
            self.courtesy.end();
            return true;
        }
        match self.config.preempt {
            Preempt::Never => true,
            Preempt::After(delay) => {
                now < *self.preempt_from.get_or_insert(now + delay)
                    || self.courtesy.wait_for(advert.source, now)
            }
        }
    }

    /// Accepts the sender as the active router.
    fn follow(&mut self, advert: &Advert, now: Instant) {
        self.expect_nothing_of_group();
        self.active_interval = self.interval_under(advert);
        self.peer = Some(peer_of(advert, now));
        self.listen_for(self.master_down(), now);
    }

    /// Version 3 goes by the active router's interval (RFC 9568 §6.4.2); in version 2 they are equal.
    fn interval_under(&self, advert: &Advert) -> Centis {
        match self.config.version {
            Version::V2 => self.config.advert_interval,
            Version::V3 => advert.interval,
        }
    }
}

fn peer_of(advert: &Advert, now: Instant) -> Peer {
    Peer { address: advert.source, priority: advert.priority, heard: now }
}

/// Whether an advert fits a router's configuration (RFC 9568 §7.1, RFC 3768 §7.1, in Keepalived's order).
///
/// Of a `trusted` sender neither the TTL nor the addresses are looked at (`skip_check_adv_addr`).
fn judge(config: &Config, advert: &Advert, trusted: bool) -> Result<(), Mismatch> {
    let refuse_unless = |fits: bool, mismatch: Mismatch| if fits { Ok(()) } else { Err(mismatch) };
    let least_and_most = match &config.delivery {
        Delivery::Multicast { .. } => (LAN_TTL, LAN_TTL),
        Delivery::Unicast { peers, .. } => peers
            .iter()
            .find(|peer| peer.address == advert.source)
            .map_or((u8::MIN, u8::MAX), |peer| (peer.min_ttl, peer.max_ttl)),
    };
    let ttl_fits = (least_and_most.0..=least_and_most.1).contains(&advert.ttl);
    let on_lan = matches!(config.delivery, Delivery::Multicast { .. });
    refuse_unless(trusted || ttl_fits, Mismatch::Ttl { theirs: advert.ttl, least_and_most, on_lan })?;
    let (theirs, ours) = (advert.version(), config.version);
    refuse_unless(theirs == ours, Mismatch::Version { theirs, ours })?;
    if let Form::V2 { authentication } = &advert.form {
        judge_authentication(&config.authentication, authentication)?;
        let (theirs, ours) = (advert.interval, config.advert_interval);
        refuse_unless(theirs == ours, Mismatch::Interval { theirs, ours })?;
    }
    if !trusted {
        judge_addresses(config, advert)?;
    }
    let expected = match config.delivery {
        Delivery::Multicast { group } => advert.destination == group,
        Delivery::Unicast { .. } => !advert.destination.is_multicast(),
    };
    refuse_unless(expected, Mismatch::Destination(advert.destination))?;
    match &config.delivery {
        Delivery::Unicast { peers, only_peers: true, .. } => {
            let known = peers.iter().any(|peer| peer.address == advert.source);
            refuse_unless(known, Mismatch::Stranger)
        }
        _ => Ok(()),
    }
}

/// Every address on both sides, in any order.
fn judge_addresses(config: &Config, advert: &Advert) -> Result<(), Mismatch> {
    let ours = || config.addresses.iter().map(|own| own.address);
    let missing_there: Vec<_> = ours().filter(|own| !advert.addresses.contains(own)).collect();
    let has = |address: &IpAddr| ours().any(|own| own == *address);
    let missing_here: Vec<_> = advert.addresses.iter().copied().filter(|address| !has(address)).collect();
    let fits = missing_there.is_empty() && advert.addresses.len() == config.addresses.len();
    if fits { Ok(()) } else { Err(Mismatch::AddressList { missing_there, missing_here }) }
}

/// Whether an advert is of another group that uses the same identifier.
fn another_group(config: &Config, advert: &Advert) -> Option<Mismatch> {
    let shared = config.addresses.iter().any(|own| advert.addresses.contains(&own.address));
    advert.addresses.first().filter(|_| !shared).map(|first| Mismatch::VridTaken(*first))
}

fn judge_authentication(ours: &Authentication, theirs: &Authentication) -> Result<(), Mismatch> {
    match (ours, theirs) {
        // A signature was looked at before.
        (Authentication::None | Authentication::Hmac(_), Authentication::None) => Ok(()),
        (Authentication::Password(ours), Authentication::Password(theirs)) => {
            // Every byte is looked at, so that the time taken says nothing about the password.
            let difference = ours.iter().zip(theirs).fold(0, |sum, (own, other)| sum | (own ^ other));
            if difference == 0 { Ok(()) } else { Err(Mismatch::Password) }
        }
        (_, theirs) => {
            Err(Mismatch::AuthenticationType { theirs: matches!(theirs, Authentication::Password(_)) })
        }
    }
}
