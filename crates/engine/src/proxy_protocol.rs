//! The PROXY protocol, versions 1 and 2: who is connected to whom, said before the first byte of a connection.
//!
//! Owns the bytes of a header. What is written is what HAProxy 2.6 writes. What is read is what the specification
//! allows, within [`HEADER_BYTES`]; unlike HAProxy, a header may come in pieces.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::endpoints::Endpoints;
use crate::plan::{ProxyHeader, ProxyVersion};

/// Most bytes of a header of version 2 that are waited for, as many as HAProxy's buffer holds. The format allows 65,551;
/// real ones have less than 600.
pub const HEADER_BYTES: usize = 16_384;

/// Most bytes of a line of version 1, its end included.
const LINE_BYTES: usize = 107;

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The signature, version and command, family, and the length of what follows.
const FIXED_BYTES: usize = 16;

/// Longest name of a host that a header passes on.
const AUTHORITY_BYTES: usize = 255;

/// Longest unique id.
const UNIQUE_ID_BYTES: usize = 128;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;
const TCP_OVER_IPV4: u8 = 0x11;
const TCP_OVER_IPV6: u8 = 0x21;

const TYPE_AUTHORITY: u8 = 0x02;
const TYPE_CRC32C: u8 = 0x03;
const TYPE_UNIQUE_ID: u8 = 0x05;
const TYPE_SSL: u8 = 0x20;

/// What a header said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// How many bytes it has.
    pub length: usize,
    /// The ends of the connection it speaks of; `None` means those of the connection it came on.
    pub endpoints: Option<Endpoints>,
    /// The name that the client asked for.
    pub authority: Option<Vec<u8>>,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// They start like none.
    NoHeader,
    /// A line of version 1 is not what it has to be.
    Line,
    /// A version 2 header of another version, or with an unknown command.
    Command,
    /// Its addresses or records are longer than itself, or shorter than they have to be.
    Length,
    /// Its checksum is wrong.
    Checksum,
    /// Longer than [`HEADER_BYTES`], or a line longer than 107 bytes.
    TooLong,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoHeader => "what came first is no PROXY header",
            Self::Line => "the PROXY line cannot be understood",
            Self::Command => "the PROXY header has an unknown version or command",
            Self::Length => "the lengths in the PROXY header do not fit",
            Self::Checksum => "the checksum of the PROXY header is wrong",
            Self::TooLong => "the PROXY header is too long",
        })
    }
}

/// Reads the header that `bytes` start with; `None` as long as it is not whole.
pub fn decode(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    if starts_alike(bytes, b"PROXY ") {
        decode_line(bytes)
    } else if starts_alike(bytes, &SIGNATURE) {
        decode_binary(bytes)
    } else {
        Err(Broken::NoHeader)
    }
}

/// The header to send to a server for a connection with these ends. Without them it says that the connection is our
/// own. `authority` is the name that the client asked for, where it is known.
pub fn encode(form: &ProxyHeader, endpoints: Option<Endpoints>, authority: Option<&[u8]>) -> Vec<u8> {
    match form.version {
        ProxyVersion::V1 => encode_line(endpoints).into_bytes(),
        ProxyVersion::V2 => encode_binary(form, endpoints, authority),
    }
}

/// Whether `bytes` start like `expected`, as far as both go.
fn starts_alike(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(byte, expected)| byte == expected)
}

fn decode_line(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let within = bytes.get(..LINE_BYTES.min(bytes.len())).unwrap_or_default();
    let Some(end) = within.windows(2).position(|two| two == b"\r\n") else {
        return if within.len() == LINE_BYTES { Err(Broken::TooLong) } else { Ok(None) };
    };
    let line = within.get(..end).and_then(|line| std::str::from_utf8(line).ok()).ok_or(Broken::Line)?;
    let header = |endpoints| Ok(Some(Header { length: end.saturating_add(2), endpoints, authority: None }));
    let mut fields = line.split(' ').skip(1);
    let family = fields.next().ok_or(Broken::Line)?;
    if family == "UNKNOWN" {
        // Whatever follows it is to be ignored.
        return header(None);
    }
    let (Some(source), Some(destination), Some(source_port), Some(destination_port), None) =
        (fields.next(), fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(Broken::Line);
    };
    let address = |text: &str| -> Option<IpAddr> {
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let port = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| digits)
    };
    let end_of = |ip: &str, number: &str| Some(SocketAddr::new(address(ip)?, port(number)?));
    let client = end_of(source, source_port).ok_or(Broken::Line)?;
    let destination = end_of(destination, destination_port).ok_or(Broken::Line)?;
    header(Some(Endpoints::new(client, destination)))
}

fn decode_binary(bytes: &[u8]) -> Result<Option<Header>, Broken> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let [.., command, family, high, low] = *fixed;
    if !matches!(command, LOCAL | PROXY) {
        return Err(Broken::Command);
    }
    let following = usize::from(u16::from_be_bytes([high, low]));
    let length = FIXED_BYTES.saturating_add(following);
    if length > HEADER_BYTES {
        return Err(Broken::TooLong);
    }
    let (Some(body), Some(whole)) = (rest.get(..following), bytes.get(..length)) else { return Ok(None) };
    let local = Header { length, endpoints: None, authority: None };
    if command == LOCAL {
        return Ok(Some(local));
    }
    let (endpoints, records) = match family {
        TCP_OVER_IPV4 => {
            let (addresses, records) = body.split_first_chunk::<12>().ok_or(Broken::Length)?;
            let &[a, b, c, d, e, f, g, h, from_high, from_low, to_high, to_low] = addresses;
            let client = SocketAddr::from(([a, b, c, d], u16::from_be_bytes([from_high, from_low])));
            let destination = SocketAddr::from(([e, f, g, h], u16::from_be_bytes([to_high, to_low])));
            (Endpoints::new(client, destination), records)
        }
        TCP_OVER_IPV6 => {
            let (source, rest) = body.split_first_chunk::<16>().ok_or(Broken::Length)?;
            let (destination, rest) = rest.split_first_chunk::<16>().ok_or(Broken::Length)?;
            let (&[from_high, from_low, to_high, to_low], records) =
                rest.split_first_chunk::<4>().ok_or(Broken::Length)?;
            let client = SocketAddr::from((*source, u16::from_be_bytes([from_high, from_low])));
            let destination = SocketAddr::from((*destination, u16::from_be_bytes([to_high, to_low])));
            (Endpoints::new(client, destination), records)
        }
        // Neither TCP nor IP: the connection's own ends are as good as any, and the rest may be anything.
        _ => return Ok(Some(local)),
    };
    let authority = read_records(records, whole)?;
    Ok(Some(Header { endpoints: Some(endpoints), authority, ..local }))
}

/// Checks the records behind the addresses; returns the authority among them.
fn read_records(mut records: &[u8], whole: &[u8]) -> Result<Option<Vec<u8>>, Broken> {
    let mut authority = None;
    while !records.is_empty() {
        let (&[kind, high, low], rest) = records.split_first_chunk::<3>().ok_or(Broken::Length)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = rest.split_at_checked(length).ok_or(Broken::Length)?;
        match kind {
            TYPE_CRC32C => {
                let expected = u32::from_be_bytes(value.try_into().map_err(|_| Broken::Length)?);
                let place = whole.len().saturating_sub(rest.len());
                let mut zeroed = whole.to_vec();
                zeroed.iter_mut().skip(place).take(4).for_each(|byte| *byte = 0);
                if crc32c(&zeroed) != expected {
                    return Err(Broken::Checksum);
                }
            }
            TYPE_AUTHORITY if value.len() > AUTHORITY_BYTES => return Err(Broken::Length),
            TYPE_UNIQUE_ID if value.len() > UNIQUE_ID_BYTES => return Err(Broken::Length),
            TYPE_AUTHORITY => authority = Some(value.to_vec()),
            _ => {}
        }
        records = after;
    }
    Ok(authority)
}

fn encode_line(endpoints: Option<Endpoints>) -> String {
    match endpoints {
        Some(Endpoints { client, destination, local: None }) if client.is_ipv4() == destination.is_ipv4() => {
            format!(
                "PROXY {} {} {} {} {}\r\n",
                if client.is_ipv4() { "TCP4" } else { "TCP6" },
                client.ip(),
                destination.ip(),
                client.port(),
                destination.port()
            )
        }
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    }
}

fn encode_binary(form: &ProxyHeader, endpoints: Option<Endpoints>, authority: Option<&[u8]>) -> Vec<u8> {
    // As with HAProxy, who has no address is nobody.
    let endpoints = endpoints.filter(|ends| ends.local.is_none());
    let mut body = Vec::new();
    let (command, family) = match endpoints.map(|ends| (ends.client, ends.destination)) {
        None => (LOCAL, 0),
        Some((SocketAddr::V4(client), SocketAddr::V4(destination))) => {
            body.extend(client.ip().octets());
            body.extend(destination.ip().octets());
            (PROXY, TCP_OVER_IPV4)
        }
        Some((client, destination)) => {
            let v6 = |ip: IpAddr| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            body.extend(v6(client.ip()).octets());
            body.extend(v6(destination.ip()).octets());
            (PROXY, TCP_OVER_IPV6)
        }
    };
    if let Some(ends) = endpoints {
        body.extend(ends.client.port().to_be_bytes());
        body.extend(ends.destination.port().to_be_bytes());
    }
    let checksum_at = form.checksum.then(|| {
        push_record(&mut body, TYPE_CRC32C, &[0; 4]);
        FIXED_BYTES.saturating_add(body.len()).saturating_sub(4)
    });
    if let Some(name) = authority.filter(|name| form.authority && name.len() <= AUTHORITY_BYTES) {
        push_record(&mut body, TYPE_AUTHORITY, name);
    }
    // HAProxy has no id without `unique-id-format` either, and none for a connection of its own.
    if form.unique_id && endpoints.is_some() {
        push_record(&mut body, TYPE_UNIQUE_ID, &[]);
    }
    if form.tls {
        // No flag of the client's is set, and nothing was verified.
        push_record(&mut body, TYPE_SSL, &[0; 5]);
    }
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut header = Vec::with_capacity(FIXED_BYTES.saturating_add(body.len()));
    header.extend(SIGNATURE);
    header.extend([command, family]);
    header.extend(length.to_be_bytes());
    header.extend(body);
    if let Some(place) = checksum_at {
        let checksum = crc32c(&header).to_be_bytes();
        header.iter_mut().skip(place).zip(checksum).for_each(|(byte, new)| *byte = new);
    }
    header
}

fn push_record(body: &mut Vec<u8>, kind: u8, value: &[u8]) {
    body.push(kind);
    body.extend(u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
    body.extend(value);
}

/// CRC-32C (RFC 4960, appendix B), bit by bit: a header has a few dozen bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ends(client: &str, destination: &str) -> Option<Endpoints> {
        Some(Endpoints::new(client.parse().unwrap(), destination.parse().unwrap()))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn forms() -> impl Strategy<Value = ProxyHeader> {
        let version = prop_oneof![Just(ProxyVersion::V1), Just(ProxyVersion::V2)];
        (version, any::<[bool; 4]>()).prop_map(|(version, [checksum, authority, unique_id, tls])| {
            ProxyHeader { version, checksum, authority, unique_id, tls }
        })
    }

    #[test]
    fn headers_are_those_of_haproxy() {
        // Captured from HAProxy 2.6.12.
        let written = |form: ProxyHeader, port: u16| {
            hex(&encode(&form, ends(&format!("127.0.0.1:{port}"), "127.0.0.1:23102"), None))
        };
        let v2 = ProxyHeader::new(ProxyVersion::V2);
        assert_eq!(
            written(ProxyHeader { checksum: true, ..v2 }, 0xd526),
            "0d0a0d0a000d0a515549540a211100137f0000017f000001d5265a3e0300049f9cadd8"
        );
        let all = ProxyHeader { checksum: true, tls: true, ..v2 };
        assert_eq!(
            hex(&encode(&all, ends("127.0.0.1:41162", "127.0.0.1:23107"), None)),
            "0d0a0d0a000d0a515549540a2111001b7f0000017f000001a0ca5a43030004b31331fc200005000000000000"
                .get(..86)
                .unwrap()
        );
        assert_eq!(
            hex(&encode(&all, None, None)),
            "0d0a0d0a000d0a515549540a2000000f030004889da1df2000050000000000"
        );
        let v1 = ProxyHeader::new(ProxyVersion::V1);
        let line = encode(&v1, ends("[2001:db8::7]:4000", "[2001:db8::1]:6443"), None);
        assert_eq!(line, b"PROXY TCP6 2001:db8::7 2001:db8::1 4000 6443\r\n");
        assert_eq!(encode(&v1, None, None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn lines_are_read_strictly() {
        for bad in [
            "PROXY TCP4 192.0.2.7 192.0.2.1 4000\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 4000 6443 \r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 4000 66443\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 +4000 6443\r\n",
            "PROXY TCP4 2001:db8::1 2001:db8::1 4000 6443\r\n",
            "PROXY  TCP4 192.0.2.7 192.0.2.1 4000 6443\r\n",
            "PROXY UDP4 192.0.2.7 192.0.2.1 4000 6443\r\n",
            "PROXY \r\n",
        ] {
            assert_eq!(decode(bad.as_bytes()), Err(Broken::Line), "{bad}");
        }
        assert_eq!(decode(b"GET / HTTP/1.1\r\n"), Err(Broken::NoHeader));
        assert_eq!(decode(&[b"PROXY ".as_slice(), &[b'x'; 200]].concat()), Err(Broken::TooLong));
        let unknown = decode(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nhello").unwrap().unwrap();
        assert_eq!((unknown.length, unknown.endpoints), (35, None));
    }

    #[test]
    fn records_have_to_fit() {
        let whole = encode(&ProxyHeader::new(ProxyVersion::V2), ends("192.0.2.7:1", "192.0.2.1:2"), None);
        let with = |records: &[u8]| {
            let mut bytes = [whole.as_slice(), records].concat();
            bytes[15] += u8::try_from(records.len()).unwrap();
            decode(&bytes).map(|header| header.and_then(|header| header.authority))
        };
        assert_eq!(with(b"\x02\0\x03lb1"), Ok(Some(b"lb1".to_vec())));
        assert_eq!(with(b"\x02\0\x04lb1"), Err(Broken::Length));
        assert_eq!(with(b"\x02\0"), Err(Broken::Length));
        assert_eq!(with(b"\x03\0\x041234"), Err(Broken::Checksum));
        assert_eq!(with(b"\x03\0\x03123"), Err(Broken::Length));
        let mut long = whole.clone();
        long[14] = 0xff;
        assert_eq!(decode(&long), Err(Broken::TooLong));
        let mut odd = whole;
        odd[12] = 0x22;
        assert_eq!(decode(&odd), Err(Broken::Command));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again_and_never_early(
            form in forms(),
            client: SocketAddr,
            destination: SocketAddr,
            known: bool,
            name in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..300)),
        ) {
            // A header has no place for flow labels and scopes.
            let plain = |address: SocketAddr| SocketAddr::new(address.ip(), address.port());
            let endpoints = known.then(|| Endpoints::new(plain(client), plain(destination)));
            let bytes = encode(&form, endpoints, name.as_deref());
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut]), Ok(None));
            }
            let header = decode(&[bytes.as_slice(), b"data"].concat()).unwrap().unwrap();
            prop_assert_eq!(header.length, bytes.len());
            // Version 1 has no word for both families at once.
            let mixed = form.version == ProxyVersion::V1
                && endpoints.is_some_and(|ends| ends.client.is_ipv4() != ends.destination.is_ipv4());
            if !mixed {
                prop_assert_eq!(header.endpoints, endpoints);
            }
        }

        #[test]
        fn no_bytes_are_too_much(bytes in proptest::collection::vec(any::<u8>(), 0..200), v2: bool) {
            let start: &[u8] = if v2 { &SIGNATURE } else { b"PROXY TCP4 " };
            let bytes = [start, &bytes].concat();
            if let Ok(Some(header)) = decode(&bytes) {
                prop_assert!(header.length <= bytes.len());
                prop_assert_eq!(decode(&bytes[..header.length]), Ok(Some(header)));
            }
        }
    }
}
