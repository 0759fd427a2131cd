//! The servers: one thread that answers fixed requests, or sends without end, and costs as little as it can.
//!
//! Owns the protocol of the benchmark. A request has [`REQUEST_BYTES`], an answer [`ANSWER_BYTES`]. The first byte of a
//! request says what is wanted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::mpsc;
use std::thread;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Socket, Type};

use crate::network::{Network, PORT};

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

/// What the kernel calls the listener; connections are called by their places.
const LISTENER: u64 = u64::MAX;

/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// Starts serving; it goes on until the process ends.
pub(crate) fn start(network: &Network) -> Result<(), String> {
    // All of them are one listener: every address of their network is this host's.
    let listener = network.servers.enter(|| listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))))?;
    let listener = listener.map_err(|error| format!("cannot listen: {error}"))?;
    let (ready, started) = mpsc::channel();
    thread::spawn(move || {
        let serving = Serving::new(listener);
        let _ = ready.send(());
        if let Err(error) = serving.and_then(Serving::run) {
            eprintln!("the servers ended: {error}");
        }
    });
    started.recv().map_err(|_| "the servers did not start".to_owned())
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
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
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    bytes: Vec<u8>,
}

impl Serving {
    fn new(listener: TcpListener) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self { epoll, listener, connections: Vec::new(), free: Vec::new(), bytes: vec![b'x'; BULK_BYTES] })
    }

    fn run(mut self) -> io::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                // The machine was stopped for a moment.
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept()?,
                    place => self.serve(usize::try_from(place).unwrap_or(usize::MAX)),
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = u64::try_from(place).unwrap_or(LISTENER);
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
            let token = u64::try_from(place).unwrap_or(LISTENER);
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
