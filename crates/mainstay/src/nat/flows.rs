//! How the kernel forgets flows.

use std::net::SocketAddr;

/// Has the kernel forget the flows between `endpoints` and `server`: those whose client connected to one of the endpoints and whose
/// answers come from the server. What their clients send next finds another server, which resets it.
///
/// This is the seam for a client of ctnetlink; until there is one, clients of a dead server wait for their own time-outs.
pub(super) fn delete(endpoints: &[SocketAddr], server: SocketAddr) {
    tracing::debug!("the flows of {endpoints:?} to {server} are left to time out");
}
