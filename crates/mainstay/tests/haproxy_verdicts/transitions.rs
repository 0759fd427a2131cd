//! Holds what checks make of servers against a live HAProxy: the same file, the same servers, at the same time.
//!
//! Both check servers that behave as a script says: they work, refuse, fail, ask for no new connections, fall silent, have
//! agents and followers. After each step both have to think the same of each of them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mainstay::checks::Checks;
use mainstay_engine::admin::{Reply, Request, Status};
use mainstay_engine::{Engine, Input, Output};

use crate::ports::free_address;
use crate::{Directory, load};

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

/// What is thought of a server: its state, and the result of the latest check with its code.
type Opinion = (String, String, String);

/// A live HAProxy.
struct Haproxy {
    child: Child,
    socket: std::path::PathBuf,
}

impl Haproxy {
    fn start(directory: &Path, text: &str) -> Self {
        let (file, socket) = (directory.join("live.cfg"), directory.join("live.sock"));
        let text = format!("global\n stats socket {}\n{text}", socket.display());
        std::fs::write(&file, text).expect("a file");
        let mut command = Command::new("haproxy");
        command.args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        Self { child: command.spawn().expect("haproxy is installed"), socket }
    }

    /// What it thinks of each server; nothing while it starts.
    fn opinions(&self) -> BTreeMap<String, Opinion> {
        let mut text = String::new();
        if let Ok(mut stream) = UnixStream::connect(&self.socket) {
            let _ = stream.write_all(b"show stat\n");
            let _ = stream.read_to_string(&mut text);
        }
        let rows = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let servers =
            rows.filter(|row| row.len() > 40 && !["BACKEND", "svname", "FRONTEND"].contains(&row[1]));
        let bare = |state: &str| {
            state
                .split_once(' ')
                .filter(|(_, rest)| rest.contains('/'))
                .map_or(state.to_owned(), |(word, _)| word.to_owned())
        };
        let check = |text: &str| text.trim_start_matches("* ").to_owned();
        servers.map(|row| (row[1].to_owned(), (bare(row[17]), check(row[36]), row[37].to_owned()))).collect()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What mainstay thinks of each server, kept by a thread of its own until this is dropped.
struct Mainstay {
    status: Arc<Mutex<Option<Status>>>,
    _running: Sender<Input<'static>>,
}

impl Mainstay {
    fn start(text: &str) -> Self {
        let plan = Arc::new(load(text).0.expect("a valid file"));
        let status = Arc::new(Mutex::new(None));
        let (sender, inputs) = channel::<Input<'static>>();
        let shown = Arc::clone(&status);
        let (finished, answered) = (sender.clone(), sender.clone());
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let checks = Checks::new(
                runtime.handle().clone(),
                &plan,
                move |server, attempt, verdict| {
                    drop(finished.send(Input::CheckFinished { server, attempt, verdict }));
                },
                move |server, attempt, answer| {
                    drop(answered.send(Input::AgentAnswered { server, attempt, answer }));
                },
            )
            .expect("checks");
            let began = Instant::now();
            let now = || {
                let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                mainstay_engine::time::Instant::from_nanos(1 + nanos)
            };
            let mut engine = Engine::new(Arc::clone(&plan), 1, now());
            // The test is over long before.
            while began.elapsed() < 10 * PATIENCE {
                runtime.block_on(async { tokio::time::sleep(Duration::from_millis(2)).await });
                while let Ok(input) = inputs.try_recv() {
                    engine.handle(input, now());
                }
                engine.handle_timeout(now());
                engine.handle(Input::Request { ticket: 0, request: Request::Status }, now());
                while let Some(output) = engine.poll_output() {
                    match output {
                        Output::StartCheck { server, attempt, check, seen } => {
                            checks.start(server, attempt, check, seen);
                        }
                        Output::AskAgent { server, attempt, agent } => {
                            checks.ask_agent(server, attempt, agent);
                        }
                        Output::Reply { reply: Reply::Status(status), .. } => {
                            *shown.lock().expect("no panic") = Some(*status);
                        }
                        _ => {}
                    }
                }
            }
        });
        Self { status, _running: sender }
    }

    fn opinions(&self) -> BTreeMap<String, Opinion> {
        let status = self.status.lock().expect("no panic");
        let servers = status.iter().flat_map(|status| &status.pools).flat_map(|pool| &pool.servers);
        let state = |state: &str| match state {
            "stopping" => "NOLB".to_owned(),
            "down (agent)" => "DOWN (agent)".to_owned(),
            "maintenance" => "MAINT".to_owned(),
            "drain" => "DRAIN (agent)".to_owned(),
            other => other.split(',').next().unwrap_or_default().to_uppercase(),
        };
        let check = |server: &mainstay_engine::admin::ServerStatus| {
            // HAProxy shows no check while there is none.
            let checks = server.checks.as_ref().filter(|_| server.state != "maintenance");
            let name = checks.and_then(|checks| checks.status.clone()).unwrap_or_default();
            (name, checks.and_then(|checks| checks.code).map_or_else(String::new, |code| code.to_string()))
        };
        servers
            .map(|server| {
                let (name, code) = check(server);
                (server.name.clone(), (state(&server.state), name, code))
            })
            .collect()
    }
}

/// Both of them at work on one file.
struct Both {
    haproxy: Haproxy,
    mainstay: Mainstay,
}

impl Both {
    /// Waits until both think so of these servers: name, state, result of the latest check, its code.
    fn expect(&self, step: &str, expected: &[&str]) {
        let began = Instant::now();
        loop {
            let (theirs, ours) = (self.haproxy.opinions(), self.mainstay.opinions());
            let so = |opinions: &BTreeMap<String, Opinion>| {
                let said = |(name, (state, check, code)): (&String, &Opinion)| {
                    format!("{name}: {state} {check} {code}").trim_end().to_owned()
                };
                let said: Vec<String> = opinions.iter().map(said).collect();
                expected.iter().all(|wanted| said.iter().any(|said| said == wanted))
            };
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

/// A server that is asked for its readiness and one that follows it, one of a line protocol, and one with an agent.
fn configuration(api: SocketAddr, line: SocketAddr, hot: SocketAddr, agent: u16) -> String {
    format!(
        "defaults\n mode tcp\n timeout connect 2s\n timeout client 5h\n timeout server 5h\n timeout check 2s\n \
         default-server inter 200ms fastinter 100ms downinter 150ms\n\
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
    let both = Both { haproxy: Haproxy::start(&directory.0, &text), mainstay: Mainstay::start(&text) };
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
