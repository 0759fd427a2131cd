//! mainstay beside a live HAProxy: both run the same file, with the same servers behind them.

mod distribution;
mod queue;
mod rig;
