//! What the data plane reads: one immutable view of every pool, and the counters it keeps.
//!
//! Owns [`Serving`]; its counters are in [`counters`]. The engine publishes a new view when a server's state changes;
//! workers load it once per connection. Counters live as long as the daemon and are shared by all views. Nothing here
//! decides: [`balance`](crate::balance) chooses, [`health`](crate::health) judges.

pub mod average;
pub mod counters;
pub mod rate;
pub mod requests;
pub mod termination;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::balance::ring::Ring;
use crate::plan::{Algorithm, Dial, Frontend, NoServer, Plan, PoolId};
use crate::rules::SharedTable;

pub use counters::{FrontendLoad, PoolLoad, ServerLoad};

/// Units in a configured weight of 1, as many as HAProxy has, so that such a server can start slowly too.
pub const WEIGHT_SCALE: u16 = 16;

/// One immutable view of everything the data plane needs.
#[derive(Clone, Debug)]
pub struct Serving {
    /// The plan, for time-outs and limits.
    pub plan: Arc<Plan>,
    /// One for each pool of the plan, in its order.
    pub pools: Vec<PoolView>,
    /// One for each frontend of the plan, in its order.
    pub frontends: Vec<Arc<FrontendLoad>>,
    /// What is let in.
    pub admittance: Admittance,
    /// What is remembered of connections: one for each table of the plan, in its order.
    pub tables: Vec<Arc<SharedTable>>,
}

/// How many connections are let in, and where: as configured, until an operator changes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admittance {
    /// Connections of all frontends at once; `None` is as many as when the daemon started.
    pub maxconn: Option<NonZeroU32>,
    /// Connections of all frontends in each second; `None` is any number (`set rate-limit connections global`).
    pub connection_rate: Option<NonZeroU32>,
    /// The same for sessions (`set rate-limit sessions global`).
    pub session_rate: Option<NonZeroU32>,
    /// One for each frontend of the plan, in its order.
    pub frontends: Vec<FrontendAdmittance>,
}

/// How many connections one frontend lets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrontendAdmittance {
    /// Whether it listens.
    pub state: FrontendState,
    /// Connections at once; `None` is any number.
    pub maxconn: Option<u32>,
}

/// Whether a frontend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontendState {
    /// It does.
    Open,
    /// It refuses connections until it is enabled again.
    Disabled,
    /// It has given its ports back for good.
    ShutDown,
}

impl Admittance {
    /// As configured.
    pub fn new(plan: &Plan) -> Self {
        let open = |frontend: &Frontend| FrontendAdmittance {
            state: FrontendState::Open,
            maxconn: frontend.maxconn,
        };
        Self {
            maxconn: None,
            connection_rate: None,
            session_rate: None,
            frontends: plan.frontends.iter().map(open).collect(),
        }
    }
}

/// One pool as new connections see it.
#[derive(Clone, Debug)]
pub struct PoolView {
    /// Which pool of the plan this is.
    pub id: PoolId,
    /// How a server is chosen.
    pub algorithm: Algorithm,
    /// One for each server of the pool, in its order.
    pub servers: Vec<ServerView>,
    /// For algorithms that read a table: indices into `servers`, each as often as its effective weight says. Holds
    /// selectable servers only.
    pub rotation: Arc<[u16]>,
    /// For algorithms that read a ring. Holds selectable servers only.
    pub ring: Arc<Ring>,
    /// As many connections fill it.
    pub fullconn: u32,
    /// What becomes of connections when no server is selectable.
    pub no_server: NoServer,
    /// What the pool's connections did so far.
    pub load: Arc<PoolLoad>,
}

/// One server as new connections see it.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is connected, where that is more than a connect to `address`.
    pub dial: Option<Arc<Dial>>,
    /// Whether new connections may choose it now: healthy, not in maintenance or drain, weight above zero, and, for a
    /// backup server, needed.
    pub selectable: bool,
    /// Whether it works and is not in maintenance: connections that belong to it may go there even if no others may.
    pub usable: bool,
    /// Whether it is meant to take connections, though it may have been found dead: not in maintenance or drain, with an
    /// address and a weight.
    pub in_service: bool,
    /// Weight after slow start in units of 1/[`WEIGHT_SCALE`], 0 to 4096.
    pub weight: u16,
    /// The same before slow start, and in units of a configured weight of 1, 0 to 256.
    pub full_weight: u16,
    /// Connections it may hold now (slow start included); `None` is any number.
    pub maxconn: Option<u32>,
    /// Connections it may hold while its pool is empty; `None` is as many as at any time.
    pub minconn: Option<u32>,
    /// Connections that may wait for this very server; `None` is any number.
    pub maxqueue: Option<u32>,
    /// What its connections did so far.
    pub load: Arc<ServerLoad>,
}

impl PoolView {
    /// Takes one of the slots of `server`, one of its own, or says that none is free.
    pub fn acquire(&self, server: &ServerView) -> bool {
        server.load.acquire(self.limit(server))
    }

    /// Connections that `server` may hold now: between `minconn` and `maxconn`, as the pool fills, as in HAProxy.
    pub fn limit(&self, server: &ServerView) -> Option<u32> {
        let (Some(most), Some(least)) = (server.maxconn, server.minconn) else { return server.maxconn };
        let sessions = self.load.sessions.load(Ordering::Relaxed);
        if sessions >= self.fullconn {
            return Some(most);
        }
        let share = u64::from(sessions) * u64::from(most) / u64::from(self.fullconn.max(1));
        Some(u32::try_from(share).unwrap_or(most).clamp(least, most.max(least)))
    }
}
