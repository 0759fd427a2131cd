//! Connections that wait for a server's slot, first come, first served: for any server of a pool, or for a certain one.
//!
//! Owns [`PoolQueue`]. The lock is touched only while somebody waits. Whoever frees a slot serves the queue, and so does
//! whoever enters it: between the two no slot stays free while a connection waits.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_engine::balance::Client;
use mainstay_engine::plan::{NoServer, PoolId, ServerId, ServerIndex};
use mainstay_engine::serving::{PoolLoad, Serving};

use super::shared::{Choice, Message, Place, Shared};
use super::slab::Key;

/// The queues of one pool and of its servers.
#[derive(Debug)]
pub(super) struct PoolQueue {
    pool: PoolId,
    waiters: Mutex<Waiters>,
    /// How many there are.
    waiting: AtomicU32,
    load: Arc<PoolLoad>,
}

/// Who waits, in the order of their coming.
#[derive(Debug, Default)]
struct Waiters {
    all: VecDeque<Waiter>,
    /// How many of them take any server.
    for_any: u32,
}

/// One connection that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Where to find it.
    worker: usize,
    key: Key,
    /// For the choice of its server.
    client: Client,
    avoid: Option<ServerIndex>,
    /// The server it waits for, as long as that works; `None` takes any.
    place: Option<Standing>,
    /// How many had been served in that queue when it came.
    served_before: u32,
}

/// A place in the queue of one server, counted for as long as it is held.
#[derive(Debug)]
struct Standing(Place);

impl Standing {
    fn new(place: Place) -> Self {
        let queued = place.load.queued.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        place.load.queued_max.fetch_max(queued, Ordering::Relaxed);
        Self(place)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.load.queued.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Waiter {
    /// The session `key` of `worker` waits for a server other than `avoid`, or for the one of `place`.
    pub(super) fn new(
        worker: usize,
        key: Key,
        client: Client,
        avoid: Option<ServerIndex>,
        place: Option<Place>,
    ) -> Self {
        Self { worker, key, client, avoid, place: place.map(Standing::new), served_before: 0 }
    }
}

impl PoolQueue {
    pub(super) fn new(pool: PoolId, load: Arc<PoolLoad>) -> Self {
        Self { pool, waiters: Mutex::default(), waiting: AtomicU32::new(0), load }
    }

    /// How many wait for any server. A connection that finds others waiting queues up behind them.
    pub(super) fn length(&self) -> u32 {
        self.load.queued.load(Ordering::Acquire)
    }

    /// Enters the queue. A slot that has become free meanwhile is found: the answer comes as a message in any case.
    pub(super) fn enter(&self, shared: &Arc<Shared>, mut waiter: Waiter) {
        {
            let mut waiters = self.lock();
            waiter.served_before = self.served(&waiter).load(Ordering::Relaxed);
            waiters.for_any += u32::from(waiter.place.is_none());
            waiters.all.push_back(waiter);
            self.count(&waiters);
        }
        // Pairs with the fence in `slot_freed`: either that one sees the waiter, or `serve` sees the slot.
        fence(Ordering::SeqCst);
        self.serve(shared);
    }

    /// Leaves the queue without having been served. Returns its number among those that were, as HAProxy counts it.
    pub(super) fn leave(&self, worker: usize, key: Key) -> u32 {
        let mut waiters = self.lock();
        let place = waiters.all.iter().position(|waiter| waiter.worker == worker && waiter.key == key);
        // Not found: it has just been served, and its slot comes back with the undeliverable message.
        let Some(place) = place else { return 0 };
        let number = waiters.all.get(place).map_or(0, |waiter| self.number(waiter));
        waiters.remove(place);
        self.count(&waiters);
        number
    }

    /// A slot of this pool has been given back.
    pub(super) fn slot_freed(&self, shared: &Arc<Shared>) {
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Acquire) > 0 && !shared.stopping.load(Ordering::Relaxed) {
            self.serve(shared);
        }
    }

    /// Serves waiters in order as long as there are slots; dismisses all when no server is left.
    pub(super) fn serve(&self, shared: &Arc<Shared>) {
        let mut messages = Vec::new();
        {
            let mut waiters = self.lock();
            // Loaded under the lock, so that a waiter and a new view cannot miss each other.
            let serving = shared.serving.load();
            let view = serving.pools.get(usize::from(self.pool.0));
            let holds = view.is_some_and(|view| view.no_server == NoServer::Hold);
            let (mut place, mut full) = (0, false);
            while let Some(waiter) = waiters.all.get(place) {
                let anywhere = waiter.place.is_none() && waiter.avoid.is_none();
                // Nobody waits for a certain server, and those that take any find none.
                if full && waiters.for_any as usize == waiters.all.len() {
                    break;
                }
                let choice =
                    if full && anywhere { Choice::Full } else { self.choose(waiter, &serving, shared) };
                let message = match choice {
                    Choice::Server(slot) => {
                        let number = self.number(waiter);
                        self.served(waiter).fetch_add(1, Ordering::Relaxed);
                        Message::Assigned(waiter.key, slot, number)
                    }
                    Choice::None if !holds => Message::Refused(waiter.key),
                    Choice::None | Choice::Full => {
                        full |= anywhere;
                        waiters.wait_at(place, None);
                        place += 1;
                        continue;
                    }
                    Choice::Wait(server) => {
                        waiters.wait_at(place, Some(server));
                        place += 1;
                        continue;
                    }
                };
                messages.push((waiter.worker, message));
                waiters.remove(place);
            }
            self.count(&waiters);
        }
        // Sent without the lock: a worker that is gone drops the slot, which serves this queue again.
        for (worker, message) in messages {
            shared.send(worker, message);
        }
    }

    /// The server it waits for, or, if that has gone, any other.
    fn choose(&self, waiter: &Waiter, serving: &Serving, shared: &Arc<Shared>) -> Choice {
        let own = waiter.place.as_ref().map(|standing| standing.0.server);
        let own = own.map(|server: ServerId| shared.choose_preferred(serving, server));
        match own {
            None | Some(Choice::None) => shared.choose(serving, self.pool, waiter.client, waiter.avoid),
            Some(choice) => choice,
        }
    }

    /// How many were served of the queue that it stands in.
    fn served<'a>(&'a self, waiter: &'a Waiter) -> &'a AtomicU32 {
        waiter.place.as_ref().map_or(&self.load.dequeued, |standing| &standing.0.load.dequeued)
    }

    /// Its number among those that were served since it came, from 1.
    fn number(&self, waiter: &Waiter) -> u32 {
        self.served(waiter).load(Ordering::Relaxed).wrapping_sub(waiter.served_before).saturating_add(1)
    }

    fn count(&self, waiters: &Waiters) {
        self.waiting.store(u32::try_from(waiters.all.len()).unwrap_or(u32::MAX), Ordering::Release);
        self.load.queued.store(waiters.for_any, Ordering::Release);
        self.load.queued_max.fetch_max(waiters.for_any, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Waiters> {
        // A panic under this lock leaves the queue whole: every change to it is one call.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiters {
    fn remove(&mut self, place: usize) {
        if let Some(waiter) = self.all.remove(place) {
            self.for_any -= u32::from(waiter.place.is_none());
        }
    }

    /// Has one wait for this server, or for any.
    fn wait_at(&mut self, place: usize, server: Option<Place>) {
        let Some(waiter) = self.all.get_mut(place) else { return };
        let same = |standing: &Standing| server.as_ref().is_some_and(|own| own.server == standing.0.server);
        if waiter.place.as_ref().map_or(server.is_none(), same) {
            return;
        }
        self.for_any -= u32::from(waiter.place.is_none());
        self.for_any += u32::from(server.is_none());
        waiter.place = server.map(Standing::new);
    }
}
