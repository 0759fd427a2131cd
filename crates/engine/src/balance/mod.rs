//! Which server a new connection goes to. One file for each algorithm.
//!
//! Owns [`pick`]. Called by the data plane on every connect, on any thread: it reads a published view and touches
//! nothing but its atomics. `rotation`, `hash_map` and `ring` make what algorithms read, when a view is published; `maglev`
//! makes what the kernel reads in its place.

use std::net::IpAddr;

use crate::plan::{Algorithm, NoServer, ServerIndex};
use crate::serving::{PoolView, ServerView};

mod first;
pub mod hash;
pub mod hash_map;
mod last_resort;
mod least_conn;
pub mod maglev;
mod random;
pub mod ring;
pub mod rotation;
mod round_robin;
mod source;

/// What [`pick`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This server; one of its slots has been taken and must be released.
    Server(ServerIndex),
    /// Every selectable server holds as many connections as it may: wait in the queue of the pool.
    Full,
    /// The client belongs to this server, which holds as many as it may: wait for it.
    Wait(ServerIndex),
    /// No server is selectable.
    None,
}

/// What is known of the client of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its address.
    pub address: IpAddr,
    /// The [hash](hash::of) of what `balance hash` looks at, if there was anything.
    pub hash: Option<u32>,
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        Self { address, hash: None }
    }
}

/// Chooses a server for a connection from `client` and takes one of its slots.
///
/// `avoid` has just failed this connection and is chosen only if no other server is selectable at all: when the
/// others are merely full the answer is [`Pick::Full`].
pub fn pick(pool: &PoolView, client: Client, avoid: Option<ServerIndex>) -> Pick {
    let mut candidates = Candidates { pool, avoid };
    if !candidates.any() {
        // Nobody else: the one that failed gets another chance.
        candidates.avoid = None;
        if !candidates.any() {
            let chosen = (pool.no_server == NoServer::TryAll).then(|| last_resort::choose(pool, avoid));
            return chosen.flatten().map_or(Pick::None, Pick::Server);
        }
    }
    let chosen = match pool.algorithm {
        Algorithm::RoundRobin | Algorithm::StaticRr => round_robin::choose(&candidates),
        Algorithm::LeastConn => least_conn::choose(&candidates),
        Algorithm::Source(hash_type) => {
            return hash::choose(&candidates, source::hash(client.address), hash_type);
        }
        Algorithm::Hash(hash_type) => {
            return match client.hash {
                Some(hash) => hash::choose(&candidates, hash, hash_type),
                None => hash::in_turn(&candidates, hash_type),
            };
        }
        Algorithm::Random { draws } => random::choose(&candidates, draws),
        Algorithm::First => first::choose(&candidates),
    };
    chosen.map_or(Pick::Full, Pick::Server)
}

/// The servers of a pool that one connection may go to; an algorithm sees nothing else.
#[derive(Clone, Copy)]
struct Candidates<'a> {
    pool: &'a PoolView,
    avoid: Option<ServerIndex>,
}

impl<'a> Candidates<'a> {
    /// The candidates in the order of the file.
    fn iter(self) -> impl Iterator<Item = (ServerIndex, &'a ServerView)> {
        (0..)
            .map(ServerIndex)
            .zip(&self.pool.servers)
            .filter(move |&(index, server)| server.selectable && Some(index) != self.avoid)
    }

    /// The server at `position` of the endless rotation, if it is a candidate.
    fn in_rotation(self, position: u64) -> Option<(ServerIndex, &'a ServerView)> {
        let rotation = &self.pool.rotation;
        let place = position.checked_rem(u64::try_from(rotation.len()).ok()?)?;
        let index = ServerIndex(*rotation.get(usize::try_from(place).ok()?)?);
        self.get(index)
    }

    /// This server, if it is a candidate.
    fn get(self, index: ServerIndex) -> Option<(ServerIndex, &'a ServerView)> {
        let server = self.pool.servers.get(usize::from(index.0))?;
        (server.selectable && Some(index) != self.avoid).then_some((index, server))
    }

    fn any(self) -> bool {
        self.iter().next().is_some()
    }
}
