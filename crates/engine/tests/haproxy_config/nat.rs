//! What of a haproxy.cfg the kernel can forward, and what is said of the rest.

use mainstay_engine::Plan;
use mainstay_engine::config;
use mainstay_engine::config::diagnostic::Diagnostic;
use mainstay_engine::config::source::Sources;
use mainstay_engine::plan::{FlowKey, Nat};

use crate::config_support;
use crate::support::surroundings;

const BEGIN: &str = "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n";

/// A frontend and a backend that the kernel can forward, with something more in each.
fn file(frontend: &str, backend: &str) -> String {
    format!(
        "{BEGIN}frontend api\n bind 10.0.0.100:6443\n{frontend} default_backend cp\n\
         backend cp\n{backend} server one 10.0.0.11:6443 check\n server two 10.0.0.12:6443 check\n"
    )
}

/// What becomes of a text, with these virtual addresses: the plan, what was said of forwarding, and that in a short form.
fn forward(text: &str, addresses: &[&str]) -> (Plan, Vec<Diagnostic>, String) {
    let mut sources = Sources::default();
    let haproxy = [sources.add("haproxy.cfg", text)];
    let instance = format!(
        "vrrp_instance V {{\n interface eth0\n virtual_router_id 51\n version 3\n virtual_ipaddress {{\n {}\n }}\n}}\n",
        addresses.join("\n ")
    );
    let keepalived = match addresses {
        [] => Vec::new(),
        _ => vec![sources.add("keepalived.conf", instance)],
    };
    let (plan, found) = config::load(&sources, &haproxy, &keepalived, &surroundings());
    let mut plan = plan.unwrap_or_else(|| panic!("refused: {found:?}"));
    let diagnostics = config::forward_by_kernel(&mut plan, &sources, &haproxy, &surroundings());
    let report = config_support::report(&sources, &diagnostics);
    (plan, diagnostics, report)
}

fn only(plan: &Plan) -> Option<&Nat> {
    plan.frontends[0].forwarding.nat()
}

fn said(diagnostics: &[Diagnostic]) -> Vec<&str> {
    diagnostics.iter().map(|diagnostic| diagnostic.code).collect()
}

/// One text for each code: its name begins with the code.
pub(crate) fn cases() -> Vec<(&'static str, String)> {
    let bounded = "listen bounded\n bind 10.0.0.100:7443\n server m 10.0.0.13:7443 maxconn 20\n";
    vec![
        ("H061-nat-not-here", format!("{}{bounded}", file("", " balance source\n"))),
        ("H062-nat-nothing", format!("{BEGIN}{bounded}")),
        ("H063-nat-by-hash", file("", " balance leastconn\n")),
        ("H064-nat-no-effect", file(" maxconn 100\n", " balance source\n default-server slowstart 10s\n")),
    ]
}

#[test]
fn every_code_says_what_is_wrong_and_how_to_mend_it() {
    for (name, text) in cases() {
        let (_, diagnostics, report) = forward(&text, &[]);
        assert!(said(&diagnostics).contains(&&name[..4]), "{name}: {report}");
        insta::with_settings!({ description => text.clone(), omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, report);
        });
    }
}

#[test]
fn an_address_is_its_own_endpoint_and_every_address_the_virtual_ones() {
    let (plan, diagnostics, _) = forward(&file("", ""), &[]);
    let endpoints = vec!["10.0.0.100:6443".parse().unwrap()];
    assert_eq!(only(&plan), Some(&Nat { endpoints, key: FlowKey::AddressAndPort }));
    assert_eq!(said(&diagnostics), ["H063", "H064"]);

    let every = file("", "").replace("10.0.0.100:6443", "*:6443");
    let (plan, ..) = forward(&every, &["10.0.0.100", "10.0.0.101"]);
    let endpoints: Vec<_> = ["10.0.0.100:6443", "10.0.0.101:6443"].map(|own| own.parse().unwrap()).to_vec();
    assert_eq!(only(&plan).map(|nat| nat.endpoints.clone()), Some(endpoints));

    let (plan, diagnostics, report) = forward(&every, &["fd00::100"]);
    assert_eq!((only(&plan), said(&diagnostics)), (None, vec!["H061", "H062"]));
    assert!(report.contains("`0.0.0.0:6443` is every address, and there is no virtual one"), "{report}");
}

#[test]
fn the_address_of_a_client_alone_can_decide() {
    let (plan, diagnostics, _) = forward(&file("", " balance source\n"), &[]);
    assert_eq!(only(&plan).map(|nat| nat.key), Some(FlowKey::Address));
    assert_eq!(said(&diagnostics), ["H064"]);
}

#[test]
fn what_the_kernel_cannot_do_is_named_where_it_stands() {
    let server =
        |more: &str| file("", "").replace("two 10.0.0.12:6443", &format!("two 10.0.0.12:6443 {more}"));
    let other = |bind: &str| file("", "").replace("bind 10.0.0.100:6443", bind);
    for (text, sentence, word) in [
        (server("maxconn 20"), "`maxconn` bounds the connections of server `two`", "`maxconn`"),
        (server("send-proxy-v2"), "a PROXY header is sent to server `two`", "`send-proxy-v2`"),
        (server("source 10.0.0.9"), "a source address is set for server `two`", "`source`"),
        (file("", " default-server maxconn 9\n"), "`maxconn` bounds the connections of", "`maxconn`"),
        (file("", " source 10.0.0.9\n"), "a source address is set for server `one`", "`source`"),
        (file("", " balance hash src\n"), "its backend balances by a sample", "`balance`"),
        (
            file("", " stick-table type ip size 9\n stick on src\n"),
            "remembers where connections went",
            "`stick`",
        ),
        (
            file(" tcp-request connection reject if { src 10.9.9.9 }\n", ""),
            "rules on connections",
            "`tcp-request`",
        ),
        (
            file(
                " tcp-request inspect-delay 5s\n tcp-request content accept if { req.ssl_hello_type 1 }\n",
                "",
            ),
            "it looks at what clients send",
            "`tcp-request`",
        ),
        (file(" use_backend cp if { src 10.9.9.9 }\n", ""), "it chooses between backends", "`use_backend`"),
        (other("bind 10.0.0.100:6443 accept-proxy"), "expects a PROXY header", "`accept-proxy`"),
        (other("bind 10.0.0.100:6443 interface eth1"), "from one interface only", "`interface`"),
        (other("bind 127.0.0.1:6443"), "no other machine has a way to", "`bind`"),
        (other("bind /run/api"), "is no address", "`bind`"),
        (other("bind [fd00::9]:6443"), "are of different families", "`server`"),
        (other("bind 10.0.0.12:6443"), "server `two` is 10.0.0.12:6443 itself", "`server`"),
    ] {
        let (plan, diagnostics, report) = forward(&text, &[]);
        assert_eq!((only(&plan), said(&diagnostics)), (None, vec!["H061", "H062"]), "{text}{report}");
        assert!(report.contains(sentence) && report.contains(&format!("at {word}")), "{text}{report}");
    }
}

#[test]
fn every_address_is_none_that_another_frontend_names() {
    let text = format!(
        "{}listen one\n bind 10.0.0.101:6443 accept-proxy\n server m 10.0.0.13:9000\n",
        file("", "").replace("10.0.0.100:6443", "*:6443")
    );
    let (plan, ..) = forward(&text, &["10.0.0.100", "10.0.0.101"]);
    let endpoints = only(&plan).map(|nat| nat.endpoints.clone());
    assert_eq!(endpoints, Some(vec!["10.0.0.100:6443".parse().expect("an address")]));
}

#[test]
fn one_frontend_stays_with_the_proxy_and_the_other_does_not() {
    let text = format!(
        "{}listen metrics\n bind 10.0.0.100:9000 accept-proxy\n server m 10.0.0.13:9000\n\
         listen again\n bind 10.0.0.100:6443\n server m 10.0.0.13:9000\n",
        file("", "")
    );
    let (plan, diagnostics, _) = forward(&text, &[]);
    let which: Vec<_> = plan.frontends.iter().map(|own| own.forwarding.nat().is_some()).collect();
    assert_eq!(which, [true, false, false]);
    assert_eq!(said(&diagnostics), ["H063", "H064", "H061", "H061"]);
    assert!(diagnostics[3].message.contains("another frontend has 10.0.0.100:6443 already"));
}
