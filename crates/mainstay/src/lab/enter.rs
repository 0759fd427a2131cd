//! The way into namespaces of the lab's own: user (unless root), network, mount and process ids.
//!
//! Owns how a program is run in there and how it ends: everything in the lab is a descendant of the first process of
//! that process-id namespace, and the kernel kills all of them with it. Nothing here touches the caller's namespaces.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus};

use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::geteuid;

use super::error::{Context, LabError, Result};

/// Everything the lab writes, in a tmpfs that vanishes with it.
pub const DIRECTORY: &str = "/run/mainstay-lab";

/// Names the process outside that holds the lab, for whoever wants to look inside.
const OUTSIDE: &str = "MAINSTAY_LAB_OUTSIDE";
/// Set when the lab runs in a user namespace, where only the caller's own user exists.
const ORDINARY: &str = "MAINSTAY_LAB_ORDINARY_USER";

/// Programs the lab calls, and the Debian package each comes from.
const TOOLS: [(&str, &str); 5] = [
    ("unshare", "util-linux"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("mount", "mount"),
    ("nft", "nftables"),
];

/// Where the calling process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the namespaces it was started in.
    Outside,
    /// In namespaces that belong to the lab.
    Inside,
}

/// Where the calling process is. Only the first process of the lab counts as inside: its children have other roles.
pub fn place() -> Place {
    if env::var_os(OUTSIDE).is_some() && std::process::id() == 1 { Place::Inside } else { Place::Outside }
}

/// Whether the lab runs in a user namespace of an ordinary user.
pub fn as_ordinary_user() -> bool {
    env::var_os(ORDINARY).is_some()
}

/// The process outside that holds the lab.
pub fn outside() -> Option<u32> {
    env::var(OUTSIDE).ok()?.parse().ok()
}

/// A command that runs `program` as the first process inside new namespaces.
///
/// It dies with the calling thread, and everything it started dies with it.
///
/// # Errors
/// A tool is missing.
pub fn command<S: AsRef<OsStr>>(program: &Path, arguments: impl IntoIterator<Item = S>) -> Result<Command> {
    for (tool, package) in TOOLS {
        require(tool, package)?;
    }
    let mut command = Command::new(find("setpriv").unwrap_or_else(|| "setpriv".into()));
    command.args(["--pdeathsig", "KILL", "unshare"]);
    if !geteuid().is_root() {
        command.args(["--user", "--map-root-user"]).env(ORDINARY, "1");
    }
    command.args(["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]);
    command
        .arg(program)
        .args(arguments)
        .env(OUTSIDE, std::process::id().to_string())
        .env("PATH", search_path());
    Ok(command)
}

/// Runs this program again, with the same arguments, inside new namespaces, and waits for its end.
///
/// A signal that asks this process to end takes the whole lab down.
///
/// # Errors
/// A tool is missing or the namespaces are refused.
pub fn again() -> Result<ExitCode> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_block().context("cannot hold back signals")?;
    let program = env::current_exe().context("cannot find this program's own file")?;
    let mut lab = command(&program, env::args_os().skip(1))?.spawn().context("cannot start unshare")?;
    loop {
        let signal = signals.wait().context("cannot wait for the lab")?;
        if signal == Signal::SIGCHLD {
            if let Some(status) = lab.try_wait().context("cannot wait for the lab")? {
                return Ok(exit_code(status));
            }
        } else {
            // The kernel kills all processes of the lab with its first one, and the namespaces go with them.
            lab.kill().context("cannot stop the lab")?;
            lab.wait().context("cannot wait for the lab")?;
            return Ok(ExitCode::from(128 + u8::try_from(signal as i32).unwrap_or(0)));
        }
    }
}

/// Makes the inside habitable: a private `/run` with the lab's directory, and signals that arrive. Before any thread.
///
/// # Errors
/// The kernel refuses a mount.
pub fn prepare() -> Result<()> {
    // The process outside holds signals back, and everything in here would inherit that.
    SigSet::empty().thread_set_mask().context("cannot let signals through")?;
    let options = Some("mode=0755");
    mount(Some("lab"), "/run", Some("tmpfs"), MsFlags::empty(), options).context("cannot mount /run")?;
    fs::create_dir_all(DIRECTORY).context(format!("cannot create {DIRECTORY}"))
}

/// Checks that `tool` exists.
///
/// # Errors
/// It does not; the error names the Debian package.
pub fn require(tool: &str, package: &str) -> Result<()> {
    match find(tool) {
        Some(_) => Ok(()),
        None => Err(LabError::new(format!("`{tool}` is not installed: apt install {package}"))),
    }
}

/// Whether `tool` is installed.
pub fn has(tool: &str) -> bool {
    find(tool).is_some()
}

/// Ordinary users often have no `sbin` in their path, where `ip` and the daemons are.
fn search_path() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin")
}

fn find(tool: &str) -> Option<PathBuf> {
    env::split_paths(&search_path()).map(|directory| directory.join(tool)).find(|path| path.is_file())
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
