//! Who is told when routers and groups move: programs and FIFOs, in Keepalived's words.
//!
//! Owns [`Notification`] and what becomes of a move. Running a program and writing to a FIFO are the shell's.

use std::collections::VecDeque;

use crate::engine::Output;
use crate::plan::{Notify, NotifyScript, Plan, Priority, Router, SyncGroup};

/// What a router or a group moved to, as far as others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It owns the addresses.
    Active,
    /// It listens to who does.
    Backup,
    /// It cannot take part.
    Fault,
    /// It takes no part any more.
    Stopped,
}

impl Moved {
    /// Keepalived's name for it.
    const fn name(self) -> &'static str {
        match self {
            Self::Active => "MASTER",
            Self::Backup => "BACKUP",
            Self::Fault => "FAULT",
            Self::Stopped => "STOP",
        }
    }
}

/// Something that others are told about a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What happened.
    pub(crate) what: What,
    /// The router's priority.
    pub(crate) priority: Priority,
}

/// What happened to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// It moved.
    Moved(Moved),
    /// It is active and heard a router with a lower claim.
    HeardLowerPriority,
    /// What it tracks changed its priority.
    PriorityChanged {
        /// Whether it was active then.
        active: bool,
    },
}

/// Everybody who is told about one move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Programs to start, one after the other; none waits for the end of the one before.
    pub commands: Vec<NotifyScript>,
    /// What to write to every FIFO, with its line end.
    pub line: String,
}

/// Makes notifications of what routers and groups have to tell.
#[derive(Debug)]
pub(crate) struct Notifier {
    has_fifos: bool,
}

impl Notifier {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { has_fifos: !plan.notify_fifos.is_empty() }
    }

    /// Tells what happened to a router.
    pub(crate) fn tell_router(&self, router: &Router, notice: Notice, outputs: &mut VecDeque<Output>) {
        let (notify, priority) = (&router.notify, notice.priority.0);
        let (name, scripts) = match notice.what {
            What::Moved(moved) => (moved.name(), scripts(notify, moved, "INSTANCE", &router.name, priority)),
            What::HeardLowerPriority => (
                "MASTER_RX_LOWER_PRI",
                notify.lower_priority.iter().map(|script| command(script, &[])).collect(),
            ),
            What::PriorityChanged { .. } if !notify.priority_changes => return,
            What::PriorityChanged { active: true } => ("MASTER_PRIORITY", Vec::new()),
            What::PriorityChanged { active: false } => ("BACKUP_PRIORITY", Vec::new()),
        };
        self.tell(scripts, format!("INSTANCE \"{}\" {name} {priority}\n", router.name), outputs);
    }

    /// Tells where all members of a group moved. A group has no priority, which Keepalived writes as 0.
    pub(crate) fn tell_group(&self, group: &SyncGroup, moved: Moved, outputs: &mut VecDeque<Output>) {
        let scripts = scripts(&group.notify, moved, "GROUP", &group.name, 0);
        self.tell(scripts, format!("GROUP \"{}\" {} 0\n", group.name, moved.name()), outputs);
    }

    fn tell(&self, commands: Vec<NotifyScript>, line: String, outputs: &mut VecDeque<Output>) {
        if self.has_fifos || !commands.is_empty() {
            outputs.push_back(Output::Notify(Notification { commands, line }));
        }
    }
}

/// What is run for a move: the program for it, then the one for all.
fn scripts(notify: &Notify, moved: Moved, kind: &str, name: &str, priority: u8) -> Vec<NotifyScript> {
    let own = match moved {
        Moved::Active => &notify.master,
        Moved::Backup => &notify.backup,
        Moved::Fault => &notify.fault,
        Moved::Stopped => &notify.stop,
    };
    let own = own.iter().map(|script| command(script, &[]));
    let priority = priority.to_string();
    let more = [kind, name, moved.name(), &priority];
    own.chain(notify.any.iter().map(|script| command(script, &more))).collect()
}

fn command(script: &NotifyScript, more: &[&str]) -> NotifyScript {
    let mut command = script.clone();
    command.arguments.extend(more.iter().map(|word| (*word).to_owned()));
    command
}
