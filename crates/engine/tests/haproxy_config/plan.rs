//! Real haproxy.cfg files become the frontends and pools their authors meant.

use std::time::Duration;

use mainstay_engine::plan::{Algorithm, CheckKind, HttpCheck, Plan, Server, StatusRanges, TlsCheck, Verify};

use crate::support::{Loaded, fixture, fixtures, load, load_all, report};

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn plan_of(loaded: &Loaded) -> &Plan {
    loaded.plan.as_ref().unwrap_or_else(|| panic!("refused:\n{}", report(loaded)))
}

#[test]
fn the_recipe_behind_debians_defaults_becomes_what_it_promises() {
    let loaded = load(&fixture("debian-with-recipe.cfg"));
    let (frontend, pool) = loaded.only_pair();
    assert_eq!(frontend.name, "k8s-managers.kacangisnuts.com");
    let [bind] = frontend.binds.as_slice() else { panic!("one address: {frontend:?}") };
    assert_eq!(bind.address, "0.0.0.0:6443".parse().unwrap());
    assert_eq!((frontend.client_timeout, frontend.maxconn), (seconds(50), None));
    assert_eq!((pool.name.as_str(), pool.algorithm), ("k8s-managers", Algorithm::RoundRobin));
    assert_eq!((pool.connect_timeout, pool.server_timeout), (seconds(5), seconds(50)));
    assert_eq!((pool.queue_timeout, pool.tunnel_timeout), (seconds(5), None));
    assert_eq!((pool.retries, pool.redispatch, pool.all_backups), (3, true, false));
    assert_eq!(pool.servers.len(), 3);
    for (server, last) in pool.servers.iter().zip(151..) {
        assert_eq!(server.address, format!("192.168.2.{last}:6443").parse().unwrap());
        assert_eq!((server.weight, server.maxconn, server.maxqueue), (1, Some(20), None));
        let check = server.check.as_ref().expect("a check from default-server");
        assert_eq!((&check.kind, &check.tls, check.address), (&CheckKind::Connect, &None, server.address));
        assert_eq!((Some(check.interval), check.rise, check.fall), (seconds(2), 2, 3));
        assert_eq!((check.fast_interval, check.down_interval), (check.interval, check.interval));
        assert_eq!(Some(check.connect_timeout), seconds(2));
    }
    assert_eq!(plan_of(&loaded).maxconn, 0);
    assert!(loaded.says("H023"), "the frontend inherits mode http:\n{}", report(&loaded));
    assert!(loaded.says("H031"), "50 s cut watches:\n{}", report(&loaded));
}

#[test]
fn the_kubeadm_pair_checks_over_tls_without_asking_who_it_is() {
    let loaded = load(&fixture("kubeadm.cfg"));
    let (frontend, pool) = loaded.only_pair();
    assert_eq!(frontend.binds[0].address.port(), 8443);
    assert_eq!((pool.retries, pool.redispatch), (1, true));
    assert_eq!((pool.queue_timeout, pool.connect_timeout), (seconds(20), seconds(5)));
    for server in &pool.servers {
        let check = server.check.as_ref().expect("a check");
        let http = HttpCheck {
            request: "GET /healthz HTTP/1.0\r\n\r\n".to_owned(),
            expect: StatusRanges { ranges: vec![(200, 200)], negated: false },
        };
        assert_eq!(check.kind, CheckKind::Http(http));
        assert_eq!(check.tls, Some(TlsCheck { verify: Verify::None, server_name: None, alpn: Vec::new() }));
        assert_eq!((Some(check.connect_timeout), Some(check.answer_timeout)), (seconds(2), seconds(10)));
    }
    let forwarded = loaded.diagnostics.iter().filter(|diagnostic| diagnostic.code == "H028").count();
    assert_eq!(forwarded, 1, "{}", report(&loaded));
}

#[test]
fn named_defaults_and_every_parameter_reach_the_plan() {
    let loaded = load(&fixture("named-defaults.cfg"));
    let plan = plan_of(&loaded);
    assert_eq!(plan.spread_checks, 5);
    let (front, pool) = (&plan.frontends[0], &plan.pools[0]);
    let addresses: Vec<String> = front.binds.iter().map(|bind| bind.address.to_string()).collect();
    let expected = ["0.0.0.0:6443", "[::1]:6443", "192.0.2.1:7000", "192.0.2.1:7001", "192.0.2.1:7002"];
    assert_eq!(addresses, expected);
    assert_eq!(front.binds[4].interface.as_deref(), Some("eth0"));
    assert_eq!(front.maxconn, Some(500));
    assert_eq!((pool.retries, pool.redispatch, pool.all_backups), (0, false, true));
    assert_eq!((pool.tunnel_timeout, pool.queue_timeout), (seconds(12 * 3600), seconds(3)));
    let [m1, m2, m3] = pool.servers.as_slice() else { panic!("three servers") };
    assert_eq!((m1.slow_start, m1.maxconn, m1.shutdown_sessions_when_down), (seconds(2), None, true));
    assert_eq!((m2.backup, m3.disabled, m3.weight), (true, true, 256));
    let check = m1.check.as_ref().expect("a check");
    assert_eq!(check.fast_interval, Duration::from_millis(500));
    assert_eq!((Some(check.connect_timeout), check.answer_timeout), (seconds(1), Duration::from_millis(700)));
    let tls = check.tls.as_ref().expect("TLS");
    assert_eq!(tls.verify, Verify::Authority("/etc/ssl/certs/k8s.pem".to_owned()));
    assert_eq!(
        (tls.server_name.as_deref(), tls.alpn.as_slice()),
        (Some("kubernetes"), &["http/1.1".to_owned()][..])
    );
    let CheckKind::Http(http) = &check.kind else { panic!("an HTTP check: {check:?}") };
    assert_eq!(
        http.request,
        "GET /readyz HTTP/1.1\r\nHost: kube-apiserver\r\nUser-Agent: haproxy\r\nconnection: close\r\n\r\n"
    );
    assert!(http.expect.contains(403) && !http.expect.contains(401) && !http.expect.contains(503));
    let check = m2.check.as_ref().expect("a check");
    assert_eq!((check.address, &check.tls), ("192.0.2.112:6444".parse().unwrap(), &None));
}

#[test]
fn ipv6_wildcards_take_ipv4_only_where_nobody_else_does() {
    let dual = |binds: &str| -> Vec<bool> {
        let text = format!("listen l\n{binds} server a 10.0.0.1:1\n");
        let loaded = load(&text);
        loaded.only_pair().0.binds.iter().map(|bind| bind.dual_stack).collect()
    };
    assert_eq!(dual(" bind :::6443\n"), [true]);
    assert_eq!(dual(" bind [::]:6443 v6only\n"), [false]);
    assert_eq!(dual(" bind :6443\n bind ipv6@:6443\n"), [false, false]);
    assert_eq!(dual(" bind *:6443\n bind :::6444\n"), [false, true]);
    assert_eq!(dual(" bind [::1]:6443\n"), [false]);
}

#[test]
fn several_files_are_one_configuration() {
    let loaded = load_all(&[
        "defaults\n mode tcp\n timeout connect 3s\n",
        "listen l\n bind :1\n server a cp1:\"$API_PORT\" check\n",
    ]);
    let (_, pool) = loaded.only_pair();
    assert_eq!(pool.connect_timeout, seconds(3));
    assert_eq!(pool.servers[0].address, "192.0.2.11:6443".parse().unwrap());
    let in_address = load("listen l\n bind :$API_PORT\n server a cp1:${API_PORT}\n");
    assert_eq!(in_address.only_pair().0.binds[0].address.port(), 6443);
    assert!(load_all(&["defaults\n", "mode tcp\n"]).says("H009"), "a section ends with its file");
}

#[test]
fn words_are_cut_as_haproxy_cuts_them() {
    let request = |line: &str| {
        let loaded = load(&format!("listen l\n bind :1\n {line}\n server a 10.0.0.1:1 check\n"));
        let check = loaded.only_pair().1.servers[0].check.clone();
        match check.map(|check| check.kind) {
            Some(CheckKind::Http(http)) => http.request,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(request("option httpchk"), "OPTIONS / HTTP/1.0\r\n\r\n");
    assert_eq!(request("option httpchk get /healthz # comment"), "get /healthz HTTP/1.0\r\n\r\n");
    assert_eq!(request(r"option httpchk /a\ b\#c\x41"), "OPTIONS /a b#cA HTTP/1.0\r\n\r\n");
    assert_eq!(request(r#"option httpchk GET '/$X\n'"/$API_PORT""#), "GET /$X\\n/6443 HTTP/1.0\r\n\r\n");
    let with_host = "GET / HTTP/1.1\r\nHost: a\r\nconnection: close\r\n\r\n";
    assert_eq!(request(r"option httpchk GET / HTTP/1.1\r\nHost:\ a"), with_host);
}

#[test]
fn a_template_is_so_many_servers_of_one_name() {
    let loaded = load(
        "resolvers dns\n nameserver a 192.0.2.53:53\n nameserver b tcp@192.0.2.54:54\n hold nx 5s\n timeout resolve 2s\n \
         resolve_retries 4\n accepted_payload_size 8192\n\
         listen l\n bind :1\n default-server resolvers dns resolve-prefer ipv4 init-addr none\n \
         server-template cp 2-3 cp.test:6443 check\n server-template api 1 _api._tcp.test check\n server s cp1:1 resolvers dns init-addr libc\n",
    );
    let (_, pool) = loaded.only_pair();
    let shown = |server: &Server| {
        let lookup = server.lookup.as_ref().expect("a lookup");
        let kind = if lookup.service { "service" } else { "name" };
        format!("{} {} {kind} {} {:?}", server.name, server.address, lookup.name, lookup.prefer)
    };
    assert_eq!(
        pool.servers.iter().map(shown).collect::<Vec<_>>(),
        [
            "cp2 0.0.0.0:6443 name cp.test Ipv4",
            "cp3 0.0.0.0:6443 name cp.test Ipv4",
            "api1 0.0.0.0:0 service _api._tcp.test Ipv4",
            "s 192.0.2.11:1 name cp1 Ipv4",
        ]
    );
    let resolver = &loaded.plan.as_ref().expect("a plan").resolvers[0];
    let servers = resolver.name_servers.iter().map(|server| (server.address.to_string(), server.tcp));
    let expected = [("192.0.2.53:53".to_owned(), false), ("192.0.2.54:54".to_owned(), true)];
    assert_eq!(servers.collect::<Vec<_>>(), expected);
    let times = [resolver.hold.nx, resolver.hold.valid, resolver.interval, resolver.retry];
    assert_eq!(times.map(|time| time.as_secs()), [5, 10, 2, 1]);
    assert_eq!(resolver.tries, 4);
    assert_eq!(resolver.payload_bytes, 8192);
}

#[test]
fn the_reader_knows_where_it_is_and_what_files_set() {
    let text = "global\n setenv A one\n presetenv A two\n setenv B b\n resetenv A API_PORT\n\
                listen l\n.notice \"${.FILE}:${.LINE} ${.SECTION} $A ${B-gone} $API_PORT\"\n";
    let said = load(text).diagnostics;
    let said = said.iter().find(|diagnostic| diagnostic.code == "H033").expect("a notice");
    assert_eq!(said.message, "the file says: haproxy.cfg:7 l one gone 6443");
}

/// Files in the forms that are met in practice, as they are and with their authors' mistakes. The golden text is the
/// plan, and what was said about the file.
#[test]
fn files_as_people_write_them() {
    for name in fixtures() {
        let loaded = load(&fixture(&name));
        let plan = loaded.plan.as_ref().map_or_else(|| "refused".to_owned(), |plan| format!("{plan:#?}"));
        insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name.as_str(), format!("{}\n{plan}", report(&loaded)));
        });
    }
}
