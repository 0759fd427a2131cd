//! FRR as one side of a pair: zebra, vrrpd and the macvlan interface that they want to be made for them.
//!
//! Owns [`Frr`]. It speaks multicast without authentication, and its address always has the group's MAC address.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay::lab::enter::{self, DIRECTORY};
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::INTERFACE;
use mainstay_engine::plan::{Family, HardwareAddress, Vrid};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::daemon::{ip, run};
use super::vrrp_peer::{Side, VRID, VrrpPeer};

/// Where Debian puts FRR's daemons.
const DAEMONS: &str = "/usr/lib/frr";

/// How long zebra and vrrpd may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// What vrrpd's log says of an advert that it does not take, or not gladly (`vrrp.c` of 8.4).
const COMPLAINTS: [&str; 2] = ["Datagram invalid", "Datagram has"];

/// An FRR that may be running. Dropping it kills it.
pub(crate) struct Frr {
    side: Side,
    /// vrrpd first, which ends before what it stands on.
    daemons: Vec<Child>,
}

impl Frr {
    /// Prepares what it reads; starts nothing yet.
    pub(crate) fn install(side: Side) -> Self {
        for daemon in ["zebra", "vrrpd"] {
            let program = format!("{DAEMONS}/{daemon}");
            assert!(Path::new(&program).exists(), "{program} is not installed: apt install frr");
        }
        enter::require("unshare", "util-linux").expect("unshare");
        Self { side, daemons: Vec::new() }
    }

    /// What the installed one calls itself.
    pub(crate) fn version() -> String {
        let output = Command::new(format!("{DAEMONS}/vrrpd")).arg("--version").output();
        let said = output.expect("vrrpd runs: apt install frr").stdout;
        String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned()
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from(DIRECTORY).join(self.side.host.name()).join("frr")
    }

    /// What `show vrrp json` says of its virtual router, in the pair's family: `{"status": "Master", ...}`.
    fn status(&self) -> Option<Value> {
        let mut command = Command::new("vtysh");
        command.arg("--vty_socket").arg(self.directory()).args(["-d", "vrrpd", "-c", "show vrrp json"]);
        let output = self.side.host.enter(|| command.output()).expect("the host").expect("vtysh runs");
        let routers: Value = serde_json::from_slice(&output.stdout).ok()?;
        let family = match self.side.combination.family {
            Family::Ipv4 => "v4",
            Family::Ipv6 => "v6",
        };
        routers.get(0)?.get(family).cloned()
    }

    /// The name of its interface, as in FRR's documentation.
    fn interface(&self) -> String {
        let number = if self.side.combination.family == Family::Ipv4 { 4 } else { 6 };
        format!("vrrp{number}-{VRID}-1")
    }

    /// Makes the interface that FRR looks for by its MAC address. It has no carrier until FRR gives it one.
    fn make_interface(&self) {
        let (host, name, combination) = (&self.side.host, self.interface(), self.side.combination);
        let hardware = HardwareAddress::of(combination.family, Vrid::new(VRID).expect("not 0"));
        ip(host, &format!("link add {name} link {INTERFACE} address {hardware} type macvlan mode bridge"));
        ip(host, &format!("link set {name} protodown on"));
        let options = if combination.family == Family::Ipv6 { " nodad" } else { "" };
        for address in combination.virtual_addresses() {
            ip(host, &format!("address add {address} dev {name}{options}"));
        }
        // Each answers ARP for what is on it alone.
        for interface in [name.as_str(), INTERFACE] {
            run(host, &format!("sysctl -qw net/ipv4/conf/{interface}/arp_ignore=1"));
        }
        ip(host, &format!("link set {name} up"));
    }

    fn configuration(&self) -> String {
        let Side { combination, priority, .. } = &self.side;
        let mut lines = vec![
            // Without it a refused advert goes without a word.
            "debug vrrp packets".to_owned(),
            format!("interface {INTERFACE}"),
            format!(" vrrp {VRID} version {}", combination.version),
            format!(" vrrp {VRID} priority {priority}"),
            format!(" vrrp {VRID} advertisement-interval {}", combination.interval().as_millis()),
        ];
        lines.extend(combination.virtual_addresses().map(|address| {
            let (address, _) = address.split_once('/').expect("a prefix length");
            let keyword =
                if address.parse::<IpAddr>().expect("an address").is_ipv4() { "ip" } else { "ipv6" };
            format!(" vrrp {VRID} {keyword} {address}")
        }));
        lines.join("\n") + "\n"
    }

    fn spawn(&self, daemon: &str) -> Child {
        let directory = self.directory();
        let file = |name: &str| directory.join(name).to_str().expect("a name").to_owned();
        let log = File::create(file(&format!("{daemon}.log"))).expect("a log");
        let line = format!(
            "mount --bind {groups} /etc/group && exec {DAEMONS}/{daemon} -u root -g root -f {conf} -i {pid} \
             -z {zserv} --vty_socket {vty} -A 127.0.0.1 -P 0 --log stdout --log-level debugging",
            groups = file("group"),
            conf = file(&format!("{daemon}.conf")),
            pid = file(&format!("{daemon}.pid")),
            zserv = file("zserv.api"),
            vty = directory.display(),
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--", "sh", "-c", &line]).stdin(Stdio::null());
        command.stderr(log.try_clone().expect("a log")).stdout(log);
        self.side.host.enter(|| command.spawn()).expect("the host").expect("it starts")
    }

    /// Takes its interface away, as a boot does: FRR leaves it up with the addresses on it.
    fn remove_interface(&self) {
        let mut delete = Command::new("ip");
        delete.args(["link", "delete", &self.interface()]);
        let _ = self.side.host.enter(|| delete.status());
    }
}

impl VrrpPeer for Frr {
    fn start(&mut self) {
        let directory = self.directory();
        // Sockets of an earlier life would look like those of this one.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        self.make_interface();
        fs::write(directory.join("zebra.conf"), "").expect("zebra.conf");
        fs::write(directory.join("vrrpd.conf"), self.configuration()).expect("vrrpd.conf");
        // Whoever talks to FRR has to be in a group that an ordinary user's namespace does not have.
        let groups = "root:x:0:\nfrr:x:0:root\nfrrvty:x:0:root\n";
        fs::write(directory.join("group"), groups).expect("a group file");
        self.daemons.push(self.spawn("zebra"));
        wait_for(&directory.join("zserv.api"));
        self.daemons.insert(0, self.spawn("vrrpd"));
    }

    fn stop(&mut self) {
        for mut daemon in self.daemons.drain(..) {
            let pid = Pid::from_raw(i32::try_from(daemon.id()).expect("a process id"));
            kill(pid, Signal::SIGTERM).expect("it runs");
            daemon.wait().expect("it ends");
        }
        self.remove_interface();
    }

    fn kill(&mut self) {
        for mut daemon in self.daemons.drain(..) {
            // It may have ended already.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
        self.remove_interface();
    }

    fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.directory().join("vrrpd.log")).unwrap_or_default();
        let complains = |line: &&str| COMPLAINTS.iter().any(|word| line.contains(word));
        let mut complaints: Vec<_> = log.lines().filter(complains).map(str::to_owned).collect();
        let status = self.status();
        let taken = status.as_ref().and_then(|status| status.get("stats")?.get("adverRx")?.as_u64());
        if taken.is_none_or(|count| count == 0) {
            complaints.push(format!("no advert was taken: {status:?}"));
        }
        complaints
    }

    fn log(&self) -> String {
        let log = |name: &str| fs::read_to_string(self.directory().join(name)).unwrap_or_default();
        log("zebra.log") + &log("vrrpd.log")
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        self.kill();
    }
}

fn wait_for(socket: &Path) {
    wait_until(PATIENCE, || {
        Ok(if socket.exists() { Ok(()) } else { Err(format!("{} is missing", socket.display())) })
    })
    .expect("FRR starts");
}
