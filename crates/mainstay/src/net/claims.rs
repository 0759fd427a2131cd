//! Who else on a link says that it has a virtual address: in ARP (RFC 826), and over IPv6 in neighbour advertisements.
//!
//! Owns [`ClaimWatch`], a packet socket whose filter in the kernel passes only frames about the addresses asked for, so
//! that the rest of the LAN wakes nobody. It also hears what asks nothing: every ARP message tells its sender's address.
//! Frames that this machine sends do not reach it: the kernel shows those to sockets for all protocols alone.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use mainstay_engine::plan::Family;
use mainstay_engine::plan::HardwareAddress;
use mainstay_engine::time::Instant;
use nix::libc;
use nix::sys::socket::bind;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};

use super::announce::Port;
use crate::clock;

/// Frames read in one go, so that a flood cannot hold up an order.
const READS_PER_WAKE: usize = 64;

/// Claims passed on in a second; a conflict makes one or two, and those of a flood are all alike.
const CLAIMS_PER_SECOND: usize = 64;

/// An Ethernet header, an IPv6 header and as much of a neighbour advertisement as matters; longer frames are cut.
const FRAME_BYTES: usize = 128;

/// Where things are in an Ethernet frame with ARP for IPv4, and what they are.
const ARP_FORM: usize = 14;
const ARP_FORM_IPV4: [u8; 6] = [0x00, 0x01, 0x08, 0x00, 6, 4];
const ARP_SENDER_HARDWARE: usize = 22;
const ARP_SENDER: usize = 28;
/// Where things are in an Ethernet frame with a neighbour advertisement behind an IPv6 header, and what they are.
const ETHERNET_SOURCE: usize = 6;
const IPV6_NEXT_HEADER: usize = 20;
const IPV6_HOP_LIMIT: usize = 21;
const ICMPV6_TYPE: usize = 54;
const ADVERTISED: usize = 62;
const ICMPV6: u8 = 58;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
/// Proves that a neighbour message comes from this link (RFC 4861 §7.1.2).
const LINK_HOP_LIMIT: u8 = 255;

/// Watches one interface for claims to addresses of one family.
#[derive(Debug)]
pub(super) struct ClaimWatch {
    socket: Socket,
    family: Family,
    own: HardwareAddress,
    index: usize,
    /// The begin of the second that is counted, and the claims in it.
    second: (Instant, usize),
}

impl ClaimWatch {
    /// A watch on the interface called `name` for `addresses`, which are all of `family`.
    ///
    /// # Errors
    /// The kernel's, or that the interface has no Ethernet address.
    pub(super) fn open(name: &str, family: Family, addresses: &[IpAddr]) -> io::Result<Self> {
        let port = Port::of(name)?;
        let (protocol, filter) = match family {
            Family::Ipv4 => (libc::ETH_P_ARP, arp_filter(addresses)),
            Family::Ipv6 => (libc::ETH_P_IPV6, neighbour_filter(addresses)),
        };
        // A packet socket takes its protocol in network byte order (packet(7)).
        let protocol = u16::try_from(protocol).unwrap_or_default().to_be();
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(protocol))))?;
        socket.set_nonblocking(true)?;
        socket.attach_filter(&filter)?;
        bind(socket.as_raw_fd(), &port.link)?;
        let mut opened = Self {
            socket,
            family,
            own: HardwareAddress(port.hardware),
            index: port.link.ifindex(),
            second: (clock::now(), 0),
        };
        // Until it was bound to its interface it heard all of them.
        opened.receive(|_, _| {});
        Ok(opened)
    }

    /// Whether it watches that interface, as it is now.
    pub(super) fn is_of(&self, port: &Port) -> bool {
        (self.own, self.index) == (HardwareAddress(port.hardware), port.link.ifindex())
    }

    /// Gives `deliver` every claim of another machine that arrived, up to a bound; the rest is there at the next call.
    /// Beyond [`CLAIMS_PER_SECOND`], claims are dropped.
    pub(super) fn receive(&mut self, mut deliver: impl FnMut(IpAddr, HardwareAddress)) {
        let now = clock::now();
        if now.since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        let mut buffer = [0; FRAME_BYTES];
        for _ in 0..READS_PER_WAKE {
            match self.socket.read(&mut buffer) {
                Ok(length) => {
                    let frame = buffer.get(..length).unwrap_or_default();
                    let claim = match self.family {
                        Family::Ipv4 => arp_claim(frame),
                        Family::Ipv6 => neighbour_claim(frame),
                    };
                    // A loop in the LAN brings back what this machine sent.
                    let Some((address, hardware)) = claim.filter(|&(_, hardware)| hardware != self.own)
                    else {
                        continue;
                    };
                    self.second.1 += 1;
                    if self.second.1 <= CLAIMS_PER_SECOND {
                        deliver(address, hardware);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing left; or the interface went down, which the kernel says by netlink as well.
                Err(_) => break,
            }
        }
    }
}

impl AsFd for ClaimWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The sender of an ARP message. A probe has none, and asks.
fn arp_claim(frame: &[u8]) -> Option<(IpAddr, HardwareAddress)> {
    let form: [u8; 6] = field(frame, ARP_FORM)?;
    let hardware = HardwareAddress(field(frame, ARP_SENDER_HARDWARE)?);
    let sender = Ipv4Addr::from(field::<4>(frame, ARP_SENDER)?);
    (form == ARP_FORM_IPV4 && !sender.is_unspecified()).then_some((sender.into(), hardware))
}

/// The target of a neighbour advertisement, which its sender has.
fn neighbour_claim(frame: &[u8]) -> Option<(IpAddr, HardwareAddress)> {
    let [kind] = field(frame, ICMPV6_TYPE)?;
    let ([next_header], [hop_limit]) = (field(frame, IPV6_NEXT_HEADER)?, field(frame, IPV6_HOP_LIMIT)?);
    let hardware = HardwareAddress(field(frame, ETHERNET_SOURCE)?);
    let target = Ipv6Addr::from(field::<16>(frame, ADVERTISED)?);
    let is_one = (next_header, kind, hop_limit) == (ICMPV6, NEIGHBOUR_ADVERTISEMENT, LINK_HOP_LIMIT);
    is_one.then_some((target.into(), hardware))
}

fn field<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..)?.first_chunk().copied()
}

/// Passes ARP messages whose sender is one of `addresses`.
fn arp_filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = vec![load(libc::BPF_W, ARP_SENDER)];
    for address in addresses {
        if let IpAddr::V4(address) = address {
            program.extend([unless_equal(address.to_bits(), 1), pass()]);
        }
    }
    program.push(drop_it());
    program
}

/// Passes neighbour advertisements whose target is one of `addresses`.
fn neighbour_filter(addresses: &[IpAddr]) -> Vec<SockFilter> {
    let mut program = Vec::new();
    for (at, value) in [(IPV6_NEXT_HEADER, ICMPV6), (ICMPV6_TYPE, NEIGHBOUR_ADVERTISEMENT)] {
        let skip_the_drop =
            SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 1, 0, value.into());
        program.extend([load(libc::BPF_B, at), skip_the_drop, drop_it()]);
    }
    for address in addresses {
        let IpAddr::V6(address) = address else { continue };
        for (word, bytes) in address.octets().chunks_exact(4).enumerate() {
            let value = bytes.iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
            // To the next address: over the words left, two instructions each, and the pass.
            let over = [7, 5, 3, 1].get(word).copied().unwrap_or(1);
            program.extend([load(libc::BPF_W, ADVERTISED + 4 * word), unless_equal(value, over)]);
        }
        program.push(pass());
    }
    program.push(drop_it());
    program
}

fn load(size: u32, at: usize) -> SockFilter {
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    SockFilter::new(code(libc::BPF_LD | size | libc::BPF_ABS), 0, 0, at)
}

/// Goes on if the loaded word is `value`, and else skips `over` instructions.
fn unless_equal(value: u32, over: u8) -> SockFilter {
    SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, over, value)
}

fn pass() -> SockFilter {
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX)
}

fn drop_it() -> SockFilter {
    SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0)
}

/// The kernel's codes have 16 bits.
fn code(code: u32) -> u16 {
    u16::try_from(code).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::announce::{
        arp_probe, gratuitous_arp, neighbour_advertisement, neighbour_solicitation,
    };
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_announcement_is_a_claim_and_a_probe_is_none() {
        let address = Ipv4Addr::new(10, 9, 0, 100);
        assert_eq!(arp_claim(&gratuitous_arp(MAC, address)), Some((address.into(), HardwareAddress(MAC))));
        assert_eq!(arp_claim(&arp_probe(MAC, address)), None);
        let address: Ipv6Addr = "2001:db8::64".parse().unwrap();
        let advertisement = neighbour_advertisement(MAC, address);
        assert_eq!(neighbour_claim(&advertisement), Some((address.into(), HardwareAddress(MAC))));
        assert_eq!(neighbour_claim(&neighbour_solicitation(MAC, address)), None);
        let mut from_afar = advertisement;
        from_afar[IPV6_HOP_LIMIT] = 64;
        assert_eq!(neighbour_claim(&from_afar), None);
    }

    #[test]
    fn frames_that_are_cut_off_claim_nothing() {
        let arp = gratuitous_arp(MAC, Ipv4Addr::new(10, 9, 0, 100));
        let advertisement = neighbour_advertisement(MAC, "2001:db8::64".parse().unwrap());
        assert!((0..ARP_SENDER + 4).all(|length| arp_claim(&arp[..length]).is_none()));
        assert!((0..ADVERTISED + 16).all(|length| neighbour_claim(&advertisement[..length]).is_none()));
    }
}
