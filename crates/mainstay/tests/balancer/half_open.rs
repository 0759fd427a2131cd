//! Somebody who begins connections by the thousand and never ends them holds nobody up.

use std::collections::BTreeMap;
use std::process::Command;

use crate::addresses::Place;

#[test]
fn a_flood_of_half_open_connections_costs_nothing_and_holds_nobody_up() {
    let place = Place::new("half-open");
    let output = Command::new("unshare")
        .args([
            "--map-root-user",
            "--net",
            "--mount",
            "--mount-proc",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
        ])
        .arg("tests/balancer/half_open.sh")
        .arg(place.directory())
        .arg(env!("CARGO_BIN_EXE_mainstay"))
        .output()
        .expect("unshare is there: tools/install-test-tools");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers: BTreeMap<&str, u64> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, number)| (name, number.parse().expect("a number")))
        .collect();
    // The queue of half-open connections is as long as the backlog, and was full.
    assert!(numbers["half_open"] >= 4_096, "{text}");
    assert_eq!((numbers["answered"], numbers["after_answered"]), (50, 10), "{text}{said}");
    // Nobody had to say twice that a connection begins, which takes a second.
    assert!(numbers["slowest_ms"] < 900 && numbers["after_slowest_ms"] < 900, "{text}");
    // What never becomes a connection never reaches the daemon.
    assert!(numbers["descriptors_grown"] <= 4, "{text}");
    assert!(numbers["memory_grown_kb"] < 8_192, "{text}");
}
