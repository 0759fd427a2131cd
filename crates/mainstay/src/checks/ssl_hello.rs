//! `option ssl-hello-chk`: asks for a TLS answer without doing TLS.
//!
//! Sends an SSLv3 client hello (RFC 6101 §5.6.1.2) and takes any handshake or alert record for an answer, as HAProxy
//! does. A server of today answers with an alert, which is cheap for it, and proves that it speaks TLS at all.

use mainstay_engine::health::check::CheckStatus;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::checks::connect::words;
use crate::checks::{Finding, Stream};

/// Record type of an alert (RFC 8446 §5.1).
const ALERT: u8 = 0x15;

/// Record type of a handshake message.
const HANDSHAKE: u8 = 0x16;

/// A record with a client hello of version 3.0, with four RSA cipher suites every SSLv3 server had and no compression.
/// The random part is a text: no key will ever come of it.
const CLIENT_HELLO: [u8; 56] = *b"\
    \x16\x03\x00\x00\x33\
    \x01\x00\x00\x2f\
    \x03\x00\
    mainstay asks whether TLS speaks\
    \x00\
    \x00\x08\x00\x2f\x00\x35\x00\x0a\x00\x05\
    \x01\x00";

/// Sends the hello and waits for the header of a record.
pub(super) async fn ask(stream: &mut impl Stream) -> Finding {
    if let Err(error) = stream.write_all(&CLIENT_HELLO).await {
        return Finding::new(CheckStatus::L6Rsp, words(&error));
    }
    let mut header = [0; 5];
    match stream.read_exact(&mut header).await {
        Ok(_) => match header {
            [ALERT | HANDSHAKE, ..] => Finding::new(CheckStatus::L6Ok, ""),
            [other, ..] => Finding::new(
                CheckStatus::L6Rsp,
                format!("not TLS: the answer starts with byte 0x{other:02x}"),
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Finding::new(CheckStatus::L6Rsp, "connection closed without an answer")
        }
        Err(error) => Finding::new(CheckStatus::L6Rsp, words(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_in_the_hello_are_right() {
        let [_, _, _, record_high, record_low, _, _, message_high, message_low, ..] = CLIENT_HELLO;
        assert_eq!(usize::from(u16::from_be_bytes([record_high, record_low])), CLIENT_HELLO.len() - 5);
        assert_eq!(usize::from(u16::from_be_bytes([message_high, message_low])), CLIENT_HELLO.len() - 9);
    }
}
