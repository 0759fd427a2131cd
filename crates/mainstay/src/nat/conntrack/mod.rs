//! The kernel's table of connections: lists, creates and deletes those of endpoints that it forwards.
//!
//! Owns [`Conntrack`], a conversation by ctnetlink; `wire` has the bytes and `watch` hears what changes. It only ever
//! touches TCP connections to the endpoints it is given. docs/adr/0007 says what an entry has to look like.

mod watch;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use mainstay_engine::flows::Flow;
use netlink_packet_core::{NLMSG_DONE, NLMSG_ERROR};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

pub use self::watch::{Change, Watch};
pub use self::wire::Entry;
use self::wire::Request;
use crate::net::Messages;

/// How long an answer may take. The kernel makes it while it is asked; this is for one that got lost.
const ANSWER_PATIENCE: Duration = Duration::from_secs(1);

/// Requests in one datagram: enough that system calls do not count, and their answers fit the receive buffer.
const BATCH: usize = 64;

/// The longest datagram of an answer; the kernel makes them as long as there is room, up to 32 KiB.
const ANSWER_BYTES: usize = 64 * 1024;

/// A conversation with the kernel about connections.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
    sequence: u32,
    answer: Vec<u8>,
}

/// What became of flows that were to be created.
#[derive(Debug, Default)]
pub struct Created {
    /// Flows that are new in the kernel.
    pub made: usize,
    /// Flows that were there before.
    pub there: usize,
    /// Flows that the kernel refused.
    pub refused: usize,
    /// Why it refused the last one of them.
    pub reason: Option<io::Error>,
}

impl Conntrack {
    /// Opens the conversation, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&netlink_sys::SocketAddr::new(0, 0))?;
        // Complaints need not repeat what they are about.
        socket.set_cap_ack(true)?;
        let patience = TimeVal::milliseconds(i64::try_from(ANSWER_PATIENCE.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&socket.as_fd(), sockopt::ReceiveTimeout, &patience)?;
        Ok(Self { socket, sequence: 0, answer: Vec::with_capacity(ANSWER_BYTES) })
    }

    /// All TCP connections to `endpoints`. The whole table is read, a few hundred nanoseconds for each connection of
    /// the machine; connections that come or go meanwhile may be missing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn list(&mut self, endpoints: &BTreeSet<SocketAddr>) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let families = endpoints.iter().map(SocketAddr::is_ipv4).collect::<BTreeSet<_>>();
        for ipv4 in families {
            self.sequence = self.sequence.wrapping_add(1);
            let request = wire::dump(self.sequence, ipv4);
            self.socket.send(&request, 0)?;
            self.read_answers(self.sequence, |kind, _, body| {
                if kind == wire::ENTRY {
                    found.extend(wire::entry(body).filter(|entry| endpoints.contains(&entry.flow.endpoint)));
                }
            })?;
        }
        Ok(found)
    }

    /// Has the kernel forward `flows` as if it had seen them begin. A connection that is in the way of one of them, of the
    /// same client or with the same source port at the server, is older and goes.
    ///
    /// # Errors
    /// The kernel does not answer. What it refuses is in [`Created`].
    pub fn create(&mut self, flows: &[Flow]) -> io::Result<Created> {
        let mut created = Created { made: flows.len(), ..Created::default() };
        let refused = self.ask_all(flows.iter().map(|flow| Request::Create(*flow)), |_| ())?;
        let mut in_the_way = Vec::new();
        for (index, error) in refused {
            created.made -= 1;
            match flows.get(index) {
                Some(flow) if error == Errno::EEXIST => in_the_way.push(*flow),
                _ => created.refuse(error),
            }
        }
        if !in_the_way.is_empty() {
            self.replace(&in_the_way, &mut created)?;
        }
        Ok(created)
    }

    /// Forgets the connections to `endpoints` that `server` answers, so that their next packets find another server, which resets
    /// them. Returns how many there were.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_flows(
        &mut self,
        endpoints: &BTreeSet<SocketAddr>,
        server: SocketAddr,
    ) -> io::Result<usize> {
        let entries = self.list(endpoints)?;
        let flows = entries.into_iter().map(|entry| entry.flow).filter(|flow| flow.server == server);
        self.delete(flows)
    }

    /// Forgets all connections to `endpoints`. Returns how many there were.
    ///
    /// # Errors
    /// The kernel's.
    pub fn delete_endpoints(&mut self, endpoints: &BTreeSet<SocketAddr>) -> io::Result<usize> {
        let entries = self.list(endpoints)?;
        self.delete(entries.into_iter().map(|entry| entry.flow))
    }

    /// Takes what is in the way of `flows` out of it, and tries again. Asking for each is sooner done than reading the
    /// whole table, and an address waits for it.
    fn replace(&mut self, flows: &[Flow], created: &mut Created) -> io::Result<()> {
        let mut same_client = BTreeMap::new();
        self.ask_all(flows.iter().map(|flow| Request::GetByClient(*flow)), |entry| {
            same_client.insert((entry.flow.client, entry.flow.endpoint), entry);
        })?;
        let (mut again, mut obstacles) = (Vec::new(), BTreeSet::new());
        for flow in flows {
            match same_client.get(&(flow.client, flow.endpoint)) {
                Some(entry) if entry.flow == *flow && entry.is_established() => created.there += 1,
                entry => {
                    again.push(*flow);
                    obstacles.extend(entry.map(|entry| entry.flow));
                }
            }
        }
        self.ask_all(again.iter().map(|flow| Request::GetByReply(*flow)), |entry| {
            obstacles.insert(entry.flow);
        })?;
        self.delete(obstacles.into_iter())?;
        let refused = self.ask_all(again.iter().map(|flow| Request::Create(*flow)), |_| ())?;
        created.made += again.len() - refused.len();
        refused.into_iter().for_each(|(_, error)| created.refuse(error));
        Ok(())
    }

    fn delete(&mut self, flows: impl Iterator<Item = Flow>) -> io::Result<usize> {
        let mut count = 0;
        let requests = flows.map(|flow| {
            count += 1;
            Request::Delete(flow)
        });
        let refused = self.ask_all(requests, |_| ())?;
        match refused.iter().find(|(_, error)| *error != Errno::ENOENT) {
            Some((_, error)) => Err((*error).into()),
            // Some ended by themselves meanwhile.
            None => Ok(count - refused.len()),
        }
    }

    /// Asks for all of them, in datagrams of many. Returns which were refused, by their place, and why.
    fn ask_all(
        &mut self,
        requests: impl Iterator<Item = Request>,
        mut shown: impl FnMut(Entry),
    ) -> io::Result<Vec<(usize, Errno)>> {
        let mut refused = Vec::new();
        let mut requests = requests.enumerate().peekable();
        let mut datagram = Vec::new();
        while let Some(&(place, _)) = requests.peek() {
            datagram.clear();
            let first = self.sequence.wrapping_add(1);
            for (_, request) in requests.by_ref().take(BATCH) {
                self.sequence = self.sequence.wrapping_add(1);
                request.write(&mut datagram, self.sequence);
            }
            // This one is answered last, whether there are complaints or not.
            self.sequence = self.sequence.wrapping_add(1);
            wire::write_end(&mut datagram, self.sequence);
            self.socket.send(&datagram, 0)?;
            self.read_answers(first, |kind, sequence, body| match kind {
                wire::ENTRY => wire::entry(body).into_iter().for_each(&mut shown),
                NLMSG_ERROR => {
                    let offset = usize::try_from(sequence.wrapping_sub(first)).unwrap_or(usize::MAX);
                    let error = wire::error(body).map(|error| (place.saturating_add(offset), error));
                    refused.extend(error);
                }
                _ => {}
            })?;
        }
        Ok(refused)
    }

    /// Hands every answer to a request from `first` on to `each`, until there is one to the latest.
    fn read_answers(&mut self, first: u32, mut each: impl FnMut(u16, u32, &[u8])) -> io::Result<()> {
        loop {
            self.answer.clear();
            self.socket.recv(&mut self.answer, 0).map_err(explain_silence)?;
            for message in Messages::new(&self.answer) {
                let sequence = message.sequence_number();
                // Older ones belong to requests that were given up.
                if sequence.wrapping_sub(first) > self.sequence.wrapping_sub(first) {
                    continue;
                }
                let (kind, is_last) = (message.message_type(), sequence == self.sequence);
                let error = (kind == NLMSG_ERROR).then(|| wire::error(message.payload())).flatten();
                match kind {
                    NLMSG_DONE if is_last => return Ok(()),
                    NLMSG_ERROR if is_last => return error.map_or(Ok(()), |error| Err(error.into())),
                    // Then the kernel does not even look at the other requests of a datagram.
                    NLMSG_ERROR if error == Some(Errno::EPERM) => return Err(Errno::EPERM.into()),
                    kind => each(kind, sequence, message.payload()),
                }
            }
        }
    }
}

impl Created {
    fn refuse(&mut self, error: Errno) {
        self.refused += 1;
        self.reason = Some(error.into());
    }
}

fn explain_silence(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::Error::new(io::ErrorKind::TimedOut, "the kernel did not answer a question about connections")
    } else {
        error
    }
}
