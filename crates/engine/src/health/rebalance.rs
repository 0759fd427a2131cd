//! After a server has returned: closes connections of the others until it has its share, slowly.
//!
//! Owns [`Rebalance`]. Clients of an apiserver hold their connections for days, so one that was away for a minute stays
//! without work until somebody makes them choose again. Those that were silent the longest are closed first: they are the
//! least likely to be in the middle of something.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::Output;
use crate::health::Health;
use crate::health::event::HealthEvent;
use crate::plan::{Algorithm, PoolId, ServerId, ServerIndex};
use crate::serving::PoolView;
use crate::serving::termination::Cause;
use crate::time::Instant;

/// How long a server has to have been back: clients that want it come by themselves, and one that flaps is not worth it.
const SETTLED_AFTER: Duration = Duration::from_secs(10);

/// How often some are closed.
const TURN: Duration = Duration::from_secs(1);

/// A server may have a tenth more than its share: random choices differ as much.
const TOLERANCE: u32 = 10;

/// With fewer connections for each server there is nothing to gain.
const FEWEST_EACH: u32 = 10;

/// One pool that is being rebalanced, or about to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rebalance {
    pub(super) pool: PoolId,
    next: Instant,
    /// Connections that may still be closed; unknown until it has begun. A bound for clients that come back to the same
    /// server.
    budget: Option<u32>,
}

impl Rebalance {
    /// When to ask again.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    /// Connections that may still be closed, once it has begun.
    pub(super) fn left(&self) -> Option<u32> {
        self.budget
    }
}

/// What each server has above its share, in a pool whose selectable servers have such sessions and weights; nothing where
/// that is within tolerance, or where there is nothing to gain.
fn excess(loads: &[(u32, u16)]) -> Vec<u32> {
    let total: u64 = loads.iter().map(|&(sessions, _)| u64::from(sessions)).sum();
    let weights: u64 = loads.iter().map(|&(_, weight)| u64::from(weight)).sum();
    let servers = u64::try_from(loads.len()).unwrap_or(u64::MAX);
    let above = |&(sessions, weight): &(u32, u16)| {
        let share = (total * u64::from(weight)).div_ceil(weights.max(1));
        let share = u32::try_from(share).unwrap_or(u32::MAX);
        let tolerated = share.saturating_add(share / TOLERANCE).saturating_add(1);
        if sessions > tolerated { sessions - share } else { 0 }
    };
    if total < servers * u64::from(FEWEST_EACH) {
        vec![0; loads.len()]
    } else {
        loads.iter().map(above).collect()
    }
}

impl Health {
    /// A server of this pool has come back.
    pub(super) fn consider_rebalance(&mut self, pool: PoolId, now: Instant) {
        let Some(section) = self.plan.pools.get(usize::from(pool.0)) else { return };
        // Where an address decides, a client would come back to where it was.
        if section.outage.rebalance.is_none()
            || matches!(section.algorithm, Algorithm::Source(_) | Algorithm::Hash(_))
        {
            return;
        }
        self.stop_rebalance(pool);
        self.rebalances.push(Rebalance { pool, next: now + SETTLED_AFTER, budget: None });
    }

    /// A server of this pool has gone: nothing is closed that might be needed.
    pub(super) fn stop_rebalance(&mut self, pool: PoolId) {
        self.rebalances.retain(|rebalance| rebalance.pool != pool);
    }

    /// Closes what is due.
    pub(super) fn rebalance(&mut self, now: Instant) {
        let mut rebalances = std::mem::take(&mut self.rebalances);
        rebalances.retain_mut(|rebalance| now < rebalance.next || self.rebalance_pool(rebalance, now));
        self.rebalances = rebalances;
    }

    /// One turn; whether there will be another.
    fn rebalance_pool(&mut self, rebalance: &mut Rebalance, now: Instant) -> bool {
        let plan = Arc::clone(&self.plan);
        let index = usize::from(rebalance.pool.0);
        let (Some(pool), Some(view)) = (plan.pools.get(index), self.serving.pools.get(index)) else {
            return false;
        };
        let Some(rate) = pool.outage.rebalance.map(NonZeroU32::get) else { return false };
        rebalance.next = now + TURN;
        let warm = self
            .pools
            .get(index)
            .is_some_and(|health| health.servers.iter().all(|machine| !machine.is_warming_up()));
        if !warm {
            return true;
        }
        let (servers, loads) = selectable(view);
        let above = excess(&loads);
        let sum: u32 = above.iter().fold(0, |sum, above| sum.saturating_add(*above));
        let begun = rebalance.budget.is_some();
        let budget = *rebalance.budget.get_or_insert(sum.saturating_mul(2));
        let most = servers.iter().zip(above).max_by_key(|(_, above)| *above);
        let Some((server, above)) = most.filter(|(_, above)| *above > 0 && budget > 0) else {
            if begun {
                self.report(HealthEvent::PoolRebalanced { pool: pool.name.clone() });
            }
            return false;
        };
        if !begun {
            let pool = pool.name.clone();
            self.report(HealthEvent::PoolRebalancing { pool, connections: sum, per_second: rate });
        }
        let most = above.min(rate).min(budget);
        rebalance.budget = Some(budget - most);
        let server = ServerId { pool: rebalance.pool, server: *server };
        self.outputs.push_back(Output::CloseSessions { server, cause: Cause::Up, most });
        true
    }
}

/// The servers that new connections choose from, with their sessions and weights.
fn selectable(view: &PoolView) -> (Vec<ServerIndex>, Vec<(u32, u16)>) {
    let servers = (0..).map(ServerIndex).zip(&view.servers).filter(|(_, server)| server.selectable);
    servers.map(|(index, server)| (index, (server.load.sessions(), server.weight))).unzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_goes_by_weight_and_a_tenth_more_is_no_matter() {
        assert_eq!(excess(&[(100, 16), (100, 16), (0, 16)]), [33, 33, 0]);
        assert_eq!(excess(&[(100, 16), (90, 16)]), [0, 0]);
        assert_eq!(excess(&[(100, 32), (50, 16), (0, 0)]), [0, 0, 0]);
        assert_eq!(excess(&[(60, 16), (90, 48)]), [22, 0]);
        assert_eq!(excess(&[(19, 16), (0, 16)]), [0, 0], "too few");
        assert_eq!(excess(&[]), [0; 0]);
    }
}
