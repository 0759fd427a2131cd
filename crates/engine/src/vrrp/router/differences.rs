//! What is wrong now between one router and the others on its LAN: who differs in what, since when, how often, and how
//! to mend it.
//!
//! Owns [`Differences`], a bounded table. It neither finds differences nor says them: `notice` and `conflicts` do. A
//! difference that is not seen any more for [`limits::DIFFERENCE_QUIET`] has ended.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::admin::DifferenceStatus;
use crate::limits;
use crate::plan::HardwareAddress;
use crate::time::Instant;

/// Adverts that may be missing before a difference counts as gone: one more than a backup misses.
const MISSED_ADVERTS: u32 = 4;

/// Whom a difference is with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Another router, by the address it sends from.
    Router(IpAddr),
    /// Somebody of whom only the hardware address is known.
    Host(HardwareAddress),
}

/// What a difference is about. With each other router there is one of each at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Its adverts are refused.
    Refusal,
    /// It is active beside this router, and should not be.
    SecondActive,
    /// It takes part without being a configured peer.
    Stranger,
    /// The checksum of its adverts covers something else.
    ChecksumForm,
    /// It has the same priority.
    EqualPriority,
    /// It answers for this address.
    AddressConflict(IpAddr),
}

/// One look at a difference.
#[derive(Clone, Debug)]
pub(super) struct Sight {
    pub(super) who: Who,
    pub(super) subject: Subject,
    /// The stable name that counters carry.
    pub(super) kind: &'static str,
    /// Continues a sentence that begins with the other's address.
    pub(super) detail: String,
    /// What an operator can do.
    pub(super) hint: &'static str,
    /// Whether it keeps the group from working, as opposed to being odd.
    pub(super) harmful: bool,
    /// Whether the other advertises this router's addresses as its own.
    pub(super) claims: bool,
    /// Whether enough was seen to say it.
    pub(super) certain: bool,
    /// How often it is to be seen while it lasts.
    pub(super) pace: Duration,
}

/// What is known of one difference.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) sight: Sight,
    pub(super) since: Instant,
    /// Since when it was seen at its pace, without a pause of more than one.
    pub(super) unbroken_since: Instant,
    pub(super) latest: Instant,
    pub(super) count: u64,
    /// Times in a row, without an advert in between that was taken.
    pub(super) run: u64,
    /// Whether both routers are known to be active.
    pub(super) both_active: bool,
    /// Whether an advert of that router was taken since.
    pub(super) agrees: bool,
    /// Whether it was certain at any time.
    pub(super) said: bool,
}

/// The differences of one router.
#[derive(Debug, Default)]
pub(super) struct Differences {
    current: BTreeMap<(Who, Subject), Difference>,
    /// How often each kind was seen since the start.
    totals: BTreeMap<&'static str, u64>,
    /// Sights that did not fit the table.
    left_out: u64,
}

impl Differences {
    /// Remembers a sight. `None` when there is no room for it, which is counted.
    pub(super) fn see(&mut self, sight: Sight, now: Instant) -> Option<&mut Difference> {
        *self.totals.entry(sight.kind).or_default() += 1;
        let key = (sight.who, sight.subject);
        if self.current.len() >= limits::DIFFERENCES && !self.current.contains_key(&key) {
            self.left_out += 1;
            return None;
        }
        let found = self.current.entry(key).or_insert_with(|| Difference {
            sight: sight.clone(),
            since: now,
            unbroken_since: now,
            latest: now,
            count: 0,
            run: 0,
            both_active: false,
            agrees: false,
            said: false,
        });
        if found.sight.kind != sight.kind {
            (found.since, found.count) = (now, 0);
        }
        if found.breaks(now) {
            found.unbroken_since = now;
        }
        found.said |= sight.certain;
        (found.sight, found.latest, found.agrees) = (sight, now, false);
        found.count += 1;
        found.run += 1;
        Some(found)
    }

    /// For how long a difference has been seen without a break.
    pub(super) fn lasts(&self, who: Who, subject: Subject, now: Instant) -> Duration {
        let known = self.current.get(&(who, subject)).filter(|difference| !difference.breaks(now));
        known.map_or(Duration::ZERO, |difference| now.since(difference.unbroken_since))
    }

    /// Every address conflict that was seen for [`limits::CONFLICT_REPEAT`], and after `settled`, and goes on; from now
    /// on certain, and told as certain if it was before.
    pub(super) fn confirm_conflicts(&mut self, settled: Instant, now: Instant) -> Vec<Sight> {
        let conflicts = self.current.iter_mut().filter(|((_, subject), difference)| {
            let lasted = difference.latest.since(difference.unbroken_since) >= limits::CONFLICT_REPEAT;
            let goes_on = difference.latest >= settled && !difference.breaks(now);
            matches!(subject, Subject::AddressConflict(_)) && lasted && goes_on
        });
        conflicts
            .map(|(_, difference)| {
                let certain = difference.said;
                difference.said = true;
                Sight { certain, ..difference.sight.clone() }
            })
            .collect()
    }

    /// What is known of one difference.
    pub(super) fn get(&self, who: Who, subject: Subject) -> Option<&Difference> {
        self.current.get(&(who, subject))
    }

    /// Remembers that an advert of `who` was taken.
    pub(super) fn agree(&mut self, who: Who) {
        if let Some(refusal) = self.current.get_mut(&(who, Subject::Refusal)) {
            (refusal.agrees, refusal.run, refusal.both_active) = (true, 0, false);
        }
    }

    /// Remembers that this router is not active, so that nobody is active beside it. Takes out who was.
    pub(super) fn end_activity(&mut self) -> Vec<Difference> {
        self.current.values_mut().for_each(|difference| difference.both_active = false);
        self.take(|subject, _| matches!(subject, Subject::SecondActive | Subject::AddressConflict(_)))
    }

    /// Those who advertise this router's addresses as their own now and were not known to be active beside it.
    pub(super) fn take_claimants(&mut self, now: Instant) -> Vec<Sight> {
        let conflict = self.conflict_end();
        let claimants = self.current.values_mut().filter(|difference| difference.claims(conflict, now));
        claimants
            .filter_map(|difference| {
                let known = std::mem::replace(&mut difference.both_active, true);
                (!known).then(|| difference.sight.clone())
            })
            .collect()
    }

    /// Whether the other advertises this router's addresses now, as an active router does.
    pub(super) fn claims(&self, difference: &Difference, now: Instant) -> bool {
        difference.claims(self.conflict_end(), now)
    }

    /// When the latest address conflict ends, if there is one.
    fn conflict_end(&self) -> Option<Instant> {
        let conflicts = self.current.values().filter(|difference| {
            difference.said && matches!(difference.sight.subject, Subject::AddressConflict(_))
        });
        conflicts.map(|difference| difference.end(None)).max()
    }

    /// Takes out what has not been seen for too long.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<Difference> {
        let conflict = self.conflict_end();
        self.take(|_, difference| difference.end(conflict) <= now)
    }

    fn take(&mut self, wanted: impl Fn(Subject, &Difference) -> bool) -> Vec<Difference> {
        let is_wanted =
            |(key, difference): (&(Who, Subject), &Difference)| wanted(key.1, difference).then_some(*key);
        let keys: Vec<_> = self.current.iter().filter_map(is_wanted).collect();
        keys.iter().filter_map(|key| self.current.remove(key)).collect()
    }

    /// When the next difference may end.
    pub(super) fn next_end(&self) -> Option<Instant> {
        let conflict = self.conflict_end();
        self.current.values().map(|difference| difference.end(conflict)).min()
    }

    /// Whether somebody answers for an address of this router, or seems to.
    pub(super) fn has_conflict(&self) -> bool {
        self.current.keys().any(|(_, subject)| matches!(subject, Subject::AddressConflict(_)))
    }

    /// As `status` shows them, harmful ones first. `consequence` continues the sentence about one of them.
    pub(super) fn status(
        &self,
        consequence: impl Fn(&Difference) -> &'static str,
        now: Instant,
    ) -> Vec<DifferenceStatus> {
        let mut shown: Vec<_> = self.current.values().filter(|difference| difference.said).collect();
        shown.sort_by_key(|difference| !difference.sight.harmful);
        let line = |difference: &&Difference| DifferenceStatus {
            who: difference.sight.who.to_string(),
            kind: difference.sight.kind.to_owned(),
            sentence: format!(
                "{} {}{}",
                difference.sight.who,
                difference.sight.detail,
                consequence(difference)
            ),
            hint: difference.sight.hint.to_owned(),
            harmful: difference.sight.harmful,
            both_active: difference.both_active,
            since: now.since(difference.since),
            latest: now.since(difference.latest),
            count: difference.count,
        };
        shown.iter().map(line).collect()
    }

    /// How often each kind was seen since the start.
    pub(super) fn totals(&self) -> BTreeMap<String, u64> {
        self.totals.iter().map(|(&kind, &count)| (kind.to_owned(), count)).collect()
    }

    /// Sights that did not fit the table.
    pub(super) fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl Difference {
    /// Whether the other advertises this router's addresses, again and again as an active router does, or once while
    /// somebody answers for them. (Keepalived sends nothing while it refuses adverts that come sooner than its own are
    /// due: each of them starts its timer anew.)
    fn claims(&self, conflict_end: Option<Instant>, now: Instant) -> bool {
        let goes_on = self.run > 1 && now.since(self.latest) <= self.sight.pace * MISSED_ADVERTS;
        self.sight.claims && self.run > 0 && (goes_on || conflict_end.is_some())
    }

    /// Whether a sight at `now` comes after a pause.
    fn breaks(&self, now: Instant) -> bool {
        now.since(self.latest) > self.sight.pace * 2
    }

    /// What explains a conflict ends no sooner than the conflict.
    fn end(&self, conflict_end: Option<Instant>) -> Instant {
        let own = self.latest + limits::DIFFERENCE_QUIET.max(self.sight.pace * MISSED_ADVERTS);
        let explained = conflict_end.filter(|_| self.sight.claims && self.run > 0);
        explained.map_or(own, |end| own.max(end))
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Router(address) => address.fmt(f),
            Self::Host(hardware) => hardware.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::default() + Duration::from_secs(seconds)
    }

    fn refused(who: u32) -> Sight {
        Sight {
            who: Who::Router(Ipv4Addr::from(who).into()),
            subject: Subject::Refusal,
            kind: "password",
            detail: "is refused: its password is another".to_owned(),
            hint: "",
            harmful: true,
            claims: true,
            certain: true,
            pace: Duration::from_secs(1),
        }
    }

    #[test]
    fn no_flood_of_strangers_makes_it_grow() {
        let mut differences = Differences::default();
        for stranger in 0..10_000 {
            differences.see(refused(stranger), at(1));
        }
        assert_eq!(differences.status(|_| "", at(1)).len(), limits::DIFFERENCES);
        assert_eq!(differences.totals(), BTreeMap::from([("password".to_owned(), 10_000)]));
        assert_eq!(usize::try_from(differences.left_out()), Ok(10_000 - limits::DIFFERENCES));
        assert!(differences.see(refused(3), at(2)).is_some(), "who is in it stays in it");
        let end = differences.next_end().expect("they end");
        assert_eq!(end, at(1) + limits::DIFFERENCE_QUIET);
        assert_eq!(differences.take_ended(end).len(), limits::DIFFERENCES - 1);
        assert!(differences.see(refused(77_777), end).is_some(), "room again");
    }

    #[test]
    fn a_slow_router_is_waited_for() {
        let mut differences = Differences::default();
        let slow = Sight { pace: Duration::from_secs(255), ..refused(1) };
        differences.see(slow, at(0));
        assert_eq!(differences.next_end(), Some(at(4 * 255)));
    }

    #[test]
    fn one_refused_advert_claims_nothing_and_two_in_a_row_do() {
        let mut differences = Differences::default();
        differences.see(refused(1), at(1));
        assert!(differences.take_claimants(at(1)).is_empty());
        differences.agree(Who::Router(Ipv4Addr::from(1).into()));
        differences.see(refused(1), at(2));
        assert!(differences.take_claimants(at(2)).is_empty(), "the one in between was taken");
        differences.see(refused(1), at(3));
        assert_eq!(differences.take_claimants(at(3)).len(), 1);
        assert!(differences.take_claimants(at(4)).is_empty(), "it is new once");
        differences.end_activity();
        assert!(differences.take_claimants(at(9)).is_empty(), "it has been silent for too long");
        assert_eq!(differences.take_claimants(at(6)).len(), 1);
    }
}
