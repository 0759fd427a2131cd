//! Prometheus' text format.
//!
//! Owns [`Exposition`], which alone writes names, labels and numbers, so that what it writes is well-formed whatever the
//! labels hold.

use std::fmt::{self, Write as _};
use std::time::Duration;

/// What Prometheus may conclude from a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It goes up and down.
    Gauge,
    /// It only grows, until the daemon ends.
    Counter,
}

/// The number of a sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    /// A count.
    Whole(u64),
    /// What may be below zero.
    Signed(i64),
    /// A span.
    Seconds(Duration),
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Number {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u8> for Number {
    fn from(number: u8) -> Self {
        Self::Whole(number.into())
    }
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::Signed(number)
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Self {
        Self::Whole(is.into())
    }
}

impl From<Duration> for Number {
    fn from(span: Duration) -> Self {
        Self::Seconds(span)
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Signed(number) => number.fmt(f),
            Self::Seconds(span) => span.as_secs_f64().fmt(f),
        }
    }
}

/// Names of labels with their values.
pub(super) type Labels<'a> = Vec<(&'static str, &'a str)>;

/// A text that grows by families of samples.
#[derive(Debug, Default)]
pub(super) struct Exposition(String);

impl Exposition {
    /// Adds what there is of one metric; nothing of one without samples.
    pub(super) fn family<'a, N: Into<Number>>(
        &mut self,
        name: &str,
        kind: Kind,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'a>, N)>,
    ) {
        let mut samples = samples.into_iter().peekable();
        if samples.peek().is_none() {
            return;
        }
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, number) in samples {
            self.0.push_str(name);
            self.labels(&labels);
            let _ = writeln!(self.0, " {}", number.into());
        }
    }

    /// The text.
    pub(super) fn into_text(self) -> String {
        self.0
    }

    fn labels(&mut self, labels: &Labels<'_>) {
        for (place, (name, value)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{name}=\"");
            for character in value.chars() {
                match character {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    other => self.0.push(other),
                }
            }
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_numbers_exact() {
        let mut text = Exposition::default();
        text.family("m_total", Kind::Counter, "Some.", [(vec![("a", "x\"y\\z\n"), ("b", "")], u64::MAX)]);
        text.family("g", Kind::Gauge, "Other.", [(vec![], Duration::from_millis(1500))]);
        text.family("absent", Kind::Gauge, "None.", Vec::<(Labels<'_>, i64)>::new());
        assert_eq!(
            text.into_text(),
            "# HELP m_total Some.\n# TYPE m_total counter\nm_total{a=\"x\\\"y\\\\z\\n\",b=\"\"} \
             18446744073709551615\n# HELP g Other.\n# TYPE g gauge\ng 1.5\n"
        );
    }
}
