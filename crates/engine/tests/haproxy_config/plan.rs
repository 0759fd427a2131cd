//! Real haproxy.cfg files become the frontends and pools their authors meant.

use std::time::Duration;

use mainstay_engine::plan::{
    Algorithm, Check, CheckKind, Expect, Expected, Plan, Server, StatusRanges, StepAction, TlsCheck, Verify,
};

use crate::support::{Loaded, fixture, fixtures, load, load_all, report};

fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

fn plan_of(loaded: &Loaded) -> &Plan {
    loaded.plan.as_ref().unwrap_or_else(|| panic!("refused:\n{}", report(loaded)))
}

/// A check that connects, asks and expects once.
struct Http {
    tls: Option<TlsCheck>,
    request: String,
    expect: Expect,
}

impl Http {
    fn of(check: &Check) -> Self {
        let CheckKind::Steps(steps) = &check.kind else { panic!("an HTTP check: {check:?}") };
        let actions: Vec<&StepAction> = steps.steps.iter().map(|step| &step.action).collect();
        let [StepAction::Connect(connect), StepAction::Request(request), StepAction::Expect(expect)] =
            actions.as_slice()
        else {
            panic!("three steps: {steps:?}")
        };
        Self { tls: connect.tls.clone(), request: request.text(), expect: Expect::clone(expect) }
    }
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
        let http = Http::of(check);
        assert_eq!(http.request, "GET /healthz HTTP/1.0\r\n\r\n");
        let only_200 = StatusRanges { ranges: vec![(200, 200)] };
        assert_eq!(http.expect, Expect::new(Expected::Status(only_200)));
        let tls = TlsCheck { verify: Verify::None, server_name: None, alpn: Vec::new(), certificate: None };
        assert_eq!(http.tls, Some(tls));
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
    let http = Http::of(check);
    let tls = http.tls.expect("TLS");
    assert_eq!(tls.verify, Verify::Authority("/etc/ssl/certs/k8s.pem".to_owned()));
    assert_eq!(
        (tls.server_name.as_deref(), tls.alpn.as_slice()),
        (Some("kubernetes"), &["http/1.1".to_owned()][..])
    );
    assert_eq!(
        http.request,
        "GET /readyz HTTP/1.1\r\nHost: kube-apiserver\r\nUser-Agent: haproxy\r\nconnection: close\r\n\r\n"
    );
    let Expected::Status(statuses) = http.expect.pattern else { panic!("statuses") };
    let passes = |status| statuses.contains(status) != http.expect.negated;
    assert!(passes(403) && !passes(401) && !passes(503));
    let check = m2.check.as_ref().expect("a check");
    assert_eq!((check.address, Http::of(check).tls), ("192.0.2.112:6444".parse().unwrap(), None));
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
        Http::of(&check.expect("a check")).request
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

/// The steps of the check of the only server, one word each.
fn steps(lines: &str) -> Vec<String> {
    let loaded = load(&format!("{lines}\n server a 10.0.0.1:1 check\n"));
    assert!(loaded.diagnostics.iter().all(|diagnostic| diagnostic.code != "H015"), "{}", report(&loaded));
    let plan = plan_of(&loaded);
    let check = plan.pools[0].servers[0].check.as_ref().expect("a check");
    let CheckKind::Steps(steps) = &check.kind else { panic!("steps: {check:?}") };
    let show = |action: &StepAction| match action {
        StepAction::Connect(connect) => format!("connect {:?}", connect.port),
        StepAction::Send(bytes) => format!("send {}", String::from_utf8_lossy(bytes)),
        StepAction::Request(request) => format!("{} {}", request.method, request.uri),
        StepAction::Expect(expect) => {
            format!("expect {}{:?}", if expect.negated { "! " } else { "" }, expect.pattern)
        }
    };
    let comment =
        |comment: &Option<String>| comment.as_ref().map_or_else(String::new, |text| format!(" #{text}"));
    let line = |step: &mainstay_engine::plan::Step| {
        format!("{}: {}{}", step.number, show(&step.action), comment(&step.comment))
    };
    steps.steps.iter().map(line).collect()
}

#[test]
fn steps_that_are_implied_and_comments_are_where_haproxy_has_them() {
    let tcp = "backend b\n option tcp-check\n tcp-check comment first\n tcp-check send PING\n tcp-check expect string +PONG\n";
    assert_eq!(
        steps(tcp),
        ["0: connect None", "2: send PING #first", "3: expect Text([43, 80, 79, 78, 71])"]
    );
    let binary = "backend b\n option tcp-check\n tcp-check connect port 7\n tcp-check send-binary 50494e47\n tcp-check expect ! binary 2d\n tcp-check connect";
    assert_eq!(
        steps(binary),
        ["1: connect Some(7)", "2: send PING", "3: expect ! Binary([45])", "4: connect None"]
    );
    let http = "backend b\n option httpchk GET /a\n http-check connect port 7\n http-check send uri /b\n http-check expect rstatus ^2\n http-check connect\n http-check send uri /c";
    let steps_of_http = steps(http);
    let short: Vec<&str> =
        steps_of_http.iter().map(|step| step.split(" (").next().unwrap_or_default()).collect();
    assert_eq!(short[..2], ["1: connect Some(7)", "2: GET /b"]);
    assert!(short[2].starts_with("3: expect StatusRegex"), "{short:?}");
    assert_eq!(short[3..5], ["4: connect None", "5: OPTIONS /c"]);
    assert!(short[5].starts_with("6: expect Status"), "{short:?}");
}

#[test]
fn lines_of_a_section_replace_all_that_it_would_inherit() {
    let defaults = "defaults\n option httpchk GET /d\n http-check expect status 200\n";
    assert_eq!(steps(&format!("{defaults}backend b\n"))[1], "1: GET /d");
    let own = steps(&format!("{defaults}backend b\n option httpchk GET /own\n"));
    assert_eq!(own[1], "1: GET /own");
    assert!(own[2].contains("(200, 399)"), "{own:?}");
    let text = format!("{defaults}backend b\n http-check expect status 204\n server a 10.0.0.1:1 check\n");
    assert!(load(&text).says("H077"), "it asks nothing, as with HAProxy");
}

#[test]
fn tracks_agents_and_observers_reach_the_plan() {
    let loaded = load(
        "backend a\n server x 10.0.0.1:1 check observe layer4 error-limit 3 on-error mark-down\n server y 10.0.0.2:1 track x on-marked-up shutdown-backup-sessions\nbackend b\n server z 10.0.0.3:1 track a/y init-state fully-down agent-check agent-port 9 agent-send hi\n",
    );
    let plan = plan_of(&loaded);
    let names: Vec<_> = plan.servers().map(|(id, server)| (id, server.track)).collect();
    assert_eq!((names[1].1, names[2].1), (Some(names[0].0), Some(names[1].0)));
    let server = |index: usize| plan.servers().nth(index).map(|(_, server)| server).expect("a server");
    assert_eq!(server(0).observe.map(|observe| observe.limit), Some(3));
    assert!(server(1).shutdown_backup_sessions_when_up);
    let agent = server(2).agent.as_ref().expect("an agent");
    assert_eq!((agent.address.to_string().as_str(), agent.send.as_str()), ("10.0.0.3:9", "hi"));
}
