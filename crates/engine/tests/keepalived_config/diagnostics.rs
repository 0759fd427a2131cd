//! What is said about mistakes: one golden text for each code, and what no text may ever say.

use std::collections::BTreeSet;

use crate::support::{Loaded, load, report};

/// Puts `lines` into an instance that is otherwise complete.
fn instance(lines: &str) -> String {
    format!(
        "vrrp_script chk {{\n  script \"/etc/keepalived/check.sh\"\n}}\nvrrp_instance VI_1 {{\n  state BACKUP\n  \
         interface eth0\n  virtual_router_id 51\n  priority 100\n  virtual_ipaddress {{\n    192.0.2.10/24\n  }}\n  \
         track_script {{\n    chk\n  }}\n{lines}\n}}\n"
    )
}

/// A name that starts with the code it shows, and the text that brings it up.
fn cases() -> Vec<(&'static str, String)> {
    let plain = |name, text: &str| (name, text.to_owned());
    let inside = |name, lines: &str| (name, instance(lines));
    let mut cases = vec![
        plain(
            "K001-unclosed-block",
            "vrrp_script a {\n  script \"/bin/a\"\nvrrp_script b {\n  script \"/bin/b\"\n",
        ),
        inside("K002-stray-close", "}\n}"),
        plain("K003-stray-open", "{\n  interval 2\n}\n"),
        plain(
            "K004-unclosed-quote",
            "vrrp_script a {\n  script \"/bin/a\n}\nvrrp_script b { script \"/bin/b 'c\" }\n",
        ),
        plain("K005-include", "include /etc/keepalived/conf.d/*.conf\n"),
        inside("K006-condition", "@lb1 mcast_src_ip 192.0.2.1"),
        inside("K007-undefined-variable", "preempt_delay ${DELAY}"),
        plain("K007-sequence", "~SEQ(var, 1, 3) include file$var\n"),
        inside("K008-template", "version {{ version }}\n{% if lb %}\nadvert_int {{ advert }}\n{% endif %}"),
        plain("K009-nesting", &format!("{} {}", "a { ".repeat(20), "}".repeat(20))),
        plain("K009-expansion", &format!("$A={}\n$B={}\nx $B\n", "a".repeat(1000), "$A".repeat(100))),
        inside("K010-unknown-keyword", "prority 100\n  foo\n  interval 3\n  auth_pass hunter2"),
        plain("K010-unknown-block", "vrrp_instances V {\n  state MASTER\n}\npriority 100\n"),
        inside(
            "K011-not-acted-on",
            "notify_deleted \"/etc/notify.sh deleted\"\n  track_bfd {\n    p\n  }\n  smtp_alert",
        ),
        plain(
            "K011-other-parts",
            "bfd_instance B {\n  neighbor_ip 10.0.0.2\n}\nvirtual_server 10.0.0.1 80 {\n}\n",
        ),
        plain(
            "K012-no-effect",
            "global_defs {\n  router_id LVS_DEVEL\n  dynamic_interfaces\n  enable_script_security\n}\n",
        ),
        inside(
            "K013-refused",
            "use_ipvlan\n  vrf blue\n  authentication {\n    auth_type AH\n    auth_pass hunter2\n  }",
        ),
        plain(
            "K014-value-count",
            "vrrp_script a {\n  script killall -0 haproxy\n  interval\n  rise 2 fall 3\n}\n",
        ),
        inside(
            "K015-bad-value",
            "advert_int 1s\n  state MASTER;\n  unicast_src_ip lb1\n  virtual_ipaddress {\n    10.0.0\n    10.0.0.2 scope everywhere brd x\n  }",
        ),
        plain(
            "K015-bad-group",
            "global_defs {\n  vrrp_mcast_group4 192.0.2.1\n  vrrp_mcast_group6 224.0.0.18\n}\n",
        ),
        inside(
            "K016-out-of-range",
            "advert_int 300\n  virtual_ipaddress {\n    10.0.0.2/33\n    10.0.0.3 label eth0:much-too-long\n  }\n  track_interface {\n    eth1 weight 300\n  }",
        ),
        inside("K017-given-twice", "priority 101"),
        inside("K018-block-expected", "authentication\n  priority {\n    3\n  }\n  track_script chk"),
        plain(
            "K020-missing",
            "vrrp_instance V {\n  authentication {\n  }\n}\nvrrp_script a {\n  script \"\"\n}\nvrrp_script b {\n}\n",
        ),
        plain("K021-same-name", "vrrp_script a { script \"/bin/a\" }\nvrrp_script a { script \"/bin/b\" }\n"),
        inside("K023-undefined-script", "track_script {\n    chck\n    other\n  }"),
        plain(
            "K024-late-script",
            "vrrp_instance V {\n  interface eth0\n  virtual_router_id 1\n  virtual_ipaddress { 10.0.0.1 }\n  track_script { late }\n}\nvrrp_script late { script \"/bin/true\" }\n",
        ),
        plain("K025-unused-script", "vrrp_script a { script \"/bin/a\" }\n"),
        inside(
            "K026-long-password",
            "authentication {\n    auth_type PASS\n    auth_pass correct-horse\n  }",
        ),
        inside("K027-cut-password", "authentication {\n    auth_type PASS\n    auth_pass P@##D321!\n  }"),
        inside(
            "K028-useless-password",
            "version 3\n  authentication {\n    auth_type PASS\n    auth_pass hunter2\n  }",
        ),
        inside("K029-preempt-conflict", "state MASTER\n  nopreempt\n  preempt_delay 5"),
        inside("K029-nopreempt-with-delay", "nopreempt\n  preempt_delay 5"),
        plain(
            "K030-owner-by-default",
            "vrrp_instance V {\n  interface eth0\n  state MASTER\n  virtual_router_id 1\n  virtual_ipaddress { 10.0.0.1 }\n}\n",
        ),
        inside("K031-rounded-v2", "advert_int 0.5"),
        inside("K031-rounded-v3", "version 3\n  advert_int 0.333"),
        inside("K032-no-peers", "unicast_src_ip 192.0.2.1"),
        inside("K032-no-peers-forbidden", "unicast_fault_no_peer\n  unicast_peer {\n  }"),
        inside(
            "K037-address-clash",
            "unicast_src_ip 192.0.2.1\n  unicast_peer {\n    192.0.2.1\n  }\n  virtual_ipaddress_excluded {\n    192.0.2.10\n  }",
        ),
        inside(
            "K038-tracked-twice",
            "track_script {\n    chk weight 2\n  }\n  track_interface {\n    eth0\n    eth1\n    eth1\n  }",
        ),
    ];
    cases.extend(hmac_cases());
    let two = instance("") + &instance("").replace("VI_1", "VI_2").replace("chk", "chk2");
    cases.push(("K022-same-vrid", two));
    let script = |name, line: &str| (name, instance("").replace("script \"/etc/keepalived/check.sh\"", line));
    cases.extend([
        script("K033-data-plane", "script \"/usr/bin/killall -0 haproxy\""),
        script("K034-shell-syntax", "script \"/usr/bin/curl -sf https://localhost:6443/healthz || exit 1\""),
        script("K035-looks-for-haproxy", "script \"systemctl is-active haproxy\""),
        script("K036-odd-time", "script \"/bin/a\"\n  interval 3000"),
        ("K080-mixed-families", instance("").replace("192.0.2.10/24", "192.0.2.10/24\n    2001:db8::1/64")),
        (
            "K080-mixed-peers",
            instance("unicast_src_ip 192.0.2.1\n  unicast_peer {\n    2001:db8::2\n    fe80::2 min_ttl 255 max_ttl 254\n  }\n  version 2")
                .replace("192.0.2.10/24", "2001:db8::1/64 brd +"),
        ),
        ("K110-vmac-address", instance("use_vmac vrrp51 02:00:00:00:00:01")),
        ("K111-vmac-name", instance("use_vmac eth0")),
        ("K111-vmac-prefix", instance("use_vmac") + "global_defs {\n  vmac_prefix balancer-address\n}\n"),
        ("K112-vmac-unicast", instance("use_vmac\n  unicast_peer {\n    192.0.2.2\n  }")),
        (
            "K113-routing-sense",
            instance("virtual_routes {\n    198.51.100.0/24\n    via 192.0.2.1\n    blackhole default dev eth0\n    default via fe80::1\n    default via 192.0.2.1 onlink\n  }\n  virtual_rules {\n    from 192.0.2.10 priority 1\n    from 192.0.2.10 table 7 prohibit priority 2\n  }"),
        ),
        (
            "K114-routing-families",
            instance("virtual_routes {\n    inet6 default via 192.0.2.1\n    198.51.100.0/24 via 2001:db8::1\n  }\n  virtual_rules {\n    from 192.0.2.10 to 2001:db8::/32 table 7 priority 1\n  }"),
        ),
        ("K115-host-bits", instance("virtual_routes {\n    198.51.100.1/24 dev eth0\n    2001:db8::1/64 dev eth0\n  }")),
        ("K116-rule-priority", instance("virtual_rules {\n    from 192.0.2.10 table 7\n    to 198.51.100.0/24 table 7\n  }")),
        (
            "K117-routing-name",
            instance("virtual_routes {\n    default via 192.0.2.1 table uplink protocol bird\n    default via 192.0.2.1 proto static table 7\n    default via 192.0.2.1 nexthop via 192.0.2.2\n    default via 192.0.2.1 advmss 1400 metric high track_group G\n    default via\n  }"),
        ),
        script("K039-init-fail", "script \"/bin/a\"\n  init_fail"),
    ]);
    cases.extend(groups_and_tracking());
    cases
}

/// A key as long as they have to be.
const KEY: &str = "hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn hmac(lines: &str) -> String {
    instance(&format!("  auth_hmac {{\n{}\n  }}", lines.replace("KEY", KEY)))
}

fn hmac_cases() -> Vec<(&'static str, String)> {
    let case = |name, lines: &str| (name, hmac(lines));
    vec![
        case("K007-environment", "    key 1 file:${_ENV NO_DIRECTORY}/vrrp\n    active_key 1"),
        case("K010-in-auth-hmac", "    key 1 KEY\n    active_key 1\n    hunter2\n    active_kye 1"),
        case("K012-window", "    key 1 KEY\n    active_key 1\n    anti_replay monotonic\n    time_window 9"),
        case("K014-in-auth-hmac", "    key hunter2\n    key 1 hunter2 hunter2\n    active_key\n    mode"),
        case(
            "K015-in-auth-hmac",
            "    key 1 KEY\n    active_key hunter2\n    anti_replay hunter2\n    mode hunter2",
        ),
        case(
            "K016-in-auth-hmac",
            "    key 256 KEY\n    key hunter2 KEY\n    active_key 0\n    time_window 301",
        ),
        case("K020-no-key", "    mode permissive"),
        case("K027-cut-key", "    key 1 hunter2-hunter2-hunter2-hunter2-#1\n    active_key 1"),
        case(
            "K040-key-length",
            &format!(
                "    key 1 hunter2\n    key 2 KEY{}\n    key 3 file:/keys/short\n    active_key 1",
                &KEY[4..].repeat(2)
            ),
        ),
        case("K041-key-digits", "    key 1 KEYx\n    key 2 KEYzz\n    active_key 1"),
        case("K042-key-twice", "    key 1 KEY\n    key 1 KEY\n    active_key 1"),
        case("K043-undefined-key", "    key 1 KEY\n    key 2 KEY\n    active_key 3"),
        case(
            "K044-two-authentications",
            "    key 1 KEY\n    active_key 1\n  }\n  authentication {\n    auth_type PASS\n    auth_pass hunter2",
        ),
        case("K045-key-file", "    key 1 file:/keys/missing\n    active_key 1"),
        case("K046-open-key-file", "    key 1 file:/keys/open\n    active_key 1"),
    ]
}

/// Two instances on two LANs; `lines` go into the second one.
fn two(lines: &str) -> String {
    let second = instance(lines).split_once("vrrp_instance").map(|(_, instance)| instance.to_owned());
    let second = second.expect("an instance").replace("VI_1", "VI_2").replace("eth0", "eth1");
    format!("{}vrrp_instance{second}", instance(""))
}

fn groups_and_tracking() -> Vec<(&'static str, String)> {
    let group = |lines: &str| format!("vrrp_sync_group G {{\n  group {{\n    VI_1 VI_2\n  }}\n{lines}\n}}\n");
    let tracked = "track_file f {\n  file /run/f\n}\nvrrp_track_process p {\n  process nginx\n}\n";
    let inside = |name, lines: &str| (name, tracked.to_owned() + &instance(lines));
    vec![
        ("K090-undefined-member", two("") + "vrrp_sync_group G {\n  group {\n    VI_1\n    VI_3\n  }\n}\n"),
        ("K091-member-twice", two("") + &group("") + &group("").replace(" G ", " H ")),
        ("K092-lonely-member", instance("") + &group("").replace(" VI_2", "")),
        (
            "K093-group-weight",
            tracked.to_owned()
                + &two("track_interface {\n    eth2 weight -20\n  }\n  track_file {\n    f\n  }")
                + &group(""),
        ),
        ("K094-mixed-owners", two("priority 255") + &group("")),
        ("K095-free-weights", two("") + &group("  global_tracking")),
        inside("K096-undefined-tracked", "track_file {\n    g\n  }\n  track_process {\n    q weight 2\n  }"),
        inside("K097-untracked", ""),
        (
            "K098-data-plane-process",
            "vrrp_track_process p {\n  process haproxy\n  weight 10\n  delay 2\n}\n".to_owned()
                + &instance("track_process {\n    p\n  }"),
        ),
        (
            "K099-quorum",
            "vrrp_track_process p {\n  process nginx\n  quorum 3\n  quorum_max 2\n}\n".to_owned()
                + &instance("track_process {\n    p weight 300\n  }"),
        ),
        (
            "K100-fifo",
            "global_defs {\n  notify_fifo_script \"/bin/a\"\n  vrrp_notify_fifo /run/b\n}\n".to_owned(),
        ),
        ("K100-fifo-twice", "global_defs {\n  notify_fifo /run/b\n  vrrp_notify_fifo /run/b\n}\n".to_owned()),
        (
            "K101-strict",
            instance(
                "strict_mode\n  state MASTER\n  preempt_delay 5\n  down_timer_adverts 5\n  higher_prio_send_advert\n  \
                 lower_prio_no_advert no\n  garp_lower_prio_repeat 3\n  authentication {\n    auth_type PASS\n    \
                 auth_pass hunter2\n  }",
            ),
        ),
        ("K101-strict-unicast", instance("strict_mode\n  unicast_peer {\n    192.0.2.2\n  }")),
    ]
}

#[test]
fn every_code_says_what_is_wrong_and_how_to_mend_it() {
    for (name, text) in cases() {
        let loaded = load(&text);
        let code = name.get(..4).expect("a code");
        assert!(
            loaded.diagnostics.iter().any(|diagnostic| diagnostic.code == code),
            "{name}: {code} is not among\n{}",
            report(&loaded)
        );
        insta::with_settings!({ description => text.clone(), omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, report(&loaded));
        });
    }
}

#[test]
fn every_code_has_a_case() {
    let source = include_str!("../../src/config/keepalived/codes.rs");
    let codes: BTreeSet<&str> =
        source.split('"').filter(|part| part.len() == 4 && part.starts_with('K')).collect();
    let cases = cases();
    let names = cases.iter().map(|(name, _)| *name);
    let names = names.chain(crate::compare::cases().into_iter().map(|(name, _)| name));
    let names = names.chain(crate::host::cases().into_iter().map(|(name, _)| name));
    let covered: BTreeSet<&str> = names.filter_map(|name| name.get(..4)).collect();
    assert_eq!(codes, covered);
}

/// Everything a diagnostic holds in words, and the lines it points at as they may be shown.
fn said(loaded: &Loaded) -> String {
    let masked = loaded.sources.masked_text(loaded.id).expect("the text");
    format!("{}{:?}{masked}", report(loaded), loaded.diagnostics)
}

#[test]
fn no_password_is_ever_shown() {
    for lines in [
        "authentication {\n auth_type PASS\n auth_pass hunter2\n}",
        "authentication {\n auth_type PASS\n uth_pass hunter2\n}",
        "authentication {\n auth_type PASS\n auth_pass\n hunter2\n}",
        "authentication {\n auth_type PASS\n auth_pass x hunter2\n}",
        "authentication {\n auth_type PASS\n auth_pass P#hunter2\n}",
        "authentication {\n auth_type PASS\n auth_pass \"hunter2\n}",
        "authentication { auth_type PASS auth_pass hunter2 }",
        "authentication {\n auth_type hunter2\n}",
        "authentication\n{\n auth_type PASS\n auth_pass averylonghunter2\n}",
        "autentication {\n auth_type PASS\n auth_pass hunter2\n}",
        "authentication {\n auth_type PASS\n password hunter2\n}",
        "auth_pass hunter2",
        "auth_hmac {\n key 1 hunter2\n}",
        "auth_hmac {\n key hunter2\n active_key 1\n}",
        "auth_hmac {\n key hunter2 hunter2\n active_key 1\n}",
        "auth_hmac {\n key 1\n hunter2\n}",
        "auth_hmac {\n keyy 1 hunter2\n active_key hunter2\n}",
        "auth_hmac {\n mode hunter2\n anti_replay hunter2\n time_window hunter2\n}",
        "auth_hmac {\n key 1 file:${_ENV CREDENTIALS_DIRECTORY}/vrrp\n kee 2 hunter2\n}",
        "auth_hmac {\n key 1 file:/keys/missing hunter2\n active_key 1\n}",
        "auth_hmac {\n key 1 file:/keys/short\n active_key 1\n}",
        "auth_hmac {\n key 1 file:/keys/ascii\n active_key 1\n}",
        "auth_hmac { key 1 hunter2 active_key 1 }",
        "auth_hmacs {\n kex 1 hex:hunter2\n}",
        "auth_hmac {\n key 1 P#hunter2\n",
        "authentication {\n auth_pass hunter2\n auth_pass hunter2\n",
    ] {
        let loaded = load(&instance(lines));
        let said = said(&loaded);
        assert!(!said.contains("hunter2"), "{lines}\n{said}");
        let masked = loaded.sources.masked_text(loaded.id).expect("the text");
        assert_eq!(masked.len(), instance(lines).len());
        assert!(masked.contains("virtual_router_id 51"), "only passwords are hidden:\n{masked}");
    }
}
