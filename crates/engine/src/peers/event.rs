//! What is worth saying about the other balancers of a group and the links to them.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::event::Severity;

/// Something worth saying about a peer link.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum PeersEvent {
    /// A router's balancers have no link to each other.
    NoPeerLink {
        /// The router's name.
        router: String,
        /// Why, as a phrase.
        reason: &'static str,
    },
    /// A link came up.
    PeerLinkUp {
        /// The peer's address.
        peer: IpAddr,
    },
    /// A link that was up ended.
    PeerLinkDown {
        /// The peer's address.
        peer: IpAddr,
        /// How it ended, as a phrase.
        how: String,
    },
    /// The peer's kernel closed the link and refuses a new one, so that its routers are challenged.
    PeerGone {
        /// The peer's address.
        peer: IpAddr,
    },
    /// A peer and this node have different keys.
    PeerKeyMismatch {
        /// The peer's address.
        peer: IpAddr,
        /// Which of the two refused the other.
        refused_by_peer: bool,
    },
    /// A node differs from this one though it should not.
    PeerDrift {
        /// The peer's address.
        peer: IpAddr,
        /// What differs, one sentence each.
        drift: Vec<String>,
    },
    /// Nothing differs any more.
    PeerDriftEnded {
        /// The peer's address.
        peer: IpAddr,
    },
    /// Links of peers cannot be accepted on an address; it is tried again.
    PeerLinkNotListening {
        /// The address.
        address: IpAddr,
        /// The kernel's reason.
        reason: String,
    },
    /// This node takes an address over, with the connections that its kernel forwards.
    FlowsTaken {
        /// The address.
        address: IpAddr,
        /// Connections that go on here.
        taken: usize,
        /// Connections that the kernel refused.
        refused: usize,
        /// How long it took, in seconds.
        took: f64,
    },
    /// Connections that kernels forward are not the same on all balancers; it is tried again.
    FlowsFailed {
        /// Why.
        reason: String,
    },
    /// A bound was hit.
    PeerLinkBound {
        /// Which, with its number, as a phrase.
        bound: String,
    },
}

impl PeersEvent {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::NoPeerLink { .. } | Self::PeerLinkUp { .. } | Self::PeerDriftEnded { .. } => Severity::Info,
            Self::FlowsTaken { refused: 0, .. } => Severity::Info,
            Self::PeerLinkDown { .. }
            | Self::PeerGone { .. }
            | Self::PeerKeyMismatch { .. }
            | Self::PeerDrift { .. }
            | Self::PeerLinkNotListening { .. }
            | Self::FlowsTaken { .. }
            | Self::FlowsFailed { .. }
            | Self::PeerLinkBound { .. } => Severity::Warning,
        }
    }
}

impl fmt::Display for PeersEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPeerLink { router, reason } => write!(f, "router {router} has no peer link: {reason}"),
            Self::PeerLinkUp { peer } => write!(f, "the link to {peer} is up"),
            Self::PeerLinkDown { peer, how } => {
                write!(f, "the link to {peer} ended, which changes nothing by itself: {how}")
            }
            Self::PeerGone { peer } => {
                write!(f, "{peer} closed its link and refuses a new one: it is challenged where it is active")
            }
            Self::PeerKeyMismatch { peer, refused_by_peer: true } => {
                write!(f, "{peer} refuses the link of this node: {KEY_ADVICE}")
            }
            Self::PeerKeyMismatch { peer, refused_by_peer: false } => {
                write!(f, "this node refuses a link of {peer}: {KEY_ADVICE}")
            }
            Self::PeerDrift { peer, drift } => {
                write!(f, "{peer} differs from this node: {}", drift.join("; "))
            }
            Self::PeerDriftEnded { peer } => write!(f, "{peer} does not differ from this node any more"),
            Self::PeerLinkNotListening { address, reason } => {
                write!(f, "links of peers cannot be accepted on {address}: {reason}")
            }
            Self::FlowsTaken { address, taken, refused, took } => {
                let took = took * 1000.0;
                write!(
                    f,
                    "{taken} connections to {address} go on here, known to the kernel after {took:.0} ms"
                )?;
                if *refused > 0 { write!(f, "; it refused {refused}") } else { Ok(()) }
            }
            Self::FlowsFailed { reason } => {
                write!(f, "connections in the kernel may not survive the next takeover: {reason}")
            }
            Self::PeerLinkBound { bound } => write!(f, "the peer link reached a bound: {bound}"),
        }
    }
}

/// Adverts compare eight bytes of a password, the link all of it.
pub(super) const KEY_ADVICE: &str = "its key is another, so one of the two has another secret; make the whole \
     `auth_pass` equal on both, also what follows its first eight bytes, which adverts leave out, or the active key of `auth_hmac`";
