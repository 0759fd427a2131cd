//! Sync groups: virtual routers that are active, or not, together.

use super::{Notify, RouterId};

/// Virtual routers that move together (`vrrp_sync_group`). What the group tracks is in the list of each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncGroup {
    /// The group's name.
    pub name: String,
    /// Its routers, in the order of the group; never empty, and each in one group only.
    pub members: Vec<RouterId>,
    /// What is run when it moves.
    pub notify: Notify,
}
