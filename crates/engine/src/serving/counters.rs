//! What the data plane counts of each frontend, pool and server: what HAProxy's `show stat` counts in TCP mode.
//!
//! Owns [`FrontendLoad`], [`PoolLoad`] and [`ServerLoad`]. Each counter names the field of HAProxy's CSV it is. They live
//! as long as the daemon and are shared by all views; all are relaxed, but for the slots of a server.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::average::Times;
use super::rate::Rate;
use super::requests::RequestLoad;
use crate::time::Instant;

/// Counters of one server.
#[derive(Debug, Default)]
pub struct ServerLoad {
    /// Connections it holds now, connecting ones included (`scur`). Changed by [`ServerLoad::acquire`] and
    /// [`ServerLoad::release`] only.
    sessions: AtomicU32,
    /// Connections that the kernel forwards to it now, as far as this node has their address.
    pub forwarded: AtomicU32,
    /// Most connections it ever held at once (`smax`).
    pub sessions_max: AtomicU32,
    /// Connections that wait for this very server now (`qcur`).
    pub queued: AtomicU32,
    /// Most connections that ever waited for it at once (`qmax`).
    pub queued_max: AtomicU32,
    /// Connections that waited for it and were served.
    pub dequeued: AtomicU32,
    /// Connects that were begun, every try of a connection (`stot`).
    pub sessions_total: AtomicU64,
    /// The same for each second (`rate`, `rate_max`).
    pub session_rate: Rate,
    /// Connects that failed, each try of a connection.
    pub connect_errors: AtomicU64,
    /// Connections that were given up after a connect to it had failed (`econ`).
    pub connections_failed: AtomicU64,
    /// Connections that broke off at its end (`eresp`).
    pub response_errors: AtomicU64,
    /// Failed connects that were followed by another one to it (`wretr`).
    pub retries: AtomicU64,
    /// Failed connects that were followed by one to another server (`wredis`).
    pub redispatches: AtomicU64,
    /// Connections that the client broke off, or let time out (`cli_abrt`).
    pub client_aborts: AtomicU64,
    /// Connections that it broke off, or let time out (`srv_abrt`).
    pub server_aborts: AtomicU64,
    /// How often the algorithm chose it (`lbtot`).
    pub chosen_total: AtomicU64,
    /// Connections that were closed because it was dead.
    pub closed_dead: AtomicU64,
    /// Connections that were closed so that another server gets its share.
    pub closed_to_rebalance: AtomicU64,
    /// When it was last connected to (`lastsess`).
    pub last_session: Latest,
    /// Bytes from clients to it (`bin`).
    pub bytes_in: AtomicU64,
    /// Bytes from it to clients (`bout`).
    pub bytes_out: AtomicU64,
    /// How long its connections took (`qtime`, `ctime`, `ttime` and their maxima).
    pub times: Times,
    /// Connects that failed since the last one, or the last check, that did not (`observe`).
    pub failed_in_a_row: AtomicU32,
    /// Whether somebody was told of them and has not yet looked.
    pub errors_reported: AtomicBool,
}

impl ServerLoad {
    /// Counts a connect that failed. Says whether somebody is to be told that there have been `limit` of them in a row:
    /// never again before that was looked at.
    pub fn count_failed_in_a_row(&self, limit: u32) -> bool {
        let failed = self.failed_in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        failed >= limit && !self.errors_reported.swap(true, Ordering::AcqRel)
    }

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

    /// Counts a connect that begins.
    pub fn begin_connect(&self, now: Instant) {
        self.sessions_total.fetch_add(1, Ordering::Relaxed);
        self.session_rate.add(1, now);
        self.last_session.set(now);
    }

    /// Begins to count anew (`clear counters all`). What it holds now stays.
    pub fn reset(&self) {
        self.reset_maxima();
        zero(&[
            &self.sessions_total,
            &self.connect_errors,
            &self.connections_failed,
            &self.response_errors,
            &self.retries,
            &self.redispatches,
            &self.client_aborts,
            &self.server_aborts,
            &self.chosen_total,
            &self.bytes_in,
            &self.bytes_out,
        ]);
        self.last_session.clear();
        self.times.reset();
    }

    /// Forgets the maxima (`clear counters`).
    pub fn reset_maxima(&self) {
        self.sessions_max.store(0, Ordering::Relaxed);
        self.queued_max.store(0, Ordering::Relaxed);
        self.session_rate.reset_max();
        self.times.reset_max();
    }
}

/// Counters of one pool.
#[derive(Debug, Default)]
pub struct PoolLoad {
    /// Position in the rotation; only ever grows.
    pub cursor: AtomicU64,
    /// Connections it has now, those that wait included (`scur`).
    pub sessions: AtomicU32,
    /// Connections that the kernel forwards to its servers now.
    pub forwarded: AtomicU32,
    /// Most connections it ever had at once (`smax`).
    pub sessions_max: AtomicU32,
    /// Connections it was given (`stot`).
    pub sessions_total: AtomicU64,
    /// The same for each second (`rate`, `rate_max`).
    pub session_rate: Rate,
    /// Connections that wait for a slot now (`qcur`).
    pub queued: AtomicU32,
    /// Most connections that ever waited at once (`qmax`).
    pub queued_max: AtomicU32,
    /// Connections that waited and were served.
    pub dequeued: AtomicU32,
    /// Connections that waited until `timeout queue`.
    pub queue_timeouts: AtomicU64,
    /// Connections that found no usable server.
    pub no_server: AtomicU64,
    /// Connections that were refused by a rule (`dreq`).
    pub denied_requests: AtomicU64,
    /// Connections that got no server, for whatever reason (`econ`).
    pub connections_failed: AtomicU64,
    /// Connections that broke off at the server's end (`eresp`).
    pub response_errors: AtomicU64,
    /// Failed connects that were followed by another one to the same server (`wretr`).
    pub retries: AtomicU64,
    /// Failed connects that were followed by one to another server (`wredis`).
    pub redispatches: AtomicU64,
    /// Connections that the client broke off, or let time out (`cli_abrt`).
    pub client_aborts: AtomicU64,
    /// Connections that the server broke off, or let time out (`srv_abrt`).
    pub server_aborts: AtomicU64,
    /// How often the algorithm chose a server (`lbtot`).
    pub chosen_total: AtomicU64,
    /// When a server was last chosen (`lastsess`).
    pub last_session: Latest,
    /// Bytes from clients (`bin`).
    pub bytes_in: AtomicU64,
    /// Bytes to clients (`bout`).
    pub bytes_out: AtomicU64,
    /// How long its connections took (`qtime`, `ctime`, `ttime` and their maxima).
    pub times: Times,
}

impl PoolLoad {
    /// Counts a connection in.
    pub fn begin_session(&self, now: Instant) {
        let sessions = self.sessions.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        self.sessions_max.fetch_max(sessions, Ordering::Relaxed);
        self.sessions_total.fetch_add(1, Ordering::Relaxed);
        self.session_rate.add(1, now);
    }

    /// Begins to count anew (`clear counters all`). What it holds now stays.
    pub fn reset(&self) {
        self.reset_maxima();
        zero(&[
            &self.sessions_total,
            &self.queue_timeouts,
            &self.no_server,
            &self.denied_requests,
            &self.connections_failed,
            &self.response_errors,
            &self.retries,
            &self.redispatches,
            &self.client_aborts,
            &self.server_aborts,
            &self.chosen_total,
            &self.bytes_in,
            &self.bytes_out,
        ]);
        self.last_session.clear();
        self.times.reset();
    }

    /// Forgets the maxima (`clear counters`).
    pub fn reset_maxima(&self) {
        self.sessions_max.store(0, Ordering::Relaxed);
        self.queued_max.store(0, Ordering::Relaxed);
        self.session_rate.reset_max();
        self.times.reset_max();
    }
}

/// Counters of one frontend.
#[derive(Debug, Default)]
pub struct FrontendLoad {
    /// Connections it holds now (`scur`).
    pub sessions: AtomicU32,
    /// Connections that the kernel forwards for it now.
    pub forwarded: AtomicU32,
    /// Most connections it ever held at once (`smax`).
    pub sessions_max: AtomicU32,
    /// Connections it accepted (`conn_tot`).
    pub connections_total: AtomicU64,
    /// The same for each second (`conn_rate`, `conn_rate_max`).
    pub connection_rate: Rate,
    /// Connections that its connection and session rules let in (`stot`).
    pub sessions_total: AtomicU64,
    /// The same for each second (`rate`, `rate_max`).
    pub session_rate: Rate,
    /// Connections refused by `tcp-request connection` (`dcon`).
    pub denied_connections: AtomicU64,
    /// Connections refused by `tcp-request session` (`dses`).
    pub denied_sessions: AtomicU64,
    /// Connections refused by `tcp-request content` (`dreq`).
    pub denied_requests: AtomicU64,
    /// Connections that broke off before a backend was found for them (`ereq`).
    pub request_errors: AtomicU64,
    /// Connections that did not start with the PROXY header that was expected, or not in time.
    pub header_errors: AtomicU64,
    /// Bytes from clients (`bin`).
    pub bytes_in: AtomicU64,
    /// Bytes to clients (`bout`).
    pub bytes_out: AtomicU64,
    /// Lines it has logged (`%lc`).
    pub lines_total: AtomicU64,
    /// Requests that it answered itself.
    pub requests: RequestLoad,
}

impl FrontendLoad {
    /// Counts a connection in, as soon as it is accepted.
    pub fn begin_connection(&self, now: Instant) {
        let sessions = self.sessions.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        self.sessions_max.fetch_max(sessions, Ordering::Relaxed);
        self.connections_total.fetch_add(1, Ordering::Relaxed);
        self.connection_rate.add(1, now);
    }

    /// Counts a connection that has been let in.
    pub fn begin_session(&self, now: Instant) {
        self.sessions_total.fetch_add(1, Ordering::Relaxed);
        self.session_rate.add(1, now);
    }

    /// Begins to count anew (`clear counters all`). What it holds now stays.
    pub fn reset(&self) {
        self.reset_maxima();
        zero(&[
            &self.connections_total,
            &self.sessions_total,
            &self.denied_connections,
            &self.denied_sessions,
            &self.denied_requests,
            &self.request_errors,
            &self.header_errors,
            &self.bytes_in,
            &self.bytes_out,
        ]);
        self.requests.reset();
    }

    /// Forgets the maxima (`clear counters`).
    pub fn reset_maxima(&self) {
        self.sessions_max.store(0, Ordering::Relaxed);
        self.connection_rate.reset_max();
        self.session_rate.reset_max();
        self.requests.reset_maxima();
    }
}

/// When something last happened, if ever.
#[derive(Debug, Default)]
pub struct Latest {
    /// One more than nanoseconds; zero is never.
    nanos: AtomicU64,
}

impl Latest {
    /// It happened.
    pub fn set(&self, now: Instant) {
        self.nanos.store(now.as_nanos().saturating_add(1), Ordering::Relaxed);
    }

    /// How long ago it happened.
    pub fn since(&self, now: Instant) -> Option<Duration> {
        let nanos = self.nanos.load(Ordering::Relaxed).checked_sub(1)?;
        Some(now.since(Instant::from_nanos(nanos)))
    }

    fn clear(&self) {
        self.nanos.store(0, Ordering::Relaxed);
    }
}

fn zero(counters: &[&AtomicU64]) {
    counters.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(5_000_000_000);

    #[test]
    fn slots_are_bounded_and_come_back() {
        let load = ServerLoad::default();
        assert!(load.acquire(Some(2)) && load.acquire(Some(2)));
        assert!(!load.acquire(Some(2)));
        load.release();
        assert!(load.acquire(Some(2)));
        assert_eq!((load.sessions(), load.sessions_max.load(Ordering::Relaxed)), (2, 2));
    }

    #[test]
    fn a_reset_leaves_what_is_held_now() {
        let (server, pool, frontend) = (ServerLoad::default(), PoolLoad::default(), FrontendLoad::default());
        server.acquire(None);
        server.begin_connect(NOW);
        pool.begin_session(NOW);
        frontend.begin_connection(NOW);
        frontend.begin_session(NOW);
        server.reset_maxima();
        assert_eq!((server.session_rate.max(), server.sessions_total.load(Ordering::Relaxed)), (0, 1));
        server.reset();
        pool.reset();
        frontend.reset();
        assert_eq!((server.sessions(), server.last_session.since(NOW)), (1, None));
        assert_eq!(pool.sessions.load(Ordering::Relaxed), 1);
        assert_eq!(frontend.sessions.load(Ordering::Relaxed), 1);
        assert_eq!(server.sessions_total.load(Ordering::Relaxed), 0);
        assert_eq!(pool.sessions_total.load(Ordering::Relaxed), 0);
        assert_eq!(frontend.connections_total.load(Ordering::Relaxed), 0);
    }
}
