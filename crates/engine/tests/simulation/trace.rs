//! What happened, as a fingerprint and, for one seed, as lines to read.

use std::fmt;

use mainstay_engine::time::Instant;

pub(crate) struct Trace {
    fingerprint: u64,
    shown: bool,
}

impl Trace {
    pub(crate) const fn new(shown: bool) -> Self {
        // FNV-1a's start value.
        Self { fingerprint: 0xcbf2_9ce4_8422_2325, shown }
    }

    pub(crate) fn note(&mut self, now: Instant, what: fmt::Arguments<'_>) {
        let line = format!("{} {what}", now.as_nanos());
        for byte in line.bytes() {
            self.fingerprint = (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.shown {
            println!("{:>12.6} {what}", now.since(Instant::default()).as_secs_f64());
        }
    }

    pub(crate) const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}
