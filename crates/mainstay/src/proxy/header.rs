//! The PROXY header that has to come first on a client's connection.
//!
//! Owns [`receive`]. The header is looked at without being taken, then taken to the byte: what follows it is the
//! server's. A header that comes in pieces is waited for.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use mainstay_engine::proxy_protocol::{self, Header};

/// How long a header is waited for, unless `timeout client` is shorter: whoever sends one sends it at once, and a lost
/// packet is sent again within this time. HAProxy waits for `timeout client`, which is hours for watches.
pub(super) const HEADER_PATIENCE: Duration = Duration::from_secs(5);

/// What came of looking for a header.
#[derive(Debug)]
pub(super) enum Received {
    /// It is here.
    Header(Header),
    /// The rest has not come yet.
    Nothing,
    /// The client has ended the connection.
    Left,
    /// It will never come.
    Broken,
}

/// Takes the header off `stream` if it is whole. `scratch` has room for the longest one.
pub(super) fn receive(stream: &TcpStream, scratch: &mut [u8]) -> Received {
    let count = loop {
        match stream.peek(scratch) {
            Ok(count) => break count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Received::Nothing,
            Err(_) => return Received::Left,
        }
    };
    if count == 0 {
        return Received::Left;
    }
    match proxy_protocol::decode(scratch.get(..count).unwrap_or_default()) {
        Ok(None) => Received::Nothing,
        Ok(Some(header)) => {
            // It has been seen, so it is there at once.
            let taken = scratch.get_mut(..header.length).map(|room| {
                let mut stream = stream;
                stream.read_exact(room)
            });
            if matches!(taken, Some(Ok(()))) { Received::Header(header) } else { Received::Broken }
        }
        Err(_) => Received::Broken,
    }
}
