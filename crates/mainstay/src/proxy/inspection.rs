//! What the rules of a proxy say of a connection before a server is chosen for it.
//!
//! Owns [`Inspection`], the walk through the rules: those on connections, those on what clients send, which pool, which
//! server. Sessions of proxies without rules have none. What a client has sent is looked at where it is, in the kernel's
//! buffer, so nothing is held for a connection that waits, and the server gets it all.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use mainstay_engine::balance::{Client, hash};
use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::plan::{
    Algorithm, ConnectionRule, FrontendId, Inspection as ContentRules, Plan, Pool, PoolId, ServerIndex,
    TableId,
};
use mainstay_engine::rules::{Context, Counters, Key, Outcome, Verdict, applies, bytes_of, key_of, verdict};
use mainstay_engine::serving::Serving;

use crate::clock;

use super::worker::Tools;

/// Bytes of a client that are looked at, as many as HAProxy with its usual `tune.bufsize` and `tune.maxrewrite`. Rules
/// decide then, whatever they wait for.
const BUFFER: usize = 16 * 1024 - 1024;

/// Servers that one connection is remembered for, as in HAProxy.
const STORES: usize = 8;

/// How far a connection has come with the rules.
#[derive(Debug)]
pub(super) struct Inspection {
    endpoints: Endpoints,
    awaits_header: bool,
    counters: Counters,
    stage: Stage,
    /// When the rules decide with what there is.
    deadline: Option<Instant>,
    /// Where to remember the server.
    stores: Vec<(TableId, Key)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// What comes with the connection itself.
    Connection,
    /// Who says that it comes, once a PROXY header has said so.
    Session,
    /// What the client sends, by the rules of its frontend.
    Frontend,
    /// Which pool.
    Switch,
    /// What the client sends, by the rules of its pool.
    Pool(PoolId),
    /// Which server.
    Server(PoolId),
}

/// What comes next for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its PROXY header has to come first; [`Inspection::introduce`] then, and go on.
    Header,
    /// It is let in as a session: count it, and go on.
    Admit,
    /// It goes to this pool: count it there, and go on.
    Enter(PoolId),
    /// Find a server of its pool.
    FindServer(Found),
    /// More has to arrive, or the time has to come.
    Wait,
    /// It is refused.
    Deny(Denial),
    /// There is no pool for it.
    NoPool,
    /// The client is gone.
    Gone,
}

/// What rules and earlier connections say about the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// This one, if possible.
    pub(super) server: Option<ServerIndex>,
    /// The hash of what `balance hash` looks at.
    pub(super) hash: Option<u32>,
}

impl Found {
    /// What decides about the server of a client.
    pub(super) fn client(self, address: SocketAddr) -> Client {
        Client { address: address.ip(), hash: self.hash }
    }
}

/// Which rules refused a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denial {
    Connection,
    Session,
    Request,
}

/// Whom the rules are asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    pub(super) plan: &'a Plan,
    pub(super) frontend: FrontendId,
    pub(super) stream: &'a TcpStream,
    /// Whether the client has finished or is gone.
    pub(super) ended: bool,
}

/// Whether connections of this frontend are judged by anything.
pub(super) fn is_needed(plan: &Plan, frontend: FrontendId) -> bool {
    let Some(section) = plan.frontends.get(usize::from(frontend.0)) else { return false };
    let rules = &section.rules;
    !rules.connection.is_empty()
        || !rules.session.is_empty()
        || !rules.content.rules.is_empty()
        || !rules.switches.is_empty()
        || section.pool.and_then(|pool| plan.pools.get(usize::from(pool.0))).is_some_and(has_rules)
}

fn has_rules(pool: &Pool) -> bool {
    let rules = &pool.rules;
    !rules.content.rules.is_empty()
        || !rules.servers.is_empty()
        || !rules.stick.is_empty()
        || rules.hash.is_some()
}

impl Inspection {
    /// For a connection that has just been accepted.
    pub(super) fn new(endpoints: Endpoints, awaits_header: bool) -> Self {
        Self {
            endpoints,
            awaits_header,
            counters: Counters::default(),
            stage: Stage::Connection,
            deadline: None,
            stores: Vec::new(),
        }
    }

    /// A PROXY header has come: these are its ends from now on.
    pub(super) fn introduce(&mut self, endpoints: Endpoints) {
        (self.endpoints, self.awaits_header) = (endpoints, false);
    }

    /// When the rules decide with what there is.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Asks the rules of this stage.
    pub(super) fn step(&mut self, subject: Subject<'_>, tools: &mut Tools) -> Step {
        let Some(section) = subject.plan.frontends.get(usize::from(subject.frontend.0)) else {
            return Step::NoPool;
        };
        if matches!(self.stage, Stage::Connection | Stage::Session) {
            return self.judge_connection(subject, tools);
        }
        let looks = match self.stage {
            Stage::Pool(pool) | Stage::Server(pool) => {
                subject.plan.pools.get(usize::from(pool.0)).is_some_and(has_rules)
            }
            _ => !section.rules.content.rules.is_empty() || !section.rules.switches.is_empty(),
        };
        let count = if looks { peek(subject.stream, &mut tools.scratch) } else { Ok(0) };
        let Ok(count) = count else { return Step::Gone };
        let received = tools.scratch.get(..count).unwrap_or_default();
        let serving = tools.shared.serving.load();
        let complete = subject.ended || count >= BUFFER;
        match self.stage {
            Stage::Connection | Stage::Session => Step::Wait,
            Stage::Frontend => {
                match self.judge_content(&section.rules.content, received, complete, &serving, tools.now) {
                    Step::FindServer(_) => {
                        self.stage = Stage::Switch;
                        self.switch(subject, received, &serving)
                    }
                    other => other,
                }
            }
            Stage::Switch => self.switch(subject, received, &serving),
            Stage::Pool(id) | Stage::Server(id) => {
                let Some(pool) = subject.plan.pools.get(usize::from(id.0)) else { return Step::NoPool };
                if self.stage == Stage::Pool(id) {
                    let content = &pool.rules.content;
                    let step = self.judge_content(content, received, complete, &serving, tools.now);
                    if !matches!(step, Step::FindServer(_)) {
                        return step;
                    }
                    self.stage = Stage::Server(id);
                }
                Step::FindServer(self.find_server(id, pool, received, &serving))
            }
        }
    }

    /// A server was found and is connected: those that come later go there, too.
    pub(super) fn remember(&mut self, server: ServerIndex, serving: &Serving) {
        for (table, key) in self.stores.drain(..) {
            if let Some(table) = serving.tables.get(usize::from(table.0)) {
                table.lock().store(&key, server, clock::now());
            }
        }
    }

    fn judge_connection(&mut self, subject: Subject<'_>, tools: &Tools) -> Step {
        let Some(section) = subject.plan.frontends.get(usize::from(subject.frontend.0)) else {
            return Step::NoPool;
        };
        let serving = tools.shared.serving.load();
        // As in HAProxy, they are about whoever has connected, and those below about whom the header names.
        if self.stage == Stage::Connection {
            if self.rejects(&section.rules.connection, &serving) {
                return Step::Deny(Denial::Connection);
            }
            self.stage = Stage::Session;
            if self.awaits_header {
                return Step::Header;
            }
        }
        if self.rejects(&section.rules.session, &serving) {
            return Step::Deny(Denial::Session);
        }
        for counter in self.counters.iter().flatten() {
            counter.count_session(clock::now());
        }
        self.stage = Stage::Frontend;
        Step::Admit
    }

    /// Whether rules that look at nothing that was sent refuse it.
    fn rejects(&mut self, rules: &[ConnectionRule], serving: &Serving) -> bool {
        let mut counters = std::mem::take(&mut self.counters);
        let context = Context { complete: true, ..self.context(None, serving) };
        let verdict = verdict(rules, &context, &mut counters);
        self.counters = counters;
        verdict == Verdict::Reject
    }

    /// Asks the rules on what the client sends; `FindServer` is to go on.
    fn judge_content(
        &mut self,
        content: &ContentRules,
        received: &[u8],
        complete: bool,
        serving: &Serving,
        now: Instant,
    ) -> Step {
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        let complete = complete || due || content.delay.is_none();
        let mut counters = std::mem::take(&mut self.counters);
        let context = Context { complete, ..self.context(Some(received), serving) };
        let verdict = verdict(&content.rules, &context, &mut counters);
        self.counters = counters;
        match verdict {
            Verdict::Accept => {
                self.deadline = None;
                Step::FindServer(Found::default())
            }
            Verdict::Reject => Step::Deny(Denial::Request),
            Verdict::Wait => {
                let delay = content.delay.and_then(|delay| now.checked_add(delay));
                self.deadline = self.deadline.or(delay);
                Step::Wait
            }
        }
    }

    /// Finds the pool.
    fn switch(&mut self, subject: Subject<'_>, received: &[u8], serving: &Serving) -> Step {
        let Some(section) = subject.plan.frontends.get(usize::from(subject.frontend.0)) else {
            return Step::NoPool;
        };
        let context = Context { complete: true, ..self.context(Some(received), serving) };
        let mut switches = section.rules.switches.iter();
        let chosen = switches.find(|switch| applies(switch.condition.as_ref(), &context) == Outcome::Yes);
        match chosen.map_or(section.pool, |switch| switch.pool) {
            Some(pool) => {
                self.stage = Stage::Pool(pool);
                Step::Enter(pool)
            }
            None => Step::NoPool,
        }
    }

    /// The server that rules or earlier connections name, if it works, and where this connection is to be remembered; and the
    /// hash that decides where nothing else does.
    fn find_server(&mut self, id: PoolId, pool: &Pool, received: &[u8], serving: &Serving) -> Found {
        let works = |server: &ServerIndex| {
            let servers = serving.pools.get(usize::from(id.0)).map(|view| &view.servers);
            servers.and_then(|servers| servers.get(usize::from(server.0))).is_some_and(|view| view.usable)
        };
        let context = Context { complete: true, ..self.context(Some(received), serving) };
        let holds = |condition| applies(condition, &context) == Outcome::Yes;
        let rules = pool.rules.servers.iter().filter(|rule| holds(Some(&rule.condition)));
        let mut server = rules.map(|rule| rule.server).find(works);
        let mut stores = Vec::new();
        for stick in pool.rules.stick.iter().filter(|stick| holds(stick.condition.as_ref())) {
            let index = usize::from(stick.table.0);
            let tables = (serving.plan.tables.get(index), serving.tables.get(index));
            let (Some(settings), Some(table)) = tables else { continue };
            let Ok(Some(key)) = key_of(&stick.key, settings, &context) else { continue };
            if stick.looks_up && server.is_none() {
                server = table.lock().server(&key, context.now).filter(works);
            }
            if stick.stores && stores.len() < STORES {
                stores.push((stick.table, key));
            }
        }
        let key = pool.rules.hash.as_ref().and_then(|key| bytes_of(key, &context));
        let hash = match pool.algorithm {
            Algorithm::Hash(hash_type) => key.map(|key| hash::of(hash_type.function, &key)),
            _ => None,
        };
        self.stores = stores;
        Found { server, hash }
    }

    fn context<'a>(&'a self, received: Option<&'a [u8]>, serving: &'a Serving) -> Context<'a> {
        Context {
            source: self.endpoints.client,
            destination: Some(self.endpoints.destination).filter(|_| self.endpoints.local.is_none()),
            received,
            request: None,
            complete: false,
            serving,
            counters: &self.counters,
            now: clock::now(),
        }
    }
}

impl Drop for Inspection {
    fn drop(&mut self) {
        let now = clock::now();
        for counter in self.counters.iter_mut().filter_map(Option::take) {
            counter.end(now);
        }
    }
}

/// Looks at what has arrived without taking it; an error is a client that has broken off.
fn peek(stream: &TcpStream, scratch: &mut [u8]) -> std::io::Result<usize> {
    let buffer = scratch.get_mut(..BUFFER).unwrap_or_default();
    loop {
        match stream.peek(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            result => return result,
        }
    }
}
