//! What changes a router's priority: tracked scripts, interfaces, files and processes.
//!
//! Owns [`Tracked`], the state of everything that routers track, and [`tracking`], which turns it into one router's
//! priority. `script`, `file` and `process` own one kind each.

mod file;
mod process;
mod script;

use std::collections::{BTreeMap, VecDeque};

use self::file::Files;
use self::process::Processes;
pub use self::script::ScriptOutcome;
use self::script::Scripts;
use crate::engine::{InterfaceState, Output};
use crate::plan::{Plan, Priority, Router, TrackEffect};
use crate::time::{Deadline, Instant};

/// What is known about the interfaces that routers use, by name: `None` inside for one that does not exist.
pub(crate) type Interfaces = BTreeMap<String, Option<InterfaceState>>;

/// Everything that routers track.
#[derive(Debug)]
pub(crate) struct Tracked {
    pub(crate) scripts: Scripts,
    pub(crate) files: Files,
    pub(crate) processes: Processes,
    pub(crate) interfaces: Interfaces,
}

impl Tracked {
    /// Of which nothing is known yet.
    pub(crate) fn new(plan: &Plan, now: Instant) -> Self {
        Self {
            scripts: Scripts::new(&plan.scripts, now),
            files: Files::new(&plan.files, now),
            processes: Processes::new(&plan.processes, now),
            interfaces: Interfaces::new(),
        }
    }

    /// Does what is due. Whether that changed what routers should think.
    pub(crate) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        self.scripts.handle_timeout(now, outputs) | self.processes.handle_timeout(now, outputs)
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        [self.scripts.poll_timeout(), self.processes.poll_timeout()].into_iter().flatten().min()
    }
}

/// Whether a tracked thing is as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Unknown,
    Good,
    Bad,
}

impl Health {
    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }
}

/// What tracking makes of one router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tracking {
    /// The configured priority with all weights applied.
    pub(crate) priority: Priority,
    /// What keeps the router from taking part, one phrase each.
    pub(crate) faults: Vec<String>,
    /// What the router waits for before it takes part, one phrase each.
    pub(crate) awaited: Vec<String>,
    /// What changed the priority, one phrase each.
    pub(crate) changes: Vec<String>,
}

/// What everything it tracks makes of one router.
pub(crate) fn tracking(router: &Router, tracked: &Tracked) -> Tracking {
    let mut sum = Sum::default();
    for track in &router.track_scripts {
        if let Some((script, health, latest)) = tracked.scripts.judge(track.script) {
            let name = &script.name;
            let phrases = (format!("{name} {latest}"), format!("the first result of {name}"));
            sum.add(track.effect, health, phrases);
        }
    }
    for track in &router.track_interfaces {
        let name = &track.interface;
        let (health, is) = match tracked.interfaces.get(name) {
            None => (Health::Unknown, "unknown"),
            Some(None) => (Health::Bad, "missing"),
            Some(Some(state)) if state.running => (Health::Good, "up"),
            Some(Some(_)) => (Health::Bad, "down"),
        };
        let phrases = (format!("interface {name} is {is}"), format!("the state of interface {name}"));
        sum.add(track.effect, health, phrases);
    }
    for track in &router.track_processes {
        if let Some((name, health, count)) = tracked.processes.judge(track.process) {
            let phrases =
                (format!("{name}: {count} processes"), format!("the first count of processes of {name}"));
            sum.add(track.effect, health, phrases);
        }
    }
    for track in &router.track_files {
        if let Some((name, number)) = tracked.files.judge(track.file) {
            sum.add_number(track.effect, number, name);
        }
    }
    let priority = match router.priority {
        // An owner's priority says that the addresses are its own, which tracking does not change.
        Priority::OWNER => Priority::OWNER,
        Priority(base) => {
            let sum =
                (i32::from(base) + sum.weight).clamp(Priority::LOWEST.0.into(), Priority::HIGHEST.0.into());
            u8::try_from(sum).map_or(Priority::LOWEST, Priority)
        }
    };
    Tracking { priority, faults: sum.faults, awaited: sum.awaited, changes: sum.changes }
}

/// The most that a file may change a priority by, either way.
const MOST_OF_A_FILE: i64 = 253;

/// The effects of everything one router tracks, added up.
#[derive(Default)]
struct Sum {
    weight: i32,
    faults: Vec<String>,
    awaited: Vec<String>,
    changes: Vec<String>,
}

impl Sum {
    /// Adds one tracked thing. The first phrase says how it is, the second what is waited for while it is unknown.
    fn add(&mut self, effect: TrackEffect, health: Health, (is, awaited): (String, String)) {
        let TrackEffect { weight, reverse } = effect;
        let good = match (health, weight) {
            (Health::Unknown, 0) => return self.awaited.push(awaited),
            (Health::Unknown, _) => return,
            (known, _) => known == Health::Good,
        };
        match (good, weight) {
            (good, 0) if good == reverse => self.faults.push(is),
            (true, 1..) | (false, ..0) => {
                let weight = if reverse { -weight } else { weight };
                self.weight += i32::from(weight);
                self.changes.push(format!("{is}: {weight:+}"));
            }
            _ => {}
        }
    }

    /// Adds the number in a tracked file, as Keepalived reckons: a product below -253 is a fault.
    fn add_number(&mut self, TrackEffect { weight, reverse }: TrackEffect, number: Option<i64>, name: &str) {
        let Some(number) = number else {
            return self.awaited.push(format!("the first reading of file {name}"));
        };
        let is = format!("file {name} says {number}");
        if weight == 0 {
            if (number == 0) == reverse {
                self.faults.push(is);
            }
            return;
        }
        let sign = if reverse { -1 } else { 1 };
        match number.saturating_mul(i64::from(weight) * sign).min(MOST_OF_A_FILE) {
            change if change < -MOST_OF_A_FILE => self.faults.push(is),
            0 => {}
            change => {
                self.weight += i32::try_from(change).unwrap_or(0);
                self.changes.push(format!("{is}: {change:+}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::script::tests::{at, run, script};
    use super::*;
    use crate::plan::{FileId, ScriptId, TrackFile, TrackInterface, TrackScript, TrackedFile};
    use crate::vrrp::testing;

    /// One script and one file.
    fn nothing_known() -> Tracked {
        let file = TrackedFile { name: "f".to_owned(), path: "/f".to_owned(), initial: None };
        let plan = Plan { scripts: vec![script(1, 1)], files: vec![file], ..Plan::default() };
        Tracked::new(&plan, at(0))
    }

    fn effect(weight: i16, reverse: bool) -> TrackEffect {
        TrackEffect { weight, reverse }
    }

    /// The tracking of a router with priority 100 and one script.
    fn judged(effect: TrackEffect, result: Option<bool>) -> Tracking {
        let mut tracked = nothing_known();
        if let Some(passes) = result {
            run(&mut tracked.scripts, 0, passes);
        }
        let mut router = testing::router(100);
        router.track_scripts = vec![TrackScript { script: ScriptId(0), effect }];
        tracking(&router, &tracked)
    }

    #[test]
    fn weights_apply_as_with_keepalived() {
        let priority = |weight, reverse, result| judged(effect(weight, reverse), result).priority.0;
        assert_eq!(
            [Some(true), Some(false), None].map(|result| priority(20, false, result)),
            [120, 100, 100]
        );
        assert_eq!(
            [Some(true), Some(false), None].map(|result| priority(-20, false, result)),
            [100, 80, 100]
        );
        // `reverse` turns the sign, not what is good.
        assert_eq!(
            [Some(true), Some(false), None].map(|result| priority(-20, true, result)),
            [100, 120, 100]
        );
        assert_eq!([Some(true), Some(false), None].map(|result| priority(20, true, result)), [80, 100, 100]);
        assert_eq!(priority(253, false, Some(true)), 254, "stays below the owner");
        assert_eq!(priority(-253, false, Some(false)), 1, "stays above release");
    }

    #[test]
    fn weight_zero_is_a_fault_and_waits_for_its_first_result() {
        assert_eq!(judged(effect(0, false), Some(false)).faults, ["chk failed (exit status 1)"]);
        assert_eq!(judged(effect(0, true), Some(true)).faults, ["chk passed"]);
        assert_eq!(judged(effect(0, false), None).awaited, ["the first result of chk"]);
        assert_eq!(judged(effect(-20, false), Some(false)).changes, ["chk failed (exit status 1): -20"]);
    }

    #[test]
    fn an_owner_keeps_its_priority_whatever_it_tracks() {
        let mut router = testing::router(255);
        router.track_interfaces =
            vec![TrackInterface { interface: "eth1".to_owned(), effect: effect(-20, false) }];
        let mut tracked = nothing_known();
        tracked.interfaces.insert("eth1".to_owned(), None);
        let tracking = tracking(&router, &tracked);
        assert_eq!(tracking.priority, Priority::OWNER);
        assert_eq!(tracking.changes, ["interface eth1 is missing: -20"]);
    }

    #[test]
    fn a_file_changes_the_priority_by_its_number_times_the_weight() {
        let of_file = |weight, reverse, number: Option<i64>| {
            let mut tracked = nothing_known();
            if let Some(number) = number {
                tracked.files.handle_read(FileId(0), number.to_string().as_bytes(), at(0));
            }
            let mut router = testing::router(100);
            router.track_files = vec![TrackFile { file: FileId(0), effect: effect(weight, reverse) }];
            tracking(&router, &tracked)
        };
        assert_eq!(of_file(1, false, None).awaited, ["the first reading of file f"]);
        assert_eq!(of_file(1, false, Some(-20)).changes, ["file f says -20: -20"]);
        let priority = |weight, reverse, number| of_file(weight, reverse, Some(number)).priority.0;
        assert_eq!([priority(1, false, 30), priority(3, false, -10), priority(2, true, 10)], [130, 70, 80]);
        assert_eq!(
            [priority(1, false, 0), priority(1, false, 9999), priority(1, false, -253)],
            [100, 254, 1]
        );
        assert_eq!(of_file(1, false, Some(-254)).faults, ["file f says -254"]);
        assert_eq!(of_file(254, false, Some(i64::from(i32::MIN))).faults.len(), 1);
        assert_eq!(of_file(0, false, Some(7)).faults, ["file f says 7"]);
        assert_eq!(of_file(0, false, Some(0)).faults, [""; 0]);
        assert_eq!(of_file(0, true, Some(0)).faults, ["file f says 0"]);
    }
}
