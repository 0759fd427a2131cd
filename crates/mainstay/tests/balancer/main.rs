//! mainstay beside a live HAProxy: both run the same file, with the same servers behind them.

mod addresses;
mod distribution;
mod half_open;
#[path = "../ports/mod.rs"]
mod ports;
mod queue;
mod rig;
