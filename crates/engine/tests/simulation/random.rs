//! The only source of chance: splitmix64, so that a seed is a whole run.

use std::time::Duration;

/// A stream of numbers that a seed decides.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number from `-bound` to `bound`.
    pub(crate) fn within(&mut self, bound: i64) -> i64 {
        let width = u64::try_from(2 * bound + 1).expect("a positive bound");
        i64::try_from(self.below(width)).expect("a small number") - bound
    }

    /// A span from `low` up to but not including `high`.
    pub(crate) fn span(&mut self, low: Duration, high: Duration) -> Duration {
        let width = u64::try_from((high - low).as_nanos()).expect("a short span");
        low + Duration::from_nanos(self.below(width.max(1)))
    }

    /// One of `choices`.
    pub(crate) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("an index")]
    }

    /// An index below `bound`.
    pub(crate) fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).expect("an index")
    }
}
