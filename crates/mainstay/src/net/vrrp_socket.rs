//! The raw sockets that adverts travel through, one for each interface and family.
//!
//! Owns [`VrrpSocket`]. Bytes only: the engine writes and reads every header, the IP header included. Of IPv4 the kernel
//! fills in total length and checksum (raw(7), IP_HDRINCL). Of IPv6 it takes a header and gives none: the one in front
//! of what arrives is made of what it says about the datagram (RFC 3542 §6.1).

use std::io::{self, IoSliceMut, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use mainstay_engine::plan::Family;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, setsockopt, sockopt};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

/// VRRP's IP protocol number (RFC 9568 §5.1.1.4).
const PROTOCOL: u8 = 112;

/// Longer than any advert (20 to 60 bytes of IPv4 header and at most 1036 of version 2; over IPv6 the MTU ends it
/// sooner); what is cut off here fails the engine's check of the length.
const DATAGRAM_BYTES: usize = 8192;

/// An IPv6 header.
const IPV6_HEADER_BYTES: usize = 40;

/// Room for some hundred adverts while the daemon is not scheduled.
const RECEIVE_BUFFER_BYTES: usize = 256 * 1024;

/// `TC_PRIO_CONTROL`, as Keepalived's: a queue of an interface that is full of other traffic lets adverts pass.
const CONTROL_TRAFFIC: u32 = 7;

/// Datagrams read in one go, so that a flood cannot hold up our own adverts.
const READS_PER_WAKE: usize = 64;

/// Adverts of one interface and family, both ways.
#[derive(Debug)]
pub(super) struct VrrpSocket {
    socket: Socket,
    family: Family,
    /// The interface's, which link-local destinations need.
    index: u32,
}

impl VrrpSocket {
    /// A socket that hears and speaks on the interface called `name` alone, in `groups` and to its own addresses.
    ///
    /// # Errors
    /// The kernel's; without `CAP_NET_RAW` "operation not permitted".
    pub(super) fn open(name: &str, index: u32, family: Family, groups: &[IpAddr]) -> io::Result<Self> {
        let domain = match family {
            Family::Ipv4 => Domain::IPV4,
            Family::Ipv6 => Domain::IPV6,
        };
        let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(PROTOCOL))))?;
        socket.bind_device(Some(name.as_bytes()))?;
        socket.set_nonblocking(true)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
        socket.set_priority(CONTROL_TRAFFIC)?;
        match family {
            Family::Ipv4 => {
                socket.set_header_included_v4(true)?;
                socket.set_multicast_loop_v4(false)?;
                // Without this the socket would hear every group that any program on this host joined.
                socket.set_multicast_all_v4(false)?;
            }
            Family::Ipv6 => {
                socket.set_header_included_v6(true)?;
                socket.set_multicast_loop_v6(false)?;
                socket.set_multicast_all_v6(false)?;
                setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
                setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
            }
        }
        for group in groups {
            match group {
                IpAddr::V4(group) => {
                    socket.join_multicast_v4_n(group, &InterfaceIndexOrAddress::Index(index))?;
                }
                IpAddr::V6(group) => socket.join_multicast_v6(group, index)?,
            }
        }
        let opened = Self { socket, family, index };
        // Until it was bound to its interface it heard all of them.
        opened.receive(|_| {});
        Ok(opened)
    }

    /// Puts a whole datagram on the wire.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(&self, destination: IpAddr, datagram: &[u8]) -> io::Result<()> {
        // A group is on this link by definition; a route must not lead it elsewhere.
        let flags = if destination.is_multicast() { libc::MSG_DONTROUTE } else { 0 };
        let address = match destination {
            IpAddr::V4(destination) => SocketAddr::from((destination, 0)),
            IpAddr::V6(destination) => SocketAddrV6::new(destination, 0, 0, self.index).into(),
        };
        self.socket.send_to_with_flags(datagram, &address.into(), flags).map(|_| ())
    }

    /// Gives `deliver` the datagrams that arrived, whole, up to a bound; the rest is there at the next call.
    pub(super) fn receive(&self, mut deliver: impl FnMut(&[u8])) {
        let mut buffer = [0; DATAGRAM_BYTES];
        for _ in 0..READS_PER_WAKE {
            let received = match self.family {
                Family::Ipv4 => (&self.socket).read(&mut buffer),
                Family::Ipv6 => self.receive_ipv6(&mut buffer),
            };
            match received {
                Ok(length) => deliver(buffer.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing left; or the interface went down, which the kernel says by netlink as well.
                Err(_) => break,
            }
        }
    }

    /// Receives a message behind room for its header, and writes the header. Returns the length of both.
    fn receive_ipv6(&self, buffer: &mut [u8; DATAGRAM_BYTES]) -> io::Result<usize> {
        let (header, message) = buffer.split_at_mut(IPV6_HEADER_BYTES);
        let mut space = cmsg_space!(libc::in6_pktinfo, libc::c_int);
        let mut parts = [IoSliceMut::new(message)];
        let received = recvmsg::<SockaddrIn6>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut space),
            MsgFlags::MSG_DONTWAIT,
        )?;
        let source = received.address.map(|address| address.ip()).ok_or(Errno::EPROTO)?;
        let (mut destination, mut hop_limit) = (Ipv6Addr::UNSPECIFIED, 0);
        for said in received.cmsgs()? {
            match said {
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    destination = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                }
                ControlMessageOwned::Ipv6HopLimit(limit) => hop_limit = u8::try_from(limit).unwrap_or(0),
                _ => {}
            }
        }
        let length = received.bytes;
        for (to, from) in header.iter_mut().zip(ipv6_header(source, destination, hop_limit, length)) {
            *to = from;
        }
        Ok(IPV6_HEADER_BYTES + length)
    }
}

impl AsFd for VrrpSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The header (RFC 8200 §3) of a message that came alone.
fn ipv6_header(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    length: usize,
) -> impl Iterator<Item = u8> {
    let fixed = [0x60, 0, 0, 0];
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes();
    let rest = [PROTOCOL, hop_limit];
    fixed.into_iter().chain(length).chain(rest).chain(source.octets()).chain(destination.octets())
}
