//! Hears from the kernel which connections begin, change and end.
//!
//! Owns [`Watch`], a netlink multicast socket. While it is open, every new connection of the machine costs the kernel a
//! few messages, and nothing is said of connections that began before (`nf_conntrack_events=2`): whoever watches
//! looks at the whole table now and then.

use std::io;
use std::os::fd::AsFd;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use super::wire::{self, ENTRY, ENTRY_GONE, Entry};
use crate::net::Messages;

/// Multicast groups as bits: `NFNLGRP_CONNTRACK_NEW`, `_UPDATE`, `_DESTROY`.
const GROUPS: u32 = 0x1 | 0x2 | 0x4;

/// Room for what ten thousand connections a second cause in a tenth of a second.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;

/// Messages read in one go, so that a flood of connections cannot keep its reader from everything else.
const READS_AT_ONCE: usize = 20_000;

/// Longer than the kernel's message about one connection.
const MESSAGE_BYTES: usize = 8 * 1024;

/// Listens for changes.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    buffer: Vec<u8>,
}

/// One thing the kernel said about TCP connections, to whatever endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A connection began or changed.
    There(Entry),
    /// A connection is gone.
    Gone(Entry),
    /// Messages were lost: anything may have changed.
    Lost,
}

impl Watch {
    /// Starts to listen, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        // An ordinary user's namespace may not exceed what the machine allows.
        if setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            socket.set_rx_buf_sz(RECEIVE_BUFFER_BYTES)?;
        }
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        socket.set_non_blocking(true)?;
        Ok(Self { socket, buffer: Vec::with_capacity(MESSAGE_BYTES) })
    }

    /// Hands what was said since the last call to `each`, up to a bound. Returns whether more may wait.
    pub fn read(&mut self, mut each: impl FnMut(Change)) -> bool {
        for _ in 0..READS_AT_ONCE {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {
                    let messages = Messages::new(&self.buffer);
                    let changes = messages.filter_map(|it| change(it.message_type(), it.payload()));
                    changes.for_each(&mut each);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                // ENOBUFS is how the kernel says that it had to drop messages; nothing else is expected here.
                Err(_) => {
                    each(Change::Lost);
                    return false;
                }
            }
        }
        true
    }
}

fn change(kind: u16, body: &[u8]) -> Option<Change> {
    match kind {
        ENTRY => wire::entry(body).map(Change::There),
        ENTRY_GONE => wire::entry(body).map(Change::Gone),
        _ => None,
    }
}
