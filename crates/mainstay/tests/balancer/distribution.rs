//! Whom connections go to, algorithm by algorithm.

use std::fmt::Write as _;

use std::net::TcpStream;
use std::thread;

use crate::rig::{Balancer, both, holding, named, tally};

/// The lines of a backend: an algorithm and a server for each weight.
fn backend(lines: &str, weights: &[u16]) -> String {
    let mut text = format!(" {lines}\n");
    for (name, weight) in (0..).zip(weights) {
        let _ = writeln!(text, " server s{name} {} weight {weight}", named(name));
    }
    text
}

#[test]
fn static_round_robin_goes_in_haproxys_order() {
    for weights in [&[1, 1, 1][..], &[3, 1], &[5, 3, 2, 7], &[100, 50, 0, 25]] {
        let [(_, real), (_, ours)] = both(&backend("balance static-rr", weights));
        assert_eq!(ours.ask(60), real.ask(60), "weights {weights:?}");
    }
}

#[test]
fn a_client_goes_to_the_server_it_has_with_haproxy() {
    for lines in [
        "balance source",
        "balance source\n hash-type map-based sdbm avalanche",
        "balance source\n hash-type consistent",
        "balance source\n hash-type consistent djb2 avalanche",
        "balance source\n hash-type consistent sdbm",
        "balance hash src",
        "balance hash src,ipmask(24)\n hash-type map-based djb2",
        "balance hash src\n hash-type map-based wt6 avalanche",
        "balance hash src\n hash-type map-based crc32",
        "balance hash src\n hash-type consistent",
        "balance hash src\n hash-type consistent wt6",
        "balance hash src,ipmask(30)\n hash-type consistent crc32 avalanche",
        "balance hash int(77)",
    ] {
        for weights in [&[1, 1, 1][..], &[3, 1, 2], &[100, 50, 0, 25]] {
            let [(_, real), (_, ours)] = both(&backend(lines, weights));
            for host in 1..=120_u8 {
                let client = [127, host % 7, host.wrapping_mul(37), host];
                assert_eq!(
                    ours.ask_from(client),
                    real.ask_from(client),
                    "{lines}, weights {weights:?}, client {client:?}"
                );
            }
        }
    }
}

const CONNECTIONS: usize = 10_000;

#[test]
fn ten_thousand_connections_are_shared_by_weight() {
    let weights = [3, 1, 4];
    for lines in ["balance roundrobin", "balance static-rr"] {
        for (name, balancer) in both(&backend(lines, &weights)) {
            assert_eq!(tally(&balancer.ask(CONNECTIONS), 3), [3750, 1250, 5000], "{name}, {lines}");
        }
    }
    // One draw by weight. Six standard deviations of a binomial share, and what the points of a ring are apart.
    for (name, balancer) in both(&backend("balance random(1)", &[60, 20, 80])) {
        let shares = tally(&balancer.ask(CONNECTIONS), 3);
        for (share, expected) in shares.iter().zip([3750_usize, 1250, 5000]) {
            assert!(share.abs_diff(expected) < 300 + expected / 10, "{name}: {shares:?}");
        }
    }
}

#[test]
fn ten_thousand_clients_each_have_the_server_they_have_with_haproxy() {
    for lines in ["balance source", "balance hash src\n hash-type consistent"] {
        let [(_, real), (_, ours)] = both(&backend(lines, &[3, 1, 4]));
        let ask = |balancer: &Balancer| -> Vec<u8> {
            let clients = (0..CONNECTIONS).map(|number| u16::try_from(number).expect("few").to_be_bytes());
            clients.map(|[high, low]| balancer.ask_from([127, 1, high, low.max(1)])).collect()
        };
        let (theirs, chosen) = thread::scope(|scope| {
            let theirs = scope.spawn(|| ask(&real));
            let chosen = ask(&ours);
            (theirs.join().expect("no panic"), chosen)
        });
        assert!(chosen == theirs, "{lines}: {:?} and {:?}", tally(&chosen, 3), tally(&theirs, 3));
    }
}

#[test]
fn ten_thousand_connections_in_a_row_go_as_with_haproxy_where_loads_decide() {
    // Nobody holds a connection for long, give or take the one before: the first server always has room, and idle ones take turns whatever they weigh.
    // Of two that are drawn by weight the idler one is taken.
    for lines in ["balance first", "balance leastconn", "balance random(2)"] {
        let [theirs, ours] =
            both(&backend(lines, &[3, 1, 4])).map(|(_, balancer)| tally(&balancer.ask(CONNECTIONS), 3));
        for (share, expected) in ours.iter().zip(&theirs) {
            assert!(share.abs_diff(*expected) <= CONNECTIONS / 20, "{lines}: {ours:?} and {theirs:?}");
        }
    }
}

/// A backend of servers that hold what they get, each with words of its own.
fn holders(lines: &str, servers: &[&str]) -> String {
    let mut text = format!(" {lines}\n");
    for (name, words) in (0..).zip(servers) {
        let _ = writeln!(text, " server s{name} {} {words}", holding(name));
    }
    text
}

/// Connections that stay, each with the server it has got.
fn hold(balancer: &Balancer, count: u8) -> Vec<(TcpStream, u8)> {
    (0..count).map(|number| balancer.hold_from([127, 0, number % 3, number.wrapping_mul(29) | 1])).collect()
}

fn names(held: &[(TcpStream, u8)]) -> Vec<u8> {
    held.iter().map(|(_, name)| *name).collect()
}

#[test]
fn a_bounded_ring_passes_clients_on_as_haproxy_does() {
    for lines in [
        "balance source\n hash-type consistent\n hash-balance-factor 110",
        "balance source\n hash-type consistent\n hash-balance-factor 150",
        "balance hash src\n hash-type consistent wt6\n hash-balance-factor 125",
    ] {
        let [(_, real), (_, ours)] = both(&holders(lines, &["weight 2", "", "weight 3"]));
        let [theirs, held] = [&real, &ours].map(|balancer| hold(balancer, 90));
        assert_eq!(names(&held), names(&theirs), "{lines}");
    }
}

#[test]
fn the_first_server_with_room_is_haproxys() {
    let servers = ["maxconn 3", "maxconn 2", ""];
    let [(_, real), (_, ours)] = both(&holders("balance first", &servers));
    let [theirs, held] = [real, ours].map(|balancer| {
        let mut held = hold(&balancer, 8);
        let mut chosen = names(&held);
        // A place at the second one, then one at the first one.
        for left in [4, 0] {
            drop(held.remove(left));
            balancer.wait_for(SCUR, &held.len().to_string());
            held.extend(hold(&balancer, 1));
            chosen.push(held.last().map_or(u8::MAX, |(_, name)| *name));
        }
        chosen
    });
    assert_eq!(theirs, [0, 0, 0, 1, 1, 2, 2, 2, 1, 0]);
    assert_eq!(held, theirs);
}

/// The place of `scur` among the statistics.
const SCUR: usize = 4;

#[test]
fn the_least_loaded_server_gets_as_many_as_with_haproxy() {
    let [(_, real), (_, ours)] =
        both(&holders("balance leastconn", &["weight 10", "weight 20", "weight 10"]));
    let [theirs, held] = [real, ours].map(|balancer| {
        let mut held = hold(&balancer, 40);
        let mut tallies = vec![tally(&names(&held), 3)];
        // Those of one server go, and it gets the next ones.
        held.retain(|(_, name)| *name != 1);
        balancer.wait_for(SCUR, &held.len().to_string());
        held.extend(hold(&balancer, 12));
        tallies.push(tally(&names(&held), 3));
        held.extend(hold(&balancer, 18));
        tallies.push(tally(&names(&held), 3));
        tallies
    });
    assert_eq!(theirs, [[10, 20, 10], [10, 12, 10], [13, 25, 12]]);
    assert_eq!(held, theirs);
}

#[test]
fn backups_come_in_as_with_haproxy() {
    for option in ["no option allbackups", "option allbackups"] {
        let mut text = format!(" {option}\n");
        for (name, words) in (0..).zip(["disabled", "backup", "backup weight 2"]) {
            let _ = writeln!(text, " server s{name} {} {words}", named(name));
        }
        let [(_, real), (_, ours)] = both(&text);
        let (theirs, held) = (real.ask(30), ours.ask(30));
        assert_eq!(tally(&held, 3), tally(&theirs, 3), "{option}");
        assert_eq!(tally(&held, 3)[0], 0);
    }
}
