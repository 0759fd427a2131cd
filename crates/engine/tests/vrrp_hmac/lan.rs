//! Some engines on one LAN, where every datagram arrives at once, and their clocks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::RouterStatus;
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{Surroundings, load};
use mainstay_engine::engine::InterfaceState;
use mainstay_engine::time::{Instant, UnixTime};
use mainstay_engine::{Engine, Event, Input, Output, Plan};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// A key, as it is written.
pub(crate) const KEY: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
/// Another one.
pub(crate) const OTHER: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";

/// When the first engine of a LAN starts, by its own clock.
const BEGIN: Duration = Duration::from_secs(1_800_000_000);

/// How one group is configured, but for what differs between its routers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    pub(crate) version: u8,
    pub(crate) ipv6: bool,
    pub(crate) unicast: bool,
}

pub(crate) const MULTICAST: Group = Group { version: 2, ipv6: false, unicast: false };

impl Group {
    /// Every kind there is.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let families = [(2, false), (3, false), (3, true)];
        let kind = |(version, ipv6), unicast| Self { version, ipv6, unicast };
        families.into_iter().flat_map(move |family| [false, true].map(|unicast| kind(family, unicast)))
    }

    /// The address of a router, from 1 on.
    pub(crate) fn address(self, number: usize) -> IpAddr {
        let text = if self.ipv6 { format!("fe80::{number}") } else { format!("10.0.0.{number}") };
        text.parse().expect("an address")
    }

    /// The keepalived.conf of router `number` with what it says about authentication.
    pub(crate) fn text(self, number: usize, priority: u8, authentication: &str) -> String {
        let peers: String = (1..=3)
            .filter(|other| *other != number)
            .map(|other| format!("{}\n", self.address(other)))
            .collect();
        let unicast = if self.unicast { format!("unicast_peer {{\n{peers}}}\n") } else { String::new() };
        let addresses = if self.ipv6 { "fe80::64/64\n2001:db8::64/64" } else { "10.0.0.100/24" };
        format!(
            "vrrp_instance V {{\ninterface eth0\nvirtual_router_id 51\npriority {priority}\nversion {}\n{unicast}\
             {authentication}\nvirtual_ipaddress {{\n{addresses}\n}}\n}}\n",
            self.version
        )
    }

    /// A LAN with routers of falling priorities, one for each text about authentication.
    pub(crate) fn lan(self, authentications: &[&str]) -> Lan {
        let stations = (1..).zip([200, 150, 100]).zip(authentications);
        let stations = stations.map(|((number, priority), authentication)| {
            Station::new(self.address(number), plan(&self.text(number, priority, authentication)))
        });
        let mut lan = Lan {
            stations: stations.collect(),
            now: Instant::default() + HOUR,
            wire: Vec::new(),
            events: Vec::new(),
        };
        (0..lan.stations.len()).for_each(|station| lan.start(station));
        lan
    }
}

/// An `auth_hmac` block with key 1, and further lines.
pub(crate) fn hmac(lines: &str) -> String {
    let active = if lines.contains("active_key") { "" } else { "active_key 1\n" };
    format!("auth_hmac {{\nkey 1 {KEY}\n{active}{lines}\n}}")
}

pub(crate) fn plan(text: &str) -> Plan {
    let mut sources = Sources::default();
    let id = sources.add("keepalived.conf", text);
    let surroundings = Surroundings {
        variable: &|_| None,
        resolve: &|name| Err(format!("{name}: no such host")),
        key_file: &|path| Err(format!("{path}: no such file")),
        pattern_file: &|path| Err(format!("{path}: no such file")),
    };
    let (plan, diagnostics) = load(&sources, &[], &[id], &surroundings);
    plan.unwrap_or_else(|| panic!("refused: {diagnostics:?}\n{text}"))
}

/// One machine.
pub(crate) struct Station {
    own: IpAddr,
    plan: Arc<Plan>,
    engine: Engine,
    running: bool,
    /// What its wall clock shows when the LAN's time is zero.
    pub(crate) clock: Duration,
}

impl Station {
    fn new(own: IpAddr, plan: Plan) -> Self {
        let plan = Arc::new(plan);
        let engine = Engine::new(Arc::clone(&plan), 1, Instant::default());
        Self { own, plan, engine, running: true, clock: BEGIN }
    }

    fn wall(&self, now: Instant) -> UnixTime {
        UnixTime::new(self.clock + now.since(Instant::default()))
    }
}

pub(crate) struct Lan {
    pub(crate) stations: Vec<Station>,
    pub(crate) now: Instant,
    /// Everything that was sent, and by whom.
    pub(crate) wire: Vec<(usize, IpAddr, Vec<u8>)>,
    pub(crate) events: Vec<(usize, Event)>,
}

impl Lan {
    /// Starts a daemon, or starts it anew.
    pub(crate) fn start(&mut self, station: usize) {
        let now = self.now;
        let machine = &mut self.stations[station];
        machine.engine = Engine::new(Arc::clone(&machine.plan), 1, now);
        machine.running = true;
        let wall = machine.wall(now);
        machine.engine.handle(Input::WallClock(wall), now);
        let state = InterfaceState { running: true, addresses: vec![(machine.own, 24)] };
        machine.engine.handle(Input::Interface { name: "eth0", state: Some(state) }, now);
        self.carry_out(station);
    }

    /// Ends a daemon without a word.
    pub(crate) fn kill(&mut self, station: usize) {
        self.stations[station].running = false;
    }

    /// Steps a wall clock.
    pub(crate) fn step(&mut self, station: usize, by: Duration, forward: bool) {
        let clock = &mut self.stations[station].clock;
        *clock = if forward { *clock + by } else { *clock - by };
    }

    /// Lets time pass, waking every daemon at its deadlines.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let running = self.stations.iter().enumerate().filter(|(_, machine)| machine.running);
            let due =
                running.filter_map(|(station, machine)| Some((machine.engine.poll_timeout()?.at, station)));
            let Some((at, station)) = due.min().filter(|(at, _)| *at <= end) else { break };
            self.now = self.now.max(at);
            let machine = &mut self.stations[station];
            let wall = machine.wall(self.now);
            machine.engine.handle(Input::WallClock(wall), self.now);
            machine.engine.handle_timeout(self.now);
            self.carry_out(station);
        }
        self.now = end;
    }

    /// Brings a datagram to one machine.
    pub(crate) fn deliver(&mut self, station: usize, datagram: &[u8]) {
        let now = self.now;
        let machine = &mut self.stations[station];
        if !machine.running {
            return;
        }
        let wall = machine.wall(now);
        machine.engine.handle(Input::WallClock(wall), now);
        machine.engine.handle(Input::Datagram { interface: "eth0", datagram }, now);
        self.carry_out(station);
    }

    fn carry_out(&mut self, station: usize) {
        while let Some(output) = self.stations[station].engine.poll_output() {
            match output {
                Output::SendAdvert { destination, datagram, .. } => {
                    self.wire.push((station, destination, datagram.clone()));
                    for other in (0..self.stations.len()).filter(|other| *other != station) {
                        if destination.is_multicast() || self.stations[other].own == destination {
                            self.deliver(other, &datagram);
                        }
                    }
                }
                Output::Event(event) => self.events.push((station, event)),
                _ => {}
            }
        }
    }

    pub(crate) fn status(&self, station: usize) -> RouterStatus {
        self.stations[station].engine.status(self.now).routers.remove(0)
    }

    /// The state of every router.
    pub(crate) fn states(&self) -> Vec<String> {
        (0..self.stations.len()).map(|station| self.status(station).state).collect()
    }

    /// What a router refused and why, by the reason's name.
    pub(crate) fn refused(&self, station: usize) -> Vec<(String, String)> {
        let refused = self.status(station).refused.into_iter();
        refused.map(|refused| (refused.reason, refused.latest)).collect()
    }

    /// The latest datagram of a machine.
    pub(crate) fn latest_of(&self, station: usize) -> Vec<u8> {
        let mut sent = self.wire.iter().rev();
        sent.find(|(sender, ..)| *sender == station).map(|(.., datagram)| datagram.clone()).expect("it sent")
    }
}
