//! The data plane: accepts connections, finds each a server and relays, without ever meeting control.
//!
//! Owns [`Proxy`], the handle on its threads: one worker for each core, which accepts and relays. They share the
//! listeners, a published view and atomics, nothing else:
//! [`listener`] binds, [`acceptor`] accepts, [`worker`] loops, [`session`] finds a server, [`relaying`] and [`relay`]
//! move bytes, [`queue`] lets connections wait for a slot.
//!
//! The process must ignore SIGPIPE, as Rust programs do: a peer may be gone at any write.

mod acceptor;
mod header;
mod holder;
mod inspection;
mod limit;
mod listener;
mod listing;
mod observe;
mod pipes;
mod queue;
mod record;
mod relay;
mod relaying;
mod session;
mod shared;
mod slab;
mod socket;
mod timers;
mod visitor;
mod worker;

use std::io;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use mainstay_engine::logging::server_state::ServerLine;
use mainstay_engine::plan::ServerId;
use mainstay_engine::rules::Frequency;
use mainstay_engine::serving::Serving;
use mainstay_engine::serving::termination::Cause;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::clock;
use crate::syslog::Syslog;
use crate::unix_socket::Files;

pub use listener::{BindError, Listeners};
pub use listing::{Cursor, Page, SessionId, SessionInfo, SessionPhase};
pub use visitor::{Presence, Visitor};

use observe::Observer;
use queue::PoolQueue;
use shared::{Counters, Gate, Mailbox, Message, RATE_UNIT, Shared, Traffic, Wake};
use worker::Worker;

/// How long a thread may take to answer [`Proxy::probe`]. A turn of a loop takes microseconds to milliseconds; a thread
/// that took this long serves nobody in time.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// The running data plane. Dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Those of listeners that are files.
    files: Mutex<Files>,
    /// Connections that are answered elsewhere, until somebody takes them over.
    visitors: Mutex<Option<UnboundedReceiver<Visitor>>>,
    /// When the unanswered question of [`Proxy::probe`] was asked.
    asked_at: Mutex<Option<Instant>>,
}

/// What the data plane as a whole did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProxyLoad {
    /// Connections of all frontends now.
    pub sessions: u32,
    /// Times that nothing was accepted for a moment, because the kernel ran out of descriptors or memory.
    pub accept_pauses: u64,
    /// Sessions that ended in a panic.
    pub panics: u64,
    /// Bytes that were moved without a copy through user space.
    pub bytes_spliced: u64,
    /// Connections of all frontends there may be at once (`Maxconn`).
    pub maxconn: u32,
    /// Connections that were accepted (`CumConns`).
    pub connections_total: u64,
    /// The same in the last second (`ConnRate`).
    pub connection_rate: u32,
    /// Most of them in one second (`MaxConnRate`).
    pub connection_rate_max: u32,
    /// Connections that the rules of their frontends let in (`CumReq`).
    pub sessions_total: u64,
    /// The same in the last second (`SessRate`).
    pub session_rate: u32,
    /// Most of them in one second (`MaxSessRate`).
    pub session_rate_max: u32,
    /// Bytes that were passed on, both ways (`TotalBytesOut`).
    pub bytes_total: u64,
    /// The same in the last second (`BytesOutRate`).
    pub bytes_rate: u64,
    /// Pipes that sessions splice through now (`PipesUsed`).
    pub pipes_used: u32,
    /// Pipes that wait for a session (`PipesFree`).
    pub pipes_free: u32,
    /// Pipes there may be (`Maxpipes`).
    pub pipes_max: u32,
    /// Sessions that have more to do at once (`Run_queue`).
    pub ready: u32,
    /// Connections that are let in each second; 0 is any number (`ConnRateLimit`).
    pub connection_rate_limit: u32,
    /// The same for sessions (`SessRateLimit`).
    pub session_rate_limit: u32,
    /// Log lines that were not written (`DroppedLogs`).
    pub dropped_logs: u64,
}

impl Proxy {
    /// Starts the threads. Connections that wait in the backlogs are served from now on.
    pub fn start(mut listeners: Listeners, serving: Arc<Serving>) -> io::Result<Self> {
        let plan = Arc::clone(&listeners.plan);
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = plan.workers.map_or(cores, usize::from).max(1);
        let maxconn = limit::connections(plan.maxconn, listeners.listeners.len(), workers);

        let (mut mailboxes, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (sender, receiver) = channel();
            let (sessions, answered) = (AtomicU32::new(0), AtomicU64::new(0));
            let traffic = Traffic::default();
            mailboxes.push(Mailbox { sender, wake: Wake::new()?, sessions, answered, traffic });
            receivers.push(receiver);
        }
        let gate = Gate {
            sessions: AtomicU32::new(0),
            maxconn,
            frequencies: Mutex::new(vec![Frequency::default(); plan.frontends.len()]),
        };
        // As many as there may be connections, and no more.
        let (visitors, arriving) = unbounded_channel();
        let shared = Arc::new(Shared {
            queues: serving
                .pools
                .iter()
                .map(|pool| PoolQueue::new(pool.id, Arc::clone(&pool.load)))
                .collect(),
            serving: ArcSwap::new(serving),
            mailboxes,
            gate,
            stopping: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            counters: Counters::default(),
            syslog: Syslog::start(&plan)?,
            observer: Observer::default(),
            visitors,
        });

        // From here on an error drops `proxy`, which stops what has been started.
        let (shared_too, asked_at) = (Arc::clone(&shared), Mutex::new(None));
        let proxy = Self {
            shared: shared_too,
            threads: Mutex::default(),
            files: Mutex::new(std::mem::take(&mut listeners.files)),
            visitors: Mutex::new(Some(arriving)),
            asked_at,
        };
        for (index, receiver) in receivers.into_iter().enumerate() {
            let worker = Worker::new(index, &shared, receiver, &listeners)?;
            proxy.spawn(format!("worker {index}"), move || worker.run())?;
        }
        Ok(proxy)
    }

    /// Calls `report` for each server to which connects fail as often as its `error-limit` says.
    pub fn watch_errors(&self, report: impl Fn(ServerId) + Send + Sync + 'static) {
        self.shared.observer.set(Box::new(report));
    }

    /// Connections of frontends that answer themselves, those that have come so far included. Only the first who asks gets
    /// them.
    pub fn visitors(&self) -> Option<UnboundedReceiver<Visitor>> {
        self.visitors.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The view that connections choose from now.
    pub fn serving(&self) -> Arc<Serving> {
        self.shared.serving.load_full()
    }

    /// Has all connections from now on, and those in queues, choose from this view.
    pub fn publish(&self, serving: Arc<Serving>) {
        let before = self.shared.serving.swap(Arc::clone(&serving));
        if before.admittance != serving.admittance {
            self.wake_all();
        }
        for queue in &self.shared.queues {
            queue.serve(&self.shared);
        }
    }

    /// Writes a line about a server where the logs of its pool go.
    pub fn log(&self, line: ServerLine) {
        self.shared.syslog.server(&self.shared.serving.load().plan, line);
    }

    /// Closes all connections of a server, soon. Those that are still connecting go elsewhere, unless an operator wants
    /// them closed.
    pub fn shutdown_sessions(&self, server: ServerId, cause: Cause) {
        for worker in 0..self.shared.mailboxes.len() {
            self.shared.send(worker, Message::ShutdownSessions(server, cause));
        }
    }

    /// Closes some connections of a server, soon: those that were silent the longest, and no more than `most`.
    pub fn close_sessions(&self, server: ServerId, cause: Cause, most: u32) {
        let left = Arc::new(AtomicU32::new(most));
        for worker in 0..self.shared.mailboxes.len() {
            self.shared.send(worker, Message::CloseSessions(server, cause, Arc::clone(&left)));
        }
    }

    /// Whether the data plane serves: every thread has turned its loop since the last call that asked for it.
    ///
    /// Never blocks: it looks at the answers to an earlier question, and asks again.
    pub fn probe(&self) -> Result<(), String> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = threads.iter().find(|thread| thread.is_finished()) {
            return Err(format!("the {} has ended", thread.thread().name().unwrap_or("thread")));
        }
        let asked = self.shared.asked.load(Ordering::Acquire);
        let answers = (0..).map(|index| format!("worker {index}")).zip(&self.shared.mailboxes);
        let silent = answers
            .map(|(name, mailbox)| (name, &mailbox.answered))
            .find(|(_, answered)| answered.load(Ordering::Acquire) < asked);
        let mut asked_at = self.asked_at.lock().unwrap_or_else(PoisonError::into_inner);
        match (silent, *asked_at) {
            (Some((name, _)), Some(at)) if at.elapsed() >= PROBE_PATIENCE => {
                Err(format!("the {name} has not answered for {} ms", at.elapsed().as_millis()))
            }
            (Some(_), Some(_)) => Ok(()),
            _ => {
                *asked_at = Some(Instant::now());
                self.shared.asked.fetch_add(1, Ordering::AcqRel);
                self.wake_all();
                Ok(())
            }
        }
    }

    /// What it did so far.
    pub fn load(&self) -> ProxyLoad {
        let Shared { gate, counters, mailboxes, syslog, .. } = &*self.shared;
        let (now, serving) = (clock::now(), self.shared.serving.load());
        let traffic = || mailboxes.iter().map(|mailbox| &mailbox.traffic);
        ProxyLoad {
            sessions: gate.sessions.load(Ordering::Acquire),
            accept_pauses: counters.accept_pauses.load(Ordering::Relaxed),
            panics: counters.panics.load(Ordering::Relaxed),
            bytes_spliced: counters.bytes_spliced.load(Ordering::Relaxed),
            maxconn: serving.admittance.maxconn.map_or(gate.maxconn, |set| set.get().min(gate.maxconn)),
            connections_total: counters.connections_total.load(Ordering::Relaxed),
            connection_rate: counters.connection_rate.per_second(now),
            connection_rate_max: counters.connection_rate.max(),
            sessions_total: counters.sessions_total.load(Ordering::Relaxed),
            session_rate: counters.session_rate.per_second(now),
            session_rate_max: counters.session_rate.max(),
            bytes_total: traffic().map(|own| own.bytes.load(Ordering::Relaxed)).sum(),
            bytes_rate: traffic().map(|own| u64::from(own.byte_rate.per_second(now)) * RATE_UNIT).sum(),
            pipes_used: traffic().map(|own| own.pipes_used.load(Ordering::Relaxed)).sum(),
            pipes_free: traffic().map(|own| own.pipes_free.load(Ordering::Relaxed)).sum(),
            pipes_max: u32::try_from(mailboxes.len().saturating_mul(pipes::PIPES)).unwrap_or(u32::MAX),
            ready: traffic().map(|own| own.ready.load(Ordering::Relaxed)).sum(),
            connection_rate_limit: serving.admittance.connection_rate.map_or(0, NonZeroU32::get),
            session_rate_limit: serving.admittance.session_rate.map_or(0, NonZeroU32::get),
            dropped_logs: syslog.dropped(),
        }
    }

    /// Forgets the maxima of [`ProxyLoad`], as `clear counters` does.
    pub fn reset_maxima(&self) {
        self.shared.counters.connection_rate.reset_max();
        self.shared.counters.session_rate.reset_max();
    }

    /// Closes all listeners and connections, waits for the threads to end, and takes the listeners' files away.
    pub fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.wake_all();
        // Taken out first: whoever probes meanwhile need not wait for them.
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
        drop(std::mem::take(&mut *self.files.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    fn spawn<F>(&self, name: String, run: F) -> io::Result<()>
    where
        F: FnOnce() -> nix::Result<()> + Send + 'static,
    {
        let thread = thread::Builder::new().name(name.clone()).spawn(move || {
            if let Err(error) = run() {
                tracing::error!("the {name} of the data plane ended: {error}");
            }
        })?;
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        Ok(())
    }

    fn wake_all(&self) {
        for mailbox in &self.shared.mailboxes {
            mailbox.wake.wake();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop();
    }
}
