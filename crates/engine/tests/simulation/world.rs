//! One seed's run: events in order of time, the faults of each round, and the quiet in which everything must be right.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::admin::Request;
use mainstay_engine::limits;
use mainstay_engine::limits::HAND_OVER_DRAIN;
use mainstay_engine::peers;
use mainstay_engine::time::Instant;

use crate::cluster::{
    Cluster, LARGEST_DRIFT, LONGEST_DELAY, LONGEST_SCRIPT, LONGEST_WAKE, LONGEST_WINDOW, addresses_of,
    drifted, preempt_delay, script_settles,
};
use crate::lan::Lan;
use crate::links::{Links, Telling};
use crate::model::Model;
use crate::node::{Life, News, Node, Turn};
use crate::random::Random;
use crate::trace::Trace;

/// Of two seeds in so many, one of each parity, what one round leaves meets another.
const LONGER: u64 = 16;

/// The longest time between two dials with its spread, and what a link has to be up for to mean something.
const LINKED: Duration = Duration::from_secs(14);

/// Closed, dialled and refused at the LAN's slowest, and the longest that an answer is waited for.
const AT_ONCE: Duration = Duration::from_millis(60);

enum Event {
    News { node: usize, incarnation: u64, news: News },
    Wake { node: usize },
    Expire { node: usize },
}

pub(crate) struct World {
    random: Random,
    pub(crate) now: Instant,
    events: BTreeMap<(Instant, u64), Event>,
    sequence: u64,
    wake_at: Vec<Option<Instant>>,
    expire_at: Vec<Option<Instant>>,
    pub(crate) nodes: Vec<Node>,
    lan: Lan,
    links: Links,
    pub(crate) model: Model,
    pub(crate) trace: Trace,
    /// Whether wall clocks only go forward.
    monotonic: bool,
    /// Whether only planned things happen.
    planned: bool,
}

/// Runs one seed to its end and returns the fingerprint of everything that happened.
pub(crate) fn run(seed: u64, shown: bool) -> u64 {
    let mut random = Random::new(seed);
    let cluster = Cluster::new(&mut random);
    let mut trace = Trace::new(shown);
    cluster.texts.iter().for_each(|text| trace.note(Instant::default(), format_args!("{text}")));
    let nodes: Vec<Node> = (0..)
        .zip(cluster.plans)
        .map(|(node, plan)| {
            let boot_offset = random.span(Duration::ZERO, Duration::from_secs(1_000_000));
            let drift = random.within(LARGEST_DRIFT);
            let mut machine = Node::new(plan, addresses_of(node), boot_offset, drift);
            machine.rules_fail = random.percent(25);
            machine
        })
        .collect();
    let mut world = World {
        random,
        now: Instant::default(),
        events: BTreeMap::new(),
        sequence: 0,
        wake_at: vec![None; nodes.len()],
        expire_at: vec![None; nodes.len()],
        lan: Lan::whole(nodes.len()),
        links: Links::default(),
        model: Model::new(&nodes, &cluster.odd),
        nodes,
        trace,
        monotonic: cluster.monotonic,
        planned: false,
    };
    for _ in 0..if seed % LONGER < 2 { 2 } else { 1 } {
        world.chaos();
        world.heal();
        world.planned_change();
        world.death();
    }
    world.trace.fingerprint()
}

impl World {
    fn at(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.events.insert((at, self.sequence), event);
    }

    /// Lets time pass and everything happen that is due meanwhile.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now = self.now.max(at);
            match event {
                Event::News { node, incarnation, news } => {
                    let target = &mut self.nodes[node];
                    let deaf = matches!(news, News::Datagram(_) | News::Claimed { .. })
                        && (!target.link_up || target.life == Life::Suspended);
                    if target.incarnation == incarnation && target.life != Life::Dead && !deaf {
                        target.news.push_back(news);
                        self.turn(node);
                    }
                }
                Event::Wake { node } if self.wake_at[node] == Some(at) => self.turn(node),
                Event::Wake { .. } => {}
                Event::Expire { node } if self.expire_at[node] == Some(at) => {
                    self.nodes[node].expire(self.now);
                    self.watch_lifetimes(node);
                    if !self.nodes[node].news.is_empty() {
                        self.turn(node);
                    }
                }
                Event::Expire { .. } => {}
            }
            self.model.check_service(&self.nodes, self.now);
        }
        self.now = until;
        self.model.check_service(&self.nodes, self.now);
    }

    /// Gives a balancer its turn, if it runs.
    fn turn(&mut self, node: usize) {
        if self.nodes[node].life != Life::Running {
            return;
        }
        self.model.count_turn(node, &self.nodes[node].news, self.now);
        let turn = self.nodes[node].turn(self.now);
        for line in &turn.trace {
            self.trace.note(self.now, format_args!("{node} {line}"));
        }
        self.model.check_turn(node, &self.nodes[node], &turn, self.now);
        assert!(
            !self.planned || self.model.has_odd() || turn.blames.is_empty(),
            "{node} blames in peace: {:?}",
            turn.blames
        );
        self.deliver(node, &turn);
        self.deliver_claims(node, &turn);
        self.watch_lifetimes(node);
        if turn.exit {
            self.die(node);
        } else if let Some(deadline) = self.nodes[node].deadline() {
            let wake = deadline.max(self.now) + self.random.span(Duration::ZERO, LONGEST_WAKE);
            self.wake_at[node] = Some(wake);
            self.at(wake, Event::Wake { node });
        }
        if !self.nodes[node].news.is_empty() {
            self.turn(node);
        }
    }

    /// Has the kernel look again when the next lifetime ends.
    fn watch_lifetimes(&mut self, node: usize) {
        let next = self.nodes[node].addresses.values().flatten().copied().min();
        if let Some(at) = next.filter(|_| next != self.expire_at[node]) {
            self.at(at, Event::Expire { node });
        }
        self.expire_at[node] = next;
    }

    fn deliver(&mut self, node: usize, turn: &Turn) {
        for (destination, datagram) in &turn.adverts {
            for to in 0..self.nodes.len() {
                let has = |(own, _): &(IpAddr, u8)| own == destination;
                if !destination.is_multicast() && !self.nodes[to].own.iter().any(has) {
                    continue;
                }
                for (delay, datagram) in self.lan.carry((node, to), datagram, &mut self.random) {
                    let incarnation = self.nodes[to].incarnation;
                    let news = News::Datagram(datagram);
                    self.at(self.now + delay, Event::News { node: to, incarnation, news });
                }
            }
        }
        for &dialled in &turn.dials {
            let told = self.links.dial(node, dialled, &self.nodes, &self.lan);
            self.tell_all(told);
        }
        for &(script, run) in &turn.scripts {
            let passed = self.nodes[node].script_passes;
            let after = self.random.span(Duration::ZERO, LONGEST_SCRIPT);
            let news = News::ScriptFinished { script, run, passed };
            self.tell(node, after, news);
        }
    }

    fn die(&mut self, node: usize) {
        self.nodes[node].die(self.now);
        self.model.unwilling(node);
        let told = self.links.close(node, &self.nodes, &self.lan);
        self.tell_all(told);
    }

    /// A firewall that begins to reject resets what is there.
    fn set_firewall(&mut self, node: usize, rejects: bool) -> String {
        self.nodes[node].rejects_links = rejects;
        if rejects {
            let told = self.links.close(node, &self.nodes, &self.lan);
            self.tell_all(told);
        }
        format!("a firewall rejects links: {rejects}")
    }

    fn tell_all(&mut self, told: Vec<Telling>) {
        for (node, after, news) in told {
            let carried = self.random.span(Duration::from_micros(50), LONGEST_DELAY);
            self.tell(node, after.unwrap_or(carried), news);
        }
    }

    /// Announcements reach all others; a probe reaches them, and those who have the address answer.
    fn deliver_claims(&mut self, node: usize, turn: &Turn) {
        let others = (0..self.nodes.len()).filter(|&other| other != node);
        for other in others {
            for &address in &turn.announces {
                for (delay, _) in self.lan.carry((node, other), &[0], &mut self.random) {
                    self.tell(other, delay, claimed(address, node));
                }
            }
            for &address in &turn.probes {
                let asked = self.lan.carry((node, other), &[0], &mut self.random);
                let asked = asked.first().filter(|_| self.nodes[other].answers_probe(address));
                let Some(&(there, _)) = asked else { continue };
                for (back, _) in self.lan.carry((other, node), &[0], &mut self.random) {
                    self.tell(node, there + back, claimed(address, other));
                }
            }
        }
    }

    fn tell(&mut self, node: usize, after: Duration, news: News) {
        let incarnation = self.nodes[node].incarnation;
        self.at(self.now + after, Event::News { node, incarnation, news });
    }

    fn start(&mut self, node: usize) {
        let seed = self.random.next();
        self.nodes[node].start(seed, self.now);
        self.model.started(node);
        let first_result = self.now + LONGEST_SCRIPT + LONGEST_WAKE * 2;
        self.model.judge_willingness(node, &self.nodes[node], first_result);
        self.turn(node);
    }

    /// Faults one after the other.
    fn chaos(&mut self) {
        self.model.begin_chaos();
        let unit = self.model.longest_interval;
        let faults = 5 + self.random.index(20);
        for node in 0..self.nodes.len() {
            if self.nodes[node].life == Life::Dead && self.random.percent(80) {
                self.start(node);
            }
        }
        for _ in 0..faults {
            let gap = self.random.span(Duration::ZERO, unit * 3);
            self.pass(gap);
            let node = self.random.index(self.nodes.len());
            let what = self.disturb(node);
            self.trace.note(self.now, format_args!("{node} fault: {what}"));
        }
        self.pass(unit);
    }

    fn disturb(&mut self, node: usize) -> String {
        match (self.random.below(15), self.nodes[node].life) {
            (0..=2, _) => self.lan.disturb(&mut self.random),
            (12, _) => self.step_clock(node),
            (_, Life::Dead) => {
                self.start(node);
                "started".to_owned()
            }
            (_, Life::Paused | Life::Suspended) => {
                self.wake(node);
                "woken".to_owned()
            }
            (3, _) => {
                self.die(node);
                "killed".to_owned()
            }
            (13, _) => self.set_firewall(node, !self.nodes[node].rejects_links),
            (4 | 5, _) => self.sleep(node, Life::Paused),
            (6, _) => self.sleep(node, Life::Suspended),
            (7, _) => self.set_link(node, !self.nodes[node].link_up),
            (8, _) => self.set_installs(node, !self.nodes[node].installs_fail),
            (9, _) => self.set_script(node, !self.nodes[node].script_passes),
            (10, _) => self.set_uplink(node, !self.nodes[node].uplink_up),
            (11, _) => {
                let routers = &self.nodes[node].plan.routers;
                let address = routers[self.random.index(routers.len())].addresses[0].address;
                self.model.address_taken();
                self.nodes[node].lose(address);
                self.turn(node);
                format!("lost {address}")
            }
            _ => {
                let request = self.random.pick(&[0, 1, 2]);
                self.ask(node, request)
            }
        }
    }

    fn step_clock(&mut self, node: usize) -> String {
        let seconds = self.random.pick(&[1, 3, 10, 3600]);
        let forward = self.monotonic || self.random.percent(50);
        self.nodes[node].clock_step += if forward { seconds } else { -seconds };
        format!("clock {} s ahead", self.nodes[node].clock_step)
    }

    fn ask(&mut self, node: usize, what: u8) -> String {
        let news = match what {
            0 => News::Request(Request::HandOver),
            1 => News::Request(Request::Resume),
            _ => News::Stop,
        };
        let said = format!("{news:?}");
        if let News::Stop = news {
            self.model.unwilling(node);
            self.model.stopping(node);
        }
        self.nodes[node].news.push_back(news);
        self.turn(node);
        said
    }

    fn sleep(&mut self, node: usize, life: Life) -> String {
        (self.nodes[node].life, self.nodes[node].life_since) = (life, self.now);
        self.model.unwilling(node);
        format!("{life:?}")
    }

    fn wake(&mut self, node: usize) {
        let target = &mut self.nodes[node];
        // A script does not run while its balancer sleeps, so one that had not settled begins again.
        let settling = self.model.was_settling(node, target.life_since);
        let settles = if settling { script_settles(&target.plan) } else { Duration::ZERO };
        if target.life == Life::Suspended {
            target.stretch_lifetimes(self.now.since(target.life_since));
        }
        (target.life, target.life_since) = (Life::Running, self.now);
        self.watch_lifetimes(node);
        self.model.woke(node);
        self.model.judge_willingness(node, &self.nodes[node], self.now + settles);
        self.turn(node);
    }

    fn set_link(&mut self, node: usize, up: bool) -> String {
        self.nodes[node].link_up = up;
        self.nodes[node].news.push_back(News::Interface);
        self.model.judge_willingness(node, &self.nodes[node], self.now);
        self.turn(node);
        format!("link up: {up}")
    }

    fn set_uplink(&mut self, node: usize, up: bool) -> String {
        self.nodes[node].uplink_up = up;
        self.nodes[node].news.push_back(News::Interface);
        self.model.judge_willingness(node, &self.nodes[node], self.now);
        self.turn(node);
        format!("uplink up: {up}")
    }

    fn set_installs(&mut self, node: usize, fail: bool) -> String {
        self.nodes[node].installs_fail = fail;
        self.model.installs_failed(node);
        self.model.judge_willingness(node, &self.nodes[node], self.now + hold());
        format!("installations fail: {fail}")
    }

    fn set_script(&mut self, node: usize, passes: bool) -> String {
        self.nodes[node].script_passes = passes;
        let settled = self.now + script_settles(&self.nodes[node].plan);
        self.model.judge_willingness(node, &self.nodes[node], settled);
        format!("script passes: {passes}")
    }

    /// Everything works again; after 2 × master-down the right routers are active, and no others.
    fn heal(&mut self) {
        self.trace.note(self.now, format_args!("healed"));
        self.lan.mend();
        let may_be_held = self.model.had_install_failures();
        for node in 0..self.nodes.len() {
            match self.nodes[node].life {
                Life::Paused | Life::Suspended => self.wake(node),
                Life::Running | Life::Dead => {}
            }
            if !self.nodes[node].link_up {
                self.set_link(node, true);
            }
            if self.nodes[node].installs_fail {
                self.set_installs(node, false);
            }
            self.nodes[node].rejects_links = false;
        }
        if !self.monotonic {
            // A sender that restarts may be refused until its clock has caught up with its earlier life.
            self.nodes.iter_mut().for_each(|node| node.clock_step = 0);
            self.pass(LONGEST_WINDOW);
        }
        // Those who stop have gone by then.
        self.pass(self.model.longest_hand_over() + drifted(HAND_OVER_DRAIN));
        for node in 0..self.nodes.len() {
            if self.nodes[node].life == Life::Dead {
                self.start(node);
            }
        }
        let scripts = self.nodes.iter().map(|node| script_settles(&node.plan)).max().unwrap_or_default();
        let routers = || self.nodes.iter().flat_map(|node| &node.plan.routers);
        let delays = routers().map(preempt_delay).max().unwrap_or_default();
        let held = if may_be_held { hold() } else { Duration::ZERO };
        self.pass(scripts + delays + held);
        self.model.begin_quiet();
        self.settle();
    }

    fn settle(&mut self) {
        self.pass(self.model.longest_master_down * 2 + LONGEST_DELAY + LONGEST_WAKE * 2);
        self.model.check_election(&self.nodes, self.now);
    }

    /// A process that dies on a whole LAN is replaced at once by somebody who has a link to it.
    fn death(&mut self) {
        // Links come up within the longest time between two dials, and settle.
        self.pass(LINKED);
        let group = self.random.index(self.nodes[0].plan.routers.len());
        let is_active = |node: &Node| node.state(group, self.now).is_some_and(|state| state == "active");
        let node = self.nodes.iter().position(is_active).unwrap_or(0);
        let in_state = |world: &Self, who: usize, group: usize, state: &str| {
            world.nodes[who].state(group, world.now).is_some_and(|is| is == state)
        };
        let keys = peers::keys(&self.nodes[node].plan);
        let expected: Vec<usize> = (0..keys.len())
            .filter(|&group| keys[group].is_some() && in_state(self, node, group, "active"))
            // One that is still under way answers a challenge, and then the ordinary timer ends the wait.
            .filter(|&group| !self.model.advertised_lately(node, group, self.now))
            .filter(|&group| {
                let mut watchers = self.links.watchers(node, group, &self.nodes).into_iter();
                watchers.any(|it| self.model.agree(group, node, it) && in_state(self, it, group, "backup"))
            })
            .collect();
        self.trace.note(self.now, format_args!("{node} dies, to be replaced in groups {expected:?}"));
        self.die(node);
        self.pass(AT_ONCE);
        for group in expected {
            let active = (0..self.nodes.len())
                .any(|it| self.model.agree(group, node, it) && in_state(self, it, group, "active"));
            assert!(active, "group {group}: {node} died and is not replaced after {AT_ONCE:?}");
        }
        self.start(node);
        let plan = &self.nodes[node].plan;
        let span = script_settles(plan) + plan.routers.iter().map(preempt_delay).max().unwrap_or_default();
        self.pass(span);
        self.settle();
    }

    /// A stop, a hand-over or its end on a whole LAN: nobody notices.
    fn planned_change(&mut self) {
        let node = self.random.index(self.nodes.len());
        let what = self.random.pick(&[0, 0, 1, 2, 2]);
        self.pass(limits::DIFFERENCE_QUIET);
        self.model.begin_planned(node, &self.nodes, self.now);
        // What was wrong before is over by then.
        self.planned = true;
        let said = self.ask(node, what);
        self.trace.note(self.now, format_args!("{node} planned: {said}"));
        self.pass(self.model.longest_hand_over() + drifted(HAND_OVER_DRAIN));
        if what == 2 {
            self.model.check_stopped(node, &self.nodes[node], self.now);
            self.model.end_planned();
            self.start(node);
            let plan = &self.nodes[node].plan;
            let delays = plan.routers.iter().map(preempt_delay).max().unwrap_or_default();
            let span = script_settles(plan) + delays;
            self.pass(span);
        } else {
            let delays = self.nodes.iter().flat_map(|node| &node.plan.routers).map(preempt_delay).max();
            self.pass(delays.unwrap_or_default());
        }
        self.settle();
        self.model.end_planned();
        self.planned = false;
    }
}

fn claimed(address: IpAddr, by: usize) -> News {
    News::Claimed { address, by: u8::try_from(by).expect("few balancers") }
}

/// How long a router that could not install its addresses may stay away afterwards: it fails once in a round, or a
/// second time when its hold ends before the failures do.
fn hold() -> Duration {
    drifted(limits::INSTALL_HOLD * 3 + limits::ADDRESS_RENEWAL)
}
