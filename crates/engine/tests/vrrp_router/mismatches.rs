//! What is said of routers that differ, one row for each difference: where it stands, what it says, how to mend it.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use mainstay_engine::Input;
use mainstay_engine::limits::{DIFFERENCE_QUIET, DIFFERENCES, YIELD_PATIENCE};
use mainstay_engine::plan::{Authentication, Delivery, Preempt, Router, UnicastPeer, Version};
use mainstay_engine::time::Centis;
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::vrrp::packet::{Advert, ChecksumForm, Form, GROUP, encode};

use crate::bench::{Bench, HIGHER, LOWER, OWN, SECOND, VIRTUAL, events, fast, router};

const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));

fn with_password(priority: u8) -> Router {
    Router { authentication: Authentication::Password(*b"k8s-secr"), ..router(priority) }
}

fn unicast(only_peers: bool) -> Router {
    let peers = vec![UnicastPeer { address: LOWER, min_ttl: 255, max_ttl: 255 }];
    Router { delivery: Delivery::Unicast { peers, ttl: 255, only_peers }, ..router(100) }
}

/// A row: a router, what an advert of [`LOWER`] with priority 90 is changed to, and what is said then.
struct Row {
    kind: &'static str,
    config: Router,
    change: fn(&mut Advert),
    says: &'static str,
    hint: &'static str,
}

fn rows() -> Vec<Row> {
    let row = |kind, config, change, says, hint| Row { kind, config, change, says, hint };
    vec![
        row("ttl", router(100), |a| a.ttl = 64, "its TTL is 64, not 255", "on one LAN"),
        row("ttl", unicast(false), |a| a.ttl = 64, "this router takes 255 to 255", "`min_ttl`"),
        row(
            "version",
            router(100),
            version_3,
            "it speaks version 3, this router version 2",
            "`vrrp_version`",
        ),
        row(
            "authentication_type",
            with_password(100),
            |a| a.form = Form::V2 { authentication: Authentication::None },
            "it does not authenticate, this router does with a password",
            "`authentication` block",
        ),
        row(
            "password",
            with_password(100),
            |a| a.form = Form::V2 { authentication: Authentication::Password(*b"zebra\0\0\0") },
            "its password is another",
            "`auth_pass`",
        ),
        row(
            "interval",
            router(100),
            |a| a.interval = Centis::new(300),
            "every 3 s, this router every 1 s",
            "`advert_int`",
        ),
        row(
            "address_list",
            router(100),
            |a| a.addresses.push(OTHER),
            "this router does not have its 10.0.0.101",
            "`virtual_ipaddress`",
        ),
        row(
            "address_list",
            two_addresses(),
            |a| a.addresses.truncate(1),
            "it does not have 10.0.0.101",
            "`virtual_ipaddress`",
        ),
        row(
            "vrid_taken",
            router(100),
            |a| a.addresses = vec![OTHER],
            "such as 10.0.0.101",
            "another `virtual_router_id`",
        ),
    ]
}

/// As [`rows`], about whom adverts go to and come from.
fn delivery_rows() -> Vec<Row> {
    let row = |kind, config, change, says, hint| Row { kind, config, change, says, hint };
    vec![
        row(
            "stranger",
            unicast(true),
            |a| a.source = HIGHER,
            "not one of this router's peers",
            "`unicast_peer`",
        ),
        row(
            "destination",
            unicast(false),
            |a| a.destination = GROUP.into(),
            "the group 224.0.0.18",
            "is missing there",
        ),
        row("destination", router(100), |a| a.destination = OWN, "to 10.0.0.5 alone", "is missing here"),
    ]
}

fn version_3(advert: &mut Advert) {
    advert.form = Form::V3 { checksum: ChecksumForm::PseudoHeader };
}

fn two_addresses() -> Router {
    let mut config = router(100);
    let second = mainstay_engine::plan::VirtualAddress { address: OTHER, ..config.addresses[0].clone() };
    config.addresses.push(second);
    config
}

#[test]
fn a_refused_router_is_named_with_what_differs_and_how_to_mend_it() {
    for Row { kind, config, change, says, hint } in rows().into_iter().chain(delivery_rows()) {
        let mut bench = Bench::new(config);
        let mut advert = bench.advert(LOWER, 90);
        change(&mut advert);
        bench.hear_this(&advert);
        let [shown] = &bench.differences()[..] else { panic!("{kind}: {:?}", bench.differences()) };
        assert_eq!((shown.kind.as_str(), shown.count, shown.harmful), (kind, 1, true));
        let source = advert.source.to_string();
        assert_eq!(shown.who, source);
        assert!(shown.sentence.starts_with(&format!("{source} is refused: ")), "{kind}: {}", shown.sentence);
        assert!(shown.sentence.contains(says), "{kind}: {}", shown.sentence);
        assert!(shown.hint.contains(hint), "{kind}: {}", shown.hint);
        let done = bench.take();
        let said = events(&done);
        let [event] = &said[..] else { panic!("{kind}: {said:?}") };
        let sentence = event.to_string();
        assert!(sentence.contains(says) && sentence.contains(hint), "{kind}: {sentence}");
        assert!(!sentence.contains("k8s-secr") && !sentence.contains("zebra"), "no password: {sentence}");
        assert_eq!(bench.engine.status(bench.now).routers[0].differences_total.get(kind), Some(&1));
    }
}

#[test]
fn both_active_is_said_when_a_refused_router_goes_on_and_counted_once() {
    for Row { kind, config, change, .. } in rows().into_iter().chain(delivery_rows()) {
        let mut bench = Bench::active(config);
        let mut advert = bench.advert(LOWER, 90);
        change(&mut advert);
        let mut said = 0;
        for heard in 1..=5 {
            bench.hear_this(&advert);
            let done = bench.take();
            said +=
                events(&done).iter().filter(|event| matches!(event, VrrpEvent::BothActive { .. })).count();
            // One alone may be a leftover of a peer that was just mended.
            let expected = usize::from(heard > 1 && kind != "vrid_taken");
            assert_eq!(said, expected, "{kind} after {heard}");
            bench.pass(advert.interval.to_duration());
        }
        let status = bench.engine.status(bench.now).routers.remove(0);
        assert_eq!(status.both_active_total, u64::try_from(said).unwrap(), "{kind}");
        assert_eq!(status.differences[0].both_active, said > 0, "{kind}");
        assert_eq!(status.differences[0].sentence.contains("both are active"), said > 0, "{kind}");
        assert_eq!(status.state, "active", "what is refused changes nothing");
    }
}

#[test]
fn a_takeover_beside_a_refused_active_router_is_said() {
    let mut bench = Bench::new(with_password(100));
    let advert =
        Advert { form: Form::V2 { authentication: Authentication::None }, ..bench.advert(LOWER, 200) };
    bench.hear_this(&advert);
    bench.pass(SECOND);
    bench.hear_this(&advert);
    assert!(
        bench.differences()[0].sentence.contains("will be active beside it"),
        "{:?}",
        bench.differences()
    );
    for _ in 0..3 {
        bench.pass(SECOND);
        bench.hear_this(&advert);
    }
    assert_eq!(bench.state(), "active", "as Keepalived does");
    let done = bench.take();
    let both =
        |event: &&VrrpEvent| matches!(event, VrrpEvent::BothActive { mismatch: "authentication_type", .. });
    assert_eq!(events(&done).into_iter().filter(both).count(), 1, "{done:?}");
    assert_eq!(bench.engine.status(bench.now).routers[0].both_active_total, 1);
}

#[test]
fn a_router_that_lets_go_or_is_gone_is_not_active_beside_anybody() {
    let mut bench = Bench::new(with_password(100));
    let advert =
        Advert { form: Form::V2 { authentication: Authentication::None }, ..bench.advert(LOWER, 200) };
    bench.hear_this(&advert);
    bench.pass(SECOND / 2);
    bench.hear_this(&Advert { priority: mainstay_engine::plan::Priority(0), ..advert });
    bench.pass(4 * SECOND);
    assert_eq!(bench.state(), "active");
    assert_eq!(bench.engine.status(bench.now).routers[0].both_active_total, 0);
}

#[test]
fn what_is_mended_is_said_and_leaves_status() {
    let mut bench = Bench::active(with_password(100));
    let wrong = Advert { form: Form::V2 { authentication: Authentication::None }, ..bench.advert(LOWER, 90) };
    for _ in 0..3 {
        bench.hear_this(&wrong);
        bench.pass(SECOND);
    }
    // It starts anew with the right password, and says once that it is there.
    bench.hear(LOWER, 90);
    bench.take();
    assert!(!bench.differences()[0].both_active);
    bench.pass(DIFFERENCE_QUIET);
    assert_eq!(bench.differences(), []);
    let done = bench.take();
    let ended = events(&done).into_iter().find(|event| matches!(event, VrrpEvent::DifferenceEnded { .. }));
    let ended = ended.expect("the end is said").to_string();
    assert_eq!(ended, "router V takes the adverts of 10.0.0.1 again (authentication_type is mended)");
}

#[test]
fn after_a_split_the_active_router_announces_again() {
    // The other one is gone, or hears this one now and is a backup: it is silent.
    let mut bench = Bench::active(with_password(100));
    bench.pass(10 * SECOND);
    let wrong = Advert { form: Form::V2 { authentication: Authentication::None }, ..bench.advert(LOWER, 90) };
    for _ in 0..3 {
        bench.hear_this(&wrong);
        bench.pass(SECOND);
    }
    bench.take();
    bench.pass(DIFFERENCE_QUIET - SECOND);
    let deeds = bench.deeds();
    assert_eq!(deeds.iter().filter(|deed| *deed == "announce").count(), 5, "{deeds:?}");
    // It says that it lets go, which is refused too.
    let mut bench = Bench::active(with_password(100));
    bench.pass(10 * SECOND);
    for _ in 0..3 {
        bench.hear_this(&wrong);
        bench.pass(SECOND);
    }
    bench.take();
    bench.hear_this(&Advert { priority: mainstay_engine::plan::Priority(0), ..wrong });
    assert_eq!(bench.deeds(), ["announce"; 5]);
}

#[test]
fn after_a_split_the_stronger_of_two_announces_again() {
    for (source, priority) in [(HIGHER, 99), (LOWER, 100)] {
        let mut bench = Bench::active(router(100));
        bench.pass(10 * SECOND);
        bench.take();
        bench.hear(source, priority);
        assert_eq!(bench.deeds(), ["advert 100", "announce", "announce", "announce", "announce", "announce"]);
    }
}

#[test]
fn a_router_that_does_not_yield_is_said_not_to_hear() {
    let mut bench = Bench::active(router(100));
    bench.hear(LOWER, 90);
    assert_eq!(bench.differences(), [], "it may have been under way");
    bench.pass(YIELD_PATIENCE);
    bench.hear(LOWER, 90);
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert_eq!((shown.kind.as_str(), shown.harmful), ("second_active", true));
    assert_eq!(
        shown.sentence,
        "10.0.0.1 is active too, with priority 90, and does not yield to this router's 100: it does not hear this \
         router, or refuses it"
    );
    assert!(shown.hint.contains("112"), "{}", shown.hint);
    let done = bench.take();
    let said =
        |event: &&VrrpEvent| matches!(event, VrrpEvent::PeerDiffers { difference: "second_active", .. });
    assert_eq!(events(&done).into_iter().filter(said).count(), 1);
    bench.pass(DIFFERENCE_QUIET);
    assert_eq!(bench.differences(), []);
}

#[test]
fn an_ordinary_preemption_leaves_nothing() {
    let mut bench = Bench::new(router(100));
    while bench.state() != "active" {
        bench.hear(LOWER, 90);
        bench.pass(SECOND);
    }
    // Its last advert crossed this router's first one.
    bench.hear(LOWER, 90);
    bench.pass(10 * SECOND);
    assert_eq!(bench.differences(), []);
}

#[test]
fn equal_priorities_are_said_once_and_do_no_harm() {
    let mut bench = Bench::new(router(100));
    for _ in 0..200 {
        bench.hear(HIGHER, 100);
        bench.pass(SECOND);
    }
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert_eq!((shown.kind.as_str(), shown.harmful, shown.count), ("equal_priority", false, 200));
    assert!(shown.sentence.contains("priority 100, as this router does"), "{}", shown.sentence);
    assert!(shown.hint.contains("`priority`"), "{}", shown.hint);
    let done = bench.take();
    let said = |event: &&VrrpEvent| matches!(event, VrrpEvent::PeerDiffers { .. });
    assert_eq!(events(&done).into_iter().filter(said).count(), 1);
}

#[test]
fn a_unicast_stranger_that_counts_is_named() {
    let mut bench = Bench::new(unicast(false));
    bench.hear(HIGHER, 120);
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert_eq!(shown.kind, "stranger");
    assert!(shown.sentence.contains("count nevertheless"), "{}", shown.sentence);
    assert!(shown.hint.contains("`unicast_peer`"), "{}", shown.hint);
    assert!(bench.reason().contains("10.0.0.9"), "{}", bench.reason());
}

#[test]
fn checksums_of_another_form_are_named() {
    let message_only = Form::V3 { checksum: ChecksumForm::MessageOnly };
    let mut bench = Bench::new(Router { checksum: Some(ChecksumForm::PseudoHeader), ..fast(100) });
    let advert = Advert { form: message_only.clone(), ..bench.advert(LOWER, 120) };
    bench.hear_this(&advert);
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert_eq!((shown.kind.as_str(), shown.harmful), ("checksum_form", false));
    assert!(
        shown.sentence.contains("without a pseudo-header, this router with a pseudo-header"),
        "{}",
        shown.sentence
    );
    assert!(shown.hint.contains("`v3_checksum_as_v2`"), "{}", shown.hint);

    // Who follows the others' form differs from nobody, until two of them differ.
    let mut bench = Bench::new(fast(100));
    bench.hear_this(&advert);
    assert_eq!(bench.differences(), []);
    bench.hear(HIGHER, 130);
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert!(
        shown.sentence.starts_with("10.0.0.9 sends checksums with a pseudo-header, 10.0.0.1 without"),
        "{}",
        shown.sentence
    );

    // To the usual group, the two forms with a pseudo-header are one.
    let mut bench = Bench::new(Router { checksum: Some(ChecksumForm::GroupPseudoHeader), ..fast(100) });
    bench.hear(LOWER, 120);
    assert_eq!(bench.differences(), []);
}

#[test]
fn a_checksum_that_is_wrong_in_every_form_is_named() {
    for config in [router(100), fast(100)] {
        let mut bench = Bench::active(Router { version: config.version, ..config });
        let mut datagram = encode(&bench.advert(LOWER, 120), 1);
        *datagram.last_mut().expect("an advert") ^= 1;
        datagram[26] ^= 0x55;
        for _ in 0..2 {
            bench.handle(Input::Datagram { interface: "eth0", datagram: &datagram });
        }
        let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
        assert_eq!((shown.kind.as_str(), shown.both_active), ("checksum", true));
        assert!(shown.hint.contains("checksum"), "{}", shown.hint);
    }
}

#[test]
fn carp_is_named_with_its_vhid() {
    let carp = [&[0x21, 51, 0, 7, 0, 1, 0xde, 0xad][..], &[7; 28]].concat();
    let advert = encode(&Bench::new(fast(100)).advert(LOWER, 100), 1);
    let mut datagram = [&advert[..20], &carp].concat();
    datagram[3] = 56;
    datagram[10..12].fill(0);
    let sum: u32 = datagram[..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1])).sum();
    let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("folded");
    datagram[10..12].copy_from_slice(&sum.to_be_bytes());
    for config in [router(100), fast(100)] {
        let mut bench = Bench::active(config);
        for _ in 0..3 {
            bench.handle(Input::Datagram { interface: "eth0", datagram: &datagram });
        }
        let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
        assert_eq!((shown.kind.as_str(), shown.both_active), ("carp", false));
        assert_eq!(shown.sentence, "10.0.0.1 is refused: the message is no VRRP, but CARP with vhid 51");
        assert_eq!(shown.hint, "choose another `virtual_router_id` here, or another vhid there");
    }
}

#[test]
fn version_2_with_seven_addresses_is_no_carp() {
    let mut config = router(100);
    let address = config.addresses[0].clone();
    config.addresses = (101..=107)
        .map(|last| mainstay_engine::plan::VirtualAddress {
            address: Ipv4Addr::new(10, 0, 0, last).into(),
            ..address.clone()
        })
        .collect();
    let mut bench = Bench::new(config);
    bench.hear(LOWER, 120);
    assert_eq!(bench.differences(), []);
    assert!(bench.reason().contains("10.0.0.1 advertises priority 120"), "{}", bench.reason());
}

#[test]
fn no_flood_of_strangers_grows_the_table_or_hides_who_is_in_it() {
    let mut bench = Bench::active(with_password(100));
    let wrong = Advert { form: Form::V2 { authentication: Authentication::None }, ..bench.advert(LOWER, 90) };
    bench.hear_this(&wrong);
    for stranger in 0..5_000_u32 {
        let source = Ipv4Addr::from(0x0a01_0000 + stranger).into();
        bench.hear_this(&Advert { source, ..wrong.clone() });
    }
    bench.hear_this(&wrong);
    let status = bench.engine.status(bench.now).routers.remove(0);
    assert_eq!(status.differences.len(), DIFFERENCES);
    let known = status.differences.iter().find(|shown| shown.who == LOWER.to_string());
    assert_eq!(known.map(|shown| (shown.count, shown.both_active)), Some((2, true)));
    assert_eq!(status.differences_left_out, 5_001 - u64::try_from(DIFFERENCES).unwrap());
    bench.pass(DIFFERENCE_QUIET);
    assert_eq!(bench.differences(), []);
}

#[test]
fn a_slow_routers_difference_does_not_come_and_go() {
    let mut bench = Bench::active(router(100));
    let slow = Advert { interval: Centis::new(3000), ..bench.advert(LOWER, 90) };
    for _ in 0..4 {
        bench.hear_this(&slow);
        bench.pass(30 * SECOND);
    }
    let [shown] = &bench.differences()[..] else { panic!("{:?}", bench.differences()) };
    assert_eq!((shown.kind.as_str(), shown.count, shown.both_active), ("interval", 4, true));
    assert!(shown.since > Duration::from_secs(100), "{shown:?}");
}

#[test]
fn nothing_is_wrong_with_a_group_of_equals() {
    for config in [router(100), fast(100), with_password(100), unicast(true)] {
        let version = config.version;
        let mut bench = Bench::new(Router { preempt: Preempt::Never, ..config });
        for _ in 0..10 {
            bench.hear(LOWER, 90);
            bench.pass(SECOND / if version == Version::V2 { 1 } else { 10 });
        }
        let status = bench.engine.status(bench.now).routers.remove(0);
        assert_eq!((status.differences.len(), status.differences_total.len()), (0, 0), "{status:?}");
        assert_eq!((status.refused.len(), status.addresses), (0, vec![format!("{VIRTUAL}/24")]));
    }
}
