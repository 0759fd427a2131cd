//! Forwarding in the kernel: what is asked of it for endpoints whose packets never reach user space.
//!
//! `conntrack` speaks of the kernel's connections, `flow_sync` keeps those of all balancers the same.

pub mod conntrack;
pub mod flow_sync;
