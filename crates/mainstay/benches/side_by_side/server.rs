//! The servers: one thread that answers fixed requests, or sends without end, and costs as little as it can.
//!
//! Owns the protocol of the benchmark. A request has [`REQUEST_BYTES`], an answer [`ANSWER_BYTES`]. The first byte of a
//! request says what is wanted.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use crate::network::{Network, servers};

/// A typical GET of a Kubernetes client.
pub(crate) const REQUEST_BYTES: usize = 200;
/// A small object.
pub(crate) const ANSWER_BYTES: usize = 1024;
/// Asks for one answer on a connection that stays.
pub(crate) const ASK: u8 = b'A';
/// Asks for one answer and the end of the connection.
pub(crate) const ASK_AND_CLOSE: u8 = b'C';
/// Asks for bytes without end.
pub(crate) const ASK_FOR_BULK: u8 = b'B';

/// What a bulk transfer writes at once.
const BULK_BYTES: usize = 256 * 1024;

/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// Starts serving; it goes on until the process ends.
pub(crate) fn start(network: &Network) -> Result<(), String> {
    let mut listeners = Vec::new();
    for address in servers() {
        let listener = network.servers.enter(|| listen(address))?;
        listeners.push(listener.map_err(|error| format!("cannot listen on {address}: {error}"))?);
    }
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let serving = Serving::new(listeners);
        let _ = ready.send(());
        if let Err(error) = serving.and_then(Serving::run) {
            eprintln!("the servers ended: {error}");
        }
    });
    started.recv().map_err(|_| "the servers did not start".to_owned())
}

fn listen(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(16_384)?;
    Ok(socket.into())
}

/// A connection from a product or a client.
struct Connection {
    stream: TcpStream,
    bulk: bool,
}

struct Serving {
    epoll: Epoll,
    listeners: Vec<TcpListener>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    bytes: Vec<u8>,
}

impl Serving {
    fn new(listeners: Vec<TcpListener>) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        for (token, listener) in (0..).zip(&listeners) {
            epoll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        Ok(Self {
            epoll,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            bytes: vec![b'x'; BULK_BYTES],
        })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let count = self.epoll.wait(&mut events, EpollTimeout::NONE)?;
            for event in &events[..count] {
                let token = usize::try_from(event.data()).unwrap_or(usize::MAX);
                if token < self.listeners.len() {
                    self.accept(token)?;
                } else {
                    self.serve(token - self.listeners.len());
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        while let Ok((stream, _)) = self.listeners[listener].accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = u64::try_from(place + self.listeners.len()).unwrap_or(u64::MAX);
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            self.connections[place] = Some(Connection { stream, bulk: false });
        }
        Ok(())
    }

    fn serve(&mut self, place: usize) {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return };
        let stays = if connection.bulk {
            send_bulk(connection, &self.bytes)
        } else {
            let token = u64::try_from(place + self.listeners.len()).unwrap_or(u64::MAX);
            answer(connection, &self.bytes, &self.epoll, token)
        };
        if !stays {
            self.connections[place] = None;
            self.free.push(place);
        }
    }
}

/// Answers one request. Whether the connection stays. Requests are so small that they arrive whole.
fn answer(connection: &mut Connection, bytes: &[u8], epoll: &Epoll, token: u64) -> bool {
    let mut request = [0; REQUEST_BYTES];
    match connection.stream.read(&mut request) {
        Ok(REQUEST_BYTES) => {}
        // Its end, or, against the protocol, part of a request: the client then complains of a lost connection.
        Ok(_) => return false,
        Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
    }
    if request[0] == ASK_FOR_BULK {
        connection.bulk = true;
        let events = EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP;
        return epoll.modify(&connection.stream, &mut EpollEvent::new(events, token)).is_ok();
    }
    connection.stream.write_all(&bytes[..ANSWER_BYTES]).is_ok() && request[0] == ASK
}

fn send_bulk(connection: &mut Connection, bytes: &[u8]) -> bool {
    match connection.stream.write(bytes) {
        Ok(count) => count > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}
