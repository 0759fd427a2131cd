//! What is known of one connection: when what happened to it, where it went, and why it ended.
//!
//! Owns [`Record`] and all counting that follows from it, by HAProxy's rules: what counts for a pool counts for the
//! server, too, once there is one; the first failure of a connection is its cause of death; so is the first end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_engine::plan::ServerId;
use mainstay_engine::serving::termination::{Cause, Stage, Termination};
use mainstay_engine::serving::{FrontendLoad, PoolLoad, ServerLoad};
use mainstay_engine::time::Instant as EngineInstant;

use super::inspection::Denial;
use super::shared::Slot;

/// One connection's life so far.
#[derive(Debug)]
pub(super) struct Record {
    accepted: Instant,
    frontend: Arc<FrontendLoad>,
    pool: Option<Membership>,
    /// The server it was last sent to; `None` as long as it waits for one.
    server: Option<Attempt>,
    /// From the accept to the choice of a server, or to the end of the wait for one.
    queued: Option<Duration>,
    /// From the accept to the established connection.
    connected: Option<Duration>,
    /// Connects that were tried again.
    retries: u32,
    /// Whether one of them went to another server.
    redispatched: bool,
    /// How many waited in the queue of the pool when it entered, itself included.
    queue_position: u32,
    /// Why no server could be reached, first time.
    failure: Option<Termination>,
    end: Option<Termination>,
    bytes_in: u64,
    bytes_out: u64,
}

/// A server that was chosen for it.
#[derive(Debug)]
struct Attempt {
    id: ServerId,
    load: Arc<ServerLoad>,
}

/// One connection in its pool's count, for as long as it lives.
#[derive(Debug)]
struct Membership(Arc<PoolLoad>);

impl Drop for Membership {
    fn drop(&mut self) {
        self.0.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Record {
    pub(super) fn new(accepted: Instant, frontend: Arc<FrontendLoad>) -> Self {
        Self {
            accepted,
            frontend,
            pool: None,
            server: None,
            queued: None,
            connected: None,
            retries: 0,
            redispatched: false,
            queue_position: 0,
            failure: None,
            end: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Rules refused it.
    pub(super) fn deny(&mut self, denial: Denial) {
        add(match denial {
            Denial::Connection => &self.frontend.denied_connections,
            Denial::Session => &self.frontend.denied_sessions,
            Denial::Request => &self.frontend.denied_requests,
        });
        if denial == Denial::Request {
            self.count(|pool| &pool.denied_requests, |_| None);
        }
        self.end(Termination::new(Cause::Proxy, Stage::Request));
    }

    /// How long ago the connection was accepted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.accepted)
    }

    /// Bytes from the client and to it.
    pub(super) const fn bytes(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// It belongs to this pool from now on.
    pub(super) fn enter_pool(&mut self, load: &Arc<PoolLoad>, clock: EngineInstant) {
        load.begin_session(clock);
        self.pool = Some(Membership(Arc::clone(load)));
    }

    /// The algorithm has chosen the server of `slot` for it.
    pub(super) fn choose(&mut self, slot: &Slot, now: Instant, clock: EngineInstant) {
        let before = self.server.as_ref().map(|attempt| attempt.id);
        if before != Some(slot.server) {
            self.count(|pool| &pool.chosen_total, |_| None);
            add(&slot.load.chosen_total);
        }
        self.leave_server(Some(slot.server));
        self.assign(slot, now, clock);
    }

    /// There is a server for it, whoever chose it.
    pub(super) fn assign(&mut self, slot: &Slot, now: Instant, clock: EngineInstant) {
        self.server = Some(Attempt { id: slot.server, load: Arc::clone(&slot.load) });
        self.queued = Some(now.saturating_duration_since(self.accepted));
        if let Some(pool) = &self.pool {
            pool.0.last_session.set(clock);
        }
    }

    /// It waits in the queue of its pool, where `queued` wait now.
    pub(super) fn enter_queue(&mut self, queued: u32) {
        self.leave_server(None);
        self.queue_position = self.queue_position.saturating_add(queued);
    }

    /// Its wait in the queue is over, without a server.
    pub(super) fn leave_queue(&mut self, now: Instant) {
        self.queued = Some(now.saturating_duration_since(self.accepted));
    }

    /// A connect failed, and another one follows; to the same server, or to one that is still to be chosen.
    pub(super) fn retry(&mut self, failure: Cause, same_server: bool) {
        self.failure.get_or_insert(Termination::new(failure, Stage::Connect));
        self.retries = self.retries.saturating_add(1);
        if same_server {
            self.count(|pool| &pool.retries, |server| Some(&server.retries));
        }
    }

    /// A connect failed, and none follows.
    pub(super) fn give_up_connecting(&mut self, failure: Cause) {
        self.count(|pool| &pool.connections_failed, |server| Some(&server.connections_failed));
        self.fail(Termination::new(failure, Stage::Connect));
    }

    /// There is no server it could go to.
    pub(super) fn find_no_server(&mut self) {
        self.leave_server(None);
        self.count(|pool| &pool.connections_failed, |_| None);
        self.fail(Termination::new(Cause::Server, Stage::Connect));
    }

    /// It waited too long for a server.
    pub(super) fn give_up_waiting(&mut self, now: Instant) {
        self.leave_queue(now);
        self.count(|pool| &pool.connections_failed, |_| None);
        self.fail(Termination::new(Cause::ServerTimeout, Stage::Queue));
    }

    /// A server is connected.
    pub(super) fn connect(&mut self, now: Instant) {
        self.connected = Some(now.saturating_duration_since(self.accepted));
    }

    /// Bytes were received, from the client and from the server.
    pub(super) fn receive(&mut self, from_client: u64, from_server: u64) {
        let Some(pool) = &self.pool else { return };
        let Some(server) = &self.server else { return };
        if from_client > 0 {
            self.bytes_in = self.bytes_in.saturating_add(from_client);
            for counter in [&self.frontend.bytes_in, &pool.0.bytes_in, &server.load.bytes_in] {
                counter.fetch_add(from_client, Ordering::Relaxed);
            }
        }
        if from_server > 0 {
            self.bytes_out = self.bytes_out.saturating_add(from_server);
            for counter in [&self.frontend.bytes_out, &pool.0.bytes_out, &server.load.bytes_out] {
                counter.fetch_add(from_server, Ordering::Relaxed);
            }
        }
    }

    /// The client has left a connection that had no server yet: with a reset, or in good order.
    ///
    /// HAProxy takes a reset for an error in the data, whatever it was waiting for.
    pub(super) fn client_left(&mut self, reset: bool, stage: Stage) {
        if reset {
            self.abort(Termination::new(Cause::Client, Stage::Data));
        } else {
            self.end(Termination::new(Cause::Client, stage));
        }
    }

    /// One side broke off, or was silent too long.
    pub(super) fn abort(&mut self, how: Termination) {
        if self.end.is_some() {
            return;
        }
        match how.cause {
            Cause::Client | Cause::ClientTimeout => {
                self.count(|pool| &pool.client_aborts, |server| Some(&server.client_aborts));
            }
            Cause::Server | Cause::ServerTimeout => {
                self.count(|pool| &pool.server_aborts, |server| Some(&server.server_aborts));
            }
            _ => {}
        }
        if how == Termination::new(Cause::Server, Stage::Data) {
            self.count(|pool| &pool.response_errors, |server| Some(&server.response_errors));
        }
        self.end(how);
    }

    /// It ends, unless it has ended already.
    pub(super) fn end(&mut self, how: Termination) {
        self.end.get_or_insert(how);
    }

    /// It has ended: what can be known only now.
    pub(super) fn finish(&mut self, now: Instant) {
        let total = now.saturating_duration_since(self.accepted);
        if let (Some(queued), Some(connected), Some(pool), Some(server)) =
            (self.queued, self.connected, &self.pool, &self.server)
        {
            let connect = connected.saturating_sub(queued);
            for (times, chosen) in
                [(&pool.0.times, &pool.0.chosen_total), (&server.load.times, &server.load.chosen_total)]
            {
                times.add(queued, connect, total, chosen.load(Ordering::Relaxed));
            }
        }
    }

    /// Counts what becomes of the connection after a failed connect: `next` is the server that was chosen instead.
    fn leave_server(&mut self, next: Option<ServerId>) {
        let Some(before) = self.server.take() else { return };
        if next == Some(before.id) {
            add(&before.load.retries);
            self.count(|pool| &pool.retries, |_| None);
        } else {
            self.redispatched = true;
            add(&before.load.redispatches);
            self.count(|pool| &pool.redispatches, |_| None);
        }
    }

    fn fail(&mut self, how: Termination) {
        let first = *self.failure.get_or_insert(how);
        self.end(first);
    }

    fn count(
        &self,
        of_pool: impl Fn(&PoolLoad) -> &AtomicU64,
        of_server: impl Fn(&ServerLoad) -> Option<&AtomicU64>,
    ) {
        if let Some(pool) = &self.pool {
            add(of_pool(&pool.0));
        }
        if let Some(counter) = self.server.as_ref().and_then(|server| of_server(&server.load)) {
            add(counter);
        }
    }
}

fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
