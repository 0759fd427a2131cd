//! Gives what is known of names to servers.
//!
//! Owns [`Slot`] and [`Resolve::assign`]. A server keeps what it has for as long as that counts, so nothing moves because
//! an answer came in another order.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::plan::{Family, Lookup, Network, PoolId, Server, ServerId};
use crate::resolve::name::Name;
use crate::resolve::{Key, Move, Resolve, Sought};
use crate::time::Instant;

/// A server whose address comes from DNS.
#[derive(Debug)]
pub(super) struct Slot {
    server: ServerId,
    pub(super) key: Key,
    lookup: Lookup,
    /// The port of the file; a service tells its own.
    port: u16,
    /// The instance of a service that it is.
    instance: Option<(String, u16)>,
    /// What was said of it last.
    told: Move,
}

impl Slot {
    /// A server that has a lookup.
    pub(super) fn new(id: ServerId, server: &Server) -> Option<Self> {
        let lookup = server.lookup.clone()?;
        let sought = if lookup.service { Sought::Service } else { address_of(&lookup) };
        let key = Key { resolver: lookup.resolver, name: lookup.name.clone(), sought };
        let address = Some(server.address).filter(|address| !address.ip().is_unspecified());
        let told = Move { server: id, address, weight: None };
        Some(Self { server: id, key, lookup, port: server.address.port(), instance: None, told })
    }

    /// The name that has its address; `None` while it is no instance of its service.
    fn host(&self) -> Option<Key> {
        match (&self.instance, self.lookup.service) {
            (Some((host, _)), true) => {
                let (resolver, sought) = (self.lookup.resolver, address_of(&self.lookup));
                Some(Key { resolver, name: host.clone(), sought })
            }
            (None, true) => None,
            (_, false) => Some(self.key.clone()),
        }
    }

    fn address_port(&self) -> u16 {
        self.instance.as_ref().map_or(self.port, |(_, port)| *port)
    }
}

fn address_of(lookup: &Lookup) -> Sought {
    Sought::Address { ipv4_first: lookup.prefer == Family::Ipv4 }
}

/// Servers that may not have the same address: of one pool, one name and one port.
type Siblings = (PoolId, Key, u16);

impl Resolve {
    /// Gives every server what it should have now.
    pub(super) fn assign(&mut self, now: Instant) {
        self.assign_instances();
        self.seek_hosts(now);
        self.assign_addresses();
    }

    /// Makes servers instances of their services: first those that are already, then the others in order.
    fn assign_instances(&mut self) {
        let mut taken: BTreeSet<(PoolId, Key, (String, u16))> = BTreeSet::new();
        let identity =
            |slot: &Slot, instance: &(String, u16)| (slot.server.pool, slot.key.clone(), instance.clone());
        for slot in self.slots.iter_mut().filter(|slot| slot.lookup.service) {
            let Some(name) = self.names.get(&slot.key).filter(|name| name.told) else { continue };
            let kept = slot.instance.take().filter(|instance| name.weight(instance).is_some());
            slot.instance = kept.filter(|instance| taken.insert(identity(slot, instance)));
        }
        for slot in self.slots.iter_mut().filter(|slot| slot.lookup.service && slot.instance.is_none()) {
            let Some(name) = self.names.get(&slot.key).filter(|name| name.told) else { continue };
            let free = name.instances().find(|(instance, _)| !taken.contains(&identity(slot, instance)));
            slot.instance = free.map(|(instance, _)| instance.clone());
            taken.extend(slot.instance.as_ref().map(|instance| identity(slot, instance)));
        }
    }

    /// Asks for the hosts of instances, and no more for those that nobody needs.
    fn seek_hosts(&mut self, now: Instant) {
        let services = self.slots.iter().map(|slot| slot.key.clone());
        let needed: BTreeSet<Key> = services.chain(self.slots.iter().filter_map(Slot::host)).collect();
        self.names.retain(|key, _| needed.contains(key));
        self.asked.retain(|_, key| needed.contains(key));
        for key in needed {
            self.names.entry(key).or_insert_with(|| Name::new(now));
        }
    }

    fn assign_addresses(&mut self) {
        let mut taken: BTreeSet<(Siblings, IpAddr)> = BTreeSet::new();
        let mut chosen: Vec<Option<IpAddr>> = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let current = slot.told.address.map(|address| address.ip());
            let name = slot.host().and_then(|key| self.names.get(&key));
            // The address of the file counts until DNS says something; a service has none there.
            let first = !slot.lookup.service && name.is_some_and(|name| !name.told);
            let kept = current.filter(|ip| first || name.is_some_and(|name| name.has_address(*ip)));
            let free = |ip: &IpAddr| !taken.contains(&(siblings(slot), *ip));
            let own = kept.filter(|ip| first || slot.lookup.duplicates || free(ip));
            taken.extend(own.map(|ip| (siblings(slot), ip)));
            chosen.push(own);
        }
        for (slot, chosen) in self.slots.iter().zip(&mut chosen).filter(|(_, chosen)| chosen.is_none()) {
            let Some(name) = slot.host().and_then(|key| self.names.get(&key)) else { continue };
            let free = |ip: &IpAddr| slot.lookup.duplicates || !taken.contains(&(siblings(slot), *ip));
            *chosen = name.addresses().filter(free).min_by_key(|ip| rank(&slot.lookup, *ip));
            taken.extend(chosen.map(|ip| (siblings(slot), ip)));
        }
        for (slot, ip) in self.slots.iter_mut().zip(chosen) {
            let address = ip.map(|ip| SocketAddr::new(ip, slot.address_port()));
            let weight = slot.instance.as_ref().filter(|_| !slot.lookup.ignore_weight);
            let weight = weight.and_then(|instance| self.names.get(&slot.key)?.weight(instance));
            // The mapping of HAProxy: 0 stays 0, and 65535 is 256.
            let weight = weight.map(|weight| weight.div_ceil(256)).or(slot.told.weight);
            let now = Move { server: slot.server, address, weight };
            if now != slot.told {
                slot.told = now;
                self.moves.push_back(now);
            }
        }
    }
}

fn siblings(slot: &Slot) -> Siblings {
    (slot.server.pool, slot.key.clone(), slot.address_port())
}

/// What is taken first: the preferred networks, then the preferred family, then the lowest address.
fn rank(lookup: &Lookup, ip: IpAddr) -> (bool, bool, IpAddr) {
    let outside = !lookup.networks.iter().any(|network| contains(network, ip));
    (outside, Family::of(ip) != lookup.prefer, ip)
}

fn contains(network: &Network, ip: IpAddr) -> bool {
    let length = u32::from(network.prefix_length);
    match (network.address, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let differs = network.to_bits() ^ ip.to_bits();
            differs.leading_zeros() >= length
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let differs = network.to_bits() ^ ip.to_bits();
            differs.leading_zeros() >= length
        }
        _ => false,
    }
}
