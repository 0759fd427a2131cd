//! Programs that are run for a configuration: tracked scripts, and those that are told about changes.
//!
//! Owns how they are started and ended. A program gets its arguments as they are, never a shell line; a process group of
//! its own, a clean environment, `/dev/null` to read; and its whole group ends with it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use mainstay_engine::plan::ScriptUser;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Group, Pid, Uid, User};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

/// How long a program that was asked to end may take before it is killed.
pub(crate) const TERMINATION_PATIENCE: Duration = Duration::from_secs(2);

/// Where programs find others.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a program's output is kept: its end, where the reason of a failure stands.
const OUTPUT_KEPT_BYTES: usize = 4096;

/// Reads before somebody else gets a turn: a whole pipe's worth.
const READS_AT_ONCE: usize = 16;

/// How much of that is shown, in characters.
const PHRASE_CHARACTERS: usize = 160;

/// A program that runs.
pub(crate) struct Running {
    child: Child,
    output: pipe::Receiver,
    said: Tail,
}

/// The numbers of an account.
///
/// # Errors
/// There is no such user or group, as a sentence.
pub(crate) fn account(account: &ScriptUser) -> Result<(Uid, Gid), String> {
    let user = User::from_name(&account.user)
        .map_err(|error| format!("cannot look up user `{}`: {error}", account.user))?
        .ok_or_else(|| format!("there is no user `{}`", account.user))?;
    let Some(name) = &account.group else { return Ok((user.uid, user.gid)) };
    let group = Group::from_name(name)
        .map_err(|error| format!("cannot look up group `{name}`: {error}"))?
        .ok_or_else(|| format!("there is no group `{name}`"))?;
    Ok((user.uid, group.gid))
}

impl Running {
    /// Starts a program.
    ///
    /// # Errors
    /// It cannot be started, as a phrase.
    pub(crate) fn start(arguments: &[String], account: Option<(Uid, Gid)>) -> Result<Self, String> {
        Self::start_with(arguments, account, &[("PATH", PATH.to_owned())])
    }

    /// Starts a program with this environment and no other.
    ///
    /// # Errors
    /// It cannot be started, as a phrase.
    pub(crate) fn start_with(
        arguments: &[String],
        account: Option<(Uid, Gid)>,
        environment: &[(&str, String)],
    ) -> Result<Self, String> {
        let (child, output) =
            spawn(arguments, account, environment).map_err(|error| phrase_of_error(arguments, &error))?;
        Ok(Self { child, output, said: Tail::default() })
    }

    /// Waits for its end: `Ok` if it went well, and otherwise a phrase that says how. May be given up at any time.
    pub(crate) async fn wait(&mut self) -> Result<(), String> {
        self.wait_for_code().await.map_err(|(_, phrase)| phrase)
    }

    /// As [`Running::wait`], with the program's own exit status where there is one.
    pub(crate) async fn wait_for_code(&mut self) -> Result<(), (Option<i32>, String)> {
        match watch(&mut self.child, &mut self.output, &mut self.said).await {
            Ok(status) => {
                // What is still in the pipe; a child it left behind may hold it open for ever.
                self.said.read_what_is_there(&self.output);
                outcome(status, &self.said).map_err(|phrase| (status.code(), phrase))
            }
            Err(error) => Err((None, format!("cannot be waited for: {error}"))),
        }
    }

    /// Ends its process group: politely, then not.
    pub(crate) async fn end(&mut self) {
        end(&mut self.child).await;
    }
}

fn spawn(
    arguments: &[String],
    account: Option<(Uid, Gid)>,
    environment: &[(&str, String)],
) -> io::Result<(Child, pipe::Receiver)> {
    let (program, arguments) =
        arguments.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .process_group(0)
        // When the daemon exits meanwhile.
        .kill_on_drop(true);
    if let Some((user, group)) = account {
        // Setting a user also clears the supplementary groups.
        command.uid(user.as_raw()).gid(group.as_raw());
    }
    let child = command.spawn()?;
    Ok((child, pipe::Receiver::from_owned_fd(OwnedFd::from(reader))?))
}

/// Waits for the end of `child`, and reads meanwhile so that it never waits for a reader.
async fn watch(child: &mut Child, output: &mut pipe::Receiver, said: &mut Tail) -> io::Result<ExitStatus> {
    let mut open = true;
    loop {
        tokio::select! {
            readable = output.readable(), if open => {
                open = readable.is_ok() && said.read_what_is_there(output);
                // A script that never stops talking must not keep its own time-out from being seen.
                tokio::task::yield_now().await;
            }
            status = child.wait() => return status,
        }
    }
}

/// Ends the process group of `child`: politely, then not.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw) else { return };
    signal(group, Signal::SIGTERM);
    if timeout(TERMINATION_PATIENCE, child.wait()).await.is_err() {
        signal(group, Signal::SIGKILL);
        // Nothing survives SIGKILL for long, but a process in uninterruptible sleep may: the run ends without it.
        tokio::select! {
            _ = child.wait() => {}
            () = sleep(TERMINATION_PATIENCE) => {}
        }
    } else {
        // The leader obeyed; whatever it started need not have.
        signal(group, Signal::SIGKILL);
    }
}

fn signal(group: Pid, signal: Signal) {
    match killpg(group, signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => tracing::warn!("cannot send {signal} to the process group of a script: {error}"),
    }
}

fn outcome(status: ExitStatus, said: &Tail) -> Result<(), String> {
    if status.success() {
        return Ok(());
    }
    let mut phrase = match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    };
    if let Some(line) = said.last_line() {
        phrase.push_str(": ");
        phrase.push_str(&line);
    }
    Err(phrase)
}

fn phrase_of_error(arguments: &[String], error: &io::Error) -> String {
    let program = arguments.first().map_or("", String::as_str);
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no program `{program}`"),
        io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        _ => format!("cannot run `{program}`: {error}"),
    }
}

/// The last [`OUTPUT_KEPT_BYTES`] of what a program said.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    /// Returns whether more may follow.
    fn read_what_is_there(&mut self, output: &pipe::Receiver) -> bool {
        let mut buffer = [0; OUTPUT_KEPT_BYTES];
        for _ in 0..READS_AT_ONCE {
            match output.try_read(&mut buffer) {
                Ok(0) => return false,
                Ok(length) => self.push(buffer.get(..length).unwrap_or_default()),
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        let excess = self.bytes.len().saturating_sub(OUTPUT_KEPT_BYTES);
        self.bytes.drain(..excess);
    }

    fn last_line(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
        Some(line.chars().filter(|character| !character.is_control()).take(PHRASE_CHARACTERS).collect())
    }
}
