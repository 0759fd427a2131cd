//! Servers that say who they are and what they see, and connections of clients to them.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mainstay::lab::topology::Host;
use socket2::{Domain, Socket, Type};

use crate::rig::PORT;

/// How long a connection may take to be made, or to answer: two retransmissions.
const PATIENCE: Duration = Duration::from_secs(4);

/// A server on every address of a host. Each of its connections hears its name and whom it sees, and then an echo.
pub(crate) struct Server {
    stop: Arc<AtomicBool>,
    host: Host,
}

impl Server {
    pub(crate) fn start(host: &Host) -> Self {
        let bound = host.enter(|| TcpListener::bind(SocketAddr::from(([0_u16; 8], PORT))));
        let listener = bound.expect("the host").expect("a free port");
        let (stop, name) = (Arc::new(AtomicBool::new(false)), host.name().to_owned());
        let stopped = Arc::clone(&stop);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let name = name.clone();
                thread::spawn(move || {
                    // A check ends before it is over.
                    let _ = serve(stream, &name);
                });
            }
        });
        Self { stop, host: host.clone() }
    }
}

impl Drop for Server {
    /// Nobody listens any more; connections stay.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let address = SocketAddr::from(([127, 0, 0, 1], PORT));
        let _ = self.host.enter(|| TcpStream::connect(address));
    }
}

fn serve(mut stream: TcpStream, name: &str) -> io::Result<()> {
    writeln!(stream, "{name} {}", stream.peer_addr()?)?;
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            length => stream.write_all(&bytes[..length])?,
        }
    }
}

/// One connection of a client.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    /// The server's name.
    pub(crate) server: String,
    /// Whom the server sees.
    pub(crate) seen: SocketAddr,
}

impl Connection {
    /// Connects from a host.
    pub(crate) fn open(host: &Host, endpoint: SocketAddr) -> io::Result<Self> {
        let stream = host.enter(|| TcpStream::connect_timeout(&endpoint, PATIENCE)).expect("the host")?;
        Self::greeted(stream)
    }

    /// Connects from this port of a host, within so long.
    pub(crate) fn from_port(
        host: &Host,
        port: u16,
        endpoint: SocketAddr,
        patience: Duration,
    ) -> io::Result<Self> {
        let connect = || {
            let socket = Socket::new(Domain::for_address(endpoint), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            socket.bind(&SocketAddr::from(([0; 4], port)).into())?;
            socket.connect_timeout(&endpoint.into(), patience).map(|()| TcpStream::from(socket))
        };
        Self::greeted(host.enter(connect).expect("the host")?)
    }

    fn greeted(stream: TcpStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut said = String::new();
        stream.read_line(&mut said)?;
        let (server, seen) = said.trim().split_once(' ').ok_or(io::ErrorKind::UnexpectedEof)?;
        let seen: SocketAddr = seen.parse().map_err(io::Error::other)?;
        let seen = SocketAddr::new(seen.ip().to_canonical(), seen.port());
        Ok(Self { server: server.to_owned(), seen, stream })
    }

    /// Says something and hears it again.
    pub(crate) fn talks(&mut self) -> io::Result<()> {
        self.stream.get_ref().write_all(b"still there?\n")?;
        let mut said = String::new();
        self.stream.read_line(&mut said)?;
        if said == "still there?\n" { Ok(()) } else { Err(io::Error::other(format!("heard {said:?}"))) }
    }
}

/// So many connections, all of which must be made.
pub(crate) fn open(host: &Host, endpoint: SocketAddr, count: usize) -> Vec<Connection> {
    let connection = |number| {
        Connection::open(host, endpoint)
            .unwrap_or_else(|error| panic!("connection {number} from {} to {endpoint}: {error}", host.name()))
    };
    (0..count).map(connection).collect()
}

/// How many connections each server has.
pub(crate) fn tally(connections: &[Connection]) -> BTreeMap<&str, usize> {
    let mut tally = BTreeMap::new();
    for connection in connections {
        *tally.entry(connection.server.as_str()).or_default() += 1;
    }
    tally
}

/// Asserts that servers see this address as the client of each.
pub(crate) fn assert_seen(connections: &[Connection], address: IpAddr) {
    for connection in connections {
        assert_eq!(connection.seen.ip(), address, "seen by {}", connection.server);
    }
}

/// Has all talk again and again for so long, and asserts that 98 of 100 go on. Returns the longest that one of those took.
///
/// Balancers without a link tell each other nothing of their connections: an answer that is on its way as the address moves finds
/// nobody who knows it, and its client, who waits for it, says nothing that the successor could learn from.
pub(crate) fn keep_talking(connections: &mut Vec<Connection>, span: Duration) -> Duration {
    let (began, mut longest, all) = (Instant::now(), Duration::ZERO, connections.len());
    while began.elapsed() < span {
        connections.retain_mut(|connection| {
            let asked = Instant::now();
            let talks = connection.talks().is_ok();
            if talks {
                longest = longest.max(asked.elapsed());
            }
            talks
        });
    }
    let lost = all - connections.len();
    eprintln!(
        "{lost} of {all} connections were lost; of the others the longest stood still for {longest:.2?}"
    );
    assert!(lost * 100 <= all * 2, "{lost} of {all} connections were lost");
    longest
}

/// Has all talk, and returns how many do and the longest that one of them took.
pub(crate) fn all_talk(connections: &mut [Connection]) -> (usize, Duration) {
    let (mut talk, mut longest) = (0, Duration::ZERO);
    for connection in connections {
        let began = Instant::now();
        match connection.talks() {
            Ok(()) => talk += 1,
            Err(error) => eprintln!("a connection to {}: {error}", connection.server),
        }
        longest = longest.max(began.elapsed());
    }
    (talk, longest)
}
