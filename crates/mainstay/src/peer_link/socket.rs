//! What peer links ask of the kernel.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use mainstay_engine::peers::ListenAddress;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// How long written bytes may stay unacknowledged, and a silent peer unprobed. A link that ends this way means nothing;
/// it is only made anew.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_PROBES: u32 = 5;

/// Bytes that may wait in the kernel to be sent: as many as one message has, so that a view waits for no more.
const UNSENT_BYTES: u32 = 64 * 1024;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The socket address of `address`. A link-local one needs the interface to mean something.
pub(super) fn with_port(address: IpAddr, interface: &str, port: u16) -> io::Result<SocketAddr> {
    Ok(match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, port, 0, if_nametoindex(interface)?).into()
        }
        address => SocketAddr::new(address, port),
    })
}

/// Listens on an address that need not be there yet.
pub(super) fn listen(at: &ListenAddress, port: u16) -> io::Result<TcpListener> {
    let address = with_port(at.address, &at.interface, port)?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A socket that dials from `source`.
pub(super) fn from(source: &ListenAddress) -> io::Result<TcpSocket> {
    let address = with_port(source.address, &source.interface, 0)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(address)?;
    Ok(socket)
}

/// Small messages leave at once, and a peer that has gone is noticed.
pub(super) fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES)?;
    socket.set_tcp_user_timeout(Some(USER_TIMEOUT))
}
