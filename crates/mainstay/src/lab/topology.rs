//! The LAN and its hosts: one bridge, one network namespace for each host, the recipe's addresses.
//!
//! Owns links, addresses and namespaces. Knows nothing of what runs on a host.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use nix::sched::{CloneFlags, setns};

use super::error::{Context, LabError, Result};

/// The address that the balancers share.
pub const VIRTUAL_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 2, 140);
/// The port of the endpoint and of every apiserver.
pub const PORT: u16 = 6443;
/// The interface of every host; the recipe names it.
pub const INTERFACE: &str = "ens160";

const BRIDGE: &str = "lan";

/// The hosts, with the recipe's addresses; the client has the next free one.
const HOSTS: [(&str, Ipv4Addr); 6] = [
    ("lb1", Ipv4Addr::new(192, 168, 2, 141)),
    ("lb2", Ipv4Addr::new(192, 168, 2, 142)),
    ("cp1", Ipv4Addr::new(192, 168, 2, 151)),
    ("cp2", Ipv4Addr::new(192, 168, 2, 152)),
    ("cp3", Ipv4Addr::new(192, 168, 2, 153)),
    ("client", Ipv4Addr::new(192, 168, 2, 160)),
];

/// A host: a network namespace on the LAN.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    address: Ipv4Addr,
    namespace: Arc<File>,
}

/// The LAN. Dropping it takes the hosts' namespaces away.
#[derive(Debug)]
pub struct Lan {
    bridge: String,
    hosts: Vec<Host>,
}

impl Lan {
    /// The recipe's LAN.
    ///
    /// # Errors
    /// `ip` fails, which it explains.
    pub fn build() -> Result<Self> {
        Self::of(BRIDGE, &HOSTS)
    }

    /// Builds a bridge, hosts and cables.
    ///
    /// # Errors
    /// `ip` fails, which it explains.
    pub fn of(bridge: &str, hosts: &[(&str, Ipv4Addr)]) -> Result<Self> {
        let mut lan = Self { bridge: bridge.to_owned(), hosts: Vec::new() };
        ip(&[
            "link set lo up".to_owned(),
            format!("link add {bridge} type bridge forward_delay 0 mcast_snooping 0"),
            format!("link set {bridge} up"),
        ])?;
        for &(name, address) in hosts {
            ip(&[
                format!("netns add {name}"),
                format!("link add {name} type veth peer name {INTERFACE} netns {name}"),
                format!("link set {name} master {bridge} up"),
            ])?;
            let namespace = File::open(format!("/run/netns/{name}")).context("cannot open a namespace")?;
            let host = Host { name: name.to_owned(), address, namespace: Arc::new(namespace) };
            host.configure(&[
                "link set lo up".to_owned(),
                format!("addr add {address}/24 dev {INTERFACE}"),
                format!("link set {INTERFACE} up"),
            ])?;
            lan.hosts.push(host);
        }
        Ok(lan)
    }

    /// The host called `name`.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&self, name: &str) -> Result<&Host> {
        let found = self.hosts.iter().find(|host| host.name == name);
        found.ok_or_else(|| LabError::new(format!("there is no host {name} in the lab")))
    }

    /// Pulls the cable of `host`, or plugs it in again. Both ends see it.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn plug(&self, host: &Host, plugged: bool) -> Result<()> {
        ip(&[format!("link set {} {}", host.name, if plugged { "up" } else { "down" })])
    }

    /// Has the bridge carry nothing from host to host any more, or everything again. No end of a cable sees it.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn part(&self, parted: bool) -> Result<()> {
        let isolated = if parted { "on" } else { "off" };
        let command = |host: &Host| format!("link set {} type bridge_slave isolated {isolated}", host.name);
        ip(&self.hosts.iter().map(command).collect::<Vec<_>>())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        // The cables first: with its namespace alone, the kernel takes one away later, when a new one may want its name.
        let gone = |host: &Host| [format!("link del {}", host.name), format!("netns del {}", host.name)];
        let mut commands: Vec<_> = self.hosts.iter().flat_map(gone).collect();
        commands.push(format!("link del {}", self.bridge));
        if let Err(error) = ip(&commands) {
            eprintln!("mainstay lab: cannot take the LAN down: {error}");
        }
    }
}

impl Host {
    /// Its name, which is also its namespace's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its own address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Does `work` on this host: sockets opened and programs started in it are the host's.
    ///
    /// # Errors
    /// The kernel refuses the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        // A namespace is a thread's, so the work gets a thread of its own.
        let worker = || self.move_in().map(|()| work());
        thread::scope(|scope| scope.spawn(worker).join())
            .unwrap_or_else(|_| Err(LabError::new(format!("work on {} panicked", self.name))))
    }

    /// Runs commands of iproute2 on this host.
    ///
    /// # Errors
    /// `ip` fails, which it explains.
    pub fn configure(&self, commands: &[String]) -> Result<()> {
        self.enter(|| ip(commands))?
    }

    /// Takes the virtual address away, as a boot does. A Keepalived that is killed leaves it.
    ///
    /// # Errors
    /// `ip` fails.
    pub fn forget_virtual_address(&self) -> Result<()> {
        self.configure(&[format!("addr flush dev {INTERFACE} to {VIRTUAL_ADDRESS}")])
    }

    /// Moves the calling thread to this host for good.
    ///
    /// # Errors
    /// The kernel refuses the namespace.
    pub fn move_in(&self) -> Result<()> {
        setns(&*self.namespace, CloneFlags::CLONE_NEWNET).context(format!("cannot enter {}", self.name))
    }
}

/// Runs commands of iproute2 in the calling thread's namespace.
fn ip(commands: &[String]) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all((commands.join("\n") + "\n").as_bytes()).context("cannot talk to ip")?;
    }
    let output = child.wait_with_output().context("cannot run ip")?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(LabError::new(format!("ip refused \"{}\": {}", commands.join("; "), complaint.trim())))
}
