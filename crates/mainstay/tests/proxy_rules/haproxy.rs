//! The same rules in a real HAProxy and in mainstay, asked the same questions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use super::*;

/// What one client does.
struct Probe {
    source: [u8; 4],
    sends: &'static [u8],
}

const fn probe(host: u8, sends: &'static [u8]) -> Probe {
    Probe { source: [127, 0, 0, host], sends }
}

/// A hello of TLS 1.2 for `b.example`.
const HELLO: &[u8] =
    b"\x16\x03\x01\x00\x43\x01\x00\x00\x3f\x03\x03RRRRRRRRRRRRRRRRRRRRRRRRRRRRRRRR\x00\x00\x02\x13\x01\
    \x01\x00\x00\x14\x00\x00\x00\x10\x00\x0e\x00\x00\x0bb.example.x";

/// Rules, and the clients that try them.
fn cases() -> Vec<(&'static str, Vec<Probe>)> {
    let all = || {
        vec![
            probe(1, b""),
            probe(2, b""),
            probe(1, b"GET /"),
            probe(1, HELLO),
            probe(2, HELLO),
            probe(1, &[0x16, 3]),
        ]
    };
    vec![
        (" tcp-request connection reject if { src 127.0.0.2 }\n", all()),
        (" tcp-request session reject unless { src 127.0.0.2 }\n", all()),
        (
            " tcp-request inspect-delay 300ms\n tcp-request content reject unless { req.ssl_hello_type 1 }\n",
            all(),
        ),
        (
            " tcp-request inspect-delay 300ms\n tcp-request content accept if { req.ssl_hello_type 1 }\n tcp-request content reject\n",
            all(),
        ),
        (
            " tcp-request inspect-delay 300ms\n tcp-request content accept if { req.ssl_hello_type 1 }\n use_backend b if { req.ssl_sni b.example.x }\n",
            all(),
        ),
        (
            " tcp-request inspect-delay 300ms\n tcp-request content accept if WAIT_END\n use_backend b if { req.len gt 3 }\n",
            all(),
        ),
        (
            " tcp-request inspect-delay 300ms\n tcp-request content reject if { req.payload(0,3) -m str GET }\n",
            all(),
        ),
        (" tcp-request inspect-delay 300ms\n tcp-request content reject if REQ_CONTENT\n", all()),
        (" use_backend b if { src 127.0.0.2 } or { dst_port 1 }\n", all()),
        (" use_backend b unless { nbsrv(a) gt 0 } { srv_is_up(b/b) }\n", all()),
        (
            " acl two src 127.0.0.2\n acl two src 127.0.0.9\n use_backend b if two !{ src_port lt 1024 }\n",
            all(),
        ),
        (
            " stick-table type ip size 1k expire 1m store conn_rate(1m)\n tcp-request connection track-sc0 src\n \
             tcp-request connection reject if { sc0_conn_rate gt 2 }\n",
            vec![probe(1, b""), probe(2, b""), probe(1, b""), probe(1, b""), probe(1, b""), probe(2, b"")],
        ),
        (
            " stick-table type ip size 1 nopurge store conn_cnt\n tcp-request content track-sc1 src\n \
             use_backend b if { sc1_conn_cnt eq 2 }\n",
            vec![probe(1, b""), probe(2, b""), probe(1, b""), probe(2, b""), probe(1, b"")],
        ),
    ]
}

#[test]
fn a_real_haproxy_decides_alike() {
    let (a, b) = (named(b'a'), named(b'b'));
    thread::scope(|scope| {
        for (rules, probes) in cases() {
            scope.spawn(move || {
                let text = two_backends(a, b, rules);
                let rig = start(&text);
                let haproxy = HaProxy::start(&text);
                let (ours, theirs): (Vec<_>, Vec<_>) =
                    probes.iter().map(|probe| (ask(rig.address, probe), ask(haproxy.address, probe))).unzip();
                assert_eq!(ours, theirs, "mainstay, and HAProxy, with\n{rules}");
                assert!(theirs.iter().any(Option::is_some), "nobody was served with\n{rules}");
            });
        }
    });
}

#[test]
fn a_real_haproxy_paces_alike() {
    let (a, b) = (named(b'a'), named(b'b'));
    let text = two_backends(a, b, " rate-limit sessions 20\n");
    let rig = start(&text);
    let haproxy = HaProxy::start(&text);
    for address in [rig.address, haproxy.address] {
        let begun = Instant::now();
        let clients: Vec<_> = (0..50).map(|_| connect(address)).collect();
        for mut client in clients {
            assert_eq!(read_byte(&mut client), Some(b'a'));
        }
        let taken = begun.elapsed();
        assert!(taken >= Duration::from_millis(1_200), "50 connections in {taken:?}, at 20 a second");
        assert!(taken < Duration::from_secs(8), "50 connections in {taken:?}, at 20 a second");
    }
}

#[test]
fn a_real_haproxy_sticks_alike() {
    let (a, b, c) = (named(b'a'), named(b'b'), named(b'c'));
    let text = format!(
        "backend p\n stick-table type ip size 1k\n stick on src\n use-server c if {{ src 127.0.0.9 }}\n server a {a}\n server b {b}\n \
         server c {c}\nfrontend f\n bind :1\n default_backend p\n"
    );
    let rig = start(&text);
    let haproxy = HaProxy::start(&text);
    let hosts = [1, 2, 3, 1, 2, 3, 9, 9, 4, 3, 2, 1, 4];
    let answers = |address| hosts.map(|host| ask(address, &probe(host, b"")));
    assert_eq!(answers(rig.address), answers(haproxy.address));
}

fn ask(address: SocketAddr, probe: &Probe) -> Option<u8> {
    let mut client = connect_from(probe.source, address);
    // Whoever is refused at once may not be able to send any more.
    let _ = client.write_all(probe.sends);
    read_byte(&mut client)
}

/// A real HAProxy that runs until it is dropped.
struct HaProxy {
    process: Child,
    file: PathBuf,
    address: SocketAddr,
}

impl HaProxy {
    fn start(text: &str) -> Self {
        let address = free_address();
        let name = format!("mainstay-rules-{}-{}.cfg", std::process::id(), address.port());
        let file = std::env::temp_dir().join(name);
        let text = text.replace(" bind :1\n", &format!(" bind {address}\n"));
        fs::write(&file, format!("{DEFAULTS}{text}")).unwrap();
        let process = Command::new("haproxy")
            .args(["-db", "-f"])
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .expect("haproxy is installed: apt-get install haproxy");
        let haproxy = Self { process, file, address };
        let deadline = Instant::now() + PATIENCE;
        // As a connection it would count and take a turn: the port is taken once the address cannot be bound.
        while TcpListener::bind(address).is_ok() {
            assert!(Instant::now() < deadline, "haproxy does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        haproxy
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_file(&self.file);
    }
}
