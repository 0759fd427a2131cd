//! What groups do that sign: elect, take over, migrate and rotate; and what becomes of them when a clock is wrong.

use std::time::Duration;

use mainstay_engine::Event;
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::vrrp::hmac::TRAILER_LENGTH;
use mainstay_engine::vrrp::packet::decode;

use crate::lan::{Group, HOUR, KEY, Lan, MULTICAST, OTHER, SECOND, hmac};

/// Longer than a backup waits.
const PATIENCE: Duration = Duration::from_secs(5);

fn settled(lan: &mut Lan) -> Vec<String> {
    lan.pass(PATIENCE);
    lan.states()
}

fn is_signed(datagram: &[u8]) -> bool {
    decode(datagram).expect("own adverts are sound").trailer.is_some()
}

#[test]
fn a_signing_group_elects_takes_over_and_gives_back_in_every_kind() {
    for group in Group::all() {
        for lines in ["", "anti_replay monotonic"] {
            let authentication = hmac(lines);
            let mut lan = group.lan(&[&authentication, &authentication, &authentication]);
            assert_eq!(settled(&mut lan), ["active", "backup", "backup"], "{group:?}");
            lan.kill(0);
            assert_eq!(settled(&mut lan)[1..], ["active", "backup"], "{group:?}");
            lan.pass(SECOND);
            lan.start(0);
            assert_eq!(settled(&mut lan), ["active", "backup", "backup"], "{group:?}");
            for station in 0..3 {
                assert_eq!(lan.refused(station), [], "{group:?}, station {station}");
            }
            assert!(lan.wire.iter().all(|(.., datagram)| is_signed(datagram)), "{group:?}");
        }
    }
}

#[test]
fn a_recorded_advert_is_refused_as_a_repetition_and_later_as_stale() {
    for group in Group::all() {
        for monotonic in [false, true] {
            let lines = if monotonic { "anti_replay monotonic" } else { "time_window 5" };
            let mut lan = group.lan(&[&hmac(lines), &hmac(lines)]);
            settled(&mut lan);
            let recorded = lan.latest_of(0);
            let received = lan.status(1).adverts_received;
            lan.deliver(1, &recorded);
            assert_eq!(lan.status(1).adverts_received, received, "{group:?}");
            assert_eq!(lan.refused(1).first().map(|(name, _)| name.as_str()), Some("hmac_replay"));
            // A dead router is not kept alive, whatever is played back.
            lan.kill(0);
            for _ in 0..50 {
                lan.pass(SECOND / 5);
                lan.deliver(1, &recorded);
            }
            assert_eq!(lan.states()[1], "active", "{group:?}");
            let stale = lan.refused(1).iter().any(|(name, _)| name == "hmac_stale");
            assert_eq!(stale, !monotonic, "{group:?}: {:?}", lan.refused(1));
        }
    }
}

#[test]
fn after_a_clock_was_an_hour_wrong_the_group_is_whole_again() {
    for group in Group::all() {
        for station in [0, 1] {
            for forward in [true, false] {
                let mut lan = group.lan(&[&hmac(""), &hmac("")]);
                assert_eq!(settled(&mut lan), ["active", "backup"]);
                lan.step(station, HOUR, forward);
                assert_eq!(settled(&mut lan), ["active", "active"], "nobody believes the other");
                let direction = if (station == 0) == forward { "ahead of" } else { "behind" };
                let (name, latest) = lan.refused(1).remove(0);
                assert_eq!(name, "hmac_stale");
                let said = format!("60 min {direction} this machine's clock");
                assert!(latest.contains(&said), "{group:?}: {latest}");
                lan.step(station, HOUR, !forward);
                lan.pass(2 * SECOND);
                assert_eq!(
                    lan.states(),
                    ["active", "backup"],
                    "{group:?}, station {station}, forward {forward}"
                );
            }
        }
    }
}

#[test]
fn clocks_that_are_stepped_together_disturb_nobody() {
    for forward in [true, false] {
        let mut lan = MULTICAST.lan(&[&hmac(""), &hmac("")]);
        assert_eq!(settled(&mut lan), ["active", "backup"]);
        (0..2).for_each(|station| lan.step(station, HOUR, forward));
        for _ in 0..10 {
            lan.pass(SECOND);
            assert_eq!(lan.states(), ["active", "backup"], "forward {forward}");
        }
        assert_eq!(lan.refused(1), [], "forward {forward}");
    }
}

#[test]
fn monotonic_groups_do_not_care_what_time_it_is() {
    let monotonic = hmac("anti_replay monotonic");
    let mut lan = MULTICAST.lan(&[&monotonic, &monotonic]);
    lan.step(1, 100 * HOUR, true);
    assert_eq!(settled(&mut lan), ["active", "backup"]);
    lan.step(0, HOUR, false);
    assert_eq!(settled(&mut lan), ["active", "backup"], "a sender goes on from its last number");
    assert_eq!(lan.refused(1), []);
    // What a restart forgets is made up for by a clock that goes forward.
    lan.kill(0);
    settled(&mut lan);
    lan.step(0, HOUR, true);
    lan.start(0);
    assert_eq!(settled(&mut lan), ["active", "backup"]);
    assert_eq!(lan.refused(1), []);
}

#[test]
fn clocks_that_drift_apart_are_named_before_they_matter() {
    let mut lan = MULTICAST.lan(&[&hmac("time_window 10"), &hmac("time_window 10")]);
    settled(&mut lan);
    assert!(
        !lan.events.iter().any(|(_, event)| matches!(event, Event::Vrrp(VrrpEvent::ClocksDiffer { .. })))
    );
    lan.step(0, 6 * SECOND, true);
    lan.pass(3 * SECOND);
    let said: Vec<_> = lan
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Vrrp(VrrpEvent::ClocksDiffer { .. })))
        .map(|(station, event)| format!("{station}: {event}"))
        .collect();
    let expected = "1: router V hears 10.0.0.1 sign with a clock that is 6.0 s ahead of this machine's clock; set both by NTP";
    assert_eq!(said, [expected]);
    assert_eq!(lan.states(), ["active", "backup"]);
}

/// The three sweeps of Keepalived's own documentation, one router after the other, each a restart.
#[test]
fn a_group_begins_to_sign_without_a_moment_of_disagreement() {
    let modes = ["", &hmac("mode receive-only"), &hmac("mode permissive"), &hmac("mode enforce")];
    for group in Group::all() {
        for (before, after) in modes.iter().zip(&modes[1..]) {
            for (first, second) in [(before, before), (after, before), (before, after), (after, after)] {
                let mut lan = group.lan(&[first, second]);
                assert_eq!(settled(&mut lan), ["active", "backup"], "{group:?}\n{first}\n{second}");
                assert_eq!(lan.refused(1), [], "{group:?}\n{first}\n{second}");
                lan.kill(0);
                assert_eq!(settled(&mut lan)[1], "active");
                lan.start(0);
                assert_eq!(settled(&mut lan), ["active", "backup"], "{group:?}\n{first}\n{second}");
                assert_eq!(lan.refused(0), [], "{group:?}\n{first}\n{second}");
            }
        }
    }
}

#[test]
fn unsigned_adverts_are_said_where_they_are_accepted() {
    for mode in ["permissive", "receive-only"] {
        let mut lan = MULTICAST.lan(&["", &hmac(&format!("mode {mode}"))]);
        settled(&mut lan);
        let said = lan.events.iter().filter(|(station, event)| {
            *station == 1 && matches!(event, Event::Vrrp(VrrpEvent::UnsignedHeard { .. }))
        });
        assert_eq!(said.count(), 1, "{mode}");
        // And a signed one has to be right nevertheless.
        let mut lan = MULTICAST.lan(&[&hmac(""), &hmac(&format!("mode {mode}")).replace(KEY, OTHER)]);
        settled(&mut lan);
        assert_eq!(lan.refused(1)[0].0, "hmac_bad", "{mode}");
    }
}

/// Make before break: the new key everywhere, then the new active key everywhere, then the old one nowhere.
#[test]
fn keys_are_rotated_one_router_after_the_other() {
    let both = format!("key 2 {OTHER}");
    let steps = [
        hmac(""),
        hmac(&both),
        hmac(&format!("{both}\nactive_key 2")),
        hmac(&format!("{both}\nactive_key 2")).replace(&format!("key 1 {KEY}\n"), ""),
    ];
    for (before, after) in steps.iter().zip(&steps[1..]) {
        for (first, second) in [(after, before), (before, after)] {
            let mut lan = MULTICAST.lan(&[first, second]);
            assert_eq!(settled(&mut lan), ["active", "backup"], "{first}\n{second}");
            lan.kill(0);
            settled(&mut lan);
            lan.start(0);
            assert_eq!(settled(&mut lan), ["active", "backup"], "{first}\n{second}");
            assert_eq!((lan.refused(0), lan.refused(1)), (vec![], vec![]), "{first}\n{second}");
        }
    }
}

#[test]
fn what_is_received_only_is_sent_unsigned() {
    let mut lan = MULTICAST.lan(&[&hmac("mode receive-only")]);
    settled(&mut lan);
    let datagram = lan.latest_of(0);
    assert!(!is_signed(&datagram));
    assert_eq!(datagram.len(), 20 + 20, "exactly as a router without keys sends it");
    let mut lan = MULTICAST.lan(&[&hmac("")]);
    settled(&mut lan);
    assert_eq!(lan.latest_of(0).len(), 20 + 20 + TRAILER_LENGTH);
}
