//! The lines that say that a server came up or went down, or that none is left.
//!
//! Owns [`ServerLine`]. Nothing is requeued here: connections that wait, wait for any server of their pool.

use std::fmt::Write as _;

use crate::health::check::Verdict;
use crate::plan::log::Severity;
use crate::plan::{PoolId, ServerId};
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

/// The line that says that checks took a server down or brought it up. So many active and backup servers work now, and
/// `serving` is what came of it.
pub fn change(
    id: ServerId,
    up: bool,
    verdict: &Verdict,
    (active, backup): (usize, usize),
    serving: &Serving,
) -> Option<ServerLine> {
    let plan = &serving.plan;
    let pool = plan.pools.get(usize::from(id.pool.0))?;
    let view = serving.pools.get(usize::from(id.pool.0))?;
    let server = plan.server(id)?;
    let kind = if server.backup { "Backup " } else { "" };
    let state = if up { "UP" } else { "DOWN" };
    let mut text = format!(
        "{kind}Server {}/{} is {state}, reason: {}",
        pool.name,
        server.name,
        verdict.status.sentence()
    );
    if let Some(code) = verdict.code {
        let _ = write!(text, ", code: {code}");
    }
    if !verdict.detail.is_empty() {
        let _ = write!(text, ", info: \"{}\"", verdict.detail);
    }
    let _ = write!(text, ", check duration: {}ms. ", verdict.took.as_millis());
    let place = if up { "online" } else { "left" };
    let _ = write!(text, "{active} active and {backup} backup servers {place}.");
    if active == 0 && backup > 0 {
        text.push_str(" Running on backup.");
    }
    let waiting = view.load.queued.load(std::sync::atomic::Ordering::Relaxed);
    let _ = if up {
        write!(text, " 0 sessions requeued, {waiting} total in queue.")
    } else {
        let sessions = view.servers.get(usize::from(id.server.0)).map_or(0, |view| view.load.sessions());
        write!(text, " {sessions} sessions active, 0 requeued, {waiting} remaining in queue.")
    };
    let severity = if up { Severity::Notice } else { Severity::Alert };
    Some(ServerLine { pool: id.pool, severity, text })
}

/// The line that says that no server of a pool is left.
pub fn no_server(pool: PoolId, serving: &Serving) -> Option<ServerLine> {
    let name = &serving.plan.pools.get(usize::from(pool.0))?.name;
    let text = format!("proxy {name} has no server available!");
    Some(ServerLine { pool, severity: Severity::Emergency, text })
}
