//! The other balancers of a group, and the links that tell of them.
//!
//! Owns [`Peers`]: who is dialled, what the end of a link says, and what is known of each node. `link` is one link, `view`
//! what nodes tell each other, `reach` what this node's health is worth beside theirs, `drift` what should not differ.
//! docs/adr/0004 has the reasons. A link informs; adverts alone decide who is active.
//!
//! Each node dials each peer, so a pair has two links: one tells the dialler of the peer, and its end is news of the
//! peer's process.

mod drift;
pub mod event;
mod link;
pub mod reach;
mod status;
pub mod view;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use self::event::PeersEvent;
use self::link::{Link, Verdict};
use self::reach::{OwnReach, Patience, Reach};
use self::view::View;
use crate::engine::{Output, Share, Whereabouts};
use crate::event::Event;
use crate::flows::PeerFlows;
use crate::jitter::Jitter;
use crate::limits::COMPLAINT_AGAIN;
use crate::plan::{Delivery, Plan, RouterId};
use crate::time::{Deadline, Instant};

/// Links of one daemon: as many as unicast peers of one router, each a connection and a view.
const LINKS: usize = 256;

/// Links to peers that no file names: more than a multicast group has balancers, and few for a flood of forged adverts.
const LEARNED_LINKS: usize = 32;

/// A peer that no file names and of which nothing was heard for so long is forgotten.
const FORGET: Duration = Duration::from_secs(600);

/// Time between two views when nothing changes.
pub const VIEW_INTERVAL: Duration = Duration::from_secs(1);

/// A view older than this says nothing about now: two may be late.
const FRESH: Duration = Duration::from_secs(3);

/// How long to wait before an address that links could not be accepted on is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(5);

/// The shortest time between two complaints about keys of strangers.
const STRANGERS_APART: Duration = Duration::from_secs(1);

/// How far dial times are spread, in percent, so that balancers that start together do not dial in step.
const DIAL_SPREAD: u8 = 25;

/// What an operator chose on the command line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerOptions {
    /// Whether there are links at all.
    pub link: bool,
    /// Whether priorities follow what this node reaches beside its peers.
    pub follow_health: bool,
}

/// Names one link for as long as the daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// An address that links of peers are accepted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenAddress {
    /// The address, which need not be there yet.
    pub address: IpAddr,
    /// The interface it is on, without which a link-local address says nothing.
    pub interface: String,
}

/// What the shell tells of links.
#[derive(Debug)]
pub enum PeerInput {
    /// A dialled link is up: both sides proved that they have the key.
    Opened {
        /// Which.
        link: LinkId,
    },
    /// The peer told of itself. The shell has [checked](View::check) it.
    View {
        /// The link it came by.
        link: LinkId,
        /// What it says.
        view: Box<View>,
        /// This node's own wall time when it came, in milliseconds since 1970.
        clock_ms: u64,
    },
    /// A dialled link ended, or never came up. Exactly once for each [`PeerOutput::Dial`].
    Ended {
        /// Which.
        link: LinkId,
        /// How.
        end: LinkEnd,
    },
    /// A peer that has the key dialled this node.
    Accepted {
        /// Its address.
        peer: IpAddr,
        /// The address it dialled.
        local: IpAddr,
        /// The first router with that key.
        router: RouterId,
    },
    /// Somebody without a key of ours dialled this node, and was refused.
    Stranger {
        /// Its address.
        peer: IpAddr,
    },
    /// A bound of the shell was hit; the phrase names it.
    Bound(String),
    /// How far the flows of this node and its peers are the same, one for each peer that has any.
    Flows(Vec<PeerFlows>),
    /// Flows of an address that this node takes over are in the kernel, as far as it let them.
    FlowsTaken {
        /// The address.
        address: IpAddr,
        /// Flows that are in.
        taken: usize,
        /// Flows that are not.
        refused: usize,
        /// How long it took.
        took: Duration,
    },
    /// Flows are not known or cannot be put into the kernel; a phrase.
    FlowsFailed(String),
    /// An address of [`PeerOutput::Listen`] cannot be listened on.
    NotListening {
        /// The address.
        address: IpAddr,
        /// The kernel's reason.
        reason: String,
    },
}

/// How a dialled link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// It was up, and the peer's kernel closed or reset it.
    Closed,
    /// The peer's kernel took the connection and closed it before any key was proved.
    ClosedEarly,
    /// The peer's kernel refused the connection.
    Refused,
    /// The peer has another key.
    KeyRefused,
    /// Anything else, which says nothing about the peer's process; a phrase.
    Other(String),
}

/// What the shell should do about links.
#[derive(Debug)]
pub enum PeerOutput {
    /// Accept links on exactly these addresses.
    Listen(BTreeSet<ListenAddress>),
    /// Dial a peer.
    Dial {
        /// Comes back with everything that happens to it.
        link: LinkId,
        /// Where to.
        peer: IpAddr,
        /// Where from.
        source: ListenAddress,
        /// The router whose secret is the key.
        router: RouterId,
    },
    /// Tell this to everybody whose link was accepted, now and when they come.
    Tell(Arc<View>),
}

/// A peer whose process seems to have ended, and the routers it shares with this node.
#[derive(Debug)]
pub(crate) struct Gone {
    pub(crate) peer: IpAddr,
    pub(crate) routers: Vec<RouterId>,
}

/// Everything that is known of the other balancers.
#[derive(Debug)]
pub struct Peers {
    plan: Arc<Plan>,
    options: PeerOptions,
    /// For each router the first one with the same secret, whose number names the key; `None` without a secret.
    keys: Vec<Option<RouterId>>,
    sources: Vec<Option<IpAddr>>,
    links: BTreeMap<LinkId, Link>,
    last_link: LinkId,
    own: View,
    own_reach: OwnReach,
    patience: Patience,
    /// One for each router.
    reach: Vec<Reach>,
    listening: BTreeSet<ListenAddress>,
    listen_again: Option<Instant>,
    view_due: Instant,
    stranger: Option<(IpAddr, Instant)>,
    /// Whether [`LINKS`] or [`LEARNED_LINKS`] was said to be hit.
    bound_said: bool,
    /// What is known of flows, and since when.
    flows: (Vec<PeerFlows>, Instant),
    jitter: Jitter,
    gone: VecDeque<Gone>,
    outputs: VecDeque<Output>,
}

impl Peers {
    /// Links to every peer that `plan` names, to be dialled as soon as there is an address to dial from.
    pub(crate) fn new(plan: Arc<Plan>, options: PeerOptions, seed: u64, now: Instant) -> Self {
        let mut peers = Self {
            keys: if options.link { keys(&plan) } else { vec![None; plan.routers.len()] },
            sources: vec![None; plan.routers.len()],
            links: BTreeMap::new(),
            last_link: LinkId(0),
            own: View { configuration: drift::shared_parts(&plan), ..View::default() },
            own_reach: OwnReach::default(),
            patience: Patience::of(&plan),
            reach: plan.routers.iter().map(|_| Reach::default()).collect(),
            listening: BTreeSet::new(),
            listen_again: None,
            view_due: now,
            stranger: None,
            bound_said: false,
            flows: (Vec::new(), now),
            jitter: Jitter::new(seed, DIAL_SPREAD),
            gone: VecDeque::new(),
            outputs: VecDeque::new(),
            options,
            plan,
        };
        let plan = Arc::clone(&peers.plan);
        for (router, config) in (0..).map(RouterId).zip(&plan.routers) {
            if peers.key(router).is_none() {
                let reason = status::NO_SECRET;
                if options.link {
                    peers.say(PeersEvent::NoPeerLink { router: config.name.clone(), reason });
                }
            } else if let Delivery::Unicast { peers: addresses, .. } = &config.delivery {
                addresses.iter().for_each(|peer| peers.connect(router, peer.address, false, now));
            }
        }
        peers
    }

    /// Whether any router has a link.
    pub(crate) fn is_on(&self) -> bool {
        self.keys.iter().any(Option::is_some)
    }

    /// Takes in where the routers are and whom they hear.
    pub(crate) fn handle_whereabouts(&mut self, routers: impl Iterator<Item = Whereabouts>, now: Instant) {
        let mut moved = false;
        for Whereabouts { router, source, heard } in routers {
            let Some(known) = self.sources.get_mut(usize::from(router.0)) else { continue };
            moved |= *known != source;
            *known = source;
            if let Some(peer) = heard.filter(|_| self.is_multicast(router)) {
                self.connect(router, peer, true, now);
            }
        }
        if moved {
            self.listen();
            self.dial_due(now);
        }
    }

    /// Takes in what happened to a link.
    pub(crate) fn handle(&mut self, input: PeerInput, now: Instant) {
        match input {
            PeerInput::Opened { link } => {
                if let Some(peer) = self.links.get_mut(&link).and_then(|link| link.open(now)) {
                    self.say(PeersEvent::PeerLinkUp { peer });
                }
            }
            PeerInput::View { link, view, clock_ms } => self.handle_view(link, *view, clock_ms, now),
            PeerInput::Ended { link, end } => self.handle_ended(link, end, now),
            PeerInput::Accepted { peer, local, router } => self.handle_accepted(peer, local, router, now),
            PeerInput::Stranger { peer } => self.handle_stranger(peer, now),
            PeerInput::Bound(bound) => self.say(PeersEvent::PeerLinkBound { bound }),
            PeerInput::Flows(flows) => self.flows = (flows, now),
            PeerInput::FlowsTaken { address, taken, refused, took } => {
                let took = took.as_secs_f64();
                self.say(PeersEvent::FlowsTaken { address, taken, refused, took });
            }
            PeerInput::FlowsFailed(reason) => self.say(PeersEvent::FlowsFailed { reason }),
            PeerInput::NotListening { address, reason } => {
                self.listen_again = Some(now + LISTEN_AGAIN);
                self.say(PeersEvent::PeerLinkNotListening { address, reason });
            }
        }
    }

    /// Takes in how this node sees itself, and tells the others.
    pub(crate) fn handle_own(&mut self, view: View, reach: OwnReach, now: Instant) {
        let configuration = std::mem::take(&mut self.own.configuration);
        self.own = View { configuration, ..view }.bounded();
        self.own_reach = reach;
        self.view_due = now + VIEW_INTERVAL;
        self.outputs.push_back(Output::Peer(PeerOutput::Tell(Arc::new(self.own.clone()))));
    }

    /// Whether [`Peers::handle_own`] is due.
    pub(crate) fn wants_own(&self, now: Instant) -> bool {
        self.is_on() && self.view_due <= now
    }

    /// For each router, this node's share of what its group reaches.
    pub(crate) fn shares(&mut self, now: Instant) -> Vec<(RouterId, Option<Share>)> {
        if !self.options.follow_health {
            return Vec::new();
        }
        let (links, own, patience) = (&self.links, &self.own_reach, self.patience);
        let share = |(router, reach): (RouterId, &mut Reach)| {
            let fresh = links
                .values()
                .filter(|link| link.routers.contains(&router))
                .filter_map(|link| Some((link.peer, link.fresh_view(FRESH, now)?)));
            (router, reach.share(own, fresh, patience, now))
        };
        (0..).map(RouterId).zip(&mut self.reach).map(share).collect()
    }

    /// The next peer whose routers should be challenged.
    pub(crate) fn poll_gone(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.dial_due(now);
        if self.listen_again.is_some_and(|at| at <= now) {
            self.listen_again = None;
            self.outputs.push_back(Output::Peer(PeerOutput::Listen(self.listening.clone())));
        }
        self.links.retain(|_, link| !link.is_forgotten(FORGET, now));
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        if !self.is_on() {
            return None;
        }
        let dials = self.links.values().filter(|link| self.source(link).is_some()).filter_map(Link::due);
        let dial = dials.min().map(|at| Deadline { at, why: "dial a peer" });
        let listen = self.listen_again.map(|at| Deadline { at, why: "listen for peers again" });
        let view = Deadline { at: self.view_due, why: "tell peers of this node" };
        [dial, listen, Some(view)].into_iter().flatten().min()
    }

    fn handle_view(&mut self, id: LinkId, view: View, clock_ms: u64, now: Instant) {
        let own = &self.own;
        let Some(link) = self.links.get_mut(&id) else { return };
        let ahead = i64::try_from(view.clock_ms).unwrap_or(i64::MAX).saturating_sub_unsigned(clock_ms);
        let drift = drift::drift(own, &view, ahead);
        // Before the first view of its own, this node does not know its version.
        let drift = if own.version.is_empty() { Vec::new() } else { drift };
        let peer = link.peer;
        if let Some(drift) = link.take_view(view, ahead, drift, now) {
            self.say(if drift.is_empty() {
                PeersEvent::PeerDriftEnded { peer }
            } else {
                PeersEvent::PeerDrift { peer, drift }
            });
        }
    }

    fn handle_ended(&mut self, id: LinkId, end: LinkEnd, now: Instant) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let (peer, was_up) = (link.peer, link.is_up());
        let complain = end == LinkEnd::KeyRefused && link.complains_of_key(now);
        let how = status::phrase(&end);
        let verdict = link.end(&end, &mut self.jitter, now);
        let routers = link.routers.clone();
        if was_up {
            self.say(PeersEvent::PeerLinkDown { peer, how });
        }
        if complain {
            self.say(PeersEvent::PeerKeyMismatch { peer, refused_by_peer: true });
        }
        match verdict {
            Verdict::Nothing => {}
            Verdict::DialNow => self.dial_due(now),
            Verdict::Gone => {
                self.say(PeersEvent::PeerGone { peer });
                self.gone.push_back(Gone { peer, routers });
            }
        }
    }

    /// Whoever has the key is a balancer of the group, and lives.
    fn handle_accepted(&mut self, peer: IpAddr, local: IpAddr, router: RouterId, now: Instant) {
        let of_key = |id: RouterId| {
            self.key(id) == Some(router) && self.sources.get(usize::from(id.0)) == Some(&Some(local))
        };
        let routers: Vec<_> = (0..self.plan.routers.len())
            .filter_map(|id| u16::try_from(id).ok().map(RouterId))
            .filter(|&id| of_key(id) && self.is_multicast(id))
            .collect();
        routers.into_iter().for_each(|router| self.connect(router, peer, true, now));
        let known = self.links.values_mut().filter(|link| link.peer == peer);
        known.for_each(|link| link.dial_soon(now));
        self.dial_due(now);
    }

    fn handle_stranger(&mut self, peer: IpAddr, now: Instant) {
        let quiet = self.stranger.is_some_and(|(last, at)| {
            now.since(at) < if last == peer { COMPLAINT_AGAIN } else { STRANGERS_APART }
        });
        if !quiet {
            self.stranger = Some((peer, now));
            self.say(PeersEvent::PeerKeyMismatch { peer, refused_by_peer: false });
        }
    }

    /// Makes sure that there is a link to a peer of a router.
    fn connect(&mut self, router: RouterId, peer: IpAddr, learned: bool, now: Instant) {
        let (Some(key), Some(config)) = (self.key(router), self.plan.routers.get(usize::from(router.0)))
        else {
            return;
        };
        if self.sources.contains(&Some(peer)) {
            return;
        }
        let interface = &config.interface;
        if let Some(link) = self.links.values_mut().find(|link| link.is(peer, interface, key)) {
            return link.hear(router, now);
        }
        let learned_links = self.links.values().filter(|link| link.is_learned()).count();
        if self.links.len() >= LINKS || (learned && learned_links >= LEARNED_LINKS) {
            if !std::mem::replace(&mut self.bound_said, true) {
                let bound = format!("{LINKS} links, {LEARNED_LINKS} of them to peers that no file names");
                self.say(PeersEvent::PeerLinkBound { bound });
            }
            return;
        }
        let link = Link::new(peer, interface.clone(), key, router, learned, now);
        self.last_link = LinkId(self.last_link.0 + 1);
        self.links.insert(self.last_link, link);
        self.dial_due(now);
    }

    fn dial_due(&mut self, now: Instant) {
        let due: Vec<_> = self
            .links
            .iter()
            .filter(|(_, link)| link.due().is_some_and(|at| at <= now))
            .filter_map(|(&id, link)| Some((id, link.peer, self.source(link)?)))
            .collect();
        for (id, peer, source) in due {
            let Some(link) = self.links.get_mut(&id) else { continue };
            link.dial(now);
            let router = link.key;
            self.outputs.push_back(Output::Peer(PeerOutput::Dial { link: id, peer, source, router }));
        }
    }

    /// Where a link can be dialled from, once it is known.
    fn source(&self, link: &Link) -> Option<ListenAddress> {
        let source = |router: &RouterId| *self.sources.get(usize::from(router.0))?;
        let address = link.routers.iter().find_map(source)?;
        Some(ListenAddress { address, interface: link.interface.clone() })
    }

    fn listen(&mut self) {
        let wanted: BTreeSet<_> = self
            .plan
            .routers
            .iter()
            .zip(self.sources.iter().zip(&self.keys))
            .filter(|(_, (_, key))| key.is_some())
            .filter_map(|(config, (source, _))| {
                Some(ListenAddress { address: (*source)?, interface: config.interface.clone() })
            })
            .collect();
        if wanted != self.listening {
            self.listening.clone_from(&wanted);
            self.outputs.push_back(Output::Peer(PeerOutput::Listen(wanted)));
        }
    }

    fn key(&self, router: RouterId) -> Option<RouterId> {
        self.keys.get(usize::from(router.0)).copied().flatten()
    }

    fn is_multicast(&self, router: RouterId) -> bool {
        let config = self.plan.routers.get(usize::from(router.0));
        config.is_some_and(|config| matches!(config.delivery, Delivery::Multicast { .. }))
    }

    fn say(&mut self, event: PeersEvent) {
        self.outputs.push_back(Output::Event(Event::Peers(event)));
    }
}

/// For each router the first one with the same secret.
pub fn keys(plan: &Plan) -> Vec<Option<RouterId>> {
    let first = |secret| plan.routers.iter().position(|other| other.link_secret.as_ref() == Some(secret));
    let key = |secret| first(secret).and_then(|index| u16::try_from(index).ok()).map(RouterId);
    plan.routers.iter().map(|router| router.link_secret.as_ref().and_then(key)).collect()
}
