//! Watches whether connects to servers succeed, for servers with `observe layer4`.
//!
//! Counting is left to the counters of a server, so that a flood of failures is no flood of reports: there is one for
//! `error-limit` failures in a row, and none before the last one was looked at.

use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;

use mainstay_engine::plan::{Plan, ServerId};

use super::shared::Slot;

/// Who is told.
type Report = Box<dyn Fn(ServerId) + Send + Sync>;

/// Tells of servers to which connects fail.
#[derive(Default)]
pub(super) struct Observer(OnceLock<Report>);

impl Observer {
    /// Has `report` called from now on; the first one counts.
    pub(super) fn set(&self, report: Report) {
        let _ = self.0.set(report);
    }

    /// Notes how a connect ended.
    pub(super) fn note(&self, plan: &Plan, slot: &Slot, connected: bool) {
        let Some(observe) = plan.server(slot.server).and_then(|server| server.observe) else { return };
        if connected {
            slot.load.failed_in_a_row.store(0, Ordering::Relaxed);
        } else if slot.load.count_failed_in_a_row(observe.limit)
            && let Some(report) = self.0.get()
        {
            report(slot.server);
        }
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observer").finish_non_exhaustive()
    }
}
