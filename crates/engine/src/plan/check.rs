//! How to find out whether a server works.

use std::net::SocketAddr;
use std::time::Duration;

use crate::plan::ProxyHeader;

/// A repeated health check of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where to connect.
    pub address: SocketAddr,
    /// The PROXY header that comes first (`check-send-proxy`).
    pub proxy_header: Option<ProxyHeader>,
    /// What to say and to expect once connected.
    pub kind: CheckKind,
    /// Whether the check speaks inside TLS.
    pub tls: Option<TlsCheck>,
    /// Time between checks while nothing changes (`inter`).
    pub interval: Duration,
    /// Time between checks while the state is about to change (`fastinter`).
    pub fast_interval: Duration,
    /// Time between checks while the server is down (`downinter`).
    pub down_interval: Duration,
    /// How long the connection may take to establish.
    pub connect_timeout: Duration,
    /// How long the answer may take after that.
    pub answer_timeout: Duration,
    /// Passed checks in a row that bring a server up.
    pub rise: u32,
    /// Failed checks in a row that take a server down.
    pub fall: u32,
}

/// What a check says and expects once it is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Nothing: a connection (and a TLS handshake, when asked for) is proof enough.
    Connect,
    /// Sends an SSLv3 client hello and expects any handshake record (`option ssl-hello-chk`).
    SslHello,
    /// One HTTP request (`option httpchk`).
    Http(HttpCheck),
}

/// The request of an HTTP check and the statuses that pass it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCheck {
    /// The whole request, as it goes on the wire.
    pub request: String,
    /// The statuses that pass.
    pub expect: StatusRanges,
}

/// A set of HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRanges {
    /// Inclusive ranges.
    pub ranges: Vec<(u16, u16)>,
    /// Whether the ranges name what fails instead (`! status`).
    pub negated: bool,
}

impl StatusRanges {
    /// Whether an answer with `status` passes.
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&status)) != self.negated
    }
}

/// How a check speaks TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsCheck {
    /// Whom to believe.
    pub verify: Verify,
    /// The name to ask for and to verify (`check-sni`, `verifyhost`); the address when `None`.
    pub server_name: Option<String>,
    /// Protocols to offer (`check-alpn`).
    pub alpn: Vec<String>,
}

/// Whose certificates a TLS check believes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Anyone's (`verify none`).
    None,
    /// Those that an authority in this PEM file signed (`ca-file`).
    Authority(String),
}

impl Check {
    /// A check of which nothing but this was said: it connects every two seconds, as HAProxy's.
    pub fn new(address: SocketAddr) -> Self {
        let interval = Duration::from_secs(2);
        Self {
            address,
            proxy_header: None,
            kind: CheckKind::Connect,
            tls: None,
            interval,
            fast_interval: interval,
            down_interval: interval,
            connect_timeout: interval,
            answer_timeout: interval,
            rise: 2,
            fall: 3,
        }
    }
}
