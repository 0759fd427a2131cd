//! What can be seen of single sessions, and how one of them is closed.
//!
//! Owns [`SessionInfo`] and the questions to workers. A worker answers for [`PAGE`] places in one turn, so that a long
//! list delays nobody's bytes; who asks goes on where the last page ended.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::plan::{FrontendId, PoolId, ServerId};
use mainstay_engine::rules::SharedTable;
use tokio::sync::oneshot;

use super::Proxy;
use super::shared::Message;

/// Places of one worker that are looked at in one turn.
pub(super) const PAGE: usize = 256;

/// Names one session for as long as the daemon runs: it is the so many-th connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What can be seen of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Which one.
    pub id: SessionId,
    /// Where it came in.
    pub frontend: FrontendId,
    /// Where it goes.
    pub pool: PoolId,
    /// Its server, once it is connected or being connected.
    pub server: Option<ServerId>,
    /// The client's end, as the kernel has it.
    pub client: Option<SocketAddr>,
    /// What the client connected to.
    pub local: Option<SocketAddr>,
    /// How far it has come.
    pub phase: SessionPhase,
    /// How long ago it was accepted.
    pub age: Duration,
    /// How long neither side has done anything.
    pub idle: Duration,
    /// When it runs out of time, unless something happens.
    pub expires: Option<Duration>,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes to the client.
    pub bytes_out: u64,
}

/// How far a session has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionPhase {
    /// Rules wait for what the client sends.
    Inspecting,
    /// It waits for a server's slot.
    Queued,
    /// It waits before it tries a server again.
    TurnAround,
    /// It is being connected.
    Connecting,
    /// Both sides are connected.
    Established,
}

/// Where a list goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    worker: usize,
    place: usize,
}

/// Part of a list.
#[derive(Debug)]
pub struct Page {
    /// Some sessions.
    pub sessions: Vec<SessionInfo>,
    /// Where it goes on; `None` at the end.
    pub next: Option<Cursor>,
}

/// A worker is asked for its sessions from a place on.
#[derive(Debug)]
pub(super) struct ListRequest {
    pub(super) place: usize,
    /// Gets them, and the place to go on from.
    pub(super) answer: oneshot::Sender<(Vec<SessionInfo>, Option<usize>)>,
}

impl Proxy {
    /// Some of the sessions there are, from `cursor` on. A session that begins or ends meanwhile may be left out.
    pub async fn sessions(&self, cursor: Cursor) -> Page {
        let Cursor { worker, place } = cursor;
        let (answer, answered) = oneshot::channel();
        self.shared.send(worker, Message::List(ListRequest { place, answer }));
        // A worker that is gone has no sessions.
        let (sessions, next) = answered.await.unwrap_or_default();
        let following = || {
            let worker = worker.saturating_add(1);
            (worker < self.shared.mailboxes.len()).then_some(Cursor { worker, place: 0 })
        };
        Page { sessions, next: next.map(|place| Cursor { worker, place }).or_else(following) }
    }

    /// What is remembered of connections: one for each table of the plan, in its order.
    pub fn tables(&self) -> Vec<Arc<SharedTable>> {
        self.shared.serving.load().tables.clone()
    }

    /// The plan that new connections follow.
    pub fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.shared.serving.load().plan)
    }

    /// Closes a session. Says whether there was one.
    pub async fn kill(&self, session: SessionId) -> bool {
        for worker in 0..self.shared.mailboxes.len() {
            let (answer, answered) = oneshot::channel();
            self.shared.send(worker, Message::Kill(session, answer));
            if answered.await.unwrap_or_default() {
                return true;
            }
        }
        false
    }
}
