//! Sync groups on two LANs: what a real Keepalived tells about the same group, and a group that both share.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay::lab::enter::{self, DIRECTORY};
use mainstay::lab::time::wait_until;
use nix::libc;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A takeover takes 3.6 s, and whoever follows its group in vain gives up after 4.1 s.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Daemon {
    Mainstay,
    Keepalived,
}

/// A host with eth0 and eth1, whose other ends are `NAME0` and `NAME1` here.
struct Host {
    name: &'static str,
    kind: Daemon,
    process: Option<Child>,
    fifo: Option<File>,
    /// What was read of the FIFO and not taken yet.
    heard: String,
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split_whitespace()).status().expect("ip runs");
    assert!(status.success(), "ip {words}");
}

impl Host {
    /// Plugged into the bridges `lan0` and `lan1`.
    fn new(name: &'static str, number: u8, kind: Daemon) -> Self {
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        for lan in [0, 1] {
            ip(&format!("link add {name}{lan} type veth peer name eth{lan} netns {name}"));
            ip(&format!("link set {name}{lan} master lan{lan} up"));
            ip(&format!("-n {name} addr add 10.7.{lan}.{number}/24 dev eth{lan}"));
            ip(&format!("-n {name} link set eth{lan} up"));
        }
        Self { name, kind, process: None, fifo: None, heard: String::new() }
    }

    fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(DIRECTORY).join(format!("{}-{name}", self.name))
    }

    /// Both routers in one group, everything told to a FIFO and to a program.
    fn configuration(&self, priority: u8) -> String {
        let (fifo, told) = (self.file("fifo"), self.file("told"));
        let notify = format!("notify \"/bin/sh -c 'echo $0 $@ >>{}'\"", told.display());
        let instance = |lan: u8| {
            format!(
                "vrrp_instance V{lan} {{\n  state BACKUP\n  interface eth{lan}\n  virtual_router_id 5{lan}\n  \
                 priority {priority}\n  advert_int 1\n  virtual_ipaddress {{\n    10.7.{lan}.100/24\n  }}\n  \
                 {notify}\n  notify_stop \"/bin/sh -c 'sleep 0.5; echo V{lan} has stopped >>{}'\"\n}}\n",
                told.display()
            )
        };
        format!(
            "global_defs {{\n  vrrp_notify_fifo {}\n  script_user root\n}}\nvrrp_sync_group G {{\n  group {{\n    V0\n    \
             V1\n  }}\n  {notify}\n}}\n{}{}",
            fifo.display(),
            instance(0),
            instance(1)
        )
    }

    fn start(&mut self, priority: u8) {
        let conf = self.file("conf");
        fs::write(&conf, self.configuration(priority)).expect("a file");
        let file = |name| self.file(name).to_string_lossy().into_owned();
        let (conf, socket, log) = (file("conf"), file("sock"), File::create(file("log")).expect("a log"));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", self.name]);
        match self.kind {
            Daemon::Mainstay => command.arg(env!("CARGO_BIN_EXE_mainstay")).args([
                "run",
                "--keepalived-conf",
                &conf,
                "--socket",
                &socket,
            ]),
            Daemon::Keepalived => command
                .args(["keepalived", "--dont-fork", "--log-console", "--vrrp", "--use-file", &conf])
                .args(["--pid", &file("pid"), "--vrrp_pid", &file("vrrp-pid")]),
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.process = Some(command.spawn().expect("it starts"));
        let fifo = self.file("fifo");
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let open = || Ok(options.open(&fifo).map_err(|error| format!("{}: no FIFO: {error}", self.log())));
        self.fifo = Some(wait_until(PATIENCE, open).expect("the daemon makes its FIFO"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// Pulls one of its cables, or plugs it in again.
    fn plug(&self, lan: u8, plugged: bool) {
        ip(&format!("link set {}{lan} {}", self.name, if plugged { "up" } else { "down" }));
    }

    /// The lines of the FIFO up to the next one that says `last`.
    fn lines_until(&mut self, last: &str) -> Vec<String> {
        let end = wait_until(PATIENCE, || {
            let mut bytes = Vec::new();
            // Ends with an error while somebody has it open.
            let _ = self.fifo.as_ref().expect("it was started").read_to_end(&mut bytes);
            self.heard.push_str(&String::from_utf8_lossy(&bytes));
            let found = self.heard.find(&format!("{last}\n")).map(|at| at + last.len() + 1);
            Ok(found
                .ok_or_else(|| format!("{} told nothing but {:?}\n{}", self.name, self.heard, self.log())))
        });
        let rest = self.heard.split_off(end.expect("it tells"));
        std::mem::replace(&mut self.heard, rest).lines().map(str::to_owned).collect()
    }

    fn stop(&mut self) {
        let process = self.process.as_ref().expect("it was started");
        // `ip netns exec` becomes the daemon.
        kill(Pid::from_raw(i32::try_from(process.id()).expect("a process id")), Signal::SIGTERM)
            .expect("kill");
    }

    fn wait(&mut self) {
        let mut process = self.process.take().expect("it was started");
        wait_until(PATIENCE, || {
            let ended = process.try_wait().expect("it can be waited for");
            Ok(ended.map(drop).ok_or_else(|| format!("{} does not stop", self.name)))
        })
        .expect("it stops");
    }

    fn told(&self) -> Vec<String> {
        let mut told: Vec<_> =
            fs::read_to_string(self.file("told")).unwrap_or_default().lines().map(str::to_owned).collect();
        told.sort();
        told
    }

    fn holds(&self, lan: u8) -> bool {
        let output = Command::new("ip")
            .args(["-n", self.name, "-4", "-o", "addr", "show", "dev", &format!("eth{lan}")])
            .output()
            .expect("ip runs");
        String::from_utf8_lossy(&output.stdout).contains(&format!("10.7.{lan}.100/"))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn bridges(names: [&str; 2]) {
    for bridge in names {
        ip(&format!("link add {bridge} type bridge forward_delay 0 mcast_snooping 0"));
        ip(&format!("link set {bridge} up"));
    }
}

/// Start, takeover, a cable pulled and plugged in, stop: what one daemon tells to its FIFO and its programs.
fn life(host: &mut Host) -> (Vec<Vec<String>>, Vec<String>) {
    let mut steps = Vec::new();
    host.start(100);
    steps.push(host.lines_until("INSTANCE \"V1\" BACKUP 100"));
    steps.push(host.lines_until("GROUP \"G\" MASTER 0"));
    host.plug(1, false);
    steps.push(host.lines_until("GROUP \"G\" FAULT 0"));
    host.plug(1, true);
    steps.push(host.lines_until("GROUP \"G\" BACKUP 0"));
    steps.push(host.lines_until("GROUP \"G\" MASTER 0"));
    host.stop();
    steps.push(host.lines_until("GROUP \"G\" STOP 0"));
    host.wait();
    // Which of two timers that end together ends first is nobody's promise.
    for step in &mut steps {
        let members = step.iter().filter(|line| line.starts_with("INSTANCE")).count();
        if step.last().is_some_and(|last| last.contains("MASTER")) {
            step[..members].sort();
        }
    }
    (steps, host.told())
}

pub(crate) fn tells_what_keepalived_tells() {
    enter::require("keepalived", "keepalived").expect("keepalived");
    bridges(["lan0", "lan1"]);
    // One after the other: they must not hear each other.
    let theirs = life(&mut Host::new("k", 3, Daemon::Keepalived));
    let ours = life(&mut Host::new("m", 2, Daemon::Mainstay));
    assert_eq!(ours.0, theirs.0, "lines of the FIFO, step by step");
    assert_eq!(ours.1, theirs.1, "arguments of programs");
    assert_eq!(ours.1.iter().filter(|line| line.ends_with("has stopped")).count(), 2, "the stop waits");
}

pub(crate) fn moves_as_a_whole_beside_keepalived() {
    enter::require("keepalived", "keepalived").expect("keepalived");
    bridges(["lan0", "lan1"]);
    let mut ours = Host::new("m", 2, Daemon::Mainstay);
    let mut theirs = Host::new("k", 3, Daemon::Keepalived);
    ours.start(120);
    theirs.start(100);
    let at = |host: &Host, other: &Host, when: &str| {
        wait_until(PATIENCE, || {
            let whole = [0, 1].iter().all(|lan| host.holds(*lan) && !other.holds(*lan));
            Ok(if whole { Ok(()) } else { Err(format!("not both addresses at {} {when}", host.name)) })
        })
        .expect("the group moves as a whole");
    };
    at(&ours, &theirs, "at first");
    ours.plug(1, false);
    at(&theirs, &ours, "after a cable was pulled");
    ours.plug(1, true);
    at(&ours, &theirs, "after it was plugged in");
    // Only the way between the two is cut: neither sees its own link down, and LAN 0 keeps the group together.
    ip("link set k1 nomaster");
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(6) {
        assert!(!theirs.holds(0) && !theirs.holds(1), "a silent LAN alone moves nothing");
        std::thread::sleep(Duration::from_millis(100));
    }
    ip("link set k1 master lan1");
    ours.stop();
    at(&theirs, &ours, "after a stop");
    ours.wait();
}
