//! What RFC 3768 asks of a version 2 router, and where mainstay differs from it on purpose. Named after the clause.

use std::net::{IpAddr, Ipv4Addr};

use mainstay_engine::plan::{Authentication, Router};
use mainstay_engine::time::Centis;
use mainstay_engine::vrrp::packet::{Advert, Form, encode};

use crate::bench::{Bench, HIGHER, LOWER, SECOND, router};

const HEADER: usize = 20;
const PASSWORD: [u8; 8] = *b"k8s-secr";

fn first_datagram(config: Router) -> Vec<u8> {
    let mut bench = Bench::new(config);
    bench.until_active();
    bench.sent().remove(0)
}

/// The reasons for which a backup refuses what `change` makes of another router's advert.
fn refusals(change: impl FnOnce(&mut Advert)) -> Vec<(String, u64)> {
    let mut bench = Bench::new(router(100));
    let mut advert = bench.advert(LOWER, 200);
    change(&mut advert);
    bench.hear_this(&advert);
    bench.refused()
}

fn once(reason: &str) -> Vec<(String, u64)> {
    vec![(reason.to_owned(), 1)]
}

#[test]
fn rfc3768_5_2_the_ip_header() {
    let datagram = first_datagram(router(100));
    assert_eq!(datagram[12..16], [10, 0, 0, 5], "5.2.1: the primary address of the interface");
    assert_eq!(datagram[16..20], [224, 0, 0, 18], "5.2.2");
    assert_eq!(datagram[8], 255, "5.2.3");
    assert_eq!(datagram[9], 112, "5.2.4");
}

#[test]
fn rfc3768_5_3_every_field_of_the_message() {
    let datagram = first_datagram(Router { advert_interval: Centis::new(500), ..router(100) });
    let message = &datagram[HEADER..];
    assert_eq!(message[0], 0x21, "5.3.1 version 2, 5.3.2 type 1");
    assert_eq!(message[1], 51, "5.3.3 virtual router");
    assert_eq!(message[2], 100, "5.3.4 priority");
    assert_eq!(message[3], 1, "5.3.5 count of addresses");
    assert_eq!(message[4], 0, "5.3.6 no authentication");
    assert_eq!(message[5], 5, "5.3.7 interval in seconds");
    assert_eq!(message[8..12], [10, 0, 0, 100], "5.3.9 addresses");
    assert_eq!(message[12..], [0; 8], "5.3.10 authentication data, all zero");
}

#[test]
fn rfc3768_5_3_8_the_checksum_covers_the_message_alone() {
    let sum = |source| {
        let datagram = encode(&Bench::new(router(100)).advert(source, 100), 1);
        datagram[HEADER + 6..HEADER + 8].to_vec()
    };
    assert_eq!(sum(LOWER), sum(HIGHER));
    let mut bench = Bench::new(router(100));
    let mut datagram = encode(&bench.advert(LOWER, 200), 1);
    datagram[HEADER + 19] ^= 1;
    bench.hear_bytes(&datagram);
    assert_eq!(bench.refused(), once("checksum"), "the authentication data are in it");
}

#[test]
fn rfc3768_7_1_ttl_is_255() {
    for ttl in [254, 64, 0] {
        assert_eq!(refusals(|advert| advert.ttl = ttl), once("ttl"), "{ttl}");
    }
}

#[test]
fn rfc3768_7_1_the_version_is_2() {
    let checksum = mainstay_engine::vrrp::packet::ChecksumForm::PseudoHeader;
    assert_eq!(refusals(|advert| advert.form = Form::V3 { checksum }), once("version"));
}

#[test]
fn rfc3768_7_1_the_whole_message_is_there() {
    let mut bench = Bench::new(router(100));
    let mut datagram = encode(&bench.advert(LOWER, 200), 1);
    datagram.pop();
    bench.hear_bytes(&datagram);
    assert_eq!(bench.refused(), once("ip_total_length"));
}

#[test]
fn rfc3768_7_1_the_interval_is_the_configured_one() {
    for interval in [200, 25_500] {
        assert_eq!(
            refusals(|advert| advert.interval = Centis::new(interval)),
            once("interval"),
            "{interval}"
        );
    }
}

#[test]
fn rfc3768_7_1_an_owner_drops_what_it_hears() {
    let mut bench = Bench::active(router(255));
    bench.hear(HIGHER, 254);
    assert_eq!(bench.state(), "active");
}

/// §7.1 lets an owner's advert pass whose addresses differ. As with Keepalived, nobody's passes.
#[test]
fn differs_from_rfc3768_7_1_the_addresses_of_an_owner_are_looked_at_too() {
    let other = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));
    for priority in [200, 255] {
        let change = |advert: &mut Advert| {
            advert.priority.0 = priority;
            advert.addresses = vec![other];
        };
        assert_eq!(refusals(change), once("vrid_taken"), "{priority}");
    }
}

/// §5.3.6 reserves the types of RFC 2338. Keepalived has kept its simple password, and so does mainstay.
#[test]
fn differs_from_rfc3768_5_3_6_a_password_is_type_1_and_in_the_authentication_data() {
    let config = Router { authentication: Authentication::Password(PASSWORD), ..router(100) };
    let datagram = first_datagram(config.clone());
    assert_eq!(datagram[HEADER + 4], 1);
    assert_eq!(datagram[HEADER + 12..], PASSWORD);
    for (theirs, reason) in [
        (Authentication::None, Some("authentication_type")),
        (Authentication::Password(*b"k8s-secs"), Some("password")),
        (Authentication::Password(PASSWORD), None),
    ] {
        let mut bench = Bench::new(config.clone());
        let advert = Advert { form: Form::V2 { authentication: theirs }, ..bench.advert(LOWER, 200) };
        bench.hear_this(&advert);
        assert_eq!(bench.refused().pop().map(|(name, _)| name).as_deref(), reason);
    }
}

/// RFC 9568 §6.1 took the interval into the skew; version 2 has a share of a second.
#[test]
fn rfc3768_6_1_a_takeover_after_a_release_waits_for_the_skew_of_a_second() {
    let mut bench = Bench::new(Router { advert_interval: Centis::new(500), ..router(200) });
    bench.hear(LOWER, 250);
    bench.hear(LOWER, 0);
    assert_eq!(bench.until_active(), SECOND * 56 / 256);
}
