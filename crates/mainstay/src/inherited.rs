//! Sockets that the daemon was started with (`fd@`).
//!
//! Owns [`take`]. A number says nothing about who owns the descriptor, so the kernel is asked for another one of the same
//! socket, and the one that was inherited is closed.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

use nix::errno::Errno;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use socket2::Socket;

/// Sockets that were taken, by the numbers they had.
#[derive(Debug, Default)]
pub struct Inherited {
    taken: BTreeMap<i32, Socket>,
}

impl Inherited {
    /// The socket that was inherited as `number`, ready to accept.
    ///
    /// # Errors
    /// There is none, or it does not listen for streams.
    pub fn take(&mut self, number: i32) -> io::Result<Socket> {
        if let Some(socket) = self.taken.get(&number) {
            return socket.try_clone();
        }
        let process = pidfd_open(getpid(), PidfdFlags::empty())?;
        let descriptor: OwnedFd = pidfd_getfd(process, number, PidfdGetfdFlags::empty())?;
        let socket = Socket::from(descriptor);
        if socket.r#type()? != socket2::Type::STREAM {
            return Err(Errno::EINVAL.into());
        }
        socket.set_nonblocking(true)?;
        // What other programs are started with it would keep it open.
        nix::unistd::close(number)?;
        let clone = socket.try_clone()?;
        self.taken.insert(number, socket);
        Ok(clone)
    }
}
