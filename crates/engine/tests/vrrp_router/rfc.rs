//! What the RFCs ask of a router. Tests are named after the clause.

use std::net::Ipv4Addr;
use std::time::Duration;

use mainstay_engine::plan::{Authentication, Preempt, Priority, Router};
use mainstay_engine::time::Centis;
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::vrrp::packet::{Advert, Form};

use crate::bench::{Bench, HIGHER, LOWER, OWN, SECOND, events, fast, router};

/// Three intervals and the skew.
fn master_down(interval: Duration, unit: Duration, priority: u32) -> Duration {
    3 * interval + unit * (256 - priority) / 256
}

#[test]
fn rfc9568_6_1_skew_and_master_down() {
    for priority in [1, 100, 120, 254] {
        let mut bench = Bench::new(router(priority));
        assert_eq!(
            bench.until_active(),
            master_down(SECOND, SECOND, priority.into()),
            "version 2, {priority}"
        );
        let mut bench = Bench::new(fast(priority));
        let interval = Duration::from_millis(100);
        assert_eq!(
            bench.until_active(),
            master_down(interval, interval, priority.into()),
            "version 3, {priority}"
        );
    }
}

#[test]
fn rfc3768_6_1_skew_is_a_share_of_a_second_whatever_the_interval() {
    let mut bench = Bench::new(Router { advert_interval: Centis::new(500), ..router(100) });
    assert_eq!(bench.until_active(), master_down(5 * SECOND, SECOND, 100));
}

#[test]
fn rfc9568_6_4_1_an_owner_is_active_at_once_and_advertises_first() {
    let mut bench = Bench::unaware(router(255));
    assert_eq!(
        (bench.state().as_str(), bench.deeds()),
        ("initialize", vec!["remove".to_owned(), "no rules".to_owned()])
    );
    bench.link(true);
    assert_eq!(bench.state(), "active");
    assert_eq!(bench.deeds()[..3], ["advert 255", "install", "announce"]);
}

#[test]
fn rfc9568_6_4_1_others_listen_first() {
    let bench = Bench::new(router(254));
    assert_eq!(bench.state(), "backup");
    assert!(bench.reason().contains("waiting"), "{}", bench.reason());
}

#[test]
fn rfc9568_6_4_2_priority_zero_sets_the_timer_to_the_skew() {
    let mut bench = Bench::new(router(100));
    bench.hear(LOWER, 120);
    bench.hear(LOWER, 0);
    assert_eq!(bench.until_active(), SECOND * 156 / 256);
}

#[test]
fn rfc9568_6_4_2_a_repeated_priority_zero_does_not_put_the_takeover_off() {
    let mut bench = Bench::new(router(100));
    bench.hear(LOWER, 0);
    bench.pass(SECOND / 2);
    bench.hear(LOWER, 0);
    assert_eq!(bench.until_active(), SECOND * 156 / 256 - SECOND / 2);
}

#[test]
fn rfc9568_6_4_2_the_skew_goes_by_the_interval_of_the_one_who_lets_go() {
    let mut bench = Bench::new(Router { advert_interval: Centis::new(100), ..fast(100) });
    let goodbye = Advert { interval: Centis::new(10), ..bench.advert(LOWER, 0) };
    bench.hear_this(&goodbye);
    assert_eq!(bench.until_active(), Duration::from_millis(100) * 156 / 256);
}

#[test]
fn rfc9568_6_4_2_equal_or_higher_priority_restarts_the_timer() {
    for priority in [100, 101, 255] {
        let mut bench = Bench::new(router(100));
        bench.pass(3 * SECOND);
        bench.hear(LOWER, priority);
        assert_eq!(bench.until_active(), master_down(SECOND, SECOND, 100), "{priority}");
    }
}

#[test]
fn rfc9568_6_4_2_lower_priority_is_discarded_with_preemption() {
    let mut bench = Bench::new(router(100));
    bench.pass(3 * SECOND);
    bench.hear(HIGHER, 99);
    assert_eq!(bench.until_active(), SECOND * 156 / 256);
    assert!(bench.reason().contains("its priority 100 is above the 99 of 10.0.0.9"), "{}", bench.reason());
}

#[test]
fn rfc9568_6_4_2_lower_priority_counts_without_preemption() {
    let mut bench = Bench::new(Router { preempt: Preempt::Never, ..router(100) });
    for _ in 0..10 {
        bench.pass(SECOND);
        bench.hear(LOWER, 1);
    }
    assert_eq!(bench.state(), "backup");
    assert_eq!(bench.until_active(), master_down(SECOND, SECOND, 100), "silence still ends it");
}

#[test]
fn keepalived_preempt_delay_runs_from_the_first_lower_advert() {
    let mut bench = Bench::new(Router { preempt: Preempt::After(10 * SECOND), ..router(100) });
    // It ends after 10 s; the timer that was set just before runs out after 12.6 s.
    for second in 0..13 {
        assert_eq!(bench.state(), "backup", "after {second} s");
        bench.hear(LOWER, 50);
        bench.pass(SECOND);
    }
    assert_eq!(bench.state(), "active");
}

#[test]
fn rfc9568_6_4_2_version_3_goes_by_the_active_routers_interval() {
    let mut bench = Bench::new(fast(100));
    let slower = Advert { interval: Centis::new(100), ..bench.advert(LOWER, 120) };
    bench.hear_this(&slower);
    assert_eq!(bench.until_active(), master_down(SECOND, SECOND, 100));
}

#[test]
fn rfc9568_6_4_3_adverts_go_out_every_interval() {
    let mut bench = Bench::active(router(100));
    bench.pass(10 * SECOND);
    let adverts = bench.deeds().iter().filter(|deed| *deed == "advert 100").count();
    assert_eq!(adverts, 10);
}

#[test]
fn rfc9568_6_4_3_priority_zero_is_answered_at_once() {
    let mut bench = Bench::active(router(100));
    bench.hear(LOWER, 0);
    assert_eq!((bench.state().as_str(), bench.deeds()), ("active", vec!["advert 100".to_owned()]));
}

#[test]
fn rfc9568_6_4_3_whom_an_active_router_yields_to() {
    let cases = [
        (LOWER, 101, true),
        (HIGHER, 100, true),
        (LOWER, 100, false),
        (HIGHER, 99, false),
        (LOWER, 255, true),
    ];
    for (source, priority, yields) in cases {
        let mut bench = Bench::active(router(100));
        bench.hear(source, priority);
        let expected = if yields { "backup" } else { "active" };
        assert_eq!(bench.state(), expected, "{source} with {priority}");
        if yields {
            assert_eq!(bench.until_active(), master_down(SECOND, SECOND, 100));
        } else {
            assert_eq!(bench.deeds()[..2], ["advert 100", "announce"], "it asserts itself");
        }
    }
}

#[test]
fn rfc9568_7_1_what_is_refused_changes_nothing_and_is_named_once() {
    type Change = fn(&mut Advert);
    let changes: [(&str, Change); 5] = [
        ("ttl", |advert| advert.ttl = 254),
        ("interval", |advert| advert.interval = Centis::new(200)),
        ("address_list", |advert| advert.addresses.push(Ipv4Addr::new(10, 0, 0, 101).into())),
        ("vrid_taken", |advert| advert.addresses = vec![Ipv4Addr::new(10, 0, 0, 101).into()]),
        ("authentication_type", |advert| {
            advert.form = Form::V2 { authentication: Authentication::Password(*b"hunter2\0") };
        }),
    ];
    for (name, change) in changes {
        let mut bench = Bench::new(router(100));
        let mut advert = bench.advert(LOWER, 200);
        change(&mut advert);
        for _ in 0..3 {
            bench.hear_this(&advert);
        }
        let done = bench.take();
        let named: Vec<_> = events(&done)
            .into_iter()
            .filter(|event| matches!(event, VrrpEvent::PeerMismatch { peer: LOWER, mismatch, .. } if *mismatch == name))
            .collect();
        assert_eq!(named.len(), 1, "{name}: {done:?}");
        let refused = &bench.engine.status(bench.now).routers[0].refused;
        assert_eq!((refused.len(), refused[0].reason.as_str(), refused[0].count), (1, name, 3));
        assert_eq!(bench.until_active(), master_down(SECOND, SECOND, 100), "{name} does not move the timer");
    }
}

#[test]
fn rfc9568_7_1_its_own_adverts_come_back_and_count_for_nothing() {
    let mut bench = Bench::active(router(100));
    bench.hear(OWN, 100);
    assert_eq!((bench.state().as_str(), bench.deeds()), ("active", Vec::new()));
}

#[test]
fn keepalived_a_lost_link_is_a_fault_and_its_return_starts_over() {
    let mut bench = Bench::active(router(100));
    bench.link(false);
    assert_eq!(bench.state(), "fault");
    assert!(bench.reason().contains("eth0 is down"), "{}", bench.reason());
    assert!(bench.deeds().contains(&"remove".to_owned()));
    bench.link(true);
    assert_eq!(bench.until_active(), master_down(SECOND, SECOND, 100));
}

#[test]
fn an_owner_yields_to_nobody_below_it() {
    let mut bench = Bench::new(router(Priority::OWNER.0));
    bench.hear(HIGHER, 254);
    assert_eq!(bench.state(), "active");
}
