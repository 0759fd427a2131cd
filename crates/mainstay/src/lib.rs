//! mainstay: the Linux shell round [`mainstay_engine`]. Talks to the kernel, decides nothing the engine could.

pub mod admin;
pub mod boot;
pub mod checks;
pub mod cli;
pub mod clock;
pub mod configuration;
pub mod control;
pub mod diagnostics;
pub mod host;
pub mod lab;
pub mod log;
pub mod mailbox;
pub mod net;
pub mod notify;
pub mod peer_link;
pub mod program;
pub mod proxy;
pub mod realtime;
pub mod resolver;
pub mod resources;
pub mod runtime_api;
pub mod scripts;
pub mod signals;
pub mod status;
pub mod systemd;
pub mod tracked;
