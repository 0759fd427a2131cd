//! Who is told when a router or a group changes its state.

use super::ScriptUser;

/// What is run when a router or a group changes its state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// On becoming active (`notify_master`).
    pub master: Option<NotifyScript>,
    /// On becoming a backup (`notify_backup`).
    pub backup: Option<NotifyScript>,
    /// On a fault (`notify_fault`).
    pub fault: Option<NotifyScript>,
    /// On letting go for good (`notify_stop`).
    pub stop: Option<NotifyScript>,
    /// After each of these, with four more arguments that say which (`notify`).
    pub any: Option<NotifyScript>,
    /// When an active router hears one with a lower claim (`notify_master_rx_lower_pri`).
    pub lower_priority: Option<NotifyScript>,
    /// Whether changes of the priority are written to FIFOs (`notify_priority_changes`).
    pub priority_changes: bool,
}

impl Notify {
    /// Every program in it.
    pub fn scripts(&self) -> impl Iterator<Item = &NotifyScript> {
        [&self.master, &self.backup, &self.fault, &self.stop, &self.any, &self.lower_priority]
            .into_iter()
            .flatten()
    }
}

/// A program that is told about changes, run without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyScript {
    /// Program and arguments; never empty.
    pub arguments: Vec<String>,
    /// Runs as this user and group instead of the daemon's.
    pub user: Option<ScriptUser>,
}

/// A FIFO that every change is written to (`notify_fifo`, `vrrp_notify_fifo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifyFifo {
    /// Where it is; it is made if nothing is there.
    pub path: String,
    /// Who owns it if it is made.
    pub user: Option<ScriptUser>,
    /// A program that reads it as long as the daemon runs; the path is its last argument.
    pub script: Option<NotifyScript>,
}
