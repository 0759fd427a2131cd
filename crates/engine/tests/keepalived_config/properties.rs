//! What holds for every text: reading and lowering neither panic nor point outside it, and show no password.

use proptest::prelude::*;

use crate::config_support::{assert_inside, mutation};
use crate::support::{Loaded, differences, fixture, load};

fn check(text: &str) -> Loaded {
    let loaded = load(text);
    assert_inside(&loaded.sources, &loaded.diagnostics);
    let masked = loaded.sources.masked_text(loaded.id).expect("the text");
    assert_eq!(masked.len(), text.len());
    assert_eq!(masked.lines().count(), text.lines().count());
    let (sources, found) = differences(&[("one", &fixture("recipe-lb1.conf")), ("two", text)]);
    assert_inside(&sources, &found);
    if !loaded.refused() {
        for router in &loaded.routers {
            assert!(!router.addresses.is_empty() && !router.interface.is_empty(), "{router:?}");
            let scripts = loaded.scripts.len();
            assert!(router.track_scripts.iter().all(|tracked| usize::from(tracked.script.0) < scripts));
        }
    }
    loaded
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => proptest::sample::select(vec![
            "vrrp_instance", "vrrp_script", "global_defs", "V", "{", "}", "\n", "\n", "interface", "eth0", "priority",
            "virtual_router_id", "51", "virtual_ipaddress", "10.0.0.1/24", "track_script", "script", "authentication",
            "auth_type", "PASS", "auth_pass", "auth_hmac", "key", "1", "active_key", "file:/keys/open", "hex:",
            "anti_replay", "monotonic", "time_window", "mode", "permissive", "${_ENV CREDENTIALS_DIRECTORY}", "weight", "-2", "reverse", "advert_int", "0.5", "unicast_peer", "\"", "'",
            "\\", "#", "!", "$A=", "$A", "${A}", "${", "{{", "}}", "@x", "include", "state", "MASTER", "brd", "+",
        ]).prop_map(str::to_owned),
        1 => "[ -~]{0,6}",
        1 => "\\PC{0,3}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read(text in "\\PC{0,200}") {
        check(&text);
    }

    #[test]
    fn any_words_are_read(words in prop::collection::vec(any_word(), 0..80)) {
        check(&words.join(" "));
    }

    #[test]
    fn mutated_files_are_read(text in mutation("keepalived_config", any_word())) {
        check(&text);
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands(
        password in "[a-zA-Z0-9#!@$%^&*]{6,20}",
        keyword in proptest::sample::select(vec!["auth_pass", "auth_pas", "uth_pass", "auth_passs", "password"]),
    ) {
        let text = fixture("recipe-lb1.conf").replace("auth_pass <PASSWORD>", &format!("{keyword} {password}"));
        let loaded = check(&text);
        let masked = loaded.sources.masked_text(loaded.id).expect("the text");
        prop_assert!(!masked.contains(&password));
        let (_, found) = differences(&[("one", &fixture("recipe-lb1.conf")), ("two", &text)]);
        let said = format!("{:?}{found:?}", loaded.diagnostics);
        prop_assert!(!said.contains(&password));
    }

    #[test]
    fn a_key_is_hidden_wherever_it_stands(
        key in "[a-zA-Z0-9@$%^&*]{8,40}",
        line in proptest::sample::select(vec![
            "key 1 KEY", "key KEY", "key KEY KEY", "kye 1 KEY", "key 1\n KEY", "active_key KEY", "mode KEY", "KEY",
            "time_window KEY", "anti_replay KEY", "key 1 file:/keys/open\n kee 2 KEY", "key 1 hex:KEY", "key 1 \"KEY",
        ]),
        with_end: bool,
    ) {
        let block = format!("auth_hmac {{\n {}\n{}", line.replace("KEY", &key), if with_end { "}\n" } else { "" });
        let text = fixture("recipe-lb1.conf").replace("authentication {", &format!("{block}\n  authentication {{"));
        let loaded = check(&text);
        let masked = loaded.sources.masked_text(loaded.id).expect("the text");
        prop_assert!(!masked.contains(&key), "{masked}");
        let said = format!("{:?}{:?}", loaded.diagnostics, loaded.routers);
        prop_assert!(!said.contains(&key), "{said}");
    }
}
