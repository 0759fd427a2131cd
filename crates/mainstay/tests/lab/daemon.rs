//! One VRRP daemon alone on a host: mainstay or Keepalived with a file of the test's own, and nothing that it balances.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use mainstay::lab::enter::{self, DIRECTORY};
use mainstay::lab::topology::Host;
use mainstay_engine::admin::{RouterStatus, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Which daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Mainstay,
    Keepalived,
}

/// A running one. Dropping it kills it.
pub(crate) struct Daemon {
    program: Program,
    directory: PathBuf,
    child: Child,
}

impl Daemon {
    /// Starts `program` on `host` with `keepalived_conf`.
    pub(crate) fn start(program: Program, host: &Host, keepalived_conf: &str) -> Self {
        let directory = PathBuf::from(DIRECTORY).join(host.name());
        fs::create_dir_all(&directory).expect("a directory");
        let file = directory.join("keepalived.conf");
        fs::write(&file, keepalived_conf).expect("keepalived.conf");
        let log = File::create(directory.join("log")).expect("a log");
        let mut command = match program {
            Program::Mainstay => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
                command.args(["run", "--keepalived-conf"]).arg(&file);
                command.arg("--socket").arg(directory.join("mainstay.sock"));
                command
            }
            Program::Keepalived => {
                enter::require("keepalived", "keepalived").expect("keepalived");
                let mut command = Command::new("keepalived");
                command.args(["--dont-fork", "--log-console", "--log-detail", "--use-file"]).arg(&file);
                command.arg("--pid").arg(directory.join("keepalived.pid"));
                command.arg("--vrrp_pid").arg(directory.join("vrrp.pid"));
                command
            }
        };
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
        let child = host.enter(|| command.spawn()).expect("the host").expect("it starts");
        Self { program, directory, child }
    }

    /// What mainstay says of its only router; `None` while it does not answer.
    pub(crate) fn status(&self) -> Option<RouterStatus> {
        assert_eq!(self.program, Program::Mainstay, "only mainstay can be asked");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.args(["status", "--json", "--socket"]).arg(self.directory.join("mainstay.sock"));
        let output = command.output().expect("mainstay runs");
        let status: Option<Status> = serde_json::from_slice(&output.stdout).ok();
        status.map(|mut status| status.routers.remove(0))
    }

    /// The state of mainstay's router.
    pub(crate) fn state(&self) -> String {
        self.status().map_or("silent".to_owned(), |router| router.state)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        self.child.wait().expect("it ends");
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// What it said since it started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `ip` says on a host.
pub(crate) fn ip(host: &Host, arguments: &str) -> String {
    run(host, &format!("ip {arguments}"))
}

/// What a command says on a host. Words are split at blanks.
pub(crate) fn run(host: &Host, line: &str) -> String {
    let mut words = line.split(' ');
    let program = words.next().expect("a program");
    let mut command = Command::new(program);
    command.args(words);
    let output = host.enter(|| command.output()).expect("the host").expect(program);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line} on {}: {said}", host.name());
    String::from_utf8_lossy(&output.stdout).into_owned()
}
