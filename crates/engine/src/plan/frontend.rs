//! Where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::plan::log::Logging;
use crate::plan::{Elsewhere, Forwarding, FrontendRules, Pages, PoolId, Tuning};

/// A set of listening addresses whose connections go to one pool, or are answered by the daemon itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// The section's name.
    pub name: String,
    /// HAProxy's number of the section.
    pub id: u32,
    /// Addresses to listen on; never empty.
    pub binds: Vec<Bind>,
    /// Connections held at once; more wait in the listen backlog.
    pub maxconn: Option<u32>,
    /// Length asked for the listen backlog.
    pub backlog: Option<u32>,
    /// How long a client may stay silent; `None` is for ever (`timeout client`).
    pub client_timeout: Option<Duration>,
    /// How long a half-closed client side may stay silent (`timeout client-fin`).
    pub client_fin_timeout: Option<Duration>,
    /// Where connections go that no rule sends elsewhere; `None` is nowhere.
    pub pool: Option<PoolId>,
    /// How connections get to their servers.
    pub forwarding: Forwarding,
    /// What it answers itself, in HTTP, instead of leading anywhere.
    pub pages: Option<Pages>,
    /// The rules on its connections.
    pub rules: FrontendRules,
    /// What is logged of its connections.
    pub logging: Logging,
}

/// One listening address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bind {
    /// The address; an unspecified IP means every address.
    pub address: SocketAddr,
    /// Whether an unspecified IPv6 address also takes IPv4 connections (`v4v6`).
    pub dual_stack: bool,
    /// Only connections that arrive on this interface.
    pub interface: Option<String>,
    /// Whether connections start with a PROXY header (`accept-proxy`).
    pub accept_proxy: bool,
    /// What it listens on instead of `address`.
    pub elsewhere: Option<Elsewhere>,
    /// Its number in its frontend (`id`), which stands for the address of a client that has none.
    pub id: u32,
    /// Connections it holds at once; more wait in the listen backlog.
    pub maxconn: Option<u32>,
    /// Length asked for its listen backlog, instead of the frontend's.
    pub backlog: Option<u32>,
    /// Also takes connections to addresses of others that are led here (`transparent`).
    pub transparent: bool,
    /// The largest segment to announce; below zero, so much less than usual (`mss`).
    pub mss: Option<i32>,
    /// What the kernel is told of its connections.
    pub tuning: Tuning,
}

impl Frontend {
    /// A frontend of which nothing but this was said: no limits and no time-outs.
    pub fn new(name: impl Into<String>, binds: Vec<Bind>, pool: PoolId) -> Self {
        Self {
            name: name.into(),
            id: 0,
            binds,
            maxconn: None,
            backlog: None,
            client_timeout: None,
            client_fin_timeout: None,
            pool: Some(pool),
            forwarding: Forwarding::Proxy,
            pages: None,
            rules: FrontendRules::default(),
            logging: Logging::default(),
        }
    }
}

impl Bind {
    /// An address without anything further.
    pub fn new(address: SocketAddr) -> Self {
        Self {
            address,
            dual_stack: false,
            interface: None,
            accept_proxy: false,
            elsewhere: None,
            id: 0,
            maxconn: None,
            backlog: None,
            transparent: false,
            mss: None,
            tuning: Tuning::default(),
        }
    }
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.elsewhere {
            Some(elsewhere) => elsewhere.fmt(f),
            None => self.address.fmt(f),
        }
    }
}
