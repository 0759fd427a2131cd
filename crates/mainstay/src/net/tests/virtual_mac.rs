//! Interfaces with a virtual MAC address, and frames from it, in the kernel.

use mainstay_engine::plan::{HardwareAddress, VirtualMac};
use mainstay_engine::vrrp::packet::{Advert, Form, LAN_TTL, encode};

use super::*;

const NAME: &str = "vrrp.51";
const MAC: &str = "00:00:5e:00:01:33";

/// As [`plan`], with the address on an interface with a MAC address of its own.
fn virtual_plan(base: &str, name: &str) -> Plan {
    let mut plan = plan(base);
    for router in &mut plan.routers {
        let address = HardwareAddress::of(router.family(), router.vrid);
        router.virtual_mac =
            Some(VirtualMac { address, interface: name.to_owned(), transmit_on_base: false });
        for own in &mut router.addresses {
            (own.interface, own.label) = (name.to_owned(), None);
        }
    }
    plan
}

fn virtual_address() -> VirtualAddress {
    virtual_plan("lan0", NAME).routers.remove(0).addresses.remove(0)
}

fn open(base: &str, name: &str) -> Network {
    let mut network = Network::open(&virtual_plan(base, name)).unwrap();
    let made =
        |finding: &Finding| matches!(finding, Finding::Interface { name: of, state: Some(_) } if of == name);
    look_until(&mut network, made);
    network
}

fn setting(interface: &str, name: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{interface}/{name}");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

fn is_up(name: &str) -> bool {
    ip(&format!("-oneline link show dev {name}")).contains("UP")
}

#[test]
fn it_is_up_while_it_has_an_address_and_leaves_nothing_behind() {
    in_namespace("virtual_mac::it_is_up_while_it_has_an_address_and_leaves_nothing_behind", || {
        fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        fs::write("/proc/sys/net/ipv4/conf/lan1/rp_filter", "2").unwrap();
        let mut network = open("lan0", NAME);
        let shown = ip(&format!("-d link show dev {NAME}"));
        for part in [&format!("{NAME}@lan0"), MAC, "macvlan mode bridge", "addrgenmode none"] {
            assert!(shown.contains(part), "`{part}` is missing: {shown}");
        }
        assert!(!is_up(NAME), "a backup takes nothing: {shown}");
        assert_eq!(
            (setting("lan0", "arp_ignore"), setting("lan0", "arp_announce")),
            ("1".into(), "2".into())
        );
        let filters = ["all", "lan0", "lan1", NAME, "default"].map(|name| setting(name, "rp_filter"));
        assert_eq!(filters, ["0", "1", "2", "0", "1"]);

        let own = virtual_address();
        network.install(&own, Some(Duration::from_secs(30))).unwrap();
        assert!(is_up(NAME));
        let shown = ip(&format!("-d address show dev {NAME}"));
        assert!(shown.contains("10.9.0.100/24") && !shown.contains("inet6"), "{shown}");
        let routes = ip("route show 10.9.0.0/24");
        assert!(
            routes.lines().next().unwrap().contains("dev lan0"),
            "the host's own way out stays: {routes}"
        );
        assert!(ip("route get 10.9.0.77").contains("src 10.9.0.1 "));

        ip(&format!("link set {NAME} down"));
        look_until(
            &mut network,
            |finding| matches!(finding, Finding::Interface { name, state: Some(state) } if name == NAME && !state.running),
        );
        network.install(&own, Some(Duration::from_secs(30))).unwrap();
        assert!(is_up(NAME), "a renewal brings it up again");

        assert!(network.remove(&own).unwrap());
        assert!(!is_up(NAME));
        assert_eq!(network.close(), [""; 0]);
        assert!(!ip("link show").contains(NAME));
        let settings = ["arp_ignore", "arp_announce", "rp_filter"].map(|name| setting("lan0", name));
        assert_eq!(settings, ["0", "0", "0"], "as they were");
        assert_eq!((setting("all", "rp_filter"), setting("default", "rp_filter")), ("1".into(), "0".into()));
    });
}

#[test]
fn settings_that_somebody_else_changed_stay() {
    in_namespace("virtual_mac::settings_that_somebody_else_changed_stay", || {
        fs::write("/proc/sys/net/ipv4/conf/lan0/arp_announce", "2").unwrap();
        let network = open("lan0", NAME);
        fs::write("/proc/sys/net/ipv4/conf/lan0/arp_ignore", "2").unwrap();
        assert_eq!(network.close(), [""; 0]);
        assert_eq!(
            (setting("lan0", "arp_ignore"), setting("lan0", "arp_announce")),
            ("2".into(), "2".into())
        );
    });
}

#[test]
fn what_a_killed_daemon_left_is_replaced_and_what_is_anothers_is_not() {
    in_namespace("virtual_mac::what_a_killed_daemon_left_is_replaced_and_what_is_anothers_is_not", || {
        let mut killed = open("lan0", NAME);
        killed.install(&virtual_address(), None).unwrap();
        let network = open("lan0", NAME);
        assert!(!ip(&format!("address show dev {NAME}")).contains("10.9.0.100"), "the address is gone");
        network.close();

        ip(&format!("link add {NAME} link lan0 address 02:00:00:00:00:01 type macvlan mode bridge"));
        let mut network = Network::open(&virtual_plan("lan0", NAME)).unwrap();
        let trouble = look_until(&mut network, |finding| matches!(finding, Finding::Trouble(_)));
        let expected = format!("cannot make interface {NAME} on lan0: another interface has this name");
        assert_eq!(trouble, Finding::Trouble(expected));
        network.close();
        assert!(ip("link show").contains("02:00:00:00:00:01"));
    });
}

#[test]
fn it_comes_back_with_the_interface_below_and_by_itself() {
    in_namespace("virtual_mac::it_comes_back_with_the_interface_below_and_by_itself", || {
        let mut network = open("lan0", NAME);
        let own = virtual_address();
        network.install(&own, None).unwrap();
        ip(&format!("link delete {NAME}"));
        let gone = Finding::AddressGone { interface: NAME.to_owned(), address: own.address };
        look_until(&mut network, |finding| *finding == gone);
        network.install(&own, None).unwrap();
        assert!(is_up(NAME));

        ip("link delete lan0");
        look_until(&mut network, |finding| *finding == gone);
        assert!(network.install(&own, None).is_err());
        ip("link add lan0 type veth peer name lan1");
        ip("link set lan0 up");
        look_until(
            &mut network,
            |finding| matches!(finding, Finding::Interface { name, state: Some(_) } if name == NAME),
        );
        network.install(&own, None).unwrap();
        assert!(ip(&format!("link show dev {NAME}")).contains(MAC));
    });
}

/// Whole, checksums included: nothing fills them in on the way of a frame.
fn advert(source: IpAddr) -> Vec<u8> {
    let advert = Advert {
        source,
        destination: GROUP,
        ttl: LAN_TTL,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(100),
        interval: Centis::new(100),
        addresses: vec![virtual_address().address],
        form: Form::V2 { authentication: Authentication::None },
        trailer: None,
    };
    encode(&advert, 1)
}

fn bridge(arguments: &str) -> String {
    let output =
        Command::new("bridge").args(arguments.split(' ')).output().expect("`bridge` of iproute2 runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn adverts_of_a_router_with_the_same_mac_are_heard_and_lead_the_switch() {
    in_namespace("virtual_mac::adverts_of_a_router_with_the_same_mac_are_heard_and_lead_the_switch", || {
        // Two balancers on a switch, in one namespace: accept what claims to come from ourselves.
        ip("link add switch type bridge mcast_snooping 0 forward_delay 0");
        ip("link set switch up");
        ip("link add lan2 type veth peer name port2");
        ip("link set lan1 master switch");
        ip("link set port2 master switch up");
        ip("address add 10.9.0.3/24 dev lan2");
        ip("link set lan2 up");
        for end in ["all", "lan0", "lan2"] {
            fs::write(format!("/proc/sys/net/ipv4/conf/{end}/accept_local"), "1").unwrap();
            fs::write(format!("/proc/sys/net/ipv4/conf/{end}/rp_filter"), "0").unwrap();
        }
        let (mut here, mut there) = (open("lan0", NAME), open("lan2", "vrrp1.51"));
        let hardware = HardwareAddress::of(Family::Ipv4, Vrid::new(51).unwrap());
        let port_of = || {
            bridge("fdb show br switch")
                .lines()
                .find(|line| line.starts_with(MAC))
                .map(|line| line.split(' ').nth(2).unwrap().to_owned())
        };
        // A port is of no use before the kernel has noticed that its cable is plugged.
        let deadline = Instant::now() + PATIENCE;
        while bridge("link show").matches("state forwarding").count() < 2 {
            assert!(Instant::now() < deadline, "{}", bridge("link show"));
            std::thread::yield_now();
        }
        // Active or backup, each hears the other, and the switch follows whoever spoke last.
        here.install(&virtual_address(), None).unwrap();
        let sent = advert(OWN.0);
        adverts(&here).send("lan0", Some(hardware), GROUP, &sent).unwrap();
        assert_eq!(receive_one(&mut there), ("lan2".to_owned(), sent));
        assert_eq!(port_of().as_deref(), Some("lan1"));
        let sent = advert("10.9.0.3".parse().unwrap());
        adverts(&there).send("lan2", Some(hardware), GROUP, &sent).unwrap();
        assert_eq!(receive_one(&mut here), ("lan0".to_owned(), sent));
        assert_eq!(port_of().as_deref(), Some("port2"));
        adverts(&here)
            .receive(|interface, datagram| panic!("{interface} heard its own advert: {datagram:?}"));
        adverts(&there)
            .receive(|interface, datagram| panic!("{interface} heard its own advert: {datagram:?}"));
    });
}
