//! One VRRP group with Debian's Keepalived, the recipe's files on both sides, mainstay in both roles.

use std::collections::BTreeMap;
use std::time::Duration;

use mainstay::lab::balancer::Kind;
use mainstay::lab::cluster::{Cluster, Holder};
use mainstay::lab::recipe::Timers;
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::VIRTUAL_ADDRESS;

use super::capture::{Capture, Captured};

/// Adverts come every second: a takeover takes 3.6 s, a planned one up to 2.
const PATIENCE: Duration = Duration::from_secs(12);

const ETHERNET: usize = 14;
const IPV4: usize = 20;

pub(crate) fn mainstay_before_keepalived() {
    let (frames, cluster) = life(Kind::Mainstay, Kind::Pair);
    same_form(&frames);
    let status = cluster.lb1.status().expect("a status");
    assert_eq!(status.routers[0].refused, [], "no advert of Keepalived is refused");
}

pub(crate) fn keepalived_before_mainstay() {
    let (frames, cluster) = life(Kind::Pair, Kind::Mainstay);
    same_form(&frames);
    let status = cluster.lb2.status().expect("a status");
    assert_eq!(status.routers[0].refused, [], "no advert of Keepalived is refused");
    assert_eq!(
        status.routers[0].active_peer.as_deref(),
        Some("192.168.2.141"),
        "{}",
        status.routers[0].reason
    );
}

/// Election, stop, return with preemption, kill, return again.
fn life(lb1: Kind, lb2: Kind) -> (Captured, Cluster) {
    let mut cluster = super::cluster(lb1, lb2, Timers::Recipe);
    let capture = Capture::start(cluster.lb2.host());

    cluster.lb1.ask_to_stop().expect("it can be asked");
    moved_to_lb2(&cluster);
    cluster.lb1.wait_stopped().expect("it stops");
    cluster.lb1.kill().expect("what is left of it ends");
    cluster.settle(Holder::Lb2).expect("lb2 serves after a stop");
    cluster.restore().expect("lb1 starts");
    cluster.settle(Holder::Lb1).expect("lb1 preempts");

    cluster.lb1.kill().expect("it can be killed");
    wait_until(PATIENCE, || {
        Ok(if cluster.lb2.address().holds() { Ok(()) } else { Err("lb2 is backup".to_owned()) })
    })
    .expect("lb2 takes over from a killed one");
    // Keepalived leaves the address behind; mainstay's is gone by itself.
    if lb1 == Kind::Pair {
        cluster.lb1.host().forget_virtual_address().expect("ip");
    }
    cluster.settle(Holder::Lb2).expect("lb2 serves after a kill");
    cluster.lb1.start().expect("lb1 starts");
    cluster.settle(Holder::Lb1).expect("lb1 preempts again");
    (capture.end(), cluster)
}

fn moved_to_lb2(cluster: &Cluster) {
    wait_until(PATIENCE, || {
        let moved = cluster.lb2.address().holds() && !cluster.lb1.address().holds();
        Ok(if moved { Ok(()) } else { Err("the address has not moved".to_owned()) })
    })
    .expect("a stop moves the address");
}

/// The frames of both daemons differ in what has to differ only, and tshark finds nothing wrong with any.
fn same_form(captured: &Captured) {
    let judged = captured.decoded(&["vrrp.checksum.status", "vrrp.version", "ip.ttl", "vrrp.auth_string"]);
    assert!(judged.len() > 10, "{judged:?}");
    for line in &judged {
        assert_eq!(
            line, "1\t2\t255\t<PASSWOR",
            "good checksum, version 2, TTL 255, the password cut to 8 bytes"
        );
    }
    assert_eq!(forms(&captured.frames, advert), 2, "adverts of two hosts in one form");
    assert_eq!(forms(&captured.frames, announcement), 2, "announcements of two hosts in one form");
}

/// How many hosts sent frames that `form` recognises. It panics if their forms differ.
fn forms(frames: &[Vec<u8>], form: fn(&[u8]) -> Option<Vec<u8>>) -> usize {
    let mut of_host: BTreeMap<&[u8], Vec<u8>> = BTreeMap::new();
    for frame in frames {
        let Some(form) = form(frame) else { continue };
        assert_eq!(of_host.entry(&frame[6..12]).or_insert_with(|| form.clone()), &form, "one host, one form");
    }
    let mut forms: Vec<_> = of_host.values().collect();
    forms.dedup();
    assert_eq!(forms.len(), 1, "{of_host:02x?}");
    of_host.len()
}

/// An advert without what differs between two hosts and adverts: identification, checksums, addresses, priority.
fn advert(frame: &[u8]) -> Option<Vec<u8>> {
    let mut packet = frame.get(ETHERNET..).filter(|packet| packet.get(9) == Some(&112))?.to_vec();
    for differs in [4..6, 10..IPV4, IPV4 + 2..IPV4 + 3, IPV4 + 6..IPV4 + 8] {
        packet.get_mut(differs).expect("a whole advert").fill(0);
    }
    let length = usize::from(packet[3]);
    packet.truncate(length);
    assert_eq!(packet[..10], [0x45, 0xc0, 0, 40, 0, 0, 0, 0, 255, 112], "IP header");
    Some(packet)
}

/// A gratuitous ARP request for the virtual address, without the sender's hardware address.
fn announcement(frame: &[u8]) -> Option<Vec<u8>> {
    let address = VIRTUAL_ADDRESS.octets();
    let is_arp = frame.get(12..14) == Some(&[0x08, 0x06]);
    let arp = frame.get(ETHERNET..ETHERNET + 28).filter(|_| is_arp)?;
    if arp[14..18] != address || arp[24..28] != address {
        return None;
    }
    assert_eq!(frame[..6], [0xff; 6], "announcements are broadcast");
    assert_eq!(arp[8..14], frame[6..12], "the sender's own hardware address");
    let mut form = arp.to_vec();
    form[8..14].fill(0);
    Some(form)
}
