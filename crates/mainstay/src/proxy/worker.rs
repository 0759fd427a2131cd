//! One worker: a thread with its own epoll, sessions, timers and buffer.
//!
//! Owns the loop: accepts connections and serves them. Every session belongs to one worker for life, so nothing in it needs a lock. All sockets are watched
//! edge-triggered, once, for everything; what is known of their readiness is in their [`Side`](super::relay::Side). A
//! panic in a session ends that session.

use std::io;
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use arc_swap::Guard;
use mainstay_engine::plan::ServerId;
use mainstay_engine::serving::Serving;
use mainstay_engine::serving::termination::Cause;
use mainstay_engine::time::Instant as EngineInstant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::clock;

use super::acceptor::{Acceptor, listener_of};
use super::listener::Listeners;
use super::listing::{ListRequest, PAGE, SessionId};
use super::pipes::Pipes;
use super::session::{Next, Session};
use super::shared::{Accepted, Message, Shared};
use super::slab::{Key, Slab};
use super::timers::Timers;

/// Events taken from the kernel at once: enough to spare system calls under load, few enough to get round quickly.
const EVENTS: usize = 256;

/// The one read buffer of a worker. Bulk transfers gain up to this size; see WINDOW_FIRST for everything else.
const SCRATCH_BYTES: usize = 256 * 1024;

/// The epoll token of the worker's own wake-up. No session's token is this: keys stay below 2^63.
const WAKE: u64 = u64::MAX;

/// One of the two sockets of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Socket {
    /// The one that was accepted.
    Client,
    /// The one we connected.
    Server,
}

/// What a session works with, lent by its worker.
#[derive(Debug)]
pub(super) struct Tools {
    /// Which worker lends them.
    worker: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) scratch: Box<[u8]>,
    pub(super) pipes: Pipes,
    /// When this turn of the loop began.
    pub(super) now: Instant,
    /// The same on the clock that control and counters go by.
    pub(super) clock: EngineInstant,
    epoll: Epoll,
}

impl Tools {
    /// Has the kernel report everything that happens to a socket of session `key`.
    pub(super) fn watch(&self, stream: &TcpStream, key: Key, socket: Socket) -> io::Result<()> {
        let events =
            EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        let token = key.to_bits() << 1 | u64::from(socket == Socket::Server);
        Ok(self.epoll.add(stream, EpollEvent::new(events, token))?)
    }

    /// Counts bytes that a session has moved.
    pub(super) fn count_moved(&self, bytes: u64) {
        if let Some(own) = self.shared.mailboxes.get(self.worker).filter(|_| bytes > 0) {
            own.traffic.add(bytes, self.clock);
        }
    }

    /// The view to choose from.
    pub(super) fn serving(&self) -> Guard<Arc<Serving>> {
        self.shared.serving.load()
    }
}

/// One thread of the data plane.
#[derive(Debug)]
pub(super) struct Worker {
    mailbox: Receiver<Message>,
    sessions: Slab<Session>,
    timers: Timers,
    /// Sessions that stopped to be fair and have more to do.
    again: Vec<Key>,
    acceptor: Acceptor,
    /// How many listeners there are.
    listeners: usize,
    tools: Tools,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        shared: &Arc<Shared>,
        mailbox: Receiver<Message>,
        listeners: &Listeners,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        if let Some(own) = shared.mailboxes.get(index) {
            let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
            epoll.add(&own.wake.descriptor, EpollEvent::new(events, WAKE))?;
        }
        let Listeners { plan, listeners, .. } = listeners;
        let acceptor = Acceptor::new(index, shared, plan, listeners, &epoll)?;
        let tools = Tools {
            worker: index,
            shared: Arc::clone(shared),
            scratch: vec![0; SCRATCH_BYTES].into_boxed_slice(),
            pipes: Pipes::default(),
            now: Instant::now(),
            clock: clock::now(),
            epoll,
        };
        let (sessions, timers) = (Slab::default(), Timers::default());
        let listeners = listeners.len();
        Ok(Self { mailbox, sessions, timers, again: Vec::new(), acceptor, listeners, tools })
    }

    /// Serves until the data plane stops. Returns early only if the kernel refuses to report events.
    pub(super) fn run(mut self) -> nix::Result<()> {
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut accepted = Vec::new();
        while !self.tools.shared.stopping.load(Ordering::Acquire) {
            let count = match self.tools.epoll.wait(&mut events, self.patience()) {
                Err(Errno::EINTR) => 0,
                result => result?,
            };
            self.tools.now = Instant::now();
            self.tools.clock = clock::now();
            self.handle_wake()?;
            for event in events.iter().take(count).filter(|event| event.data() != WAKE) {
                if let Some(listener) = listener_of(event.data(), self.listeners) {
                    self.acceptor.accept(listener, &self.tools.epoll, &mut accepted)?;
                    continue;
                }
                let socket = if event.data() & 1 == 0 { Socket::Client } else { Socket::Server };
                let key = Key::from_bits(event.data() >> 1);
                self.step(key, |session, tools| session.handle_event(socket, event.events(), tools));
            }
            self.begin(&mut accepted);
            for key in std::mem::take(&mut self.again) {
                self.step(key, |session, tools| {
                    session.again = false;
                    session.resume(tools)
                });
            }
            self.count_pipes();
            while let Some(key) = self.timers.pop_due(self.tools.now) {
                self.step(key, |session, tools| {
                    session.armed = None;
                    session.handle_timer(tools)
                });
            }
            self.acceptor.turn(&self.tools.epoll, self.tools.now)?;
        }
        Ok(())
    }

    /// Begins the sessions of new connections, or has another worker do so.
    fn begin(&mut self, accepted: &mut Vec<Accepted>) {
        for accepted in accepted.drain(..) {
            let worker = accepted.admission.worker();
            if worker == self.tools.worker {
                self.admit(accepted);
            } else {
                self.tools.shared.send(worker, Message::Accepted(accepted));
            }
        }
    }

    /// How long to wait for events at most. Rounded up to the kernel's unit: waking early would be waking twice.
    fn patience(&self) -> EpollTimeout {
        if !self.again.is_empty() {
            return EpollTimeout::ZERO;
        }
        let next = [self.timers.next(), self.acceptor.deadline()].into_iter().flatten().min();
        let Some(next) = next else { return EpollTimeout::NONE };
        let wait = next.saturating_duration_since(Instant::now());
        EpollTimeout::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(EpollTimeout::MAX)
    }

    /// Looks at everything this worker can be woken for.
    fn handle_wake(&mut self) -> nix::Result<()> {
        let shared = Arc::clone(&self.tools.shared);
        let Some(own) = shared.mailboxes.get(self.tools.worker) else { return Ok(()) };
        if !own.wake.take() {
            return Ok(());
        }
        self.acceptor.follow_orders(&self.tools.epoll)?;
        own.answered.store(shared.asked.load(Ordering::Acquire), Ordering::Release);
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                Message::Accepted(accepted) => self.admit(accepted),
                Message::Assigned(key, slot, number) => {
                    self.step(key, |session, tools| session.handle_assigned(slot, number, tools));
                }
                Message::Refused(key) => self.step(key, |session, tools| session.handle_refused(tools)),
                Message::ShutdownSessions(server, cause) => {
                    for key in self.sessions.keys().collect::<Vec<_>>() {
                        self.step(key, |session, tools| session.handle_shutdown(server, cause, tools));
                    }
                }
                Message::CloseSessions(server, cause, left) => self.close(server, cause, &left),
                Message::List(request) => self.list(request),
                Message::Kill(id, answer) => {
                    // Who asked may have gone.
                    let _ = answer.send(self.kill(id));
                }
            }
        }
        Ok(())
    }

    /// Closes connections of `server` as long as `left` allows, those that were silent the longest first.
    fn close(&mut self, server: ServerId, cause: Cause, left: &AtomicU32) {
        let keys: Vec<Key> = self.sessions.keys().collect();
        let active = |key: Key| Some((self.sessions.get_mut(key)?.active_with(server)?, key));
        let mut found: Vec<(Instant, Key)> = keys.into_iter().filter_map(active).collect();
        found.sort_unstable();
        for (_, key) in found {
            let take = |left: u32| left.checked_sub(1);
            if left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_err() {
                return;
            }
            self.step(key, |session, tools| session.handle_shutdown(server, cause, tools));
        }
    }

    fn list(&mut self, request: ListRequest) {
        let (keys, next) = self.sessions.page(request.place, PAGE);
        let now = self.tools.now;
        let sessions = keys.into_iter().filter_map(|key| Some(self.sessions.get_mut(key)?.info(now)));
        // Who asked may have gone.
        let _ = request.answer.send((sessions.collect(), next));
    }

    fn kill(&mut self, id: SessionId) -> bool {
        let keys: Vec<Key> = self.sessions.keys().collect();
        let is_it = |key: &Key| self.sessions.get_mut(*key).is_some_and(|session| session.id() == id);
        let Some(key) = keys.into_iter().find(is_it) else { return false };
        self.step(key, |session, tools| session.handle_kill(tools));
        true
    }

    fn count_pipes(&self) {
        if let Some(own) = self.tools.shared.mailboxes.get(self.tools.worker) {
            let (used, free) = self.tools.pipes.used_and_free();
            own.traffic.pipes_used.store(used, Ordering::Relaxed);
            own.traffic.pipes_free.store(free, Ordering::Relaxed);
            let ready = u32::try_from(self.again.len()).unwrap_or(u32::MAX);
            own.traffic.ready.store(ready, Ordering::Relaxed);
        }
    }

    fn admit(&mut self, accepted: Accepted) {
        let now = self.tools.now;
        let key = self.sessions.insert(|key| Session::new(key, accepted, now));
        self.step(key, Session::start);
    }

    /// Lets go of a session that is answered elsewhere.
    fn hand_over(&mut self, key: Key) {
        let Some(session) = self.sessions.remove(key) else { return };
        self.timers.disarm(key, session.armed);
        let visitor = session.into_visitor();
        // It fails only for one that was not watched yet.
        let _ = self.tools.epoll.delete(&visitor.stream);
        // As the daemon ends, nobody answers any more.
        let _ = self.tools.shared.visitors.send(visitor);
    }

    /// Lets a session do something, then does what it asks for.
    fn step(&mut self, key: Key, act: impl FnOnce(&mut Session, &mut Tools) -> Next) {
        let Some(session) = self.sessions.get_mut(key) else { return };
        let tools = &mut self.tools;
        // Unwind safety: the session is dropped after a panic, and the tools hold nothing half done that outlives it.
        let next = catch_unwind(AssertUnwindSafe(|| act(session, tools))).unwrap_or_else(|_| {
            tools.shared.counters.panics.fetch_add(1, Ordering::Relaxed);
            tracing::error!("a session ended in a panic, which is a bug in mainstay");
            session.note_panic();
            session.abandon(tools)
        });
        match next {
            Next::Close => {
                session.finish(tools);
                let session = self.sessions.remove(key);
                self.timers.disarm(key, session.and_then(|session| session.armed));
                return;
            }
            Next::HandOver => return self.hand_over(key),
            Next::Again if !session.again => {
                session.again = true;
                self.again.push(key);
            }
            Next::Again | Next::Wait => {}
        }
        if let Some(deadline) = session.deadline()
            && session.armed.is_none_or(|armed| deadline < armed)
        {
            self.timers.arm(key, session.armed.replace(deadline), deadline);
        }
    }
}
