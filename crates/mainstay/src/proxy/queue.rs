//! Connections that wait for a server's slot, first come, first served.
//!
//! Owns [`PoolQueue`]. The lock is touched only while somebody waits. Whoever frees a slot serves the queue, and so does
//! whoever enters it: between the two no slot stays free while a connection waits.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mainstay_engine::plan::{Algorithm, NoServer, PoolId, ServerId, ServerIndex};
use mainstay_engine::serving::PoolLoad;

use super::shared::{Choice, Message, Shared};
use super::slab::Key;

/// The queue of one pool.
#[derive(Debug)]
pub(super) struct PoolQueue {
    pool: PoolId,
    waiters: Mutex<VecDeque<Waiter>>,
    load: Arc<PoolLoad>,
}

/// One connection that waits.
#[derive(Debug)]
pub(super) struct Waiter {
    /// Where to find it.
    pub(super) worker: usize,
    pub(super) key: Key,
    /// For the choice of its server.
    pub(super) client: IpAddr,
    pub(super) avoid: Option<ServerIndex>,
    /// The server it waits for, as long as that works.
    pub(super) preferred: Option<ServerIndex>,
}

impl PoolQueue {
    pub(super) fn new(pool: PoolId, load: Arc<PoolLoad>) -> Self {
        Self { pool, waiters: Mutex::default(), load }
    }

    /// Whether nobody waits. A connection that finds others waiting queues up behind them.
    pub(super) fn is_empty(&self) -> bool {
        self.load.queued.load(Ordering::Acquire) == 0
    }

    /// How many wait.
    pub(super) fn length(&self) -> u32 {
        self.load.queued.load(Ordering::Acquire)
    }

    /// Enters the queue. A slot that has become free meanwhile is found: the answer comes as a message in any case.
    pub(super) fn enter(&self, shared: &Arc<Shared>, waiter: Waiter) {
        {
            let mut waiters = self.lock();
            waiters.push_back(waiter);
            self.count(&waiters);
        }
        // Pairs with the fence in `slot_freed`: either that one sees the waiter, or `serve` sees the slot.
        fence(Ordering::SeqCst);
        self.serve(shared);
    }

    /// Leaves the queue without having been served.
    pub(super) fn leave(&self, worker: usize, key: Key) {
        let mut waiters = self.lock();
        let place = waiters.iter().position(|waiter| waiter.worker == worker && waiter.key == key);
        // Not found: it has just been served, and its slot comes back with the undeliverable message.
        if let Some(place) = place {
            waiters.remove(place);
            self.count(&waiters);
        }
    }

    /// A slot of this pool has been given back.
    pub(super) fn slot_freed(&self, shared: &Arc<Shared>) {
        fence(Ordering::SeqCst);
        if !self.is_empty() && !shared.stopping.load(Ordering::Relaxed) {
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
            let by_source = serving
                .pools
                .get(usize::from(self.pool.0))
                .is_some_and(|view| matches!(view.algorithm, Algorithm::Source(_)));
            let holds = serving
                .pools
                .get(usize::from(self.pool.0))
                .is_some_and(|view| view.no_server == NoServer::Hold);
            let mut place = 0;
            while let Some(waiter) = waiters.get(place) {
                let preferred = waiter.preferred.map(|server| ServerId { pool: self.pool, server });
                let choice = preferred.map(|server| shared.choose_preferred(&serving, server));
                let choice = match choice {
                    None | Some(Choice::None) => {
                        shared.choose(&serving, self.pool, waiter.client, waiter.avoid)
                    }
                    Some(choice) => choice,
                };
                let message = match choice {
                    Choice::Server(slot) => Message::Assigned(waiter.key, slot),
                    Choice::None if holds => break,
                    Choice::None => Message::Refused(waiter.key),
                    // It waits for some servers only: others behind it may want another one.
                    Choice::Full if by_source || waiter.avoid.is_some() || waiter.preferred.is_some() => {
                        place += 1;
                        continue;
                    }
                    Choice::Full => break,
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

    fn count(&self, waiters: &VecDeque<Waiter>) {
        let queued = u32::try_from(waiters.len()).unwrap_or(u32::MAX);
        self.load.queued.store(queued, Ordering::Release);
        self.load.queued_max.fetch_max(queued, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Waiter>> {
        // A panic under this lock leaves the queue whole: every change to it is one call.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
