//! Carries out tracked scripts.
//!
//! Owns [`Scripts`]. A script has an end: [`Output::RunScript`](mainstay_engine::Output::RunScript) is
//! always answered, at the latest after the script's time-out and [`TERMINATION_PATIENCE`].

use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::plan::{Script, ScriptCommand, ScriptId};
use mainstay_engine::vrrp::track::ScriptOutcome;
use nix::unistd::{Gid, Uid};
use tokio::runtime::Handle;
use tokio::time::timeout;

#[cfg(doc)]
use crate::program::TERMINATION_PATIENCE;
use crate::program::{Running, account};

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

async fn ask(probe: Probe) -> ScriptOutcome {
    match tokio::task::spawn_blocking(move || probe()).await {
        Ok(Ok(())) => ScriptOutcome::Passed,
        Ok(Err(reason)) => ScriptOutcome::Failed(reason),
        Err(_) => ScriptOutcome::Failed("the data plane could not be asked".to_owned()),
    }
}

async fn execute(arguments: &[String], account: Option<(Uid, Gid)>, patience: Duration) -> ScriptOutcome {
    let mut running = match Running::start(arguments, account) {
        Ok(running) => running,
        Err(phrase) => return ScriptOutcome::Failed(phrase),
    };
    match timeout(patience, running.wait()).await {
        Ok(Ok(())) => ScriptOutcome::Passed,
        Ok(Err(phrase)) => ScriptOutcome::Failed(phrase),
        Err(_) => {
            running.end().await;
            ScriptOutcome::TimedOut
        }
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
