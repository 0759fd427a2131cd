//! What becomes of news about one server: results of checks, answers of agents, failed connections of clients.
//!
//! Each of them changes the machine of the server; what that means for the view, for connections and for the log is the
//! same whoever brought the news.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::engine::Output;
use crate::health::agent::Answer;
use crate::health::check::{CheckStatus, Verdict};
use crate::health::event::HealthEvent;
use crate::health::order::By;
use crate::health::server::{Change, ServerHealth};
use crate::health::standing::Turn;
use crate::health::{Health, PoolHealth};
use crate::logging::server_state::{self, Because, Checker};
use crate::plan::{Plan, Pool, Server, ServerId};
use crate::serving::termination::Cause;
use crate::time::Instant;

impl Health {
    /// Takes in how a check ended.
    pub fn handle_check_finished(&mut self, id: ServerId, attempt: u64, verdict: Verdict, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let Some((pool, server, health)) = place(&plan, &mut self.pools, id) else { return };
        let index = usize::from(id.server.0);
        let Some(machine) = health.servers.get_mut(index) else { return };
        let found = verdict.clone();
        let (status, passed) = (verdict.status, verdict.status.passed());
        let before = (machine.usable(), machine.latest().map(|(verdict, _)| verdict.status));
        let change = machine.handle_verdict(server, attempt, verdict, &mut self.jitter, now);
        if let Some(load) = health.loads.servers.get(index).filter(|_| passed) {
            load.failed_in_a_row.store(0, Ordering::Relaxed);
        }
        let is_news = before.1 != Some(status) || change != Change::Nothing || (!passed && machine.usable());
        if pool.log_checks && is_news && machine.latest().is_some_and(|&(_, at)| at == now) {
            self.report_check(pool, server, id, &found);
        }
        self.tell_change(id, change, before.0, &found, now);
        self.consider_closing(id, status, now);
    }

    /// Takes in what an agent said.
    pub fn handle_agent_answered(&mut self, id: ServerId, attempt: u64, answer: Answer, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let Some((pool, server, health)) = place(&plan, &mut self.pools, id) else { return };
        let Some(machine) = health.servers.get_mut(usize::from(id.server.0)) else { return };
        let before = machine.usable();
        let (Some(agent), Some(asked)) = (&server.agent, machine.agent_mut()) else { return };
        let known = asked.latest().map(|(verdict, _)| verdict.status);
        let Some((said, changed)) = asked.handle_answer(agent, attempt, answer, &mut self.jitter, now) else {
            return;
        };
        let found = asked.latest().map(|(verdict, _)| verdict.clone());
        let down = asked.is_down();
        let moved = changed && before != machine.usable();
        if moved {
            machine.moved(server, now);
        }
        let news = found
            .as_ref()
            .filter(|found| known != Some(found.status) && found.status != CheckStatus::Checked);
        if let Some(found) = news.filter(|_| pool.log_checks) {
            self.report_agent(id, found, down);
        }
        for order in said.orders {
            // What cannot be done is as the operator wanted it, and the agent will say so again.
            let _ = self.change_server(id, order, By::Agent, now);
        }
        if let Some(found) = found.filter(|_| moved) {
            let change = if before { Change::Down } else { Change::Up };
            self.tell_change(id, change, before, &found, now);
        }
    }

    /// Connections of clients to a server failed as often in a row as its `error-limit` says.
    pub fn handle_connection_errors(&mut self, id: ServerId, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let Some((_, server, health)) = place(&plan, &mut self.pools, id) else { return };
        let index = usize::from(id.server.0);
        let (Some(machine), Some(load)) = (health.servers.get_mut(index), health.loads.servers.get(index))
        else {
            return;
        };
        // From here on the data plane may report again.
        load.failed_in_a_row.store(0, Ordering::Relaxed);
        load.errors_reported.store(false, Ordering::Release);
        let limit = server.observe.map_or(0, |observe| observe.limit);
        let detail = format!("Detected {limit} consecutive errors, last one was: L4 unsuccessful connection");
        let verdict = Verdict { status: CheckStatus::Hana, code: None, detail, took: Duration::ZERO };
        let (found, before) = (verdict.clone(), machine.usable());
        let change = machine.handle_connection_errors(server, verdict, now);
        self.tell_change(id, change, before, &found, now);
        self.consider_closing(id, found.status, now);
    }

    /// Puts in force and tells what one piece of news changed.
    fn tell_change(&mut self, id: ServerId, change: Change, before: bool, found: &Verdict, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let Some((pool, server, health)) = place(&plan, &mut self.pools, id) else { return };
        let usable = health.servers.get(usize::from(id.server.0)).is_some_and(ServerHealth::usable);
        let (rise, fall) = server.check.as_ref().map_or((0, 0), |check| (check.rise, check.fall));
        let (up, servers) = health.count();
        let (check, names) = (found.to_string(), (pool.name.clone(), server.name.clone()));
        let (pool_name, server_name) = names;
        let event = match change {
            Change::Nothing => return,
            // Something else holds it down, or it did already.
            Change::Up | Change::Down if before == usable => return,
            Change::GoingDown(failed) => {
                HealthEvent::ServerGoingDown { pool: pool_name, server: server_name, check, failed, fall }
            }
            Change::GoingUp(passed) => {
                HealthEvent::ServerGoingUp { pool: pool_name, server: server_name, check, passed, rise }
            }
            Change::Up => HealthEvent::ServerUp { pool: pool_name, server: server_name, check, up, servers },
            Change::Down => {
                HealthEvent::ServerDown { pool: pool_name, server: server_name, check, up, servers }
            }
            Change::Stopping => HealthEvent::ServerStopping { pool: pool_name, server: server_name, check },
            Change::Running => HealthEvent::ServerRunning { pool: pool_name, server: server_name, check },
            Change::Unable => HealthEvent::CheckNotRun { pool: pool_name, server: server_name, check },
        };
        // The view comes first: no connection may choose the server after its sessions were closed.
        if matches!(change, Change::Up | Change::Down | Change::Stopping | Change::Running) {
            self.publish(now);
        }
        match change {
            Change::Up => {
                self.shut_down_backups(pool, server, id);
                self.consider_rebalance(id.pool, now);
            }
            Change::Down if server.shutdown_sessions_when_down => {
                self.outputs.push_back(Output::ShutdownSessions { server: id, cause: Cause::Down });
            }
            _ => {}
        }
        if change == Change::Down {
            self.stop_rebalance(id.pool);
        }
        self.report(event);
        self.tell_standing(id, &Because::Check(found));
        self.report_pool(id.pool);
        self.tell_followers(now);
    }

    /// Logs how a server stands, if that is news.
    pub(super) fn tell_standing(&mut self, id: ServerId, because: &Because<'_>) {
        let plan = Arc::clone(&self.plan);
        let Some((pool, _, health)) = place(&plan, &mut self.pools, id) else { return };
        let index = usize::from(id.server.0);
        let (Some(machine), Some(settings)) = (health.servers.get_mut(index), health.settings.get(index))
        else {
            return;
        };
        let standing = machine.standing(settings);
        let Some(turn) = Turn::between(machine.tell(standing), standing) else { return };
        let line = server_state::turned(id, turn, because, health.working(pool), &self.serving);
        self.outputs.extend(line.map(Output::Log));
    }

    /// How a server stands that was not there before is no news.
    pub(super) fn forget_standing(&mut self, id: ServerId) {
        let health = self.pools.get_mut(usize::from(id.pool.0));
        let index = usize::from(id.server.0);
        let known = health.and_then(|health| health.servers.get_mut(index).zip(health.settings.get(index)));
        if let Some((machine, settings)) = known {
            machine.tell(machine.standing(settings));
        }
    }

    /// Tells what became of servers because of the ones they track; the view has it already.
    pub(super) fn tell_followers(&mut self, now: Instant) {
        for (id, moved) in std::mem::take(&mut self.followed) {
            self.tell_follower(id, moved, now);
            self.report_pool(id.pool);
        }
    }

    fn tell_follower(&mut self, id: ServerId, moved: bool, now: Instant) {
        let plan = Arc::clone(&self.plan);
        let Some((pool, server, health)) = place(&plan, &mut self.pools, id) else { return };
        let Some(machine) = health.servers.get_mut(usize::from(id.server.0)) else { return };
        machine.moved(server, now);
        let usable = machine.usable();
        let (up, servers) = health.count();
        let leader = server.track.map(|leader| self.name_of(leader)).unwrap_or_default();
        self.tell_standing(id, &Because::Leader(&leader));
        if !moved {
            return;
        }
        let check = format!("via {leader}");
        let (name, server_name) = (pool.name.clone(), server.name.clone());
        if usable {
            self.shut_down_backups(pool, server, id);
            self.consider_rebalance(id.pool, now);
            self.report(HealthEvent::ServerUp { pool: name, server: server_name, check, up, servers });
        } else {
            if server.shutdown_sessions_when_down {
                self.outputs.push_back(Output::ShutdownSessions { server: id, cause: Cause::Down });
            }
            self.stop_rebalance(id.pool);
            self.report(HealthEvent::ServerDown { pool: name, server: server_name, check, up, servers });
            if let Some(found) = server.track.and_then(|leader| self.latest_status(leader)) {
                self.consider_closing(id, found, now);
            }
        }
    }

    fn latest_status(&self, id: ServerId) -> Option<CheckStatus> {
        let health = self.pools.get(usize::from(id.pool.0))?;
        let machine = health.servers.get(usize::from(id.server.0))?;
        machine.latest().map(|(verdict, _)| verdict.status)
    }

    /// `on-marked-up shutdown-backup-sessions`.
    fn shut_down_backups(&mut self, pool: &Pool, server: &Server, id: ServerId) {
        if !server.shutdown_backup_sessions_when_up || server.backup {
            return;
        }
        let backups =
            (0..).map(crate::plan::ServerIndex).zip(&pool.servers).filter(|(_, other)| other.backup);
        for (index, _) in backups {
            let server = ServerId { server: index, ..id };
            self.outputs.push_back(Output::ShutdownSessions { server, cause: Cause::Up });
        }
    }

    /// `option log-health-checks`.
    fn report_check(&mut self, pool: &Pool, server: &Server, id: ServerId, found: &Verdict) {
        let health = self.pools.get(usize::from(id.pool.0));
        let index = usize::from(id.server.0);
        let known = health.and_then(|health| health.servers.get(index).zip(health.settings.get(index)));
        let (Some((machine, settings)), Some(plan)) = (known, &server.check) else { return };
        let progress = machine.progress(plan, settings.weight);
        let line = server_state::checked(id, Checker::Health, found, &progress, &self.plan);
        self.outputs.extend(line.map(Output::Log));
        self.report(HealthEvent::CheckEnded {
            pool: pool.name.clone(),
            server: server.name.clone(),
            backup: server.backup,
            passed: found.status.passed(),
            conditionally: found.status == CheckStatus::L7Okc,
            check: found.to_string(),
            progress,
        });
    }

    /// The same of an agent.
    fn report_agent(&mut self, id: ServerId, found: &Verdict, down: bool) {
        let weight = self
            .pools
            .get(usize::from(id.pool.0))
            .and_then(|health| health.settings.get(usize::from(id.server.0)).map(|settings| settings.weight));
        let progress = match (down, weight) {
            (true, _) => "0/1 DOWN",
            (false, Some(0)) => "1/1 DRAIN",
            (false, _) => "1/1 UP",
        };
        let line = server_state::checked(id, Checker::Agent, found, progress, &self.plan);
        self.outputs.extend(line.map(Output::Log));
    }
}

/// Everything that is known of a server.
fn place<'a, 'b>(
    plan: &'a Plan,
    pools: &'b mut [PoolHealth],
    id: ServerId,
) -> Option<(&'a Pool, &'a Server, &'b mut PoolHealth)> {
    let index = usize::from(id.pool.0);
    Some((plan.pools.get(index)?, plan.server(id)?, pools.get_mut(index)?))
}

#[cfg(test)]
mod tests;
