//! Numbers and times, as HAProxy writes them.

use std::time::Duration;

/// What is wrong with a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeProblem {
    /// No whole number with a unit.
    Unreadable,
    /// More than HAProxy's timers hold.
    TooLong,
}

/// HAProxy counts milliseconds in 31 bits: about 24.8 days.
const LONGEST: u128 = 2_147_483_647_000;

/// A whole number and a unit, milliseconds without one; and what follows, which HAProxy passes over.
pub(super) fn time(text: &str) -> Result<(Duration, &str), TimeProblem> {
    let (time, after) = microseconds(text, 1_000)?;
    if time > LONGEST {
        return Err(TimeProblem::TooLong);
    }
    // Timers count milliseconds, and round up.
    let time = u64::try_from(time.div_ceil(1_000)).map_err(|_| TimeProblem::TooLong)?;
    Ok((Duration::from_millis(time), after))
}

/// A whole number and a unit, in microseconds, of which a number without a unit has `bare` each; and what follows.
pub(super) fn microseconds(text: &str, bare: u128) -> Result<(u128, &str), TimeProblem> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    const UNITS: [(&str, u128); 6] = [
        ("us", 1),
        ("ms", 1_000),
        ("s", 1_000_000),
        ("m", 60_000_000),
        ("h", 3_600_000_000),
        ("d", 86_400_000_000),
    ];
    let unit = UNITS.iter().find_map(|(unit, length)| Some((rest.strip_prefix(unit)?, *length)));
    let unit = unit.or_else(|| rest.is_empty().then_some((rest, bare)));
    let (false, Some((after, length))) = (number.is_empty(), unit) else {
        return Err(TimeProblem::Unreadable);
    };
    let number: u128 = number.parse().map_err(|_| TimeProblem::TooLong)?;
    number.checked_mul(length).map(|time| (time, after)).ok_or(TimeProblem::TooLong)
}

/// The number that a text begins with, as C's `atol` reads it: HAProxy takes some of its arguments so.
pub(super) fn leading_integer(text: &str) -> i32 {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
    let number = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i32::MAX) };
    if text.starts_with('-') { -number } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_haproxys_units_and_bounds() {
        let read =
            ["5000", "5s", "1500us", "2m", "1h", "24d", "0"].map(|text| time(text).unwrap().0.as_millis());
        assert_eq!(read, [5_000, 5_000, 2, 120_000, 3_600_000, 2_073_600_000, 0]);
        assert_eq!(time("2147483647").map(|(time, _)| time.as_millis()), Ok(2_147_483_647));
        assert_eq!(
            ["25d", "2147483648", "99999999999999999999999999999999999999999"].map(time),
            [Err(TimeProblem::TooLong); 3]
        );
        assert_eq!(time("1us"), Ok((Duration::from_millis(1), "")));
        assert_eq!(time("5sec"), Ok((Duration::from_secs(5), "ec")));
        assert_eq!(time("5min"), Ok((Duration::from_secs(300), "in")));
        assert_eq!(["", "s", "-1", "1.5s", "1x", "5S"].map(time), [Err(TimeProblem::Unreadable); 6]);
    }
}
