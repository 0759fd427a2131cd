//! The bytes of signed adverts.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::engine::InterfaceState;
use mainstay_engine::plan::Family;
use mainstay_engine::time::{Instant, UnixTime};
use mainstay_engine::vrrp::hmac::TRAILER_LENGTH;
use mainstay_engine::vrrp::packet::{Malformed, decode, decode_with_message, encode};
use mainstay_engine::{Engine, Input};

use crate::lan::{Group, SECOND, hmac, plan};

/// The known answer as the LAN carries it: IPv4, unicast, version 3, VRID 51, priority 200, 192.0.2.100.
const KNOWN: &str = "45c0003c000100 00ff700000 c633640a c6336402 \
    3133c80100644402c0000264 010100006800000080000000 1b84bc4e8e43892dc6d98448f8ee2265";
const KNOWN_TIME: UnixTime = UnixTime::new(Duration::from_millis(0x6800_0000 * 1000 + 500));

fn known() -> Vec<u8> {
    let digits: Vec<_> = KNOWN.bytes().filter(u8::is_ascii_hexdigit).map(char::from).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("digits");
    let mut datagram: Vec<u8> = digits.chunks(2).map(byte).collect();
    let sum = internet_checksum(&datagram[..20]);
    datagram[10..12].copy_from_slice(&sum.to_be_bytes());
    datagram
}

fn internet_checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|word| u32::from(word[0]) << 8 | word.get(1).map_or(0, |&low| low.into()));
    let sum: u32 = words.sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    !u16::try_from((folded >> 16) + (folded & 0xffff)).expect("it was folded")
}

/// A backup that the known answer is meant for.
fn receiver() -> (Engine, Instant) {
    let text = format!(
        "vrrp_instance V {{\ninterface eth0\nversion 3\nvirtual_router_id 51\npriority 100\n\
         unicast_peer {{\n198.51.100.10\n}}\n{}\nvirtual_ipaddress {{\n192.0.2.100\n}}\n}}\n",
        hmac("time_window 5")
    );
    let now = Instant::default() + SECOND;
    let mut engine = Engine::new(plan(&text).into(), 1, now);
    engine.handle(Input::WallClock(KNOWN_TIME), now);
    let state =
        InterfaceState { running: true, addresses: vec![("198.51.100.2".parse().expect("an address"), 24)] };
    engine.handle(Input::Interface { name: "eth0", state: Some(state) }, now);
    (engine, now)
}

fn accepted(engine: &Engine, now: Instant) -> u64 {
    engine.status(now).routers[0].adverts_received
}

#[test]
fn the_known_answer_is_read_written_and_accepted() {
    let datagram = known();
    let (advert, message) = decode_with_message(&datagram).expect("an advert");
    assert_eq!(message.len(), 12);
    assert_eq!(encode(&advert, 1), datagram);
    let (mut engine, now) = receiver();
    engine.handle(Input::Datagram { interface: "eth0", datagram: &datagram }, now);
    assert_eq!(accepted(&engine, now), 1);
    assert_eq!(engine.status(now).routers[0].active_peer.as_deref(), Some("198.51.100.10"));
}

/// All values of all bytes behind the IP header, as they are and with the checksum mended.
#[test]
fn every_change_of_a_single_byte_of_the_known_answer_is_refused() {
    let whole = known();
    let (mut engine, now) = receiver();
    for at in 20..whole.len() {
        for change in 1..=u8::MAX {
            let mut changed = whole.clone();
            changed[at] ^= change;
            engine.handle(Input::Datagram { interface: "eth0", datagram: &changed }, now);
            assert_eq!(accepted(&engine, now), 0, "byte {at} changed by {change:#x}");
            if (26..28).contains(&at) {
                continue;
            }
            changed[26..28].fill(0);
            let sum = internet_checksum(&changed[20..32]);
            changed[26..28].copy_from_slice(&sum.to_be_bytes());
            engine.handle(Input::Datagram { interface: "eth0", datagram: &changed }, now);
            assert_eq!(accepted(&engine, now), 0, "byte {at} changed by {change:#x}, with a good checksum");
        }
    }
    for length in 0..whole.len() {
        engine.handle(Input::Datagram { interface: "eth0", datagram: &whole[..length] }, now);
    }
    assert_eq!(accepted(&engine, now), 0, "nor does a part of it");
    while engine.poll_output().is_some() {}
    engine.handle(Input::Datagram { interface: "eth0", datagram: &whole }, now);
    assert_eq!(accepted(&engine, now), 1, "and nothing of that keeps the true one out");
}

/// The checksum covers the message over IPv4 and the trailer as well over IPv6; nothing may follow.
#[test]
fn lengths_and_checksums_are_exact_in_every_kind_of_group() {
    for group in Group::all() {
        let authentication = hmac("");
        let mut lan = group.lan(&[&authentication]);
        lan.pass(5 * SECOND);
        let datagram = lan.latest_of(0);
        let (advert, message) = decode_with_message(&datagram).expect("own adverts are sound");
        let header = if group.ipv6 { 40 } else { 20 };
        assert_eq!(message.len() + TRAILER_LENGTH + header, datagram.len(), "{group:?}");
        assert_eq!(advert.trailer.map(|trailer| trailer.key), Some(1));
        let mut other_trailer = datagram.clone();
        *other_trailer.last_mut().expect("bytes") ^= 1;
        let read = decode(&other_trailer);
        match Family::of(advert.source) {
            Family::Ipv4 => assert!(read.is_ok(), "{group:?}: {read:?}"),
            Family::Ipv6 => assert_eq!(read, Err(Malformed::Checksum), "{group:?}"),
        }
        for cut in [1, TRAILER_LENGTH - 1] {
            let length = message.len() + TRAILER_LENGTH - cut;
            let read = decode(&with_length(&datagram[..datagram.len() - cut], group.ipv6));
            assert_eq!(read, Err(Malformed::Length { expected: message.len(), length }), "{group:?}");
        }
        let longer: Vec<u8> = datagram.iter().copied().chain([0]).collect();
        assert!(
            matches!(decode(&with_length(&longer, group.ipv6)), Err(Malformed::Length { .. })),
            "{group:?}"
        );
    }
}

/// The datagram with a header that says how long it is.
fn with_length(datagram: &[u8], ipv6: bool) -> Vec<u8> {
    let mut whole = datagram.to_vec();
    let length = u16::try_from(whole.len()).expect("a length");
    if ipv6 {
        whole[4..6].copy_from_slice(&(length - 40).to_be_bytes());
        return whole;
    }
    whole[2..4].copy_from_slice(&length.to_be_bytes());
    whole[10..12].fill(0);
    let sum = internet_checksum(&whole[..20]);
    whole[10..12].copy_from_slice(&sum.to_be_bytes());
    whole
}

/// One signature serves every peer, and each advert has its own.
#[test]
fn all_peers_get_the_same_trailer_and_the_next_advert_another() {
    let group = Group { version: 3, ipv6: true, unicast: true };
    let mut lan = group.lan(&[&hmac("")]);
    lan.pass(5 * SECOND);
    let trailers: Vec<(IpAddr, Vec<u8>)> = lan
        .wire
        .iter()
        .map(|(_, to, datagram)| (*to, datagram[datagram.len() - TRAILER_LENGTH..].to_vec()))
        .collect();
    let pairs: Vec<_> = trailers.chunks(2).collect();
    assert!(pairs.len() >= 2, "{pairs:?}");
    for pair in &pairs {
        assert_ne!(pair[0].0, pair[1].0);
        assert_eq!(pair[0].1, pair[1].1);
    }
    assert_ne!(pairs[0][0].1, pairs[1][0].1);
}
