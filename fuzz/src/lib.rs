//! What has to hold for any bytes that come from outside.
//!
//! Owns [`TARGETS`]. libFuzzer looks for bytes that break it (`fuzz_targets`), and `crates/mainstay/tests/fuzz_corpus.rs`
//! replays the corpus, so both call the same functions.

mod admin;
mod client_hello;
mod configuration;
mod flow_message;
mod peer_view;
mod proxy_header;
mod vrrp;

pub use admin::admin_request;
pub use client_hello::client_hello_bytes;
pub use configuration::{haproxy_cfg, keepalived_conf};
pub use flow_message::flow_message;
pub use peer_view::peer_view;
pub use proxy_header::proxy_header;
pub use vrrp::vrrp_datagram;

/// Panics if something does not hold for the bytes.
pub type Target = fn(&[u8]);

/// Every target and its name.
pub const TARGETS: [(&str, Target); 8] = [
    ("admin_request", admin_request),
    ("client_hello", client_hello_bytes),
    ("flow_message", flow_message),
    ("haproxy_cfg", haproxy_cfg),
    ("keepalived_conf", keepalived_conf),
    ("peer_view", peer_view),
    ("proxy_header", proxy_header),
    ("vrrp_datagram", vrrp_datagram),
];
