//! How often something happens each second, counted without a lock.
//!
//! Owns [`Rate`], HAProxy's sliding frequency counter: the second that runs and the one before it, weighted by how much
//! of it still lies within the last second. The first event after a silence begins a second.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::time::Instant;

/// The span that is counted, in milliseconds.
const PERIOD: u32 = 1000;

/// Events of the last second.
#[derive(Debug, Default)]
pub struct Rate {
    /// When the running second began, in milliseconds, above the events since then.
    current: AtomicU64,
    /// The same of the second before. Counts only while the running one begins where this one ends.
    before: AtomicU64,
    max: AtomicU32,
}

impl Rate {
    /// Counts `events` at `now`.
    pub fn add(&self, events: u32, now: Instant) {
        let now = milliseconds(now);
        let mut seen = self.current.load(Ordering::Relaxed);
        let (rotated, count) = loop {
            let (begun, count) = unpack(seen);
            let next = match elapsed(begun, now) {
                0..PERIOD => (begun, count.saturating_add(events)),
                PERIOD..2_000 => (begun.wrapping_add(PERIOD), events),
                _ => (now, events),
            };
            let swap =
                self.current.compare_exchange_weak(seen, pack(next), Ordering::Relaxed, Ordering::Relaxed);
            match swap {
                Ok(_) => break (next.0 != begun, next.1),
                Err(changed) => seen = changed,
            }
        };
        if rotated {
            self.before.store(seen, Ordering::Relaxed);
        }
        if count > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(count, Ordering::Relaxed);
        }
    }

    /// Events in the second before `now`.
    pub fn per_second(&self, now: Instant) -> u32 {
        let now = milliseconds(now);
        let (begun, count) = unpack(self.current.load(Ordering::Relaxed));
        let (begun_before, count_before) = unpack(self.before.load(Ordering::Relaxed));
        let elapsed = elapsed(begun, now);
        let (past, current) = match elapsed {
            0..PERIOD if begun_before.wrapping_add(PERIOD) == begun => (count_before, count),
            0..PERIOD => (0, count),
            PERIOD..2_000 => (count, 0),
            _ => return 0,
        };
        if current == 0 && past <= 1 {
            return past;
        }
        let left = u64::from(PERIOD - elapsed % PERIOD);
        let total = u64::from(past) * left / u64::from(PERIOD) + u64::from(current);
        u32::try_from(total).unwrap_or(u32::MAX)
    }

    /// Most events ever counted in one of its seconds.
    pub fn max(&self) -> u32 {
        self.max.load(Ordering::Relaxed)
    }

    /// Forgets the maximum. The rate itself is about now.
    pub fn reset_max(&self) {
        self.max.store(0, Ordering::Relaxed);
    }
}

/// Milliseconds in 32 bits, which come round every 49 days.
fn milliseconds(now: Instant) -> u32 {
    u32::try_from((now.as_nanos() / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0)
}

/// Milliseconds from `begun` to `now`; zero for a thread whose `now` is a moment older.
fn elapsed(begun: u32, now: u32) -> u32 {
    let elapsed = now.wrapping_sub(begun);
    if elapsed > u32::MAX - PERIOD { 0 } else { elapsed }
}

fn pack((begun, count): (u32, u32)) -> u64 {
    u64::from(begun) << 32 | u64::from(count)
}

fn unpack(packed: u64) -> (u32, u32) {
    let low = u32::try_from(packed & u64::from(u32::MAX)).unwrap_or(0);
    (u32::try_from(packed >> 32).unwrap_or(0), low)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn the_last_second_slides() {
        let rate = Rate::default();
        (0..10).for_each(|_| rate.add(1, at(70_000)));
        assert_eq!(rate.per_second(at(70_000)), 10);
        assert_eq!(rate.per_second(at(71_500)), 5);
        rate.add(2, at(71_500));
        assert_eq!(rate.per_second(at(71_500)), 7);
        assert_eq!(rate.per_second(at(71_900)), 3);
        assert_eq!(rate.per_second(at(74_000)), 0);
        assert_eq!(rate.max(), 10);
        rate.reset_max();
        assert_eq!(rate.max(), 0);
    }

    #[test]
    fn a_silence_ends_what_was_before() {
        let rate = Rate::default();
        rate.add(8, at(10_000));
        rate.add(1, at(15_400));
        assert_eq!(rate.per_second(at(15_401)), 1);
        // One event is one a second for as long as it is within two.
        assert_eq!(rate.per_second(at(17_300)), 1);
        assert_eq!(rate.per_second(at(17_400)), 0);
    }

    #[test]
    fn milliseconds_may_come_round_and_threads_may_lag() {
        let rate = Rate::default();
        let end = u64::from(u32::MAX);
        rate.add(4, at(end - 100));
        rate.add(1, at(end - 110));
        rate.add(4, at(end + 800));
        assert_eq!(rate.per_second(at(end + 800)), 9);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let rate = Rate::default();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10_000).for_each(|_| rate.add(1, at(5_000))));
            }
        });
        assert_eq!(rate.per_second(at(5_000)), 40_000);
    }
}
