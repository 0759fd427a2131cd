//! Adverts are on time while data plane traffic and other programs leave no core idle, and a dead balancer is replaced as
//! fast as its adverts allow.
//!
//! Where real-time scheduling is not permitted, as in user namespaces, 10 ms are not kept under such a load, and nothing is
//! held to it; then it is said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use mainstay::lab::balancer::Balancer;
use mainstay::lab::cluster::{Cluster, Holder};
use mainstay::lab::load::{Burners, Busy};
use mainstay::lab::recipe::Timers;
use mainstay::lab::time::{pause_until, wait_until};
use mainstay::lab::topology::VIRTUAL_ADDRESS;
use mainstay::realtime;

use super::capture::{Capture, Captured};

const CONNECTIONS: usize = 64;

/// Seconds under load; the issue of record is a minute (`make timing`), a test is shorter.
const SECONDS: &str = "MAINSTAY_TIMING_SECONDS";
const SECONDS_IN_TESTS: u64 = 10;

/// A machine that stands still for so long, as virtual ones do when their host is busy, keeps no advert interval of 10 ms,
/// whatever runs on it: three adverts are missed after 30 ms.
const STOOD_STILL: Duration = Duration::from_millis(20);

/// Tries on such a machine.
const TRIES: usize = 5;

const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn holds_at_100_ms() {
    holds(Timers::Fast, Duration::from_millis(400));
}

pub(crate) fn holds_at_10_ms() {
    holds(Timers::Fastest, Duration::from_millis(60));
}

fn holds(timers: Timers, bound: Duration) {
    for attempt in 1..=TRIES {
        let mut cluster = super::roomy_cluster(timers);
        cluster.clients.stop_probing();
        let realtime = scheduling(&cluster);
        let stillness = Stillness::watch(realtime);
        let outcome = under_load(&mut cluster);
        let stood_still = stillness.longest();
        println!(
            "{timers:?}, real-time {realtime}: {outcome:?}, the machine stood still for {:.1} ms at most",
            stood_still.as_secs_f64() * 1000.0
        );
        if !realtime && timers == Timers::Fastest {
            return super::not_held();
        }
        let spurious = outcome.transitions > 0 || outcome.broken > 0;
        let late = outcome.gap > bound;
        if !spurious && !late {
            return;
        }
        assert!(
            stood_still >= STOOD_STILL && attempt < TRIES,
            "{outcome:?}\n{}{}",
            cluster.lb1.log_tail(),
            cluster.lb2.log_tail()
        );
    }
}

/// A move runs `nft` on both sides, which takes longer than an advert interval; no advert waits for it.
pub(crate) fn a_move_delays_no_advert() {
    for attempt in 1..=TRIES {
        let mut cluster = super::roomy_cluster(Timers::Fastest);
        let stillness = Stillness::watch(may_hurry());
        let capture = Capture::start(cluster.lb2.host());
        for _ in 0..3 {
            cluster.lb1.hand_over().expect("it hands over");
            cluster.settle(Holder::Lb2).expect("lb2 is active");
            cluster.lb1.resume().expect("it takes part again");
            cluster.settle(Holder::Lb1).expect("lb1 is active");
        }
        let captured = capture.end();
        let stood_still = stillness.longest();
        assert!(!cluster.lb1.log().contains("may be reset"), "rules were set: {}", cluster.lb1.log_tail());
        let longest = longest_silence(&captured);
        println!(
            "six moves at 10 ms: {:.1} ms without an advert at most, the machine stood still for {:.1} ms",
            longest.as_secs_f64() * 1000.0,
            stood_still.as_secs_f64() * 1000.0
        );
        if !may_hurry() {
            return super::not_held();
        }
        // A backup takes over after 30 ms of silence.
        if longest < Duration::from_millis(20) {
            return;
        }
        assert!(stood_still >= STOOD_STILL / 2 && attempt < TRIES, "{longest:?}");
    }
}

/// The longest time on the LAN without an advert of anybody.
fn longest_silence(captured: &Captured) -> Duration {
    let is_advert = |frame: &[u8]| frame.get(12..14) == Some(&[0x08, 0x00]) && frame.get(23) == Some(&112);
    let frames = captured.times.iter().zip(&captured.frames);
    let times: Vec<_> = frames.filter(|(_, frame)| is_advert(frame)).map(|(time, _)| *time).collect();
    assert!(times.len() > 100, "{} adverts", times.len());
    let silences = times.windows(2).map(|pair| pair[1].duration_since(pair[0]).unwrap_or_default());
    silences.max().unwrap_or_default()
}

/// What happened under load.
#[derive(Debug)]
#[expect(dead_code, reason = "all of it is printed")]
struct Outcome {
    /// Of both balancers, between any states.
    transitions: u64,
    /// Connections that broke.
    broken: usize,
    megabytes: u64,
    /// Share of the cores' time that was left.
    idle: f64,
    /// How late a timer ever was, on either balancer.
    latest: Duration,
    /// From SIGKILL to the successor's first announcement.
    gap: Duration,
}

fn under_load(cluster: &mut Cluster) -> Outcome {
    let seconds = std::env::var(SECONDS).map(|text| text.parse().expect(SECONDS)).unwrap_or(SECONDS_IN_TESTS);
    let busy: Busy = cluster.clients.keep_busy(CONNECTIONS).expect("busy connections");
    let burners = Burners::start().expect("burners");
    let (transitions, began, cpu) = (transitions(cluster), Instant::now(), cpu());
    pause_until(began + Duration::from_secs(seconds));
    let after = self::transitions(cluster);
    let held = cluster.lb2.address().held_between(began, Instant::now());
    assert!(after > transitions || held.is_empty(), "lb2 held the address without being active: {held:?}");
    let (broken, megabytes) = (busy.broken(), busy.carried() >> 20);
    let idle = idle_share(cpu, self::cpu());
    assert!(idle < 0.05 && megabytes > 0, "it was no load: {idle}, {megabytes} MB");
    let latest = [&cluster.lb1, &cluster.lb2].map(|balancer| timing(balancer).latest).into_iter().max();
    let gap = kill(cluster);
    busy.end();
    drop(burners);
    let latest = latest.expect("two balancers");
    Outcome { transitions: after - transitions, broken, megabytes, idle, latest, gap }
}

/// Kills the active balancer; gives the time until another one announced the address.
fn kill(cluster: &mut Cluster) -> Duration {
    let capture = Capture::start(cluster.lb2.host());
    let killed = SystemTime::now();
    cluster.lb1.kill().expect("it can be killed");
    wait_until(PATIENCE, || {
        let taken = cluster.lb2.address().holds();
        Ok(if taken { Ok(()) } else { Err("lb2 has not taken over".to_owned()) })
    })
    .expect("a takeover");
    // Its frames are written a moment later.
    pause_until(Instant::now() + Duration::from_secs(1));
    let captured = capture.end();
    let announced = announced_after(&captured, killed);
    announced.duration_since(killed).expect("later")
}

/// The first announcement after `killed`. lb1 cannot announce any more by then.
fn announced_after(captured: &Captured, killed: SystemTime) -> SystemTime {
    let is_announcement = |frame: &[u8]| {
        frame.get(12..14) == Some(&[0x08, 0x06]) && frame.get(28..32) == Some(&VIRTUAL_ADDRESS.octets())
    };
    let mut frames = captured.times.iter().zip(&captured.frames);
    let found = frames.find(|(time, frame)| **time > killed && is_announcement(frame));
    *found.expect("an announcement").0
}

/// How often either balancer became active, and how often it stopped being so without being told.
fn transitions(cluster: &Cluster) -> u64 {
    let became = [&cluster.lb1, &cluster.lb2]
        .map(|balancer| balancer.status().expect("a status").routers[0].transitions_to_active);
    became.into_iter().sum()
}

fn timing(balancer: &Balancer) -> mainstay_engine::admin::TimingStatus {
    balancer.status().expect("a status").timing.expect("there is a router")
}

/// Whether the balancers have real-time scheduling, which they must exactly where it is permitted.
fn scheduling(cluster: &Cluster) -> bool {
    let permitted = may_hurry();
    for balancer in [&cluster.lb1, &cluster.lb2] {
        let timing = timing(balancer);
        assert_eq!(timing.realtime_priority, permitted.then_some(1), "{timing:?}");
        let warned = balancer.log().contains("no real-time scheduling (");
        assert_eq!(warned, !permitted, "{}", balancer.log_tail());
        assert_eq!(timing.realtime_refused.is_some(), !permitted, "{timing:?}");
    }
    permitted
}

/// Whether real-time scheduling is permitted here.
fn may_hurry() -> bool {
    thread::spawn(|| realtime::enter(1).is_ok()).join().expect("no panic")
}

/// Watches for how long nothing at all ran on this machine, as far as a thread can tell.
struct Stillness {
    ending: Arc<AtomicBool>,
    watcher: JoinHandle<Duration>,
}

impl Stillness {
    fn watch(realtime: bool) -> Self {
        let ending: Arc<AtomicBool> = Arc::default();
        let end = Arc::clone(&ending);
        let watcher = thread::spawn(move || {
            if realtime {
                realtime::enter(2).expect("it is permitted");
            }
            let (tick, mut longest, mut before) = (Duration::from_millis(1), Duration::ZERO, Instant::now());
            while !end.load(Ordering::Relaxed) {
                thread::sleep(tick);
                longest = longest.max(before.elapsed().saturating_sub(tick));
                before = Instant::now();
            }
            longest
        });
        Self { ending, watcher }
    }

    fn longest(self) -> Duration {
        self.ending.store(true, Ordering::Relaxed);
        self.watcher.join().expect("no panic")
    }
}

/// Idle and total time of all cores, in ticks.
fn cpu() -> (u64, u64) {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
    let line = stat.lines().next().expect("a line");
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).map(|word| word.parse().expect("a number")).collect();
    // Idle and waiting for disks; guests are counted in user time already.
    (ticks[3] + ticks[4], ticks[..8].iter().sum())
}

fn idle_share(before: (u64, u64), after: (u64, u64)) -> f64 {
    (after.0 - before.0) as f64 / (after.1 - before.1) as f64
}
