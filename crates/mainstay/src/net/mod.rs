//! What VRRP needs of the kernel's network: adverts in and out, addresses on and off, announcements, and news of
//! interfaces.
//!
//! Owns [`Network`]. It knows no policy: what to send, install or announce is the engine's decision. The control thread
//! sends and hears [`Adverts`] itself. Everything else can make a thread wait, for `nft` or for the kernel while it works
//! for others, and happens by [`Orders`] on a thread of its own.

mod adverts;
mod announce;
mod claims;
mod hand_over_rules;
mod links;
mod monitor;
mod netlink;
mod orders;
mod routing;
mod settings;
mod virtual_mac;
mod vrrp_socket;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use mainstay_engine::engine::{HandOverRules, InterfaceState};
use mainstay_engine::plan::{Delivery, Family, HardwareAddress, Plan, RoutingEntry, VirtualAddress, Vrid};
use mainstay_engine::vrrp::packet::{GROUP, GROUP_IPV6};
use nix::errno::Errno;

use self::announce::{Announcer, Port};
use self::claims::ClaimWatch;
use self::monitor::{Change, Monitor};
use self::netlink::{Address, Link, Netlink};
use self::settings::Settings;
use self::virtual_mac::VirtualInterface;
use self::vrrp_socket::VrrpSocket;

pub use self::adverts::Adverts;
pub use self::orders::{Move, Order, Orders, Report, THREAD as ORDERS_THREAD, Usher};
pub(crate) use self::wire::Messages;

/// Metric of the routes to the networks of addresses with a virtual MAC address: far behind those of the interface
/// below, so that the host's own packets go on leaving there.
const VIRTUAL_ROUTE_METRIC: u32 = 1 << 16;

/// The kernel's network as far as a plan's routers need it.
#[derive(Debug)]
pub struct Network {
    netlink: Netlink,
    monitor: Monitor,
    adverts: Adverts,
    interfaces: BTreeMap<String, Interface>,
    virtual_interfaces: Vec<VirtualInterface>,
    settings: Settings,
}

/// What [`Network::look`] found changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    /// An interface is different from the last look.
    Interface {
        /// Its name.
        name: String,
        /// What it can do now; `None` when it does not exist.
        state: Option<InterfaceState>,
    },
    /// An address that was installed and not removed here is not there any more.
    AddressGone {
        /// The interface.
        interface: String,
        /// The address.
        address: IpAddr,
    },
    /// Somebody else on a link says that it has a virtual address.
    AddressClaimed {
        /// The interface it was heard on.
        interface: String,
        /// The address.
        address: IpAddr,
        /// Whose it is said to be.
        hardware: HardwareAddress,
    },
    /// Adverts travel by other sockets now: wait for those.
    Sockets,
    /// Something that should work does not; a sentence for the log.
    Trouble(String),
}

#[derive(Debug, Default)]
struct Interface {
    /// The groups that adverts on it go to, for each family that has adverts here.
    adverts: BTreeMap<Family, Vec<IpAddr>>,
    /// Whether adverts on it come from a virtual MAC address.
    sends_frames: bool,
    /// Whether the kernel said that it changed since the last look.
    stale: bool,
    link: Option<Link>,
    /// As it was last reported; `None` before the first report.
    reported: Option<Option<InterfaceState>>,
    announcer: Option<Announcer>,
    /// The virtual addresses on it, of each family.
    claimable: BTreeMap<Family, Vec<IpAddr>>,
    watches: BTreeMap<Family, ClaimWatch>,
    /// Addresses installed and not removed here.
    installed: BTreeSet<IpAddr>,
}

impl Network {
    /// Starts to listen for changes of the interfaces that `plan` names. [`Network::look`] opens the rest.
    ///
    /// # Errors
    /// The kernel refused a netlink socket.
    pub fn open(plan: &Plan) -> io::Result<Self> {
        // Before the first look, so that nothing that happens in between is missed.
        let monitor = Monitor::open()?;
        Ok(Self {
            netlink: Netlink::open()?,
            monitor,
            adverts: Adverts::default(),
            interfaces: interfaces_of(plan),
            virtual_interfaces: virtual_mac::virtual_interfaces(plan),
            settings: Settings::default(),
        })
    }

    /// The adverts of its interfaces; their sockets come with the first look.
    pub fn adverts(&self) -> Adverts {
        self.adverts.clone()
    }

    /// Looks at every interface that the kernel said has changed, and at all of them the first time.
    pub fn look(&mut self) -> Vec<Finding> {
        for change in self.monitor.read() {
            for (name, interface) in &mut self.interfaces {
                interface.stale |= interface.concerns(name, &change);
            }
        }
        let mut findings = self.make_virtual_interfaces();
        for (name, interface) in self.interfaces.iter_mut().filter(|(_, interface)| interface.stale) {
            match interface.look(name, &mut self.netlink, &self.adverts) {
                Ok(found) => findings.extend(found),
                // It stays stale: the next change anywhere asks again.
                Err(error) => findings.push(Finding::Trouble(format!("cannot look at {name}: {error}"))),
            }
        }
        for (name, interface) in &mut self.interfaces {
            for watch in interface.watches.values_mut() {
                watch.receive(|address, hardware| {
                    findings.push(Finding::AddressClaimed { interface: name.clone(), address, hardware });
                });
            }
        }
        findings
    }

    /// Puts an address on its interface, or renews its lifetime if it is there.
    ///
    /// # Errors
    /// The kernel's, or that there is no such interface now.
    pub fn install(&mut self, address: &VirtualAddress, lifetime: Option<Duration>) -> io::Result<()> {
        let interface = self.interfaces.get_mut(&address.interface).ok_or_else(no_interface)?;
        let link = interface.link.ok_or_else(no_interface)?;
        let is_virtual = self.virtual_interfaces.iter().any(|own| own.name == address.interface);
        if is_virtual && (interface.installed.is_empty() || !link.running) {
            self.netlink.set_up(link.index, true)?;
        }
        let metric = is_virtual.then_some(VIRTUAL_ROUTE_METRIC);
        self.netlink.install(link.index, address, lifetime, metric)?;
        interface.installed.insert(address.address);
        Ok(())
    }

    /// Whether an address was put on its interface, and is not known to be gone.
    pub fn has(&self, address: &VirtualAddress) -> bool {
        let interface = self.interfaces.get(&address.interface);
        interface.is_some_and(|interface| interface.installed.contains(&address.address))
    }

    /// Takes an address off its interface. Returns whether it was there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&mut self, address: &VirtualAddress) -> io::Result<bool> {
        let Some(interface) = self.interfaces.get_mut(&address.interface) else { return Ok(false) };
        interface.installed.remove(&address.address);
        let Some(link) = interface.link else { return Ok(false) };
        let was_there = self.netlink.remove(link.index, address)?;
        let is_virtual = self.virtual_interfaces.iter().any(|own| own.name == address.interface);
        if is_virtual && interface.installed.is_empty() {
            self.netlink.set_up(link.index, false)?;
        }
        Ok(was_there)
    }

    /// Puts a route or rule in force unless it is. Returns whether it was not.
    ///
    /// # Errors
    /// The kernel's, or that an interface it names does not exist.
    pub fn install_routing(&mut self, entry: &RoutingEntry) -> io::Result<bool> {
        self.netlink.install_routing(entry)
    }

    /// Takes a route or rule back; fine if it is not there.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove_routing(&mut self, entry: &RoutingEntry) -> io::Result<()> {
        self.netlink.remove_routing(entry)
    }

    /// Takes away what was made here, and puts back what was changed. Returns a sentence for what could not be.
    pub fn close(mut self) -> Vec<String> {
        let mut complaints = Vec::new();
        for own in &mut self.virtual_interfaces {
            if let Err(error) = own.delete(&mut self.netlink) {
                complaints.push(format!("cannot take {} away: {error}", own.name));
            }
        }
        complaints.extend(self.settings.restore());
        complaints
    }

    /// Puts the rules of one virtual router for a move in force; `None` ends them.
    ///
    /// # Errors
    /// A sentence with the reason, and then nothing of them is in force.
    pub fn hand_over_rules(
        &self,
        interface: &str,
        vrid: Vrid,
        rules: Option<&HandOverRules>,
    ) -> Result<(), String> {
        let link = self.interfaces.get(interface).and_then(|found| found.link);
        // Without the interface, there are no rules on it to end.
        let Some(link) = link else { return rules.map_or(Ok(()), |_| Err(no_interface().to_string())) };
        hand_over_rules::apply(interface, link.index, vrid, rules)
    }

    /// Announces an address once, to everybody on the link.
    ///
    /// # Errors
    /// The kernel's, or that there is no such interface now.
    pub fn announce(&mut self, interface: &str, address: IpAddr) -> io::Result<()> {
        self.announcer(interface)?.announce(address)
    }

    /// Asks once who has an address.
    ///
    /// # Errors
    /// The kernel's, or that there is no such interface now.
    pub fn probe(&mut self, interface: &str, address: IpAddr) -> io::Result<()> {
        self.announcer(interface)?.probe(address)
    }

    /// Readable when [`Network::look`] has something to do.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let watches = self.interfaces.values().flat_map(|interface| interface.watches.values());
        watches.map(AsFd::as_fd).chain([self.monitor.as_fd()])
    }

    fn announcer(&mut self, interface: &str) -> io::Result<&Announcer> {
        let found = self.interfaces.get_mut(interface).ok_or_else(no_interface)?;
        found.announcer(interface)
    }

    /// Makes the interfaces with virtual MAC addresses that are missing, where something changed.
    fn make_virtual_interfaces(&mut self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for own in &mut self.virtual_interfaces {
            let concerned = [&own.base, &own.name];
            let stale =
                concerned.iter().any(|name| self.interfaces.get(*name).is_some_and(|found| found.stale));
            if !stale {
                continue;
            }
            if let Err(error) = own.ensure(&mut self.netlink, &mut self.settings) {
                let sentence = format!("cannot make interface {} on {}: {error}", own.name, own.base);
                findings.push(Finding::Trouble(sentence));
            }
            if let Some(interface) = self.interfaces.get_mut(&own.name) {
                interface.stale = true;
            }
        }
        findings
    }
}

impl Interface {
    /// What sends whole frames on it, opened when it is first needed.
    fn announcer(&mut self, name: &str) -> io::Result<&Announcer> {
        if self.announcer.is_none() {
            self.announcer = Some(Announcer::open(name)?);
        }
        self.announcer.as_ref().ok_or_else(no_interface)
    }

    fn concerns(&self, own_name: &str, change: &Change) -> bool {
        let is_mine = |index: &u32| self.link.is_some_and(|link| link.index == *index);
        match change {
            Change::Link { index, name } => name == own_name || is_mine(index),
            // Every renewal of an own address is a change too; it is not worth a look.
            Change::AddressAdded { index, address } => is_mine(index) && !self.installed.contains(address),
            Change::AddressRemoved { index } => is_mine(index),
            Change::Lost => true,
        }
    }

    fn look(&mut self, name: &str, netlink: &mut Netlink, adverts: &Adverts) -> io::Result<Vec<Finding>> {
        let link = netlink.link(name)?;
        let addresses = match link {
            Some(link) => netlink.addresses(link.index)?,
            None => Vec::new(),
        };
        self.stale = false;
        // A hardware address may have changed with the state.
        self.announcer = None;
        let mut findings = self.follow(name, link, adverts);
        self.watch(name);
        let able = link.filter(|_| self.adverts.keys().all(|&family| adverts.has(name, family)));
        let able = able.filter(|_| !self.sends_frames || adverts.has_frames(name));
        let state = able.map(|link| InterfaceState { running: link.running, addresses: usable(&addresses) });
        if self.reported.as_ref() != Some(&state) {
            self.reported = Some(state.clone());
            findings.push(Finding::Interface { name: name.to_owned(), state });
        }
        let here: BTreeSet<IpAddr> = addresses.iter().map(|address| address.address).collect();
        for gone in self.installed.difference(&here) {
            findings.push(Finding::AddressGone { interface: name.to_owned(), address: *gone });
        }
        self.installed.retain(|address| here.contains(address));
        Ok(findings)
    }

    /// Opens the advert sockets of an interface that is new. Without them the interface counts as missing: a router
    /// that cannot hear its peers must not believe that there are none.
    fn follow(&mut self, name: &str, link: Option<Link>, adverts: &Adverts) -> Vec<Finding> {
        let mut findings = Vec::new();
        let is_same = link.map(|link| link.index) == self.link.map(|link| link.index);
        if !is_same && adverts.close(name) {
            findings.push(Finding::Sockets);
        }
        self.link = link;
        let Some(link) = link else { return findings };
        for (&family, groups) in &self.adverts {
            if adverts.has(name, family) {
                continue;
            }
            match VrrpSocket::open(name, link.index, family, groups) {
                Ok(socket) => {
                    adverts.add(name, family, socket);
                    findings.push(Finding::Sockets);
                }
                Err(error) => {
                    self.stale = true;
                    let sentence = format!("cannot open an {family} VRRP socket on {name}: {error}");
                    findings.push(Finding::Trouble(sentence));
                }
            }
        }
        if self.sends_frames && !adverts.has_frames(name) {
            match Announcer::open(name) {
                Ok(socket) => adverts.add_frames(name, socket),
                Err(error) => {
                    self.stale = true;
                    let sentence = format!("cannot open a socket for frames on {name}: {error}");
                    findings.push(Finding::Trouble(sentence));
                }
            }
        }
        findings
    }
}

impl Interface {
    /// Opens what hears others claim its addresses. Where that cannot be, on an interface without Ethernet, nobody
    /// could claim them that way either.
    fn watch(&mut self, name: &str) {
        // One that goes on keeps what it has heard.
        let port = Port::of(name).ok();
        self.watches.retain(|_, watch| port.as_ref().is_some_and(|port| watch.is_of(port)));
        let missing = self.claimable.iter().filter(|(family, _)| !self.watches.contains_key(family));
        let missing: Vec<_> = missing.filter(|_| self.link.is_some()).collect();
        for (&family, addresses) in missing {
            match ClaimWatch::open(name, family, addresses) {
                Ok(watch) => drop(self.watches.insert(family, watch)),
                Err(error) => tracing::debug!("cannot watch {name} for address conflicts: {error}"),
            }
        }
    }
}

fn interfaces_of(plan: &Plan) -> BTreeMap<String, Interface> {
    let mut interfaces: BTreeMap<String, Interface> = BTreeMap::new();
    for router in &plan.routers {
        let interface = interfaces.entry(router.interface.clone()).or_default();
        interface.sends_frames |= router.virtual_mac.as_ref().is_some_and(|own| !own.transmit_on_base);
        let groups = interface.adverts.entry(router.family()).or_default();
        let group = match router.delivery {
            Delivery::Multicast { group } => group,
            // Nobody should use it here; who does by mistake is named.
            Delivery::Unicast { .. } => usual_group(router.family()),
        };
        if !groups.contains(&group) {
            groups.push(group);
        }
        for address in router.addresses.iter().chain(&router.excluded_addresses) {
            let interface = interfaces.entry(address.interface.clone()).or_default();
            let claimable = interface.claimable.entry(Family::of(address.address)).or_default();
            if !claimable.contains(&address.address) {
                claimable.push(address.address);
            }
        }
        if let Some(own) = &router.virtual_mac {
            interfaces.entry(own.interface.clone()).or_default();
        }
        for tracked in &router.track_interfaces {
            interfaces.entry(tracked.interface.clone()).or_default();
        }
    }
    interfaces.values_mut().for_each(|interface| interface.stale = true);
    interfaces
}

const fn usual_group(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(GROUP),
        Family::Ipv6 => IpAddr::V6(GROUP_IPV6),
    }
}

/// Primary addresses first: the first one is the source of adverts. What duplicate address detection has not cleared
/// cannot be one.
fn usable(addresses: &[Address]) -> Vec<(IpAddr, u8)> {
    let mut sorted: Vec<&Address> = addresses.iter().filter(|address| !address.tentative).collect();
    sorted.sort_by_key(|address| address.secondary);
    sorted.into_iter().map(|address| (address.address, address.prefix_length)).collect()
}

fn no_interface() -> io::Error {
    io::Error::from(Errno::ENODEV)
}

#[cfg(test)]
mod tests;
