//! Debian's Keepalived as one side of a pair.

use std::fs;
use std::process::Command;

use mainstay::lab::enter;
use mainstay::lab::topology::INTERFACE;

use super::vrrp_peer::{Process, Side, VrrpPeer};

/// What its log says of adverts that it does not take (vrrp.c of 2.2.7, `vrrp_check_packet` and whoever calls it).
const COMPLAINTS: [&str; 10] = [
    "nvalid",
    "incorrect",
    "mismatch",
    "expected",
    "bogus",
    "Dropping",
    "dropping",
    "checksum",
    "does not match",
    "not present",
];

/// A Keepalived that may be running.
pub(crate) struct Keepalived {
    side: Side,
    process: Option<Process>,
}

impl Keepalived {
    /// Writes its file; starts nothing yet.
    pub(crate) fn install(side: Side) -> Self {
        fs::write(side.file("conf"), side.keepalived_conf("")).expect("a file");
        Self { side, process: None }
    }

    /// What the installed one calls itself.
    pub(crate) fn version() -> String {
        enter::require("keepalived", "keepalived").expect("keepalived");
        let output = Command::new("keepalived").arg("--version").output().expect("keepalived runs");
        let said = String::from_utf8_lossy(&output.stderr);
        let version = said.split_whitespace().nth(1).unwrap_or_default();
        format!("keepalived {}", version.trim_start_matches('v'))
    }
}

impl VrrpPeer for Keepalived {
    fn start(&mut self) {
        let mut command = Command::new("keepalived");
        command.args(["--dont-fork", "--vrrp", "--log-console", "--log-detail", "--no-syslog"]);
        for (option, file) in [("--use-file", "conf"), ("--pid", "pid"), ("--vrrp_pid", "vrrp-pid")] {
            command.arg(option).arg(self.side.file(file));
        }
        self.process = Some(Process::start(&self.side, command));
    }

    fn stop(&mut self) {
        self.process.take().expect("it runs").stop();
    }

    fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
        for file in ["pid", "vrrp-pid"] {
            // Another process may have that number by now, and Keepalived would not start beside it.
            let _ = fs::remove_file(self.side.file(file));
        }
    }

    fn forget_addresses(&self) {
        let addresses = self.side.combination.virtual_addresses();
        let command = |address| format!("addr del {address} dev {INTERFACE}");
        let commands: Vec<_> = addresses.map(command).collect();
        self.side.host.configure(&commands).expect("ip");
    }

    fn complaints(&self) -> Vec<String> {
        let log = self.log();
        let complains = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
        log.lines().filter(complains).map(str::to_owned).collect()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.side.file("log")).unwrap_or_default()
    }
}
