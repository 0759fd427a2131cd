//! What holds for every text: reading and lowering neither panic nor point outside it, and show no password.

use proptest::prelude::*;

use crate::config_support::{assert_inside, mutation, refused};
use crate::support::{Loaded, load};

fn check(text: &str) -> Loaded {
    let loaded = load(text);
    assert_inside(&loaded.sources, &loaded.diagnostics);
    assert_eq!(loaded.plan.is_none(), refused(&loaded.diagnostics));
    for frontend in loaded.plan.iter().flat_map(|plan| &plan.frontends) {
        let pools = loaded.plan.iter().map(|plan| plan.pools.len()).sum::<usize>();
        assert!(frontend.pool.is_none_or(|pool| usize::from(pool.0) < pools), "{frontend:?} leads nowhere");
        assert!(
            !frontend.binds.is_empty()
                && frontend.binds.iter().all(|bind| bind.elsewhere.is_some() || bind.address.port() > 0)
        );
    }
    for (_, server) in loaded.plan.iter().flat_map(|plan| plan.servers()) {
        let told = server.lookup.as_ref().is_some_and(|lookup| lookup.service);
        assert!((told || server.address.port() > 0) && server.weight <= 256, "{server:?}");
        if let Some(check) = &server.check {
            assert!(
                (told || check.address.port() > 0)
                    && check.rise > 0
                    && check.fall > 0
                    && !check.interval.is_zero()
            );
        }
    }
    loaded
}

fn any_word() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(vec![
            "global\n", "defaults\n", "frontend f\n", "backend b\n", "listen l\n", "\n", "\n", "bind", "*:6443",
            "[::]:1-9", "server", "a", "10.0.0.1:6443", "check", "inter", "2s", "0", "99999999999", "timeout",
            "client", "connect", "mode", "tcp", "http", "default_backend", "use_backend", "option", "httpchk",
            "http-check", "send", "expect", "status", "200-299", "!", "hdr", "balance", "default-server", "no",
            "default", "\"", "'", "\\", "\\x4", "#", "$A", "\"${", "}\"", "${X}", "{{", "}}", ".if", ".else\n",
            ".endif\n", "defined(", "(((", "acl", "if", "unless", "{", "}", "!", "or", "src", "dst_port", "req.ssl_sni,lower", "-m", "reg", "-i", "-f", "ge", "1:9",
            "tcp-request", "content", "connection", "reject", "accept", "track-sc0", "table", "inspect-delay", "stick-table",
            "type", "ip", "size", "1k", "store", "conn_rate(1s)", "stick", "on", "use-server", "nbsrv(b)", "sc0_conn_rate",
            "srv_is_up(b/a)", "src_conn_rate(b)", "TRUE", "field(1,.)", "from", "maxconn", "stats", "auth", "x:y", "setenv", "peers",
            "resolvers", "d", "server-template", "_a._tcp.b", "nameserver", "hold", "init-addr", "none",
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
    fn mutated_files_are_read(text in mutation("haproxy_config", any_word())) {
        check(&text);
    }

    #[test]
    fn a_password_is_hidden_wherever_it_stands(
        password in "[a-zA-Z0-9!@%^&*]{8,20}",
        before in proptest::sample::select(vec![
            "listen s\n stats auth admin:", "userlist u\n user admin password ", "userlist u\n user admin insecure-password ",
            "userlist u\n user admin pasword ", "defaults\n stats auth admin:", "frontend f\n stats auth ",
        ]),
    ) {
        let loaded = check(&format!("{before}{password}\n nonsense\n"));
        let id = loaded.diagnostics.iter().find_map(|diagnostic| diagnostic.span).expect("a place").source;
        let masked = loaded.sources.masked_text(id);
        prop_assert!(!masked.unwrap().contains(&password));
        let said = format!("{:?}", loaded.diagnostics);
        prop_assert!(!said.contains(&password));
    }
}
