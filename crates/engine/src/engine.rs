//! The engine: routes inputs to the machines and collects what they want done.
//!
//! Owns [`Input`], the list of everything the daemon can learn, and [`Output`], the list of everything it can ever do.
//! It decides nothing itself but the order of a shutdown: VRRP lets go of the addresses, then the daemon exits. VRRP,
//! health and peers do not know each other: what one of them needs of another is carried here.
//!
//! Use it as a machine with four verbs: give it what happened ([`Engine::handle`]) or that time has passed
//! ([`Engine::handle_timeout`]), carry out all of [`Engine::poll_output`] in order, and come back no later than
//! [`Engine::poll_timeout`] says.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use crate::admin::{Reply, Request, Status, TimingStatus};
use crate::event::Event;
use crate::forwarding::{Forwarder, KernelForwarding};
use crate::health::Health;
use crate::health::agent;
use crate::health::check::{Seen, Verdict};
use crate::health::order::{By, ServerOrder, Weight};
use crate::logging::server_state::ServerLine;
use crate::peers::reach::OwnReach;
use crate::peers::view::{RouterView, View};
use crate::peers::{PeerInput, PeerOptions, PeerOutput, Peers};
use crate::plan::{
    Agent, Check, FileId, HardwareAddress, Plan, ProcessId, RouterId, RoutingEntry, ScriptId, ServerId,
    VirtualAddress, Vrid,
};
use crate::resolve::{Answer, Move, Question, Resolve};
use crate::serving::Serving;
use crate::serving::termination::Cause;
use crate::time::{Deadline, Instant, UnixTime};
use crate::vrrp::Vrrp;
use crate::vrrp::notify::Notification;
use crate::vrrp::track::ScriptOutcome;

/// Everything the daemon can learn.
#[derive(Debug)]
pub enum Input<'a> {
    /// What the wall clock shows, which signatures go by. Until the next one it is taken to go on with `now`; before the
    /// first one, 1970 began when `now` did.
    WallClock(UnixTime),
    /// An IP datagram of protocol 112 arrived.
    Datagram {
        /// The interface it arrived on.
        interface: &'a str,
        /// The whole datagram, from its IP header on.
        datagram: &'a [u8],
    },
    /// An interface that a router uses was looked at: at start, and whenever the kernel says it changed.
    Interface {
        /// Its name.
        name: &'a str,
        /// What it can do; `None` when it does not exist.
        state: Option<InterfaceState>,
    },
    /// Somebody else removed an address (the kernel's expiry of a lifetime included).
    AddressGone {
        /// The interface it was on.
        interface: &'a str,
        /// The address.
        address: IpAddr,
    },
    /// Another machine on the link said that it has one of the addresses of a router: in ARP, or in a neighbour
    /// advertisement. What this machine sends itself never comes back as this.
    AddressClaimed {
        /// The interface it was heard on.
        interface: &'a str,
        /// The address.
        address: IpAddr,
        /// Whose it is said to be.
        hardware: HardwareAddress,
    },
    /// An [`Output::InstallAddress`] failed.
    InstallFailed {
        /// What could not be installed.
        address: &'a VirtualAddress,
        /// The kernel's reason, for people.
        reason: String,
    },
    /// What an [`Output::InstallRouting`] asked for is in force.
    RoutingInstalled {
        /// The route or rule.
        entry: &'a RoutingEntry,
        /// Whether it was not there before.
        anew: bool,
    },
    /// An [`Output::InstallRouting`] failed.
    RoutingFailed {
        /// The route or rule.
        entry: &'a RoutingEntry,
        /// The kernel's reason, for people.
        reason: String,
    },
    /// An [`Output::SendAdvert`] failed.
    SendFailed {
        /// The interface it should have left by.
        interface: &'a str,
        /// The kernel's reason, for people.
        reason: String,
    },
    /// An [`Output::HandOverRules`] failed, so that nothing of it is in force. This may be known only after later ones.
    HandOverRulesFailed {
        /// The router's interface.
        interface: &'a str,
        /// The router's identifier there.
        vrid: Vrid,
        /// What went wrong, for people.
        reason: String,
    },
    /// A run that [`Output::RunScript`] asked for ended.
    ScriptFinished {
        /// The script.
        script: ScriptId,
        /// The run, as [`Output::RunScript`] numbered it.
        run: u64,
        /// How it ended.
        outcome: ScriptOutcome,
    },
    /// A tracked file was read: at start, and whenever something else is in it.
    FileRead {
        /// The file.
        file: FileId,
        /// How it begins; empty when it is not there.
        contents: &'a [u8],
    },
    /// Tracked processes were counted: at start, and whenever there are more or fewer.
    ProcessesCounted {
        /// Which.
        process: ProcessId,
        /// How many there are.
        count: u32,
    },
    /// Part of an [`Output::Notify`] could not be done.
    NotifyFailed {
        /// The program, or the FIFO.
        what: String,
        /// Why, for people.
        reason: String,
    },
    /// A check that [`Output::StartCheck`] asked for ended.
    CheckFinished {
        /// The server.
        server: ServerId,
        /// The attempt, as [`Output::StartCheck`] numbered it.
        attempt: u64,
        /// How it ended.
        verdict: Verdict,
    },
    /// A question that [`Output::Resolve`] asked was answered, or its time is over.
    Resolved {
        /// The question, as [`Output::Resolve`] numbered it.
        attempt: u64,
        /// What came of it.
        answer: Answer,
    },
    /// A question that [`Output::AskAgent`] asked for is over.
    AgentAnswered {
        /// The server.
        server: ServerId,
        /// The attempt, as [`Output::AskAgent`] numbered it.
        attempt: u64,
        /// What came of it.
        answer: agent::Answer,
    },
    /// As many connections of clients to a server failed in a row as its `error-limit` says.
    ConnectionErrors {
        /// The server.
        server: ServerId,
    },
    /// How an [`Output::Forward`] went, or that what it asked for is in force no more.
    Forwarded(Result<(), String>),
    /// How the control thread is run: at start.
    Timing(Timing),
    /// Something happened to a link to another balancer.
    Peer(PeerInput),
    /// An operator asks; the answer is an [`Output::Reply`] with the same `ticket`.
    Request {
        /// Chosen by the caller.
        ticket: u64,
        /// What is asked.
        request: Request,
    },
    /// The daemon was asked to stop: hand over first, then exit.
    Stop,
}

/// What the kernel grants so that adverts are on time whatever else the machine does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timing {
    /// The real-time priority, or why there is none.
    pub scheduling: Result<u8, String>,
    /// Nothing if the process stays in memory, or why it does not.
    pub memory: Result<(), String>,
}

/// What an interface can do for a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceState {
    /// Administratively up, with a carrier.
    pub running: bool,
    /// Its addresses with their prefix lengths, primary ones first, virtual ones included; those that duplicate address
    /// detection has not cleared yet are left out.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// How much of what balancers of one group reach this one reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Servers this one reaches.
    pub reached: usize,
    /// Servers that any of them reaches.
    pub of: usize,
    /// A peer that reaches more.
    pub peer: IpAddr,
}

/// One router's place on the LAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whereabouts {
    pub(crate) router: RouterId,
    /// Where its adverts leave from.
    pub(crate) source: Option<IpAddr>,
    /// The other router it last heard to be active.
    pub(crate) heard: Option<IpAddr>,
}

/// What the kernel does with frames while addresses move. It ends by itself after twice
/// [`HAND_OVER_DRAIN`](crate::limits::HAND_OVER_DRAIN), should nobody end it sooner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandOverRules {
    /// The predecessor: neither answers ARP for the addresses nor names them in its own ARP requests.
    Silence {
        /// The addresses.
        addresses: Vec<Ipv4Addr>,
    },
    /// The successor: frames of TCP connections to the addresses whose begin it did not see go on to another router.
    Forward {
        /// The addresses.
        addresses: Vec<Ipv4Addr>,
        /// That router.
        to: Ipv4Addr,
        /// Connections that the kernel forwards: what their clients send stays here.
        except: Forwarded,
    },
}

/// Which connections the kernel forwards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Where clients connect.
    pub endpoints: Vec<SocketAddrV4>,
    /// Where answers come from.
    pub servers: Vec<SocketAddrV4>,
}

/// Everything the daemon can ever do.
#[derive(Debug)]
pub enum Output {
    /// Put this IP datagram on the wire as it is.
    SendAdvert {
        /// The interface it leaves by.
        interface: String,
        /// The Ethernet source, if it is not the interface's own address. Only for what goes to a group.
        hardware: Option<HardwareAddress>,
        /// Where it goes; the same as in its header.
        destination: IpAddr,
        /// The whole datagram, from its IP header on.
        datagram: Vec<u8>,
    },
    /// Put an address on its interface, or renew its lifetime if it is there.
    InstallAddress {
        /// The address.
        address: VirtualAddress,
        /// When the kernel removes it by itself unless it is renewed; `None` is never.
        lifetime: Option<Duration>,
    },
    /// Take an address off its interface; fine if it is not there.
    RemoveAddress {
        /// The address.
        address: VirtualAddress,
    },
    /// Put a route or rule in force, unless it is there.
    InstallRouting {
        /// The route or rule.
        entry: RoutingEntry,
    },
    /// Take a route or rule back; fine if it is not there.
    RemoveRouting {
        /// The route or rule.
        entry: RoutingEntry,
    },
    /// Announce an address once: a gratuitous ARP request, or an unsolicited neighbour advertisement.
    Announce {
        /// The interface whose hardware address it carries.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// Ask on the link who else has an address: an ARP probe (RFC 5227 §1.1), or a neighbour solicitation. Answers come
    /// back as [`Input::AddressClaimed`].
    Probe {
        /// The interface to ask on.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// Put the rules of one virtual router for a move in force, in place of earlier ones.
    HandOverRules {
        /// The router's interface.
        interface: String,
        /// The router's identifier there.
        vrid: Vrid,
        /// The rules; `None` ends what is in force.
        rules: Option<HandOverRules>,
    },
    /// Run a tracked script once.
    RunScript {
        /// The script.
        script: ScriptId,
        /// Comes back in [`Input::ScriptFinished`].
        run: u64,
    },
    /// Tell others that a router or a group moved. The last ones are told before [`Output::Exit`].
    Notify(Notification),
    /// Check a server once.
    StartCheck {
        /// The server.
        server: ServerId,
        /// Comes back in [`Input::CheckFinished`].
        attempt: u64,
        /// What to do.
        check: Arc<Check>,
        /// How the server is seen meanwhile.
        seen: Seen,
    },
    /// Ask the agent of a server once.
    AskAgent {
        /// The server.
        server: ServerId,
        /// Comes back in [`Input::AgentAnswered`].
        attempt: u64,
        /// Whom to ask.
        agent: Agent,
    },
    /// Do something about links to other balancers.
    Peer(PeerOutput),
    /// Ask all name servers of a section at once.
    Resolve {
        /// Comes back in [`Input::Resolved`].
        attempt: u64,
        /// What to ask.
        question: Question,
    },
    /// Give the data plane a new view.
    Publish(Arc<Serving>),
    /// Close the connections of a server.
    ShutdownSessions {
        /// The server.
        server: ServerId,
        /// Why: the server went down, or an operator wants it.
        cause: Cause,
    },
    /// Close some connections of a server, those that were silent the longest.
    CloseSessions {
        /// The server.
        server: ServerId,
        /// Why: the server is dead, or another one has come up.
        cause: Cause,
        /// No more than so many.
        most: u32,
    },
    /// Have the kernel forward this, in place of what it forwards now.
    Forward(Arc<KernelForwarding>),
    /// Have the kernel forget the flows between these endpoints and a server, so that what their clients send next is answered by
    /// another one, with a reset.
    DeleteFlows {
        /// Where their clients connected.
        endpoints: Vec<SocketAddr>,
        /// The server.
        server: SocketAddr,
    },
    /// Answer an operator.
    Reply {
        /// The ticket of the request.
        ticket: u64,
        /// The answer.
        reply: Reply,
    },
    /// Say something.
    Event(Event),
    /// Write a line where the logs of a pool go.
    Log(ServerLine),
    /// Everything is handed over: end the process.
    Exit,
}

/// All decisions of one daemon.
#[derive(Debug)]
pub struct Engine {
    started: Instant,
    vrrp: Vrrp,
    health: Health,
    resolve: Resolve,
    peers: Peers,
    /// Only a plan that leaves something to the kernel has one.
    forwarder: Option<Forwarder>,
    outputs: VecDeque<Output>,
    timing: Option<Timing>,
    /// How late the latest of all calls of [`Engine::handle_timeout`] was.
    latest: Duration,
    stopping: bool,
    exited: bool,
}

impl Engine {
    /// An engine that carries out `plan` from `now` on, without links to other balancers. `seed` decides every random
    /// choice it makes.
    pub fn new(plan: Arc<Plan>, seed: u64, now: Instant) -> Self {
        Self::with_peers(plan, PeerOptions::default(), seed, now)
    }

    /// As [`Engine::new`], with links.
    pub fn with_peers(plan: Arc<Plan>, options: PeerOptions, seed: u64, now: Instant) -> Self {
        let health = Health::new(Arc::clone(&plan), seed, now);
        let mut engine = Self {
            started: now,
            vrrp: Vrrp::new(&plan, now),
            peers: Peers::new(Arc::clone(&plan), options, seed, now),
            resolve: Resolve::new(Arc::clone(&plan), now),
            forwarder: Forwarder::new(&plan, &health.serving(), now),
            health,
            outputs: VecDeque::new(),
            timing: None,
            latest: Duration::ZERO,
            stopping: false,
            exited: false,
        };
        if let Some(forwarding) = engine.forwarding().filter(|_| options.link) {
            let addresses = forwarding.endpoints.iter().map(|own| own.address.ip());
            engine.vrrp.expect_flows(&addresses.collect());
        }
        engine.collect(now);
        engine
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, input: Input<'_>, now: Instant) {
        match input {
            Input::WallClock(shown) => self.vrrp.handle_wall_clock(shown, now),
            Input::Datagram { interface, datagram } => self.vrrp.handle_datagram(interface, datagram, now),
            Input::Interface { name, state } => self.vrrp.handle_interface(name, state, now),
            Input::AddressGone { interface, address } => {
                self.vrrp.handle_address_gone(interface, address, now);
            }
            Input::AddressClaimed { interface, address, hardware } => {
                self.vrrp.handle_address_claimed(interface, address, hardware, now);
            }
            Input::InstallFailed { address, reason } => self.vrrp.handle_install_failed(address, reason, now),
            Input::RoutingInstalled { entry, anew } => self.vrrp.handle_routing_installed(entry, anew, now),
            Input::RoutingFailed { entry, reason } => self.vrrp.handle_routing_failed(entry, &reason),
            Input::HandOverRulesFailed { interface, vrid, reason } => {
                self.vrrp.handle_hand_over_rules_failed(interface, vrid, reason, now);
            }
            Input::SendFailed { interface, reason } => self.vrrp.handle_send_failed(interface, reason, now),
            Input::ScriptFinished { script, run, outcome } => {
                self.vrrp.handle_script_finished(script, run, outcome, now);
            }
            Input::FileRead { file, contents } => self.vrrp.handle_file_read(file, contents, now),
            Input::ProcessesCounted { process, count } => {
                self.vrrp.handle_processes_counted(process, count, now);
            }
            Input::NotifyFailed { what, reason } => self.vrrp.handle_notify_failed(what, reason, now),
            Input::CheckFinished { server, attempt, verdict } => {
                self.health.handle_check_finished(server, attempt, verdict, now);
            }
            Input::Resolved { attempt, answer } => self.resolve.handle_answer(attempt, answer, now),
            Input::AgentAnswered { server, attempt, answer } => {
                self.health.handle_agent_answered(server, attempt, answer, now);
            }
            Input::ConnectionErrors { server } => self.health.handle_connection_errors(server, now),
            Input::Peer(input) => {
                if let PeerInput::Flows(flows) = &input {
                    let told = flows.iter().flat_map(|of| of.whole.iter().map(|address| (of.peer, *address)));
                    self.vrrp.handle_flows_told(&told.collect());
                }
                self.peers.handle(input, now);
            }
            Input::Request { ticket, request } => self.handle_request(ticket, request, now),
            Input::Forwarded(result) => {
                if let Some(forwarder) = &mut self.forwarder {
                    forwarder.handle_result(result, now);
                }
            }
            Input::Timing(timing) => self.timing = Some(timing),
            Input::Stop => {
                self.stopping = true;
                self.vrrp.handle_stop(now);
            }
        }
        self.collect(now);
    }

    /// Does what is due at `now`. Calling it early or late is harmless: machines compare clocks.
    pub fn handle_timeout(&mut self, now: Instant) {
        let late = self.vrrp.poll_timeout().map(|deadline| now.since(deadline.at));
        self.latest = self.latest.max(late.unwrap_or_default());
        self.vrrp.handle_timeout(now);
        self.resolve.handle_timeout(now);
        self.health.handle_timeout(now);
        self.peers.handle_timeout(now);
        if let Some(forwarder) = &mut self.forwarder {
            forwarder.handle_timeout(now);
        }
        self.collect(now);
    }

    /// The next thing to do, in order; `None` when nothing is left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Engine::handle_timeout`] at the latest; `None` when nothing will ever be due.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let machines = [
            self.vrrp.poll_timeout(),
            self.resolve.poll_timeout(),
            self.health.poll_timeout(),
            self.peers.poll_timeout(),
            self.forwarder.as_ref().and_then(Forwarder::poll_timeout),
        ];
        machines.into_iter().flatten().min()
    }

    /// The view that the data plane should have now; [`Output::Publish`] brings the next ones.
    pub fn serving(&self) -> Arc<Serving> {
        self.health.serving()
    }

    /// What the kernel should forward now, if anything; [`Output::Forward`] brings what comes next. The engine takes this to be in
    /// force.
    pub fn forwarding(&self) -> Option<Arc<KernelForwarding>> {
        self.forwarder.as_ref().map(Forwarder::current)
    }

    /// Everything there is to see at `now`.
    pub fn status(&self, now: Instant) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime: now.since(self.started),
            stopping: self.stopping,
            timing: self.timing.as_ref().map(|timing| TimingStatus {
                realtime_priority: timing.scheduling.as_ref().ok().copied(),
                realtime_refused: timing.scheduling.as_ref().err().cloned(),
                memory_not_locked: timing.memory.as_ref().err().cloned(),
                latest: self.latest,
            }),
            routers: self.vrrp.router_status(now),
            groups: self.vrrp.group_status(now),
            scripts: self.vrrp.script_status(now),
            files: self.vrrp.file_status(now),
            processes: self.vrrp.process_status(now),
            frontends: self.health.frontend_status(now),
            pools: self.health.pool_status(now),
            forwarding: self.forwarder.as_ref().map(|forwarder| forwarder.status(now)),
            peers: self.peers.status(now),
            without_peer_link: self.peers.without_link(),
            events: Vec::new(),
        }
    }

    fn handle_request(&mut self, ticket: u64, request: Request, now: Instant) {
        let reply = match request {
            Request::Status => Reply::Status(Box::new(self.status(now))),
            Request::HandOver => match self.vrrp.handle_hand_over(now) {
                Ok(()) => Reply::Done,
                Err(refusal) => Reply::Refused(refusal),
            },
            Request::Order(order) => Reply::Order(self.health.handle_order(order, now)),
            Request::Resume => match self.vrrp.handle_resume(now) {
                Ok(()) => Reply::Done,
                Err(refusal) => Reply::Refused(refusal),
            },
        };
        self.outputs.push_back(Output::Reply { ticket, reply });
    }

    /// Lets the machines tell each other, and drains them: VRRP first, because its adverts are the ones in a hurry.
    fn collect(&mut self, now: Instant) {
        self.move_servers(now);
        if self.peers.is_on() {
            self.introduce_peers(now);
        }
        while let Some(mut output) = self.vrrp.poll_output() {
            if let Output::HandOverRules { rules: Some(HandOverRules::Forward { except, .. }), .. } =
                &mut output
            {
                *except = self.forwarder.as_ref().map(Forwarder::forwarded).unwrap_or_default();
            }
            self.outputs.push_back(output);
        }
        self.outputs.extend(std::iter::from_fn(|| self.resolve.poll_output()));
        self.lead_kernel();
        self.outputs.extend(std::iter::from_fn(|| self.peers.poll_output()));
        if self.stopping && !self.exited && self.vrrp.has_let_go() {
            self.exited = true;
            self.outputs.push_back(Output::Exit);
        }
    }

    /// Drains health, and carries to what the kernel forwards which servers there are, and which are dead.
    fn lead_kernel(&mut self) {
        while let Some(output) = self.health.poll_output() {
            let Some(forwarder) = &mut self.forwarder else {
                self.outputs.push_back(output);
                continue;
            };
            match &output {
                Output::Publish(serving) => forwarder.handle_serving(serving),
                Output::ShutdownSessions { server, .. } => forwarder.handle_dead(*server),
                _ => {}
            }
            self.outputs.push_back(output);
        }
        while let Some(dead) = self.health.poll_dead() {
            if let Some(forwarder) = &mut self.forwarder {
                forwarder.handle_dead(dead);
            }
        }
        if let Some(forwarder) = &mut self.forwarder {
            self.outputs.extend(std::iter::from_fn(|| forwarder.poll_output()));
        }
    }

    /// Carries to health where DNS says that servers are.
    fn move_servers(&mut self, now: Instant) {
        while let Some(Move { server, address, weight }) = self.resolve.poll_move() {
            // An operator may have put another server in the place of this one.
            if !self.health.follows_dns(server) {
                continue;
            }
            let place = match address {
                Some(address) => ServerOrder::Address(address.ip(), Some(address.port())),
                None => ServerOrder::NoAddress,
            };
            let weight = weight.map(|weight| ServerOrder::Weight(Weight::Absolute(weight)));
            for order in weight.into_iter().chain([place]) {
                // It is refused only where the algorithm takes no weights.
                let _ = self.health.change_server(server, order, By::Dns, now);
            }
        }
    }

    /// Carries to VRRP which peers are gone and what health is worth, and to the peers how this node is.
    fn introduce_peers(&mut self, now: Instant) {
        self.peers.handle_whereabouts(self.vrrp.whereabouts(), now);
        while let Some(gone) = self.peers.poll_gone() {
            self.vrrp.handle_peer_gone(gone.peer, &gone.routers, now);
        }
        let forwarder_news = self.forwarder.as_ref().is_some_and(Forwarder::has_news);
        let changed = self.vrrp.has_news() | self.health.has_news() | forwarder_news;
        if changed || self.peers.wants_own(now) {
            let (view, reach) = self.own_view(now);
            self.peers.handle_own(view, reach, now);
            for (router, share) in self.peers.shares(now) {
                self.vrrp.handle_share(router, share, now);
            }
        }
    }

    /// This node as it tells its peers of itself.
    fn own_view(&self, now: Instant) -> (View, OwnReach) {
        let routers = self.vrrp.router_status(now).into_iter().map(|router| RouterView {
            name: router.name,
            vrid: router.vrid,
            interface: router.interface,
            state: router.state,
            priority: router.priority,
            effective_priority: router.effective_priority,
            why: router.reason,
        });
        // A node whose kernel does not forward leads nobody to a server.
        let forwards = self.forwarder.as_ref().is_none_or(Forwarder::works);
        let (mut reach, mut reaches) = (OwnReach::default(), Vec::new());
        for server in self.health.checked_servers() {
            if server.proven && forwards {
                reaches.push(server.name.clone());
            }
            if server.usable && forwards {
                reach.reached.insert(server.name.clone());
            }
            reach.servers.insert(server.name);
        }
        let version = env!("CARGO_PKG_VERSION").to_owned();
        (View { version, routers: routers.collect(), reaches, ..View::default() }, reach)
    }
}
