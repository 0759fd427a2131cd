//! How adverts answer others, and how announcements are spread and repeated, where Keepalived lets people choose.

use std::time::Duration;

use mainstay_engine::Output;
use mainstay_engine::plan::{AnnounceGap, AnnouncePolicy, Plan, Router, VirtualAddress};

use crate::bench::{Bench, HIGHER, LOWER, SECOND, router};

fn announcements(bench: &mut Bench) -> usize {
    bench.deeds().iter().filter(|deed| *deed == "announce").count()
}

#[test]
fn keepalived_lower_prio_no_advert_leaves_a_lower_claim_unanswered() {
    let mut answers = Bench::active(router(100));
    answers.hear(LOWER, 50);
    assert_eq!(answers.deeds().first().map(String::as_str), Some("advert 100"));
    let mut silent = Bench::active(Router { answers_lower_priority: false, ..router(100) });
    silent.hear(LOWER, 50);
    let deeds = silent.deeds();
    assert!(!deeds.contains(&"advert 100".to_owned()) && deeds.contains(&"announce".to_owned()), "{deeds:?}");
    assert_eq!(silent.state(), "active");
}

#[test]
fn keepalived_higher_prio_send_advert_answers_before_it_yields() {
    let mut bench = Bench::active(Router { answers_higher_priority: true, ..router(100) });
    bench.hear(HIGHER, 200);
    assert_eq!((bench.deeds()[0].as_str(), bench.state().as_str()), ("advert 100", "backup"));
    let mut usual = Bench::active(router(100));
    usual.hear(HIGHER, 200);
    assert!(!usual.deeds().contains(&"advert 100".to_owned()));
}

#[test]
fn keepalived_garp_interval_spreads_a_burst() {
    let gap =
        AnnounceGap { interfaces: Vec::new(), arp: Duration::from_millis(10), neighbour: Duration::ZERO };
    let plan = Plan { announce_gaps: vec![gap], ..Plan::default() };
    let mut bench = Bench::of_plan(Plan { routers: vec![router(100)], ..plan });
    bench.until_active();
    assert_eq!(announcements(&mut bench), 1, "the first one at once");
    bench.pass(Duration::from_millis(9));
    assert_eq!(announcements(&mut bench), 0);
    bench.pass(Duration::from_millis(1));
    assert_eq!(announcements(&mut bench), 1);
    // Who lets go announces nothing any more, though two of five waited for their turn.
    bench.pass(Duration::from_millis(10));
    bench.hear(HIGHER, 200);
    bench.take();
    bench.pass(SECOND / 2);
    assert_eq!(announcements(&mut bench), 0);
}

#[test]
fn keepalived_garp_extra_if_repeats_announcements_elsewhere_alone() {
    let base = router(100);
    let elsewhere = VirtualAddress { interface: "eth9".to_owned(), ..base.addresses[0].clone() };
    let announce = AnnouncePolicy { other_interfaces_refresh: Some(60 * SECOND), ..base.announce };
    let mut bench = Bench::active(Router { excluded_addresses: vec![elsewhere], announce, ..base });
    bench.pass(10 * SECOND);
    bench.take();
    bench.pass(120 * SECOND);
    let done = bench.take();
    let where_to = done.iter().filter_map(|output| match output {
        Output::Announce { interface, .. } => Some(interface.as_str()),
        _ => None,
    });
    assert_eq!(where_to.collect::<Vec<_>>(), ["eth9", "eth9"]);
}
