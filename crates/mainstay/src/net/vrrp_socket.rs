//! The raw sockets that adverts travel through, one for each interface.
//!
//! Owns [`VrrpSocket`]. Bytes only: the engine writes and reads every header, the IP header included. Where that is
//! zero the kernel fills in source and identification, and always total length and checksum (raw(7), IP_HDRINCL).

use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

use nix::libc;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// VRRP's IP protocol number (RFC 9568 §5.1.1.4).
const PROTOCOL: i32 = 112;

/// Longer than any advert (20 to 60 bytes of IP header, at most 1036 of version 2); what is cut off here fails the
/// engine's check of the length.
const DATAGRAM_BYTES: usize = 2048;

/// Room for some hundred adverts while the daemon is not scheduled.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;

/// Datagrams read in one go, so that a flood cannot hold up our own adverts.
const READS_PER_WAKE: usize = 64;

/// Adverts of one interface, both ways.
#[derive(Debug)]
pub(super) struct VrrpSocket {
    socket: Socket,
}

impl VrrpSocket {
    /// A socket that hears and speaks on the interface called `name` alone, in `groups` and to its own addresses.
    ///
    /// # Errors
    /// The kernel's; without `CAP_NET_RAW` "operation not permitted".
    pub(super) fn open(name: &str, index: u32, groups: &[Ipv4Addr]) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(PROTOCOL)))?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.set_header_included_v4(true)?;
        socket.set_multicast_loop_v4(false)?;
        // Without this the socket would hear every group that any program on this host joined.
        socket.set_multicast_all_v4(false)?;
        for group in groups {
            socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index))?;
        }
        let mut opened = Self { socket };
        // Until it was bound to its interface it heard all of them.
        opened.receive(|_| {});
        Ok(opened)
    }

    /// Puts a whole datagram on the wire.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(&self, destination: Ipv4Addr, datagram: &[u8]) -> io::Result<()> {
        // A group is on this link by definition; a route must not lead it elsewhere.
        let flags = if destination.is_multicast() { libc::MSG_DONTROUTE } else { 0 };
        let address = SocketAddrV4::new(destination, 0).into();
        self.socket.send_to_with_flags(datagram, &address, flags).map(|_| ())
    }

    /// Gives `deliver` the datagrams that arrived, whole, up to a bound; the rest is there at the next call.
    pub(super) fn receive(&mut self, mut deliver: impl FnMut(&[u8])) {
        let mut buffer = [0; DATAGRAM_BYTES];
        for _ in 0..READS_PER_WAKE {
            match self.socket.read(&mut buffer) {
                Ok(length) => deliver(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing left; or the interface went down, which the kernel says by netlink as well.
                Err(_) => break,
            }
        }
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
