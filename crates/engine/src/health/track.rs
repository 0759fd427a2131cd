//! Servers whose health is that of another one (`track`).
//!
//! A server that tracks has no check of its own. It is up, down, in maintenance, draining and stopping with the one it
//! follows, and may be put into maintenance or drained by itself, as with HAProxy.

use crate::health::PoolHealth;
use crate::health::server::{Led, ServerHealth, State};
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

/// Has every follower take over what its leader is. Returns those that came up or went down by it.
pub(super) fn follow(tracks: &[Track], pools: &mut [PoolHealth]) -> Vec<ServerId> {
    let mut moved = Vec::new();
    for Track { follower, leader } in tracks {
        let Some((machine, settings)) = find(pools, *leader) else { continue };
        let usable = machine.usable() && machine.state() != State::Maintenance;
        let led = Led { usable, draining: machine.draining(settings) };
        let Some((machine, _)) = find(pools, *follower) else { continue };
        let before = machine.usable();
        if machine.follow(led) && before != machine.usable() {
            moved.push(*follower);
        }
    }
    moved
}

fn find(pools: &mut [PoolHealth], id: ServerId) -> Option<(&mut ServerHealth, &Settings)> {
    let pool = pools.get_mut(usize::from(id.pool.0))?;
    let index = usize::from(id.server.0);
    Some((pool.servers.get_mut(index)?, pool.settings.get(index)?))
}
