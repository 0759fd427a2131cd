//! What is worth saying about virtual routers, their peers and what they track.

use std::fmt;

use serde::Serialize;

use crate::event::Severity;

/// Something worth saying about a virtual router.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum VrrpEvent {
    /// A router became active.
    BecameActive {
        /// The router's name.
        router: String,
        /// Why, as a phrase.
        reason: String,
    },
}

impl VrrpEvent {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::BecameActive { .. } => Severity::Info,
        }
    }
}

impl fmt::Display for VrrpEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecameActive { router, reason } => write!(f, "router {router} is active: {reason}"),
        }
    }
}
