//! haproxyadmin, of PyPI: a script with it does the same to a live HAProxy and to mainstay, and sees the same.

use std::path::Path;
use std::process::Command;

use crate::Directory;
use crate::runtime_orders::{Daemon, FILE};

/// Where `tools/install-test-tools` puts packages of Python.
const PACKAGES: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/../test-tools/python");

#[test]
fn haproxyadmin_sees_and_changes_the_same() {
    assert!(Path::new(PACKAGES).is_dir(), "tools/install-test-tools was not run");
    let directory = Directory::new("haproxyadmin");
    let haproxy = Daemon::haproxy(&directory.0, FILE);
    let mainstay = Daemon::mainstay(&directory.0, FILE);
    let [theirs, ours] = [&haproxy, &mainstay].map(|daemon| {
        // Its first check, which finds nobody, comes when each of them pleases.
        daemon.wait_for("show stat", ",DOWN,");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/haproxy_verdicts/script.py");
        let mut python = Command::new("python3");
        python
            .env("PYTHONPATH", PACKAGES)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(script)
            .arg(&daemon.socket);
        let output = python.output().expect("python3");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
        said
    });
    assert!(theirs.lines().count() > 20, "{theirs}");
    assert_eq!(theirs, ours);
}
