//! `balance random`: of a few servers drawn by weight, the one with the fewest connections for its weight.

use std::sync::atomic::Ordering;

use crate::balance::ring::avalanche;
use crate::balance::{Candidates, least_conn};
use crate::plan::ServerIndex;

/// Takes a slot of the best of `draws` candidates; `None` when all are full.
///
/// Where the best drawn one is full HAProxy queues the connection, even if others have room; here one of them takes it.
pub(super) fn choose(candidates: &Candidates<'_>, draws: u16) -> Option<ServerIndex> {
    let turn = candidates.pool.load.cursor.fetch_add(1, Ordering::Relaxed);
    let drawn = (0..u64::from(draws.max(1))).filter_map(|draw| {
        let hash = scramble(turn.wrapping_mul(u64::from(draws.max(1))).wrapping_add(draw));
        candidates.pool.ring.from(hash).find_map(|index| candidates.get(index))
    });
    let best = drawn.min_by(|(_, a), (_, b)| {
        let a_load = u64::from(a.load.sessions()) * u64::from(b.weight);
        let b_load = u64::from(b.load.sessions()) * u64::from(a.weight);
        a_load.cmp(&b_load)
    });
    match best {
        Some((index, server)) if candidates.pool.acquire(server) => Some(index),
        _ => least_conn::choose(candidates),
    }
}

/// Numbers in a row become numbers without a pattern (the steps of SplitMix64).
fn scramble(number: u64) -> u32 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    avalanche(u32::try_from((z ^ (z >> 31)) >> 32).unwrap_or_default())
}
