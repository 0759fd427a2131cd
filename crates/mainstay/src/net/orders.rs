//! What is done to addresses, in the order in which the engine wants it, on a thread of its own.
//!
//! Owns that thread and [`Orders`], the control thread's side of it. The kernel lets one change of interfaces, addresses
//! or rules happen at a time, and a node whose containers come and go can make the next one wait for a good part of a
//! second; `nft` takes milliseconds. Adverts wait for none of it. That an address is not announced before the rules for
//! its move are in force (docs/adr/0002) follows from the order alone.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use mainstay_engine::engine::HandOverRules;
use mainstay_engine::limits::ADDRESS_LIFETIME;
use mainstay_engine::plan::{RoutingEntry, VirtualAddress, Vrid};
use mainstay_engine::time::Instant;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Finding, Network};
use crate::mailbox::{Inbox, Mailbox, mailbox};
use crate::realtime::{self, Breather};

/// The name of the thread.
pub const THREAD: &str = "addresses";

/// An address whose installation takes longer than the one before lasts may be gone already.
const PATIENCE: Duration = ADDRESS_LIFETIME;

/// How long the end of the process waits for the last orders. What is not removed then, its lifetime removes.
const END_PATIENCE: Duration = ADDRESS_LIFETIME;

/// Something to do that may take a while.
#[derive(Debug)]
pub enum Order {
    /// Take an address off its interface.
    Remove {
        /// The address.
        address: VirtualAddress,
    },
    /// Take a route or rule back.
    RemoveRouting {
        /// The route or rule.
        entry: RoutingEntry,
    },
    /// Broadcast one gratuitous ARP request for an address.
    Announce {
        /// The interface whose hardware address it carries.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// Ask once on the link who has an address.
    Probe {
        /// The interface to ask on.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// Put the rules of one virtual router for a move in force; `None` ends them.
    HandOverRules {
        /// The router's interface.
        interface: String,
        /// The router's identifier there.
        vrid: Vrid,
        /// The rules.
        rules: Option<HandOverRules>,
    },
}

/// What happens to an address on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// It is about to be put on an interface. Its installation waits for whoever is told.
    Comes(IpAddr),
    /// It was taken off.
    Went(IpAddr),
}

/// Who is told of it, on the thread itself.
pub type Usher = Box<dyn FnMut(Move) + Send>;

/// What the thread has to say.
#[derive(Debug)]
pub enum Report {
    /// Something was found changed.
    Found(Finding),
    /// An address could not be installed.
    InstallFailed {
        /// The address.
        address: VirtualAddress,
        /// The kernel's reason.
        reason: String,
    },
    /// A route or rule is in force.
    RoutingInstalled {
        /// The route or rule.
        entry: RoutingEntry,
        /// Whether it was not before.
        anew: bool,
    },
    /// A route or rule could not be put in force.
    RoutingFailed {
        /// The route or rule.
        entry: RoutingEntry,
        /// The kernel's reason.
        reason: String,
    },
    /// Rules could not be put in force.
    HandOverRulesFailed {
        /// The router's interface.
        interface: String,
        /// The router's identifier there.
        vrid: Vrid,
        /// The reason.
        reason: String,
    },
}

/// The way to the thread. Dropping it ends the thread when all orders are carried out.
#[derive(Debug)]
pub struct Orders {
    letters: Mailbox<Letter>,
    given: u64,
    /// How many of those that were given are done.
    done: Arc<AtomicU64>,
    installs: BTreeMap<VirtualAddress, Install>,
    /// The number of the latest order to put each route or rule in force.
    routing: BTreeMap<RoutingEntry, u64>,
    ended: Receiver<()>,
}

/// The latest order to install an address.
#[derive(Clone, Copy, Debug)]
struct Install {
    number: u64,
    given: Instant,
}

#[derive(Debug)]
enum Letter {
    Install { address: VirtualAddress, lifetime: Option<Duration> },
    InstallRouting { entry: RoutingEntry },
    Order(Order),
    End,
}

impl Orders {
    /// Starts the thread, which looks at the interfaces at once and tells `report` what it finds, also later. It runs with
    /// the real-time `priority`, if there is one and that is permitted. `usher` is told of every address that comes or goes,
    /// in time.
    ///
    /// # Errors
    /// There is no thread or event descriptor to be had.
    pub fn start(
        network: Network,
        priority: Option<u8>,
        usher: Usher,
        report: impl Fn(Report) + Send + 'static,
    ) -> io::Result<Self> {
        let (letters, inbox) = mailbox()?;
        let done = Arc::new(AtomicU64::new(0));
        let (end, ended) = channel();
        let counter = Arc::clone(&done);
        thread::Builder::new().name(THREAD.to_owned()).spawn(move || {
            if let Some(priority) = priority {
                // The control thread says what is missing.
                let _ = realtime::enter(priority);
            }
            Worker { network, inbox, done: counter, usher, report }.run();
            // Nobody waits any more if it took too long.
            let _ = end.send(());
        })?;
        Ok(Self { letters, given: 0, done, installs: BTreeMap::new(), routing: BTreeMap::new(), ended })
    }

    /// Has an address put on its interface, or its lifetime renewed. As long as the latest order to do so is not carried
    /// out, another one is not needed.
    ///
    /// # Errors
    /// The kernel has not carried out the latest one for so long that the address may be gone.
    pub fn install(
        &mut self,
        address: &VirtualAddress,
        lifetime: Option<Duration>,
        now: Instant,
    ) -> Result<(), String> {
        let done = self.done.load(Ordering::Acquire);
        if let Some(pending) = self.installs.get(address).filter(|pending| pending.number > done) {
            let waited = now.since(pending.given);
            return if waited < PATIENCE {
                Ok(())
            } else {
                Err(format!("the kernel has not done it for {:.1} s", waited.as_secs_f64()))
            };
        }
        let number = self.give(Letter::Install { address: address.clone(), lifetime });
        self.installs.insert(address.clone(), Install { number, given: now });
        Ok(())
    }

    /// Has a route or rule put in force unless it is. As long as the latest order to do so is not carried out, another
    /// one is not needed.
    pub fn install_routing(&mut self, entry: RoutingEntry) {
        let done = self.done.load(Ordering::Acquire);
        if self.routing.get(&entry).is_none_or(|&pending| pending <= done) {
            let number = self.give(Letter::InstallRouting { entry: entry.clone() });
            self.routing.insert(entry, number);
        }
    }

    /// Has something else done after all that was ordered before.
    pub fn order(&mut self, order: Order) {
        // The next installation is another one.
        match &order {
            Order::Remove { address } => drop(self.installs.remove(address)),
            Order::RemoveRouting { entry } => drop(self.routing.remove(entry)),
            Order::Announce { .. } | Order::Probe { .. } | Order::HandOverRules { .. } => {}
        }
        self.give(Letter::Order(order));
    }

    fn give(&mut self, letter: Letter) -> u64 {
        self.given += 1;
        self.letters.post(letter);
        self.given
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.letters.post(Letter::End);
        if self.ended.recv_timeout(END_PATIENCE).is_err() {
            tracing::error!("the kernel has not done everything; virtual addresses are gone within a second");
        }
    }
}

/// The thread's belongings.
struct Worker<R> {
    network: Network,
    inbox: Inbox<Letter>,
    done: Arc<AtomicU64>,
    usher: Usher,
    report: R,
}

impl<R: Fn(Report)> Worker<R> {
    fn run(mut self) {
        let mut breather = Breather::default();
        loop {
            // Before any order: it says which interfaces there are.
            for finding in self.network.look() {
                (self.report)(Report::Found(finding));
            }
            for letter in self.inbox.take() {
                match letter {
                    Letter::Install { address, lifetime } => self.install(address, lifetime),
                    Letter::InstallRouting { entry } => self.install_routing(entry),
                    Letter::Order(order) => self.carry_out(order),
                    Letter::End => return self.close(),
                }
                self.done.fetch_add(1, Ordering::Release);
            }
            breather.around(|| self.wait());
        }
    }

    fn wait(&self) {
        let all = [self.inbox.as_fd()].into_iter().chain(self.network.descriptors());
        let mut descriptors: Vec<_> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // Interrupted or not: the loop looks at everything.
        let _ = poll(&mut descriptors, PollTimeout::NONE);
    }

    fn install(&mut self, address: VirtualAddress, lifetime: Option<Duration>) {
        if !self.network.has(&address) {
            (self.usher)(Move::Comes(address.address));
        }
        if let Err(error) = self.network.install(&address, lifetime) {
            (self.report)(Report::InstallFailed { address, reason: error.to_string() });
        }
    }

    fn install_routing(&mut self, entry: RoutingEntry) {
        (self.report)(match self.network.install_routing(&entry) {
            Ok(anew) => Report::RoutingInstalled { entry, anew },
            Err(error) => Report::RoutingFailed { entry, reason: error.to_string() },
        });
    }

    fn close(self) {
        for complaint in self.network.close() {
            tracing::error!("{complaint}");
        }
    }

    fn carry_out(&mut self, order: Order) {
        match order {
            Order::Remove { address } => {
                // Its lifetime ends it: nobody renews it any more.
                if let Err(error) = self.network.remove(&address) {
                    tracing::error!("cannot remove {} from {}: {error}", address.address, address.interface);
                }
                (self.usher)(Move::Went(address.address));
            }
            Order::RemoveRouting { entry } => {
                if let Err(error) = self.network.remove_routing(&entry) {
                    tracing::error!("cannot remove the {entry}: {error}");
                }
            }
            Order::Announce { interface, address } => {
                if let Err(error) = self.network.announce(&interface, address) {
                    tracing::warn!("cannot announce {address} on {interface}: {error}");
                }
            }
            Order::Probe { interface, address } => {
                // The announcement that went before says so louder.
                if let Err(error) = self.network.probe(&interface, address) {
                    tracing::debug!("cannot probe for {address} on {interface}: {error}");
                }
            }
            Order::HandOverRules { interface, vrid, rules } => {
                if let Err(reason) = self.network.hand_over_rules(&interface, vrid, rules.as_ref()) {
                    (self.report)(Report::HandOverRulesFailed { interface, vrid, reason });
                }
            }
        }
    }
}
