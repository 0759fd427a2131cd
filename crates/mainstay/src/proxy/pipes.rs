//! Pipes for splicing, lent to sessions that move bulk.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;

/// Pipes one worker has at most. A session that gets none copies, which costs some CPU and nothing else. The kernel
/// grants 16,384 pages of pipes to a user without CAP_SYS_RESOURCE (`fs.pipe-user-pages-soft`): 64 workers' worth.
pub(super) const PIPES: usize = 32;

/// Bytes asked for in a pipe, 4 times the default: fewer turns for the same data. If the kernel refuses, the pipe keeps
/// its size.
pub(super) const PIPE_BYTES: usize = 256 * 1024;

/// A pipe that is empty, or whose session knows what is in it.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) read: OwnedFd,
    pub(super) write: OwnedFd,
    /// Counts the pipe as long as it exists, wherever that is.
    _counted: Arc<()>,
}

/// The pipes of one worker.
#[derive(Default)]
pub(super) struct Pipes {
    free: Vec<Pipe>,
    count: Arc<()>,
}

impl Pipes {
    /// Lends an empty pipe, if there is one left.
    pub(super) fn take(&mut self) -> Option<Pipe> {
        if let Some(pipe) = self.free.pop() {
            return Some(pipe);
        }
        if Arc::strong_count(&self.count) > PIPES {
            return None;
        }
        let (read, write) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
        let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(i32::try_from(PIPE_BYTES).unwrap_or(i32::MAX)));
        Some(Pipe { read, write, _counted: Arc::clone(&self.count) })
    }

    /// How many sessions have now, and how many wait for one.
    pub(super) fn used_and_free(&self) -> (u32, u32) {
        let free = self.free.len();
        let used = (Arc::strong_count(&self.count) - 1).saturating_sub(free);
        (u32::try_from(used).unwrap_or(u32::MAX), u32::try_from(free).unwrap_or(u32::MAX))
    }

    /// Takes back a pipe, which must be empty. One with bytes in it is dropped instead: they belong to one session.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        self.free.push(pipe);
    }
}

impl fmt::Debug for Pipes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pipes({} free of {})", self.free.len(), Arc::strong_count(&self.count) - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pipes_are_bounded_and_a_dropped_one_is_replaced() {
        let mut pipes = Pipes::default();
        let mut lent: Vec<_> = std::iter::from_fn(|| pipes.take()).collect();
        assert_eq!(lent.len(), PIPES);
        lent.pop();
        assert!(pipes.take().is_some_and(|pipe| {
            pipes.give_back(pipe);
            pipes.take().is_some()
        }));
    }
}
