//! The processes of the stub apiservers: start, kill, freeze, graceful stop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::certificates::Certificates;
use super::error::{Context, Result};
use super::topology::Host;

/// One stub apiserver and where it runs.
#[derive(Debug)]
pub struct ControlPlaneNode {
    host: Host,
    program: PathBuf,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

impl ControlPlaneNode {
    /// Prepares an apiserver on `host`; starts nothing yet. `mainstay` is this program's file.
    pub fn install(host: &Host, mainstay: &Path, directory: &Path, pki: &Certificates, times: Times) -> Self {
        let millis = |duration: Duration| format!("{}ms", duration.as_millis());
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let arguments = [
            ("--name", host.name().to_owned()),
            ("--certificate", path(&pki.certificate)),
            ("--key", path(&pki.key)),
            ("--ready-after", millis(times.ready_after)),
            ("--shutdown-delay", millis(times.shutdown_delay)),
        ];
        let options = arguments.into_iter().flat_map(|(option, value)| [option.to_owned(), value]);
        Self {
            host: host.clone(),
            program: mainstay.to_owned(),
            arguments: ["lab".to_owned(), "apiserver".to_owned()].into_iter().chain(options).collect(),
            log: directory.join(format!("{}.log", host.name())),
            process: None,
        }
    }

    /// Where it runs.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self) -> Result<()> {
        let log = File::create(&self.log).context("cannot write a log")?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let started = self.host.enter(|| command.spawn())?;
        self.process = Some(started.context("cannot start a stub apiserver")?);
        Ok(())
    }

    /// Whether its process is there, frozen or not.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// It cannot be killed.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.kill().context("cannot kill a stub apiserver")?;
        process.wait().context("cannot wait for a stub apiserver").map(drop)
    }

    /// Sends it `signal`: SIGTERM to shut it down, SIGSTOP and SIGCONT to freeze and thaw it.
    ///
    /// # Errors
    /// It cannot be signalled.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(process) = &self.process else { return Ok(()) };
        let pid = i32::try_from(process.id()).context("a process id is out of range")?;
        kill(Pid::from_raw(pid), signal).context(format!("cannot send {signal} to {}", self.host.name()))
    }
}

impl Drop for ControlPlaneNode {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("mainstay lab: {error}");
        }
    }
}

/// How long an apiserver takes for what it does.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// From start until it is ready.
    pub ready_after: Duration,
    /// From SIGTERM until it stops serving.
    pub shutdown_delay: Duration,
}

impl Default for Times {
    /// As a real one with `--shutdown-delay-duration=5s`.
    fn default() -> Self {
        Self { ready_after: Duration::from_secs(2), shutdown_delay: Duration::from_secs(5) }
    }
}
