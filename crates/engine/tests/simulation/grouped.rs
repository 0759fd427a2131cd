//! Clusters of balancers on two LANs with a router on each, both in one sync group.
//!
//! Whatever happens, no balancer is active on one LAN and listens on the other; and once the LANs are whole, one balancer
//! is active on both. What holds of each router by itself is the other clusters' matter.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::Request;
use mainstay_engine::engine::InterfaceState;
use mainstay_engine::time::Instant;
use mainstay_engine::{Engine, Input, Output, Plan};

use crate::cluster::{LONGEST_WAKE, plan};
use crate::lan::Lan;
use crate::random::Random;
use crate::trace::Trace;

const LANS: usize = 2;
const ROUNDS: usize = 2;

/// What all balancers agree on.
struct Settings {
    version: u8,
    interval: &'static str,
    seconds: Duration,
    /// Whether one of them never takes over from a lower priority.
    patient: bool,
}

struct Balancer {
    plan: Arc<Plan>,
    engine: Option<Engine>,
    links: [bool; LANS],
}

enum Event {
    Datagram { to: usize, lan: usize, datagram: Vec<u8> },
    Wake { node: usize },
}

struct World {
    random: Random,
    now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    balancers: Vec<Balancer>,
    lans: Vec<Lan>,
    trace: Trace,
    /// Whether an operator asked anybody to hand over.
    asked: bool,
}

/// Runs one seed to its end and returns the fingerprint of everything that happened.
pub(crate) fn run(seed: u64, shown: bool) -> u64 {
    let mut random = Random::new(seed);
    let nodes = 2 + random.index(2);
    let (version, interval, millis) =
        random.pick(&[(2, "1", 1000), (3, "0.1", 100), (3, "0.5", 500), (3, "1", 1000)]);
    let settings =
        Settings { version, interval, seconds: Duration::from_millis(millis), patient: random.percent(30) };
    let balancers: Vec<Balancer> = (0..nodes)
        .map(|node| {
            let text = text(node, &settings, &mut random);
            Balancer { plan: Arc::new(plan(&text)), engine: None, links: [true; LANS] }
        })
        .collect();
    let mut world = World {
        random,
        now: Instant::from_nanos(1_000_000_000),
        events: BTreeMap::new(),
        sequence: 0,
        lans: (0..LANS).map(|_| Lan::whole(nodes)).collect(),
        balancers,
        trace: Trace::new(shown),
        asked: false,
    };
    for _ in 0..ROUNDS {
        world.chaos(settings.seconds);
        world.heal(&settings);
    }
    world.trace.fingerprint()
}

/// Members have one priority, and no two balancers the same.
fn text(node: usize, settings: &Settings, random: &mut Random) -> String {
    let priority = 40 * (node + 1) + random.index(40);
    let patient = settings.patient && random.percent(60);
    let mut text = "vrrp_sync_group G {\n    group {\n        V0\n        V1\n    }\n}\n".to_owned();
    for lan in 0..LANS {
        let _ = writeln!(
            text,
            "vrrp_instance V{lan} {{\n    interface eth{lan}\n    virtual_router_id 51\n    version {}\n    advert_int {}\n    \
             priority {priority}\n    {}\n    virtual_ipaddress {{\n        10.0.{lan}.100/24\n    }}\n}}",
            settings.version,
            settings.interval,
            if patient { "nopreempt" } else { "" },
        );
    }
    text
}

impl World {
    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            match event {
                Event::Datagram { to, lan, datagram } if self.balancers[to].links[lan] => {
                    let interface = format!("eth{lan}");
                    self.tell(to, Some(Input::Datagram { interface: &interface, datagram: &datagram }));
                }
                Event::Datagram { .. } => {}
                Event::Wake { node } => self.tell(node, None),
            }
        }
        self.now = until;
    }

    /// Gives a balancer its turn with what it has to hear.
    fn tell(&mut self, node: usize, input: Option<Input<'_>>) {
        let Some(mut engine) = self.balancers[node].engine.take() else { return };
        if let Some(input) = input {
            engine.handle(input, self.now);
        }
        engine.handle_timeout(self.now);
        let mut exits = false;
        while let Some(output) = engine.poll_output() {
            self.trace.note(self.now, format_args!("{node} {output:?}"));
            match output {
                Output::SendAdvert { interface, datagram, .. } => self.carry(node, &interface, &datagram),
                Output::Exit => exits = true,
                _ => {}
            }
        }
        self.check_whole(node, &engine);
        if exits {
            return;
        }
        if let Some(deadline) = engine.poll_timeout() {
            let late = self.random.span(Duration::ZERO, LONGEST_WAKE);
            self.at(deadline.at.max(self.now) + late, Event::Wake { node });
        }
        self.balancers[node].engine = Some(engine);
    }

    fn carry(&mut self, from: usize, interface: &str, datagram: &[u8]) {
        let lan = usize::from(interface == "eth1");
        if !self.balancers[from].links[lan] {
            return;
        }
        for to in (0..self.balancers.len()).filter(|&to| to != from) {
            for (delay, datagram) in self.lans[lan].carry((from, to), datagram, &mut self.random) {
                self.at(self.now + delay, Event::Datagram { to, lan, datagram });
            }
        }
    }

    /// No half of a group: who is active on one LAN owns the address of the other one too.
    fn check_whole(&self, node: usize, engine: &Engine) {
        let states: Vec<String> =
            engine.status(self.now).routers.into_iter().map(|router| router.state).collect();
        let owns = |state: &String| state == "active" || state == "handing over";
        let torn = states.iter().any(|state| state == "active") && !states.iter().all(owns);
        assert!(!torn, "{node} is torn apart: {states:?}");
    }

    fn start(&mut self, node: usize) {
        let seed = self.random.next();
        let plan = Arc::clone(&self.balancers[node].plan);
        self.balancers[node].engine = Some(Engine::new(plan, seed, self.now));
        for lan in 0..LANS {
            self.set_link(node, lan, self.balancers[node].links[lan]);
        }
    }

    fn set_link(&mut self, node: usize, lan: usize, running: bool) {
        self.balancers[node].links[lan] = running;
        let number = |value: usize| u8::try_from(value).expect("few");
        let own = IpAddr::V4(Ipv4Addr::new(10, 0, number(lan), 1 + number(node)));
        let state = Some(InterfaceState { running, addresses: vec![(own, 24)] });
        self.tell(node, Some(Input::Interface { name: &format!("eth{lan}"), state }));
    }

    fn chaos(&mut self, unit: Duration) {
        for node in 0..self.balancers.len() {
            if self.balancers[node].engine.is_none() {
                self.start(node);
            }
        }
        for _ in 0..10 + self.random.index(20) {
            let gap = self.random.span(Duration::ZERO, unit * 4);
            self.pass(gap);
            let (node, lan) = (self.random.index(self.balancers.len()), self.random.index(LANS));
            let what = self.disturb(node, lan);
            self.trace.note(self.now, format_args!("{node} fault: {what}"));
        }
    }

    fn disturb(&mut self, node: usize, lan: usize) -> String {
        match self.random.below(9) {
            0..=2 => format!("LAN {lan}: {}", self.lans[lan].disturb(&mut self.random)),
            3 | 4 => {
                let up = !self.balancers[node].links[lan];
                self.set_link(node, lan, up);
                format!("link {lan} up: {up}")
            }
            5 => {
                self.balancers[node].engine = None;
                "killed".to_owned()
            }
            6 if self.balancers[node].engine.is_none() => {
                self.start(node);
                "started".to_owned()
            }
            6 => {
                self.tell(node, Some(Input::Stop));
                "asked to stop".to_owned()
            }
            what => {
                self.asked = true;
                let request = if what == 7 { Request::HandOver } else { Request::Resume };
                let name = format!("{request:?}");
                self.tell(node, Some(Input::Request { ticket: 1, request }));
                name
            }
        }
    }

    fn heal(&mut self, settings: &Settings) {
        self.lans.iter_mut().for_each(Lan::mend);
        for node in 0..self.balancers.len() {
            for lan in 0..LANS {
                if !self.balancers[node].links[lan] {
                    self.set_link(node, lan, true);
                }
            }
        }
        // Four intervals end every master-down interval in silence, and with a margin every hand-over; who stops has gone.
        let patience = settings.seconds * 4 + Duration::from_millis(1100);
        self.pass(patience * 2);
        for node in 0..self.balancers.len() {
            if self.balancers[node].engine.is_none() {
                self.start(node);
            }
        }
        self.pass(patience * 4);
        self.check_election(settings);
    }

    fn check_election(&self, settings: &Settings) {
        let states: Vec<Vec<String>> = self
            .balancers
            .iter()
            .map(|balancer| {
                let engine = balancer.engine.as_ref().expect("all run");
                engine.status(self.now).routers.into_iter().map(|router| router.state).collect()
            })
            .collect();
        let all = |node: usize, state: &str| states[node].iter().all(|own| own == state);
        let active: Vec<usize> = (0..states.len()).filter(|&node| all(node, "active")).collect();
        let [active] = active[..] else { panic!("not exactly one group is active: {states:?}") };
        let others = (0..states.len()).filter(|&node| node != active);
        assert!(others.into_iter().all(|node| all(node, "backup")), "{states:?}");
        // Priorities rise with the numbers.
        let free = !self.asked && !settings.patient;
        assert!(!free || active == states.len() - 1, "{active} is not the one to be active: {states:?}");
    }
}
