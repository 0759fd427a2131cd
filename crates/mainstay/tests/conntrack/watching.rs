//! What the kernel says of connections that come and go.

use std::ops::Range;
use std::time::{Duration, Instant};

use mainstay::nat::conntrack::{Change, Watch};
use mainstay_engine::flows::Flow;

use crate::rig::{BALANCERS, Family, await_that, in_namespaces};

const PORTS: Range<u16> = 20_000..20_010;

/// What was heard, and where it was heard.
struct Ear {
    watch: Watch,
    established: Vec<Flow>,
    over: Vec<Flow>,
    messages: usize,
}

impl Ear {
    fn listen(&mut self) {
        self.watch.read(|change| {
            self.messages += 1;
            match change {
                Change::There(entry) if entry.is_established() => self.established.push(entry.flow),
                Change::There(entry) | Change::Gone(entry) => self.over.push(entry.flow),
                Change::Lost => panic!("messages were lost"),
            }
        });
    }
}

#[test]
fn new_and_ended_connections_are_heard_of() {
    in_namespaces("watching::new_and_ended_connections_are_heard_of", |rig| {
        let name = BALANCERS[0].0;
        rig.give_address(name);
        for family in [Family::Ipv4, Family::Ipv6] {
            let watch = rig.on(name, Watch::open).expect("a watch");
            let mut ear = Ear { watch, established: Vec::new(), over: Vec::new(), messages: 0 };
            let streams = rig.connect(family, &PORTS);
            let flows = rig.await_established(name, family, &PORTS);
            await_that(|| {
                ear.listen();
                let all = flows.iter().all(|flow| ear.established.contains(flow));
                if all { Ok(()) } else { Err(format!("{} were heard of", ear.established.len())) }
            });
            ear.over.clear();
            drop(streams);
            await_that(|| {
                ear.listen();
                let all = flows.iter().all(|flow| ear.over.contains(flow));
                if all { Ok(()) } else { Err(format!("{} ended", ear.over.len())) }
            });
        }
    });
}

#[test]
fn a_short_connection_costs_microseconds() {
    in_namespaces("watching::a_short_connection_costs_microseconds", |rig| {
        let name = BALANCERS[0].0;
        rig.give_address(name);
        let watch = rig.on(name, Watch::open).expect("a watch");
        let mut ear = Ear { watch, established: Vec::new(), over: Vec::new(), messages: 0 };
        let mut spent = Duration::ZERO;
        let mut connections = 0;
        for round in 0..10 {
            let streams = rig.connect(Family::Ipv4, &(20_000 + round * 50..20_050 + round * 50));
            connections += u32::try_from(streams.len()).expect("a few hundred");
            drop(streams);
            let began = Instant::now();
            ear.listen();
            spent += began.elapsed();
        }
        let each = spent / connections;
        println!(
            "    {connections} connections, {} messages, {each:.1?} to read those of each",
            ear.messages
        );
        assert!(each < Duration::from_millis(1), "{each:?}");
    });
}
