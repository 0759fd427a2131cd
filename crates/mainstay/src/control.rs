//! The control thread: the only owner of the engine.
//!
//! Owns the loop that carries the kernel's news to the engine and the engine's wishes to everybody else. It reads every
//! socket before it judges a deadline: an advert that waits in a buffer has arrived. No I/O of others happens here, so
//! nothing on the data plane can delay an advert.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use mainstay_engine::admin::{Reply, Request};
use mainstay_engine::health::check::Verdict;
use mainstay_engine::plan::{ScriptId, ServerId, VirtualAddress};
use mainstay_engine::vrrp::track::ScriptOutcome;
use mainstay_engine::{Engine, Input, Output};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use tokio::sync::oneshot;

use crate::checks::Checks;
use crate::net::{Finding, Network};
use crate::proxy::Proxy;
use crate::scripts::Scripts;
use crate::{clock, log, systemd};

/// Commands taken before the sockets are read again.
const COMMANDS_PER_WAKE: usize = 256;

/// What other threads tell the control thread.
///
/// The queue needs no bound: every check and script has one attempt under way at most, and every admin connection one
/// request.
#[derive(Debug)]
pub enum Command {
    /// A check ended.
    CheckFinished {
        /// The server.
        server: ServerId,
        /// The attempt.
        attempt: u64,
        /// How it ended.
        verdict: Verdict,
    },
    /// A run of a script ended.
    ScriptFinished {
        /// The script.
        script: ScriptId,
        /// The run.
        run: u64,
        /// How it ended.
        outcome: ScriptOutcome,
    },
    /// An operator asks.
    Request {
        /// What.
        request: Request,
        /// Where the answer goes.
        answer: oneshot::Sender<Reply>,
    },
    /// Hand over, then exit.
    Stop,
}

/// Where other threads leave commands.
#[derive(Clone, Debug)]
pub struct Mailbox {
    sender: Sender<Command>,
    bell: Arc<EventFd>,
}

/// Where the control thread finds them.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Command>,
    bell: Arc<EventFd>,
}

/// A mailbox and its inbox.
///
/// # Errors
/// The kernel has no event descriptor left.
pub fn mailbox() -> io::Result<(Mailbox, Inbox)> {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    let bell = Arc::new(EventFd::from_value_and_flags(0, flags)?);
    let (sender, receiver) = channel();
    Ok((Mailbox { sender, bell: Arc::clone(&bell) }, Inbox { receiver, bell }))
}

impl Mailbox {
    /// Leaves a command and wakes the control thread. After its end the command is dropped.
    pub fn post(&self, command: Command) {
        if self.sender.send(command).is_ok() {
            self.ring();
        }
    }

    fn ring(&self) {
        // Fails only when the counter is full, and then the bell rings already.
        let _ = self.bell.write(1);
    }
}

impl Inbox {
    /// Takes some commands; if more wait, the bell goes on ringing.
    fn take(&self) -> Vec<Command> {
        // Fails when the bell did not ring.
        let _ = self.bell.read();
        let commands: Vec<_> = self.receiver.try_iter().take(COMMANDS_PER_WAKE).collect();
        if commands.len() == COMMANDS_PER_WAKE {
            let _ = self.bell.write(1);
        }
        commands
    }
}

/// The control thread's belongings.
pub struct Control {
    /// Decides.
    pub engine: Engine,
    /// Only a plan with routers needs one.
    pub network: Option<Network>,
    /// The data plane; only a plan with frontends needs one.
    pub proxy: Option<Arc<Proxy>>,
    /// Carries out health checks.
    pub checks: Checks,
    /// Commands of other threads.
    pub inbox: Inbox,
    /// Runs tracked scripts.
    pub scripts: Scripts,
    /// Operators who wait for an answer, by ticket.
    pub waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    /// The ticket given last.
    pub last_ticket: u64,
}

impl Control {
    /// Runs until the engine has handed everything over.
    pub fn run(mut self) {
        self.look_at_interfaces();
        let mut running = self.carry_out();
        systemd::notify("READY=1");
        while running {
            self.wait();
            self.hear_adverts();
            self.look_at_interfaces();
            self.take_commands();
            // Compares clocks itself: calling it early is harmless.
            self.engine.handle_timeout(clock::now());
            running = self.carry_out();
        }
    }

    /// Sleeps until a socket is readable, a command came or the engine's next deadline.
    fn wait(&self) {
        let bell = [self.inbox.bell.as_fd()];
        let sockets = self.network.iter().flat_map(Network::descriptors);
        let mut descriptors: Vec<PollFd<'_>> =
            bell.into_iter().chain(sockets).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let patience = self.engine.poll_timeout().map(|deadline| deadline.at.since(clock::now()));
        match ppoll(&mut descriptors, patience.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Only a bug can bring this about, and a loop that cannot wait cannot keep its peers' time either.
            Err(error) => panic!("the control thread cannot wait: {error}"),
        }
    }

    fn hear_adverts(&mut self) {
        let Some(network) = &mut self.network else { return };
        network.receive(|interface, datagram| {
            self.engine.handle(Input::Datagram { interface, datagram }, clock::now());
        });
    }

    fn look_at_interfaces(&mut self) {
        let Some(network) = &mut self.network else { return };
        for finding in network.look() {
            match finding {
                Finding::Interface { name, state } => {
                    self.engine.handle(Input::Interface { name: &name, state }, clock::now());
                }
                Finding::AddressGone { interface, address } => {
                    self.engine.handle(Input::AddressGone { interface: &interface, address }, clock::now());
                }
                Finding::Trouble(sentence) => tracing::error!("{sentence}"),
            }
        }
    }

    fn take_commands(&mut self) {
        for command in self.inbox.take() {
            let input = match command {
                Command::CheckFinished { server, attempt, verdict } => {
                    Input::CheckFinished { server, attempt, verdict }
                }
                Command::ScriptFinished { script, run, outcome } => {
                    Input::ScriptFinished { script, run, outcome }
                }
                Command::Request { request, answer } => {
                    self.last_ticket = self.last_ticket.wrapping_add(1);
                    self.waiting.insert(self.last_ticket, answer);
                    Input::Request { ticket: self.last_ticket, request }
                }
                Command::Stop => {
                    systemd::notify("STOPPING=1");
                    Input::Stop
                }
            };
            self.engine.handle(input, clock::now());
        }
    }

    /// Does what the engine wants, in its order. Returns whether to go on.
    fn carry_out(&mut self) -> bool {
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::SendAdvert { interface, destination, datagram } => {
                    let sent = self
                        .network
                        .as_ref()
                        .map_or(Ok(()), |network| network.send_advert(&interface, destination, &datagram));
                    if let Err(error) = sent {
                        let reason = error.to_string();
                        self.engine.handle(Input::SendFailed { interface: &interface, reason }, clock::now());
                    }
                }
                Output::InstallAddress { address, lifetime } => self.install(&address, lifetime),
                Output::RemoveAddress { address } => self.remove(&address),
                Output::Announce { interface, address } => {
                    let announced =
                        self.network.as_mut().map_or(Ok(()), |network| network.announce(&interface, address));
                    if let Err(error) = announced {
                        tracing::warn!("cannot announce {address} on {interface}: {error}");
                    }
                }
                Output::HandOverRules { interface, vrid, rules } => {
                    let network = self.network.as_ref();
                    let applied = network
                        .map_or(Ok(()), |network| network.hand_over_rules(&interface, vrid, rules.as_ref()));
                    if let Err(reason) = applied {
                        let failed = Input::HandOverRulesFailed { interface: &interface, vrid, reason };
                        self.engine.handle(failed, clock::now());
                    }
                }
                Output::RunScript { script, run } => self.scripts.start(script, run),
                Output::StartCheck { server, attempt } => self.checks.start(server, attempt),
                Output::Publish(serving) => {
                    if let Some(proxy) = &self.proxy {
                        proxy.publish(serving);
                    }
                }
                Output::ShutdownSessions { server } => {
                    if let Some(proxy) = &self.proxy {
                        proxy.shutdown_sessions(server);
                    }
                }
                Output::Reply { ticket, reply } => {
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        // The operator may have hung up.
                        let _ = answer.send(reply);
                    }
                }
                Output::Event(event) => log::event(&event),
                Output::Exit => return false,
            }
        }
        true
    }

    fn install(&mut self, address: &VirtualAddress, lifetime: Option<Duration>) {
        let Some(network) = &mut self.network else { return };
        if let Err(error) = network.install(address, lifetime) {
            let reason = error.to_string();
            self.engine.handle(Input::InstallFailed { address, reason }, clock::now());
        }
    }

    fn remove(&mut self, address: &VirtualAddress) {
        let Some(network) = &mut self.network else { return };
        match network.remove(address) {
            Ok(_) => {}
            // Its lifetime ends it: nobody renews it any more.
            Err(error) => {
                tracing::error!("cannot remove {} from {}: {error}", address.address, address.interface);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bell_rings_until_every_command_is_taken() {
        let (mailbox, inbox) = mailbox().unwrap();
        assert!(inbox.take().is_empty());
        for _ in 0..=COMMANDS_PER_WAKE {
            mailbox.post(Command::Stop);
        }
        assert_eq!(inbox.take().len(), COMMANDS_PER_WAKE);
        let mut bell = [PollFd::new(inbox.bell.as_fd(), PollFlags::POLLIN)];
        assert_eq!(ppoll(&mut bell, Some(TimeSpec::new(0, 0)), None).unwrap(), 1, "one command is left");
        assert_eq!(inbox.take().len(), 1);
        let mut bell = [PollFd::new(inbox.bell.as_fd(), PollFlags::POLLIN)];
        assert_eq!(ppoll(&mut bell, Some(TimeSpec::new(0, 0)), None).unwrap(), 0);
    }
}
