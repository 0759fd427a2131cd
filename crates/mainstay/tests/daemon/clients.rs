//! Tools that people point at HAProxy's socket, unmodified: hatop, and the exporter for Prometheus; and what a table and the
//! sessions look like there.

use std::os::unix::net::UnixStream;

use super::metrics::{Killed, ask};
use super::*;

/// A daemon with a stats socket, a table, and a server that holds what it gets.
fn start(place: &Place, port: u16) -> (Killed, String) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    std::thread::spawn(move || server.incoming().flatten().for_each(std::mem::forget));
    let stats = place.file("stats");
    let text = format!(
        "global\n stats socket {stats} level admin\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\n\
         backend counted\n stick-table type ip size 1k expire 30m store conn_cur,conn_cnt\n\
         frontend api\n bind 127.0.0.1:{port}\n tcp-request connection track-sc0 src table counted\n \
         default_backend servers\n\
         backend servers\n server one {address}\n server two 127.0.0.1:9 check backup\n"
    );
    let (configuration, socket) = (place.write("haproxy.cfg", &text), place.file("socket"));
    let child = mainstay(&["run", "--haproxy-cfg", &configuration, "--socket", &socket, "--no-peer-link"])
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let daemon = Killed(child);
    // The last that it begins with.
    await_listener(port);
    (daemon, stats)
}

fn say(stats: &str, command: &str) -> String {
    let mut stream = UnixStream::connect(stats).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    writeln!(stream, "{command}").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

/// Says `command` until the answer has all of `wanted` in it.
fn say_until(stats: &str, command: &str, wanted: &[&str]) -> String {
    let began = Instant::now();
    loop {
        let answer = say(stats, command);
        if wanted.iter().all(|text| answer.contains(text)) {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "{command}: {answer}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn sessions_and_tables_are_shown_and_cleared() {
    let (place, port) = (Place::new("clients-tables"), free_port());
    let (_daemon, stats) = start(&place, port);
    let mut clients: Vec<TcpStream> =
        (0..2).map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens")).collect();
    clients[0].write_all(b"hello").expect("it is connected");
    let sessions = say_until(&stats, "show sess", &["in=5 ", "0x2: "]);
    let source = clients[0].local_addr().expect("an address");
    let line = sessions.lines().find(|line| line.contains(&format!("src={source} "))).expect("its line");
    assert!(line.contains(" fe=api be=servers srv=one ") && line.contains(" state=EST "), "{line}");
    let id = line.split(':').next().expect("a number");
    assert!(say(&stats, &format!("show sess {id}")).contains("in=5"));
    assert_eq!(say(&stats, "show sess 0xfff"), "Session not found.\n\n");

    let table = say(&stats, "show table counted");
    assert!(table.starts_with("# table: counted, type: ip, size:1024, used:1\n0x"), "{table}");
    assert!(table.contains(": key=127.0.0.1 use=2 exp=") && table.contains(" conn_cnt=2 conn_cur=2\n"));
    assert!(say(&stats, "show table counted data.conn_cur gt 2").lines().count() == 2, "its heading alone");
    assert_eq!(say(&stats, "clear table counted key 127.0.0.1"), "Entry currently in use, cannot remove\n\n");

    say(&stats, &format!("shutdown session {id}"));
    let began = Instant::now();
    assert!(matches!(clients[0].read(&mut [0]), Ok(0) | Err(_)) && began.elapsed() < PATIENCE);
    // The server never ends a connection itself.
    say(&stats, "shutdown sessions server servers/one");
    drop(clients);
    say_until(&stats, "show table counted", &[" conn_cur=0\n"]);
    assert_eq!(say(&stats, "clear table counted"), "\n");
    assert_eq!(say(&stats, "show table counted"), "# table: counted, type: ip, size:1024, used:0\n\n");
    assert_eq!(say(&stats, "set table counted key 10.0.0.1 data.conn_cnt 7 data.conn_cur 2"), "\n");
    let table = say(&stats, "show table counted data.conn_cnt eq 7");
    assert!(
        table.contains(": key=10.0.0.1 use=0 exp=") && table.contains(" conn_cnt=7 conn_cur=2\n"),
        "{table}"
    );
}

#[test]
fn events_are_shown_and_followed() {
    let (place, port) = (Place::new("clients-events"), free_port());
    let (_daemon, stats) = start(&place, port);
    assert!(say(&stats, "show events").contains("\n    log        : type=buffer, 0 dropped, "));
    assert_eq!(say(&stats, "show events ring"), "No such event sink\n\n");
    assert!(say(&stats, "show events log").contains("runs 1 frontend"));
    let mut stream = UnixStream::connect(&stats).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    writeln!(stream, "show events log -w -n").expect("it reads");
    let mut lines = BufReader::new(stream.try_clone().expect("another handle")).lines();
    // What happens before it listens is not new.
    let began = Instant::now();
    let heard = std::thread::spawn(move || {
        let first = lines.next().expect("a line").expect("text");
        (first, lines)
    });
    while !heard.is_finished() {
        assert!(began.elapsed() < PATIENCE, "nothing is heard");
        say(&stats, "set server servers/two state drain");
        say(&stats, "set server servers/two state ready");
    }
    let (first, lines) = heard.join().expect("a line");
    assert!(first.contains("server servers/two is "), "{first}");
    assert!(!first.contains("runs 1 frontend"), "{first}");
    writeln!(stream).expect("any key ends it");
    assert!(lines.map_while(Result::ok).all(|line| line.is_empty() || line.contains("servers/two")));
}

#[test]
fn hatop_draws_its_screen() {
    let (place, port) = (Place::new("clients-hatop"), free_port());
    let (_daemon, stats) = start(&place, port);
    // It wants a terminal, which `script` makes.
    let mut hatop = Command::new("script")
        .args(["-qefc", &format!("stty rows 40 cols 150; exec hatop -s {stats} -i 1"), "/dev/null"])
        .env("TERM", "xterm")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of util-linux");
    let mut output = hatop.stdout.take().expect("its screen");
    let (mut screen, mut bytes) = (String::new(), [0; 4096]);
    let drawn = |screen: &str| {
        ["FRONTEND", "BACKEND", ">>> servers", "L4CON"].iter().all(|text| screen.contains(text))
    };
    while !drawn(&screen) {
        let count = output.read(&mut bytes).expect("text");
        assert!(count > 0, "hatop ended: {screen}");
        screen.push_str(&String::from_utf8_lossy(&bytes[..count]));
    }
    assert!(!screen.contains("error"), "{screen}");
    let _ = hatop.kill();
    let _ = hatop.wait();
}

/// What Prometheus' exporter for HAProxy makes of the statistics that are found there.
pub(super) fn exported(scrape: &str) -> String {
    let own = free_port();
    let exporter = Command::new("prometheus-haproxy-exporter")
        .arg(format!("--haproxy.scrape-uri={scrape}"))
        .arg(format!("--web.listen-address=127.0.0.1:{own}"))
        .stderr(Stdio::null())
        .spawn()
        .expect("it is installed: tools/install-test-tools");
    let _exporter = Killed(exporter);
    ask(own, "GET /metrics").1
}

#[test]
fn the_exporter_for_prometheus_understands_every_line() {
    let (place, port) = (Place::new("clients-exporter"), free_port());
    let (_daemon, stats) = start(&place, port);
    let _client = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    say_until(&stats, "show stat", &["api,FRONTEND,,,1,"]);
    let text = exported(&format!("unix:{stats}"));
    for line in [
        "haproxy_up 1",
        "haproxy_exporter_csv_parse_failures_total 0",
        "haproxy_frontend_current_sessions{frontend=\"api\"} 1",
        "haproxy_server_up{backend=\"servers\",server=\"one\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}
