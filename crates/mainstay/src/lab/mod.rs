//! `mainstay lab`: the whole cluster on one machine, in network namespaces, and a catalogue of faults to try on it.
//!
//! Two balancers with the recipe's files, three stub apiservers, clients that open a new connection every few
//! milliseconds and hold others. Each fault gets a line on the scoreboard. The integration tests use the same parts.

pub mod address_watch;
pub mod apiserver;
pub mod balancer;
pub mod certificates;
pub mod clients;
pub mod cluster;
pub mod control_plane;
pub mod enter;
pub mod error;
pub mod faults;
pub mod init;
pub mod load;
pub mod recipe;
pub mod scoreboard;
pub mod time;
pub mod topology;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};

use balancer::Kind;
use cluster::{Cluster, Holder, Options};
use enter::Place;
use error::{Context, LabError, Result};
use faults::Fault;
use recipe::Timers;
use scoreboard::Board;

/// Build the whole cluster on this machine and break it.
#[derive(Args, Debug)]
pub struct LabArgs {
    #[command(subcommand)]
    role: Option<Role>,
    /// List the faults and exit.
    #[arg(long)]
    list: bool,
    /// Try only this fault; may be given again. By default all are tried.
    #[arg(long = "fault", value_name = "NAME")]
    faults: Vec<String>,
    /// Print all numbers as JSON.
    #[arg(long)]
    json: bool,
    /// Break nothing; leave the cluster up until Enter or Ctrl-C, and say how to look around.
    #[arg(long, conflicts_with_all = ["faults", "compare", "repeat"])]
    keep: bool,
    /// What the preferred balancer runs.
    #[arg(long, value_name = "KIND", default_value = "mainstay")]
    lb1: Kind,
    /// What the other balancer runs.
    #[arg(long, value_name = "KIND", default_value = "mainstay")]
    lb2: Kind,
    /// Try the same faults with connections that the kernel forwards, and on HAProxy and Keepalived, when they are installed.
    #[arg(long)]
    compare: bool,
    /// How fast a dead balancer is noticed: `recipe` is VRRP version 2 with an advert each second, `fast` is version
    /// 3 with one every 100 ms, `fastest` with one every 10 ms.
    #[arg(long, value_name = "TIMERS", default_value = "recipe")]
    timers: Timers,
    /// Try each fault so many times.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    repeat: u32,
}

/// The lab's other processes, which it starts itself.
#[derive(Subcommand, Debug)]
enum Role {
    /// The first process of a balancer.
    #[command(hide = true)]
    Init(init::InitArgs),
    /// A stub apiserver.
    #[command(hide = true)]
    Apiserver(apiserver::ApiserverArgs),
}

/// Runs the lab. Exits with 1 when it cannot be built or does not work, however badly a fault went.
pub fn main(args: LabArgs) -> ExitCode {
    match args.role {
        Some(Role::Init(args)) => return init::main(&args),
        Some(Role::Apiserver(args)) => return apiserver::main(args),
        None => {}
    }
    let ran = if args.list {
        list()
    } else {
        match enter::place() {
            Place::Outside => chosen(&args.faults).and_then(|_| enter::again()),
            Place::Inside => inside(&args).map(|()| ExitCode::SUCCESS),
        }
    };
    ran.unwrap_or_else(|error| {
        eprintln!("mainstay lab: {error}");
        ExitCode::FAILURE
    })
}

fn list() -> Result<ExitCode> {
    let width = faults::CATALOGUE.iter().map(|fault| fault.name.len()).max().unwrap_or(0);
    for fault in &faults::CATALOGUE {
        print(&format!("{:<width$}  {}\n", fault.name, fault.sentence))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(names: &[String]) -> Result<Vec<&'static Fault>> {
    if names.is_empty() {
        return Ok(faults::CATALOGUE.iter().collect());
    }
    let find = |name: &String| {
        let unknown =
            || LabError::new(format!("there is no fault `{name}`; `mainstay lab --list` shows all"));
        faults::find(name).ok_or_else(unknown)
    };
    names.iter().map(find).collect()
}

fn inside(args: &LabArgs) -> Result<()> {
    enter::prepare()?;
    let options = Options { lb1: args.lb1, lb2: args.lb2, timers: args.timers, ..Options::new(args.lb1)? };
    if args.keep {
        return keep(&options);
    }
    let faults = chosen(&args.faults)?;
    let started = Instant::now();
    let mut boards = vec![run(&options, &faults, args.repeat, started)?];
    if args.compare {
        let nat = Options { lb1: Kind::Nat, lb2: Kind::Nat, ..options.clone() };
        boards.push(run(&nat, &faults, args.repeat, started)?);
        if enter::has("haproxy") && enter::has("keepalived") {
            let pair = Options { lb1: Kind::Pair, lb2: Kind::Pair, ..options };
            boards.push(run(&pair, &faults, args.repeat, started)?);
        } else {
            eprintln!(
                "HAProxy and Keepalived are not installed: no comparison (apt install haproxy keepalived)"
            );
        }
    }
    let text = if args.json {
        serde_json::to_string_pretty(&boards).context("cannot write JSON")? + "\n"
    } else {
        scoreboard::table(&boards)
    };
    print(&text)
}

fn run(options: &Options, faults: &[&Fault], rounds: u32, started: Instant) -> Result<Board> {
    let say = |what: &str| eprintln!("[{:6.1} s] {what}", started.elapsed().as_secs_f64());
    say(&format!("building a cluster with {} and {}", options.lb1.name(), options.lb2.name()));
    let mut cluster = Cluster::build(options)?;
    let mut lines = Vec::new();
    for fault in faults {
        for _ in 0..rounds {
            lines.push(fault.run(&mut cluster, |phase| say(&format!("{}: {phase}", fault.name)))?);
        }
    }
    let changes = cluster.changes().to_vec();
    Ok(Board { lb1: options.lb1.name(), lb2: options.lb2.name(), changes, lines })
}

fn keep(options: &Options) -> Result<()> {
    let mut cluster = Cluster::build(options)?;
    cluster.clients.start_probing();
    cluster.settle(Holder::Lb1)?;
    cluster.clients.stop_probing();
    let outside = enter::outside().map_or_else(|| "PID".to_owned(), |pid| pid.to_string());
    let user = if enter::as_ordinary_user() { "--user " } else { "" };
    let mut text = format!(
        "The cluster is up. From another terminal, enter it with\n\n  \
         child=$(pgrep -P {outside}); nsenter --target $(pgrep -P $child) {user}--mount --net --pid sh\n\nand then\n\n  \
         ip netns exec client curl -k https://192.168.2.140:6443/version\n  ip -n lb1 addr\n"
    );
    for balancer in [&cluster.lb1, &cluster.lb2] {
        let (name, init) = (balancer.host().name(), balancer.first_process().unwrap_or_default());
        text += &format!("  nsenter --target {init} --mount --net --pid sh    # {name}\n");
        text += &format!("  tail -f {}\n", balancer.file("log").display());
    }
    text += "\nEnter or Ctrl-C ends it.\n";
    print(&text)?;
    io::stdin().read_line(&mut String::new()).context("cannot read the terminal").map(drop)
}

fn print(text: &str) -> Result<()> {
    io::stdout().write_all(text.as_bytes()).context("cannot print")
}
