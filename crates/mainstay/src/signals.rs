//! What signals mean: TERM and INT hand over and exit, a second one exits at once, HUP is not there yet, and XCPU is the
//! kernel's word that a real-time thread is caught in a loop.

use std::io;
use std::path::PathBuf;

use nix::sys::signal::{SigSet, Signal};
use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::Exit;
use crate::control::{Command, CommandBox};
use crate::{log, realtime};

/// Lets the signals of [`listen`] through, whatever the process that started this one blocked. Before the first thread,
/// because threads inherit it.
pub fn unblock() {
    let mut meant = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGXCPU] {
        meant.add(signal);
    }
    // Fails for sets of signals that do not exist only.
    let _ = meant.thread_unblock();
}

/// Listens for signals on `runtime`. A second request to stop ends the process at once and removes `socket`.
///
/// # Errors
/// The kernel's.
pub fn listen(runtime: &Handle, mailbox: CommandBox, socket: PathBuf) -> io::Result<()> {
    let _context = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut out_of_time = signal(SignalKind::from_raw(Signal::SIGXCPU as i32))?;
    runtime.spawn(async move {
        let mut stopping = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = out_of_time.recv() => {
                    tracing::error!(
                        "a real-time thread ran for {} s without a pause (SIGXCPU), which is a defect; the process ends so \
                         that a peer takes over",
                        realtime::DEFECT_AFTER.as_secs()
                    );
                    log::flush();
                    std::process::abort();
                }
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
