//! The lines about servers: that one came up or went down, was taken out of service or back, how its checks end, that none
//! is left.
//!
//! Owns [`ServerLine`]. Nothing is requeued here: connections that wait, wait for any server of their pool.

use std::fmt::Write as _;

use crate::health::check::{CheckStatus, Verdict};
use crate::health::standing::Turn;
use crate::plan::log::Severity;
use crate::plan::{Plan, PoolId, ServerId};
use crate::serving::Serving;

/// A line about a pool's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLine {
    /// Whose targets get it.
    pub pool: PoolId,
    /// How important it is.
    pub severity: Severity,
    /// What it says.
    pub text: String,
}

/// Why a server stands otherwise than before.
#[derive(Clone, Copy, Debug)]
pub enum Because<'a> {
    /// Of a check, or of what its agent said.
    Check(&'a Verdict),
    /// Somebody ordered it.
    Order,
    /// The one that it tracks does, `pool/server`.
    Leader(&'a str),
}

/// Who looked at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// A check.
    Health,
    /// Its agent.
    Agent,
}

/// The line that says what became of a server. So many active and backup servers work now, and `serving` is what came of
/// it.
pub fn turned(
    id: ServerId,
    turn: Turn,
    because: &Because<'_>,
    (active, backup): (usize, usize),
    serving: &Serving,
) -> Option<ServerLine> {
    let plan = &serving.plan;
    let pool = plan.pools.get(usize::from(id.pool.0))?;
    let view = serving.pools.get(usize::from(id.pool.0))?;
    let server = plan.server(id)?;
    let kind = if server.backup { "Backup " } else { "" };
    let via = if let Because::Leader(leader) = because { format!(" via {leader}") } else { String::new() };
    let reason = match because {
        // It was told already.
        Because::Check(_) if pool.log_checks => String::new(),
        Because::Check(verdict) => reason(verdict),
        Because::Order => ", changed from CLI".to_owned(),
        Because::Leader(_) => via.clone(),
    };
    let works = |up| if up { "UP" } else { "DOWN" };
    let forced = if via.is_empty() { "forced " } else { "" };
    let (what, servers) = match turn {
        Turn::Up => (format!("is UP{reason}"), Some("online")),
        Turn::Down { .. } => (format!("is DOWN{reason}"), Some("left")),
        Turn::Stopping => (format!("is stopping{reason}"), Some("online")),
        Turn::EntersMaintenance { up: true } => (format!("is going DOWN for maintenance{via}"), Some("left")),
        Turn::EntersMaintenance { up: false } => (format!("was DOWN and now enters maintenance{via}"), None),
        Turn::LeavesMaintenance { up, drains } => {
            let rest = if drains { "DRAIN" } else { "READY" };
            (format!("is {}/{rest} (leaving {forced}maintenance)", works(up)), None)
        }
        Turn::Drains { up } => (format!("enters drain state{via}"), Some(if up { "online" } else { "left" })),
        Turn::Fills { up } => (format!("is {} (leaving forced drain)", works(up)), None),
    };
    let mut text = format!("{kind}Server {}/{} {what}.", pool.name, server.name);
    if let Some(place) = servers {
        let _ = write!(text, " {active} active and {backup} backup servers {place}.");
        if active == 0 && backup > 0 {
            text.push_str(" Running on backup.");
        }
        let waiting = view.load.queued.load(std::sync::atomic::Ordering::Relaxed);
        let _ = if place == "online" {
            write!(text, " 0 sessions requeued, {waiting} total in queue.")
        } else {
            let sessions = view.servers.get(usize::from(id.server.0)).map_or(0, |view| view.load.sessions());
            write!(text, " {sessions} sessions active, 0 requeued, {waiting} remaining in queue.")
        };
    }
    let alarming = matches!(turn, Turn::Down { stopping: false } | Turn::EntersMaintenance { up: true });
    let severity = if alarming { Severity::Alert } else { Severity::Notice };
    Some(ServerLine { pool: id.pool, severity, text })
}

/// The line that says how a check ended, and how far the server is on its way (`option log-health-checks`).
pub fn checked(
    id: ServerId,
    checker: Checker,
    verdict: &Verdict,
    progress: &str,
    plan: &Plan,
) -> Option<ServerLine> {
    let pool = plan.pools.get(usize::from(id.pool.0))?;
    let server = plan.server(id)?;
    let who = match checker {
        Checker::Health => "Health",
        Checker::Agent => "Agent",
    };
    let backup = if server.backup { "backup " } else { "" };
    let how = match verdict.status {
        CheckStatus::L7Okc => "conditionally succeeded",
        status if status.passed() => "succeeded",
        _ => "failed",
    };
    let text = format!(
        "{who} check for {backup}server {}/{} {how}{}, status: {progress}.",
        pool.name,
        server.name,
        reason(verdict)
    );
    Some(ServerLine { pool: id.pool, severity: Severity::Notice, text })
}

fn reason(verdict: &Verdict) -> String {
    let mut text = format!(", reason: {}", verdict.status.sentence());
    if verdict.status.has_code() {
        let _ = write!(text, ", code: {}", verdict.code.unwrap_or_default());
    }
    if !verdict.detail.is_empty() {
        let _ = write!(text, ", info: \"{}\"", verdict.detail);
    }
    let _ = write!(text, ", check duration: {}ms", verdict.took.as_millis());
    text
}

/// The line that says that no server of a pool is left.
pub fn no_server(id: PoolId, serving: &Serving) -> Option<ServerLine> {
    let pool = serving.plan.pools.get(usize::from(id.0))?;
    // A `listen` section is both.
    let both = serving.plan.frontends.iter().any(|frontend| frontend.id == pool.id);
    let kind = if both { "proxy" } else { "backend" };
    let text = format!("{kind} {} has no server available!", pool.name);
    Some(ServerLine { pool: id, severity: Severity::Emergency, text })
}
