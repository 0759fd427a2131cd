//! Servers that track, are observed, have agents or ask for no new connections.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::Event;
use crate::plan::{Agent, Check, InitialState, Observe, OnError, PoolId, ServerIndex};

const SECOND: Duration = Duration::from_secs(1);

fn id(pool: u16, server: u16) -> ServerId {
    ServerId { pool: PoolId(pool), server: ServerIndex(server) }
}

fn server(name: &str) -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 6443));
    Server { check: Some(Check::new(address)), ..Server::new(name, address) }
}

/// Health, its clock, and what it did.
struct Rig {
    health: Health,
    now: Instant,
    attempts: Vec<(ServerId, u64)>,
    questions: Vec<(ServerId, u64)>,
    shutdowns: Vec<ServerId>,
    said: Vec<String>,
}

impl Rig {
    fn new(pools: Vec<Vec<Server>>) -> Self {
        let named = pools.into_iter().zip(["a", "b"]);
        let pools = named.map(|(servers, name)| Pool { log_checks: false, ..Pool::new(name, servers) });
        Self::with(Plan { pools: pools.collect(), ..Plan::default() })
    }

    fn with(plan: Plan) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let health = Health::new(Arc::new(plan), 1, now);
        let (attempts, questions, shutdowns, said) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut rig = Self { health, now, attempts, questions, shutdowns, said };
        rig.drain();
        rig
    }

    fn drain(&mut self) {
        while let Some(output) = self.health.poll_output() {
            match output {
                Output::StartCheck { server, attempt, .. } => self.attempts.push((server, attempt)),
                Output::AskAgent { server, attempt, .. } => self.questions.push((server, attempt)),
                Output::ShutdownSessions { server, .. } => self.shutdowns.push(server),
                Output::Event(Event::Health(event)) => self.said.push(event.to_string()),
                _ => {}
            }
        }
    }

    /// Lets time pass until something is asked of `wanted`, and answers it.
    fn check(&mut self, wanted: ServerId, status: CheckStatus, code: Option<u16>) {
        let attempt =
            self.wait(|rig| rig.attempts.iter().position(|&(id, _)| id == wanted), |rig| &mut rig.attempts);
        let verdict = Verdict { status, code, detail: String::new(), took: Duration::ZERO };
        self.health.handle_check_finished(wanted, attempt, verdict, self.now);
        self.drain();
    }

    fn agent_says(&mut self, wanted: ServerId, line: &str) {
        let attempt =
            self.wait(|rig| rig.questions.iter().position(|&(id, _)| id == wanted), |rig| &mut rig.questions);
        let answer = Answer::Line { line: format!("{line}\n"), took: Duration::ZERO };
        self.health.handle_agent_answered(wanted, attempt, answer, self.now);
        self.drain();
    }

    fn wait(
        &mut self,
        find: impl Fn(&Self) -> Option<usize>,
        list: impl Fn(&mut Self) -> &mut Vec<(ServerId, u64)>,
    ) -> u64 {
        for _ in 0..1_000 {
            if let Some(index) = find(self) {
                return list(self).remove(index).1;
            }
            self.now = self.health.poll_timeout().expect("something is due").at.max(self.now);
            self.health.handle_timeout(self.now);
            self.drain();
        }
        panic!("nothing was asked");
    }

    fn state(&self, id: ServerId) -> String {
        let pools = self.health.pool_status(self.now);
        pools[usize::from(id.pool.0)].servers[usize::from(id.server.0)].state.clone()
    }

    fn selectable(&self, id: ServerId) -> bool {
        self.health.serving().pools[usize::from(id.pool.0)].servers[usize::from(id.server.0)].selectable
    }
}

const FAIL: CheckStatus = CheckStatus::L4Con;
const PASS: CheckStatus = CheckStatus::L4Ok;

#[test]
fn a_server_that_tracks_goes_with_the_one_it_follows_and_a_chain_of_them_too() {
    let follower = |track| Server { check: None, track: Some(track), ..server("f") };
    let closing = Server { shutdown_sessions_when_down: true, ..follower(id(1, 0)) };
    let mut rig = Rig::new(vec![vec![closing], vec![follower(id(1, 1)), server("leader")]]);
    rig.check(id(1, 1), FAIL, None);
    assert_eq!([id(0, 0), id(1, 0), id(1, 1)].map(|id| rig.selectable(id)), [false; 3]);
    assert_eq!(rig.state(id(0, 0)), "down");
    assert_eq!(rig.shutdowns, [id(0, 0)]);
    assert!(
        rig.said.iter().any(|said| said == "server a/f is down: via b/f; 0 of 1 servers up"),
        "{:?}",
        rig.said
    );
    rig.check(id(1, 1), PASS, None);
    assert!(!rig.selectable(id(0, 0)));
    rig.check(id(1, 1), PASS, None);
    assert_eq!([id(0, 0), id(1, 0), id(1, 1)].map(|id| rig.selectable(id)), [true; 3]);
}

#[test]
fn a_404_stops_new_connections_only_and_ends_with_another_answer() {
    let mut rig = Rig::new(vec![vec![server("s"), server("t")]]);
    let one = id(0, 0);
    rig.check(one, CheckStatus::L7Okc, Some(404));
    assert_eq!((rig.selectable(one), rig.state(one).as_str()), (false, "stopping"));
    assert!(rig.said.iter().any(|said| said.starts_with("server a/s takes no new connections: L7OKC/404")));
    rig.check(one, FAIL, None);
    assert!(!rig.selectable(one), "one failure changes nothing");
    rig.check(one, CheckStatus::L7Ok, Some(200));
    assert_eq!((rig.selectable(one), rig.state(one).as_str()), (true, "up"));
    rig.check(one, CheckStatus::L7Okc, Some(404));
    (0..3).for_each(|_| rig.check(one, FAIL, None));
    assert_eq!(rig.state(one), "down");
    (0..2).for_each(|_| rig.check(one, PASS, None));
    assert_eq!((rig.selectable(one), rig.state(one).as_str()), (true, "up"));
}

#[test]
fn failed_connections_count_as_on_error_says() {
    let observed = |on_error| {
        let observe = Some(Observe { limit: 3, on_error });
        let mut rig = Rig::new(vec![vec![Server { observe, ..server("s") }]]);
        rig.check(id(0, 0), PASS, None);
        let load = Arc::clone(&rig.health.pools[0].loads.servers[0]);
        let told: Vec<bool> = (0..7).map(|_| load.count_failed_in_a_row(3)).collect();
        assert_eq!(told, [false, false, true, false, false, false, false], "told once until it is looked at");
        rig.health.handle_connection_errors(id(0, 0), rig.now);
        rig.drain();
        assert!(!load.count_failed_in_a_row(3), "counting begins anew");
        let first = rig.state(id(0, 0));
        rig.check(id(0, 0), FAIL, None);
        (first, rig.state(id(0, 0)))
    };
    let both = |first: &str, second: &str| (first.to_owned(), second.to_owned());
    assert_eq!(observed(OnError::FastInterval), both("up", "up, going down"));
    assert_eq!(observed(OnError::FailCheck), both("up, going down", "up, going down"));
    assert_eq!(observed(OnError::SuddenDeath), both("up, going down", "down"));
    assert_eq!(observed(OnError::MarkDown), both("down", "down"));
}

#[test]
fn errors_bring_the_next_check_forward() {
    let observe = Some(Observe { limit: 3, on_error: OnError::FastInterval });
    let check =
        server("s").check.map(|check| Check { fast_interval: SECOND / 10, interval: 60 * SECOND, ..check });
    let mut rig = Rig::new(vec![vec![Server { observe, check, ..server("s") }]]);
    rig.check(id(0, 0), PASS, None);
    rig.health.handle_connection_errors(id(0, 0), rig.now);
    let next = rig.health.poll_timeout().expect("a check").at;
    assert_eq!(next.since(rig.now), SECOND / 10);
}

#[test]
fn an_agent_holds_a_server_down_and_changes_its_weight_and_state() {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let agent = Some(Agent { address, send: String::new(), interval: SECOND, timeout: SECOND });
    let mut rig = Rig::new(vec![vec![Server { agent, weight: 100, ..server("s") }]]);
    let one = id(0, 0);
    rig.agent_says(one, "down #too hot");
    assert_eq!((rig.selectable(one), rig.state(one).as_str()), (false, "down (agent)"));
    rig.check(one, PASS, None);
    assert!(!rig.selectable(one), "a check that passes does not overrule an agent");
    assert!(rig.said.iter().any(|said| said.contains("via agent : down (too hot)")), "{:?}", rig.said);
    rig.agent_says(one, "50%");
    assert!(!rig.selectable(one), "it did not say that it works");
    rig.agent_says(one, "up 50% maxconn:7");
    let view = &rig.health.serving().pools[0].servers[0];
    assert_eq!((view.selectable, view.weight, view.maxconn), (true, 50 * 16, Some(7)));
    rig.agent_says(one, "drain");
    assert_eq!((rig.selectable(one), rig.state(one).as_str()), (false, "drain"));
    rig.agent_says(one, "ready");
    assert!(rig.selectable(one));
}

#[test]
fn a_server_begins_as_it_is_told() {
    let begin = |initial_state, status| {
        let mut rig = Rig::new(vec![vec![Server { initial_state, ..server("s") }]]);
        let before = rig.selectable(id(0, 0));
        rig.check(id(0, 0), status, None);
        (before, rig.selectable(id(0, 0)))
    };
    assert_eq!(begin(InitialState::Up, FAIL), (true, false));
    assert_eq!(begin(InitialState::FullyUp, FAIL), (true, true));
    assert_eq!(begin(InitialState::Down, PASS), (false, true));
    assert_eq!(begin(InitialState::FullyDown, PASS), (false, false));
}

#[test]
fn a_server_that_comes_up_ends_the_connections_of_backup_servers_if_told_to() {
    let main = Server { shutdown_backup_sessions_when_up: true, ..server("main") };
    let mut rig = Rig::new(vec![vec![main, Server { backup: true, ..server("spare") }]]);
    rig.check(id(0, 0), FAIL, None);
    assert_eq!(rig.shutdowns, []);
    (0..2).for_each(|_| rig.check(id(0, 0), PASS, None));
    assert_eq!(rig.shutdowns, [id(0, 1)]);
}

#[test]
fn results_that_are_news_are_told_where_that_is_wanted() {
    let pool = Pool { log_checks: true, ..Pool::new("a", vec![server("s")]) };
    let mut rig = Rig::with(Plan { pools: vec![pool], ..Plan::default() });
    for status in [PASS, PASS, FAIL, FAIL, FAIL, FAIL, PASS] {
        rig.check(id(0, 0), status, None);
    }
    let told: Vec<&str> = rig
        .said
        .iter()
        .filter_map(|said| said.split_once("Health check for server a/s "))
        .map(|(_, rest)| rest)
        .collect();
    let expected = [
        "succeeded, reason: L4OK in 0ms, status: 3/3 UP",
        "failed, reason: L4CON in 0ms, status: 2/3 UP",
        "failed, reason: L4CON in 0ms, status: 1/3 UP",
        "failed, reason: L4CON in 0ms, status: 0/2 DOWN",
        "succeeded, reason: L4OK in 0ms, status: 1/2 DOWN",
    ];
    assert_eq!(told, expected);
}
