//! Hears from the kernel that interfaces or addresses changed.
//!
//! Owns [`Monitor`], a netlink multicast socket. What it says is only a reason to look again: the truth is asked for
//! afterwards, so that lost or late messages do no harm.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;

use super::wire;

/// Multicast groups as bits of `nl_groups` (`RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV6_IFADDR`).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Room for the changes of a few hundred containers that start at once.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Datagrams read in one go, so that a node whose containers come and go cannot hold up an advert.
const READS_PER_WAKE: usize = 64;

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;

/// Listens for changes.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: Socket,
}

/// One thing the kernel said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// An interface came, went, or changed its state or name.
    Link {
        /// Its index.
        index: u32,
        /// Its name now.
        name: String,
    },
    /// An address was added, or its lifetime renewed.
    AddressAdded {
        /// The interface.
        index: u32,
        /// The address.
        address: IpAddr,
    },
    /// An address was removed.
    AddressRemoved {
        /// The interface.
        index: u32,
    },
    /// Messages were lost: anything may have changed.
    Lost,
}

impl Monitor {
    /// Starts to listen.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUPS))?;
        socket.set_non_blocking(true)?;
        socket.set_rx_buf_sz(RECEIVE_BUFFER_BYTES)?;
        Ok(Self { socket })
    }

    /// What was said since the last call, up to a bound; the rest is there at the next call.
    pub(super) fn read(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..READS_PER_WAKE {
            match self.socket.recv_from_full() {
                Ok((datagram, _)) => changes.extend(
                    wire::Messages::new(&datagram)
                        .filter_map(|message| change(message.message_type(), message.payload())),
                ),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.raw_os_error() == Some(Errno::EINTR as i32) => {}
                // ENOBUFS is how the kernel says that it had to drop messages; nothing else is expected here.
                Err(_) => {
                    changes.push(Change::Lost);
                    break;
                }
            }
        }
        changes
    }
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn change(message_type: u16, body: &[u8]) -> Option<Change> {
    match message_type {
        RTM_NEWLINK | RTM_DELLINK => {
            let (index, name) = wire::link_name(body)?;
            Some(Change::Link { index, name })
        }
        RTM_NEWADDR => {
            let (index, address) = wire::address(body)?;
            Some(Change::AddressAdded { index, address: address.address })
        }
        RTM_DELADDR => {
            let (index, _) = wire::address(body)?;
            Some(Change::AddressRemoved { index })
        }
        _ => None,
    }
}
