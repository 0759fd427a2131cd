//! What the data plane reads: one immutable view of every pool, and the counters it keeps.
//!
//! Owns [`Serving`] and the load counters. The engine publishes a new view when a server's state changes; workers load
//! it once per connection. Counters live as long as the daemon and are shared by all views. Nothing here decides:
//! [`balance`](crate::balance) chooses, [`health`](crate::health) judges.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::plan::{Algorithm, Plan, PoolId};

/// Units in a configured weight of 1, as many as HAProxy has, so that such a server can start slowly too.
pub const WEIGHT_SCALE: u16 = 16;

/// One immutable view of everything the data plane needs.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The plan, for time-outs and limits.
    pub plan: Arc<Plan>,
    /// One for each pool of the plan, in its order.
    pub pools: Vec<PoolView>,
    /// One for each frontend of the plan, in its order.
    pub frontends: Vec<Arc<FrontendLoad>>,
}

/// One pool as new connections see it.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Which pool of the plan this is.
    pub id: PoolId,
    /// How a server is chosen.
    pub algorithm: Algorithm,
    /// One for each server of the pool, in its order.
    pub servers: Vec<ServerView>,
    /// For [`Algorithm::RoundRobin`] and [`Algorithm::Source`]: indices into `servers`, each as often as its
    /// effective weight says and smoothly interleaved. Holds selectable servers only.
    pub rotation: Arc<[u16]>,
    /// What the pool's connections did so far.
    pub load: Arc<PoolLoad>,
}

/// One server as new connections see it.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether new connections may choose it now: healthy, not in maintenance or drain, weight above zero, and, for a
    /// backup server, needed.
    pub selectable: bool,
    /// Weight after slow start in units of 1/[`WEIGHT_SCALE`], 0 to 4096.
    pub weight: u16,
    /// Connections it may hold now (slow start included); `None` is any number.
    pub maxconn: Option<u32>,
    /// Connections that may wait for this very server; `None` is any number.
    pub maxqueue: Option<u32>,
    /// What its connections did so far.
    pub load: Arc<ServerLoad>,
}

/// Counters of one server, kept by the data plane.
#[derive(Debug, Default)]
pub struct ServerLoad {
    /// Connections it holds now, connecting ones included. Changed by [`ServerLoad::acquire`] and
    /// [`ServerLoad::release`] only.
    sessions: AtomicU32,
    /// Most connections it ever held at once.
    pub sessions_max: AtomicU32,
    /// Connections it was given so far, retries elsewhere excluded.
    pub sessions_total: AtomicU64,
    /// Connects that failed.
    pub connect_errors: AtomicU64,
    /// Connects that were tried again, here or elsewhere.
    pub retries: AtomicU64,
    /// Bytes from clients to it.
    pub bytes_in: AtomicU64,
    /// Bytes from it to clients.
    pub bytes_out: AtomicU64,
}

impl ServerLoad {
    /// Takes one of `maxconn` slots, or says that none is free.
    pub fn acquire(&self, maxconn: Option<u32>) -> bool {
        let limit = maxconn.unwrap_or(u32::MAX);
        let taken = self.sessions.fetch_update(Ordering::AcqRel, Ordering::Acquire, |sessions| {
            (sessions < limit).then(|| sessions.saturating_add(1))
        });
        if let Ok(before) = taken {
            self.sessions_max.fetch_max(before.saturating_add(1), Ordering::Relaxed);
        }
        taken.is_ok()
    }

    /// Gives back a slot that [`ServerLoad::acquire`] took.
    pub fn release(&self) {
        let before = self.sessions.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "a slot was released twice");
    }

    /// Connections it holds now.
    pub fn sessions(&self) -> u32 {
        self.sessions.load(Ordering::Acquire)
    }
}

/// Counters of one pool, kept by the data plane.
#[derive(Debug, Default)]
pub struct PoolLoad {
    /// Position in the rotation; only ever grows.
    pub cursor: AtomicU64,
    /// Connections that wait for a slot now.
    pub queued: AtomicU32,
    /// Most connections that ever waited at once.
    pub queued_max: AtomicU32,
    /// Connections that waited until `timeout queue`.
    pub queue_timeouts: AtomicU64,
    /// Connections that found no usable server.
    pub no_server: AtomicU64,
}

/// Counters of one frontend, kept by the data plane.
#[derive(Debug, Default)]
pub struct FrontendLoad {
    /// Connections it holds now.
    pub sessions: AtomicU32,
    /// Most connections it ever held at once.
    pub sessions_max: AtomicU32,
    /// Connections it accepted so far.
    pub sessions_total: AtomicU64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bounded_and_come_back() {
        let load = ServerLoad::default();
        assert!(load.acquire(Some(2)) && load.acquire(Some(2)));
        assert!(!load.acquire(Some(2)));
        load.release();
        assert!(load.acquire(Some(2)));
        assert_eq!((load.sessions(), load.sessions_max.load(Ordering::Relaxed)), (2, 2));
    }
}
