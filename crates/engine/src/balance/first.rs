//! `balance first`: the first server of the file with a free slot, so that the last ones can rest.

use crate::balance::Candidates;
use crate::plan::ServerIndex;

/// Takes a slot of the first candidate that has one; `None` when all are full.
pub(super) fn choose(candidates: &Candidates<'_>) -> Option<ServerIndex> {
    candidates.iter().find(|(_, server)| candidates.pool.acquire(server)).map(|(index, _)| index)
}
