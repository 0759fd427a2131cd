//! What one router leaves to its sync group, and does when the group says so.
//!
//! Owns [`Membership`]. A member that could take over waits for the others; it listens on meanwhile, and an advert that it
//! follows ends its claim.

use super::hand_over::{HandOver, Purpose};
use super::{Obstacle, Router, State};
use crate::time::Instant;
use crate::vrrp::notify::Moved;

/// A router's part in its sync group.
#[derive(Debug, Default)]
pub(super) struct Membership {
    /// What keeps another member from taking part.
    pub(super) obstacle: Option<Obstacle>,
    /// Since when it could take over, as far as it alone is concerned.
    could_take_over_since: Option<Instant>,
}

/// How a member stands, as far as its group is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It owns its addresses.
    Active,
    /// It is a backup.
    Backup {
        /// Since when it could take over.
        could_take_over_since: Option<Instant>,
    },
    /// It gives its addresses away because another member is a backup.
    Following,
    /// It is where the group does not lead it: in a fault, starting, handing over or stopped.
    Apart,
}

impl Router {
    /// Makes it a member of a sync group.
    pub(crate) fn join_group(&mut self) {
        self.membership = Some(Membership::default());
    }

    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        match self.state {
            State::Active => Standing::Active,
            State::Backup => Standing::Backup {
                could_take_over_since: self.membership.as_ref().and_then(|own| own.could_take_over_since),
            },
            State::HandingOver(HandOver { purpose: Purpose::Follow, .. }) => Standing::Following,
            State::Initialize | State::Fault | State::HandingOver(_) | State::Stopped => Standing::Apart,
        }
    }

    /// Where it moved, as far as others are told.
    pub(crate) fn moved(&self) -> Option<Moved> {
        match self.state {
            State::Initialize => None,
            State::Active | State::HandingOver(_) => Some(Moved::Active),
            State::Backup => Some(Moved::Backup),
            State::Fault => Some(Moved::Fault),
            State::Stopped => Some(Moved::Stopped),
        }
    }

    /// Takes in what keeps another member from taking part; `None` if nothing does.
    pub(crate) fn handle_group_obstacle(&mut self, obstacle: Option<Obstacle>, now: Instant) {
        let Some(membership) = &mut self.membership else { return };
        membership.obstacle = obstacle;
        self.start_over_if_overslept(now);
        // Also without a change: the router may have come to a state since that it cannot stay in.
        self.settle(now);
        self.check_invariants();
    }

    /// Takes over, because every member of the group could.
    pub(crate) fn become_active_with_group(&mut self, now: Instant) {
        match self.standing() {
            Standing::Backup { .. } => self.take_over(now),
            Standing::Following => self.stay_active("because its group takes over again", now),
            Standing::Active | Standing::Apart => {}
        }
        self.check_invariants();
    }

    /// Gives its addresses away if it has them, because another member is a backup.
    pub(crate) fn follow_to_backup(&mut self, why: &str, now: Instant) {
        self.start_over_if_overslept(now);
        if self.state == State::Active {
            if self.has_peers() {
                self.hand_over(Purpose::Follow, now);
            } else {
                self.become_backup(why.to_owned(), now);
            }
        }
        self.check_invariants();
    }

    /// Announces its addresses because another member heard a router with a lower claim, as with Keepalived.
    pub(crate) fn announce_with_group(&mut self, now: Instant) {
        if self.state == State::Active {
            self.announce_against_lower_priority(now);
        }
    }

    /// It could take over, and listens on until the others of its group could too.
    pub(super) fn wait_for_group(&mut self, now: Instant) {
        self.listen_for(self.master_down(), now);
        if let Some(membership) = &mut self.membership {
            membership.could_take_over_since = Some(now);
        }
    }

    /// It has no claim to take over any more.
    pub(super) fn expect_nothing_of_group(&mut self) {
        if let Some(membership) = &mut self.membership {
            membership.could_take_over_since = None;
        }
    }

    /// Whether it could take over but for its group.
    pub(super) fn waits_for_group(&self) -> bool {
        self.membership.as_ref().is_some_and(|own| own.could_take_over_since.is_some())
    }
}
