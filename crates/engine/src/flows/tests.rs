//! One node tells, another keeps: whatever happens to the link between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::wire::Message;
use super::*;
use crate::limits::{
    FLOW_CHANGES_WAITING, FLOWS, FLOWS_KEPT, FLOWS_PER_MESSAGE, FLOWS_TOLD_ANEW, FLOWS_WORD,
};
use crate::time::Instant;

const PEER: PeerKey = PeerKey(1);
const OTHER: PeerKey = PeerKey(2);

fn address() -> IpAddr {
    IpAddr::from([10, 0, 0, 100])
}

fn at(seconds: u64) -> Instant {
    Instant::default() + Duration::from_secs(seconds)
}

fn flow_to(number: u32, server: u8) -> Flow {
    let port = u16::try_from(number % 60_000).unwrap_or(0) + 1;
    let client = [10, 1, 0, u8::try_from(number / 60_000).unwrap_or(0)];
    Flow {
        client: (client, port).into(),
        endpoint: SocketAddr::new(address(), 6443),
        server: ([10, 0, 0, server], 6443).into(),
        source: SocketAddr::new(address(), port),
    }
}

fn flow(number: u32) -> Flow {
    flow_to(number, 11)
}

/// A node that has the address with these flows.
fn holder(flows: impl IntoIterator<Item = Flow>) -> Outgoing {
    let mut outgoing = Outgoing::default();
    outgoing.hold(address());
    outgoing.compare(flows);
    outgoing.listen(PEER);
    outgoing
}

fn backup() -> Incoming {
    Incoming::new(BTreeSet::from([address()]))
}

/// Tells all there is to tell, by way of the bytes.
fn tell(outgoing: &mut Outgoing, incoming: &mut Incoming, now: Instant) -> usize {
    let mut messages = 0;
    while let Some(message) = outgoing.message_for(PEER, now) {
        incoming.handle(PEER, Message::decode(&message.encode()).unwrap(), now);
        messages += 1;
    }
    messages
}

fn numbers(flows: &[Flow]) -> Vec<u16> {
    flows.iter().map(|flow| flow.client.port()).collect()
}

#[test]
fn a_successor_has_all_flows_of_many_pages_and_all_changes() {
    let count = u32::try_from(2 * FLOWS_PER_MESSAGE + 500).unwrap();
    let (mut outgoing, mut incoming) = (holder((0..count).map(flow)), backup());
    assert_eq!(tell(&mut outgoing, &mut incoming, at(0)), 5, "begin, three pages, end");
    assert_eq!((incoming.kept(PEER), outgoing.told(PEER)), (2500, 2500));
    outgoing.ended(flow(0).client, flow(0).endpoint);
    outgoing.established(flow_to(1, 12));
    outgoing.established(flow(9000));
    assert_eq!(tell(&mut outgoing, &mut incoming, at(1)), 2, "what ended, and what began");
    let taken = incoming.take(address());
    assert!(taken.len() == 2500 && !taken.contains(&flow(0)) && taken.contains(&flow_to(1, 12)));
    assert!(taken.contains(&flow(9000)) && !taken.contains(&flow(1)));
    assert!(incoming.take(address()).is_empty() && incoming.kept(PEER) == 0, "they are taken once");
}

#[test]
fn short_connections_are_never_mentioned() {
    let (mut outgoing, mut incoming) = (holder([flow(1)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    for number in 100..5000 {
        outgoing.established(flow(number));
        outgoing.ended(flow(number).client, flow(number).endpoint);
    }
    assert_eq!(outgoing.message_for(PEER, at(1)), None);
}

#[test]
fn nobody_is_told_that_all_flows_are_none_before_the_kernel_was_asked() {
    let mut outgoing = Outgoing::default();
    outgoing.listen(PEER);
    outgoing.hold(address());
    outgoing.established(flow(1));
    assert_eq!(outgoing.message_for(PEER, at(0)), None);
    outgoing.compare([flow(1)]);
    assert_eq!(outgoing.message_for(PEER, at(0)), Some(Message::Begin(address())));
}

#[test]
fn flows_outlive_the_peer_that_told_of_them() {
    let (mut outgoing, mut incoming) = (holder([flow(1), flow(2)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    incoming.end(PEER);
    // Restarted: it has no address, and so it tells nothing.
    let mut restarted = Outgoing::default();
    restarted.listen(PEER);
    assert_eq!(tell(&mut restarted, &mut incoming, at(1)), 0);
    assert_eq!(numbers(&incoming.take(address())), [2, 3]);
}

#[test]
fn a_message_lost_with_its_link_takes_nothing_along() {
    let (mut outgoing, mut incoming) = (holder((0..3000).map(flow)), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    outgoing.ended(flow(5).client, flow(5).endpoint);
    outgoing.established(flow(7000));
    assert!(outgoing.message_for(PEER, at(1)).is_some(), "and it is lost");
    incoming.end(PEER);
    // The link is there again, and breaks again half-way.
    outgoing.listen(PEER);
    for _ in 0..3 {
        let message = outgoing.message_for(PEER, at(2)).unwrap();
        incoming.handle(PEER, message, at(2));
    }
    incoming.end(PEER);
    let mut copy = backup();
    std::mem::swap(&mut copy, &mut incoming);
    assert!(copy.take(address()).len() >= 3000, "what was known is not given up for half of something newer");
    outgoing.listen(PEER);
    tell(&mut outgoing, &mut incoming, at(3));
    let taken = incoming.take(address());
    assert!(taken.len() == 3000 && taken.contains(&flow(7000)) && !taken.contains(&flow(5)));
}

#[test]
fn the_next_holder_replaces_what_the_last_one_told() {
    let (mut outgoing, mut incoming) = (holder([flow(1), flow(2)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    outgoing.release(address());
    assert_eq!(tell(&mut outgoing, &mut incoming, at(1)), 1, "that it let go");
    incoming.handle(OTHER, Message::Begin(address()), at(2));
    incoming.handle(OTHER, Message::Flows(address(), vec![flow(2), flow(3)]), at(2));
    assert_eq!(incoming.kept(PEER), 2, "not yet");
    incoming.handle(OTHER, Message::Whole(address()), at(2));
    assert_eq!((incoming.kept(PEER), incoming.kept(OTHER)), (0, 2));
    // The last one has nothing to say about them any more.
    incoming.handle(PEER, Message::Ended(address(), vec![flow(2).name()]), at(3));
    assert_eq!(numbers(&incoming.take(address())), [3, 4]);
}

#[test]
fn what_is_told_after_the_takeover_is_not_lost() {
    let (mut outgoing, mut incoming) = (holder([flow(1)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    incoming.take(address());
    outgoing.established(flow(2));
    outgoing.ended(flow(1).client, flow(1).endpoint);
    tell(&mut outgoing, &mut incoming, at(1));
    assert_eq!(incoming.take_late(), [flow(2)]);
    assert!(incoming.take_late().is_empty());
    incoming.release(address());
    outgoing.listen(PEER);
    tell(&mut outgoing, &mut incoming, at(2));
    assert!(incoming.take_late().is_empty() && incoming.kept(PEER) == 1, "it is a backup again");
}

#[test]
fn a_predecessor_that_still_drains_hears_its_successor() {
    let (mut outgoing, mut incoming) = (holder([flow(1), flow(2)]), backup());
    incoming.take(address());
    tell(&mut outgoing, &mut incoming, at(0));
    assert_eq!(incoming.take_late().len(), 2);
    incoming.release(address());
    assert_eq!(numbers(&incoming.take(address())), [2, 3]);
}

#[test]
fn everything_is_told_anew_now_and_then() {
    let (mut outgoing, mut incoming) = (holder([flow(1)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    let later = at(FLOWS_TOLD_ANEW.as_secs());
    let mut deaf = backup();
    assert_eq!(tell(&mut outgoing, &mut deaf, at(1)), 0);
    assert_eq!(tell(&mut outgoing, &mut deaf, later), 3);
    assert_eq!(numbers(&deaf.take(address())), [2]);
}

#[test]
fn a_peer_knows_how_old_its_knowledge_is_while_nothing_changes() {
    let (mut outgoing, mut incoming) = (holder([flow(1)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    let word = FLOWS_WORD.as_secs();
    assert_eq!(outgoing.message_for(PEER, at(word - 1)), None);
    assert_eq!(tell(&mut outgoing, &mut incoming, at(word)), 1);
    assert_eq!(incoming.heard(PEER), Some(at(word)));
    assert_eq!(numbers(&incoming.take(address())), [2]);
}

#[test]
fn what_nobody_takes_is_forgotten() {
    let (mut outgoing, mut incoming) = (holder([flow(1)]), backup());
    tell(&mut outgoing, &mut incoming, at(0));
    incoming.forget(at(10_000));
    assert_eq!(incoming.kept(PEER), 1, "the peer still has it");
    incoming.end(PEER);
    incoming.forget(at(FLOWS_KEPT.as_secs() - 1));
    assert_eq!(incoming.kept(PEER), 1);
    incoming.forget(at(FLOWS_KEPT.as_secs()));
    assert_eq!(incoming.kept(PEER), 0);
}

#[test]
fn bounds_are_kept_and_said_once() {
    let more = u32::try_from(FLOWS + 10).unwrap();
    let mut outgoing = holder((0..more).map(flow));
    assert!(outgoing.flows() == FLOWS && outgoing.take_bound_hit() && !outgoing.take_bound_hit());
    let mut incoming = backup();
    tell(&mut outgoing, &mut incoming, at(0));
    assert!(incoming.kept(PEER) == FLOWS && !incoming.take_bound_hit());
    incoming.handle(PEER, Message::Flows(address(), vec![flow(more)]), at(1));
    assert!(incoming.kept(PEER) == FLOWS && incoming.take_bound_hit() && !incoming.take_bound_hit());

    // A peer that hears nothing of so many changes hears of everything anew.
    let churn = u32::try_from(FLOW_CHANGES_WAITING + 1).unwrap();
    (0..churn).for_each(|number| outgoing.established(flow_to(number, 12)));
    assert_eq!(outgoing.message_for(PEER, at(1)), Some(Message::Begin(address())));
}

#[test]
fn addresses_that_are_none_of_ours_are_not_kept() {
    let (mut outgoing, mut incoming) = (holder([flow(1)]), Incoming::new(BTreeSet::new()));
    tell(&mut outgoing, &mut incoming, at(0));
    assert!(incoming.kept(PEER) == 0 && incoming.heard(PEER) == Some(at(0)));
}

/// Something that happens to a node or its link.
#[derive(Clone, Debug)]
enum Step {
    Established(u32, u8),
    Ended(u32),
    /// The kernel was asked: events about these were lost before.
    Compared(BTreeMap<u32, u8>),
    /// So many messages get through.
    Told(usize),
    /// The link breaks, with one message on it.
    Broken,
    Seconds(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..30_u32, 11..13_u8).prop_map(|(number, server)| Step::Established(number, server)),
        3 => (0..30_u32).prop_map(Step::Ended),
        1 => prop::collection::btree_map(0..30_u32, 11..13_u8, 0..20).prop_map(Step::Compared),
        3 => (1..5_usize).prop_map(Step::Told),
        1 => Just(Step::Broken),
        1 => (1..100_u64).prop_map(Step::Seconds),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_a_peer_that_was_told_everything_knows_exactly_what_there_is(steps in vec(step(), 0..60)) {
        let (mut outgoing, mut incoming) = (holder([]), backup());
        let (mut there, mut seconds) = (BTreeMap::new(), 0);
        for step in steps {
            match step {
                Step::Established(number, server) => {
                    there.insert(number, server);
                    outgoing.established(flow_to(number, server));
                }
                Step::Ended(number) => {
                    there.remove(&number);
                    outgoing.ended(flow(number).client, flow(number).endpoint);
                }
                Step::Compared(now_there) => {
                    outgoing.compare(now_there.iter().map(|(&number, &server)| flow_to(number, server)));
                    there = now_there;
                }
                Step::Told(count) => {
                    for _ in 0..count {
                        if let Some(message) = outgoing.message_for(PEER, at(seconds)) {
                            incoming.handle(PEER, message, at(seconds));
                        }
                    }
                }
                Step::Broken => {
                    let _ = outgoing.message_for(PEER, at(seconds));
                    incoming.end(PEER);
                    outgoing.listen(PEER);
                }
                Step::Seconds(more) => seconds += more,
            }
        }
        tell(&mut outgoing, &mut incoming, at(seconds));
        let expected: BTreeSet<_> = there.iter().map(|(&number, &server)| flow_to(number, server)).collect();
        let taken: BTreeSet<_> = incoming.take(address()).into_iter().collect();
        prop_assert_eq!(taken, expected);
    }
}
