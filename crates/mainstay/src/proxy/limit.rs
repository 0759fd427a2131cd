//! How many connections the process can hold: file descriptors against `maxconn`.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors of one connection: the client's and the server's.
const PER_CONNECTION: u64 = 2;

/// Descriptors left to everything else in the process: checks, VRRP, the admin socket, logs.
const RESERVED: u64 = 256;

/// Descriptors of one worker: its epoll, its wake-up, and both ends of its pipes.
const PER_WORKER: u64 = 2 + 2 * 32;

/// How many connections to hold at once when the plan asks for `maxconn`; 0 asks for as many as possible.
///
/// Raises the soft limit of descriptors to the hard one. A hard limit that is too low is said, and kept to: what is
/// beyond waits in the backlog instead of being accepted and dropped.
pub(super) fn connections(maxconn: u32, listeners: usize, workers: usize) -> u32 {
    let descriptors = raise_descriptors();
    let listeners = u64::try_from(listeners).unwrap_or(u64::MAX);
    let workers = u64::try_from(workers).unwrap_or(u64::MAX);
    let others = RESERVED.saturating_add(listeners).saturating_add(workers.saturating_mul(PER_WORKER));
    let possible = descriptors.saturating_sub(others) / PER_CONNECTION;
    let possible = u32::try_from(possible).unwrap_or(u32::MAX).max(1);
    if maxconn > possible {
        tracing::warn!(
            "maxconn {maxconn} needs {} file descriptors, but the limit is {descriptors}: no more than {possible} \
             connections are held at once; raise LimitNOFILE=",
            u64::from(maxconn).saturating_mul(PER_CONNECTION).saturating_add(others),
        );
    }
    if maxconn == 0 { possible } else { maxconn.min(possible) }
}

fn raise_descriptors() -> u64 {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 1024 };
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}
