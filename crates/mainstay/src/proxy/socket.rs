//! How a connection of the data plane is set up: the options both sides share, and a connect that does not wait.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

/// A peer that acknowledges nothing for this long is dead, and its connection ends (`TCP_USER_TIMEOUT`). Without it the
/// kernel retransmits for 15 minutes, and a watch hangs that long. 45 s is what client-go gives a silent connection
/// (30 s, and 15 s for its ping): a balancer that is no slower than that never keeps a client from its own recovery.
pub(super) const PEER_DEAD_AFTER: Duration = Duration::from_secs(45);

/// Silence after which the kernel asks the peer whether it is still there. A third of [`PEER_DEAD_AFTER`], so that two
/// further probes may be lost.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// Time between two such questions without an answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// Sets what both sides of a connection share: no delay for small writes, and a bound on how long a dead peer is
/// waited for.
pub(super) fn watch_peer(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    // This also sets SO_KEEPALIVE. The number of probes does not matter: TCP_USER_TIMEOUT ends them.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(PEER_DEAD_AFTER))
}

/// How old a connection to a server is when [`watch_peer`] is called for it. Most are over by then, and are spared four
/// system calls; the kernel judges a peer by these options only after [`KEEPALIVE_IDLE`] anyway.
pub(super) const WATCH_AFTER: Duration = Duration::from_secs(5);

/// Starts a connect. The socket is writable when it is established, and in error when it failed.
///
/// Until [`WATCH_AFTER`], when [`watch_peer`] is due, it is the time-outs of the session that bound the wait for the peer.
pub(super) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let kind = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    match socket.connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => Err(error),
        _ => Ok(socket.into()),
    }
}

/// Makes the coming close a reset instead of an orderly end.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // If it fails, the peer sees an orderly end.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Tells the peer that nothing more comes.
pub(super) fn finish(stream: &TcpStream) -> io::Result<()> {
    match stream.shutdown(Shutdown::Write) {
        // The peer has reset the connection meanwhile: reading will say so.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_is_watched_like_a_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(listener.local_addr().unwrap()).unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && !socket.keepalive().unwrap());
        watch_peer(&socket).unwrap();
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(PEER_DEAD_AFTER));
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
    }
}
