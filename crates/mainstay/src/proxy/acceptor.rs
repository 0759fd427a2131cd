//! The acceptor: one thread that takes connections off the listeners and hands each to the worker with the fewest.
//!
//! Owns the limits of connections: at a limit, connections stay in the kernel's backlog, as in HAProxy, and the acceptor
//! sleeps until one ends.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::plan::{FrontendId, Plan};
use mainstay_engine::rules::Frequency;
use mainstay_engine::serving::{Admittance, FrontendLoad, FrontendState};
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::Socket;

use crate::clock;

use super::listener::{Listener, Listeners};
use super::shared::{Accepted, Admission, Message, Shared};

/// Connections taken from one listener before the others get their turn.
const ACCEPTS: usize = 64;

/// How long nothing is accepted after the kernel ran out of descriptors or memory: long enough not to spin, short
/// enough for a client not to notice.
const PAUSE: Duration = Duration::from_millis(100);

/// What `rate-limit sessions` counts in.
const SECOND: Duration = Duration::from_secs(1);

/// How long nothing is accepted after as many came in a second as may: a small part of the second.
const RATE_PAUSE: Duration = Duration::from_millis(5);

/// Events taken from the kernel at once.
const EVENTS: usize = 64;

/// The epoll token of the acceptor's own wake-up; listeners have their index.
const WAKE: u64 = u64::MAX;

/// The thread that accepts.
#[derive(Debug)]
pub(super) struct Acceptor {
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    epoll: Epoll,
    gates: Vec<ListenerGate>,
    /// What the gates are like, as of the view it is from.
    admittance: Admittance,
    /// When to accept again after [`PAUSE`] or [`RATE_PAUSE`].
    resume_at: Option<Instant>,
    /// How many connections each frontend has taken, for those that limit it.
    frequencies: Vec<Frequency>,
    /// When one of them may take the next.
    refilled_at: Option<Instant>,
}

/// One listener and whether it is open.
#[derive(Debug)]
struct ListenerGate {
    /// `None` once its frontend is shut down.
    listener: Option<Listener>,
    frontend: FrontendId,
    /// Whether a PROXY header comes first.
    accept_proxy: bool,
    load: Arc<FrontendLoad>,
    /// Whether the kernel takes connections at all.
    listening: bool,
    /// Whether we take them off the kernel.
    open: bool,
}

/// How many connections there may be.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    frontend: u32,
    all: u32,
    each_second: u32,
}

/// Why accepting stopped.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// Nobody waits, or it is another listener's turn.
    Done,
    /// A limit of connections is reached.
    Limit,
    /// As many came in the last second as may.
    Rate,
    /// The kernel ran out of something.
    Exhausted,
    /// The frontend has taken as many as it may, and takes the next one after this.
    TooFast(Duration),
}

impl Acceptor {
    pub(super) fn new(shared: &Arc<Shared>, listeners: Listeners) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(
            &shared.gate.wake.descriptor,
            EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, WAKE),
        )?;
        let serving = shared.serving.load();
        let mut gates = Vec::new();
        for (token, listener) in (0..).zip(listeners.listeners) {
            let frontend = listener.frontend;
            epoll.add(&listener.socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
            let load = serving.frontends.get(usize::from(frontend.0)).map(Arc::clone).unwrap_or_default();
            gates.push(ListenerGate {
                accept_proxy: listener.accept_proxy,
                listener: Some(listener),
                frontend,
                load,
                listening: true,
                open: true,
            });
        }
        let frequencies = listeners.plan.frontends.iter().map(|_| Frequency::default()).collect();
        // What the first view says otherwise is done with the first turn.
        let admittance = Admittance::new(&listeners.plan);
        let (shared, plan) = (Arc::clone(shared), listeners.plan);
        let (resume_at, refilled_at) = (None, None);
        Ok(Self { shared, plan, epoll, gates, admittance, resume_at, frequencies, refilled_at })
    }

    /// Accepts until the data plane stops. Returns early only if the kernel refuses to report events.
    pub(super) fn run(mut self) -> nix::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        while !self.shared.stopping.load(Ordering::Acquire) {
            let count = match self.epoll.wait(&mut events, self.patience()) {
                Err(Errno::EINTR) => 0,
                result => result?,
            };
            let gate = &self.shared.gate;
            let woken = gate.wake.take();
            gate.answered.store(self.shared.asked.load(Ordering::Acquire), Ordering::Release);
            let now = Instant::now();
            let paused = self.resume_at.is_some_and(|at| at > now);
            let refilled = self.refilled_at.take_if(|at| *at <= now).is_some();
            if woken {
                self.follow_orders()?;
            }
            if !paused && (woken || refilled || self.resume_at.take().is_some()) {
                self.reopen()?;
            }
            for event in events.iter().take(count).filter(|event| event.data() != WAKE) {
                if let Ok(index) = usize::try_from(event.data()) {
                    self.accept(index)?;
                }
            }
        }
        Ok(())
    }

    fn patience(&self) -> EpollTimeout {
        let next = [self.resume_at, self.refilled_at].into_iter().flatten().min();
        let Some(at) = next else { return EpollTimeout::NONE };
        let wait = at.saturating_duration_since(Instant::now());
        EpollTimeout::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(EpollTimeout::MAX)
    }

    /// Listens where the current view says so, and nowhere else.
    fn follow_orders(&mut self) -> nix::Result<()> {
        let serving = self.shared.serving.load();
        if serving.admittance == self.admittance {
            return Ok(());
        }
        self.admittance = serving.admittance.clone();
        for (token, gate) in (0..).zip(&mut self.gates) {
            let frontend = self.admittance.frontends.get(usize::from(gate.frontend.0));
            let state = frontend.map_or(FrontendState::Open, |frontend| frontend.state);
            let Some(listener) = &gate.listener else { continue };
            let listens = state == FrontendState::Open;
            if gate.listening && !listens {
                // The kernel would report a socket that does not listen without end.
                self.epoll.delete(&listener.socket)?;
            }
            let turned = match (gate.listening, listens) {
                (true, false) => listener.pause(),
                (false, true) => listener.resume(),
                _ => Ok(()),
            };
            if let Err(error) = turned {
                let name =
                    self.plan.frontends.get(usize::from(gate.frontend.0)).map_or("", |section| &section.name);
                tracing::error!("a listener of {name} cannot be turned on or off: {error}");
            }
            if !gate.listening && listens {
                self.epoll.add(&listener.socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?;
                gate.open = true;
            }
            gate.listening = listens;
            if state == FrontendState::ShutDown {
                gate.listener = None;
            }
        }
        Ok(())
    }

    /// Opens the listeners that were closed; one that is still at its limit closes again when its turn comes.
    fn reopen(&mut self) -> nix::Result<()> {
        for (token, gate) in (0..).zip(&mut self.gates) {
            let Some(listener) = gate.listener.as_ref().filter(|_| gate.listening && !gate.open) else {
                continue;
            };
            gate.open = true;
            self.epoll.modify(&listener.socket, &mut EpollEvent::new(EpollFlags::EPOLLIN, token))?;
        }
        Ok(())
    }

    fn bounds(&self, gate: &ListenerGate) -> Bounds {
        let Admittance { maxconn, session_rate, frontends } = &self.admittance;
        let most = self.shared.gate.maxconn;
        let frontend = frontends.get(usize::from(gate.frontend.0)).and_then(|frontend| frontend.maxconn);
        Bounds {
            frontend: frontend.unwrap_or(u32::MAX),
            all: maxconn.map_or(most, |maxconn| maxconn.get().min(most)),
            each_second: session_rate.map_or(u32::MAX, NonZeroU32::get),
        }
    }

    fn accept(&mut self, index: usize) -> nix::Result<()> {
        let Some(gate) = self.gates.get(index).filter(|gate| gate.open) else { return Ok(()) };
        let (bounds, frontend) = (self.bounds(gate), usize::from(gate.frontend.0));
        let section = self.plan.frontends.get(frontend);
        let limit = section.and_then(|section| section.rules.sessions_per_second);
        let Some(frequency) = self.frequencies.get_mut(frontend) else { return Ok(()) };
        let mut pace = limit.map(|limit| (limit, frequency));
        let mut stop = gate.accept(bounds, &self.shared, &self.plan, &mut pace);
        if stop == Stop::Limit {
            // Look once more after saying so: a connection that ended in between woke nobody.
            self.shared.gate.wait();
            stop = gate.accept(bounds, &self.shared, &self.plan, &mut pace);
        }
        match stop {
            Stop::Done => Ok(()),
            Stop::Limit => self.close(index),
            Stop::Rate => self.pause(RATE_PAUSE),
            Stop::TooFast(wait) => {
                let at = Instant::now() + wait;
                self.refilled_at = Some(self.refilled_at.map_or(at, |other| other.min(at)));
                self.close(index)
            }
            Stop::Exhausted => {
                self.shared.counters.accept_pauses.fetch_add(1, Ordering::Relaxed);
                self.pause(PAUSE)
            }
        }
    }

    /// Accepts nothing for a while.
    fn pause(&mut self, pause: Duration) -> nix::Result<()> {
        self.resume_at = Some(Instant::now() + pause);
        (0..self.gates.len()).try_for_each(|index| self.close(index))
    }

    /// Stops listening for connections; they wait in the backlog.
    fn close(&mut self, index: usize) -> nix::Result<()> {
        match self.gates.get_mut(index) {
            Some(ListenerGate { listener: Some(listener), listening: true, open, .. }) if *open => {
                *open = false;
                let token = u64::try_from(index).unwrap_or(WAKE);
                self.epoll.modify(&listener.socket, &mut EpollEvent::new(EpollFlags::empty(), token))
            }
            _ => Ok(()),
        }
    }
}

impl ListenerGate {
    /// Takes connections until there is a reason to stop.
    fn accept(
        &self,
        bounds: Bounds,
        shared: &Arc<Shared>,
        plan: &Arc<Plan>,
        pace: &mut Option<(u32, &mut Frequency)>,
    ) -> Stop {
        let Some(listener) = self.listener.as_ref().filter(|_| self.listening) else { return Stop::Done };
        for _ in 0..ACCEPTS {
            if self.load.sessions.load(Ordering::Acquire) >= bounds.frontend
                || shared.gate.sessions.load(Ordering::Acquire) >= bounds.all
            {
                return Stop::Limit;
            }
            if let Some((limit, frequency)) = pace
                && let Some(wait) = frequency.wait(*limit, SECOND, clock::now())
            {
                return Stop::TooFast(wait);
            }
            // Connections, not what rules let in of them: workers judge later, and a burst would be in by then.
            if bounds.each_second < u32::MAX
                && shared.counters.connection_rate.per_second(clock::now()) >= bounds.each_second
            {
                return Stop::Rate;
            }
            match listener.socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
                Ok((socket, address)) => {
                    if let Some((_, frequency)) = pace {
                        frequency.count(SECOND, clock::now());
                    }
                    if let Some(address) = address.as_socket() {
                        self.hand_over(socket, address, shared, plan);
                    }
                }
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Stop::Done,
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        return Stop::Exhausted;
                    }
                    // This one is gone already (accept(2), "Error handling"); there may be others.
                    _ => {}
                },
            }
        }
        Stop::Done
    }

    fn hand_over(&self, socket: Socket, address: SocketAddr, shared: &Arc<Shared>, plan: &Arc<Plan>) {
        // The listener may stand for many addresses. It fails only for a connection that is gone already.
        let Some(destination) = socket.local_addr().ok().and_then(|local| local.as_socket()) else { return };
        let endpoints = Endpoints::new(address, destination);
        let admission = Admission::new(shared, &self.load, clock::now());
        let worker = admission.worker();
        let (frontend, accept_proxy, plan) = (self.frontend, self.accept_proxy, Arc::clone(plan));
        let at = (Instant::now(), clock::wall());
        let accepted =
            Accepted { stream: socket.into(), endpoints, accept_proxy, at, frontend, plan, admission };
        shared.send(worker, Message::Accepted(accepted));
    }
}
