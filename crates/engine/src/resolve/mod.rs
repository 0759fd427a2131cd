//! Where servers are whose names DNS knows: asks again and again, and says which of them moved.
//!
//! Owns [`Resolve`]. `name` is the machine of one name: when to ask, and for how long an answer counts. `assign` gives
//! what is known to servers: one address or one instance of a service each. It never looks at the health of servers, and
//! what follows from a move is decided elsewhere.

mod assign;
pub mod event;
mod name;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::Event;
use crate::engine::Output;
use crate::plan::{Plan, ResolverId, ServerId};
use crate::resolve::assign::Slot;
use crate::resolve::event::ResolveEvent;
use crate::resolve::name::{Name, Outcome};
use crate::time::{Deadline, Instant};

/// What is asked of all name servers of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose name servers.
    pub resolver: ResolverId,
    /// The name.
    pub name: String,
    /// What about it.
    pub kind: RecordKind,
}

/// What can be asked about a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// Its IPv4 addresses.
    A,
    /// Its IPv6 addresses.
    Aaaa,
    /// The instances of a service.
    Srv,
}

/// What came of a question: the first useful answer, or else the latest of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Addresses; never none.
    Addresses(Vec<IpAddr>),
    /// Instances of a service; never none.
    Instances(Vec<Instance>),
    /// What went wrong.
    Failed(Problem),
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// The host's name.
    pub host: String,
    /// The port there.
    pub port: u16,
    /// Its share, 0 to 65535.
    pub weight: u16,
}

/// Why a name does not resolve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// There is no such name.
    NoName,
    /// There is, but not with what was asked for.
    NoRecord,
    /// Nobody answered in time.
    Timeout,
    /// The name servers refuse to answer.
    Refused,
    /// The name servers failed, or made no sense.
    Other,
}

/// A server that is elsewhere now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// Which.
    pub server: ServerId,
    /// Where it is; `None` while nobody knows.
    pub address: Option<SocketAddr>,
    /// Its new weight, 0 to 256, if DNS has an opinion.
    pub weight: Option<u16>,
}

/// Which question a name stands for. Servers that ask the same share it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    resolver: ResolverId,
    name: String,
    sought: Sought,
}

/// What is sought of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sought {
    Service,
    Address { ipv4_first: bool },
}

/// Every name of a plan.
#[derive(Debug)]
pub struct Resolve {
    plan: Arc<Plan>,
    names: BTreeMap<Key, Name>,
    /// The questions under way.
    asked: BTreeMap<u64, Key>,
    slots: Vec<Slot>,
    /// The number of the latest question.
    attempts: u64,
    outputs: VecDeque<Output>,
    moves: VecDeque<Move>,
}

impl Resolve {
    /// Asks for every name of a plan from `now` on.
    pub fn new(plan: Arc<Plan>, now: Instant) -> Self {
        let slots: Vec<Slot> = plan.servers().filter_map(|(id, server)| Slot::new(id, server)).collect();
        let names = slots.iter().map(|slot| (slot.key.clone(), Name::new(now))).collect();
        let (asked, outputs, moves) = (BTreeMap::new(), VecDeque::new(), VecDeque::new());
        Self { plan, names, asked, slots, attempts: 0, outputs, moves }
    }

    /// Takes in what came of the question `attempt`.
    pub fn handle_answer(&mut self, attempt: u64, answer: Answer, now: Instant) {
        // A question that was given up has no key any more.
        let Some(key) = self.asked.remove(&attempt) else { return };
        let (Some(name), Some(resolver)) =
            (self.names.get_mut(&key), self.plan.resolvers.get(usize::from(key.resolver.0)))
        else {
            return;
        };
        let outcome = name.handle_answer(answer, key.sought, resolver, now);
        let (section, name) = (resolver.name.clone(), key.name.clone());
        match outcome {
            Outcome::Nothing => {}
            Outcome::Resolved => self.report(ResolveEvent::NameResolves { section, name }),
            Outcome::Failed(problem) => self.report(ResolveEvent::NameFails { section, name, problem }),
        }
        self.assign(now);
        // A question about the other family waits for nothing.
        self.handle_timeout(now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        let lost = self.names.values().filter_map(|name| name.lost_attempt(now));
        for attempt in lost.collect::<Vec<_>>() {
            self.handle_answer(attempt, Answer::Failed(Problem::Timeout), now);
        }
        for (key, name) in &mut self.names {
            let Some(resolver) = self.plan.resolvers.get(usize::from(key.resolver.0)) else { continue };
            let attempt = self.attempts.wrapping_add(1);
            if let Some(kind) = name.ask(attempt, key.sought, resolver, now) {
                self.attempts = attempt;
                self.asked.insert(attempt, key.clone());
                let question = Question { resolver: key.resolver, name: key.name.clone(), kind };
                self.outputs.push_back(Output::Resolve { attempt, question });
            }
        }
    }

    /// The next server that moved.
    pub(crate) fn poll_move(&mut self) -> Option<Move> {
        self.moves.pop_front()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.names.values().map(Name::poll_timeout).min()
    }

    fn report(&mut self, event: ResolveEvent) {
        self.outputs.push_back(Output::Event(Event::Resolve(event)));
    }
}
