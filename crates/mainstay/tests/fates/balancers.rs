//! The real HAProxy, mainstay's data plane in this process, and mainstay as a whole.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::{Duration, Instant};

use mainstay::proxy::{Listeners, Proxy};
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{self, Surroundings};
use mainstay_engine::engine::Output;
use mainstay_engine::health::Health;
use mainstay_engine::serving::Serving;

use crate::PATIENCE;

/// Somebody who balances.
pub(crate) trait Balancer {
    /// Where a section listens.
    fn address(&self, section: &str) -> SocketAddr;
}

/// Where each section of a configuration listens.
fn addresses(configuration: &str) -> BTreeMap<String, SocketAddr> {
    let mut section = "";
    let mut found = BTreeMap::new();
    for line in configuration.lines() {
        if let Some(name) = line.strip_prefix("listen ") {
            section = name;
        } else if let Some(address) = line.trim().strip_prefix("bind ") {
            found.insert(section.to_owned(), address.parse().expect("an address"));
        }
    }
    found
}

/// A process of a balancer, in a directory of its own.
struct Process {
    child: Child,
    directory: PathBuf,
    addresses: BTreeMap<String, SocketAddr>,
}

impl Process {
    fn start(name: &str, configuration: &str, command: impl FnOnce(&str, &str) -> Command) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let directory =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("fates-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let (file, socket) = (directory.join("haproxy.cfg"), directory.join("socket"));
        let (file, socket) = (file.display().to_string(), socket.display().to_string());
        fs::write(
            &file,
            configuration.replacen("global\n", &format!("global\n stats socket {socket}.stats\n"), 1),
        )
        .expect("a file can be written");
        let child = command(&file, &socket)
            .stdout(Stdio::null())
            .stderr(fs::File::create(directory.join("said")).expect("a file"))
            .spawn()
            .unwrap_or_else(|error| panic!("{name} is needed (tools/install-test-tools): {error}"));
        let process = Self { child, directory, addresses: addresses(configuration) };
        let first = *process.addresses.values().next().expect("a section");
        let deadline = Instant::now() + PATIENCE;
        // A connection would be logged: the state of the socket says as much.
        while !listens(first) {
            assert!(
                Instant::now() < deadline,
                "{name} does not listen: {}",
                fs::read_to_string(process.directory.join("said")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(10));
        }
        process
    }
}

/// Whether somebody listens there, as the kernel tells it.
fn listens(address: SocketAddr) -> bool {
    let wanted = format!(":{:04X} 00000000:0000 0A", address.port());
    fs::read_to_string("/proc/net/tcp").is_ok_and(|table| table.contains(&wanted))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The real one.
pub(crate) struct HaProxy(Process);

impl HaProxy {
    pub(crate) fn start(configuration: &str) -> Self {
        // Threads that wake for the same client each count it for a moment, which `smax` keeps.
        let configuration = configuration.replacen("global\n", "global\n nbthread 1\n", 1);
        Self(Process::start("haproxy", &configuration, |file, _| {
            let mut command = Command::new("haproxy");
            command.args(["-db", "-f", file]);
            command
        }))
    }

    /// The rows of `show stat` for a section: its name there, and the numbers in it.
    pub(crate) fn counters(&self, section: &str) -> Vec<(String, BTreeMap<String, u64>)> {
        let path = self.0.directory.join("socket.stats");
        let mut socket = UnixStream::connect(path).expect("the stats socket");
        socket.write_all(b"show stat\n").expect("it takes a command");
        let mut table = String::new();
        socket.read_to_string(&mut table).expect("it answers");
        let mut rows = table.trim_start_matches("# ").lines().map(|row| row.split(',').collect::<Vec<_>>());
        let header = rows.next().expect("a header");
        rows.filter(|row| row.first() == Some(&section))
            .map(|row| {
                let fields = header
                    .iter()
                    .zip(&row)
                    .filter_map(|(name, value)| Some(((*name).to_owned(), value.parse().ok()?)));
                (row[1].to_owned(), fields.collect())
            })
            .collect()
    }
}

impl Balancer for HaProxy {
    fn address(&self, section: &str) -> SocketAddr {
        self.0.addresses[section]
    }
}

/// mainstay as a whole.
pub(crate) struct Daemon(#[expect(dead_code, reason = "it is there to run")] Process);

impl Daemon {
    pub(crate) fn start(configuration: &str) -> Self {
        Self(Process::start("mainstay", configuration, |file, socket| {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
            command.args(["run", "--no-peer-link", "--haproxy-cfg", file, "--socket", socket]);
            command
        }))
    }
}

/// mainstay's data plane, whose counters can be looked at.
pub(crate) struct InProcess {
    addresses: BTreeMap<String, SocketAddr>,
    serving: Arc<Serving>,
    _proxy: Proxy,
}

impl InProcess {
    pub(crate) fn start(configuration: &str) -> Self {
        let mut sources = Sources::default();
        let id = sources.add("haproxy.cfg", configuration);
        let surroundings = Surroundings {
            pattern_file: &|path| Err(format!("{path}: no such file")),
            variable: &|_| None,
            resolve: &|_| Err("there are no names".to_owned()),
            key_file: &|_| Err("there are no files".to_owned()),
        };
        let (plan, diagnostics) = config::load(&sources, &[id], &[], &surroundings);
        let plan = Arc::new(plan.unwrap_or_else(|| panic!("refused: {diagnostics:#?}")));
        let mut health = Health::new(Arc::clone(&plan), 1, mainstay_engine::time::Instant::from_nanos(0));
        let serving = std::iter::from_fn(|| health.poll_output())
            .filter_map(|output| if let Output::Publish(serving) = output { Some(serving) } else { None })
            .last()
            .expect("the engine publishes a view at start");
        let listeners = Listeners::bind(&plan).expect("free ports");
        let proxy = Proxy::start(listeners, Arc::clone(&serving)).expect("threads");
        Self { addresses: addresses(configuration), serving, _proxy: proxy }
    }

    /// The counters of HAProxy's row `place`.
    pub(crate) fn counters(&self, section: &str, place: &str) -> Vec<(&'static str, u64)> {
        let plan = &self.serving.plan;
        let pool = plan.pools.iter().position(|pool| pool.name == section).expect("a pool");
        let view = &self.serving.pools[pool];
        let load = |counter: &AtomicU64| counter.load(Relaxed);
        match place {
            "FRONTEND" => {
                let index = plan.frontends.iter().position(|front| front.name == section);
                let own = &self.serving.frontends[index.expect("a frontend")];
                vec![
                    ("scur", u64::from(own.sessions.load(Relaxed))),
                    ("smax", u64::from(own.sessions_max.load(Relaxed))),
                    ("stot", load(&own.sessions_total)),
                    ("conn_tot", load(&own.connections_total)),
                    ("bin", load(&own.bytes_in)),
                    ("bout", load(&own.bytes_out)),
                    ("dcon", load(&own.denied_connections)),
                    ("dses", load(&own.denied_sessions)),
                    ("dreq", load(&own.denied_requests)),
                    ("ereq", load(&own.request_errors)),
                ]
            }
            "BACKEND" => {
                let own = &view.load;
                vec![
                    ("scur", u64::from(own.sessions.load(Relaxed))),
                    ("smax", u64::from(own.sessions_max.load(Relaxed))),
                    ("qcur", u64::from(own.queued.load(Relaxed))),
                    ("qmax", u64::from(own.queued_max.load(Relaxed))),
                    ("stot", load(&own.sessions_total)),
                    ("bin", load(&own.bytes_in)),
                    ("bout", load(&own.bytes_out)),
                    ("dreq", load(&own.denied_requests)),
                    ("econ", load(&own.connections_failed)),
                    ("eresp", load(&own.response_errors)),
                    ("wretr", load(&own.retries)),
                    ("wredis", load(&own.redispatches)),
                    ("cli_abrt", load(&own.client_aborts)),
                    ("srv_abrt", load(&own.server_aborts)),
                    ("lbtot", load(&own.chosen_total)),
                ]
            }
            name => {
                let index = plan.pools[pool].servers.iter().position(|server| server.name == name);
                let own = &view.servers[index.expect("a server")].load;
                vec![
                    ("qcur", u64::from(own.queued.load(Relaxed))),
                    ("qmax", u64::from(own.queued_max.load(Relaxed))),
                    ("scur", u64::from(own.sessions())),
                    ("smax", u64::from(own.sessions_max.load(Relaxed))),
                    ("stot", load(&own.sessions_total)),
                    ("bin", load(&own.bytes_in)),
                    ("bout", load(&own.bytes_out)),
                    ("econ", load(&own.connections_failed)),
                    ("eresp", load(&own.response_errors)),
                    ("wretr", load(&own.retries)),
                    ("wredis", load(&own.redispatches)),
                    ("cli_abrt", load(&own.client_aborts)),
                    ("srv_abrt", load(&own.server_aborts)),
                    ("lbtot", load(&own.chosen_total)),
                ]
            }
        }
    }
}

impl Balancer for InProcess {
    fn address(&self, section: &str) -> SocketAddr {
        self.addresses[section]
    }
}
