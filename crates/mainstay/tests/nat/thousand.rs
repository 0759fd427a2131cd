//! A thousand connections at once, of the kinds that are hard to keep: silent clients that only listen, and clients with the same
//! source port at different addresses, of which the kernel gives all but one another port.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mainstay::lab::topology::{Host, INTERFACE, Lan};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::signal::Signal;
use socket2::{Domain, Socket, Type};

use crate::rig::{Balancer, ENDPOINT, PORT, host, lan, linked, usual};

/// Addresses of the client, and connections from the same ports of each of them.
const ADDRESSES: u8 = 10;
const SHARED_PORTS: u16 = 10;
const FIRST_SHARED: u16 = 20_000;

/// Further connections, each with a port of its own.
const OTHERS: u16 = 900;

/// How often each connection carries a byte.
const BEAT: Duration = Duration::from_millis(50);

/// How long a fault is watched: longer than the address of a balancer that died stays, than every retransmission that falls into a
/// takeover, and than a balancer takes to come back.
const SPAN: Duration = Duration::from_secs(4);

/// What the longest of them may stand still for, with adverts every 100 ms.
const STALL: Duration = Duration::from_millis(500);

/// The same where nothing tells the successor but silence, for 0.36 s: what is sent in the first moments of that is sent again after
/// 0.2 s or, where answers came late before, a bit more, which is too early, and then after three times as long (RFC 6298).
const STALL_IN_SILENCE: Duration = Duration::from_secs(3);

/// What a client says: it wants to hear something all the time, or it says something all the time and hears it again.
const WATCH: u8 = b'w';
const ECHO: u8 = b'e';

/// One that pushes to whoever watches, and echoes what others say.
fn serve(host: &Host) {
    let listener = host.enter(|| TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], PORT))));
    let listener = listener.expect("the host").expect("a free port");
    let watchers: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let pushed_to = Arc::clone(&watchers);
    thread::spawn(move || {
        loop {
            pushed_to
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain_mut(|stream| stream.write_all(&[WATCH]).is_ok());
            thread::sleep(BEAT);
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let watchers = Arc::clone(&watchers);
            thread::spawn(move || {
                let _ = stream.set_nodelay(true);
                let mut byte = [0];
                while matches!(stream.read(&mut byte), Ok(1)) {
                    if byte == [WATCH] {
                        watchers.lock().unwrap_or_else(PoisonError::into_inner).push(stream);
                        return;
                    }
                    if stream.write_all(&byte).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// One connection of a client.
struct Connection {
    stream: TcpStream,
    watches: bool,
    /// When it last heard something, and the longest time that it heard nothing for.
    heard: Instant,
    stall: Duration,
    lost: bool,
}

impl Connection {
    fn open(from: SocketAddr, watches: bool) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&from.into()).expect("a free port");
        socket.connect(&ENDPOINT.into()).unwrap_or_else(|error| panic!("from {from}: {error}"));
        let mut stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("an option");
        stream.write_all(&[if watches { WATCH } else { ECHO }]).expect("it is connected");
        stream.set_nonblocking(true).expect("a flag");
        Self { stream, watches, heard: Instant::now(), stall: Duration::ZERO, lost: false }
    }

    fn hear(&mut self) {
        let mut bytes = [0; 256];
        match self.stream.read(&mut bytes) {
            Ok(1..) => {
                self.stall = self.stall.max(self.heard.elapsed());
                self.heard = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => self.lost = true,
        }
    }
}

/// All connections, and what they are waited for with.
struct Clients {
    epoll: Epoll,
    connections: Vec<Connection>,
}

impl Clients {
    fn open(client: &Host) -> Self {
        let addresses = || (0..ADDRESSES).map(|number| IpAddr::V4(Ipv4Addr::new(10, 0, 0, 60 + number)));
        let added: Vec<_> =
            addresses().map(|address| format!("addr add {address}/24 dev {INTERFACE}")).collect();
        client.configure(&added).expect("ip");
        let shared = (FIRST_SHARED..FIRST_SHARED + SHARED_PORTS)
            .flat_map(|port| addresses().map(move |address| SocketAddr::new(address, port)));
        let others = (0..OTHERS).map(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
        let all: Vec<_> = shared.chain(others).collect();
        let open = || (0..).zip(all).map(|(number, from)| Connection::open(from, number % 2 == 0)).collect();
        let connections: Vec<Connection> = client.enter(open).expect("the host");
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).expect("an epoll");
        for (number, connection) in (0..).zip(&connections) {
            epoll
                .add(&connection.stream, EpollEvent::new(EpollFlags::EPOLLIN, number))
                .expect("it can be watched");
        }
        Self { epoll, connections }
    }

    /// Carries bytes on all of them for so long. How many were lost, or are silent, and the longest that one stood still.
    fn carry(&mut self, span: Duration) -> (usize, Duration) {
        let began = Instant::now();
        let mut said = began;
        for connection in &mut self.connections {
            (connection.heard, connection.stall) = (began, Duration::ZERO);
        }
        let mut events = vec![EpollEvent::empty(); 256];
        while began.elapsed() < span {
            let count = self.epoll.wait(&mut events, EpollTimeout::from(5_u8)).unwrap_or(0);
            for event in &events[..count] {
                let place = usize::try_from(event.data()).expect("a place");
                self.connections[place].hear();
            }
            if said.elapsed() >= BEAT {
                said = Instant::now();
                for connection in self.connections.iter_mut().filter(|connection| !connection.watches) {
                    connection.lost |= matches!(
                        connection.stream.write(&[ECHO]),
                        Err(error) if error.kind() != ErrorKind::WouldBlock
                    );
                }
            }
        }
        let silent = |connection: &&Connection| connection.lost || connection.heard.elapsed() > STALL;
        let lost = self.connections.iter().filter(silent).count();
        let stall = self.connections.iter().map(|own| own.stall.max(own.heard.elapsed())).max();
        (lost, stall.unwrap_or_default())
    }
}

/// Two balancers with a thousand connections; the preferred one is active.
struct Scene {
    lan: Lan,
    active: Option<Balancer>,
    backup: Balancer,
    clients: Clients,
}

impl Scene {
    fn new() -> Self {
        let lan = lan();
        for name in ["s1", "s2", "s3"] {
            serve(host(&lan, name));
        }
        let active = Balancer::ready(host(&lan, "lb1"), &usual(), &linked(120), "active");
        let backup = Balancer::ready(host(&lan, "lb2"), &usual(), &linked(100), "backup");
        let mut clients = Clients::open(host(&lan, "client"));
        assert_eq!(clients.carry(Duration::from_secs(1)).0, 0, "before any fault");
        Self { lan, active: Some(active), backup, clients }
    }

    /// Carries on for a while after a fault, and asserts that nobody noticed.
    fn outlive(&mut self, fault: &str, allowed: Duration) {
        let (lost, stall) = self.clients.carry(SPAN);
        println!(
            "{fault}: {lost} of {} lost, the longest stood still for {stall:.2?}",
            self.clients.connections.len()
        );
        let log = || {
            let active = self.active.as_ref().map(Balancer::log).unwrap_or_default();
            format!("{active}\n{}", self.backup.log())
        };
        assert_eq!(lost, 0, "{fault}\n{}", log());
        assert!(stall < allowed, "{fault}: {stall:?}\n{}", log());
    }

    /// The preferred balancer comes back, which is a move, too.
    fn restore(&mut self, after: &str) {
        let begun = Balancer::start(host(&self.lan, "lb1"), &usual(), &linked(120));
        self.outlive(&format!("return after {after}"), STALL);
        begun.wait("it is back", |status| status.routers[0].state == "active");
        self.active = Some(begun);
    }
}

pub(crate) fn connections_notice_no_fault_of_balancers_and_no_change_of_servers() {
    let mut scene = Scene::new();
    scene.active.take().expect("it runs").kill();
    scene.outlive("killed", STALL);
    scene.restore("a death");

    let frozen = scene.active.take().expect("it runs");
    frozen.signal(Signal::SIGSTOP);
    scene.outlive("frozen", STALL);
    frozen.kill();
    scene.restore("a freeze");

    scene.lan.plug(host(&scene.lan, "lb1"), false).expect("ip");
    scene.outlive("cut off", STALL_IN_SILENCE);
    scene.lan.plug(host(&scene.lan, "lb1"), true).expect("ip");
    scene.outlive("plugged in", STALL);
    let back = scene.active.as_ref().expect("it runs");
    // It knew nothing of what had become of the connections, and asked first.
    back.wait("it is back", |status| status.routers[0].state == "active");
    scene.outlive("back after a cut", STALL);

    // Both choose among other servers then, and every connection stays where it is.
    for state in ["maint", "ready"] {
        for balancer in scene.active.iter().chain([&scene.backup]) {
            assert!(balancer.mainstay(&["server", "cp/s3", state]).status.success());
        }
        scene.outlive(&format!("a server put to {state}"), STALL);
    }

    let active = scene.active.take().expect("it runs");
    assert!(active.mainstay(&["handover"]).status.success());
    scene.outlive("hand-over", STALL);
    active.stop();
    scene.outlive("stopped afterwards", STALL);
    scene.restore("a stop");
}
