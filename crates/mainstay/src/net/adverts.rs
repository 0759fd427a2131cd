//! Adverts on all interfaces, both ways.
//!
//! Owns [`Adverts`], which the control thread keeps. The sockets are opened and closed by [`Network`](super::Network) on
//! its own thread, because the kernel may make whoever joins a group wait; sending and receiving never waits.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use arc_swap::ArcSwap;
use mainstay_engine::plan::{Family, HardwareAddress};

use super::announce::Announcer;
use super::no_interface;
use super::virtual_mac;
use super::vrrp_socket::VrrpSocket;

/// The advert sockets there are now, by interface and family.
#[derive(Clone, Debug)]
pub struct Adverts {
    shared: Arc<ArcSwap<Sockets>>,
    sockets: Arc<Sockets>,
}

#[derive(Clone, Debug, Default)]
struct Sockets {
    datagrams: BTreeMap<(String, Family), Arc<VrrpSocket>>,
    /// For adverts from a virtual MAC address, which no datagram can ask for.
    frames: BTreeMap<String, Arc<Announcer>>,
}

impl Default for Adverts {
    fn default() -> Self {
        let sockets = Arc::new(Sockets::default());
        Self { shared: Arc::new(ArcSwap::new(Arc::clone(&sockets))), sockets }
    }
}

impl Adverts {
    /// Takes up the sockets that were opened since the last call, and lets go of those that were closed.
    pub fn refresh(&mut self) {
        self.sockets = self.shared.load_full();
    }

    /// What to wait for: readable means that [`Adverts::receive`] has something to do.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.datagrams.values().map(|socket| socket.as_fd())
    }

    /// Gives `deliver` every datagram that arrived, with the interface it arrived on.
    pub fn receive(&self, mut deliver: impl FnMut(&str, &[u8])) {
        for ((name, _), socket) in &self.sockets.datagrams {
            socket.receive(|datagram| deliver(name, datagram));
        }
    }

    /// Puts a whole datagram on the wire, from the interface's own hardware address or from `hardware`.
    ///
    /// # Errors
    /// The kernel's, or that there is no such interface now.
    pub fn send(
        &self,
        interface: &str,
        hardware: Option<HardwareAddress>,
        destination: IpAddr,
        datagram: &[u8],
    ) -> io::Result<()> {
        if let Some(hardware) = hardware {
            let frame = virtual_mac::frame(hardware, destination, datagram)?;
            return self.sockets.frames.get(interface).ok_or_else(no_interface)?.send(&frame);
        }
        let socket = self.sockets.datagrams.get(&(interface.to_owned(), Family::of(destination)));
        socket.ok_or_else(no_interface)?.send(destination, datagram)
    }

    /// Takes up another socket.
    pub(super) fn add(&self, interface: &str, family: Family, socket: VrrpSocket) {
        let mut sockets = Sockets::clone(&self.shared.load());
        sockets.datagrams.insert((interface.to_owned(), family), Arc::new(socket));
        self.shared.store(Arc::new(sockets));
    }

    /// Takes up another socket for whole frames.
    pub(super) fn add_frames(&self, interface: &str, socket: Announcer) {
        let mut sockets = Sockets::clone(&self.shared.load());
        sockets.frames.insert(interface.to_owned(), Arc::new(socket));
        self.shared.store(Arc::new(sockets));
    }

    /// Closes the sockets of `interface`. Returns whether there was one.
    pub(super) fn close(&self, interface: &str) -> bool {
        let mut sockets = Sockets::clone(&self.shared.load());
        let before = sockets.datagrams.len();
        sockets.datagrams.retain(|(of, _), _| of != interface);
        sockets.frames.remove(interface);
        let closed = sockets.datagrams.len() < before;
        self.shared.store(Arc::new(sockets));
        closed
    }

    /// Whether `interface` has a socket for `family`.
    pub(super) fn has(&self, interface: &str, family: Family) -> bool {
        self.shared.load().datagrams.contains_key(&(interface.to_owned(), family))
    }

    /// Whether `interface` has a socket for whole frames.
    pub(super) fn has_frames(&self, interface: &str) -> bool {
        self.shared.load().frames.contains_key(interface)
    }
}
