//! Ports for daemons that are started later.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

/// The first of them. The kernel gives connections ports from 32768 on, so that none of those can take one meanwhile.
const FIRST: u16 = 10_000;

/// How many there are.
const COUNT: u16 = 20_000;

/// An address on which nobody listens, and which is given to nobody else in this process.
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes that run at the same time begin in different places.
    let begin = u16::try_from(process::id() % 199 * 100).expect("below 20,000");
    loop {
        let number = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, FIRST + number));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
