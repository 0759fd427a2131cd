//! A balancer of either kind: mainstay, or HAProxy and Keepalived side by side.
//!
//! Owns its processes: how they start, how each way to end them is done, and whether they are ready.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use mainstay_engine::admin::Status;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::address_watch::AddressWatch;
use super::enter::DIRECTORY;
use super::error::{Context, LabError, Result};
use super::recipe::{Files, Reader};
use super::time::wait_until;
use super::topology::{Host, VIRTUAL_ADDRESS};

/// How long a balancer may take to stop when it is asked to. mainstay bounds its hand-over well below this.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// How long processes may take to start or to be gone.
const PROCESS_PATIENCE: Duration = Duration::from_secs(10);
/// How many lines of a balancer's log an error shows.
const LOG_TAIL: usize = 25;

/// What a balancer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// This program.
    #[value(name = "mainstay")]
    Mainstay,
    /// This program, with the kernel forwarding.
    #[value(name = "mainstay-nat")]
    Nat,
    /// HAProxy and Keepalived.
    #[value(name = "haproxy+keepalived")]
    Pair,
}

impl Kind {
    /// What the scoreboard calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mainstay => "mainstay",
            Self::Nat => "mainstay-nat",
            Self::Pair => "haproxy+keepalived",
        }
    }

    /// Who reads the recipe's files.
    pub fn reader(self) -> Reader {
        match self {
            Self::Mainstay | Self::Nat => Reader::Mainstay,
            Self::Pair => Reader::Pair,
        }
    }
}

/// One balancer.
#[derive(Debug)]
pub struct Balancer {
    kind: Kind,
    host: Host,
    mainstay: PathBuf,
    address: AddressWatch,
    running: Option<Running>,
}

/// Its processes while there are any.
#[derive(Debug)]
struct Running {
    /// `unshare`, which ends when `init` does.
    holder: Child,
    /// The first process of the balancer's process-id namespace, by our count.
    init: Pid,
}

impl Balancer {
    /// Puts the files on `host`; starts nothing yet. `mainstay` is this program's file.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn install(kind: Kind, host: &Host, files: &Files, mainstay: PathBuf) -> Result<Self> {
        let address = AddressWatch::start(host, VIRTUAL_ADDRESS.into())?;
        let balancer = Self { kind, host: host.clone(), mainstay, address, running: None };
        fs::create_dir_all(balancer.file("run")).context("cannot create a directory")?;
        fs::write(balancer.file("haproxy.cfg"), &files.haproxy).context("cannot write haproxy.cfg")?;
        fs::write(balancer.file("keepalived.conf"), &files.keepalived)
            .context("cannot write keepalived.conf")?;
        Ok(balancer)
    }

    /// What it runs.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Whether and when it held the virtual address.
    pub fn address(&self) -> &AddressWatch {
        &self.address
    }

    /// One of its files.
    pub fn file(&self, name: &str) -> PathBuf {
        PathBuf::from(DIRECTORY).join(self.host.name()).join(name)
    }

    /// Starts its daemons with an empty log.
    ///
    /// # Errors
    /// They cannot be started.
    pub fn start(&mut self) -> Result<()> {
        // Process ids begin anew with each start, so a pid file that a killed daemon left would name a living process.
        let run = self.file("run");
        fs::remove_dir_all(&run).context("cannot empty a directory")?;
        fs::create_dir_all(&run).context("cannot create a directory")?;
        let log = File::create(self.file("log")).context("cannot write a log")?;
        let again = log.try_clone().context("cannot write a log")?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
        command.arg(&self.mainstay).args(["lab", "init", "--run"]).arg(&run);
        for daemon in self.daemons() {
            command.arg("--daemon").arg(daemon);
        }
        command.stdin(Stdio::null()).stdout(log).stderr(again);
        let holder = self.host.enter(|| command.spawn())?.context("cannot start unshare")?;
        let init =
            wait_until(
                PROCESS_PATIENCE,
                || Ok(first_child(holder.id()).ok_or("no first process".to_owned())),
            );
        self.running = Some(Running { holder, init: init? });
        Ok(())
    }

    /// Whether it was started and not killed since.
    pub fn is_started(&self) -> bool {
        self.running.is_some()
    }

    /// Whether all its daemons run.
    pub fn is_complete(&self) -> bool {
        self.daemon_names().iter().all(|name| !self.daemon_processes(name).is_empty())
    }

    /// Whether it would take part at once: what is missing, or nothing.
    ///
    /// # Errors
    /// It cannot be asked.
    pub fn readiness(&self) -> Result<std::result::Result<(), String>> {
        let name = self.host.name();
        if !self.is_complete() {
            return Ok(Err(format!("not all daemons of {name} run")));
        }
        match self.kind {
            Kind::Pair => {
                let log = self.log();
                let settled =
                    ["Entering BACKUP STATE", "Entering MASTER STATE"].iter().any(|line| log.contains(line));
                Ok(if settled { Ok(()) } else { Err(format!("Keepalived on {name} is not backup")) })
            }
            Kind::Mainstay | Kind::Nat => {
                // The socket appears a moment after the process.
                let Ok(status) = self.status() else {
                    return Ok(Err(format!("{name} does not answer `status`")));
                };
                let settled = |state: &str| state == "active" || state == "backup";
                let servers = status.pools.iter().flat_map(|pool| &pool.servers);
                let down: Vec<_> = servers.filter(|server| !server.state.starts_with("up")).collect();
                Ok(match (status.routers.iter().find(|router| !settled(&router.state)), down.first()) {
                    (Some(router), _) => Err(format!("{name} is {}: {}", router.state, router.reason)),
                    (None, Some(server)) => Err(format!("{name} sees {} as {}", server.name, server.state)),
                    (None, None) => Ok(()),
                })
            }
        }
    }

    /// What a running mainstay says of itself.
    ///
    /// # Errors
    /// It does not run or does not answer.
    pub fn status(&self) -> Result<Status> {
        let text = self.command(&["status", "--json"])?;
        serde_json::from_str(&text).context("cannot read what `mainstay status --json` says")
    }

    /// Has mainstay give its addresses to the other balancer.
    ///
    /// # Errors
    /// It refuses, with its reason.
    pub fn hand_over(&self) -> Result<()> {
        self.command(&["handover"]).map(drop)
    }

    /// Ends [`hand_over`](Self::hand_over).
    ///
    /// # Errors
    /// It refuses, with its reason.
    pub fn resume(&self) -> Result<()> {
        self.command(&["resume"]).map(drop)
    }

    /// Kills everything that runs on it, at one moment. Its host lives on, as when a service is killed.
    ///
    /// # Errors
    /// The processes do not go.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        signal(running.init, Signal::SIGKILL)?;
        running.holder.wait().context("cannot wait for a balancer's end").map(drop)
    }

    /// Freezes everything that runs on it.
    ///
    /// # Errors
    /// A process cannot be signalled.
    pub fn freeze(&self) -> Result<()> {
        self.processes().into_iter().try_for_each(|process| signal(process, Signal::SIGSTOP))
    }

    /// Ends [`freeze`](Self::freeze).
    ///
    /// # Errors
    /// A process cannot be signalled.
    pub fn thaw(&self) -> Result<()> {
        self.processes().into_iter().try_for_each(|process| signal(process, Signal::SIGCONT))
    }

    /// Asks its daemons to end, as systemd does at shutdown: SIGTERM to the main process of each, at the same time.
    ///
    /// # Errors
    /// A process cannot be signalled.
    pub fn ask_to_stop(&self) -> Result<()> {
        self.signal(Signal::SIGTERM)
    }

    /// Sends a signal to the main process of each daemon.
    ///
    /// # Errors
    /// A process cannot be signalled.
    pub fn signal(&self, sent: Signal) -> Result<()> {
        self.main_processes().into_iter().try_for_each(|process| signal(process, sent))
    }

    /// Waits until the daemons that were asked to end have ended.
    ///
    /// # Errors
    /// They have not within a generous time.
    pub fn wait_stopped(&self) -> Result<()> {
        let name = self.host.name();
        wait_until(STOP_PATIENCE, || {
            let left = self.main_processes().len();
            Ok(if left == 0 { Ok(()) } else { Err(format!("{left} daemons run on {name}")) })
        })
    }

    /// Kills what forwards connections and leaves the rest, if there is a rest.
    ///
    /// # Errors
    /// A process cannot be signalled.
    pub fn kill_data_plane(&mut self) -> Result<()> {
        match self.kind {
            Kind::Mainstay | Kind::Nat => self.kill(),
            Kind::Pair => self
                .daemon_processes("haproxy")
                .into_iter()
                .try_for_each(|process| signal(process, Signal::SIGKILL)),
        }
    }

    /// What its daemons said since the last start.
    pub fn log(&self) -> String {
        fs::read(self.file("log")).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }

    /// The end of [`log`](Self::log), for an error.
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(LOG_TAIL)..).unwrap_or_default();
        format!("--- log of {} ({})\n{}\n", self.host.name(), self.kind.name(), tail.join("\n"))
    }

    /// The first of its processes, for whoever wants to look inside.
    pub fn first_process(&self) -> Option<i32> {
        self.running.as_ref().map(|running| running.init.as_raw())
    }

    fn command(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.mainstay);
        command.args(words).arg("--socket").arg(self.file("mainstay.sock"));
        let output = command.output().context("cannot run mainstay")?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(LabError::new(format!("`mainstay {}` on {}: {complaint}", words.join(" "), self.host.name())))
    }

    /// Command lines, one word a line.
    fn daemons(&self) -> Vec<String> {
        let file = |name: &str| self.file(name).to_string_lossy().into_owned();
        let (haproxy, keepalived) = (file("haproxy.cfg"), file("keepalived.conf"));
        match self.kind {
            Kind::Mainstay | Kind::Nat => {
                let program = self.mainstay.to_string_lossy().into_owned();
                let (option, socket) = ("--haproxy-cfg".to_owned(), file("mainstay.sock"));
                let words = [
                    program,
                    "run".to_owned(),
                    format!("--forwarding={}", if self.kind == Kind::Nat { "nat" } else { "proxy" }),
                    option,
                    haproxy,
                    "--keepalived-conf".to_owned(),
                    keepalived,
                    "--socket".to_owned(),
                    socket,
                ];
                vec![words.join("\n")]
            }
            // `-W` and `--dont-fork` as in the distribution's units; `-db` keeps HAProxy in the foreground.
            Kind::Pair => vec![
                ["haproxy", "-W", "-db", "-f", &haproxy].join("\n"),
                ["keepalived", "--dont-fork", "--log-console", "--use-file", &keepalived].join("\n"),
            ],
        }
    }

    fn daemon_names(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Mainstay | Kind::Nat => &["mainstay"],
            Kind::Pair => &["haproxy", "keepalived"],
        }
    }

    /// Children of the first process: what systemd would call main processes.
    fn main_processes(&self) -> Vec<Pid> {
        self.running.as_ref().map(|running| children(running.init)).unwrap_or_default()
    }

    fn daemon_processes(&self, name: &str) -> Vec<Pid> {
        let init = self.first_process();
        self.processes()
            .into_iter()
            .filter(|pid| Some(pid.as_raw()) != init && is_called(*pid, name))
            .collect()
    }

    /// All processes of its process-id namespace, the first one last, so that nobody is reparented meanwhile.
    fn processes(&self) -> Vec<Pid> {
        let Some(running) = &self.running else { return Vec::new() };
        let namespace = |pid: Pid| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let Some(own) = namespace(running.init) else { return Vec::new() };
        let mut found: Vec<_> =
            all_processes().into_iter().filter(|pid| namespace(*pid).as_ref() == Some(&own)).collect();
        found.sort_by_key(|pid| *pid == running.init);
        found
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("mainstay lab: {error}");
        }
    }
}

fn all_processes() -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let number = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse().ok();
    entries.filter_map(number).map(Pid::from_raw).collect()
}

fn children(parent: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    listed.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn first_child(parent: u32) -> Option<Pid> {
    children(Pid::from_raw(i32::try_from(parent).ok()?)).first().copied()
}

/// Whether it is a live process of that name; a zombie has no command line.
fn is_called(pid: Pid, name: &str) -> bool {
    let called = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == name);
    called && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn signal(process: Pid, signal: Signal) -> Result<()> {
    match kill(process, signal) {
        // It ended by itself meanwhile.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(LabError::new(format!("cannot send {signal} to process {process}: {error}"))),
    }
}
