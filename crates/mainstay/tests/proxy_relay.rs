//! The data plane passes on every byte and every way a connection can end, in order, without holding more than it must.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod proxy_headers;
mod proxy_rig;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_engine::serving::termination::Cause;
use proxy_rig::*;

/// A server whose connections the test itself holds.
fn manual_server() -> (SocketAddr, Receiver<TcpStream>) {
    let (sender, receiver) = channel();
    let sender = Mutex::new(sender);
    let address = server(move |stream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = sender.lock().unwrap().send(stream);
    });
    (address, receiver)
}

#[test]
fn a_client_that_has_finished_still_gets_its_answer() {
    let (address, connections) = manual_server();
    let rig = Rig::start(&[address], |_| {});
    let mut client = rig.connect();
    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut server = connections.recv_timeout(PATIENCE).unwrap();
    assert_eq!(read_all(&mut server), b"request");
    assert!(is_silent(&client));
    server.write_all(b"answer").unwrap();
    drop(server);
    assert_eq!(read_all(&mut client), b"answer");
    rig.drained();
    assert_eq!(rig.server(0).bytes_in.load(Relaxed), 7);
    assert_eq!(rig.server(0).bytes_out.load(Relaxed), 6);
}

#[test]
fn a_server_that_has_finished_still_gets_the_rest() {
    let (address, connections) = manual_server();
    let rig = Rig::start(&[address], |_| {});
    let mut client = rig.connect();
    let mut server = connections.recv_timeout(PATIENCE).unwrap();
    server.write_all(b"answer").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"answer");
    assert!(is_silent(&server));
    client.write_all(b"the rest").unwrap();
    drop(client);
    assert_eq!(read_all(&mut server), b"the rest");
    rig.drained();
}

#[test]
fn bulk_arrives_whole_in_both_directions_at_once() {
    let rig = Rig::start(&[echo()], |_| {});
    let client = rig.connect();
    let sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || send_bulk(&sender, BULK));
    assert_eq!(receive_bulk(&client, usize::MAX), BULK);
    sending.join().unwrap();
    rig.drained();
    let spliced = rig.proxy.load().bytes_spliced;
    assert!(spliced > BULK as u64 / 2, "only {spliced} bytes were spliced");
    assert_eq!(rig.server(0).bytes_out.load(Relaxed), BULK as u64);
}

#[test]
fn a_bulk_transfer_does_not_starve_the_others() {
    let bulk = server(|mut stream| {
        let mut byte = [0];
        while stream.read(&mut byte).is_ok_and(|count| count > 0) {
            if byte == *b"x" {
                while stream.write_all(&[0; 1 << 16]).is_ok() {}
                return;
            }
            stream.write_all(&byte).unwrap();
        }
    });
    let rig = Rig::start(&[bulk], |plan| plan.workers = Some(1));
    let mut hog = rig.connect();
    hog.write_all(b"x").unwrap();
    let reading = hog.try_clone().unwrap();
    let reader = thread::spawn(move || std::io::copy(&mut { reading }, &mut std::io::sink()));
    wait_until("bulk flows", || rig.server(0).bytes_out.load(Relaxed) > 10 << 20);
    let mut other = rig.connect();
    let begun = Instant::now();
    for _ in 0..100 {
        other.write_all(b"?").unwrap();
        assert_eq!(read_byte(&mut other), Some(b'?'));
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "100 turns took {:?}", begun.elapsed());
    hog.shutdown(Shutdown::Both).unwrap();
    let _ = reader.join().unwrap();
}

#[test]
fn a_server_that_resets_resets_the_client_after_what_it_sent() {
    let (address, connections) = manual_server();
    let rig = Rig::start(&[address], |_| {});
    let mut client = rig.connect();
    let mut server = connections.recv_timeout(PATIENCE).unwrap();
    server.write_all(b"half an ans").unwrap();
    wait_until("it has arrived", || rig.server(0).bytes_out.load(Relaxed) == 11);
    reset(server);
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).unwrap_err();
    assert_eq!((error.kind(), &answer[..]), (ErrorKind::ConnectionReset, &b"half an ans"[..]));
    rig.drained();
    assert_eq!(aborts(&rig), [0, 1, 1]);
}

/// Aborts by clients, aborts by servers, and responses that broke off; of the pool, which has the same as its server.
fn aborts(rig: &Rig) -> [u64; 3] {
    let (pool, server) = (rig.pool(), rig.server(0));
    let counted = [&pool.client_aborts, &pool.server_aborts, &pool.response_errors];
    let by_server = [&server.client_aborts, &server.server_aborts, &server.response_errors];
    let load = |counters: [&AtomicU64; 3]| counters.map(|counter| counter.load(Relaxed));
    assert_eq!(load(counted), load(by_server));
    load(counted)
}

#[test]
fn frontend_pool_and_server_count_the_same() {
    let rig = Rig::start(&[echo()], |_| {});
    for _ in 0..3 {
        let mut client = rig.connect();
        client.write_all(b"four").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_all(&mut client), b"four");
    }
    rig.drained();
    let (frontend, pool, server) = (rig.frontend(), rig.pool(), rig.server(0));
    for (counted, expected) in [
        ([&frontend.bytes_in, &pool.bytes_in, &server.bytes_in], 12),
        ([&frontend.bytes_out, &pool.bytes_out, &server.bytes_out], 12),
        ([&frontend.sessions_total, &pool.sessions_total, &server.sessions_total], 3),
        ([&frontend.connections_total, &pool.chosen_total, &server.chosen_total], 3),
    ] {
        assert_eq!(counted.map(|counter| counter.load(Relaxed)), [expected; 3]);
    }
    assert_eq!([pool.sessions.load(Relaxed), pool.sessions_max.load(Relaxed)], [0, 1]);
    assert_eq!(aborts(&rig), [0, 0, 0]);
    let load = rig.proxy.load();
    assert_eq!((load.connections_total, load.sessions_total, load.bytes_total), (3, 3, 24));
    assert!((1..=3).contains(&load.session_rate_max), "{load:?}");
}

#[test]
fn a_client_that_resets_resets_the_server() {
    let (address, connections) = manual_server();
    let rig = Rig::start(&[address], |_| {});
    let mut client = rig.connect();
    let mut server = connections.recv_timeout(PATIENCE).unwrap();
    // A client that gives up before the two are joined only closes the server's side.
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    reset(client);
    let error = server.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    rig.drained();
    assert_eq!(aborts(&rig), [1, 0, 0]);
}

#[test]
fn an_early_answer_survives_a_server_that_stops_reading() {
    // Answers and closes while the client still sends: its kernel then resets the connection.
    let rig = Rig::start(
        &[server(|mut stream| {
            stream.read_exact(&mut [0; 1024]).unwrap();
            stream.write_all(b"too large").unwrap();
        })],
        |_| {},
    );
    let mut client = rig.connect();
    let mut sender = client.try_clone().unwrap();
    let sending = thread::spawn(move || while sender.write_all(&[0; 1 << 16]).is_ok() {});
    let mut answer = [0; 9];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"too large");
    sending.join().unwrap();
    rig.drained();
}

#[test]
fn a_silent_client_is_closed_after_its_timeout() {
    let (address, connections) = manual_server();
    let rig = Rig::start(&[address], |plan| {
        plan.frontends[0].client_timeout = Some(Duration::from_millis(300));
    });
    let mut client = rig.connect();
    let mut server = connections.recv_timeout(PATIENCE).unwrap();
    let begun = Instant::now();
    // Every byte gives it more time.
    for _ in 0..4 {
        thread::sleep(Duration::from_millis(150));
        server.write_all(b".").unwrap();
        assert_eq!(read_byte(&mut client), Some(b'.'));
    }
    assert_eq!(read_byte(&mut client), None);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(read_byte(&mut server), None);
    rig.drained();
    assert_eq!(aborts(&rig), [1, 0, 0]);
    let times = &rig.server(0).times;
    assert!(times.total.max() >= Duration::from_millis(900), "{times:?}");
    assert_eq!(times.total.mean(1), times.total.max());
}

#[test]
fn the_tunnel_timeout_rules_once_both_have_talked() {
    let rig = Rig::start(&[echo()], |plan| {
        plan.frontends[0].client_timeout = Some(Duration::from_millis(100));
        plan.pools[0].server_timeout = Some(Duration::from_millis(100));
        plan.pools[0].tunnel_timeout = Some(Duration::from_millis(600));
    });
    let (mut quiet, mut talker) = (rig.connect(), rig.connect());
    talker.write_all(b"?").unwrap();
    assert_eq!(read_byte(&mut talker), Some(b'?'));
    let begun = Instant::now();
    assert_eq!(read_byte(&mut quiet), None);
    assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    assert_eq!(read_byte(&mut talker), None);
    assert!(begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
}

#[test]
fn a_half_closed_side_has_its_own_timeout() {
    let (address, connections) = manual_server();
    let rig = Rig::start(&[address], |plan| {
        plan.frontends[0].client_timeout = Some(Duration::from_secs(60));
        plan.frontends[0].client_fin_timeout = Some(Duration::from_millis(200));
    });
    let mut client = rig.connect();
    let server = connections.recv_timeout(PATIENCE).unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_byte(&mut client), None);
    rig.drained();
}

#[test]
fn a_blocked_server_is_not_blamed_for_a_client_that_does_not_read() {
    let rig = Rig::start(&[server(|stream| send_bulk(&stream, BULK))], |plan| {
        plan.pools[0].server_timeout = Some(Duration::from_millis(100));
    });
    let client = rig.connect();
    thread::sleep(Duration::from_millis(500));
    assert_eq!(receive_bulk(&client, usize::MAX), BULK);
}

#[test]
fn sessions_of_a_server_can_be_shut_down() {
    let rig = Rig::start(&[holding(b'a'), holding(b'b')], |_| {});
    let mut clients: Vec<_> = (0..20).map(|_| rig.connect()).collect();
    let names: Vec<_> = clients.iter_mut().map(read_byte).collect();
    rig.proxy.shutdown_sessions(server_id(0), Cause::Down);
    wait_until("the first server has no sessions", || rig.server(0).sessions() == 0);
    for (client, name) in clients.iter_mut().zip(names) {
        if name == Some(b'a') {
            assert_eq!(read_byte(client), None);
        } else {
            assert!(is_silent(client));
        }
    }
    assert_eq!(rig.server(1).sessions(), 10);
    drop(clients);
    rig.drained();
}

#[test]
fn the_data_plane_says_that_it_serves() {
    let rig = Rig::start(&[echo()], |_| {});
    for _ in 0..50 {
        assert_eq!(rig.proxy.probe(), Ok(()));
        thread::sleep(Duration::from_millis(1));
    }
}
