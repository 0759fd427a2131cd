//! Time as the engine knows it: an argument, never a clock.
//!
//! Owns [`Instant`], [`UnixTime`] and [`Centis`]. Durations are [`std::time::Duration`], which reads no clock.

use std::fmt;
use std::ops::Add;
use std::time::Duration;

use serde::Serialize;

/// A point in time, in nanoseconds since a fixed moment that the caller chose.
///
/// The daemon passes `CLOCK_BOOTTIME`, which also runs while a machine is suspended, so that a router that slept
/// through its peers' patience knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The instant `nanos` nanoseconds after the fixed moment.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the fixed moment.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero when it lies in the future.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved back by `duration`, at most to the fixed moment.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(duration)))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates some 584 years after the fixed moment.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(saturating_nanos(duration)))
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a clock on the wall shows: UTC, which people and time servers may step in both directions.
///
/// Only what is compared between machines goes by it; everything else goes by [`Instant`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnixTime(Duration);

impl UnixTime {
    /// The moment `since_epoch` after the begin of 1970.
    pub const fn new(since_epoch: Duration) -> Self {
        Self(since_epoch)
    }

    /// Time since the begin of 1970.
    pub const fn since_epoch(self) -> Duration {
        self.0
    }
}

/// A wall clock that was read once and is counted on from there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WallClock {
    shown: UnixTime,
    at: Instant,
}

impl WallClock {
    /// The clock that shows `shown` at `at`.
    pub(crate) const fn new(shown: UnixTime, at: Instant) -> Self {
        Self { shown, at }
    }

    /// What it shows at `now`.
    pub(crate) fn read(self, now: Instant) -> UnixTime {
        UnixTime(self.shown.0.saturating_add(now.since(self.at)))
    }
}

/// Hundredths of a second, the unit of VRRP's timers (RFC 9568 §5.2.7), up to 655.35 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Centis(u16);

impl Centis {
    /// `count` hundredths of a second.
    pub const fn new(count: u16) -> Self {
        Self(count)
    }

    /// The number of hundredths of a second.
    pub const fn count(self) -> u16 {
        self.0
    }

    /// The same span as a [`Duration`].
    pub const fn to_duration(self) -> Duration {
        Duration::from_millis(self.0 as u64 * 10)
    }
}

impl fmt::Display for Centis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (seconds, 0) => write!(f, "{seconds} s"),
            (seconds, centis) => {
                write!(f, "{seconds}.{} s", format!("{centis:02}").trim_end_matches('0'))
            }
        }
    }
}

/// When a machine wants [`handle_timeout`](crate::Engine::handle_timeout) called, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline {
    /// Not before this instant.
    pub at: Instant,
    /// What is due then, for logs and for people who debug a busy loop.
    pub why: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert_eq!(late + Duration::from_secs(1), Instant::from_nanos(u64::MAX));
        assert_eq!(Instant::from_nanos(5).since(Instant::from_nanos(9)), Duration::ZERO);
        assert_eq!(Instant::from_nanos(5).minus(Duration::from_secs(1)), Instant::from_nanos(0));
    }

    #[test]
    fn centis_read_like_seconds() {
        let shown: Vec<_> = [100, 10, 1, 350, 4095].map(|count| Centis::new(count).to_string()).into();
        assert_eq!(shown, ["1 s", "0.1 s", "0.01 s", "3.5 s", "40.95 s"]);
    }
}
