//! How long something has been up or down, and how often and how long it was down in all.
//!
//! Owns [`Availability`]: of a server, and of a pool.

use std::time::Duration;

use crate::time::Instant;

/// Up or down, since when, and what was before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Availability {
    up: bool,
    since: Instant,
    downs: u64,
    /// Of all times before this one.
    downtime: Duration,
}

impl Availability {
    /// It is up or down from the start.
    pub(super) const fn new(up: bool, now: Instant) -> Self {
        Self { up, since: now, downs: 0, downtime: Duration::ZERO }
    }

    /// Whether it is up at `now`.
    pub(super) fn note(&mut self, up: bool, now: Instant) {
        match (self.up, up) {
            (true, false) => self.downs += 1,
            (false, true) => self.downtime = self.downtime(now),
            _ => return,
        }
        (self.up, self.since) = (up, now);
    }

    /// How long it has been as it is.
    pub(super) fn since(&self, now: Instant) -> Duration {
        now.since(self.since)
    }

    /// How often it went down.
    pub(super) const fn downs(&self) -> u64 {
        self.downs
    }

    /// How long it was down in all, this time included.
    pub(super) fn downtime(&self, now: Instant) -> Duration {
        if self.up { self.downtime } else { self.downtime.saturating_add(self.since(now)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_it_was_down_add_up() {
        let at = |second: u64| Instant::from_nanos(second * 1_000_000_000);
        let mut server = Availability::new(true, at(10));
        assert_eq!((server.downs(), server.downtime(at(11))), (0, Duration::ZERO));
        server.note(false, at(12));
        server.note(false, at(13));
        assert_eq!((server.downs(), server.downtime(at(15)).as_secs()), (1, 3));
        server.note(true, at(16));
        server.note(false, at(20));
        assert_eq!((server.downs(), server.downtime(at(21)).as_secs()), (2, 5));
        assert_eq!(server.since(at(21)).as_secs(), 1);
    }
}
