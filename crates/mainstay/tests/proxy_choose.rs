//! The data plane finds every connection a server: in turn, by weight, and elsewhere when one cannot be reached.

mod proxy_operate;
mod proxy_outage;
mod proxy_rig;
mod proxy_rules;

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mainstay_engine::plan::{Algorithm, HashType};
use proxy_rig::*;

#[test]
fn servers_take_strict_turns() {
    let rig = Rig::start(&[named(b'a'), named(b'b'), named(b'c')], |_| {});
    let answers: Vec<u8> = (0..9).flat_map(|_| read_all(&mut rig.connect())).collect();
    assert_eq!(answers, b"abcabcabc");
    rig.drained();
    assert_eq!(rig.server(0).sessions_total.load(Relaxed), 3);
    assert_eq!(rig.server(0).bytes_out.load(Relaxed), 3);
    assert_eq!(rig.frontend().sessions_total.load(Relaxed), 9);
    assert_eq!(rig.frontend().sessions.load(Relaxed), 0);
}

#[test]
fn weights_decide_the_share() {
    let rig = Rig::start(&[named(b'a'), named(b'b')], |plan| plan.pools[0].servers[0].weight = 3);
    let mut answers = BTreeMap::new();
    for _ in 0..16 {
        *answers.entry(read_byte(&mut rig.connect()).unwrap()).or_insert(0) += 1;
    }
    assert_eq!(answers, BTreeMap::from([(b'a', 12), (b'b', 4)]));
}

#[test]
fn leastconn_evens_out_what_is_open() {
    let rig = Rig::start(&[holding(b'a'), holding(b'b')], |plan| {
        plan.pools[0].algorithm = Algorithm::LeastConn;
    });
    let mut first = rig.connect();
    let name = read_byte(&mut first).unwrap();
    let mut second = rig.connect();
    assert_ne!(read_byte(&mut second), Some(name));
    drop(first);
    wait_until("the first one's slot is free", || rig.proxy.load().sessions == 1);
    assert_eq!(read_byte(&mut rig.connect()), Some(name));
}

#[test]
fn a_client_address_keeps_its_server() {
    let rig = Rig::start(&[named(b'a'), named(b'b'), named(b'c')], |plan| {
        plan.pools[0].algorithm = Algorithm::Source(HashType::default());
    });
    let ask = |host| read_byte(&mut connect_from([127, 0, 0, host], rig.address)).unwrap();
    let names: Vec<u8> = (1..7).map(ask).collect();
    assert_eq!(names, (1..7).map(ask).collect::<Vec<_>>());
    assert!(names.iter().any(|name| *name != names[0]), "all clients share one server");
}

#[test]
fn a_refusing_server_costs_no_client_anything() {
    let rig = Rig::start(&[named(b'a'), refusing(), named(b'c')], |_| {});
    let answers: Vec<u8> = (0..30).flat_map(|_| read_all(&mut rig.connect())).collect();
    assert_eq!(answers.len(), 30);
    rig.drained();
    let errors = rig.server(1).connect_errors.load(Relaxed);
    assert!(errors >= 8, "the refusing server was tried {errors} times");
    assert_eq!(rig.server(1).redispatches.load(Relaxed), errors);
    assert_eq!(rig.server(1).retries.load(Relaxed), 0);
    assert_eq!(rig.server(1).sessions_total.load(Relaxed), errors);
    assert_eq!(rig.server(1).connections_failed.load(Relaxed), 0);
}

#[test]
fn what_the_client_sent_before_a_retry_arrives() {
    let rig = Rig::start(&[refusing(), echo()], |_| {});
    let mut client = rig.connect();
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"hello");
}

#[test]
fn a_server_that_does_not_answer_is_given_up_after_the_connect_timeout() {
    let (black_hole, _sockets) = unanswering();
    let rig = Rig::start(&[black_hole, named(b'b')], |plan| {
        plan.pools[0].connect_timeout = Some(Duration::from_millis(200));
    });
    let begun = Instant::now();
    assert_eq!(read_all(&mut rig.connect()), b"b");
    assert!(begun.elapsed() >= Duration::from_millis(200), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(rig.server(0).connect_errors.load(Relaxed), 1);
}

#[test]
fn the_only_server_is_tried_again_after_a_turn_around() {
    let rig = Rig::start(&[refusing()], |plan| {
        plan.pools[0].retries = 2;
        plan.pools[0].connect_timeout = Some(Duration::from_millis(50));
    });
    let begun = Instant::now();
    assert_eq!(read_byte(&mut rig.connect()), None);
    // As in HAProxy the wait is the connect time-out, when that is shorter than a second.
    assert!(begun.elapsed() >= Duration::from_millis(100), "{:?}", begun.elapsed());
    rig.drained();
    assert_eq!(rig.server(0).connect_errors.load(Relaxed), 3);
    assert_eq!(rig.server(0).retries.load(Relaxed), 2);
    assert_eq!(rig.server(0).connections_failed.load(Relaxed), 1);
}

#[test]
fn without_redispatch_the_same_server_is_tried_again() {
    let rig = Rig::start(&[refusing(), named(b'b')], |plan| {
        let pool = &mut plan.pools[0];
        (pool.retries, pool.redispatch) = (1, false);
        pool.connect_timeout = Some(Duration::from_millis(20));
    });
    assert_eq!(read_byte(&mut rig.connect()), None);
    assert_eq!(rig.server(0).connect_errors.load(Relaxed), 2);
    assert_eq!(read_byte(&mut rig.connect()), Some(b'b'));
}

#[test]
fn with_no_server_left_a_client_is_refused_at_once() {
    let rig = Rig::start(&[named(b'a')], |_| {});
    rig.publish(|serving| serving.pools[0].servers[0].selectable = false);
    assert_eq!(read_byte(&mut rig.connect()), None);
    assert_eq!(rig.pool().no_server.load(Relaxed), 1);
    rig.publish(|_| {});
    assert_eq!(read_byte(&mut rig.connect()), Some(b'a'));
}

#[test]
fn a_client_that_resets_while_connecting_frees_the_slot() {
    let (black_hole, _sockets) = unanswering();
    let rig = Rig::start(&[black_hole], |_| {});
    let client = rig.connect();
    wait_until("it connects", || rig.server(0).sessions() == 1);
    reset(client);
    rig.drained();
}
