//! Carries out tracked scripts.
//!
//! Owns [`Scripts`]. A script is a program with arguments, never a shell line. It gets a process group of its own, a
//! clean environment, `/dev/null` to read, and an end: [`Output::RunScript`](mainstay_engine::Output::RunScript) is
//! always answered, at the latest after the script's time-out and [`TERMINATION_PATIENCE`].

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::plan::{Script, ScriptCommand, ScriptId, ScriptUser};
use mainstay_engine::vrrp::track::ScriptOutcome;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Group, Pid, Uid, User};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// How long a script that was asked to end may take before it is killed.
const TERMINATION_PATIENCE: Duration = Duration::from_secs(2);

/// Where scripts find programs.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a script's output is kept: its end, where the reason of a failure stands.
const OUTPUT_KEPT_BYTES: usize = 4096;

/// Reads before somebody else gets a turn: a whole pipe's worth.
const READS_AT_ONCE: usize = 16;

/// How much of that is shown, in characters.
const PHRASE_CHARACTERS: usize = 160;

/// Where a result goes: the script, the run, how it ended.
pub type Report = Arc<dyn Fn(ScriptId, u64, ScriptOutcome) + Send + Sync>;

/// Whether the own data plane serves, and if not, why. May take a moment.
pub type Probe = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Runs the scripts of a plan.
pub struct Scripts {
    runtime: Handle,
    jobs: Vec<Arc<Job>>,
    report: Report,
}

/// A script, ready to run.
enum Job {
    /// Asks the own data plane.
    Probe(Probe),
    /// Runs a program.
    Execute { arguments: Vec<String>, account: Option<(Uid, Gid)>, timeout: Duration },
}

impl Scripts {
    /// For the scripts of `plan`, on `runtime`. Without a data plane of its own to ask, `probe` is `None`, and commands
    /// that look for HAProxy are run as they were written: then it may well be HAProxy that serves.
    ///
    /// # Errors
    /// A script should run as a user or group that this machine does not have.
    pub fn new(runtime: Handle, plan: &Plan, probe: Option<&Probe>, report: Report) -> Result<Self, String> {
        let jobs = plan.scripts.iter().map(|script| job(script, probe).map(Arc::new));
        Ok(Self { runtime, jobs: jobs.collect::<Result<_, _>>()?, report })
    }

    /// Runs `script` once; the outcome is reported with the same `run`.
    pub fn start(&self, script: ScriptId, run: u64) {
        let Some(job) = self.jobs.get(usize::from(script.0)).cloned() else { return };
        let report = Arc::clone(&self.report);
        self.runtime.spawn(async move {
            let outcome = match &*job {
                Job::Probe(probe) => ask(Arc::clone(probe)).await,
                Job::Execute { arguments, account, timeout } => execute(arguments, *account, *timeout).await,
            };
            report(script, run, outcome);
        });
    }
}

fn job(script: &Script, probe: Option<&Probe>) -> Result<Job, String> {
    let arguments = match (&script.command, probe) {
        (ScriptCommand::DataPlaneServes { .. }, Some(probe)) => return Ok(Job::Probe(Arc::clone(probe))),
        (ScriptCommand::DataPlaneServes { written }, None) => {
            written.split_whitespace().map(str::to_owned).collect()
        }
        (ScriptCommand::Execute { arguments }, _) => arguments.clone(),
    };
    let account = script.user.as_ref().map(account).transpose();
    Ok(Job::Execute {
        arguments,
        account: account.map_err(|error| format!("vrrp_script {}: {error}", script.name))?,
        timeout: script.timeout,
    })
}

/// The user and group that a script runs as.
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

async fn ask(probe: Probe) -> ScriptOutcome {
    match tokio::task::spawn_blocking(move || probe()).await {
        Ok(Ok(())) => ScriptOutcome::Passed,
        Ok(Err(reason)) => ScriptOutcome::Failed(reason),
        Err(_) => ScriptOutcome::Failed("the data plane could not be asked".to_owned()),
    }
}

async fn execute(arguments: &[String], account: Option<(Uid, Gid)>, patience: Duration) -> ScriptOutcome {
    let (mut child, mut output) = match spawn(arguments, account) {
        Ok(started) => started,
        Err(error) => return ScriptOutcome::Failed(phrase_of_error(arguments, &error)),
    };
    let mut said = Tail::default();
    let ended = timeout(patience, watch(&mut child, &mut output, &mut said)).await;
    match ended {
        Ok(Ok(status)) => {
            // What is still in the pipe; a child it left behind may hold it open for ever.
            said.read_what_is_there(&output);
            outcome(status, &said)
        }
        Ok(Err(error)) => ScriptOutcome::Failed(format!("cannot be waited for: {error}")),
        Err(_) => {
            end(&mut child).await;
            ScriptOutcome::TimedOut
        }
    }
}

fn spawn(arguments: &[String], account: Option<(Uid, Gid)>) -> io::Result<(Child, pipe::Receiver)> {
    let (program, arguments) =
        arguments.split_first().ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    let (reader, writer) = std::io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
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

fn outcome(status: ExitStatus, said: &Tail) -> ScriptOutcome {
    if status.success() {
        return ScriptOutcome::Passed;
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
    ScriptOutcome::Failed(phrase)
}

fn phrase_of_error(arguments: &[String], error: &io::Error) -> String {
    let program = arguments.first().map_or("", String::as_str);
    match error.kind() {
        io::ErrorKind::NotFound => format!("there is no program `{program}`"),
        io::ErrorKind::PermissionDenied => format!("`{program}` may not be executed"),
        _ => format!("cannot run `{program}`: {error}"),
    }
}

/// The last [`OUTPUT_KEPT_BYTES`] of what a script said.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn run(arguments: &[&str], patience: Duration) -> ScriptOutcome {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        runtime.block_on(execute(&arguments, None, patience))
    }

    fn shell(line: &str) -> ScriptOutcome {
        run(&["/bin/sh", "-c", line], Duration::from_secs(20))
    }

    fn failed(phrase: &str) -> ScriptOutcome {
        ScriptOutcome::Failed(phrase.to_owned())
    }

    #[test]
    fn says_how_a_script_ended() {
        assert_eq!(run(&["/bin/true"], Duration::from_secs(20)), ScriptOutcome::Passed);
        assert_eq!(shell("exit 3"), failed("exit status 3"));
        assert_eq!(shell("echo fine; echo no route >&2; exit 1"), failed("exit status 1: no route"));
        assert_eq!(shell("kill -9 $$"), failed("killed by signal 9"));
        assert_eq!(
            run(&["/nonexistent/check"], Duration::from_secs(20)),
            failed("there is no program `/nonexistent/check`")
        );
        assert_eq!(
            run(&["/etc/passwd"], Duration::from_secs(20)),
            failed("`/etc/passwd` may not be executed")
        );
    }

    #[test]
    fn arguments_are_not_a_shell_line() {
        assert_eq!(
            run(&["/bin/sh", "-c", "echo \"$1\"; exit 1", "sh", "a; exit 0 $(id)"], Duration::from_secs(20)),
            failed("exit status 1: a; exit 0 $(id)")
        );
    }

    #[test]
    fn the_environment_is_clean_and_the_output_bounded() {
        assert_eq!(
            shell("test \"$(env | grep -c -v -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL=)\" = 0"),
            ScriptOutcome::Passed
        );
        let ScriptOutcome::Failed(phrase) = shell("yes | head -c 1000000 | tr -d '\\n'; exit 1") else {
            panic!("it fails");
        };
        assert!(phrase.len() < 200, "{phrase}");
    }

    #[test]
    fn a_script_that_does_not_end_is_ended_with_all_its_children() {
        let file = std::env::temp_dir().join(format!("mainstay-script-{}", std::process::id()));
        let line =
            format!("trap '' TERM; sleep 600 & echo $! >{}; while :; do sleep 600; done", file.display());
        assert_eq!(run(&["/bin/sh", "-c", &line], Duration::from_millis(300)), ScriptOutcome::TimedOut);
        let child: i32 = std::fs::read_to_string(&file).unwrap().trim().parse().unwrap();
        std::fs::remove_file(&file).unwrap();
        let gone = std::time::Instant::now() + Duration::from_secs(10);
        while is_running(child) {
            assert!(std::time::Instant::now() < gone, "process {child} survived");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_script_that_never_stops_talking_is_ended() {
        assert_eq!(run(&["yes"], Duration::from_millis(200)), ScriptOutcome::TimedOut);
    }

    #[test]
    fn a_child_that_keeps_the_output_open_does_not_hold_up_the_result() {
        let started = std::time::Instant::now();
        assert_eq!(shell("sleep 5 & exit 1"), failed("exit status 1"));
        assert!(started.elapsed() < Duration::from_secs(4));
    }

    /// A zombie nobody reaped counts as gone.
    fn is_running(process: i32) -> bool {
        std::fs::read_to_string(format!("/proc/{process}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
    }
}
