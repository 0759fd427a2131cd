//! VRRP: who owns the virtual addresses.
//!
//! Owns [`Vrrp`], all virtual routers of a daemon, and brings what happens to those it concerns. `packet` is the wire
//! format, `router` one virtual router, `group` routers that move together, `track` what changes priorities, `notify` who
//! is told about moves, `pace` spreads announcements out.

mod complaints;
pub mod event;
mod group;
pub mod hmac;
pub mod ip;
pub mod notify;
mod pace;
pub mod packet;
mod phrase;
mod router;
mod share;
#[cfg(test)]
pub(crate) mod testing;
pub mod track;

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use self::complaints::Complaints;
use self::event::VrrpEvent;
use self::group::Groups;
use self::notify::Notifier;
use self::pace::Pacer;
use self::router::{Conditions, Link, Router};
use self::track::{Interfaces, ScriptOutcome, Tracked};
use crate::admin::{FileStatus, GroupStatus, ProcessStatus, RouterStatus, ScriptStatus};
use crate::engine::{InterfaceState, Output, Share, Whereabouts};
use crate::event::Event;
use crate::plan::{
    Delivery, Family, FileId, HardwareAddress, Plan, Priority, ProcessId, Router as Config, RouterId,
    RoutingEntry, ScriptId, VirtualAddress, Vrid,
};
use crate::time::{Deadline, Instant, UnixTime, WallClock};

/// All virtual routers of a plan.
#[derive(Debug)]
pub struct Vrrp {
    routers: Vec<Router>,
    groups: Groups,
    tracked: Tracked,
    notifier: Notifier,
    pacer: Pacer,
    complaints: Complaints,
    /// What this node reaches of what each router's group reaches, if that is less than all of it.
    shares: Vec<Option<Share>>,
    /// What routers want done and the pacer let pass.
    paced: VecDeque<Output>,
    outputs: VecDeque<Output>,
}

impl Vrrp {
    /// Every router initialised; left-over addresses are removed first.
    pub fn new(plan: &Plan, now: Instant) -> Self {
        let tracked = Tracked::new(plan, now);
        let routers = plan.routers.iter();
        let routers = routers
            .map(|config| Router::new(config.clone(), conditions(config, &tracked, None), now))
            .collect();
        let mut vrrp = Self {
            routers,
            groups: Groups::new(plan, now),
            tracked,
            shares: vec![None; plan.routers.len()],
            notifier: Notifier::new(plan),
            pacer: Pacer::new(&plan.announce_gaps),
            complaints: Complaints::default(),
            paced: VecDeque::new(),
            outputs: VecDeque::new(),
        };
        let start = (now + plan.vrrp_start.after_start).max(Instant::default() + plan.vrrp_start.after_boot);
        vrrp.routers.iter_mut().for_each(|router| router.delay_start(start));
        for id in plan.groups.iter().flat_map(|group| &group.members) {
            if let Some(router) = vrrp.routers.get_mut(usize::from(id.0)) {
                router.join_group();
            }
        }
        vrrp.handle_due(now);
        vrrp.settle(now);
        vrrp
    }

    /// Takes in an IP datagram of protocol 112. One for a virtual router that is not configured is none of ours.
    pub fn handle_datagram(&mut self, interface: &str, datagram: &[u8], now: Instant) {
        let on_interface = self.routers.iter_mut().filter(|router| router.config().interface == interface);
        match packet::decode_with_message(datagram) {
            Ok((advert, message)) => on_interface
                .filter(|router| is_for(router.config(), advert.source, advert.vrid))
                .for_each(|router| router.handle_advert(&advert, message, now)),
            Err(malformed) => {
                let known = packet::peek(datagram);
                // Where the virtual router cannot be read, it may be any.
                on_interface
                    .filter(|router| known.is_none_or(|(from, vrid)| is_for(router.config(), from, vrid)))
                    .for_each(|router| {
                        let unknown = || router.config().family().unspecified();
                        let sender = known.map_or_else(unknown, |(sender, _)| sender);
                        router.handle_malformed(sender, malformed, now);
                    });
            }
        }
        self.settle(now);
    }

    /// Takes in what the wall clock shows.
    pub fn handle_wall_clock(&mut self, shown: UnixTime, now: Instant) {
        let clock = WallClock::new(shown, now);
        self.routers.iter_mut().for_each(|router| router.handle_wall_clock(clock));
    }

    /// Takes in what an interface can do.
    pub fn handle_interface(&mut self, name: &str, state: Option<InterfaceState>, now: Instant) {
        self.tracked.interfaces.insert(name.to_owned(), state);
        self.apply_conditions(now);
    }

    /// Takes in that somebody else removed an address.
    pub fn handle_address_gone(&mut self, interface: &str, address: IpAddr, now: Instant) {
        for router in &mut self.routers {
            router.handle_address_gone(interface, address, now);
        }
        self.settle(now);
    }

    /// Takes in that somebody else says that it has an address.
    pub fn handle_address_claimed(
        &mut self,
        interface: &str,
        address: IpAddr,
        hardware: HardwareAddress,
        now: Instant,
    ) {
        for router in &mut self.routers {
            router.handle_address_claimed(interface, address, hardware, now);
        }
        self.settle(now);
    }

    /// Takes in that an address could not be installed.
    pub fn handle_install_failed(&mut self, address: &VirtualAddress, reason: String, now: Instant) {
        for router in &mut self.routers {
            router.handle_install_failed(address, reason.clone(), now);
        }
        self.settle(now);
    }

    /// Takes in that a route or rule is in force.
    pub fn handle_routing_installed(&mut self, entry: &RoutingEntry, anew: bool, now: Instant) {
        self.routers.iter_mut().for_each(|router| router.handle_routing_installed(entry, anew, now));
    }

    /// Takes in that a route or rule could not be put in force.
    pub fn handle_routing_failed(&mut self, entry: &RoutingEntry, reason: &str) {
        self.routers.iter_mut().for_each(|router| router.handle_routing_failed(entry, reason.to_owned()));
    }

    /// Takes in that an advert could not be sent.
    pub fn handle_send_failed(&mut self, interface: &str, reason: String, now: Instant) {
        for router in self.routers.iter_mut().filter(|router| router.config().interface == interface) {
            router.handle_send_failed(reason.clone(), now);
        }
    }

    /// Takes in that rules for a move could not be set.
    pub fn handle_hand_over_rules_failed(
        &mut self,
        interface: &str,
        vrid: Vrid,
        reason: String,
        now: Instant,
    ) {
        let concerned = |router: &&mut Router| {
            let config = router.config();
            // These rules are for IPv4 alone.
            config.interface == interface && config.vrid == vrid && config.family() == Family::Ipv4
        };
        if let Some(router) = self.routers.iter_mut().find(concerned) {
            router.handle_hand_over_rules_failed(reason, now);
        }
        self.settle(now);
    }

    /// Takes in how a run of a script ended.
    pub fn handle_script_finished(
        &mut self,
        script: ScriptId,
        run: u64,
        outcome: ScriptOutcome,
        now: Instant,
    ) {
        // Also without a flip: the phrase in `status` says how the latest run ended.
        self.tracked.scripts.handle_finished(script, run, &outcome, now, &mut self.outputs);
        self.apply_conditions(now);
    }

    /// Takes in that a peer's process seems to have ended: `concerned` routers that follow it ask whether it has.
    pub(crate) fn handle_peer_gone(&mut self, peer: IpAddr, concerned: &[RouterId], now: Instant) {
        for (id, router) in (0..).map(RouterId).zip(&mut self.routers) {
            if concerned.contains(&id) {
                router.challenge(peer, now);
            }
        }
        self.settle(now);
    }

    /// Takes in how much of what its group reaches this node reaches; `None` is all of it.
    pub(crate) fn handle_share(&mut self, router: RouterId, share: Option<Share>, now: Instant) {
        let Some(known) = self.shares.get_mut(usize::from(router.0)) else { return };
        if std::mem::replace(known, share) != share {
            self.apply_conditions(now);
        }
    }

    /// Has routers with addresses among these wait for flows before they take one from an active router.
    pub(crate) fn expect_flows(&mut self, addresses: &BTreeSet<IpAddr>) {
        self.routers.iter_mut().for_each(|router| router.expect_flows(addresses));
    }

    /// Takes in which peers have told all flows of which address.
    pub(crate) fn handle_flows_told(&mut self, told: &BTreeSet<(IpAddr, IpAddr)>) {
        self.routers.iter_mut().for_each(|router| router.handle_flows_told(told));
    }

    /// Takes in how a tracked file begins.
    pub fn handle_file_read(&mut self, file: FileId, contents: &[u8], now: Instant) {
        if self.tracked.files.handle_read(file, contents, now) {
            self.apply_conditions(now);
        }
    }

    /// Where every router is, in the order of the plan.
    pub(crate) fn whereabouts(&self) -> impl Iterator<Item = Whereabouts> {
        let routers = (0..).map(RouterId).zip(&self.routers);
        routers.map(|(router, machine)| Whereabouts {
            router,
            source: machine.source(),
            heard: machine.heard(),
        })
    }

    /// Whether there is something to say.
    pub(crate) fn has_news(&self) -> bool {
        let own = self.outputs.iter().any(|output| matches!(output, Output::Event(_)));
        own || self.routers.iter().any(Router::has_news)
    }

    /// Takes in how many of some tracked processes there are.
    pub fn handle_processes_counted(&mut self, process: ProcessId, count: u32, now: Instant) {
        // Also without a turn: the phrase in `status` says how many there are.
        self.tracked.processes.handle_counted(process, count, now, &mut self.outputs);
        self.apply_conditions(now);
    }

    /// Takes in that somebody could not be told about a change.
    pub fn handle_notify_failed(&mut self, what: String, reason: String, now: Instant) {
        let nobody = Family::Ipv4.unspecified();
        if self.complaints.worth_saying("notify", nobody, &format!("{what}: {reason}"), now) {
            let event = VrrpEvent::NotifyFailed { what, reason };
            self.outputs.push_back(Output::Event(Event::Vrrp(event)));
        }
    }

    /// Gives the addresses to a peer, make before break, and stays a backup of last resort.
    ///
    /// # Errors
    /// Says why nothing was done.
    pub fn handle_hand_over(&mut self, now: Instant) -> Result<(), String> {
        if self.routers.is_empty() {
            return Err("no virtual router is configured".to_owned());
        }
        if let Some(refusal) = self.routers.iter().find_map(Router::refuses_hand_over) {
            return Err(refusal);
        }
        if self.routers.iter().all(Router::is_standing_by) {
            return Err("this balancer stands by already; `mainstay resume` ends it".to_owned());
        }
        self.routers.iter_mut().for_each(|router| router.handle_hand_over(now));
        self.settle(now);
        Ok(())
    }

    /// Ends a hand-over.
    ///
    /// # Errors
    /// Says why nothing was done.
    pub fn handle_resume(&mut self, now: Instant) -> Result<(), String> {
        if !self.routers.iter().any(Router::is_standing_by) {
            return Err("this balancer does not stand by: there was no hand-over to end".to_owned());
        }
        self.routers.iter_mut().for_each(|router| router.handle_resume(now));
        self.settle(now);
        Ok(())
    }

    /// Gives the addresses to a peer, make before break, for good.
    pub fn handle_stop(&mut self, now: Instant) {
        self.routers.iter_mut().for_each(|router| router.handle_stop(now));
        self.settle(now);
    }

    /// Whether no address is held any more after [`Vrrp::handle_stop`].
    pub fn has_let_go(&self) -> bool {
        self.routers.iter().all(Router::has_stopped)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_due(now);
        self.routers.iter_mut().for_each(|router| router.handle_timeout(now));
        self.settle(now);
        let routers = &self.routers;
        let owns = |interface: &str, address| routers.iter().any(|router| router.owns(interface, address));
        self.pacer.take_due(now, owns, &mut self.paced);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        // What routers say comes first, because adverts are in a hurry.
        let routers = |routers: &mut Vec<Router>| routers.iter_mut().find_map(Router::poll_output);
        self.paced.pop_front().or_else(|| routers(&mut self.routers)).or_else(|| self.outputs.pop_front())
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let routers = self.routers.iter().filter_map(Router::poll_timeout);
        routers.chain(self.tracked.poll_timeout()).chain(self.pacer.poll_timeout()).min()
    }

    /// One for each router of the plan.
    pub fn router_status(&self, now: Instant) -> Vec<RouterStatus> {
        self.routers.iter().map(|router| router.status(now)).collect()
    }

    /// One for each script of the plan.
    pub fn script_status(&self, now: Instant) -> Vec<ScriptStatus> {
        self.tracked.scripts.status(now)
    }

    /// One for each group of the plan.
    pub fn group_status(&self, now: Instant) -> Vec<GroupStatus> {
        self.groups.status(&self.routers, now)
    }

    /// One for each tracked file of the plan.
    pub fn file_status(&self, now: Instant) -> Vec<FileStatus> {
        self.tracked.files.status(now)
    }

    /// One for each of the plan's tracked processes.
    pub fn process_status(&self, now: Instant) -> Vec<ProcessStatus> {
        self.tracked.processes.status(now)
    }

    /// Does what is due for what is tracked.
    fn handle_due(&mut self, now: Instant) {
        if self.tracked.handle_timeout(now, &mut self.outputs) {
            self.apply_conditions(now);
        }
    }

    fn apply_conditions(&mut self, now: Instant) {
        for (router, share) in self.routers.iter_mut().zip(&self.shares) {
            let conditions = conditions(router.config(), &self.tracked, *share);
            router.handle_conditions(conditions, now);
        }
        self.settle(now);
    }

    /// Brings groups in line with what their members just did, and holds announcements back that have to wait.
    fn settle(&mut self, now: Instant) {
        self.groups.settle(&mut self.routers, &self.notifier, now, &mut self.outputs);
        if self.pacer.is_needed() {
            for output in
                self.routers.iter_mut().flat_map(|router| std::iter::from_fn(|| router.poll_output()))
            {
                self.paced.extend(self.pacer.pass(output, now));
            }
        }
    }
}

/// Whether what `sender` says about `vrid` is about this router: each family has its own virtual routers.
fn is_for(config: &Config, sender: IpAddr, vrid: Vrid) -> bool {
    config.vrid == vrid && config.family() == Family::of(sender)
}

fn conditions(config: &Config, tracked: &Tracked, share: Option<Share>) -> Conditions {
    let tracking = share::apply(share, track::tracking(config, tracked));
    Conditions { link: link(config, &tracked.interfaces), tracking }
}

/// What a router's own interface allows.
fn link(config: &Config, interfaces: &Interfaces) -> Link {
    let name = &config.interface;
    let state = match interfaces.get(name) {
        None => return Link::Unknown,
        Some(None) => return Link::Unusable(format!("interface {name} does not exist")),
        Some(Some(state)) => state,
    };
    if !state.running && !config.ignore_own_interface {
        return Link::Unusable(format!("interface {name} is down"));
    }
    match config.source.or_else(|| first_own_address(config, state)) {
        Some(source) => Link::Usable(source),
        None => Link::Unusable(format!("interface {name} has no address to send from")),
    }
}

/// The first address that is not a virtual one, unless this balancer owns the virtual ones. Over IPv6 it is link-local
/// (RFC 9568 §5.1.2.1), unless the peers are named by other addresses, which a link-local one cannot reach.
fn first_own_address(config: &Config, state: &InterfaceState) -> Option<IpAddr> {
    let is_virtual = |address: IpAddr| {
        let mut all = config.addresses.iter().chain(&config.excluded_addresses);
        all.any(|own| own.address == address)
    };
    let scope_fits = |address: IpAddr| match (address, &config.delivery) {
        (IpAddr::V4(_), _) => true,
        (IpAddr::V6(own), Delivery::Unicast { peers, .. }) => {
            peers.iter().all(|peer| is_link_local(&peer.address) == own.is_unicast_link_local())
        }
        (IpAddr::V6(own), Delivery::Multicast { .. }) => own.is_unicast_link_local(),
    };
    let mut addresses = state.addresses.iter().map(|&(address, _)| address);
    addresses.find(|&address| {
        Family::of(address) == config.family()
            && scope_fits(address)
            && (config.priority == Priority::OWNER || !is_virtual(address))
    })
}

fn is_link_local(address: &IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}
