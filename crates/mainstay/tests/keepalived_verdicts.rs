//! Holds our verdicts on keepalived.conf files against those of the real Keepalived, on many small files.
//!
//! `keepalived -t` only says whether it complains, so a file is clean or not. What only mainstay warns of (what it does
//! not act on, commands that look for HAProxy) does not count. Where the two disagree on purpose, [`DISAGREEMENTS`] says
//! why; an entry that no longer disagrees fails. Both look at interfaces and scripts, so both run in namespaces of their
//! own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use mainstay::lab::enter;
use mainstay_engine::config::keepalived::codes;
use nix::unistd::geteuid;
use serde_json::Value;

#[path = "keepalived_verdicts/cases.rs"]
mod cases;

use cases::{DISAGREEMENTS, cases};

/// What is thought of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    Complaint,
}

/// What mainstay warns of and Keepalived does not, whatever the file.
const OUR_OWN: [&str; 8] = [
    codes::NOT_ACTED_ON,
    codes::SHELL_SYNTAX,
    codes::LOOKS_FOR_HAPROXY,
    codes::ODD_TIME,
    codes::OWNER_BY_DEFAULT,
    codes::CUT_PASSWORD,
    codes::OUTSIDE_SUBNET,
    codes::FOREIGN_SOURCE,
];

/// Exit codes of `keepalived -t`.
const FINE: &str = "0";
const SCRIPTS_UNPROTECTED: &str = "6";

/// Asks both about each file, in a place with two interfaces, a script that everybody can change and one that nobody
/// can execute.
const RUNNER: &str = r#"
set -e
mount -t tmpfs -o mode=0755 none /run
ip link set lo up
ip link add eth0 type veth peer name peer0
ip link add eth1 type veth peer name peer1
ip address add 192.0.2.5/24 dev eth0
ip address add 198.51.100.5/24 dev eth1
for interface in eth0 peer0 eth1 peer1; do ip link set $interface up; done
printf '#!/bin/sh\n' > /run/exposed.sh
printf '#!/bin/sh\n' > /run/plain.sh
chmod 777 /run/exposed.sh
chmod 644 /run/plain.sh
set +e
for file in "$1"/*.conf; do
    keepalived -t -l -p /run/k.pid -r /run/v.pid -c /run/c.pid -f "$file" > "$file.said" 2>&1
    echo $? > "$file.code"
    "$2" check --format json --keepalived-conf "$file" > "$file.json" || true
done
"#;

#[test]
fn verdicts_are_keepaliveds() {
    enter::require("keepalived", "keepalived").expect("it is needed");
    let directory = Directory::new();
    let cases = cases();
    assert!(cases.len() >= 120, "{} cases", cases.len());
    for (index, text) in cases.iter().enumerate() {
        fs::write(directory.file(index, "conf"), text).expect("a file in the temporary directory");
    }
    let mainstay = env!("CARGO_BIN_EXE_mainstay");
    let arguments = ["-c", RUNNER, "sh", &directory.0.display().to_string(), mainstay].map(str::to_owned);
    let mut inside = enter::command(Path::new("/bin/sh"), arguments).expect("the tools that namespaces need");
    assert!(inside.status().expect("namespaces").success());

    let (mut findings, mut clean) = (String::new(), 0);
    for (index, text) in cases.iter().enumerate() {
        let (real, said) = keepalived(&directory, index);
        let (ours, report) = mainstay_said(&directory, index);
        clean += usize::from(real == Verdict::Clean);
        let reason = DISAGREEMENTS.iter().find(|(part, _)| text.contains(part)).map(|(_, reason)| reason);
        if (real == ours) == reason.is_some() {
            let expected = reason.map_or_else(String::new, |reason| format!(", listed because {reason}"));
            let _ = writeln!(
                findings,
                "Keepalived: {real:?}, mainstay: {ours:?}{expected}\n--- file\n{text}--- Keepalived\n{said}--- mainstay\n{report}"
            );
        }
    }
    assert!(findings.is_empty(), "{findings}");
    let enough = clean > cases.len() / 4 && clean < cases.len() * 3 / 4;
    assert!(enough, "{clean} of {} files are clean: what would a verdict prove?", cases.len());
}

#[test]
fn every_disagreement_has_a_case() {
    let cases = cases();
    for (part, reason) in DISAGREEMENTS {
        assert!(cases.iter().any(|text| text.contains(part)), "no case has `{part}` ({reason})");
    }
}

fn keepalived(directory: &Directory, index: usize) -> (Verdict, String) {
    let said = directory.read(index, "conf.said");
    let code = directory.read(index, "conf.code");
    // Without `enable_script_security`, every file with a script is a violation to it, safe or not.
    let lines = said.lines().filter(|line| !line.is_empty());
    let complaints = lines.filter(|line| {
        let insecure = line.contains("There are insecure scripts") && root_owns_files();
        !line.contains("script_security not enabled") || insecure
    });
    let verdict = match (code.trim(), complaints.count()) {
        (FINE, _) | (SCRIPTS_UNPROTECTED, 0) => Verdict::Clean,
        _ => Verdict::Complaint,
    };
    (verdict, format!("{said}exit code {code}"))
}

fn mainstay_said(directory: &Directory, index: usize) -> (Verdict, String) {
    let said: Value = serde_json::from_str(&directory.read(index, "conf.json")).expect("JSON");
    let mut report = String::new();
    let mut verdict = Verdict::Clean;
    for finding in said["diagnostics"].as_array().expect("findings") {
        let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let _ = writeln!(report, "{}[{}] {}", word("level"), word("code"), word("message"));
        let code = word("code");
        let owner = code == codes::EXPOSED_SCRIPT && !root_owns_files();
        let warns = word("level") == "warning" && !OUR_OWN.contains(&code.as_str()) && !owner;
        if warns || word("level") == "error" {
            verdict = Verdict::Complaint;
        }
    }
    (verdict, report)
}

/// In the namespaces of an ordinary user, root's files belong to nobody, and no script is safe in anybody's eyes.
fn root_owns_files() -> bool {
    geteuid().is_root()
}

/// A directory that goes when the test ends.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("mainstay-keepalived-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        Self(path)
    }

    fn file(&self, index: usize, kind: &str) -> PathBuf {
        self.0.join(format!("{index}.{kind}"))
    }

    fn read(&self, index: usize, kind: &str) -> String {
        let path = self.file(index, kind);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
