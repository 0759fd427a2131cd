//! What a client says first when it speaks TLS.
//!
//! Owns [`client_hello`] and [`hello_type`]: a view on bytes that have arrived so far, without a copy of more than one
//! message. A message may come in any number of TLS records, and those in any pieces. Whatever is not TLS is said to be
//! none as soon as that shows.

use std::borrow::Cow;

/// Bytes of a client hello that are looked at: more than fit the buffer of an inspection never arrive.
const LONGEST_HELLO: usize = 16 * 1024;

const HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partial {
    /// More has to arrive.
    NeedMore,
    /// It is something else.
    Other,
}

/// What is looked at in a client hello.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientHello {
    /// The protocol version it says: 3.3 for TLS 1.2 and later.
    pub version: (u8, u8),
    /// The server name it asks for.
    pub server_name: Option<Vec<u8>>,
    /// The first application protocol it offers.
    pub alpn: Option<Vec<u8>>,
}

/// Reads a client hello from the first bytes of a connection.
pub fn client_hello(received: &[u8]) -> Result<ClientHello, Partial> {
    let message = handshake(received)?;
    let mut reader = Reader(&message);
    let kind = reader.u8().ok_or(Partial::NeedMore)?;
    if kind != CLIENT_HELLO {
        return Err(Partial::Other);
    }
    let length = reader.u24().ok_or(Partial::NeedMore)?;
    if length > LONGEST_HELLO {
        return Err(Partial::Other);
    }
    let body = reader.take(length).ok_or(Partial::NeedMore)?;
    read_body(body).ok_or(Partial::Other)
}

/// The type of the first handshake message, once all of it has arrived.
pub fn hello_type(received: &[u8]) -> Result<u8, Partial> {
    let message = handshake(received)?;
    let mut reader = Reader(&message);
    let kind = reader.u8().ok_or(Partial::NeedMore)?;
    let length = reader.u24().ok_or(Partial::NeedMore)?;
    reader.take(length).map(|_| kind).ok_or(Partial::NeedMore)
}

/// The handshake bytes of all records that have arrived, the last one as far as it has.
fn handshake(received: &[u8]) -> Result<Cow<'_, [u8]>, Partial> {
    let mut reader = Reader(received);
    let (first, mut whole) = record(&mut reader)?;
    let mut message = Cow::Borrowed(first);
    while whole && message.len() < LONGEST_HELLO {
        // Something else, or nothing yet: what came before is all there is of the handshake.
        let Ok((next, complete)) = record(&mut reader) else { break };
        message.to_mut().extend_from_slice(next);
        whole = complete;
    }
    Ok(message)
}

/// What has arrived of one record's content, and whether that is all of it.
fn record<'a>(reader: &mut Reader<'a>) -> Result<(&'a [u8], bool), Partial> {
    match (reader.u8().ok_or(Partial::NeedMore)?, reader.u8()) {
        (HANDSHAKE, Some(3)) => {}
        (HANDSHAKE, None) => return Err(Partial::NeedMore),
        _ => return Err(Partial::Other),
    }
    let _minor = reader.u8().ok_or(Partial::NeedMore)?;
    let length = usize::from(reader.u16().ok_or(Partial::NeedMore)?);
    if length == 0 {
        return Err(Partial::Other);
    }
    let content = reader.take_most(length);
    Ok((content, content.len() == length))
}

fn read_body(body: &[u8]) -> Option<ClientHello> {
    let mut reader = Reader(body);
    let version = (reader.u8()?, reader.u8()?);
    let _random = reader.take(32)?;
    let _session = reader.prefixed_u8()?;
    let _ciphers = reader.prefixed_u16()?;
    let _compressions = reader.prefixed_u8()?;
    let mut hello = ClientHello { version, ..ClientHello::default() };
    // TLS 1.2 and before may have no extensions at all.
    if reader.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Reader(reader.prefixed_u16()?);
    while !extensions.0.is_empty() {
        let kind = extensions.u16()?;
        let content = extensions.prefixed_u16()?;
        match kind {
            SERVER_NAME => hello.server_name = hello.server_name.or(Some(server_name(content)?)),
            ALPN => hello.alpn = hello.alpn.or(Some(first_protocol(content)?)),
            _ => {}
        }
    }
    Some(hello)
}

/// The first host name of the extension's list.
fn server_name(content: &[u8]) -> Option<Vec<u8>> {
    let mut names = Reader(Reader(content).prefixed_u16()?);
    loop {
        let kind = names.u8()?;
        let name = names.prefixed_u16()?;
        if kind == 0 {
            return Some(name.to_vec());
        }
    }
}

fn first_protocol(content: &[u8]) -> Option<Vec<u8>> {
    let mut protocols = Reader(Reader(content).prefixed_u16()?);
    protocols.prefixed_u8().map(<[u8]>::to_vec)
}

/// What is left of some bytes.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn take_most(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at_checked(count).unwrap_or((self.0, &[]));
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u24(&mut self) -> Option<usize> {
        let (high, low) = (self.u8()?, self.u16()?);
        Some(usize::from(high) << 16 | usize::from(low))
    }

    fn prefixed_u8(&mut self) -> Option<&'a [u8]> {
        let length = self.u8()?;
        self.take(length.into())
    }

    fn prefixed_u16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A client hello of TLS 1.2 or later, without its record.
    fn message(name: Option<&str>, alpn: &[&str]) -> Vec<u8> {
        fn prefixed(bytes: &[u8]) -> Vec<u8> {
            let mut all = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            all.extend(bytes);
            all
        }
        let mut extensions = vec![0x00, 0x2b, 0x00, 0x03, 0x02, 0x03, 0x04];
        if let Some(name) = name {
            let entry = [&[0][..], &prefixed(name.as_bytes())].concat();
            extensions.extend([&[0, 0][..], &prefixed(&prefixed(&entry))].concat());
        }
        if !alpn.is_empty() {
            let list: Vec<u8> = alpn
                .iter()
                .flat_map(|p| [&[u8::try_from(p.len()).unwrap()][..], p.as_bytes()].concat())
                .collect();
            extensions.extend([&[0, 16][..], &prefixed(&prefixed(&list))].concat());
        }
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend([0, 2, 0x13, 0x01, 1, 0]);
        body.extend(prefixed(&extensions));
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&[1][..], &length[1..], &body].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message
            .chunks(size)
            .flat_map(|part| {
                let length = u16::try_from(part.len()).unwrap().to_be_bytes();
                [&[22, 3, 1][..], &length, part].concat()
            })
            .collect()
    }

    #[test]
    fn a_hello_is_read_in_one_record_or_many() {
        let message = message(Some("kubernetes.example"), &["h2", "http/1.1"]);
        for size in [1, 2, 3, 7, 50, 4096] {
            let hello = client_hello(&records(&message, size)).unwrap();
            assert_eq!(hello.server_name.as_deref(), Some(&b"kubernetes.example"[..]), "records of {size}");
            assert_eq!((hello.alpn.as_deref(), hello.version), (Some(&b"h2"[..]), (3, 3)));
            assert_eq!(hello_type(&records(&message, size)), Ok(1));
        }
    }

    #[test]
    fn every_beginning_of_a_hello_asks_for_more() {
        let message = message(Some("a.example"), &["h2"]);
        for size in [5, 60, 4096] {
            let whole = records(&message, size);
            for end in 0..whole.len() {
                assert_eq!(
                    client_hello(&whole[..end]),
                    Err(Partial::NeedMore),
                    "{end} bytes, records of {size}"
                );
                assert_eq!(
                    hello_type(&whole[..end]),
                    Err(Partial::NeedMore),
                    "{end} bytes, records of {size}"
                );
            }
            let with_more = [&whole[..], b"\x17\x03\x03\x00\x01x"].concat();
            assert!(client_hello(&with_more).is_ok());
        }
    }

    #[test]
    fn what_is_not_tls_is_known_at_once() {
        for bytes in [
            &b"GET / HTTP/1.0\r\n"[..],
            b"SSH-2.0-x",
            b"\x00",
            b"\x16\x02",
            b"\x80\x2e\x01\x03\x01",
            b"\x17\x03",
        ] {
            assert_eq!(client_hello(bytes), Err(Partial::Other), "{bytes:?}");
        }
        assert_eq!(client_hello(b""), Err(Partial::NeedMore));
        let server_hello = records(&[2, 0, 0, 1, 0], 64);
        assert_eq!(client_hello(&server_hello), Err(Partial::Other));
        assert_eq!(hello_type(&server_hello), Ok(2));
        assert_eq!(client_hello(&records(&[1, 0xff, 0xff, 0xff, 0], 64)), Err(Partial::Other), "too long");
    }

    #[test]
    fn a_hello_without_names_has_none() {
        let hello = client_hello(&records(&message(None, &[]), 4096)).unwrap();
        assert_eq!((hello.server_name, hello.alpn), (None, None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (client_hello(&bytes), hello_type(&bytes));
        }

        #[test]
        fn any_change_to_a_hello_is_read(at in 0_usize..120, byte: u8, size in 1_usize..200) {
            let mut message = message(Some("a.example"), &["h2"]);
            if let Some(place) = message.get_mut(at) {
                *place = byte;
            }
            let mut bytes = records(&message, size);
            if let Some(place) = bytes.get_mut(at) {
                *place ^= byte;
            }
            let whole = client_hello(&bytes);
            // What was said of a beginning stays true: no answer turns into another one.
            for end in 0..bytes.len() {
                let early = client_hello(&bytes[..end]);
                prop_assert!(early == Err(Partial::NeedMore) || early == whole, "{early:?} and then {whole:?}");
            }
        }
    }
}
