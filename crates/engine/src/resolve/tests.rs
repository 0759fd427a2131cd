//! Names and servers on a clock of their own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Event;
use crate::engine::Output;
use crate::plan::{Family, Lookup, Network, Plan, Pool, Resolver, ResolverId, Server};
use crate::resolve::event::ResolveEvent;
use crate::resolve::{Answer, Instance, Problem, RecordKind, Resolve};
use crate::time::Instant;

const UNKNOWN: &str = "0.0.0.0";

/// Servers `s0`, `s1` … of one name, and a clock.
struct Rig {
    resolve: Resolve,
    now: Instant,
    /// The latest question.
    asked: Option<(u64, String, RecordKind)>,
    said: Vec<ResolveEvent>,
}

impl Rig {
    fn new(lookup: &Lookup, servers: usize, port: u16, first: &str) -> Self {
        Self::with(lookup, servers, port, first, Resolver::new("dns", Vec::new()))
    }

    fn with(lookup: &Lookup, servers: usize, port: u16, first: &str, resolver: Resolver) -> Self {
        let address = (first.parse::<IpAddr>().unwrap(), port).into();
        let server =
            |index| Server { lookup: Some(lookup.clone()), ..Server::new(format!("s{index}"), address) };
        let pools = vec![Pool::new("k8s", (0..servers).map(server).collect())];
        let plan = Plan { pools, resolvers: vec![resolver], ..Plan::default() };
        let now = Instant::from_nanos(1_000_000_000);
        let mut rig = Self { resolve: Resolve::new(Arc::new(plan), now), now, asked: None, said: Vec::new() };
        rig.wait(Duration::ZERO);
        rig
    }

    /// Lets time pass; what is asked then.
    fn wait(&mut self, time: Duration) -> Option<RecordKind> {
        self.now = self.now + time;
        self.resolve.handle_timeout(self.now);
        self.collect()
    }

    fn collect(&mut self) -> Option<RecordKind> {
        self.asked = None;
        while let Some(output) = self.resolve.poll_output() {
            match output {
                Output::Resolve { attempt, question } => {
                    self.asked = Some((attempt, question.name, question.kind));
                }
                Output::Event(Event::Resolve(event)) => self.said.push(event),
                other => panic!("{other:?}"),
            }
        }
        self.asked.as_ref().map(|(.., kind)| *kind)
    }

    /// Answers the latest question; what is asked at once.
    fn answer(&mut self, answer: Answer) -> Option<RecordKind> {
        let (attempt, ..) = self.asked.clone().expect("a question");
        self.resolve.handle_answer(attempt, answer, self.now);
        self.collect()
    }

    fn fail(&mut self, problem: Problem) -> Option<RecordKind> {
        self.answer(Answer::Failed(problem))
    }

    /// The moves since the last call: which server, where to, which weight.
    fn moves(&mut self) -> Vec<String> {
        let mut moves = Vec::new();
        while let Some(moved) = self.resolve.poll_move() {
            let address = moved.address.map_or_else(|| "nowhere".to_owned(), |address| address.to_string());
            let weight = moved.weight.map_or_else(String::new, |weight| format!(" weight {weight}"));
            moves.push(format!("s{} {address}{weight}", moved.server.server.0));
        }
        moves
    }
}

fn addresses(list: &[&str]) -> Answer {
    Answer::Addresses(list.iter().map(|address| address.parse().unwrap()).collect())
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn ipv4() -> Lookup {
    Lookup { prefer: Family::Ipv4, ..Lookup::new(ResolverId(0), "cp.test") }
}

#[test]
fn the_other_family_is_asked_at_once_when_the_preferred_one_has_nothing() {
    let mut rig = Rig::new(&Lookup::new(ResolverId(0), "cp.test"), 1, 80, UNKNOWN);
    assert_eq!(rig.asked.clone().unwrap().2, RecordKind::Aaaa);
    assert_eq!(rig.fail(Problem::NoRecord), Some(RecordKind::A));
    assert_eq!(rig.answer(addresses(&["10.0.0.5"])), None);
    assert_eq!(rig.moves(), ["s0 10.0.0.5:80"]);
    assert_eq!(rig.wait(Duration::from_millis(999)), None);
    assert_eq!(rig.wait(Duration::from_millis(1)), Some(RecordKind::Aaaa), "a second later, and IPv6 again");
    assert!(rig.said.is_empty(), "{:?}", rig.said);
}

#[test]
fn a_server_keeps_its_address_for_as_long_as_it_is_among_the_answers() {
    let mut rig = Rig::new(&ipv4(), 1, 80, UNKNOWN);
    rig.answer(addresses(&["10.0.0.6", "10.0.0.5"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.5:80"]);
    for answer in [&["10.0.0.6", "10.0.0.5", "10.0.0.4"][..], &["10.0.0.5"]] {
        rig.wait(seconds(1));
        rig.answer(addresses(answer));
        assert!(rig.moves().is_empty());
    }
    rig.wait(seconds(1));
    rig.answer(addresses(&["10.0.0.7"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.7:80"]);
}

#[test]
fn slots_have_different_addresses_and_the_rest_none() {
    let mut rig = Rig::new(&ipv4(), 3, 80, UNKNOWN);
    rig.answer(addresses(&["10.0.0.6", "10.0.0.5"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.5:80", "s1 10.0.0.6:80"]);
    rig.wait(seconds(1));
    rig.answer(addresses(&["10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.9"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.7:80", "s2 10.0.0.8:80"], "s1 stays where it is");
    rig.wait(seconds(1));
    rig.answer(addresses(&["10.0.0.8"]));
    assert_eq!(rig.moves(), ["s0 nowhere", "s1 nowhere"]);
    let mut rig = Rig::new(&Lookup { duplicates: true, ..ipv4() }, 2, 80, UNKNOWN);
    rig.answer(addresses(&["10.0.0.5"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.5:80", "s1 10.0.0.5:80"]);
}

#[test]
fn an_address_that_is_gone_counts_for_hold_obsolete() {
    let mut resolver = Resolver::new("dns", Vec::new());
    resolver.hold.obsolete = seconds(2);
    let mut rig = Rig::with(&ipv4(), 1, 80, UNKNOWN, resolver);
    rig.answer(addresses(&["10.0.0.5"]));
    rig.moves();
    for _ in 0..2 {
        rig.wait(seconds(1));
        rig.answer(addresses(&["10.0.0.6"]));
        assert!(rig.moves().is_empty());
    }
    rig.wait(seconds(1));
    rig.answer(addresses(&["10.0.0.6"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.6:80"]);
}

#[test]
fn a_name_that_fails_keeps_its_last_address_for_hold() {
    let mut rig = Rig::new(&ipv4(), 1, 80, UNKNOWN);
    rig.answer(addresses(&["10.0.0.5"]));
    rig.moves();
    let mut resolutions = 0;
    while rig.moves().is_empty() {
        rig.wait(seconds(1));
        for attempt in 0..3 {
            if attempt > 0 {
                rig.wait(seconds(1));
            }
            assert_eq!(rig.fail(Problem::NoName), Some(RecordKind::Aaaa), "the other family");
            assert_eq!(rig.fail(Problem::NoName), None, "the next try is a second later");
        }
        resolutions += 1;
        assert!(resolutions < 20);
    }
    assert_eq!(resolutions, 10, "three seconds each, and `hold nx` is 30");
    let failed = ResolveEvent::NameFails {
        section: "dns".to_owned(),
        name: "cp.test".to_owned(),
        problem: Problem::NoName,
    };
    assert_eq!(rig.said, [failed], "said once, not with every resolution");
    rig.wait(seconds(1));
    rig.answer(addresses(&["10.0.0.5"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.5:80"]);
    assert!(matches!(rig.said.last(), Some(ResolveEvent::NameResolves { .. })));
}

#[test]
fn silence_is_waited_for_once_and_lost_answers_do_not_stop_anything() {
    let mut rig = Rig::new(&ipv4(), 1, 80, "10.0.0.1");
    assert_eq!(rig.fail(Problem::Timeout), Some(RecordKind::Aaaa));
    assert_eq!(rig.fail(Problem::Timeout), Some(RecordKind::A), "its time is over, so the next try is now");
    let (attempt, ..) = rig.asked.clone().unwrap();
    assert_eq!(rig.wait(seconds(6)), Some(RecordKind::Aaaa), "given up");
    rig.resolve.handle_answer(attempt, addresses(&["10.0.0.9"]), rig.now);
    assert!(rig.moves().is_empty(), "an answer that comes too late is nobody's");
}

#[test]
fn the_first_address_stays_until_dns_says_something_or_its_time_is_over() {
    let mut rig = Rig::new(&ipv4(), 2, 80, "10.0.0.1");
    rig.fail(Problem::Refused);
    rig.fail(Problem::Refused);
    assert!(rig.moves().is_empty());
    rig.wait(seconds(1));
    rig.answer(addresses(&["10.0.0.1", "10.0.0.2"]));
    assert_eq!(rig.moves(), ["s1 10.0.0.2:80"]);
}

#[test]
fn preferred_networks_come_first() {
    let networks = vec![Network { address: "10.1.0.0".parse().unwrap(), prefix_length: 16 }];
    let mut rig = Rig::new(&Lookup { networks, ..ipv4() }, 2, 80, UNKNOWN);
    rig.answer(addresses(&["10.0.0.1", "10.1.0.9", "10.2.0.1"]));
    assert_eq!(rig.moves(), ["s0 10.1.0.9:80", "s1 10.0.0.1:80"]);
}

#[test]
fn a_service_tells_hosts_ports_and_weights() {
    let lookup = Lookup { name: "_api._tcp.test".to_owned(), service: true, ..ipv4() };
    let mut rig = Rig::new(&lookup, 3, 0, UNKNOWN);
    let instance = |host: &str, port, weight| Instance { host: host.to_owned(), port, weight };
    assert_eq!(rig.asked.clone().unwrap().2, RecordKind::Srv);
    let both = vec![instance("a.test", 1, 256), instance("a.test", 2, 65_535)];
    assert_eq!(rig.answer(Answer::Instances(both)), Some(RecordKind::A), "one host, one question");
    assert_eq!(rig.asked.clone().unwrap().1, "a.test");
    assert_eq!(rig.moves(), ["s0 nowhere weight 1", "s1 nowhere weight 256"]);
    rig.answer(addresses(&["10.0.0.1"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.1:1 weight 1", "s1 10.0.0.1:2 weight 256"]);
    let names = |rig: &Rig| rig.resolve.names.keys().map(|key| key.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&rig), ["_api._tcp.test", "a.test"]);
    // Both are due, and the service comes first.
    rig.now = rig.now + seconds(1);
    rig.resolve.handle_timeout(rig.now);
    let Some(Output::Resolve { attempt, .. }) = rig.resolve.poll_output() else { panic!("a question") };
    let moved = vec![instance("b.test", 1, 0), instance("a.test", 2, 0)];
    rig.resolve.handle_answer(attempt, Answer::Instances(moved), rig.now);
    assert_eq!(rig.moves(), ["s0 nowhere weight 0", "s1 10.0.0.1:2 weight 0"], "s1 is what it was");
    rig.collect();
    assert_eq!(rig.asked.clone().unwrap().1, "b.test");
    rig.answer(addresses(&["10.0.0.2"]));
    assert_eq!(rig.moves(), ["s0 10.0.0.2:1 weight 0"]);
}
