//! Which complaints were made lately, so that a peer that is wrong ten times a second is named once a minute.
//!
//! Owns [`Complaints`]. What a complaint says is decided elsewhere; this only decides whether it is said again.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::limits;
use crate::time::Instant;

/// The complaints of one router, by subject and the peer they are about.
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    made: BTreeMap<(&'static str, IpAddr), Complaint>,
}

#[derive(Debug)]
struct Complaint {
    detail: String,
    at: Instant,
}

impl Complaints {
    /// Whether to say now that `peer` does `detail`, which is of kind `subject`; remembers it if so.
    pub(crate) fn worth_saying(
        &mut self,
        subject: &'static str,
        peer: IpAddr,
        detail: &str,
        now: Instant,
    ) -> bool {
        if let Some(last) = self.made.get_mut(&(subject, peer)) {
            let quiet =
                if last.detail == detail { limits::COMPLAINT_AGAIN } else { limits::COMPLAINT_CHANGED };
            if now.since(last.at) < quiet {
                return false;
            }
            *last = Complaint { detail: detail.to_owned(), at: now };
            return true;
        }
        if self.made.len() >= limits::COMPLAINTS {
            self.made.retain(|_, complaint| now.since(complaint.at) < limits::COMPLAINT_AGAIN);
        }
        if self.made.len() >= limits::COMPLAINTS {
            return false;
        }
        self.made.insert((subject, peer), Complaint { detail: detail.to_owned(), at: now });
        true
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));

    fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    #[test]
    fn the_same_is_said_once_a_minute_and_a_change_after_a_second() {
        let mut complaints = Complaints::default();
        assert!(complaints.worth_saying("interval", PEER, "2 s", at(0)));
        assert!(!complaints.worth_saying("interval", PEER, "2 s", at(59_999)));
        assert!(complaints.worth_saying("password", PEER, "", at(500)), "another subject");
        assert!(
            complaints.worth_saying("interval", Ipv4Addr::LOCALHOST.into(), "2 s", at(500)),
            "another peer"
        );
        assert!(!complaints.worth_saying("interval", PEER, "3 s", at(999)));
        assert!(complaints.worth_saying("interval", PEER, "3 s", at(1000)));
        assert!(complaints.worth_saying("interval", PEER, "3 s", at(61_000)));
    }

    #[test]
    fn a_flood_of_strangers_is_bounded() {
        let mut complaints = Complaints::default();
        let said = (0..10_000)
            .filter(|&n| complaints.worth_saying("type", Ipv4Addr::from(n).into(), "", at(1)))
            .count();
        assert_eq!(said, limits::COMPLAINTS);
        assert!(complaints.worth_saying("type", PEER, "", at(60_001)), "room again after a minute");
    }
}
