//! What the threads of the data plane share: the view, the counters, the queues and each other's mailboxes.
//!
//! Owns the two things a connection holds while it lives, [`Admission`] and [`Slot`]. Both are given back when they are
//! dropped, whatever ended the connection, so no count can drift.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use mainstay_engine::balance::{self, Client, Pick};
use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::plan::{Dial, FrontendId, Plan, PoolId, ServerId, ServerIndex};
use mainstay_engine::rules::Frequency;
use mainstay_engine::serving::rate::Rate;
use mainstay_engine::serving::termination::Cause;
use mainstay_engine::serving::{FrontendLoad, ServerLoad, ServerView, Serving};
use mainstay_engine::time::{Instant as EngineInstant, UnixTime};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::syslog::Syslog;

use super::listing::{ListRequest, SessionId};
use super::observe::Observer;
use super::queue::PoolQueue;
use super::slab::Key;
use super::visitor::Visitor;

/// One for the whole data plane.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) serving: ArcSwap<Serving>,
    pub(super) queues: Vec<PoolQueue>,
    pub(super) mailboxes: Vec<Mailbox>,
    pub(super) gate: Gate,
    pub(super) stopping: AtomicBool,
    /// How often [`Proxy::probe`](super::Proxy::probe) has asked.
    pub(super) asked: AtomicU64,
    pub(super) counters: Counters,
    pub(super) syslog: Syslog,
    pub(super) observer: Observer,
    /// Where connections go that are answered elsewhere.
    pub(super) visitors: UnboundedSender<Visitor>,
}

/// What is counted for the data plane as a whole.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accept_pauses: AtomicU64,
    pub(super) panics: AtomicU64,
    pub(super) bytes_spliced: AtomicU64,
    pub(super) connections_total: AtomicU64,
    pub(super) connection_rate: Rate,
    pub(super) sessions_total: AtomicU64,
    pub(super) session_rate: Rate,
}

impl Counters {
    /// Counts a connection, and numbers it.
    fn begin_connection(&self, clock: EngineInstant) -> SessionId {
        self.connection_rate.add(1, clock);
        SessionId(self.connections_total.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    fn begin_session(&self, clock: EngineInstant) -> u64 {
        self.session_rate.add(1, clock);
        self.sessions_total.fetch_add(1, Ordering::Relaxed)
    }
}

/// How a worker is reached.
#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) sender: Sender<Message>,
    pub(super) wake: Wake,
    /// Connections the worker has or is about to get.
    pub(super) sessions: AtomicU32,
    /// The latest [`Shared::asked`] that the worker has seen.
    pub(super) answered: AtomicU64,
    pub(super) traffic: Traffic,
}

/// What one worker moves. Each has its own, so that bulk transfers do not fight for one cache line.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// Bytes received and passed on, both ways.
    pub(super) bytes: AtomicU64,
    /// The same for each second, in units of [`RATE_UNIT`].
    pub(super) byte_rate: Rate,
    /// Pipes that hold bytes of a session.
    pub(super) pipes_used: AtomicU32,
    /// Pipes that wait for one.
    pub(super) pipes_free: AtomicU32,
    /// Sessions that have more to do at once.
    pub(super) ready: AtomicU32,
}

/// Bytes that make one event of [`Traffic::byte_rate`], as in HAProxy: 32 bits of them are 137 GB/s.
pub(super) const RATE_UNIT: u64 = 32;

impl Traffic {
    /// Counts what a session has just moved.
    pub(super) fn add(&self, bytes: u64, clock: EngineInstant) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let units = bytes.saturating_add(RATE_UNIT / 2) / RATE_UNIT;
        self.byte_rate.add(u32::try_from(units).unwrap_or(u32::MAX), clock);
    }
}

/// How many connections may be let in.
#[derive(Debug)]
pub(super) struct Gate {
    /// Connections of all frontends.
    pub(super) sessions: AtomicU32,
    /// How many there may be.
    pub(super) maxconn: u32,
    /// How many connections each frontend has taken, for those that limit it. Its lock is held to accept.
    pub(super) frequencies: Mutex<Vec<Frequency>>,
}

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Message {
    /// A new connection.
    Accepted(Accepted),
    /// A queued connection got a slot, as the one with this number among those that were served while it waited.
    Assigned(Key, Slot, u32),
    /// A queued connection has no server left to wait for.
    Refused(Key),
    /// Close all connections of this server.
    ShutdownSessions(ServerId, Cause),
    /// Close connections of this server, as many as the count that all workers share allows.
    CloseSessions(ServerId, Cause, Arc<AtomicU32>),
    /// Tell of some connections.
    List(ListRequest),
    /// Close this connection, if it is here, and say whether it was.
    Kill(SessionId, oneshot::Sender<bool>),
}

/// A connection on its way from who accepted it to its worker.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) endpoints: Endpoints,
    /// Whether a PROXY header comes first.
    pub(super) accept_proxy: bool,
    /// When it was accepted, by both clocks.
    pub(super) at: (Instant, UnixTime),
    pub(super) frontend: FrontendId,
    /// The plan it was accepted under: its time-outs.
    pub(super) plan: Arc<Plan>,
    pub(super) admission: Admission,
}

/// What came out of choosing a server.
#[derive(Debug)]
pub(super) enum Choice {
    /// Connect here.
    Server(Slot),
    /// Wait in the queue of the pool.
    Full,
    /// Wait for this server.
    Wait(Place),
    /// Nothing to wait for.
    None,
}

impl Shared {
    /// Chooses a server of `pool` and takes one of its slots.
    pub(super) fn choose(
        self: &Arc<Self>,
        serving: &Serving,
        pool: PoolId,
        client: Client,
        avoid: Option<ServerIndex>,
    ) -> Choice {
        let Some(view) = serving.pools.get(usize::from(pool.0)) else { return Choice::None };
        match balance::pick(view, client, avoid) {
            Pick::Full => Choice::Full,
            Pick::None => Choice::None,
            Pick::Wait(server) => match view.servers.get(usize::from(server.0)) {
                Some(full) => Choice::Wait(Place::of(ServerId { pool, server }, full)),
                None => Choice::None,
            },
            Pick::Server(server) => match view.servers.get(usize::from(server.0)) {
                Some(chosen) => Choice::Server(Slot {
                    shared: Arc::clone(self),
                    load: Arc::clone(&chosen.load),
                    server: ServerId { pool, server },
                    address: chosen.address,
                    dial: chosen.dial.clone(),
                }),
                None => Choice::None,
            },
        }
    }

    /// Takes a slot of this very server, for a pool that does not redispatch.
    pub(super) fn choose_again(self: &Arc<Self>, serving: &Serving, server: ServerId) -> Choice {
        self.choose_this(serving, server, |view| view.selectable)
    }

    /// Takes a slot of the server that rules or earlier connections name; it need not be among those that new
    /// connections choose from.
    pub(super) fn choose_preferred(self: &Arc<Self>, serving: &Serving, server: ServerId) -> Choice {
        self.choose_this(serving, server, |view| view.usable)
    }

    /// Whether a server does not work any more.
    pub(super) fn is_gone(&self, serving: &Serving, server: ServerId) -> bool {
        let view = serving.pools.get(usize::from(server.pool.0));
        view.and_then(|view| view.servers.get(usize::from(server.server.0))).is_none_or(|view| !view.usable)
    }

    fn choose_this(
        self: &Arc<Self>,
        serving: &Serving,
        server: ServerId,
        fits: impl Fn(&ServerView) -> bool,
    ) -> Choice {
        let Some(view) = serving.pools.get(usize::from(server.pool.0)) else { return Choice::None };
        let Some(chosen) = view.servers.get(usize::from(server.server.0)) else { return Choice::None };
        if !fits(chosen) {
            Choice::None
        } else if view.acquire(chosen) {
            let (load, address, dial) = (Arc::clone(&chosen.load), chosen.address, chosen.dial.clone());
            Choice::Server(Slot { shared: Arc::clone(self), load, server, address, dial })
        } else {
            Choice::Wait(Place::of(server, chosen))
        }
    }

    /// Which worker a connection goes to that `own` has accepted: the one with the fewest, or `own` as long as it has not
    /// a quarter more. Going to another thread costs more than such a difference.
    fn worker_for(&self, own: usize) -> usize {
        let sessions = |mailbox: &Mailbox| mailbox.sessions.load(Ordering::Relaxed);
        let counts = self.mailboxes.iter().map(sessions).enumerate();
        let Some((least, fewest)) = counts.min_by_key(|(_, count)| *count) else { return own };
        let enough = |mailbox: &Mailbox| sessions(mailbox) <= fewest.saturating_add(fewest / 4);
        if self.mailboxes.get(own).is_some_and(enough) { own } else { least }
    }

    /// The queue of `pool`.
    pub(super) fn queue(&self, pool: PoolId) -> Option<&PoolQueue> {
        self.queues.get(usize::from(pool.0))
    }

    /// Hands `message` to a worker. A worker that is gone drops it, and with it what the message holds.
    pub(super) fn send(&self, worker: usize, message: Message) {
        if let Some(mailbox) = self.mailboxes.get(worker) {
            let _ = mailbox.sender.send(message);
            mailbox.wake.wake();
        }
    }
}

/// The right to exist: one connection in its frontend's count, its worker's and the daemon's.
#[derive(Debug)]
pub(super) struct Admission {
    shared: Arc<Shared>,
    frontend: Arc<FrontendLoad>,
    worker: usize,
    number: SessionId,
    /// How many its listener has, if that has a limit of its own.
    listener: Option<Arc<AtomicU32>>,
}

impl Admission {
    /// Counts a connection in. It goes to `worker`, which has accepted it, unless another one has clearly fewer.
    pub(super) fn new(
        shared: &Arc<Shared>,
        frontend: &Arc<FrontendLoad>,
        worker: usize,
        clock: EngineInstant,
    ) -> Self {
        let worker = shared.worker_for(worker);
        if let Some(mailbox) = shared.mailboxes.get(worker) {
            mailbox.sessions.fetch_add(1, Ordering::Relaxed);
        }
        shared.gate.sessions.fetch_add(1, Ordering::AcqRel);
        frontend.begin_connection(clock);
        let number = shared.counters.begin_connection(clock);
        Self { shared: Arc::clone(shared), frontend: Arc::clone(frontend), worker, number, listener: None }
    }

    /// Counts it at its listener, too, which has a limit of its own.
    pub(super) fn count_at(&mut self, listener: &Arc<AtomicU32>) {
        listener.fetch_add(1, Ordering::AcqRel);
        self.listener = Some(Arc::clone(listener));
    }

    /// Counts it as let in by the rules of its frontend. Returns how many were let in before it.
    pub(super) fn begin_session(&self, clock: EngineInstant) -> u64 {
        self.frontend.begin_session(clock);
        self.shared.counters.begin_session(clock)
    }

    /// The counters of its frontend.
    pub(super) fn frontend(&self) -> Arc<FrontendLoad> {
        Arc::clone(&self.frontend)
    }

    /// Its number among all connections of this daemon.
    pub(super) fn number(&self) -> SessionId {
        self.number
    }

    /// The worker it was given to.
    pub(super) fn worker(&self) -> usize {
        self.worker
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(mailbox) = self.shared.mailboxes.get(self.worker) {
            mailbox.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(listener) = &self.listener {
            listener.fetch_sub(1, Ordering::AcqRel);
        }
        self.frontend.sessions.fetch_sub(1, Ordering::AcqRel);
        self.shared.gate.sessions.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The queue of one server.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) server: ServerId,
    pub(super) address: SocketAddr,
    pub(super) load: Arc<ServerLoad>,
    /// Connections that may wait there.
    maxqueue: Option<u32>,
}

impl Place {
    fn of(server: ServerId, view: &ServerView) -> Self {
        let (address, load, maxqueue) = (view.address, Arc::clone(&view.load), view.maxqueue);
        Self { server, address, load, maxqueue }
    }

    /// Whether one more may wait there.
    pub(super) fn has_room(&self) -> bool {
        self.maxqueue.is_none_or(|most| self.load.queued.load(Ordering::Acquire) < most)
    }
}

/// One of a server's slots, taken.
#[derive(Debug)]
pub(super) struct Slot {
    shared: Arc<Shared>,
    pub(super) load: Arc<ServerLoad>,
    pub(super) server: ServerId,
    pub(super) address: SocketAddr,
    /// How it is connected, where that is more than a connect to `address`.
    pub(super) dial: Option<Arc<Dial>>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.load.release();
        if let Some(queue) = self.shared.queue(self.server.pool) {
            queue.slot_freed(&self.shared);
        }
    }
}

/// Wakes a thread out of its epoll wait, once for any number of reasons.
#[derive(Debug)]
pub(super) struct Wake {
    /// Registered edge-triggered, so every write wakes and nobody has to read it.
    pub(super) descriptor: EventFd,
    woken: AtomicBool,
}

impl Wake {
    pub(super) fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self { descriptor: EventFd::from_flags(flags)?, woken: AtomicBool::new(false) })
    }

    /// Wakes the thread. What it shall see must have been stored before.
    pub(super) fn wake(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            // It can only fail after 2^64 writes.
            let _ = self.descriptor.write(1);
        }
    }

    /// Whether the thread was woken since the last call. It then looks at everything it could have been woken for.
    pub(super) fn take(&self) -> bool {
        self.woken.swap(false, Ordering::SeqCst)
    }
}
