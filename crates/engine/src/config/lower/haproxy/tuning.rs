//! `clitcpka-…` and `srvtcpka-…` lines: when the kernel asks whether a peer is still there.
//!
//! Owns [`set`].

use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::line::{Line, bad_value};
use crate::config::lower::haproxy::value::{TimeProblem, time};
use crate::plan::Tuning;

/// The most the kernel takes for times, in seconds (`MAX_TCP_KEEPIDLE`), and for probes (`MAX_TCP_KEEPCNT`).
const MOST_SECONDS: u64 = 32_767;
const MOST_PROBES: i64 = 127;

/// Takes in a line.
pub(super) fn set(tuning: &mut Tuning, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let Some(word) = line.values.first() else { return };
    if line.name.ends_with("-cnt") {
        match word.text.parse::<i64>() {
            Ok(count) => {
                tuning.keepalive_count =
                    u8::try_from(count).ok().filter(|count| (1..=MOST_PROBES).contains(&i64::from(*count)));
                warn_unless(tuning.keepalive_count.is_some() || count == 0, line, diagnostics);
            }
            Err(_) => diagnostics.push(bad_value(word, &format!("`{}` takes a whole number", line.name))),
        }
        return;
    }
    // The kernel counts seconds, and so does a number without a unit.
    let digits = word.text.bytes().all(|byte| byte.is_ascii_digit());
    let text = if digits { format!("{}s", word.text) } else { word.text.clone() };
    let read = match time(&text) {
        Ok((read, _)) => u64::try_from(read.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX),
        Err(problem) => {
            let expected = match problem {
                TimeProblem::Unreadable => "takes a time in seconds, such as 30 or 30s",
                TimeProblem::TooLong => "is a time of at most 24.8 days",
            };
            return diagnostics.push(bad_value(word, &format!("`{}` {expected}", line.name)));
        }
    };
    let seconds = Some(read).filter(|seconds| (1..=MOST_SECONDS).contains(seconds));
    warn_unless(seconds.is_some() || read == 0, line, diagnostics);
    let place = match line.name.ends_with("-idle") {
        true => &mut tuning.keepalive_idle,
        false => &mut tuning.keepalive_interval,
    };
    *place = seconds.map(Duration::from_secs);
}

fn warn_unless(fits: bool, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if !fits {
        let message =
            format!("the kernel does not take this for `{}`, so mainstay's own value counts", line.name);
        diagnostics.push(
            Diagnostic::warning(codes::OUT_OF_RANGE, line.whole(), message)
                .hint(format!("from 1 to {MOST_SECONDS} seconds, and from 1 to {MOST_PROBES} probes")),
        );
    }
}
