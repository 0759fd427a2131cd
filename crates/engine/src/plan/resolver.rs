//! Name servers, and servers whose addresses they know.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Family, Network};

/// Index of a [`Resolver`] in [`Plan::resolvers`](super::Plan::resolvers).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ResolverId(pub u16);

/// A section `resolvers`: whom to ask, how often, and how long answers count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolver {
    /// The section's name.
    pub name: String,
    /// Whom to ask, all at once; the first useful answer counts.
    pub name_servers: Vec<NameServer>,
    /// Whether the name servers of /etc/resolv.conf are asked, too (`parse-resolv-conf`).
    pub system: bool,
    /// How often a question is asked before the name counts as not resolved (`resolve_retries`).
    pub tries: u32,
    /// Between two resolutions (`timeout resolve`).
    pub interval: Duration,
    /// How long an answer may take, and between two tries (`timeout retry`).
    pub retry: Duration,
    /// How long the last valid answer counts.
    pub hold: Hold,
    /// The largest answer over UDP (`accepted_payload_size`).
    pub payload_bytes: u16,
}

/// Whom to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub address: SocketAddr,
    /// Over TCP instead of UDP.
    pub tcp: bool,
}

/// How long the last valid answer counts when later ones are worse (`hold`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// At least so long after it came.
    pub valid: Duration,
    /// When the name is said not to exist.
    pub nx: Duration,
    /// When nobody answers.
    pub timeout: Duration,
    /// When name servers refuse to answer.
    pub refused: Duration,
    /// When it is something else.
    pub other: Duration,
    /// When an address is not among the answers any more.
    pub obsolete: Duration,
}

/// Where the address of a server comes from while the daemon runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Who is asked.
    pub resolver: ResolverId,
    /// What is looked up.
    pub name: String,
    /// Whether it is the name of a service, whose answers (SRV) name a host and a port for each server.
    pub service: bool,
    /// Which family is asked for first (`resolve-prefer`).
    pub prefer: Family,
    /// Networks whose addresses are taken first (`resolve-net`).
    pub networks: Vec<Network>,
    /// Whether several servers of the name may have one address (`resolve-opts allow-dup-ip`).
    pub duplicates: bool,
    /// Whether the weights of a service are left alone (`resolve-opts ignore-weight`).
    pub ignore_weight: bool,
}

impl Resolver {
    /// A section of which nothing but this was said: HAProxy's defaults.
    pub fn new(name: impl Into<String>, name_servers: Vec<NameServer>) -> Self {
        let half_a_minute = Duration::from_secs(30);
        Self {
            name: name.into(),
            name_servers,
            system: false,
            tries: 3,
            interval: Duration::from_secs(1),
            retry: Duration::from_secs(1),
            hold: Hold {
                valid: Duration::from_secs(10),
                nx: half_a_minute,
                timeout: half_a_minute,
                refused: half_a_minute,
                other: half_a_minute,
                obsolete: Duration::ZERO,
            },
            payload_bytes: 512,
        }
    }
}

impl Lookup {
    /// An address with nothing but this said: HAProxy's defaults.
    pub fn new(resolver: ResolverId, name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            resolver,
            service: name.starts_with('_'),
            name,
            prefer: Family::Ipv6,
            networks: Vec::new(),
            duplicates: false,
            ignore_weight: false,
        }
    }
}
