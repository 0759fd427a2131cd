//! A load that leaves no core of this machine idle.
//!
//! Owns [`Burners`], threads that only turn, and what is known of [`Busy`] connections, which the clients open.

use std::hint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::error::{Context, Result};

/// One thread for each core that does nothing but compute. Dropping it ends them.
#[derive(Debug)]
pub struct Burners {
    ending: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burners {
    /// Starts them.
    ///
    /// # Errors
    /// No threads.
    pub fn start() -> Result<Self> {
        let mut burners = Self { ending: Arc::default(), threads: Vec::new() };
        let cores = thread::available_parallelism().context("cannot count the cores")?.get();
        for core in 0..cores {
            let ending = Arc::clone(&burners.ending);
            let burn = move || {
                while !ending.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            };
            let thread = thread::Builder::new().name(format!("burner-{core}")).spawn(burn);
            burners.threads.push(thread.context("cannot start a thread")?);
        }
        Ok(burners)
    }
}

impl Drop for Burners {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It cannot panic.
            let _ = thread.join();
        }
    }
}

/// Connections that carry as much as they can, both ways, until [`Busy::end`].
#[derive(Clone, Debug, Default)]
pub struct Busy {
    pub(super) carried: Arc<AtomicU64>,
    pub(super) broken: Arc<AtomicUsize>,
    pub(super) ending: Arc<AtomicBool>,
}

impl Busy {
    /// Bytes that went to an apiserver and came back.
    pub fn carried(&self) -> u64 {
        self.carried.load(Ordering::Relaxed)
    }

    /// Connections that broke.
    pub fn broken(&self) -> usize {
        self.broken.load(Ordering::Relaxed)
    }

    /// Ends them.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}
