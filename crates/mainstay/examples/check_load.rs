//! What checking costs: for 1, 10, 100 and 1,000 servers, how evenly checks start, and how much memory and time they take.
//!
//! `cargo run --release --example check_load`. Every server is a port of this machine that accepts; pools have ten servers
//! each, and are checked every two seconds for ten. Each line is a process of its own.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use mainstay::checks::Checks;
use mainstay_engine::plan::{Check, Plan, Pool, Server};
use mainstay_engine::{Engine, Input, Output};

/// How long each size is looked at.
const SPAN: Duration = Duration::from_secs(10);

/// Checks that start within this time count together.
const WINDOW: Duration = Duration::from_millis(100);

fn main() {
    if let Some(servers) = std::env::args().nth(1).and_then(|text| text.parse().ok()) {
        return measure(servers);
    }
    println!("servers   checks   in 100 ms: mean   most   latest ms   failed   RSS kB   CPU ms");
    for servers in [1, 10, 100, 1_000] {
        let program = std::env::current_exe().expect("this program");
        let status = std::process::Command::new(program).arg(servers.to_string()).status();
        assert!(status.expect("a run").success());
    }
}

fn plan(servers: usize, port: u16) -> Plan {
    let server = |index: usize| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Server { check: Some(Check::new(address)), ..Server::new(format!("s{index}"), address) }
    };
    let pools = (0..servers)
        .step_by(10)
        .map(|first| Pool::new(format!("p{first}"), (first..servers.min(first + 10)).map(server).collect()));
    Plan { pools: pools.collect(), ..Plan::default() }
}

/// What was seen of checks.
#[derive(Default)]
struct Seen {
    starts: Vec<Instant>,
    finished: usize,
    failed: usize,
    latest: Duration,
}

fn measure(servers: usize) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let plan = Arc::new(plan(servers, port));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let (report, results) = channel();
    let finished = move |server, attempt, verdict| drop(report.send((server, attempt, verdict)));
    let checks = Checks::new(runtime.handle().clone(), &plan, finished, |_, _, _| {}).expect("checks");

    let began = Instant::now();
    let clock = || {
        mainstay_engine::time::Instant::from_nanos(1 + u64::try_from(began.elapsed().as_nanos()).unwrap_or(0))
    };
    let mut engine = Engine::new(plan, 1, clock());
    let mut seen = Seen::default();
    let (rss_before, cpu_before) = (rss(), cpu());
    while began.elapsed() < SPAN {
        let patience = engine.poll_timeout().map_or(SPAN, |deadline| deadline.at.since(clock()));
        let late = engine.poll_timeout().map(|deadline| clock().since(deadline.at));
        seen.latest = seen.latest.max(late.unwrap_or_default());
        match results.recv_timeout(patience) {
            Ok((server, attempt, verdict)) => {
                seen.finished += 1;
                seen.failed += usize::from(!verdict.status.passed());
                engine.handle(Input::CheckFinished { server, attempt, verdict }, clock());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        engine.handle_timeout(clock());
        while let Some(output) = engine.poll_output() {
            if let Output::StartCheck { server, attempt, check, seen: how } = output {
                seen.starts.push(Instant::now());
                checks.start(server, attempt, check, how);
            }
        }
    }
    show(servers, &seen, rss(), cpu() - cpu_before, rss_before);
}

fn show(servers: usize, seen: &Seen, rss: u64, cpu: Duration, rss_before: u64) {
    let windows = u32::try_from(SPAN.as_millis() / WINDOW.as_millis()).unwrap_or(1);
    let mean = seen.starts.len() as f64 / f64::from(windows);
    println!(
        "{servers:7}   {:6}   {mean:15.1}   {:4}   {:9.1}   {:6}   {:6}   {:6}",
        seen.finished,
        most_at_once(&seen.starts),
        seen.latest.as_secs_f64() * 1e3,
        seen.failed,
        rss.saturating_sub(rss_before),
        cpu.as_millis()
    );
}

/// The most starts in any window.
fn most_at_once(starts: &[Instant]) -> usize {
    let mut window: VecDeque<Instant> = VecDeque::new();
    let mut most = 0;
    for &start in starts {
        window.push_back(start);
        while window.front().is_some_and(|&first| start - first > WINDOW) {
            window.pop_front();
        }
        most = most.max(window.len());
    }
    most
}

/// Resident memory in kB.
fn rss() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("a size");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

/// Time of all threads, the accepting one included.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("usage");
    let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    Duration::from_micros(u64::try_from(micros(usage.user_time()) + micros(usage.system_time())).unwrap_or(0))
}
