//! Servers whose addresses change while the daemon runs, told by a name server on loopback.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use super::*;

/// The addresses of the one name there is.
type Zone = Arc<Mutex<Vec<Ipv4Addr>>>;

/// A name server that answers every question about IPv4 with what is in `zone`, and with NXDOMAIN if that is nothing.
fn name_server(zone: Zone) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = &buffer[..length];
            // Behind the header stand the name, which ends with a zero, its type and its class.
            let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).expect("a name") + 1;
            let addresses = zone.lock().expect("no panic").clone();
            let asked_for_ipv4 = query[name_end..name_end + 2] == [0, 1];
            let answers: &[Ipv4Addr] = if asked_for_ipv4 { &addresses } else { &[] };
            let code = if addresses.is_empty() { 3 } else { 0 };
            let count = u8::try_from(answers.len()).expect("a few");
            let mut reply = vec![query[0], query[1], 0x81, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0];
            reply.extend(&query[12..name_end + 4]);
            for address in answers {
                reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
                reply.extend(address.octets());
            }
            let _ = socket.send_to(&reply, from);
        }
    });
    address
}

/// A server that says its address, and then what it hears.
fn server(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            thread::spawn(move || {
                let own = stream.local_addr().expect("an address").ip().to_string();
                let mut buffer = [0; 64];
                let _ = stream.write_all(format!("{own}\n").as_bytes());
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    let _ = stream.write_all(&buffer[..length]);
                }
            });
        }
    });
}

/// Two servers at one port.
fn servers() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.21:0").expect("a port");
        let port = first.local_addr().expect("an address").port();
        if let Ok(second) = TcpListener::bind(("127.0.0.22", port)) {
            server(first);
            server(second);
            return port;
        }
    }
}

/// The server that a new connection gets, which says who it is; `None` while there is none.
fn connect(port: u16) -> Option<(String, BufReader<TcpStream>)> {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the frontend listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut stream = BufReader::new(stream);
    let mut who = String::new();
    match stream.read_line(&mut who) {
        Ok(1..) => Some((who.trim().to_owned(), stream)),
        _ => None,
    }
}

fn await_server(port: u16, wanted: Option<&str>) -> Option<BufReader<TcpStream>> {
    let began = Instant::now();
    loop {
        let found = connect(port);
        if found.as_ref().map(|(who, _)| who.as_str()) == wanted {
            return found.map(|(_, stream)| stream);
        }
        assert!(began.elapsed() < PATIENCE, "{found:?} instead of {wanted:?}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn servers_follow_their_name_and_connections_stay_where_they_are() {
    let place = Place::new("names");
    let zone = Zone::default();
    let (dns, servers) = (name_server(Arc::clone(&zone)), servers());
    let port = free_port();
    let configuration = place.write(
        "haproxy.cfg",
        &format!(
            "resolvers dns\n nameserver stub {dns}\n timeout resolve 100ms\n timeout retry 100ms\n hold nx 300ms\n\
             defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n\
             listen api\n bind 127.0.0.1:{port}\n \
             server-template cp 2 cp.test:{servers} resolvers dns resolve-prefer ipv4 init-addr none check inter 50ms\n"
        ),
    );
    let socket = place.file("socket");
    let child =
        mainstay(&["run", "--haproxy-cfg", &configuration, "--socket", &socket]).spawn().expect("it starts");
    let daemon = Daemon { child, socket };
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "it does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    let states = || {
        let status: serde_json::Value = serde_json::from_str(&daemon.ask(b"status\n")).expect("JSON");
        let servers = status["pools"][0]["servers"].as_array().expect("servers").clone();
        let state = |server: &serde_json::Value| {
            format!("{} {}", server["name"].as_str().unwrap(), server["address"].as_str().unwrap())
        };
        servers.iter().map(state).collect::<Vec<_>>()
    };
    await_server(port, None);
    assert_eq!(states(), ["cp1 unknown", "cp2 unknown"]);

    *zone.lock().expect("no panic") = vec!["127.0.0.21".parse().unwrap()];
    let mut held = await_server(port, Some("127.0.0.21")).expect("a connection");
    assert_eq!(states(), [format!("cp1 127.0.0.21:{servers}"), "cp2 unknown".to_owned()]);

    *zone.lock().expect("no panic") = vec!["127.0.0.22".parse().unwrap()];
    await_server(port, Some("127.0.0.22"));
    let mut echo = |word: &str| {
        held.get_mut().write_all(word.as_bytes()).expect("it is open");
        let mut line = String::new();
        held.read_line(&mut line).expect("it is open");
        line
    };
    assert_eq!(echo("still here\n"), "still here\n", "the server moved, its connections did not");

    zone.lock().expect("no panic").clear();
    await_server(port, None);
    assert_eq!(states(), ["cp1 unknown", "cp2 unknown"]);
    assert_eq!(echo("and now\n"), "and now\n");
}
