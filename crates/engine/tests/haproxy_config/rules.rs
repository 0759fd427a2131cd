//! Conditions as they are written, and what they say of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::engine::Output;
use mainstay_engine::health::Health;
use mainstay_engine::plan::{Plan, ServerIndex};
use mainstay_engine::rules::{Context, Counters, Key, Outcome, Verdict, applies, verdict};
use mainstay_engine::serving::Serving;
use mainstay_engine::time::Instant;

use crate::support::{load, report};

const DEFAULTS: &str = "defaults\n mode tcp\n timeout connect 5s\n timeout client 4h\n timeout server 4h\n";

/// A hello of TLS 1.3 for `a.example` that offers h2 and http/1.1.
const HELLO: &[u8] =
    b"\x16\x03\x01\x00\x5a\x01\x00\x00\x56\x03\x03RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\x00\x00\x02\x13\x01\
    \x01\x00\x00\x2b\x00\x00\x00\x0e\x00\x0c\x00\x00\x09a.example\x00\x10\x00\x0e\x00\x0c\x02h2\x08http/1.1\
    \x00\x2b\x00\x03\x02\x03\x04";

fn at(milliseconds: u64) -> Instant {
    Instant::from_nanos((1_000_000 + milliseconds) * 1_000_000)
}

fn plan(lines: &str) -> Plan {
    let text = format!(
        "{DEFAULTS}backend st\n stick-table type ip size 2 expire 10s store conn_cnt,conn_cur,conn_rate(1s),sess_cnt\n\
         backend b\n server m1 192.0.2.11:6443 maxconn 5 maxqueue 2\n server m2 192.0.2.12:6443 maxconn 5 maxqueue 2\n\
         frontend f\n bind :6443\n default_backend b\n{lines}\n"
    );
    let loaded = load(&text);
    loaded.plan.clone().unwrap_or_else(|| panic!("refused:\n{}", report(&loaded)))
}

fn serving(plan: Plan) -> Arc<Serving> {
    let mut health = Health::new(Arc::new(plan), 1, at(0));
    let outputs = std::iter::from_fn(move || health.poll_output());
    let published =
        outputs.filter_map(|output| if let Output::Publish(view) = output { Some(view) } else { None });
    published.last().expect("a first view")
}

fn context<'a>(serving: &'a Serving, counters: &'a Counters, received: Option<&'a [u8]>) -> Context<'a> {
    Context {
        source: SocketAddr::from(([192, 0, 2, 77], 40_000)),
        destination: Some(SocketAddr::from(([198, 51, 100, 1], 6443))),
        received,
        request: None,
        complete: false,
        serving,
        counters,
        now: at(0),
    }
}

/// What `condition` is for a client that has sent `received`.
fn judge(condition: &str, received: Option<&[u8]>, complete: bool) -> Outcome {
    let plan = plan(&format!(" use_backend b {condition}"));
    let serving = serving(plan);
    let switch = &serving.plan.frontends[0].rules.switches[0];
    let counters = Counters::default();
    applies(switch.condition.as_ref(), &Context { complete, ..context(&serving, &counters, received) })
}

#[test]
fn conditions_on_addresses_and_loads() {
    for (condition, holds) in [
        ("if TRUE", true),
        ("if FALSE", false),
        ("if", false),
        ("if !", false),
        ("unless FALSE", true),
        ("unless TRUE", false),
        ("if !FALSE", true),
        ("if !!FALSE", false),
        ("if ! FALSE", true),
        ("if TRUE FALSE", false),
        ("if TRUE FALSE or TRUE", true),
        ("if FALSE || FALSE", false),
        ("unless FALSE or TRUE", false),
        ("if { src 192.0.2.0/24 }", true),
        ("if { src 192.0.3.0/24 192.0.2.77 }", true),
        ("if { src 192.0.3.0/24 }", false),
        ("if { src ::ffff:192.0.2.0/120 }", true),
        ("if { src 192.0.2.0/24 } { dst_port 443 }", false),
        ("if { src 192.0.2.0/24 } !{ dst_port 443 }", true),
        ("if { src_port ge 1024 } { dst 198.51.100.0/24 }", true),
        ("if { dst_port 6000:7000 }", true),
        ("if { dst_port gt 6443 }", false),
        ("if { dst_port le 6443 }", true),
        ("if { dst_port lt 6443 }", false),
        ("if { dst_port eq 1 2 6443 }", true),
        ("if { src -m beg 192.0. }", true),
        ("if { src -m reg ^192\\.0\\.[0-9]+\\.77$ }", true),
        ("if { src,ipmask(24) 192.0.2.0 }", true),
        ("if { src,ipmask(24) 192.0.2.77 }", false),
        ("if { src -m found }", true),
        ("if { src -m ip 192.0.2.77 }", true),
        ("if { fe_name f }", true),
        ("if { fe_name -i F }", true),
        ("if { fe_name F }", false),
        ("if { str(a.b.c),field(2,.) b }", true),
        ("if { str(a.b.c),field(-1,.) c }", true),
        ("if { str(a.b.c),field(4,.) -m found }", false),
        ("if { str(Ab),upper AB } { str(Ab),lower ab } { str(Ab),length 2 } { str(Ab),hex 4162 }", true),
        ("if { int(5) -m str 5 }", true),
        ("if { int(5) -m bool }", true),
        ("if { int(0) -m bool }", false),
        ("if { nbsrv(b) eq 2 }", true),
        ("if { nbsrv(st) eq 0 }", true),
        ("if { connslots(b) eq 14 }", true),
        ("if { be_conn_free(b) eq 10 }", true),
        ("if { queue(b) eq 0 } { avg_queue(b) eq 0 } { be_conn(b) eq 0 } { srv_conn(b/m1) eq 0 }", true),
        ("if { srv_is_up(b/m2) }", true),
        ("if { fe_conn eq 0 } { fe_sess_rate eq 0 } { be_sess_rate(b) eq 0 }", true),
        ("if { src_conn_cnt(st) eq 0 }", true),
        ("if { sc0_conn_cnt eq 0 }", true),
        ("if LOCALHOST", false),
    ] {
        let expected = if holds { Outcome::Yes } else { Outcome::No };
        assert_eq!(judge(condition, None, true), expected, "{condition}");
    }
}

#[test]
fn conditions_on_what_clients_send_wait_until_it_is_there() {
    use Outcome::{No, Undecided, Yes};
    let http = b"GET / HTTP/1.0\r\n\r\n";
    for (condition, nothing, part, hello, other) in [
        ("if { req.ssl_hello_type 1 }", Undecided, Undecided, Yes, No),
        ("unless { req.ssl_hello_type 1 }", Undecided, Undecided, No, Yes),
        ("if { req.ssl_sni a.example }", Undecided, Undecided, Yes, No),
        ("if { req.ssl_sni -i A.EXAMPLE }", Undecided, Undecided, Yes, No),
        ("if { req.ssl_sni -m end .example }", Undecided, Undecided, Yes, No),
        ("if { req.ssl_sni b.example }", Undecided, Undecided, No, No),
        ("if !{ req.ssl_sni b.example }", Undecided, Undecided, Yes, Yes),
        ("if { req.ssl_sni -m found }", Undecided, Undecided, Yes, No),
        ("if { req.ssl_ver 3.3 }", Undecided, Undecided, Yes, No),
        ("if { req.ssl_ver lt 3.3 }", Undecided, Undecided, No, No),
        ("if { req.ssl_alpn h2 }", Undecided, Undecided, Yes, No),
        ("if { req.len gt 0 }", Undecided, Yes, Yes, Yes),
        ("if REQ_CONTENT", Undecided, Yes, Yes, Yes),
        ("if { req.len gt 1000 }", Undecided, Undecided, Undecided, Undecided),
        ("if { req.payload(0,3) -m str GET }", Undecided, No, No, Yes),
        ("if { req.payload(0,2) -m bin 1603 }", Undecided, Yes, Yes, No),
        ("if { req.payload(200,3) -m found }", Undecided, Undecided, Undecided, Undecided),
        ("if WAIT_END", Undecided, Undecided, Undecided, Undecided),
        ("if TRUE or WAIT_END", Yes, Yes, Yes, Yes),
        ("if FALSE WAIT_END", No, No, No, No),
        ("if WAIT_END FALSE", Undecided, Undecided, Undecided, Undecided),
    ] {
        let seen = [&b""[..], &HELLO[..40], HELLO, http].map(|bytes| judge(condition, Some(bytes), false));
        assert_eq!(seen, [nothing, part, hello, other], "{condition}");
    }
    assert_eq!(judge("if WAIT_END", Some(b""), true), Yes);
    assert_eq!(judge("if { req.ssl_hello_type 1 }", Some(&HELLO[..40]), true), No);
    assert_eq!(judge("if { req.len gt 1000 }", Some(http), true), No);
}

#[test]
fn one_name_on_several_lines_is_any_of_them() {
    let lists = " acl ours src 203.0.113.1\n acl ours dst_port 6443\n";
    let view = serving(plan(&format!("{lists} use_backend b if ours")));
    let switch = &view.plan.frontends[0].rules.switches[0];
    let counters = Counters::default();
    assert_eq!(applies(switch.condition.as_ref(), &context(&view, &counters, None)), Outcome::Yes);
}

#[test]
fn the_first_rule_that_applies_decides() {
    let ask = |lines: &str, received: &[u8]| {
        let view = serving(plan(lines));
        let mut counters = Counters::default();
        let none = Counters::default();
        verdict(
            &view.plan.frontends[0].rules.content.rules,
            &context(&view, &none, Some(received)),
            &mut counters,
        )
    };
    let wait = " tcp-request inspect-delay 5s\n tcp-request content";
    assert_eq!(ask(&format!("{wait} accept if TRUE\n tcp-request content reject"), b""), Verdict::Accept);
    assert_eq!(ask(&format!("{wait} reject if {{ req.ssl_hello_type 1 }}"), b"x"), Verdict::Accept);
    assert_eq!(
        ask(&format!("{wait} accept if {{ req.ssl_hello_type 1 }}\n tcp-request content reject"), b""),
        Verdict::Wait
    );
    assert_eq!(
        ask(&format!("{wait} accept if {{ req.ssl_hello_type 1 }}\n tcp-request content reject"), b"x"),
        Verdict::Reject
    );
}

#[test]
fn tracked_connections_are_counted_while_they_live() {
    let view = serving(plan(
        " tcp-request connection track-sc0 src table st\n tcp-request connection reject if { sc0_conn_cur gt 1 }",
    ));
    let rules = &view.plan.frontends[0].rules.connection;
    let none = Counters::default();
    let ask = |host: u8, now| {
        let mut counters = Counters::default();
        let source = SocketAddr::from(([192, 0, 2, host], 1));
        let context = Context { source, now, complete: true, ..context(&view, &none, None) };
        (verdict(rules, &context, &mut counters), counters)
    };
    let (first, held) = ask(1, at(0));
    assert_eq!(first, Verdict::Accept);
    assert_eq!(ask(1, at(1)).0, Verdict::Reject, "a second one of the same client");
    assert_eq!(ask(2, at(2)).0, Verdict::Accept, "another client");
    for tracked in held.into_iter().flatten() {
        tracked.end(at(3));
    }
    assert_eq!(ask(1, at(4)).0, Verdict::Accept, "once the first one has ended");
}

#[test]
fn tables_are_bounded_and_forget() {
    let view = serving(plan(" tcp-request connection track-sc0 src table st"));
    let mut table = view.tables[0].lock();
    let key = |host: u8| Key::Ip([192, 0, 2, host].into());
    let server = Some(ServerIndex(1));
    table.store(&key(1), ServerIndex(1), at(0));
    table.store(&key(2), ServerIndex(1), at(1));
    assert_eq!(table.server(&key(1), at(2)), server);
    table.store(&key(3), ServerIndex(1), at(3));
    assert_eq!(table.len(), 2, "a table has room for as many as it says");
    assert_eq!(table.server(&key(2), at(4)), None, "the oldest one made room");
    assert_eq!(table.server(&key(1), at(9_999)), server);
    assert_eq!(table.server(&key(1), at(19_998)), server, "asking keeps a key young");
    assert_eq!(table.server(&key(3), at(19_998)), None, "nobody asked for this one for 10 s");
    table.clear();
    assert!(table.is_empty());
}

#[test]
fn a_full_table_that_must_not_forget_takes_nothing_new() {
    let loaded = load(&format!(
        "{DEFAULTS}listen l\n bind :1\n server a 192.0.2.1:1\n stick-table type string len 3 size 1 nopurge\n stick on req.ssl_sni\n"
    ));
    let view = serving(loaded.plan.clone().unwrap_or_else(|| panic!("{}", report(&loaded))));
    let mut table = view.tables[0].lock();
    table.store(&Key::Bytes(b"one".to_vec()), ServerIndex(0), at(0));
    table.store(
        &Key::Bytes(b"two".to_vec()),
        ServerIndex(0),
        at(Duration::from_secs(86_400).as_secs() * 1_000),
    );
    assert_eq!((table.len(), table.refused()), (1, 1));
    assert_eq!(table.server(&Key::Bytes(b"one".to_vec()), at(1)), Some(ServerIndex(0)));
}
