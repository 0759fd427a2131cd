//! Makes the LAN forget which hardware address had a virtual address before: gratuitous ARP.
//!
//! Owns [`Announcer`] and the frame.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};

/// A hardware (MAC) address.
type Hardware = [u8; 6];

/// Where a frame for everybody goes.
const BROADCAST: Hardware = [0xff; 6];

/// Ethernet (14 bytes) and ARP for IPv4 (28 bytes).
const FRAME_BYTES: usize = 42;

/// Announces addresses on one interface.
#[derive(Debug)]
pub(super) struct Announcer {
    socket: OwnedFd,
    link: LinkAddr,
    hardware: Hardware,
}

impl Announcer {
    /// For the interface called `name`.
    ///
    /// # Errors
    /// The kernel's, or that the interface has no hardware address to announce.
    pub(super) fn open(name: &str) -> io::Result<Self> {
        let link = getifaddrs()?
            .filter(|entry| entry.interface_name == name)
            .find_map(|entry| entry.address?.as_link_addr().copied())
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let hardware = link
            .addr()
            .filter(|hardware| link.halen() == hardware.len() && *hardware != [0; 6])
            .ok_or_else(|| io::Error::other("it has no Ethernet address"))?;
        // Protocol 0: sends, and hears nothing.
        let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
        Ok(Self { socket, link, hardware })
    }

    /// Broadcasts one gratuitous ARP request for `address`.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn announce(&self, address: Ipv4Addr) -> io::Result<()> {
        let frame = gratuitous_arp(self.hardware, address);
        sendto(self.socket.as_raw_fd(), &frame, &self.link, MsgFlags::MSG_DONTWAIT)?;
        Ok(())
    }
}

/// An ARP request (RFC 826) whose sender and target are both `address` (RFC 5944 §4.6), with a target hardware address
/// of all ones as Keepalived sends it.
fn gratuitous_arp(hardware: Hardware, address: Ipv4Addr) -> [u8; FRAME_BYTES] {
    const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
    const ETHERNET_IPV4_REQUEST: [u8; 8] = [0x00, 0x01, 0x08, 0x00, 6, 4, 0x00, 0x01];
    let parts: [&[u8]; 8] = [
        &BROADCAST,
        &hardware,
        &ETHERTYPE_ARP,
        &ETHERNET_IPV4_REQUEST,
        &hardware,
        &address.octets(),
        &BROADCAST,
        &address.octets(),
    ];
    let mut frame = [0; FRAME_BYTES];
    for (to, from) in frame.iter_mut().zip(parts.into_iter().flatten()) {
        *to = *from;
    }
    frame
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
}
