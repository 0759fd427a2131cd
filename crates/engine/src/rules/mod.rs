//! Whether conditions on a connection hold, and what is remembered of connections.
//!
//! Pure: the shell fills a [`Context`] and does what comes out. `client_hello` reads TLS, `sample` takes samples,
//! `pattern` compares them, `condition` joins tests, `verdict` walks through rules, `table` and `frequency` count.

mod client_hello;
mod condition;
mod frequency;
mod pattern;
mod sample;
mod table;
mod verdict;

use std::net::SocketAddr;

use crate::serving::Serving;
use crate::time::Instant;

pub use client_hello::{ClientHello, Partial, client_hello, hello_type};
pub use condition::{Outcome, outcome};
pub use frequency::Frequency;
pub use sample::bytes_of;
pub use table::{Key, Remembered, SharedTable, StickTable, Tracked, Undecided, key_of};
pub use verdict::{Verdict, applies, verdict};

/// Counters that one connection can have (`sc0` to `sc2`), as many as HAProxy's.
pub const COUNTERS: usize = 3;

/// The counters of one connection.
pub type Counters = [Option<Tracked>; COUNTERS];

/// A request of HTTP.
#[derive(Clone, Copy, Debug)]
pub struct HttpRequest<'a> {
    /// `GET` and its like.
    pub method: &'a str,
    /// What is asked for, as it was written.
    pub uri: &'a str,
    /// The credentials of `Authorization: Basic`.
    pub credentials: Option<&'a str>,
}

impl<'a> HttpRequest<'a> {
    /// The part of the URI before `?`, without scheme and host.
    pub fn path(&self) -> &'a str {
        let uri = match self.uri.split_once("://") {
            Some((scheme, rest)) if !scheme.contains('/') => {
                rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
            }
            _ => self.uri,
        };
        uri.split(['?', '#']).next().unwrap_or(uri)
    }
}

/// What is known of a connection when it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The client.
    pub source: SocketAddr,
    /// What the client connected to; `None` if the kernel would not say.
    pub destination: Option<SocketAddr>,
    /// The first bytes the client sent, as far as they have arrived; `None` where nothing is looked at yet.
    pub received: Option<&'a [u8]>,
    /// The request of HTTP that is judged; `None` where bytes are relayed.
    pub request: Option<HttpRequest<'a>>,
    /// Whether what has arrived is all that is waited for: undecided samples count as missing.
    pub complete: bool,
    /// Servers, loads and tables.
    pub serving: &'a Serving,
    /// What the connection is counted under.
    pub counters: &'a Counters,
    /// Now.
    pub now: Instant,
}
