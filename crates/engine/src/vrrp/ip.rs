//! The IP headers that adverts travel behind, and the sums over them: RFC 791, RFC 8200, RFC 1071.
//!
//! Owns [`IpHeader`], both ways, and [`checksum`]. Over IPv6 the kernel keeps the header to itself; the shell puts one
//! with the same source, destination and hop limit in front, so that here every datagram begins with its header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::Malformed;

/// IP protocol number of VRRP (RFC 9568 §5.1.1.4).
const PROTOCOL: u8 = 112;
/// Internetwork control, as Keepalived marks its adverts.
const TRAFFIC_CLASS: u8 = 0xc0;
/// An IPv4 header without options.
const IPV4_HEADER_LENGTH: usize = 20;
/// An IPv6 header; adverts have no extension headers (RFC 9568 §5.1.2.4: the next header is VRRP).
const IPV6_HEADER_LENGTH: usize = 40;

/// What matters of the header of one datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IpHeader {
    /// Who sent it.
    pub(super) source: IpAddr,
    /// To whom; of the same family.
    pub(super) destination: IpAddr,
    /// Time to live, or hop limit.
    pub(super) ttl: u8,
}

/// Splits a datagram into its header and the message behind it.
pub(super) fn decode(datagram: &[u8]) -> Result<(IpHeader, &[u8]), Malformed> {
    match datagram.first().map(|byte| byte >> 4) {
        None => Err(Malformed::IpTruncated { length: 0 }),
        Some(4) => decode_ipv4(datagram),
        Some(6) => decode_ipv6(datagram),
        Some(version) => Err(Malformed::IpVersion(version)),
    }
}

fn decode_ipv4(datagram: &[u8]) -> Result<(IpHeader, &[u8]), Malformed> {
    let length = datagram.len();
    let truncated = Malformed::IpTruncated { length };
    let fixed: &[u8; IPV4_HEADER_LENGTH] = datagram.first_chunk().ok_or(truncated)?;
    let &[version_and_length, _, t0, t1, _, _, f0, f1, ttl, protocol, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
        fixed;
    let words = version_and_length & 0x0f;
    let header_length = usize::from(words) * 4;
    if header_length < IPV4_HEADER_LENGTH {
        return Err(Malformed::IpHeaderLength(words));
    }
    let (header, message) = datagram.split_at_checked(header_length).ok_or(truncated)?;
    let claimed = usize::from(u16::from_be_bytes([t0, t1]));
    if claimed != length {
        return Err(Malformed::IpTotalLength { claimed, length });
    }
    // "More fragments" or an offset; "don't fragment" (0x4000) is fine.
    if u16::from_be_bytes([f0, f1]) & 0x3fff != 0 {
        return Err(Malformed::IpFragment);
    }
    if checksum(&[header]) != 0 {
        return Err(Malformed::IpChecksum);
    }
    if protocol != PROTOCOL {
        return Err(Malformed::IpProtocol(protocol));
    }
    let source = IpAddr::V4(Ipv4Addr::new(s0, s1, s2, s3));
    let destination = IpAddr::V4(Ipv4Addr::new(d0, d1, d2, d3));
    Ok((IpHeader { source, destination, ttl }, message))
}

fn decode_ipv6(datagram: &[u8]) -> Result<(IpHeader, &[u8]), Malformed> {
    let length = datagram.len();
    let (header, message) =
        datagram.split_first_chunk::<IPV6_HEADER_LENGTH>().ok_or(Malformed::IpTruncated { length })?;
    let &[_, _, _, _, l0, l1, next_header, ttl, ref addresses @ ..] = header;
    let claimed = IPV6_HEADER_LENGTH + usize::from(u16::from_be_bytes([l0, l1]));
    if claimed != length {
        return Err(Malformed::IpTotalLength { claimed, length });
    }
    if next_header != PROTOCOL {
        return Err(Malformed::IpProtocol(next_header));
    }
    let (source, destination) = addresses.split_at(16);
    let (source, destination) =
        read_ipv6(source).zip(read_ipv6(destination)).ok_or(Malformed::IpTruncated { length })?;
    Ok((IpHeader { source, destination, ttl }, message))
}

fn read_ipv6(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// Who sent a datagram and what is behind its header, as far as that can be read, however malformed the rest is.
pub(super) fn peek(datagram: &[u8]) -> Option<(IpAddr, &[u8])> {
    let first = *datagram.first()?;
    if first >> 4 == 6 {
        return Some((read_ipv6(datagram.get(8..24)?)?, datagram.get(IPV6_HEADER_LENGTH..)?));
    }
    let header_length = (usize::from(first & 0x0f) * 4).max(IPV4_HEADER_LENGTH);
    let source = <[u8; 4]>::try_from(datagram.get(12..16)?).ok()?;
    Some((IpAddr::from(source), datagram.get(header_length..)?))
}

/// Writes the header of a datagram with `message`, as Keepalived does: no options, no "don't fragment", class 0xc0.
/// `identification` exists in IPv4 alone.
pub(super) fn encode(header: IpHeader, identification: u16, message: &[u8]) -> Vec<u8> {
    match (header.source, header.destination) {
        (IpAddr::V6(source), destination) => encode_ipv6(source, as_ipv6(destination), header.ttl, message),
        (source, IpAddr::V6(destination)) => encode_ipv6(as_ipv6(source), destination, header.ttl, message),
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let length = u16::try_from(IPV4_HEADER_LENGTH + message.len()).unwrap_or(u16::MAX);
            let mut datagram = Vec::with_capacity(usize::from(length));
            datagram.extend([0x45, TRAFFIC_CLASS]);
            datagram.extend(length.to_be_bytes());
            datagram.extend(identification.to_be_bytes());
            datagram.extend([0, 0, header.ttl, PROTOCOL, 0, 0]);
            datagram.extend(source.octets());
            datagram.extend(destination.octets());
            let sum = checksum(&[&datagram]);
            fill_in(&mut datagram, 10, sum);
            datagram.extend(message);
            datagram
        }
    }
}

fn encode_ipv6(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut datagram = Vec::with_capacity(IPV6_HEADER_LENGTH + message.len());
    datagram.extend([0x60 | TRAFFIC_CLASS >> 4, TRAFFIC_CLASS << 4, 0, 0]);
    datagram.extend(length.to_be_bytes());
    datagram.extend([PROTOCOL, hop_limit]);
    datagram.extend(source.octets());
    datagram.extend(destination.octets());
    datagram.extend(message);
    datagram
}

/// Families are never mixed in a plan; what would mix them is written as the mapped address, which nobody answers to.
fn as_ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(ipv4) => ipv4.to_ipv6_mapped(),
        IpAddr::V6(ipv6) => ipv6,
    }
}

/// The pseudo-header that a checksum covers besides a message of `length` bytes: RFC 5798 §5.2.8 with IPv4 addresses,
/// RFC 8200 §8.1 with IPv6 ones.
pub(super) fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(IPV6_HEADER_LENGTH);
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
            bytes.extend([0, PROTOCOL]);
            bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
        }
        (source, destination) => {
            bytes.extend(as_ipv6(source).octets());
            bytes.extend(as_ipv6(destination).octets());
            bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
            bytes.extend([0, 0, 0, PROTOCOL]);
        }
    }
    bytes
}

/// Writes a 16-bit field of a header.
pub(super) fn fill_in(bytes: &mut [u8], at: usize, value: u16) {
    if let Some(field) = bytes.get_mut(at..at + 2) {
        field.copy_from_slice(&value.to_be_bytes());
    }
}

/// The Internet checksum (RFC 1071) of all parts in a row. All but the last have an even length. Over bytes that
/// contain their own checksum it is 0 exactly if that one is right.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let words = parts.iter().flat_map(|part| part.chunks(2)).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(u16::from_be_bytes([high, 0])),
        _ => 0,
    });
    // At most 2^15 words of 16 bits: no overflow.
    let sum: u32 = words.sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let [_, _, high, low] = ((folded >> 16) + folded).to_be_bytes();
    !u16::from_be_bytes([high, low])
}
