//! When sessions have to be looked at, though nothing happened to them.
//!
//! Owns [`Timers`]. A session is armed for the earliest moment it could run out of time; activity does not move the
//! timer, the session just says "not yet" when it rings. So traffic costs nothing here.

use std::collections::BTreeSet;
use std::time::Instant;

use super::slab::Key;

/// At most one timer for each session.
#[derive(Debug, Default)]
pub(super) struct Timers {
    armed: BTreeSet<(Instant, Key)>,
}

impl Timers {
    /// Arms the timer of `key`, whose timer stood at `before`.
    pub(super) fn arm(&mut self, key: Key, before: Option<Instant>, at: Instant) {
        self.disarm(key, before);
        self.armed.insert((at, key));
    }

    /// Forgets the timer of `key`.
    pub(super) fn disarm(&mut self, key: Key, before: Option<Instant>) {
        if let Some(before) = before {
            self.armed.remove(&(before, key));
        }
    }

    /// When the next timer rings.
    pub(super) fn next(&self) -> Option<Instant> {
        self.armed.first().map(|&(at, _)| at)
    }

    /// Takes out one timer that rings at `now`.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        if self.next()? > now {
            return None;
        }
        self.armed.pop_first().map(|(_, key)| key)
    }
}
