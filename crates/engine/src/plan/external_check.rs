//! A program that finds out whether a server works.

use std::net::SocketAddr;

use crate::plan::ScriptUser;

/// What is run (`external-check command`), and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalCheck {
    /// The program.
    pub command: String,
    /// Where it finds others (`external-check path`).
    pub path: String,
    /// As whom it runs; as the daemon does if that is not said (`global` `user` and `group`).
    pub user: Option<ScriptUser>,
    /// Where the section listens, if it does.
    pub proxy: Option<SocketAddr>,
    /// The section's name.
    pub proxy_name: String,
    /// The section's place among all, from 2, as HAProxy counts them.
    pub proxy_id: u32,
    /// The server's place in its section, from 1.
    pub server_id: u32,
    /// The server's name.
    pub server_name: String,
    /// Connections the server takes; 0 is any number.
    pub server_maxconn: u32,
}
