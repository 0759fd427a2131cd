//! Three hosts in a row: client, balancer, servers. Two cables, no bridge: one would tax every packet.
//!
//! Owns [`Network`] and its addresses.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns};

/// Where clients find a product.
pub(crate) const ENDPOINT: Ipv4Addr = Ipv4Addr::new(10, 90, 1, 1);
/// The port of the first endpoint, and of the servers; further endpoints have the ports above it.
pub(crate) const PORT: u16 = 6443;

/// The three hosts.
pub(crate) struct Network {
    pub(crate) client: Host,
    pub(crate) balancer: Host,
    pub(crate) servers: Host,
}

/// A network namespace.
pub(crate) struct Host(File);

impl Network {
    pub(crate) fn build() -> Result<Self, String> {
        let commands = "\
            link set lo up
            netns add client
            netns add balancer
            netns add servers
            link add to-balancer netns client type veth peer name to-client netns balancer
            link add to-servers netns balancer type veth peer name to-balancer netns servers
            -n client addr add 10.90.1.2/24 dev to-balancer
            -n client link set to-balancer up
            -n client link set lo up
            -n client route add default via 10.90.1.1
            -n balancer addr add 10.90.1.1/24 dev to-client
            -n balancer link set to-client up
            -n balancer addr add 10.90.2.1/24 dev to-servers
            -n balancer link set to-servers up
            -n balancer link set lo up
            -n servers addr add 10.90.2.11/24 dev to-balancer
            -n servers link set to-balancer up
            -n servers link set lo up
            -n servers route add default via 10.90.2.1
            -n servers route add local 10.91.0.0/16 dev lo
            -n balancer route add 10.91.0.0/16 via 10.90.2.11";
        for command in commands.lines() {
            run("ip", command.split_whitespace())?;
        }
        let network = Self {
            client: Host::open("client")?,
            balancer: Host::open("balancer")?,
            servers: Host::open("servers")?,
        };
        for host in [&network.client, &network.balancer, &network.servers] {
            host.enter(|| {
                set("net/ipv4/ip_local_port_range", "1024 65535")?;
                set("net/core/somaxconn", "16384")?;
                set("net/ipv4/tcp_max_syn_backlog", "16384")?;
                set("net/ipv4/ip_forward", "1")
            })??;
        }
        Ok(network)
    }
}

impl Host {
    fn open(name: &str) -> Result<Self, String> {
        let path = format!("/run/netns/{name}");
        File::open(&path).map(Self).map_err(|error| format!("cannot open {path}: {error}"))
    }

    /// Moves the calling thread to this host for good.
    pub(crate) fn move_in(&self) -> Result<(), String> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).map_err(|error| format!("cannot enter a namespace: {error}"))
    }

    /// Does `work` on this host: sockets opened and programs started in it are the host's.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, String> {
        // A namespace is a thread's, so the work gets a thread of its own.
        let moved = || self.move_in().map(|()| work());
        thread::scope(|scope| scope.spawn(moved).join())
            .unwrap_or_else(|_| Err("a thread panicked".to_owned()))
    }
}

/// The first so many servers.
pub(crate) fn servers(count: u16) -> impl Iterator<Item = SocketAddr> {
    (0..count).map(|number| {
        let [high, low] = (number + 1).to_be_bytes();
        SocketAddr::from(([10, 91, high, low], PORT))
    })
}

/// The first so many endpoints.
pub(crate) fn endpoints(count: u16) -> impl Iterator<Item = SocketAddr> {
    (PORT..).take(usize::from(count)).map(|port| SocketAddr::from((ENDPOINT, port)))
}

fn set(name: &str, value: &str) -> Result<(), String> {
    std::fs::write(format!("/proc/sys/{name}"), value).map_err(|error| format!("cannot set {name}: {error}"))
}

fn run<'a>(program: &str, arguments: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let arguments: Vec<_> = arguments.collect();
    let output = Command::new(program)
        .args(&arguments)
        .output()
        .map_err(|error| format!("cannot run {program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), complaint.trim()))
}
