//! How long something takes on average, lately.
//!
//! Owns [`Average`] and [`Times`], HAProxy's sliding average: a sum from which every new sample takes one window's share
//! of what is in it. Below a full window it is the plain average.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Samples that an average is about (HAProxy's `TIME_STATS_SAMPLES`; its manual says 1024).
pub const WINDOW: u64 = 512;

/// A sliding average of spans, in milliseconds as HAProxy shows it.
#[derive(Debug, Default)]
pub struct Average {
    sum: AtomicU64,
    max: AtomicU64,
}

impl Average {
    /// Takes one more sample. `chosen` counts the connections that a server was chosen for, as in [`Average::mean`].
    fn add(&self, sample: Duration, chosen: u64) {
        let sample = u64::try_from(sample.as_millis()).unwrap_or(u64::MAX);
        let full = chosen > WINDOW;
        let slide = |sum: u64| {
            let share = if full { sum.div_ceil(WINDOW) } else { 0 };
            sum.saturating_sub(share).saturating_add(sample)
        };
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |sum| Some(slide(sum)));
        self.max.fetch_max(sample, Ordering::Relaxed);
    }

    /// The average of the latest connections, of which there were `chosen` in all.
    ///
    /// HAProxy divides by the connections for which its algorithm chose a server. Those that a queue assigned are
    /// samples, too, but not among these, so an average of few connections can exceed every one of them.
    pub fn mean(&self, chosen: u64) -> Duration {
        Duration::from_millis(self.sum.load(Ordering::Relaxed).div_ceil(chosen.clamp(1, WINDOW)))
    }

    /// The largest sample.
    pub fn max(&self) -> Duration {
        Duration::from_millis(self.max.load(Ordering::Relaxed))
    }

    fn reset(&self) {
        self.sum.store(0, Ordering::Relaxed);
        self.reset_max();
    }

    fn reset_max(&self) {
        self.max.store(0, Ordering::Relaxed);
    }
}

/// How long the parts of a connection's life take. HAProxy's response time is always zero in TCP mode.
#[derive(Debug, Default)]
pub struct Times {
    /// From the accept to the choice of a server (`qtime`, `qtime_max`).
    pub queue: Average,
    /// Until the server was connected (`ctime`, `ctime_max`).
    pub connect: Average,
    /// From the accept to the end (`ttime`, `ttime_max`).
    pub total: Average,
}

impl Times {
    /// Takes in one connection that reached a server; `chosen` as in [`Average::mean`].
    pub fn add(&self, queue: Duration, connect: Duration, total: Duration, chosen: u64) {
        self.queue.add(queue, chosen);
        self.connect.add(connect, chosen);
        self.total.add(total, chosen);
    }

    /// Forgets everything.
    pub fn reset(&self) {
        [&self.queue, &self.connect, &self.total].into_iter().for_each(Average::reset);
    }

    /// Forgets the maxima.
    pub fn reset_max(&self) {
        [&self.queue, &self.connect, &self.total].into_iter().for_each(Average::reset_max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn few_samples_have_a_plain_average() {
        let average = Average::default();
        assert_eq!(average.mean(0), ms(0));
        (1..=4).for_each(|sample| average.add(ms(sample * 10), sample));
        assert_eq!((average.mean(4), average.max()), (ms(25), ms(40)));
    }

    #[test]
    fn many_samples_forget_the_oldest() {
        let average = Average::default();
        (1..=WINDOW).for_each(|chosen| average.add(ms(10), chosen));
        assert_eq!(average.mean(WINDOW), ms(10));
        (1..=8 * WINDOW).for_each(|more| average.add(ms(90), WINDOW + more));
        assert_eq!(average.mean(9 * WINDOW), ms(90));
    }
}
