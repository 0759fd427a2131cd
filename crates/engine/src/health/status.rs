//! What `status` shows of frontends, pools and servers.

use std::sync::atomic::Ordering::Relaxed;

use crate::admin::{
    AgentStatistics, BackCounters, CheckStatistics, FrontendCounters, FrontendStatus, PoolStatus,
    RequestCounters, ServerStatus,
};
use crate::health::agent::AgentHealth;
use crate::health::closing::Closing;
use crate::health::rebalance::Rebalance;
use crate::health::server::{ServerHealth, State};
use crate::health::settings::{AdminState, Settings};
use crate::health::{Health, PoolHealth};
use crate::limits;
use crate::plan::{Algorithm, Check, Frontend, Pool, Server, ServerId};
use crate::serving::{FrontendState, PoolView, ServerView, WEIGHT_SCALE};
use crate::time::Instant;

/// What checks say of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedServer {
    /// `pool/server`.
    pub name: String,
    /// Whether it takes connections.
    pub usable: bool,
    /// Whether a check passed; before the first, a server is trusted.
    pub proven: bool,
}

impl Health {
    /// Every server that is checked and not in maintenance.
    pub fn checked_servers(&self) -> impl Iterator<Item = CheckedServer> {
        let checked = self
            .servers()
            .filter(|(.., machine)| !matches!(machine.state(), State::Maintenance | State::Unchecked));
        checked.map(|(id, _, machine)| CheckedServer {
            name: self.name_of(id),
            usable: machine.usable(),
            proven: matches!(machine.state(), State::Up { .. }),
        })
    }

    /// One for each frontend of the plan.
    pub fn frontend_status(&self, now: Instant) -> Vec<FrontendStatus> {
        self.plan
            .frontends
            .iter()
            .zip(&self.serving.frontends)
            .zip(&self.serving.admittance.frontends)
            .map(|((frontend, load), admittance)| FrontendStatus {
                name: frontend.name.clone(),
                id: frontend.id,
                binds: match frontend.forwarding.nat() {
                    Some(nat) => nat.endpoints.iter().map(|own| format!("{own} (nat)")).collect(),
                    None => frontend.binds.iter().map(ToString::to_string).collect(),
                },
                state: frontend_state(admittance.state).to_owned(),
                sessions: load.sessions.load(Relaxed) + load.forwarded.load(Relaxed),
                maxconn: admittance.maxconn,
                sessions_max: load.sessions_max.load(Relaxed),
                sessions_total: load.sessions_total.load(Relaxed),
                counters: FrontendCounters::of(load, now),
                requests: frontend.pages.as_ref().map(|pages| {
                    let backend = pages.is_listen.then(|| self.fullconn(frontend));
                    RequestCounters::of(&load.requests, backend, now)
                }),
            })
            .collect()
    }

    /// With how many connections the backend of a `listen` section without servers would be full, as in HAProxy.
    fn fullconn(&self, frontend: &Frontend) -> u32 {
        let all = if self.plan.maxconn == 0 { limits::USUAL_MAXCONN } else { self.plan.maxconn };
        frontend.maxconn.unwrap_or(all).div_ceil(10)
    }

    /// One for each pool of the plan.
    pub fn pool_status(&self, now: Instant) -> Vec<PoolStatus> {
        self.plan
            .pools
            .iter()
            .zip(&self.pools)
            .zip(&self.serving.pools)
            .map(|((pool, health), view)| self.one_pool(pool, health, view, now))
            .collect()
    }

    fn one_pool(&self, pool: &Pool, health: &PoolHealth, view: &PoolView, now: Instant) -> PoolStatus {
        // Ids are places that count from 1.
        let closing = |id: u32| {
            let is_it =
                |own: &&Closing| own.server.pool == view.id && u32::from(own.server.server.0) + 1 == id;
            self.closings.iter().find(is_it).map(|own| own.left(now))
        };
        PoolStatus {
            name: pool.name.clone(),
            id: pool.id,
            algorithm: algorithm_name(pool.algorithm).to_owned(),
            sessions: view.load.sessions.load(Relaxed) + view.load.forwarded.load(Relaxed),
            sessions_max: view.load.sessions_max.load(Relaxed),
            sessions_total: view.load.sessions_total.load(Relaxed),
            queued: view.load.queued.load(Relaxed),
            queued_max: view.load.queued_max.load(Relaxed),
            denied_requests: view.load.denied_requests.load(Relaxed),
            counters: BackCounters::of_pool(&view.load, now),
            since: health.availability.since(now),
            downs: health.availability.downs(),
            downtime: health.availability.downtime(now),
            queue_timeouts: view.load.queue_timeouts.load(Relaxed),
            no_server: view.load.no_server.load(Relaxed),
            fullconn: pool.fullconn,
            rebalancing: self.rebalances.iter().find(|own| own.pool == view.id).and_then(Rebalance::left),
            servers: (1..)
                .zip(&pool.servers)
                .zip(health.servers.iter().zip(&health.settings))
                .zip(&view.servers)
                .filter(|(((_, server), _), _)| !server.removed)
                .map(|(((id, server), known), view)| ServerStatus {
                    closing: closing(id),
                    state: self.state_of(server, known.0, known.1.admin),
                    tracks: server.track.map(|leader| self.name_of(leader)),
                    ..server_status((id, server), known, view, now)
                })
                .collect(),
        }
    }

    /// The word for the state of a server. One that tracks another shows that one's, unless something of its own counts
    /// for more.
    fn state_of(&self, server: &Server, machine: &ServerHealth, admin: AdminState) -> String {
        let own = own_state(machine, admin);
        let leader = server.track.and_then(|id| {
            let health = self.pools.get(usize::from(id.pool.0))?;
            let index = usize::from(id.server.0);
            let machine = health.servers.get(index)?;
            // A chain of a plan has an end.
            Some((id, self.state_of(self.plan.server(id)?, machine, health.settings.get(index)?.admin)))
        });
        match leader {
            Some((id, state)) if state.starts_with("maintenance") => {
                format!("maintenance (via {})", self.name_of(id))
            }
            Some((_, state)) if own != "maintenance" && (own != "drain" || state.starts_with("down")) => {
                state
            }
            _ => own.to_owned(),
        }
    }

    /// `pool/server`.
    pub(super) fn name_of(&self, id: ServerId) -> String {
        let pool = self.plan.pools.get(usize::from(id.pool.0)).map_or("", |pool| &pool.name);
        format!("{pool}/{}", self.plan.server(id).map_or("", |server| &server.name))
    }
}

fn server_status(
    (id, server): (u32, &Server),
    (machine, settings): (&ServerHealth, &Settings),
    view: &ServerView,
    now: Instant,
) -> ServerStatus {
    let load = &view.load;
    ServerStatus {
        name: server.name.clone(),
        id,
        address: match (server.local(), settings.address()) {
            (Some(local), _) => local.to_string(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "unknown".to_owned(),
        },
        state: String::new(),
        admin: settings.admin,
        tracks: None,
        since: now.since(machine.since()),
        check: machine.latest().map(|(verdict, _)| verdict.to_string()),
        agent: machine.agent().and_then(AgentHealth::latest).map(|(verdict, _)| verdict.to_string()),
        agent_checks: machine.agent().filter(|agent| agent.is_asked()).map(agent_statistics),
        checked: machine.latest().map(|&(_, at)| now.since(at)),
        checks: settings
            .check
            .as_ref()
            .filter(|_| settings.checks_on)
            .map(|check| statistics(check, machine)),
        downs: machine.availability().downs(),
        downtime: machine.availability().downtime(now),
        initial_weight: server.weight,
        weight: settings.weight,
        effective_weight: view.weight.div_ceil(WEIGHT_SCALE),
        backup: server.backup,
        sessions: load.sessions() + load.forwarded.load(Relaxed),
        maxconn: view.maxconn,
        sessions_max: load.sessions_max.load(Relaxed),
        sessions_total: load.sessions_total.load(Relaxed),
        connect_errors: load.connect_errors.load(Relaxed),
        counters: BackCounters::of_server(load, now),
        maxqueue: server.maxqueue,
        queued: load.queued.load(Relaxed),
        queued_max: load.queued_max.load(Relaxed),
        warming_up: machine.is_warming_up(),
        closing: None,
        closed_dead: load.closed_dead.load(Relaxed),
        closed_to_rebalance: load.closed_to_rebalance.load(Relaxed),
    }
}

fn statistics(check: &Check, machine: &ServerHealth) -> CheckStatistics {
    let Check { rise, fall, .. } = *check;
    let verdict = machine.latest().map(|(verdict, _)| verdict);
    CheckStatistics {
        status: verdict.map(|verdict| verdict.status.name().to_owned()),
        sentence: verdict.map(|verdict| verdict.status.sentence().to_owned()).unwrap_or_default(),
        code: verdict.and_then(|verdict| verdict.code),
        took: verdict.map(|verdict| verdict.took),
        detail: verdict.map(|verdict| verdict.detail.clone()).unwrap_or_default(),
        rise,
        fall,
        health: match machine.state() {
            State::Maintenance => 0,
            State::Unchecked | State::Trusted => rise,
            State::Up { failed } => (rise + fall - 1).saturating_sub(failed),
            State::Down { passed } => passed,
        },
        failed: machine.failed_checks(),
    }
}

const fn frontend_state(state: FrontendState) -> &'static str {
    match state {
        FrontendState::Open => "open",
        FrontendState::Disabled => "disabled",
        FrontendState::ShutDown => "shut down",
    }
}

fn agent_statistics(agent: &AgentHealth) -> AgentStatistics {
    let verdict = agent.latest().map(|(verdict, _)| verdict);
    AgentStatistics {
        status: verdict.map(|verdict| verdict.status.name().to_owned()),
        sentence: verdict.map(|verdict| verdict.status.sentence().to_owned()).unwrap_or_default(),
        has_code: verdict.is_some_and(|verdict| verdict.status.has_code()),
        took: verdict.map(|verdict| verdict.took),
        detail: verdict.map(|verdict| verdict.detail.clone()).unwrap_or_default(),
        up: !agent.is_down(),
    }
}

fn own_state(machine: &ServerHealth, admin: AdminState) -> &'static str {
    match state_name(machine.state(), admin) {
        "maintenance" => "maintenance",
        _ if machine.agent().is_some_and(AgentHealth::is_down) && machine.state().usable() => "down (agent)",
        "up" | "up, going down" | "no check" if machine.stopping() => "stopping",
        name => name,
    }
}

const fn state_name(state: State, admin: AdminState) -> &'static str {
    match state {
        State::Maintenance => "maintenance",
        State::Unchecked | State::Trusted | State::Up { .. } if matches!(admin, AdminState::Drain) => "drain",
        State::Unchecked => "no check",
        State::Trusted | State::Up { failed: 0 } => "up",
        State::Up { .. } => "up, going down",
        State::Down { passed: 0 } => "down",
        State::Down { .. } => "down, going up",
    }
}

const fn algorithm_name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::RoundRobin => "roundrobin",
        Algorithm::LeastConn => "leastconn",
        Algorithm::StaticRr => "static-rr",
        Algorithm::Source(_) => "source",
        Algorithm::Hash(_) => "hash",
        Algorithm::Random { .. } => "random",
        Algorithm::First => "first",
    }
}
