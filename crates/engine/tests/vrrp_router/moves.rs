//! How addresses move: make before break, the drain, the kernel as dead man's switch, and what goes wrong with it.

use std::time::Duration;

use mainstay_engine::admin::{Reply, Request};
use mainstay_engine::limits::{
    ADDRESS_LIFETIME, ADDRESS_RENEWAL, HAND_OVER_DRAIN, HAND_OVER_LEAST, HAND_OVER_MARGIN, INSTALL_HOLD,
};
use mainstay_engine::plan::{AnnouncePolicy, Router};
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::{Input, Output};

use crate::bench::{Bench, HIGHER, LOWER, SECOND, VIRTUAL, events, fast, router};

fn count(deeds: &[String], deed: &str) -> usize {
    deeds.iter().filter(|done| *done == deed).count()
}

#[test]
fn addresses_live_for_a_second_and_are_renewed_four_times_in_it() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    let done = bench.take();
    let lifetimes = done.iter().filter_map(|output| match output {
        Output::InstallAddress { lifetime, .. } => Some(*lifetime),
        _ => None,
    });
    let lifetimes: Vec<_> = lifetimes.collect();
    assert_eq!(lifetimes, vec![Some(ADDRESS_LIFETIME); 40]);
    assert_eq!(ADDRESS_RENEWAL, ADDRESS_LIFETIME / 4);
}

#[test]
fn announcements_come_in_two_bursts_and_then_as_often_as_configured() {
    let announce = AnnouncePolicy { refresh: Some(60 * SECOND), refresh_repeat: 2, ..router(100).announce };
    let mut bench = Bench::new(Router { announce, ..router(100) });
    bench.until_active();
    assert_eq!(count(&bench.deeds(), "announce"), 5);
    bench.pass(Duration::from_millis(4_999));
    assert_eq!(count(&bench.deeds(), "announce"), 0);
    bench.pass(Duration::from_millis(1));
    assert_eq!(count(&bench.deeds(), "announce"), 5);
    bench.pass(115 * SECOND);
    assert_eq!(count(&bench.deeds(), "announce"), 4);
}

#[test]
fn a_stop_keeps_the_addresses_until_a_successor_is_heard_and_then_drains() {
    let mut bench = Bench::active(router(120));
    bench.handle(Input::Stop);
    assert_eq!((bench.state().as_str(), bench.deeds()), ("handing over", vec!["advert 0".to_owned()]));
    bench.pass(SECOND / 2);
    assert_eq!(bench.deeds(), ["install", "install"], "it serves on");
    bench.hear(LOWER, 100);
    assert_eq!(bench.deeds(), ["silence", "install"], "silent in ARP first");
    bench.pass(HAND_OVER_DRAIN - Duration::from_millis(1));
    assert_eq!(bench.deeds(), [""; 0], "neither adverts nor renewals");
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.deeds(), ["remove", "no rules", "exit"]);
}

#[test]
fn a_stop_without_a_successor_is_bounded() {
    let mut bench = Bench::active(router(120));
    bench.handle(Input::Stop);
    bench.pass(5 * SECOND);
    let deeds = bench.deeds();
    assert_eq!(count(&deeds, "advert 0"), 5, "said at every interval: {deeds:?}");
    assert_eq!(deeds[deeds.len() - 2..], ["remove", "exit"]);
}

#[test]
fn a_successor_with_another_interval_has_a_second_too() {
    let mut bench = Bench::active(fast(120));
    bench.handle(Input::Stop);
    bench.pass(HAND_OVER_LEAST);
    assert_eq!(bench.state(), "handing over");
    bench.pass(HAND_OVER_MARGIN);
    assert_eq!(bench.state(), "stopped");
}

#[test]
fn a_stop_lets_a_drain_that_is_under_way_end() {
    let mut bench = Bench::active(router(100));
    bench.hear(HIGHER, 120);
    bench.take();
    bench.handle(Input::Stop);
    assert_eq!((bench.state().as_str(), bench.deeds()), ("stopped", Vec::new()));
    bench.pass(HAND_OVER_DRAIN);
    assert_eq!(bench.deeds(), ["remove", "no rules", "exit"]);
}

#[test]
fn a_backup_stops_at_once() {
    let mut bench = Bench::new(router(100));
    bench.handle(Input::Stop);
    assert_eq!(bench.deeds(), ["exit"]);
}

#[test]
fn a_hand_over_makes_it_the_last_resort_until_it_is_resumed() {
    let mut bench = Bench::active(router(120));
    bench.handle(Input::Request { ticket: 7, request: Request::HandOver });
    let agreed = |output: &Output| matches!(output, Output::Reply { ticket: 7, reply: Reply::Done });
    assert!(bench.take().iter().any(agreed));
    bench.hear(LOWER, 100);
    assert_eq!(bench.state(), "backup");
    for _ in 0..10 {
        bench.pass(SECOND);
        bench.hear(LOWER, 100);
    }
    assert_eq!(bench.state(), "backup", "100 is above its 1");
    bench.handle(Input::Request { ticket: 8, request: Request::Resume });
    bench.hear(LOWER, 100);
    assert!(bench.until_active() < 4 * SECOND);
}

#[test]
fn a_hand_over_that_nobody_answers_leaves_it_active() {
    let mut bench = Bench::active(router(120));
    bench.handle(Input::Request { ticket: 7, request: Request::HandOver });
    bench.pass(5 * SECOND);
    assert_eq!(bench.state(), "active");
    let done = bench.take();
    assert!(events(&done).iter().any(|event| matches!(event, VrrpEvent::HandOverUnanswered { .. })));
}

#[test]
fn a_successor_forwards_what_it_did_not_see_begin_before_it_takes_the_address() {
    let mut bench = Bench::new(router(100));
    bench.hear(LOWER, 120);
    bench.hear(LOWER, 0);
    bench.until_active();
    assert_eq!(bench.deeds()[..4], ["advert 100", "forward to 10.0.0.1", "install", "announce"]);
    bench.pass(HAND_OVER_DRAIN);
    assert_eq!(count(&bench.deeds(), "no rules"), 1);
}

#[test]
fn preemption_drains_as_well() {
    let mut preferred = Bench::new(router(120));
    preferred.pass(3 * SECOND);
    preferred.hear(LOWER, 100);
    preferred.until_active();
    assert!(preferred.deeds().contains(&"forward to 10.0.0.1".to_owned()));

    let mut other = Bench::active(router(100));
    other.hear(HIGHER, 120);
    assert_eq!(
        (other.state().as_str(), other.deeds()),
        ("backup", vec!["silence".to_owned(), "install".to_owned()])
    );
    other.pass(HAND_OVER_DRAIN);
    assert_eq!(other.deeds(), ["remove", "no rules"]);
}

#[test]
fn a_takeover_from_the_dead_forwards_nothing() {
    let mut bench = Bench::new(router(100));
    bench.hear(LOWER, 120);
    bench.until_active();
    assert!(!bench.deeds().iter().any(|deed| deed.starts_with("forward")));
}

#[test]
fn a_drain_ends_when_the_addresses_come_back() {
    let mut bench = Bench::active(router(100));
    bench.hear(HIGHER, 120);
    bench.hear(HIGHER, 0);
    bench.take();
    bench.until_active();
    let deeds = bench.deeds();
    assert_eq!(deeds[..3], ["advert 100", "no rules", "forward to 10.0.0.9"], "{deeds:?}");
    assert!(!deeds.contains(&"remove".to_owned()), "{deeds:?}");
}

#[test]
fn without_silence_the_addresses_go_at_once() {
    let mut bench = Bench::active(router(100));
    bench.hear(HIGHER, 120);
    bench.take();
    let reason = "cannot run nft".to_owned();
    let vrid = router(100).vrid;
    bench.handle(Input::HandOverRulesFailed { interface: "eth0", vrid, reason });
    let done = bench.take();
    assert!(events(&done).iter().any(|event| matches!(event, VrrpEvent::NoDrain { .. })));
    assert!(
        matches!(
            done[done.len() - 2..],
            [Output::RemoveAddress { .. }, Output::HandOverRules { rules: None, .. }]
        ),
        "{done:?}"
    );
    let reason = "cannot run nft".to_owned();
    bench.handle(Input::HandOverRulesFailed { interface: "eth0", vrid, reason });
    assert_eq!(bench.deeds(), [""; 0], "that they cannot be ended either ends it");
}

#[test]
fn a_failure_that_is_known_late_leaves_no_rules_in_force() {
    let mut bench = Bench::new(router(100));
    bench.hear(LOWER, 80);
    bench.until_active();
    bench.hear(HIGHER, 120);
    bench.take();
    // Forwarding failed, and silence is in force by now.
    let (vrid, reason) = (router(100).vrid, "nft did not end within 250 ms".to_owned());
    bench.handle(Input::HandOverRulesFailed { interface: "eth0", vrid, reason });
    let deeds = bench.deeds();
    assert_eq!(deeds[deeds.len() - 2..], ["remove", "no rules"], "{deeds:?}");
}

#[test]
fn addresses_elsewhere_do_not_drain() {
    let mut config = router(100);
    config.addresses[0].interface = "eth1".to_owned();
    let mut bench = Bench::active(config);
    bench.hear(HIGHER, 120);
    assert_eq!(bench.deeds(), ["remove"]);
}

#[test]
fn who_overslept_lets_go_before_anything_else() {
    let mut bench = Bench::active(router(100));
    bench.oversleep(4 * SECOND);
    bench.wake();
    assert_eq!((bench.state().as_str(), bench.deeds()), ("backup", vec!["remove".to_owned()]));
}

#[test]
fn who_woke_a_little_late_goes_on() {
    let mut bench = Bench::active(router(100));
    bench.oversleep(2 * SECOND);
    bench.wake();
    assert_eq!(bench.state(), "active");
}

#[test]
fn an_address_that_somebody_removes_is_put_back_at_the_pace_of_renewals() {
    let mut bench = Bench::active(router(100));
    let gone = || Input::AddressGone { interface: "eth0", address: VIRTUAL };
    bench.handle(gone());
    assert_eq!(bench.deeds()[..2], ["install", "announce"]);
    for _ in 0..100 {
        bench.handle(gone());
    }
    assert_eq!(bench.deeds(), [""; 0]);
    bench.pass(ADDRESS_RENEWAL);
    assert!(count(&bench.deeds(), "announce") > 0);
}

#[test]
fn addresses_that_cannot_be_installed_are_left_to_a_peer_for_a_while() {
    let mut bench = Bench::active(router(100));
    let address = router(100).addresses[0].clone();
    for _ in 0..40 {
        bench.handle(Input::InstallFailed { address: &address, reason: "no space".to_owned() });
        bench.pass(ADDRESS_RENEWAL);
        if bench.state() == "fault" {
            break;
        }
    }
    assert_eq!(bench.state(), "fault");
    assert!(bench.reason().contains("10.0.0.100 cannot be installed: no space"), "{}", bench.reason());
    bench.pass(INSTALL_HOLD - SECOND);
    assert_eq!(bench.state(), "fault");
    bench.pass(SECOND);
    assert_eq!(bench.state(), "backup");
}
