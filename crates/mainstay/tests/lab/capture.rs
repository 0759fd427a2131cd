//! Frames on the lab's LAN, captured by tshark and judged by it.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mainstay::lab::enter::{self, DIRECTORY};
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::Host;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long tshark may take to start to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A capture of VRRP and ARP frames under way.
pub(crate) struct Capture {
    tshark: Child,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture what crosses the interface of `host`.
    pub(crate) fn start(host: &Host) -> Self {
        enter::require("tshark", "tshark").expect("tshark");
        let file = PathBuf::from(DIRECTORY).join(format!("{}.pcap", host.name()));
        // A file of an earlier capture would look like the begin of this one.
        let _ = fs::remove_file(&file);
        let mut command = Command::new("tshark");
        command.args(["-q", "-i", "ens160", "-f", "ip proto 112 or arp", "-F", "pcap", "-w"]).arg(&file);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let tshark = host.enter(|| command.spawn()).expect("the host").expect("tshark starts");
        wait_until(PATIENCE, || {
            let begun = fs::metadata(&file).is_ok_and(|file| file.len() >= 24);
            Ok(if begun { Ok(()) } else { Err("tshark does not capture".to_owned()) })
        })
        .expect("a capture");
        Self { tshark, file }
    }

    /// Ends the capture.
    pub(crate) fn end(mut self) -> Captured {
        let pid = Pid::from_raw(i32::try_from(self.tshark.id()).expect("a process id"));
        kill(pid, Signal::SIGINT).expect("tshark runs");
        self.tshark.wait().expect("tshark ends");
        let pcap = fs::read(&self.file).expect("the capture");
        let (times, frames) = frames(&pcap).into_iter().unzip();
        Captured { file: self.file, frames, times }
    }
}

/// What was captured.
pub(crate) struct Captured {
    file: PathBuf,
    /// Whole Ethernet frames.
    pub(crate) frames: Vec<Vec<u8>>,
    /// When the kernel saw each of them.
    pub(crate) times: Vec<SystemTime>,
}

impl Captured {
    /// What tshark says of every VRRP frame: the given fields, one line each.
    pub(crate) fn decoded(&self, fields: &[&str]) -> Vec<String> {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&self.file).args(["-Y", "vrrp", "-T", "fields"]);
        command.args(fields.iter().flat_map(|field| ["-e", field]));
        let output = command.output().expect("tshark runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }
}

/// The frames of a pcap file in this machine's byte order.
fn frames(pcap: &[u8]) -> Vec<(SystemTime, Vec<u8>)> {
    let mut frames = Vec::new();
    let mut rest = pcap.get(24..).expect("a pcap header");
    while let Some((header, after)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_ne_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let Some((frame, next)) = after.split_at_checked(word(8) as usize) else { break };
        let time = Duration::from_secs(word(0).into()) + Duration::from_micros(word(4).into());
        frames.push((UNIX_EPOCH + time, frame.to_vec()));
        rest = next;
    }
    frames
}
