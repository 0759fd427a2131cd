//! PROXY headers: what a server gets first, what a client has to send first, and both together with a real HAProxy.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use mainstay_engine::plan::{Plan, ProxyHeader, ProxyVersion};

use crate::proxy_rig::*;

/// The line that says who this client is connected to.
fn line_of(client: &TcpStream) -> String {
    format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n",
        client.local_addr().unwrap().port(),
        client.peer_addr().unwrap().port()
    )
}

fn sends(plan: &mut Plan, header: ProxyHeader) {
    for server in &mut plan.pools[0].servers {
        server.proxy_header = Some(header);
    }
}

fn accepts(plan: &mut Plan) {
    plan.frontends[0].binds[0].accept_proxy = true;
}

const V1: ProxyHeader = ProxyHeader::new(ProxyVersion::V1);
const V2: ProxyHeader = ProxyHeader::new(ProxyVersion::V2);

/// What the server gets that `client` leads to, when it sends `bytes` and ends.
fn told(mut client: TcpStream, bytes: &[u8]) -> String {
    client.write_all(bytes).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    String::from_utf8_lossy(&read_all(&mut client)).into_owned()
}

#[test]
fn the_header_comes_before_the_first_byte_also_in_a_retry_elsewhere() {
    let rig = Rig::start(&[refusing(), echo()], |plan| sends(plan, V1));
    for _ in 0..4 {
        let client = rig.connect();
        let line = line_of(&client);
        assert_eq!(told(client, b"hello"), format!("{line}hello"));
    }
    assert!(rig.server(0).connect_errors.load(Relaxed) > 0, "the retry was tried");
    rig.drained();
    assert_eq!(rig.server(1).bytes_in.load(Relaxed), 20, "a header is not the client's");
}

#[test]
fn a_server_that_speaks_first_gets_its_header_too() {
    let first = server(|mut stream| {
        let mut header = [0; 16 + 12];
        stream.read_exact(&mut header).unwrap();
        stream.write_all(&header[12..16]).unwrap();
    });
    let rig = Rig::start(&[first], |plan| sends(plan, V2));
    assert_eq!(read_all(&mut rig.connect()), [0x21, 0x11, 0, 12]);
    rig.drained();
}

#[test]
fn a_header_from_the_client_counts_in_one_piece_or_many() {
    let rig = Rig::start(&[echo()], |plan| {
        accepts(plan);
        sends(plan, V1);
    });
    let line = "PROXY TCP4 192.0.2.7 192.0.2.1 4000 6443\r\n";
    assert_eq!(told(rig.connect(), format!("{line}hello").as_bytes()), format!("{line}hello"));
    let mut client = rig.connect();
    for byte in line.as_bytes() {
        client.write_all(&[*byte]).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(told(client, b"hello"), format!("{line}hello"));
    // A connection that the balancer in front made for itself, such as a check.
    let client = rig.connect();
    let own = line_of(&client);
    assert_eq!(told(client, b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello"), format!("{own}hello"));
    rig.drained();
    assert_eq!(rig.frontend().header_errors.load(Relaxed), 0);
}

#[test]
fn a_client_without_a_header_reaches_no_server() {
    let rig = Rig::start(&[echo()], |plan| {
        accepts(plan);
        plan.frontends[0].client_timeout = Some(Duration::from_millis(300));
    });
    let mut talker = rig.connect();
    talker.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(read_byte(&mut talker), None);
    let mut silent = rig.connect();
    let mut half = rig.connect();
    half.write_all(b"PROXY TCP4 192.0").unwrap();
    assert_eq!([read_byte(&mut silent), read_byte(&mut half)], [None, None]);
    drop(rig.connect());
    rig.drained();
    assert_eq!(rig.frontend().header_errors.load(Relaxed), 3);
    assert_eq!(rig.frontend().sessions_total.load(Relaxed), 0);
    assert_eq!(rig.server(0).sessions_total.load(Relaxed), 0);
}

/// A running HAProxy.
struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a HAProxy that leads to `server`; both lines may say more.
fn haproxy(bind: &str, server: SocketAddr, parameters: &str) -> (Haproxy, SocketAddr) {
    let address = refusing();
    let file =
        std::env::temp_dir().join(format!("mainstay-headers-{}-{}.cfg", std::process::id(), address.port()));
    let text = format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
         listen l\n bind {address} {bind}\n server s {server} {parameters}\n"
    );
    fs::write(&file, text).unwrap();
    let started = Command::new("haproxy").arg("-db").arg("-f").arg(&file).stderr(Stdio::null()).spawn();
    let haproxy = Haproxy(started.expect("haproxy is installed (tools/install-test-tools)"));
    wait_until("haproxy listens", || TcpStream::connect(address).is_ok());
    fs::remove_file(file).unwrap();
    (haproxy, address)
}

#[test]
fn haproxy_understands_our_headers() {
    for header in [V1, V2, ProxyHeader { checksum: true, tls: true, unique_id: true, ..V2 }] {
        let (_haproxy, address) = haproxy("accept-proxy", echo(), "send-proxy");
        let rig = Rig::start(&[address], |plan| sends(plan, header));
        let client = rig.connect();
        let line = line_of(&client);
        assert_eq!(told(client, b"hello"), format!("{line}hello"), "{header:?}");
    }
}

#[test]
fn we_understand_the_headers_of_haproxy() {
    for parameters in ["send-proxy", "send-proxy-v2", "send-proxy-v2-ssl proxy-v2-options crc32c,unique-id"] {
        let rig = Rig::start(&[echo()], |plan| {
            accepts(plan);
            sends(plan, V1);
        });
        let (_haproxy, address) = haproxy("", rig.address, parameters);
        let client = connect(address);
        let line = line_of(&client);
        assert_eq!(told(client, b"hello"), format!("{line}hello"), "{parameters}");
    }
}
