//! What operators do, and what becomes of the table.

use std::io::ErrorKind;

use crate::client::{Connection, Server, all_talk, open, tally};
use crate::rig::{Balancer, ENDPOINT, TABLE, haproxy, host, keepalived, lan, run, usual};

pub(crate) fn a_drained_server_keeps_what_it_has() {
    let lan = lan();
    let _servers = ["s1", "s2", "s3"].map(|name| Server::start(host(&lan, name)));
    let conf = keepalived(120, &["10.0.0.100/24"]);
    let balancer = Balancer::ready(host(&lan, "lb1"), &usual(), &conf, "active");
    let client = host(&lan, "client");
    let mut old = open(client, ENDPOINT, 90);
    assert!(tally(&old)["s1"] > 10);
    assert!(balancer.mainstay(&["server", "cp/s1", "drain"]).status.success());
    balancer.await_rules(|rules| !rules.contains("goto p0v4_s0"));
    let new = open(client, ENDPOINT, 90);
    assert_eq!(tally(&new).into_keys().collect::<Vec<_>>(), ["s2", "s3"]);
    assert_eq!(all_talk(&mut old).0, 90, "also those of the drained server");
    assert!(balancer.mainstay(&["server", "cp/s1", "ready"]).status.success());
    balancer.await_rules(|rules| rules.contains("goto p0v4_s0"));
    assert!(tally(&open(client, ENDPOINT, 90)).contains_key("s1"));
    for name in ["s1", "s2", "s3"] {
        assert!(balancer.mainstay(&["server", &format!("cp/{name}"), "maint"]).status.success());
    }
    balancer.await_rules(|rules| !rules.contains(" : goto p0v4_s"));
    let refused = Connection::open(client, ENDPOINT).err().map(|error| error.kind());
    assert_eq!(refused, Some(ErrorKind::ConnectionRefused), "with no server a client knows at once");
    assert_eq!(all_talk(&mut old).0, 90, "maintenance ends nothing");
}

pub(crate) fn the_table_comes_and_goes_and_others_stay() {
    let lan = lan();
    let _servers = ["s1", "s2", "s3"].map(|name| Server::start(host(&lan, name)));
    let (lb, client) = (host(&lan, "lb1"), host(&lan, "client"));
    run(lb, "nft add table ip others");
    run(lb, "nft add chain ip others forward { type filter hook forward priority 0 ; policy accept ; }");
    let others = run(lb, "nft list table ip others");
    let conf = keepalived(120, &["10.0.0.100/24"]);
    let balancer = Balancer::ready(lb, &usual(), &conf, "active");
    for setting in [
        "net/ipv4/ip_forward",
        "net/netfilter/nf_conntrack_tcp_loose",
        "net/netfilter/nf_conntrack_tcp_be_liberal",
    ] {
        assert_eq!(run(lb, &format!("cat /proc/sys/{setting}")).trim(), "1", "{setting}");
    }
    let mut connections = open(client, ENDPOINT, 30);

    run(lb, &format!("nft delete {TABLE}"));
    balancer.wait("the loss was said", |status| {
        status.events.iter().any(|event| event.event == "forwarding_in_force")
    });
    assert!(balancer.log().contains("somebody else removed its nftables table"), "{}", balancer.log());
    assert_eq!(all_talk(&mut connections).0, 30, "and mended before anybody gave up");
    open(client, ENDPOINT, 10);

    balancer.kill();
    assert!(run(lb, "nft list tables").contains(TABLE), "nobody could remove it");
    // What it left forwards to servers that there are no more.
    let fewer = haproxy("*:6443", &["s1 10.0.0.21:6443"]);
    let balancer = Balancer::ready(lb, &fewer, &conf, "active");
    assert_eq!(tally(&open(client, ENDPOINT, 20)).into_keys().collect::<Vec<_>>(), ["s1"]);
    balancer.stop();
    assert_eq!(run(lb, "nft list ruleset"), others);
}

pub(crate) fn a_machine_that_cannot_is_told_so() {
    let lan = lan();
    let lb = host(&lan, "lb1");
    let conf = keepalived(120, &["10.0.0.100/24"]);
    let bounded = haproxy("*:6443", &["s1 10.0.0.21:6443 maxconn 20"]);
    let said = Balancer::start(lb, &bounded, &conf).refused();
    assert!(
        said.contains("H061") && said.contains("`maxconn` bounds the connections of server `s1`"),
        "{said}"
    );
    assert!(said.contains("H062"), "{said}");

    let said = lb.enter(|| check_host(&["net.ipv4.ip_forward is 0"])).expect("the host");
    assert!(said.ends_with("This machine can forward in the kernel, with warnings.\n"), "{said}");
    run(lb, "nft add table ip others");
    run(lb, "nft add chain ip others forward { type filter hook forward priority 0 ; policy drop ; }");
    lb.enter(|| check_host(&["the chain ip others forward drops forwarded packets"])).expect("the host");
}

/// What `mainstay check --host` says of the host that the last daemon's files are on; all of `parts` are in it.
fn check_host(parts: &[&str]) -> String {
    let directory = std::path::Path::new(mainstay::lab::enter::DIRECTORY).join("lb1");
    std::fs::write(directory.join("haproxy.cfg"), usual()).expect("a file");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command
        .args(["check", "--host", "--forwarding", "nat", "--haproxy-cfg"])
        .arg(directory.join("haproxy.cfg"));
    command.arg("--keepalived-conf").arg(directory.join("keepalived.conf"));
    let output = command.output().expect("mainstay runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && parts.iter().all(|part| said.contains(part)), "{said}");
    said
}
