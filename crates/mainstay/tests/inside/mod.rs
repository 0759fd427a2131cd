//! Tests that need namespaces for themselves: how one is run inside new ones, and what is said of all of them.

use std::env;
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use mainstay::lab::enter::{self, Place};

/// Names, and what runs inside.
pub(crate) type Tests = &'static [(&'static str, fn())];

/// Before the name of the test that is to be run inside.
const ONLY: &str = "--only";

/// How many tests run at the same time.
const LANES: usize = 2;

/// How a test ends that measured, and held nothing to it.
const NOT_HELD: u8 = 77;

/// Runs the tests that the command line names, or all of them: two at a time, because they wait for timers most of the time, and one
/// after the other those whose names begin with one of `alone`, which leave nothing of the machine to others. After a test,
/// `held` says whether it held anything to what it measured.
pub(crate) fn main(tests: Tests, alone: &[&str], held: fn() -> bool) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match enter::place() {
        Place::Outside => outside(tests, alone, &arguments),
        Place::Inside => {
            enter::prepare().expect("a place for the lab's files");
            let (_, test) =
                tests.iter().find(|(name, _)| arguments.ends_with(&[(*name).to_owned()])).expect(ONLY);
            test();
            ExitCode::from(if held() { 0 } else { NOT_HELD })
        }
    }
}

fn outside(tests: Tests, alone: &[&str], arguments: &[String]) -> ExitCode {
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &&str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let names = tests.iter().map(|(name, _)| *name).filter(wanted);
    let (alone, others): (Vec<_>, Vec<_>) =
        names.partition(|name| alone.iter().any(|prefix| name.starts_with(prefix)));
    let (results, left) = (Mutex::default(), Mutex::new(others.into_iter()));
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(name) = next() {
                    run(name, &results);
                }
            });
        }
    });
    alone.into_iter().for_each(|name| run(name, &results));
    let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    let of = |wanted| results.iter().filter(move |(_, verdict)| *verdict == wanted).map(|(name, _)| *name);
    let (failed, not_held): (Vec<_>, Vec<_>) =
        (of(Verdict::Failed).collect(), of(Verdict::NotHeld).collect());
    if !not_held.is_empty() {
        println!("\nnot held, because there is no real-time scheduling here: {}", not_held.join(", "));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Held,
    NotHeld,
    Failed,
}

/// Runs a test inside, and says everything of it at its end, so that two do not speak at the same time.
fn run(name: &'static str, results: &Mutex<Vec<(&'static str, Verdict)>>) {
    let program = env::current_exe().expect("this program's own file");
    let started = Instant::now();
    let mut command = enter::command(&program, [ONLY, name]).expect("the tools that namespaces need");
    let output = command.stdin(Stdio::null()).output().expect("namespaces");
    let (verdict, phrase) = match output.status.code() {
        Some(0) => (Verdict::Held, "ok"),
        Some(code) if code == i32::from(NOT_HELD) => (Verdict::NotHeld, "not held: no real-time scheduling"),
        _ => (Verdict::Failed, "FAILED"),
    };
    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
    print!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("test {name} ... {phrase} ({:.1} s)", started.elapsed().as_secs_f64());
    results.push((name, verdict));
}
