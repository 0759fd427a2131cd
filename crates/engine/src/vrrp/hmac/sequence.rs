//! The number of a signed advert, which is also the time it was signed at.
//!
//! Owns [`Sequence`] and its arithmetic: serial numbers of 64 bits (RFC 1982), because the seconds in them wrap in 2106.

use std::time::Duration;

use crate::time::UnixTime;

/// 32 bits of seconds, 16 bits of their fraction, and a counter of 16 bits for adverts within one tick of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence(u64);

impl Sequence {
    /// The first number of the moment `time`.
    pub fn at(time: UnixTime) -> Self {
        let fraction = u64::from(time.since_epoch().subsec_nanos()) * (1 << 16) / 1_000_000_000;
        // Only the low 32 bits of the seconds fit.
        Self(time.since_epoch().as_secs() << 32 | fraction << 16)
    }

    /// The number that is `bits` on the wire.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The number on the wire.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The next number, whatever the time.
    pub(super) const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// Whether this number comes after `other` (RFC 1982 §3.2). At half the circle neither comes after the other.
    pub(super) const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0).cast_signed() > 0
    }

    /// How far the clock that made this number is ahead of `time`.
    pub(super) fn skew(self, time: UnixTime) -> Skew {
        let seconds = |sequence: Self| u32::try_from(sequence.0 >> 32).unwrap_or_default();
        Skew(seconds(self).wrapping_sub(seconds(Self::at(time))).cast_signed())
    }
}

/// How far one clock is ahead of another; negative is behind. In whole seconds, as freshness is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skew(i32);

impl Skew {
    /// How far the clocks are apart.
    pub(crate) const fn apart(self) -> Duration {
        Duration::from_secs(self.0.unsigned_abs() as u64)
    }

    /// Whether the other clock is the later one.
    pub(crate) const fn is_ahead(self) -> bool {
        self.0 > 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64, nanos: u32) -> UnixTime {
        UnixTime::new(Duration::new(seconds, nanos))
    }

    #[test]
    fn a_number_is_seconds_fraction_and_counter() {
        assert_eq!(Sequence::at(at(0x6800_0000, 500_000_000)).to_bits(), 0x6800_0000_8000_0000);
        assert_eq!(Sequence::at(at(0x1_0000_0001, 999_999_999)).to_bits(), 0x0000_0001_ffff_0000);
        assert_eq!(
            Sequence::from_bits(0xffff).next().to_bits(),
            0x1_0000,
            "an overrun counter moves the fraction"
        );
    }

    #[test]
    fn seconds_wrap_in_2106() {
        let (before, after) = (at(u64::from(u32::MAX), 0), at(u64::from(u32::MAX) + 2, 0));
        assert!(Sequence::at(after).is_after(Sequence::at(before)));
        assert_eq!(Sequence::at(after).skew(before), Skew(2));
        assert_eq!(Sequence::at(before).skew(after), Skew(-2));
        assert_eq!(Sequence::at(before).skew(after).apart(), Duration::from_secs(2));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn of_two_numbers_one_at_most_comes_after_the_other(one: u64, other: u64) {
            let (one, other) = (Sequence(one), Sequence(other));
            prop_assert!(!one.is_after(one));
            prop_assert!(!one.is_after(other) || !other.is_after(one));
            prop_assert!(one.next().is_after(one));
        }

        #[test]
        fn a_later_moment_has_a_later_number(
            seconds in 0_u64..1 << 40,
            nanos in 0_u32..1_000_000_000,
            later in 16_000_u64..1 << 60,
        ) {
            let moment = at(seconds, nanos);
            let then = UnixTime::new(moment.since_epoch() + Duration::from_nanos(later));
            prop_assert!(Sequence::at(then).is_after(Sequence::at(moment)));
        }
    }
}
