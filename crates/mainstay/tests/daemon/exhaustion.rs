//! A daemon that runs out of descriptors: those who are connected notice nothing, others wait, and nobody has to restart it.

use super::metrics::ask;
use super::*;

/// Descriptors left for connections once the limit has been lowered: each needs two.
const LEFT: usize = 8;

/// More clients than that.
const CLIENTS: usize = 24;

/// Echoes what each client sends.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || std::io::copy(&mut stream.try_clone().expect("a copy"), &mut stream));
        }
    });
    port
}

fn connect(port: u16) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(b"x").expect("the backlog takes it");
    stream
}

/// Whether the byte that [`connect`] sent comes back, or another one.
fn answers(stream: &mut TcpStream, patience: Duration) -> bool {
    stream.set_read_timeout(Some(patience)).expect("a time-out");
    stream.read(&mut [0]).is_ok_and(|count| count == 1)
}

fn limit_descriptors(daemon: &Child, limit: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &daemon.id().to_string(), &format!("--nofile={limit}:")])
        .status()
        .expect("prlimit, of util-linux");
    assert!(status.success());
}

fn accept_pauses(port: u16) -> u64 {
    let (_, body) = ask(port, "GET /metrics?scope=mainstay");
    let line = body.lines().find_map(|line| line.strip_prefix("mainstay_accept_pauses_total "));
    line.expect("the metric").parse().expect("a number")
}

#[test]
fn descriptors_that_run_out_are_waited_for() {
    let (place, port, scrapes, server) = (Place::new("exhaustion"), free_port(), free_port(), echo());
    let configuration = haproxy(port).replace("127.0.0.1:9 check", &format!("127.0.0.1:{server}"));
    let configuration = place.write("haproxy.cfg", &configuration);
    let (socket, address) = (place.file("socket"), format!("127.0.0.1:{scrapes}"));
    let daemon = metrics::Killed(
        mainstay(&["run", "--haproxy-cfg", &configuration, "--socket", &socket, "--metrics", &address])
            .stderr(fs::File::create(place.0.join("log")).expect("a log"))
            .spawn()
            .expect("it starts"),
    );
    assert_eq!(accept_pauses(scrapes), 0);
    let mut old = connect(port);
    assert!(answers(&mut old, PATIENCE));

    let open = fs::read_dir(format!("/proc/{}/fd", daemon.0.id())).expect("its descriptors").count();
    limit_descriptors(&daemon.0, &(open + LEFT).to_string());
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(port)).collect();
    let log = || fs::read_to_string(place.0.join("log")).expect("a log");
    let started = Instant::now();
    while !log().contains("no descriptor or memory left") {
        assert!(started.elapsed() < PATIENCE, "{}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    old.write_all(b"y").expect("it is connected");
    assert!(answers(&mut old, PATIENCE), "whoever is connected notices nothing");

    limit_descriptors(&daemon.0, "1024");
    let served = clients.iter_mut().filter_map(|client| answers(client, PATIENCE).then_some(())).count();
    // A connection that was accepted with the last descriptor found none for its server.
    assert!(served > CLIENTS / 2, "{served} of {CLIENTS} were served in the end");
    assert!(accept_pauses(scrapes) > 0);
    let mut late = connect(port);
    assert!(answers(&mut late, PATIENCE), "and everything is as before");
}
