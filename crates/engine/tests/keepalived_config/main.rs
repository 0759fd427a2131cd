//! keepalived.conf from text to plan: what real files become, what is said about mistakes, and that nothing panics.

mod compare;
#[path = "../config_support/mod.rs"]
mod config_support;
mod diagnostics;
mod groups;
mod host;
mod keywords;
mod plan;
mod properties;
mod support;
