//! A VRRP daemon as one side of a pair: what every kind can be asked to do, and the process that does it.
//!
//! Owns [`VrrpPeer`] and [`Process`]. Each kind has a file of its own and is made from a [`Side`].

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay::lab::enter::DIRECTORY;
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::combination::{Authentication, Combination, Delivery};

/// The virtual router of every pair; each pair has a LAN of its own.
pub(crate) const VRID: u8 = 51;
/// How long a daemon may take to end. mainstay bounds its hand-over well below this.
const END_PATIENCE: Duration = Duration::from_secs(20);

/// One side of a pair.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    /// Where it runs.
    pub(crate) host: Host,
    /// What both sides agree on.
    pub(crate) combination: Combination,
    /// What decides between them.
    pub(crate) priority: u8,
    /// The address that adverts leave from, of the right family.
    pub(crate) own: IpAddr,
    /// The other side's.
    pub(crate) other: IpAddr,
}

/// A daemon that is one side of a pair.
pub(crate) trait VrrpPeer: Send {
    /// Starts it on its host.
    fn start(&mut self);
    /// Asks it to end, as systemd does, and waits until it has.
    fn stop(&mut self);
    /// Kills it at one moment, without a word.
    fn kill(&mut self);
    /// Does what a boot does to the addresses that a killed one leaves. mainstay leaves none.
    fn forget_addresses(&self) {}
    /// What it holds against adverts that it heard since the last start; nothing if all is well.
    fn complaints(&self) -> Vec<String>;
    /// What it said.
    fn log(&self) -> String;
}

impl Side {
    /// One of its files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(DIRECTORY).join(format!("{}.{name}", self.host.name()))
    }

    /// The keepalived.conf that says all this, and `keywords`: one text, whoever reads it.
    pub(crate) fn keepalived_conf(&self, keywords: &str) -> String {
        let Combination { version, delivery, authentication, .. } = self.combination;
        let delivery = match delivery {
            Delivery::Multicast => String::new(),
            Delivery::Unicast => {
                format!(
                    "    unicast_src_ip {}\n    unicast_peer {{\n        {}\n    }}\n",
                    self.own, self.other
                )
            }
        };
        let authentication = match authentication {
            Authentication::None => "",
            Authentication::Password => {
                "    authentication {\n        auth_type PASS\n        auth_pass k8s-secr\n    }\n"
            }
            Authentication::Hmac => {
                "    auth_hmac {\n        key 1 as-long-as-a-key-has-to-be-and-more\n        active_key 1\n    }\n"
            }
        };
        let addresses: Vec<_> =
            self.combination.virtual_addresses().map(|address| format!("        {address}\n")).collect();
        format!(
            "vrrp_instance matrix {{\n    state BACKUP\n    interface {INTERFACE}\n    version {version}\n    \
             virtual_router_id {VRID}\n    priority {}\n    advert_int {}\n{delivery}{authentication}{keywords}    \
             virtual_ipaddress {{\n{}    }}\n}}\n",
            self.priority,
            self.combination.interval().as_secs_f64(),
            addresses.concat(),
        )
    }
}

/// A daemon in the foreground.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command` on the host of `side`; what it says goes to the side's log, which begins anew.
    pub(crate) fn start(side: &Side, mut command: Command) -> Self {
        let log = File::create(side.file("log")).expect("a log");
        let again = log.try_clone().expect("a log");
        command.stdin(Stdio::null()).stdout(log).stderr(again);
        let child = side.host.enter(|| command.spawn()).expect("the host");
        Self { child: child.unwrap_or_else(|error| panic!("cannot start {command:?}: {error}")) }
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) {
        signal(self.pid(), Signal::SIGTERM);
        wait_until(END_PATIENCE, || {
            let ended = self.child.try_wait().expect("a child").is_some();
            Ok(if ended { Ok(()) } else { Err("it runs".to_owned()) })
        })
        .expect("a daemon that is asked to end ends");
    }

    /// Kills it and the processes it started, at one moment for all of them.
    pub(crate) fn kill(mut self) {
        let pid = self.pid();
        // Keepalived starts its children anew, and they tidy up when it is gone: neither may see the other die.
        signal(pid, Signal::SIGSTOP);
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            signal(Pid::from_raw(child), Signal::SIGKILL);
        }
        signal(pid, Signal::SIGKILL);
        self.child.wait().expect("a killed process ends");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }
}

fn signal(process: Pid, signal: Signal) {
    match kill(process, signal) {
        // It ended by itself meanwhile.
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("cannot send {signal} to process {process}: {error}"),
    }
}
