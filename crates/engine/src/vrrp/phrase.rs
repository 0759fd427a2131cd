//! How spans of time read in sentences about VRRP.

use std::fmt;
use std::time::Duration;

/// A span as a person would say it: `0.36 s`, `3.6 s`, `42 s`, `7 min`, `3 h`.
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match self.0.as_secs() {
            0 => write!(f, "{seconds:.2} s"),
            1..10 => write!(f, "{seconds:.1} s"),
            10..120 => write!(f, "{seconds:.0} s"),
            120..7200 => write!(f, "{:.0} min", seconds / 60.0),
            _ => write!(f, "{:.0} h", seconds / 3600.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_naturally() {
        let shown =
            [61, 3609, 42_400, 420_000, 11_000_000].map(|ms| Span(Duration::from_millis(ms)).to_string());
        assert_eq!(shown, ["0.06 s", "3.6 s", "42 s", "7 min", "3 h"]);
    }
}
