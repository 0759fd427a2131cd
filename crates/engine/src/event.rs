//! Everything worth saying, as one closed list.
//!
//! Owns [`Event`]: the shell logs it, counts it by name and shows it; tests assert on it. The engine never logs.
//! [`Display`](std::fmt::Display) is the sentence for people, serde gives the fields for machines.

use std::fmt;

use serde::Serialize;

use crate::forwarding::event::ForwardingEvent;
use crate::health::event::HealthEvent;
use crate::health::operator_event::OperatorEvent;
use crate::peers::event::PeersEvent;
use crate::resolve::event::ResolveEvent;
use crate::vrrp::event::VrrpEvent;

/// Something worth saying.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// About a virtual router, its peers or what it tracks.
    Vrrp(VrrpEvent),
    /// About a server or a pool.
    Health(HealthEvent),
    /// About the links to other balancers.
    Peers(PeersEvent),
    /// About what was changed while the daemon runs.
    Operator(OperatorEvent),
    /// About a name that servers have.
    Resolve(ResolveEvent),
    /// About what the kernel forwards.
    Forwarding(ForwardingEvent),
}

/// How much an event matters to somebody woken by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Of interest to somebody who follows one thing closely.
    Debug,
    /// A change that was meant to happen.
    Info,
    /// Service is kept, but something needs looking at.
    Warning,
    /// Service is lost or about to be.
    Error,
}

impl Event {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Vrrp(event) => event.severity(),
            Self::Health(event) => event.severity(),
            Self::Peers(event) => event.severity(),
            Self::Operator(event) => event.severity(),
            Self::Resolve(event) => event.severity(),
            Self::Forwarding(event) => event.severity(),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vrrp(event) => event.fmt(f),
            Self::Health(event) => event.fmt(f),
            Self::Peers(event) => event.fmt(f),
            Self::Operator(event) => event.fmt(f),
            Self::Resolve(event) => event.fmt(f),
            Self::Forwarding(event) => event.fmt(f),
        }
    }
}
