//! Somebody else answers for a virtual address: when that is asked, believed, said and answered.

use std::net::IpAddr;

use mainstay_engine::limits::{
    CONFLICT_PROBE_INTERVAL, CONFLICT_REPEAT, CONFLICT_SETTLING, DEFEND_INTERVAL, DIFFERENCE_QUIET,
    DIFFERENCES, PROBE_INTERVAL,
};
use mainstay_engine::plan::HardwareAddress;
use mainstay_engine::time::Centis;
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::{Input, Output};

use crate::bench::{Bench, HIGHER, LOWER, SECOND, VIRTUAL, events, router};

const STRANGER: HardwareAddress = HardwareAddress([0x52, 0x54, 0, 0, 0, 0x2a]);

fn claim(bench: &mut Bench, hardware: HardwareAddress) {
    bench.handle(Input::AddressClaimed { interface: "eth0", address: VIRTUAL, hardware });
}

fn probes(bench: &mut Bench) -> usize {
    bench.take().iter().filter(|done| matches!(done, Output::Probe { address: VIRTUAL, .. })).count()
}

/// Lets a stranger answer every probe for a while. Returns the kinds of events said, with their texts.
fn answer(bench: &mut Bench, seconds: u32) -> Vec<String> {
    let mut said = Vec::new();
    for _ in 0..seconds * 10 {
        bench.pass(SECOND / 10);
        let done = bench.take();
        if done.iter().any(|done| matches!(done, Output::Probe { .. })) {
            claim(bench, STRANGER);
        }
        said.extend(events(&done).iter().map(ToString::to_string));
        said.extend(events(&bench.take()).iter().map(ToString::to_string));
    }
    said
}

#[test]
fn the_first_probe_goes_out_with_the_first_advert_and_delays_nothing() {
    let mut bench = Bench::new(router(100));
    bench.until_active();
    let done = bench.take();
    let position = |wanted: fn(&Output) -> bool| done.iter().position(wanted).expect("it is done");
    let advert = position(|done| matches!(done, Output::SendAdvert { .. }));
    let install = position(|done| matches!(done, Output::InstallAddress { .. }));
    let probe = position(|done| matches!(done, Output::Probe { address: VIRTUAL, .. }));
    assert!(advert < install && install < probe, "{done:?}");
    bench.pass(CONFLICT_SETTLING);
    assert_eq!(probes(&mut bench), 1, "once more when all has settled");
    bench.pass(PROBE_INTERVAL * 6);
    assert_eq!(probes(&mut bench), 6);
}

#[test]
fn an_address_conflict_is_named_with_its_hardware_address_and_its_end_is_said() {
    let mut bench = Bench::new(router(100));
    bench.until_active();
    let said = answer(&mut bench, 5);
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert_eq!((shown.kind.as_str(), shown.harmful), ("address_conflict", true));
    assert_eq!(shown.sentence, "52:54:00:00:00:2a answers for 10.0.0.100 too, so some clients are led there");
    assert!(shown.hint.contains("hardware address"), "{}", shown.hint);
    assert_eq!(said.iter().filter(|said| said.contains("52:54:00:00:00:2a answers")).count(), 1, "{said:?}");
    bench.pass(DIFFERENCE_QUIET);
    assert_eq!(bench.differences(), []);
    let done = bench.take();
    let ended = |event: &&VrrpEvent| {
        matches!(event, VrrpEvent::DifferenceEnded { difference: "address_conflict", .. })
    };
    assert_eq!(events(&done).into_iter().filter(ended).count(), 1);
}

#[test]
fn a_takeover_is_no_conflict() {
    // The predecessor's last announcements, and answers of its kernel until the address has gone.
    let mut bench = Bench::new(router(100));
    bench.hear(LOWER, 0);
    bench.until_active();
    bench.take();
    let settled = bench.now + CONFLICT_SETTLING;
    while bench.now < settled {
        claim(&mut bench, STRANGER);
        bench.pass(SECOND / 10);
    }
    bench.pass(20 * SECOND);
    assert_eq!(bench.differences(), []);
    let done = bench.take();
    let said = events(&done);
    assert!(!said.iter().any(|event| matches!(event, VrrpEvent::PeerDiffers { .. })), "{said:?}");
}

#[test]
fn a_predecessor_that_comes_back_is_no_conflict() {
    // Its last announcement of one life and the first of the next, which comes a moment before its advert is read.
    let mut bench = Bench::active(router(100));
    claim(&mut bench, STRANGER);
    bench.pass(CONFLICT_SETTLING + SECOND / 2);
    claim(&mut bench, STRANGER);
    bench.hear(LOWER, 120);
    let done = bench.take();
    let said = events(&done);
    assert!(!said.iter().any(|event| matches!(event, VrrpEvent::PeerDiffers { .. })), "{said:?}");
}

#[test]
fn one_answer_alone_is_no_conflict_and_makes_it_ask_again() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    bench.take();
    claim(&mut bench, STRANGER);
    claim(&mut bench, STRANGER);
    assert_eq!(bench.differences(), []);
    bench.pass(CONFLICT_REPEAT);
    assert_eq!(probes(&mut bench), 1);
    claim(&mut bench, STRANGER);
    assert_eq!(bench.differences(), [], "an advert that explains it may be under way");
    bench.pass(CONFLICT_REPEAT);
    assert_eq!(bench.differences().len(), 1);
    bench.pass(CONFLICT_PROBE_INTERVAL);
    assert!(probes(&mut bench) >= 1, "it asks more often while there is a conflict");
}

#[test]
fn a_backup_blames_nobody_for_the_addresses_it_does_not_have() {
    let mut bench = Bench::new(router(100));
    for _ in 0..20 {
        bench.hear(HIGHER, 120);
        claim(&mut bench, STRANGER);
        bench.pass(SECOND);
    }
    assert_eq!(bench.differences(), []);
    assert_eq!(probes(&mut bench), 0);
}

#[test]
fn what_was_suspected_before_is_forgotten_with_the_addresses() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    claim(&mut bench, STRANGER);
    bench.hear(HIGHER, 120);
    bench.hear(HIGHER, 0);
    bench.until_active();
    bench.pass(CONFLICT_SETTLING);
    claim(&mut bench, STRANGER);
    assert_eq!(bench.differences(), [], "the first sight in this activity");
}

#[test]
fn an_active_router_announces_again_but_not_in_a_loop() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    bench.take();
    let mut announced = 0;
    for _ in 0..400 {
        claim(&mut bench, STRANGER);
        bench.pass(SECOND / 10);
        announced += bench.deeds().iter().filter(|deed| *deed == "announce").count();
    }
    let most = 40 / usize::try_from(DEFEND_INTERVAL.as_secs()).unwrap() + 1;
    assert!((most - 1..=most).contains(&announced), "{announced}");
}

#[test]
fn the_virtual_routers_own_hardware_address_is_no_strangers() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    for _ in 0..5 {
        claim(&mut bench, HardwareAddress([0, 0, 0x5e, 0, 1, 51]));
        claim(&mut bench, HardwareAddress([0, 0, 0x5e, 0, 2, 51]));
        bench.pass(SECOND);
    }
    assert_eq!(bench.differences(), []);
    for _ in 0..2 {
        claim(&mut bench, HardwareAddress([0, 0, 0x5e, 0, 1, 52]));
        bench.pass(SECOND);
    }
    assert_eq!(bench.differences().len(), 1, "that of another virtual router is");
}

#[test]
fn claims_elsewhere_or_for_other_addresses_concern_nobody() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    for _ in 0..5 {
        bench.handle(Input::AddressClaimed { interface: "eth1", address: VIRTUAL, hardware: STRANGER });
        let address: IpAddr = "10.0.0.77".parse().unwrap();
        bench.handle(Input::AddressClaimed { interface: "eth0", address, hardware: STRANGER });
        bench.pass(SECOND);
    }
    assert_eq!(bench.differences(), []);
    assert!(bench.engine.status(bench.now).routers[0].differences_total.is_empty());
}

#[test]
fn no_flood_of_hardware_addresses_grows_the_table() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    for round in 0..3 {
        for host in 0..2_000_u16 {
            let [high, low] = host.to_be_bytes();
            claim(&mut bench, HardwareAddress([2, 0, 0, 0, high, low]));
        }
        bench.pass(SECOND);
        assert!(bench.differences().len() <= DIFFERENCES, "round {round}");
    }
    let adverts = bench.take().iter().filter(|done| matches!(done, Output::SendAdvert { .. })).count();
    assert_eq!(adverts, 13, "adverts go on");
}

/// Keepalived that refuses adverts sends one of its own and then no more, as each of those starts its timer anew.
#[test]
fn a_refused_router_that_fell_silent_explains_a_conflict_for_as_long_as_it_lasts() {
    let mut bench = Bench::active(router(100));
    let mut advert = bench.advert(LOWER, 90);
    advert.interval = Centis::new(200);
    bench.hear_this(&advert);
    let said = answer(&mut bench, 60);
    let both = said.iter().filter(|said| said.contains("10.0.0.1 are both active")).count();
    assert_eq!(both, 1, "{said:?}");
    let kinds: Vec<_> =
        bench.differences().into_iter().map(|shown| (shown.kind, shown.both_active)).collect();
    assert_eq!(kinds, [("interval".to_owned(), true), ("address_conflict".to_owned(), false)]);
    bench.pass(DIFFERENCE_QUIET);
    assert_eq!(bench.differences(), []);
}
