//! One balancer: a real engine, carried by a loop like the daemon's, on a simulated kernel.
//!
//! The loop is that of the daemon's control thread: sockets first, then interfaces, then commands, then deadlines, then
//! everything the engine wants done. The kernel holds addresses with lifetimes and takes them away by itself.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::{Reply, Request, RouterStatus};
use mainstay_engine::engine::{HandOverRules, InterfaceState};
use mainstay_engine::limits::HAND_OVER_DRAIN;
use mainstay_engine::peers::{LinkEnd, LinkId, PeerInput, PeerOptions, PeerOutput};
use mainstay_engine::plan::{Family, HardwareAddress, Router, RouterId, ScriptId, VirtualAddress, Vrid};
use mainstay_engine::time::{Instant, UnixTime};
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::vrrp::packet::peek;
use mainstay_engine::vrrp::track::ScriptOutcome;
use mainstay_engine::{Engine, Event, Input, Output, Plan};

use crate::cluster::UPLINK;
use crate::links::Dialled;

/// The ticket of every request to hand over.
const HAND_OVER: u64 = 1;

/// What the outside has for a balancer, in the order it came.
#[derive(Clone, Debug)]
pub(crate) enum News {
    Datagram(Vec<u8>),
    Interface,
    AddressGone(IpAddr),
    /// Another balancer's kernel said that it has an address.
    Claimed {
        address: IpAddr,
        by: u8,
    },
    ScriptFinished {
        script: ScriptId,
        run: u64,
        passed: bool,
    },
    Request(Request),
    LinkOpened {
        link: LinkId,
    },
    LinkAccepted {
        from: IpAddr,
        local: IpAddr,
        router: RouterId,
    },
    LinkEnded {
        link: LinkId,
        end: LinkEnd,
    },
    Stop,
}

/// What one turn of the loop did to the outside.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    pub(crate) adverts: Vec<(IpAddr, Vec<u8>)>,
    /// Routers that acted as active ones: advertised a priority, installed or announced.
    pub(crate) acted: Vec<usize>,
    /// Routers that advertised, a priority of 0 included.
    pub(crate) advertised: Vec<usize>,
    pub(crate) announces: Vec<IpAddr>,
    /// Addresses of which it asked who else has them.
    pub(crate) probes: Vec<IpAddr>,
    pub(crate) scripts: Vec<(ScriptId, u64)>,
    pub(crate) dials: Vec<Dialled>,
    /// A hand-over that was accepted, or ended.
    pub(crate) standing_by: Option<bool>,
    pub(crate) exit: bool,
    /// Sentences about others that keep the group from working.
    pub(crate) blames: Vec<String>,
    pub(crate) trace: Vec<String>,
}

/// How a balancer is, apart from what its engine thinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    /// Handles nothing (SIGSTOP); the kernel goes on.
    Paused,
    /// Neither handles nor hears anything; the lifetimes of addresses stand still, the clock does not.
    Suspended,
    Dead,
}

pub(crate) struct Node {
    pub(crate) plan: Arc<Plan>,
    pub(crate) own: Vec<(IpAddr, u8)>,
    pub(crate) engine: Option<Engine>,
    pub(crate) life: Life,
    pub(crate) life_since: Instant,
    /// Grows with every start, so that news for an earlier life is recognised.
    pub(crate) incarnation: u64,
    pub(crate) news: VecDeque<News>,
    /// The kernel's addresses and when it removes them; `None` is never.
    pub(crate) addresses: BTreeMap<IpAddr, Option<Instant>>,
    /// Addresses that the kernel holds but is silent about in ARP, and until when.
    silent: BTreeMap<IpAddr, Instant>,
    /// Whether the rules for a move cannot be set here.
    pub(crate) rules_fail: bool,
    /// Installed and not removed by this daemon.
    expected: Vec<IpAddr>,
    pub(crate) link_up: bool,
    /// The link of the other interface, which only tracking looks at.
    pub(crate) uplink_up: bool,
    pub(crate) installs_fail: bool,
    pub(crate) script_passes: bool,
    /// Whether a firewall resets links to it.
    pub(crate) rejects_links: bool,
    /// Added to the simulation's time: every machine was booted at another moment.
    boot_offset: Duration,
    /// How many seconds its wall clock is ahead of the others'.
    pub(crate) clock_step: i64,
    /// Millionths by which its clock is fast.
    drift: i64,
}

/// What the wall clocks show when a simulation begins.
const BEGIN: Duration = Duration::from_secs(1_800_000_000);

impl Node {
    pub(crate) fn new(plan: Arc<Plan>, own: Vec<(IpAddr, u8)>, boot_offset: Duration, drift: i64) -> Self {
        Self {
            plan,
            own,
            engine: None,
            life: Life::Dead,
            life_since: Instant::default(),
            incarnation: 0,
            news: VecDeque::new(),
            addresses: BTreeMap::new(),
            silent: BTreeMap::new(),
            rules_fail: false,
            expected: Vec::new(),
            link_up: true,
            uplink_up: true,
            installs_fail: false,
            script_passes: true,
            rejects_links: false,
            boot_offset,
            clock_step: 0,
            drift,
        }
    }

    pub(crate) fn start(&mut self, seed: u64, now: Instant) {
        self.incarnation += 1;
        let options = PeerOptions { link: true, follow_health: true };
        let engine = Engine::with_peers(Arc::clone(&self.plan), options, seed, self.clock(now));
        self.engine = Some(engine);
        (self.life, self.life_since) = (Life::Running, now);
        self.expected.clear();
        self.news.clear();
        self.news.push_back(News::Interface);
    }

    pub(crate) fn die(&mut self, now: Instant) {
        self.engine = None;
        (self.life, self.life_since) = (Life::Dead, now);
        self.news.clear();
    }

    /// What it says of its routers; a dead balancer says nothing.
    pub(crate) fn routers(&self, now: Instant) -> Option<Vec<RouterStatus>> {
        Some(self.engine.as_ref()?.status(self.clock(now)).routers)
    }

    /// The state of a router; a dead balancer has none.
    pub(crate) fn state(&self, group: usize, now: Instant) -> Option<String> {
        Some(self.routers(now)?.swap_remove(group).state)
    }

    /// What its own clock says.
    fn clock(&self, now: Instant) -> Instant {
        let nanos = i64::try_from(now.as_nanos()).expect("a short simulation");
        let drifted = nanos + nanos / 1_000_000 * self.drift;
        Instant::from_nanos(u64::try_from(drifted).expect("clocks go forward")) + self.boot_offset
    }

    /// The first moment at which its own clock says at least `then`.
    fn moment(&self, then: Instant) -> Instant {
        let nanos = i64::try_from(then.minus(self.boot_offset).as_nanos()).expect("a short simulation");
        let steps = nanos / (1_000_000 + self.drift);
        // Of each step of a million nanoseconds, the drift shows at its end.
        let within = (nanos - steps * (1_000_000 + self.drift)).min(1_000_000);
        Instant::from_nanos(u64::try_from(steps * 1_000_000 + within).expect("clocks go forward"))
    }

    /// The group of an advert that it sent.
    fn group_of_advert(&self, datagram: &[u8]) -> usize {
        let (source, vrid) = peek(datagram).expect("own adverts are sound");
        let is_its = |router: &Router| router.vrid == vrid && router.family() == Family::of(source);
        self.plan.routers.iter().position(is_its).expect("it is a group's")
    }

    fn group_of(&self, address: IpAddr) -> Option<usize> {
        let has = |router: &Router| router.addresses.iter().any(|own| own.address == address);
        self.plan.routers.iter().position(has)
    }

    /// When the engine wants to be woken.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        Some(self.moment(self.engine.as_ref()?.poll_timeout()?.at))
    }

    /// Whether the kernel answers for all addresses of a group.
    pub(crate) fn holds(&self, group: usize) -> bool {
        self.plan.routers[group].addresses.iter().all(|own| self.answers_for(own.address))
    }

    /// Whether the kernel answers for any address of a group.
    pub(crate) fn holds_any(&self, group: usize) -> bool {
        self.plan.routers[group].addresses.iter().any(|own| self.answers_for(own.address))
    }

    fn answers_for(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address) && !self.silent.contains_key(&address)
    }

    /// Whether the kernel answers a question for an address now.
    pub(crate) fn answers_probe(&self, address: IpAddr) -> bool {
        self.link_up && self.life != Life::Suspended && self.answers_for(address)
    }

    /// Whether clients on the LAN reach the group's addresses here.
    pub(crate) fn serves(&self, group: usize) -> bool {
        self.link_up && self.life != Life::Suspended && self.holds(group)
    }

    /// Lets the kernel remove what was not renewed in time.
    pub(crate) fn expire(&mut self, now: Instant) {
        if self.life == Life::Suspended {
            return;
        }
        self.silent.retain(|_, until| *until > now);
        let gone: Vec<IpAddr> = self
            .addresses
            .iter()
            .filter(|(_, at)| at.is_some_and(|at| at <= now))
            .map(|(&address, _)| address)
            .collect();
        gone.into_iter().for_each(|address| self.lose(address));
    }

    /// Takes an address away, as the kernel or an operator does.
    pub(crate) fn lose(&mut self, address: IpAddr) {
        self.addresses.remove(&address);
        if self.expected.contains(&address) && self.engine.is_some() {
            self.news.push_back(News::AddressGone(address));
        }
    }

    /// Moves every lifetime on by the time a machine was suspended.
    pub(crate) fn stretch_lifetimes(&mut self, by: Duration) {
        for at in self.addresses.values_mut().flatten().chain(self.silent.values_mut()) {
            *at = *at + by;
        }
    }

    /// One turn of the loop.
    pub(crate) fn turn(&mut self, now: Instant) -> Turn {
        let mut turn = Turn::default();
        let Some(mut engine) = self.engine.take() else { return turn };
        let clock = self.clock(now);
        engine.handle(Input::WallClock(self.wall(now)), clock);
        let mut news: Vec<News> = self.news.drain(..).collect();
        news.sort_by_key(|news| match news {
            News::Datagram(_) | News::Claimed { .. } => 0,
            News::Interface | News::AddressGone(_) => 1,
            News::ScriptFinished { .. } | News::Request(_) | News::Stop => 2,
            News::LinkOpened { .. } | News::LinkAccepted { .. } | News::LinkEnded { .. } => 2,
        });
        for news in news {
            self.hear(&mut engine, &news, clock);
        }
        engine.handle_timeout(clock);
        while let Some(output) = engine.poll_output() {
            self.carry_out(&mut engine, output, now, &mut turn);
        }
        self.engine = Some(engine);
        turn
    }

    fn wall(&self, now: Instant) -> UnixTime {
        let right = BEGIN + now.since(Instant::default());
        let step = Duration::from_secs(self.clock_step.unsigned_abs());
        UnixTime::new(if self.clock_step < 0 { right - step } else { right + step })
    }

    fn hear(&self, engine: &mut Engine, news: &News, clock: Instant) {
        let input = match news {
            News::Datagram(datagram) => Input::Datagram { interface: "eth0", datagram },
            News::Interface => {
                let uplink = InterfaceState { running: self.uplink_up, addresses: Vec::new() };
                engine.handle(Input::Interface { name: UPLINK, state: Some(uplink) }, clock);
                let state = InterfaceState { running: self.link_up, addresses: self.own.clone() };
                Input::Interface { name: "eth0", state: Some(state) }
            }
            News::AddressGone(address) => Input::AddressGone { interface: "eth0", address: *address },
            News::Claimed { address, by } => {
                let hardware = HardwareAddress([2, 0, 0, 0, 0, *by]);
                Input::AddressClaimed { interface: "eth0", address: *address, hardware }
            }
            News::ScriptFinished { script, run, passed } => {
                let outcome = if *passed {
                    ScriptOutcome::Passed
                } else {
                    ScriptOutcome::Failed("exit status 1".to_owned())
                };
                Input::ScriptFinished { script: *script, run: *run, outcome }
            }
            News::Request(request) => {
                let ticket = u64::from(*request == Request::HandOver);
                Input::Request { ticket, request: request.clone() }
            }
            News::LinkOpened { link } => Input::Peer(PeerInput::Opened { link: *link }),
            News::LinkAccepted { from, local, router } => {
                Input::Peer(PeerInput::Accepted { peer: *from, local: *local, router: *router })
            }
            News::LinkEnded { link, end } => Input::Peer(PeerInput::Ended { link: *link, end: end.clone() }),
            News::Stop => Input::Stop,
        };
        engine.handle(input, clock);
    }

    fn carry_out(&mut self, engine: &mut Engine, output: Output, now: Instant, turn: &mut Turn) {
        turn.trace.push(said_of(&output));
        match output {
            Output::SendAdvert { destination, datagram, .. } if self.link_up => {
                let group = self.group_of_advert(&datagram);
                turn.advertised.push(group);
                if message(&datagram)[2] != 0 {
                    turn.acted.push(group);
                }
                turn.adverts.push((destination, datagram));
            }
            Output::SendAdvert { interface, .. } => {
                let reason = "network is down".to_owned();
                engine.handle(Input::SendFailed { interface: &interface, reason }, self.clock(now));
            }
            Output::InstallAddress { address, lifetime } => {
                // Without an answer in ARP, nobody is led here: it is kept for old connections.
                if !self.silent.contains_key(&address.address) {
                    turn.acted.extend(self.group_of(address.address));
                }
                self.install(engine, &address, lifetime, now);
            }
            Output::RemoveAddress { address } => {
                self.addresses.remove(&address.address);
                self.expected.retain(|expected| *expected != address.address);
            }
            Output::Announce { address, .. } => {
                turn.acted.extend(self.group_of(address));
                turn.announces.push(address);
            }
            Output::Probe { address, .. } => turn.probes.push(address),
            Output::HandOverRules { interface, vrid, rules } => {
                if self.rules_fail {
                    let reason = "cannot run nft".to_owned();
                    let failed = Input::HandOverRulesFailed { interface: &interface, vrid, reason };
                    return engine.handle(failed, self.clock(now));
                }
                self.set_rules(vrid, rules, now);
            }
            Output::RunScript { script, run } => turn.scripts.push((script, run)),
            Output::Reply { ticket, reply: Reply::Done } => turn.standing_by = Some(ticket == HAND_OVER),
            Output::Reply { .. } => {}
            Output::Exit => turn.exit = true,
            Output::Event(event) => turn.blames.extend(blame(&event)),
            Output::Publish(_) | Output::Notify(_) | Output::Log(_) => {}
            Output::InstallRouting { .. } | Output::RemoveRouting { .. } => panic!("there are no routes"),
            Output::StartCheck { .. }
            | Output::AskAgent { .. }
            | Output::ShutdownSessions { .. }
            | Output::CloseSessions { .. }
            | Output::Forward(_)
            | Output::DeleteFlows { .. }
            | Output::Resolve { .. } => panic!("there are no servers"),
            Output::Peer(PeerOutput::Dial { link, peer, router, .. }) => {
                turn.dials.push((link, peer, router));
            }
            Output::Peer(PeerOutput::Listen(_) | PeerOutput::Tell(_)) => {}
        }
    }

    fn set_rules(&mut self, vrid: Vrid, rules: Option<HandOverRules>, now: Instant) {
        let is_its = |router: &&Router| router.vrid == vrid && router.family() == Family::Ipv4;
        let routers = self.plan.routers.iter().filter(is_its);
        for own in routers.flat_map(|router| &router.addresses) {
            self.silent.remove(&own.address);
        }
        if let Some(HandOverRules::Silence { addresses }) = rules {
            let until = now + 2 * HAND_OVER_DRAIN;
            self.silent.extend(addresses.into_iter().map(|address| (IpAddr::V4(address), until)));
        }
    }

    fn install(
        &mut self,
        engine: &mut Engine,
        address: &VirtualAddress,
        lifetime: Option<Duration>,
        now: Instant,
    ) {
        if self.installs_fail {
            let reason = "no buffer space available".to_owned();
            return engine.handle(Input::InstallFailed { address, reason }, self.clock(now));
        }
        self.addresses.insert(address.address, lifetime.map(|lifetime| now + lifetime));
        if !self.expected.contains(&address.address) {
            self.expected.push(address.address);
        }
    }
}

/// What is said of others that keep the group from working. Adverts that the LAN doubled or let overtake each other are
/// repetitions to whoever looks at their numbers.
fn blame(event: &Event) -> Option<String> {
    let Event::Vrrp(said) = event else { return None };
    let blames = match said {
        VrrpEvent::PeerDiffers { harmful, .. } => *harmful,
        VrrpEvent::PeerMismatch { mismatch, .. } => *mismatch != "hmac_replay",
        VrrpEvent::BothActive { .. } => true,
        _ => false,
    };
    blames.then(|| said.to_string())
}

/// What a trace says of an output. An advert is told by its priority and by the checksum over it.
fn said_of(output: &Output) -> String {
    let Output::SendAdvert { destination, datagram, .. } = output else { return format!("{output:?}") };
    let message = message(datagram);
    format!("SendAdvert to {destination}: {} {}, {:02x?}", message[1], message[2], &message[6..8])
}

/// What is behind an advert's IP header, which has no options.
fn message(datagram: &[u8]) -> &[u8] {
    &datagram[if datagram[0] >> 4 == 6 { 40 } else { 20 }..]
}
