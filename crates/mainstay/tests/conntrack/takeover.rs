//! Established connections that go on at another balancer.

use std::collections::BTreeSet;
use std::net::TcpStream;

use mainstay::nat::conntrack::Conntrack;

use crate::rig::{BALANCERS, CLIENT_ADDRESSES, Family, Rig, count_answering, in_namespaces};

const FIRST: &str = BALANCERS[0].0;
const SECOND: &str = BALANCERS[1].0;

/// Clients that share source ports: at the servers, most of them have another one.
fn clients(rig: &Rig, family: Family) -> Vec<TcpStream> {
    rig.connect(family, 20_000..20_030)
}

fn carried_on(rig: &Rig, family: Family) {
    let all = usize::from(CLIENT_ADDRESSES) * 30;
    let without = {
        rig.give_address(FIRST);
        let streams = clients(rig, family);
        rig.await_established(FIRST, family, all);
        rig.take_address(FIRST);
        rig.give_address(SECOND);
        count_answering(&streams)
    };
    let endpoints = BTreeSet::from([family.endpoint()]);
    for name in [FIRST, SECOND] {
        let deleted = rig.on(name, || Conntrack::open().and_then(|mut it| it.delete_endpoints(&endpoints)));
        deleted.expect("an answer");
    }
    let streams = rig.connect(family, 30_000..30_030);
    let flows = rig.await_established(SECOND, family, all);
    let ports = flows.iter().filter(|flow| flow.client.port() != flow.source.port()).count();
    assert!(ports > 0, "the kernel gives some clients another port, or there is nothing to show");
    rig.take_address(SECOND);
    let created = rig.on(FIRST, || Conntrack::open().and_then(|mut it| it.create(&flows)));
    let created = created.expect("an answer");
    assert_eq!((created.made, created.refused), (all, 0), "{created:?}");
    rig.give_address(FIRST);
    let with = count_answering(&streams);
    println!("    {family:?}: {with} of {all} connections go on, {without} when nothing was created");
    assert_eq!(with, all);
    assert!(without < all, "{without} of {all} go on by themselves, so this shows nothing");
}

#[test]
fn created_flows_carry_established_connections() {
    in_namespaces("takeover::created_flows_carry_established_connections", |rig| {
        carried_on(rig, Family::Ipv4);
    });
}

#[test]
fn created_flows_carry_established_connections_over_ipv6() {
    in_namespaces("takeover::created_flows_carry_established_connections_over_ipv6", |rig| {
        carried_on(rig, Family::Ipv6);
    });
}
