//! Addresses that move to another balancer, and connections that do not notice.

use std::time::{Duration, Instant};

use mainstay::lab::time::wait_until;
use mainstay::lab::topology::Lan;
use nix::sys::signal::Signal;

use crate::client::{Connection, Server, all_talk, keep_talking, open};
use crate::rig::{Balancer, ENDPOINT, PATIENCE, host, keepalived, lan, run, usual};

/// How long a connection may stand still: the other balancer takes over after 0.4 s, and retransmissions double.
const STALL: Duration = Duration::from_secs(2);

fn conf(priority: u8) -> String {
    keepalived(priority, &["10.0.0.100/24"])
}

/// Three servers, and two balancers without a link, the first of which is active.
fn pair(lan: &Lan, conf: impl Fn(u8) -> String) -> ([Server; 3], Balancer, Balancer) {
    let servers = ["s1", "s2", "s3"].map(|name| Server::start(host(lan, name)));
    let active = Balancer::ready(host(lan, "lb1"), &usual(), &conf(120), "active");
    let backup = Balancer::ready(host(lan, "lb2"), &usual(), &conf(100), "backup");
    (servers, active, backup)
}

pub(crate) fn connections_outlive_a_killed_balancer() {
    let lan = lan();
    let (_servers, active, backup) = pair(&lan, conf);
    let client = host(&lan, "client");
    let mut connections = open(client, ENDPOINT, 100);
    active.kill();
    // The kernel forwards for the dead one while it has the address, a second at most.
    let longest = keep_talking(&mut connections, Duration::from_secs(3));
    assert!(longest < STALL, "{longest:?}");
    backup.wait("it took over", |status| status.routers[0].state == "active");
    assert!(!run(host(&lan, "lb1"), "ip address").contains("10.0.0.100"), "it is where it was");

    // And back, where the kernel still knows them.
    let active = Balancer::start(host(&lan, "lb1"), &usual(), &conf(120));
    let longest = keep_talking(&mut connections, Duration::from_secs(4));
    assert!(longest < STALL, "{longest:?}");
    active.wait("it is active again", |status| status.routers[0].state == "active");
}

pub(crate) fn connections_outlive_a_balancer_without_power() {
    let lan = lan();
    let (_servers, active, backup) = pair(&lan, conf);
    let mut connections = open(host(&lan, "client"), ENDPOINT, 100);
    lan.plug(host(&lan, "lb1"), false).expect("a cable");
    active.kill();
    let longest = keep_talking(&mut connections, Duration::from_secs(3));
    assert!(longest < STALL, "{longest:?}");
    backup.wait("it took over", |status| status.routers[0].state == "active");
}

/// The frozen one's kernel has lost the address, gets packets for it all the same, and must have forgotten them when it is back.
pub(crate) fn a_frozen_balancer_leaves_nothing_behind() {
    let lan = lan();
    // Three adverts of a second each, and a skew: the address is nowhere for two seconds.
    let (_servers, active, backup) =
        pair(&lan, |priority| conf(priority).replace("advert_int 0.1", "advert_int 1"));
    let client = host(&lan, "client");
    let mut connections = open(client, ENDPOINT, 30);
    active.signal(Signal::SIGSTOP);
    wait_until(PATIENCE, || {
        let there = run(host(&lan, "lb1"), "ip address").contains("10.0.0.100");
        Ok(if there { Err("the address is there".to_owned()) } else { Ok(()) })
    })
    .expect("its lifetime ends");
    assert_eq!(all_talk(&mut connections).0, 30, "the kernel goes on with what it knows");
    let ports: Vec<u16> = (40_001..40_020).collect();
    for &port in &ports {
        let tried = Connection::from_port(client, port, ENDPOINT, Duration::from_millis(20));
        assert!(tried.is_err(), "nobody has the address");
    }
    backup.wait("it took over", |status| status.routers[0].state == "active");
    assert_eq!(all_talk(&mut connections).0, 30);
    active.signal(Signal::SIGCONT);
    active.wait("it is active again", |status| status.routers[0].state == "active");
    for port in ports {
        let connection = Connection::from_port(client, port, ENDPOINT, Duration::from_secs(2));
        assert_eq!(connection.expect("a connection").seen.port(), port);
    }
    assert_eq!(all_talk(&mut connections).0, 30);
}

pub(crate) fn a_hand_over_costs_nothing() {
    let lan = lan();
    let (_servers, active, backup) = pair(&lan, conf);
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
