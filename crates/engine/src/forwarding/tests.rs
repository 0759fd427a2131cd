//! What becomes of plans, health and failures.

use super::*;
use crate::admin::{Reply, Request};
use crate::engine::{Engine, Input};
use crate::health::check::{CheckStatus, Verdict};
use crate::health::order::{Order, Outcome, Refusal, ServerOrder};
use crate::limits::MAGLEV_ENTRIES;
use crate::plan::{Bind, Check, DeadServer, Forwarding, Frontend, Nat, Pool, Server};

const NOW: Instant = Instant::from_nanos(0);

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 6443))
}

/// One endpoint and as many servers as weights, all checked.
fn plan(weights: &[u16]) -> Plan {
    let server = |(index, &weight): (usize, &u16)| {
        let index = u8::try_from(index).unwrap();
        let check = Some(Check { fall: 1, rise: 1, ..Check::new(address(30 - index)) });
        // Addresses fall while numbers rise.
        Server { weight, check, ..Server::new(format!("s{index}"), address(30 - index)) }
    };
    let servers = weights.iter().enumerate().map(server).collect();
    let nat = Nat { endpoints: vec![address(100)], key: FlowKey::AddressAndPort };
    let frontend = Frontend {
        forwarding: Forwarding::Nat(nat),
        ..Frontend::new("api", vec![Bind::new(address(0))], PoolId(0))
    };
    Plan { frontends: vec![frontend], pools: vec![Pool::new("cp", servers)], ..Plan::default() }
}

/// An engine, and what it wanted done so far.
struct Bench {
    engine: Engine,
    now: Instant,
    /// The attempt under way at each server.
    attempts: Vec<u64>,
    done: Vec<String>,
    forwarding: Arc<KernelForwarding>,
}

impl Bench {
    fn new(plan: Plan) -> Self {
        let servers = plan.pools[0].servers.len();
        let engine = Engine::new(Arc::new(plan), 7, NOW);
        let forwarding = engine.forwarding().unwrap();
        let mut bench = Self { engine, now: NOW, attempts: vec![0; servers], done: Vec::new(), forwarding };
        bench.after(Duration::from_secs(1));
        bench
    }

    fn after(&mut self, time: Duration) {
        self.now = self.now + time;
        self.engine.handle_timeout(self.now);
        self.collect();
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(input, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::StartCheck { server, attempt, .. } => {
                    self.attempts[usize::from(server.server.0)] = attempt;
                }
                Output::Forward(forwarding) => {
                    self.forwarding = forwarding;
                    self.done.push("forward".to_owned());
                }
                Output::DeleteFlows { endpoints, server } => {
                    self.done.push(format!("delete {endpoints:?} {server}"));
                }
                Output::Event(Event::Forwarding(event)) => self.done.push(event.to_string()),
                _ => {}
            }
        }
    }

    /// Has the check of a server end.
    fn check(&mut self, index: u16, status: CheckStatus) {
        let server = ServerId { pool: PoolId(0), server: ServerIndex(index) };
        let verdict = Verdict { status, code: None, detail: String::new(), took: Duration::ZERO };
        let attempt = self.attempts[usize::from(index)];
        self.handle(Input::CheckFinished { server, attempt, verdict });
    }

    fn done(&mut self) -> Vec<String> {
        std::mem::take(&mut self.done)
    }

    /// How many values of the hash lead to each server, by its number.
    fn shares(&self) -> Vec<usize> {
        let pool = &self.forwarding.pools[0];
        let server = |index: &&u16| usize::from(pool.servers[usize::from(**index)].id.server.0);
        let shares = |number| pool.table.iter().filter(|index| server(index) == number).count();
        (0..self.attempts.len()).map(shares).collect()
    }
}

#[test]
fn servers_are_in_the_order_of_their_addresses_and_have_shares_by_weight() {
    let bench = Bench::new(plan(&[1, 1, 2]));
    let addresses: Vec<_> = bench.forwarding.pools[0].servers.iter().map(|server| server.address).collect();
    assert_eq!(addresses, [address(28), address(29), address(30)]);
    let shares = bench.shares();
    assert!(shares.iter().zip([255, 255, 510]).all(|(share, own)| share.abs_diff(own) <= 2), "{shares:?}");
}

#[test]
fn flows_of_a_silent_server_end_and_those_of_one_that_says_no_stay() {
    let mut bench = Bench::new(plan(&[1, 1, 1]));
    bench.check(0, CheckStatus::L7Sts);
    assert_eq!((bench.done(), bench.shares()[0]), (vec!["forward".to_owned()], 0));
    bench.check(1, CheckStatus::L4Tout);
    let deleted = "delete [10.0.0.100:6443] 10.0.0.29:6443".to_owned();
    assert_eq!(
        (bench.done(), bench.shares()),
        (vec!["forward".to_owned(), deleted], vec![0, 0, usize::from(MAGLEV_ENTRIES)])
    );
    // Nowhere to go: clients keep what they have.
    bench.check(2, CheckStatus::L4Tout);
    assert_eq!(bench.done(), ["forward"]);
    assert!(bench.forwarding.pools[0].table.is_empty());
    assert_eq!(bench.forwarding.pools[0].servers.len(), 3, "what they say is still theirs");
}

#[test]
fn the_file_and_the_operator_decide_about_flows_of_dead_servers() {
    let mut keeps = plan(&[1, 1]);
    keeps.pools[0].outage.dead_server = DeadServer::Keep;
    let mut bench = Bench::new(keeps);
    bench.check(0, CheckStatus::L4Tout);
    assert_eq!(bench.done(), ["forward"]);
    let mut shuts_down = plan(&[1, 1]);
    shuts_down.pools[0].servers[0].shutdown_sessions_when_down = true;
    let mut bench = Bench::new(shuts_down);
    bench.check(0, CheckStatus::L7Sts);
    assert_eq!(bench.done(), ["forward", "delete [10.0.0.100:6443] 10.0.0.30:6443"]);
}

#[test]
fn what_changes_nothing_for_the_kernel_is_not_told() {
    let mut bench = Bench::new(plan(&[1, 1]));
    bench.check(0, CheckStatus::L4Ok);
    bench.after(Duration::from_secs(5));
    assert_eq!(bench.done(), [""; 0]);
}

#[test]
fn what_only_a_proxy_can_do_is_refused_while_it_runs() {
    let mut bench = Bench::new(plan(&[1]));
    let mut order =
        |order| bench.engine.handle(Input::Request { ticket: 1, request: Request::Order(order) }, NOW);
    let bounded = Server { maxconn: Some(9), ..Server::new("bounded", address(7)) };
    for server in [bounded, Server::new("more", address(8))] {
        order(Order::AddServer { pool: "cp".to_owned(), server: Box::new(server) });
    }
    let (pool, server) = ("cp".to_owned(), "s0".to_owned());
    order(Order::Server { pool, server, change: ServerOrder::Maxconn(9) });
    let mut said = Vec::new();
    while let Some(output) = bench.engine.poll_output() {
        if let Output::Reply { reply: Reply::Order(outcome), .. } = output {
            said.push(outcome);
        }
    }
    assert_eq!(said, [Err(Refusal::NeedsProxy), Ok(Outcome::Done), Err(Refusal::NeedsProxy)]);
}

#[test]
fn slow_start_is_no_matter() {
    let mut plan = plan(&[4, 4]);
    plan.pools[0].servers[0].slow_start = Some(Duration::from_secs(60));
    let mut bench = Bench::new(plan);
    bench.check(0, CheckStatus::L4Con);
    bench.after(Duration::from_secs(5));
    bench.check(0, CheckStatus::L4Ok);
    assert!(bench.shares()[0].abs_diff(bench.shares()[1]) <= 2, "{:?}", bench.shares());
}

#[test]
fn a_failure_is_said_once_and_tried_again_less_and_less_often() {
    let mut bench = Bench::new(plan(&[1]));
    let failed = || Input::Forwarded(Err("nft refused: it is Monday".to_owned()));
    bench.handle(failed());
    let said = "the kernel does not forward as it should: nft refused: it is Monday; mainstay tries again"
        .to_owned();
    assert_eq!(bench.done(), [said]);
    let status = bench.engine.status(bench.now).forwarding.unwrap();
    assert_eq!(status.failed.as_deref(), Some("nft refused: it is Monday"));
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        bench.after(Duration::from_secs(seconds) - Duration::from_millis(1));
        assert_eq!(bench.done(), [""; 0], "{seconds}");
        bench.after(Duration::from_millis(1));
        assert_eq!(bench.done(), ["forward"], "{seconds}");
        bench.handle(failed());
    }
    bench.handle(Input::Forwarded(Ok(())));
    assert_eq!(bench.done(), ["the kernel forwards as it should again"]);
    assert_eq!(bench.engine.status(bench.now).forwarding.unwrap().failed, None);
}

#[test]
fn two_balancers_that_saw_different_things_end_with_the_same() {
    let (mut one, mut other) = (Bench::new(plan(&[1, 2, 3])), Bench::new(plan(&[1, 2, 3])));
    for index in [0, 1] {
        one.check(index, CheckStatus::L4Con);
    }
    one.after(Duration::from_secs(5));
    for index in [1, 0] {
        one.check(index, CheckStatus::L4Ok);
    }
    assert_eq!(one.forwarding, other.forwarding);
    one.after(Duration::from_secs(5));
    one.check(2, CheckStatus::L4Con);
    other.check(2, CheckStatus::L4Con);
    assert_eq!(one.forwarding, other.forwarding);
}
