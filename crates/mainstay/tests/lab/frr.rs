//! FRR's vrrpd on a host of the lab: zebra, vrrpd and the macvlan interfaces that it wants to be made for it.
//!
//! Owns [`Frr`]. Version 3 only, without authentication, in multicast: it knows nothing else that others do.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay::lab::enter::{self, DIRECTORY};
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE};
use mainstay_engine::plan::{Family, HardwareAddress, Vrid};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::daemon::{ip, run};

/// Where Debian puts FRR's daemons.
const DAEMONS: &str = "/usr/lib/frr";

/// How long zebra and vrrpd may take to start, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// One virtual router, FRR's part in it.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) vrid: u8,
    pub(crate) priority: u8,
    /// A multiple of 10 ms.
    pub(crate) interval: Duration,
    pub(crate) preempt: bool,
    /// Virtual addresses with their prefix lengths, all of one family.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
}

/// FRR on one host. Dropping it kills it.
pub(crate) struct Frr {
    host: Host,
    directory: PathBuf,
    family: Family,
    interface: String,
    zebra: Child,
    vrrpd: Child,
}

impl Frr {
    /// Starts FRR on `host` and waits until its virtual router takes part.
    pub(crate) fn start(host: &Host, group: &Group) -> Self {
        let directory = PathBuf::from(DIRECTORY).join(host.name()).join("frr");
        // Sockets of an earlier life would look like those of this one.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        let (family, interface) = make_interface(host, group);
        fs::write(directory.join("zebra.conf"), "").expect("zebra.conf");
        fs::write(directory.join("vrrpd.conf"), configuration(group)).expect("vrrpd.conf");
        // Whoever talks to FRR has to be in a group that an ordinary user's namespace does not have.
        let groups = "root:x:0:\nfrr:x:0:root\nfrrvty:x:0:root\n";
        fs::write(directory.join("group"), groups).expect("a group file");
        let zebra = spawn(host, &directory, "zebra");
        wait_for(&directory.join("zserv.api"));
        let vrrpd = spawn(host, &directory, "vrrpd");
        wait_for(&directory.join("vrrpd.vty"));
        let frr = Self { host: host.clone(), directory, family, interface, zebra, vrrpd };
        wait_until(PATIENCE, || {
            let state = frr.state();
            let takes_part = ["Master", "Backup"].contains(&state.as_str());
            Ok(if takes_part { Ok(()) } else { Err(format!("FRR's state is {state}\n{}", frr.log())) })
        })
        .expect("FRR takes part");
        frr
    }

    /// What `show vrrp json` says of its virtual router, in the group's family: `{"status": "Master", ...}`.
    pub(crate) fn status(&self) -> Option<Value> {
        let directory = self.directory.to_str().expect("a name");
        let mut command = Command::new("vtysh");
        command.args(["--vty_socket", directory, "-d", "vrrpd", "-c", "show vrrp json"]);
        let output = self.host.enter(|| command.output()).expect("the host").expect("vtysh runs");
        let routers: Value = serde_json::from_slice(&output.stdout).ok()?;
        let family = match self.family {
            Family::Ipv4 => "v4",
            Family::Ipv6 => "v6",
        };
        routers.get(0)?.get(family).cloned()
    }

    /// `Master`, `Backup`, `Initialize`, or `silent` when it does not answer.
    pub(crate) fn state(&self) -> String {
        let status = self.status();
        let state = status.as_ref().and_then(|status| status.get("status")?.as_str());
        state.unwrap_or("silent").to_owned()
    }

    /// How many adverts of others it took.
    pub(crate) fn adverts_received(&self) -> u64 {
        let status = self.status();
        status.and_then(|status| status.get("stats")?.get("adverRx")?.as_u64()).unwrap_or(0)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(mut self) {
        for daemon in [&mut self.vrrpd, &mut self.zebra] {
            let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("a process id"));
            kill(pid, Signal::SIGTERM).expect("it runs");
            daemon.wait().expect("it ends");
        }
    }

    /// Kills it. Its interface goes too, as with the power: FRR leaves it up with the addresses on it.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// What its daemons said.
    pub(crate) fn log(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.directory.join(name)).unwrap_or_default();
        log("zebra.log") + &log("vrrpd.log")
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        for daemon in [&mut self.vrrpd, &mut self.zebra] {
            // It may have ended already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        let mut delete = Command::new("ip");
        delete.args(["link", "delete", &self.interface]);
        let _ = self.host.enter(|| delete.status());
    }
}

/// The interface that FRR looks for by its MAC address, named as in FRR's documentation.
fn make_interface(host: &Host, group: &Group) -> (Family, String) {
    let family = Family::of(group.addresses.first().expect("an address").0);
    let number = if family == Family::Ipv4 { 4 } else { 6 };
    let name = format!("vrrp{number}-{}-1", group.vrid);
    let hardware = HardwareAddress::of(family, Vrid::new(group.vrid).expect("not 0"));
    ip(host, &format!("link add {name} link {INTERFACE} address {hardware} type macvlan mode bridge"));
    for (address, length) in &group.addresses {
        let options = if family == Family::Ipv6 { " nodad" } else { "" };
        ip(host, &format!("address add {address}/{length} dev {name}{options}"));
    }
    // Each answers ARP for what is on it alone.
    for interface in [name.as_str(), INTERFACE] {
        run(host, &format!("sysctl -qw net/ipv4/conf/{interface}/arp_ignore=1"));
    }
    ip(host, &format!("link set {name} up"));
    (family, name)
}

fn configuration(group: &Group) -> String {
    let Group { vrid, priority, interval, preempt, addresses } = group;
    let mut lines = vec![
        format!("interface {INTERFACE}"),
        format!(" vrrp {vrid} version 3"),
        format!(" vrrp {vrid} priority {priority}"),
        format!(" vrrp {vrid} advertisement-interval {}", interval.as_millis()),
    ];
    if !preempt {
        lines.push(format!(" no vrrp {vrid} preempt"));
    }
    lines.extend(addresses.iter().map(|(address, _)| match address {
        IpAddr::V4(address) => format!(" vrrp {vrid} ip {address}"),
        IpAddr::V6(address) => format!(" vrrp {vrid} ipv6 {address}"),
    }));
    lines.join("\n") + "\n"
}

fn spawn(host: &Host, directory: &Path, daemon: &str) -> Child {
    let program = format!("{DAEMONS}/{daemon}");
    assert!(Path::new(&program).exists(), "{program} is not installed: apt install frr");
    let file = |name: &str| directory.join(name).to_str().expect("a name").to_owned();
    let log = File::create(file(&format!("{daemon}.log"))).expect("a log");
    let line = format!(
        "mount --bind {groups} /etc/group && exec {program} -u root -g root -f {conf} -i {pid} -z {zserv} \
         --vty_socket {vty} -A 127.0.0.1 -P 0 --log stdout",
        groups = file("group"),
        conf = file(&format!("{daemon}.conf")),
        pid = file(&format!("{daemon}.pid")),
        zserv = file("zserv.api"),
        vty = directory.display(),
    );
    enter::require("unshare", "util-linux").expect("unshare");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--", "sh", "-c", &line]).stdin(Stdio::null());
    command.stderr(log.try_clone().expect("a log")).stdout(log);
    host.enter(|| command.spawn()).expect("the host").expect("it starts")
}

fn wait_for(socket: &Path) {
    wait_until(PATIENCE, || {
        Ok(if socket.exists() { Ok(()) } else { Err(format!("{} is missing", socket.display())) })
    })
    .expect("FRR starts");
}
