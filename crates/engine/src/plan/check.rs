//! How to find out whether a server works.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::plan::{Dial, ExternalCheck, ProxyHeader, StepAction, Steps};

/// A repeated health check of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Where to connect.
    pub address: SocketAddr,
    /// Where from and to, where that is more than a connect to `address`.
    pub dial: Option<Arc<Dial>>,
    /// The PROXY header that comes first (`check-send-proxy`).
    pub proxy_header: Option<ProxyHeader>,
    /// What to say and to expect once connected.
    pub kind: CheckKind,
    /// Whether the check speaks inside TLS, unless steps say so themselves.
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
    /// Sends and expects, step by step (`option httpchk`, `option tcp-check`).
    Steps(Steps),
    /// Runs a program (`option external-check`).
    External(ExternalCheck),
}

/// A set of HTTP statuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusRanges {
    /// Inclusive ranges.
    pub ranges: Vec<(u16, u16)>,
}

impl StatusRanges {
    /// Whether `status` is in it.
    pub fn contains(&self, status: u16) -> bool {
        self.ranges.iter().any(|&(low, high)| (low..=high).contains(&status))
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
    /// A PEM file with the check's own certificate and its key (`crt`).
    pub certificate: Option<String>,
}

/// Whose certificates a TLS check believes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verify {
    /// Anyone's (`verify none`).
    None,
    /// Those that an authority in this PEM file signed (`ca-file`).
    Authority(String),
    /// Those that an authority of this machine signed (`ca-file @system-ca`).
    System,
}

impl Check {
    /// Every way in which its connects speak TLS.
    pub fn tls_of_connects(&self) -> impl Iterator<Item = &TlsCheck> {
        let steps = match &self.kind {
            CheckKind::Steps(steps) => steps.steps.as_slice(),
            CheckKind::Connect | CheckKind::SslHello | CheckKind::External(_) => &[],
        };
        let of_steps = steps.iter().filter_map(|step| match &step.action {
            StepAction::Connect(connect) => connect.tls.as_ref(),
            _ => None,
        });
        self.tls.iter().chain(of_steps)
    }

    /// The longest that one attempt can take.
    pub fn longest(&self) -> Duration {
        let connects = match &self.kind {
            CheckKind::Steps(steps) => {
                steps.steps.iter().filter(|step| matches!(step.action, StepAction::Connect(_))).count()
            }
            CheckKind::Connect | CheckKind::SslHello | CheckKind::External(_) => 1,
        };
        (self.connect_timeout + self.answer_timeout) * u32::try_from(connects).unwrap_or(u32::MAX)
    }

    /// A check of which nothing but this was said: it connects every two seconds, as HAProxy's.
    pub fn new(address: SocketAddr) -> Self {
        let interval = Duration::from_secs(2);
        Self {
            address,
            dial: None,
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
