//! Servers that die.

use std::io::ErrorKind;
use std::time::{Duration, Instant};

use crate::client::{Server, all_talk, open, tally};
use crate::rig::{Balancer, ENDPOINT, host, keepalived, lan, usual};

pub(crate) fn new_connections_go_elsewhere() {
    let lan = lan();
    let mut servers = ["s1", "s2", "s3"].map(|name| Some(Server::start(host(&lan, name))));
    let conf = keepalived(120, &["10.0.0.100/24"]);
    let balancer = Balancer::ready(host(&lan, "lb1"), &usual(), &conf, "active");
    let client = host(&lan, "client");
    let (mut of_dead, mut others): (Vec<_>, Vec<_>) =
        open(client, ENDPOINT, 90).into_iter().partition(|connection| connection.server == "s2");
    assert!(of_dead.len() > 10 && others.len() > 20);
    drop(servers[1].take());
    balancer.wait("it is seen", |status| status.pools[0].servers[1].state == "down");
    let count = others.len();
    assert_eq!(all_talk(&mut others).0, count, "nobody else is touched");
    balancer.await_rules(|rules| !rules.contains("goto p0v4_s1"));
    let new = open(client, ENDPOINT, 90);
    assert_eq!(tally(&new).into_keys().collect::<Vec<_>>(), ["s1", "s3"]);
    // It has others, but its clients need not find out by themselves that they wait for nobody.
    for connection in &mut of_dead {
        let began = Instant::now();
        let error = connection.talks().expect_err("it was ended");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}
