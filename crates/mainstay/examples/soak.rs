//! What is left behind by minutes of load and faults: memory, descriptors, rules and connections in the kernel.
//!
//! `cargo build --release && cargo run --release --example soak -- 10` breaks something of the lab's cluster every five seconds for ten
//! minutes, while clients open a hundred connections a second through the kernel of its balancers and hold others. Each
//! minute gets a line; what only ever grows is a leak. lb2 is never restarted.

use std::env;
use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use mainstay::lab::balancer::{Balancer, Kind};
use mainstay::lab::cluster::{Cluster, Holder, Options};
use mainstay::lab::enter::{self, Place};
use mainstay::lab::error::{LabError, Result};
use mainstay::lab::time::pause_until;

/// Time between two things that happen.
const BEAT: Duration = Duration::from_secs(5);

/// How long each line is about.
const MINUTE: Duration = Duration::from_secs(60);

/// Connections that are held through each minute.
const HELD: usize = 30;

type Step = fn(&mut Cluster) -> Result<()>;

/// What happens, again and again. Every second step undoes the one before it.
const STEPS: [(&str, Step); 14] = [
    ("lb1 killed", |cluster| cluster.lb1.kill()),
    ("lb1 started", |cluster| cluster.lb1.start()),
    ("lb1 frozen", |cluster| cluster.lb1.freeze()),
    ("lb1 thawed", |cluster| cluster.lb1.thaw()),
    ("lb2 cut off", |cluster| cluster.lan.plug(cluster.lb2.host(), false)),
    ("lb2 plugged in", |cluster| cluster.lan.plug(cluster.lb2.host(), true)),
    ("lb1 cut off", |cluster| cluster.lan.plug(cluster.lb1.host(), false)),
    ("lb1 plugged in", |cluster| cluster.lan.plug(cluster.lb1.host(), true)),
    ("lb1 hands over", |cluster| cluster.lb1.hand_over()),
    ("lb1 resumes", |cluster| cluster.lb1.resume()),
    ("lb2 frozen", |cluster| cluster.lb2.freeze()),
    ("lb2 thawed", |cluster| cluster.lb2.thaw()),
    ("an apiserver killed", |cluster| cluster.apiservers[0].kill()),
    ("an apiserver started", |cluster| cluster.apiservers[0].start()),
];

fn main() -> ExitCode {
    let run = match enter::place() {
        Place::Outside => return enter::again().unwrap_or(ExitCode::FAILURE),
        Place::Inside => enter::prepare().and_then(|()| soak()),
    };
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn soak() -> Result<()> {
    let minutes: u32 = env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10);
    let own = env::current_exe().map_err(|error| LabError::new(error.to_string()))?;
    let mainstay = own.ancestors().nth(2).map(|profile| profile.join("mainstay"));
    let mainstay = mainstay.filter(|path| path.exists());
    let mainstay =
        mainstay.ok_or_else(|| LabError::new("there is no mainstay beside this program: cargo build"))?;
    let mut cluster = Cluster::build(&Options { mainstay, ..Options::new(Kind::Nat)? })?;
    cluster.clients.start_probing();
    cluster.settle(Holder::Lb1)?;
    println!(
        "minute  new connections  failed  held lost  of lb2: memory  descriptors  rules  known connections   of lb1: rules  known"
    );
    let mut steps = STEPS.iter().cycle();
    let (begun, mut due) = (Instant::now(), Instant::now());
    for minute in 1..=minutes {
        let held = cluster.clients.hold(HELD)?;
        while begun.elapsed() < MINUTE * minute {
            let Some((name, step)) = steps.next() else { break };
            eprintln!("[{:6.1} s] {name}", begun.elapsed().as_secs_f64());
            step(&mut cluster)?;
            due += BEAT;
            pause_until(due);
        }
        let works = cluster.clients.judge(held);
        println!("{}", line(&cluster, minute, works.iter().filter(|works| !**works).count(), begun));
        cluster.clients.forget();
    }
    Ok(())
}

/// What was seen in a minute, and what there is at its end.
fn line(cluster: &Cluster, minute: u32, lost: usize, begun: Instant) -> String {
    let probes = cluster.clients.probes_since(begun);
    let (new, failed) = (probes.len(), probes.iter().filter(|probe| probe.outcome.is_err()).count());
    let (memory, descriptors) = costs(&cluster.lb2);
    let [(rules, known), (rules_of_first, known_to_first)] = [&cluster.lb2, &cluster.lb1].map(kernel);
    format!(
        "{minute:6}  {new:15}  {failed:6}  {lost:3} of {HELD:2}  {memory:11} kB  {descriptors:11}  {rules:5}  {known:17}  \
         {rules_of_first:14}  {known_to_first:5}"
    )
}

/// Resident memory in kilobytes, and descriptors, of a balancer's daemon.
fn costs(balancer: &Balancer) -> (u64, usize) {
    let Some(init) = balancer.first_process() else { return (0, 0) };
    let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).unwrap_or_default();
    let Some(daemon) = children.split_whitespace().next() else { return (0, 0) };
    let status = fs::read_to_string(format!("/proc/{daemon}/status")).unwrap_or_default();
    let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let memory = memory.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let descriptors = fs::read_dir(format!("/proc/{daemon}/fd")).map_or(0, Iterator::count);
    (memory.unwrap_or(0), descriptors)
}

/// Lines of all nftables rules of a balancer's host, and the connections that its kernel knows.
fn kernel(balancer: &Balancer) -> (usize, u64) {
    let look = || {
        let rules = Command::new("nft").args(["list", "ruleset"]).output();
        let rules = rules.map_or(0, |output| output.stdout.split(|byte| *byte == b'\n').count());
        let known = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
        (rules, known.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0))
    };
    balancer.host().enter(look).unwrap_or_default()
}
