//! Real keepalived.conf files become the scripts and routers their authors meant.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::support::{fixture, fixtures, load, report};
use mainstay_engine::plan::hmac::{AntiReplay, HmacMode};
use mainstay_engine::plan::{
    Authentication, Delivery, Preempt, Priority, Router, Scope, ScriptCommand, ScriptId, TrackEffect,
    TrackScript, UnicastPeer, Version,
};
use mainstay_engine::time::Centis;

fn only_router(text: &str) -> Router {
    let loaded = load(text);
    let [router] = <[Router; 1]>::try_from(loaded.routers).expect("one router");
    router
}

#[test]
fn the_recipe_becomes_what_it_promises() {
    for (name, priority, own, peer) in
        [("recipe-lb1.conf", 120, 141, 142), ("recipe-lb2.conf", 100, 142, 141)]
    {
        let loaded = load(&fixture(name));
        assert!(!loaded.refused(), "{}", report(&loaded));
        let [script] = loaded.scripts.as_slice() else { panic!("one script: {:?}", loaded.scripts) };
        assert_eq!(script.name, "chk_haproxy");
        assert_eq!(script.command, ScriptCommand::DataPlaneServes { written: "pgrep haproxy".to_owned() });
        assert_eq!((script.interval, script.timeout), (Duration::from_secs(2), Duration::from_secs(2)));
        assert_eq!((script.rise, script.fall, script.weight), (3, 2, 0));
        let [router] = loaded.routers.as_slice() else { panic!("one router: {:?}", loaded.routers) };
        assert_eq!((router.name.as_str(), router.interface.as_str()), ("vrrp33", "ens160"));
        assert_eq!((router.vrid.get(), router.priority), (33, Priority(priority)));
        assert_eq!((router.version, router.advert_interval), (Version::V2, Centis::new(100)));
        assert_eq!(router.source, Some(Ipv4Addr::new(192, 168, 2, own).into()));
        let peers =
            vec![UnicastPeer { address: Ipv4Addr::new(192, 168, 2, peer).into(), min_ttl: 0, max_ttl: 255 }];
        assert_eq!(router.delivery, Delivery::Unicast { peers, ttl: 255, only_peers: false });
        assert!(router.authentication == Authentication::Password(*b"<PASSWOR"));
        assert_eq!(router.preempt, Preempt::After(Duration::ZERO));
        let effect = TrackEffect { weight: 0, reverse: false };
        assert_eq!(router.track_scripts, [TrackScript { script: ScriptId(0), effect }]);
        let [address] = router.addresses.as_slice() else { panic!("one address: {:?}", router.addresses) };
        assert_eq!(address.address, IpAddr::V4(Ipv4Addr::new(192, 168, 2, 140)));
        assert_eq!((address.prefix_length, address.interface.as_str()), (24, "ens160"));
        assert_eq!((address.label.as_deref(), address.scope), (Some("ens160:1"), Scope::Global));
        assert_eq!((router.announce.repeat, router.announce.delay), (5, Duration::from_secs(5)));
        assert_eq!(router.announce.refresh, None);
    }
}

#[test]
fn an_instance_that_says_little_gets_keepaliveds_defaults() {
    let router = only_router(
        "vrrp_instance V{\ninterface eth0\nvirtual_router_id 7\nvirtual_ipaddress { 10.0.0.9 }\n}",
    );
    assert_eq!((router.priority, router.version), (Priority(100), Version::V2));
    assert_eq!(router.delivery, Delivery::Multicast { group: Ipv4Addr::new(224, 0, 0, 18).into() });
    assert_eq!((router.source, router.authentication), (None, Authentication::None));
    assert_eq!(router.addresses[0].prefix_length, 32);
}

#[test]
fn keys_come_from_the_file_itself_or_from_others() {
    let block = |lines: &str| {
        only_router(&format!(
            "vrrp_instance V {{\n interface eth0\n virtual_router_id 7\n virtual_ipaddress {{ 10.0.0.9 }}\n \
             auth_hmac {{\n{lines}\n}}\n}}"
        ))
        .authentication
    };
    let of_others = block(
        "key 1 file:${_ENV CREDENTIALS_DIRECTORY}/vrrp\nkey 2 file:/keys/ascii\nactive_key 2\nmode receive-only",
    );
    let of_itself = block(
        "key 2 hunter2-and-more-of-it-up-to-32-b\nmode receive-only\nactive_key 2\ntime_window 5\n\
         key 1 hex:A5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5",
    );
    let Authentication::Hmac(hmac) = &of_itself else { panic!("{of_itself:?}") };
    assert_eq!((hmac.active.id().get(), hmac.others.len()), (2, 1));
    assert_eq!(hmac.anti_replay, AntiReplay::Time { window: Duration::from_secs(5) });
    assert_eq!(hmac.mode, HmacMode::ReceiveOnly);
    assert!(of_itself == of_others);
    assert!(of_itself != block("key 2 hunter2-and-more-of-it-up-to-32-c\nactive_key 2\nmode receive-only"));
}

/// Files in the forms that are met in practice, as they are and with their authors' mistakes. The golden text is the
/// plan, and what was said about the file.
#[test]
fn files_as_people_write_them() {
    for name in fixtures() {
        let loaded = load(&fixture(&name));
        let plan = format!("{:#?}\n{:#?}", loaded.scripts, loaded.routers);
        let verdict = if loaded.refused() { "refused" } else { "accepted" };
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name.as_str(), format!("{verdict}\n\n{}\n{plan}", report(&loaded)));
        });
    }
}

#[test]
fn addresses_and_scripts_take_every_form() {
    let router = only_router(
        "$A=10.0.0.1\nvrrp_instance V { \n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n ${A}/8 brd -\n \
         10.0.0.2/30 brd + label \"eth0:a\"\n 10.0.0.3 scope nowhere dev \\\n eth9\n } }",
    );
    let broadcasts: Vec<_> = router.addresses.iter().map(|address| address.broadcast).collect();
    let expected = [Some(Ipv4Addr::new(10, 0, 0, 0)), Some(Ipv4Addr::new(10, 0, 0, 3)), None];
    assert_eq!(broadcasts, expected);
    assert_eq!(router.addresses[1].label.as_deref(), Some("eth0:a"));
    assert_eq!(
        (router.addresses[2].scope, router.addresses[2].interface.as_str()),
        (Scope::Other(255), "eth9")
    );
}

#[test]
fn a_virtual_mac_takes_the_addresses_with_it_and_is_named_as_keepalived_names_it() {
    let text = |name: &str, vmac: &str, addresses: &str| {
        format!(
            "vrrp_instance {name} {{\n interface eth0\n virtual_router_id 7\n {vmac}\n virtual_ipaddress {{\n \
             {addresses}\n }}\n virtual_ipaddress_excluded {{\n 2001:db8::9\n 10.0.0.8 dev eth0\n 10.0.0.7 dev eth1\n }}\n }}\n"
        )
    };
    let six = text("C", "use_vmac\nvmac_xmit_base", "2001:db8::1/64");
    let six = six.replace("2001:db8::9", "10.0.0.6");
    let other = text("B", "use_vmac", "10.1.0.9").replace("eth0", "eth2");
    let named = text("D", "use_vmac vip", "10.0.0.4").replace("router_id 7", "router_id 8");
    let loaded = load(&(text("A", "use_vmac", "10.0.0.9") + &other + &six + &named));
    assert!(!loaded.refused(), "{}", report(&loaded));
    let macs: Vec<_> = loaded
        .routers
        .iter()
        .map(|router| router.virtual_mac.as_ref().expect("a MAC"))
        .map(|mac| (mac.interface.as_str(), mac.address.to_string(), mac.transmit_on_base))
        .collect();
    let expected = [
        ("vrrp.7", "00:00:5e:00:01:07", false),
        ("vrrp1.7", "00:00:5e:00:01:07", false),
        ("vrrp6.7", "00:00:5e:00:02:07", true),
        ("vip", "00:00:5e:00:01:08", false),
    ];
    assert_eq!(macs, expected.map(|(name, address, on_base)| (name, address.to_owned(), on_base)));
    let first = &loaded.routers[0];
    let places: Vec<_> =
        first.addresses.iter().chain(&first.excluded_addresses).map(|own| own.interface.as_str()).collect();
    assert_eq!(places, ["vrrp.7", "eth0", "vrrp.7", "eth1"], "another family and another interface stay");
}

#[test]
fn routes_and_rules_become_what_ip_would_say() {
    let router = only_router(
        "vrrp_instance V { \n interface eth0\n virtual_router_id 7\n virtual_ipaddress {\n 10.0.0.9/24\n }\n \
         virtual_routes {\n src 10.0.0.9 to 10.1.0.0/16 via 10.0.0.1 dev eth0\n 10.2.0.0/16 gw 10.0.0.1 table 100 metric 0x10 \
         protocol static mtu 1400\n blackhole 10.3.0.0/16 no_track\n 10.4.0.1 dev eth1 scope link\n \
         default via 172.16.0.1 dev eth0 onlink\n inet6 default via fe80::1 dev eth0\n }\n \
         virtual_rules {\n from 10.0.0.9 table 100 priority 5\n from all to 10.1.0.0/16 iif eth0 lookup main\n \
         from 10.5.0.0/16 prohibit no_track\n inet6 fwmark 5/0x7 oif eth0 table local\n }\n }",
    );
    let said: Vec<_> =
        router.routing.iter().map(|routing| (routing.entry.to_string(), routing.tracked)).collect();
    let expected = [
        ("route 10.1.0.0/16 via 10.0.0.1 dev eth0 src 10.0.0.9", true),
        ("route 10.2.0.0/16 via 10.0.0.1 table 100 metric 16", true),
        ("route blackhole 10.3.0.0/16", false),
        ("route 10.4.0.1 dev eth1", true),
        ("route default via 172.16.0.1 dev eth0", true),
        ("route default via fe80::1 dev eth0", true),
        ("rule from 10.0.0.9 lookup 100 priority 5", true),
        ("rule from all to 10.1.0.0/16 iif eth0 lookup 254 priority 16384", true),
        ("rule from 10.5.0.0/16 prohibit priority 16383", false),
        ("rule from all oif eth0 fwmark 0x5/0x7 lookup 255 priority 16384", true),
    ];
    assert_eq!(said, expected.map(|(text, tracked)| (text.to_owned(), tracked)));
}
