//! What is counted of requests that a frontend answers itself.

use std::sync::atomic::{AtomicU64, Ordering};

use super::rate::Rate;
use crate::time::Instant;

/// Classes of statuses: 1xx to 5xx, and others.
pub const CLASSES: usize = 6;

/// Counters of the requests of one frontend.
#[derive(Debug, Default)]
pub struct RequestLoad {
    /// Requests (`req_tot`).
    pub total: AtomicU64,
    /// The same for each second (`req_rate`, `req_rate_max`).
    pub rate: Rate,
    /// Those that were answered because they asked for something that is here (`intercepted`).
    pub intercepted: AtomicU64,
    /// Those that no server was there for.
    pub unserved: AtomicU64,
    /// Answers by class of their status (`hrsp_1xx` and its like).
    pub answers: [AtomicU64; CLASSES],
}

impl RequestLoad {
    /// Counts a request.
    pub fn begin(&self, now: Instant) {
        self.total.fetch_add(1, Ordering::Relaxed);
        self.rate.add(1, now);
    }

    /// Counts the answer to one, by its status.
    pub fn answer(&self, status: u16) {
        let class = usize::from(status / 100).checked_sub(1).unwrap_or(CLASSES);
        if let Some(answers) = self.answers.get(class.min(CLASSES - 1)) {
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Begins to count anew.
    pub(super) fn reset(&self) {
        self.reset_maxima();
        let counters = [&self.total, &self.intercepted, &self.unserved];
        counters.into_iter().chain(&self.answers).for_each(|counter| counter.store(0, Ordering::Relaxed));
    }

    /// Forgets the maxima.
    pub(super) fn reset_maxima(&self) {
        self.rate.reset_max();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_their_class() {
        let load = RequestLoad::default();
        for status in [200, 204, 303, 401, 503, 999, 0] {
            load.answer(status);
        }
        let counts = load.answers.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        assert_eq!(counts, [0, 2, 1, 1, 1, 2]);
        load.reset();
        assert!(load.answers.iter().all(|counter| counter.load(Ordering::Relaxed) == 0));
    }
}
