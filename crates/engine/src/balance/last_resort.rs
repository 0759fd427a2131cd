//! When no server is left and new connections are to try all of them: the one with the fewest connections, in turn.
//!
//! A dead one has few, so a connect that fails soon comes to one that lives: every choice begins one place further on.

use std::sync::atomic::Ordering;

use crate::plan::ServerIndex;
use crate::serving::PoolView;

/// Takes a slot of a server that is in service though it was found dead; of `avoid` only if there is no other.
pub(super) fn choose(pool: &PoolView, avoid: Option<ServerIndex>) -> Option<ServerIndex> {
    let servers = (0..).map(ServerIndex).zip(&pool.servers).filter(|(_, server)| server.in_service);
    let mut servers: Vec<_> = servers.collect();
    let begin =
        pool.load.cursor.fetch_add(1, Ordering::Relaxed).checked_rem(u64::try_from(servers.len()).ok()?)?;
    servers.rotate_left(usize::try_from(begin).ok()?);
    servers.sort_by_key(|(index, server)| (Some(*index) == avoid, server.load.sessions()));
    servers.into_iter().find(|(_, server)| pool.acquire(server)).map(|(index, _)| index)
}
