//! The program as an operator meets it: exit codes, refusals that leave nothing behind, a socket that bears nonsense.

#[path = "daemon/clients.rs"]
mod clients;
#[path = "daemon/exhaustion.rs"]
mod exhaustion;
#[path = "daemon/metrics.rs"]
mod metrics;
#[path = "daemon/names.rs"]
mod names;
#[path = "daemon/pages.rs"]
mod pages;
mod ports;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory for one test, with a haproxy.cfg in it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("daemon-{test}"));
        // Left over from an earlier run, or not there.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        Self(directory)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.join(name), text).expect("a file can be written");
        self.file(name)
    }

    /// Starts the daemon with one frontend on `port`, and waits until it answers.
    fn start(&self, port: u16) -> Daemon {
        self.start_with_log(port).0
    }

    /// As [`start`](Self::start), with what it goes on to log.
    fn start_with_log(&self, port: u16) -> (Daemon, BufReader<ChildStderr>) {
        let configuration = self.write("haproxy.cfg", &haproxy(port));
        let socket = self.file("socket");
        let child = mainstay(&["run", "--haproxy-cfg", &configuration, "--socket", &socket])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut daemon = Daemon { child, socket };
        let mut log = BufReader::new(daemon.child.stderr.take().expect("its log"));
        let mut said = String::new();
        while !said.contains(" runs 1 frontend") {
            let length = log.read_line(&mut said).expect("text");
            assert!(length > 0, "it did not start: {said}");
        }
        (daemon, log)
    }
}

/// A running daemon, which ends with its test.
struct Daemon {
    child: Child,
    socket: String,
}

impl Daemon {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("it does not end");
    }

    /// Sends `request` as it is and returns what comes back.
    fn ask(&self, request: &[u8]) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        // It may have hung up on nonsense already.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn haproxy(port: u16) -> String {
    format!(
        "defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\
         frontend api\n    bind 127.0.0.1:{port}\n    default_backend servers\n\
         backend servers\n    server one 127.0.0.1:9 check\n"
    )
}

fn mainstay(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.args(arguments).stdin(Stdio::null()).env_remove("MAINSTAY_LOG");
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = mainstay(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

/// Waits until somebody listens on `port` of this machine. It is only looked at: a connection would count.
fn await_listener(port: u16) {
    let began = Instant::now();
    // The address, the port, anything as the other end, and the number of LISTEN (proc(5)).
    let line = format!("0100007F:{port:04X} 00000000:0000 0A ");
    while !fs::read_to_string("/proc/net/tcp").expect("the kernel's table").contains(&line) {
        assert!(began.elapsed() < PATIENCE, "nobody listens");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A port that nobody has.
fn free_port() -> u16 {
    ports::free_address().port()
}

#[test]
fn check_says_valid_invalid_or_usage() {
    let place = Place::new("check");
    let good = place.write("good.cfg", &haproxy(6443));
    let bad =
        place.write("bad.cfg", &haproxy(6443).replace("default_backend servers", "default_backed servers"));

    let (code, stdout, _) = output(&["check", "--haproxy-cfg", &good]);
    assert_eq!(
        (code, stdout.as_str()),
        (Some(0), "The configuration is valid: 1 frontend, 1 server, 0 virtual routers.\n")
    );

    let (code, stdout, _) = output(&["check", "--haproxy-cfg", &bad]);
    assert_eq!(code, Some(1), "{stdout}");
    let shown =
        ["bad.cfg:8:5", "^^^^^^^^^^^^^^", "did you mean `default_backend`", "The configuration is not valid"];
    shown.iter().for_each(|part| assert!(stdout.contains(part), "{part} in\n{stdout}"));

    let (code, stdout, _) = output(&["check", "--haproxy-cfg", &bad, "--format", "short"]);
    assert_eq!(code, Some(1));
    let refusal = format!("{bad}:8:5: error[H010]: ");
    assert!(stdout.lines().any(|line| line.starts_with(&refusal)), "{stdout}");

    let (code, stdout, _) = output(&["check", "--haproxy-cfg", &bad, "--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &report["valid"]), (Some(1), &serde_json::Value::Bool(false)));
    let findings = report["diagnostics"].as_array().expect("findings");
    assert!(
        findings.iter().any(|finding| finding["code"] == "H010" && finding["place"]["line"] == 8),
        "{stdout}"
    );

    let (code, _, stderr) = output(&["check", "--haproxy-cfg", &place.file("missing.cfg")]);
    assert_eq!(code, Some(1));
    assert!(stderr.contains("missing.cfg: No such file"), "{stderr}");
    assert_eq!(output(&["check", "--no-such-option"]).0, Some(2));
}

fn keepalived(own: u8, priority: u8) -> String {
    let peer = 3 - own;
    format!(
        "vrrp_instance V {{\n  interface nothing0\n  virtual_router_id 51\n  priority {priority}\n  unicast_src_ip 192.0.2.{own}\n  \
         unicast_peer {{\n    192.0.2.{peer}\n  }}\n  authentication {{\n    auth_type PASS\n    auth_pass hunter{own}\n  }}\n  \
         virtual_ipaddress {{\n    192.0.2.10/24\n  }}\n}}\n"
    )
}

#[test]
fn compare_holds_files_against_each_other() {
    let place = Place::new("compare");
    let one = place.write("lb1.conf", &keepalived(1, 110));
    let two = place.write("lb2.conf", &keepalived(2, 110));
    let compare = |files: &[&str], rest: &[&str]| {
        let named = files.iter().flat_map(|file| ["--keepalived-conf", file]);
        output(
            &["check", "--compare"].into_iter().chain(named).chain(rest.iter().copied()).collect::<Vec<_>>(),
        )
    };

    let (code, stdout, _) = compare(&[&one, &two], &[]);
    assert_eq!(code, Some(1), "{stdout}");
    for part in [
        "error[K062]",
        "warning[K067]",
        "lb1.conf:11:5",
        "lb2.conf:11:5",
        "The configurations of 2 balancers are not valid (1 error, 1 warning).",
    ] {
        assert!(stdout.contains(part), "{part} in\n{stdout}");
    }
    assert!(!stdout.contains("hunter") && !stdout.contains("K073"), "{stdout}");

    let (code, stdout, _) = compare(&[&one, &two], &["--format", "json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout).expect("JSON");
    assert_eq!((code, &report["valid"]), (Some(1), &serde_json::Value::Bool(false)));
    let password = &report["diagnostics"].as_array().expect("findings")[1];
    let files = [&password["place"]["file"], &password["related"][0]["place"]["file"]];
    assert_eq!(
        (&password["code"], files),
        (&"K062".into(), [&two.as_str().into(), &one.as_str().into()]),
        "{stdout}"
    );

    let fitting = place.write("fitting.conf", &keepalived(2, 100).replace("hunter2", "hunter1"));
    let (code, stdout, _) = compare(&[&one, &fitting], &[]);
    assert_eq!((code, stdout.as_str()), (Some(0), "The configurations of 2 balancers are valid.\n"));
    assert_eq!(compare(&[&one], &[]).0, Some(2), "one file is nothing to compare");
}

/// A file may be meant for another machine, so what this one lacks is a warning.
#[test]
fn check_looks_at_this_machine() {
    let place = Place::new("host");
    let script = place.write("check.sh", "#!/bin/sh\n");
    let text = format!(
        "vrrp_script chk {{\n  script \"{script}\"\n}}\n{}  track_script {{\n    chk\n  }}\n}}\n",
        keepalived(1, 110).strip_suffix("}\n").expect("a block")
    );
    let file = place.write("keepalived.conf", &text);
    let (code, stdout, _) = output(&["check", "--keepalived-conf", &file, "--format", "short"]);
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("warning[K073]: this machine has no interface `nothing0`"), "{stdout}");
    assert!(stdout.contains(&format!("warning[K075]: `{script}` may not be executed by root")), "{stdout}");
}

/// Whoever asks for script security does not get a script run as root that others can change.
#[test]
fn script_security_keeps_the_daemon_from_starting() {
    let place = Place::new("security");
    let script = place.write("check.sh", "#!/bin/sh\n");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o777)).expect("a mode");
    let text = format!(
        "global_defs {{\n  enable_script_security\n}}\nvrrp_script chk {{\n  script \"{script}\"\n}}\n{}  track_script {{\n    \
         chk\n  }}\n}}\n",
        keepalived(1, 110).strip_suffix("}\n").expect("a block")
    );
    let file = place.write("keepalived.conf", &text);
    let (code, stdout, _) = output(&["check", "--keepalived-conf", &file, "--format", "short"]);
    assert!(code == Some(0) && stdout.contains("warning[K076]"), "{stdout}");
    let socket = place.file("socket");
    let (code, _, stderr) = output(&["run", "--keepalived-conf", &file, "--socket", &socket]);
    assert!(code == Some(1) && stderr.contains("error[K076]") && !Path::new(&socket).exists(), "{stderr}");
}

#[test]
fn a_bad_file_starts_nothing() {
    let place = Place::new("bad");
    let port = free_port();
    let bad = place.write("bad.cfg", &haproxy(port).replace("check\n", "chek\n"));
    let socket = place.file("socket");
    let (code, _, stderr) = output(&["run", "--haproxy-cfg", &bad, "--socket", &socket]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("bad.cfg:10:") && stderr.contains("did you mean `check`"), "{stderr}");
    assert!(!Path::new(&socket).exists() && TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn a_file_without_a_frontend_is_nothing_to_run() {
    let place = Place::new("nothing");
    let defaults = place.write("defaults.cfg", "defaults\n    timeout connect 5s\n");
    let socket = place.file("socket");
    let (code, _, stderr) = output(&["run", "--haproxy-cfg", &defaults, "--socket", &socket]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("neither a frontend nor a virtual router"), "{stderr}");
}

#[test]
fn a_port_in_use_names_its_holder() {
    let place = Place::new("port");
    let holder = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = holder.local_addr().expect("an address").port();
    let configuration = place.write("haproxy.cfg", &haproxy(port));
    let (code, _, stderr) =
        output(&["run", "--haproxy-cfg", &configuration, "--socket", &place.file("socket")]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&format!("frontend `api` cannot listen on 127.0.0.1:{port}")), "{stderr}");
    assert!(stderr.contains(&std::process::id().to_string()), "this test holds the port: {stderr}");
}

#[test]
fn a_second_daemon_on_the_socket_is_refused_and_the_first_lives_on() {
    let place = Place::new("second");
    let first = place.start(free_port());
    let other = place.write("other.cfg", &haproxy(free_port()));
    let (code, _, stderr) = output(&["run", "--haproxy-cfg", &other, "--socket", &first.socket]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&first.socket), "{stderr}");
    assert!(first.ask(b"status\n").starts_with('{'));
}

#[test]
fn a_signal_ends_it_cleanly_and_a_killed_one_leaves_nothing_in_the_way() {
    let place = Place::new("signal");
    let port = free_port();
    let mut daemon = place.start(port);
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.exit_code(), None);
    let mut daemon = place.start(port);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_code(), Some(0));
    assert!(!Path::new(&daemon.socket).exists());
}

#[test]
fn the_socket_bears_nonsense() {
    let place = Place::new("nonsense");
    let daemon = place.start(free_port());
    let long = vec![b'a'; 1 << 20];
    let noise: Vec<u8> = (0..=255).cycle().take(4096).collect();
    let nonsense: [&[u8]; 7] = [b"", b"\n", b"stat", b"statuss\n", b"\0\0\0\n", &long, &noise];
    for request in nonsense {
        let answer = daemon.ask(request);
        let shown = String::from_utf8_lossy(request.get(..8).unwrap_or(request)).into_owned();
        assert!(answer.is_empty() || answer.contains("error"), "{shown:?}: {answer}");
    }
    let answer = daemon.ask(b"statuss\n");
    assert!(answer.contains("statuss") || answer.contains("status"), "{answer}");
    let half = UnixStream::connect(&daemon.socket).expect("it listens");
    (&half).write_all(b"sta").expect("half a line");
    assert!(daemon.ask(b"status\n").starts_with('{'), "somebody who says nothing more is in nobody's way");
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing_and_says_what_is_missing() {
    let place = Place::new("unread");
    let (daemon, mut unread) = place.start_with_log(free_port());
    let mut said = String::new();
    while !said.contains(" log lines were dropped because nobody read") {
        // A pipe holds 64 KiB and the queue behind it 1024 lines. On a busy machine several signals are one, and one line.
        for _ in 0..2500 {
            daemon.signal(Signal::SIGHUP);
            assert!(daemon.ask(b"status\n").starts_with('{'), "it answers");
        }
        said.clear();
        // All that it holds, and a line for each that there might be none for.
        for _ in 0..250 {
            daemon.signal(Signal::SIGHUP);
            let mut buffer = [0; 4096];
            let length = unread.read(&mut buffer).expect("its log");
            assert!(length > 0, "it ended");
            said.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }
}

#[test]
fn a_thread_caught_in_a_loop_ends_the_process_with_a_reason() {
    let place = Place::new("loop");
    let (mut daemon, mut log) = place.start_with_log(free_port());
    // What the kernel sends to a real-time thread that runs for a second (RLIMIT_RTTIME).
    daemon.signal(Signal::SIGXCPU);
    let status = daemon.child.wait().expect("a child");
    assert_eq!(status.signal(), Some(Signal::SIGABRT as i32));
    let mut said = String::new();
    log.read_to_string(&mut said).expect("its log");
    assert!(said.contains("(SIGXCPU), which is a defect"), "{said}");
}

#[test]
fn servers_are_taken_out_of_service_and_put_back() {
    let place = Place::new("servers");
    let port = free_port();
    let (daemon, mut log) = place.start_with_log(port);
    let server = |words: &[&str]| {
        let mut arguments = vec!["server"];
        arguments.extend(words);
        arguments.extend(["--socket", &daemon.socket]);
        let output = mainstay(&arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).trim().to_owned())
    };
    let state = || {
        let status: serde_json::Value = serde_json::from_str(&daemon.ask(b"status\n")).expect("JSON");
        let server = &status["pools"][0]["servers"][0];
        (server["state"].as_str().unwrap_or_default().to_owned(), server["weight"].as_u64())
    };
    let done = (Some(0), String::new());
    assert_eq!(server(&["servers/one", "maint"]), done);
    assert_eq!(state().0, "maintenance");
    let mut said = String::new();
    while !said.contains("server servers/one is put in maintenance by an operator") {
        assert!(log.read_line(&mut said).expect("text") > 0, "it did not say so: {said}");
    }
    assert_eq!(server(&["servers/one", "weight", "7"]), done);
    assert_eq!(server(&["servers/one", "drain"]), done);
    assert_ne!(state().0, "maintenance");
    assert_eq!(state().1, Some(7));
    assert_eq!(server(&["servers/one", "ready"]), done);
    let refused = |reason: &str| (Some(1), format!("error: {reason}"));
    assert_eq!(server(&["servers/two", "drain"]), refused("there is no such server in this pool"));
    assert_eq!(server(&["two/one", "drain"]), refused("there is no such pool"));
    assert_eq!(server(&["one", "drain"]), refused("a server is named POOL/SERVER, not `one`"));
    assert_eq!(server(&["servers/one", "stop"]).0, Some(2));
    assert_eq!(server(&["servers/one", "weight"]).0, Some(2));
}
