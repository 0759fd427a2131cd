//! `balance roundrobin`: in turn, as often as weights say.

use std::sync::atomic::Ordering;

use crate::balance::Candidates;
use crate::plan::ServerIndex;

/// Takes a slot of the next candidate in the rotation that has one; `None` when all are full.
///
/// The turn is one atomic addition, so all threads together go round strictly. Entries that were passed over are
/// skipped for the next connection too: else the successor of a full server would get its share.
pub(super) fn choose(candidates: &Candidates<'_>) -> Option<ServerIndex> {
    let pool = candidates.pool;
    let turn = pool.load.cursor.fetch_add(1, Ordering::Relaxed);
    let entries = u64::try_from(pool.rotation.len()).unwrap_or(u64::MAX);
    let (passed, chosen) = (0..entries).find_map(|passed| {
        let (index, server) = candidates.in_rotation(turn.wrapping_add(passed))?;
        pool.acquire(server).then_some((passed, index))
    })?;
    if passed > 0 {
        pool.load.cursor.fetch_add(passed, Ordering::Relaxed);
    }
    Some(chosen)
}
