//! Addresses that move to another balancer, and connections that do not notice.

use std::time::{Duration, Instant};

use crate::client::{Connection, Server, all_talk, keep_talking, open};
use crate::rig::{Balancer, ENDPOINT, host, keepalived, lan, run, usual};

/// How long a connection may stand still: the other balancer takes over after 0.4 s, and retransmissions double.
const STALL: Duration = Duration::from_secs(2);

pub(crate) fn connections_outlive_a_killed_balancer() {
    let lan = lan();
    let _servers = ["s1", "s2", "s3"].map(|name| Server::start(host(&lan, name)));
    let conf = |priority| keepalived(priority, &["10.0.0.100/24"]);
    let active = Balancer::ready(host(&lan, "lb1"), &usual(), &conf(120), "active");
    let backup = Balancer::ready(host(&lan, "lb2"), &usual(), &conf(100), "backup");
    let client = host(&lan, "client");
    let mut connections = open(client, ENDPOINT, 100);
    active.kill();
    // The kernel forwards for the dead one while it has the address, a second at most.
    let longest = keep_talking(&mut connections, Duration::from_secs(3));
    assert!(longest < STALL, "{longest:?}");
    eprintln!("100 of 100 connections outlived the balancer; the longest stood still for {longest:.2?}");
    backup.wait("it took over", |status| status.routers[0].state == "active");
    assert!(!run(host(&lan, "lb1"), "ip address").contains("10.0.0.100"), "it is where it was");

    // And back, where the kernel still knows them.
    let active = Balancer::start(host(&lan, "lb1"), &usual(), &conf(120));
    let longest = keep_talking(&mut connections, Duration::from_secs(4));
    assert!(longest < STALL, "{longest:?}");
    active.wait("it is active again", |status| status.routers[0].state == "active");
    eprintln!("and its return; the longest stood still for {longest:.2?}");
}

pub(crate) fn connections_outlive_a_balancer_without_power() {
    let lan = lan();
    let _servers = ["s1", "s2", "s3"].map(|name| Server::start(host(&lan, name)));
    let conf = |priority| keepalived(priority, &["10.0.0.100/24"]);
    let active = Balancer::ready(host(&lan, "lb1"), &usual(), &conf(120), "active");
    let backup = Balancer::ready(host(&lan, "lb2"), &usual(), &conf(100), "backup");
    let mut connections = open(host(&lan, "client"), ENDPOINT, 100);
    lan.plug(host(&lan, "lb1"), false).expect("a cable");
    active.kill();
    let longest = keep_talking(&mut connections, Duration::from_secs(3));
    assert!(longest < STALL, "{longest:?}");
    eprintln!("100 of 100 connections outlived the machine; the longest stood still for {longest:.2?}");
    backup.wait("it took over", |status| status.routers[0].state == "active");
}

pub(crate) fn a_hand_over_costs_nothing() {
    let lan = lan();
    let _servers = ["s1", "s2", "s3"].map(|name| Server::start(host(&lan, name)));
    let conf = |priority| keepalived(priority, &["10.0.0.100/24"]);
    let active = Balancer::ready(host(&lan, "lb1"), &usual(), &conf(120), "active");
    let backup = Balancer::ready(host(&lan, "lb2"), &usual(), &conf(100), "backup");
    let client = host(&lan, "client");
    let mut connections = open(client, ENDPOINT, 30);
    assert!(active.mainstay(&["handover"]).status.success());
    let (began, mut longest, mut new) = (Instant::now(), Duration::ZERO, 0);
    // The drain takes a second.
    while began.elapsed() < Duration::from_secs(3) {
        let asked = Instant::now();
        let mut connection = Connection::open(client, ENDPOINT).expect("a new connection");
        connection.talks().expect("a new connection");
        new += 1;
        let old = &mut connections[new % 30];
        old.talks().expect("an old connection");
        longest = longest.max(asked.elapsed());
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert_eq!(all_talk(&mut connections).0, 30);
    let status = backup.wait("it is active", |status| status.routers[0].state == "active");
    assert!(status.forwarding.is_some_and(|forwarding| forwarding.failed.is_none()));
    eprintln!("{new} new connections in 3 s of a hand-over; the longest wait was {longest:.2?}");
}
