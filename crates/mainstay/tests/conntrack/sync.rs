//! Two balancers that tell each other of their connections, over real links and with real kernels.

use std::net::TcpStream;
use std::ops::Range;
use std::time::{Duration, Instant};

use mainstay::nat::conntrack::Conntrack;
use mainstay_engine::limits::FLOWS_PATIENCE;
use mainstay_engine::peers::PeerInput;

use crate::node::Node;
use crate::rig::{BALANCERS, CLIENT_ADDRESSES, Family, Rig, count_answering, endpoints, in_namespaces};

const FIRST: (&str, u8) = BALANCERS[0];
const SECOND: (&str, u8) = BALANCERS[1];

/// As many equal source ports of every client's address as in the measurement that DESIGN tells of.
const PORTS: Range<u16> = 20_000..20_060;
/// What a loaded machine may add.
const SLACK: Duration = Duration::from_millis(500);
const ALL: usize = CLIENT_ADDRESSES as usize * 60;

fn both(rig: &Rig) -> [Node; 2] {
    let mut first = Node::start(rig, FIRST, SECOND.1);
    let mut second = Node::start(rig, SECOND, FIRST.1);
    first.link();
    second.link();
    [first, second]
}

/// Moves the addresses, and counts the connections that go on.
fn moves(rig: &Rig, from: &str, to: (&str, &mut Node), streams: &[TcpStream]) -> (usize, Duration) {
    rig.take_address(from);
    let began = Instant::now();
    let (taken, refused) = to.1.take_addresses();
    let took = began.elapsed();
    rig.give_address(to.0);
    assert_eq!(refused, 0, "{taken} were taken");
    (count_answering(streams), took)
}

#[test]
fn all_connections_survive_the_death_and_the_return_of_a_balancer() {
    in_namespaces("sync::all_connections_survive_the_death_and_the_return_of_a_balancer", |rig| {
        let [mut first, mut second] = both(rig);
        assert_eq!(first.take_addresses(), (0, 0), "nobody told of any");
        rig.give_address(FIRST.0);
        let streams = rig.connect(Family::Ipv4, &PORTS);
        second.await_flows(|flows| flows.kept == ALL);

        // Some end, others begin at the same ports of their clients and may get other ones at the servers.
        let (ended, mut streams): (Vec<_>, Vec<_>) =
            streams.into_iter().enumerate().partition(|(place, _)| place % 3 == 0);
        drop(ended);
        second.await_flows(|flows| flows.kept == ALL - ALL / 3);
        let more = rig.connect(Family::Ipv6, &PORTS);
        second.await_flows(|flows| flows.kept == 2 * ALL - ALL / 3);
        let mut streams: Vec<_> = streams.drain(..).map(|(_, stream)| stream).chain(more).collect();

        drop(first);
        let (go_on, took) = moves(rig, FIRST.0, (SECOND.0, &mut second), &streams);
        println!("    killed: {go_on} of {} connections go on, known after {took:.0?}", streams.len());
        assert_eq!(go_on, streams.len());

        // It comes back with a kernel full of what has been.
        streams.extend(rig.connect(Family::Ipv4, &(40_000..40_020)));
        let mut first = Node::start(rig, FIRST, SECOND.1);
        first.link();
        first.await_flows(|flows| flows.kept == streams.len());
        let (go_on, took) = moves(rig, SECOND.0, (FIRST.0, &mut first), &streams);
        println!("    returned: {go_on} of {} connections go on, known after {took:.0?}", streams.len());
        assert_eq!(go_on, streams.len());

        // The one that let go is a backup again, and is told.
        second.release_addresses();
        second.link();
        second.await_flows(|flows| flows.kept >= streams.len());
    });
}

#[test]
fn a_takeover_waits_for_flows_and_never_for_long() {
    in_namespaces("sync::a_takeover_waits_for_flows_and_never_for_long", |rig| {
        let [mut first, mut second] = both(rig);
        first.take_addresses();
        let count = 40_000;
        let flows: Vec<_> = (0..count).map(crate::entries::flow_of_nobody).collect();
        let created = rig.on(FIRST.0, || Conntrack::open().and_then(|mut it| it.create(&flows)));
        assert_eq!(created.expect("an answer").made, flows.len());
        second.await_flows(|known| known.kept == flows.len());
        drop(first);
        let began = Instant::now();
        second.come(Family::Ipv4);
        let waited = began.elapsed();
        let (taken, took) = loop {
            if let PeerInput::FlowsTaken { taken, took, .. } = second.news() {
                break (taken, took);
            }
        };
        println!("    {taken} flows known after {took:.0?}, the address waited for {waited:.0?}");
        assert_eq!(taken, flows.len(), "those that nobody waited for are made too");
        assert!(waited < FLOWS_PATIENCE + SLACK, "{waited:?}");
        let listed = rig.on(SECOND.0, || Conntrack::open().and_then(|mut it| it.list(&endpoints())));
        assert_eq!(listed.expect("a list").len(), flows.len());
    });
}
