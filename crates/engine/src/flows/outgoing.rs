//! What this node tells its peers of the flows it has.
//!
//! Owns [`Outgoing`]. Each peer is told all flows of an address in pages, and then what changed, one message at a time
//! whenever it has room for one: a slow peer costs no more memory than [`FLOW_CHANGES_WAITING`] names. A flow that ends
//! before it was told of is never mentioned, so short connections cost nothing on the link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;

use super::wire::Message;
use super::{Flow, FlowName, Path, PeerKey};
use crate::limits::{FLOW_CHANGES_WAITING, FLOWS, FLOWS_PER_MESSAGE, FLOWS_TOLD_ANEW, FLOWS_WORD};
use crate::time::Instant;

/// The flows of this node, and how far each peer knows them.
#[derive(Debug, Default)]
pub struct Outgoing {
    held: BTreeMap<IpAddr, Held>,
    peers: BTreeMap<PeerKey, Listener>,
    /// Whether [`FLOWS`] was hit and nobody asked yet.
    bound_hit: bool,
}

/// One address that this node has.
#[derive(Debug, Default)]
struct Held {
    flows: BTreeMap<FlowName, Path>,
    /// Whether they were compared with the kernel's yet: before that, nobody is told that they are all.
    compared: bool,
}

/// What one peer was told of each address.
#[derive(Debug, Default)]
struct Listener {
    told: BTreeMap<IpAddr, Told>,
    released: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Told {
    until: Until,
    /// Flows that changed since the peer was told of them, or would have been. Whether the peer knows each.
    changed: BTreeMap<FlowName, bool>,
}

/// How far the peer was told of all flows.
#[derive(Debug)]
enum Until {
    /// Not at all.
    Nothing,
    /// That there is something to come, and everything up to this one.
    Flow(Option<FlowName>),
    /// Everything. `said` is when the peer last heard something.
    End { since: Instant, said: Instant },
}

impl Told {
    const NOTHING: Self = Self { until: Until::Nothing, changed: BTreeMap::new() };

    /// Whether the pages told so far would have had it.
    fn reached(&self, name: &FlowName) -> bool {
        match &self.until {
            Until::Nothing => false,
            Until::Flow(last) => last.as_ref().is_some_and(|last| name <= last),
            Until::End { .. } => true,
        }
    }

    /// Takes in that a flow is there, is another one, or is no more.
    fn change(&mut self, name: FlowName, was_there: bool, is_there: bool) {
        if !self.reached(&name) {
            return;
        }
        let known = *self.changed.entry(name).or_insert(was_there);
        if !known && !is_there {
            self.changed.remove(&name);
        }
        if self.changed.len() > FLOW_CHANGES_WAITING {
            *self = Self::NOTHING;
        }
    }
}

impl Outgoing {
    /// Takes in that this node has `address`. Nobody is told before [`Outgoing::compare`].
    pub fn hold(&mut self, address: IpAddr) {
        self.held.entry(address).or_default();
        for peer in self.peers.values_mut() {
            peer.released.remove(&address);
        }
    }

    /// Takes in that this node does not have `address` any more.
    pub fn release(&mut self, address: IpAddr) {
        if self.held.remove(&address).is_none() {
            return;
        }
        for peer in self.peers.values_mut() {
            if peer.told.remove(&address).is_some_and(|told| !matches!(told.until, Until::Nothing)) {
                peer.released.insert(address);
            }
        }
    }

    /// Whether this node has any address.
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether this node has `address`.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.held.contains_key(&address)
    }

    /// Takes in all established flows there are, whatever was said of them before.
    pub fn compare(&mut self, flows: impl IntoIterator<Item = Flow>) {
        let mut there: BTreeMap<IpAddr, BTreeSet<FlowName>> = BTreeMap::new();
        for flow in flows {
            there.entry(flow.endpoint.ip()).or_default().insert(flow.name());
            self.established(flow);
        }
        let nothing = BTreeSet::new();
        for (&address, held) in &mut self.held {
            held.compared = true;
            let there = there.get(&address).unwrap_or(&nothing);
            let gone: Vec<_> = held.flows.keys().filter(|name| !there.contains(name)).copied().collect();
            for name in gone {
                held.flows.remove(&name);
                change(&mut self.peers, address, name, true, false);
            }
        }
    }

    /// Takes in that a flow is established.
    pub fn established(&mut self, flow: Flow) {
        let count = self.flows();
        let address = flow.endpoint.ip();
        let Some(held) = self.held.get_mut(&address).filter(|_| flow.is_forwarded()) else { return };
        let (name, path) = (flow.name(), flow.path());
        let before = held.flows.get(&name);
        if before == Some(&path) {
            return;
        }
        let was_there = before.is_some();
        if !was_there && count >= FLOWS {
            self.bound_hit = true;
            return;
        }
        held.flows.insert(name, path);
        change(&mut self.peers, address, name, was_there, true);
    }

    /// Takes in that a flow is not established any more.
    pub fn ended(&mut self, client: SocketAddr, endpoint: SocketAddr) {
        let (address, name) = (endpoint.ip(), FlowName { client, port: endpoint.port() });
        let was_there = self.held.get_mut(&address).is_some_and(|held| held.flows.remove(&name).is_some());
        if was_there {
            change(&mut self.peers, address, name, true, false);
        }
    }

    /// Flows that this node has.
    pub fn flows(&self) -> usize {
        self.held.values().map(|held| held.flows.len()).sum()
    }

    /// Whether there are more flows than [`FLOWS`], once each time it was found.
    pub fn take_bound_hit(&mut self) -> bool {
        std::mem::take(&mut self.bound_hit)
    }

    /// Takes in that a peer wants to be told. One that comes again starts from nothing.
    pub fn listen(&mut self, peer: PeerKey) {
        self.peers.insert(peer, Listener::default());
    }

    /// Takes in that a peer does not listen any more.
    pub fn hang_up(&mut self, peer: PeerKey) {
        self.peers.remove(&peer);
    }

    /// Flows that a peer knows, roughly: changes that wait are not counted.
    pub fn told(&self, peer: PeerKey) -> usize {
        let Some(peer) = self.peers.get(&peer) else { return 0 };
        let whole = peer.told.iter().filter(|(_, told)| matches!(told.until, Until::End { .. }));
        whole.filter_map(|(address, _)| self.held.get(address)).map(|held| held.flows.len()).sum()
    }

    /// What to tell a peer next; `None` when it knows everything.
    pub fn message_for(&mut self, peer: PeerKey, now: Instant) -> Option<Message> {
        let peer = self.peers.get_mut(&peer)?;
        if let Some(address) = peer.released.pop_first() {
            return Some(Message::Released(address));
        }
        let compared = self.held.iter().filter(|(_, held)| held.compared);
        compared.into_iter().find_map(|(&address, held)| {
            peer.told.entry(address).or_insert(Told::NOTHING).next(address, held, now)
        })
    }
}

fn change(
    peers: &mut BTreeMap<PeerKey, Listener>,
    address: IpAddr,
    name: FlowName,
    was_there: bool,
    is_there: bool,
) {
    for told in peers.values_mut().filter_map(|peer| peer.told.get_mut(&address)) {
        told.change(name, was_there, is_there);
    }
}

impl Told {
    fn next(&mut self, address: IpAddr, held: &Held, now: Instant) -> Option<Message> {
        match self.until {
            Until::Nothing => {
                self.changed.clear();
                self.until = Until::Flow(None);
                Some(Message::Begin(address))
            }
            Until::Flow(last) => {
                let after = last.map_or(Bound::Unbounded, Bound::Excluded);
                let page = held.flows.range((after, Bound::Unbounded)).take(FLOWS_PER_MESSAGE);
                let page: Vec<_> = page.map(|(name, path)| name.flow(address, *path)).collect();
                let Some(last) = page.last().map(Flow::name) else {
                    self.until = Until::End { since: now, said: now };
                    return Some(Message::Whole(address));
                };
                self.until = Until::Flow(Some(last));
                Some(Message::Flows(address, page))
            }
            Until::End { since, .. } if now.since(since) >= FLOWS_TOLD_ANEW => {
                self.until = Until::Nothing;
                self.next(address, held, now)
            }
            Until::End { since, said } => {
                let silent = now.since(said) >= FLOWS_WORD;
                let word = || silent.then_some(Message::Whole(address));
                let message = self.next_change(address, held).or_else(word)?;
                self.until = Until::End { since, said: now };
                Some(message)
            }
        }
    }

    fn next_change(&mut self, address: IpAddr, held: &Held) -> Option<Message> {
        let is_there = |name: &FlowName| held.flows.contains_key(name);
        let ended: Vec<_> =
            self.changed.keys().filter(|name| !is_there(name)).take(FLOWS_PER_MESSAGE).copied().collect();
        if !ended.is_empty() {
            self.changed.retain(|name, _| is_there(name) || ended.binary_search(name).is_err());
            return Some(Message::Ended(address, ended));
        }
        let names: Vec<_> = self.changed.keys().take(FLOWS_PER_MESSAGE).copied().collect();
        self.changed.retain(|name, _| names.binary_search(name).is_err());
        let flow = |name: &FlowName| Some(name.flow(address, *held.flows.get(name)?));
        let flows: Vec<_> = names.iter().filter_map(flow).collect();
        (!flows.is_empty()).then_some(Message::Flows(address, flows))
    }
}
