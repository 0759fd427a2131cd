//! What is worth saying about what the kernel forwards.

use std::fmt;

use serde::Serialize;

use crate::event::Severity;

/// Something worth saying about what the kernel forwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ForwardingEvent {
    /// Rules could not be put in force, or are in force no more.
    ForwardingFailed {
        /// Why.
        reason: String,
    },
    /// The rules are in force again.
    ForwardingInForce,
}

impl ForwardingEvent {
    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::ForwardingFailed { .. } => Severity::Error,
            Self::ForwardingInForce => Severity::Info,
        }
    }
}

impl fmt::Display for ForwardingEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForwardingFailed { reason } => {
                write!(f, "the kernel does not forward as it should: {reason}; mainstay tries again")
            }
            Self::ForwardingInForce => f.write_str("the kernel forwards as it should again"),
        }
    }
}
