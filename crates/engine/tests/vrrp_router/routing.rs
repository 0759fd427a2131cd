//! Routes and rules move with the addresses: after them, away before them, and put back when they are gone.

use mainstay_engine::limits::{ADDRESS_RENEWAL, HAND_OVER_DRAIN};
use mainstay_engine::plan::{
    Family, MAIN_TABLE, Network, Route, RouteKind, Router, Routing, RoutingEntry, Rule, RuleAction, Scope,
};
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::{Input, Output};

use crate::bench::{Bench, HIGHER, LOWER, OWN, VIRTUAL, events, router};

fn route() -> RoutingEntry {
    RoutingEntry::Route(Route {
        kind: RouteKind::Unicast,
        destination: Network { address: [10, 1, 0, 0].into(), prefix_length: 16 },
        gateway: Some(OWN),
        interface: Some("eth0".to_owned()),
        source: Some(VIRTUAL),
        table: MAIN_TABLE,
        metric: None,
        protocol: 18,
        scope: Scope::Global,
        mtu: None,
        onlink: false,
    })
}

fn rule() -> RoutingEntry {
    RoutingEntry::Rule(Rule {
        family: Family::Ipv4,
        from: Some(Network { address: VIRTUAL, prefix_length: 32 }),
        to: None,
        input_interface: None,
        output_interface: None,
        mark: None,
        action: RuleAction::Table(100),
        priority: 500,
        protocol: 18,
    })
}

fn with_routing(priority: u8) -> Router {
    let untracked = RoutingEntry::Route(Route {
        kind: RouteKind::Blackhole,
        destination: Network { address: [10, 2, 0, 0].into(), prefix_length: 16 },
        gateway: None,
        interface: None,
        source: None,
        table: 100,
        metric: Some(7),
        protocol: 18,
        scope: Scope::Global,
        mtu: None,
        onlink: false,
    });
    let routing = vec![
        Routing { entry: route(), tracked: true },
        Routing { entry: untracked, tracked: false },
        Routing { entry: rule(), tracked: true },
    ];
    Router { routing, ..router(priority) }
}

const ROUTE: &str = "+route 10.1.0.0/16 via 10.0.0.5 dev eth0 src 10.0.0.100";
const UNTRACKED: &str = "+route blackhole 10.2.0.0/16 table 100 metric 7";
const RULE: &str = "+rule from 10.0.0.100 lookup 100 priority 500";

fn removals() -> [String; 4] {
    let [route, untracked, rule] = [ROUTE, UNTRACKED, RULE].map(|entry| entry.replacen('+', "-", 1));
    [rule, untracked, route, "remove".to_owned()]
}

#[test]
fn what_an_earlier_life_left_is_removed_at_the_start() {
    let deeds = Bench::unaware(with_routing(100)).deeds();
    assert_eq!(deeds[..4], removals());
}

#[test]
fn addresses_come_first_then_routes_then_rules_and_only_then_announcements() {
    let mut bench = Bench::new(with_routing(100));
    bench.until_active();
    let deeds = bench.deeds();
    assert_eq!(deeds[..6], ["advert 100", "install", ROUTE, UNTRACKED, RULE, "announce"]);
}

#[test]
fn they_go_before_the_addresses_in_the_opposite_order() {
    let mut bench = Bench::active(with_routing(100));
    bench.link(false);
    assert_eq!(bench.deeds(), removals());
}

#[test]
fn they_stay_for_the_connections_that_drain() {
    let mut bench = Bench::active(with_routing(100));
    bench.hear(HIGHER, 120);
    assert_eq!(bench.deeds(), ["silence", "install"]);
    bench.pass(HAND_OVER_DRAIN);
    assert_eq!(bench.deeds(), [&removals()[..], &["no rules".to_owned()]].concat());
}

#[test]
fn a_renewal_asks_for_what_is_to_be_put_back() {
    let mut bench = Bench::active(with_routing(100));
    bench.pass(ADDRESS_RENEWAL);
    let deeds = bench.deeds();
    let at = deeds.iter().position(|deed| deed == "install").expect("a renewal");
    assert_eq!(deeds[at..at + 3], ["install", ROUTE, RULE]);
    assert!(!deeds.contains(&UNTRACKED.to_owned()), "{deeds:?}");
}

#[test]
fn what_was_put_back_and_what_failed_is_said_once() {
    let mut bench = Bench::active(with_routing(100));
    let (route, rule) = (route(), rule());
    bench.handle(Input::RoutingInstalled { entry: &route, anew: true });
    assert!(events(&bench.take()).is_empty(), "the first time it is expected");
    bench.handle(Input::RoutingInstalled { entry: &route, anew: false });
    assert!(events(&bench.take()).is_empty());
    bench.handle(Input::RoutingInstalled { entry: &route, anew: true });
    let done = bench.take();
    assert!(matches!(events(&done)[..], [VrrpEvent::RoutingRestored { .. }]), "{done:?}");
    bench.handle(Input::RoutingInstalled { entry: &route, anew: true });
    assert!(events(&bench.take()).is_empty(), "somebody who removes it all the time does not fill the log");
    for expected in [1, 0] {
        bench.handle(Input::RoutingFailed { entry: &rule, reason: "no such table".to_owned() });
        assert_eq!(events(&bench.take()).len(), expected);
    }
    let status = bench.engine.status(bench.now).routers.remove(0);
    let states: Vec<_> = status.routing.iter().map(|routing| routing.state.as_str()).collect();
    assert_eq!(states, ["in force", "not here", "failed: no such table"]);
    bench.handle(Input::RoutingInstalled { entry: &rule, anew: true });
    assert!(matches!(events(&bench.take())[..], [VrrpEvent::RoutingRecovered { .. }]));
    assert_eq!(bench.state(), "active", "the addresses serve on");
}

#[test]
fn a_backup_wants_nothing_of_it() {
    let mut bench = Bench::new(with_routing(100));
    bench.hear(LOWER, 120);
    bench.pass(ADDRESS_RENEWAL);
    bench.handle(Input::RoutingInstalled { entry: &route(), anew: true });
    bench.handle(Input::RoutingFailed { entry: &rule(), reason: "x".to_owned() });
    let done = bench.take();
    let wanted = |output: &Output| matches!(output, Output::InstallRouting { .. });
    assert!(!done.iter().any(wanted) && events(&done).is_empty(), "{done:?}");
}
