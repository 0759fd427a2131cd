//! Reads the parts of rtnetlink messages that matter here, and survives all others.
//!
//! Owns [`Messages`], the messages of one datagram, and the readers of their bodies. Attributes that a newer kernel
//! adds are skipped, never refused: a link that cannot be read would take a router down.

use std::net::IpAddr;

use netlink_packet_core::{NetlinkBuffer, NlasIterator, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::LinkHeader;

use super::links::Identity;
use super::netlink::Address;

/// Length of a link message's fixed part (`struct ifinfomsg`).
const LINK_HEADER_BYTES: usize = 16;

/// The attribute with a link's name (`IFLA_IFNAME`).
const LINK_NAME: u16 = 3;

/// The attribute with a link's hardware address (`IFLA_ADDRESS`).
const LINK_ADDRESS: u16 = 1;

/// The attribute with what a link is (`IFLA_LINKINFO`), and the one in it with its kind (`IFLA_INFO_KIND`).
const LINK_INFO: u16 = 18;
const INFO_KIND: u16 = 1;

/// Marks an attribute that holds others (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;

/// Netlink messages are padded to this many bytes (`NLMSG_ALIGNTO`).
const ALIGNMENT: usize = 4;

/// The messages of one datagram, up to the first broken one.
pub(crate) struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Of `datagram`.
    pub(crate) fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let message = NetlinkBuffer::new_checked(self.rest).ok()?;
        let length = usize::try_from(message.length()).ok()?.next_multiple_of(ALIGNMENT);
        self.rest = self.rest.get(length..).unwrap_or_default();
        Some(message)
    }
}

/// The index and name in the body of a link message.
pub(super) fn link_name(body: &[u8]) -> Option<(u32, String)> {
    let index = LinkHeader::parse(body).ok()?.index;
    let name = NlasIterator::new(body.get(LINK_HEADER_BYTES..)?)
        .filter_map(Result::ok)
        .find(|attribute| attribute.kind() == LINK_NAME)?;
    let name = name.value().strip_suffix(&[0])?;
    Some((index, String::from_utf8_lossy(name).into_owned()))
}

/// What tells a link from others in the body of a link message.
pub(super) fn link_identity(body: &[u8]) -> Option<Identity> {
    let attributes = body.get(LINK_HEADER_BYTES..)?;
    let hardware = attribute(attributes, LINK_ADDRESS).and_then(|found| found.try_into().ok());
    let kind = attribute(attributes, LINK_INFO).and_then(|info| attribute(&info, INFO_KIND));
    let kind = kind.map(|kind| String::from_utf8_lossy(&kind).trim_end_matches('\0').to_owned());
    Some(Identity { kind, hardware })
}

fn attribute(attributes: &[u8], wanted: u16) -> Option<Vec<u8>> {
    let mut all = NlasIterator::new(attributes).filter_map(Result::ok);
    all.find(|attribute| attribute.kind() & !NESTED == wanted).map(|found| found.value().to_vec())
}

/// The interface index and the address in the body of an address message.
pub(super) fn address(body: &[u8]) -> Option<(u32, Address)> {
    let message = AddressMessage::parse(body).ok()?;
    let address = local_address(&message.attributes)?;
    let secondary = message.header.flags.contains(AddressHeaderFlags::Secondary);
    let unclear = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    // The same bit means "secondary" for IPv4 and "temporary" for IPv6, which is no reason to come later.
    let secondary = secondary && address.is_ipv4();
    let tentative = message.header.flags.intersects(unclear);
    let prefix_length = message.header.prefix_len;
    Some((message.header.index, Address { address, prefix_length, secondary, tentative }))
}

/// On a point-to-point interface `IFA_ADDRESS` is the peer's; `IFA_LOCAL`, when there is one, is always ours.
fn local_address(attributes: &[AddressAttribute]) -> Option<IpAddr> {
    let local = attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_messages_end_a_datagram_quietly() {
        for bytes in [&[][..], &[1, 2, 3], &[255; 40], &[16, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]] {
            assert_eq!(Messages::new(bytes).count(), 0, "{bytes:?}");
        }
        // Two empty messages and the beginning of a third.
        let message = [16, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0];
        let datagram = [&message[..], &message, &message[..9]].concat();
        assert_eq!(Messages::new(&datagram).count(), 2);
    }

    #[test]
    fn bodies_that_are_too_short_have_no_name_and_no_address() {
        for length in 0..24 {
            let body = vec![0; length];
            assert_eq!(link_name(&body), None, "{length} bytes");
            assert!(address(&body).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn a_name_is_found_behind_attributes_nobody_knows() {
        let mut body = vec![0; LINK_HEADER_BYTES];
        body[4] = 9;
        body.extend([8, 0, 0xff, 0x3f, 1, 2, 3, 4]);
        body.extend([8, 0, 3, 0, b'l', b'a', b'n', 0]);
        assert_eq!(link_name(&body), Some((9, "lan".to_owned())));
    }
}
