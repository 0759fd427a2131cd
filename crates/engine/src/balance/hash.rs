//! `balance hash`, and what it shares with `balance source`: the way from a hash to a server.
//!
//! Owns the hash functions, which are HAProxy's so that a key keeps its server, and the bound on what a server of a ring
//! takes (`hash-balance-factor`; Mirrokni, Thorup, Zadimoghaddam: Consistent Hashing with Bounded Loads).

use std::sync::atomic::Ordering;

use crate::balance::ring::avalanche;
use crate::balance::{Candidates, Pick};
use crate::plan::{HashFunction, HashType, ServerIndex};
use crate::serving::ServerView;

/// What `function` makes of a key.
pub fn of(function: HashFunction, key: &[u8]) -> u32 {
    match function {
        HashFunction::Sdbm => key.iter().fold(0, |hash: u32, &byte| {
            u32::from(byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
        }),
        HashFunction::Djb2 => {
            key.iter().fold(5381, |hash: u32, &byte| (hash << 5).wrapping_add(hash).wrapping_add(byte.into()))
        }
        HashFunction::Wt6 => wt6(key),
        HashFunction::Crc32 => crc32(key),
    }
}

/// Two words that turn each other by amounts that depend on both.
fn wt6(key: &[u8]) -> u32 {
    let (mut first, mut second) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut turn_second, mut turn_first) = (6, 18);
    for &byte in key {
        first = !(first ^ u32::from(byte));
        second = !second.wrapping_add(byte.into());
        (first, second) = (second.rotate_left(turn_second), first.rotate_left(turn_first));
        let next = ((first >> 16) ^ second) & 0xffff;
        (turn_second, turn_first) = (next & 0x1f, next >> 11);
    }
    first ^ second
}

fn crc32(key: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    !key.iter().fold(u32::MAX, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| (sum >> 1) ^ if sum & 1 == 1 { POLYNOMIAL } else { 0 })
    })
}

/// Takes a slot of the server that `hash` leads to.
///
/// As with HAProxy, the connection then waits for that server rather than go to another. The server a retry avoids is
/// replaced by the next one in the table or on the ring.
pub(super) fn choose(candidates: &Candidates<'_>, hash: u32, hash_type: HashType) -> Pick {
    let hash = if hash_type.avalanche { avalanche(hash) } else { hash };
    let found = if hash_type.consistent {
        let mut along_the_ring = candidates.pool.ring.from(hash).filter_map(|index| candidates.get(index));
        match hash_type.balance_factor {
            None => along_the_ring.next(),
            Some(factor) => {
                let bound = Bound::new(candidates, factor.get());
                let first = along_the_ring.next();
                let mut servers = first.into_iter().chain(along_the_ring);
                // The one with room may be the one that has just failed.
                servers.find(|&(index, server)| bound.leaves_room(index, server)).or(first)
            }
        }
    } else {
        let entries = u64::try_from(candidates.pool.rotation.len()).unwrap_or(u64::MAX);
        (0..entries).find_map(|step| candidates.in_rotation(u64::from(hash) + step))
    };
    match found {
        Some((index, server)) if candidates.pool.acquire(server) => Pick::Server(index),
        Some((index, _)) => Pick::Wait(index),
        None => Pick::Full,
    }
}

/// Takes a slot for a connection that has nothing to be hashed: servers take turns.
pub(super) fn in_turn(candidates: &Candidates<'_>, hash_type: HashType) -> Pick {
    let turn = candidates.pool.load.cursor.fetch_add(1, Ordering::Relaxed);
    let turn = u32::try_from(turn & u64::from(u32::MAX)).unwrap_or_default();
    // Neighbours in a table belong to different servers; points of a ring are found by scattered numbers.
    let hash = if hash_type.consistent { avalanche(turn) } else { turn };
    choose(candidates, hash, HashType { avalanche: false, ..hash_type })
}

/// How many connections each server of a ring may have, one more than there are now included.
struct Bound {
    slots: u64,
    weights: u64,
    /// The weights of the servers before each.
    before: Vec<u64>,
}

impl Bound {
    fn new(candidates: &Candidates<'_>, percent: u32) -> Self {
        let servers = &candidates.pool.servers;
        let connections: u64 = servers.iter().map(|server| u64::from(server.load.sessions())).sum();
        let weight = |server: &ServerView| if server.selectable { u64::from(server.weight) } else { 0 };
        let mut weights: u64 = 0;
        let sum = |server| {
            let before = weights;
            weights += weight(server);
            before
        };
        let before = servers.iter().map(sum).collect();
        Self { slots: ((connections + 1) * u64::from(percent)).div_ceil(100), weights, before }
    }

    /// Whether a server has less than its share: of the slots up to the end of its weight those that no server before it has,
    /// so that all shares together are all slots; but at least one.
    fn leaves_room(&self, index: ServerIndex, server: &ServerView) -> bool {
        let Some(&before) = self.before.get(usize::from(index.0)) else { return false };
        let up_to = |weight: u64| weight.saturating_mul(self.slots).checked_div(self.weights).unwrap_or(0);
        let share = up_to(before + u64::from(server.weight)).saturating_sub(up_to(before)).max(1);
        u64::from(server.load.sessions()) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_that_others_reckon() {
        // The check value of CRC-32; the others by hand, and against a live HAProxy in `tests/balancer`.
        assert_eq!(of(HashFunction::Crc32, b"123456789"), 0xcbf4_3926);
        assert_eq!(of(HashFunction::Djb2, b"a"), 5381 * 33 + 97);
        assert_eq!(of(HashFunction::Sdbm, b"ab"), 97 * 65_599 + 98);
        assert_eq!(of(HashFunction::Wt6, b""), 0xa53c_965a ^ 0x5ca6_953a);
    }
}
