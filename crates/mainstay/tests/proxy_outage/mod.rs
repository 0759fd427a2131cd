//! What becomes of connections when servers die, when none is left, and when one returns: the engine decides on a clock of
//! the test, and a real data plane follows it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use mainstay::proxy::{Listeners, Proxy};
use mainstay_engine::engine::Output;
use mainstay_engine::health::Health;
use mainstay_engine::health::check::{CheckStatus, Verdict};
use mainstay_engine::plan::{Check, DeadServer, NoServer, Outage, Plan, ServerId};
use mainstay_engine::serving::ServerLoad;
use mainstay_engine::serving::termination::Cause;
use mainstay_engine::time::Instant;

use super::proxy_rig::{
    connect, holding, is_silent, named, plan, read_all, read_byte, refusing, server_id, wait_until,
};

const SECOND: Duration = Duration::from_secs(1);

/// A data plane, the engine that it follows, and what checks find of each server.
struct Outages {
    health: Health,
    proxy: Proxy,
    address: SocketAddr,
    now: Instant,
    found: Vec<CheckStatus>,
    /// What was closed: when, of which server, why and how many.
    closed: Vec<(Instant, ServerId, Cause, u32)>,
}

impl Outages {
    fn start(servers: &[SocketAddr], outage: Outage, change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = plan(servers);
        plan.pools[0].outage = outage;
        for server in &mut plan.pools[0].servers {
            let check = Check { interval: SECOND, fall: 2, rise: 1, ..Check::new(server.address) };
            server.check = Some(Check { fast_interval: SECOND, down_interval: SECOND, ..check });
        }
        change(&mut plan);
        let plan = Arc::new(plan);
        let now = Instant::from_nanos(0);
        let health = Health::new(Arc::clone(&plan), 1, now);
        let listeners = Listeners::bind(&plan).unwrap();
        let address = listeners.addresses()[0];
        let proxy = Proxy::start(listeners, health.serving()).unwrap();
        let found = vec![CheckStatus::L4Ok; servers.len()];
        let mut rig = Self { health, proxy, address, now, found, closed: Vec::new() };
        rig.pass(3 * SECOND);
        rig
    }

    fn load(&self, server: u16) -> Arc<ServerLoad> {
        Arc::clone(&self.health.serving().pools[0].servers[usize::from(server)].load)
    }

    /// Lets time pass; the data plane has done everything that was due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.health.poll_timeout().filter(|due| due.at <= end) {
            self.now = self.now.max(due.at);
            self.health.handle_timeout(self.now);
            self.follow();
        }
        self.now = end;
    }

    fn follow(&mut self) {
        while let Some(output) = self.health.poll_output() {
            match output {
                Output::Publish(serving) => self.proxy.publish(serving),
                Output::StartCheck { server, attempt, .. } => {
                    let status = self.found[usize::from(server.server.0)];
                    let verdict = Verdict { status, code: None, detail: String::new(), took: Duration::ZERO };
                    self.health.handle_check_finished(server, attempt, verdict, self.now);
                }
                Output::CloseSessions { server, cause, most } => {
                    let load = self.load(server.server.0);
                    let before = load.sessions();
                    self.closed.push((self.now, server, cause, most));
                    self.proxy.close_sessions(server, cause, most);
                    wait_until("they are closed", || load.sessions() <= before - most);
                    assert_eq!(load.sessions(), before - most, "and no more");
                }
                _ => {}
            }
        }
    }

    /// So many connections that stay, all of them with a server.
    fn hold(&self, count: usize) -> Vec<TcpStream> {
        (0..count)
            .map(|_| {
                let mut client = connect(self.address);
                assert!(read_byte(&mut client).is_some());
                client
            })
            .collect()
    }

    fn sessions(&self) -> [u32; 2] {
        [self.load(0).sessions(), self.load(1).sessions()]
    }
}

fn outage(dead_server: DeadServer, no_server: NoServer) -> Outage {
    Outage { dead_server, no_server, rebalance: None }
}

#[test]
fn connections_of_a_dead_server_are_closed_over_time_and_all_land_elsewhere() {
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], Outage::default(), |plan| {
        plan.pools[0].servers[1].weight = 0;
    });
    // All on the first one; then the second one takes part.
    let mut clients = rig.hold(300);
    assert_eq!(rig.sessions(), [300, 0]);
    let heavier = |health: &mut Health, now| {
        use mainstay_engine::health::order::{Order, ServerOrder, Weight};
        let change = ServerOrder::Weight(Weight::Absolute(1));
        let (pool, server) = ("apiservers".to_owned(), "server1".to_owned());
        health.handle_order(Order::Server { pool, server, change }, now).unwrap();
    };
    heavier(&mut rig.health, rig.now);
    rig.follow();
    rig.found[0] = CheckStatus::L4Tout;
    let began = rig.now;
    rig.pass(3 * SECOND);
    let first = rig.closed.first().expect("it has begun").0;
    assert!(first.since(began) <= 2 * SECOND, "with the check that takes it down");
    rig.pass(7 * SECOND);
    assert_eq!(rig.sessions()[0], 0);
    let took = rig.closed.last().unwrap().0.since(first);
    assert!(took > 5 * SECOND && took <= 6 * SECOND, "50 a second: {took:?}");
    for (at, ..) in &rig.closed {
        let within = rig.closed.iter().filter(|(other, ..)| other >= at && other.since(*at) < SECOND);
        assert!(within.map(|(.., most)| most).sum::<u32>() <= 55, "{:?}", rig.closed);
    }
    assert!(rig.closed.iter().all(|(_, server, cause, _)| (*server, *cause) == (server_id(0), Cause::Down)));
    assert_eq!(rig.load(0).closed_dead.load(std::sync::atomic::Ordering::Relaxed), 300);
    assert!(clients.iter_mut().all(|client| read_byte(client).is_none()));
    let _again = rig.hold(300);
    assert_eq!(rig.sessions(), [0, 300]);
}

#[test]
fn a_server_that_is_not_ready_keeps_its_connections_until_it_falls_silent() {
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], Outage::default(), |_| {});
    let clients = rig.hold(20);
    assert_eq!(rig.sessions(), [10, 10]);
    rig.found[0] = CheckStatus::L7Sts;
    rig.pass(20 * SECOND);
    let _new = rig.hold(4);
    assert_eq!(rig.sessions(), [10, 14], "down, and no connection of it was closed");
    assert!(clients.iter().all(is_silent));
    // What it has begun it does not finish any more.
    rig.found[0] = CheckStatus::L7Tout;
    rig.pass(3 * SECOND);
    assert_eq!(rig.sessions(), [0, 14]);
}

#[test]
fn nothing_is_closed_where_there_is_nowhere_to_go_or_nobody_wants_it() {
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], Outage::default(), |_| {});
    let _clients = rig.hold(20);
    rig.found = vec![CheckStatus::L4Tout; 2];
    rig.pass(10 * SECOND);
    assert_eq!(rig.sessions(), [10, 10], "the balancer may be the one without a network");
    rig.found[1] = CheckStatus::L4Ok;
    rig.pass(3 * SECOND);
    assert_eq!(rig.sessions(), [0, 10]);

    let keep = outage(DeadServer::Keep, NoServer::Refuse);
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], keep, |_| {});
    let _clients = rig.hold(20);
    rig.found[0] = CheckStatus::L4Tout;
    rig.pass(20 * SECOND);
    assert_eq!(rig.sessions(), [10, 10]);
    assert!(rig.closed.is_empty());
}

#[test]
fn a_server_that_comes_back_keeps_what_is_left() {
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], Outage::default(), |_| {});
    let _clients = rig.hold(400);
    rig.found[0] = CheckStatus::L4Tout;
    while rig.closed.is_empty() {
        rig.pass(SECOND / 10);
    }
    rig.found[0] = CheckStatus::L4Ok;
    rig.pass(10 * SECOND);
    let left = rig.sessions()[0];
    assert!((100..200).contains(&left), "{left} of 200 are left");
}

#[test]
fn without_a_server_connections_are_refused_or_held_or_try_all() {
    let servers = || [named(b'a'), refusing()];
    let dead = |no_server| {
        let mut rig = Outages::start(&servers(), outage(DeadServer::Close, no_server), |_| {});
        rig.found = vec![CheckStatus::L4Con; 2];
        rig.pass(5 * SECOND);
        rig
    };
    let rig = dead(NoServer::Refuse);
    assert_eq!(read_all(&mut connect(rig.address)), b"");

    let mut rig = dead(NoServer::Hold);
    let mut clients: Vec<TcpStream> = (0..5).map(|_| connect(rig.address)).collect();
    let queued = || rig.health.serving().pools[0].load.queued.load(std::sync::atomic::Ordering::Relaxed);
    wait_until("they wait", || queued() == 5);
    assert!(clients.iter().all(is_silent));
    rig.found[0] = CheckStatus::L4Ok;
    rig.pass(2 * SECOND);
    assert!(clients.iter_mut().all(|client| read_all(client) == b"a"), "as soon as one is back");

    let rig = dead(NoServer::TryAll);
    for _ in 0..6 {
        assert_eq!(read_all(&mut connect(rig.address)), b"a", "the checks were wrong about one of them");
    }
}

#[test]
fn held_connections_wait_no_longer_than_the_queue_lets_them() {
    let hold = outage(DeadServer::Close, NoServer::Hold);
    let mut rig = Outages::start(&[named(b'a')], hold, |plan| {
        plan.pools[0].queue_timeout = Some(Duration::from_millis(200));
    });
    rig.found[0] = CheckStatus::L4Con;
    rig.pass(5 * SECOND);
    let mut client = connect(rig.address);
    assert_eq!(read_all(&mut client), b"");
    assert_eq!(
        rig.health.serving().pools[0].load.queue_timeouts.load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}

#[test]
fn a_server_that_returns_gets_its_share_at_the_rate_that_was_asked_for() {
    let outage = Outage { rebalance: NonZeroU32::new(5), ..Outage::default() };
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], outage, |_| {});
    rig.found[1] = CheckStatus::L4Con;
    rig.pass(5 * SECOND);
    let mut clients = rig.hold(60);
    assert_eq!(rig.sessions(), [60, 0]);
    rig.found[1] = CheckStatus::L4Ok;
    rig.pass(9 * SECOND);
    assert_eq!(rig.sessions(), [60, 0], "not before it has settled");
    for _ in 0..20 {
        let closed = rig.closed.len();
        rig.pass(SECOND);
        assert!(rig.closed.len() <= closed + 1 && rig.closed.iter().all(|(.., most)| *most <= 5));
        // A client whose connection is closed comes back.
        for client in &mut clients {
            if !is_silent(client) {
                assert_eq!(read_byte(client), None);
                *client = rig.hold(1).remove(0);
            }
        }
    }
    let [first, second] = rig.sessions();
    assert!(first + second == 60 && first.abs_diff(second) <= 8, "{first} and {second}");
    let closed: u32 = rig.closed.iter().map(|(.., most)| most).sum();
    assert!((30..=60).contains(&closed), "{closed} were closed to move 30");
    assert!(rig.closed.iter().all(|(_, server, cause, _)| (*server, *cause) == (server_id(0), Cause::Up)));
}

#[test]
fn nothing_is_moved_for_a_server_that_flaps() {
    let outage = Outage { rebalance: NonZeroU32::new(5), ..Outage::default() };
    let mut rig = Outages::start(&[holding(b'a'), holding(b'b')], outage, |_| {});
    rig.found[1] = CheckStatus::L4Con;
    rig.pass(5 * SECOND);
    let _clients = rig.hold(60);
    for _ in 0..4 {
        rig.found[1] = CheckStatus::L4Ok;
        rig.pass(8 * SECOND);
        rig.found[1] = CheckStatus::L4Con;
        rig.pass(8 * SECOND);
    }
    assert_eq!(rig.sessions(), [60, 0]);
}
