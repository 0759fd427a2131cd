//! The clients: one thread that keeps so many connections busy, or just holds them.
//!
//! Owns [`Load`] and [`Measured`]. Closed loop: the next request follows the answer to the one before.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, Protocol, Socket, Type};

use crate::server::{ANSWER_BYTES, ASK, ASK_AND_CLOSE, ASK_FOR_BULK, REQUEST_BYTES};

/// What a bulk transfer reads at once.
const READ_BYTES: usize = 256 * 1024;

/// Events taken from the kernel at once.
const EVENTS: usize = 512;

/// How long a load may go without any progress.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done on each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Request after request.
    Requests,
    /// One request, and a new connection for the next.
    NewConnections,
    /// One download without end.
    Bulk,
}

/// So many connections to `targets`, in turn, for so long.
pub(crate) struct Load<'a> {
    pub(crate) kind: Kind,
    pub(crate) connections: usize,
    pub(crate) targets: &'a [SocketAddr],
    pub(crate) lasts: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Answers, or bytes of a bulk transfer.
    pub(crate) count: u64,
    pub(crate) took: Duration,
    /// How long each answer took, in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Measured {
    /// Answers or bytes in a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// The latency that `share` of all answers kept below, in microseconds.
    pub(crate) fn latency(&self, share: f64) -> f64 {
        let place = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(place.min(self.latencies.len().saturating_sub(1))).copied().map_or(0.0, f64::from)
    }
}

/// Opens connections that say nothing.
pub(crate) fn hold(target: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count).map(|_| TcpStream::connect(target)).collect()
}

struct Connection {
    stream: TcpStream,
    connected: bool,
    asked: Instant,
    received: usize,
}

struct Running<'a> {
    load: &'a Load<'a>,
    epoll: Epoll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    /// Connections opened so far.
    opened: usize,
    measured: Measured,
}

impl Load<'_> {
    /// Runs it in the calling thread, on whatever host that is.
    pub(crate) fn run(&self) -> io::Result<Measured> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let buffer = vec![0; READ_BYTES];
        let measured = Measured::default();
        let mut running = Running { load: self, epoll, connections: Vec::new(), buffer, opened: 0, measured };
        for place in 0..self.connections {
            let connection = running.open(place)?;
            running.connections.push(connection);
        }
        let begun = Instant::now();
        let mut events = vec![EpollEvent::empty(); EVENTS];
        while begun.elapsed() < self.lasts {
            let patience = EpollTimeout::try_from(PATIENCE).map_err(io::Error::other)?;
            let count = match running.epoll.wait(&mut events, patience) {
                Ok(count) => count,
                // The machine was stopped for a moment.
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if count == 0 {
                return Err(io::Error::other("nothing came back for 10 s"));
            }
            for event in &events[..count] {
                running.step(usize::try_from(event.data()).unwrap_or(usize::MAX))?;
            }
        }
        running.measured.took = begun.elapsed();
        running.measured.latencies.sort_unstable();
        Ok(running.measured)
    }
}

impl Running<'_> {
    /// Starts to connect in `place`.
    fn open(&mut self, place: usize) -> io::Result<Connection> {
        let target = self.load.targets[self.opened % self.load.targets.len()];
        self.opened += 1;
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
            _ => {}
        }
        let token = u64::try_from(place).unwrap_or(u64::MAX);
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, token))?;
        Ok(Connection { stream: socket.into(), connected: false, asked: Instant::now(), received: 0 })
    }

    fn step(&mut self, place: usize) -> io::Result<()> {
        let connection = &mut self.connections[place];
        if !connection.connected {
            if let Some(error) = connection.stream.take_error()? {
                return Err(error);
            }
            connection.connected = true;
            let token = u64::try_from(place).unwrap_or(u64::MAX);
            self.epoll.modify(&connection.stream, &mut EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            if self.load.kind == Kind::Requests {
                connection.asked = Instant::now();
            }
            return ask(connection, self.load.kind);
        }
        let count = match connection.stream.read(&mut self.buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        match self.load.kind {
            Kind::Bulk if count == 0 => Err(io::Error::other("a download ended")),
            Kind::Bulk => {
                self.measured.count += count as u64;
                Ok(())
            }
            Kind::Requests if count == 0 => Err(io::Error::other("a connection that should stay was closed")),
            Kind::Requests => {
                connection.received += count;
                if connection.received < ANSWER_BYTES {
                    return Ok(());
                }
                connection.received = 0;
                self.measured.note(connection.asked);
                connection.asked = Instant::now();
                ask(connection, Kind::Requests)
            }
            Kind::NewConnections if count > 0 => {
                connection.received += count;
                Ok(())
            }
            Kind::NewConnections => {
                if connection.received != ANSWER_BYTES {
                    return Err(io::Error::other(format!("an answer of {} bytes", connection.received)));
                }
                self.measured.note(connection.asked);
                self.connections[place] = self.open(place)?;
                Ok(())
            }
        }
    }
}

impl Measured {
    fn note(&mut self, asked: Instant) {
        self.count += 1;
        self.latencies.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

fn ask(connection: &mut Connection, kind: Kind) -> io::Result<()> {
    let wanted = match kind {
        Kind::Requests => ASK,
        Kind::NewConnections => ASK_AND_CLOSE,
        Kind::Bulk => ASK_FOR_BULK,
    };
    connection.stream.write_all(&[wanted; REQUEST_BYTES])
}
