//! One engine with one router on a bench: a clock that is turned by hand, a peer that says what it is told to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::DifferenceStatus;
use mainstay_engine::engine::{HandOverRules, InterfaceState};
use mainstay_engine::peers::PeerOptions;
use mainstay_engine::plan::{
    AnnouncePolicy, Authentication, Delivery, Notify, Plan, Preempt, Priority, Router, Scope, Version,
    VirtualAddress, Vrid,
};
use mainstay_engine::time::{Centis, Instant};
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::vrrp::packet::{Advert, ChecksumForm, Form, GROUP, GROUP_IPV6, LAN_TTL, decode, encode};
use mainstay_engine::{Engine, Event, Input, Output};

pub(crate) const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5));
pub(crate) const LOWER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
pub(crate) const HIGHER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9));
pub(crate) const OWN_IPV6: IpAddr = link_local(5);
pub(crate) const LOWER_IPV6: IpAddr = link_local(1);
pub(crate) const HIGHER_IPV6: IpAddr = link_local(9);
pub(crate) const VIRTUAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
pub(crate) const SECOND: Duration = Duration::from_secs(1);

const fn link_local(number: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number))
}

/// A version 2 multicast router with Keepalived's defaults.
pub(crate) fn router(priority: u8) -> Router {
    Router {
        name: "V".to_owned(),
        interface: "eth0".to_owned(),
        vrid: Vrid::new(51).expect("not 0"),
        priority: Priority(priority),
        version: Version::V2,
        advert_interval: Centis::new(100),
        delivery: Delivery::Multicast { group: GROUP.into() },
        source: None,
        checksum: None,
        missed_adverts: 3,
        trusts_active_router: false,
        authentication: Authentication::None,
        link_secret: None,
        preempt: Preempt::After(Duration::ZERO),
        addresses: vec![VirtualAddress {
            address: VIRTUAL,
            prefix_length: 24,
            interface: "eth0".to_owned(),
            label: None,
            broadcast: None,
            scope: Scope::Global,
        }],
        excluded_addresses: Vec::new(),
        virtual_mac: None,
        routing: Vec::new(),
        track_scripts: Vec::new(),
        track_interfaces: Vec::new(),
        track_files: Vec::new(),
        track_processes: Vec::new(),
        ignore_own_interface: false,
        answers_lower_priority: true,
        answers_higher_priority: false,
        announce: AnnouncePolicy {
            repeat: 5,
            delay: 5 * SECOND,
            refresh: None,
            refresh_repeat: 1,
            lower_priority_repeat: 5,
            lower_priority_delay: 5 * SECOND,
            other_interfaces_refresh: None,
        },
        notify: Notify::default(),
    }
}

/// As [`router`], version 3 with an advert every 100 ms.
pub(crate) fn fast(priority: u8) -> Router {
    Router { version: Version::V3, advert_interval: Centis::new(10), ..router(priority) }
}

/// As [`fast`], over IPv6, with a link-local address and another.
pub(crate) fn ipv6(priority: u8) -> Router {
    let like = &router(priority).addresses[0];
    let address = |address| VirtualAddress { address, prefix_length: 64, ..like.clone() };
    let global = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 100);
    Router {
        delivery: Delivery::Multicast { group: GROUP_IPV6.into() },
        addresses: vec![address(link_local(100)), address(global.into())],
        ..fast(priority)
    }
}

pub(crate) struct Bench {
    pub(crate) engine: Engine,
    pub(crate) now: Instant,
    config: Router,
    /// Everything that was done since the last [`Bench::take`].
    done: Vec<Output>,
}

impl Bench {
    /// A daemon that has just started and has not looked at its interface.
    pub(crate) fn unaware(config: Router) -> Self {
        Self::with_peers(Plan { routers: vec![config], ..Plan::default() }, PeerOptions::default())
    }

    /// As [`Bench::new`], with more than a router in its plan.
    pub(crate) fn of_plan(plan: Plan) -> Self {
        let mut bench = Self::with_peers(plan, PeerOptions::default());
        bench.link(true);
        bench.take();
        bench
    }

    /// As [`Bench::unaware`], with a whole plan.
    pub(crate) fn with_peers(plan: Plan, options: PeerOptions) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let config = plan.routers[0].clone();
        let engine = Engine::with_peers(Arc::new(plan), options, 1, now);
        let mut bench = Self { engine, now, config, done: Vec::new() };
        bench.collect();
        bench
    }

    /// A daemon that knows its interface, and what it did so far forgotten.
    pub(crate) fn new(config: Router) -> Self {
        Self::of_plan(Plan { routers: vec![config], ..Plan::default() })
    }

    /// As [`Bench::new`], and after the master-down interval of a LAN on which nobody else is.
    pub(crate) fn active(config: Router) -> Self {
        let mut bench = Self::new(config);
        bench.pass(4 * SECOND);
        assert_eq!(bench.state(), "active");
        bench.take();
        bench
    }

    pub(crate) fn link(&mut self, running: bool) {
        self.has(running, &[(OWN, 24), (OWN_IPV6, 64)]);
    }

    /// The interface as it is, with the addresses it has.
    pub(crate) fn has(&mut self, running: bool, addresses: &[(IpAddr, u8)]) {
        let state = Some(InterfaceState { running, addresses: addresses.to_vec() });
        self.handle(Input::Interface { name: "eth0", state });
    }

    pub(crate) fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(input, self.now);
        self.collect();
    }

    /// Lets time pass, waking at every deadline.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.engine.poll_timeout().filter(|deadline| deadline.at <= end) {
            self.now = deadline.at;
            self.engine.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// Lets time pass without being woken, as a stopped process does.
    pub(crate) fn oversleep(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    pub(crate) fn wake(&mut self) {
        self.engine.handle_timeout(self.now);
        self.collect();
    }

    /// How long until the router is active.
    pub(crate) fn until_active(&mut self) -> Duration {
        let began = self.now;
        while self.state() != "active" {
            let deadline = self.engine.poll_timeout().expect("something is due");
            self.now = deadline.at;
            self.wake();
        }
        self.now.since(began)
    }

    /// What another router of this group says.
    pub(crate) fn advert(&self, source: IpAddr, priority: u8) -> Advert {
        let destination = match self.config.delivery {
            Delivery::Multicast { group } => group,
            Delivery::Unicast { .. } => OWN,
        };
        Advert {
            source,
            destination,
            ttl: LAN_TTL,
            vrid: self.config.vrid,
            priority: Priority(priority),
            interval: self.config.advert_interval,
            addresses: self.config.addresses.iter().map(|own| own.address).collect(),
            form: match self.config.version {
                Version::V2 => Form::V2 { authentication: self.config.authentication.clone() },
                Version::V3 => Form::V3 { checksum: ChecksumForm::PseudoHeader },
            },
            trailer: None,
        }
    }

    pub(crate) fn hear(&mut self, source: IpAddr, priority: u8) {
        let advert = self.advert(source, priority);
        self.hear_this(&advert);
    }

    pub(crate) fn hear_this(&mut self, advert: &Advert) {
        self.hear_bytes(&encode(advert, 1));
    }

    pub(crate) fn hear_bytes(&mut self, datagram: &[u8]) {
        self.handle(Input::Datagram { interface: "eth0", datagram });
    }

    /// The datagrams that were sent since.
    pub(crate) fn sent(&mut self) -> Vec<Vec<u8>> {
        let datagram = |output| match output {
            Output::SendAdvert { datagram, .. } => Some(datagram),
            _ => None,
        };
        self.take().into_iter().filter_map(datagram).collect()
    }

    /// The stable names of what was refused, each with its count.
    pub(crate) fn refused(&self) -> Vec<(String, u64)> {
        let router = self.engine.status(self.now).routers.swap_remove(0);
        router.refused.into_iter().map(|refused| (refused.reason, refused.count)).collect()
    }

    pub(crate) fn state(&self) -> String {
        self.engine.status(self.now).routers[0].state.clone()
    }

    pub(crate) fn reason(&self) -> String {
        self.engine.status(self.now).routers[0].reason.clone()
    }

    /// What `status` says is wrong between it and others.
    pub(crate) fn differences(&self) -> Vec<DifferenceStatus> {
        self.engine.status(self.now).routers.remove(0).differences
    }

    pub(crate) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.done)
    }

    /// What was done since, one word each, in order.
    pub(crate) fn deeds(&mut self) -> Vec<String> {
        self.take().iter().filter_map(deed).collect()
    }

    fn collect(&mut self) {
        self.done.extend(std::iter::from_fn(|| self.engine.poll_output()));
    }
}

/// A short form of everything but the data plane's business and what is only said.
fn deed(output: &Output) -> Option<String> {
    Some(match output {
        Output::SendAdvert { datagram, .. } => {
            format!("advert {}", decode(datagram).expect("own adverts are sound").priority)
        }
        Output::InstallAddress { .. } => "install".to_owned(),
        Output::RemoveAddress { .. } => "remove".to_owned(),
        Output::Announce { .. } => "announce".to_owned(),
        Output::InstallRouting { entry } => format!("+{entry}"),
        Output::RemoveRouting { entry } => format!("-{entry}"),
        Output::HandOverRules { rules: None, .. } => "no rules".to_owned(),
        Output::HandOverRules { rules: Some(HandOverRules::Silence { .. }), .. } => "silence".to_owned(),
        Output::HandOverRules { rules: Some(HandOverRules::Forward { to, .. }), .. } => {
            format!("forward to {to}")
        }
        Output::Exit => "exit".to_owned(),
        _ => return None,
    })
}

/// The events of a kind among what was done.
pub(crate) fn events(outputs: &[Output]) -> Vec<&VrrpEvent> {
    let event = |output| match output {
        &Output::Event(Event::Vrrp(ref event)) => Some(event),
        _ => None,
    };
    outputs.iter().filter_map(event).collect()
}
