//! Threads that the kernel runs before all others, so that a busy machine does not make an advert late.
//!
//! Owns the scheduling of such threads and what keeps them from hanging the machine: [`Breather`] pauses one that has too
//! much to do, and the kernel ends the process when one runs for [`DEFECT_AFTER`] without a pause. Threads and programs
//! that one starts would inherit its scheduling: they begin with [`leave`].

use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use thread_priority::{
    Error, NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityOsValue,
    ThreadPriorityValue, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

use crate::resources::has_capability;

/// A thread that ran for so long without a pause is caught in a loop: it has at most milliseconds of work.
pub const DEFECT_AFTER: Duration = Duration::from_secs(1);

/// After a signal about it was not heeded for so long, the kernel ends the process by itself.
const KILLED_AFTER: Duration = Duration::from_secs(3);

/// A thread that always has something to do, as in a flood of datagrams, pauses so often.
const LONGEST_TURN: Duration = Duration::from_millis(100);

/// Such a pause: little for an advert, and something for everybody else.
const PAUSE: Duration = Duration::from_micros(500);

/// Time in `poll` that shows that the thread slept.
const SLEPT: Duration = Duration::from_micros(20);

const CAP_SYS_NICE: u32 = 23;

/// Lets the kernel run the calling thread before all that have no real-time scheduling: `SCHED_RR` with `priority`.
///
/// # Errors
/// A sentence with the reason, and what would grant it.
pub fn enter(priority: u8) -> Result<(), String> {
    limit_run_time().map_err(|error| format!("cannot limit the time it runs without a pause: {error}"))?;
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    let value = ThreadPriorityValue::try_from(priority)?;
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Crossplatform(value), policy)
        .map_err(|error| explain(&error, priority))
}

/// Gives the calling thread ordinary scheduling, whatever it inherited.
pub fn leave() {
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);
    // Nothing is needed for less than one has. Its last step, niceness 0, may be refused and does not matter.
    let zero = ThreadPriority::Os(ThreadPriorityOsValue::default());
    let _ = set_thread_priority_and_policy(thread_native_id(), zero, policy);
}

fn explain(error: &Error, priority: u8) -> String {
    match error {
        Error::OS(libc::EPERM) if has_capability(CAP_SYS_NICE) => {
            "refused despite CAP_SYS_NICE: in a user namespace \
             the kernel refuses it, and in a control group without a real-time share too (cpu.rt_runtime_us)"
                .to_owned()
        }
        Error::OS(libc::EPERM) => {
            format!("not permitted: grant CAP_SYS_NICE or set `LimitRTPRIO={priority}` in the systemd unit")
        }
        Error::OS(number) => std::io::Error::from_raw_os_error(*number).to_string(),
        error => format!("{error:?}"),
    }
}

/// The kernel counts the time that a real-time thread runs without sleeping (`RLIMIT_RTTIME`, in microseconds), sends
/// SIGXCPU at the first limit and SIGKILL at the second. It counts no other threads.
fn limit_run_time() -> nix::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_RTTIME)?;
    let micros = |span: Duration| libc::rlim_t::try_from(span.as_micros()).unwrap_or(libc::rlim_t::MAX);
    let hard = micros(KILLED_AFTER).min(most);
    setrlimit(Resource::RLIMIT_RTTIME, micros(DEFECT_AFTER).min(hard), hard)
}

/// Lets everybody else run now and then, also when the thread it belongs to never runs out of work.
#[derive(Debug)]
pub struct Breather {
    slept: Instant,
}

impl Default for Breather {
    fn default() -> Self {
        Self { slept: Instant::now() }
    }
}

impl Breather {
    /// Runs `wait`, which sleeps until there is something to do, and pauses if it did not sleep for too long.
    pub fn around(&mut self, wait: impl FnOnce()) {
        let before = Instant::now();
        wait();
        if self.needs_pause(before, Instant::now()) {
            thread::sleep(PAUSE);
        }
    }

    /// Takes in that the thread waited in between.
    fn needs_pause(&mut self, before: Instant, after: Instant) -> bool {
        let slept = after - before >= SLEPT;
        let needs = !slept && after - self.slept >= LONGEST_TURN;
        if slept || needs {
            self.slept = after;
        }
        needs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_never_sleeps_is_paused() {
        let mut breather = Breather::default();
        let begin = breather.slept;
        let at = |micros| begin + Duration::from_micros(micros);
        let busy: Vec<_> =
            (0..300_000).step_by(1000).filter(|&now| breather.needs_pause(at(now), at(now))).collect();
        assert_eq!(busy, [100_000, 200_000]);
        assert!(!breather.needs_pause(at(300_000), at(300_020)), "it slept");
        assert!(!breather.needs_pause(at(400_000), at(400_000)), "it slept a moment ago");
        assert!(breather.needs_pause(at(400_020), at(400_020)));
    }

    #[test]
    fn a_refusal_says_what_would_grant_it() {
        if !has_capability(CAP_SYS_NICE) {
            assert!(explain(&Error::OS(libc::EPERM), 7).contains("`LimitRTPRIO=7`"));
        }
        assert!(explain(&Error::OS(libc::EINVAL), 7).contains("Invalid argument"));
    }
}
