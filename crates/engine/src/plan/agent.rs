//! A program on a server that says how the server is.

use std::net::SocketAddr;
use std::time::Duration;

/// Whom to ask, and how often (`agent-check`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Where it listens.
    pub address: SocketAddr,
    /// What is sent once connected; it may be nothing (`agent-send`).
    pub send: String,
    /// Time between two questions (`agent-inter`).
    pub interval: Duration,
    /// How long a connect may take, and then an answer.
    pub timeout: Duration,
}
