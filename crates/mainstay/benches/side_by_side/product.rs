//! What is measured: how each product is configured, started, stopped, and what it costs.
//!
//! Owns [`Product`] and [`Running`]. All get the same: as many threads as the machine has cores, TCP mode, the three
//! servers in turn, and each product's own defaults for everything else.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mainstay::lab::enter::DIRECTORY;

use crate::network::{ENDPOINT, Network, PORT, servers};

/// How long a product may take to answer after its start.
const START: Duration = Duration::from_secs(10);

/// Connections each product is configured for, and descriptors for them.
const CONNECTIONS: usize = 9_600;

/// A product, or nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Product {
    /// Clients connect to the servers; the balancer's kernel routes.
    Direct,
    /// mainstay, proxy mode.
    Proxy,
    /// HAProxy with its defaults.
    Haproxy,
    /// HAProxy with `option splice-auto`.
    HaproxySplice,
    /// nginx with a `stream` block.
    Nginx,
}

/// A product that runs.
pub(crate) struct Running {
    child: Option<Child>,
    /// Where clients connect.
    pub(crate) targets: Vec<SocketAddr>,
}

impl Product {
    pub(crate) const ALL: [Self; 5] =
        [Self::Direct, Self::Proxy, Self::Haproxy, Self::HaproxySplice, Self::Nginx];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Proxy => "mainstay",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
        }
    }

    /// Starts it on the balancer, and waits until it answers.
    pub(crate) fn start(self, network: &Network) -> Result<Running, String> {
        let file = PathBuf::from(DIRECTORY).join(self.name());
        let said = file.with_extension("log");
        let output = File::create(&said).map_err(|error| error.to_string())?;
        let (program, arguments, text) = match self {
            Self::Direct => return Ok(Running { child: None, targets: servers().to_vec() }),
            Self::Proxy => (
                env!("CARGO_BIN_EXE_mainstay"),
                format!("run --haproxy-cfg {} --socket {DIRECTORY}/admin.sock", file.display()),
                haproxy_cfg(""),
            ),
            Self::Haproxy => ("haproxy", format!("-db -f {}", file.display()), haproxy_cfg("")),
            Self::HaproxySplice => {
                ("haproxy", format!("-db -f {}", file.display()), haproxy_cfg(" option splice-auto\n"))
            }
            Self::Nginx => ("nginx", format!("-c {}", file.display()), nginx_conf()),
        };
        fs::write(&file, text).map_err(|error| format!("cannot write {}: {error}", file.display()))?;
        let mut command = Command::new(program);
        command.args(arguments.split_whitespace()).stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(|error| error.to_string())?).stderr(output);
        let child = network.balancer.enter(|| command.spawn())?;
        let child = child.map_err(|error| format!("cannot start {program}: {error}"))?;
        let target = SocketAddr::from((ENDPOINT, PORT));
        let mut running = Running { child: Some(child), targets: vec![target] };
        running.answers(network, target).map_err(|sentence| {
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
        if let Some(child) = &mut self.child {
            for process in fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()))
                .unwrap_or_default()
                .split_whitespace()
            {
                let _ = Command::new("kill").args(["-KILL", process]).status();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
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
fn haproxy_cfg(options: &str) -> String {
    let mut text = format!(
        "global\n maxconn {CONNECTIONS}\n maxpipes 128\n nbthread {}\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 1h\n \
         timeout server 1h\n{options}frontend api\n bind {ENDPOINT}:{PORT}\n maxconn {CONNECTIONS}\n \
         default_backend servers\nbackend servers\n balance roundrobin\n",
        cores()
    );
    for (number, address) in (1..).zip(servers()) {
        text += &format!(" server cp{number} {address} check\n");
    }
    text
}

fn nginx_conf() -> String {
    let servers: String = servers().iter().map(|address| format!("  server {address};\n")).collect();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nuser root;\ndaemon off;\nworker_processes {};\n\
         pid {DIRECTORY}/nginx.pid;\nerror_log stderr;\nworker_rlimit_nofile 20000;\n\
         events {{ worker_connections 19000; }}\nstream {{\n upstream servers {{\n{servers} }}\n \
         server {{ listen {ENDPOINT}:{PORT} backlog=16384; proxy_pass servers; proxy_timeout 1h; }}\n}}\n",
        cores()
    )
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
