//! Keeps the kernel's connections to endpoints the same on all balancers, so that established ones survive a takeover.
//!
//! Owns [`FlowSync`] and its thread, which is neither the control thread nor waited for by it. While this node has an
//! address, the thread watches its connections and tells linked peers of them; when it is about to get one, the thread
//! makes the kernel know those that peers told of before the address is installed: the first packet of an unknown flow would
//! claim it, wrongly for good. docs/adr/0007 has the reasons.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use mainstay_engine::flows::wire::Message;
use mainstay_engine::flows::{Flow, Incoming, Outgoing, PeerFlows, PeerKey};
use mainstay_engine::limits::{COMPLAINT_AGAIN, FLOW_BYTES_WAITING, FLOWS, FLOWS_PATIENCE};
use mainstay_engine::peers::PeerInput;
use mainstay_engine::time::Instant;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::sync::mpsc;

use super::conntrack::{Change, Conntrack, Created, Watch};
use crate::clock;
use crate::mailbox::{Inbox, Mailbox, mailbox};
use crate::net::{Move, Usher};
use crate::peer_link::flows::{FlowNews, FlowReport};
use crate::realtime;

/// How often the kernel's news are read while this node has an address, and peers told: a connection that is shorter
/// costs only its reading.
const TURN: Duration = Duration::from_millis(50);

/// How long the thread sleeps when there is nothing to watch, and the time between two words to the control thread.
const IDLE: Duration = Duration::from_secs(1);

/// How often the whole table is looked at: the kernel says nothing of connections that began before anybody listened.
const COMPARE_INTERVAL: Duration = Duration::from_secs(30);

/// The least between two looks, however much the kernel had to drop of what it said.
const COMPARE_APART: Duration = Duration::from_secs(2);

/// Where it says whether it speaks of connections at all: 0 is never.
const EVENTS_SETTING: &str = "/proc/sys/net/netfilter/nf_conntrack_events";

/// How long after an address came the table is looked at, so that the next address does not wait for it.
const COMPARE_AFTER_TAKEOVER: Duration = Duration::from_millis(250);

/// A thread that kept one address waiting for too long keeps no other waiting for so long.
const LATE_PAUSE: Duration = Duration::from_secs(1);

/// The way to the thread. It runs as long as the process.
#[derive(Debug)]
pub struct FlowSync {
    letters: Mailbox<Letter>,
    addresses: Arc<BTreeSet<IpAddr>>,
    /// Bytes of messages in the thread's inbox.
    waiting: Arc<AtomicUsize>,
}

#[derive(Debug)]
enum Letter {
    /// Put what is known of an address into the kernel, then say so.
    Comes(IpAddr, SyncSender<()>),
    Went(IpAddr),
    Link(FlowNews),
}

impl FlowSync {
    /// Starts the thread for the connections to `endpoints`, in the caller's network namespace. `report` hears what
    /// becomes of it.
    ///
    /// # Errors
    /// The kernel refuses a socket or a thread.
    pub fn start(
        endpoints: impl IntoIterator<Item = SocketAddr>,
        report: impl Fn(PeerInput) + Send + 'static,
    ) -> io::Result<Self> {
        let endpoints: BTreeSet<_> = endpoints.into_iter().collect();
        let addresses: BTreeSet<_> = endpoints.iter().map(SocketAddr::ip).collect();
        let (letters, inbox) = mailbox()?;
        let waiting = Arc::new(AtomicUsize::default());
        let now = clock::now();
        let worker = Worker {
            inbox,
            waiting: Arc::clone(&waiting),
            conntrack: Conntrack::open()?,
            watch: None,
            incoming: Incoming::new(addresses.clone()),
            endpoints,
            outgoing: Outgoing::default(),
            tellers: BTreeMap::new(),
            listeners: BTreeMap::new(),
            compared: now,
            compare_due: now,
            word_due: now,
            complaint: None,
            bound_said: None,
            report,
        };
        thread::Builder::new().name("flows".to_owned()).spawn(move || {
            realtime::leave();
            worker.run();
        })?;
        Ok(Self { letters, addresses: Arc::new(addresses), waiting })
    }

    /// What peer links report to. Messages beyond [`FLOW_BYTES_WAITING`] are refused.
    pub fn link_report(&self) -> FlowReport {
        let (letters, waiting) = (self.letters.clone(), Arc::clone(&self.waiting));
        Arc::new(move |news| {
            if let FlowNews::Told { message, .. } = &news {
                if waiting.load(Ordering::Relaxed) > FLOW_BYTES_WAITING {
                    return false;
                }
                waiting.fetch_add(message.len(), Ordering::Relaxed);
            }
            letters.post(Letter::Link(news));
            true
        })
    }

    /// Who is told of addresses that come and go: one that comes waits until its connections are in the kernel, for no
    /// longer than [`FLOWS_PATIENCE`]. The rest follows when the address is there.
    pub fn usher(&self) -> Usher {
        let (letters, addresses) = (self.letters.clone(), Arc::clone(&self.addresses));
        let mut no_wait_before = Instant::default();
        Box::new(move |news| match news {
            Move::Comes(address) if addresses.contains(&address) => {
                let (done, is_done) = sync_channel(1);
                letters.post(Letter::Comes(address, done));
                let patience = if clock::now() < no_wait_before { Duration::ZERO } else { FLOWS_PATIENCE };
                if is_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                    no_wait_before = clock::now() + LATE_PAUSE;
                }
            }
            Move::Went(address) if addresses.contains(&address) => letters.post(Letter::Went(address)),
            Move::Comes(_) | Move::Went(_) => {}
        })
    }
}

/// A peer that is told.
#[derive(Debug)]
struct Listener {
    peer: IpAddr,
    messages: mpsc::Sender<Vec<u8>>,
}

/// The thread's belongings.
struct Worker<R> {
    inbox: Inbox<Letter>,
    waiting: Arc<AtomicUsize>,
    conntrack: Conntrack,
    /// Only while this node has an address.
    watch: Option<Watch>,
    endpoints: BTreeSet<SocketAddr>,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Peers that told something.
    tellers: BTreeMap<PeerKey, IpAddr>,
    listeners: BTreeMap<PeerKey, Listener>,
    compared: Instant,
    compare_due: Instant,
    word_due: Instant,
    /// What was said last of what does not work.
    complaint: Option<String>,
    /// When [`FLOWS`] was last said to be hit.
    bound_said: Option<Instant>,
    report: R,
}

impl<R: Fn(PeerInput)> Worker<R> {
    fn run(mut self) {
        loop {
            let holds = self.outgoing.holds_any();
            let patience = if holds { TURN } else { IDLE };
            let mut descriptors = [PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN)];
            let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX);
            // Interrupted or not: the loop looks at everything.
            let _ = poll(&mut descriptors, patience);
            for letter in self.inbox.take() {
                self.read(letter);
            }
            self.hear_kernel();
            if self.outgoing.holds_any() && self.compare_due <= clock::now() {
                self.compare();
            }
            self.tell_peers();
            if self.word_due <= clock::now() {
                self.word();
            }
        }
    }

    fn read(&mut self, letter: Letter) {
        match letter {
            Letter::Comes(address, done) => {
                self.come(address);
                // Nobody waits any more if it took too long.
                let _ = done.try_send(());
            }
            Letter::Went(address) => {
                self.incoming.release(address);
                self.outgoing.release(address);
                if !self.outgoing.holds_any() {
                    self.watch = None;
                }
            }
            Letter::Link(FlowNews::Listens { key, peer, messages }) => {
                self.outgoing.listen(key);
                self.listeners.insert(key, Listener { peer, messages });
            }
            Letter::Link(FlowNews::Told { key, peer, message }) => {
                self.waiting.fetch_sub(message.len(), Ordering::Relaxed);
                self.tellers.insert(key, peer);
                match Message::decode(&message) {
                    Ok(message) => {
                        // A router may wait for this to take the address.
                        if matches!(message, Message::Whole(_)) {
                            self.word_due = clock::now();
                        }
                        self.incoming.handle(key, message, clock::now());
                    }
                    Err(what) => {
                        self.incoming.end(key);
                        self.complain(format!("{peer} told something that cannot be read: {what}"));
                    }
                }
                let late = self.incoming.take_late();
                if !late.is_empty() {
                    self.create(late);
                }
            }
            Letter::Link(FlowNews::Ended { key }) => self.incoming.end(key),
        }
    }

    /// Makes the kernel know the connections to an address that is about to be here.
    fn come(&mut self, address: IpAddr) {
        let began = clock::now();
        let anew = !self.outgoing.holds(address);
        // First, so that the kernel speaks of all connections that begin from here on.
        if self.watch.is_none() {
            match Watch::open() {
                Ok(watch) => self.watch = Some(watch),
                Err(error) => self.complain(format!("the kernel does not say what changes: {error}")),
            }
            if fs::read_to_string(EVENTS_SETTING).is_ok_and(|setting| setting.trim() == "0") {
                self.complain(format!("the kernel says nothing of new ones, because {EVENTS_SETTING} is 0"));
            }
        }
        let flows = self.incoming.take(address);
        let created = self.create(flows);
        self.outgoing.hold(address);
        if anew {
            let (taken, refused) = (created.made + created.there, created.refused);
            let took = clock::now().since(began);
            (self.report)(PeerInput::FlowsTaken { address, taken, refused, took });
            self.compare_due = clock::now() + COMPARE_AFTER_TAKEOVER;
        }
    }

    fn create(&mut self, mut flows: Vec<Flow>) -> Created {
        // What peers have beside them is none of this node's business.
        flows.retain(|flow| self.endpoints.contains(&flow.endpoint));
        if flows.is_empty() {
            return Created::default();
        }
        match self.conntrack.create(&flows) {
            Ok(created) => {
                if let Some(reason) = &created.reason {
                    self.complain(format!("the kernel refuses to know some: {reason}"));
                }
                created
            }
            Err(error) => {
                self.complain(format!("the kernel refuses to know them: {error}"));
                Created { refused: flows.len(), ..Created::default() }
            }
        }
    }

    /// Takes in what the kernel says of connections to addresses that are here.
    fn hear_kernel(&mut self) {
        let Some(watch) = &mut self.watch else { return };
        let (outgoing, endpoints, mut lost) = (&mut self.outgoing, &self.endpoints, false);
        let more = watch.read(|change| match change {
            Change::There(entry) if endpoints.contains(&entry.flow.endpoint) => {
                if entry.is_established() {
                    outgoing.established(entry.flow);
                } else {
                    outgoing.ended(entry.flow.client, entry.flow.endpoint);
                }
            }
            Change::Gone(entry) => outgoing.ended(entry.flow.client, entry.flow.endpoint),
            Change::There(_) => {}
            Change::Lost => lost = true,
        });
        // What is still to be read is older than what a comparison would show.
        if lost && !more {
            self.compare_due = self.compare_due.min(self.compared + COMPARE_APART);
        }
    }

    fn compare(&mut self) {
        self.compared = clock::now();
        self.compare_due = self.compared + COMPARE_INTERVAL;
        match self.conntrack.list(&self.endpoints) {
            Ok(entries) => {
                let established = entries.into_iter().filter(|entry| entry.is_established());
                self.outgoing.compare(established.map(|entry| entry.flow));
            }
            Err(error) => self.complain(format!("the kernel does not list them: {error}")),
        }
    }

    /// Tells every peer as much as there is room for.
    fn tell_peers(&mut self) {
        let (outgoing, now) = (&mut self.outgoing, clock::now());
        self.listeners.retain(|&key, listener| {
            loop {
                match listener.messages.try_reserve() {
                    Ok(place) => match outgoing.message_for(key, now) {
                        Some(message) => place.send(message.encode()),
                        None => return true,
                    },
                    Err(mpsc::error::TrySendError::Full(())) => return true,
                    Err(mpsc::error::TrySendError::Closed(())) => {
                        outgoing.hang_up(key);
                        return false;
                    }
                }
            }
        });
    }

    /// Says how it stands.
    fn word(&mut self) {
        let now = clock::now();
        self.word_due = now + IDLE;
        self.incoming.forget(now);
        let hit = self.outgoing.take_bound_hit() | self.incoming.take_bound_hit();
        if hit && self.bound_said.is_none_or(|at| now.since(at) >= COMPLAINT_AGAIN) {
            self.bound_said = Some(now);
            (self.report)(PeerInput::Bound(format!("{FLOWS} connections in the kernel of one node")));
        }
        let mut peers: BTreeMap<IpAddr, PeerFlows> = BTreeMap::new();
        let none = |peer| PeerFlows { peer, kept: 0, whole: BTreeSet::new(), age: None, told: 0 };
        for (&key, &peer) in &self.tellers {
            let flows = peers.entry(peer).or_insert_with(|| none(peer));
            let age = self.incoming.heard(key).map(|heard| now.since(heard));
            flows.kept += self.incoming.kept(key);
            flows.whole.extend(self.incoming.whole(key));
            flows.age = flows.age.into_iter().chain(age).min();
        }
        for (&key, listener) in &self.listeners {
            peers.entry(listener.peer).or_insert_with(|| none(listener.peer)).told += self.outgoing.told(key);
        }
        if !peers.is_empty() {
            (self.report)(PeerInput::Flows(peers.into_values().collect()));
        }
    }

    /// Says what does not work, once.
    fn complain(&mut self, complaint: String) {
        if self.complaint.as_ref() != Some(&complaint) {
            (self.report)(PeerInput::FlowsFailed(complaint.clone()));
            self.complaint = Some(complaint);
        }
    }
}
