//! What RFC 9568 asks of a router over IPv6, and where mainstay differs from it on purpose. Named after the clause.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use mainstay_engine::Output;
use mainstay_engine::plan::Authentication;
use mainstay_engine::vrrp::packet::{Advert, ChecksumForm, Form, GROUP_IPV6, decode, encode};

use crate::bench::{Bench, HIGHER_IPV6, LOWER, LOWER_IPV6, OWN, OWN_IPV6, fast, ipv6, router};

const GLOBAL: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5));
const INTERVAL: Duration = Duration::from_millis(100);

/// The first datagram of a router that has just become active.
fn first_advert() -> Vec<u8> {
    let mut bench = Bench::new(ipv6(100));
    bench.pass(INTERVAL * 4);
    bench.sent().remove(0)
}

/// Has a backup hear `datagram`, which it must refuse for `reason` without its timer being moved.
fn refuses(reason: &str, datagram: &[u8]) {
    let mut bench = Bench::new(ipv6(100));
    bench.pass(INTERVAL * 2);
    bench.hear_bytes(datagram);
    assert_eq!(bench.refused(), [(reason.to_owned(), 1)]);
    assert_eq!(bench.until_active(), INTERVAL + INTERVAL * 156 / 256, "{reason} moved the timer");
}

#[test]
fn rfc9568_5_1_2_1_the_source_is_the_link_local_address_wherever_it_stands() {
    for addresses in [[(GLOBAL, 64), (OWN_IPV6, 64)], [(OWN_IPV6, 64), (GLOBAL, 64)]] {
        let mut bench = Bench::unaware(ipv6(100));
        bench.has(true, &addresses);
        bench.pass(INTERVAL * 4);
        assert_eq!(decode(&bench.sent()[0]).unwrap().source, OWN_IPV6);
    }
}

#[test]
fn rfc9568_5_1_2_1_without_a_link_local_address_there_is_nothing_to_send_from() {
    let mut bench = Bench::unaware(ipv6(100));
    bench.has(true, &[(OWN, 24), (GLOBAL, 64)]);
    assert_eq!(bench.state(), "fault");
    assert!(bench.reason().contains("eth0 has no address to send from"), "{}", bench.reason());
    bench.has(true, &[(OWN, 24), (GLOBAL, 64), (OWN_IPV6, 64)]);
    assert_eq!(bench.state(), "backup");
}

#[test]
fn rfc9568_5_1_2_2_adverts_go_to_ff02_12() {
    let datagram = first_advert();
    assert_eq!(datagram[24..40], GROUP_IPV6.octets());
    assert_eq!(GROUP_IPV6, "ff02:0:0:0:0:0:0:12".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn rfc9568_5_1_2_3_the_hop_limit_is_255_both_ways() {
    assert_eq!(first_advert()[7], 255);
    for ttl in [254, 64, 1, 0] {
        let advert = Advert { ttl, ..Bench::new(ipv6(100)).advert(LOWER_IPV6, 200) };
        refuses("ttl", &encode(&advert, 1));
    }
}

#[test]
fn rfc9568_5_1_2_4_the_next_header_is_112_both_ways() {
    assert_eq!(first_advert()[6], 112);
    let mut datagram = encode(&Bench::new(ipv6(100)).advert(LOWER_IPV6, 200), 1);
    // Hop-by-hop options: VRRP has no extension headers.
    datagram[6] = 0;
    refuses("ip_protocol", &datagram);
}

#[test]
fn rfc9568_5_2_8_the_checksum_covers_the_pseudo_header() {
    let advert = Bench::new(ipv6(100)).advert(LOWER_IPV6, 200);
    let datagram = encode(&advert, 1);
    // The same message from somebody else, and the same to somebody else.
    for at in [23, 39] {
        let mut moved = datagram.clone();
        moved[at] ^= 1;
        refuses("checksum", &moved);
    }
    // Over IPv6 no other form is taken, though over IPv4 all are.
    let of_message = Form::V3 { checksum: ChecksumForm::MessageOnly };
    assert_eq!(encode(&Advert { form: of_message, ..advert }, 1), datagram);
}

#[test]
fn rfc9568_5_2_9_the_link_local_address_comes_first_as_configured() {
    let addresses = decode(&first_advert()).unwrap().addresses;
    let configured: Vec<_> = ipv6(100).addresses.iter().map(|own| own.address).collect();
    assert_eq!(addresses, configured);
    assert!(matches!(addresses[0], IpAddr::V6(first) if first.is_unicast_link_local()));
}

#[test]
fn rfc9568_6_1_timers_are_those_of_ipv4() {
    for priority in [1, 100, 254] {
        let expected = INTERVAL * 3 + INTERVAL * (256 - u32::from(priority)) / 256;
        assert_eq!(Bench::new(ipv6(priority)).until_active(), expected, "{priority}");
    }
}

#[test]
fn rfc9568_6_4_2_a_new_active_router_advertises_and_then_sends_a_neighbour_advertisement_for_each_address() {
    let mut bench = Bench::new(ipv6(100));
    bench.pass(INTERVAL * 4);
    let done = bench.take();
    let announced = |output: &Output| match output {
        Output::Announce { address, .. } => Some(*address),
        _ => None,
    };
    let first: Vec<_> = done.iter().filter_map(announced).take(2).collect();
    assert_eq!(first, ipv6(100).addresses.iter().map(|own| own.address).collect::<Vec<_>>());
    let position = |is: fn(&Output) -> bool| done.iter().position(is).unwrap();
    let advert = position(|output| matches!(output, Output::SendAdvert { .. }));
    let announcement = position(|output| matches!(output, Output::Announce { .. }));
    assert!(advert < announcement, "{done:?}");
}

#[test]
fn rfc9568_6_4_3_equal_priorities_are_decided_by_the_link_local_source() {
    for (source, yields) in [(HIGHER_IPV6, "backup"), (LOWER_IPV6, "active")] {
        let mut bench = Bench::active(ipv6(100));
        bench.hear(source, 100);
        assert_eq!(bench.state(), yields, "{source}");
    }
}

#[test]
fn rfc9568_7_1_version_2_does_not_exist_over_ipv6() {
    let form = Form::V2 { authentication: Authentication::None };
    let advert = Advert { form, ..Bench::new(ipv6(100)).advert(LOWER_IPV6, 200) };
    refuses("ipv6_version_2", &encode(&advert, 1));
}

#[test]
fn rfc9568_7_1_each_family_has_its_own_virtual_routers() {
    let mut bench = Bench::new(ipv6(100));
    let ipv4 = Bench::new(fast(100)).advert(LOWER, 200);
    bench.hear_this(&ipv4);
    assert_eq!(bench.refused(), []);
    assert_eq!(bench.until_active(), INTERVAL * 3 + INTERVAL * 156 / 256);
}

/// RFC 9568 §7.3 and §7.4 have a virtual MAC address and an interface identifier made of it. As with Keepalived, it is the
/// interface's own unless `use_vmac` asks for the RFC's.
#[test]
fn differs_from_rfc9568_7_3_addresses_are_on_the_real_interface() {
    for config in [router(255), ipv6(255)] {
        let mut bench = Bench::unaware(config);
        bench.link(true);
        for output in bench.take() {
            if let Output::InstallAddress { address, .. } = output {
                assert_eq!(address.interface, "eth0");
            }
        }
        assert_eq!(bench.state(), "active");
    }
}

/// RFC 9568 §6.1 has `Accept_Mode` off unless configured. As with Keepalived it is on: the addresses are the host's, which is
/// what a balancer that accepts connections to them needs.
#[test]
fn differs_from_rfc9568_6_1_accept_mode_is_on() {
    for config in [router(100), ipv6(100)] {
        let count = config.addresses.len();
        let mut bench = Bench::new(config);
        bench.until_active();
        let installed = bench.deeds().iter().filter(|deed| *deed == "install").count();
        assert_eq!(installed, count, "who is no owner has the addresses as well");
    }
}
