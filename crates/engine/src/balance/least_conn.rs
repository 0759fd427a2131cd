//! `balance leastconn`: the server with the fewest connections for its weight.

use std::sync::atomic::Ordering;

use crate::balance::Candidates;
use crate::plan::ServerIndex;

/// Takes a slot of the candidate that would have the fewest connections for its weight with this one; `None` when all
/// are full. Equals take turns, and as in HAProxy those without a connection are equals whatever their weights.
pub(super) fn choose(candidates: &Candidates<'_>) -> Option<ServerIndex> {
    let servers = candidates.pool.servers.len();
    let turn = candidates.pool.load.cursor.fetch_add(1, Ordering::Relaxed);
    let start = usize::try_from(turn.checked_rem(u64::try_from(servers).ok()?)?).ok()?;
    // Another thread may fill the best one between the look and the grab; each round then has one server less to try.
    (0..=servers).find_map(|_| {
        let (index, server, _) = candidates
            .iter()
            .map(|(index, server)| (index, server, server.load.sessions()))
            .filter(|&(_, server, sessions)| {
                candidates.pool.limit(server).is_none_or(|limit| sessions < limit)
            })
            .min_by(|&(a_index, a, a_sessions), &(b_index, b, b_sessions)| {
                // load(a) / weight_a < load(b) / weight_b, without division.
                let a_load = load(a_sessions) * u64::from(b.weight.max(1));
                let b_load = load(b_sessions) * u64::from(a.weight.max(1));
                let turns_away = |index: ServerIndex| (usize::from(index.0) + servers - start) % servers;
                a_load.cmp(&b_load).then_with(|| turns_away(a_index).cmp(&turns_away(b_index)))
            })?;
        candidates.pool.acquire(server).then_some(index)
    })
}

/// The connections it would have with this one, or none if it is idle.
fn load(sessions: u32) -> u64 {
    if sessions == 0 { 0 } else { u64::from(sessions) + 1 }
}
