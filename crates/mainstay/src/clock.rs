//! The one clock: `CLOCK_BOOTTIME` as the engine's [`Instant`]; and the one that is compared with other machines'.
//!
//! The first also runs while the machine is suspended, so a balancer that slept through its peers' patience knows it.

use std::time::{Duration, SystemTime};

use mainstay_engine::time::{Instant, UnixTime};
use nix::time::{ClockId, clock_gettime};

/// Now.
///
/// # Panics
/// If the kernel has no `CLOCK_BOOTTIME`; every Linux since 2.6.39 has one.
pub fn now() -> Instant {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME exists");
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec()).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// What the wall clock shows; the begin of 1970 if it was set to before that.
pub fn wall() -> UnixTime {
    UnixTime::new(SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO))
}

/// As [`wall`], in milliseconds since 1970.
pub fn wall_ms() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_forward() {
        let before = now();
        assert!(before.as_nanos() > 0 && now() >= before);
    }
}
