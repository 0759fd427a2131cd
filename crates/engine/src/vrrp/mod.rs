//! VRRP: who owns the virtual addresses.
//!
//! Owns [`Vrrp`], all virtual routers of a daemon, and brings what happens to those it concerns. `packet` is the wire
//! format, `router` one virtual router, `track` what changes its priority.

mod complaints;
pub mod event;
pub mod hmac;
mod ip;
pub mod packet;
mod phrase;
mod router;
mod share;
#[cfg(test)]
pub(crate) mod testing;
pub mod track;

use std::collections::VecDeque;
use std::net::IpAddr;

use self::router::{Conditions, Link, Router};
use self::track::{Interfaces, ScriptOutcome, Scripts};
use crate::admin::{RouterStatus, ScriptStatus};
use crate::engine::{InterfaceState, Output, Share, Whereabouts};
use crate::plan::{
    Delivery, Family, HardwareAddress, Plan, Priority, Router as Config, RouterId, RoutingEntry, ScriptId,
    VirtualAddress, Vrid,
};
use crate::time::{Deadline, Instant, UnixTime, WallClock};

/// All virtual routers of a plan.
#[derive(Debug)]
pub struct Vrrp {
    routers: Vec<Router>,
    scripts: Scripts,
    interfaces: Interfaces,
    /// What this node reaches of what each router's group reaches, if that is less than all of it.
    shares: Vec<Option<Share>>,
    outputs: VecDeque<Output>,
}

impl Vrrp {
    /// Every router initialised; left-over addresses are removed first.
    pub fn new(plan: &Plan, now: Instant) -> Self {
        let (scripts, interfaces) = (Scripts::new(&plan.scripts, now), Interfaces::new());
        let routers = plan
            .routers
            .iter()
            .map(|config| Router::new(config.clone(), conditions(config, &scripts, &interfaces, None), now))
            .collect();
        let shares = vec![None; plan.routers.len()];
        let mut vrrp = Self { routers, scripts, interfaces, shares, outputs: VecDeque::new() };
        vrrp.run_scripts(now);
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
    }

    /// Takes in what the wall clock shows.
    pub fn handle_wall_clock(&mut self, shown: UnixTime, now: Instant) {
        let clock = WallClock::new(shown, now);
        self.routers.iter_mut().for_each(|router| router.handle_wall_clock(clock));
    }

    /// Takes in what an interface can do.
    pub fn handle_interface(&mut self, name: &str, state: Option<InterfaceState>, now: Instant) {
        self.interfaces.insert(name.to_owned(), state);
        self.apply_conditions(now);
    }

    /// Takes in that somebody else removed an address.
    pub fn handle_address_gone(&mut self, interface: &str, address: IpAddr, now: Instant) {
        for router in &mut self.routers {
            router.handle_address_gone(interface, address, now);
        }
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
    }

    /// Takes in that an address could not be installed.
    pub fn handle_install_failed(&mut self, address: &VirtualAddress, reason: String, now: Instant) {
        for router in &mut self.routers {
            router.handle_install_failed(address, reason.clone(), now);
        }
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
        self.scripts.handle_finished(script, run, &outcome, now, &mut self.outputs);
        self.apply_conditions(now);
    }

    /// Takes in that a peer's process seems to have ended: `concerned` routers that follow it ask whether it has.
    pub(crate) fn handle_peer_gone(&mut self, peer: IpAddr, concerned: &[RouterId], now: Instant) {
        for (id, router) in (0..).map(RouterId).zip(&mut self.routers) {
            if concerned.contains(&id) {
                router.challenge(peer, now);
            }
        }
    }

    /// Takes in how much of what its group reaches this node reaches; `None` is all of it.
    pub(crate) fn handle_share(&mut self, router: RouterId, share: Option<Share>, now: Instant) {
        let Some(known) = self.shares.get_mut(usize::from(router.0)) else { return };
        if std::mem::replace(known, share) != share {
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
        Ok(())
    }

    /// Gives the addresses to a peer, make before break, for good.
    pub fn handle_stop(&mut self, now: Instant) {
        self.routers.iter_mut().for_each(|router| router.handle_stop(now));
    }

    /// Whether no address is held any more after [`Vrrp::handle_stop`].
    pub fn has_let_go(&self) -> bool {
        self.routers.iter().all(Router::has_stopped)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.run_scripts(now);
        self.routers.iter_mut().for_each(|router| router.handle_timeout(now));
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        // What routers say comes first, because adverts are in a hurry.
        self.routers.iter_mut().find_map(Router::poll_output).or_else(|| self.outputs.pop_front())
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let routers = self.routers.iter().filter_map(Router::poll_timeout);
        routers.chain(self.scripts.poll_timeout()).min()
    }

    /// One for each router of the plan.
    pub fn router_status(&self, now: Instant) -> Vec<RouterStatus> {
        self.routers.iter().map(|router| router.status(now)).collect()
    }

    /// One for each script of the plan.
    pub fn script_status(&self, now: Instant) -> Vec<ScriptStatus> {
        self.scripts.status(now)
    }

    fn run_scripts(&mut self, now: Instant) {
        if self.scripts.handle_timeout(now, &mut self.outputs) {
            self.apply_conditions(now);
        }
    }

    fn apply_conditions(&mut self, now: Instant) {
        for (router, share) in self.routers.iter_mut().zip(&self.shares) {
            let conditions = conditions(router.config(), &self.scripts, &self.interfaces, *share);
            router.handle_conditions(conditions, now);
        }
    }
}

/// Whether what `sender` says about `vrid` is about this router: each family has its own virtual routers.
fn is_for(config: &Config, sender: IpAddr, vrid: Vrid) -> bool {
    config.vrid == vrid && config.family() == Family::of(sender)
}

fn conditions(
    config: &Config,
    scripts: &Scripts,
    interfaces: &Interfaces,
    share: Option<Share>,
) -> Conditions {
    let tracking = share::apply(share, track::tracking(config, scripts, interfaces));
    Conditions { link: link(config, interfaces), tracking }
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
