//! Tracked processes: whether enough of them run.
//!
//! Owns [`Processes`]. Counting processes is the shell's, which says how many there are at start and whenever that changed.

use std::collections::VecDeque;

use super::Health;
use crate::admin::ProcessStatus;
use crate::engine::Output;
use crate::event::Event;
use crate::plan::{ProcessId, TrackedProcess};
use crate::time::{Deadline, Instant};
use crate::vrrp::event::VrrpEvent;

/// All tracked processes of a plan.
#[derive(Debug)]
pub(crate) struct Processes {
    processes: Vec<Process>,
}

#[derive(Debug)]
struct Process {
    config: TrackedProcess,
    count: u32,
    health: Health,
    since: Instant,
    /// When another health counts, if the number of processes stays as it is.
    turns_at: Option<Instant>,
}

impl Processes {
    /// Processes that nobody has counted.
    pub(crate) fn new(processes: &[TrackedProcess], now: Instant) -> Self {
        let process = |config: &TrackedProcess| Process {
            config: config.clone(),
            count: 0,
            health: Health::Unknown,
            since: now,
            turns_at: None,
        };
        Self { processes: processes.iter().map(process).collect() }
    }

    /// Takes in how many there are. Whether that changed what routers should think.
    pub(crate) fn handle_counted(
        &mut self,
        process: ProcessId,
        count: u32,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) -> bool {
        let Some(process) = self.processes.get_mut(usize::from(process.0)) else { return false };
        process.count = count;
        if process.says() == process.health {
            // A bounce that ended before it counted.
            process.turns_at = None;
            return false;
        }
        let delay = match process.health {
            // The first count decides at once.
            Health::Unknown => return process.turn(now, outputs),
            Health::Bad => process.config.fork_delay,
            Health::Good => process.config.terminate_delay,
        };
        if delay.is_zero() {
            return process.turn(now, outputs);
        }
        process.turns_at.get_or_insert(now + delay);
        false
    }

    /// Lets those turn whose delay has passed. Whether any did.
    pub(crate) fn handle_timeout(&mut self, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        let due = |process: &&mut Process| process.turns_at.is_some_and(|at| at <= now);
        self.processes
            .iter_mut()
            .filter(due)
            .fold(false, |changed, process| process.turn(now, outputs) | changed)
    }

    /// When something is due next.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let next = self.processes.iter().filter_map(|process| process.turns_at).min();
        next.map(|at| Deadline { at, why: "delay of a tracked process" })
    }

    /// Some processes' name, health and number; `None` if the plan has none with that number.
    pub(super) fn judge(&self, id: ProcessId) -> Option<(&str, Health, u32)> {
        let process = self.processes.get(usize::from(id.0))?;
        Some((&process.config.name, process.health, process.count))
    }

    /// One for each of the plan.
    pub(crate) fn status(&self, now: Instant) -> Vec<ProcessStatus> {
        self.processes
            .iter()
            .map(|process| ProcessStatus {
                name: process.config.name.clone(),
                state: process.health.name().to_owned(),
                since: now.since(process.since),
                count: process.count,
            })
            .collect()
    }
}

impl Process {
    fn says(&self) -> Health {
        let enough = (self.config.quorum..=self.config.quorum_max).contains(&self.count);
        if enough { Health::Good } else { Health::Bad }
    }

    fn turn(&mut self, now: Instant, outputs: &mut VecDeque<Output>) -> bool {
        (self.health, self.since, self.turns_at) = (self.says(), now, None);
        let (process, count) = (self.config.name.clone(), self.count);
        outputs.push_back(Output::Event(Event::Vrrp(VrrpEvent::ProcessesCounted {
            process,
            count,
            enough: self.health == Health::Good,
        })));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::{ProcessMatch, ProcessTarget};

    fn at(millis: u64) -> Instant {
        Instant::default() + Duration::from_millis(millis)
    }

    fn processes(quorum: u32, quorum_max: u32) -> Processes {
        let config = TrackedProcess {
            name: "p".to_owned(),
            target: ProcessTarget::Matching(ProcessMatch { command: "p".to_owned(), command_line: None }),
            quorum,
            quorum_max,
            fork_delay: Duration::from_secs(1),
            terminate_delay: Duration::from_secs(2),
        };
        Processes::new(&[config], at(0))
    }

    fn health(processes: &Processes) -> Health {
        processes.judge(ProcessId(0)).unwrap().1
    }

    #[test]
    fn the_first_count_decides_and_later_ones_have_to_last() {
        let (mut processes, mut outputs) = (processes(2, 3), VecDeque::new());
        let mut count = |processes: &mut Processes, count, millis| {
            processes.handle_counted(ProcessId(0), count, at(millis), &mut outputs)
        };
        assert!(count(&mut processes, 1, 0));
        assert_eq!(health(&processes), Health::Bad);
        assert!(!count(&mut processes, 2, 100));
        assert_eq!(processes.poll_timeout().unwrap().at, at(1100), "the fork delay");
        assert!(!count(&mut processes, 4, 600), "a bounce above the most");
        assert!(processes.poll_timeout().is_none());
        assert!(!count(&mut processes, 3, 700));
        let mut said = VecDeque::new();
        assert!(!processes.handle_timeout(at(1699), &mut said));
        assert!(processes.handle_timeout(at(1700), &mut said));
        assert_eq!((health(&processes), said.len()), (Health::Good, 1));
        assert!(!processes.handle_counted(ProcessId(0), 0, at(2000), &mut said));
        assert!(processes.handle_timeout(at(4000), &mut said), "the terminate delay");
        assert_eq!(health(&processes), Health::Bad);
    }

    #[test]
    fn a_quorum_of_none_wants_none() {
        let (mut processes, mut outputs) = (processes(0, 0), VecDeque::new());
        processes.handle_counted(ProcessId(0), 0, at(0), &mut outputs);
        assert_eq!(health(&processes), Health::Good);
    }
}
