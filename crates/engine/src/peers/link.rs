//! One link: when it is dialled, and what its end says about the peer's process.
//!
//! A process that ends has its links closed by its kernel, and nobody listens any more: a new one is refused. Either
//! alone is a network's everyday; both in a row, within [`GONE_WITHIN`], are worth a question to the router itself.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::LinkEnd;
use super::view::View;
use crate::jitter::Jitter;
use crate::limits::COMPLAINT_AGAIN;
use crate::plan::RouterId;
use crate::time::Instant;

/// The first wait before a peer is dialled again; doubled up to [`DIAL_AGAIN_MAX`].
const DIAL_AGAIN: Duration = Duration::from_millis(250);

/// The longest wait before a peer is dialled again. A peer that starts dials this node, which is then dialled at once.
const DIAL_AGAIN_MAX: Duration = Duration::from_secs(10);

/// A link that was up for less than this is not dialled at once when it ends, so that no pair of nodes dials in a loop.
const SETTLED: Duration = Duration::from_secs(1);

/// How soon after a link was closed a refusal has to come to be of the same process's end.
const GONE_WITHIN: Duration = Duration::from_millis(500);

/// A kernel that ends a process may close its links before it stops to listen; then it is dialled again after this.
const CLOSING: Duration = Duration::from_millis(5);

/// What follows from the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is dialled again some time.
    Nothing,
    /// It is dialled again at once: was it the process or the network?
    DialNow,
    /// The peer's kernel closed it and then refused it.
    Gone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Dialled at `until`. `closed` is when the peer's kernel closed it, while that may still mean something.
    Resting { until: Instant, closed: Option<Instant> },
    /// Under way.
    Dialling { closed: Option<Instant> },
    /// Both sides proved that they have the key.
    Up,
}

/// What a peer last told of itself.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) view: View,
    pub(super) at: Instant,
    /// How far its clock is ahead of this node's.
    pub(super) clock_ahead_ms: i64,
    pub(super) drift: Vec<String>,
}

/// One link to one peer.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: IpAddr,
    pub(super) interface: String,
    /// The router whose secret is the key.
    pub(super) key: RouterId,
    /// The routers that this node has in common with the peer.
    pub(super) routers: Vec<RouterId>,
    /// How it ended last, unless it is up.
    pub(super) ended: Option<LinkEnd>,
    pub(super) told: Option<Told>,
    /// Since when it has been up, or not.
    pub(super) since: Instant,
    /// Whether no file names the peer.
    learned: bool,
    state: State,
    /// Dials in a row that failed.
    failures: u32,
    heard: Instant,
    key_complaint: Option<Instant>,
}

impl Link {
    pub(super) fn new(
        peer: IpAddr,
        interface: String,
        key: RouterId,
        router: RouterId,
        learned: bool,
        now: Instant,
    ) -> Self {
        let state = State::Resting { until: now, closed: None };
        Self {
            peer,
            interface,
            key,
            routers: vec![router],
            ended: None,
            told: None,
            since: now,
            learned,
            state,
            failures: 0,
            heard: now,
            key_complaint: None,
        }
    }

    /// Whether it is the link to that peer with that key.
    pub(super) fn is(&self, peer: IpAddr, interface: &str, key: RouterId) -> bool {
        self.peer == peer && self.key == key && (self.interface == interface || !is_link_local(peer))
    }

    /// A router has the peer.
    pub(super) fn hear(&mut self, router: RouterId, now: Instant) {
        self.heard = now;
        if !self.routers.contains(&router) {
            self.routers.push(router);
        }
    }

    pub(super) fn is_learned(&self) -> bool {
        self.learned
    }

    pub(super) fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// Whether the peer can be forgotten.
    pub(super) fn is_forgotten(&self, after: Duration, now: Instant) -> bool {
        self.learned
            && matches!(self.state, State::Resting { .. })
            && now.since(self.heard.max(self.since)) > after
    }

    /// When to dial it.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state {
            State::Resting { until, .. } => Some(until),
            State::Dialling { .. } | State::Up => None,
        }
    }

    /// It is being dialled.
    pub(super) fn dial(&mut self, now: Instant) {
        if let State::Resting { closed, .. } = self.state {
            let closed = closed.filter(|&at| now.since(at) <= GONE_WITHIN);
            self.state = State::Dialling { closed };
        }
    }

    /// There is reason to believe that the peer can be reached now.
    pub(super) fn dial_soon(&mut self, now: Instant) {
        self.heard = now;
        if let State::Resting { closed: None, .. } = self.state {
            (self.state, self.failures) = (State::Resting { until: now, closed: None }, 0);
        }
    }

    /// It is up. The peer, if that is news.
    pub(super) fn open(&mut self, now: Instant) -> Option<IpAddr> {
        let State::Dialling { .. } = self.state else { return None };
        (self.state, self.since, self.ended, self.failures) = (State::Up, now, None, 0);
        (self.heard, self.key_complaint) = (now, None);
        Some(self.peer)
    }

    /// It ended, or did not come up.
    pub(super) fn end(&mut self, end: &LinkEnd, jitter: &mut Jitter, now: Instant) -> Verdict {
        self.ended = Some(end.clone());
        let settled = now.since(self.since) >= SETTLED;
        let state = self.state;
        if state == State::Up {
            self.since = now;
        }
        match (state, end) {
            // Nothing was dialled.
            (State::Resting { .. }, _) => return Verdict::Nothing,
            (State::Up, LinkEnd::Closed) if settled => {
                self.state = State::Resting { until: now, closed: Some(now) };
                return Verdict::DialNow;
            }
            (State::Dialling { closed: Some(at) }, LinkEnd::ClosedEarly) if now.since(at) <= GONE_WITHIN => {
                self.state = State::Resting { until: now + CLOSING, closed: Some(at) };
                return Verdict::Nothing;
            }
            _ => {}
        }
        let wait = DIAL_AGAIN.saturating_mul(1 << self.failures.min(10)).min(DIAL_AGAIN_MAX);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Resting { until: now + jitter.spread(wait), closed: None };
        match (state, end) {
            (State::Dialling { closed: Some(at) }, LinkEnd::Refused) if now.since(at) <= GONE_WITHIN => {
                Verdict::Gone
            }
            _ => Verdict::Nothing,
        }
    }

    /// Keeps what the peer told. What differs, if that changed.
    pub(super) fn take_view(
        &mut self,
        view: View,
        clock_ahead_ms: i64,
        drift: Vec<String>,
        now: Instant,
    ) -> Option<Vec<String>> {
        if !self.is_up() {
            return None;
        }
        // A clock that drifts by another second is no news.
        let kinds = |drift: &[String]| -> Vec<String> {
            drift
                .iter()
                .map(|sentence| sentence.chars().filter(|char| !char.is_ascii_digit()).collect())
                .collect()
        };
        let before = self.told.as_ref().map(|told| kinds(&told.drift)).unwrap_or_default();
        let news = (before != kinds(&drift)).then(|| drift.clone());
        self.told = Some(Told { view, at: now, clock_ahead_ms, drift });
        news
    }

    /// What the peer told, unless that is too long ago.
    pub(super) fn fresh_view(&self, fresh: Duration, now: Instant) -> Option<&View> {
        let told = self.told.as_ref().filter(|told| self.is_up() && now.since(told.at) <= fresh);
        told.map(|told| &told.view)
    }

    /// Whether to say again that the keys differ.
    pub(super) fn complains_of_key(&mut self, now: Instant) -> bool {
        let due = self.key_complaint.is_none_or(|at| now.since(at) >= COMPLAINT_AGAIN);
        if due {
            self.key_complaint = Some(now);
        }
        due
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(address) => Ipv6Addr::is_unicast_link_local(&address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    fn link() -> (Link, Jitter) {
        let peer = IpAddr::from([10, 0, 0, 9]);
        (Link::new(peer, "eth0".to_owned(), RouterId(0), RouterId(0), false, at(0)), Jitter::new(1, 25))
    }

    /// A link that has been up for ten seconds.
    fn up() -> (Link, Jitter) {
        let (mut link, jitter) = link();
        link.dial(at(0));
        assert!(link.open(at(1)).is_some());
        (link, jitter)
    }

    fn ends(link: &mut Link, jitter: &mut Jitter, steps: &[(u64, LinkEnd)]) -> Verdict {
        let mut verdict = Verdict::Nothing;
        for (millis, end) in steps {
            link.dial(at(*millis));
            verdict = link.end(end, jitter, at(*millis));
        }
        verdict
    }

    #[test]
    fn closed_and_then_refused_is_gone() {
        use LinkEnd::{Closed, ClosedEarly, Refused};
        let (mut link, mut jitter) = up();
        assert_eq!(ends(&mut link, &mut jitter, &[(9000, Closed)]), Verdict::DialNow);
        assert_eq!(link.due(), Some(at(9000)));
        assert_eq!(ends(&mut link, &mut jitter, &[(9001, Refused)]), Verdict::Gone);
        assert_eq!(ends(&mut link, &mut jitter, &[(9300, Refused)]), Verdict::Nothing, "once");

        let (mut link, mut jitter) = up();
        assert_eq!(ends(&mut link, &mut jitter, &[(9000, Closed), (9001, ClosedEarly)]), Verdict::Nothing);
        assert_eq!(link.due(), Some(at(9006)), "its kernel is still closing");
        assert_eq!(ends(&mut link, &mut jitter, &[(9006, Refused)]), Verdict::Gone);
    }

    #[test]
    fn nothing_else_is_gone() {
        use LinkEnd::{Closed, ClosedEarly, KeyRefused, Refused};
        let silent = || LinkEnd::Other("no answer".to_owned());
        for steps in [
            vec![(9000, Refused)],
            vec![(9000, silent()), (9001, Refused)],
            vec![(9000, Closed), (9001, silent()), (9300, Refused)],
            vec![(9000, Closed), (9001, KeyRefused), (9300, Refused)],
            vec![(9000, Closed), (9501, Refused)],
            vec![(9000, Closed), (9001, ClosedEarly), (9501, Refused)],
            vec![(900, Closed), (901, Refused)],
        ] {
            let (mut link, mut jitter) = up();
            assert_eq!(ends(&mut link, &mut jitter, &steps), Verdict::Nothing, "{steps:?}");
        }
        let (mut link, mut jitter) = link();
        assert_eq!(
            ends(&mut link, &mut jitter, &[(0, Refused), (300, Refused)]),
            Verdict::Nothing,
            "never up"
        );
    }

    #[test]
    fn dials_back_off_and_a_peer_that_dials_ends_that() {
        let (mut link, mut jitter) = link();
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..8 {
            link.dial(now);
            link.end(&LinkEnd::Refused, &mut jitter, now);
            let due = link.due().unwrap();
            waits.push(due.since(now));
            now = due;
        }
        assert!(waits[0] < Duration::from_millis(320) && waits[7] > Duration::from_secs(7), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= DIAL_AGAIN_MAX * 5 / 4), "{waits:?}");
        link.dial(now);
        link.end(&LinkEnd::Refused, &mut jitter, now);
        link.dial_soon(now);
        assert_eq!(link.due(), Some(now));
    }
}
