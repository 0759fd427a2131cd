//! Established connections that go on at another balancer.

use std::ops::Range;

use mainstay::nat::conntrack::Conntrack;

use crate::rig::{BALANCERS, Family, Rig, count_answering, in_namespaces};

const FIRST: &str = BALANCERS[0].0;
const SECOND: &str = BALANCERS[1].0;

/// Clients that share source ports: at the servers, most of them have another one.
const PORTS: Range<u16> = 20_000..20_030;
const LATER_PORTS: Range<u16> = 30_000..30_030;

fn carried_on(rig: &Rig, family: Family) {
    rig.give_address(FIRST);
    let streams = rig.connect(family, &PORTS);
    rig.await_established(FIRST, family, &PORTS);
    rig.take_address(FIRST);
    rig.give_address(SECOND);
    let without = count_answering(&streams);

    let streams = rig.connect(family, &LATER_PORTS);
    let flows = rig.await_established(SECOND, family, &LATER_PORTS);
    let ports = flows.iter().filter(|flow| flow.client.port() != flow.source.port()).count();
    assert!(ports > 0, "the kernel gives some clients another port, or there is nothing to show");
    rig.take_address(SECOND);
    let created = rig.on(FIRST, || Conntrack::open().and_then(|mut it| it.create(&flows)));
    let created = created.expect("an answer");
    assert_eq!((created.made, created.refused), (flows.len(), 0), "{created:?}");
    rig.give_address(FIRST);
    let (with, all) = (count_answering(&streams), streams.len());
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
