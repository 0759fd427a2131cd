//! Every command that changes something, said to a running HAProxy and to mainstay, and the answers compared.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

/// How long HAProxy may take for anything.
const PATIENCE: Duration = Duration::from_secs(20);

/// Commands whose answers are the same, in an order in which each finds what it is about.
const SAME: &[&str] = &[
    "set server",
    "set server b",
    "set server b/s1",
    "set server nob/s1 state ready",
    "set server b/nos state ready",
    "set server b/s1 foo",
    "set server nob/s1 foo",
    "set server b/s1 state",
    "set server b/s1 state foo",
    "set server b/s1 state drain",
    "get weight b/s1",
    "set server b/s1 state maint",
    "set server b/s1 state ready",
    "set server b/s1 weight",
    "set server b/s1 weight 5",
    "get weight b/s1",
    "set server b/s1 weight 50%",
    "get weight b/s1",
    "set server b/s1 weight 257",
    "set server b/s1 weight -1",
    "set server b/s1 weight abc",
    "set server b/s1 weight -5%",
    "set server b/s1 weight 200%",
    "get weight b/s1",
    "set server b/s1 weight 3000%",
    "get weight b/s1",
    "set server b/s1 weight 10x",
    "set server b/s1 weight 0",
    "get weight b/s1",
    "set server b/s1 weight 100%",
    "set weight b/s1 20",
    "get weight b/s1",
    "set weight b/s1",
    "set weight b",
    "set weight",
    "set weight b/nos 3",
    "set weight b/s1 3 extra",
    "get weight",
    "get weight b",
    "get weight b/nos",
    "get weight nob/x",
    "set server c/c1 weight 20",
    "set server c/c1 weight 0",
    "get weight c/c1",
    "set server c/c1 weight 100%",
    "set server b/s1 health",
    "set server b/s1 health foo",
    "set server b/s1 health up",
    "set server b/s1 health down",
    "set server b/s2 health down",
    "set server b/s2 health up",
    "set server b/s1 agent",
    "set server b/s1 agent up",
    "set server b/s1 agent-addr 1.2.3.4",
    "set server b/s1 agent-send foo",
    "set server b/s1 check-addr",
    "set server b/s1 check-addr 127.0.0.1",
    "set server b/s1 check-addr 127.0.0.1 port 17501",
    "set server b/s1 check-addr x.invalid",
    "set server b/s1 check-port 17501",
    "set server b/s1 check-port 0",
    "set server b/s1 check-port 65536",
    "set server b/s1 check-port foo",
    "set server b/s2 check-port 80",
    "set server b/s2 check-addr 127.0.0.1",
    "set server b/s1 check-port",
    "set server b/s1 addr",
    "set server b/s1 addr 127.0.0.1",
    "set server b/s1 addr 127.0.0.1 port",
    "set server b/s1 addr 127.0.0.1 port 17501",
    "set server b/s1 addr 127.0.0.2 port 17502",
    "set server b/s1 addr 127.0.0.1 port 17502",
    "set server b/s1 addr 127.0.0.2",
    "set server b/s1 addr 127.0.0.1 port +10",
    "set server b/s1 addr 127.0.0.1 port foo",
    "set server b/s1 addr foo",
    "set server b/s1 addr 127.0.0.1 foo 3",
    "set server b/s1 addr ::1 port 17501",
    "set server b/s1 addr 127.0.0.1 port 17501",
    "set server b/s1 fqdn foo.invalid",
    "set server b/s1 fqdn",
    "set server b/s1 ssl on",
    "disable server",
    "disable server b",
    "disable server b/nos",
    "disable server b/s1",
    "disable server b/s1",
    "enable server b/s1",
    "enable server b/s1",
    "enable server b/nos",
    "disable health b/s1",
    "disable health b/s2",
    "enable health b/s1",
    "enable health b/s2",
    "disable agent b/s1",
    "enable agent b/s1",
    "set server d/d1 agent",
    "set server d/d1 agent foo",
    "set server d/d2 agent foo",
    "set server d/d2 agent up",
    "set server d/d2 agent-addr 127.0.0.1",
    "set server d/d2 agent-port 5",
    "set server d/d1 agent down",
    "set server d/d1 agent up",
    "disable agent d/d1",
    "set server d/d1 agent up",
    "set server d/d1 agent-send x",
    "enable agent d/d1",
    "set server d/d1 agent up",
    "set server d/d3 health stopping",
    "set server d/d3 health stopping",
    "set server d/d3 health up",
    "enable health nob/x",
    "disable frontend",
    "disable frontend nof",
    "disable frontend f",
    "disable frontend f",
    "enable frontend f",
    "enable frontend f",
    "disable frontend l",
    "enable frontend l",
    "enable frontend",
    "enable frontend b",
    "set maxconn server",
    "set maxconn server b/s2",
    "set maxconn server b/s2 x",
    "set maxconn server b/s2 -1",
    "set maxconn server b/s2 7",
    "set maxconn server b/s2 0",
    "set maxconn server b/nos 7",
    "set maxconn server b/s2 10.5",
    "set maxconn frontend",
    "set maxconn frontend f",
    "set maxconn frontend f x",
    "set maxconn frontend f -1",
    "set maxconn frontend f 0",
    "set maxconn frontend f 50",
    "set maxconn frontend nof 50",
    "set maxconn global",
    "set maxconn global x",
    "set maxconn global 50",
    "set maxconn global 200",
    "set maxconn global 0",
    "set rate-limit sessions global",
    "set rate-limit sessions global x",
    "set rate-limit sessions global 10",
    "set rate-limit sessions global 0",
    "set rate-limit sessions global -1",
    "set timeout",
    "set timeout cli",
    "set timeout cli 10",
    "set timeout cli 10s",
    "set timeout cli x",
    "set timeout cli 0",
    "set timeout foo 10",
    "shutdown frontend",
    "shutdown frontend nof",
    "shutdown session",
    "shutdown session 0x12",
    "shutdown session zz",
    "shutdown sessions server",
    "shutdown sessions server b",
    "shutdown sessions server b/nos",
    "shutdown sessions server b/s1",
    "clear counters",
    "clear counters all",
    "clear counters foo",
    "add server",
    "add server b",
    "add server b/n1",
    "add server b/n1 127.0.0.1:17504",
    "add server b/n1 127.0.0.1:17504",
    "add server nob/n1 127.0.0.1:17504",
    "add server b/n2 127.0.0.1:17504 check inter 1s weight 20 maxconn 5",
    "get weight b/n2",
    "add server b/n5 127.0.0.1:17504 enabled",
    "add server b/n6 127.0.0.1:17504 backup",
    "add server b/n8 127.0.0.1:17504 init-addr none",
    "add server b/n9 127.0.0.1:17504 resolvers x",
    "add server b/n10 127.0.0.1:17504 slowstart 10s",
    "add server c/n1 127.0.0.1:17504",
    "add server b/n17 127.0.0.1:17504 check port 17503 rise 1 fall 1",
    "add server b/n18 127.0.0.1:17504 cookie x",
    "add server b/n22 127.0.0.1:17504 on-marked-down shutdown-sessions",
    "add server l/n1 127.0.0.1:17504",
    "add server b n1",
    "enable health b/n2",
    "enable health b/n1",
    "enable server b/n2",
    "del server",
    "del server b",
    "del server b/nos",
    "del server nob/s",
    "del server b/n2",
    "disable server b/n2",
    "del server b/n2",
    "del server b/n2",
    "del server b/n5",
    "disable server b/n5",
    "del server b/n5",
    "del server b/n1",
    "add server b/n1 127.0.0.1:17504",
    "shutdown frontend g",
    "shutdown frontend g",
    "enable frontend g",
    "disable frontend g",
    "set maxconn frontend g 5",
    "set table",
    "set table d",
    "set table nod key 1.2.3.4",
    "set table d key",
    "set table d key 1.2.3.4 data.conn_cnt 5",
    "set table d key 1.2.3.4 data.conn_cnt",
    "set table d key 1.2.3.4 data.conn_cnt x",
    "set table d key 1.2.3.4 data.sess_cnt 5",
    "set table d key 1.2.3.4 data.foo 5",
    "set table d key 1.2.3.4 foo 5",
    "set table d data.conn_cnt eq 5",
    "show table d data.conn_cnt gt 5",
    "clear table d data.conn_cnt eq 5",
    "show table d",
];

/// Commands that are answered otherwise, the beginning of our answer, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "set server b/s1 addr 127.0.0.1 port 70000",
        "no need to change the addr, problem converting",
        "it is no port; HAProxy cuts it to 4464",
    ),
    (
        "add server b/n4 127.0.0.1:17504 foo",
        "unknown keyword `foo`",
        "the diagnostics of mainstay's own reader",
    ),
    ("add server b/n4 127.0.0.1:17504 weight 300", "`weight` must be from 0 to 256", "the same"),
    (
        "add server b/n3 foo.invalid:99",
        "",
        "a name that nobody knows: HAProxy adds a server without an address",
    ),
    ("add server b/n7 127.0.0.1:17504 track b/s1", "'track' option is not accepted", "not yet"),
    ("show events foo", "No such event sink\n\n", "an empty line ends every answer"),
    ("set rate-limit", "'set rate-limit' only supports", "sessions are all there is"),
];

/// Frontends and backends of every kind that the commands are about.
pub(crate) const FILE: &str = "\
defaults
  mode tcp
  timeout connect 1s
  timeout client 30s
  timeout server 30s
frontend f
  bind unix@F
  default_backend b
frontend g
  bind unix@G
  maxconn 10
  default_backend b
listen l
  bind unix@L
  server ls 127.0.0.1:17551
backend b
  balance roundrobin
  server s1 127.0.0.1:17501 check inter 1m weight 10
  server s2 127.0.0.1:17502 weight 10 maxconn 5
backend c
  balance source
  server c1 127.0.0.1:17601
backend d
  server d1 127.0.0.1:17602 agent-check agent-port 17603 agent-inter 1h
  server d2 127.0.0.1:17602
  server d3 127.0.0.1:17602
  stick-table type ip size 1k store conn_cnt
";

/// A running daemon, which ends with its test.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Daemon {
    /// Starts HAProxy on `text`, which follows `global`.
    pub(crate) fn haproxy(directory: &Path, text: &str) -> Self {
        Self::start(directory, "haproxy", "haproxy", &["-db", "-f"], text)
    }

    /// Starts mainstay on it.
    pub(crate) fn mainstay(directory: &Path, text: &str) -> Self {
        let socket = directory.join("mainstay.socket").display().to_string();
        let arguments = ["run", "--no-peer-link", "--socket", &socket, "--haproxy-cfg"];
        Self::start(directory, "mainstay", env!("CARGO_BIN_EXE_mainstay"), &arguments, text)
    }

    /// Starts `program`, whose arguments end with the file.
    fn start(directory: &Path, name: &str, program: &str, arguments: &[&str], text: &str) -> Self {
        let socket = directory.join(format!("{name}.stats"));
        let file = directory.join(format!("{name}.cfg"));
        let mut text =
            format!("global\n  maxconn 100\n  stats socket {} level admin\n{text}", socket.display());
        for frontend in ["F", "G", "L"] {
            text = text.replace(
                &format!("unix@{frontend}\n"),
                &format!("127.0.0.1:{}\n", crate::ports::free_address().port()),
            );
        }
        fs::write(&file, text).expect("a file");
        let mut process = Process::new(program);
        process.args(arguments).arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = Self { child: process.spawn().expect("it is installed"), socket };
        let began = Instant::now();
        while UnixStream::connect(&daemon.socket).is_err() {
            assert!(began.elapsed() < PATIENCE, "{program} does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    /// Says `line` until the answer has `text` in it.
    pub(crate) fn wait_for(&self, line: &str, text: &str) {
        let began = Instant::now();
        while !self.say(line).contains(text) {
            assert!(began.elapsed() < PATIENCE, "{line}: no {text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn say(&self, line: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        writeln!(stream, "{line}").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn commands_are_answered_as_haproxy_answers_them() {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("runtime-orders");
    fs::create_dir_all(&directory).expect("a directory");
    let haproxy = Daemon::haproxy(&directory, FILE);
    let mainstay = Daemon::mainstay(&directory, FILE);
    let mut wrong = String::new();
    for line in SAME {
        let (theirs, ours) = (haproxy.say(line), mainstay.say(line));
        if theirs != ours {
            wrong.push_str(&format!("{line}\n  HAProxy:  {theirs:?}\n  mainstay: {ours:?}\n"));
        }
    }
    for (line, expected, why) in DIFFERENT {
        let (theirs, ours) = (haproxy.say(line), mainstay.say(line));
        if theirs == ours || !ours.starts_with(expected) {
            wrong.push_str(&format!("{line} ({why})\n  HAProxy:  {theirs:?}\n  mainstay: {ours:?}\n"));
        }
    }
    assert!(wrong.is_empty(), "answers differ:\n{wrong}");
}
