//! Routers that do not agree on how to sign: each refuses the other, and says what differs.

use mainstay_engine::Event;
use mainstay_engine::vrrp::event::VrrpEvent;

use crate::lan::{Group, KEY, MULTICAST, OTHER, SECOND, hmac};

/// What the second router says of the first, and the first of the second, once both are active.
fn disagreement(group: Group, first: &str, second: &str) -> (String, String) {
    let mut lan = group.lan(&[first, second]);
    lan.pass(5 * SECOND);
    assert_eq!(lan.states(), ["active", "active"], "{group:?}\n{first}\n{second}");
    let said = |station: usize| {
        let other = group.address(2 - station);
        let [(name, latest)] = <[_; 1]>::try_from(lan.refused(station)).expect("one reason");
        let detail = latest.strip_prefix(&format!("{other}: ")).expect("the peer is named").to_owned();
        let event = lan.events.iter().find_map(|(at, event)| match event {
            Event::Vrrp(VrrpEvent::PeerMismatch { mismatch, detail, .. }) if *at == station => {
                Some((*mismatch, detail.clone()))
            }
            _ => None,
        });
        assert_eq!(event, Some((name.as_str(), detail.clone())).map(|(n, d)| (leak(n), d)), "{group:?}");
        for secret in [OTHER, &KEY[4..]] {
            assert!(!detail.contains(secret), "{detail}");
        }
        format!("{name}: {detail}")
    };
    (said(1), said(0))
}

/// Names are static in events.
fn leak(name: &str) -> &'static str {
    Box::leak(name.to_owned().into_boxed_str())
}

#[test]
fn an_unsigned_peer_is_named_and_so_is_a_signing_one() {
    for group in Group::all() {
        let (by_signer, by_other) = disagreement(group, "", &hmac(""));
        assert_eq!(
            by_signer, "unsigned: it does not sign its adverts, and this router's `auth_hmac` requires it",
            "{group:?}"
        );
        assert_eq!(
            by_other, "signed: it signs its adverts with key 1, this router has no `auth_hmac`",
            "{group:?}"
        );
    }
}

#[test]
fn another_key_of_the_same_number_is_named() {
    for group in Group::all() {
        let said =
            "hmac_bad: its signature is wrong: its key 1 is another than this router's, or it is forged";
        let (one, other) = disagreement(group, &hmac(""), &hmac("").replace(KEY, OTHER));
        assert_eq!((one.as_str(), other.as_str()), (said, said), "{group:?}");
    }
}

#[test]
fn a_key_of_another_number_is_named() {
    let second = hmac("active_key 7").replace("key 1 ", "key 7 ");
    let (by_second, by_first) = disagreement(MULTICAST, &hmac(""), &second);
    let said = |theirs, ours| {
        format!(
            "hmac_unknown_key: it signs with key {theirs}, which is not configured here; this router signs with key {ours}"
        )
    };
    assert_eq!((by_second, by_first), (said(1, 7), said(7, 1)));
}

#[test]
fn a_password_is_no_signature() {
    let password = "authentication {\nauth_type PASS\nauth_pass hunter2\n}";
    let (by_signer, by_other) = disagreement(MULTICAST, password, &hmac("mode permissive"));
    assert_eq!(by_signer, "authentication_type: it authenticates with a password, this router does not");
    assert_eq!(by_other, "signed: it signs its adverts with key 1, this router has no `auth_hmac`");
}

/// The datagram of another sender, of another virtual router or in another version does not pass for one's own.
#[test]
fn a_signature_cannot_be_moved_to_another_sender_or_virtual_router() {
    let group = Group { version: 3, ipv6: false, unicast: true };
    let mut lan = group.lan(&[&hmac(""), &hmac(""), &hmac("")]);
    lan.pass(5 * SECOND);
    let mut moved = lan.latest_of(0);
    moved[15] = 3;
    moved[10..12].fill(0);
    let words = moved[..20].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum >> 16) + (sum & 0xffff)).expect("it was folded");
    moved[10..12].copy_from_slice(&sum.to_be_bytes());
    lan.deliver(1, &moved);
    let refused = lan.refused(1);
    assert_eq!(refused.len(), 1, "{refused:?}");
    // Its checksum has the source in it, where it has a pseudo-header.
    assert!(["checksum", "hmac_bad"].contains(&refused[0].0.as_str()), "{refused:?}");
    assert!(refused[0].1.starts_with("10.0.0.3: "), "{refused:?}");
}
