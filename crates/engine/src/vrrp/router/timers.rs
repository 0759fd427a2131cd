//! When things are due for one router.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::time::{Deadline, Instant};

/// What can be due. In this order when several are due at the same instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// `Active_Down_Timer` (RFC 9568 §6.2): the active router has been silent for too long.
    ActiveDown,
    /// The end of patience with an active router that is asked whether it lives.
    Challenge,
    /// `Adver_Timer` (RFC 9568 §6.2).
    Advert,
    /// Renewal of the addresses' lifetimes.
    Renewal,
    /// The second burst of announcements after becoming active.
    SecondBurst,
    /// The burst of announcements when the addresses of a dead predecessor have expired.
    AfterDeath,
    /// The second burst of announcements after a lower-priority advert.
    LowerPriorityBurst,
    /// The refresh of announcements while active.
    Refresh,
    /// The next question who else has the addresses.
    Probe,
    /// The refresh of announcements on interfaces that no adverts leave by.
    RefreshElsewhere,
    /// The end of patience with successors that do not come.
    HandOverBound,
    /// The end of what a move sets up for old connections.
    DrainEnd,
    /// The next try after addresses could not be installed.
    InstallHold,
}

impl Timer {
    const fn why(self) -> &'static str {
        match self {
            Self::ActiveDown => "silence of the active router",
            Self::Challenge => "answer to a challenge",
            Self::Advert => "advert",
            Self::Renewal => "renewal of addresses",
            Self::SecondBurst => "second announcement",
            Self::AfterDeath => "announcement after a death",
            Self::LowerPriorityBurst => "second announcement after a lower-priority advert",
            Self::Refresh => "refresh of announcements",
            Self::Probe => "probe for address conflicts",
            Self::RefreshElsewhere => "refresh of announcements on other interfaces",
            Self::HandOverBound => "bound of the hand-over",
            Self::DrainEnd => "end of the drain",
            Self::InstallHold => "retry of a failed installation",
        }
    }
}

/// A timer never fires in the instant that set it, so that no configuration makes a loop.
const SHORTEST: Duration = Duration::from_micros(1);

/// The timers of one router.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Lets `timer` fire `after` from `now`, whatever it was set to.
    pub(super) fn set(&mut self, timer: Timer, now: Instant, after: Duration) {
        self.due.insert(timer, now + after.max(SHORTEST));
    }

    /// As [`Timers::set`], unless the timer fires sooner anyway.
    pub(super) fn set_sooner(&mut self, timer: Timer, now: Instant, after: Duration) {
        let at = now + after.max(SHORTEST);
        self.due.entry(timer).and_modify(|due| *due = at.min(*due)).or_insert(at);
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        self.due.remove(&timer);
    }

    pub(super) fn clear_all(&mut self) {
        self.due.clear();
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.due.contains_key(&timer)
    }

    /// How long until `timer` fires; zero when it is due.
    pub(super) fn left(&self, timer: Timer, now: Instant) -> Duration {
        self.due.get(&timer).map_or(Duration::ZERO, |due| due.since(now))
    }

    /// How long `timer` has been due; zero when it is not.
    pub(super) fn overdue(&self, timer: Timer, now: Instant) -> Duration {
        self.due.get(&timer).map_or(Duration::ZERO, |&due| now.since(due))
    }

    /// Takes the timer that has been due for longest.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (&timer, _) = self.due.iter().filter(|&(_, &due)| due <= now).min_by_key(|&(_, &due)| due)?;
        self.due.remove(&timer);
        Some(timer)
    }

    /// The next one to fire.
    pub(super) fn next(&self) -> Option<Deadline> {
        let (timer, &at) = self.due.iter().min_by_key(|&(_, &due)| due)?;
        Some(Deadline { at, why: timer.why() })
    }
}
