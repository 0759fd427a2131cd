//! The bytes of ctnetlink: requests about connections, and the parts of its entries that matter here.
//!
//! Owns [`Request`] and [`Entry`]. Constants are those of the kernel's `nfnetlink_conntrack.h`. Whatever cannot be read is
//! no entry, and attributes that a newer kernel adds are skipped.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mainstay_engine::flows::Flow;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NLMSG_NOOP};
use nix::errno::Errno;
use nix::libc;

/// A connection as the kernel shows it, new or changed (`NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW`).
pub(super) const ENTRY: u16 = 0x100;
/// The same of one that is gone (`IPCTNL_MSG_CT_DELETE`), and the request for it.
pub(super) const ENTRY_GONE: u16 = 0x102;
const GET: u16 = 0x101;

/// Marks an attribute that holds others (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// The bits of an attribute's kind that say which it is (`NLA_TYPE_MASK`).
const KIND: u16 = 0x3fff;
const ALIGNMENT: usize = 4;
/// An attribute's length and kind.
const ATTRIBUTE_BYTES: usize = 4;
const HEADER_BYTES: usize = 16;
/// `struct nfgenmsg`.
const FAMILY_BYTES: usize = 4;

const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const STATUS: u16 = 3;
const PROTOCOL_INFO: u16 = 4;
const NAT_SOURCE: u16 = 6;
const TIMEOUT: u16 = 7;
const NAT_DESTINATION: u16 = 13;
/// Only there when it is not the usual one.
const ZONE: u16 = 18;

/// Inside a tuple.
const TUPLE_IP: u16 = 1;
const TUPLE_PROTOCOL: u16 = 2;
const IPV4_SOURCE: u16 = 1;
const IPV4_DESTINATION: u16 = 2;
const IPV6_SOURCE: u16 = 3;
const IPV6_DESTINATION: u16 = 4;
const PROTOCOL_NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const DESTINATION_PORT: u16 = 3;

/// Inside the protocol's information.
const INFO_TCP: u16 = 1;
const TCP_STATE: u16 = 1;
const TCP_FLAGS_ORIGINAL: u16 = 4;
const TCP_FLAGS_REPLY: u16 = 5;
/// `TCP_CONNTRACK_ESTABLISHED`.
const ESTABLISHED: u8 = 3;
/// `IP_CT_TCP_FLAG_BE_LIBERAL`: nobody knows the windows of a connection that began elsewhere.
const BE_LIBERAL: u8 = 0x08;

/// Inside what NAT does.
const NAT_IPV4: [u16; 2] = [1, 2];
const NAT_IPV6: [u16; 2] = [4, 5];
const NAT_PROTOCOL: u16 = 3;
const NAT_PORT: [u16; 2] = [1, 2];

const STATUS_SEEN_REPLY: u32 = 1 << 1;
const STATUS_ASSURED: u32 = 1 << 2;
/// In the table. Every entry that is created is, and the kernel takes it amiss if it is told otherwise.
const STATUS_CONFIRMED: u32 = 1 << 3;
const STATUS_SOURCE_NAT: u32 = 1 << 4;
const STATUS_DESTINATION_NAT: u32 = 1 << 5;

/// How long an entry stays that no packet has touched: longer than Linux waits before it probes an idle connection,
/// two hours. With the first packet it gets the time of any other established connection.
const UNTOUCHED: Duration = Duration::from_secs(3 * 3600);

/// A TCP connection to an endpoint, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Who talks to whom. Without NAT the server is the endpoint and its client the client.
    pub flow: Flow,
    /// The state of TCP, if this message says so.
    state: Option<u8>,
    status: u32,
}

impl Entry {
    /// Whether both sides have agreed on it and neither has begun to end it. A message that does not say the state
    /// is about something else, which happens to connections that are established.
    pub fn is_established(&self) -> bool {
        self.status & STATUS_ASSURED != 0 && self.state.is_none_or(|state| state == ESTABLISHED)
    }

    /// Whether the kernel rewrites both ends of it.
    pub fn is_rewritten(&self) -> bool {
        let both = STATUS_SOURCE_NAT | STATUS_DESTINATION_NAT;
        self.status & both == both
    }
}

/// Something to be done to one connection.
#[derive(Clone, Copy, Debug)]
pub(super) enum Request {
    Create(Flow),
    Delete(Flow),
    /// What there is of the same client.
    GetByClient(Flow),
    /// What the server takes for the same client.
    GetByReply(Flow),
}

impl Request {
    /// Appends it to `datagram`.
    pub(super) fn write(&self, datagram: &mut Vec<u8>, sequence: u32) {
        let new = NLM_F_CREATE | NLM_F_EXCL;
        let (kind, flags, flow) = match self {
            Self::Create(flow) => (ENTRY, NLM_F_REQUEST | new, flow),
            Self::Delete(flow) => (ENTRY_GONE, NLM_F_REQUEST, flow),
            Self::GetByClient(flow) | Self::GetByReply(flow) => (GET, NLM_F_REQUEST, flow),
        };
        message(datagram, kind, flags, sequence, |bytes| {
            family(bytes, flow.endpoint.is_ipv4());
            match self {
                Self::Create(flow) => create(bytes, flow),
                Self::GetByReply(flow) => tuple(bytes, TUPLE_REPLY, flow.server, flow.source),
                Self::Delete(flow) | Self::GetByClient(flow) => {
                    tuple(bytes, TUPLE_ORIGINAL, flow.client, flow.endpoint);
                }
            }
        });
    }
}

/// Appends a request that asks for nothing but its answer.
pub(super) fn write_end(datagram: &mut Vec<u8>, sequence: u32) {
    message(datagram, NLMSG_NOOP, NLM_F_REQUEST | NLM_F_ACK, sequence, |_| {});
}

/// The question for all connections of a family.
pub(super) fn dump(sequence: u32, ipv4: bool) -> Vec<u8> {
    let mut datagram = Vec::new();
    message(&mut datagram, GET, NLM_F_REQUEST | NLM_F_DUMP, sequence, |bytes| family(bytes, ipv4));
    datagram
}

fn create(bytes: &mut Vec<u8>, flow: &Flow) {
    tuple(bytes, TUPLE_ORIGINAL, flow.client, flow.endpoint);
    // As if nothing were rewritten: the kernel makes the real one of it and of what follows.
    tuple(bytes, TUPLE_REPLY, flow.endpoint, flow.client);
    nat(bytes, NAT_DESTINATION, flow.server);
    nat(bytes, NAT_SOURCE, flow.source);
    let status = STATUS_SEEN_REPLY | STATUS_ASSURED | STATUS_CONFIRMED;
    attribute(bytes, STATUS, &status.to_be_bytes());
    attribute(bytes, TIMEOUT, &u32::try_from(UNTOUCHED.as_secs()).unwrap_or(u32::MAX).to_be_bytes());
    nested(bytes, PROTOCOL_INFO, |bytes| {
        nested(bytes, INFO_TCP, |bytes| {
            attribute(bytes, TCP_STATE, &[ESTABLISHED]);
            for direction in [TCP_FLAGS_ORIGINAL, TCP_FLAGS_REPLY] {
                // The flags, and which of them are meant.
                attribute(bytes, direction, &[BE_LIBERAL, BE_LIBERAL]);
            }
        });
    });
}

fn message(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    debug_assert_eq!(bytes.len(), start + HEADER_BYTES);
    body(bytes);
    let length = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
    put(bytes, start, &length.to_ne_bytes());
}

fn family(bytes: &mut Vec<u8>, ipv4: bool) {
    let family = if ipv4 { libc::AF_INET } else { libc::AF_INET6 };
    bytes.extend([u8::try_from(family).unwrap_or(0), 0, 0, 0]);
}

fn tuple(bytes: &mut Vec<u8>, kind: u16, source: SocketAddr, destination: SocketAddr) {
    nested(bytes, kind, |bytes| {
        nested(bytes, TUPLE_IP, |bytes| {
            let kinds = if source.is_ipv4() {
                [IPV4_SOURCE, IPV4_DESTINATION]
            } else {
                [IPV6_SOURCE, IPV6_DESTINATION]
            };
            ip(bytes, kinds[0], source.ip());
            ip(bytes, kinds[1], destination.ip());
        });
        nested(bytes, TUPLE_PROTOCOL, |bytes| {
            attribute(bytes, PROTOCOL_NUMBER, &[u8::try_from(libc::IPPROTO_TCP).unwrap_or(0)]);
            attribute(bytes, SOURCE_PORT, &source.port().to_be_bytes());
            attribute(bytes, DESTINATION_PORT, &destination.port().to_be_bytes());
        });
    });
}

/// The least and the most of a range are the same: exactly this address and port.
fn nat(bytes: &mut Vec<u8>, kind: u16, to: SocketAddr) {
    nested(bytes, kind, |bytes| {
        let range = if to.is_ipv4() { NAT_IPV4 } else { NAT_IPV6 };
        range.into_iter().for_each(|kind| ip(bytes, kind, to.ip()));
        nested(bytes, NAT_PROTOCOL, |bytes| {
            NAT_PORT.into_iter().for_each(|kind| attribute(bytes, kind, &to.port().to_be_bytes()));
        });
    });
}

fn ip(bytes: &mut Vec<u8>, kind: u16, address: IpAddr) {
    match address {
        IpAddr::V4(address) => attribute(bytes, kind, &address.octets()),
        IpAddr::V6(address) => attribute(bytes, kind, &address.octets()),
    }
}

fn attribute(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let start = bytes.len();
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    end(bytes, start);
}

fn nested(bytes: &mut Vec<u8>, kind: u16, inside: impl FnOnce(&mut Vec<u8>)) {
    let start = bytes.len();
    bytes.extend(0_u16.to_ne_bytes());
    bytes.extend((kind | NESTED).to_ne_bytes());
    inside(bytes);
    end(bytes, start);
}

/// Writes the length of what began at `start`, and pads it.
fn end(bytes: &mut Vec<u8>, start: usize) {
    let length = u16::try_from(bytes.len() - start).unwrap_or(u16::MAX);
    put(bytes, start, &length.to_ne_bytes());
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
}

fn put(bytes: &mut [u8], start: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(start..start + value.len()) {
        place.copy_from_slice(value);
    }
}

/// The connection that the body of a message is about; `None` if it is not TCP, is in a zone, or cannot be read.
pub(super) fn entry(body: &[u8]) -> Option<Entry> {
    let (mut original, mut reply, mut state, mut status) = (None, None, None, 0);
    for (kind, value) in attributes(body.get(FAMILY_BYTES..)?) {
        match kind {
            TUPLE_ORIGINAL => original = Some(read_tuple(value)?),
            TUPLE_REPLY => reply = Some(read_tuple(value)?),
            STATUS => status = u32::from_be_bytes(value.try_into().ok()?),
            ZONE if value != [0, 0] => return None,
            PROTOCOL_INFO => state = find(find(value, INFO_TCP)?, TCP_STATE)?.first().copied(),
            _ => {}
        }
    }
    let ((client, endpoint), (server, source)) = (original?, reply?);
    Some(Entry { flow: Flow { client, endpoint, server, source }, state, status })
}

/// What the kernel complains about; `None` if it has done it.
pub(super) fn error(body: &[u8]) -> Option<Errno> {
    let (code, _) = body.split_first_chunk()?;
    let code = i32::from_ne_bytes(*code);
    (code != 0).then(|| Errno::from_raw(code.saturating_neg()))
}

fn read_tuple(bytes: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (mut source, mut destination) = (None, None);
    for (kind, value) in attributes(find(bytes, TUPLE_IP)?) {
        match kind {
            IPV4_SOURCE | IPV6_SOURCE => source = Some(read_ip(value)?),
            IPV4_DESTINATION | IPV6_DESTINATION => destination = Some(read_ip(value)?),
            _ => {}
        }
    }
    let (mut from, mut to) = (None, None);
    for (kind, value) in attributes(find(bytes, TUPLE_PROTOCOL)?) {
        match kind {
            PROTOCOL_NUMBER if value.first().copied().map(i32::from) != Some(libc::IPPROTO_TCP) => {
                return None;
            }
            SOURCE_PORT => from = Some(u16::from_be_bytes(value.try_into().ok()?)),
            DESTINATION_PORT => to = Some(u16::from_be_bytes(value.try_into().ok()?)),
            _ => {}
        }
    }
    Some((SocketAddr::new(source?, from?), SocketAddr::new(destination?, to?)))
}

fn read_ip(value: &[u8]) -> Option<IpAddr> {
    let ipv4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    ipv4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from)).ok()
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The attributes in `bytes`, up to the first broken one.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, rest) = bytes.split_first_chunk()?;
        let (kind, _) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(*length));
        let value = bytes.get(ATTRIBUTE_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((u16::from_ne_bytes(*kind) & KIND, value))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::net::Messages;

    fn flow() -> Flow {
        Flow {
            client: ([10, 1, 0, 1], 5000).into(),
            endpoint: ([10, 0, 0, 100], 6443).into(),
            server: ([10, 0, 0, 11], 6443).into(),
            source: ([10, 0, 0, 100], 5001).into(),
        }
    }

    /// As the kernel shows it.
    fn shown(protocol: u8) -> Vec<u8> {
        let (mut bytes, flow) = (Vec::new(), flow());
        family(&mut bytes, true);
        tuple(&mut bytes, TUPLE_ORIGINAL, flow.client, flow.endpoint);
        tuple(&mut bytes, TUPLE_REPLY, flow.server, flow.source);
        attribute(&mut bytes, STATUS, &0x3e_u32.to_be_bytes());
        nested(&mut bytes, PROTOCOL_INFO, |bytes| {
            nested(bytes, INFO_TCP, |bytes| attribute(bytes, TCP_STATE, &[3]));
        });
        attribute(&mut bytes, 0x3000, &[1, 2, 3]);
        if let Some(place) = bytes.windows(5).position(|window| window == [5, 0, 1, 0, 6]) {
            bytes[place + 4] = protocol;
        }
        bytes
    }

    #[test]
    fn an_entry_is_read_among_attributes_nobody_knows() {
        let entry = entry(&shown(6)).unwrap();
        assert_eq!(entry.flow, flow());
        assert!(entry.is_established() && entry.is_rewritten());
        assert!(!Entry { state: Some(4), ..entry }.is_established(), "it is being ended");
        assert!(!Entry { status: 0x2, ..entry }.is_established(), "it is not assured");
        assert!(Entry { state: None, ..entry }.is_established());
        assert_eq!(super::entry(&shown(17)), None, "UDP");
        let mut zone = shown(6);
        attribute(&mut zone, ZONE, &[0, 7]);
        assert_eq!(super::entry(&zone), None, "what connections it has there is another matter");
    }

    #[test]
    fn requests_are_whole_messages() {
        let mut datagram = Vec::new();
        Request::Create(flow()).write(&mut datagram, 7);
        Request::Delete(flow()).write(&mut datagram, 8);
        write_end(&mut datagram, 9);
        let messages: Vec<_> = Messages::new(&datagram)
            .map(|message| (message.message_type(), message.sequence_number(), message.payload().len()))
            .collect();
        assert_eq!(messages.len(), 3);
        assert_eq!((messages[0].0, messages[1].0, messages[2]), (ENTRY, ENTRY_GONE, (NLMSG_NOOP, 9, 0)));
    }

    proptest! {
        #[test]
        fn broken_entries_are_none(cut in 0..200_usize, place in 0..200_usize, value: u8) {
            let mut bytes = shown(6);
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
            bytes.truncate(cut);
            let _ = entry(&bytes);
        }

        #[test]
        fn any_bytes_are_read_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (entry(&bytes), error(&bytes));
        }
    }
}
