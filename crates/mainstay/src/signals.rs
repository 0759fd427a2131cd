//! What signals mean: TERM and INT hand over and exit, a second one exits at once, HUP is not there yet.

use std::io;
use std::path::PathBuf;

use nix::sys::signal::{SigSet, Signal};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Exit;
use crate::control::{Command, Mailbox};

/// Lets the signals of [`listen`] through, whatever the process that started this one blocked. Before the first thread,
/// because threads inherit it.
pub fn unblock() {
    let mut meant = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        meant.add(signal);
    }
    // Fails for sets of signals that do not exist only.
    let _ = meant.thread_unblock();
}

/// Listens for signals on `runtime`. A second request to stop ends the process at once and removes `socket`.
///
/// # Errors
/// The kernel's.
pub fn listen(runtime: &Handle, mailbox: Mailbox, socket: PathBuf) -> io::Result<()> {
    let _context = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    runtime.spawn(async move {
        let mut stopping = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hang_up.recv() => {
                    tracing::warn!("SIGHUP: mainstay cannot reload yet; restart it to read the configuration again");
                    continue;
                }
            }
            if stopping {
                tracing::warn!("asked to stop a second time: exits at once, without waiting for a successor");
                let _ = std::fs::remove_file(&socket);
                std::process::exit(Exit::Interrupted as i32);
            }
            stopping = true;
            tracing::info!("asked to stop: hands over, then exits; ask again to exit at once");
            mailbox.post(Command::Stop);
        }
    });
    Ok(())
}
