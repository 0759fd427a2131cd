//! What health is worth in an election: a priority in proportion to what this node reaches.

use super::track::Tracking;
use crate::engine::Share;
use crate::plan::Priority;

/// The least priority of a node that reaches something: above that of one that reaches nothing.
const SERVES: u8 = Priority::LOWEST.0 + 1;

/// Lowers a priority to this node's `share` of what its group reaches. An owner's stays, as with everything tracked.
pub(super) fn apply(share: Option<Share>, mut tracking: Tracking) -> Tracking {
    let Priority(before) = tracking.priority;
    let Some(Share { reached, of, peer }) = share.filter(|_| tracking.priority != Priority::OWNER) else {
        return tracking;
    };
    let part = usize::from(before) * reached / of.max(1);
    let least = if reached > 0 { SERVES } else { Priority::LOWEST.0 };
    let after = u8::try_from(part).unwrap_or(before).max(least).min(before);
    tracking.priority = Priority(after);
    let servers = if of == 1 { "server" } else { "servers" };
    tracking.changes.push(format!(
        "reaches {reached} of {of} {servers}, and {peer} reaches what it does not: -{}",
        before - after
    ));
    tracking
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn applied(priority: u8, reached: usize, of: usize) -> (u8, Vec<String>) {
        let tracking = Tracking {
            priority: Priority(priority),
            faults: Vec::new(),
            awaited: Vec::new(),
            changes: Vec::new(),
        };
        let share = Share { reached, of, peer: IpAddr::from([10, 0, 0, 9]) };
        let Tracking { priority, changes, .. } = apply(Some(share), tracking);
        (priority.0, changes)
    }

    #[test]
    fn a_priority_follows_the_share_and_says_so() {
        let (priority, changes) = applied(150, 1, 3);
        assert_eq!(priority, 50);
        assert_eq!(changes, ["reaches 1 of 3 servers, and 10.0.0.9 reaches what it does not: -100"]);
    }

    #[test]
    fn who_serves_beats_who_cannot() {
        assert_eq!([applied(254, 0, 3).0, applied(3, 1, 3).0, applied(1, 1, 3).0], [1, 2, 1]);
    }

    #[test]
    fn an_owner_stays_one() {
        assert_eq!(applied(255, 0, 3), (255, Vec::new()));
    }
}
