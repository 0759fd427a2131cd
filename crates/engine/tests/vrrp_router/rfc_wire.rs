//! What RFC 9568 says of every field of a version 3 message, sent and received. Named after the clause.

use std::net::{IpAddr, Ipv4Addr};

use mainstay_engine::plan::{Authentication, Router};
use mainstay_engine::time::Centis;
use mainstay_engine::vrrp::packet::{Advert, ChecksumForm, Form, encode};

use crate::bench::{Bench, LOWER, fast};

const HEADER: usize = 20;

/// The message of the first advert of a router with this configuration.
fn message(config: Router) -> Vec<u8> {
    first_datagram(config).split_off(HEADER)
}

fn first_datagram(config: Router) -> Vec<u8> {
    let mut bench = Bench::unaware(config);
    bench.link(true);
    bench.until_active();
    bench.sent().remove(0)
}

/// What becomes of a backup that hears another router's advert with one byte of the message changed, and its checksum
/// mended: the reason it refuses, or nothing.
fn refusal(at: usize, value: u8) -> Option<String> {
    let mut bench = Bench::new(fast(100));
    let form = Form::V3 { checksum: ChecksumForm::MessageOnly };
    let mut datagram = encode(&Advert { form, ..bench.advert(LOWER, 200) }, 1);
    datagram[HEADER + at] = value;
    datagram[HEADER + 6..HEADER + 8].fill(0);
    let words = datagram[HEADER..].chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !u16::try_from((sum >> 16) + (sum & 0xffff)).expect("a short message");
    datagram[HEADER + 6..HEADER + 8].copy_from_slice(&sum.to_be_bytes());
    bench.hear_bytes(&datagram);
    bench.refused().pop().map(|(reason, _)| reason)
}

#[test]
fn rfc9568_5_1_1_the_ipv4_header() {
    let datagram = first_datagram(fast(100));
    assert_eq!(datagram[12..16], [10, 0, 0, 5], "5.1.1.1: the primary address of the interface");
    assert_eq!(datagram[16..20], [224, 0, 0, 18], "5.1.1.2");
    assert_eq!(datagram[8], 255, "5.1.1.3");
    assert_eq!(datagram[9], 112, "5.1.1.4");
}

#[test]
fn rfc9568_5_2_1_version_is_3_and_others_are_discarded() {
    assert_eq!(message(fast(100))[0] >> 4, 3);
    for version in [0, 1, 4, 15] {
        assert_eq!(refusal(0, version << 4 | 1).as_deref(), Some("unknown_version"), "{version}");
    }
}

#[test]
fn rfc9568_5_2_2_type_is_1_and_others_are_discarded() {
    assert_eq!(message(fast(100))[0] & 0x0f, 1);
    for unknown in [0, 2, 15] {
        assert_eq!(refusal(0, 3 << 4 | unknown).as_deref(), Some("type"), "{unknown}");
    }
}

#[test]
fn rfc9568_5_2_3_the_virtual_router_is_the_configured_one_and_others_are_not_its_business() {
    assert_eq!(message(fast(100))[1], 51);
    for other in [50, 52, 255] {
        assert_eq!(refusal(1, other), None, "{other}");
    }
}

#[test]
fn rfc9568_5_2_4_priority_is_1_to_254_of_a_backup_and_255_of_an_owner() {
    for priority in [1, 100, 254, 255] {
        assert_eq!(message(fast(priority))[2], priority);
    }
}

#[test]
fn rfc9568_5_2_4_priority_0_says_that_it_lets_go() {
    let mut bench = Bench::active(fast(100));
    bench.handle(mainstay_engine::Input::Stop);
    assert_eq!(bench.sent()[0][HEADER + 2], 0);
}

#[test]
fn rfc9568_5_2_5_the_count_of_addresses_is_not_0() {
    assert_eq!(message(fast(100))[3], 1);
    assert_eq!(refusal(3, 0).as_deref(), Some("no_address"));
    assert_eq!(refusal(3, 2).as_deref(), Some("length"));
}

#[test]
fn rfc9568_5_2_6_reserved_bits_are_0_and_ignored() {
    let slow = Router { advert_interval: Centis::new(4095), ..fast(100) };
    assert_eq!(message(slow)[4] >> 4, 0);
    for reserved in [0x10, 0x80, 0xf0] {
        assert_eq!(refusal(4, reserved), None, "{reserved:#x}");
    }
}

#[test]
fn rfc9568_5_2_7_the_interval_is_in_centiseconds_and_not_0() {
    for (interval, bytes) in [(1, [0, 1]), (100, [0, 100]), (4095, [0x0f, 0xff])] {
        let config = Router { advert_interval: Centis::new(interval), ..fast(100) };
        assert_eq!(message(config)[4..6], bytes);
    }
    assert_eq!(refusal(5, 0).as_deref(), Some("zero_interval"));
}

/// Over IPv4 the checksum covers the message alone in RFC 9568, and a pseudo-header as well in RFC 5798 as Linux reads it.
#[test]
fn differs_from_rfc9568_5_2_8_a_pseudo_header_is_in_the_checksum_unless_the_group_does_without() {
    let config = fast(100);
    let advert = |checksum| {
        let form = Form::V3 { checksum };
        encode(&Advert { form, ..Bench::new(fast(100)).advert("10.0.0.5".parse().unwrap(), 100) }, 1)
    };
    let sum = |datagram: &[u8]| datagram[HEADER + 6..HEADER + 8].to_vec();
    let sent = first_datagram(config);
    assert_eq!(sum(&sent), sum(&advert(ChecksumForm::PseudoHeader)));
    assert_ne!(sum(&sent), sum(&advert(ChecksumForm::MessageOnly)));
    for checksum in [ChecksumForm::PseudoHeader, ChecksumForm::GroupPseudoHeader, ChecksumForm::MessageOnly] {
        let mut bench = Bench::new(fast(100));
        let form = Form::V3 { checksum };
        bench.hear_this(&Advert { form, ..bench.advert(LOWER, 200) });
        assert_eq!(bench.refused(), [], "{checksum:?} is taken");
    }
}

#[test]
fn rfc9568_5_2_9_the_addresses_are_those_configured_in_their_order() {
    let mut config = fast(100);
    let mut second = config.addresses[0].clone();
    second.address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 50));
    config.addresses.push(second);
    assert_eq!(message(config)[8..], [10, 0, 0, 100, 10, 0, 0, 50]);
}

/// RFC 9568 §8.4 lets a version 3 router speak both. As with Keepalived a group has one version, and the other is named.
#[test]
fn differs_from_rfc9568_8_4_a_group_has_one_version() {
    let mut bench = Bench::new(fast(100));
    let form = Form::V2 { authentication: Authentication::None };
    let advert = Advert { form, interval: Centis::new(100), ..bench.advert(LOWER, 200) };
    bench.hear_this(&advert);
    assert_eq!(bench.refused(), [("version".to_owned(), 1)]);
}
