//! The control thread: the only owner of the engine.
//!
//! Owns the loop that carries the kernel's news to the engine and the engine's wishes to everybody else. It reads every
//! socket before it judges a deadline: an advert that waits in a buffer has arrived. Nothing here waits, neither for I/O nor
//! for a thread that the kernel runs later than this one, so that nothing can delay an advert.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::{Reply, Request};
use mainstay_engine::engine::Timing;
use mainstay_engine::health::agent;
use mainstay_engine::health::check::Verdict;
use mainstay_engine::peers::PeerInput;
use mainstay_engine::plan::{ScriptId, ServerId, VirtualAddress};
use mainstay_engine::resolve::Answer;
use mainstay_engine::vrrp::track::ScriptOutcome;
use mainstay_engine::{Engine, Input, Output};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;
use tokio::sync::oneshot;

use crate::checks::Checks;
use crate::log::{self, EventCounts};
use crate::mailbox::{Inbox, Mailbox};
use crate::nat::Nat;
use crate::net::{Adverts, Finding, Order, Orders, Report};
use crate::notify::Notifier;
use crate::peer_link::PeerLinks;
use crate::proxy::Proxy;
use crate::realtime::{self, Breather};
use crate::resolver::NameServers;
use crate::scripts::Scripts;
use crate::{clock, systemd, tracked};

/// What other threads tell the control thread.
///
/// The queue needs no bound: every check, agent, script and name has one attempt under way at most, every admin connection
/// one request, an order to the network one report, a server one report of failed connects, and the others say no more than
/// a few things a second. Peer links bound
/// how often each of them reports.
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
    /// An agent was asked.
    AgentAnswered {
        /// The server.
        server: ServerId,
        /// The attempt.
        attempt: u64,
        /// What came of it.
        answer: agent::Answer,
    },
    /// Connects to a server fail.
    ConnectionErrors {
        /// The server.
        server: ServerId,
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
    /// Something happened to interfaces or addresses.
    Network(Report),
    /// Something happened to a peer link.
    Peer(PeerInput),
    /// A question to name servers is over.
    Resolved {
        /// The question.
        attempt: u64,
        /// What came of it.
        answer: Answer,
    },
    /// A tracked file or tracked processes are different.
    Tracked(tracked::Finding),
    /// Somebody could not be told about a change.
    NotifyFailed {
        /// Whom.
        what: String,
        /// Why.
        reason: String,
    },
    /// What the kernel forwards was changed, or could not be, or is not there any more.
    Forwarded(Result<(), String>),
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
pub type CommandBox = Mailbox<Command>;

/// What only a plan with routers needs.
pub struct Vrrp {
    /// Adverts in and out.
    pub adverts: Adverts,
    /// Everything that is done to addresses.
    pub orders: Orders,
    /// The thread's real-time priority; `None` is ordinary scheduling.
    pub priority: Option<u8>,
    /// Whether the process stays in memory, or why not.
    pub memory: Result<(), String>,
}

/// The control thread's belongings.
pub struct Control {
    /// Decides.
    pub engine: Engine,
    /// Only a plan with routers has one.
    pub vrrp: Option<Vrrp>,
    /// What the kernel forwards; only a plan that leaves something to it has one. Below `vrrp`: addresses go first, so that
    /// nobody else answers at them for connections that are the kernel's.
    pub nat: Option<Nat>,
    /// The data plane; only a plan with frontends needs one.
    pub proxy: Option<Arc<Proxy>>,
    /// Carries out health checks.
    pub checks: Checks,
    /// Commands of other threads.
    pub inbox: Inbox<Command>,
    /// Runs tracked scripts.
    pub scripts: Scripts,
    /// Links to other balancers; only a plan with routers needs them.
    pub peer_links: Option<PeerLinks>,
    /// Asks name servers.
    pub name_servers: NameServers,
    /// Tells others about moves.
    pub notifier: Notifier,
    /// Operators who wait for an answer, by ticket.
    pub waiting: BTreeMap<u64, oneshot::Sender<Reply>>,
    /// The ticket given last.
    pub last_ticket: u64,
    /// What was said so far.
    pub events: EventCounts,
}

impl Control {
    /// Runs until the engine has handed everything over.
    pub fn run(mut self) {
        self.hurry();
        let mut breather = Breather::default();
        self.look_at_wall_clock();
        let mut running = self.carry_out();
        systemd::notify("READY=1");
        while running {
            breather.around(|| self.wait());
            self.look_at_wall_clock();
            self.hear_adverts();
            self.take_commands();
            // Compares clocks itself: calling it early is harmless.
            self.engine.handle_timeout(clock::now());
            running = self.carry_out();
        }
        // Everything is handed over: nobody minds that it takes a moment.
        self.notifier.finish();
        // Those who answer operators still hold it.
        if let Some(proxy) = &self.proxy {
            proxy.stop();
        }
    }

    /// Has the kernel run this thread first, and says so, or what is missing.
    fn hurry(&mut self) {
        let Some(Vrrp { priority: Some(priority), memory, .. }) = &self.vrrp else { return };
        let scheduling = realtime::enter(*priority).map(|()| *priority);
        let missing = [
            scheduling.as_ref().err().map(|reason| format!("no real-time scheduling ({reason})")),
            memory.as_ref().err().map(|reason| format!("memory that is not locked ({reason})")),
        ];
        let missing: Vec<_> = missing.into_iter().flatten().collect();
        if !missing.is_empty() {
            tracing::warn!(
                "adverts may be late when this machine is busy or swaps, because of {}",
                missing.join(" and ")
            );
        }
        let timing = Timing { scheduling, memory: memory.clone() };
        self.engine.handle(Input::Timing(timing), clock::now());
    }

    /// Sleeps until a socket is readable, a command came or the engine's next deadline.
    fn wait(&self) {
        let sockets = self.vrrp.iter().flat_map(|vrrp| vrrp.adverts.descriptors());
        let descriptors = [self.inbox.as_fd()].into_iter().chain(sockets);
        let mut descriptors: Vec<PollFd<'_>> =
            descriptors.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        let patience = self.engine.poll_timeout().map(|deadline| deadline.at.since(clock::now()));
        match ppoll(&mut descriptors, patience.map(TimeSpec::from_duration), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            // Only a bug can bring this about, and a loop that cannot wait cannot keep its peers' time either.
            Err(error) => panic!("the control thread cannot wait: {error}"),
        }
    }

    /// Somebody may have set it while nothing was done.
    fn look_at_wall_clock(&mut self) {
        self.engine.handle(Input::WallClock(clock::wall()), clock::now());
    }

    fn hear_adverts(&mut self) {
        let Some(vrrp) = &mut self.vrrp else { return };
        vrrp.adverts.refresh();
        vrrp.adverts.receive(|interface, datagram| {
            self.engine.handle(Input::Datagram { interface, datagram }, clock::now());
        });
    }

    fn take_report(&mut self, report: Report) {
        let now = clock::now();
        match report {
            Report::Found(Finding::Interface { name, state }) => {
                self.engine.handle(Input::Interface { name: &name, state }, now);
            }
            Report::Found(Finding::AddressGone { interface, address }) => {
                self.engine.handle(Input::AddressGone { interface: &interface, address }, now);
            }
            Report::Found(Finding::AddressClaimed { interface, address, hardware }) => {
                let claimed = Input::AddressClaimed { interface: &interface, address, hardware };
                self.engine.handle(claimed, now);
            }
            // That it came is enough: they are taken up with every turn.
            Report::Found(Finding::Sockets) => {}
            Report::Found(Finding::Trouble(sentence)) => tracing::error!("{sentence}"),
            Report::InstallFailed { address, reason } => {
                self.engine.handle(Input::InstallFailed { address: &address, reason }, now);
            }
            Report::RoutingInstalled { entry, anew } => {
                self.engine.handle(Input::RoutingInstalled { entry: &entry, anew }, now);
            }
            Report::RoutingFailed { entry, reason } => {
                self.engine.handle(Input::RoutingFailed { entry: &entry, reason }, now);
            }
            Report::HandOverRulesFailed { interface, vrid, reason } => {
                let failed = Input::HandOverRulesFailed { interface: &interface, vrid, reason };
                self.engine.handle(failed, now);
            }
        }
    }

    fn take_commands(&mut self) {
        for command in self.inbox.take() {
            let input = match command {
                Command::Tracked(tracked::Finding::File(file, ref contents)) => {
                    Input::FileRead { file, contents }
                }
                Command::Tracked(tracked::Finding::Processes(process, count)) => {
                    Input::ProcessesCounted { process, count }
                }
                Command::NotifyFailed { what, reason } => Input::NotifyFailed { what, reason },
                Command::CheckFinished { server, attempt, verdict } => {
                    Input::CheckFinished { server, attempt, verdict }
                }
                Command::AgentAnswered { server, attempt, answer } => {
                    Input::AgentAnswered { server, attempt, answer }
                }
                Command::ConnectionErrors { server } => Input::ConnectionErrors { server },
                Command::ScriptFinished { script, run, outcome } => {
                    Input::ScriptFinished { script, run, outcome }
                }
                Command::Network(report) => {
                    self.take_report(report);
                    continue;
                }
                Command::Peer(input) => Input::Peer(input),
                Command::Resolved { attempt, answer } => Input::Resolved { attempt, answer },
                Command::Forwarded(result) => Input::Forwarded(result),
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
                Output::SendAdvert { interface, hardware, destination, datagram } => {
                    let vrrp = self.vrrp.as_ref();
                    let sent = vrrp.map_or(Ok(()), |vrrp| {
                        vrrp.adverts.send(&interface, hardware, destination, &datagram)
                    });
                    if let Err(error) = sent {
                        let reason = error.to_string();
                        self.engine.handle(Input::SendFailed { interface: &interface, reason }, clock::now());
                    }
                }
                Output::InstallAddress { address, lifetime } => self.install(&address, lifetime),
                Output::RemoveAddress { address } => self.order(Order::Remove { address }),
                Output::Announce { interface, address } => self.order(Order::Announce { interface, address }),
                Output::Probe { interface, address } => self.order(Order::Probe { interface, address }),
                Output::InstallRouting { entry } => {
                    if let Some(vrrp) = &mut self.vrrp {
                        vrrp.orders.install_routing(entry);
                    }
                }
                Output::RemoveRouting { entry } => self.order(Order::RemoveRouting { entry }),
                Output::HandOverRules { interface, vrid, rules } => {
                    self.order(Order::HandOverRules { interface, vrid, rules });
                }
                Output::RunScript { script, run } => self.scripts.start(script, run),
                Output::Notify(notification) => self.notifier.tell(&notification),
                Output::StartCheck { server, attempt, check, seen } => {
                    self.checks.start(server, attempt, check, seen);
                }
                Output::AskAgent { server, attempt, agent } => {
                    self.checks.ask_agent(server, attempt, agent);
                }
                Output::Peer(output) => {
                    if let Some(links) = &mut self.peer_links {
                        links.carry_out(output);
                    }
                }
                Output::Resolve { attempt, question } => self.name_servers.ask(attempt, question),
                Output::Publish(_)
                | Output::ShutdownSessions { .. }
                | Output::CloseSessions { .. }
                | Output::Log(_) => self.lead_proxy(output),
                Output::Forward(forwarding) => {
                    if let Some(nat) = &self.nat {
                        nat.forward(forwarding, self.engine.serving());
                    }
                }
                Output::DeleteFlows { endpoints, server } => {
                    if let Some(nat) = &self.nat {
                        nat.delete_flows(endpoints, server);
                    }
                }
                Output::Reply { ticket, mut reply } => {
                    if let Reply::Status(status) = &mut reply {
                        status.events = self.events.status();
                    }
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        // The operator may have hung up.
                        let _ = answer.send(reply);
                    }
                }
                Output::Event(event) => log::event(&event, &mut self.events),
                Output::Exit => return false,
            }
        }
        true
    }

    /// Has the data plane do what concerns it.
    fn lead_proxy(&self, output: Output) {
        let Some(proxy) = &self.proxy else { return };
        match output {
            Output::Publish(serving) => proxy.publish(serving),
            Output::ShutdownSessions { server, cause } => proxy.shutdown_sessions(server, cause),
            Output::CloseSessions { server, cause, most } => proxy.close_sessions(server, cause, most),
            Output::Log(line) => proxy.log(line),
            _ => {}
        }
    }

    fn install(&mut self, address: &VirtualAddress, lifetime: Option<Duration>) {
        let Some(vrrp) = &mut self.vrrp else { return };
        let now = clock::now();
        if let Err(reason) = vrrp.orders.install(address, lifetime, now) {
            self.engine.handle(Input::InstallFailed { address, reason }, now);
        }
    }

    fn order(&mut self, order: Order) {
        if let Some(vrrp) = &mut self.vrrp {
            vrrp.orders.order(order);
        }
    }
}
