//! What the tests of the data plane share: servers on loopback, a proxy in front of them, and waiting for conditions.

#![expect(dead_code, unreachable_pub, reason = "every test binary uses a part of it")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "../ports/mod.rs"]
mod ports;

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use mainstay::proxy::{Listeners, Proxy};
use mainstay_engine::engine::Output;
use mainstay_engine::health::Health;
use mainstay_engine::plan::{Bind, Frontend, Plan, Pool, PoolId, Server, ServerId, ServerIndex};
use mainstay_engine::serving::{FrontendLoad, PoolLoad, ServerLoad, Serving};
use socket2::{Domain, SockRef, Socket, Type};

pub(crate) use ports::free_address;

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A proxy in front of servers.
pub struct Rig {
    pub proxy: Proxy,
    pub address: SocketAddr,
    pub serving: Arc<Serving>,
}

impl Rig {
    /// Starts a proxy in front of `servers`, with the plan as `change` leaves it.
    pub fn start(servers: &[SocketAddr], change: impl FnOnce(&mut Plan)) -> Self {
        let mut plan = plan(servers);
        change(&mut plan);
        let plan = Arc::new(plan);
        let serving = first_view(&plan);
        let listeners = Listeners::bind(&plan).unwrap();
        let address = listeners.addresses()[0];
        let proxy = Proxy::start(listeners, Arc::clone(&serving)).unwrap();
        Self { proxy, address, serving }
    }

    /// A client's connection.
    pub fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    /// Publishes the first view as `change` leaves it.
    pub fn publish(&self, change: impl FnOnce(&mut Serving)) {
        let mut serving = (*self.serving).clone();
        change(&mut serving);
        self.proxy.publish(Arc::new(serving));
    }

    pub fn pool(&self) -> &PoolLoad {
        &self.serving.pools[0].load
    }

    pub fn frontend(&self) -> &FrontendLoad {
        &self.serving.frontends[0]
    }

    pub fn server(&self, index: usize) -> &ServerLoad {
        &self.serving.pools[0].servers[index].load
    }

    /// Waits until every connection is gone, and nothing is left counted.
    pub fn drained(&self) {
        wait_until("all sessions have ended", || self.proxy.load().sessions == 0);
        let servers = &self.serving.pools[0].servers;
        wait_until("all slots are free", || servers.iter().all(|server| server.load.sessions() == 0));
        assert_eq!(self.proxy.load().panics, 0);
    }
}

/// One frontend on a port of the kernel's choice, one pool, no time-outs.
pub fn plan(servers: &[SocketAddr]) -> Plan {
    let server = |(index, &address): (usize, &SocketAddr)| Server::new(format!("server{index}"), address);
    let servers = servers.iter().enumerate().map(server).collect();
    Plan {
        maxconn: 5000,
        workers: Some(2),
        frontends: vec![Frontend::new("kubernetes", vec![bind("127.0.0.1:0")], PoolId(0))],
        pools: vec![Pool {
            connect_timeout: Some(Duration::from_secs(5)),
            ..Pool::new("apiservers", servers)
        }],
        ..Plan::default()
    }
}

pub fn bind(address: &str) -> Bind {
    Bind::new(address.parse().unwrap())
}

pub fn server_id(server: u16) -> ServerId {
    ServerId { pool: PoolId(0), server: ServerIndex(server) }
}

/// The view the engine publishes before any check.
fn first_view(plan: &Arc<Plan>) -> Arc<Serving> {
    let mut health = Health::new(Arc::clone(plan), 1, mainstay_engine::time::Instant::from_nanos(0));
    let outputs = std::iter::from_fn(move || health.poll_output());
    outputs
        .filter_map(|output| if let Output::Publish(serving) = output { Some(serving) } else { None })
        .last()
        .expect("the engine publishes a view at start")
}

/// A server that runs `serve` for every connection, each on a thread of its own.
pub fn server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (serve, stream) = (Arc::clone(&serve), stream.unwrap());
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A server that says its name and ends.
pub fn named(name: u8) -> SocketAddr {
    server(move |mut stream| {
        let _ = stream.write_all(&[name]);
    })
}

/// A server that says its name and then holds the connection until its client ends.
pub fn holding(name: u8) -> SocketAddr {
    server(move |mut stream| {
        let _ = stream.write_all(&[name]);
        let _ = stream.read(&mut [0]);
    })
}

/// A server that sends back what it gets, and ends when its client ends.
pub fn echo() -> SocketAddr {
    server(|mut stream| {
        let _ = std::io::copy(&mut stream.try_clone().unwrap(), &mut stream);
        let _ = stream.shutdown(Shutdown::Write);
    })
}

/// An address of this machine where nobody listens.
pub fn refusing() -> SocketAddr {
    free_address()
}

/// An address that answers no connect: a listener whose backlog is full. Lasts as long as the sockets.
pub fn unanswering() -> (SocketAddr, Vec<Socket>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    loop {
        let filler = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if filler.connect_timeout(&address, Duration::from_millis(100)).is_err() {
            return (address.as_socket().unwrap(), sockets);
        }
        sockets.push(filler);
    }
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// A client's connection from another address of loopback.
pub fn connect_from(source: [u8; 4], address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((IpAddr::from(source), 0)).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// The next byte, or `None` at an orderly end or a reset.
pub fn read_byte(stream: &mut TcpStream) -> Option<u8> {
    let mut byte = [0];
    match stream.read(&mut byte) {
        Ok(0) => None,
        Ok(_) => Some(byte[0]),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => None,
        Err(error) => panic!("the proxy kept a client waiting: {error}"),
    }
}

/// Everything up to an orderly end.
pub fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Whether nothing has arrived yet and the connection is open.
pub fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let silent = matches!(stream.peek(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    silent
}

/// Ends a connection with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// A few times more than all buffers on the way hold together.
pub const BULK: usize = 64 * 1024 * 1024;

/// The byte at `offset` of a stream in which a lost, doubled or swapped chunk shows.
fn byte_at(offset: usize) -> u8 {
    (offset.wrapping_mul(2_654_435_761) >> 13) as u8
}

/// Sends a stream of [`byte_at`], then finishes.
pub fn send_bulk(mut stream: &TcpStream, length: usize) {
    let mut chunk = Vec::new();
    for start in (0..length).step_by(1 << 16) {
        chunk.clear();
        chunk.extend((start..length.min(start + (1 << 16))).map(byte_at));
        stream.write_all(&chunk).unwrap();
    }
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Reads to the end, resting after every `rest_every` bytes, and checks every byte. Returns how many came.
pub fn receive_bulk(mut stream: &TcpStream, rest_every: usize) -> usize {
    let (mut total, mut rested) = (0, 0);
    let mut chunk = vec![0; 1 << 16];
    loop {
        let count = stream.read(&mut chunk).unwrap();
        if count == 0 {
            return total;
        }
        let wrong = (total..).zip(&chunk[..count]).find(|&(offset, &byte)| byte != byte_at(offset));
        assert_eq!(wrong, None, "a wrong byte");
        total += count;
        if total - rested >= rest_every {
            rested = total;
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: waited until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}
