//! Spans of time on the lab's command line and in its tables, and waiting for conditions.

use std::thread;
use std::time::{Duration, Instant};

use super::error::{LabError, Result};

/// Time between two looks at a condition.
const LOOK: Duration = Duration::from_millis(20);

/// Reads "250ms" or "2s".
///
/// # Errors
/// Anything else, in words for clap.
pub fn parse_duration(text: &str) -> std::result::Result<Duration, String> {
    let (digits, unit) = match text.strip_suffix("ms") {
        Some(digits) => (digits, Duration::from_millis(1)),
        None => (text.strip_suffix('s').unwrap_or_default(), Duration::from_secs(1)),
    };
    let count: u32 =
        digits.parse().map_err(|_| "write a number and `ms` or `s`, as in 250ms or 2s".to_owned())?;
    Ok(unit * count)
}

/// Looks at a condition until it holds.
///
/// `look` returns what is still missing, which becomes the error when `patience` runs out.
///
/// # Errors
/// The condition did not come true in time, or looking failed.
pub fn wait_until<T>(
    patience: Duration,
    mut look: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(missing) if Instant::now() > deadline => {
                return Err(LabError::new(format!("after {} s still {missing}", patience.as_secs())));
            }
            Err(_) => thread::sleep(LOOK),
        }
    }
}

/// Waits until `then`; at once when it has passed.
pub fn pause_until(then: Instant) {
    thread::sleep(then.saturating_duration_since(Instant::now()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2s"), Ok(Duration::from_secs(2)));
        for wrong in ["", "2", "s", "ms", "-1s", "1.5s", "2 s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong:?} was accepted");
        }
    }

    #[test]
    fn a_condition_that_never_holds_says_what_is_missing() {
        let error = wait_until::<()>(Duration::ZERO, || Ok(Err("nobody home".to_owned()))).unwrap_err();
        assert_eq!(error.to_string(), "after 0 s still nobody home");
    }
}
