//! What this node keeps of its peers' flows until it takes an address over.
//!
//! Owns [`Incoming`]. A table stays when its peer dies, restarts or lets go, which is what it is for; it goes when a peer
//! that has the address has told of all its flows, when this node takes the address, or after [`FLOWS_KEPT`] without
//! either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::wire::Message;
use super::{Flow, FlowName, Path, PeerKey};
use crate::limits::{FLOWS, FLOWS_KEPT};
use crate::time::Instant;

/// The flows of other nodes, by address.
#[derive(Debug, Default)]
pub struct Incoming {
    /// Addresses that flows are kept of; all others are none of ours.
    addresses: BTreeSet<IpAddr>,
    /// Those that this node has itself.
    held: BTreeSet<IpAddr>,
    /// The latest that was told completely.
    whole: BTreeMap<IpAddr, Table>,
    /// What is being told.
    coming: BTreeMap<(IpAddr, PeerKey), Table>,
    heard: BTreeMap<PeerKey, Instant>,
    /// Flows of addresses that this node has, told of since.
    late: Vec<Flow>,
    bound_hit: bool,
}

#[derive(Debug)]
struct Table {
    peer: PeerKey,
    flows: BTreeMap<FlowName, Path>,
    /// Whether the peer goes on telling of changes.
    open: bool,
    at: Instant,
}

impl Table {
    fn new(peer: PeerKey, now: Instant) -> Self {
        Self { peer, flows: BTreeMap::new(), open: true, at: now }
    }
}

impl Incoming {
    /// Keeps flows of `addresses`.
    pub fn new(addresses: BTreeSet<IpAddr>) -> Self {
        Self { addresses, ..Self::default() }
    }

    /// Takes in what a peer told.
    pub fn handle(&mut self, peer: PeerKey, message: Message, now: Instant) {
        self.heard.insert(peer, now);
        let address = message.address();
        if !self.addresses.contains(&address) {
            return;
        }
        if let Message::Flows(_, flows) = &message
            && self.held.contains(&address)
        {
            // Both have it for a moment when it moves. What the predecessor still tells may be missing here, and what
            // the successor tells already is what this node will need as its backup.
            self.late.extend(flows);
        }
        match message {
            Message::Begin(_) => {
                self.coming.insert((address, peer), Table::new(peer, now));
            }
            Message::Whole(_) => {
                if let Some(table) = self.coming.remove(&(address, peer)) {
                    self.whole.insert(address, table);
                    // What others told is of an earlier time.
                    self.coming.retain(|(of, _), table| *of != address || table.open);
                } else {
                    // It has the address still.
                    self.table(address, peer, now);
                }
            }
            Message::Flows(_, flows) => {
                let room = FLOWS.saturating_sub(self.kept(peer));
                let Some(table) = self.table(address, peer, now) else { return };
                let mut added = 0;
                for flow in flows {
                    let name = flow.name();
                    if added < room || table.flows.contains_key(&name) {
                        added += usize::from(table.flows.insert(name, flow.path()).is_none());
                    } else {
                        self.bound_hit = true;
                        break;
                    }
                }
            }
            Message::Ended(_, names) => {
                if let Some(table) = self.table(address, peer, now) {
                    for name in names {
                        table.flows.remove(&name);
                    }
                }
            }
            Message::Released(_) => {
                self.close(peer, |of| of == address);
            }
        }
    }

    /// Takes in that a peer tells nothing more, or that something it told was lost. What it told stays as it is.
    pub fn end(&mut self, peer: PeerKey) {
        self.close(peer, |_| true);
    }

    /// Takes in that this node is about to have `address`. Returns the flows that have to be in the kernel before.
    pub fn take(&mut self, address: IpAddr) -> Vec<Flow> {
        self.held.insert(address);
        let mut flows = self.whole.remove(&address).map(|table| table.flows).unwrap_or_default();
        let coming: Vec<_> = self.coming.keys().filter(|(of, _)| *of == address).copied().collect();
        let coming = coming.iter().filter_map(|key| self.coming.remove(key));
        coming.for_each(|table| flows.extend(table.flows));
        flows.into_iter().map(|(name, path)| name.flow(address, path)).collect()
    }

    /// Takes in that this node does not have `address` any more.
    pub fn release(&mut self, address: IpAddr) {
        self.held.remove(&address);
    }

    /// Flows that were told of while this node has their address.
    pub fn take_late(&mut self) -> Vec<Flow> {
        std::mem::take(&mut self.late)
    }

    /// Gives up what nobody will ask for any more.
    pub fn forget(&mut self, now: Instant) {
        let stays = |table: &Table| table.open || now.since(table.at) < FLOWS_KEPT;
        self.whole.retain(|_, table| stays(table));
        self.coming.retain(|_, table| stays(table));
    }

    /// Flows of a peer that are kept.
    pub fn kept(&self, peer: PeerKey) -> usize {
        let tables = self.whole.values().chain(self.coming.values());
        tables.filter(|table| table.peer == peer).map(|table| table.flows.len()).sum()
    }

    /// Addresses of which a peer has told all flows, and goes on telling.
    pub fn whole(&self, peer: PeerKey) -> impl Iterator<Item = IpAddr> {
        let tables = self.whole.iter().filter(move |(_, table)| table.peer == peer && table.open);
        tables.map(|(address, _)| *address)
    }

    /// When a peer last told anything.
    pub fn heard(&self, peer: PeerKey) -> Option<Instant> {
        self.heard.get(&peer).copied()
    }

    /// Whether a peer told of more than [`FLOWS`], once each time it was found.
    pub fn take_bound_hit(&mut self) -> bool {
        std::mem::take(&mut self.bound_hit)
    }

    /// The table that a peer goes on telling of.
    fn table(&mut self, address: IpAddr, peer: PeerKey, now: Instant) -> Option<&mut Table> {
        let table = match self.coming.get_mut(&(address, peer)) {
            Some(table) => table,
            None => self.whole.get_mut(&address)?,
        };
        let table = Some(table).filter(|table| table.peer == peer && table.open)?;
        table.at = now;
        Some(table)
    }

    fn close(&mut self, peer: PeerKey, concerned: impl Fn(IpAddr) -> bool) {
        let coming = self.coming.iter_mut().map(|((address, _), table)| (address, table));
        for (address, table) in self.whole.iter_mut().chain(coming) {
            if table.peer == peer && concerned(*address) {
                table.open = false;
            }
        }
    }
}
