//! What frontends answer themselves, beside a real HAProxy with the same file: pages of statistics, `monitor-uri`, metrics.

use std::collections::BTreeMap;

use super::clients::exported;
use super::metrics::{Killed, families};
use super::*;

/// `admin:secret`, `carol:pass` and `bob:b:ob`.
const ADMIN: &str = "Authorization: Basic YWRtaW46c2VjcmV0";
const CAROL: &str = "Authorization: Basic Y2Fyb2w6cGFzcw==";
const BOB: &str = "Authorization: basic Ym9iOmI6b2I=";

/// The ports of one daemon.
#[derive(Clone, Copy)]
struct Ports {
    stats: u16,
    open: u16,
    people: u16,
    monitor: u16,
    exporter: u16,
    scoped: u16,
}

/// The file, with a server `up` at `server` and one that cannot be reached.
fn file(ports: Ports, server: u16) -> String {
    let Ports { stats, open, people, monitor, exporter, scoped } = ports;
    format!(
        "global\n stats socket abns@mainstay-pages-{stats}\nuserlist people\n user carol insecure-password pass\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n maxconn 100\n\
         listen stats\n bind 127.0.0.1:{stats}\n stats enable\n stats uri /stats\n stats refresh 7s\n \
         stats realm My\\ Realm\n stats auth admin:secret\n stats auth bob:b:ob\n stats admin if TRUE\n\
         frontend open\n bind 127.0.0.1:{open}\n stats hide-version\n\
         frontend people\n bind 127.0.0.1:{people}\n stats uri /p\n stats http-request deny if {{ path /p/no }}\n \
         stats http-request allow if {{ path_end /all }}\n \
         stats http-request auth realm people unless {{ http_auth(people) }}\n\
         frontend monitor\n bind 127.0.0.1:{monitor}\n monitor-uri /healthz\n \
         monitor fail if {{ nbsrv(servers) lt 1 }}\n\
         frontend exporter\n bind 127.0.0.1:{exporter}\n \
         http-request use-service prometheus-exporter if {{ path /metrics }} or {{ path_beg /m/ }} METH_GET\n\
         listen scoped\n bind 127.0.0.1:{scoped}\n stats uri /s\n stats scope servers\n stats scope .\n stats show-legends\n \
         stats show-desc <b>this & that</b>\n stats admin if LOCALHOST {{ src_port lt 1 }}\n\
         backend servers\n mode tcp\n server up 127.0.0.1:{server}\n server gone 127.0.0.1:9 check inter 200ms\n"
    )
}

/// An answer.
#[derive(Debug, PartialEq)]
struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// Sends a request of HTTP/1.0, so that the answer ends with the connection.
fn send(port: u16, method: &str, uri: &str, header: &str, body: &str) -> Reply {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let header = if header.is_empty() { String::new() } else { format!("{header}\r\n") };
    let length = body.len();
    write!(stream, "{method} {uri} HTTP/1.0\r\n{header}Content-Length: {length}\r\n\r\n{body}")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{method} {uri}: {answer:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    // HAProxy sends chunks, even to those who do not understand them.
    let chunked = headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked");
    Reply { status, headers, body: if chunked { joined(body) } else { body.to_owned() } }
}

/// What is in chunks.
fn joined(mut chunks: &str) -> String {
    let mut text = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("the length of a chunk");
        text.push_str(&rest[..length]);
        chunks = rest[length..].trim_start_matches("\r\n");
    }
    text
}

fn get(port: u16, uri: &str, header: &str) -> Reply {
    send(port, "GET", uri, header, "")
}

fn start_haproxy(place: &Place, text: &str, port: u16) -> Killed {
    let configuration = place.write("theirs.cfg", text);
    let haproxy = Command::new("haproxy")
        .args(["-db", "-f", &configuration])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let haproxy = Killed(haproxy.expect("haproxy is installed: tools/install-test-tools"));
    await_listener(port);
    haproxy
}

fn start_mainstay(place: &Place, text: &str, port: u16) -> Killed {
    let (configuration, socket) = (place.write("ours.cfg", text), place.file("socket"));
    let log = fs::File::create(place.file("log")).expect("a log");
    let child = mainstay(&["run", "--haproxy-cfg", &configuration, "--socket", &socket, "--no-peer-link"])
        .stderr(log)
        .spawn();
    let daemon = Killed(child.expect("it starts"));
    await_listener(port);
    daemon
}

/// Both, with files that differ in their ports.
struct Pair {
    ours: Ports,
    theirs: Ports,
    _daemons: [Killed; 2],
    /// Somebody listens there.
    _server: TcpListener,
}

impl Pair {
    fn start(test: &str) -> Self {
        let place = Place::new(test);
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let reached = server.local_addr().expect("an address").port();
        let ports = || Ports {
            stats: free_port(),
            open: free_port(),
            people: free_port(),
            monitor: free_port(),
            exporter: free_port(),
            scoped: free_port(),
        };
        let (ours, theirs) = (ports(), ports());
        let daemons = [
            start_mainstay(&place, &file(ours, reached), ours.scoped),
            start_haproxy(&place, &file(theirs, reached), theirs.scoped),
        ];
        let pair = Self { ours, theirs, _daemons: daemons, _server: server };
        for ports in [ours, theirs] {
            let began = Instant::now();
            while pair.cell(ports, "servers", "gone", "status") != "DOWN" {
                assert!(began.elapsed() < PATIENCE, "it never went down");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        pair
    }

    /// One field of the CSV, by way of a page that does not count in those of the others.
    fn cell(&self, ports: Ports, proxy: &str, server: &str, field: &str) -> String {
        let csv = get(ports.stats, "/stats;csv", ADMIN).body;
        let rows = rows(&csv);
        rows.get(&(proxy.to_owned(), server.to_owned()))
            .and_then(|row| row.get(field))
            .cloned()
            .unwrap_or_default()
    }
}

type Row = BTreeMap<String, String>;

/// The lines of a CSV, by proxy and server.
fn rows(csv: &str) -> BTreeMap<(String, String), Row> {
    assert!(csv.starts_with("# pxname,"), "{csv}");
    let mut lines = csv.lines().filter(|line| !line.is_empty());
    let names: Vec<&str> = lines.next().unwrap_or_default().trim_start_matches("# ").split(',').collect();
    let row = |line: &str| -> Row {
        names
            .iter()
            .zip(line.split(','))
            .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
            .collect()
    };
    lines.map(row).map(|row| ((row["pxname"].clone(), row["svname"].clone()), row)).collect()
}

/// What of an answer has to be the same: all of a short one, and the head of a page.
fn comparable(reply: Reply) -> Reply {
    let names = ["cache-control", "content-type", "refresh", "www-authenticate", "location"];
    let headers = reply.headers.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect();
    let short = reply.body.len() < 200;
    Reply { headers, body: if short { reply.body } else { String::new() }, ..reply }
}

#[test]
fn pages_are_answered_as_haproxy_answers_them() {
    let pair = Pair::start("pages");
    type Port = fn(Ports) -> u16;
    let stats: Port = |ports| ports.stats;
    let open: Port = |ports| ports.open;
    let monitor: Port = |ports| ports.monitor;
    let exporter: Port = |ports| ports.exporter;
    let people: Port = |ports| ports.people;
    let long = "a".repeat(20_000);
    let cases: Vec<(Port, &str, &str, &str, &str)> = vec![
        (stats, "GET", "/stats", "", ""),
        (stats, "GET", "/stats", "Authorization: Basic YWRtaW46d3Jvbmc=", ""),
        (stats, "GET", "/stats", "Authorization: Bearer YWRtaW46c2VjcmV0", ""),
        (stats, "GET", "/stats", ADMIN, ""),
        (stats, "GET", "/stats/anything", BOB, ""),
        (stats, "GET", "/stats;csv", ADMIN, ""),
        (stats, "GET", "/stats;csv;norefresh", ADMIN, ""),
        (stats, "GET", "/stats;json", ADMIN, ""),
        (stats, "HEAD", "/stats", ADMIN, ""),
        (stats, "PUT", "/stats", ADMIN, "x"),
        (stats, "GET", "/other", "", ""),
        (stats, "POST", "/stats", "", "s=up&action=ready&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=up&action=ready&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=up&s=nobody&action=ready&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=nobody&action=ready&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=up&action=nonsense&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=up&action=&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=up&action=ready&b=nobody"),
        (stats, "POST", "/stats", ADMIN, "b=%238&action=ready&s=up"),
        (stats, "POST", "/stats", ADMIN, "s=up&action=dhlth&b=servers"),
        (stats, "POST", "/stats", ADMIN, "action=ready&b=servers"),
        (stats, "POST", "/stats", ADMIN, "s=up&b=servers"),
        (stats, "POST", "/stats", ADMIN, ""),
        (stats, "POST", "/stats", ADMIN, &long),
        (stats, "POST", "/stats;up;norefresh?scope=abc", ADMIN, "s=up&action=ready&b=servers"),
        (open, "GET", "/", "", ""),
        (open, "GET", "/haproxy?stats", "", ""),
        (open, "POST", "/haproxy?stats", "", "s=up&action=drain&b=servers"),
        (people, "GET", "/p", "", ""),
        (people, "GET", "/p", ADMIN, ""),
        (people, "GET", "/p", CAROL, ""),
        (people, "GET", "/p/no", CAROL, ""),
        (people, "GET", "/p/all", "", ""),
        (monitor, "GET", "/healthz", "", ""),
        (monitor, "HEAD", "/healthz", "", ""),
        (monitor, "POST", "/healthz", "", "x=y"),
        (monitor, "GET", "/healthz?x", "", ""),
        (monitor, "GET", "/", "", ""),
        (exporter, "GET", "/metrics", "", ""),
        (exporter, "GET", "/metrics?scope=", "", ""),
        (exporter, "GET", "/metrics?scope=nonsense", "", ""),
        (exporter, "GET", "/m/x", "", ""),
        (exporter, "POST", "/m/x", "", ""),
        (exporter, "GET", "/other", "", ""),
    ];
    for (port, method, uri, header, body) in &cases {
        let ours = comparable(send(port(pair.ours), method, uri, header, body));
        let theirs = comparable(send(port(pair.theirs), method, uri, header, body));
        assert_eq!(
            ours,
            theirs,
            "{method} {uri} {header} {}: mainstay, and HAProxy",
            &body[..body.len().min(80)]
        );
    }
    counters_are_alike(&pair);
}

/// After the same requests.
fn counters_are_alike(pair: &Pair) {
    let csv = |ports: Ports| get(ports.stats, "/stats;csv", ADMIN).body;
    let (ours, theirs) = (csv(pair.ours), csv(pair.theirs));
    let head =
        |csv: &str| csv.lines().next().unwrap_or_default().split(',').take(103).collect::<Vec<_>>().join(",");
    assert_eq!(head(&ours), head(&theirs));
    let (ours, theirs) = (rows(&ours), rows(&theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    let fields = [
        "status",
        "weight",
        "act",
        "bck",
        "type",
        "iid",
        "sid",
        "pid",
        "mode",
        "slim",
        "dreq",
        "dresp",
        "ereq",
        "intercepted",
        "hrsp_1xx",
        "hrsp_2xx",
        "hrsp_3xx",
        "hrsp_4xx",
        "hrsp_5xx",
        "hrsp_other",
        "check_status",
        "addr",
        "algo",
        "qcur",
    ];
    // The frontend that was asked until a server was down was asked more or less often.
    for (name, row) in ours.iter().filter(|((proxy, _), _)| proxy != "stats") {
        let more: &[&str] =
            if row["mode"] == "http" { &["stot", "req_tot", "econ", "conn_tot"] } else { &[] };
        for field in fields.iter().chain(more) {
            assert_eq!(row[*field], theirs[name][*field], "{field} of {name:?}: mainstay, and HAProxy");
        }
    }
    let open = &ours[&("open".to_owned(), "FRONTEND".to_owned())];
    assert_eq!((open["req_tot"].as_str(), open["intercepted"].as_str()), ("3", "2"));
}

#[test]
fn users_rules_and_scopes_hold() {
    let pair = Pair::start("pages-rules");
    for ports in [pair.ours, pair.theirs] {
        let csv = get(ports.scoped, "/s;csv", "").body;
        let names: Vec<_> =
            rows(&csv).into_keys().map(|(proxy, server)| format!("{proxy}/{server}")).collect();
        let expected = ["scoped/BACKEND", "scoped/FRONTEND", "servers/BACKEND", "servers/gone", "servers/up"];
        assert_eq!(names, expected);
        let one = |query: &str| rows(&get(ports.stats, &format!("/stats;csv{query}"), ADMIN).body);
        assert!(one("?scope=serv").keys().all(|(proxy, _)| proxy == "servers"));
        assert!(!one(";up").contains_key(&("servers".to_owned(), "gone".to_owned())));
        assert_eq!(one("")[&("servers".to_owned(), "gone".to_owned())]["addr"], "");
        let denied = send(ports.scoped, "POST", "/s", "", "s=up&action=maint&b=servers");
        assert_eq!((denied.status, denied.headers["location"].as_str()), (303, "/s;st=DENY"));
        assert_eq!(pair.cell(ports, "servers", "up", "status"), "no check");
    }
    let page = get(pair.ours.scoped, "/s;st=DENY", "").body;
    assert!(page.contains("&lt;b&gt;this &amp; that&lt;/b&gt;") && !page.contains("<b>this"), "{page}");
    assert!(page.contains("it is not permitted here") && !page.contains("<form method=\"post\""), "{page}");
    assert!(page.contains("leastconn") || page.contains("roundrobin"));
    let page = get(pair.ours.stats, "/stats", ADMIN).body;
    assert!(
        page.contains("<form method=\"post\" action=\"/stats\">") && page.contains("value=\"#8\""),
        "{page}"
    );
    assert!(page.contains(&format!("mainstay {}", env!("CARGO_PKG_VERSION"))), "{page}");
    assert!(!get(pair.ours.open, "/haproxy?stats", "").body.contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn what_is_asked_for_on_the_page_happens() {
    let pair = Pair::start("pages-admin");
    for (action, server) in [
        ("drain", "up"),
        ("maint", "up"),
        ("ready", "up"),
        ("hdown", "gone"),
        ("hrunn", "up"),
        ("stop", "up"),
        ("start", "up"),
        ("disable", "up"),
        ("enable", "up"),
        ("dhlth", "gone"),
        ("ehlth", "gone"),
        ("shutdown", "up"),
    ] {
        let outcome = |ports: Ports| {
            let form = format!("s={server}&action={action}&b=servers");
            let reply = send(ports.stats, "POST", "/stats", ADMIN, &form);
            (reply.headers["location"].clone(), pair.cell(ports, "servers", server, "status"))
        };
        assert_eq!(outcome(pair.ours), outcome(pair.theirs), "{action} {server}: mainstay, and HAProxy");
    }
    // The service is down once no server is left, and up again when one is back.
    for (action, status) in [("maint", 503), ("ready", 200)] {
        for ports in [pair.ours, pair.theirs] {
            send(ports.stats, "POST", "/stats", ADMIN, &format!("s=up&action={action}&b=servers"));
            let began = Instant::now();
            while get(ports.monitor, "/healthz", "").status != status {
                assert!(began.elapsed() < PATIENCE, "{action}: it never answered {status}");
            }
        }
        let body = |ports: Ports| get(ports.monitor, "/healthz", "").body;
        assert_eq!(body(pair.ours), body(pair.theirs));
    }
}

#[test]
fn metrics_have_haproxys_names_there() {
    let pair = Pair::start("pages-metrics");
    let read =
        |ports: Ports, query: &str| families(&get(ports.exporter, &format!("/metrics{query}"), "").body);
    let (ours, theirs) = (read(pair.ours, ""), read(pair.theirs, ""));
    assert!(ours.len() > 80, "{ours:?}");
    for (name, family) in &ours {
        assert_eq!(Some(family), theirs.get(name), "{name}");
    }
    let servers = read(pair.ours, "?scope=server&no-maint");
    assert!(!servers.is_empty() && servers.keys().all(|name| name.starts_with("haproxy_server_")));
    assert!(read(pair.ours, "?scope=mainstay").keys().all(|name| name.starts_with("mainstay_")));
}

#[test]
fn the_exporter_for_prometheus_scrapes_the_page() {
    let pair = Pair::start("pages-exporter");
    let text = exported(&format!("http://admin:secret@127.0.0.1:{}/stats;csv", pair.ours.stats));
    for line in [
        "haproxy_up 1",
        "haproxy_exporter_csv_parse_failures_total 0",
        "haproxy_server_up{backend=\"servers\",server=\"gone\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn those_who_say_nothing_or_nonsense_keep_nobody_out() {
    let place = Place::new("pages-hostile");
    let port = free_port();
    let text = format!(
        "defaults\n mode http\n timeout client 2s\nfrontend health\n bind 127.0.0.1:{port}\n monitor-uri /healthz\n stats uri /\n"
    );
    let _daemon = start_mainstay(&place, &text, port);
    let connect = || TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let silent: Vec<TcpStream> = (0..300).map(|_| connect()).collect();
    let mut dripping: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    for client in &mut dripping {
        client.write_all(b"GET / HTTP/1.1\r\nX: ").expect("it is connected");
    }
    // Those ask for a page and read nothing.
    let mut unread: Vec<TcpStream> = (0..50).map(|_| connect()).collect();
    for client in &mut unread {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is connected");
    }
    for nonsense in
        [&b"\x16\x03\x01\x00\x00"[..], b"GARBAGE\r\n\r\n", &[b'a'; 100_000], b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut client = connect();
        let _ = client.write_all(nonsense);
        client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        // Closed, whatever was said before.
        let _ = client.read_to_end(&mut Vec::new());
    }
    assert_eq!(get(port, "/healthz", "").status, 200);
    assert_eq!(get(port, "/", "").status, 200);
    // Whoever says nothing loses the connection.
    let mut client = &silent[0];
    client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    assert!(
        !matches!(client.read(&mut [0; 16]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    );
    let log = fs::read_to_string(place.file("log")).expect("its log");
    assert!(!log.contains("panic"), "{log}");
}

#[test]
fn addresses_that_proxy_headers_name_count_and_files_are_listened_on() {
    let place = Place::new("pages-binds");
    let (port, file) = (free_port(), place.file("pages.sock"));
    let text = format!(
        "defaults\n mode http\n timeout client 5s\n timeout connect 5s\n timeout server 5s\n\
         listen stats\n bind 127.0.0.1:{port} accept-proxy\n bind unix@{file}\n stats uri /\n \
         tcp-request connection reject if {{ src 127.0.0.2 }}\n stats admin if {{ src 192.0.2.1 }}\n\
         backend servers\n mode tcp\n server one 127.0.0.1:9\n"
    );
    let _daemon = start_mainstay(&place, &text, port);
    let request = "POST / HTTP/1.0\r\nContent-Length: 28\r\n\r\ns=one&action=maint&b=servers";
    for (client, outcome) in [("192.0.2.1", "DONE"), ("192.0.2.2", "DENY")] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
        write!(stream, "PROXY TCP4 {client} 198.51.100.1 4000 80\r\n{request}").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        assert!(answer.contains(&format!("location: /;st={outcome}")), "{client}: {answer}");
    }
    let mut stream = UnixStream::connect(&file).expect("it listens");
    stream.write_all(b"GET /;csv HTTP/1.0\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    assert!(answer.contains("\nservers,one,") && answer.contains(",MAINT,"), "{answer}");
}
