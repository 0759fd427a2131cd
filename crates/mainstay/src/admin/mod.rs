//! How operators talk to a running daemon: a Unix socket, one line for each request and each answer.

pub mod client;
mod orders;
pub mod protocol;
pub mod server;

/// Where the socket is unless the operator says otherwise.
pub const DEFAULT_SOCKET: &str = "/run/mainstay/mainstay.sock";
