//! Routes and rules in the kernel.

use mainstay_engine::plan::{MAIN_TABLE, Network as Net, Route, RouteKind, Rule, RuleAction};

use super::*;

fn net(text: &str) -> Net {
    let (address, length) = text.split_once('/').unwrap();
    Net { address: address.parse().unwrap(), prefix_length: length.parse().unwrap() }
}

fn route(destination: &str) -> Route {
    Route {
        kind: RouteKind::Unicast,
        destination: net(destination),
        gateway: None,
        interface: Some("lan0".to_owned()),
        source: None,
        table: MAIN_TABLE,
        metric: None,
        protocol: 18,
        scope: Scope::Global,
        mtu: None,
        onlink: false,
    }
}

fn rule(family: Family) -> Rule {
    Rule {
        family,
        from: None,
        to: None,
        input_interface: None,
        output_interface: None,
        mark: None,
        action: RuleAction::Table(1000),
        priority: 500,
        protocol: 18,
    }
}

/// An entry, how to ask `ip` for it, and what it says.
type Expected = (RoutingEntry, &'static str, &'static str);

fn entries() -> Vec<Expected> {
    routes().into_iter().chain(rules()).collect()
}

fn routes() -> Vec<Expected> {
    let route_of = |route| RoutingEntry::Route(route);
    let via = |address: &str| Some(address.parse().unwrap());
    vec![
        (
            route_of(Route {
                gateway: via("10.9.0.7"),
                source: via("10.9.0.1"),
                metric: Some(7),
                mtu: Some(1400),
                ..route("10.20.0.0/16")
            }),
            "-d route show 10.20.0.0/16",
            "unicast 10.20.0.0/16 via 10.9.0.7 dev lan0 proto keepalived scope global src 10.9.0.1 metric 7 mtu 1400",
        ),
        (
            route_of(Route {
                gateway: via("172.16.0.1"),
                onlink: true,
                table: 1000,
                protocol: 4,
                ..route("0.0.0.0/0")
            }),
            "-d route show table 1000 default",
            "unicast default via 172.16.0.1 dev lan0 proto static scope global onlink",
        ),
        (
            route_of(Route { scope: Scope::Link, ..route("10.21.0.0/16") }),
            "-d route show 10.21.0.0/16",
            "unicast 10.21.0.0/16 dev lan0 proto keepalived scope link",
        ),
        (
            route_of(Route { kind: RouteKind::Blackhole, interface: None, ..route("10.22.0.0/16") }),
            "-d route show 10.22.0.0/16",
            "blackhole 10.22.0.0/16 proto keepalived scope global",
        ),
        (
            route_of(Route { kind: RouteKind::Throw, interface: None, table: 1000, ..route("10.23.0.0/16") }),
            "-d route show table 1000 10.23.0.0/16",
            "throw 10.23.0.0/16 proto keepalived scope global",
        ),
        (
            route_of(Route { gateway: via("fe80::9"), ..route("2001:db8:1::/48") }),
            "-6 -d route show 2001:db8:1::/48",
            "unicast 2001:db8:1::/48 via fe80::9 dev lan0 proto keepalived scope global metric 1024 pref medium",
        ),
    ]
}

fn rules() -> Vec<Expected> {
    vec![
        (
            RoutingEntry::Rule(Rule { from: Some(net("10.9.0.100/32")), ..rule(Family::Ipv4) }),
            "rule show from 10.9.0.100",
            "500:\tfrom 10.9.0.100 lookup 1000 proto keepalived",
        ),
        (
            RoutingEntry::Rule(Rule {
                to: Some(net("10.30.0.0/16")),
                input_interface: Some("lan0".to_owned()),
                output_interface: Some("lan1".to_owned()),
                mark: Some((5, 7)),
                action: RuleAction::Prohibit,
                priority: 501,
                ..rule(Family::Ipv4)
            }),
            "rule show to 10.30.0.0/16",
            "501:\tfrom all to 10.30.0.0/16 fwmark 0x5/0x7 iif lan0 oif lan1 prohibit proto keepalived",
        ),
        (
            RoutingEntry::Rule(Rule { from: Some(net("2001:db8::/64")), ..rule(Family::Ipv6) }),
            "-6 rule show from 2001:db8::/64",
            "500:\tfrom 2001:db8::/64 lookup 1000 proto keepalived",
        ),
    ]
}

#[test]
fn routes_and_rules_come_and_go_as_they_are_planned() {
    in_namespace("routing::routes_and_rules_come_and_go_as_they_are_planned", || {
        fs::write("/proc/sys/net/ipv6/conf/lan0/disable_ipv6", "0").unwrap();
        let mut network = Network::open(&plan("lan0")).unwrap();
        for (entry, question, expected) in entries() {
            assert!(network.install_routing(&entry).unwrap(), "{entry} is new");
            assert!(!network.install_routing(&entry).unwrap(), "{entry} is there");
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let (said, expected) = (words(&ip(question)), words(expected));
            assert_eq!(said, expected, "{entry}");
            network.remove_routing(&entry).unwrap();
            network.remove_routing(&entry).unwrap();
            assert!(network.install_routing(&entry).unwrap(), "{entry} was gone");
        }
        let entry = RoutingEntry::Route(route("10.40.0.0/16"));
        network.install_routing(&entry).unwrap();
        ip("link delete lan0");
        network.remove_routing(&entry).unwrap();
        let error = network.install_routing(&entry).expect_err("there is no interface");
        assert_eq!(error.to_string(), "No such device (os error 19)");
    });
}

#[test]
fn a_route_goes_before_another_to_the_same_network() {
    in_namespace("routing::a_route_goes_before_another_to_the_same_network", || {
        ip("route add 10.20.0.0/16 via 10.9.0.8");
        let mut network = Network::open(&plan("lan0")).unwrap();
        let entry = RoutingEntry::Route(Route {
            gateway: Some("10.9.0.7".parse().unwrap()),
            ..route("10.20.0.0/16")
        });
        assert!(network.install_routing(&entry).unwrap());
        assert!(ip("route get 10.20.0.1").contains("via 10.9.0.7 "));
        network.remove_routing(&entry).unwrap();
        assert!(ip("route get 10.20.0.1").contains("via 10.9.0.8 "), "the other one stays");
    });
}
