//! The data plane holds against clients and servers that mean no good: memory stays bounded, others are served in time,
//! and everything is free again when they have gone.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod proxy_rig;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_engine::plan::Plan;
use proxy_rig::*;

/// What an honest client may have to wait for its answer, on a loaded machine with two cores.
const IN_TIME: Duration = Duration::from_secs(3);

/// Memory is measured for the whole process, so these tests take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Megabytes of this process that are in memory: the proxy, and what the tests hold.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// The port of the rig's first frontend wants PROXY headers.
fn expects_headers(plan: &mut Plan) {
    plan.frontends[0].binds[0].accept_proxy = true;
    plan.frontends[0].binds.push(bind("127.0.0.1:0"));
}

/// The second port of [`expects_headers`], for honest clients.
fn second_port(plan: &mut Plan) -> SocketAddr {
    let address = refusing();
    plan.frontends[0].binds[1].address = address;
    address
}

/// An honest client gets its answer in time.
fn is_served(address: SocketAddr) {
    let begun = Instant::now();
    let mut client = connect(address);
    client.write_all(b"hello").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut client), b"hello");
    assert!(begun.elapsed() < IN_TIME, "an honest client waited for {:?}", begun.elapsed());
}

/// Bytes that are different each time: splitmix64.
fn noise(seed: u64) -> [u8; 32] {
    let mut bytes = [0; 32];
    for (place, chunk) in (1..).zip(bytes.chunks_mut(8)) {
        let mut word = seed.wrapping_add(place).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        chunk.copy_from_slice(&(word ^ word >> 31).to_le_bytes());
    }
    bytes
}

#[test]
fn twenty_thousand_connections_of_noise_leave_nothing_behind() {
    let _turn = alone();
    let mut honest = refusing();
    let rig = Rig::start(&[echo()], |plan| {
        expects_headers(plan);
        honest = second_port(plan);
    });
    is_served(honest);
    let before = resident();
    thread::scope(|scope| {
        for part in 0..4 {
            let address = rig.address;
            scope.spawn(move || {
                for number in 0..5_000 {
                    let mut bytes = noise(part * 5_000 + number);
                    // Every third one begins well.
                    if number % 3 == 0 {
                        bytes[..12].copy_from_slice(b"\r\n\r\n\0\r\nQUIT\n");
                    }
                    let mut client = connect(address);
                    // It may be thrown out before it has said everything.
                    let _ = client.write_all(&bytes);
                    if number % 100 != 0 {
                        drop(client);
                    } else {
                        let _ = client.shutdown(Shutdown::Write);
                        assert!(matches!(client.read(&mut [0]), Ok(0) | Err(_)));
                    }
                }
            });
        }
        for _ in 0..20 {
            is_served(honest);
        }
    });
    rig.drained();
    assert_eq!(rig.frontend().connections_total.load(Relaxed), 20_021);
    assert_eq!(rig.server(0).sessions_total.load(Relaxed), 21, "no noise reached a server");
    let grown = resident().saturating_sub(before);
    assert!(grown < 64, "memory grew by {grown} MB");
    is_served(honest);
}

#[test]
fn clients_that_drip_or_never_speak_are_cut_off_and_hold_nobody_up() {
    let _turn = alone();
    let mut honest = refusing();
    let rig = Rig::start(&[echo()], |plan| {
        expects_headers(plan);
        honest = second_port(plan);
        plan.frontends[0].client_timeout = Some(Duration::from_millis(1_000));
    });
    let before = resident();
    let mut clients: Vec<TcpStream> = (0..800).map(|_| connect(rig.address)).collect();
    wait_until("all came in", || rig.frontend().connections_total.load(Relaxed) == 800);
    let begun = Instant::now();
    let mut dripped: usize = 0;
    // A byte of a header now and then does not buy time.
    while rig.frontend().sessions.load(Relaxed) > 0 {
        assert!(begun.elapsed() < PATIENCE, "they are held for ever");
        let byte = *b"PROXY TCP4 192.0.2.7 ".get(dripped).unwrap_or(&b'1');
        for client in clients.iter_mut().take(400) {
            // It may have been cut off.
            let _ = client.write_all(&[byte]);
        }
        dripped += 1;
        is_served(honest);
        thread::sleep(Duration::from_millis(50));
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64, "memory grew by {grown} MB");
    rig.drained();
    assert_eq!(rig.frontend().header_errors.load(Relaxed), 800);
}

#[test]
fn peers_that_never_read_hold_a_bounded_amount_of_memory() {
    let _turn = alone();
    // Sends until nobody takes it, for as long as its client is there.
    let flooding = server(|mut stream| {
        let mut first = [0];
        if stream.read(&mut first).is_ok_and(|count| count == 1) && first == *b"f" {
            while stream.write_all(&[0; 1 << 16]).is_ok() {}
        } else {
            let _ = stream.write_all(&first);
        }
    });
    let rig = Rig::start(&[flooding], |_| {});
    let before = resident();
    let mut clients = Vec::new();
    for _ in 0..200 {
        let mut client = rig.connect();
        client.write_all(b"f").unwrap();
        // And floods the server, which reads no more.
        client.set_nonblocking(true).unwrap();
        while !matches!(client.write(&[0; 1 << 16]), Err(error) if error.kind() == ErrorKind::WouldBlock) {}
        clients.push(client);
    }
    let bytes = || rig.server(0).bytes_out.load(Relaxed) + rig.server(0).bytes_in.load(Relaxed);
    let mut last = (bytes(), Instant::now());
    wait_until("nothing moves any more", || {
        if bytes() != last.0 {
            last = (bytes(), Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(300)
    });
    let grown = resident().saturating_sub(before);
    // Two directions of one read each, and the stacks of the server's threads.
    assert!(grown < 200, "memory grew by {grown} MB");
    let begun = Instant::now();
    let mut honest = rig.connect();
    honest.write_all(b"?").unwrap();
    assert_eq!(read_byte(&mut honest), Some(b'?'));
    assert!(begun.elapsed() < IN_TIME, "an honest client waited for {:?}", begun.elapsed());
    drop(honest);
    for client in clients {
        reset(client);
    }
    rig.drained();
}
