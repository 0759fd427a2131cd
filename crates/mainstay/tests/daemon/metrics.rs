//! Metrics, as Prometheus asks for them.

use std::collections::BTreeMap;

use super::*;

/// A process that ends with the test.
pub(super) struct Killed(pub(super) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends `request` once somebody listens on `port`, and returns the head and the body of the answer.
pub(super) fn ask(port: u16, request: &str) -> (String, String) {
    let started = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(stream) => break stream,
            Err(error) => assert!(started.elapsed() < PATIENCE, "nobody listens: {error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    // In this version there are no chunks, whose lengths would stand anywhere in the text.
    write!(stream, "{request} HTTP/1.0\r\nHost: here\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the end of the head");
    (head.to_owned(), body.to_owned())
}

fn start(place: &Place, port: u16, metrics: u16) -> Killed {
    let configuration = place.write("haproxy.cfg", &haproxy(port));
    let (socket, address) = (place.file("socket"), format!("127.0.0.1:{metrics}"));
    let child =
        mainstay(&["run", "--haproxy-cfg", &configuration, "--socket", &socket, "--metrics", &address])
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
    Killed(child)
}

/// Name and type of each metric, with the names of the labels of its first sample.
pub(super) fn families(text: &str) -> BTreeMap<String, (String, Vec<String>)> {
    let mut families = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            let sample = text.lines().find(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
            });
            let labels = sample.and_then(|line| line.split_once('{')).map_or("", |(_, inside)| inside);
            let labels = labels.split("\",").filter_map(|label| Some(label.split_once('=')?.0.to_owned()));
            families.insert(name.to_owned(), (kind.to_owned(), labels.collect()));
        }
    }
    families
}

#[test]
fn they_are_read_at_one_path_and_nothing_else_is_there() {
    let place = Place::new("metrics");
    let (port, metrics) = (free_port(), free_port());
    let _daemon = start(&place, port, metrics);
    let (head, body) = ask(metrics, "GET /metrics");
    assert!(head.starts_with("HTTP/1.0 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(body.contains("haproxy_server_status{proxy=\"servers\",server=\"one\",state=\"UP\"}"), "{body}");
    assert!(body.contains("\nmainstay_uptime_seconds "), "{body}");
    for (request, code) in [
        ("GET /", "404"),
        ("POST /metrics", "405"),
        ("GET /metrics?scope=nonsense", "400"),
        ("HEAD /metrics", "200"),
        ("GET /metrics?scope=", "200"),
    ] {
        assert_eq!(ask(metrics, request).0.split(' ').nth(1), Some(code), "{request}");
    }
    // The server cannot be reached, so an event says that it went down.
    let started = Instant::now();
    while !ask(metrics, "GET /metrics").1.contains("mainstay_events_total{event=\"server_down\"") {
        assert!(started.elapsed() < PATIENCE, "it never went down");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn an_address_that_is_taken_starts_nothing() {
    let place = Place::new("metrics-taken");
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = holder.local_addr().expect("an address").to_string();
    let configuration = place.write("haproxy.cfg", &haproxy(free_port()));
    let socket = place.file("socket");
    let (code, _, said) =
        output(&["run", "--haproxy-cfg", &configuration, "--socket", &socket, "--metrics", &address]);
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("cannot answer with metrics on {address}: Address already in use")),
        "{said}"
    );
    assert!(!Path::new(&socket).exists(), "it left its socket behind");
}

#[test]
fn haproxys_names_have_the_types_and_labels_that_haproxy_gives_them() {
    let place = Place::new("metrics-haproxy");
    let (port, metrics, theirs) = (free_port(), free_port(), free_port());
    let exporter = format!(
        "{}frontend exporter\n    mode http\n    bind 127.0.0.1:{theirs}\n    \
         http-request use-service prometheus-exporter if {{ path /metrics }}\n",
        haproxy(free_port())
    );
    let configuration = place.write("theirs.cfg", &exporter);
    let haproxy = Command::new("haproxy")
        .args(["-db", "-f", &configuration])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("haproxy is installed: tools/install-test-tools");
    let _haproxy = Killed(haproxy);
    let _daemon = start(&place, port, metrics);
    let theirs = families(&ask(theirs, "GET /metrics").1);
    let ours = families(&ask(metrics, "GET /metrics").1);
    let names: Vec<_> = ours.keys().filter(|name| name.starts_with("haproxy_")).collect();
    assert!(names.len() > 15, "{names:?}");
    for name in names {
        assert_eq!(Some(&ours[name]), theirs.get(name), "{name}");
    }
}
