//! Which servers work: schedules checks, counts rise and fall, and publishes the view the data plane reads.
//!
//! Owns [`Health`]. `check` has the vocabulary of results.

pub mod check;
pub mod event;

use std::sync::Arc;

use crate::admin::{FrontendStatus, PoolStatus};
use crate::engine::Output;
use crate::health::check::Verdict;
use crate::plan::{Plan, ServerId};
use crate::time::{Deadline, Instant};

/// The health of every server of a plan.
#[derive(Debug)]
pub struct Health {}

impl Health {
    /// Publishes a first view and starts checking. `seed` spreads the checks.
    pub fn new(_plan: Arc<Plan>, _seed: u64, _now: Instant) -> Self {
        Self {}
    }

    /// Takes in how a check ended.
    pub fn handle_check_finished(
        &mut self,
        _server: ServerId,
        _attempt: u64,
        _verdict: Verdict,
        _now: Instant,
    ) {
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    /// One for each frontend of the plan.
    pub fn frontend_status(&self) -> Vec<FrontendStatus> {
        Vec::new()
    }

    /// One for each pool of the plan.
    pub fn pool_status(&self, _now: Instant) -> Vec<PoolStatus> {
        Vec::new()
    }
}
