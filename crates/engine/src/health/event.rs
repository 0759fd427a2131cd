//! What is worth saying about servers and pools.

use std::fmt;

use serde::Serialize;

use crate::event::Severity;

/// Something worth saying about a server or a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum HealthEvent {
    /// A server passed enough checks and takes connections.
    ServerUp {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The check that decided it.
        check: String,
    },
}

impl HealthEvent {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::ServerUp { .. } => Severity::Info,
        }
    }
}

impl fmt::Display for HealthEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerUp { pool, server, check } => write!(f, "server {pool}/{server} is up: {check}"),
        }
    }
}
