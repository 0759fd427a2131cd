//! Tracked scripts: when they run, and what their results say.
//!
//! Owns [`Scripts`]. Running a program is the shell's.

use std::collections::VecDeque;

use serde::Serialize;

use super::Health;
use crate::admin::ScriptStatus;
use crate::engine::Output;
use crate::event::Event;
use crate::limits;
use crate::plan::{Script, ScriptId};
use crate::time::{Deadline, Instant};
use crate::vrrp::event::VrrpEvent;

/// How one run of a tracked script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ScriptOutcome {
    /// It passed.
    Passed,
    /// It failed; the phrase says how ("exit status 1", "killed by signal 9", "no such file", "listener closed").
    Failed(String),
    /// It did not end in time and was killed.
    TimedOut,
}

impl ScriptOutcome {
    fn phrase(&self) -> String {
        match self {
            Self::Passed => "passed".to_owned(),
            Self::Failed(how) => format!("failed ({how})"),
            Self::TimedOut => "timed out".to_owned(),
        }
    }
}

/// All tracked scripts of a plan.
#[derive(Debug)]
pub(crate) struct Scripts {
    scripts: Vec<TrackedScript>,
}

#[derive(Debug)]
struct TrackedScript {
    config: Script,
    health: Health,
    since: Instant,
    /// Results in a row that speak against `health`.
    against: u32,
    latest: String,
    next_run: Instant,
    runs: u64,
    running: Option<Run>,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    number: u64,
    /// When its end should have been reported at the very latest.
    report_due: Instant,
}

impl Scripts {
    /// Scripts that no run has judged yet; their first runs are due at once.
    pub(crate) fn new(scripts: &[Script], now: Instant) -> Self {
        let scripts = scripts.iter().map(|config| TrackedScript::new(config.clone(), now)).collect();
        Self { scripts }
    }

    /// Takes in how a run ended. Whether that changed what routers should think of the script.
    pub(crate) fn handle_finished(
        &mut self,
        script: ScriptId,
        run: u64,
        outcome: &ScriptOutcome,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) -> bool {
        match self.scripts.get_mut(usize::from(script.0)) {
            // The end of a run that was given up long ago says nothing about now.
            Some(tracked) if tracked.running.is_some_and(|running| running.number == run) => {
                tracked.finish(outcome, now, outputs)
            }
            _ => false,
        }
    }

    /// Starts the runs that are due and gives up those nobody reported. Whether a script changed by that.
    pub(crate) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        let mut changed = false;
        for (id, tracked) in (0..).zip(&mut self.scripts) {
            if tracked.running.is_some_and(|run| run.report_due <= now) {
                changed |= tracked.finish(&ScriptOutcome::TimedOut, now, outputs);
            }
            tracked.run_if_due(ScriptId(id), now, outputs);
        }
        changed
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        self.scripts.iter().map(TrackedScript::deadline).min()
    }

    /// A script's health and how its latest run ended; `None` if there is none with that number.
    pub(super) fn judge(&self, id: ScriptId) -> Option<(&Script, Health, &str)> {
        let script = self.scripts.get(usize::from(id.0))?;
        Some((&script.config, script.health, &script.latest))
    }

    /// One for each script of the plan.
    pub(crate) fn status(&self, now: Instant) -> Vec<ScriptStatus> {
        self.scripts
            .iter()
            .map(|script| ScriptStatus {
                name: script.config.name.clone(),
                state: script.health.name().to_owned(),
                since: now.since(script.since),
                latest: script.latest.clone(),
            })
            .collect()
    }
}

impl TrackedScript {
    fn new(config: Script, now: Instant) -> Self {
        Self {
            config,
            health: Health::Unknown,
            since: now,
            against: 0,
            latest: "no run has ended yet".to_owned(),
            next_run: now,
            runs: 0,
            running: None,
        }
    }

    fn run_if_due(&mut self, id: ScriptId, now: Instant, outputs: &mut VecDeque<Output>) {
        if now < self.next_run {
            return;
        }
        // The interval lies between two starts, and a run left out is not made up for.
        self.next_run = now + self.config.interval.max(limits::SCRIPT_INTERVAL_MIN);
        if self.running.is_some() {
            let event = VrrpEvent::ScriptOverran { script: self.config.name.clone() };
            outputs.push_back(Output::Event(Event::Vrrp(event)));
            return;
        }
        self.runs += 1;
        let report_due = now + self.config.timeout + limits::SCRIPT_REPORT_GRACE;
        self.running = Some(Run { number: self.runs, report_due });
        outputs.push_back(Output::RunScript { script: id, run: self.runs });
    }

    /// Ends the current run. Whether the script turned from one health to another.
    fn finish(&mut self, outcome: &ScriptOutcome, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        self.running = None;
        self.latest = outcome.phrase();
        let (says, needed) = match outcome {
            ScriptOutcome::Passed => (Health::Good, self.config.rise),
            ScriptOutcome::Failed(_) | ScriptOutcome::TimedOut => (Health::Bad, self.config.fall),
        };
        if says == self.health {
            self.against = 0;
            return false;
        }
        self.against += 1;
        // The first run decides alone, as with Keepalived.
        if self.health != Health::Unknown && self.against < needed {
            return false;
        }
        (self.health, self.since, self.against) = (says, now, 0);
        let (script, latest) = (self.config.name.clone(), self.latest.clone());
        outputs.push_back(Output::Event(Event::Vrrp(if says == Health::Good {
            VrrpEvent::ScriptGood { script, latest }
        } else {
            VrrpEvent::ScriptBad { script, latest }
        })));
        true
    }

    fn deadline(&self) -> Deadline {
        let next = Deadline { at: self.next_run, why: "run of a tracked script" };
        self.running
            .map(|run| Deadline { at: run.report_due, why: "report of a tracked script" })
            .map_or(next, |report| report.min(next))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::ScriptCommand;

    pub(in crate::vrrp::track) fn script(rise: u32, fall: u32) -> Script {
        Script {
            name: "chk".to_owned(),
            command: ScriptCommand::Execute { arguments: vec!["/bin/chk".to_owned()] },
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            rise,
            fall,
            weight: 0,
            user: None,
        }
    }

    pub(in crate::vrrp::track) fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    /// Runs the script once a given time and lets it end as told.
    pub(in crate::vrrp::track) fn run(scripts: &mut Scripts, millis: u64, passes: bool) -> bool {
        let mut outputs = VecDeque::new();
        scripts.handle_timeout(at(millis), &mut outputs);
        let Some(Output::RunScript { script, run }) = outputs.pop_back() else {
            panic!("no run: {outputs:?}")
        };
        let outcome =
            if passes { ScriptOutcome::Passed } else { ScriptOutcome::Failed("exit status 1".to_owned()) };
        scripts.handle_finished(script, run, &outcome, at(millis + 10), &mut outputs)
    }

    #[test]
    fn the_first_run_decides_and_then_rise_and_fall_count() {
        let mut scripts = Scripts::new(&[script(3, 2)], at(0));
        let results = [true, false, true, false, false, true, true, true];
        let changed: Vec<bool> =
            (0..).zip(results).map(|(n, passes)| run(&mut scripts, n * 2000, passes)).collect();
        // Good at once; one failure between passes is forgiven; two in a row are not; three passes mend it.
        assert_eq!(changed, [true, false, false, false, true, false, false, true]);
        assert_eq!(scripts.status(at(20_000))[0].state, "good");
    }

    #[test]
    fn runs_never_overlap_and_a_lost_one_is_given_up() {
        let mut scripts = Scripts::new(&[script(1, 1)], at(0));
        let mut outputs = VecDeque::new();
        scripts.handle_timeout(at(0), &mut outputs);
        scripts.handle_timeout(at(2000), &mut outputs);
        scripts.handle_timeout(at(4000), &mut outputs);
        let started = outputs.iter().filter(|output| matches!(output, Output::RunScript { .. })).count();
        assert_eq!((started, outputs.len()), (1, 3), "one run, two complaints: {outputs:?}");
        assert!(scripts.handle_timeout(at(7000), &mut outputs), "given up, which counts as failed");
        assert!(!scripts.handle_finished(ScriptId(0), 1, &ScriptOutcome::Passed, at(7001), &mut outputs));
        assert_eq!(scripts.status(at(7002))[0].latest, "timed out");
    }
}
