//! Carries out orders: what changes while the daemon runs.
//!
//! Owns [`Health::handle_order`] and [`Health::change_server`]. A change is in the view before it is told, and nothing
//! here outlives the daemon.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use crate::Event;
use crate::engine::Output;
use crate::health::agent::AgentHealth;
use crate::health::operator_event::{FrontendChange, OperatorEvent, ServerChange};
use crate::health::order::{AdminState, By, FrontendOrder, Order, Outcome, Refusal, ServerOrder, Weight};
use crate::health::server::ServerHealth;
use crate::health::settings::Settings;
use crate::health::{Health, PoolHealth};
use crate::limits::SERVERS_PER_POOL;
use crate::logging::server_state::Because;
use crate::plan::{Algorithm, Plan, Pool, PoolId, Server, ServerId, ServerIndex};
use crate::serving::termination::Cause;
use crate::serving::{FrontendState, Serving};
use crate::time::Instant;

/// The heaviest a server can be.
const HEAVIEST: u16 = 256;

impl Health {
    /// Carries out an order of an operator.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn handle_order(&mut self, order: Order, now: Instant) -> Result<Outcome, Refusal> {
        match order {
            Order::Server { pool, server, change } => {
                self.change_server(self.find(&pool, &server)?, change, By::Operator, now)
            }
            Order::AddServer { pool, server } => self.add_server(&pool, *server, now),
            Order::RemoveServer { pool, server } => self.remove_server(self.find(&pool, &server)?, now),
            Order::Frontend { frontend, change } => self.change_frontend(&frontend, change),
            Order::Maxconn(maxconn) => {
                if self.plan.maxconn > 0 && maxconn > self.plan.maxconn {
                    return Err(Refusal::TooManyConnections);
                }
                self.admit(|admittance| admittance.maxconn = NonZeroU32::new(maxconn));
                Ok(self.tell(OperatorEvent::MaxconnChanged { maxconn }))
            }
            Order::ConnectionRate(rate) => {
                self.admit(|admittance| admittance.connection_rate = NonZeroU32::new(rate));
                Ok(self.tell(OperatorEvent::ConnectionRateChanged { connections_per_second: rate }))
            }
            Order::SessionRate(rate) => {
                self.admit(|admittance| admittance.session_rate = NonZeroU32::new(rate));
                Ok(self.tell(OperatorEvent::SessionRateChanged { sessions_per_second: rate }))
            }
            Order::ClearCounters { all } => {
                self.clear_counters(all);
                Ok(self.tell(OperatorEvent::CountersCleared { all }))
            }
        }
    }

    /// Changes a server.
    ///
    /// # Errors
    /// Why nothing was changed.
    pub fn change_server(
        &mut self,
        id: ServerId,
        order: ServerOrder,
        by: By,
        now: Instant,
    ) -> Result<Outcome, Refusal> {
        let plan = Arc::clone(&self.plan);
        let known = self.pools.get_mut(usize::from(id.pool.0)).and_then(|health| health.of(id.server));
        let pool = plan.pools.get(usize::from(id.pool.0));
        let (Some(pool), Some(server), Some((machine, settings))) = (pool, plan.server(id), known) else {
            return Err(Refusal::NoServer);
        };
        let was_out = settings.out_of_service();
        let was_usable = machine.usable();
        if matches!(order, ServerOrder::Maxconn(1..)) && plan.kernel_forwards_to(id.pool) {
            return Err(Refusal::NeedsProxy);
        }
        let (outcome, change) = change(order, pool, server, machine, settings, now)?;
        match (was_out, settings.out_of_service()) {
            (false, true) => machine.leave_service(now),
            (true, false) => machine.enter_service(server, settings, now),
            _ => {}
        }
        let went = was_usable && !machine.usable();
        let Some(change) = change else { return Ok(outcome) };
        // The view comes first: no connection may choose the server after its sessions were closed.
        let before = Arc::clone(&self.serving);
        self.publish(now);
        let cause = match order {
            ServerOrder::ShutdownSessions => Some(Cause::Killed),
            _ => (went && server.shutdown_sessions_when_down).then_some(Cause::Down),
        };
        if let Some(cause) = cause {
            self.outputs.push_back(Output::ShutdownSessions { server: id, cause });
        }
        let (pool, server) = (pool.name.clone(), server.name.clone());
        self.tell(OperatorEvent::ServerChanged { pool, server, by, change });
        self.tell_standing(id, &Because::Order);
        self.report_pool(id.pool);
        self.tell_followers(now);
        match (selectable(&before, id), selectable(&self.serving, id)) {
            (false, true) => self.consider_rebalance(id.pool, now),
            (true, false) => self.stop_rebalance(id.pool),
            _ => {}
        }
        Ok(outcome)
    }

    /// The server of these names.
    fn find(&self, pool: &str, server: &str) -> Result<ServerId, Refusal> {
        let (id, pool) = self.find_pool(pool)?;
        let place = pool.servers.iter().position(|other| !other.removed && other.name == server);
        let index = place.and_then(|place| u16::try_from(place).ok()).ok_or(Refusal::NoServer)?;
        Ok(ServerId { pool: id, server: ServerIndex(index) })
    }

    fn find_pool(&self, name: &str) -> Result<(PoolId, &Pool), Refusal> {
        let mut pools = (0..).map(PoolId).zip(&self.plan.pools);
        pools.find(|(_, pool)| pool.name == name).ok_or(Refusal::NoPool)
    }

    fn add_server(&mut self, pool: &str, server: Server, now: Instant) -> Result<Outcome, Refusal> {
        let (id, section) = self.find_pool(pool)?;
        if !weighs_dynamically(section.algorithm) {
            return Err(Refusal::StaticServers);
        }
        if self.plan.kernel_forwards_to(id) && server.proxy_only().is_some() {
            return Err(Refusal::NeedsProxy);
        }
        if section.servers.iter().any(|other| !other.removed && other.name == server.name) {
            return Err(Refusal::SameName);
        }
        let vacant = section.servers.iter().position(|other| other.removed);
        let place = vacant.unwrap_or(section.servers.len());
        if place >= SERVERS_PER_POOL {
            return Err(Refusal::TooManyServers);
        }
        let mut settings = Settings::new(&server);
        settings.checks_on = false;
        let event = OperatorEvent::ServerChanged {
            pool: pool.to_owned(),
            server: server.name.clone(),
            by: By::Operator,
            change: ServerChange::Added { address: server.address },
        };
        if let Some(health) = self.pools.get_mut(usize::from(id.0)) {
            health.put(place, settings, now);
        }
        self.replan(id, |servers| match servers.get_mut(place) {
            Some(vacant) => *vacant = server,
            None => servers.push(server),
        });
        self.publish(now);
        self.forget_standing(ServerId {
            pool: id,
            server: ServerIndex(u16::try_from(place).unwrap_or(u16::MAX)),
        });
        Ok(self.tell(event))
    }

    fn remove_server(&mut self, id: ServerId, now: Instant) -> Result<Outcome, Refusal> {
        let place = usize::from(id.server.0);
        let health = self.pools.get(usize::from(id.pool.0)).ok_or(Refusal::NoServer)?;
        let (settings, load) =
            health.settings.get(place).zip(health.loads.servers.get(place)).ok_or(Refusal::NoServer)?;
        if settings.admin != AdminState::Maintenance {
            return Err(Refusal::InService);
        }
        // The view has not offered it since it is in maintenance; who chose it before that holds a slot.
        if load.sessions() > 0 {
            return Err(Refusal::HasSessions);
        }
        let pool = self.plan.pools.get(usize::from(id.pool.0)).map_or("", |pool| &pool.name).to_owned();
        let server = self.plan.server(id).map_or("", |server| &server.name).to_owned();
        self.replan(id.pool, |servers| {
            if let Some(server) = servers.get_mut(place) {
                server.removed = true;
            }
        });
        self.publish(now);
        let change = ServerChange::Removed;
        Ok(self.tell(OperatorEvent::ServerChanged { pool, server, by: By::Operator, change }))
    }

    fn change_frontend(&mut self, name: &str, order: FrontendOrder) -> Result<Outcome, Refusal> {
        let place = self.plan.frontends.iter().position(|frontend| frontend.name == name);
        let place = place.ok_or(Refusal::NoFrontend)?;
        let now = self.serving.admittance.frontends.get(place).ok_or(Refusal::NoFrontend)?.state;
        let (state, change) = match (order, now) {
            (FrontendOrder::Maxconn(maxconn), _) => (now, FrontendChange::Maxconn { maxconn }),
            (_, FrontendState::ShutDown) => return Err(Refusal::ShutDown),
            (FrontendOrder::Enable, FrontendState::Open) => return Err(Refusal::Enabled),
            (FrontendOrder::Disable, FrontendState::Disabled) => return Err(Refusal::Disabled),
            (FrontendOrder::Enable, _) => (FrontendState::Open, FrontendChange::Enabled),
            (FrontendOrder::Disable, _) => (FrontendState::Disabled, FrontendChange::Disabled),
            (FrontendOrder::Shutdown, _) => (FrontendState::ShutDown, FrontendChange::ShutDown),
        };
        self.admit(|admittance| {
            let Some(frontend) = admittance.frontends.get_mut(place) else { return };
            frontend.state = state;
            if let FrontendOrder::Maxconn(maxconn) = order {
                frontend.maxconn = Some(maxconn).filter(|maxconn| *maxconn > 0);
            }
        });
        Ok(self.tell(OperatorEvent::FrontendChanged { frontend: name.to_owned(), change }))
    }

    fn clear_counters(&self, all: bool) {
        let servers = self.pools.iter().flat_map(|health| &health.loads.servers);
        let pools = self.pools.iter().map(|health| &health.loads.pool);
        let frontends = &self.serving.frontends;
        if all {
            servers.for_each(|load| load.reset());
            pools.for_each(|load| load.reset());
            frontends.iter().for_each(|load| load.reset());
        } else {
            servers.for_each(|load| load.reset_maxima());
            pools.for_each(|load| load.reset_maxima());
            frontends.iter().for_each(|load| load.reset_maxima());
        }
    }

    /// Has the servers of a pool as `change` leaves them. A plan is immutable, so this is another one.
    fn replan(&mut self, pool: PoolId, change: impl FnOnce(&mut Vec<Server>)) {
        let mut plan = Plan::clone(&self.plan);
        if let Some(pool) = plan.pools.get_mut(usize::from(pool.0)) {
            change(&mut pool.servers);
        }
        self.plan = Arc::new(plan);
    }

    fn tell(&mut self, event: OperatorEvent) -> Outcome {
        self.outputs.push_back(Output::Event(Event::Operator(event)));
        Outcome::Done
    }
}

impl PoolHealth {
    fn of(&mut self, server: ServerIndex) -> Option<(&mut ServerHealth, &mut Settings)> {
        let index = usize::from(server.0);
        Some((self.servers.get_mut(index)?, self.settings.get_mut(index)?))
    }

    /// Puts a server in a place, with counters of its own: those of the one that was there may still be in use.
    fn put(&mut self, place: usize, settings: Settings, now: Instant) {
        match (self.servers.get_mut(place), self.settings.get_mut(place), self.loads.servers.get_mut(place)) {
            (Some(machine), Some(before), Some(load)) => {
                *machine = machine.successor(&settings, now);
                (*before, *load) = (settings, Arc::default());
            }
            _ => {
                self.servers.push(ServerHealth::new(&settings, now, now));
                self.settings.push(settings);
                self.loads.servers.push(Arc::default());
            }
        }
    }
}

/// Changes the settings of a server, and says what that is; nothing if it is so already.
fn change(
    order: ServerOrder,
    pool: &Pool,
    server: &Server,
    machine: &mut ServerHealth,
    settings: &mut Settings,
    now: Instant,
) -> Result<(Outcome, Option<ServerChange>), Refusal> {
    let mut outcome = Outcome::Done;
    let change = match order {
        ServerOrder::State(state) if state == settings.admin => None,
        ServerOrder::State(state) => {
            settings.admin = state;
            machine.drain_or_fill(now);
            Some(ServerChange::State { state })
        }
        ServerOrder::Weight(weight) => {
            let (from, to) = (settings.weight, reckon(weight, server.weight));
            if to > 0 && to != server.weight && !weighs_dynamically(pool.algorithm) {
                return Err(Refusal::StaticWeights);
            }
            settings.weight = to;
            (from != to).then_some(ServerChange::Weight { from, to })
        }
        ServerOrder::Maxconn(limit) => {
            let (from, to) = (settings.maxconn, Some(limit).filter(|limit| *limit > 0));
            settings.maxconn = to;
            (from != to).then_some(ServerChange::Maxconn { from, to })
        }
        ServerOrder::Address(..) | ServerOrder::NoAddress if server.local().is_some() => {
            return Err(Refusal::NoAddress);
        }
        ServerOrder::Address(ip, port) => return Ok(move_server((Some(ip), port), machine, settings, now)),
        ServerOrder::NoAddress => return Ok(move_server((None, None), machine, settings, now)),
        ServerOrder::CheckAddress(ip, port) => aim_checks((ip, port), machine, settings, now)?,
        ServerOrder::Health(health) => {
            machine.force(health, server, now).then_some(ServerChange::Health { health })
        }
        ServerOrder::Checks(true) if settings.check.is_none() => return Err(Refusal::NoCheck),
        ServerOrder::Checks(on) if on == settings.checks_on => None,
        ServerOrder::Checks(on) => {
            settings.checks_on = on;
            machine.set_checks(settings, now);
            Some(ServerChange::Checks { on })
        }
        ServerOrder::AgentHealth(up) => speak_for_agent(up, server, machine, now)?,
        ServerOrder::Agent(on) => match machine.agent_mut() {
            Some(agent) => agent.set_asked(on, now).then_some(ServerChange::Agent { on }),
            None if on => return Err(Refusal::NoAgent),
            None => None,
        },
        ServerOrder::AimAgent if machine.agent().is_some_and(AgentHealth::is_asked) => {
            return Err(Refusal::FixedAgent);
        }
        ServerOrder::AimAgent => return Err(Refusal::NoAgent),
        ServerOrder::ShutdownSessions => Some(ServerChange::SessionsShutDown),
        ServerOrder::ShowWeight => {
            outcome = Outcome::Weight { now: settings.weight, configured: server.weight };
            None
        }
    };
    Ok((outcome, change))
}

fn move_server(
    (ip, port): (Option<IpAddr>, Option<u16>),
    machine: &mut ServerHealth,
    settings: &mut Settings,
    now: Instant,
) -> (Outcome, Option<ServerChange>) {
    let from = settings.address();
    settings.set_address(ip, port);
    let to = settings.address();
    if from != to {
        machine.check_again(now);
    }
    (Outcome::Moved { from, to }, (from != to).then_some(ServerChange::Address { from, to }))
}

fn speak_for_agent(
    up: bool,
    server: &Server,
    machine: &mut ServerHealth,
    now: Instant,
) -> Result<Option<ServerChange>, Refusal> {
    let was_usable = machine.usable();
    let agent = machine.agent_mut().filter(|agent| agent.is_asked()).ok_or(Refusal::NoAgent)?;
    let news = agent.force(up);
    if was_usable != machine.usable() {
        machine.moved(server, now);
    }
    Ok(news.then_some(ServerChange::AgentHealth { up }))
}

fn aim_checks(
    (ip, port): (Option<IpAddr>, Option<u16>),
    machine: &mut ServerHealth,
    settings: &mut Settings,
    now: Instant,
) -> Result<Option<ServerChange>, Refusal> {
    let from = settings.check.as_ref().ok_or(Refusal::NoCheck)?.address;
    if ip.is_some() {
        settings.set_check_ip(ip);
    }
    if let Some(port) = port {
        settings.set_check_port(Some(port).filter(|port| *port > 0));
    }
    let to = settings.check.as_ref().map_or(from, |check| check.address);
    if from != to {
        machine.check_again(now);
    }
    Ok((from != to).then_some(ServerChange::CheckAddress { to }))
}

/// Whether new connections may choose a server.
fn selectable(serving: &Serving, id: ServerId) -> bool {
    let pool = serving.pools.get(usize::from(id.pool.0));
    pool.and_then(|pool| pool.servers.get(usize::from(id.server.0))).is_some_and(|server| server.selectable)
}

/// The weight that is asked for, of a server that was configured with `configured`.
fn reckon(weight: Weight, configured: u16) -> u16 {
    let asked = match weight {
        Weight::Absolute(weight) => u32::from(weight),
        Weight::Percent(percent) => u32::from(configured).saturating_mul(percent) / 100,
    };
    u16::try_from(asked).unwrap_or(HEAVIEST).min(HEAVIEST)
}

/// Whether the algorithm takes other weights and servers while it runs, as HAProxy's. One that goes by a fixed table would
/// send clients to other servers.
const fn weighs_dynamically(algorithm: Algorithm) -> bool {
    match algorithm {
        Algorithm::RoundRobin | Algorithm::LeastConn | Algorithm::First | Algorithm::Random { .. } => true,
        Algorithm::StaticRr => false,
        Algorithm::Source(hash_type) | Algorithm::Hash(hash_type) => hash_type.consistent,
    }
}

#[cfg(test)]
mod tests;
