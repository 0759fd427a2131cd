//! Every order, and how it and checks get along.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::*;
use crate::health::check::{CheckStatus, Verdict};
use crate::health::order::ForcedHealth;
use crate::plan::{Bind, Check, Frontend, HashType};
use crate::serving::ServerView;

const SECOND: Duration = Duration::from_secs(1);

/// Health, a clock, and servers that pass their checks or not.
struct Bench {
    health: Health,
    now: Instant,
    passes: [bool; 3],
    /// Addresses that were checked since the last look.
    checked: Vec<SocketAddr>,
    events: Vec<String>,
    /// Outputs other than checks, in order.
    order: Vec<&'static str>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut Plan)) -> Self {
        let servers = ["cp1", "cp2", "cp3"].map(server).into();
        let bind = Bind::new(address("0.0.0.0:6443"));
        let mut plan = Plan {
            maxconn: 100,
            pools: vec![Pool::new("k8s", servers)],
            frontends: vec![Frontend::new("api", vec![bind], PoolId(0))],
            ..Plan::default()
        };
        change(&mut plan);
        let now = Instant::from_nanos(1_000_000_000);
        let health = Health::new(Arc::new(plan), 7, now);
        let (checked, events, order) = (Vec::new(), Vec::new(), Vec::new());
        let mut bench = Self { health, now, passes: [true; 3], checked, events, order };
        bench.pass(5);
        bench.look();
        bench
    }

    fn pass(&mut self, seconds: u32) {
        let end = self.now + seconds * SECOND;
        loop {
            self.take();
            let next = self.health.poll_timeout().map_or(end, |deadline| deadline.at.max(self.now));
            if next >= end {
                break;
            }
            self.now = next;
            self.health.handle_timeout(next);
        }
        self.now = end;
    }

    /// Takes outputs, answering checks at once.
    fn take(&mut self) {
        while let Some(output) = self.health.poll_output() {
            match output {
                Output::StartCheck { server, attempt, check, .. } => {
                    self.checked.push(check.address);
                    let passes = self.passes.get(usize::from(server.server.0)).is_some_and(|passes| *passes);
                    let status = if passes { CheckStatus::L4Ok } else { CheckStatus::L4Con };
                    let verdict = Verdict { status, code: None, detail: String::new(), took: Duration::ZERO };
                    self.health.handle_check_finished(server, attempt, verdict, self.now);
                }
                Output::Publish(_) => self.order.push("publish"),
                Output::Log(_) => {}
                Output::ShutdownSessions { .. } => self.order.push("shutdown"),
                Output::Event(event) => {
                    self.order.push("event");
                    self.events.push(event.to_string());
                }
                other => panic!("health never does {other:?}"),
            }
        }
    }

    fn order(&mut self, order: Order) -> Result<Outcome, Refusal> {
        let result = self.health.handle_order(order, self.now);
        self.take();
        result
    }

    fn change(&mut self, name: &str, change: ServerOrder) -> Result<Outcome, Refusal> {
        self.order(Order::Server { pool: "k8s".to_owned(), server: name.to_owned(), change })
    }

    fn done(&mut self, name: &str, change: ServerOrder) {
        assert_eq!(self.change(name, change), Ok(Outcome::Done));
    }

    /// Adds a server in maintenance.
    fn add(&mut self, server: Server) -> Result<Outcome, Refusal> {
        let server = Box::new(Server { disabled: true, ..server });
        self.order(Order::AddServer { pool: "k8s".to_owned(), server })
    }

    fn remove(&mut self, name: &str) -> Result<Outcome, Refusal> {
        self.order(Order::RemoveServer { pool: "k8s".to_owned(), server: name.to_owned() })
    }

    /// What happened since the last look.
    fn look(&mut self) -> (Vec<SocketAddr>, Vec<String>, Vec<&'static str>) {
        let Self { checked, events, order, .. } = self;
        (std::mem::take(checked), std::mem::take(events), std::mem::take(order))
    }

    fn view(&self, index: usize) -> ServerView {
        self.health.serving().pools[0].servers[index].clone()
    }

    fn selectable(&self) -> Vec<bool> {
        self.health.serving().pools[0].servers.iter().map(|server| server.selectable).collect()
    }

    fn state(&self, name: &str) -> String {
        let pools = self.health.pool_status(self.now);
        let found = pools[0].servers.iter().find(|server| server.name == name);
        found.map_or("none".to_owned(), |server| server.state.clone())
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn server(name: &str) -> Server {
    let own = address(&format!("10.0.0.{}:6443", name.trim_start_matches("cp")));
    Server { weight: 10, maxconn: Some(50), check: Some(Check::new(own)), ..Server::new(name, own) }
}

#[test]
fn a_drained_server_is_checked_and_keeps_what_belongs_to_it() {
    let mut bench = Bench::new(|_| {});
    bench.done("cp1", ServerOrder::State(AdminState::Drain));
    assert_eq!((bench.state("cp1").as_str(), bench.selectable()), ("drain", vec![false, true, true]));
    assert!(bench.view(0).usable);
    let (_, events, order) = bench.look();
    assert_eq!(events, ["server k8s/cp1 is drained by an operator"]);
    assert_eq!(order, ["publish", "event"]);
    assert_eq!(bench.health.checked_servers().count(), 3, "it still counts");
    bench.pass(5);
    assert!(bench.look().0.contains(&address("10.0.0.1:6443")));
    bench.passes[0] = false;
    bench.pass(10);
    assert_eq!((bench.state("cp1").as_str(), bench.view(0).usable), ("down", false));
    bench.done("cp1", ServerOrder::State(AdminState::Ready));
    assert_eq!((bench.state("cp1").as_str(), bench.selectable()), ("down", vec![false, true, true]));
    bench.passes[0] = true;
    bench.pass(10);
    assert_eq!(bench.selectable(), [true; 3]);
}

#[test]
fn a_server_in_maintenance_is_left_alone_and_comes_back_trusted_once() {
    let mut bench = Bench::new(|plan| plan.pools[0].servers[0].shutdown_sessions_when_down = true);
    bench.done("cp1", ServerOrder::State(AdminState::Maintenance));
    let (_, events, order) = bench.look();
    assert_eq!(events, ["server k8s/cp1 is put in maintenance by an operator"]);
    assert_eq!(order, ["publish", "shutdown", "event"]);
    assert_eq!((bench.state("cp1").as_str(), bench.view(0).usable), ("maintenance", false));
    assert_eq!(bench.health.checked_servers().count(), 2, "it counts for nobody");
    bench.done("cp1", ServerOrder::State(AdminState::Maintenance));
    bench.pass(10);
    let (checked, events, _) = bench.look();
    assert!(!checked.contains(&address("10.0.0.1:6443")) && events.is_empty());

    bench.passes[0] = false;
    bench.done("cp1", ServerOrder::State(AdminState::Ready));
    assert_eq!(bench.selectable(), [true; 3]);
    bench.pass(1);
    assert_eq!(bench.selectable(), [false, true, true]);
    let (_, events, _) = bench.look();
    assert_eq!(events[0], "server k8s/cp1 is put back in service by an operator");
    assert!(events[1].starts_with("server k8s/cp1 is down: L4CON"), "{events:?}");
}

#[test]
fn the_last_server_that_is_taken_out_leaves_its_pool_without_one_and_backups_come_in() {
    let mut bench = Bench::new(|plan| plan.pools[0].servers[2].backup = true);
    bench.done("cp1", ServerOrder::State(AdminState::Maintenance));
    assert_eq!(bench.selectable(), [false, true, false]);
    bench.done("cp2", ServerOrder::State(AdminState::Drain));
    assert_eq!(bench.selectable(), [false, false, true]);
    bench.look();
    bench.done("cp3", ServerOrder::Weight(Weight::Absolute(0)));
    let (_, events, _) = bench.look();
    assert_eq!(
        events,
        [
            "server k8s/cp3 gets weight 0 instead of 10 by an operator",
            "pool k8s has no server left: its new connections fail",
        ]
    );
}

#[test]
fn slow_start_follows_maintenance() {
    let mut bench = Bench::new(|plan| plan.pools[0].servers[0].slow_start = Some(10 * SECOND));
    let full = bench.view(0);
    bench.done("cp1", ServerOrder::State(AdminState::Maintenance));
    bench.done("cp1", ServerOrder::State(AdminState::Ready));
    assert!(bench.view(0).weight < full.weight && bench.view(0).maxconn < full.maxconn);
    bench.pass(12);
    assert_eq!((bench.view(0).weight, bench.view(0).maxconn), (full.weight, full.maxconn));
}

#[test]
fn weights_are_reckoned_as_haproxy_does() {
    let mut bench = Bench::new(|_| {});
    let scaled = |bench: &Bench| bench.view(0).weight / crate::serving::WEIGHT_SCALE;
    for (weight, expected) in [
        (Weight::Absolute(5), 5),
        (Weight::Percent(50), 5),
        (Weight::Percent(0), 0),
        (Weight::Percent(200), 20),
        (Weight::Percent(3000), 256),
        (Weight::Percent(u32::MAX), 256),
        (Weight::Percent(100), 10),
    ] {
        bench.done("cp1", ServerOrder::Weight(weight));
        let shown = Ok(Outcome::Weight { now: expected, configured: 10 });
        assert_eq!(bench.change("cp1", ServerOrder::ShowWeight), shown, "{weight:?}");
        assert_eq!(scaled(&bench), expected);
    }
    let mut bench = Bench::new(|plan| plan.pools[0].algorithm = Algorithm::Source(HashType::default()));
    let weight = |percent| ServerOrder::Weight(Weight::Percent(percent));
    assert_eq!(bench.change("cp1", weight(50)), Err(Refusal::StaticWeights));
    bench.done("cp1", weight(0));
    bench.done("cp1", weight(100));
}

#[test]
fn maxconn_and_address_are_those_of_the_next_view() {
    let mut bench = Bench::new(|_| {});
    bench.look();
    bench.done("cp1", ServerOrder::Maxconn(7));
    assert_eq!(bench.view(0).maxconn, Some(7));
    bench.done("cp1", ServerOrder::Maxconn(0));
    assert_eq!(bench.view(0).maxconn, None);
    let to = IpAddr::from([10, 0, 0, 9]);
    let moved = Outcome::Moved { from: Some(address("10.0.0.1:6443")), to: Some(address("10.0.0.9:7443")) };
    assert_eq!(bench.change("cp1", ServerOrder::Address(to, Some(7443))), Ok(moved));
    assert_eq!(bench.view(0).address, address("10.0.0.9:7443"));
    bench.pass(1);
    let (checked, events, _) = bench.look();
    assert_eq!(checked[0], address("10.0.0.9:7443"), "at once");
    assert_eq!(
        events.last().unwrap(),
        "server k8s/cp1 is moved from 10.0.0.1:6443 to 10.0.0.9:7443 by an operator"
    );
    bench.done("cp1", ServerOrder::CheckAddress(None, Some(8080)));
    bench.pass(1);
    assert_eq!(bench.look().0[0], address("10.0.0.9:8080"), "at once");
}

#[test]
fn a_server_that_nobody_can_find_is_out_of_service_until_somebody_does() {
    let mut bench = Bench::new(|plan| {
        plan.pools[0].servers[0].address = address("0.0.0.0:6443");
        plan.pools[0].servers[0].check = Some(Check::new(address("0.0.0.0:6443")));
    });
    let id = ServerId { pool: PoolId(0), server: ServerIndex(0) };
    assert_eq!((bench.state("cp1").as_str(), bench.selectable()), ("maintenance", vec![false, true, true]));
    let found = ServerOrder::Address(IpAddr::from([10, 0, 0, 5]), None);
    bench.health.change_server(id, found, By::Dns, bench.now).unwrap();
    bench.pass(1);
    assert_eq!((bench.selectable(), bench.look().0), (vec![true; 3], vec![address("10.0.0.5:6443")]));
    bench.health.change_server(id, ServerOrder::NoAddress, By::Dns, bench.now).unwrap();
    bench.take();
    assert_eq!(bench.selectable(), [false, true, true]);
    let (_, events, _) = bench.look();
    assert_eq!(events, ["server k8s/cp1 is moved from 10.0.0.5:6443 to an unknown address by DNS"]);
}

#[test]
fn forced_health_lasts_until_the_next_check() {
    let mut bench = Bench::new(|plan| plan.pools[0].servers[2].check = None);
    bench.done("cp1", ServerOrder::Health(ForcedHealth::Down));
    assert_eq!((bench.state("cp1").as_str(), bench.selectable()), ("down", vec![false, true, true]));
    bench.pass(10);
    assert_eq!((bench.state("cp1").as_str(), bench.selectable()), ("up", vec![true; 3]));
    bench.done("cp3", ServerOrder::Health(ForcedHealth::Down));
    bench.pass(10);
    assert_eq!(bench.selectable(), [true, true, false], "nobody checks it");
    bench.done("cp3", ServerOrder::Health(ForcedHealth::Up));
    assert_eq!((bench.state("cp3").as_str(), bench.selectable()), ("no check", vec![true; 3]));
}

#[test]
fn a_server_without_checks_stays_as_it_is() {
    let mut bench = Bench::new(|plan| plan.pools[0].servers[2].check = None);
    assert_eq!(bench.change("cp3", ServerOrder::Checks(true)), Err(Refusal::NoCheck));
    bench.done("cp3", ServerOrder::Checks(false));
    bench.passes = [false, true, true];
    bench.pass(10);
    bench.done("cp1", ServerOrder::Checks(false));
    bench.done("cp2", ServerOrder::Checks(false));
    bench.passes = [true, false, true];
    bench.look();
    bench.pass(30);
    assert_eq!(bench.look().0, []);
    assert_eq!((bench.state("cp1").as_str(), bench.state("cp2").as_str()), ("down", "no check"));
    bench.done("cp1", ServerOrder::Checks(true));
    bench.done("cp2", ServerOrder::Checks(true));
    bench.pass(10);
    assert_eq!((bench.state("cp1").as_str(), bench.state("cp2").as_str()), ("up", "down"));
}

#[test]
fn a_server_is_added_in_maintenance_and_removed_from_there() {
    let mut bench = Bench::new(|_| {});
    bench.look();
    assert_eq!(bench.add(server("cp4")), Ok(Outcome::Done));
    assert_eq!((bench.state("cp4").as_str(), bench.selectable().len()), ("maintenance", 4));
    assert_eq!(bench.look().1, ["server k8s/cp4 at 10.0.0.4:6443 is added by an operator"]);
    assert_eq!(bench.add(server("cp4")), Err(Refusal::SameName));
    bench.done("cp4", ServerOrder::State(AdminState::Ready));
    assert_eq!((bench.state("cp4").as_str(), bench.selectable()), ("no check", vec![true; 4]));
    bench.done("cp4", ServerOrder::Checks(true));
    bench.pass(1);
    assert_eq!(bench.state("cp4"), "down", "nobody answers there");
    assert_eq!(bench.remove("cp4"), Err(Refusal::InService));
    bench.done("cp4", ServerOrder::State(AdminState::Maintenance));
    let load = bench.view(3).load;
    assert!(load.acquire(None));
    assert_eq!(bench.remove("cp4"), Err(Refusal::HasSessions));
    load.release();
    assert_eq!(bench.remove("cp4"), Ok(Outcome::Done));
    assert_eq!(bench.change("cp4", ServerOrder::ShowWeight), Err(Refusal::NoServer));
    assert_eq!(
        (bench.state("cp4").as_str(), bench.health.pool_status(bench.now)[0].servers.len()),
        ("none", 3)
    );
    assert_eq!(bench.selectable(), [true, true, true, false], "its place is kept");
}

#[test]
fn a_place_that_was_left_is_taken_again_with_new_counters_and_attempts() {
    let mut bench = Bench::new(|_| {});
    bench.done("cp2", ServerOrder::State(AdminState::Maintenance));
    let before = bench.view(1).load;
    before.sessions_total.store(9, std::sync::atomic::Ordering::Relaxed);
    bench.remove("cp2").unwrap();
    bench.add(server("cp7")).unwrap();
    assert_eq!(bench.selectable().len(), 3);
    assert!(!Arc::ptr_eq(&before, &bench.view(1).load));
    bench.done("cp7", ServerOrder::State(AdminState::Ready));
    bench.done("cp7", ServerOrder::Checks(true));
    bench.health.handle_timeout(bench.now);
    let attempts = std::iter::from_fn(|| bench.health.poll_output()).find_map(|output| match output {
        Output::StartCheck { server, attempt, check, .. } if server.server == ServerIndex(1) => {
            Some((attempt, check.address))
        }
        _ => None,
    });
    let (attempt, checked) = attempts.unwrap();
    assert!(attempt > 1, "numbers of attempts at the one before do not come back");
    assert_eq!(checked, address("10.0.0.7:6443"));
}

#[test]
fn a_pool_takes_no_more_servers_than_it_can_and_none_where_a_table_is_fixed() {
    let mut bench = Bench::new(|plan| {
        plan.pools[0].servers = (0..SERVERS_PER_POOL - 1)
            .map(|index| Server::new(format!("s{index}"), address("10.0.0.1:6443")))
            .collect();
    });
    assert_eq!(bench.add(server("cp1")), Ok(Outcome::Done));
    assert_eq!(bench.add(server("cp2")), Err(Refusal::TooManyServers));
    bench.remove("cp1").unwrap();
    assert_eq!(bench.add(server("cp2")), Ok(Outcome::Done));
    let mut bench = Bench::new(|plan| plan.pools[0].algorithm = Algorithm::Source(HashType::default()));
    assert_eq!(bench.add(server("cp4")), Err(Refusal::StaticServers));
}

#[test]
fn frontends_open_and_close_and_end() {
    let mut bench = Bench::new(|_| {});
    bench.look();
    let mut order = |change| bench.order(Order::Frontend { frontend: "api".to_owned(), change });
    assert_eq!(order(FrontendOrder::Enable), Err(Refusal::Enabled));
    assert_eq!(order(FrontendOrder::Disable), Ok(Outcome::Done));
    assert_eq!(order(FrontendOrder::Disable), Err(Refusal::Disabled));
    assert_eq!(order(FrontendOrder::Maxconn(9)), Ok(Outcome::Done));
    assert_eq!(order(FrontendOrder::Enable), Ok(Outcome::Done));
    assert_eq!(order(FrontendOrder::Shutdown), Ok(Outcome::Done));
    for change in [FrontendOrder::Enable, FrontendOrder::Disable, FrontendOrder::Shutdown] {
        assert_eq!(order(change), Err(Refusal::ShutDown));
    }
    let status = bench.health.frontend_status(bench.now);
    assert_eq!((status[0].state.as_str(), status[0].maxconn), ("shut down", Some(9)));
    let nobody = Order::Frontend { frontend: "k8s".to_owned(), change: FrontendOrder::Enable };
    assert_eq!(bench.order(nobody), Err(Refusal::NoFrontend));
    assert_eq!(
        bench.look().1,
        [
            "frontend api is disabled by an operator",
            "frontend api may hold 9 connections, set by an operator",
            "frontend api is enabled by an operator",
            "frontend api is shut down for good by an operator",
        ]
    );
}

#[test]
fn what_is_let_in_is_bounded_by_the_plan() {
    let mut bench = Bench::new(|_| {});
    assert_eq!(bench.order(Order::Maxconn(101)), Err(Refusal::TooManyConnections));
    assert_eq!(bench.order(Order::Maxconn(50)), Ok(Outcome::Done));
    assert_eq!(bench.order(Order::SessionRate(10)), Ok(Outcome::Done));
    let admittance = bench.health.serving().admittance.clone();
    assert_eq!((admittance.maxconn, admittance.session_rate), (NonZeroU32::new(50), NonZeroU32::new(10)));
}

#[test]
fn counters_start_again_and_what_is_held_stays() {
    use std::sync::atomic::Ordering::Relaxed;
    let mut bench = Bench::new(|_| {});
    let load = bench.view(0).load;
    assert!(load.acquire(None) && load.acquire(None));
    load.sessions_total.store(5, Relaxed);
    assert_eq!(bench.order(Order::ClearCounters { all: false }), Ok(Outcome::Done));
    assert_eq!(
        (load.sessions(), load.sessions_max.load(Relaxed), load.sessions_total.load(Relaxed)),
        (2, 0, 5)
    );
    assert_eq!(bench.order(Order::ClearCounters { all: true }), Ok(Outcome::Done));
    assert_eq!((load.sessions(), load.sessions_total.load(Relaxed)), (2, 0));
}

#[test]
fn names_that_nobody_has_are_refused() {
    let mut bench = Bench::new(|_| {});
    let order = |pool: &str, server: &str| Order::Server {
        pool: pool.to_owned(),
        server: server.to_owned(),
        change: ServerOrder::ShowWeight,
    };
    assert_eq!(bench.order(order("k9s", "cp1")), Err(Refusal::NoPool));
    assert_eq!(bench.order(order("k8s", "cp9")), Err(Refusal::NoServer));
}
