//! The network in a namespace of its own: each test runs itself again below `unshare` and there has a pair of
//! interfaces, `lan0` and `lan1`, that are one cable.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use mainstay_engine::plan::{
    AnnouncePolicy, Authentication, Notify, Preempt, Priority, Router, Scope, Version, Vrid,
};
use mainstay_engine::time::Centis;

use super::*;

mod routing;
mod virtual_mac;

/// Set in the child that runs inside the namespace.
const INSIDE: &str = "MAINSTAY_TEST_INSIDE_NAMESPACE";

/// Longer than anything the kernel takes here, its removal of an address after one second included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `body` inside a fresh network namespace. `name` is the test's full name.
fn in_namespace(name: &str, body: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        ip("link set lo up");
        // No link-local addresses beside the ones that tests look for, unless they ask for them.
        fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        ip("link add lan0 type veth peer name lan1");
        ip("address add 10.9.0.1/24 dev lan0");
        ip("address add 10.9.0.2/24 dev lan1");
        ip("link set lan0 up");
        ip("link set lan1 up");
        body();
        return;
    }
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().expect("a test has a program");
    let (directory, path) = search_path(name);
    fs::create_dir_all(&directory).expect("a directory for programs of the test's own");
    let output = command
        .arg("--net")
        .arg("--")
        .arg(program)
        .args(["--exact", "--nocapture", &format!("net::tests::{name}")])
        .env(INSIDE, "yes")
        .current_dir(directory)
        .env("PATH", path)
        .output()
        .expect("`unshare` of util-linux runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespace:\n{said}");
    assert!(said.contains("1 passed"), "the test did not run inside the namespace:\n{said}");
}

/// A directory for programs that a test brings, and a search path that begins with it.
fn search_path(test: &str) -> (PathBuf, String) {
    let directory = std::env::temp_dir().join(format!("mainstay-net-tests-{test}"));
    let path = format!("{}:{}", directory.display(), std::env::var("PATH").unwrap_or_default());
    (directory, path)
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("`ip` of iproute2 runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn address() -> VirtualAddress {
    VirtualAddress {
        address: IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100)),
        prefix_length: 24,
        interface: "lan0".to_owned(),
        label: Some("lan0:1".to_owned()),
        broadcast: Some(Ipv4Addr::new(10, 9, 0, 255)),
        scope: Scope::Global,
    }
}

const GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

fn plan(interface: &str) -> Plan {
    let router = Router {
        name: "VI_1".to_owned(),
        interface: interface.to_owned(),
        vrid: Vrid::new(51).expect("it is not 0"),
        priority: Priority(100),
        version: Version::V2,
        advert_interval: Centis::new(100),
        delivery: Delivery::Multicast { group: GROUP },
        source: None,
        checksum: None,
        missed_adverts: 3,
        trusts_active_router: false,
        authentication: Authentication::None,
        link_secret: None,
        preempt: Preempt::After(Duration::ZERO),
        addresses: vec![VirtualAddress { interface: interface.to_owned(), ..address() }],
        excluded_addresses: Vec::new(),
        virtual_mac: None,
        routing: Vec::new(),
        track_scripts: Vec::new(),
        track_interfaces: Vec::new(),
        track_files: Vec::new(),
        track_processes: Vec::new(),
        ignore_own_interface: false,
        answers_lower_priority: true,
        answers_higher_priority: false,
        announce: AnnouncePolicy {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: None,
            refresh_repeat: 1,
            lower_priority_repeat: 5,
            lower_priority_delay: Duration::from_secs(5),
            other_interfaces_refresh: None,
        },
        notify: Notify::default(),
    };
    Plan { routers: vec![router], ..Plan::default() }
}

/// Looks until a finding is `wanted`; waits for the kernel in between as the control thread does.
fn look_until(network: &mut Network, wanted: impl Fn(&Finding) -> bool) -> Finding {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let mut findings = network.look();
        if let Some(found) = findings.iter().position(&wanted) {
            return findings.swap_remove(found);
        }
        seen.append(&mut findings);
        assert!(Instant::now() < deadline, "never found; instead: {seen:?}");
        wait(network);
    }
}

/// By the sockets there are now.
fn adverts(network: &Network) -> Adverts {
    let mut adverts = network.adverts();
    adverts.refresh();
    adverts
}

fn wait(network: &Network) {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let adverts = adverts(network);
    let descriptors = adverts.descriptors().chain(network.descriptors());
    let mut descriptors: Vec<_> =
        descriptors.map(|descriptor| PollFd::new(descriptor, PollFlags::POLLIN)).collect();
    poll(&mut descriptors, PollTimeout::from(100_u8)).expect("poll works");
}

fn state(name: &str, running: bool, addresses: &[(IpAddr, u8)]) -> Finding {
    let state = Some(InterfaceState { running, addresses: addresses.to_vec() });
    Finding::Interface { name: name.to_owned(), state }
}

const OWN: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(10, 9, 0, 1)), 24);
const VIRTUAL: (IpAddr, u8) = (IpAddr::V4(Ipv4Addr::new(10, 9, 0, 100)), 24);

#[test]
fn an_address_goes_on_and_off_with_everything_it_was_given() {
    in_namespace("an_address_goes_on_and_off_with_everything_it_was_given", || {
        let mut network = Network::open(&plan("lan0")).unwrap();
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        network.install(&address(), Some(Duration::from_secs(30))).unwrap();
        let shown = ip("address show dev lan0");
        let line = shown.lines().skip_while(|line| !line.contains("10.9.0.100")).take(2).collect::<String>();
        for part in [
            "10.9.0.100/24",
            "brd 10.9.0.255",
            "scope global secondary deprecated",
            "lan0:1",
            "preferred_lft 0sec",
        ] {
            assert!(line.contains(part), "`{part}` is missing: {line}");
        }
        assert!(line.contains("valid_lft 30sec") || line.contains("valid_lft 29sec"), "{line}");
        network.install(&address(), None).unwrap();
        let shown = ip("address show dev lan0");
        let line = shown.lines().skip_while(|line| !line.contains("10.9.0.100")).take(2).collect::<String>();
        assert!(line.contains("deprecated") && line.contains("valid_lft forever"), "{line}");
        assert!(network.remove(&address()).unwrap(), "it was there");
        assert!(!network.remove(&address()).unwrap(), "it is gone");
        assert!(!ip("address show dev lan0").contains("10.9.0.100"));
    });
}

#[test]
fn an_address_is_never_a_source_address() {
    in_namespace("an_address_is_never_a_source_address", || {
        let mut network = Network::open(&plan("lan0")).unwrap();
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        network.install(&address(), None).unwrap();
        assert!(ip("route get 10.9.0.2 oif lan0").contains("src 10.9.0.1 "));
    });
}

#[test]
fn the_kernel_removes_an_address_that_is_not_renewed_and_says_so() {
    in_namespace("the_kernel_removes_an_address_that_is_not_renewed_and_says_so", || {
        let mut network = Network::open(&plan("lan0")).unwrap();
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        network.install(&address(), Some(Duration::from_secs(1))).unwrap();
        let installed = Instant::now();
        let gone = Finding::AddressGone { interface: "lan0".to_owned(), address: address().address };
        look_until(&mut network, |finding| *finding == gone);
        let lived = installed.elapsed();
        assert!(lived > Duration::from_millis(900) && lived < Duration::from_secs(2), "it lived {lived:?}");
    });
}

#[test]
fn only_removals_by_others_are_news() {
    in_namespace("only_removals_by_others_are_news", || {
        let mut network = Network::open(&plan("lan0")).unwrap();
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        network.install(&address(), None).unwrap();
        network.remove(&address()).unwrap();
        network.install(&address(), None).unwrap();
        let found = look_until(&mut network, |finding| {
            matches!(finding, Finding::AddressGone { .. }) || *finding == state("lan0", true, &[OWN, VIRTUAL])
        });
        assert!(matches!(found, Finding::Interface { .. }), "an own removal is no news: {found:?}");
        ip("address delete 10.9.0.100/24 dev lan0");
        look_until(&mut network, |finding| matches!(finding, Finding::AddressGone { .. }));
    });
}

#[test]
fn interfaces_are_followed_through_loss_and_return() {
    in_namespace("interfaces_are_followed_through_loss_and_return", || {
        let mut network = Network::open(&plan("lan0")).unwrap();
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        ip("link set lan1 down");
        look_until(&mut network, |finding| *finding == state("lan0", false, &[OWN]));
        ip("link set lan1 up");
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        ip("link delete lan0");
        look_until(&mut network, |finding| matches!(finding, Finding::Interface { state: None, .. }));
        let error = adverts(&network).send("lan0", None, GROUP, &[]).expect_err("there is no interface");
        assert_eq!(error.to_string(), "No such device (os error 19)");
        ip("link add lan0 type veth peer name lan1");
        ip("link set lan0 up");
        ip("link set lan1 up");
        look_until(&mut network, |finding| *finding == state("lan0", true, &[]));
    });
}

/// The IP header as the engine writes it, and two bytes of payload.
fn datagram(source: IpAddr, destination: IpAddr) -> Vec<u8> {
    let mut datagram = match source {
        IpAddr::V4(_) => vec![0x45, 0xc0, 0, 22, 0, 1, 0, 0, 255, 112, 0, 0],
        IpAddr::V6(_) => vec![0x6c, 0, 0, 0, 0, 2, 112, 255],
    };
    for address in [source, destination] {
        match address {
            IpAddr::V4(address) => datagram.extend(address.octets()),
            IpAddr::V6(address) => datagram.extend(address.octets()),
        }
    }
    datagram.extend([0x21, 0x33]);
    datagram
}

fn receive_one(network: &mut Network) -> (String, Vec<u8>) {
    let deadline = Instant::now() + PATIENCE;
    let mut received = Vec::new();
    while received.is_empty() {
        assert!(Instant::now() < deadline, "nothing arrived");
        wait(network);
        adverts(network)
            .receive(|interface, datagram| received.push((interface.to_owned(), datagram.to_vec())));
        network.look();
    }
    assert_eq!(received.len(), 1, "{received:?}");
    received.remove(0)
}

#[test]
fn adverts_travel_whole_to_a_group_and_to_a_peer() {
    in_namespace("adverts_travel_whole_to_a_group_and_to_a_peer", || {
        // Both ends of the cable are in one namespace here: accept what claims to come from ourselves.
        for end in ["lan0", "lan1"] {
            fs::write(format!("/proc/sys/net/ipv4/conf/{end}/accept_local"), "1").unwrap();
            fs::write(format!("/proc/sys/net/ipv4/conf/{end}/rp_filter"), "0").unwrap();
        }
        fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "0").unwrap();
        let mut here = Network::open(&plan("lan0")).unwrap();
        let mut there = Network::open(&plan("lan1")).unwrap();
        look_until(&mut here, |finding| *finding == state("lan0", true, &[OWN]));
        look_until(&mut there, |finding| matches!(finding, Finding::Interface { .. }));
        let source = OWN.0;
        for destination in [GROUP, Ipv4Addr::new(10, 9, 0, 2).into()] {
            adverts(&here).send("lan0", None, destination, &datagram(source, destination)).unwrap();
            let (interface, received) = receive_one(&mut there);
            assert_eq!(interface, "lan1");
            let sent = datagram(source, destination);
            assert_eq!(received[..10], sent[..10], "up to the checksum");
            assert_eq!(received[12..], sent[12..]);
        }
        adverts(&here)
            .receive(|interface, datagram| panic!("{interface} heard its own advert: {datagram:?}"));
    });
}

#[test]
fn announcements_arrive_as_gratuitous_arp() {
    in_namespace("announcements_arrive_as_gratuitous_arp", || {
        fs::write("/proc/sys/net/ipv4/conf/lan1/arp_accept", "1").unwrap();
        let mut network = Network::open(&plan("lan0")).unwrap();
        look_until(&mut network, |finding| *finding == state("lan0", true, &[OWN]));
        network.announce("lan0", address().address).unwrap();
        let link = ip("-oneline link show dev lan0");
        let hardware = link.split(' ').skip_while(|word| *word != "link/ether").nth(1).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ip("neighbour show dev lan1").contains(&format!("10.9.0.100 lladdr {}", hardware)) {
            assert!(Instant::now() < deadline, "{}", ip("neighbour show"));
            std::thread::yield_now();
        }
        let error = network.announce("lan9", address().address).expect_err("there is no interface");
        assert_eq!(error.to_string(), "No such device (os error 19)");
    });
}

/// The link-local address of an interface, once duplicate address detection has cleared it.
fn link_local(network: &mut Network, name: &str) -> IpAddr {
    let found = look_until(network, |finding| match finding {
        Finding::Interface { name: of, state: Some(state) } => {
            of == name && state.addresses.iter().any(|(address, _)| address.is_ipv6())
        }
        _ => false,
    });
    let Finding::Interface { state: Some(state), .. } = found else { panic!("{found:?}") };
    let mut addresses = state.addresses.into_iter().map(|(address, _)| address);
    addresses.find(IpAddr::is_ipv6).expect("it was looked for")
}

fn ipv6_plan(interface: &str) -> Plan {
    let mut plan = plan(interface);
    for router in &mut plan.routers {
        router.version = Version::V3;
        router.delivery = Delivery::Multicast { group: "ff02::12".parse().unwrap() };
        for own in &mut router.addresses {
            (own.address, own.prefix_length, own.broadcast) = ("2001:db8::64".parse().unwrap(), 64, None);
        }
    }
    plan
}

#[test]
fn ipv6_adverts_travel_with_their_header_and_announcements_arrive() {
    in_namespace("ipv6_adverts_travel_with_their_header_and_announcements_arrive", || {
        for end in ["lan0", "lan1"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "0").unwrap();
        }
        let mut here = Network::open(&ipv6_plan("lan0")).unwrap();
        let mut there = Network::open(&ipv6_plan("lan1")).unwrap();
        let source = link_local(&mut here, "lan0");
        let peer = link_local(&mut there, "lan1");
        for destination in ["ff02::12".parse().unwrap(), peer] {
            let sent = datagram(source, destination);
            adverts(&here).send("lan0", None, destination, &sent).unwrap();
            let (interface, received) = receive_one(&mut there);
            assert_eq!(interface, "lan1");
            assert_eq!(
                received[4..],
                sent[4..],
                "all but class and flow label, which the kernel does not tell"
            );
        }
        adverts(&here)
            .receive(|interface, datagram| panic!("{interface} heard its own advert: {datagram:?}"));

        // The other end holds a stale entry; an override replaces it.
        let own = ipv6_plan("lan0").routers[0].addresses[0].clone();
        ip("-6 neighbour replace 2001:db8::64 lladdr 02:00:00:00:00:99 nud stale dev lan1");
        here.install(&own, Some(Duration::from_secs(5))).unwrap();
        here.announce("lan0", own.address).unwrap();
        let link = ip("-oneline link show dev lan0");
        let hardware = link.split(' ').skip_while(|word| *word != "link/ether").nth(1).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !ip("-6 neighbour show dev lan1").contains(&format!("2001:db8::64 lladdr {hardware}")) {
            assert!(Instant::now() < deadline, "{}", ip("-6 neighbour show"));
            std::thread::yield_now();
        }
    });
}

/// The scheduling policy of a process or thread (proc_pid_stat(5), field 41).
fn policy(stat: &str) -> u32 {
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.nth(38).and_then(|field| field.parse().ok()).expect("a policy")
}

const SCHED_OTHER: u32 = 0;
const SCHED_RR: u32 = 2;

/// An `nft` that notes how it is scheduled and when it ends, and takes as long as the file `slow` says.
const FAKE_NFT: &str =
    "#!/bin/sh\ncat >&- <&0\ncat /proc/self/stat > stat\nsleep $(cat slow) 2>&- && touch ended\n";

/// Starts the thread with a real network and the fake `nft`; gives what it reports.
fn orders(priority: Option<u8>, slow: &str) -> (Orders, Receiver<Report>) {
    fs::write("nft", FAKE_NFT).unwrap();
    fs::set_permissions("nft", fs::Permissions::from_mode(0o755)).unwrap();
    fs::write("slow", slow).unwrap();
    for left_over in ["stat", "ended"] {
        // Of an earlier run, or not there.
        let _ = fs::remove_file(left_over);
    }
    let network = Network::open(&plan("lan0")).unwrap();
    let (sender, receiver) = channel();
    let orders =
        Orders::start(network, priority, Box::new(|_| ()), move |report| drop(sender.send(report))).unwrap();
    (orders, receiver)
}

fn end_of_rules() -> Order {
    let vrid = Vrid::new(51).expect("it is not 0");
    Order::HandOverRules { interface: "lan0".to_owned(), vrid, rules: None }
}

#[test]
fn orders_are_carried_out_in_order_and_nobody_waits_for_them() {
    in_namespace("orders_are_carried_out_in_order_and_nobody_waits_for_them", || {
        let (mut orders, reports) = orders(None, "0.1");
        let began = Instant::now();
        orders.order(end_of_rules());
        orders.install(&address(), None, at(0)).unwrap();
        assert!(began.elapsed() < Duration::from_millis(90), "it waited for nft");
        while !ip("address show dev lan0").contains("10.9.0.100") {
            assert!(
                began.elapsed() < PATIENCE,
                "never installed: {:?}",
                reports.try_iter().collect::<Vec<_>>()
            );
        }
        assert!(fs::exists("ended").unwrap(), "the address was there before the rules");
        orders.order(Order::Remove { address: address() });
        drop(orders);
        assert!(!ip("address show dev lan0").contains("10.9.0.100"), "the last order is carried out too");
    });
}

#[test]
fn an_address_waits_for_the_usher_whenever_it_comes() {
    in_namespace("an_address_waits_for_the_usher_whenever_it_comes", || {
        let network = Network::open(&plan("lan0")).unwrap();
        let (sender, moves) = channel();
        let usher = move |what| {
            // What is seen here is how it was before.
            let is_there = ip("address show dev lan0").contains("10.9.0.100");
            sender.send((what, is_there)).unwrap();
        };
        let mut orders = Orders::start(network, None, Box::new(usher), |_| ()).unwrap();
        let own = address().address;
        let comes = (Move::Comes(own), false);
        orders.install(&address(), None, at(0)).unwrap();
        assert_eq!(moves.recv_timeout(PATIENCE), Ok(comes));
        let deadline = Instant::now() + PATIENCE;
        while !ip("address show dev lan0").contains("10.9.0.100") {
            assert!(Instant::now() < deadline, "it never came");
        }
        // A renewal is no news; that somebody took it away is.
        orders.install(&address(), None, at(1)).unwrap();
        orders.order(Order::Announce { interface: "lan0".to_owned(), address: own });
        ip("address del 10.9.0.100/24 dev lan0");
        let returned = std::iter::repeat_with(|| {
            orders.install(&address(), None, at(2)).unwrap();
            moves.recv_timeout(Duration::from_millis(10))
        });
        assert_eq!(returned.take(1000).find_map(Result::ok), Some(comes));
        orders.order(Order::Remove { address: address() });
        assert_eq!(moves.recv_timeout(PATIENCE), Ok((Move::Went(own), false)));
    });
}

#[test]
fn a_change_that_the_kernel_does_not_make_fails_and_is_not_asked_for_twice() {
    in_namespace("a_change_that_the_kernel_does_not_make_fails_and_is_not_asked_for_twice", || {
        let (mut orders, reports) = orders(None, "10");
        orders.order(end_of_rules());
        for millis in [0, 250, 500, 750] {
            assert_eq!(orders.install(&address(), None, at(millis)), Ok(()), "{millis} ms");
        }
        let refusal = orders.install(&address(), None, at(1000)).expect_err("it may be gone by now");
        assert_eq!(refusal, "the kernel has not done it for 1.0 s");
        let failed = reports.iter().find_map(|report| match report {
            Report::HandOverRulesFailed { reason, .. } => Some(reason),
            _ => None,
        });
        assert_eq!(failed.as_deref(), Some("nft did not end within 250 ms"));
        drop(orders);
        assert!(!fs::exists("ended").unwrap(), "nft was killed");
        assert!(ip("address show dev lan0").contains("10.9.0.100"));
    });
}

#[test]
fn only_the_thread_itself_is_in_a_hurry() {
    in_namespace("only_the_thread_itself_is_in_a_hurry", || {
        let permitted = std::thread::spawn(|| crate::realtime::enter(1).is_ok()).join().unwrap();
        let (mut orders, _reports) = orders(Some(1), "0");
        orders.order(end_of_rules());
        let began = Instant::now();
        while !fs::exists("ended").unwrap() {
            assert!(began.elapsed() < PATIENCE, "nft did not run");
        }
        assert_eq!(policy(&fs::read_to_string("stat").unwrap()), SCHED_OTHER, "of nft");
        let mut named = Vec::new();
        for thread in fs::read_dir("/proc/self/task").unwrap() {
            // A thread may end meanwhile.
            let Ok(stat) = fs::read_to_string(thread.unwrap().path().join("stat")) else { continue };
            let is_it = stat.contains(&format!("({ORDERS_THREAD})"));
            named.extend(is_it.then(|| policy(&stat)));
            assert!(is_it || policy(&stat) == SCHED_OTHER, "{stat}");
        }
        assert_eq!(named, [if permitted { SCHED_RR } else { SCHED_OTHER }]);
    });
}

fn at(millis: u64) -> mainstay_engine::time::Instant {
    mainstay_engine::time::Instant::from_nanos(millis * 1_000_000)
}

#[test]
fn who_else_has_an_address_answers_a_probe_and_is_heard_unasked() {
    in_namespace("who_else_has_an_address_answers_a_probe_and_is_heard_unasked", || {
        for end in ["lan0", "lan1"] {
            fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "0").unwrap();
        }
        let link = ip("-oneline link show dev lan1");
        let hardware = link.split(' ').skip_while(|word| *word != "link/ether").nth(1).unwrap();
        for (plan, add, elsewhere) in [
            (plan("lan0"), "address add 10.9.0.100/24 dev lan1", "10.9.0.77"),
            (ipv6_plan("lan0"), "-6 address add 2001:db8::64/64 dev lan1 nodad", "2001:db8::77"),
        ] {
            let own = plan.routers[0].addresses[0].address;
            let is_claim = |finding: &Finding| matches!(finding, Finding::AddressClaimed { .. });
            let claimed = |finding: Finding| match finding {
                Finding::AddressClaimed { interface, address, hardware } => {
                    (interface, address, hardware.to_string())
                }
                other => panic!("{other:?}"),
            };
            let expected = ("lan0".to_owned(), own, hardware.to_owned());
            let mut network = Network::open(&plan).unwrap();
            look_until(&mut network, |finding| matches!(finding, Finding::Interface { state: Some(_), .. }));
            // What it says itself is no claim of others, and nobody has the address yet.
            network.announce("lan0", own).unwrap();
            network.probe("lan0", own).unwrap();
            ip(add);
            // Until the other end is ready to answer.
            let deadline = Instant::now() + PATIENCE;
            let answer = loop {
                network.probe("lan0", own).unwrap();
                wait(&network);
                if let Some(answer) = network.look().into_iter().find(is_claim) {
                    break answer;
                }
                assert!(Instant::now() < deadline, "nobody answers for {own}");
            };
            assert_eq!(claimed(answer), expected);

            // Announcements are heard without a question. One for another address is not.
            let there = announce::Announcer::open("lan1").unwrap();
            there.announce(elsewhere.parse().unwrap()).unwrap();
            there.announce(own).unwrap();
            assert_eq!(claimed(look_until(&mut network, is_claim)), expected);
        }
    });
}
