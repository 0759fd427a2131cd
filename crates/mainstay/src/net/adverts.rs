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
use mainstay_engine::plan::Family;

use super::no_interface;
use super::vrrp_socket::VrrpSocket;

/// The advert sockets there are now, by interface and family.
#[derive(Clone, Debug)]
pub struct Adverts {
    shared: Arc<ArcSwap<Sockets>>,
    sockets: Arc<Sockets>,
}

type Sockets = BTreeMap<(String, Family), Arc<VrrpSocket>>;

impl Default for Adverts {
    fn default() -> Self {
        let sockets = Arc::new(Sockets::new());
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
        self.sockets.values().map(|socket| socket.as_fd())
    }

    /// Gives `deliver` every datagram that arrived, with the interface it arrived on.
    pub fn receive(&self, mut deliver: impl FnMut(&str, &[u8])) {
        for ((name, _), socket) in self.sockets.iter() {
            socket.receive(|datagram| deliver(name, datagram));
        }
    }

    /// Puts a whole datagram on the wire.
    ///
    /// # Errors
    /// The kernel's, or that there is no such interface now.
    pub fn send(&self, interface: &str, destination: IpAddr, datagram: &[u8]) -> io::Result<()> {
        let socket = self.sockets.get(&(interface.to_owned(), Family::of(destination)));
        socket.ok_or_else(no_interface)?.send(destination, datagram)
    }

    /// Takes up another socket.
    pub(super) fn add(&self, interface: &str, family: Family, socket: VrrpSocket) {
        let mut sockets = Sockets::clone(&self.shared.load());
        sockets.insert((interface.to_owned(), family), Arc::new(socket));
        self.shared.store(Arc::new(sockets));
    }

    /// Closes the sockets of `interface`. Returns whether there was one.
    pub(super) fn close(&self, interface: &str) -> bool {
        let mut sockets = Sockets::clone(&self.shared.load());
        let before = sockets.len();
        sockets.retain(|(of, _), _| of != interface);
        let closed = sockets.len() < before;
        self.shared.store(Arc::new(sockets));
        closed
    }

    /// Whether `interface` has a socket for `family`.
    pub(super) fn has(&self, interface: &str, family: Family) -> bool {
        self.shared.load().contains_key(&(interface.to_owned(), family))
    }
}
