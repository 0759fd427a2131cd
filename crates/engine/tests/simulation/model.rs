//! The shadow model: what must hold, computed from the configuration and the faults, never from the engine's reasons.

use std::collections::VecDeque;
use std::time::Duration;

use mainstay_engine::admin::RouterStatus;
use mainstay_engine::limits;
use mainstay_engine::plan::{Preempt, Priority, Router};
use mainstay_engine::time::Instant;

use crate::cluster::{LONGEST_DELAY, LONGEST_WAKE, Odd, UNMISTAKABLE, drifted, master_down, skew};
use crate::node::{Life, News, Node, Turn};

/// Those who agree about a group are one side, the odd one is the other. Each side elects an active router of its own.
const SIDES: usize = 2;

pub(crate) struct Model {
    pub(crate) longest_interval: Duration,
    pub(crate) longest_master_down: Duration,
    shadows: Vec<Shadow>,
    odd: Vec<Option<Odd>>,
    /// For each group and side, since when nobody serves it.
    unserved_since: Vec<[Option<Instant>; SIDES]>,
    /// Groups that must be served without an instant's gap.
    seamless: Vec<[bool; SIDES]>,
    address_taken: bool,
}

/// What the model knows about one balancer.
#[derive(Clone, Default)]
struct Shadow {
    /// From when on it could serve; `None` while it cannot.
    willing_from: Option<Instant>,
    /// When what it was told last has settled, whatever else happens to it.
    settled: Instant,
    stopping: bool,
    standing_by: bool,
    installs_failed: bool,
    woke: bool,
    /// When it last advertised each group as its active router.
    acted: Vec<Option<Instant>>,
    /// What it said last of each group's state. It says something with every change, and to be asked is dear.
    states: Vec<String>,
    second: Second,
}

/// What one balancer did in one second.
#[derive(Clone, Default)]
struct Second {
    started: Instant,
    adverts: usize,
    announces: usize,
    heard: usize,
    told: usize,
    turns: usize,
}

impl Model {
    pub(crate) fn new(nodes: &[Node], odd: &[Option<Odd>]) -> Self {
        let routers = || nodes.iter().flat_map(|node| &node.plan.routers);
        let groups = nodes[0].plan.routers.len();
        let interval = routers().map(|router| router.advert_interval.to_duration()).max();
        let patience = routers().map(|router| master_down(router, Priority::LOWEST)).max();
        let shadow = Shadow { acted: vec![None; groups], ..Shadow::default() };
        Self {
            longest_interval: interval.expect("every plan has a router"),
            longest_master_down: patience.expect("every plan has a router"),
            shadows: vec![shadow; nodes.len()],
            odd: odd.to_vec(),
            unserved_since: vec![[Some(Instant::default()); SIDES]; groups],
            seamless: vec![[false; SIDES]; groups],
            address_taken: false,
        }
    }

    /// Four intervals cover every successor's patience (three adverts and a skew below one more), and a margin.
    pub(crate) fn longest_hand_over(&self) -> Duration {
        let patience = (self.longest_interval * 4).max(limits::HAND_OVER_LEAST);
        drifted(patience + limits::HAND_OVER_MARGIN) + LONGEST_WAKE * 2
    }

    /// The side of a group that a balancer is on.
    fn side(&self, group: usize, node: usize) -> usize {
        usize::from(self.odd[group].is_some_and(|odd| odd.node == node))
    }

    /// Whether an advert of a group may still be under way.
    pub(crate) fn advertised_lately(&self, node: usize, group: usize, now: Instant) -> bool {
        self.shadows[node].acted[group].is_some_and(|acted| now.since(acted) <= LONGEST_DELAY)
    }

    /// Whether somebody disagrees about some group.
    pub(crate) fn has_odd(&self) -> bool {
        self.odd.iter().any(Option::is_some)
    }

    /// Whether two balancers say the same about a group.
    pub(crate) fn agree(&self, group: usize, one: usize, other: usize) -> bool {
        self.side(group, one) == self.side(group, other)
    }

    pub(crate) fn begin_chaos(&mut self) {
        self.shadows.iter_mut().for_each(|shadow| shadow.installs_failed = false);
        self.address_taken = false;
    }

    pub(crate) fn begin_quiet(&mut self) {
        self.begin_chaos();
    }

    pub(crate) fn had_install_failures(&self) -> bool {
        self.shadows.iter().any(|shadow| shadow.installs_failed)
    }

    pub(crate) fn installs_failed(&mut self, node: usize) {
        self.shadows[node].installs_failed = true;
    }

    pub(crate) fn address_taken(&mut self) {
        self.address_taken = true;
    }

    pub(crate) fn started(&mut self, node: usize) {
        let shadow = &mut self.shadows[node];
        (shadow.stopping, shadow.standing_by, shadow.woke) = (false, false, false);
        shadow.settled = Instant::default();
        shadow.acted.fill(None);
        shadow.states.clear();
    }

    pub(crate) fn unwilling(&mut self, node: usize) {
        self.shadows[node].willing_from = None;
    }

    pub(crate) fn stopping(&mut self, node: usize) {
        self.shadows[node].stopping = true;
    }

    pub(crate) fn woke(&mut self, node: usize) {
        self.shadows[node].woke = true;
    }

    /// Whether something that a balancer was told had not settled at `then`.
    pub(crate) fn was_settling(&self, node: usize, then: Instant) -> bool {
        self.shadows[node].settled > then
    }

    /// Looks again whether a balancer could serve, and if so from when on.
    pub(crate) fn judge_willingness(&mut self, node: usize, it: &Node, from: Instant) {
        let faults = it.plan.routers.iter().any(|router| !tracking_allows(router, it));
        let shadow = &mut self.shadows[node];
        let can = it.life == Life::Running && it.link_up && !it.installs_fail && !faults && !shadow.stopping;
        shadow.settled = shadow.settled.max(from);
        shadow.willing_from = can.then_some(shadow.settled);
    }

    /// Remembers what a balancer is about to hear.
    pub(crate) fn count_turn(&mut self, node: usize, news: &VecDeque<News>, now: Instant) {
        let shadow = &mut self.shadows[node];
        if now.since(shadow.second.started) >= Duration::from_secs(1) {
            shadow.second = Second { started: now, ..Second::default() };
        }
        let count = |kind: fn(&News) -> bool| news.iter().filter(|news| kind(news)).count();
        let heard = count(|news| matches!(news, News::Datagram(_)));
        shadow.second.heard += heard;
        shadow.second.told += news.len() - heard - count(|news| matches!(news, News::Claimed { .. }));
        shadow.second.turns += usize::from(news.is_empty());
    }

    /// What must hold after every turn of a balancer's loop.
    pub(crate) fn check_turn(&mut self, node: usize, it: &Node, turn: &Turn, now: Instant) {
        let shadow = &mut self.shadows[node];
        if !turn.trace.is_empty() || shadow.states.is_empty() {
            let said = it.routers(now).expect("it runs");
            shadow.states = said.into_iter().map(|router| router.state).collect();
        }
        for (group, router) in it.plan.routers.iter().enumerate() {
            let state = &shadow.states[group];
            let owns = state == "active" || state == "handing over";
            let slept = shadow.acted[group].map(|acted| now.since(acted));
            if shadow.woke
                && slept.is_some_and(|slept| slept > drifted(router.advert_interval.to_duration() * 3))
            {
                assert!(
                    !turn.acted.contains(&group),
                    "{node}: {} acts as active after it slept for {slept:?}",
                    router.name
                );
            }
            if owns {
                if turn.advertised.contains(&group) || shadow.acted[group].is_none() {
                    shadow.acted[group] = Some(now);
                }
            } else {
                shadow.acted[group] = None;
                assert!(
                    !it.holds_any(group),
                    "{node}: {} is {state} and its address is in the kernel",
                    router.name
                );
            }
            let excused = shadow.installs_failed || self.address_taken;
            assert!(
                !owns || excused || it.holds(group),
                "{node}: {} is {state} without its address",
                router.name
            );
        }
        self.shadows[node].woke = false;
        if let Some(standing_by) = turn.standing_by {
            self.shadows[node].standing_by = standing_by;
        }
        self.check_output_rate(node, it, turn);
    }

    /// An advert answers a timer, an advert or a request, once; a burst of announcements has a reason that is rare.
    fn check_output_rate(&mut self, node: usize, it: &Node, turn: &Turn) {
        let second = &mut self.shadows[node].second;
        second.adverts += turn.adverts.len();
        second.announces += turn.announces.len();
        let per_second = |router: &Router| {
            usize::try_from(1000 / router.advert_interval.to_duration().as_millis()).expect("small") + 2
        };
        let timers: usize = it.plan.routers.iter().map(per_second).sum();
        let groups = it.plan.routers.len();
        let reasons = timers + groups * (second.heard + second.told);
        let destinations = 4;
        assert!(second.adverts <= reasons * destinations, "{node}: a storm of adverts");
        let bursts = groups * 2 * 5 * (8 + second.heard.min(timers * 8) + second.told);
        assert!(second.announces <= bursts, "{node}: a storm of announcements");
        // The last for links: a view each second, and dials.
        let wakes = timers * 2 + groups * 16 + 16 + 20;
        assert!(second.turns <= wakes, "{node}: woke {} times in a second without news", second.turns);
    }

    /// What must hold at every instant.
    pub(crate) fn check_service(&mut self, nodes: &[Node], now: Instant) {
        for (node, it) in nodes.iter().enumerate() {
            let frozen = matches!(it.life, Life::Paused | Life::Dead);
            if frozen && now.since(it.life_since) > limits::ADDRESS_LIFETIME {
                let held = it.addresses.keys().next();
                assert!(held.is_none(), "{node}: {:?} still holds {held:?}", it.life);
            }
        }
        for group in 0..self.unserved_since.len() {
            for side in 0..SIDES {
                self.check_side_served((group, side), nodes, now);
            }
        }
    }

    fn check_side_served(&mut self, (group, side): (usize, usize), nodes: &[Node], now: Instant) {
        let is_on_it = |node: &usize| self.side(group, *node) == side;
        if (0..nodes.len()).filter(is_on_it).any(|node| nodes[node].serves(group)) {
            self.unserved_since[group][side] = None;
            return;
        }
        assert!(!self.seamless[group][side], "group {group} has no owner during a planned change");
        let gap_from = *self.unserved_since[group][side].get_or_insert(now);
        for node in (0..nodes.len()).filter(|&node| self.side(group, node) == side) {
            let willing = self.shadows[node].willing_from.filter(|&from| from <= now);
            let Some(willing) = willing else { continue };
            let gap = now.since(willing.max(gap_from));
            let bound = self.longest_gap(group, nodes);
            assert!(gap <= bound, "group {group}: {node} could serve and nobody did for {gap:?} > {bound:?}");
        }
    }

    /// Master-down + skew, the LAN's delay, and what each balancer with a broken kernel costs: the time it may try in
    /// vain, and one more master-down, because it may die or lose its link before it can say that it gives up. Until
    /// then its adverts keep the others waiting, as those of any active router do.
    /// In version 3 a router waits by the interval of whom it followed, so the longest counts.
    fn longest_gap(&self, group: usize, nodes: &[Node]) -> Duration {
        let longest = |span: fn(&Router, Priority) -> Duration| {
            nodes.iter().map(|it| span(&it.plan.routers[group], Priority::LOWEST)).max().unwrap_or_default()
        };
        let (patience, skew) = (longest(master_down), longest(skew));
        let broken = self.shadows.iter().filter(|shadow| shadow.installs_failed).count();
        let in_vain = patience + drifted(limits::ADDRESS_RENEWAL * 2) + LONGEST_WAKE * 2;
        let unsaid = patience + LONGEST_DELAY;
        let taken = if self.address_taken { limits::ADDRESS_RENEWAL + LONGEST_WAKE } else { Duration::ZERO };
        patience
            + skew
            + LONGEST_DELAY
            + LONGEST_WAKE * 2
            + taken
            + (in_vain + unsaid) * u32::try_from(broken).expect("few balancers")
    }

    /// What must hold on a LAN that has been whole and quiet for 2 × master-down.
    pub(crate) fn check_election(&self, nodes: &[Node], now: Instant) {
        let said: Vec<_> = nodes.iter().map(|it| it.routers(now)).collect();
        for group in 0..self.unserved_since.len() {
            let router = |node: usize| said[node].as_ref().map(|routers: &Vec<RouterStatus>| &routers[group]);
            let states: Vec<&str> =
                (0..nodes.len()).map(|node| router(node).map_or("dead", |it| it.state.as_str())).collect();
            for side in 0..SIDES {
                self.check_side_elected((group, side), nodes, &states);
            }
            for node in 0..nodes.len() {
                let other_is_active = (0..nodes.len()).any(|other| {
                    self.side(group, other) != self.side(group, node) && states[other] == "active"
                });
                if let Some(router) = router(node) {
                    self.check_named(group, router, other_is_active);
                }
            }
        }
    }

    fn check_side_elected(&self, (group, side): (usize, usize), nodes: &[Node], states: &[&str]) {
        let members: Vec<usize> = (0..nodes.len()).filter(|&node| self.side(group, node) == side).collect();
        let priorities: Vec<Option<u8>> =
            (0..nodes.len()).map(|node| self.priority(node, &nodes[node], group)).collect();
        let seen = format!("group {group}, {members:?} of: states {states:?}, priorities {priorities:?}");
        let active: Vec<usize> = members.iter().copied().filter(|&node| states[node] == "active").collect();
        if members.iter().all(|&node| priorities[node].is_none()) {
            assert!(active.is_empty(), "nobody may be active: {seen}");
            return;
        }
        let [active] = active[..] else { panic!("not exactly one active router: {seen}") };
        for node in members {
            let above = priorities[node] > priorities[active];
            let patient = nodes[node].plan.routers[group].preempt == Preempt::Never;
            assert!(!above || patient, "{node} should be active instead of {active}: {seen}");
            assert_eq!(nodes[node].holds_any(group), node == active, "addresses of {node}: {seen}");
        }
    }

    /// Whoever hears an active router that says something else about the group says in what it differs, and nobody else.
    fn check_named(&self, group: usize, router: &RouterStatus, other_is_active: bool) {
        let reasons: Vec<&str> = router.refused.iter().map(|refused| refused.reason.as_str()).collect();
        let names = self.odd[group].map(|odd| odd.difference.names()).unwrap_or_default();
        let named = reasons.iter().any(|reason| names.contains(reason));
        assert!(named || !other_is_active, "group {group}: {names:?} is not named but {reasons:?}");
        for difference in UNMISTAKABLE {
            for name in difference.names().iter().filter(|name| !names.contains(name)) {
                assert!(!reasons.contains(name), "group {group}: {name} is named for no reason");
            }
        }
    }

    /// The effective priority of a router that can take part.
    fn priority(&self, node: usize, it: &Node, group: usize) -> Option<u8> {
        let router = &it.plan.routers[group];
        if it.life != Life::Running || !tracking_allows(router, it) {
            return None;
        }
        if self.shadows[node].standing_by {
            return Some(1);
        }
        if router.priority == Priority::OWNER {
            return Some(255);
        }
        let scripts = router.track_scripts.iter().map(|track| (track.effect.weight, it.script_passes));
        let interfaces = router.track_interfaces.iter().map(|track| (track.effect.weight, it.uplink_up));
        let applying = scripts.chain(interfaces).filter(|&(weight, good)| good == (weight > 0));
        let sum = i32::from(router.priority.0) + applying.map(|(weight, _)| i32::from(weight)).sum::<i32>();
        u8::try_from(sum.clamp(1, 254)).ok()
    }

    /// From now on whoever leaves has to be succeeded without a gap, where somebody can.
    pub(crate) fn begin_planned(&mut self, node: usize, nodes: &[Node], now: Instant) {
        for group in 0..self.seamless.len() {
            for side in 0..SIDES {
                let mut members = (0..nodes.len()).filter(|&other| self.side(group, other) == side);
                let is = |other: usize, expected| nodes[other].state(group, now).as_deref() == Some(expected);
                let leaves = self.side(group, node) == side && is(node, "active");
                let has_successor = members.clone().any(|other| other != node && is(other, "backup"));
                let served = members.any(|other| nodes[other].serves(group));
                self.seamless[group][side] = served && (!leaves || has_successor);
            }
        }
    }

    pub(crate) fn check_stopped(&self, node: usize, it: &Node, now: Instant) {
        assert_eq!(it.life, Life::Dead, "{node} was asked to stop and is still there at {now:?}");
    }

    pub(crate) fn end_planned(&mut self) {
        self.seamless.fill([false; SIDES]);
    }
}

/// Whether everything that is tracked without a weight lets the router take part.
fn tracking_allows(router: &Router, it: &Node) -> bool {
    let scripts = router.track_scripts.iter().map(|track| (track.effect.weight, it.script_passes));
    let interfaces = router.track_interfaces.iter().map(|track| (track.effect.weight, it.uplink_up));
    scripts.chain(interfaces).all(|(weight, good)| good || weight != 0)
}
