//! Keywords about whom to tell when something changes.

use super::{Keyword, Place, Values, acted_on, no_effect, not_yet};

/// `COMMAND [USER [GROUP]]`.
const COMMAND: Values = Values::Words(1, 3);

pub(super) const INSTANCE: &[Keyword] = {
    use Place::Instance as P;
    &[
        acted_on(P, &["notify_master"], COMMAND, "", "run on becoming active"),
        acted_on(P, &["notify_backup"], COMMAND, "", "run on becoming a backup"),
        acted_on(P, &["notify_fault"], COMMAND, "", "run on a fault"),
        acted_on(P, &["notify_stop"], COMMAND, "", "run when the daemon stops"),
        acted_on(P, &["notify"], COMMAND, "", "run on all of these, with four more arguments"),
        acted_on(
            P,
            &["notify_master_rx_lower_pri"],
            COMMAND,
            "",
            "run when an active router hears one with a lower claim",
        ),
        acted_on(
            P,
            &["notify_priority_changes"],
            Values::Flag,
            "vrrp_notify_priority_changes",
            "changes of the priority are written to FIFOs",
        ),
        not_yet(P, &["notify_deleted"], "it is for instances that a reload removes, and there is no reload"),
    ]
};

pub(super) const GROUP: &[Keyword] = {
    use Place::SyncGroup as P;
    &[
        acted_on(P, &["notify_master"], COMMAND, "", "run when all members are active"),
        acted_on(P, &["notify_backup"], COMMAND, "", "run when all members are backups"),
        acted_on(P, &["notify_fault"], COMMAND, "", "run when all members are in a fault"),
        acted_on(P, &["notify_stop"], COMMAND, "", "run when all members have stopped"),
        acted_on(P, &["notify"], COMMAND, "", "run on all of these, with four more arguments"),
        acted_on(
            P,
            &["notify_priority_changes"],
            Values::Flag,
            "vrrp_notify_priority_changes",
            "changes of members' priorities are written to FIFOs",
        ),
        not_yet(P, &["notify_deleted"], "it is for groups that a reload removes, and there is no reload"),
    ]
};

pub(super) const GLOBAL: &[Keyword] = {
    use Place::GlobalDefinitions as P;
    &[
        acted_on(
            P,
            &["notify_fifo", "vrrp_notify_fifo"],
            COMMAND,
            "",
            "a FIFO that every change is written to, and who owns it",
        ),
        acted_on(
            P,
            &["notify_fifo_script", "vrrp_notify_fifo_script"],
            COMMAND,
            "",
            "a program that reads that FIFO as long as the daemon runs",
        ),
        acted_on(
            P,
            &["vrrp_notify_priority_changes"],
            Values::Flag,
            "no",
            "changes of priorities are written to FIFOs",
        ),
        no_effect(P, &["fifo_write_vrrp_states_on_reload"], "there is no reload"),
    ]
};
