//! Holds our verdicts on haproxy.cfg files against those of the real HAProxy, on many small files.
//!
//! A file is invalid, valid with warnings, or valid. What only mainstay warns of (what it does not act on, time-outs that
//! cut watches) does not count. Where the two disagree on purpose, its topic says why; an entry that no longer
//! disagrees fails.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::haproxy::codes;
use mainstay_engine::config::haproxy::keywords::{self, PROXY, Place};
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{self, Surroundings};
use mainstay_engine::plan::Plan;

#[path = "haproxy_verdicts/addresses.rs"]
mod addresses;
#[path = "haproxy_verdicts/balance.rs"]
mod balance;
#[path = "haproxy_verdicts/cases.rs"]
mod cases;
#[path = "haproxy_verdicts/checks.rs"]
mod checks;
#[path = "haproxy_verdicts/general.rs"]
mod general;
#[path = "haproxy_verdicts/haproxyadmin.rs"]
mod haproxyadmin;
#[path = "haproxy_verdicts/language.rs"]
mod language;
#[path = "haproxy_verdicts/logs.rs"]
mod logs;
#[path = "haproxy_verdicts/mutations.rs"]
mod mutations;
#[path = "haproxy_verdicts/names.rs"]
mod names;
#[path = "haproxy_verdicts/pages.rs"]
mod pages;
mod ports;
#[path = "haproxy_verdicts/proxy_headers.rs"]
mod proxy_headers;
#[path = "haproxy_verdicts/rules.rs"]
mod rules;
#[path = "haproxy_verdicts/runtime_orders.rs"]
mod runtime_orders;
#[path = "haproxy_verdicts/transitions.rs"]
mod transitions;

use cases::{cases, disagreements};

/// What is thought of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Valid,
    Warned,
    Invalid,
}

/// Files that are judged at a time.
const WORKERS: usize = 4;

/// What mainstay warns of and HAProxy has no reason to.
const OUR_OWN: [&str; 10] = [
    codes::ASKS_NOTHING,
    codes::NOT_ACTED_ON,
    codes::NO_EFFECT,
    codes::CUTS_WATCHES,
    codes::RUNS_AS_TCP,
    codes::UNUSED_BACKEND,
    codes::NOT_STARTED,
    codes::SEVERAL_ADDRESSES,
    codes::UNSET_VARIABLE,
    codes::NO_INSPECT_DELAY,
];

#[test]
fn verdicts_are_haproxys() {
    let directory = Directory::new("verdicts");
    let cases = cases();
    assert!(cases.len() >= 600, "{} cases", cases.len());
    // Most of the time is HAProxy's start, on each core one at a time.
    let next = AtomicUsize::new(0);
    let judge = || {
        let mut findings = String::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(text) = cases.get(index) else { return findings };
            findings.push_str(&compare(&directory.0.join(format!("{index}.cfg")), text));
        }
    };
    let findings: String = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(judge)).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    assert!(findings.is_empty(), "{findings}");
}

#[test]
fn every_disagreement_has_a_case() {
    let cases = cases();
    for (line, reason) in disagreements() {
        assert!(cases.iter().any(|text| text.contains(line)), "no case has `{line}` ({reason})");
    }
}

#[test]
fn every_keyword_that_haproxy_lists_is_in_the_table() {
    let output = Command::new("haproxy")
        .args(["-dKcfg", "-f", "/dev/null", "-q", "-c"])
        .output()
        .expect("haproxy is installed: apt-get install haproxy");
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut section, mut known, mut unknown) = ("", 0, Vec::new());
    for line in list.lines() {
        let Some(entry) = line.strip_prefix('\t') else {
            section = line;
            continue;
        };
        let words: Vec<&str> = entry.split_whitespace().collect();
        let (place, words) = match (section, words.as_slice()) {
            ("global", words) => (Place::Global, words),
            ("listen", ["bind", "<addr>", "ssl", parameter, ..]) => (Place::Bind, &[*parameter][..]),
            ("listen", ["bind", "<addr>", parameter, ..]) => (Place::Bind, &[*parameter][..]),
            ("listen", ["server", "<name>", "<addr>", parameter, ..]) => (Place::Server, &[*parameter][..]),
            ("listen", words) => (PROXY, words),
            _ => continue,
        };
        known += 1;
        let family = words.first().is_some_and(|word| keywords::is_family(place, word));
        if keywords::find(place, words).is_none() && !(family && words.len() == 1) {
            unknown.push(entry.to_owned());
        }
    }
    assert!(known > 300, "only {known} keywords in\n{list}");
    assert!(unknown.is_empty(), "HAProxy knows these, the table does not: {unknown:#?}");
}

/// What is to be said about a file: nothing if both agree, or disagree as its topic says.
fn compare(path: &Path, text: &str) -> String {
    fs::write(path, text).expect("a file in the temporary directory");
    let (real, said) = ask_haproxy(path);
    let (ours, report) = ask_mainstay(text);
    let reason = disagreements().find(|(line, _)| text.contains(line)).map(|(_, reason)| reason);
    if (real == ours) == reason.is_none() {
        return String::new();
    }
    let expected = reason.map_or_else(String::new, |reason| format!(", listed because {reason}"));
    format!(
        "HAProxy: {real:?}, mainstay: {ours:?}{expected}\n--- file\n{text}--- HAProxy\n{said}--- mainstay\n{report}"
    )
}

fn ask_haproxy(path: &Path) -> (Verdict, String) {
    let output = Command::new("haproxy")
        .args(["-c", "-f"])
        .arg(path)
        .env("API_PORT", "6443")
        .output()
        .expect("haproxy is installed: apt-get install haproxy");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let verdict = match output.status.code() {
        // 2 is a file without a listener.
        Some(0 | 2) if said.contains("[WARNING]") => Verdict::Warned,
        Some(0 | 2) => Verdict::Valid,
        Some(1) => Verdict::Invalid,
        other => panic!("haproxy ended with {other:?}: {said}"),
    };
    let lines = said.lines().filter(|line| !line.starts_with("[NOTICE]"));
    (verdict, lines.map(|line| format!("{line}\n")).collect())
}

fn ask_mainstay(text: &str) -> (Verdict, String) {
    let (plan, diagnostics) = load(text);
    let mut report = String::new();
    for diagnostic in &diagnostics {
        let _ = writeln!(report, "{:?}[{}] {}", diagnostic.level, diagnostic.code, diagnostic.message);
    }
    let warned = diagnostics
        .iter()
        .any(|diagnostic| diagnostic.level == Level::Warning && !OUR_OWN.contains(&diagnostic.code));
    let verdict = match plan {
        None => Verdict::Invalid,
        Some(_) if warned => Verdict::Warned,
        Some(_) => Verdict::Valid,
    };
    (verdict, report)
}

/// What mainstay makes of a file, and says of it.
fn load(text: &str) -> (Option<Plan>, Vec<Diagnostic>) {
    let mut sources = Sources::default();
    let id = sources.add("haproxy.cfg", text);
    let variable = |name: &str| match name {
        "API_PORT" => Some("6443".to_owned()),
        _ => std::env::var(name).ok(),
    };
    let surroundings = Surroundings {
        variable: &variable,
        resolve: &resolve,
        key_file: &|path| Err(format!("{path}: no such file")),
        pattern_file: &|path| Err(format!("{path}: no such file")),
    };
    config::load(&sources, &[id], &[], &surroundings)
}

fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let addresses = (name, 0).to_socket_addrs().map_err(|error| error.to_string())?;
    Ok(addresses.map(|address| address.ip()).collect())
}

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mainstay-{test}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
