//! Measures mainstay beside HAProxy and nginx, in one run, on one machine: `make bench`.
//!
//! Owns the order of a run and its options. Every product gets every workload once in each round, and the products of a
//! workload run one after the other, because a machine's speed moves: what counts is the ratio within one round.
//! `network` makes three hosts and the two cables between them, `server` and `load` are the ends, `product` starts what
//! is measured, `workload` says what is asked of it, `report` makes tables of it, and `plot` a picture.

mod load;
mod network;
mod plot;
mod product;
mod report;
mod server;
mod workload;

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs};

use mainstay::lab::enter::{self, Place};

use network::Network;
use product::Product;
use report::Report;
use workload::Workload;

/// Where the documentation is.
const DOCUMENTATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");

/// What the command line asks for.
struct Options {
    rounds: usize,
    /// How long each workload runs.
    seconds: Duration,
    products: Vec<Product>,
    workloads: Vec<Workload>,
    /// Where `performance.md` and `performance.svg` are written, if they are.
    directory: Option<PathBuf>,
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
    let run = options(env::args().skip(1)).and_then(|options| {
        // Before this process gets files of its own.
        let directory = options.directory.as_ref().map(|path| path.canonicalize()).transpose();
        let directory = directory.map_err(|error| format!("there is no such directory: {error}"))?;
        enter::prepare().map_err(|error| error.to_string())?;
        let report = measure(&options)?;
        directory.map_or(Ok(()), |directory| write(&report, &directory))?;
        Ok(report)
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

/// Runs every workload on every product, round by round. A product starts anew for each workload, so that none pays for
/// what another one left.
fn measure(options: &Options) -> Result<Report, String> {
    let network = Network::build()?;
    server::start(&network)?;
    let mut report = Report::new(&options.products, &options.workloads);
    for round in 1..=options.rounds {
        for &workload in &options.workloads {
            eprint!("round {round} of {}: {}", options.rounds, workload.name());
            for &product in &options.products {
                eprint!(" {}", product.name());
                let running = product.start(&network, workload.shape())?;
                let result = workload.run(&network, &running, options.seconds)?;
                report.add(product, workload, result);
            }
            eprintln!();
        }
    }
    Ok(report)
}

/// Writes the tables and the picture into the documentation.
fn write(report: &Report, directory: &Path) -> Result<(), String> {
    let command: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let page = format!(
        "<!-- Written by `make bench BENCH=\"{}\"`. -->\n{}",
        command.join(" "),
        report.page(&command.join(" "))
    );
    let put = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    put("performance.md", page)?;
    put("performance.svg", plot::ratios(report))
}

fn options(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options {
        rounds: 5,
        seconds: Duration::from_secs(3),
        products: Product::ALL.to_vec(),
        workloads: Workload::ALL.to_vec(),
        directory: None,
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            // cargo says so to every benchmark.
            "--bench" => {}
            "--rounds" => options.rounds = number(&value()?)?,
            "--seconds" => options.seconds = Duration::from_secs(number(&value()?)?),
            "--products" => {
                options.products = pick(&value()?, &Product::ALL, |product| product.name().into())?;
            }
            "--write" => options.directory = Some(PathBuf::from(DOCUMENTATION)),
            "--workloads" => options.workloads = pick(&value()?, &Workload::ALL, Workload::name)?,
            other => {
                return Err(format!(
                    "`{other}` is none of --rounds N, --seconds N, --products A,B, --workloads A,B, --write"
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
fn pick<T: Copy>(list: &str, all: &[T], name: impl Fn(T) -> Cow<'static, str>) -> Result<Vec<T>, String> {
    let find = |wanted: &str| {
        let names = || all.iter().map(|&entry| name(entry)).collect::<Vec<_>>().join(", ");
        let found = all.iter().copied().find(|&entry| name(entry) == wanted);
        found.ok_or_else(|| format!("`{wanted}` is none of {}", names()))
    };
    list.split(',').map(find).collect()
}
