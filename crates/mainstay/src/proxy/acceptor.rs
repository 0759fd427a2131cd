//! The acceptor of a worker: takes connections off the listeners, and says which worker each goes to.
//!
//! Every worker has one, and all of them watch the same listeners: whoever comes first takes a connection and usually
//! keeps it, so that it costs no way from thread to thread. (With `EPOLLEXCLUSIVE` the kernel would wake one only, which
//! may be the busier one: connections waited three times as long in the worst case.)
//!
//! Owns the limits of connections: at a limit, connections stay in the kernel's backlog, as in HAProxy, until one ends.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::plan::{FrontendId, Plan};
use mainstay_engine::serving::{Admittance, FrontendLoad, FrontendState};
use nix::errno::Errno;
use nix::libc;
use nix::sys::epoll::{Epoll, EpollEvent, EpollFlags};
use socket2::{SockAddr, Socket};

use crate::clock;

use super::listener::Listener;
use super::shared::{Accepted, Admission, Shared};

/// Connections taken from one listener before the sessions of the worker get their turn.
const ACCEPTS: usize = 16;

/// How long nothing is accepted after the kernel ran out of descriptors or memory: long enough not to spin, short
/// enough for a client not to notice.
const PAUSE: Duration = Duration::from_millis(100);

/// What `rate-limit sessions` counts in.
const SECOND: Duration = Duration::from_secs(1);

/// How long nothing is accepted after as many came in a second as may: a small part of the second.
const RATE_PAUSE: Duration = Duration::from_millis(5);

/// What one worker knows of the listeners.
#[derive(Debug)]
pub(super) struct Acceptor {
    worker: usize,
    shared: Arc<Shared>,
    plan: Arc<Plan>,
    gates: Vec<ListenerGate>,
    /// What the gates are like, as of the view it is from.
    admittance: Admittance,
    /// Whether a gate is closed.
    some_closed: bool,
}

/// One listener, as one worker sees it.
#[derive(Debug)]
struct ListenerGate {
    /// `None` once its frontend is shut down.
    listener: Option<Arc<Listener>>,
    frontend: FrontendId,
    load: Arc<FrontendLoad>,
    /// Whether the kernel takes connections at all.
    listening: bool,
    /// Whether this worker takes them off the kernel.
    open: bool,
    /// When to do so again at the earliest.
    resume_at: Option<Instant>,
    /// How many to take at once: as many as there were last time, so that asking in vain is rare.
    batch: usize,
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
    /// Watches `listeners` with the epoll of `worker`; [`listener_of`] tells their events from others.
    pub(super) fn new(
        worker: usize,
        shared: &Arc<Shared>,
        plan: &Arc<Plan>,
        listeners: &[Arc<Listener>],
        epoll: &Epoll,
    ) -> io::Result<Self> {
        let serving = shared.serving.load();
        let gates = listeners.iter().map(|listener| {
            let frontend = listener.frontend;
            let load = serving.frontends.get(usize::from(frontend.0)).map(Arc::clone).unwrap_or_default();
            let listener = Some(Arc::clone(listener));
            ListenerGate { listener, frontend, load, listening: true, open: false, resume_at: None, batch: 1 }
        });
        let gates = gates.collect();
        // What the first view says otherwise is done with the first turn.
        let admittance = Admittance::new(plan);
        let (shared, plan) = (Arc::clone(shared), Arc::clone(plan));
        let mut acceptor = Self { worker, shared, plan, gates, admittance, some_closed: false };
        (0..acceptor.gates.len()).try_for_each(|index| acceptor.open(index, epoll))?;
        Ok(acceptor)
    }

    /// When [`turn`](Self::turn) has something to do at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let waiting = self.gates.iter().filter(|gate| !gate.open);
        if self.some_closed { waiting.filter_map(|gate| gate.resume_at).min() } else { None }
    }

    /// Does what is due once in every turn of the worker, when sessions that have ended have made room: opens what was
    /// closed. Whoever serves the session that ends sees to it, so nobody has to be told.
    pub(super) fn turn(&mut self, epoll: &Epoll, now: Instant) -> nix::Result<()> {
        if !std::mem::take(&mut self.some_closed) {
            return Ok(());
        }
        for index in 0..self.gates.len() {
            let Some(gate) = self.gates.get(index).filter(|gate| gate.listening && !gate.open) else {
                continue;
            };
            let paused = gate.resume_at.is_some_and(|at| at > now);
            if paused || gate.is_full(self.bounds(gate), &self.shared) {
                self.some_closed = true;
            } else {
                self.open(index, epoll)?;
            }
        }
        Ok(())
    }

    /// Listens where the current view says so, and nowhere else.
    pub(super) fn follow_orders(&mut self, epoll: &Epoll) -> nix::Result<()> {
        let serving = self.shared.serving.load();
        if serving.admittance == self.admittance {
            return Ok(());
        }
        self.admittance = serving.admittance.clone();
        for index in 0..self.gates.len() {
            let Some(gate) = self.gates.get_mut(index) else { continue };
            let frontend = self.admittance.frontends.get(usize::from(gate.frontend.0));
            let state = frontend.map_or(FrontendState::Open, |frontend| frontend.state);
            let Some(listener) = gate.listener.clone() else { continue };
            let listens = state == FrontendState::Open;
            let was_listening = std::mem::replace(&mut gate.listening, listens);
            if state == FrontendState::ShutDown {
                gate.listener = None;
            }
            if was_listening && !listens && std::mem::take(&mut gate.open) {
                // The kernel would report a socket that does not listen without end.
                epoll.delete(&listener.socket)?;
            }
            if let Err(error) = listener.turn(listens) {
                let section = self.plan.frontends.get(usize::from(listener.frontend.0));
                let name = section.map_or("", |section| &section.name);
                tracing::error!("a listener of {name} cannot be turned on or off: {error}");
            }
            if !was_listening && listens {
                self.open(index, epoll)?;
            }
        }
        // Limits may be others now.
        self.some_closed = true;
        Ok(())
    }

    /// Takes connections off a listener that has some, until there is a reason to stop.
    pub(super) fn accept(
        &mut self,
        index: usize,
        epoll: &Epoll,
        accepted: &mut Vec<Accepted>,
    ) -> nix::Result<()> {
        let Some(gate) = self.gates.get(index).filter(|gate| gate.open) else { return Ok(()) };
        let bounds = self.bounds(gate);
        let stop = self.take(index, bounds, accepted);
        let now = Instant::now();
        match stop {
            Stop::Done => Ok(()),
            Stop::Limit => self.close(index, None, epoll),
            Stop::TooFast(wait) => self.close(index, Some(now + wait), epoll),
            Stop::Rate => self.close_all(now + RATE_PAUSE, epoll),
            Stop::Exhausted => {
                if self.shared.counters.accept_pauses.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(
                        "the kernel has no descriptor or memory left for a new connection; clients wait in the backlog \
                         until others leave (the metric mainstay_accept_pauses_total counts how often; the limit of \
                         descriptors is LimitNOFILE in systemd)"
                    );
                }
                self.close_all(now + PAUSE, epoll)
            }
        }
    }

    fn bounds(&self, gate: &ListenerGate) -> Bounds {
        let Admittance { maxconn, connection_rate, session_rate, frontends } = &self.admittance;
        let most = self.shared.gate.maxconn;
        let frontend = frontends.get(usize::from(gate.frontend.0)).and_then(|frontend| frontend.maxconn);
        Bounds {
            frontend: frontend.unwrap_or(u32::MAX),
            all: maxconn.map_or(most, |maxconn| maxconn.get().min(most)),
            each_second: [connection_rate, session_rate]
                .into_iter()
                .flatten()
                .min()
                .map_or(u32::MAX, |rate| rate.get()),
        }
    }

    fn take(&mut self, index: usize, bounds: Bounds, accepted: &mut Vec<Accepted>) -> Stop {
        let Some(gate) = self.gates.get_mut(index) else { return Stop::Done };
        let frontend = usize::from(gate.frontend.0);
        let section = self.plan.frontends.get(frontend);
        let limit = section.and_then(|section| section.rules.sessions_per_second);
        // One worker at a time, so that no limit is passed by one connection for each of them.
        let frequencies = &self.shared.gate.frequencies;
        let mut frequencies = frequencies.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pace = limit.zip(frequencies.get_mut(frontend));
        for taken in 0..gate.batch {
            if gate.is_full(bounds, &self.shared) {
                return Stop::Limit;
            }
            if let Some((limit, frequency)) = &pace
                && let Some(wait) = frequency.wait(*limit, SECOND, clock::now())
            {
                return Stop::TooFast(wait);
            }
            // Connections, not what rules let in of them: workers judge later, and a burst would be in by then.
            if bounds.each_second < u32::MAX
                && self.shared.counters.connection_rate.per_second(clock::now()) >= bounds.each_second
            {
                return Stop::Rate;
            }
            match gate.accept_one() {
                Ok(Some((socket, address))) => {
                    if let Some((_, frequency)) = &mut pace {
                        frequency.count(SECOND, clock::now());
                    }
                    accepted.extend(gate.admit(socket, &address, self.worker, &self.shared, &self.plan));
                }
                Ok(None) => {
                    gate.batch = taken.max(1);
                    return Stop::Done;
                }
                Err(Exhausted) => return Stop::Exhausted,
            }
        }
        gate.batch = gate.batch.saturating_mul(2).min(ACCEPTS);
        Stop::Done
    }

    /// Takes connections from a listener.
    fn open(&mut self, index: usize, epoll: &Epoll) -> nix::Result<()> {
        let Some(gate) = self.gates.get_mut(index).filter(|gate| !gate.open) else { return Ok(()) };
        let Some(listener) = &gate.listener else { return Ok(()) };
        epoll.add(&listener.socket, EpollEvent::new(EpollFlags::EPOLLIN, token(index)))?;
        (gate.open, gate.resume_at) = (true, None);
        Ok(())
    }

    /// Takes none from it, until `resume_at` or until there is room; they wait in the backlog.
    fn close(&mut self, index: usize, resume_at: Option<Instant>, epoll: &Epoll) -> nix::Result<()> {
        let Some(gate) = self.gates.get_mut(index).filter(|gate| gate.listening) else { return Ok(()) };
        gate.resume_at = gate.resume_at.max(resume_at);
        self.some_closed = true;
        match &gate.listener {
            Some(listener) if std::mem::take(&mut gate.open) => epoll.delete(&listener.socket),
            _ => Ok(()),
        }
    }

    fn close_all(&mut self, resume_at: Instant, epoll: &Epoll) -> nix::Result<()> {
        (0..self.gates.len()).try_for_each(|index| self.close(index, Some(resume_at), epoll))
    }
}

/// The epoll token of a listener. They count down from the highest numbers, which no session's key comes near: there
/// are far fewer descriptors than places.
fn token(index: usize) -> u64 {
    u64::try_from(index).unwrap_or(u64::MAX).saturating_add(2).wrapping_neg()
}

/// The listener that an epoll token names. `count` is how many there are.
pub(super) fn listener_of(token: u64, count: usize) -> Option<usize> {
    let index = usize::try_from(token.wrapping_neg()).ok()?.checked_sub(2)?;
    (index < count).then_some(index)
}

/// The kernel ran out of descriptors or memory.
struct Exhausted;

impl ListenerGate {
    fn is_full(&self, bounds: Bounds, shared: &Shared) -> bool {
        let own = self.listener.as_ref().and_then(|listener| listener.limit.as_ref());
        own.is_some_and(|(limit, sessions)| sessions.load(Ordering::Acquire) >= *limit)
            || self.load.sessions.load(Ordering::Acquire) >= bounds.frontend
            || shared.gate.sessions.load(Ordering::Acquire) >= bounds.all
    }

    /// The next connection that is still there.
    fn accept_one(&self) -> Result<Option<(Socket, SockAddr)>, Exhausted> {
        let Some(listener) = self.listener.as_ref().filter(|_| self.listening) else { return Ok(None) };
        for _ in 0..ACCEPTS {
            match listener.socket.accept4(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) {
                Ok(accepted) => return Ok(Some(accepted)),
                Err(error) => match error.raw_os_error().map(Errno::from_raw) {
                    Some(Errno::EAGAIN) => return Ok(None),
                    Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                        return Err(Exhausted);
                    }
                    // This one is gone already (accept(2), "Error handling"); there may be others.
                    _ => {}
                },
            }
        }
        Ok(None)
    }

    /// Counts a connection in.
    fn admit(
        &self,
        socket: Socket,
        address: &SockAddr,
        worker: usize,
        shared: &Arc<Shared>,
        plan: &Arc<Plan>,
    ) -> Option<Accepted> {
        let listener = self.listener.as_ref()?;
        let endpoints = match (listener.local, listener.address) {
            (Some(listener), _) => Endpoints::local(listener),
            (None, Some(destination)) => Endpoints::new(address.as_socket()?, destination),
            // It fails only for a connection that is gone already.
            (None, None) => Endpoints::new(address.as_socket()?, socket.local_addr().ok()?.as_socket()?),
        };
        let mut admission = Admission::new(shared, &self.load, worker, clock::now());
        if let Some((_, sessions)) = &listener.limit {
            admission.count_at(sessions);
        }
        Some(Accepted {
            stream: socket.into(),
            endpoints,
            accept_proxy: listener.accept_proxy,
            at: (Instant::now(), clock::wall()),
            frontend: self.frontend,
            plan: Arc::clone(plan),
            admission,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::slab::{Key, Slab};
    use super::*;

    #[test]
    fn no_session_is_taken_for_a_listener() {
        let mut slab = Slab::default();
        let key: Key = slab.insert(|_| ());
        assert_eq!(listener_of(key.to_bits() << 1 | 1, 70_000), None);
        assert_eq!(listener_of(u64::MAX, 70_000), None, "the wake-up of the worker");
        assert_eq!(listener_of(token(69_999), 70_000), Some(69_999));
        assert_eq!(listener_of(token(0), 1), Some(0));
        assert_eq!(listener_of(token(1), 1), None);
    }
}
