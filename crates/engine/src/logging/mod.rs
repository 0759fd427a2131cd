//! What is written of connections and servers where the configuration says so, byte for byte as HAProxy writes it.
//!
//! Owns the texts: [`render`] of a connection, [`syslog`] of what stands before one, [`server_state`] of a server. To
//! write them is the shell's.

pub mod render;
pub mod server_state;
pub mod syslog;

pub use render::{Connection, Host, legacy, line};
