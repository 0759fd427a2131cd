//! What is said about mistakes: one golden text for each code, and what no text may ever say.

use std::collections::BTreeSet;

use crate::nat;
use crate::support::{load, report};

const DEFAULTS: &str =
    "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 4h\n  timeout server 4h\n";

/// Puts `lines` into a backend that is otherwise complete.
fn backend(lines: &str) -> String {
    format!(
        "{DEFAULTS}frontend api\n  bind :6443\n  default_backend masters\nbackend masters\n  server m1 192.0.2.11:6443 check\n{lines}\n"
    )
}

/// Puts `lines` into a frontend that is otherwise complete.
fn frontend(lines: &str) -> String {
    format!(
        "{DEFAULTS}backend masters\n  server m1 192.0.2.11:6443 check\nfrontend api\n  bind :6443\n  default_backend masters\n{lines}\n"
    )
}

/// A name that starts with the code it shows, and the text that brings it up.
fn cases() -> Vec<(&'static str, String)> {
    let plain = |name, text: &str| (name, text.to_owned());
    let back = |name, lines: &str| (name, backend(lines));
    let front = |name, lines: &str| (name, frontend(lines));
    vec![
        back("H001-unclosed-quote", "  option httpchk GET \"/healthz\n  balance 'source"),
        back("H002-bad-escape", "  option httpchk GET /a\\xg1"),
        back("H003-bad-variable", "  server m2 \"${1}\":6443\n  server m3 \"${HOST:6443\""),
        back("H004-unset-variable", "  server m2 192.0.2.12:6443 weight \"1${NOTHING}\""),
        plain("H005-cut-off", "global\n  maxconn 40"),
        back("H006-words", &format!("  default-server {}", "check ".repeat(64))),
        front("H006-ports", "  bind :10000-20000"),
        back("H007-template", "  server {{ name }} {{ ip }}:6443"),
        back("H007-shell-template", "  server m2 ${HOST}:6443"),
        plain("H008-condition", ".if foo(1)\n.endif\n.elif 1\n.endif\n.if defined(A) &&\n.else\n.notcie x\n"),
        plain(
            "H008-words",
            ".if 1\n.else 1\n.endif\n.notice two words\n.if streq(a)\n.endif\n.if featur(NS)\n.endif\n",
        ),
        plain("H009-outside-section", "maxconn 4000\nbackand masters\n"),
        back(
            "H010-unknown-keyword",
            "  ballance roundrobin\n  timeout conect 5s\n  nbthread 4\n  option tcp-chek\n  foo",
        ),
        back("H010-unknown-parameter", "  server m2 192.0.2.12:6443 chekc inter 2s fal 3 balance"),
        back(
            "H011-not-acted-on",
            "  option spop-check\n  server m2 192.0.2.12:6443 minconn 3 crl-file /x\n  balance random\n  http-check connect\n  http-check connect port 3 proto h2\n  option httpchk\n  http-check expect status-code res.status string ok",
        ),
        plain(
            "H011-other-sections",
            "resolvers dns\n  nameserver a 192.0.2.53:53\npeers p\n  peer a 192.0.2.9:1024\n",
        ),
        plain(
            "H010-other-sections",
            "resolvers dns\n  namserver a 192.0.2.53:53\n  hold vald 10s\n  timeout retry x\nuserlist u\n  user admin pasword x\nring\n  format rfc\n",
        ),
        plain(
            "H012-no-effect",
            "global\n  daemon\n  user haproxy\n  tune.bufsize 16384\n  ca-base /etc\n  ssl-default-bind-options no-tls-tickets\n",
        ),
        front(
            "H013-refused",
            "  bind :443 ssl crt /x.pem\n  bind unix@/run/x accept-netscaler-cip 1\n  use_backend %[req.ssl_sni]\n  tcp-request connection silent-drop\n  acl old path_beg /v1\n  use_backend masters if old\n  use_backend masters if METH_GET",
        ),
        back(
            "H013-refused-servers",
            "  server m2 192.0.2.12:6443 socks4 192.0.2.9:1080\n  server m3 192.0.2.13\n  server m4 *:6443\n  source 192.0.2.1",
        ),
        back(
            "H014-value-count",
            "  server m2\n  timeout queue\n  balance\n  option tcp-check now\n  server m3 192.0.2.13:6443 inter",
        ),
        back(
            "H015-bad-value",
            "  mode tpc\n  retries many\n  timeout queue 5sec\n  server m-ü 192.0.2.12:6443 verify no\n  server m3 192.0.2.13:http\n  option httpchk\n  http-check expect status ok\n  no retries",
        ),
        front("H015-bind", "  bind 192.0.2.1\n  bind :0\n  bind :99999"),
        back("H016-out-of-range", "  timeout queue 30d\n  server m2 192.0.2.12:6443 weight 300 fall 0"),
        back(
            "H075-step-order",
            "  option httpchk\n  http-check send uri /a\n  http-check send uri /b\n  http-check connect",
        ),
        back(
            "H076-bad-expression",
            "  option tcp-check\n  tcp-check expect rstring ^(+OK\n  tcp-check expect rstring (?=x)",
        ),
        plain(
            "H077-asks-nothing",
            "defaults\n  mode tcp\n  timeout connect 5s\n  timeout server 4h\n  option httpchk GET /readyz\nbackend masters\n  http-check expect status 200\n  server m1 192.0.2.11:6443 check\n",
        ),
        back(
            "H078-track",
            "  server m2 192.0.2.12:6443 track m2\n  server m3 192.0.2.13:6443 track x/m1\n  server m4 192.0.2.14:6443\n  server m5 192.0.2.15:6443 track m4\n  server m6 192.0.2.16:6443 track m1 check",
        ),
        back("H079-parameters-clash", "  server m2 192.0.2.12:6443 agent-check"),
        back("H080-external-check", "  option external-check\n  external-check command /usr/local/bin/ask"),
        back("H017-ignored-here", "  bind :6444\n  maxconn 100\n  http-check expect status 200"),
        front("H018-not-allowed-here", "  server m2 192.0.2.12:6443\ndefaults\n  bind :6444"),
        plain(
            "H018-rules-in-defaults",
            "defaults\n  acl a src 192.0.2.1\ndefaults rules\n  mode tcp\n  timeout connect 5s\n  timeout client 4h\n  timeout server 4h\n  tcp-request content reject\nbackend masters from rules\n  server m1 192.0.2.11:6443\nfrontend api from rules\n  bind :6443\n  default_backend masters\n",
        ),
        back("H019-given-twice", "  timeout queue 5s\n  timeout queue 6s"),
        plain("H020-no-timeouts", "listen api\n  bind :6443\n  server m1 192.0.2.11:6443\n"),
        back(
            "H021-same-name",
            "  server m1 192.0.2.12:6443\nlisten api\n  bind :6444\n  server m1 192.0.2.11:6443",
        ),
        plain(
            "H022-undefined-section",
            &format!(
                "{DEFAULTS}frontend api\n  bind :6443\n  default_backend mastres\nbackend masters\n  server m1 192.0.2.11:6443\nbackend b from base\n"
            ),
        ),
        plain("H023-runs-as-tcp", &backend("").replace("mode tcp", "mode http")),
        plain("H023-recipe", &backend("  mode tcp").replacen("mode tcp", "mode http", 1)),
        front("H024-http-mode", "  mode http"),
        back("H025-no-check-port", "  server m2 192.0.2.12 check"),
        back("H026-no-authority", "  server m2 192.0.2.12:6443 check check-ssl"),
        back(
            "H027-unresolved",
            "  server m2 control2.invalid:6443 check\n  server m3 control3.invalid:6443 init-addr libc,none",
        ),
        front("H105-log-variable", "  log 127.0.0.1 local0\n  log-format \"%ci %bytes %CP\""),
        front("H106-log-of-http", "  log 127.0.0.1 local0\n  log-format \"%ci %HM\""),
        front("H107-log-syntax", "  log 127.0.0.1 local0\n  log-format \"100% of %{+Qci\""),
        front("H108-log-sample", "  log 127.0.0.1 local0\n  log-format \"%[src] %[ssl_fc_sni]\""),
        back(
            "H071-source",
            "  source 10.0.0.9:1000-2000\n  source 10.0.0.9 from lo\n  usesrc client\n  server m2 192.0.2.12:6443 source 0.0.0.0 usesrc 10.0.0.8:70-80\n  server m3 192.0.2.13:6443 interface lo",
        ),
        back("H072-source-from-header", "  source 0.0.0.0 usesrc hdr_ip(x-forwarded-for)"),
        front(
            "H073-local-address",
            &format!("  bind unix@\n  bind abns@\n  bind /run/{}.sock", "a".repeat(90)),
        ),
        front("H074-listener", "  bind :7000-7001 id 7\n  bind :7002 id 8\n  bind :7003 id 8"),
        front("H095-descriptor", "  bind fd@x\n  bind fd@-1"),
        back("H095-server", "  server m2 fd@3"),
        front("H109-no-log-target", "  option tcplog\n  log-format %ci"),
        front(
            "H015-log-lines",
            "  log 127.0.0.1\n  log 127.0.0.1 local9\n  log /dev/log len 10 local0\n  log /dev/log sample 3:2 local0\n  log /dev/log format rfc local0\n  log stdout local0 loud\n  log fd@x local0\n  log ring@here local0\n  log /dev/log local0 info err x\n  no log /dev/log",
        ),
        front("H028-needs-http", "  option httplog\n  option forwardfor"),
        front(
            "H029-not-started",
            "listen pages\n  bind :9000\n  mode tcp\n  stats enable\nfrontend nowhere\n  bind :7000",
        ),
        plain(
            "H011-pages-of-a-relay",
            "defaults\n  mode http\n  timeout client 4h\n  timeout server 4h\n  timeout connect 5s\nlisten api\n  bind :6443\n  \
             monitor-uri /healthz\n  stats uri /stats\n  server m1 192.0.2.11:6443\n",
        ),
        front("H028-pages", "  stats enable\n  monitor-uri /healthz"),
        plain(
            "H015-pages",
            "listen pages\n  bind :9000\n  mode http\n  timeout client 5s\n  stats refresh soon\n  stats http-request alow\n  \
             http-request use-service prometheus-exportr\n",
        ),
        plain(
            "H079-logins",
            "listen pages\n  bind :9000\n  mode http\n  timeout client 5s\n  stats auth admin:secret\n  stats http-request deny\n",
        ),
        plain(
            "H013-pages",
            "userlist u\n  user admin password $6$hash\nlisten pages\n  bind :9000\n  mode http\n  timeout client 5s\n  \
             stats enable\n  stats http-request auth unless { http_auth(u) }\n  http-request deny if { path /x }\n",
        ),
        back("H030-unused-backend", "backend spare\n  server m2 192.0.2.12:6443 check"),
        plain("H031-cuts-watches", &backend("").replace("4h", "50000")),
        plain("H031-tunnel", &backend("  timeout tunnel 5m")),
        plain(
            "H032-obsolete",
            &format!(
                "{DEFAULTS}global\n  nbproc 2\nlisten api 192.0.2.1:6443\n  contimeout 5000\n  server m1 192.0.2.11:6443\n"
            ),
        ),
        plain(
            "H033-said-by-file",
            ".notice \"made by a tool\"\n.warning \"do not edit\"\n.if !defined(X)\n.alert \"X is not set\"\n.else\n.alert never\n.endif\n",
        ),
        back(
            "H015-names",
            "  server m2 cp1:6443 resolve-prefer ipv5 resolve-net 10.0.0.0/99 resolve-opts dup\n  server-template t 3-1 cp1:6443\n  server m3 control3.invalid:6443 init-addr last",
        ),
        plain(
            "H022-resolvers",
            &format!(
                "resolvers dns\n  nameserver a 192.0.2.53:53\n{}",
                backend("  server m2 cp1:6443 resolvers dsn")
            ),
        ),
        plain(
            "H027-unresolved-yet",
            &format!(
                "resolvers dns\n  nameserver a 192.0.2.53:53\n{}",
                backend(
                    "  server m2 control2.invalid:6443 resolvers dns\n  server-template t 2 _api._tcp.invalid resolvers dns check"
                )
            ),
        ),
        plain("H021-ambiguous", "defaults a\ndefaults b\ndefaults a\nbackend x from a\n"),
        plain("H036-incomplete-section", "resolvers dns\n  resolve_retries 3\ncache pages\n"),
        plain("H037-undefined-name", "userlist u\n  user admin groups ops\n  group dev users someone\n"),
        front("H035-no-bind", "frontend nobody\n  default_backend masters"),
        back("H034-several-addresses", "  server m2 cp:6443 check"),
        front(
            "H050-undefined-acl",
            "  acl inside src 192.0.2.0/24\n  use_backend masters if insde\n  use_backend masters if inside and TRUE\n  use_backend masters if {src 192.0.2.1}",
        ),
        front(
            "H051-unknown-sample",
            "  acl a req.ssl_sn example\n  acl b src,lowr -m str x\n  tcp-request content reject if { sorce 192.0.2.1 }",
        ),
        front(
            "H052-sample-arguments",
            "  acl a src(1) 192.0.2.1\n  acl b req.payload(0) -m found\n  acl c src,ipmask(99) 192.0.2.1\n  acl d bool(x)\n  acl e src( 192.0.2.1",
        ),
        front(
            "H053-bad-pattern",
            "  acl a src 192.0.2.1/33\n  acl b dst_port 80x\n  acl c req.ssl_sni -m rex x\n  acl d req.ssl_sni -m reg ([\n  acl e src -x\n  acl f src -f /nowhere\n  acl g req.payload(0,2) x\n  acl h dst_port 9:1",
        ),
        front(
            "H054-bad-condition",
            "  use_backend masters when TRUE\n  tcp-request connection reject if { src 192.0.2.1\n  tcp-request content reject if { }",
        ),
        front(
            "H055-never-matches",
            "  tcp-request connection reject if { req.ssl_sni example }\n  acl nothing src\n  tcp-request session reject if REQ_CONTENT",
        ),
        front("H056-no-inspect-delay", "  tcp-request content reject unless { req.ssl_hello_type 1 }"),
        front(
            "H057-undefined-table",
            "  tcp-request connection track-sc0 src table clints\n  acl fast src_conn_rate gt 10\nbackend clients\n  stick-table type ip size 1m store conn_rate(10s)\nbackend sticky\n  stick on src",
        ),
        front(
            "H058-rule-order",
            "  use_backend masters if TRUE\n  tcp-request content accept\n  tcp-request connection accept",
        ),
        front(
            "H059-undefined-server",
            "  acl up srv_is_up(masters/m2)\nbackend more\n  server m1 192.0.2.11:6443\n  use-server m2 if TRUE",
        ),
        front(
            "H060-untimely-key",
            "  stick-table type string size 1k store conn_cur\n  tcp-request content track-sc0 req.ssl_sni",
        ),
        front(
            "H015-stick-table",
            "  stick-table type ipp size 1x store conn_rat(10s),conn_rate,conn_cur(1s) foo",
        ),
    ]
}

#[test]
fn every_code_says_what_is_wrong_and_how_to_mend_it() {
    for (name, text) in cases() {
        let loaded = load(&text);
        let code = name.get(..4).expect("a code");
        assert!(loaded.says(code), "{name}: {code} is not among\n{}", report(&loaded));
        insta::with_settings!({ description => text.clone(), omit_expression => true, prepend_module_to_snapshot => false }, {
            insta::assert_snapshot!(name, report(&loaded));
        });
    }
}

#[test]
fn every_code_has_a_case() {
    let source = include_str!("../../src/config/haproxy/codes.rs");
    let codes: BTreeSet<&str> =
        source.split('"').filter(|part| part.len() == 4 && part.starts_with('H')).collect();
    let cases: Vec<_> = cases().into_iter().chain(nat::cases()).collect();
    let covered: BTreeSet<&str> = cases.iter().filter_map(|(name, _)| name.get(..4)).collect();
    assert_eq!(codes, covered);
}
