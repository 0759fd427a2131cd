//! Which servers work: schedules checks, counts rise and fall, and publishes the view the data plane reads.
//!
//! Owns [`Health`], which routes results and time to one machine for each server and publishes what they found.
//! `check` has the vocabulary of results, `server` the machine, `view` the rules of who is selectable.

pub mod agent;
mod availability;
pub mod check;
mod closing;
pub mod event;
mod operator;
pub mod operator_event;
pub mod order;
mod rebalance;
mod server;
mod settings;
pub mod standing;
pub mod status;
mod track;
mod verdicts;
mod view;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::Event;
use crate::engine::Output;
use crate::health::availability::Availability;
use crate::health::check::{CheckStatus, Seen, Verdict};
use crate::health::closing::Closing;
use crate::health::event::HealthEvent;
use crate::health::rebalance::Rebalance;
use crate::health::server::ServerHealth;
use crate::health::settings::Settings;
use crate::health::track::Track;
use crate::health::view::PoolLoads;
use crate::jitter::Jitter;
use crate::limits::FIRST_CHECKS;
use crate::logging::server_state;
use crate::plan::{Plan, Pool, PoolId, Server, ServerId, ServerIndex};
use crate::rules::SharedTable;
use crate::serving::{Admittance, PoolView, Serving};
use crate::time::{Deadline, Instant};

/// The health of every server of a plan.
#[derive(Debug)]
pub struct Health {
    plan: Arc<Plan>,
    /// One for each pool of the plan, in its order.
    pools: Vec<PoolHealth>,
    /// Who follows whom, the followed ones first.
    tracks: Vec<Track>,
    /// Dead servers whose connections are being closed.
    closings: Vec<Closing>,
    /// Pools whose connections are being spread anew.
    rebalances: Vec<Rebalance>,
    /// What the data plane has.
    serving: Arc<Serving>,
    jitter: Jitter,
    /// Servers that the latest view changed because they track another one, and whether they came up or went down by it.
    followed: Vec<(ServerId, bool)>,
    /// Servers whose connections are to end wherever they are kept.
    dead: VecDeque<ServerId>,
    outputs: VecDeque<Output>,
}

/// The health of the servers of one pool.
#[derive(Debug)]
struct PoolHealth {
    /// One for each server of the pool, in its order.
    servers: Vec<ServerHealth>,
    /// One for each server of the pool, in its order.
    settings: Vec<Settings>,
    loads: PoolLoads,
    /// Of the pool as a whole.
    availability: Availability,
    /// Whether it had a server that takes connections when that was last told.
    told_served: bool,
}

impl Health {
    /// Publishes a first view and starts checking. `seed` spreads the checks.
    pub fn new(plan: Arc<Plan>, seed: u64, now: Instant) -> Self {
        let mut jitter = Jitter::new(seed, plan.spread_checks);
        let mut first_checks = first_checks(&plan, &mut jitter, now).into_iter();
        let mut pools = Vec::with_capacity(plan.pools.len());
        for pool in &plan.pools {
            let settings: Vec<_> = pool.servers.iter().map(Settings::new).collect();
            let machine = |(settings, server)| {
                let first = first_checks.next().unwrap_or(now);
                let mut machine = ServerHealth::new(settings, first, now);
                machine.begin(server, first);
                machine
            };
            pools.push(PoolHealth {
                servers: settings.iter().zip(&pool.servers).map(machine).collect(),
                settings,
                loads: PoolLoads::new(pool),
                availability: Availability::new(true, now),
                told_served: true,
            });
        }
        let tracks = track::in_order(&plan);
        track::follow(&tracks, &mut pools);
        let views = pool_views(&plan, &pools, now);
        let frontends = plan.frontends.iter().map(|_| Arc::default()).collect();
        let admittance = Admittance::new(&plan);
        let tables = plan.tables.iter().map(|table| Arc::new(SharedTable::new(table.clone()))).collect();
        let serving = Serving { plan: Arc::clone(&plan), pools: views, frontends, admittance, tables };
        let serving = Arc::new(serving);
        let outputs = VecDeque::from([Output::Publish(Arc::clone(&serving))]);
        let (closings, rebalances) = (Vec::new(), Vec::new());
        let (followed, dead) = (Vec::new(), VecDeque::new());
        let mut health =
            Self { plan, pools, tracks, closings, rebalances, serving, jitter, followed, dead, outputs };
        for pool in &mut health.pools {
            for (machine, settings) in pool.servers.iter_mut().zip(&pool.settings) {
                machine.tell(machine.standing(settings));
            }
        }
        health.report_empty_pools();
        health
    }

    /// What the data plane should have now.
    pub fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.give_up_lost_attempts(now);
        let mut warmer = false;
        for ((pool, servers), health) in (0..).map(PoolId).zip(&self.plan.pools).zip(&mut self.pools) {
            let machines = health.servers.iter_mut().zip(&health.settings);
            for ((index, server), (machine, settings)) in (0..).zip(&servers.servers).zip(machines) {
                warmer |= machine.warm_up(now);
                let id = ServerId { pool, server: ServerIndex(index) };
                if let (Some(agent), Some(asked)) = (&server.agent, machine.agent_mut())
                    && let Some(attempt) = asked.next_attempt(agent, now)
                {
                    self.outputs.push_back(Output::AskAgent { server: id, attempt, agent: agent.clone() });
                }
                let Some(check) = &settings.check else { continue };
                if let Some(attempt) = machine.next_attempt(server, now) {
                    let check = Arc::clone(check);
                    let load = health.loads.servers.get(usize::from(index));
                    let sessions = load.map_or(0, |load| load.sessions());
                    let seen = Seen { up: machine.state().usable(), sessions };
                    self.outputs.push_back(Output::StartCheck { server: id, attempt, check, seen });
                }
            }
        }
        if warmer {
            self.publish(now);
            self.tell_followers(now);
        }
        self.close_of_dead(now);
        self.rebalance(now);
    }

    /// Whether DNS says where a server is.
    pub(crate) fn follows_dns(&self, id: ServerId) -> bool {
        self.plan.server(id).is_some_and(|server| !server.removed && server.lookup.is_some())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next server that was found dead while its clients have somewhere to go.
    pub(crate) fn poll_dead(&mut self) -> Option<ServerId> {
        self.dead.pop_front()
    }

    /// Whether there is something to say.
    pub(crate) fn has_news(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Event(_)))
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let closing = self.closings.iter().map(Closing::next);
        let closing = closing.map(|at| Deadline { at, why: "close connections of a dead server" });
        let rebalance = self.rebalances.iter().map(Rebalance::next);
        let rebalance = rebalance.map(|at| Deadline { at, why: "spread connections anew" });
        let servers = self.servers().filter_map(|(_, _, machine)| machine.poll_timeout());
        servers.chain(closing).chain(rebalance).min()
    }

    /// Gives the data plane a new view, if it would notice the difference.
    fn publish(&mut self, now: Instant) {
        self.followed.extend(track::follow(&self.tracks, &mut self.pools));
        let pools = pool_views(&self.plan, &self.pools, now);
        for (health, view) in self.pools.iter_mut().zip(&pools) {
            health.availability.note(has_server(view), now);
            health.servers.iter_mut().for_each(|machine| machine.note_availability(now));
        }
        let same = self.serving.pools.iter().zip(&pools).all(|(before, after)| view::same(before, after));
        if same && Arc::ptr_eq(&self.serving.plan, &self.plan) {
            return;
        }
        self.give(Serving { plan: Arc::clone(&self.plan), pools, ..Serving::clone(&self.serving) });
    }

    /// Lets in what `change` leaves.
    fn admit(&mut self, change: impl FnOnce(&mut Admittance)) {
        let mut serving = Serving::clone(&self.serving);
        change(&mut serving.admittance);
        self.give(serving);
    }

    fn give(&mut self, serving: Serving) {
        self.serving = Arc::new(serving);
        self.outputs.push_back(Output::Publish(Arc::clone(&self.serving)));
    }

    /// An attempt that nobody will report back is over, and says nothing about its server.
    fn give_up_lost_attempts(&mut self, now: Instant) {
        let lost: Vec<(ServerId, u64, Duration)> = self
            .servers()
            .filter_map(|(id, _, machine)| {
                machine.lost_attempt(now).map(|(attempt, took)| (id, attempt, took))
            })
            .collect();
        for (server, attempt, took) in lost {
            let detail = "its result never came".to_owned();
            let verdict = Verdict { status: CheckStatus::Sockerr, code: None, detail, took };
            self.handle_check_finished(server, attempt, verdict, now);
        }
    }

    /// Says when the last server of a pool went, or the first one came back.
    fn report_pool(&mut self, id: PoolId) {
        let index = usize::from(id.0);
        let plan = Arc::clone(&self.plan);
        let (Some(pool), Some(health)) = (plan.pools.get(index), self.pools.get_mut(index)) else { return };
        let served = self.serving.pools.get(index).is_some_and(has_server);
        match (std::mem::replace(&mut health.told_served, served), served) {
            (true, false) => {
                let then = pool.outage.no_server;
                self.report(HealthEvent::PoolWithoutServer { pool: pool.name.clone(), then });
                self.outputs.extend(server_state::no_server(id, &self.serving).map(Output::Log));
            }
            (false, true) => self.report(HealthEvent::PoolServesAgain { pool: pool.name.clone() }),
            (true, true) | (false, false) => {}
        }
    }

    fn report_empty_pools(&mut self) {
        let plan = Arc::clone(&self.plan);
        let serving = Arc::clone(&self.serving);
        for ((pool, view), health) in plan.pools.iter().zip(&serving.pools).zip(&mut self.pools) {
            health.told_served = has_server(view);
            if !health.told_served {
                let event =
                    HealthEvent::PoolWithoutServer { pool: pool.name.clone(), then: pool.outage.no_server };
                self.outputs.push_back(Output::Event(Event::Health(event)));
            }
        }
    }

    fn report(&mut self, event: HealthEvent) {
        self.outputs.push_back(Output::Event(Event::Health(event)));
    }

    /// Every server of every pool, as in [`Plan::servers`].
    fn servers(&self) -> impl Iterator<Item = (ServerId, &Server, &ServerHealth)> {
        self.plan.servers().filter_map(|(id, server)| {
            let health = self.pools.get(usize::from(id.pool.0))?;
            Some((id, server, health.servers.get(usize::from(id.server.0))?))
        })
    }
}

impl PoolHealth {
    /// How many servers could take connections, and how many backup servers.
    fn working(&self, pool: &Pool) -> (usize, usize) {
        let known = || pool.servers.iter().zip(&self.servers).zip(&self.settings);
        let count = |backup| {
            let alike = known().filter(|((server, _), _)| server.backup == backup && !server.removed);
            alike
                .filter(|((_, machine), settings)| settings.weight > 0 && machine.standing(settings).works())
                .count()
        };
        (count(false), count(true))
    }

    /// How many servers work, and how many there are, those in maintenance left out.
    fn count(&self) -> (usize, usize) {
        let up = self.servers.iter().filter(|machine| machine.usable()).count();
        let in_service = |machine: &&ServerHealth| machine.state() != server::State::Maintenance;
        (up, self.servers.iter().filter(in_service).count())
    }
}

fn has_server(pool: &PoolView) -> bool {
    pool.servers.iter().any(|server| server.selectable)
}

fn pool_views(plan: &Plan, pools: &[PoolHealth], now: Instant) -> Vec<PoolView> {
    (0..)
        .map(PoolId)
        .zip(&plan.pools)
        .zip(pools)
        .map(|((id, pool), health)| {
            let known = pool.servers.iter().zip(&health.servers).zip(&health.settings);
            let capacities: Vec<_> =
                known.map(|((server, machine), settings)| machine.capacity(server, settings, now)).collect();
            view::pool_view(id, pool, &capacities, &health.loads)
        })
        .collect()
}

/// When each server of the plan is checked first: one after the other over the shortest interval, as HAProxy does, but
/// within [`FIRST_CHECKS`]. The seed keeps balancers that start together from checking together.
fn first_checks(plan: &Plan, jitter: &mut Jitter, now: Instant) -> Vec<Instant> {
    let checks = || plan.servers().filter_map(|(_, server)| server.check.as_ref());
    let longest = plan.max_spread_checks.unwrap_or(FIRST_CHECKS);
    let shortest = checks().map(|check| check.interval).min().unwrap_or_default().min(longest);
    let slot = shortest / u32::try_from(checks().count()).unwrap_or(u32::MAX).max(1);
    let offset = jitter.below(slot);
    let mut next = now + offset;
    plan.servers()
        .map(|(_, server)| {
            let first = next;
            if server.check.is_some() {
                next = next + slot;
            }
            first
        })
        .collect()
}
