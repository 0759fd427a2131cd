//! Makes the LAN forget which hardware address had a virtual address before: gratuitous ARP, and over IPv6 unsolicited
//! neighbour advertisements. Asks it who has one: ARP probes, and neighbour solicitations.
//!
//! Owns [`Announcer`], [`Port`] and the frames.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use mainstay_engine::vrrp::ip::checksum;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

/// A hardware (MAC) address.
type Hardware = [u8; 6];

/// Where a frame for everybody goes.
const BROADCAST: Hardware = [0xff; 6];

/// Where a frame for every IPv6 node goes (RFC 2464 §7).
const ALL_NODES: Hardware = [0x33, 0x33, 0, 0, 0, 1];

/// Where a frame for the nodes whose addresses end like a given one goes begins (RFC 2464 §7).
const SOLICITED_NODE: [u8; 3] = [0x33, 0x33, 0xff];

/// Every IPv6 node on a link (RFC 4291 §2.7.1).
const ALL_NODES_ADDRESS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// IPv6's next header of ICMPv6.
const ICMPV6: u8 = 58;

/// An interface as a packet socket knows it.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) link: LinkAddr,
    pub(super) hardware: Hardware,
}

/// Announces addresses on one interface.
#[derive(Debug)]
pub(super) struct Announcer {
    socket: OwnedFd,
    port: Port,
}

impl Port {
    /// Of the interface called `name`.
    ///
    /// # Errors
    /// The kernel's, or that the interface has no hardware address.
    pub(super) fn of(name: &str) -> io::Result<Self> {
        let link = getifaddrs()?
            .filter(|entry| entry.interface_name == name)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let hardware = link
            .addr()
            .filter(|hardware| link.halen() == hardware.len() && *hardware != [0; 6])
            .ok_or_else(|| io::Error::other("it has no Ethernet address"))?;
        Ok(Self { link, hardware })
    }
}

impl Announcer {
    /// For the interface called `name`.
    ///
    /// # Errors
    /// The kernel's, or that the interface has no hardware address to announce.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let port = Port::of(name)?;
        // Protocol 0: sends, and hears nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, port })
    }

    /// Tells everybody on the link once that `address` is here.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn announce(&self, address: IpAddr) -> io::Result<()> {
        self.send(&match address {
            IpAddr::V4(address) => gratuitous_arp(self.port.hardware, address),
            IpAddr::V6(address) => neighbour_advertisement(self.port.hardware, address),
        })
    }

    /// Asks everybody on the link once who has `address`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn probe(&self, address: IpAddr) -> io::Result<()> {
        self.send(&match address {
            IpAddr::V4(address) => arp_probe(self.port.hardware, address),
            IpAddr::V6(address) => neighbour_solicitation(self.port.hardware, address),
        })
    }

    /// Puts a whole frame on the wire.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn send(&self, frame: &[u8]) -> io::Result<()> {
        sendto(self.socket.as_raw_fd(), frame, &self.port.link, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

/// An ARP request (RFC 826) whose sender and target are both `address` (RFC 5944 §4.6), with a target hardware address
/// of all ones as Keepalived sends it.
pub(super) fn gratuitous_arp(hardware: Hardware, address: Ipv4Addr) -> Vec<u8> {
    arp_request(hardware, address, BROADCAST, address)
}

/// An ARP request for `address` whose sender has none, so that nobody's cache changes (RFC 5227 §2.1.1).
pub(super) fn arp_probe(hardware: Hardware, address: Ipv4Addr) -> Vec<u8> {
    arp_request(hardware, Ipv4Addr::UNSPECIFIED, [0; 6], address)
}

fn arp_request(hardware: Hardware, sender: Ipv4Addr, target_hardware: Hardware, target: Ipv4Addr) -> Vec<u8> {
    const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
    const ETHERNET_IPV4_REQUEST: [u8; 8] = [0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01];
    let parts: [&[u8]; 8] = [
        &BROADCAST,
        &hardware,
        &ETHERTYPE_ARP,
        &ETHERNET_IPV4_REQUEST,
        &hardware,
        &sender.octets(),
        &target_hardware,
        &target.octets(),
    ];
    parts.concat()
}

/// An unsolicited neighbour advertisement (RFC 4861 §4.4) from `address` to all nodes that overrides what they have
/// cached (§7.2.6). A balancer is no router to them.
pub(super) fn neighbour_advertisement(hardware: Hardware, address: Ipv6Addr) -> Vec<u8> {
    const ADVERTISEMENT: u8 = 136;
    const OVERRIDE: [u8; 4] = [0x20, 0, 0, 0];
    const TARGET_LINK_LAYER_ADDRESS: [u8; 2] = [2, 1];
    let body: [&[u8]; 4] = [&OVERRIDE, &address.octets(), &TARGET_LINK_LAYER_ADDRESS, &hardware];
    neighbour_message((hardware, ALL_NODES), (address, ALL_NODES_ADDRESS), ADVERTISEMENT, &body.concat())
}

/// A neighbour solicitation (RFC 4861 §4.3) for `address` whose sender has none, as in duplicate address detection
/// (RFC 4862 §5.4.2): who has it answers to all nodes.
pub(super) fn neighbour_solicitation(hardware: Hardware, address: Ipv6Addr) -> Vec<u8> {
    const SOLICITATION: u8 = 135;
    let [.., a, b, c] = address.octets();
    let [x, y, z] = SOLICITED_NODE;
    // ff02::1:ff00:0/104 and the last three bytes (RFC 4291 §2.7.1).
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let body: [&[u8]; 2] = [&[0; 4], &address.octets()];
    let hardwares = (hardware, [x, y, z, a, b, c]);
    neighbour_message(hardwares, (Ipv6Addr::UNSPECIFIED, group), SOLICITATION, &body.concat())
}

/// A message of neighbour discovery in its frame. Hardware and IPv6 addresses are from, then to.
fn neighbour_message(
    (hardware, to_hardware): (Hardware, Hardware),
    (source, destination): (Ipv6Addr, Ipv6Addr),
    kind: u8,
    body: &[u8],
) -> Vec<u8> {
    const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
    let length = u8::try_from(4 + body.len()).unwrap_or(u8::MAX);
    let pseudo_header: [&[u8]; 4] =
        [&source.octets(), &destination.octets(), &[0, 0, 0, length], &[0, 0, 0, ICMPV6]];
    let sum = checksum(&[&pseudo_header.concat(), &[kind, 0], body]);
    let parts: [&[u8]; 9] = [
        &to_hardware,
        &hardware,
        &ETHERTYPE_IPV6,
        // Version 6, and a hop limit that proves that it comes from this link (RFC 4861 §7.1.2).
        &[0x60, 0, 0, 0, 0, length, ICMPV6, 255],
        &source.octets(),
        &destination.octets(),
        &[kind, 0],
        &sum.to_be_bytes(),
        body,
    ];
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_is_the_one_keepalived_sends() {
        let frame = gratuitous_arp([2, 0, 0, 0, 0, 7], Ipv4Addr::new(10, 9, 0, 100));
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // request
            2, 0, 0, 0, 0, 7, 10, 9, 0, 100, // sender
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 10, 9, 0, 100, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn a_probe_changes_nobodys_cache() {
        let frame = arp_probe([2, 0, 0, 0, 0, 7], Ipv4Addr::new(10, 9, 0, 100));
        let expected = [
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 7, 0x08, 0x06, // Ethernet
            0, 1, 8, 0, 6, 4, 0, 1, // request
            2, 0, 0, 0, 0, 7, 0, 0, 0, 0, // sender
            0, 0, 0, 0, 0, 0, 10, 9, 0, 100, // target
        ];
        assert_eq!(frame, expected);
    }

    #[test]
    fn the_neighbour_solicitation_is_that_of_duplicate_address_detection() {
        let address: Ipv6Addr = "2001:db8::64".parse().unwrap();
        let frame = neighbour_solicitation([2, 0, 0, 0, 0, 7], address);
        assert_eq!(frame.len(), 14 + 40 + 24);
        assert_eq!(frame[..14], [0x33, 0x33, 0xff, 0, 0, 0x64, 2, 0, 0, 0, 0, 7, 0x86, 0xdd]);
        assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 24, 58, 255]);
        assert_eq!(frame[22..38], [0; 16]);
        let group: Ipv6Addr = "ff02::1:ff00:64".parse().unwrap();
        assert_eq!(frame[38..54], group.octets());
        assert_eq!((frame[54], &frame[62..78]), (135, &address.octets()[..]));
        assert_eq!(checksum(&[&frame[22..54], &[0, 0, 0, 24, 0, 0, 0, 58], &frame[54..]]), 0);
    }

    /// Keepalived 2.2.7's, captured from the installed package; RFC 4861 §4.4 and §7.2.6.
    #[test]
    fn the_neighbour_advertisement_is_the_one_keepalived_sends() {
        let frame = neighbour_advertisement([2, 0, 0, 0, 0, 1], "fd00:9::100".parse().unwrap());
        let expected = [
            0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0x86, 0xdd, // Ethernet
            0x60, 0, 0, 0, 0, 32, 0x3a, 0xff, // IPv6
            0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, // source
            0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, // all nodes
            0x88, 0, 0x58, 0x8b, 0x20, 0, 0, 0, // advertisement, override
            0xfd, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, // target
            2, 1, 2, 0, 0, 0, 0, 1, // its link-layer address
        ];
        assert_eq!(frame, expected);
    }
}
