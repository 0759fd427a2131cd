//! Whom connections go to, algorithm by algorithm.

use std::fmt::Write as _;

use crate::rig::{both, named, tally};

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

#[test]
fn ten_thousand_connections_are_shared_by_weight() {
    const CONNECTIONS: usize = 10_000;
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
