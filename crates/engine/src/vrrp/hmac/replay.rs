//! Which numbers of which senders were seen, so that a recorded advert does not count again.
//!
//! Owns [`Marks`]. They move for genuine adverts only: whoever has no key can neither set a mark nor push one out.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Sequence;

/// Senders remembered beside the configured peers, as many as Keepalived remembers: a multicast group has few members.
const STRANGERS: usize = 4;

/// The highest number accepted from each sender.
#[derive(Debug)]
pub(super) struct Marks {
    /// Senders that are never pushed out: unicast peers.
    peers: Vec<IpAddr>,
    marks: BTreeMap<IpAddr, Mark>,
    /// Counts acceptances, to find the sender not heard for longest.
    accepted: u64,
}

#[derive(Debug)]
struct Mark {
    highest: Sequence,
    used: u64,
}

impl Marks {
    /// No marks yet. Those of `peers` are going to be kept whatever happens.
    pub(super) fn new(peers: Vec<IpAddr>) -> Self {
        Self { peers, marks: BTreeMap::new(), accepted: 0 }
    }

    /// Accepts the number of a genuine advert if it is new, and remembers it. Marks that are not `sensible` any more
    /// are forgotten: a clock was stepped.
    pub(super) fn accept(
        &mut self,
        sender: IpAddr,
        sequence: Sequence,
        sensible: impl Fn(Sequence) -> bool,
    ) -> bool {
        let known = self.marks.get(&sender).map(|mark| mark.highest);
        if known.filter(|&highest| sensible(highest)).is_some_and(|highest| !sequence.is_after(highest)) {
            return false;
        }
        if known.is_none() && !self.peers.contains(&sender) {
            self.make_room();
        }
        self.accepted += 1;
        self.marks.insert(sender, Mark { highest: sequence, used: self.accepted });
        true
    }

    /// Forgets the stranger not heard for longest, if there are as many as are remembered.
    fn make_room(&mut self) {
        let strangers = || self.marks.iter().filter(|(sender, _)| !self.peers.contains(sender));
        if strangers().count() < STRANGERS {
            return;
        }
        let oldest = strangers().min_by_key(|(_, mark)| mark.used).map(|(sender, _)| *sender);
        if let Some(oldest) = oldest {
            self.marks.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn sender(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
    }

    fn accepts(marks: &mut Marks, number: u8, sequence: u64) -> bool {
        marks.accept(sender(number), Sequence::from_bits(sequence), |_| true)
    }

    #[test]
    fn a_number_counts_once_and_in_order() {
        let mut marks = Marks::new(Vec::new());
        let verdicts = [5, 5, 4, 6, 6].map(|sequence| accepts(&mut marks, 1, sequence));
        assert_eq!(verdicts, [true, false, false, true, false]);
        assert!(accepts(&mut marks, 2, 1), "every sender counts for itself");
    }

    #[test]
    fn the_sender_not_heard_for_longest_is_forgotten() {
        let mut marks = Marks::new(Vec::new());
        assert!((1..=4).all(|number| accepts(&mut marks, number, 10)));
        assert!(accepts(&mut marks, 1, 11), "the first is now the latest");
        assert!(!accepts(&mut marks, 2, 9), "a refusal is no use");
        assert!(accepts(&mut marks, 5, 10));
        assert_eq!(marks.marks.len(), STRANGERS);
        assert!(!accepts(&mut marks, 1, 11) && !accepts(&mut marks, 3, 10) && !accepts(&mut marks, 4, 10));
        assert!(accepts(&mut marks, 2, 9), "2 was forgotten");
    }

    #[test]
    fn strangers_never_push_a_peer_out() {
        let mut marks = Marks::new(vec![sender(1), sender(2)]);
        assert!(accepts(&mut marks, 1, 10) && accepts(&mut marks, 2, 10));
        assert!((3..=200).all(|number| accepts(&mut marks, number, 10)));
        assert_eq!(marks.marks.len(), 2 + STRANGERS);
        assert!(!accepts(&mut marks, 1, 10) && !accepts(&mut marks, 2, 10));
    }

    #[test]
    fn a_mark_that_is_not_sensible_any_more_is_forgotten() {
        let mut marks = Marks::new(Vec::new());
        assert!(accepts(&mut marks, 1, 1000));
        assert!(!accepts(&mut marks, 1, 10));
        let sequence = Sequence::from_bits(10);
        assert!(marks.accept(sender(1), sequence, |highest| highest.to_bits() < 100));
        assert!(!accepts(&mut marks, 1, 10) && accepts(&mut marks, 1, 11));
    }
}
