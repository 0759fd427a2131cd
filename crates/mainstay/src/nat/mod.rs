//! Kernel forwarding: has the kernel forward what the engine wants, and reads what it counted.
//!
//! Owns [`Nat`] and its thread: `nft` takes milliseconds, and the kernel may make it wait for longer, which is nothing for the control
//! thread. `ruleset` is the text of the rules, `host` what a machine has to have, `counters` what the kernel counts, `conntrack` speaks
//! of its connections, and `flow_sync` keeps those of all balancers the same.

pub mod conntrack;
mod counters;
pub mod flow_sync;
pub mod host;
pub mod ruleset;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mainstay_engine::forwarding::KernelForwarding;
use mainstay_engine::serving::Serving;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::mailbox::{Inbox, Mailbox, mailbox};
use crate::{clock, nft};

use conntrack::Conntrack;
use counters::Counters;
use ruleset::{Ruleset, TABLE};

/// The name of the thread.
pub const THREAD: &str = "forwarding";

/// How long `nft` may take for a change: a hundred pools take 0.4 s on an idle machine.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the kernel's counters are read.
const COUNT_EVERY: Duration = Duration::from_secs(1);

/// The kernel's connections are counted as often, or, in a table that takes long to read, after so many times as long.
const LIST_PAUSE: u32 = 20;

/// How long the end of the process waits for the table to go. Without the virtual addresses it does nothing.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// What is said when the rules are gone that nobody here took away.
const REMOVED: &str = "somebody else removed its nftables table";

/// What the kernel forwards for us. Dropping it takes that back.
#[derive(Debug)]
pub struct Nat {
    letters: Mailbox<Letter>,
    state: State,
    ended: Receiver<()>,
}

/// Whether the latest rules are in force, or why not.
type State = Arc<Mutex<Result<(), String>>>;

#[derive(Debug)]
enum Letter {
    Forward(Arc<KernelForwarding>, Arc<Serving>),
    DeleteFlows(Vec<SocketAddr>, SocketAddr),
    End,
}

impl Nat {
    /// Puts `forwarding` in force, in place of what an earlier daemon left, and starts the thread. It counts for `serving`, and
    /// says by `report` what came of changes, and when rules are gone.
    ///
    /// # Errors
    /// The kernel does not take the rules, or there is no thread to be had.
    pub fn start(
        forwarding: &KernelForwarding,
        serving: Arc<Serving>,
        report: impl Fn(Result<(), String>) + Send + 'static,
    ) -> Result<Self, String> {
        let rules = Ruleset::new(forwarding);
        nft::run(&["-f", "-"], &rules.replace(), PATIENCE)?;
        let no_thread = |error: io::Error| format!("cannot start a thread: {error}");
        let (letters, inbox) = mailbox().map_err(no_thread)?;
        let (end, ended) = channel();
        let state: State = Arc::new(Mutex::new(Ok(())));
        let (shown, counters) = (Arc::clone(&state), Counters::default());
        let conntrack = Conntrack::open()
            .map_err(|error| format!("cannot ask the kernel about its connections: {error}"))?;
        let forwarding = Arc::new(forwarding.clone());
        let run = move || {
            let (installed, complaint) = (true, None);
            let worker = Worker {
                inbox,
                forwarding,
                list_due: Instant::now(),
                rules,
                installed,
                serving,
                counters,
                conntrack,
                complaint,
                state: shown,
                report,
            };
            worker.run();
            // Nobody waits any more if it took too long.
            let _ = end.send(());
        };
        thread::Builder::new().name(THREAD.to_owned()).spawn(run).map_err(no_thread)?;
        Ok(Self { letters, state, ended })
    }

    /// Has the kernel forward this from now on, and counts for `serving`.
    pub fn forward(&self, forwarding: Arc<KernelForwarding>, serving: Arc<Serving>) {
        self.letters.post(Letter::Forward(forwarding, serving));
    }

    /// Has the kernel forget the flows between endpoints and a server, after all changes that were asked for before.
    pub fn delete_flows(&self, endpoints: Vec<SocketAddr>, server: SocketAddr) {
        self.letters.post(Letter::DeleteFlows(endpoints, server));
    }

    /// A question that others can ask, too: whether the latest rules are in force.
    pub fn probe(&self) -> impl Fn() -> Result<(), String> + Send + Sync + 'static {
        let state = Arc::clone(&self.state);
        move || state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Nat {
    fn drop(&mut self) {
        self.letters.post(Letter::End);
        if self.ended.recv_timeout(END_PATIENCE).is_err() {
            tracing::error!("nft has not removed the table {TABLE}; the next start replaces it");
        }
    }
}

/// The thread's belongings.
struct Worker<R> {
    inbox: Inbox<Letter>,
    forwarding: Arc<KernelForwarding>,
    /// When connections are counted next.
    list_due: Instant,
    /// What is in force, or should be.
    rules: Ruleset,
    /// Whether the table is known to hold `rules`.
    installed: bool,
    serving: Arc<Serving>,
    counters: Counters,
    /// Why they cannot be read, as it was last said.
    complaint: Option<String>,
    conntrack: Conntrack,
    state: State,
    report: R,
}

impl<R: Fn(Result<(), String>)> Worker<R> {
    fn run(mut self) {
        let mut counted = Instant::now();
        loop {
            let left = COUNT_EVERY.saturating_sub(counted.elapsed());
            self.wait(left);
            for letter in self.inbox.take() {
                match letter {
                    Letter::Forward(forwarding, serving) => {
                        (self.serving, self.forwarding) = (serving, forwarding);
                        self.change(Ruleset::new(&self.forwarding));
                    }
                    Letter::DeleteFlows(endpoints, server) => self.delete_flows(endpoints, server),
                    Letter::End => return self.close(),
                }
            }
            if counted.elapsed() >= COUNT_EVERY {
                counted = Instant::now();
                self.count();
                self.count_connections();
            }
        }
    }

    fn wait(&self, patience: Duration) {
        let patience = PollTimeout::try_from(patience).unwrap_or(PollTimeout::ZERO);
        // Interrupted or not: the loop looks at everything.
        let _ = poll(&mut [PollFd::new(self.inbox.as_fd(), PollFlags::POLLIN)], patience);
    }

    /// Puts other rules in force.
    fn change(&mut self, rules: Ruleset) {
        let script = if self.installed { rules.update(&self.rules) } else { rules.replace() };
        let result = nft::run(&["-f", "-"], &script, PATIENCE).map(drop);
        // After a failure nobody knows what is there.
        self.installed = result.is_ok();
        self.rules = rules;
        self.tell(result);
    }

    /// What the clients of a server send next finds no flow, and another server, which resets it.
    fn delete_flows(&mut self, endpoints: Vec<SocketAddr>, server: SocketAddr) {
        match self.conntrack.delete_flows(&endpoints.into_iter().collect(), server) {
            Ok(0) => {}
            Ok(count) => tracing::info!("ended {count} connections of {server}, which is down"),
            Err(error) => tracing::error!("cannot end the connections of {server}, which is down: {error}"),
        }
    }

    /// Reads what the kernel counted, which also shows whether the table is still there.
    fn count(&mut self) {
        if !self.installed {
            return;
        }
        match nft::run(&["-j", "list", "counters", "table", "inet", "mainstay_nat"], "", PATIENCE) {
            Ok(text) => {
                self.complaint = None;
                self.counters.take_in(&text, &self.serving, clock::now());
            }
            Err(reason) if reason.contains("No such file or directory") => {
                self.installed = false;
                self.tell(Err(REMOVED.to_owned()));
                self.change(self.rules.clone());
            }
            Err(reason) if self.complaint.as_ref() == Some(&reason) => {}
            Err(reason) => {
                tracing::warn!("cannot read what the kernel counted: {reason}");
                self.complaint = Some(reason);
            }
        }
    }

    /// Counts the connections to addresses that are here. What the kernel remembers of others is over, or somebody else's.
    fn count_connections(&mut self) {
        let begun = Instant::now();
        if begun < self.list_due {
            return;
        }
        let here = |endpoint: &SocketAddr| UdpSocket::bind(SocketAddr::new(endpoint.ip(), 0)).is_ok();
        let endpoints = self.forwarding.endpoints.iter().map(|own| own.address).filter(here).collect();
        match self.conntrack.list(&endpoints) {
            Ok(entries) => counters::show_connections(&entries, &self.forwarding, &self.serving),
            Err(error) => tracing::debug!("cannot count the connections of the kernel: {error}"),
        }
        self.list_due = begun + COUNT_EVERY.max(begun.elapsed() * LIST_PAUSE);
    }

    fn tell(&self, result: Result<(), String>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&result);
        (self.report)(result);
    }

    fn close(mut self) {
        self.count();
        if let Err(reason) = nft::run(&["-f", "-"], &ruleset::removal(), PATIENCE) {
            tracing::error!("cannot remove the table {TABLE}: {reason}");
        }
    }
}
