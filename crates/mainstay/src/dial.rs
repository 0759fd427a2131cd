//! Connects to servers in the ways that a plain connect does not know: from a given address, or to a socket of this machine.
//!
//! Owns [`start`], for connections of clients and of checks alike.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use mainstay_engine::plan::{Dial, LocalAddress, ShownSource, Source, Tuning};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, TcpKeepalive, Type};

/// Ports of a range that are tried for one connect: nearly all may be in use, and the search has to end.
const PORTS_TRIED: u16 = 256;

/// Bytes of a name that is no file. As with HAProxy's `abns@`, zeros at its end are part of it.
const ABSTRACT_BYTES: usize = 107;

/// Probes where only other times are given; the kernel's own number is 9, and HAProxy leaves it.
const KEEPALIVE_COUNT: u8 = 9;

/// mainstay's own times, for those that are not given.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Starts a connect to a server at `address`, for a client that is at `client`. The socket is writable when it is
/// established, and in error when it failed.
pub fn start(dial: &Dial, address: SocketAddr, client: Option<SocketAddr>) -> io::Result<Socket> {
    // A check may go to an address all the same.
    if let Some(local) = dial.local().filter(|_| address.ip().is_unspecified()) {
        return start_local(local);
    }
    let Some(source) = &dial.source else {
        let socket = open(dial, address)?;
        return connect(socket, &address.into());
    };
    let Some(ports) = &source.ports else {
        let socket = open(dial, address)?;
        bind(&socket, source, source.address, client)?;
        return connect(socket, &address.into());
    };
    let mut last = io::Error::from(Errno::EADDRNOTAVAIL);
    for port in turn(ports) {
        let socket = open(dial, address)?;
        match bind(&socket, source, SocketAddr::new(source.address.ip(), port), client) {
            Err(error) if is(&error, Errno::EADDRINUSE) => {
                last = error;
                continue;
            }
            result => result?,
        }
        match connect(socket, &address.into()) {
            // Another connection from here to there has this port.
            Err(error) if is(&error, Errno::EADDRNOTAVAIL) => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// Whether the kernel shall watch the peer in mainstay's own way.
pub fn leaves_watching(dial: &Dial) -> bool {
    dial.local().is_none() && !dial.tuning.watches()
}

/// Sets what `tuning` says. For a listener, what it accepts inherits it.
pub fn tune(socket: &SockRef<'_>, tuning: &Tuning) -> io::Result<()> {
    if tuning.watches() {
        let Tuning { user_timeout, keepalive_idle, keepalive_interval, keepalive_count, .. } = *tuning;
        let (idle, interval) =
            (keepalive_idle.unwrap_or(KEEPALIVE_IDLE), keepalive_interval.unwrap_or(KEEPALIVE_INTERVAL));
        let count = keepalive_count.unwrap_or(KEEPALIVE_COUNT);
        let keepalive =
            TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(u32::from(count));
        socket.set_tcp_keepalive(&keepalive)?;
        // The kernel counts probes only without a user timeout, and judges by that one alone otherwise.
        let probed = idle.saturating_add(interval.saturating_mul(u32::from(count)));
        socket.set_tcp_user_timeout(Some(user_timeout.unwrap_or(probed)))?;
    }
    if tuning.no_linger {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

fn start_local(local: &LocalAddress) -> io::Result<Socket> {
    let address = local_address(local)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    // It is connected at once, or not at all.
    socket.connect(&address)?;
    Ok(socket)
}

/// The address that the kernel knows a socket of this machine by.
pub fn local_address(local: &LocalAddress) -> io::Result<SockAddr> {
    match local {
        LocalAddress::Path(path) => SockAddr::unix(path),
        LocalAddress::Abstract(name) => SockAddr::unix(format!("\0{name:\0<width$}", width = ABSTRACT_BYTES)),
    }
}

fn open(dial: &Dial, address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    tune(&SockRef::from(&socket), &dial.tuning)?;
    Ok(socket)
}

/// Gives a socket its own end. As in HAProxy, an unspecified address means nothing, and its port neither.
fn bind(socket: &Socket, source: &Source, own: SocketAddr, client: Option<SocketAddr>) -> io::Result<()> {
    if let Some(interface) = &source.interface {
        socket.bind_device(Some(interface.as_bytes()))?;
    }
    let shown = match (source.shown, client.filter(|client| !client.ip().is_unspecified())) {
        (Some(ShownSource::Client), Some(client)) => Some(client),
        (Some(ShownSource::ClientIp), Some(client)) => Some(SocketAddr::new(client.ip(), own.port())),
        (Some(ShownSource::Address(address)), _) => Some(address),
        _ => None,
    };
    let from = shown.unwrap_or(own);
    if from.ip().is_unspecified() {
        return Ok(());
    }
    if shown.is_some() {
        match from.ip() {
            IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
            IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
        }
    }
    // Connections to other servers may have the same port.
    socket.set_reuse_address(true)?;
    if from.port() == 0 {
        // The kernel chooses the port when it knows where to: one for each server, not one for all of them.
        setsockopt(socket, sockopt::IpBindAddressNoPort, &true)?;
    }
    socket.bind(&from.into())
}

fn connect(socket: Socket, address: &SockAddr) -> io::Result<Socket> {
    match socket.connect(address) {
        Err(error) if !is(&error, Errno::EINPROGRESS) => Err(error),
        _ => Ok(socket),
    }
}

fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// Ports of a range, beginning where the connect before went on.
fn turn(ports: &RangeInclusive<u16>) -> impl Iterator<Item = u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let (low, count) = (*ports.start(), ports.len());
    let tries = PORTS_TRIED.min(u16::try_from(count).unwrap_or(u16::MAX));
    (0..tries).map(move |_| {
        let place = usize::from(NEXT.fetch_add(1, Ordering::Relaxed)) % count.max(1);
        low.saturating_add(u16::try_from(place).unwrap_or(0))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn dial(source: Source) -> Dial {
        Dial { source: Some(source), ..Dial::default() }
    }

    fn source(address: &str) -> Source {
        Source { address: address.parse().unwrap(), ports: None, shown: None, interface: None }
    }

    #[test]
    fn connections_come_from_the_ports_of_a_range_until_all_are_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        // Away from the ports that the kernel gives to others.
        let dial = dial(Source { ports: Some(20_011..=20_013), ..source("127.0.0.7:0") });
        let from = |socket: &Socket| socket.local_addr().unwrap().as_socket().unwrap();
        let sockets: Vec<Socket> = (0..3).map(|_| start(&dial, there, None).unwrap()).collect();
        let mut ports: Vec<u16> = sockets.iter().map(|socket| from(socket).port()).collect();
        ports.sort_unstable();
        assert_eq!(ports, [20_011, 20_012, 20_013]);
        assert_eq!(from(&sockets[0]).ip(), IpAddr::from([127, 0, 0, 7]));
        let error = start(&dial, there, None).unwrap_err();
        assert!(is(&error, Errno::EADDRNOTAVAIL), "{error}");
    }

    #[test]
    fn one_port_serves_several_servers() {
        let there = [0, 1].map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
        let dial = dial(source("127.0.0.8:20021"));
        let sockets = there.each_ref().map(|there| start(&dial, there.local_addr().unwrap(), None).unwrap());
        let ports = sockets.map(|socket| socket.local_addr().unwrap().as_socket().unwrap().port());
        assert_eq!(ports, [20_021; 2]);
    }

    #[test]
    fn an_unspecified_source_is_left_to_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = start(&dial(source("0.0.0.0:20031")), listener.local_addr().unwrap(), None).unwrap();
        assert_ne!(socket.local_addr().unwrap().as_socket().unwrap().port(), 20_031);
    }

    #[test]
    fn times_of_probes_bound_what_is_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let tuning = Tuning {
            keepalive_idle: Some(Duration::from_secs(60)),
            keepalive_count: Some(3),
            no_linger: true,
            ..Tuning::default()
        };
        let socket =
            start(&Dial { tuning, ..Dial::default() }, listener.local_addr().unwrap(), None).unwrap();
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(socket.linger().unwrap(), Some(Duration::ZERO));
    }
}
