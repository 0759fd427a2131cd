//! Entries that are made without a packet: what the kernel says of them, and how they go.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use mainstay::nat::conntrack::Conntrack;
use mainstay_engine::flows::Flow;

use crate::rig::{BALANCERS, Family, endpoints, in_namespaces};

/// A flow that no client has. Every other one has another port at the server than at its client.
fn flow(family: Family, number: u16) -> Flow {
    let client = match family {
        Family::Ipv4 => IpAddr::from([10, 1, 0, 1]),
        Family::Ipv6 => [0xfd01, 0, 0, 0, 0, 0, 0, 1].into(),
    };
    let server = if number.is_multiple_of(3) { 151 } else { 152 };
    Flow {
        client: SocketAddr::new(client, 1024 + number),
        endpoint: family.endpoint(),
        server: SocketAddr::new(family.address(server), 6443),
        source: SocketAddr::new(family.address(140), 1024 + (number ^ 1)),
    }
}

/// One of many flows over IPv4.
pub(crate) fn flow_of_nobody(number: u16) -> Flow {
    flow(Family::Ipv4, number)
}

fn flows(family: Family, count: u16) -> Vec<Flow> {
    (0..count).map(|number| flow(family, number)).collect()
}

fn listed(conntrack: &mut Conntrack, endpoints: &BTreeSet<SocketAddr>) -> BTreeSet<Flow> {
    let entries = conntrack.list(endpoints).expect("a list");
    assert!(entries.iter().all(|entry| entry.is_rewritten() && entry.is_established()), "{entries:?}");
    entries.into_iter().map(|entry| entry.flow).collect()
}

#[test]
fn what_is_created_is_listed_and_goes() {
    in_namespaces("entries::what_is_created_is_listed_and_goes", |rig| {
        rig.on(BALANCERS[0].0, || {
            let mut conntrack = Conntrack::open().expect("a conversation");
            assert_eq!(listed(&mut conntrack, &endpoints()), BTreeSet::new());
            for family in [Family::Ipv4, Family::Ipv6] {
                let (wanted, own) = (flows(family, 1000), BTreeSet::from([family.endpoint()]));
                let created = conntrack.create(&wanted).expect("an answer");
                assert_eq!((created.made, created.there, created.refused), (1000, 0, 0), "{created:?}");
                assert_eq!(listed(&mut conntrack, &own), wanted.iter().copied().collect());
                let again = conntrack.create(&wanted).expect("an answer");
                assert_eq!((again.made, again.there, again.refused), (0, 1000, 0), "{again:?}");
            }
            let (family, endpoint) = (Family::Ipv6, Family::Ipv6.endpoint());
            let dead = SocketAddr::new(family.address(151), 6443);
            assert_eq!(conntrack.delete_flows(&endpoints(), dead).expect("an answer"), 334);
            let left = listed(&mut conntrack, &BTreeSet::from([endpoint]));
            assert!(left.len() == 666 && left.iter().all(|flow| flow.server != dead));
            assert_eq!(listed(&mut conntrack, &endpoints()).len(), 1666);
            assert_eq!(conntrack.delete_endpoints(&BTreeSet::from([endpoint])).expect("an answer"), 666);
            assert_eq!(conntrack.delete_endpoints(&endpoints()).expect("an answer"), 1000);
            assert_eq!(conntrack.delete_endpoints(&endpoints()).expect("an answer"), 0);
        });
    });
}

#[test]
fn what_is_in_the_way_of_something_newer_goes() {
    in_namespaces("entries::what_is_in_the_way_of_something_newer_goes", |rig| {
        rig.on(BALANCERS[0].0, || {
            let mut conntrack = Conntrack::open().expect("a conversation");
            let old = flows(Family::Ipv4, 400);
            conntrack.create(&old).expect("an answer");
            // The same client at another server, and another client with the same port at the same server.
            let mut moved = flow(Family::Ipv4, 3);
            moved.server = flow(Family::Ipv4, 4).server;
            moved.source.set_port(60_000);
            let mut taken = flow(Family::Ipv4, 9);
            taken.client.set_port(60_001);
            let newer = [flow(Family::Ipv4, 5), moved, taken, flow(Family::Ipv4, 500)];
            let created = conntrack.create(&newer).expect("an answer");
            assert_eq!((created.made, created.there, created.refused), (3, 1, 0), "{created:?}");
            let left = listed(&mut conntrack, &endpoints());
            assert!(newer.iter().all(|flow| left.contains(flow)) && left.len() == 401);
            assert!(!left.contains(&flow(Family::Ipv4, 3)) && !left.contains(&flow(Family::Ipv4, 9)));
        });
    });
}

#[test]
fn fifty_thousand_flows_are_created_listed_and_deleted() {
    in_namespaces("entries::fifty_thousand_flows_are_created_listed_and_deleted", |rig| {
        rig.on(BALANCERS[0].0, || {
            let mut conntrack = Conntrack::open().expect("a conversation");
            let wanted = flows(Family::Ipv4, 50_000);
            for count in [1000, 50_000] {
                let began = Instant::now();
                let created = conntrack.create(&wanted[..count]).expect("an answer");
                let took = began.elapsed();
                assert_eq!(created.made, count, "{created:?}");
                println!("    {count} flows created in {took:.0?}");
                if count < wanted.len() {
                    conntrack.delete_endpoints(&endpoints()).expect("an answer");
                }
            }
            let began = Instant::now();
            assert_eq!(listed(&mut conntrack, &endpoints()).len(), 50_000);
            println!("    50000 flows listed in {:.0?}", began.elapsed());
            let began = Instant::now();
            assert_eq!(conntrack.delete_endpoints(&endpoints()).expect("an answer"), 50_000);
            println!("    50000 flows deleted in {:.0?}", began.elapsed());
        });
    });
}
