//! What is said about the files of several balancers that do not fit together: one golden text for each code.

use mainstay_engine::config::diagnostic::Diagnostic;
use mainstay_engine::config::source::Sources;
use mainstay_engine::plan::{Authentication, Delivery};

use crate::config_support;
use crate::support::{differences, fixture, load};

/// The file of the balancer with this last byte in its address, with two peers.
fn balancer(own: u8, priority: u8) -> String {
    let peers: String =
        [1, 2].into_iter().filter(|peer| *peer != own).map(|peer| format!("    192.0.2.{peer}\n")).collect();
    format!(
        "vrrp_instance VI_1 {{\n  state BACKUP\n  interface eth0\n  virtual_router_id 51\n  priority {priority}\n  \
         advert_int 1\n  unicast_src_ip 192.0.2.{own}\n  unicast_peer {{\n{peers}  }}\n  authentication {{\n    \
         auth_type PASS\n    auth_pass hunter2\n  }}\n  virtual_ipaddress {{\n    192.0.2.10/24\n  }}\n}}\n"
    )
}

/// Two balancers that fit together, after `change` of the second one: pairs of texts in turn.
fn pair(change: &[(&str, &str)]) -> Vec<String> {
    let mut second = balancer(2, 100);
    for (from, to) in change {
        assert!(second.contains(from), "{from}");
        second = second.replace(from, to);
    }
    vec![balancer(1, 110), second]
}

/// The same change of both.
fn both(change: &[(&str, &str)], mut files: Vec<String>) -> Vec<String> {
    for file in &mut files {
        for (from, to) in change {
            *file = file.replace(from, to);
        }
    }
    files
}

/// Two balancers that sign, each with a key of its own.
fn different_keys() -> Vec<String> {
    let block = "  authentication {\n    auth_type PASS\n    auth_pass hunter2\n  }\n";
    let hmac = |key: &str| format!("  auth_hmac {{\n    key 1 {}\n    active_key 1\n  }}\n", key.repeat(5));
    vec![balancer(1, 110).replace(block, &hmac("hunter2")), balancer(2, 100).replace(block, &hmac("hunter3"))]
}

/// A name that starts with the code it shows, and the files that bring it up.
pub(crate) fn cases() -> Vec<(&'static str, Vec<String>)> {
    let third = || balancer(3, 90);
    let multicast = balancer(2, 100).replace("  unicast_peer {\n    192.0.2.1\n  }\n", "");
    vec![
        ("K060-different-version", pair(&[("advert_int 1", "advert_int 1\n  version 3")])),
        (
            "K060-version-for-all",
            vec![balancer(1, 110), format!("global_defs {{\n  vrrp_version 3\n}}\n{}", balancer(2, 100))],
        ),
        ("K061-different-authentication", {
            let block = "  authentication {\n    auth_type PASS\n    auth_pass hunter2\n  }\n";
            pair(&[(block, "")])
        }),
        ("K062-different-password", pair(&[("auth_pass hunter2", "auth_pass correct-horse")])),
        (
            "K062-different-rest-of-password",
            both(&[("hunter2", "hunter2-and-more")], pair(&[("hunter2", "hunter2-and-more")])),
        ),
        ("K062-different-keys", different_keys()),
        ("K063-different-interval", pair(&[("advert_int 1", "advert_int 2")])),
        (
            "K063-different-interval-v3",
            both(&[("state BACKUP", "version 3")], pair(&[("advert_int 1", "advert_int 0.1")])),
        ),
        ("K064-different-addresses", pair(&[("192.0.2.10/24", "192.0.2.11/24\n    192.0.2.12/24")])),
        ("K064-missing-address", {
            let [one, two] = <[String; 2]>::try_from(pair(&[])).expect("two");
            let many: String = (20..26).map(|last| format!("192.0.2.{last}/24\n    ")).collect();
            vec![one.replace("192.0.2.10/24", &format!("{many}192.0.2.10/24")), two]
        }),
        (
            "K064-excluded-addresses",
            pair(&[(
                "  virtual_ipaddress {",
                "  virtual_ipaddress_excluded {\n    192.0.2.30\n  }\n  virtual_ipaddress {",
            )]),
        ),
        ("K065-one-sided", pair(&[("    192.0.2.1\n", "    192.0.2.7\n")])),
        ("K065-third-balancer", vec![balancer(1, 110), balancer(2, 100), third()]),
        ("K066-different-delivery", vec![balancer(1, 110), multicast.clone()]),
        (
            "K066-different-group",
            vec![
                multicast.replace("192.0.2.2", "192.0.2.1").replace("100", "110"),
                multicast.replace("advert_int", "mcast_dst_ip 224.0.0.19\n  advert_int"),
            ],
        ),
        ("K067-equal-priority", pair(&[("priority 100", "priority 110")])),
        ("K067-priority-left-out", vec![balancer(1, 100), balancer(2, 9).replace("  priority 9\n", "")]),
        ("K068-two-masters", both(&[("BACKUP", "MASTER")], pair(&[]))),
        (
            "K069-preempted-anyway",
            vec![
                balancer(1, 110).replace("BACKUP", "MASTER"),
                balancer(2, 100).replace("BACKUP", "BACKUP\n  nopreempt"),
            ],
        ),
        ("K070-different-vrid", pair(&[("virtual_router_id 51", "virtual_router_id 15")])),
        (
            "K071-not-everywhere",
            vec![
                balancer(1, 110),
                balancer(2, 100)
                    + "vrrp_instance VI_2 {\n  interface eth0\n  virtual_router_id 52\n  virtual_ipaddress { 192.0.2.11 }\n}\n",
            ],
        ),
        ("K072-same-source", vec![balancer(1, 110), balancer(1, 100)]),
    ]
}

fn compared(files: &[String]) -> (Sources, Vec<Diagnostic>) {
    let names = ["lb1.conf", "lb2.conf", "lb3.conf"];
    let files: Vec<_> = names.into_iter().zip(files.iter().map(String::as_str)).collect();
    differences(&files)
}

#[test]
fn every_difference_is_named_with_both_places() {
    for (name, files) in cases() {
        let (sources, found) = compared(&files);
        let said = config_support::report(&sources, &found);
        let code = name.get(..4).expect("a code");
        assert!(found.iter().any(|found| found.code == code), "{name}:\n{said}");
        assert!(!format!("{said}{found:?}").contains("hunter2"), "{said}");
        config_support::assert_inside(&sources, &found);
        let both = |found: &Diagnostic| {
            found.related.iter().any(|(span, _)| Some(span.source) != found.span.map(|span| span.source))
        };
        assert!(found.iter().all(|found| found.code == "K071" || both(found)), "{said}");
        assert!(found.iter().all(|found| found.hint.is_some()), "{said}");
        insta::with_settings!({ description => files.join("\n"), omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, said);
        });
    }
}

/// Nothing is said of balancers that fit together, whatever else differs between them.
#[test]
fn what_may_differ_is_not_named() {
    let announcing = "advert_int 1\n  garp_master_delay 1\n  garp_master_refresh 60\n  preempt_delay 5";
    let fine = [
        pair(&[]),
        pair(&[("advert_int 1", announcing)]),
        pair(&[("eth0", "ens3"), ("VI_1", "another")]),
        pair(&[("192.0.2.10/24", "192.0.2.10/24 label eth0:1")]),
        pair(&[("unicast_src_ip 192.0.2.2", "mcast_src_ip 192.0.2.2")]),
        vec![fixture("recipe-lb1.conf"), fixture("recipe-lb2.conf")],
        both(&[("BACKUP", "BACKUP\n  nopreempt")], pair(&[])),
        pair(&[("BACKUP", "MASTER")]),
        pair(&[]).into_iter().take(1).collect(),
    ];
    for files in fine {
        let (sources, found) = compared(&files);
        assert!(found.is_empty(), "{files:#?}\n{}", config_support::report(&sources, &found));
    }
}

/// Two routers with one number on two interfaces are told apart by the interface.
#[test]
fn one_number_on_two_interfaces_is_two_routers() {
    let file = |own: u8, priority: u8| {
        let second = balancer(own, priority - 1)
            .replace("VI_1", "VI_2")
            .replace("eth0", "eth1")
            .replace("hunter2", "other");
        balancer(own, priority) + &second
    };
    let files = [file(1, 110), file(2, 100)];
    let (sources, found) = compared(&files);
    assert!(found.is_empty(), "{}", config_support::report(&sources, &found));
    let (_, found) = compared(&[files[0].clone(), files[1].replace("auth_pass other", "auth_pass another")]);
    assert_eq!(found.iter().map(|found| found.code).collect::<Vec<_>>(), ["K062"]);
}

/// The files that the cases are made of are what they seem.
#[test]
fn the_pair_is_a_unicast_group_with_a_password() {
    for text in pair(&[]) {
        let loaded = load(&text);
        assert!(!loaded.refused(), "{}", crate::support::report(&loaded));
        let router = &loaded.routers[0];
        assert!(matches!(router.authentication, Authentication::Password(_)));
        assert!(matches!(&router.delivery, Delivery::Unicast { peers, .. } if peers.len() == 1));
    }
}
