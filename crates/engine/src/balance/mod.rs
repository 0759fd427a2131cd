//! Which server a new connection goes to. One file for each algorithm.
//!
//! Owns [`pick`]. Called by the data plane on every connect, on any thread: it reads a published view and touches
//! nothing but its atomics.

use std::net::IpAddr;

use crate::plan::ServerIndex;
use crate::serving::PoolView;

/// What [`pick`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This server; one of its slots has been taken and must be released.
    Server(ServerIndex),
    /// Every selectable server holds as many connections as it may: wait in the queue.
    Full,
    /// No server is selectable.
    None,
}

/// Chooses a server for a connection from `client` and takes one of its slots.
///
/// `avoid` has just failed this connection and is chosen only if no other server is selectable at all.
pub fn pick(_pool: &PoolView, _client: IpAddr, _avoid: Option<ServerIndex>) -> Pick {
    Pick::None
}
