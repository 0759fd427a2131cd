//! One name: when it is asked for, and what is known of it.
//!
//! Owns [`Name`]. A resolution is so many tries; a try asks for the preferred family, and at once for the other one if
//! that brought nothing. What was known counts for a while when a resolution fails (`hold`), by the reason why.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::limits::NAME_ANSWER_GRACE;
use crate::plan::Resolver;
use crate::resolve::{Answer, Instance, Problem, RecordKind, Sought};
use crate::time::{Deadline, Instant};

/// A name.
#[derive(Debug)]
pub(super) struct Name {
    state: State,
    /// Tries that failed in this resolution.
    failed: u32,
    /// When it resolved last; at first, when it was first asked for.
    valid: Instant,
    /// Why the latest resolution failed.
    problem: Option<Problem>,
    /// Whether what is known is what DNS said; at first it is not.
    pub(super) told: bool,
    /// Addresses, and when each was last seen.
    addresses: BTreeMap<IpAddr, Instant>,
    /// Instances by host and port: weight, and when each was last seen.
    instances: BTreeMap<(String, u16), (u16, Instant)>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The next question is due then; whether it is for the other family.
    Waiting { until: Instant, other: bool },
    /// A question is under way, and lost when nothing has been heard of it by then.
    Asking { attempt: u64, other: bool, lost: Instant },
}

/// What an answer changed that is worth saying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing.
    Nothing,
    /// It resolves, and did not before.
    Resolved,
    /// It does not, for another reason than before.
    Failed(Problem),
}

impl Name {
    /// A name that is asked for at once.
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            state: State::Waiting { until: now, other: false },
            failed: 0,
            valid: now,
            problem: None,
            told: false,
            addresses: BTreeMap::new(),
            instances: BTreeMap::new(),
        }
    }

    /// What to ask as `attempt`, if it is time.
    pub(super) fn ask(
        &mut self,
        attempt: u64,
        sought: Sought,
        resolver: &Resolver,
        now: Instant,
    ) -> Option<RecordKind> {
        let State::Waiting { until, other } = self.state else { return None };
        if until > now {
            return None;
        }
        self.state = State::Asking { attempt, other, lost: now + resolver.retry + NAME_ANSWER_GRACE };
        Some(match sought {
            Sought::Service => RecordKind::Srv,
            Sought::Address { ipv4_first } if ipv4_first != other => RecordKind::A,
            Sought::Address { .. } => RecordKind::Aaaa,
        })
    }

    /// The question under way that nobody will answer any more.
    pub(super) fn lost_attempt(&self, now: Instant) -> Option<u64> {
        match self.state {
            State::Asking { attempt, lost, .. } if lost <= now => Some(attempt),
            _ => None,
        }
    }

    pub(super) const fn poll_timeout(&self) -> Deadline {
        let (State::Waiting { until: at, .. } | State::Asking { lost: at, .. }) = self.state;
        Deadline { at, why: "a name is resolved" }
    }

    /// Takes in the answer to the question under way.
    pub(super) fn handle_answer(
        &mut self,
        answer: Answer,
        sought: Sought,
        resolver: &Resolver,
        now: Instant,
    ) -> Outcome {
        let State::Asking { other, .. } = self.state else { return Outcome::Nothing };
        let problem = match answer {
            Answer::Addresses(addresses) if !addresses.is_empty() => {
                self.addresses.extend(addresses.into_iter().map(|address| (address, now)));
                None
            }
            Answer::Instances(instances) if !instances.is_empty() => {
                for Instance { host, port, weight } in instances {
                    self.instances.insert((host, port), (weight, now));
                }
                None
            }
            Answer::Failed(problem) => Some(problem),
            Answer::Addresses(_) | Answer::Instances(_) => Some(Problem::NoRecord),
        };
        match problem {
            None => self.resolved(resolver, now),
            Some(_) if !other && sought != Sought::Service => {
                self.state = State::Waiting { until: now, other: true };
                Outcome::Nothing
            }
            Some(problem) => self.failed_try(problem, resolver, now),
        }
    }

    fn resolved(&mut self, resolver: &Resolver, now: Instant) -> Outcome {
        let obsolete = resolver.hold.obsolete;
        self.addresses.retain(|_, seen| now.since(*seen) <= obsolete);
        self.instances.retain(|_, (_, seen)| now.since(*seen) <= obsolete);
        (self.valid, self.failed, self.told) = (now, 0, true);
        self.state = State::Waiting { until: now + interval(resolver), other: false };
        match self.problem.take() {
            Some(_) => Outcome::Resolved,
            None => Outcome::Nothing,
        }
    }

    fn failed_try(&mut self, problem: Problem, resolver: &Resolver, now: Instant) -> Outcome {
        self.failed += 1;
        if self.failed < resolver.tries {
            // Who was waited for in vain has had this time already.
            let pause = if problem == Problem::Timeout { Duration::ZERO } else { resolver.retry };
            self.state = State::Waiting { until: now + pause, other: false };
            return Outcome::Nothing;
        }
        self.failed = 0;
        self.state = State::Waiting { until: now + interval(resolver), other: false };
        let hold = match problem {
            Problem::NoName => resolver.hold.nx,
            Problem::Timeout => resolver.hold.timeout,
            Problem::Refused => resolver.hold.refused,
            Problem::NoRecord | Problem::Other => resolver.hold.other,
        };
        if now.since(self.valid) >= hold {
            self.told = true;
            self.addresses.clear();
            self.instances.clear();
        }
        match self.problem.replace(problem) {
            Some(before) if before == problem => Outcome::Nothing,
            _ => Outcome::Failed(problem),
        }
    }

    /// The addresses that count.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.addresses.keys().copied()
    }

    /// Whether an address counts.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        self.addresses.contains_key(&address)
    }

    /// The instances that count, with their weights.
    pub(super) fn instances(&self) -> impl Iterator<Item = (&(String, u16), u16)> {
        self.instances.iter().map(|(instance, (weight, _))| (instance, *weight))
    }

    /// The weight of an instance; `None` if it does not count.
    pub(super) fn weight(&self, instance: &(String, u16)) -> Option<u16> {
        self.instances.get(instance).map(|(weight, _)| *weight)
    }
}

/// Between two resolutions, as in HAProxy. Never nothing: a name would be asked for without an end.
fn interval(resolver: &Resolver) -> Duration {
    resolver.interval.min(resolver.hold.valid).max(LEAST_INTERVAL)
}

/// The least time between two resolutions of a name.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
