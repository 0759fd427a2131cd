//! What is measured: how each product is configured, started, stopped, and what it costs.
//!
//! Owns [`Product`] and [`Running`]. All get the same: as many threads as the machine has cores, TCP mode, the three
//! servers in turn, and each product's own defaults for everything else.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mainstay::lab::enter::DIRECTORY;

use crate::network::{Network, endpoints, servers};

/// How long a product may take to answer after its start.
const START: Duration = Duration::from_secs(10);

/// Connections each product is configured for, and descriptors for them.
const CONNECTIONS: usize = 9_600;

/// A product, or nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    /// Clients connect to the servers; the balancer's kernel routes.
    Direct,
    /// mainstay, whose kernel forwards.
    Nat,
    /// mainstay, proxy mode.
    Proxy,
    /// HAProxy with its defaults.
    Haproxy,
    /// HAProxy with `option splice-auto`.
    HaproxySplice,
    /// nginx with a `stream` block.
    Nginx,
}

/// How much of everything a product is configured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Servers behind each endpoint, the same ones for all.
    pub(crate) servers: u16,
    /// Endpoints on the balancer.
    pub(crate) endpoints: u16,
}

impl Default for Shape {
    fn default() -> Self {
        Self { servers: 3, endpoints: 1 }
    }
}

/// A product that runs.
pub(crate) struct Running {
    child: Option<Child>,
    /// Where clients connect.
    pub(crate) targets: Vec<SocketAddr>,
}

impl Product {
    pub(crate) const ALL: [Self; 6] =
        [Self::Direct, Self::Nat, Self::Proxy, Self::Haproxy, Self::HaproxySplice, Self::Nginx];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Nat => "mainstay-nat",
            Self::Proxy => "mainstay",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it on the balancer, and waits until it answers.
    pub(crate) fn start(self, network: &Network, shape: Shape) -> Result<Running, String> {
        let file = PathBuf::from(DIRECTORY).join(self.name());
        let said = file.with_extension("log");
        let output = File::create(&said).map_err(|error| error.to_string())?;
        let (program, arguments, text) = match self {
            Self::Direct => return Ok(Running { child: None, targets: servers(shape.servers).collect() }),
            Self::Nat | Self::Proxy => (
                env!("CARGO_BIN_EXE_mainstay"),
                format!(
                    "run --forwarding {} --haproxy-cfg {} --socket {DIRECTORY}/admin.sock",
                    if self == Self::Nat { "nat" } else { "proxy" },
                    file.display()
                ),
                haproxy_cfg(shape, ""),
            ),
            Self::Haproxy => ("haproxy", format!("-db -f {}", file.display()), haproxy_cfg(shape, "")),
            Self::HaproxySplice => {
                ("haproxy", format!("-db -f {}", file.display()), haproxy_cfg(shape, " option splice-auto\n"))
            }
            Self::Nginx => ("nginx", format!("-c {}", file.display()), nginx_conf(shape)),
        };
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(|error| error.to_string())?).stderr(output);
        let child = network.balancer.enter(|| command.spawn())?;
        let child = child.map_err(|error| format!("cannot start {program}: {error}"))?;
        let targets: Vec<SocketAddr> = endpoints(shape.endpoints).collect();
        let last = targets.last().copied().ok_or("no endpoint")?;
        let mut running = Running { child: Some(child), targets };
        running.answers(network, last).map_err(|sentence| {
            format!("{}: {sentence}\n{}", self.name(), fs::read_to_string(&said).unwrap_or_default())
        })?;
        Ok(running)
    }
}

impl Running {
    /// CPU time of all its processes so far.
    pub(crate) fn cpu(&self) -> Duration {
        self.processes().into_iter().map(cpu_of).sum()
    }

    /// Resident memory of all its processes, in bytes. What several share counts once.
    pub(crate) fn memory(&self) -> u64 {
        self.processes().into_iter().map(memory_of).sum()
    }

    fn processes(&self) -> Vec<u32> {
        let Some(child) = &self.child else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
        let children = children.unwrap_or_default();
        children.split_whitespace().filter_map(|id| id.parse().ok()).chain([child.id()]).collect()
    }

    fn answers(&mut self, network: &Network, target: SocketAddr) -> Result<(), String> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                return Err(format!("ended at once: {status}"));
            }
            if network.client.enter(|| TcpStream::connect_timeout(&target, START))?.is_ok() {
                return Ok(());
            }
        }
        Err("does not answer".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let processes = self.processes();
        let Some(child) = &mut self.child else { return };
        let signal = |signal: &str, process: u32| {
            let _ = Command::new("kill").args([signal, &process.to_string()]).status();
        };
        // Asked, it takes its rules out of the kernel, which the next product would be measured with.
        signal("-TERM", child.id());
        let begun = Instant::now();
        while processes.iter().any(|&process| is_running(process)) {
            let _ = child.try_wait();
            if begun.elapsed() > START {
                processes.iter().rev().for_each(|&process| signal("-KILL", process));
                let _ = child.wait();
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        let _ = child.wait();
    }
}

/// Whether a process has not ended yet.
fn is_running(process: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with(['Z', 'X']))
}

/// User and system time of a process with all its threads (proc(5), fields 14 and 15).
fn cpu_of(process: u32) -> Duration {
    const TICKS_PER_SECOND: u32 = 100;
    let text = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: u32 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    Duration::from_secs(1) * ticks / TICKS_PER_SECOND
}

fn memory_of(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

/// For HAProxy and for mainstay, which reads the same file.
fn haproxy_cfg(shape: Shape, options: &str) -> String {
    let mut text = format!(
        "global\n maxconn {CONNECTIONS}\n maxpipes 128\n nbthread {}\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n \
         timeout server 1h\n{options}",
        cores()
    );
    for (number, endpoint) in (1..).zip(endpoints(shape.endpoints)) {
        text += &format!(
            "frontend api{number}\n bind {endpoint}\n maxconn {CONNECTIONS}\n default_backend servers{number}\n\
             backend servers{number}\n balance roundrobin\n"
        );
        for (number, address) in (1..).zip(servers(shape.servers)) {
            text += &format!(" server cp{number} {address} check\n");
        }
    }
    text
}

fn nginx_conf(shape: Shape) -> String {
    let servers: String = servers(shape.servers).map(|address| format!("  server {address};\n")).collect();
    let listens: String = endpoints(shape.endpoints)
        .map(|endpoint| {
            format!(" server {{ listen {endpoint} backlog=16384; proxy_pass servers; proxy_timeout 1h; }}\n")
        })
        .collect();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\ndaemon off;\nworker_processes {};\n\
         pid {DIRECTORY}/nginx.pid;\nerror_log stderr;\nworker_rlimit_nofile 20000;\n\
         events {{ worker_connections 19000; }}\nstream {{\n upstream servers {{\n{servers} }}\n{listens}}}\n",
        cores()
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
