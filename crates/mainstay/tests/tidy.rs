//! Holds what the compiler cannot: the wall round the engine, the directions between modules, and the shape of files.
//!
//! A rule that somebody has to break is broken here, by name and with a reason, or it is changed.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What the engine may depend on: crates that cannot do I/O. Those of RustCrypto compute on bytes they are given, and
/// look at nothing outside but what the processor can do; so does `regex`, for conditions that have one.
const ENGINE_DEPENDENCIES: [&str; 6] = ["hmac", "regex", "serde", "sha2", "strsim", "zeroize"];

/// What the engine's code never names: each is a way to the outside.
const OUTSIDE: [&str; 9] = [
    "std::fs",
    "std::io",
    "std::env::",
    "std::process",
    "std::thread",
    "std::net::Tcp",
    "std::net::Udp",
    "SystemTime",
    "std::time::Instant",
];

/// Who must not know whom: `(files below, words that must not occur there, why)`.
const DIRECTIONS: &[(&str, &[&str], &str)] = &[
    (
        "crates/engine/src/plan.rs",
        &["crate::config", "crate::engine", "crate::vrrp", "crate::health"],
        "a plan is data",
    ),
    (
        "crates/engine/src/plan",
        &["crate::config", "crate::engine", "crate::vrrp", "crate::health"],
        "a plan is data",
    ),
    ("crates/engine/src/serving.rs", &["crate::config", "crate::engine", "crate::vrrp"], "a view is data"),
    (
        "crates/engine/src/balance",
        &["crate::config", "crate::engine", "crate::vrrp", "crate::health"],
        "choosing reads a view",
    ),
    (
        "crates/engine/src/rules",
        &["crate::config", "crate::engine", "crate::vrrp", "crate::health", "crate::balance"],
        "judging reads a plan and a view",
    ),
    (
        "crates/engine/src/config",
        &["crate::rules", "crate::engine", "crate::vrrp", "crate::health", "crate::balance"],
        "languages make a plan",
    ),
    (
        "crates/engine/src/health",
        &["crate::vrrp", "crate::config", "crate::peers"],
        "VRRP and health meet in the engine",
    ),
    (
        "crates/engine/src/resolve",
        &["crate::vrrp", "crate::config", "crate::health", "crate::balance", "crate::peers"],
        "names know no servers' health",
    ),
    (
        "crates/engine/src/vrrp",
        &["crate::health", "crate::config", "crate::balance", "crate::peers"],
        "VRRP and health meet in the engine",
    ),
    (
        "crates/engine/src/peers",
        &["crate::vrrp", "crate::health", "crate::config", "crate::balance"],
        "peers inform through the engine",
    ),
    (
        "crates/engine/src/forwarding.rs",
        &["crate::vrrp", "crate::config", "crate::health", "crate::peers"],
        "what the kernel forwards follows from a view",
    ),
    (
        "crates/mainstay/src/nat",
        &["crate::control", "crate::proxy", "crate::checks", "crate::lab"],
        "what is asked of the kernel is decided elsewhere",
    ),
    (
        "crates/mainstay/src/proxy",
        &["crate::net", "crate::control", "crate::checks", "crate::lab"],
        "connections never meet control",
    ),
    (
        "crates/mainstay/src/net",
        &["crate::proxy", "crate::control", "crate::checks", "crate::lab"],
        "sockets know no policy",
    ),
    (
        "crates/mainstay/src/peer_link",
        &["crate::net", "crate::control", "crate::proxy", "crate::checks", "crate::lab"],
        "a link reports and decides nothing",
    ),
    (
        "crates/mainstay/src/checks",
        &["crate::net", "crate::control", "crate::proxy", "crate::lab"],
        "a check reports and decides nothing",
    ),
];

const LONGEST_FUNCTION: usize = 70;
const LONGEST_FILE: usize = 800;

/// Functions that are longer, with the reason. Shorten one and take it off the list.
const LONGER_FUNCTIONS: [(&str, &str); 3] = [
    (
        "crates/engine/tests/keepalived_config/diagnostics.rs cases",
        "a table, one line or two for each mistake",
    ),
    ("crates/engine/tests/haproxy_config/diagnostics.rs cases", "a table, one line or two for each mistake"),
    ("crates/mainstay/src/runtime_api/info.rs fields", "a table, one entry for each field of HAProxy's"),
];

#[test]
fn the_engine_depends_on_nothing_that_can_do_io() {
    let manifest = read(&root().join("crates/engine/Cargo.toml"));
    let section = manifest.split("[dependencies]").nth(1).expect("the engine's manifest has dependencies");
    let names: Vec<_> = section
        .lines()
        .take_while(|line| !line.starts_with('['))
        .filter_map(|line| Some(line.split_once('=')?.0.trim()))
        .collect();
    assert_eq!(names, ENGINE_DEPENDENCIES, "a new dependency of the engine has to be shown to do no I/O");
}

#[test]
fn the_engine_names_nothing_outside() {
    let mut findings = String::new();
    for (path, text) in sources("crates/engine/src") {
        for (number, line) in code_lines(&text) {
            for word in OUTSIDE.iter().filter(|word| line.contains(**word)) {
                let _ = writeln!(findings, "{path}:{number}: `{word}`");
            }
        }
    }
    assert!(findings.is_empty(), "the engine does no I/O and reads no clock:\n{findings}");
}

#[test]
fn modules_point_one_way() {
    let mut findings = String::new();
    for (below, forbidden, why) in DIRECTIONS {
        for (path, text) in sources(below) {
            for (number, line) in code_lines(&text) {
                for word in forbidden.iter().filter(|word| line.contains(**word)) {
                    let _ = writeln!(findings, "{path}:{number}: `{word}`, but {why}");
                }
            }
        }
    }
    assert!(findings.is_empty(), "module directions:\n{findings}");
}

#[test]
fn files_say_what_they_own_and_stay_readable() {
    let mut findings = String::new();
    for (path, text) in all_sources() {
        if !text.starts_with("//!") {
            let _ = writeln!(findings, "{path}: does not start with a `//!` that says what it owns");
        }
        if text.lines().count() > LONGEST_FILE {
            let _ = writeln!(findings, "{path}: longer than {LONGEST_FILE} lines");
        }
        for (number, line) in text.lines().enumerate() {
            if line.contains(concat!("#[", "allow(")) || line.contains(concat!("#![", "allow(")) {
                let _ = writeln!(findings, "{path}:{}: use `expect` with a reason", number + 1);
            }
        }
        for (name, line, length) in functions(&text) {
            let known = LONGER_FUNCTIONS.iter().any(|&(longer, _)| longer == format!("{path} {name}"));
            if length > LONGEST_FUNCTION && !known {
                let _ = writeln!(findings, "{path}:{line}: `{name}` has {length} lines");
            }
        }
    }
    assert!(findings.is_empty(), "shape of files:\n{findings}");
}

#[test]
fn a_fresh_clone_stands_alone() {
    let outside = concat!("../", "shared");
    let mut findings = String::new();
    for path in files(&root(), &|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        name == "Makefile"
            || [".rs", ".toml", ".md", ".sh", ".py", ".service"].iter().any(|end| name.ends_with(end))
    }) {
        if read(&path).contains(outside) {
            let _ = writeln!(findings, "{}", path.display());
        }
    }
    assert!(findings.is_empty(), "these files refer to something outside the repository:\n{findings}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace exists")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Rust file of both crates, with its path from the root.
fn all_sources() -> Vec<(String, String)> {
    ["crates/engine/src", "crates/engine/tests", "crates/mainstay/src", "crates/mainstay/tests", "fuzz"]
        .into_iter()
        .flat_map(sources)
        .collect()
}

fn sources(below: &str) -> Vec<(String, String)> {
    let root = root();
    let start = root.join(below);
    let paths = if start.is_file() {
        vec![start]
    } else {
        files(&start, &|path| path.extension().is_some_and(|extension| extension == "rs"))
    };
    paths
        .into_iter()
        .map(|path| (path.strip_prefix(&root).expect("it lies below").display().to_string(), read(&path)))
        .collect()
}

/// Files below `directory` that are `wanted`, in order; build output and git's own files left out.
fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a directory can be listed").path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("").to_owned();
        if path.is_dir() && name != "target" && name != ".git" {
            found.extend(files(&path, wanted));
        } else if path.is_file() && wanted(&path) {
            found.push(path);
        }
    }
    found
}

/// Lines before the unit tests that are not comments, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..)
        .zip(text.lines())
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// `(name, first line, number of lines)` of every function, found by the indentation that rustfmt gives it.
fn functions(text: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indentation = line.len() - line.trim_start().len();
        let closing = format!("{}}}", " ".repeat(indentation));
        let end = lines[start..].iter().position(|line| {
            *line == closing
                || line.trim_end().ends_with(';') && line.len() - line.trim_start().len() == indentation
        });
        if let Some(end) = end {
            found.push((name, start + 1, end + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let word = words
        .find(|word| !matches!(*word, "pub" | "pub(crate)" | "pub(super)" | "async" | "const" | "unsafe"))?;
    if word != "fn" {
        return None;
    }
    Some(words.next()?.split(['(', '<']).next()?.to_owned())
}
