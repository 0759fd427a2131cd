//! Holds what checks make of servers against a live HAProxy: the same file, the same servers, at the same time.
//!
//! Both check servers that behave as a script says: they work, refuse, fail, ask for no new connections, fall silent, have
//! agents and followers. After each step both have to think the same of each of them.

use std::cell::Cell;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::Directory;
use crate::ports::free_address;
use crate::runtime_orders::Daemon;

/// Far longer than a few checks take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that answers whatever it is asked with one text; without one, it refuses.
struct Scripted {
    address: SocketAddr,
    answer: Arc<Mutex<Option<&'static str>>>,
    listens: Option<Sender<()>>,
}

impl Scripted {
    fn new() -> Self {
        Self { address: free_address(), answer: Arc::default(), listens: None }
    }

    fn set(&mut self, answer: Option<&'static str>) {
        *self.answer.lock().expect("no panic") = answer;
        match (answer, self.listens.is_some()) {
            (None, true) => {
                self.listens = None;
                // The listener notices at its next connection.
                let _ = TcpStream::connect(self.address);
            }
            (Some(_), false) => self.listen(),
            _ => {}
        }
    }

    fn listen(&mut self) {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(self.address) {
                Ok(listener) => break listener,
                Err(error) => assert!(began.elapsed() < PATIENCE, "{}: {error}", self.address),
            }
            std::thread::yield_now();
        };
        let (sender, ended) = channel::<()>();
        self.listens = Some(sender);
        let answer = Arc::clone(&self.answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    return;
                }
                let answer = *answer.lock().expect("no panic");
                std::thread::spawn(move || serve(stream, answer));
            }
        });
    }
}

/// Waits for a question, unless nobody asks one, and answers.
fn serve(mut stream: TcpStream, answer: Option<&'static str>) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let text = answer.unwrap_or_default();
    let asked = !text.ends_with('\n') || stream.read(&mut [0; 512]).is_ok_and(|read| read > 0);
    if asked {
        let _ = stream.write_all(text.as_bytes());
    }
}

const OK: Option<&str> = Some("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n");
const PONG: Option<&str> = Some("+PONG\r\n");
const UNAVAILABLE: Option<&str> = Some("HTTP/1.0 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n");
const GONE: Option<&str> = Some("HTTP/1.0 404 Not Found\r\nContent-Length: 0\r\n\r\n");

/// What is thought of each server, as `show stat` tells it: its name, state, result of the latest check and its code.
fn opinions(daemon: &Daemon) -> Vec<String> {
    let text = daemon.say("show stat");
    let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let servers = rows.filter(|row| row.len() > 40 && !["BACKEND", "svname", "FRONTEND"].contains(&row[1]));
    let opinion = |row: Vec<&str>| {
        let state = settled(row[17]);
        let check = row[36].trim_start_matches("* ");
        format!("{}: {state} {check} {}", row[1], row[37]).trim_end().to_owned()
    };
    servers.map(opinion).collect()
}

/// A state without how far it is on its way to another one: `UP 1/3`.
fn settled(state: &str) -> &str {
    let on_its_way =
        |rest: &str| rest.split_once('/').is_some_and(|(passed, _)| passed.parse::<i8>().is_ok());
    state.split_once(' ').filter(|(_, rest)| on_its_way(rest)).map_or(state, |(word, _)| word)
}

/// What `show stat` and `show servers state` tell of servers beside times: states, weights, what was counted, whom they
/// track, what checks and agents said.
fn knowledge(daemon: &Daemon) -> Vec<String> {
    const COLUMNS: [&str; 20] = [
        "pxname",
        "svname",
        "status",
        "weight",
        "uweight",
        "act",
        "bck",
        "chkdown",
        "tracked",
        "check_status",
        "check_code",
        "check_health",
        "check_desc",
        "last_agt",
        "agent_status",
        "agent_code",
        "agent_desc",
        "agent_rise",
        "agent_fall",
        "agent_health",
    ];
    let text = daemon.say("show stat");
    let names: Vec<&str> = text.lines().next().expect("names").trim_start_matches("# ").split(',').collect();
    let place = |column: &&str| names.iter().position(|name| name == column).expect("a column of HAProxy's");
    let rows =
        text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>()).filter(|row| row.len() > 40);
    let servers = rows.filter(|row| !["BACKEND", "FRONTEND"].contains(&row[1])).map(|row| {
        let cells = COLUMNS.iter().map(|column| format!("{column}={}", settled(row[place(column)])));
        cells.collect::<Vec<_>>().join(" ").replace("=* ", "=")
    });
    let text = daemon.say("show servers state");
    let states =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split(' ').collect::<Vec<_>>());
    // Without the time since the last change, and what follows the result of the latest check.
    let states = states.filter(|row| row.len() > 12).map(|row| format!("{:?} {:?}", &row[..9], &row[10..12]));
    servers.chain(states).collect()
}

/// Both of them at work on one file.
struct Both {
    haproxy: Daemon,
    mainstay: Daemon,
}

impl Both {
    /// Waits until both think so of these servers: name, state, result of the latest check, its code.
    fn expect(&self, step: &str, expected: &[&str]) {
        let began = Instant::now();
        loop {
            let (theirs, ours) = (opinions(&self.haproxy), opinions(&self.mainstay));
            let so = |said: &[String]| expected.iter().all(|wanted| said.iter().any(|said| said == wanted));
            if so(&theirs) && so(&ours) {
                return;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "{step}\nexpected {expected:#?}\nHAProxy  {theirs:#?}\nmainstay {ours:#?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Both {
    /// Says a command to both, and waits until they know the same.
    fn order(&self, command: &str) {
        let answers = (self.haproxy.say(command), self.mainstay.say(command));
        assert_eq!(answers.0, answers.1, "{command}");
        self.agree(command, "");
    }

    /// Waits until both know the same, and `heard` is part of it.
    fn agree(&self, step: &str, heard: &str) {
        let began = Instant::now();
        loop {
            let (theirs, ours) = (knowledge(&self.haproxy), knowledge(&self.mainstay));
            if theirs == ours && theirs.iter().any(|line| line.contains(heard)) {
                return;
            }
            let differences: Vec<_> =
                theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours).collect();
            assert!(began.elapsed() < PATIENCE, "{step}: HAProxy and mainstay {differences:#?}, {theirs:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A server that is asked for its readiness and one that follows it, one of a line protocol, and one with an agent.
fn configuration(api: SocketAddr, line: SocketAddr, hot: SocketAddr, agent: u16) -> String {
    format!(
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 5h\n timeout server 5h\n timeout check 2s\n \
         default-server inter 200ms fastinter 100ms downinter 150ms\n\
         frontend f\n bind unix@F\n default_backend b\n\
         backend b\n option httpchk GET /readyz\n http-check disable-on-404\n \
         server api {api} check rise 2 fall 3\n server follower {api} track api\n\
         backend c\n option tcp-check\n tcp-check send PING\\r\\n\n tcp-check expect string +PONG\n \
         server line {line} check rise 1 fall 2\n\
         backend d\n server hot {hot} check weight 10 agent-check agent-port {agent} agent-inter 200ms\n"
    )
}

#[test]
fn servers_go_up_and_down_as_with_a_live_haproxy() {
    let directory = Directory::new("transitions");
    let [mut api, mut line, mut hot, mut agent] = [(); 4].map(|()| Scripted::new());
    let text = configuration(api.address, line.address, hot.address, agent.address.port());
    let all_work = ["api: UP L7OK 200", "follower: UP", "line: UP L7OK 0", "hot: UP L4OK"];
    api.set(OK);
    line.set(PONG);
    hot.set(Some(""));
    agent.set(Some("up\n "));
    let both = Both {
        haproxy: Daemon::haproxy(&directory.0, &text),
        mainstay: Daemon::mainstay(&directory.0, &text),
    };
    both.expect("all work", &all_work);
    api.set(GONE);
    both.expect("it asks for no new connections", &["api: NOLB L7OKC 404"]);
    api.set(OK);
    both.expect("it asks for them again", &["api: UP L7OK 200", "follower: UP"]);
    api.set(UNAVAILABLE);
    line.set(Some("-LOADING\r\n"));
    agent.set(Some("down #too hot\n "));
    let down = ["api: DOWN L7STS 503", "follower: DOWN", "line: DOWN L7RSP", "hot: DOWN (agent) L4OK"];
    both.expect("all fail in their own way", &down);
    api.set(GONE);
    both.expect("404 is no answer of a server that is down", &["api: DOWN L7STS 404", "follower: DOWN"]);
    agent.set(Some("up drain\n "));
    both.expect("the agent drains", &["hot: DRAIN (agent) L4OK"]);
    agent.set(Some("maint\n "));
    both.expect("the agent takes it away", &["hot: MAINT"]);
    api.set(None);
    line.set(None);
    both.expect("nobody listens", &["api: DOWN L4CON", "line: DOWN L4CON"]);
    api.set(OK);
    line.set(PONG);
    agent.set(Some("ready up\n "));
    both.expect("all work again", &all_work);
}

#[test]
fn orders_leave_servers_and_those_that_track_them_as_with_a_live_haproxy() {
    let directory = Directory::new("orders-live");
    let [mut one, mut two, mut agent] = [(); 3].map(|()| Scripted::new());
    one.set(Some(""));
    two.set(Some(""));
    agent.set(Some("up\n "));
    let text = format!(
        "defaults\n mode tcp\n timeout connect 2s\n timeout check 2s\n timeout client 5h\n timeout server 5h\n \
         default-server inter 200ms fastinter 100ms downinter 150ms\n\
         frontend f\n bind unix@F\n default_backend b\n\
         backend b\n server one {} check weight 10 agent-check agent-port {} agent-inter 200ms\n \
         server two {} check\n server three {} backup\n\
         backend c\n server one {} track b/one\n server two {} track b/two\n server four {} track c/two\n",
        one.address,
        agent.address.port(),
        two.address,
        two.address,
        one.address,
        two.address,
        two.address,
    );
    let both = Both {
        haproxy: Daemon::haproxy(&directory.0, &text),
        mainstay: Daemon::mainstay(&directory.0, &text),
    };
    both.agree("all work", "check_status=L4OK");
    for command in [
        "set server b/two state drain",
        "set server c/two state maint",
        "set server b/two state maint",
        "set server c/two state ready",
        "set server b/two state ready",
        "set server c/two state drain",
        "set server b/two health down",
        "set server c/two state ready",
        "set server b/two weight 0",
        "set server b/two weight 100%",
        "disable health b/two",
        "set server b/two health down",
        "set server b/two health stopping",
        "set server b/two health up",
        "enable health b/two",
        "disable agent b/one",
        "set server b/one state drain",
        "enable agent b/one",
        "set server b/three state drain",
        "set server b/three health down",
        "set server b/three state ready",
    ] {
        both.order(command);
    }
    for (said, heard) in [
        ("drain\n ", "svname=one status=DRAIN (agent) "),
        ("down #hot\n ", "last_agt=via agent : down (hot) "),
        ("up 50%\n ", "status=DRAIN (agent) weight=5 "),
        ("nonsense\n ", "last_agt=agent reports an error : nonsense "),
        ("ready\n ", "svname=one status=UP weight=5 "),
        ("maint\n ", "svname=one status=MAINT "),
        ("up ready 100%\n ", "svname=one status=UP weight=10 "),
    ] {
        agent.set(Some(said));
        both.agree(said, heard);
    }
}

/// What one of them logs, line by line, with its severity.
struct Logged(Arc<Mutex<Vec<String>>>, u16);

impl Logged {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(length) = socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]);
                written.lock().expect("no panic").push(comparable(&text));
            }
        });
        Self(lines, port)
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }
}

/// A line without its time and sender, and without what differs on purpose: how long a check took, and what mainstay shows of
/// an answer (its body, where HAProxy shows the reason of its first line).
fn comparable(line: &str) -> String {
    let severity = line.split_inclusive('>').next().unwrap_or_default();
    let text = line.split_once("]: ").map_or(line, |(_, text)| text).trim();
    let parts = text.split(", ").filter(|part| !part.starts_with("info: "));
    let parts = parts.map(|part| match part.strip_prefix("check duration: ") {
        Some(rest) => format!("check duration{}", rest.trim_start_matches(|c: char| c.is_ascii_digit())),
        None => part.to_owned(),
    });
    format!("{severity} {}", parts.collect::<Vec<_>>().join(", "))
}

/// Lives through a script with both, and compares what they log after each step.
fn log_alike(name: &str, options: &str) {
    let directory = Directory::new(name);
    let [mut api, mut agent] = [(); 2].map(|()| Scripted::new());
    api.set(OK);
    agent.set(Some("up\n "));
    let spare = free_address();
    let [theirs, ours] = [(); 2].map(|()| Logged::new());
    let text = |logged: &Logged| {
        let Logged(_, port) = logged;
        format!(
            "defaults\n mode tcp\n log 127.0.0.1:{port} local0\n timeout connect 2s\n timeout check 2s\n timeout client 5h\n timeout server 5h\n \
             option httpchk GET /readyz\n http-check disable-on-404\n{options} \
             default-server inter 200ms fastinter 100ms downinter 150ms\n\
             listen f\n bind unix@F\n server spare {spare} check inter 1h\n\
             backend b\n server api {api} check agent-check agent-port {} agent-inter 2s\n \
             server other {api} backup\n\
             backend c\n server follower {api} track b/api\n",
            agent.address.port(),
            api = api.address,
        )
    };
    let haproxy = Daemon::haproxy(&directory.0, &text(&theirs));
    let mainstay = Daemon::mainstay(&directory.0, &text(&ours));
    let agreed = Cell::new(0);
    let agree = |step: &str, last: &str| {
        let began = Instant::now();
        loop {
            let (theirs, ours) = (theirs.lines(), ours.lines());
            let news = theirs.iter().skip(agreed.get());
            if news.filter(|line| line.contains(last)).count() > 0 && sorted(&theirs) == sorted(&ours) {
                return agreed.set(theirs.len());
            }
            assert!(began.elapsed() < PATIENCE, "{step}\nHAProxy  {theirs:#?}\nmainstay {ours:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    agree("nobody is at one address", "proxy f has no server available!");
    api.set(UNAVAILABLE);
    agree("it fails", "Server c/follower is DOWN via b/api.");
    api.set(OK);
    agree("it works again", "Server c/follower is UP via b/api.");
    api.set(GONE);
    agree("it stops", "Server c/follower is stopping via b/api.");
    api.set(None);
    agree("it goes", "<133> Server c/follower is DOWN via b/api.");
    api.set(OK);
    agree("it is back", "Server c/follower is UP via b/api.");
    for (order, last) in [
        ("state drain", "Server c/follower enters drain state via b/api."),
        ("state ready", "Server c/follower is UP (leaving forced drain)."),
        ("state maint", "Server c/follower is going DOWN for maintenance via b/api."),
        // HAProxy has a second line where draining begins or ends in maintenance ("remains in forced drain mode").
        ("state ready", "Server c/follower is UP/READY (leaving maintenance)."),
        ("health down", "Server c/follower is DOWN via b/api."),
    ] {
        haproxy.say(&format!("set server b/api {order}"));
        mainstay.say(&format!("set server b/api {order}"));
        agree(order, last);
    }
}

/// Servers that are checked for the first time come in any order.
fn sorted(lines: &[String]) -> Vec<String> {
    let mut lines = lines.to_vec();
    lines.sort();
    lines
}

#[test]
fn lines_about_servers_are_logged_as_by_a_live_haproxy() {
    log_alike("server-lines", "");
}

#[test]
fn lines_about_checks_are_logged_as_by_a_live_haproxy() {
    log_alike("check-lines", " option log-health-checks\n");
}
