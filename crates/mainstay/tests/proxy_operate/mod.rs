//! Orders of an operator, carried out by the engine and followed by a data plane under load.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mainstay::proxy::{Cursor, Listeners, Proxy, SessionId, SessionInfo, SessionPhase};
use mainstay_engine::engine::Output;
use mainstay_engine::health::Health;
use mainstay_engine::health::order::{
    AdminState, FrontendOrder, Order, Outcome, Refusal, ServerOrder, Weight,
};
use mainstay_engine::plan::{Plan, Server};
use mainstay_engine::time::Instant as EngineInstant;

use super::proxy_rig::{PATIENCE, connect, echo, holding, named, plan, read_all, read_byte, wait_until};

/// A data plane, and the engine that it follows.
struct Operated {
    health: Health,
    proxy: Proxy,
    address: SocketAddr,
}

impl Operated {
    fn start(servers: &[SocketAddr], change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = plan(servers);
        change(&mut plan);
        let plan = Arc::new(plan);
        let health = Health::new(Arc::clone(&plan), 1, EngineInstant::from_nanos(0));
        let listeners = Listeners::bind(&plan).unwrap();
        let address = listeners.addresses()[0];
        let proxy = Proxy::start(listeners, health.serving()).unwrap();
        let mut rig = Self { health, proxy, address };
        rig.follow();
        rig
    }

    fn follow(&mut self) {
        while let Some(output) = self.health.poll_output() {
            match output {
                Output::Publish(serving) => self.proxy.publish(serving),
                Output::ShutdownSessions { server, cause } => self.proxy.shutdown_sessions(server, cause),
                _ => {}
            }
        }
    }

    fn order(&mut self, order: Order) -> Result<Outcome, Refusal> {
        let outcome = self.health.handle_order(order, EngineInstant::from_nanos(0));
        self.follow();
        outcome
    }

    fn change(&mut self, server: &str, change: ServerOrder) {
        let (pool, server) = ("apiservers".to_owned(), server.to_owned());
        self.order(Order::Server { pool, server, change }).unwrap();
    }

    fn frontend(&mut self, change: FrontendOrder) {
        self.order(Order::Frontend { frontend: "kubernetes".to_owned(), change }).unwrap();
    }

    fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// The names of the servers of the next connections.
    fn answers(&self, count: usize) -> Vec<u8> {
        (0..count).flat_map(|_| read_all(&mut self.connect())).collect()
    }

    fn sessions(&self) -> Vec<SessionInfo> {
        let mut sessions = Vec::new();
        let mut cursor = Some(Cursor::default());
        while let Some(from) = cursor {
            let page = wait_for(self.proxy.sessions(from));
            sessions.extend(page.sessions);
            cursor = page.next;
        }
        sessions.sort_by_key(|session| session.id);
        sessions
    }
}

fn wait_for<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

/// Whether nobody listens there.
fn refuses(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn new_connections_follow_state_weight_and_address() {
    let mut rig = Operated::start(&[named(b'a'), named(b'b')], |_| {});
    rig.change("server0", ServerOrder::State(AdminState::Drain));
    assert_eq!(rig.answers(4), b"bbbb");
    rig.change("server0", ServerOrder::State(AdminState::Ready));
    rig.change("server1", ServerOrder::Weight(Weight::Absolute(0)));
    assert_eq!(rig.answers(4), b"aaaa");
    let third = named(b'c');
    rig.change("server0", ServerOrder::Address(third.ip(), Some(third.port())));
    assert_eq!(rig.answers(2), b"cc");
}

#[test]
fn maintenance_keeps_sessions_and_sends_the_queue_elsewhere() {
    let mut rig = Operated::start(&[holding(b'a'), holding(b'b')], |plan| {
        plan.pools[0].servers[0].maxconn = Some(1);
        plan.pools[0].servers[1].disabled = true;
    });
    let mut first = rig.connect();
    assert_eq!(read_byte(&mut first), Some(b'a'));
    let mut second = rig.connect();
    wait_until("one waits", || rig.sessions().iter().any(|session| session.phase == SessionPhase::Queued));
    rig.change("server1", ServerOrder::State(AdminState::Ready));
    assert_eq!(read_byte(&mut second), Some(b'b'));
    rig.change("server0", ServerOrder::State(AdminState::Maintenance));
    assert!(super::proxy_rig::is_silent(&first));
    rig.change("server0", ServerOrder::ShutdownSessions);
    assert_eq!(read_byte(&mut first), None);
}

#[test]
fn sessions_are_listed_and_closed_one_by_one() {
    let rig = Operated::start(&[holding(b'a')], |_| {});
    // One after the other: a burst would overflow the backlog of the server.
    let connected = |_| {
        let mut client = rig.connect();
        assert_eq!(read_byte(&mut client), Some(b'a'));
        client
    };
    let mut clients: Vec<_> = (0..600).map(connected).collect();
    let sessions = rig.sessions();
    assert_eq!(sessions.len(), 600);
    assert!(sessions.windows(2).all(|pair| pair[0].id < pair[1].id));
    let own = clients[7].local_addr().unwrap();
    let session = sessions.iter().find(|session| session.client == Some(own)).unwrap();
    assert_eq!((session.phase, session.bytes_out), (SessionPhase::Established, 1));
    assert_eq!((session.local, session.server.is_some()), (Some(rig.address), true));
    assert!(wait_for(rig.proxy.kill(session.id)));
    assert_eq!(read_byte(&mut clients[7]), None);
    assert!(!wait_for(rig.proxy.kill(session.id)), "it is gone");
    assert!(!wait_for(rig.proxy.kill(SessionId(0))), "numbers begin at 1");
    assert_eq!(rig.sessions().len(), 599);
}

#[test]
fn a_disabled_frontend_refuses_and_listens_again() {
    // A port of the kernel's choice would be another one afterwards, and on an address of its own nobody else takes it.
    let port = std::net::TcpListener::bind("127.0.87.1:0").unwrap().local_addr().unwrap();
    let mut rig = Operated::start(&[holding(b'a')], |plan| plan.frontends[0].binds[0].address = port);
    let mut before = rig.connect();
    assert_eq!(read_byte(&mut before), Some(b'a'));
    rig.frontend(FrontendOrder::Disable);
    wait_until("connections are refused", || refuses(rig.address));
    rig.frontend(FrontendOrder::Enable);
    wait_until("connections are taken", || !refuses(rig.address));
    assert_eq!(read_byte(&mut rig.connect()), Some(b'a'));
    rig.frontend(FrontendOrder::Shutdown);
    wait_until("connections are refused", || refuses(rig.address));
    std::net::TcpListener::bind(rig.address).expect("the port is free");
    assert!(super::proxy_rig::is_silent(&before), "sessions stay");
    assert_eq!(rig.proxy.load().panics, 0);
}

#[test]
fn limits_of_frontends_and_of_the_daemon_hold_from_the_next_connection_on() {
    let mut rig = Operated::start(&[holding(b'a')], |_| {});
    let mut held = vec![rig.connect()];
    assert_eq!(read_byte(&mut held[0]), Some(b'a'));
    rig.frontend(FrontendOrder::Maxconn(1));
    held.push(rig.connect());
    thread::sleep(Duration::from_millis(100));
    assert!(super::proxy_rig::is_silent(&held[1]), "it waits in the backlog");
    rig.order(Order::Maxconn(2)).unwrap();
    rig.frontend(FrontendOrder::Maxconn(0));
    assert_eq!(read_byte(&mut held[1]), Some(b'a'));
    held.push(rig.connect());
    thread::sleep(Duration::from_millis(100));
    assert!(super::proxy_rig::is_silent(&held[2]), "it waits in the backlog");
    rig.order(Order::Maxconn(0)).unwrap();
    assert_eq!(read_byte(&mut held[2]), Some(b'a'));
}

#[test]
fn connections_are_let_in_at_the_rate_that_was_set() {
    let mut rig = Operated::start(&[named(b'a')], |_| {});
    rig.order(Order::SessionRate(20)).unwrap();
    let began = Instant::now();
    assert_eq!(rig.answers(61).len(), 61);
    let took = began.elapsed();
    assert!(took > Duration::from_millis(1500), "60 in {took:?} at 20 a second");
    rig.order(Order::SessionRate(0)).unwrap();
    let began = Instant::now();
    assert_eq!(rig.answers(61).len(), 61);
    assert!(began.elapsed() < PATIENCE / 2);
}

/// Servers come and go as fast as they can while clients use the one that stays.
#[test]
fn a_storm_of_servers_costs_the_others_no_connection() {
    let stays = echo();
    let mut rig = Operated::start(&[stays], |_| {});
    let (address, stop) = (rig.address, Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let mut served = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    use std::io::Write as _;
                    let mut stream = connect(address);
                    stream.write_all(b"hello").unwrap();
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    assert_eq!(read_all(&mut stream), b"hello");
                    served += 1;
                }
                served
            })
        })
        .collect();
    let others = [echo(), echo()];
    let pool = || "apiservers".to_owned();
    let began = Instant::now();
    let mut rounds = 0_usize;
    while rounds < 300 || began.elapsed() < Duration::from_secs(1) {
        let name = format!("storm{rounds}");
        let server = Box::new(Server { disabled: true, ..Server::new(&name, others[rounds % 2]) });
        rig.order(Order::AddServer { pool: pool(), server }).unwrap();
        rig.change(&name, ServerOrder::State(AdminState::Ready));
        rig.change(&name, ServerOrder::Weight(Weight::Absolute(2)));
        rig.change(&name, ServerOrder::State(AdminState::Maintenance));
        let remove = Order::RemoveServer { pool: pool(), server: name };
        wait_until("the server has no connections", || match rig.order(remove.clone()) {
            Ok(_) => true,
            Err(refusal) => {
                assert_eq!(refusal, Refusal::HasSessions);
                false
            }
        });
        rounds += 1;
    }
    stop.store(true, Ordering::Relaxed);
    let served: u32 = clients.into_iter().map(|client| client.join().expect("no connection was lost")).sum();
    assert!(served > 100, "{served} connections in {rounds} rounds");
    assert_eq!(rig.proxy.load().panics, 0);
    let places = rig.health.serving().pools[0].servers.len();
    assert!(places <= 3, "places are taken again, and there are {places}");
}
