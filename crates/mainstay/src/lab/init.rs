//! The first process of a balancer: starts its daemons, reaps what they leave, and takes all of them with it.
//!
//! A balancer has process ids of its own, so that `pgrep haproxy` sees its own HAProxy only, and a `/run` of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::Args;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::enter::DIRECTORY;
use super::error::{Context, Result};

/// What a balancer runs.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The directory that becomes `/run`.
    #[arg(long)]
    pub run: PathBuf,
    /// One daemon: its program and arguments, separated by newlines.
    #[arg(long = "daemon", required = true)]
    pub daemons: Vec<String>,
}

/// Starts the daemons and stays until it is killed.
pub fn main(args: &InitArgs) -> ExitCode {
    match stay(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mainstay lab: {error}");
            ExitCode::FAILURE
        }
    }
}

fn stay(args: &InitArgs) -> Result<()> {
    let kept = args.run.join("mainstay-lab");
    fs::create_dir_all(args.run.join("haproxy")).context("cannot create /run/haproxy")?;
    fs::create_dir_all(&kept).context("cannot create the lab's directory")?;
    bind(&PathBuf::from(DIRECTORY), &kept)?;
    bind(&args.run, &PathBuf::from("/run"))?;
    // `unshare` leaves SIGTERM blocked, and daemons would inherit that.
    SigSet::empty().thread_set_mask().context("cannot let signals through")?;
    for daemon in &args.daemons {
        let mut words = daemon.lines();
        let program = words.next().unwrap_or_default();
        // Dropping the handle leaves the daemon alone; the loop below reaps it.
        drop(
            Command::new(program)
                .args(words)
                .stdin(Stdio::null())
                .spawn()
                .context(format!("cannot start {program}"))?,
        );
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    children.thread_block().context("cannot hold back signals")?;
    loop {
        reap();
        children.wait().context("cannot wait for children")?;
    }
}

/// A daemon that ended must be gone from `pgrep`'s list at once, as it would be under systemd.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

fn bind(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>).context(format!("cannot mount {}", to.display()))
}
