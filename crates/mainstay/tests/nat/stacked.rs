//! Balancers that are servers as well: an apiserver on every address of theirs, at the port of the endpoint.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::client::{Server, all_talk, assert_seen, keep_talking, open, tally};
use crate::rig::{Balancer, ENDPOINT, VIRTUAL, haproxy, host, lan, linked};

pub(crate) fn servers_on_the_balancers_themselves() {
    let lan = lan();
    let _servers = ["lb1", "lb2", "s3"].map(|name| Server::start(host(&lan, name)));
    let file = haproxy("*:6443", &["lb1 10.0.0.11:6443", "lb2 10.0.0.12:6443", "s3 10.0.0.23:6443"]);
    let active = Balancer::ready(host(&lan, "lb1"), &file, &linked(120), "active");
    let backup = Balancer::ready(host(&lan, "lb2"), &file, &linked(100), "backup");
    let all = BTreeSet::from(["lb1", "lb2", "s3"]);
    // A client outside, a server that is none of the balancers, the backup, and the active one.
    for name in ["client", "s3", "lb2", "lb1"] {
        let mut connections = open(host(&lan, name), ENDPOINT, 60);
        assert_seen(&connections, VIRTUAL);
        assert_eq!(tally(&connections).into_keys().collect::<BTreeSet<_>>(), all, "from {name}");
        assert_eq!(all_talk(&mut connections).0, 60, "from {name}");
    }
    let mut connections = open(host(&lan, "client"), ENDPOINT, 70);
    // Of the machine that the address comes to.
    connections.extend(open(host(&lan, "lb2"), ENDPOINT, 30));
    active.kill();
    keep_talking(&mut connections, Duration::from_secs(3));
    backup.wait("it took over", |status| status.routers[0].state == "active");
    assert_eq!(tally(&open(host(&lan, "client"), ENDPOINT, 60)).into_keys().collect::<BTreeSet<_>>(), all);
    let active = Balancer::start(host(&lan, "lb1"), &file, &linked(120));
    keep_talking(&mut connections, Duration::from_secs(4));
    active.wait("it is active again", |status| status.routers[0].state == "active");
}
