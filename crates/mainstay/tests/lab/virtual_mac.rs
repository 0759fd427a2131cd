//! `use_vmac`, `virtual_routes` and `virtual_rules`: what the LAN sees, and what a real Keepalived makes of the same file.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE, Lan};

use super::capture::Capture;
use super::daemon::{Daemon, Program, ip};

/// Adverts come every 0.1 s: a takeover takes 0.4 s, and a busy machine may add to it.
const PATIENCE: Duration = Duration::from_secs(10);

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 200);
const MAC: &str = "00:00:5e:00:01:33";
const MAC_BYTES: [u8; 6] = [0x00, 0x00, 0x5e, 0x00, 0x01, 0x33];

const ETHERNET: usize = 14;

fn conf(priority: u8, more: &str) -> String {
    format!(
        "vrrp_instance V {{\n interface {INTERFACE}\n virtual_router_id 51\n version 3\n priority {priority}\n \
         advert_int 0.1\n use_vmac\n virtual_ipaddress {{\n {ADDRESS}/24\n }}\n{more}}}\n"
    )
}

fn await_state(daemon: &Daemon, wanted: &str) {
    wait_until(PATIENCE, || {
        let state = daemon.state();
        Ok(if state == wanted { Ok(()) } else { Err(format!("{state}: {}", daemon.log())) })
    })
    .expect(wanted);
}

/// Whether the kernel behind the virtual address answers `client` within half a second.
fn answers(client: &Host) -> bool {
    let address = SocketAddr::from((ADDRESS, 9));
    let patience = Duration::from_millis(500);
    let connected = client.enter(|| TcpStream::connect_timeout(&address, patience)).expect("the client");
    match connected {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionRefused,
    }
}

fn hardware_known_to(client: &Host) -> String {
    let said = ip(client, &format!("neighbour show {ADDRESS}"));
    said.split(' ').skip_while(|word| *word != "lladdr").nth(1).unwrap_or("nobody's").to_owned()
}

/// Keeps every announcement from crossing the LAN.
fn drop_announcements() {
    let rules = format!(
        "add table bridge lab\nadd chain bridge lab announcements {{ type filter hook forward priority 0; }}\n\
         add rule bridge lab announcements arp saddr ip {ADDRESS} arp daddr ip {ADDRESS} counter drop\n"
    );
    std::fs::write("/run/announcements.nft", rules).expect("a file");
    let status = Command::new("nft").args(["-f", "/run/announcements.nft"]).status().expect("nft runs");
    assert!(status.success(), "nft takes the rules");
}

/// Whatever ARP frame says that the virtual address is somewhere, it names the virtual MAC address.
fn check_arp(frames: &[Vec<u8>]) {
    let about = frames.iter().filter(|frame| {
        frame.get(12..14) == Some(&[0x08, 0x06])
            && frame.get(ETHERNET + 14..ETHERNET + 18) == Some(&ADDRESS.octets())
    });
    let said: BTreeSet<_> = about.map(|frame| (frame[6..12].to_vec(), frame[22..28].to_vec())).collect();
    let expected = BTreeSet::from([(MAC_BYTES.to_vec(), MAC_BYTES.to_vec())]);
    assert_eq!(said, expected, "frames about the address, by Ethernet source and ARP sender");
}

pub(crate) fn a_takeover_needs_no_announcement() {
    let lan = Lan::build().expect("a LAN");
    let [lb1, lb2, client] = ["lb1", "lb2", "client"].map(|name| lan.host(name).expect(name));
    drop_announcements();
    let capture = Capture::start(client);
    let preferred = Daemon::start(Program::Mainstay, lb1, &conf(120, ""));
    await_state(&preferred, "active");
    let other = Daemon::start(Program::Mainstay, lb2, &conf(100, ""));
    await_state(&other, "backup");
    assert!(ip(lb2, "-oneline link show dev vrrp.51").contains("state DOWN"), "a backup takes nothing");
    assert!(answers(client));
    assert_eq!(hardware_known_to(client), MAC);
    // A balancer that has to ask who the client is names itself, not the virtual address.
    for balancer in [lb1, lb2] {
        ip(balancer, &format!("neighbour flush dev {INTERFACE}"));
    }
    assert!(answers(client));

    let killed = Instant::now();
    preferred.kill();
    await_state(&other, "active");
    wait_until(PATIENCE, || Ok(if answers(client) { Ok(()) } else { Err("silent".to_owned()) }))
        .expect("the successor answers");
    let gap = killed.elapsed();
    assert!(gap < Duration::from_secs(2), "it took {gap:?}");
    assert_eq!(hardware_known_to(client), MAC, "the client never had to learn anything");
    let held = || Ok(ip(lb1, "address show").contains(&format!("{ADDRESS}/")));
    wait_until(PATIENCE, || Ok(if held()? { Err("held".to_owned()) } else { Ok(()) }))
        .expect("the kernel takes the address from a killed daemon");

    // What the killed one left is taken over; it preempts, and the switch follows.
    let preferred = Daemon::start(Program::Mainstay, lb1, &conf(120, ""));
    await_state(&preferred, "active");
    await_state(&other, "backup");
    assert!(answers(client));
    preferred.stop();
    await_state(&other, "active");
    assert!(answers(client));
    assert!(!ip(lb1, "link show").contains("vrrp.51"), "a stop leaves nothing behind");
    other.stop();
    let captured = capture.end();
    check_arp(&captured.frames);
    let sources: BTreeSet<_> = captured.decoded(&["eth.src", "vrrp.checksum.status"]).into_iter().collect();
    assert_eq!(sources, BTreeSet::from([format!("{MAC}\t1")]), "adverts come from the virtual MAC address");
}

/// Both directions: each hears the other, whose adverts have the same MAC address as its own.
pub(crate) fn shares_a_group_with_keepalived() {
    let lan = Lan::build().expect("a LAN");
    let [lb1, lb2, client] = ["lb1", "lb2", "client"].map(|name| lan.host(name).expect(name));
    let keepalived = Daemon::start(Program::Keepalived, lb2, &conf(110, ""));
    let holds = |host: &Host| ip(host, "address show dev vrrp.51").contains(&format!("{ADDRESS}/"));
    let moved = |holder: &Host, other: &Host| {
        wait_until(PATIENCE, || {
            Ok(if holds(holder) && !holds(other) { Ok(()) } else { Err("elsewhere".to_owned()) })
        })
        .expect("the address moves");
    };
    for (priority, state) in [(120, "active"), (100, "backup")] {
        let mainstay = Daemon::start(Program::Mainstay, lb1, &conf(priority, ""));
        await_state(&mainstay, state);
        let (holder, other) = if state == "active" { (lb1, lb2) } else { (lb2, lb1) };
        moved(holder, other);
        wait_until(PATIENCE, || Ok(if answers(client) { Ok(()) } else { Err("silent".to_owned()) }))
            .expect("whoever is active answers");
        assert_eq!(mainstay.status().expect("a status").refused, []);
        mainstay.stop();
        wait_until(PATIENCE, || Ok(if holds(lb2) { Ok(()) } else { Err("elsewhere".to_owned()) }))
            .expect("Keepalived is active alone");
    }
    keepalived.stop();
}

const ROUTING: &str = " virtual_ipaddress_excluded {\n 192.168.2.201/24\n 2001:db8::201/64\n }\n \
    virtual_routes {\n 10.20.0.0/16 via 192.168.2.151 dev ens160\n \
    192.0.2.0/24 dev ens160 metric 7 src 192.168.2.200\n \
    src 192.168.2.200 to 203.0.113.0/24 via 192.168.2.151\n unreachable 198.51.100.0/24\n \
    blackhole 198.51.101.0/24 table 100\n default via 192.168.2.152 table 100\n \
    10.63.0.0/16 via 172.31.0.1 dev ens160 onlink\n 10.64.0.1 via 192.168.2.151\n \
    10.65.0.0/16 dev ens160 scope link mtu 1400\n 2001:db8:1::/48 dev ens160\n }\n \
    virtual_rules {\n from 192.168.2.200 table 100\n to 10.30.0.0/16 iif ens160 table 100 priority 500\n \
    from 10.40.0.0/16 blackhole\n from 10.50.0.0/16 fwmark 5/7 table main oif ens160\n \
    from 2001:db8::/64 table 8\n }\n";

/// What the kernel has, without what differs for a reason: how long addresses live, that they are never preferred, the
/// mode of the macvlan, and the metric of the route to its network.
fn kernel(host: &Host) -> Vec<String> {
    kernel_without(host, "nothing at all")
}

/// As [`kernel`], without lines that contain `word`.
fn kernel_without(host: &Host, word: &str) -> Vec<String> {
    let unwanted = ["valid_lft", "link/", "veth", "fe80", "ff00::/8", word];
    let questions = [
        "-d address show",
        "-d route show table all",
        "-6 -d route show table all",
        "-d rule show",
        "-6 rule show",
    ];
    let mut said = Vec::new();
    for question in questions {
        let answer = ip(host, question);
        let wanted = answer.lines().filter(|line| !unwanted.iter().any(|word| line.contains(word)));
        let mut lines: Vec<_> = wanted.map(without_differences).collect();
        lines.sort();
        said.extend(lines);
    }
    said
}

fn without_differences(line: &str) -> String {
    let mut words = Vec::new();
    let mut rest = line.split_whitespace();
    while let Some(word) = rest.next() {
        match word {
            "deprecated" | "dynamic" => {}
            "expires" => drop(rest.next()),
            "bridge" => words.push("private"),
            "metric" => match rest.next() {
                Some("65536") => {}
                other => words.extend(["metric"].into_iter().chain(other)),
            },
            _ => words.push(word),
        }
    }
    // The index of an interface is of no interest.
    let is_index = |word: &&str| word.strip_suffix(':').is_some_and(|number| number.parse::<u8>().is_ok());
    if line.contains("mtu") && words.first().is_some_and(is_index) {
        words.remove(0);
    }
    words.join(" ")
}

pub(crate) fn makes_of_a_file_what_keepalived_makes() {
    let lan = Lan::build().expect("a LAN");
    let lb1 = lan.host("lb1").expect("lb1");
    let before = kernel(lb1);
    let text = conf(100, ROUTING);
    let made = |program: Program| {
        let daemon = Daemon::start(program, lb1, &text);
        let complete = || ip(lb1, "rule show").contains("oif ens160");
        wait_until(PATIENCE, || Ok(if complete() { Ok(()) } else { Err(daemon.log()) })).expect("rules");
        let made = kernel(lb1);
        if program == Program::Mainstay {
            put_back(lb1, &daemon);
            assert_eq!(kernel(lb1), made, "all of it was put back");
        }
        daemon.stop();
        // An IPv6 address with a lifetime leaves the route to its network behind, which the kernel counts as expired.
        let left = || {
            kernel_without(lb1, "expires")
                .into_iter()
                .filter(|line| !before.contains(line))
                .collect::<Vec<_>>()
        };
        wait_until(PATIENCE, || Ok(if left().is_empty() { Ok(()) } else { Err(left().join("\n")) }))
            .expect("it takes all of it away again");
        made
    };
    let theirs = made(Program::Keepalived);
    assert_eq!(made(Program::Mainstay), theirs);

    // What a killed daemon leaves goes when it starts again.
    let daemon = Daemon::start(Program::Mainstay, lb1, &text);
    await_state(&daemon, "active");
    daemon.kill();
    assert!(ip(lb1, "rule show").contains("oif ens160"));
    let daemon = Daemon::start(Program::Mainstay, lb1, &text.replace("priority 100", "priority 1"));
    wait_until(PATIENCE, || {
        Ok(if ip(lb1, "rule show").contains("oif ens160") { Err("it is there".to_owned()) } else { Ok(()) })
    })
    .expect("left-overs go");
    daemon.stop();
}

/// Somebody removes a route and a rule.
fn put_back(host: &Host, daemon: &Daemon) {
    ip(host, "route delete 10.20.0.0/16");
    ip(host, "rule delete from 192.168.2.200");
    wait_until(PATIENCE, || {
        let log = daemon.log();
        let said = ["put the route 10.20.0.0/16", "put the rule from 192.168.2.200"];
        Ok(if said.iter().all(|said| log.contains(said)) { Ok(()) } else { Err(log) })
    })
    .expect("both are put back, and it is said");
    let status = daemon.status().expect("a status");
    assert!(status.routing.iter().all(|routing| routing.state == "in force"), "{:?}", status.routing);
    let own: IpAddr = host.address().into();
    assert!(ip(host, "route get 192.168.2.160").contains(&format!("src {own} ")), "its own way out stays");
}
