//! The last lines of the log, kept in memory for who asks later (`show events`).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Lines that are kept: an eventful day of a balancer.
const LINES: usize = 1024;

/// Bytes that are kept of all lines together.
const BYTES: usize = 512 * 1024;

/// The last lines.
#[derive(Debug, Default)]
pub struct Recent {
    kept: Mutex<Kept>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// Lines that came before the first one that is kept.
    forgotten: u64,
}

impl Recent {
    /// Keeps one more line, which has no end of a line in it.
    pub(super) fn keep(&self, line: &str) {
        let mut kept = self.lock();
        kept.bytes += line.len();
        kept.lines.push_back(line.to_owned());
        while kept.lines.len() > LINES || (kept.bytes > BYTES && kept.lines.len() > 1) {
            let bytes = kept.lines.pop_front().map_or(0, |line| line.len());
            kept.bytes = kept.bytes.saturating_sub(bytes);
            kept.forgotten += 1;
        }
        drop(kept);
        self.news.notify_waiters();
    }

    /// How many lines there have been.
    pub fn count(&self) -> u64 {
        let kept = self.lock();
        kept.forgotten + kept.lines.len() as u64
    }

    /// The lines that followed the first `seen` ones, as far as they are still there, each with its end; and how many there
    /// have been.
    pub fn after(&self, seen: u64) -> (String, u64) {
        let kept = self.lock();
        let skipped = usize::try_from(seen.saturating_sub(kept.forgotten)).unwrap_or(usize::MAX);
        let text = kept.lines.iter().skip(skipped).flat_map(|line| [line.as_str(), "\n"]).collect();
        (text, kept.forgotten + kept.lines.len() as u64)
    }

    /// Waits until there have been more than `seen` lines.
    pub async fn wait(&self, seen: u64) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            // From here on nothing is missed.
            news.as_mut().enable();
            if self.count() > seen {
                return;
            }
            news.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing that changes it can panic halfway.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_counted() {
        let recent = Recent::default();
        for number in 0..LINES + 2 {
            recent.keep(&format!("line {number}"));
        }
        let (text, count) = recent.after(0);
        assert_eq!((text.lines().next(), text.lines().count()), (Some("line 2"), LINES));
        assert_eq!(recent.after(count - 1), (format!("line {}\n", LINES + 1), count));
        assert_eq!(recent.after(count), (String::new(), count));
        recent.keep(&"x".repeat(2 * BYTES));
        assert_eq!(recent.lock().lines.len(), 1, "one line alone may be longer");
    }
}
