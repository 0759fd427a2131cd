//! Whoever on the LAN does not fit is named in `mainstay status`: a real Keepalived that differs, so that both are active;
//! a host that has the virtual address; CARP.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use mainstay::lab::balancer::{Balancer, Kind};
use mainstay::lab::recipe::{self, Reader, Timers};
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE, Lan, VIRTUAL_ADDRESS};
use mainstay_engine::admin::DifferenceStatus;
use nix::ifaddrs::getifaddrs;
use nix::unistd::geteuid;
use socket2::{Domain, Protocol, Socket, Type};

/// A takeover takes 3.6 s, and the end of a difference is seen 10 s later.
const PATIENCE: Duration = Duration::from_secs(40);

/// A change of the second balancer's keepalived.conf, and what is said of it on the first.
struct Case {
    kind: &'static str,
    /// Text and what is in its place.
    change: (&'static str, &'static str),
    says: &'static str,
    hint: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        kind: "password",
        change: ("auth_pass <PASSWORD>", "auth_pass another"),
        says: "its password is another",
        hint: "`auth_pass`",
    },
    Case {
        kind: "authentication_type",
        change: ("authentication {\n    auth_type PASS\n    auth_pass <PASSWORD>\n  }", ""),
        says: "it does not authenticate, this router does with a password",
        hint: "`authentication` block",
    },
    Case {
        kind: "interval",
        change: ("state BACKUP", "state BACKUP\n  advert_int 2"),
        says: "it advertises every 2 s, this router every 1 s",
        hint: "`advert_int`",
    },
    Case {
        kind: "address_list",
        change: ("virtual_ipaddress {", "virtual_ipaddress {\n    192.168.2.149/24 dev ens160"),
        says: "this router does not have its 192.168.2.149",
        hint: "`virtual_ipaddress`",
    },
    Case {
        kind: "version",
        change: ("authentication {\n    auth_type PASS\n    auth_pass <PASSWORD>\n  }", "version 3"),
        says: "it speaks version 3, this router version 2",
        hint: "`vrrp_version`",
    },
    Case {
        kind: "destination",
        change: ("unicast_src_ip 192.168.2.142\n  unicast_peer {\n    192.168.2.141\n  }", ""),
        says: "it sends to the group 224.0.0.18",
        hint: "`unicast_peer`",
    },
];

pub(crate) fn of_a_real_keepalived() {
    let lan = Lan::build().expect("a LAN");
    let mut ours = balancer(&lan, "lb1", Kind::Mainstay);
    let mut theirs = balancer(&lan, "lb2", Kind::Pair);
    ours.start().expect("lb1 starts");
    await_holder(&ours, true);
    let file = theirs.file("keepalived.conf");
    let right = fs::read_to_string(&file).expect("a file");
    for Case { kind, change: (from, to), says, hint } in CASES {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right, "{kind}");
        fs::write(&file, wrong).expect("the file is written");
        theirs.start().expect("lb2 starts");
        let named = await_difference([&ours, &theirs], |named| named.kind == kind && named.both_active);
        assert_eq!((named.who.as_str(), named.harmful), ("192.168.2.142", true), "{kind}");
        let sentence = &named.sentence;
        assert!(sentence.contains(says), "{kind}: {sentence}");
        assert!(sentence.ends_with("; both are active, neither hears the other"), "{kind}: {sentence}");
        assert!(named.hint.contains(hint), "{kind}: {}", named.hint);
        // What is said is true: the split brain is there, in silence on the other side.
        await_holder(&theirs, true);
        assert!(ours.address().holds(), "{kind}: both hold the address");
        let text = status_text(&ours);
        assert!(text.contains(&format!("  ! {sentence}")), "{kind}:\n{text}");
        assert!(text.contains("    to mend it, "), "{kind}:\n{text}");
        theirs.kill().expect("it can be killed");
        theirs.host().forget_virtual_address().expect("ip");
    }

    fs::write(&file, &right).expect("the file is written");
    theirs.start().expect("lb2 starts");
    wait_until(PATIENCE, || {
        let left = ours.status()?.routers.remove(0).differences;
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
    })
    .expect("what is mended leaves status");
    let log = ours.log();
    assert!(log.contains("sees no more of 192.168.2.142 (destination is over)"), "{log}");
    assert!(ours.address().holds() && !theirs.address().holds(), "one is active");
    let router = ours.status().expect("a status").routers.remove(0);
    assert!(router.both_active_total >= 1, "{router:?}");
    for Case { kind, .. } in CASES {
        assert!(router.differences_total[kind] > 0, "{kind}: {router:?}");
    }
}

pub(crate) fn a_strangers_address() {
    let lan = Lan::build().expect("a LAN");
    let mut ours = balancer(&lan, "lb1", Kind::Mainstay);
    ours.start().expect("lb1 starts");
    await_holder(&ours, true);
    let stranger = lan.host("client").expect("a third host");
    address(stranger, "add");
    let named = await_difference([&ours; 2], |named| named.kind == "address_conflict");
    assert_eq!(named.who, hardware(stranger));
    let sentence = format!("{} answers for {VIRTUAL_ADDRESS} too, so some clients are led there", named.who);
    assert_eq!(named.sentence, sentence);
    assert!(status_text(&ours).contains(&format!("  ! {sentence}")), "{}", status_text(&ours));
    assert!(ours.log().contains(&sentence), "{}", ours.log());
    assert!(ours.address().holds(), "it goes on");
    address(stranger, "del");
    wait_until(PATIENCE, || {
        let left = ours.status()?.routers.remove(0).differences;
        Ok(if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) })
    })
    .expect("the conflict ends with its cause");
    assert!(ours.log().contains("(address_conflict is over)"), "{}", ours.log());
}

pub(crate) fn carp_on_the_lan() {
    let lan = Lan::build().expect("a LAN");
    let mut ours = balancer(&lan, "lb1", Kind::Mainstay);
    ours.start().expect("lb1 starts");
    await_holder(&ours, true);
    let other = lan.host("client").expect("a third host");
    // Version 2, type 1, vhid 33, advskew 0, 7 words, no demotion, every second; then checksum, counter and digest.
    let carp = [&[0x21, 33, 0, 7, 0, 1, 0xca, 0x4b][..], &[0x5a; 28]].concat();
    let socket = other.enter(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).expect("a raw socket");
        socket.bind_device(Some(INTERFACE.as_bytes())).expect("an interface");
        socket.set_multicast_ttl_v4(255).expect("a TTL");
        socket
    });
    let socket = socket.expect("the host");
    let group = SocketAddr::from((Ipv4Addr::new(224, 0, 0, 18), 0)).into();
    let named = wait_until(PATIENCE, || {
        socket.send_to(&carp, &group).expect("it is sent");
        let shown = ours.status()?.routers.remove(0).differences;
        Ok(shown.into_iter().find(|named| named.kind == "carp").ok_or("CARP is not named".to_owned()))
    })
    .expect("CARP is named");
    assert_eq!(named.sentence, "192.168.2.160 is refused: the message is no VRRP, but CARP with vhid 33");
    assert!(named.hint.contains("another `virtual_router_id`"), "{}", named.hint);
    assert!(!named.both_active && ours.address().holds(), "CARP is no member of the group");
}

fn balancer(lan: &Lan, name: &str, kind: Kind) -> Balancer {
    let reader = if kind == Kind::Pair { Reader::Pair } else { Reader::Mainstay };
    let files = recipe::files(name, reader, Timers::Recipe, !geteuid().is_root());
    let mainstay = PathBuf::from(env!("CARGO_BIN_EXE_mainstay"));
    Balancer::install(kind, lan.host(name).expect("a host"), &files, mainstay).expect("its files")
}

fn await_holder(balancer: &Balancer, wanted: bool) {
    let name = balancer.host().name();
    wait_until(PATIENCE, || {
        let holds = balancer.address().holds();
        Ok(if holds == wanted { Ok(()) } else { Err(format!("{name} holds the address: {holds}")) })
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", balancer.log_tail()));
}

fn await_difference(
    [balancer, other]: [&Balancer; 2],
    wanted: impl Fn(&DifferenceStatus) -> bool,
) -> DifferenceStatus {
    wait_until(PATIENCE, || {
        let shown = balancer.status()?.routers.remove(0).differences;
        let found = shown.iter().find(|named| wanted(named)).cloned();
        Ok(found.ok_or_else(|| format!("only {shown:?}")))
    })
    .unwrap_or_else(|error| panic!("{error}\n{}{}", balancer.log_tail(), other.log_tail()))
}

fn status_text(balancer: &Balancer) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    let output = command.arg("status").arg("--socket").arg(balancer.file("mainstay.sock")).output();
    let output = output.expect("mainstay runs");
    assert!(output.status.success(), "differences change no exit code: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Adds the virtual address to a host that has no right to it, or takes it away.
fn address(host: &Host, verb: &str) {
    let mut command = Command::new("ip");
    command.args(["address", verb, &format!("{VIRTUAL_ADDRESS}/24"), "dev", INTERFACE]);
    assert!(host.enter(|| command.status()).expect("the host").expect("ip runs").success());
}

fn hardware(host: &Host) -> String {
    let links = || {
        let entries = getifaddrs().expect("its interfaces");
        let mut links = entries.filter(|entry| entry.interface_name == INTERFACE);
        links.find_map(|entry| entry.address?.as_link_addr().map(ToString::to_string))
    };
    host.enter(links).expect("the host").expect("an Ethernet address")
}
