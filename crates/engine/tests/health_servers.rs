//! Health as a whole, against servers that answer checks as each test says, in simulated time.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::ServerStatus;
use mainstay_engine::event::Severity;
use mainstay_engine::health::Health;
use mainstay_engine::health::check::{CheckStatus, Verdict};
use mainstay_engine::limits::{CHECK_RESULT_GRACE, FIRST_CHECKS};
use mainstay_engine::plan::{Bind, Check, Frontend, Plan, Pool, PoolId, Server, ServerId, ServerIndex};
use mainstay_engine::serving::{ServerView, Serving, WEIGHT_SCALE};
use mainstay_engine::time::Instant;
use mainstay_engine::{Event, Output};
use proptest::prelude::*;

const LATENCY: Duration = Duration::from_millis(3);
const INTERVAL: Duration = Duration::from_secs(2);
const FAST: Duration = Duration::from_millis(500);
const DOWN: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(1);

/// How a server of the test treats checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// Passes.
    Pass,
    /// Refuses the connect.
    Refuse,
    /// Its verdict never arrives.
    Lost,
    /// The check cannot run.
    Unable,
}

impl Answer {
    fn verdict(self) -> Verdict {
        let (status, detail) = match self {
            Self::Pass => (CheckStatus::L4Ok, ""),
            Self::Refuse => (CheckStatus::L4Con, "Connection refused"),
            Self::Unable | Self::Lost => (CheckStatus::Sockerr, "Too many open files"),
        };
        Verdict { status, code: None, detail: detail.to_owned(), took: LATENCY }
    }
}

/// Health, a clock, and servers on the other side.
struct Rig {
    health: Health,
    now: Instant,
    answers: Vec<Answer>,
    /// Verdicts on their way: when, server, attempt.
    underway: Vec<(Instant, usize, u64)>,
    /// When attempts started, by server.
    starts: Vec<(Instant, usize)>,
    views: Vec<Arc<Serving>>,
    events: Vec<(Severity, String)>,
    /// The order of outputs other than checks.
    order: Vec<&'static str>,
}

impl Rig {
    fn new(servers: Vec<Server>) -> Self {
        Self::with_plan(plan(servers), 7)
    }

    fn with_plan(plan: Plan, seed: u64) -> Self {
        let now = Instant::from_nanos(1_000_000_000);
        let answers = vec![Answer::Pass; plan.servers().count()];
        let health = Health::new(Arc::new(plan), seed, now);
        let mut rig = Self {
            health,
            now,
            answers,
            underway: Vec::new(),
            starts: Vec::new(),
            views: Vec::new(),
            events: Vec::new(),
            order: Vec::new(),
        };
        rig.drain();
        rig
    }

    /// Lets time pass, answering checks after [`LATENCY`].
    fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let timer = self.health.poll_timeout().map(|deadline| deadline.at);
            let verdict = self.underway.iter().map(|&(at, ..)| at).min();
            let Some(next) = timer.into_iter().chain(verdict).min().filter(|&next| next <= end) else {
                break;
            };
            assert!(next >= self.now);
            self.now = next;
            if let Some(position) = self.underway.iter().position(|&(at, ..)| at == next) {
                let (_, server, attempt) = self.underway.remove(position);
                self.finish(server, attempt, self.answers[server]);
            } else {
                self.health.handle_timeout(next);
                self.drain();
                let after = self.health.poll_timeout().map(|deadline| deadline.at);
                assert!(after.is_none_or(|after| after > next), "nothing that was due is still due");
            }
        }
        self.now = end;
    }

    /// Lets time pass until a server is in `state`.
    fn run_until(&mut self, server: usize, state: &str) {
        let end = self.now + 10 * DOWN;
        while self.status(server).state != state {
            assert!(self.now < end, "{} instead of {state}", self.status(server).state);
            self.run(Duration::from_millis(1));
        }
    }

    fn finish(&mut self, server: usize, attempt: u64, answer: Answer) {
        self.health.handle_check_finished(id(server), attempt, answer.verdict(), self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.health.poll_output() {
            match output {
                Output::StartCheck { server, attempt, .. } => {
                    let server = usize::from(server.server.0);
                    assert!(
                        self.underway.iter().all(|&(_, other, _)| other != server),
                        "two attempts at once"
                    );
                    self.starts.push((self.now, server));
                    if self.answers[server] != Answer::Lost {
                        self.underway.push((self.now + LATENCY, server, attempt));
                    }
                }
                Output::Publish(view) => {
                    self.views.push(view);
                    self.order.push("publish");
                }
                Output::ShutdownSessions { .. } => self.order.push("shutdown"),
                Output::Log(_) => {}
                Output::Event(event @ Event::Health(_)) => {
                    self.events.push((event.severity(), event.to_string()));
                    self.order.push("event");
                }
                other => panic!("health never does {other:?}"),
            }
        }
    }

    fn view(&self) -> &[ServerView] {
        &self.views.last().expect("the first output is a view").pools[0].servers
    }

    fn selectable(&self) -> Vec<bool> {
        self.view().iter().map(|server| server.selectable).collect()
    }

    fn status(&self, server: usize) -> ServerStatus {
        self.health.pool_status(self.now)[0].servers[server].clone()
    }

    /// Events of at least `severity` since the last call.
    fn said(&mut self, severity: Severity) -> Vec<String> {
        self.events.drain(..).filter(|&(of, _)| of >= severity).map(|(_, text)| text).collect()
    }

    /// Times between the starts of the latest `count` + 1 attempts at a server.
    fn gaps(&self, server: usize, count: usize) -> Vec<Duration> {
        let starts: Vec<Instant> =
            self.starts.iter().filter(|&&(_, of)| of == server).map(|&(at, _)| at).collect();
        let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1].since(pair[0])).collect();
        gaps[gaps.len() - count..].to_vec()
    }
}

fn id(server: usize) -> ServerId {
    ServerId { pool: PoolId(0), server: ServerIndex(u16::try_from(server).expect("few servers")) }
}

fn checked(name: &str) -> Server {
    let address = SocketAddr::from((Ipv4Addr::new(10, 0, 0, 11), 6443));
    let check = Check {
        interval: INTERVAL,
        fast_interval: FAST,
        down_interval: DOWN,
        connect_timeout: TIMEOUT,
        answer_timeout: TIMEOUT,
        ..Check::new(address)
    };
    Server { weight: 10, maxconn: Some(200), check: Some(check), ..Server::new(name, address) }
}

fn three() -> Vec<Server> {
    ["cp1", "cp2", "cp3"].map(checked).into()
}

fn plan(servers: Vec<Server>) -> Plan {
    let bind = Bind { dual_stack: true, ..Bind::new(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 6443))) };
    let frontend = Frontend::new("api", vec![bind], PoolId(0));
    Plan { pools: vec![Pool::new("k8s", servers)], frontends: vec![frontend], ..Plan::default() }
}

#[test]
fn all_servers_serve_before_the_first_check() {
    let rig = Rig::new(three());
    assert_eq!((rig.views.len(), rig.selectable()), (1, vec![true; 3]));
    let view = &rig.views[0];
    assert_eq!(*view.pools[0].rotation, [0, 1, 2]);
    assert_eq!((view.frontends.len(), rig.starts.len()), (1, 0));
    assert_eq!(rig.health.frontend_status(rig.now)[0].binds, ["[::]:6443"]);
}

#[test]
fn one_failed_check_at_the_start_takes_a_server_down() {
    let mut rig = Rig::new(three());
    rig.answers[1] = Answer::Refuse;
    rig.run(FIRST_CHECKS + LATENCY);
    assert_eq!(rig.selectable(), [true, false, true]);
    let down = "server k8s/cp2 is down: L4CON in 3ms (Connection refused); 2 of 3 servers up";
    assert_eq!(rig.said(Severity::Debug), [down]);
    assert_eq!(*rig.views.last().unwrap().pools[0].rotation, [0, 2]);
}

#[test]
fn a_server_falls_and_rises_as_often_as_it_is_told() {
    let mut rig = Rig::new(vec![checked("cp1"), checked("cp2")]);
    rig.run(10 * INTERVAL);
    assert_eq!(rig.views.len(), 1, "passed checks change nothing");
    assert_eq!(rig.gaps(0, 3), [INTERVAL; 3]);

    rig.answers[0] = Answer::Refuse;
    rig.run_until(0, "up, going down");
    assert_eq!(rig.selectable(), [true; 2]);
    rig.run_until(0, "down");
    assert_eq!(rig.selectable(), [false, true]);
    assert_eq!(rig.gaps(0, 2), [FAST; 2]);
    assert_eq!(
        rig.said(Severity::Debug),
        [
            "server k8s/cp1 is going down: L4CON in 3ms (Connection refused); 1 of 3 checks failed",
            "server k8s/cp1 is going down: L4CON in 3ms (Connection refused); 2 of 3 checks failed",
            "server k8s/cp1 is down: L4CON in 3ms (Connection refused); 1 of 2 servers up",
        ]
    );

    rig.run(2 * DOWN);
    assert_eq!(rig.gaps(0, 2), [DOWN; 2]);
    rig.answers[0] = Answer::Pass;
    rig.run_until(0, "down, going up");
    assert_eq!(rig.selectable(), [false, true]);
    rig.run_until(0, "up");
    assert_eq!(rig.selectable(), [true; 2]);
    assert_eq!(rig.gaps(0, 1), [FAST]);
    assert_eq!(
        rig.said(Severity::Debug),
        [
            "server k8s/cp1 is going up: L4OK in 3ms; 1 of 2 checks passed",
            "server k8s/cp1 is up: L4OK in 3ms; 2 of 2 servers up",
        ]
    );
    assert_eq!(rig.views.len(), 3);
}

#[test]
fn failures_have_to_be_in_a_row() {
    let mut rig = Rig::new(three());
    rig.run(2 * INTERVAL);
    for _ in 0..10 {
        rig.answers[0] = Answer::Refuse;
        rig.run_until(0, "up, going down");
        rig.run(FAST);
        rig.answers[0] = Answer::Pass;
        rig.run_until(0, "up");
    }
    assert_eq!((rig.selectable(), rig.views.len()), (vec![true; 3], 1));
}

#[test]
fn first_checks_are_spread_and_differ_between_balancers() {
    let firsts = |seed| {
        let mut rig = Rig::with_plan(plan(three()), seed);
        rig.run(FIRST_CHECKS);
        rig.starts.iter().map(|&(at, server)| (at.as_nanos(), server)).collect::<Vec<_>>()
    };
    let one = firsts(1);
    assert_eq!(one.iter().map(|&(_, server)| server).collect::<Vec<_>>(), [0, 1, 2]);
    let third = u64::try_from(FIRST_CHECKS.as_nanos() / 3).unwrap();
    assert!(one.windows(2).all(|pair| pair[1].0 - pair[0].0 == third));
    assert_eq!(one, firsts(1), "the same seed gives the same times");
    assert_ne!(one, firsts(2));
}

#[test]
fn spread_checks_moves_every_interval() {
    let mut rig = Rig::with_plan(Plan { spread_checks: 20, ..plan(three()) }, 3);
    rig.run(50 * INTERVAL);
    let gaps = rig.gaps(0, 30);
    assert!(gaps.iter().all(|&gap| gap >= INTERVAL * 8 / 10 && gap <= INTERVAL * 12 / 10), "{gaps:?}");
    assert!(gaps.iter().any(|&gap| gap != gaps[0]));
}

#[test]
fn a_lost_result_is_given_up_and_a_late_one_ignored() {
    let mut rig = Rig::new(vec![checked("cp1")]);
    rig.run(INTERVAL);
    rig.answers[0] = Answer::Lost;
    rig.run(INTERVAL);
    let attempts = rig.starts.len();
    rig.run(
        2 * TIMEOUT + CHECK_RESULT_GRACE
            - Duration::from_millis(1)
            - (rig.now.since(rig.starts[attempts - 1].0)),
    );
    assert_eq!(rig.starts.len(), attempts, "the attempt is still waited for");
    rig.run(Duration::from_millis(1));
    assert_eq!(rig.starts.len(), attempts + 1, "and then the next one starts");
    let lost =
        "server k8s/cp1 could not be checked, its state stays: SOCKERR in 7000ms (its result never came)";
    assert_eq!((rig.said(Severity::Debug), rig.selectable()), (vec![lost.to_owned()], vec![true]));

    let latest = u64::try_from(attempts + 1).unwrap();
    for attempt in [0, latest - 1, latest + 1] {
        rig.finish(0, attempt, Answer::Refuse);
    }
    assert!(rig.said(Severity::Debug).is_empty());
    rig.finish(0, latest, Answer::Refuse);
    rig.finish(0, latest, Answer::Refuse);
    assert_eq!(rig.said(Severity::Debug).len(), 1, "one attempt, one result");
    rig.health.handle_check_finished(id(9), 1, Answer::Refuse.verdict(), rig.now);
    assert!(rig.health.poll_output().is_none(), "a server that does not exist");
}

#[test]
fn a_check_that_cannot_run_says_nothing_about_the_server() {
    let mut rig = Rig::new(three());
    rig.run(INTERVAL);
    rig.answers.fill(Answer::Unable);
    rig.run(10 * INTERVAL);
    assert_eq!(rig.selectable(), [true; 3]);
    assert_eq!(rig.said(Severity::Warning).len(), 3, "once for each server, not once for each check");
    rig.answers.fill(Answer::Refuse);
    rig.run(3 * INTERVAL);
    assert_eq!(rig.selectable(), [false; 3]);
}

#[test]
fn the_last_server_to_go_is_an_error_and_the_first_to_return_ends_it() {
    let mut rig = Rig::new(three());
    rig.answers.fill(Answer::Refuse);
    rig.run(FIRST_CHECKS);
    let said = rig.said(Severity::Error);
    assert_eq!(said, ["pool k8s has no server left: its new connections fail"]);
    rig.answers[2] = Answer::Pass;
    rig.run(3 * DOWN);
    let said = rig.said(Severity::Info);
    assert_eq!(said, ["server k8s/cp3 is up: L4OK in 3ms; 1 of 3 servers up", "pool k8s has a server again"]);
}

#[test]
fn sessions_are_shut_down_after_the_view_without_their_server() {
    let mut servers = three();
    servers[0].shutdown_sessions_when_down = true;
    let mut rig = Rig::new(servers);
    rig.answers[0] = Answer::Refuse;
    rig.run(FIRST_CHECKS);
    assert_eq!(rig.order, ["publish", "publish", "shutdown", "event"]);
    rig.answers[1] = Answer::Refuse;
    rig.run(2 * INTERVAL);
    assert_eq!(rig.order.iter().filter(|&&what| what == "shutdown").count(), 1);
}

#[test]
fn backup_servers_serve_only_when_nobody_else_can() {
    let backups = || {
        let mut servers = vec![checked("cp1"), checked("b1"), checked("b2"), checked("b3")];
        servers[1..].iter_mut().for_each(|server| server.backup = true);
        servers
    };
    let mut rig = Rig::new(backups());
    assert_eq!(rig.selectable(), [true, false, false, false]);
    rig.answers[..2].fill(Answer::Refuse);
    rig.run(INTERVAL);
    assert_eq!(rig.selectable(), [false, false, true, false], "the first backup that works");
    rig.answers[0] = Answer::Pass;
    rig.run(3 * DOWN);
    assert_eq!(rig.selectable(), [true, false, false, false]);

    let mut all = plan(backups());
    all.pools[0].all_backups = true;
    let mut rig = Rig::with_plan(all, 1);
    rig.answers[0] = Answer::Refuse;
    rig.run(INTERVAL);
    assert_eq!(rig.selectable(), [false, true, true, true]);
}

#[test]
fn what_is_disabled_weightless_or_unchecked() {
    let mut servers = three();
    servers[0].disabled = true;
    servers[1].weight = 0;
    servers[2].check = None;
    let mut rig = Rig::new(servers);
    rig.answers.fill(Answer::Refuse);
    rig.run(10 * INTERVAL);
    assert_eq!(rig.selectable(), [false, false, true]);
    let states: Vec<_> = (0..3).map(|server| rig.status(server).state).collect();
    assert_eq!(states, ["maintenance", "down", "no check"]);
    assert!(rig.starts.iter().all(|&(_, server)| server == 1));
    let down = "server k8s/cp2 is down: L4CON in 3ms (Connection refused); 1 of 2 servers up";
    assert_eq!(rig.said(Severity::Debug), [down]);

    let mut disabled = checked("cp1");
    disabled.disabled = true;
    let mut rig = Rig::new(vec![disabled]);
    assert_eq!(rig.said(Severity::Error), ["pool k8s has no server left: its new connections fail"]);
    assert_eq!(rig.health.poll_timeout(), None, "nothing will ever be due");
}

#[test]
fn a_server_that_comes_back_starts_slowly() {
    let slow_start = Duration::from_secs(60);
    let mut servers = vec![checked("cp1"), checked("cp2")];
    servers.iter_mut().for_each(|server| server.slow_start = Some(slow_start));
    let mut rig = Rig::new(servers);
    let full = (10 * WEIGHT_SCALE, Some(200));
    let share = |rig: &Rig| (rig.view()[0].weight, rig.view()[0].maxconn);
    assert_eq!(share(&rig), full, "not at the start of the daemon");
    rig.answers[0] = Answer::Refuse;
    rig.run(INTERVAL);
    rig.answers[0] = Answer::Pass;
    rig.run_until(0, "up");
    assert_eq!(share(&rig), (10, Some(1)));
    assert_eq!(rig.status(0).effective_weight, 1);
    let published = rig.views.len();
    rig.run(slow_start / 2);
    let (weight, maxconn) = share(&rig);
    assert!((80..=90).contains(&weight) && (90..=100).contains(&maxconn.unwrap()), "{weight} {maxconn:?}");
    rig.run(slow_start / 2);
    assert_eq!(share(&rig), full);
    let steps = rig.views.len() - published;
    assert!((15..=20).contains(&steps), "{steps} views");
    rig.run(slow_start);
    assert_eq!(rig.views.len() - published, steps, "and that is the end of it");
}

#[test]
fn going_down_ends_a_slow_start() {
    let mut server = checked("cp1");
    server.slow_start = Some(Duration::from_secs(600));
    let mut rig = Rig::new(vec![server]);
    for answer in [Answer::Refuse, Answer::Pass, Answer::Refuse] {
        rig.answers[0] = answer;
        rig.run(3 * DOWN);
    }
    let views = rig.views.len();
    rig.run(Duration::from_secs(700));
    assert_eq!(rig.views.len(), views);
}

#[test]
fn status_shows_what_an_operator_asks_for() {
    let mut rig = Rig::new(three());
    rig.answers[1] = Answer::Refuse;
    rig.run(FIRST_CHECKS);
    rig.view()[0].load.acquire(None);
    rig.run(DOWN / 2);
    let up = rig.status(0);
    assert_eq!((up.state.as_str(), up.sessions, up.weight, up.maxconn), ("up", 1, 10, Some(200)));
    assert_eq!((up.check.as_deref(), up.checked.unwrap() < INTERVAL), (Some("L4OK in 3ms"), true));
    assert_eq!(up.since, FIRST_CHECKS + DOWN / 2);
    let down = rig.status(1);
    assert_eq!(down.check.as_deref(), Some("L4CON in 3ms (Connection refused)"));
    assert!(down.since >= DOWN / 2 && down.since < FIRST_CHECKS + DOWN / 2);
    assert_eq!(down.address, "10.0.0.11:6443");
    assert_eq!(rig.health.pool_status(rig.now)[0].algorithm, "roundrobin");
}

/// What happens to a random server, or to time.
#[derive(Clone, Debug)]
enum Step {
    Answer(usize, Answer),
    Pass(Duration),
    Late(usize, u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let answer =
        prop_oneof![Just(Answer::Pass), Just(Answer::Refuse), Just(Answer::Lost), Just(Answer::Unable)];
    let step = prop_oneof![
        (0_usize..4, answer).prop_map(|(server, answer)| Step::Answer(server, answer)),
        (1_u64..20_000).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
        (0_usize..4, 0_u64..50).prop_map(|(server, attempt)| Step::Late(server, attempt)),
    ];
    prop::collection::vec(step, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn whatever_happens_views_are_true_and_no_check_runs_twice(
        steps in steps(),
        seed: u64,
        spread_checks in 0_u8..=50,
        backup: bool,
    ) {
        let mut servers = three();
        servers.push(checked("cp4"));
        servers[3].backup = backup;
        servers[2].slow_start = Some(Duration::from_secs(10));
        let mut rig = Rig::with_plan(Plan { spread_checks, ..plan(servers) }, seed);
        for step in steps {
            match step {
                Step::Answer(server, answer) => rig.answers[server] = answer,
                Step::Pass(span) => rig.run(span),
                Step::Late(server, attempt) if rig.underway.iter().all(|&(_, of, number)| (of, number) != (server, attempt)) => {
                    let lost = rig.answers[server] == Answer::Lost;
                    if !lost { rig.finish(server, attempt, Answer::Refuse); }
                }
                Step::Late(..) => {}
            }
            // A healthy server is never left out, an unhealthy one never in.
            let up = |server: usize| rig.status(server).state.starts_with("up");
            let main: Vec<bool> = (0..4).map(|server| up(server) && !(backup && server == 3)).collect();
            let needed = !main.contains(&true);
            let expected: Vec<bool> = (0..4).map(|server| main[server] || (needed && up(server))).collect();
            prop_assert_eq!(rig.selectable(), expected);
        }
        let seen = |view: &Arc<Serving>| {
            let server =
                |server: &ServerView| (server.selectable, server.usable, server.weight, server.maxconn);
            view.pools[0].servers.iter().map(server).collect::<Vec<_>>()
        };
        prop_assert!(rig.views.windows(2).all(|pair| seen(&pair[0]) != seen(&pair[1])), "a view for nothing");
    }
}
