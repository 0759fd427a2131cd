//! A LAN with balancers, servers and a client, and the daemons on it.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use mainstay::lab::enter::DIRECTORY;
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE, Lan};
use mainstay_engine::admin::Status;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The port of endpoints and servers.
pub(crate) const PORT: u16 = 6443;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// The address that balancers share.
pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));

/// Where clients connect.
pub(crate) const ENDPOINT: SocketAddr = SocketAddr::new(VIRTUAL, PORT);

/// The table, for `nft`.
pub(crate) const TABLE: &str = "table inet mainstay_nat";

/// All hosts, with the last parts of their addresses.
const HOSTS: [(&str, u8); 6] = [("lb1", 11), ("lb2", 12), ("s1", 21), ("s2", 22), ("s3", 23), ("client", 50)];

/// A LAN with all hosts, each with an IPv4 and an IPv6 address.
pub(crate) fn lan() -> Lan {
    let hosts = HOSTS.map(|(name, last)| (name, Ipv4Addr::new(10, 0, 0, last)));
    let lan = Lan::of("lan", &hosts).expect("a LAN");
    for (name, last) in HOSTS {
        let own = format!("addr add fd00::{last}/64 dev {INTERFACE} nodad");
        lan.host(name).expect(name).configure(&[own]).expect("ip");
    }
    lan
}

/// One host of it.
pub(crate) fn host<'a>(lan: &'a Lan, name: &str) -> &'a Host {
    lan.host(name).expect("it was built")
}

/// A haproxy.cfg with one frontend and these `bind` and `server` lines.
pub(crate) fn haproxy(bind: &str, servers: &[&str]) -> String {
    let servers: String = servers.iter().map(|server| format!(" server {server}\n")).collect();
    format!(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n default-server check inter 200ms \
         fall 2 rise 1\nfrontend api\n bind {bind}\n default_backend cp\nbackend cp\n{servers}"
    )
}

/// The file that most of the tests use: every address, and three servers of one weight.
pub(crate) fn usual() -> String {
    haproxy("*:6443", &["s1 10.0.0.21:6443", "s2 10.0.0.22:6443", "s3 10.0.0.23:6443"])
}

/// A keepalived.conf with one router that has these addresses.
pub(crate) fn keepalived(priority: u8, addresses: &[&str]) -> String {
    format!(
        "vrrp_instance V {{\n interface {INTERFACE}\n virtual_router_id 51\n version 3\n priority {priority}\n \
         advert_int 0.1\n virtual_ipaddress {{\n {}\n }}\n}}\n",
        addresses.join("\n ")
    )
}

/// The same with signed adverts, whose key is that of the balancers' link, too.
pub(crate) fn linked(priority: u8) -> String {
    keepalived(priority, &["10.0.0.100/24"]).replace(
        " virtual_ipaddress",
        " auth_hmac {\n  key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n  active_key 1\n }\n virtual_ipaddress",
    )
}

/// A running daemon. Dropping it kills it.
pub(crate) struct Balancer {
    directory: PathBuf,
    host: Host,
    child: Child,
}

impl Balancer {
    /// Starts one whose kernel forwards; it may not answer yet.
    pub(crate) fn start(host: &Host, haproxy_cfg: &str, keepalived_conf: &str) -> Self {
        let directory = PathBuf::from(DIRECTORY).join(host.name());
        fs::create_dir_all(&directory).expect("a directory");
        let file = |name: &str, text: &str| {
            fs::write(directory.join(name), text).expect("a file");
            directory.join(name)
        };
        let log = File::create(directory.join("log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.args(["run", "--forwarding", "nat", "--haproxy-cfg"]).arg(file("haproxy.cfg", haproxy_cfg));
        command.arg("--keepalived-conf").arg(file("keepalived.conf", keepalived_conf));
        command.arg("--socket").arg(directory.join("mainstay.sock"));
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a log")).stdout(log);
        let child = host.enter(|| command.spawn()).expect("the host").expect("it starts");
        Self { directory, host: host.clone(), child }
    }

    /// As [`Balancer::start`], and waits until its router is in this state and all its servers are up.
    pub(crate) fn ready(host: &Host, haproxy_cfg: &str, keepalived_conf: &str, state: &str) -> Self {
        let balancer = Self::start(host, haproxy_cfg, keepalived_conf);
        balancer.wait("it is ready", |status| {
            let mut servers = status.pools.iter().flat_map(|pool| &pool.servers);
            status.routers[0].state == state && servers.all(|server| server.state == "up")
        });
        balancer
    }

    /// Waits until its status is as it should be.
    pub(crate) fn wait(&self, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
        let look = || {
            let said = self.mainstay(&["status", "--json"]);
            Ok(match serde_json::from_slice::<Status>(&said.stdout) {
                Ok(status) if holds(&status) => Ok(status),
                _ => Err(format!("{what} is not so: {}{}", self.status(), self.log())),
            })
        };
        wait_until(PATIENCE, look).expect(what)
    }

    /// Waits until the kernel has the rules that it should have.
    pub(crate) fn await_rules(&self, hold: impl Fn(&str) -> bool) {
        let look = || {
            let rules = run(&self.host, &format!("nft list {TABLE}"));
            Ok(if hold(&rules) { Ok(()) } else { Err(rules) })
        };
        wait_until(PATIENCE, look).expect("other rules");
    }

    /// What it shows to people.
    pub(crate) fn status(&self) -> String {
        String::from_utf8_lossy(&self.mainstay(&["status"]).stdout).into_owned()
    }

    /// Runs a subcommand that asks it.
    pub(crate) fn mainstay(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        command.args(arguments).arg("--socket").arg(self.directory.join("mainstay.sock"));
        command.output().expect("mainstay runs")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill(pid, signal).expect("it runs");
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::SIGTERM);
        let ended = self.child.wait().expect("it ends");
        assert!(ended.success(), "{}", self.log());
    }

    /// Waits for an end that it comes to by itself, and returns what it said.
    pub(crate) fn refused(mut self) -> String {
        assert_eq!(self.child.wait().expect("it ends").code(), Some(1));
        self.log()
    }

    /// Kills it.
    pub(crate) fn kill(self) {
        drop(self);
    }

    /// What it said since it started.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// Where it runs.
    pub(crate) fn host(&self) -> &Host {
        &self.host
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command says on a host. Words are split at blanks.
pub(crate) fn run(host: &Host, line: &str) -> String {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    command.args(words);
    let output = host.enter(|| command.output()).expect("the host").expect("it is installed");
    assert!(
        output.status.success(),
        "{line} on {}: {}",
        host.name(),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
