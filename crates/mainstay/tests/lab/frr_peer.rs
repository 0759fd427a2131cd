//! One VRRP group with FRR, mainstay in both roles, over both families, with a MAC address of its own and without.

use std::time::Duration;

use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE, Lan};

use super::daemon::{Daemon, Program};
use super::frr::{Frr, Group};

/// Adverts come every 0.1 s: a takeover takes 0.4 s, and a busy machine may add to it.
const PATIENCE: Duration = Duration::from_secs(10);

const INTERVAL: Duration = Duration::from_millis(100);

/// The address in the group.
#[derive(Clone, Copy)]
struct Address(&'static str, u8);

const IPV4: Address = Address("192.168.2.200", 24);
const IPV6: Address = Address("2001:db8::200", 64);

fn group(address: Address, priority: u8) -> Group {
    let addresses = vec![(address.0.parse().expect("an address"), address.1)];
    Group { vrid: 51, priority, interval: INTERVAL, preempt: true, addresses }
}

fn keepalived_conf(Address(address, length): Address, priority: u8, vmac: &str) -> String {
    format!(
        "vrrp_instance V {{\n interface {INTERFACE}\n virtual_router_id 51\n version 3\n priority {priority}\n \
         advert_int 0.1\n {vmac}\n virtual_ipaddress {{\n {address}/{length}\n }}\n}}\n"
    )
}

/// Waits until mainstay and FRR are in these states.
fn settle(mainstay: Option<(&Daemon, &str)>, frr: Option<(&Frr, &str)>) {
    wait_until(PATIENCE, || {
        let of_mainstay = mainstay.map(|(daemon, wanted)| (daemon.state(), wanted));
        let of_frr = frr.map(|(daemon, wanted)| (daemon.state(), wanted));
        let fits = [&of_mainstay, &of_frr].into_iter().flatten().all(|(state, wanted)| state == wanted);
        let logs = || [mainstay.map(|(daemon, _)| daemon.log()), frr.map(|(daemon, _)| daemon.log())];
        Ok(if fits { Ok(()) } else { Err(format!("mainstay {of_mainstay:?}, FRR {of_frr:?}: {:?}", logs())) })
    })
    .expect("both agree");
}

fn nothing_refused(mainstay: &Daemon) {
    let status = mainstay.status().expect("a status");
    assert_eq!(status.refused, [], "no advert of FRR is refused");
}

/// Election, stop, preemption, kill, preemption, a cut cable and its return, mainstay preferred.
fn mainstay_preferred(lan: &Lan, lb1: &Host, lb2: &Host, address: Address, vmac: &str) {
    let conf = keepalived_conf(address, 120, vmac);
    let start = || Daemon::start(Program::Mainstay, lb1, &conf);
    let frr = Frr::start(lb2, &group(address, 100));
    settle(None, Some((&frr, "Master")));
    let mainstay = start();
    settle(Some((&mainstay, "active")), Some((&frr, "Backup")));
    mainstay.stop();
    settle(None, Some((&frr, "Master")));
    let mainstay = start();
    settle(Some((&mainstay, "active")), Some((&frr, "Backup")));
    nothing_refused(&mainstay);
    mainstay.kill();
    settle(None, Some((&frr, "Master")));
    let mainstay = start();
    settle(Some((&mainstay, "active")), Some((&frr, "Backup")));
    lan.plug(lb1, false).expect("the cable");
    settle(Some((&mainstay, "fault")), Some((&frr, "Master")));
    lan.plug(lb1, true).expect("the cable");
    settle(Some((&mainstay, "active")), Some((&frr, "Backup")));
    assert!(frr.adverts_received() > 0);
    nothing_refused(&mainstay);
    frr.stop();
    mainstay.stop();
}

/// The same, FRR preferred.
fn frr_preferred(lan: &Lan, lb1: &Host, lb2: &Host, address: Address, vmac: &str) {
    let mainstay = Daemon::start(Program::Mainstay, lb1, &keepalived_conf(address, 100, vmac));
    settle(Some((&mainstay, "active")), None);
    let start = || Frr::start(lb2, &group(address, 120));
    let frr = start();
    settle(Some((&mainstay, "backup")), Some((&frr, "Master")));
    let peer = mainstay.status().expect("a status").active_peer;
    assert!(peer.is_some(), "mainstay knows who is active");
    frr.stop();
    settle(Some((&mainstay, "active")), None);
    let frr = start();
    settle(Some((&mainstay, "backup")), Some((&frr, "Master")));
    frr.kill();
    settle(Some((&mainstay, "active")), None);
    let frr = start();
    settle(Some((&mainstay, "backup")), Some((&frr, "Master")));
    lan.plug(lb2, false).expect("the cable");
    settle(Some((&mainstay, "active")), None);
    lan.plug(lb2, true).expect("the cable");
    settle(Some((&mainstay, "backup")), Some((&frr, "Master")));
    nothing_refused(&mainstay);
    mainstay.stop();
    frr.stop();
}

fn in_both_roles(address: Address) {
    let lan = Lan::build().expect("a LAN");
    let (lb1, lb2) = (lan.host("lb1").expect("lb1"), lan.host("lb2").expect("lb2"));
    for vmac in ["use_vmac", "use_vmac\n vmac_xmit_base", ""] {
        mainstay_preferred(&lan, lb1, lb2, address, vmac);
        frr_preferred(&lan, lb1, lb2, address, vmac);
    }
}

pub(crate) fn over_ipv4() {
    in_both_roles(IPV4);
}

pub(crate) fn over_ipv6() {
    in_both_roles(IPV6);
}
