//! From what is known of a pool's servers to what new connections see of them.
//!
//! Owns the rules of who is selectable: healthy servers first, backup servers only when nobody else is left.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::balance::hash_map::hash_map;
use crate::balance::ring::Ring;
use crate::balance::rotation::{common_divisor, rotation};
use crate::plan::{Algorithm, HashType, Pool, PoolId, Server};
use crate::serving::{PoolLoad, PoolView, ServerLoad, ServerView, WEIGHT_SCALE};

/// What a server can take now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Capacity {
    /// Whether it works and is not in maintenance.
    pub(super) usable: bool,
    /// Whether it is meant to take connections.
    pub(super) in_service: bool,
    /// Whether it takes only connections that belong to it.
    pub(super) draining: bool,
    /// Before slow start.
    pub(super) weight: u16,
    /// Before slow start.
    pub(super) maxconn: Option<u32>,
    pub(super) address: SocketAddr,
    /// How far slow start has come.
    pub(super) warmth: Warmth,
}

/// How far slow start has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Warmth {
    /// Of [`WEIGHT_SCALE`] parts of the weight.
    pub(super) weight: u16,
    /// Percentage of maxconn.
    pub(super) maxconn: u8,
}

impl Warmth {
    /// Slow start is over, or never was.
    pub(super) const FULL: Self = Self { weight: WEIGHT_SCALE, maxconn: 100 };
}

/// The counters of one pool and of its servers.
#[derive(Clone, Debug)]
pub(super) struct PoolLoads {
    pub(super) pool: Arc<PoolLoad>,
    pub(super) servers: Vec<Arc<ServerLoad>>,
}

impl PoolLoads {
    pub(super) fn new(pool: &Pool) -> Self {
        Self { pool: Arc::default(), servers: pool.servers.iter().map(|_| Arc::default()).collect() }
    }
}

/// The view of one pool. `capacities` has one entry for each of its servers.
pub(super) fn pool_view(id: PoolId, pool: &Pool, capacities: &[Capacity], loads: &PoolLoads) -> PoolView {
    let could_serve = |(server, capacity): (&Server, &Capacity), backup| {
        capacity.usable && !capacity.draining && capacity.weight > 0 && server.backup == backup
    };
    let main_serves = pool.servers.iter().zip(capacities).any(|pair| could_serve(pair, false));
    let mut backup_chosen = false;
    let servers: Vec<ServerView> = pool
        .servers
        .iter()
        .zip(capacities)
        .zip(&loads.servers)
        .map(|((server, capacity), load)| {
            let selectable = if server.backup {
                let needed = !main_serves && (pool.all_backups || !backup_chosen);
                let chosen = needed && could_serve((server, capacity), true);
                backup_chosen |= chosen;
                chosen
            } else {
                could_serve((server, capacity), false)
            };
            let warmth = effective_warmth(pool.algorithm, capacity.warmth);
            server_view(server, selectable, Capacity { warmth, ..*capacity }, load)
        })
        .collect();
    let weights: Vec<u16> =
        servers.iter().map(|server| if server.selectable { server.weight } else { 0 }).collect();
    let (mut table, mut ring) = (Arc::default(), Arc::default());
    match pool.algorithm {
        Algorithm::RoundRobin => table = rotation(&weights),
        Algorithm::StaticRr
        | Algorithm::Source(HashType { consistent: false, .. })
        | Algorithm::Hash(HashType { consistent: false, .. }) => {
            let configured: Vec<u16> = pool.servers.iter().map(|server| server.weight).collect();
            table = hash_map(&weights, common_divisor(&configured).saturating_mul(WEIGHT_SCALE));
        }
        Algorithm::Source(_) | Algorithm::Hash(_) | Algorithm::Random { .. } => {
            ring = Arc::new(Ring::new(&weights));
        }
        Algorithm::LeastConn | Algorithm::First => {}
    }
    PoolView {
        id,
        algorithm: pool.algorithm,
        servers,
        rotation: table,
        ring,
        fullconn: pool.fullconn,
        no_server: pool.outage.no_server,
        load: Arc::clone(&loads.pool),
    }
}

/// Whether new connections would notice no difference between two views of one pool.
pub(super) fn same(before: &PoolView, after: &PoolView) -> bool {
    let seen = |server: &ServerView| {
        (server.selectable, server.usable, server.in_service, server.weight, server.maxconn, server.address)
    };
    before.servers.iter().map(seen).eq(after.servers.iter().map(seen))
}

/// As in HAProxy, a changing weight would make a table anew each time and move clients of `balance source`, so only maxconn grows.
const fn effective_warmth(algorithm: Algorithm, warmth: Warmth) -> Warmth {
    match algorithm {
        Algorithm::StaticRr
        | Algorithm::Source(HashType { consistent: false, .. })
        | Algorithm::Hash(HashType { consistent: false, .. }) => Warmth { weight: WEIGHT_SCALE, ..warmth },
        _ => warmth,
    }
}

fn server_view(server: &Server, selectable: bool, capacity: Capacity, load: &Arc<ServerLoad>) -> ServerView {
    let warm = |limit: u32| {
        let warm = u64::from(limit) * u64::from(capacity.warmth.maxconn) / 100;
        u32::try_from(warm).unwrap_or(limit).max(1)
    };
    // As in HAProxy a limit that an operator lowers below it counts.
    let minconn = server.minconn.filter(|least| capacity.maxconn.is_some_and(|most| *least < most));
    ServerView {
        address: capacity.address,
        dial: server.dial.clone(),
        selectable,
        usable: capacity.usable,
        in_service: capacity.in_service,
        weight: capacity.weight.saturating_mul(capacity.warmth.weight),
        full_weight: capacity.weight,
        maxconn: capacity.maxconn.map(warm),
        minconn: minconn.map(warm),
        maxqueue: server.maxqueue,
        load: Arc::clone(load),
    }
}
