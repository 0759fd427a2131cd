//! The kernel's connections as mainstay makes, lists, watches and synchronises them: hosts in network namespaces, with the
//! kernel's own NAT between real clients and servers.

mod entries;
mod node;
mod rig;
mod sync;
mod takeover;
mod watching;
