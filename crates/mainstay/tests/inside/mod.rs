//! Tests that need namespaces for themselves: how one is run inside new ones, and what is said of all of them.

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use mainstay::lab::enter::{self, Place};

/// Names, and what runs inside.
pub(crate) type Tests = &'static [(&'static str, fn())];

/// Before the name of the test that is to be run inside.
const ONLY: &str = "--only";

/// How a test ends that measured, and held nothing to it.
const NOT_HELD: u8 = 77;

/// Runs the tests that the command line names, or all of them. After a test, `held` says whether it held anything to what it
/// measured.
pub(crate) fn main(tests: Tests, held: fn() -> bool) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match enter::place() {
        Place::Outside => outside(tests, &arguments),
        Place::Inside => {
            enter::prepare().expect("a place for the lab's files");
            let (_, test) =
                tests.iter().find(|(name, _)| arguments.ends_with(&[(*name).to_owned()])).expect(ONLY);
            test();
            ExitCode::from(if held() { 0 } else { NOT_HELD })
        }
    }
}

fn outside(tests: Tests, arguments: &[String]) -> ExitCode {
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let program = env::current_exe().expect("this program's own file");
    let (mut failed, mut not_held) = (Vec::new(), Vec::new());
    for (name, _) in tests.iter().filter(|(name, _)| wanted(name)) {
        let started = Instant::now();
        let mut command = enter::command(&program, [ONLY, name]).expect("the tools that namespaces need");
        let code = command.status().expect("namespaces").code();
        let verdict = match code {
            Some(0) => "ok",
            Some(code) if code == i32::from(NOT_HELD) => {
                not_held.push(*name);
                "not held: no real-time scheduling"
            }
            _ => {
                failed.push(*name);
                "FAILED"
            }
        };
        println!("test {name} ... {verdict} ({:.1} s)", started.elapsed().as_secs_f64());
    }
    if !not_held.is_empty() {
        println!("\nnot held, because there is no real-time scheduling here: {}", not_held.join(", "));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed: {}", failed.join(", "));
    ExitCode::FAILURE
}
