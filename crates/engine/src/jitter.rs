//! The random part of times, from a seed.

use std::time::Duration;

/// A source of numbers that look random and depend on its seed only (SplitMix64).
#[derive(Debug)]
pub(crate) struct Jitter {
    state: u64,
    /// How far a time may move, in percent.
    percent: u8,
}

impl Jitter {
    pub(crate) const fn new(seed: u64, percent: u8) -> Self {
        Self { state: seed, percent }
    }

    /// `interval` moved by up to its percentage, up or down.
    pub(crate) fn spread(&mut self, interval: Duration) -> Duration {
        let reach = interval * u32::from(self.percent) / 100;
        (interval + self.below(reach * 2)).saturating_sub(reach)
    }

    /// A span from zero up to `bound`.
    pub(crate) fn below(&mut self, bound: Duration) -> Duration {
        let nanos = u64::try_from(bound.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.next().checked_rem(nanos.saturating_add(1)).unwrap_or(0))
    }

    const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_move_within_the_percentage_and_both_ways() {
        let mut jitter = Jitter::new(7, 20);
        let spread: Vec<_> = (0..200).map(|_| jitter.spread(Duration::from_secs(10))).collect();
        assert!(spread.iter().all(|time| (8.0..=12.0).contains(&time.as_secs_f64())));
        assert!(spread.iter().any(|time| time.as_secs_f64() < 8.5));
        assert!(spread.iter().any(|time| time.as_secs_f64() > 11.5));
    }

    #[test]
    fn without_spread_checks_times_stay() {
        assert_eq!(Jitter::new(7, 0).spread(Duration::from_secs(2)), Duration::from_secs(2));
    }
}
