//! Questions and orders to the kernel by rtnetlink: what an interface can do, which addresses it has, add, remove.
//!
//! Owns [`Netlink`]. Every request waits for its answer. The kernel carries a request out inside `send`, so the answer
//! is there as soon as `send` returns; [`ANSWER_PATIENCE`] is for answers that got lost.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use mainstay_engine::plan::{Scope, VirtualAddress};
use netlink_packet_core::{
    Emitable, ErrorBuffer, NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REPLACE, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NetlinkMessage,
};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo,
};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkHeader, LinkMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::wire;

/// How long an answer may take once the kernel has the request.
const ANSWER_PATIENCE: Duration = Duration::from_millis(250);

/// The lifetime that never ends (`INFINITY_LIFE_TIME`).
const FOR_EVER: u32 = u32::MAX;

/// A conversation with the kernel about interfaces and addresses.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

/// An interface as the kernel has it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// Its index: another one under the same name is another interface.
    pub(super) index: u32,
    /// Administratively up, with a carrier.
    pub(super) running: bool,
}

/// An address as the kernel has it now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The address.
    pub(super) address: IpAddr,
    /// Length of its network's prefix, in bits.
    pub(super) prefix_length: u8,
    /// Whether another address of the same network came first.
    pub(super) secondary: bool,
    /// Whether duplicate address detection has not cleared it, or found a duplicate.
    pub(super) tentative: bool,
}

impl Netlink {
    /// Opens the conversation.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Lets the kernel pick the addresses of one interface instead of sending all of a node's.
        socket.set_netlink_get_strict_chk(true)?;
        let patience = TimeVal::milliseconds(i64::try_from(ANSWER_PATIENCE.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &patience)?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The interface called `name`; `None` if there is none.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn link(&mut self, name: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let mut found = None;
        let answer =
            self.request(RouteNetlinkMessage::GetLink(message), NLM_F_REQUEST | NLM_F_ACK, |_, body| {
                // The header alone: link attributes differ between kernels, and none of them is needed.
                if let Ok(header) = LinkHeader::parse(body) {
                    let running = header.flags.contains(LinkFlags::Up | LinkFlags::Running);
                    found = Some(Link { index: header.index, running });
                }
            });
        match answer {
            Err(error) if is(&error, Errno::ENODEV) => Ok(None),
            answer => answer.map(|()| found),
        }
    }

    /// The addresses of the interface with `index`, of both families, in the kernel's order.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn addresses(&mut self, index: u32) -> io::Result<Vec<Address>> {
        let mut found = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = AddressMessage::default();
            message.header.family = family;
            message.header.index = index;
            let flags = NLM_F_REQUEST | NLM_F_DUMP;
            let answer = self.request(RouteNetlinkMessage::GetAddress(message), flags, |_, body| {
                found.extend(wire::address(body).filter(|&(of, _)| of == index).map(|(_, address)| address));
            });
            match answer {
                // The interface went away between two questions, or this kernel has no IPv6.
                Err(error) if is(&error, Errno::ENODEV) || is(&error, Errno::EAFNOSUPPORT) => {}
                answer => answer?,
            }
        }
        Ok(found)
    }

    /// Puts `address` on the interface with `index`, or renews its lifetime if it is there.
    ///
    /// The kernel never prefers it as a source address, and removes it `lifetime` after the last call, rounded up to
    /// whole seconds; `None` is never. The route to its network has `route_metric`, the kernel's own by default.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn install(
        &mut self,
        index: u32,
        address: &VirtualAddress,
        lifetime: Option<Duration>,
        route_metric: Option<u32>,
    ) -> io::Result<()> {
        let mut message = address_message(index, address);
        let mut cache = CacheInfo::default();
        cache.ifa_preferred = 0;
        cache.ifa_valid = lifetime.map_or(FOR_EVER, whole_seconds);
        message.attributes.push(AddressAttribute::CacheInfo(cache));
        message.attributes.extend(route_metric.map(AddressAttribute::RoutePriority));
        if let Some(label) = &address.label {
            message.attributes.push(AddressAttribute::Label(label.clone()));
        }
        if let Some(broadcast) = address.broadcast {
            message.attributes.push(AddressAttribute::Broadcast(broadcast));
        }
        if address.address.is_ipv6() {
            // Duplicate address detection would keep a virtual address from answering for a second.
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RouteNetlinkMessage::NewAddress(message), flags, |_, _| {})
    }

    /// Takes `address` off the interface with `index`. Returns whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn remove(&mut self, index: u32, address: &VirtualAddress) -> io::Result<bool> {
        let message = RouteNetlinkMessage::DelAddress(address_message(index, address));
        match self.request(message, NLM_F_REQUEST | NLM_F_ACK, |_, _| {}) {
            Err(error) if is(&error, Errno::EADDRNOTAVAIL) || is(&error, Errno::ENODEV) => Ok(false),
            answer => answer.map(|()| true),
        }
    }

    /// Sends one request and hands every message of its answer to `each`, until the kernel says that it was the last.
    pub(super) fn request(
        &mut self,
        request: RouteNetlinkMessage,
        flags: u16,
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, request.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        self.socket.send(&bytes, 0)?;
        loop {
            let (datagram, _) = self.socket.recv_from_full().map_err(explain_silence)?;
            for message in wire::Messages::new(&datagram) {
                // Left over from a request that gave up waiting.
                if message.sequence_number() != self.sequence {
                    continue;
                }
                match message.message_type() {
                    NLMSG_ERROR => return error_of(&message),
                    NLMSG_DONE => return Ok(()),
                    kind => each(kind, message.payload()),
                }
            }
        }
    }
}

fn address_message(index: u32, address: &VirtualAddress) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family =
        if address.address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = address.prefix_length;
    message.header.scope = scope(address.scope);
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.address));
    message.attributes.push(AddressAttribute::Address(address.address));
    message
}

fn scope(scope: Scope) -> AddressScope {
    match scope {
        Scope::Global => AddressScope::Universe,
        Scope::Site => AddressScope::Site,
        Scope::Link => AddressScope::Link,
        Scope::Host => AddressScope::Host,
        Scope::Other(number) => AddressScope::from(number),
    }
}

fn whole_seconds(lifetime: Duration) -> u32 {
    let seconds = lifetime.as_secs().saturating_add(u64::from(lifetime.subsec_nanos() > 0));
    u32::try_from(seconds).unwrap_or(FOR_EVER)
}

fn error_of(message: &NetlinkBuffer<&[u8]>) -> io::Result<()> {
    let error = ErrorBuffer::new_checked(message.payload())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    match error.code() {
        None => Ok(()),
        Some(code) => Err(io::Error::from_raw_os_error(code.get().saturating_neg())),
    }
}

fn explain_silence(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer a netlink request")
    } else {
        error
    }
}

pub(super) fn is(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_rounded_up_to_whole_seconds() {
        let seconds = [0, 1, 1000, 1001].map(|millis| whole_seconds(Duration::from_millis(millis)));
        assert_eq!(seconds, [0, 1, 1, 2]);
        assert_eq!(whole_seconds(Duration::MAX), FOR_EVER);
    }
}
