//! What is known of one connection: when what happened to it, where it went, and why it ended.
//!
//! Owns [`Record`] and all counting that follows from it, by HAProxy's rules: what counts for a pool counts for the
//! server, too, once there is one; the first failure of a connection is its cause of death; so is the first end.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::logging::Connection;
use mainstay_engine::plan::log::{Field, Logging};
use mainstay_engine::plan::{FrontendId, Plan, PoolId, ServerId};
use mainstay_engine::serving::termination::{Cause, Stage, Termination};
use mainstay_engine::serving::{FrontendLoad, PoolLoad, ServerLoad};
use mainstay_engine::time::{Instant as EngineInstant, UnixTime};

use super::inspection::Denial;
use super::shared::{Place, Shared, Slot};

/// One connection's life so far.
#[derive(Debug)]
pub(super) struct Record {
    /// Who is connected to whom.
    endpoints: Endpoints,
    accepted: Instant,
    accepted_wall: UnixTime,
    /// How many connections there were before it.
    number: u64,
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
    /// How many were served in the queue of the pool while it waited there, itself included.
    queue_position: u32,
    /// The same for the queue of its server.
    server_queue_position: u32,
    /// Why no server could be reached, first time.
    failure: Option<Termination>,
    end: Option<Termination>,
    bytes_in: u64,
    bytes_out: u64,
    /// Its line has been written.
    logged: bool,
}

/// A server that was chosen for it.
#[derive(Debug)]
struct Attempt {
    id: ServerId,
    address: SocketAddr,
    /// Whether it is a socket of this machine, which has no address.
    local: bool,
    /// Where it is connected from, if a log asks for it.
    source: Option<SocketAddr>,
    load: Arc<ServerLoad>,
}

/// What a line says beside what the record knows.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) shared: &'a Shared,
    pub(super) plan: &'a Arc<Plan>,
    pub(super) logging: &'a Logging,
    pub(super) frontend: FrontendId,
    pub(super) pool: PoolId,
    pub(super) client: &'a TcpStream,
    /// Whether the session counts as one of its server's still.
    pub(super) holds_slot: bool,
    /// Whether it has ended: it is no connection of its pool and server any more then, though it counts as one.
    pub(super) over: bool,
    pub(super) now: Instant,
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
    pub(super) fn new(
        endpoints: Endpoints,
        (accepted, accepted_wall): (Instant, UnixTime),
        frontend: Arc<FrontendLoad>,
    ) -> Self {
        Self {
            endpoints,
            accepted,
            accepted_wall,
            number: 0,
            frontend,
            pool: None,
            server: None,
            queued: None,
            connected: None,
            retries: 0,
            redispatched: false,
            queue_position: 0,
            server_queue_position: 0,
            failure: None,
            end: None,
            bytes_in: 0,
            bytes_out: 0,
            logged: false,
        }
    }

    /// A PROXY header has said who is connected to whom.
    pub(super) fn introduce(&mut self, endpoints: Endpoints) {
        self.endpoints = endpoints;
    }

    /// Rules refused it. As in HAProxy, there is no line about one that never was a session.
    pub(super) fn deny(&mut self, denial: Denial) {
        self.logged |= denial != Denial::Request;
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

    /// The server of `slot` was chosen for it, by the algorithm or because it belongs there.
    pub(super) fn choose(&mut self, slot: &Slot, balanced: bool, now: Instant, clock: EngineInstant) {
        let before = self.server.as_ref().map(|attempt| attempt.id);
        if balanced && before != Some(slot.server) {
            self.count_choice(&slot.load);
        }
        let queued = self.queued.filter(|_| before == Some(slot.server));
        self.leave_server(Some(slot.server));
        self.assign(slot, now, clock);
        // One more try at the same server is part of connecting to it.
        self.queued = queued.or(self.queued);
    }

    /// There is a server for it, whoever chose it.
    pub(super) fn assign(&mut self, slot: &Slot, now: Instant, clock: EngineInstant) {
        self.server = Some(Attempt {
            id: slot.server,
            address: slot.address,
            local: false,
            source: None,
            load: Arc::clone(&slot.load),
        });
        self.queued = Some(now.saturating_duration_since(self.accepted));
        if let Some(pool) = &self.pool {
            pool.0.last_session.set(clock);
        }
    }

    /// Its server is connected at this address, or is a socket of this machine.
    pub(super) fn aim(&mut self, address: SocketAddr, local: bool) {
        if let Some(server) = &mut self.server {
            (server.address, server.local) = (address, local);
        }
    }

    /// It waits in the queue of its pool.
    pub(super) fn enter_queue(&mut self) {
        self.leave_server(None);
    }

    /// It stood in a queue, as the one with this number among those that were served meanwhile.
    pub(super) fn was_queued(&mut self, number: u32) {
        let of =
            if self.server.is_some() { &mut self.server_queue_position } else { &mut self.queue_position };
        *of = of.saturating_add(number);
    }

    /// The server of `place`, which is full, was chosen for it, by the algorithm or because it belongs there.
    pub(super) fn aim_at(&mut self, place: &Place, balanced: bool) {
        if balanced {
            self.count_choice(&place.load);
        }
        let load = Arc::clone(&place.load);
        self.server = Some(Attempt {
            id: place.server,
            address: place.address,
            local: place.address.ip().is_unspecified(),
            source: None,
            load,
        });
    }

    /// As many wait for its server as may.
    pub(super) fn find_queue_full(&mut self) {
        self.count(|pool| &pool.connections_failed, |server| Some(&server.connections_failed));
        self.fail(Termination::new(Cause::Server, Stage::Queue));
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
        self.count(|pool| &pool.connections_failed, |server| Some(&server.connections_failed));
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

    /// It is the one with this number, counted from zero.
    pub(super) fn number(&mut self, number: u64) {
        self.number = number;
    }

    /// A connect to its server has begun on `stream`.
    pub(super) fn begin_connect(&mut self, stream: &TcpStream, logging: &Logging) {
        let asks = logging.formats().any(|format| format.needs(Field::is_source));
        if let Some(server) = self.server.as_mut().filter(|_| asks) {
            server.source = stream.local_addr().ok();
        }
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

    /// Logs that it begins, where the frontend has no format of its own for more.
    pub(super) fn log_begin(&self, scene: &Scene<'_>) {
        let logging = scene.logging;
        if !logging.targets.is_empty() && logging.format.is_none() {
            scene.shared.syslog.begin(scene.plan, self.report(scene, 0));
        }
    }

    /// Logs that it has a server, where that is all that there is to log.
    pub(super) fn log_connected(&mut self, scene: &Scene<'_>) {
        if scene.logging.at_connect() {
            self.log(scene);
        }
    }

    /// Logs that it has ended.
    pub(super) fn log_end(&mut self, scene: &Scene<'_>) {
        let said_something = || self.bytes_in > 0 || scene.client.peek(&mut [0]).is_ok_and(|count| count > 0);
        if !self.logged && (!scene.logging.skip_silent || said_something()) {
            self.log(scene);
        }
    }

    fn log(&mut self, scene: &Scene<'_>) {
        let Logging { targets, format, skip_normal, .. } = scene.logging;
        if targets.is_empty() || format.is_none() {
            return;
        }
        let report = self.report(scene, self.frontend.lines_total.load(Ordering::Relaxed));
        if *skip_normal && !report.is_remarkable() {
            return;
        }
        add(&self.frontend.lines_total);
        self.logged = true;
        scene.shared.syslog.connection(scene.plan, report);
    }

    /// Everything a line can say.
    fn report(&self, scene: &Scene<'_>, log_counter: u64) -> Connection {
        let Scene { logging, holds_slot, over, now, .. } = *scene;
        let server = self.server.as_ref();
        let held = |held: bool| u32::from(held && over);
        Connection {
            frontend: scene.frontend,
            pool: self.pool.as_ref().map(|_| scene.pool),
            server: server.map(|server| server.id),
            client: self.endpoints.client,
            local_client: self.endpoints.local,
            destination: Some(self.endpoints.destination),
            source: server.and_then(|server| server.source),
            target: server.map(|server| server.address),
            local_target: server.is_some_and(|server| server.local),
            accepted: self.accepted_wall,
            queued: self.queued,
            connected: self.connected,
            total: now.saturating_duration_since(self.accepted),
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            termination: self.end,
            unfinished: logging.early,
            retries: self.retries,
            redispatched: self.redispatched,
            process_connections: scene.shared.gate.sessions.load(Ordering::Relaxed),
            frontend_connections: self.frontend.sessions.load(Ordering::Relaxed),
            backend_connections: self
                .pool
                .as_ref()
                .map_or(0, |pool| pool.0.sessions.load(Ordering::Relaxed).saturating_sub(held(true))),
            server_connections: server
                .map_or(0, |server| server.load.sessions().saturating_sub(held(holds_slot))),
            server_queue: self.server_queue_position,
            backend_queue: self.queue_position,
            request_counter: self.number,
            log_counter,
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

    fn count_choice(&self, of: &ServerLoad) {
        self.count(|pool| &pool.chosen_total, |_| None);
        add(&of.chosen_total);
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

/// Why a connect failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// At once: trying the same server again at once would fail the same way.
    Refused,
    /// It took its time.
    TimedOut,
    /// The server went down before it was connected.
    ServerDown,
}

impl Failure {
    /// What it is the end of, if no server is left to try.
    pub(super) const fn cause(self) -> Cause {
        match self {
            Self::Refused => Cause::Server,
            Self::TimedOut => Cause::ServerTimeout,
            Self::ServerDown => Cause::Down,
        }
    }
}
