//! Where new connections go, and what is seen and counted of them.

use std::collections::BTreeSet;

use mainstay::lab::topology::Lan;

use crate::client::{Server, all_talk, assert_seen, open, tally};
use crate::rig::{Balancer, ENDPOINT, VIRTUAL, haproxy, host, keepalived, lan, usual};

fn servers(lan: &Lan) -> [Server; 3] {
    ["s1", "s2", "s3"].map(|name| Server::start(host(lan, name)))
}

pub(crate) fn go_by_weight_and_servers_see_the_endpoint() {
    let lan = lan();
    let _servers = servers(&lan);
    let file = haproxy("*:6443", &["s1 10.0.0.21:6443", "s2 10.0.0.22:6443", "s3 10.0.0.23:6443 weight 2"]);
    let balancer = Balancer::ready(host(&lan, "lb1"), &file, &keepalived(120, &["10.0.0.100/24"]), "active");
    let mut connections = open(host(&lan, "client"), ENDPOINT, 400);
    assert_seen(&connections, VIRTUAL);
    let tally = tally(&connections);
    // Four times what chance makes of 100 and 200.
    for (server, share, tolerance) in [("s1", 100, 36), ("s2", 100, 36), ("s3", 200, 40)] {
        assert!(tally[server].abs_diff(share) <= tolerance, "{tally:?}");
    }
    let counted: Vec<_> =
        ["s1", "s2", "s3"].map(|server| u64::try_from(tally[server]).expect("few")).to_vec();
    assert_eq!(all_talk(&mut connections).0, 400);
    let status = balancer.wait("all are counted", |status| {
        let servers = status.pools[0].servers.iter();
        servers.map(|server| server.sessions_total).collect::<Vec<_>>() == counted
    });
    let (frontend, pool) = (&status.frontends[0], &status.pools[0]);
    assert_eq!((frontend.sessions_total, pool.sessions_total), (400, 400));
    assert_eq!(frontend.binds, ["10.0.0.100:6443 (nat)"]);
    // A handshake, a greeting and an echo, each packet with its headers.
    let (least, most) = (400 * 5 * 40, 400 * 1500);
    for bytes in [pool.counters.bytes_in, pool.counters.bytes_out, frontend.counters.bytes_in] {
        assert!((least..most).contains(&bytes), "{bytes}");
    }
    balancer.wait("those that are there are counted", |status| {
        let servers = status.pools[0].servers.iter().map(|server| u64::from(server.sessions));
        servers.eq(counted.iter().copied())
            && (status.frontends[0].sessions, status.pools[0].sessions) == (400, 400)
    });
    drop(connections);
    balancer.wait("and those that have gone are not", |status| {
        (status.frontends[0].sessions, status.pools[0].sessions) == (0, 0)
    });
    let said = balancer.status();
    assert!(said.contains("kernel forwarding of 10.0.0.100:6443: in force for "), "{said}");
}

pub(crate) fn of_ipv6_and_of_several_endpoints() {
    let lan = lan();
    let _servers = servers(&lan);
    let mut file = haproxy("*:6443", &["s1 10.0.0.21:6443", "s2 10.0.0.22:6443"]);
    file.push_str(
        "listen six\n bind [::]:6443 v6only\n server s2 [fd00::22]:6443\n server s3 [fd00::23]:6443\n\
         listen more\n bind 10.0.0.101:7443\n balance source\n server s1 10.0.0.21:6443\n server s3 10.0.0.23:6443\n",
    );
    let mut conf = keepalived(120, &["10.0.0.100/24", "10.0.0.101/24"]);
    conf.push_str(&keepalived(120, &["fe80::100/64", "fd00::100/64"]).replace("instance V ", "instance V6 "));
    let balancer = Balancer::ready(host(&lan, "lb1"), &file, &conf, "active");
    balancer.wait("the other router is active", |status| status.routers[1].state == "active");
    let client = host(&lan, "client");
    for (endpoint, names) in [
        ("10.0.0.100:6443", vec!["s1", "s2"]),
        ("10.0.0.101:6443", vec!["s1", "s2"]),
        ("[fd00::100]:6443", vec!["s2", "s3"]),
    ] {
        let endpoint = endpoint.parse().expect("an address");
        let mut connections = open(client, endpoint, 40);
        assert_seen(&connections, endpoint.ip());
        assert_eq!(tally(&connections).into_keys().collect::<Vec<_>>(), names, "{endpoint}");
        assert_eq!(all_talk(&mut connections).0, 40, "{endpoint}");
    }
    let connections = open(client, "10.0.0.101:7443".parse().expect("an address"), 20);
    assert_eq!(tally(&connections).len(), 1, "the client's address decides alone");
}

pub(crate) fn of_clients_on_the_balancer() {
    let lan = lan();
    let _servers = servers(&lan);
    let conf = |priority| keepalived(priority, &["10.0.0.100/24"]);
    let active = Balancer::ready(host(&lan, "lb1"), &usual(), &conf(120), "active");
    let backup = Balancer::ready(host(&lan, "lb2"), &usual(), &conf(100), "backup");
    // On the active one the address is a local one; on the backup it is another machine's, whatever the rules say.
    for balancer in [&active, &backup] {
        let mut connections = open(balancer.host(), ENDPOINT, 60);
        assert_seen(&connections, VIRTUAL);
        let names: BTreeSet<_> = tally(&connections).into_keys().collect();
        assert_eq!(names, BTreeSet::from(["s1", "s2", "s3"]));
        assert_eq!(all_talk(&mut connections).0, 60);
    }
}
