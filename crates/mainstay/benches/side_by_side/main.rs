//! Measures mainstay beside HAProxy and nginx, in one run, on one machine: `make bench`.
//!
//! Owns the order of a run and its options. Every product gets every workload once in each round, and the products of a
//! round run one after the other, because a machine's speed moves between rounds: what counts is the ratio within one.
//! `network` makes three hosts and the two cables between them, `server` and `load` are the ends, `product` starts what
//! is measured, `workload` says what is asked of it, `report` makes tables of it.

mod load;
mod network;
mod product;
mod report;
mod server;
mod workload;

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use mainstay::lab::enter::{self, Place};

use network::Network;
use product::Product;
use report::Report;
use workload::Workload;

/// What the command line asks for.
struct Options {
    rounds: usize,
    /// How long each workload runs.
    seconds: Duration,
    products: Vec<Product>,
    workloads: Vec<Workload>,
}

fn main() -> ExitCode {
    match enter::place() {
        Place::Outside => enter::again().unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }),
        Place::Inside => inside(),
    }
}

fn inside() -> ExitCode {
    let run = enter::prepare().map_err(|error| error.to_string()).and_then(|()| {
        let options = options(env::args().skip(1))?;
        measure(&options)
    });
    match run {
        Ok(report) => {
            println!("{}", report.markdown());
            ExitCode::SUCCESS
        }
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

/// Runs every workload on every product, round by round.
fn measure(options: &Options) -> Result<Report, String> {
    let network = Network::build()?;
    server::start(&network)?;
    let mut report = Report::new(&options.products, &options.workloads);
    for round in 1..=options.rounds {
        for &product in &options.products {
            eprint!("round {round} of {}: {}", options.rounds, product.name());
            let running = product.start(&network)?;
            for &workload in &options.workloads {
                eprint!(" {}", workload.name());
                let result = workload.run(&network, &running, options.seconds)?;
                report.add(product, workload, result);
            }
            eprintln!();
        }
    }
    Ok(report)
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        rounds: 5,
        seconds: Duration::from_secs(3),
        products: Product::ALL.to_vec(),
        workloads: Workload::ALL.to_vec(),
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            // cargo says so to every benchmark.
            "--bench" => {}
            "--rounds" => options.rounds = number(&value()?)?,
            "--seconds" => options.seconds = Duration::from_secs(number(&value()?)?),
            "--products" => options.products = pick(&value()?, &Product::ALL, Product::name)?,
            "--workloads" => options.workloads = pick(&value()?, &Workload::ALL, Workload::name)?,
            other => {
                return Err(format!(
                    "`{other}` is none of --rounds N, --seconds N, --products A,B, --workloads A,B"
                ));
            }
        }
    }
    Ok(options)
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

/// The entries of `all` that `list` names, separated by commas.
fn pick<T: Copy>(list: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<Vec<T>, String> {
    let find = |wanted: &str| {
        let names = || all.iter().map(|&entry| name(entry)).collect::<Vec<_>>().join(", ");
        let found = all.iter().copied().find(|&entry| name(entry) == wanted);
        found.ok_or_else(|| format!("`{wanted}` is none of {}", names()))
    };
    list.split(',').map(find).collect()
}
