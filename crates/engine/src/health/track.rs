//! Servers whose health is that of another one (`track`).
//!
//! A server that tracks has no check of its own. It is up, down, in maintenance, draining and stopping with the one it
//! follows, and may be put into maintenance or drained by itself, as with HAProxy.

use crate::health::PoolHealth;
use crate::health::server::ServerHealth;
use crate::health::settings::Settings;
use crate::plan::{Plan, ServerId};

/// Who follows whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Track {
    follower: ServerId,
    leader: ServerId,
}

/// All tracks of a plan: one that leads and follows stands first as a follower.
pub(super) fn in_order(plan: &Plan) -> Vec<Track> {
    let leader = |id| plan.server(id).and_then(|server| server.track);
    // A chain of a plan has an end.
    let depth = |id| std::iter::successors(leader(id), |&next| leader(next)).count();
    let following = plan.servers().filter_map(|(id, server)| Some((id, server.track?)));
    let mut tracks: Vec<Track> = following.map(|(follower, leader)| Track { follower, leader }).collect();
    tracks.sort_by_key(|track| depth(track.follower));
    tracks
}

/// Has every follower take over how its leader stands. Returns those for which that is news, and whether each came up or
/// went down by it.
pub(super) fn follow(tracks: &[Track], pools: &mut [PoolHealth]) -> Vec<(ServerId, bool)> {
    let mut moved = Vec::new();
    for Track { follower, leader } in tracks {
        let Some((machine, settings)) = find(pools, *leader) else { continue };
        let led = machine.standing(settings);
        let Some((machine, _)) = find(pools, *follower) else { continue };
        let before = machine.usable();
        if machine.follow(led) {
            moved.push((*follower, before != machine.usable()));
        }
    }
    moved
}

fn find(pools: &mut [PoolHealth], id: ServerId) -> Option<(&mut ServerHealth, &Settings)> {
    let pool = pools.get_mut(usize::from(id.pool.0))?;
    let index = usize::from(id.server.0);
    Some((pool.servers.get_mut(index)?, pool.settings.get(index)?))
}
