//! Everything mainstay can decide without asking the kernel.
//!
//! No sockets, files, threads, clocks, randomness or logging: time and seeds are arguments, and what has to be done
//! comes out as [`Output`]. The same inputs always give the same outputs, which is what the simulation in
//! `tests/simulation` rests on. See ARCHITECTURE.md for the map.

pub mod admin;
pub mod balance;
pub mod config;
pub mod endpoints;
pub mod engine;
pub mod event;
pub mod flows;
pub mod forwarding;
pub mod health;
mod jitter;
pub mod limits;
pub mod logging;
pub mod pages;
pub mod peers;
pub mod plan;
pub mod proxy_protocol;
pub mod resolve;
pub mod rules;
pub mod serving;
pub mod time;
pub mod vrrp;

pub use engine::{Engine, Input, Output};
pub use event::Event;
pub use plan::Plan;
