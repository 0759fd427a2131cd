//! haproxy.cfg from text to plan: what real files become, what is said about mistakes, and that nothing panics.

#[path = "../config_support/mod.rs"]
mod config_support;
mod diagnostics;
mod nat;
mod plan;
mod properties;
mod rules;
mod support;
