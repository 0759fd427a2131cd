//! How many events there were in the last period, as HAProxy reckons it.
//!
//! Owns [`Frequency`]: the events of the current period, and of the one before in proportion to what of it still counts.
//! For periods of any length, under a lock; [`serving::rate`](crate::serving::rate) counts seconds without one.

use std::time::Duration;

use crate::time::Instant;

/// Events in a sliding period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Frequency {
    began: Instant,
    current: u32,
    previous: u32,
}

impl Frequency {
    /// So many events just now.
    pub const fn of(events: u32, now: Instant) -> Self {
        Self { began: now, current: events, previous: 0 }
    }

    /// Counts one event.
    pub fn count(&mut self, period: Duration, now: Instant) {
        self.turn(period, now);
        self.current = self.current.saturating_add(1);
    }

    /// Events in the period that ends now.
    pub fn read(mut self, period: Duration, now: Instant) -> u32 {
        self.turn(period, now);
        // A single event a period ago does not flicker.
        if self.current == 0 && self.previous <= 1 {
            return self.previous;
        }
        self.current.saturating_add(self.fading(period, now))
    }

    /// How long to wait until there may be another event, if there shall be `limit` in a period; `None` is not at all.
    pub fn wait(mut self, limit: u32, period: Duration, now: Instant) -> Option<Duration> {
        self.turn(period, now);
        if self.current.saturating_add(self.fading(period, now)) < limit {
            return None;
        }
        // When the current period or the fading one has made room for one more.
        let share = period / limit.max(1);
        Some(share.clamp(Duration::from_millis(1), period.max(Duration::from_millis(1))))
    }

    /// What of the previous period still counts.
    fn fading(&self, period: Duration, now: Instant) -> u32 {
        let left = period.saturating_sub(now.since(self.began)).as_nanos();
        let part = u128::from(self.previous).saturating_mul(left).checked_div(period.as_nanos());
        part.and_then(|part| u32::try_from(part).ok()).unwrap_or(0)
    }

    fn turn(&mut self, period: Duration, now: Instant) {
        let passed = now.since(self.began);
        if passed < period {
            return;
        }
        let neighbour = passed < period.saturating_mul(2);
        self.previous = if neighbour { self.current } else { 0 };
        self.began = if neighbour { self.began + period } else { now };
        self.current = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(milliseconds: u64) -> Instant {
        Instant::from_nanos((100_000 + milliseconds) * 1_000_000)
    }

    #[test]
    fn events_fade_out_over_a_period() {
        let mut rate = Frequency::default();
        for _ in 0..100 {
            rate.count(SECOND, at(0));
        }
        assert_eq!(rate.read(SECOND, at(0)), 100);
        assert_eq!(rate.read(SECOND, at(999)), 100);
        assert_eq!(rate.read(SECOND, at(1_250)), 75);
        assert_eq!(rate.read(SECOND, at(1_990)), 1);
        assert_eq!(rate.read(SECOND, at(2_000)), 0);
        rate.count(SECOND, at(1_500));
        assert_eq!(rate.read(SECOND, at(1_500)), 51);
    }

    #[test]
    fn a_limit_makes_wait_until_there_is_room() {
        let mut rate = Frequency::default();
        let mut now = 0;
        let mut allowed = 0;
        while now < 10_000 {
            match rate.wait(50, SECOND, at(now)) {
                None => {
                    rate.count(SECOND, at(now));
                    allowed += 1;
                }
                Some(wait) => now += u64::try_from(wait.as_millis()).unwrap(),
            }
        }
        assert!((480..=550).contains(&allowed), "{allowed} in ten seconds at 50 a second");
        assert!(Frequency::default().wait(0, SECOND, at(0)).is_some());
    }
}
