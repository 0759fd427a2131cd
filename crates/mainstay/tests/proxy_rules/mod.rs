//! Rules on real connections: who is let in, where each goes, and that a real HAProxy decides alike.

mod haproxy;
mod tls;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{self, Surroundings};
use mainstay_engine::plan::Plan;

use crate::proxy_rig::*;

const DEFAULTS: &str = "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n";

/// The plan of a haproxy.cfg.
fn plan_of(text: &str) -> Plan {
    let mut sources = Sources::default();
    let id = sources.add("haproxy.cfg", text);
    let surroundings = Surroundings {
        variable: &|_| None,
        resolve: &|name| Err(format!("{name}: not here")),
        key_file: &|path| Err(format!("{path}: no such file")),
        pattern_file: &|path| Err(format!("{path}: no such file")),
    };
    let (plan, diagnostics) = config::load(&sources, &[id], &[], &surroundings);
    plan.unwrap_or_else(|| panic!("{diagnostics:#?}\n{text}"))
}

/// Starts what a haproxy.cfg says, with its first frontend on a port of the kernel's choice.
fn start(text: &str) -> Rig {
    let mut loaded = plan_of(&format!("{DEFAULTS}{text}"));
    loaded.frontends[0].binds = vec![bind("127.0.0.1:0")];
    loaded.workers = Some(2);
    Rig::start(&[], |plan| *plan = loaded)
}

/// Two servers, and a frontend with `rules` that leads to the first.
fn two_backends(a: SocketAddr, b: SocketAddr, rules: &str) -> String {
    format!(
        "backend a\n server a {a}\nbackend b\n server b {b}\nfrontend f\n bind :1\n default_backend a\n{rules}"
    )
}

/// The next byte for a client from this address; `None` if it is refused.
fn ask_from(source: [u8; 4], rig: &Rig) -> Option<u8> {
    read_byte(&mut connect_from(source, rig.address))
}

#[test]
fn sni_decides_the_backend_however_slowly_it_comes() {
    let (a, b) = (tls::server("a.example", b'a'), tls::server("b.example", b'b'));
    let rig = start(&two_backends(
        a.address,
        b.address,
        " tcp-request inspect-delay 5s\n tcp-request content reject unless { req.ssl_hello_type 1 }\n \
         use_backend b if { req.ssl_sni -i B.example }\n",
    ));
    for chunk in [4096, 60] {
        assert_eq!(tls::ask(&a, rig.address, chunk), b'a');
        assert_eq!(tls::ask(&b, rig.address, chunk), b'b');
    }
    rig.drained();
    assert_eq!(rig.frontend().denied_requests.load(Relaxed), 0);
}

#[test]
fn what_is_not_tls_is_rejected_at_once_and_silence_when_the_delay_ends() {
    let rig = start(&two_backends(
        named(b'a'),
        named(b'b'),
        " tcp-request inspect-delay 300ms\n tcp-request content reject unless { req.ssl_hello_type 1 }\n",
    ));
    let begun = Instant::now();
    let mut client = rig.connect();
    assert!(is_silent(&client));
    assert_eq!(read_byte(&mut client), None);
    assert!(begun.elapsed() >= Duration::from_millis(300), "rejected after {:?}", begun.elapsed());
    let mut client = rig.connect();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(read_byte(&mut client), None);
    rig.drained();
    assert_eq!(rig.frontend().denied_requests.load(Relaxed), 2);
    assert_eq!(rig.server(0).sessions_total.load(Relaxed), 0, "no server has seen anything");
}

#[test]
fn what_was_looked_at_reaches_the_server() {
    let rig = start(&two_backends(
        named(b'a'),
        echo(),
        " tcp-request inspect-delay 5s\n tcp-request content accept if { req.payload(0,5) -m str hello }\n \
         use_backend b if { req.payload(0,5) -m str hello }\n",
    ));
    let mut client = rig.connect();
    for part in [&b"hel"[..], b"lo, ", b"world"] {
        client.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"hello, world");
    // A client that says less and finishes has said all it will.
    let mut client = rig.connect();
    client.write_all(b"hel").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_byte(&mut client), Some(b'a'));
    // One that leaves while it is waited for is forgotten.
    reset(rig.connect());
    rig.drained();
}

#[test]
fn more_than_is_looked_at_decides_at_once() {
    let rig = start(&two_backends(
        named(b'a'),
        named(b'b'),
        " tcp-request inspect-delay 1h\n tcp-request content accept if WAIT_END\n",
    ));
    let mut client = rig.connect();
    client.write_all(&vec![b'x'; 64 * 1024]).unwrap();
    assert_eq!(read_byte(&mut client), Some(b'a'));
}

#[test]
fn connections_are_refused_by_address_before_they_count_as_sessions() {
    let rig = start(&two_backends(
        named(b'a'),
        named(b'b'),
        " tcp-request connection accept if { src 127.0.0.3 }\n tcp-request connection reject if { src 127.0.0.2/31 }\n \
         tcp-request session reject if { src 127.0.0.4 }\n use_backend b if { src 127.0.0.5 } !{ dst_port 1 }\n",
    ));
    assert_eq!(ask_from([127, 0, 0, 1], &rig), Some(b'a'));
    assert_eq!(ask_from([127, 0, 0, 2], &rig), None);
    assert_eq!(ask_from([127, 0, 0, 3], &rig), Some(b'a'));
    assert_eq!(ask_from([127, 0, 0, 4], &rig), None);
    assert_eq!(ask_from([127, 0, 0, 5], &rig), Some(b'b'));
    rig.drained();
    let load = rig.frontend();
    assert_eq!((load.denied_connections.load(Relaxed), load.denied_sessions.load(Relaxed)), (1, 1));
    assert_eq!((load.connections_total.load(Relaxed), load.sessions_total.load(Relaxed)), (5, 3));
}

#[test]
fn a_frontend_may_have_nowhere_to_lead_some_of_its_clients() {
    let (a, b) = (named(b'a'), named(b'b'));
    let rig = start(&format!(
        "backend a\n server a {a}\nbackend b\n server b {b}\nbackend empty\nfrontend f\n bind :1\n \
         use_backend empty if {{ src 127.0.0.3 }}\n use_backend b if {{ src 127.0.0.2 }}\n"
    ));
    assert_eq!(ask_from([127, 0, 0, 2], &rig), Some(b'b'));
    assert_eq!(ask_from([127, 0, 0, 1], &rig), None);
    assert_eq!(ask_from([127, 0, 0, 3], &rig), None);
    rig.drained();
}

#[test]
fn a_client_that_connects_too_often_is_refused_and_others_are_not() {
    let (a, b) = (named(b'a'), named(b'b'));
    let rig = start(&two_backends(
        a,
        b,
        " stick-table type ip size 1k expire 1m store conn_rate(1m),conn_cur\n \
         tcp-request connection track-sc0 src\n tcp-request connection reject if { sc0_conn_rate gt 3 }\n",
    ));
    let answers: Vec<_> = (0..5).map(|_| ask_from([127, 0, 0, 2], &rig)).collect();
    assert_eq!(answers, [Some(b'a'), Some(b'a'), Some(b'a'), None, None]);
    assert_eq!(ask_from([127, 0, 0, 3], &rig), Some(b'a'));
}

#[test]
fn a_client_may_hold_so_many_connections() {
    let rig = start(&two_backends(
        holding(b'a'),
        named(b'b'),
        " stick-table type ip size 1k expire 1m store conn_cur\n tcp-request content track-sc0 src\n \
         tcp-request content reject if { src_conn_cur gt 2 }\n",
    ));
    let mut held = [rig.connect(), rig.connect()];
    for client in &mut held {
        assert_eq!(read_byte(client), Some(b'a'));
    }
    assert_eq!(read_byte(&mut rig.connect()), None);
    drop(held);
    rig.drained();
    assert_eq!(read_byte(&mut rig.connect()), Some(b'a'));
}

#[test]
fn clients_stick_to_a_server_while_it_works() {
    let servers: Vec<_> = [b'a', b'b', b'c'].map(named).to_vec();
    let lines: String =
        servers.iter().enumerate().map(|(index, address)| format!(" server s{index} {address}\n")).collect();
    let rig =
        start(&format!("listen l\n bind :1\n stick-table type ip size 1k expire 1h\n stick on src\n{lines}"));
    let source = |host: u8| [127, 0, 0, host];
    let first: Vec<_> = (1..=6).map(|host| ask_from(source(host), &rig).unwrap()).collect();
    assert_eq!(first, b"abcabc", "new clients take turns");
    let again: Vec<_> = (1..=6).rev().map(|host| ask_from(source(host), &rig).unwrap()).collect();
    assert_eq!(again, b"cbacba", "and come back to their own");
    rig.publish(|serving| {
        serving.pools[0].servers[1].selectable = false;
        serving.pools[0].servers[1].usable = false;
        serving.pools[0].rotation = [0_u16, 2].into();
    });
    let moved = ask_from(source(2), &rig).unwrap();
    assert_ne!(moved, b'b', "its server is down");
    assert_eq!(ask_from(source(1), &rig), Some(b'a'), "others stay");
    rig.publish(|_| {});
    assert_eq!(ask_from(source(2), &rig), Some(moved), "who has moved stays");
    assert_eq!(ask_from(source(5), &rig), Some(b'b'), "who was away comes back to its own");
    // A server that takes no new clients keeps those it has.
    rig.publish(|serving| serving.pools[0].servers[0].selectable = false);
    assert_eq!(ask_from(source(1), &rig), Some(b'a'));
}

#[test]
fn a_client_that_sticks_to_a_full_server_waits_for_it() {
    let (a, b) = (holding(b'a'), holding(b'b'));
    let rig = start(&format!(
        "listen l\n bind :1\n stick-table type ip size 1k\n stick on src\n server a {a} maxconn 1\n server b {b}\n"
    ));
    let mut first = connect_from([127, 0, 0, 2], rig.address);
    assert_eq!(read_byte(&mut first), Some(b'a'));
    let mut second = connect_from([127, 0, 0, 2], rig.address);
    wait_until("it waits", || rig.server(0).queued.load(Relaxed) == 1);
    assert_eq!(ask_from([127, 0, 0, 3], &rig), Some(b'b'), "it keeps nobody else waiting");
    drop(first);
    assert_eq!(read_byte(&mut second), Some(b'a'));
}

#[test]
fn use_server_names_a_server_as_long_as_it_works() {
    let (a, b) = (named(b'a'), named(b'b'));
    let rig = start(&format!(
        "listen l\n bind :1\n use-server b if {{ src 127.0.0.2 }}\n use-server a unless {{ src 127.0.0.2 }}\n \
         server a {a}\n server b {b}\n"
    ));
    for _ in 0..3 {
        assert_eq!(ask_from([127, 0, 0, 2], &rig), Some(b'b'));
        assert_eq!(ask_from([127, 0, 0, 3], &rig), Some(b'a'));
    }
    rig.publish(|serving| {
        serving.pools[0].servers[1].selectable = false;
        serving.pools[0].servers[1].usable = false;
        serving.pools[0].rotation = [0_u16].into();
    });
    assert_eq!(ask_from([127, 0, 0, 2], &rig), Some(b'a'));
}

#[test]
fn backends_have_rules_of_their_own() {
    let (a, b) = (named(b'a'), named(b'b'));
    let rig = start(&format!(
        "backend a\n server a {a}\n tcp-request inspect-delay 200ms\n \
         tcp-request content reject unless {{ req.len gt 0 }} or {{ src 127.0.0.2 }}\nbackend b\n server b {b}\n\
         frontend f\n bind :1\n default_backend a\n use_backend b if {{ src 127.0.0.3 }}\n"
    ));
    assert_eq!(ask_from([127, 0, 0, 2], &rig), Some(b'a'));
    assert_eq!(ask_from([127, 0, 0, 3], &rig), Some(b'b'));
    assert_eq!(ask_from([127, 0, 0, 1], &rig), None);
    let mut client = connect_from([127, 0, 0, 1], rig.address);
    client.write_all(b"x").unwrap();
    assert_eq!(read_byte(&mut client), Some(b'a'));
    assert_eq!(rig.pool().denied_requests.load(Relaxed), 1);
}
