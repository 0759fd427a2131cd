//! Who holds a virtual address, sampled on the balancers' own interfaces.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

use super::error::{Context, Result};
use super::topology::Host;

/// Time between two looks at an interface.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(5);

/// Watches one host. Dropping it ends the watch.
#[derive(Debug)]
pub struct AddressWatch {
    changes: Arc<Mutex<Vec<Change>>>,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A moment from which on the host held the address, or did not.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    at: Instant,
    /// The label it had, when it was there.
    label: Option<String>,
}

impl AddressWatch {
    /// Starts to watch `host` for `address`.
    ///
    /// # Errors
    /// No thread.
    pub fn start(host: &Host, address: IpAddr) -> Result<Self> {
        Self::of(host, address, InterfaceFlags::empty())
    }

    /// The same, but an address counts only while its interface runs: FRR leaves it where it is, and takes the
    /// interface's carrier.
    ///
    /// # Errors
    /// No thread.
    pub fn where_running(host: &Host, address: IpAddr) -> Result<Self> {
        Self::of(host, address, InterfaceFlags::IFF_RUNNING)
    }

    fn of(host: &Host, address: IpAddr, flags: InterfaceFlags) -> Result<Self> {
        let changes = Arc::new(Mutex::new(vec![Change { at: Instant::now(), label: None }]));
        let ending = Arc::new(AtomicBool::new(false));
        let (host, seen, end) = (host.clone(), Arc::clone(&changes), Arc::clone(&ending));
        let thread = thread::Builder::new().name(format!("watch-{}", host.name())).spawn(move || {
            if let Err(error) = host.move_in() {
                eprintln!("mainstay lab: {error}");
                return;
            }
            while !end.load(Ordering::Relaxed) {
                let label = label(address, flags);
                let mut seen = lock(&seen);
                if seen.last().is_none_or(|last| last.label != label) {
                    seen.push(Change { at: Instant::now(), label });
                }
                drop(seen);
                thread::sleep(SAMPLE_INTERVAL);
            }
        });
        Ok(Self { changes, ending, thread: Some(thread.context("cannot start a thread")?) })
    }

    /// Whether the host holds the address now.
    pub fn holds(&self) -> bool {
        self.label().is_some()
    }

    /// The label of the address, if the host holds it now: the interface's name when it has none.
    pub fn label(&self) -> Option<String> {
        lock(&self.changes).last().and_then(|change| change.label.clone())
    }

    /// Since when the host has not held the address, if it does not now.
    pub fn gone_since(&self) -> Option<Instant> {
        lock(&self.changes).last().filter(|change| change.label.is_none()).map(|change| change.at)
    }

    /// Spans after `since` in which the host held the address, up to `until`.
    pub fn held_between(&self, since: Instant, until: Instant) -> Vec<(Instant, Instant)> {
        let changes = lock(&self.changes);
        let ends = changes.iter().skip(1).map(|next| next.at).chain([until]);
        let spans = changes.iter().zip(ends).filter(|(change, _)| change.label.is_some());
        spans
            .map(|(change, end)| (change.at.max(since), end.min(until)))
            .filter(|(from, to)| from < to)
            .collect()
    }
}

/// How long two sets of spans overlap.
pub fn overlap(left: &[(Instant, Instant)], right: &[(Instant, Instant)]) -> Duration {
    let both =
        |a: &(Instant, Instant), b: &(Instant, Instant)| a.1.min(b.1).saturating_duration_since(a.0.max(b.0));
    left.iter().flat_map(|a| right.iter().map(move |b| both(a, b))).sum()
}

impl Drop for AddressWatch {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("mainstay lab: a watch of the virtual address panicked");
        }
    }
}

/// The label of an address on the calling thread's host, on an interface with all these flags.
fn label(address: IpAddr, flags: InterfaceFlags) -> Option<String> {
    let fits = |entry: &InterfaceAddress| entry.flags.contains(flags) && ip_of(entry) == Some(address);
    Some(getifaddrs().ok()?.find(fits)?.interface_name)
}

fn ip_of(entry: &InterfaceAddress) -> Option<IpAddr> {
    let address = entry.address.as_ref()?;
    let ipv4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    ipv4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

fn lock(changes: &Mutex<Vec<Change>>) -> MutexGuard<'_, Vec<Change>> {
    changes.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_counts_only_what_both_share() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let left = [(at(0), at(100)), (at(300), at(400))];
        let right = [(at(50), at(350))];
        assert_eq!(overlap(&left, &right), Duration::from_millis(100));
        assert_eq!(overlap(&left, &[]), Duration::ZERO);
    }
}
