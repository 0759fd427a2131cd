//! Closes the connections of a dead server, a few at a time.
//!
//! Owns [`Closing`], how many when; and which servers are dead. A client of a server that froze or lost its network waits
//! for its own time-outs (45 s in client-go); closed, it is elsewhere at once. All of them at once would meet the servers
//! that are left with as many TLS handshakes and lists in the same second.

use std::sync::Arc;
use std::time::Duration;

use crate::engine::Output;
use crate::health::check::CheckStatus;
use crate::health::event::HealthEvent;
use crate::health::server::ServerHealth;
use crate::health::{Health, PoolHealth};
use crate::plan::{DeadServer, ServerId};
use crate::serving::PoolView;
use crate::serving::termination::Cause;
use crate::time::Instant;

/// Connections closed in a second: an apiserver takes a few hundred handshakes in that time.
const RATE: u32 = 50;

/// It takes no longer than this, however many there are: well below what a client waits for an answer by itself.
const LONGEST: Duration = Duration::from_secs(10);

/// How often some are closed.
const TURN: Duration = Duration::from_millis(100);

/// The connections of one dead server on their way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) server: ServerId,
    next: Instant,
    until: Instant,
}

impl Closing {
    /// So many connections are to be closed from now on.
    fn new(server: ServerId, sessions: u32, now: Instant) -> Self {
        let span = (Duration::from_secs(1) * sessions / RATE).min(LONGEST);
        Self { server, next: now, until: now + span }
    }

    /// When to ask again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// How long it still takes.
    pub(super) fn left(&self, now: Instant) -> Duration {
        self.until.since(now)
    }

    /// How many of those that are left to close now; nothing if it is not time for some.
    fn due(&mut self, left: u32, now: Instant) -> Option<u32> {
        if now < self.next {
            return None;
        }
        self.next = now + TURN;
        let turns = self.left(now).as_nanos().div_ceil(TURN.as_nanos()).max(1);
        Some(left.div_ceil(u32::try_from(turns).unwrap_or(u32::MAX)))
    }
}

/// Whether a check found that nothing answers. A server that answers, though it says that it is not ready, may finish
/// what it has begun: a kube-apiserver that shuts down fails `/readyz` and serves its connections for a while.
fn is_silent(status: CheckStatus) -> bool {
    matches!(
        status,
        CheckStatus::L4Con
            | CheckStatus::L4Tout
            | CheckStatus::L6Tout
            | CheckStatus::L7Tout
            | CheckStatus::Hana
            | CheckStatus::Proctout
    )
}

impl Health {
    /// Begins to close the connections of a server that is down, if `found` means that it is dead and its clients have
    /// somewhere to go.
    pub(super) fn consider_closing(&mut self, id: ServerId, found: CheckStatus, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let (pool_index, index) = (usize::from(id.pool.0), usize::from(id.server.0));
        let (Some(pool), Some(server)) = (plan.pools.get(pool_index), plan.server(id)) else { return };
        let (Some(health), Some(view)) = (self.pools.get(pool_index), self.serving.pools.get(pool_index))
        else {
            return;
        };
        let (Some(machine), Some(load)) = (health.servers.get(index), health.loads.servers.get(index)) else {
            return;
        };
        // After an outage of all, a check that began in it says nothing yet of a server that may return next.
        let took = machine.latest().map_or(Duration::ZERO, |(verdict, _)| verdict.took);
        if pool.outage.dead_server == DeadServer::Keep
            || !is_silent(found)
            || machine.usable()
            || !health.has_refuge(view, now.minus(took))
        {
            return;
        }
        // Told with every silent check: flows may have come meanwhile from a balancer that did not know.
        self.dead.push_back(id);
        let sessions = load.sessions();
        if sessions == 0 || self.closings.iter().any(|closing| closing.server == id) {
            return;
        }
        let closing = Closing::new(id, sessions, now);
        self.closings.push(closing);
        self.report(HealthEvent::ServerClosing {
            pool: pool.name.clone(),
            server: server.name.clone(),
            connections: sessions,
            over: closing.left(now),
        });
        self.close_of_dead(now);
    }

    /// Closes what is due.
    pub(super) fn close_of_dead(&mut self, now: Instant) {
        let mut closings = std::mem::take(&mut self.closings);
        closings.retain_mut(|closing| {
            let pool = usize::from(closing.server.pool.0);
            let (health, view) = (self.pools.get(pool), self.serving.pools.get(pool));
            // Nowhere to go any more. Should that change, the next check says so.
            if !health.zip(view).is_some_and(|(health, view)| health.has_refuge(view, now)) {
                return false;
            }
            let index = usize::from(closing.server.server.0);
            let known =
                health.and_then(|health| health.servers.get(index).zip(health.loads.servers.get(index)));
            // Back again: what is left can stay.
            let Some((_, load)) = known.filter(|(machine, _)| !machine.usable()) else { return false };
            let left = load.sessions();
            if let Some(most) = closing.due(left, now).filter(|most| *most > 0) {
                let server = closing.server;
                self.outputs.push_back(Output::CloseSessions { server, cause: Cause::Down, most });
            }
            left > 0 && now < closing.until
        });
        self.closings = closings;
    }
}

impl PoolHealth {
    /// Whether clients have somewhere to go: a server that is selectable, and whose latest check does not say that it is
    /// about to follow the others, and who has been there since `began`. A balancer that has lost its own network finds one
    /// server after the other dead.
    fn has_refuge(&self, view: &PoolView, began: Instant) -> bool {
        let passed = |machine: &ServerHealth| {
            machine.since() <= began && machine.latest().is_none_or(|(verdict, _)| verdict.status.passed())
        };
        view.servers.iter().zip(&self.servers).any(|(server, machine)| server.selectable && passed(machine))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{PoolId, ServerIndex};

    fn closed(mut left: u32) -> (Vec<u32>, Duration) {
        let mut now = Instant::from_nanos(0);
        let mut closing = Closing::new(ServerId { pool: PoolId(0), server: ServerIndex(0) }, left, now);
        let mut turns = Vec::new();
        while left > 0 {
            now = closing.next();
            let count = closing.due(left, now).expect("it is time");
            assert_eq!(closing.due(left, now), None, "not twice in a turn");
            turns.push(count);
            left = left.saturating_sub(count);
        }
        (turns, now.since(Instant::from_nanos(0)))
    }

    #[test]
    fn many_are_closed_over_ten_seconds_and_few_at_fifty_a_second() {
        let (turns, took) = closed(5_000);
        assert_eq!((turns.len(), turns.iter().max()), (100, Some(&50)));
        assert!(took < LONGEST, "{took:?}");
        let (turns, took) = closed(30);
        assert_eq!((turns.as_slice(), took), ([5, 5, 5, 5, 5, 5].as_slice(), Duration::from_millis(500)));
        assert_eq!(closed(1), (vec![1], Duration::ZERO));
    }

    #[test]
    fn only_silence_is_death() {
        assert!(is_silent(CheckStatus::L4Tout) && is_silent(CheckStatus::L7Tout));
        assert!(!is_silent(CheckStatus::L7Sts) && !is_silent(CheckStatus::L7Rsp));
    }
}
