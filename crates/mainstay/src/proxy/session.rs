//! One connection from a client: finds it a server, relays, and ends it.
//!
//! Owns [`Session`], the state machine up to the established connection: [`inspection`](super::inspection) asks the rules
//! before a server is chosen, [`relaying`](super::relaying) has what follows.
//!
//! Nothing is read from the client before a server is connected, so a failed connect loses nothing and the next server
//! gets it all. When no server can be reached, the client's connection is closed: it sees a reset if it has sent
//! something, because nobody read that, and an orderly end otherwise.

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::plan::{FrontendId, NoServer, Plan, Pool, PoolId, ServerId, ServerIndex};
use mainstay_engine::proxy_protocol;
use mainstay_engine::serving::termination::{Cause, Stage, Termination};
use nix::sys::epoll::EpollFlags;

use crate::dial;

use super::header::{self, HEADER_PATIENCE, Received};
use super::inspection::{self, Denial, Found, Inspection, Step, Subject};
use super::listing::{SessionId, SessionInfo, SessionPhase};
use super::queue::Waiter;
use super::record::{Failure, Record, Scene};
use super::relay::Side;
use super::relaying::Relaying;
use super::shared::{Accepted, Admission, Choice, Place, Slot};
use super::slab::Key;
use super::socket;
use super::visitor::{Presence, Visitor};
use super::worker::{Socket, Tools};

/// How long a connection waits before it tries the same server again, unless the connect time-out is shorter. HAProxy's
/// figure: a server that restarts needs about that long.
const TURN_AROUND: Duration = Duration::from_secs(1);

/// No pool has this index: a plan has far fewer.
const NO_POOL: PoolId = PoolId(u16::MAX);

/// One connection from a client.
#[derive(Debug)]
pub(super) struct Session {
    key: Key,
    client: Side,
    /// Who is connected to whom; what a PROXY header says, if there was one.
    endpoints: Endpoints,
    /// The name that a PROXY header passed on.
    authority: Option<Box<[u8]>>,
    frontend: FrontendId,
    pool: PoolId,
    plan: Arc<Plan>,
    phase: Phase,
    /// What rules say of it; `None` where there are none.
    inspection: Option<Box<Inspection>>,
    /// What rules and earlier connections say about the server; one that they name is forgotten once it was tried.
    found: Found,
    /// Whether a PROXY header has to come.
    awaits_header: bool,
    /// Whether the kernel reports what the client does.
    watched: bool,
    /// Connects that failed.
    failures: u32,
    /// The server of the latest of them.
    avoid: Option<ServerIndex>,
    /// How long to wait before that one is tried again.
    pause: Duration,
    /// Waits in the worker's list for its next turn.
    pub(super) again: bool,
    /// When the worker's timer for this session rings.
    pub(super) armed: Option<Instant>,
    admission: Admission,
    record: Record,
}

#[derive(Debug)]
enum Phase {
    /// No server yet.
    New,
    /// Rules wait for what the client sends.
    Inspecting,
    /// Its PROXY header has not come yet.
    Header { deadline: Option<Instant> },
    /// In the queue of its pool.
    Queued { deadline: Option<Instant> },
    /// Waits before it tries the same server again.
    TurnAround { server: ServerId, deadline: Instant },
    /// Connects to a server.
    Connecting { server: TcpStream, slot: Slot, deadline: Option<Instant> },
    /// Both sides are connected.
    Relaying(Box<Relaying>),
}

/// What the worker does with a session next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing, until something happens to it.
    Wait,
    /// Call [`Session::resume`] in the next turn.
    Again,
    /// Drop it.
    Close,
    /// Take it off the epoll, and give what [`Session::into_visitor`] makes of it to whoever answers it.
    HandOver,
}

impl Session {
    pub(super) fn new(key: Key, accepted: Accepted, now: Instant) -> Self {
        let Accepted { stream, endpoints, accept_proxy, at, frontend, plan, admission } = accepted;
        let record = Record::new(endpoints, at, admission.frontend());
        let section = plan.frontends.get(usize::from(frontend.0));
        let pool = section.and_then(|section| section.pool).unwrap_or(NO_POOL);
        let inspection = inspection::is_needed(&plan, frontend)
            .then(|| Box::new(Inspection::new(endpoints, accept_proxy)));
        Self {
            key,
            client: Side::new(stream, now),
            endpoints,
            authority: None,
            frontend,
            pool,
            plan,
            phase: Phase::New,
            inspection,
            found: Found::default(),
            awaits_header: accept_proxy,
            watched: false,
            failures: 0,
            avoid: None,
            pause: Duration::ZERO,
            again: false,
            armed: None,
            admission,
            record,
        }
    }

    /// Asks the rules, if there are any, waits for what has to come first, and looks for a server.
    pub(super) fn start(&mut self, tools: &mut Tools) -> Next {
        if self.inspection.is_some() {
            return self.inspect(tools);
        }
        if self.awaits_header {
            return self.await_header(tools);
        }
        self.begin(tools)
    }

    /// Looks for a server where there are no rules.
    fn begin(&mut self, tools: &mut Tools) -> Next {
        if self.admit(tools).is_err() {
            return Next::Close;
        }
        if self.is_answered() {
            return Next::HandOver;
        }
        self.enter_pool(self.pool, tools);
        self.begin_search(tools)
    }

    /// Whether it is not relayed, but answered by the daemon itself.
    fn is_answered(&self) -> bool {
        self.plan.frontends.get(usize::from(self.frontend.0)).is_some_and(|section| section.pages.is_some())
    }

    /// The connection, for whoever answers it.
    pub(super) fn into_visitor(self) -> Visitor {
        let Self { client, endpoints, frontend, inspection, admission, .. } = self;
        let presence = Presence::new(admission, inspection);
        Visitor { stream: client.stream, endpoints, frontend, presence }
    }

    /// Asks the rules on, until they wait for something or have decided.
    fn inspect(&mut self, tools: &mut Tools) -> Next {
        loop {
            let Some(inspection) = &mut self.inspection else { return self.begin_search(tools) };
            let subject = Subject {
                plan: &self.plan,
                frontend: self.frontend,
                stream: &self.client.stream,
                ended: self.client.hung_up || self.client.failed,
            };
            match inspection.step(subject, tools) {
                Step::Header => return self.await_header(tools),
                Step::Admit => {
                    if self.admit(tools).is_err() {
                        return Next::Close;
                    }
                }
                Step::Enter(pool) => self.enter_pool(pool, tools),
                Step::FindServer(found) => {
                    self.found = found;
                    self.phase = Phase::New;
                    return self.begin_search(tools);
                }
                Step::Wait => {
                    self.phase = Phase::Inspecting;
                    return Next::Wait;
                }
                Step::Deny(denial) => return self.deny(denial),
                Step::NoPool if self.is_answered() => return Next::HandOver,
                Step::NoPool => {
                    self.pool = NO_POOL;
                    return self.give_up(tools);
                }
                Step::Gone => {
                    self.client.failed = true;
                    return self.leave(tools);
                }
            }
        }
    }

    /// It is a session now.
    fn admit(&mut self, tools: &Tools) -> std::io::Result<()> {
        self.record.number(self.admission.begin_session(tools.clock));
        self.watch_client(tools)?;
        self.log(tools, |record, scene| record.log_begin(scene));
        Ok(())
    }

    fn deny(&mut self, denial: Denial) -> Next {
        self.record.deny(denial);
        Next::Close
    }

    /// Has the kernel report what the client does, once.
    fn watch_client(&mut self, tools: &Tools) -> std::io::Result<()> {
        if self.watched {
            return Ok(());
        }
        let watched = tools.watch(&self.client.stream, self.key, Socket::Client);
        self.watched = watched.is_ok();
        if watched.is_err() {
            self.record.end(Termination::new(Cause::Resource, Stage::Request));
        }
        watched
    }

    fn await_header(&mut self, tools: &Tools) -> Next {
        if self.watch_client(tools).is_err() {
            return Next::Close;
        }
        let frontend = self.plan.frontends.get(usize::from(self.frontend.0));
        let timeout = frontend.and_then(|frontend| frontend.client_timeout);
        let patience = timeout.map_or(HEADER_PATIENCE, |timeout| timeout.min(HEADER_PATIENCE));
        self.phase = Phase::Header { deadline: tools.now.checked_add(patience) };
        // Being watched, it is reported if it is here already.
        Next::Wait
    }

    fn enter_pool(&mut self, pool: PoolId, tools: &Tools) {
        self.pool = pool;
        if let Some(view) = tools.serving().pools.get(usize::from(pool.0)) {
            self.record.enter_pool(&view.load, tools.clock);
        }
    }

    fn begin_search(&mut self, tools: &mut Tools) -> Next {
        // Others wait already: first come, first served.
        match tools.shared.queue(self.pool) {
            Some(queue) if queue.length() > 0 && self.found.server.is_none() => self.enter_queue(None, tools),
            _ => self.find_server(tools),
        }
    }

    /// Something happened to one of the sockets.
    pub(super) fn handle_event(&mut self, socket: Socket, events: EpollFlags, tools: &mut Tools) -> Next {
        match (socket, &mut self.phase) {
            (Socket::Client, _) => self.client.note(events),
            (Socket::Server, Phase::Relaying(relaying)) => relaying.server.note(events),
            (Socket::Server, Phase::Connecting { .. }) => return self.handle_connect(events, tools),
            (Socket::Server, _) => return Next::Wait,
        }
        match self.phase {
            Phase::Relaying(_) => self.resume(tools),
            Phase::Header { .. } => self.receive_header(tools),
            Phase::Inspecting if !self.client_has_left() => self.inspect(tools),
            _ if self.client_has_left() => {
                self.note_client_left(tools);
                self.abandon(tools)
            }
            _ => Next::Wait,
        }
    }

    /// Looks for the PROXY header.
    fn receive_header(&mut self, tools: &mut Tools) -> Next {
        match header::receive(&self.client.stream, &mut tools.scratch) {
            Received::Nothing if self.client.hung_up => self.refuse_header(Cause::Client),
            Received::Nothing => Next::Wait,
            // A client that looked whether somebody listens, and said nothing.
            Received::Left => {
                self.record.end(Termination::new(Cause::Client, Stage::Request));
                Next::Close
            }
            Received::Broken => self.refuse_header(Cause::Proxy),
            Received::Header(header) => {
                self.endpoints = header.endpoints.unwrap_or(self.endpoints);
                self.record.introduce(self.endpoints);
                self.authority = header.authority.map(Vec::into_boxed_slice);
                self.awaits_header = false;
                self.phase = Phase::New;
                match &mut self.inspection {
                    Some(inspection) => {
                        inspection.introduce(self.endpoints);
                        self.inspect(tools)
                    }
                    None => self.begin(tools),
                }
            }
        }
    }

    /// There is no PROXY header, and there will be none.
    fn refuse_header(&mut self, cause: Cause) -> Next {
        self.admission.frontend().header_errors.fetch_add(1, Ordering::Relaxed);
        self.record.end(Termination::new(cause, Stage::Request));
        Next::Close
    }

    /// Relays on.
    pub(super) fn resume(&mut self, tools: &mut Tools) -> Next {
        match &mut self.phase {
            Phase::Relaying(relaying) => relaying.resume(&mut self.client, &mut self.record, tools),
            _ => Next::Wait,
        }
    }

    /// The queue gave it a slot.
    pub(super) fn handle_assigned(&mut self, slot: Slot, number: u32, tools: &mut Tools) -> Next {
        match self.phase {
            Phase::Queued { .. } if self.client_has_left() => self.leave(tools),
            Phase::Queued { .. } => {
                self.record.was_queued(number);
                self.record.assign(&slot, tools.now, tools.clock);
                match self.connect(slot, tools) {
                    Ok(()) => Next::Wait,
                    Err(slot) => self.handle_connect_failure(slot, Failure::Refused, tools),
                }
            }
            _ => Next::Wait,
        }
    }

    /// The queue has nothing to wait for.
    pub(super) fn handle_refused(&mut self, tools: &Tools) -> Next {
        match self.phase {
            Phase::Queued { .. } => self.give_up(tools),
            _ => Next::Wait,
        }
    }

    /// The connections of `server` shall be closed.
    pub(super) fn handle_shutdown(&mut self, server: ServerId, cause: Cause, tools: &mut Tools) -> Next {
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Relaying(relaying) if relaying.server_id() == server => {
                relaying.count_closed(cause);
                // Nothing is wrong with a server whose connections are to go to another one: an orderly end.
                if cause != Cause::Up {
                    relaying.reset(&self.client);
                }
                self.record.end(Termination::new(cause, Stage::Data));
                Next::Close
            }
            Phase::Connecting { slot, .. } if slot.server == server && cause == Cause::Killed => {
                self.record.end(Termination::new(cause, Stage::Connect));
                Next::Close
            }
            // Nothing is lost yet: it can go elsewhere.
            Phase::Connecting { slot, .. } if slot.server == server => {
                self.handle_connect_failure(slot, Failure::ServerDown, tools)
            }
            other => {
                self.phase = other;
                Next::Wait
            }
        }
    }

    /// When it last moved a byte, if it is connected, or connecting, to `server`.
    pub(super) fn active_with(&self, server: ServerId) -> Option<Instant> {
        match &self.phase {
            Phase::Relaying(relaying) if relaying.server_id() == server => {
                Some(self.client.active.max(relaying.server.active))
            }
            Phase::Connecting { slot, .. } if slot.server == server => Some(self.client.active),
            _ => None,
        }
    }

    /// An operator wants it closed.
    pub(super) fn handle_kill(&mut self, tools: &Tools) -> Next {
        self.record.end(Termination::new(Cause::Killed, self.stage()));
        if let Phase::Relaying(relaying) = &self.phase {
            relaying.reset(&self.client);
        }
        self.abandon(tools)
    }

    /// Which one it is.
    pub(super) fn id(&self) -> SessionId {
        self.admission.number()
    }

    /// What can be seen of it.
    pub(super) fn info(&self, now: Instant) -> SessionInfo {
        let (phase, server, active) = match &self.phase {
            Phase::New | Phase::Header { .. } | Phase::Inspecting => {
                (SessionPhase::Inspecting, None, self.client.active)
            }
            Phase::Queued { .. } => (SessionPhase::Queued, None, self.client.active),
            Phase::TurnAround { server, .. } => (SessionPhase::TurnAround, Some(*server), self.client.active),
            Phase::Connecting { slot, .. } => {
                (SessionPhase::Connecting, Some(slot.server), self.client.active)
            }
            Phase::Relaying(relaying) => (
                SessionPhase::Established,
                Some(relaying.server_id()),
                self.client.active.max(relaying.server.active),
            ),
        };
        let (age, (bytes_in, bytes_out)) = (self.record.age(now), self.record.bytes());
        let expires = match &self.phase {
            Phase::Relaying(_) => self.silence().map(|(deadline, _)| deadline),
            _ => self.deadline(),
        };
        SessionInfo {
            id: self.id(),
            frontend: self.frontend,
            pool: self.pool,
            server,
            client: Some(self.endpoints.client).filter(|_| self.endpoints.local.is_none()),
            local: Some(self.endpoints.destination).filter(|_| self.endpoints.local.is_none()),
            phase,
            age,
            idle: now.saturating_duration_since(active),
            expires: expires.map(|deadline| deadline.saturating_duration_since(now)),
            bytes_in,
            bytes_out,
        }
    }

    /// The timer rang; perhaps too early.
    pub(super) fn handle_timer(&mut self, tools: &mut Tools) -> Next {
        if let Phase::Relaying(relaying) = &mut self.phase {
            relaying.watch_server(tools.now);
        }
        if self.deadline().is_none_or(|deadline| deadline > tools.now) {
            return Next::Wait;
        }
        match std::mem::replace(&mut self.phase, Phase::New) {
            Phase::Connecting { slot, .. } => self.handle_connect_failure(slot, Failure::TimedOut, tools),
            Phase::TurnAround { server, .. } => self.try_again(server, tools),
            Phase::Queued { deadline } => {
                self.phase = Phase::Queued { deadline };
                if let Some(view) = tools.serving().pools.get(usize::from(self.pool.0)) {
                    view.load.queue_timeouts.fetch_add(1, Ordering::Relaxed);
                }
                self.record.give_up_waiting(tools.now);
                self.abandon(tools)
            }
            Phase::Relaying(relaying) => {
                self.phase = Phase::Relaying(relaying);
                if let Some((_, silent)) = self.silence() {
                    self.record.abort(Termination::new(silent, Stage::Data));
                }
                Next::Close
            }
            Phase::Header { .. } => self.refuse_header(Cause::ClientTimeout),
            Phase::Inspecting => self.inspect(tools),
            Phase::New => Next::Close,
        }
    }

    /// The earliest moment at which this session could run out of time.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::New => None,
            Phase::Inspecting => self.inspection.as_ref().and_then(|inspection| inspection.deadline()),
            Phase::Header { deadline } | Phase::Queued { deadline } | Phase::Connecting { deadline, .. } => {
                *deadline
            }
            Phase::TurnAround { deadline, .. } => Some(*deadline),
            Phase::Relaying(relaying) => {
                let silence = self.silence().map(|(deadline, _)| deadline);
                [silence, relaying.watch_at()].into_iter().flatten().min()
            }
        }
    }

    /// When a connected side will have been silent too long, and which of them.
    fn silence(&self) -> Option<(Instant, Cause)> {
        let Phase::Relaying(relaying) = &self.phase else { return None };
        let frontend = self.plan.frontends.get(usize::from(self.frontend.0))?;
        relaying.deadline(&self.client, frontend, self.pool_section()?)
    }

    /// The session is over, and is dropped next.
    pub(super) fn finish(&mut self, tools: &Tools) {
        self.record.finish(tools.now);
        self.log(tools, Record::log_end);
    }

    /// Lets the record log, if its frontend logs at all.
    fn log(&mut self, tools: &Tools, write: impl FnOnce(&mut Record, &Scene<'_>)) {
        let Some(frontend) = self.plan.frontends.get(usize::from(self.frontend.0)) else { return };
        if frontend.logging.targets.is_empty() {
            return;
        }
        let holds_slot = matches!(self.phase, Phase::Connecting { .. } | Phase::Relaying(_));
        let scene = Scene {
            shared: &tools.shared,
            // Servers may have been added since it was accepted.
            plan: &tools.serving().plan,
            logging: &frontend.logging,
            frontend: self.frontend,
            pool: self.pool,
            client: &self.client.stream,
            holds_slot,
            over: true,
            now: tools.now,
        };
        write(&mut self.record, &scene);
    }

    /// A panic ended it.
    pub(super) fn note_panic(&mut self) {
        self.record.end(Termination::new(Cause::Internal, self.stage()));
    }

    /// Puts itself in order to be dropped: leaves the queue it may stand in.
    pub(super) fn abandon(&mut self, tools: &Tools) -> Next {
        if let (Phase::Queued { .. }, Some(queue)) = (&self.phase, tools.shared.queue(self.pool)) {
            let number = queue.leave(self.admission.worker(), self.key);
            self.record.was_queued(number);
        }
        Next::Close
    }

    /// Chooses servers until a connect is on its way, or there is something else to wait for.
    fn find_server(&mut self, tools: &mut Tools) -> Next {
        loop {
            let (preferred, client) = (self.found.server.take(), self.found.client(self.endpoints.client));
            let choice = match preferred {
                Some(server) => {
                    let server = ServerId { pool: self.pool, server };
                    match tools.shared.choose_preferred(&tools.serving(), server) {
                        // It has gone down just now.
                        Choice::None => continue,
                        chosen => chosen,
                    }
                }
                None => tools.shared.choose(&tools.serving(), self.pool, client, self.avoid),
            };
            let slot = match choice {
                Choice::Server(slot) => slot,
                Choice::Full => return self.enter_queue(None, tools),
                Choice::Wait(place) => {
                    self.record.aim_at(&place, preferred.is_none());
                    if place.has_room() {
                        return self.enter_queue(Some(place), tools);
                    }
                    if preferred.is_some() && self.pool_section().is_some_and(|pool| pool.redispatch) {
                        continue;
                    }
                    self.record.find_queue_full();
                    return Next::Close;
                }
                Choice::None => return self.do_without(tools),
            };
            // Nobody else is left: give the one that just failed some time.
            if self.avoid == Some(slot.server.server) {
                return self.turn_around(slot.server, tools);
            }
            self.record.choose(&slot, preferred.is_none(), tools.now, tools.clock);
            let Err(slot) = self.connect(slot, tools) else { return Next::Wait };
            if let Some(next) = self.count_failure(slot, Failure::Refused, tools) {
                return next;
            }
        }
    }

    /// Starts a connect; gives the slot back if it failed at once.
    fn connect(&mut self, slot: Slot, tools: &Tools) -> Result<(), Slot> {
        slot.load.begin_connect(tools.clock);
        let started = self
            .dial(&slot)
            .and_then(|stream| tools.watch(&stream, self.key, Socket::Server).map(|()| stream));
        match started {
            Ok(server) => {
                if let Some(frontend) = self.plan.frontends.get(usize::from(self.frontend.0)) {
                    self.record.begin_connect(&server, &frontend.logging);
                }
                let timeout = self.pool_section().and_then(|pool| pool.connect_timeout);
                let deadline = timeout.and_then(|timeout| tools.now.checked_add(timeout));
                self.phase = Phase::Connecting { server, slot, deadline };
                Ok(())
            }
            Err(_) => Err(slot),
        }
    }

    fn dial(&mut self, slot: &Slot) -> std::io::Result<TcpStream> {
        match &slot.dial {
            None => socket::connect(slot.address),
            Some(dial) => {
                let address = dial.address(slot.address, self.endpoints.destination);
                self.record.aim(address, dial.local().is_some());
                Ok(dial::start(dial, address, Some(self.endpoints.client))?.into())
            }
        }
    }

    fn handle_connect(&mut self, events: EpollFlags, tools: &mut Tools) -> Next {
        match std::mem::replace(&mut self.phase, Phase::New) {
            // A socket of this machine is connected or not at once; all it can tell is that the server has ended since.
            Phase::Connecting { slot, server, .. }
                if events.contains(EpollFlags::EPOLLERR)
                    && slot.dial.as_ref().is_none_or(|dial| dial.local().is_none()) =>
            {
                drop(server);
                self.handle_connect_failure(slot, Failure::Refused, tools)
            }
            Phase::Connecting { slot, server, .. } if events.contains(EpollFlags::EPOLLOUT) => {
                self.record.connect(tools.now);
                if let Some(inspection) = &mut self.inspection {
                    inspection.remember(slot.server.server, &tools.serving());
                }
                tools.shared.observer.note(&self.plan, &slot, true);
                let mut server = Side::new(server, tools.now);
                server.note(events);
                self.client.active = tools.now;
                let header = self.proxy_header(slot.server, tools);
                self.phase = Phase::Relaying(Box::new(Relaying::new(server, slot, header)));
                self.log(tools, |record, scene| record.log_connected(&Scene { over: false, ..*scene }));
                self.resume(tools)
            }
            other => {
                self.phase = other;
                Next::Wait
            }
        }
    }

    fn handle_connect_failure(&mut self, slot: Slot, failure: Failure, tools: &mut Tools) -> Next {
        self.count_failure(slot, failure, tools).unwrap_or_else(|| self.find_server(tools))
    }

    /// Counts a failed connect. `None` means that another server may be tried at once.
    fn count_failure(&mut self, slot: Slot, failure: Failure, tools: &Tools) -> Option<Next> {
        let server = slot.server;
        slot.load.connect_errors.fetch_add(1, Ordering::Relaxed);
        tools.shared.observer.note(&self.plan, &slot, false);
        let retries = self.pool_section().map_or(0, |pool| pool.retries);
        if self.failures >= retries {
            self.record.give_up_connecting(failure.cause());
            return Some(Next::Close);
        }
        self.failures += 1;
        let gone = tools.shared.is_gone(&tools.serving(), server);
        let redispatch = self
            .pool_section()
            .is_some_and(|pool| pool.redispatches(self.failures) || pool.redispatch && gone);
        self.record.retry(failure.cause(), !redispatch);
        if self.client_has_left() {
            return Some(self.leave(tools));
        }
        let timeout = self.pool_section().and_then(|pool| pool.connect_timeout);
        self.pause = match failure {
            Failure::Refused => timeout.map_or(TURN_AROUND, |timeout| timeout.min(TURN_AROUND)),
            Failure::TimedOut | Failure::ServerDown => Duration::ZERO,
        };
        drop(slot);
        if redispatch {
            self.avoid = Some(server.server);
            return None;
        }
        self.avoid = None;
        Some(self.turn_around(server, tools))
    }

    /// Waits before the same server is tried again.
    fn turn_around(&mut self, server: ServerId, tools: &Tools) -> Next {
        self.phase = Phase::TurnAround { server, deadline: tools.now + self.pause };
        Next::Wait
    }

    /// The wait for the same server is over.
    fn try_again(&mut self, server: ServerId, tools: &mut Tools) -> Next {
        if self.client_has_left() {
            return self.leave(tools);
        }
        if self.avoid.is_some() {
            // Another one may have come up meanwhile; if not, the one that failed is as good as any.
            self.avoid = None;
            return self.find_server(tools);
        }
        match tools.shared.choose_again(&tools.serving(), server) {
            Choice::Server(slot) => match self.connect(slot, tools) {
                Ok(()) => Next::Wait,
                Err(slot) => self.handle_connect_failure(slot, Failure::Refused, tools),
            },
            Choice::Full => self.enter_queue(None, tools),
            Choice::Wait(place) => {
                self.record.aim_at(&place, false);
                self.enter_queue(Some(place), tools)
            }
            Choice::None => self.do_without(tools),
        }
    }

    /// Waits for the server of `place`, or for any.
    fn enter_queue(&mut self, place: Option<Place>, tools: &Tools) -> Next {
        let Some(queue) = tools.shared.queue(self.pool) else { return Next::Close };
        if self.client_has_left() {
            return self.leave(tools);
        }
        let timeout = self.pool_section().and_then(|pool| pool.queue_timeout);
        self.phase = Phase::Queued { deadline: timeout.and_then(|timeout| tools.now.checked_add(timeout)) };
        let (worker, client) = (self.admission.worker(), self.found.client(self.endpoints.client));
        if place.is_none() {
            self.record.enter_queue();
        }
        queue.enter(&tools.shared, Waiter::new(worker, self.key, client, self.avoid, place));
        Next::Wait
    }

    /// No server is left.
    fn do_without(&mut self, tools: &Tools) -> Next {
        match self.pool_section().map(|pool| pool.outage.no_server) {
            Some(NoServer::Hold) => self.enter_queue(None, tools),
            _ => self.give_up(tools),
        }
    }

    /// There is no server to wait for.
    fn give_up(&mut self, tools: &Tools) -> Next {
        self.record.find_no_server();
        if let Some(view) = tools.serving().pools.get(usize::from(self.pool.0)) {
            view.load.no_server.fetch_add(1, Ordering::Relaxed);
        }
        Next::Close
    }

    /// Whether the client of a session that waits is gone.
    ///
    /// Its end of file alone does not say so: a client may send its request, finish, and wait for the answer. One that
    /// finished without having sent a byte has left; it is served only if its first connect is already on its way.
    fn client_has_left(&self) -> bool {
        if self.client.failed {
            return true;
        }
        let connecting = self.failures == 0 && matches!(self.phase, Phase::New | Phase::Connecting { .. });
        let left = self.client.hung_up && self.pool_section().is_some_and(|pool| pool.abort_on_close);
        left || (self.client.hung_up && !connecting && matches!(self.client.stream.peek(&mut [0]), Ok(0)))
    }

    /// The client of a session that waits has left.
    fn leave(&mut self, tools: &Tools) -> Next {
        self.note_client_left(tools);
        Next::Close
    }

    fn note_client_left(&mut self, tools: &Tools) {
        let stage = self.stage();
        if stage == Stage::Queue {
            self.record.leave_queue(tools.now);
        }
        self.record.client_left(self.client.failed, stage);
    }

    /// How far it has come.
    fn stage(&self) -> Stage {
        match self.phase {
            Phase::Header { .. } => Stage::Request,
            Phase::Queued { .. } => Stage::Queue,
            Phase::Inspecting => Stage::Request,
            Phase::New | Phase::TurnAround { .. } | Phase::Connecting { .. } => Stage::Connect,
            Phase::Relaying(_) => Stage::Data,
        }
    }

    /// What `server` wants to hear before the client's first byte.
    fn proxy_header(&self, server: ServerId, tools: &Tools) -> Vec<u8> {
        // Not the plan it was accepted under: the server may be newer.
        let form = tools.serving().plan.server(server).and_then(|server| server.proxy_header);
        form.map_or_else(Vec::new, |form| {
            proxy_protocol::encode(&form, Some(self.endpoints), self.authority.as_deref())
        })
    }

    fn pool_section(&self) -> Option<&Pool> {
        self.plan.pools.get(usize::from(self.pool.0))
    }
}
