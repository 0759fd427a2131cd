//! What the kernel shall forward: from the plan and the health of servers to one immutable description.
//!
//! Owns [`KernelForwarding`], which the shell puts in force as a whole, and [`Forwarder`], which says when there is another one,
//! which flows have to end, and when to try again what failed. A description is the same on every balancer that has the same plan
//! and sees the same servers: what is left after one of them died is what the others would have chosen.

pub mod event;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::Event;
use crate::admin::ForwardingStatus;
use crate::balance::maglev;
use crate::engine::{Forwarded, Output};
use crate::forwarding::event::ForwardingEvent;
use crate::limits::{FORWARDING_RETRY, FORWARDING_RETRY_MAX};
use crate::plan::{FlowKey, FrontendId, NoServer, Plan, PoolId, ServerId, ServerIndex};
use crate::serving::{FrontendState, Serving};
use crate::time::{Deadline, Instant};

/// All that the kernel shall forward.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelForwarding {
    /// Where clients connect, in the order of the plan.
    pub endpoints: Vec<Endpoint>,
    /// Where their connections go.
    pub pools: Vec<ForwardedPool>,
}

/// An address that clients use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The frontend it belongs to.
    pub frontend: FrontendId,
    /// The address.
    pub address: SocketAddr,
    /// Its servers, as an index into [`KernelForwarding::pools`].
    pub pool: usize,
    /// Whether it takes new connections; those that it has stay in any case.
    pub open: bool,
}

/// Servers of one family, and how a new connection finds one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedPool {
    /// The pool of the plan.
    pub id: PoolId,
    /// Whether its addresses are IPv4 ones.
    pub is_ipv4: bool,
    /// What decides about the server.
    pub key: FlowKey,
    /// All servers that have an address, those that take no new connections included, in the order of their addresses.
    pub servers: Vec<ForwardedServer>,
    /// The server of each value of the hash, as an index into `servers`; empty when no server takes connections.
    pub table: Vec<u16>,
    /// What becomes of new connections when no server takes them.
    pub no_server: NoServer,
}

/// A server that the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForwardedServer {
    /// Which it is in the plan.
    pub id: ServerId,
    /// Where it listens.
    pub address: SocketAddr,
}

impl KernelForwarding {
    /// What `serving` asks for.
    pub fn new(serving: &Serving) -> Self {
        let mut forwarding = Self::default();
        let frontends = (0..).map(FrontendId).zip(&serving.plan.frontends);
        for ((id, frontend), admittance) in frontends.zip(&serving.admittance.frontends) {
            let (Some(nat), Some(pool)) = (frontend.forwarding.nat(), frontend.pool) else { continue };
            // It has given its ports back.
            if admittance.state == FrontendState::ShutDown {
                continue;
            }
            let open = admittance.state == FrontendState::Open;
            for &address in &nat.endpoints {
                let pool = forwarding.pool(serving, pool, address.is_ipv4(), nat.key);
                forwarding.endpoints.push(Endpoint { frontend: id, address, pool, open });
            }
        }
        forwarding
    }

    /// The place of these servers, which are made known where they are not yet.
    fn pool(&mut self, serving: &Serving, id: PoolId, is_ipv4: bool, key: FlowKey) -> usize {
        let same = |pool: &ForwardedPool| (pool.id, pool.is_ipv4, pool.key) == (id, is_ipv4, key);
        self.pools.iter().position(same).unwrap_or_else(|| {
            self.pools.push(forwarded_pool(serving, id, is_ipv4, key));
            self.pools.len() - 1
        })
    }

    /// Where connections to a server come in, and its address, once for each family.
    fn ways_to(&self, server: ServerId) -> impl Iterator<Item = (Vec<SocketAddr>, SocketAddr)> {
        (0..).zip(&self.pools).filter_map(move |(index, pool)| {
            let found = pool.servers.iter().find(|known| known.id == server)?;
            let endpoints = self.endpoints.iter().filter(|endpoint| endpoint.pool == index);
            Some((endpoints.map(|endpoint| endpoint.address).collect(), found.address))
        })
    }
}

fn forwarded_pool(serving: &Serving, id: PoolId, is_ipv4: bool, key: FlowKey) -> ForwardedPool {
    let index = usize::from(id.0);
    let (section, view) = (serving.plan.pools.get(index), serving.pools.get(index));
    let no_server = view.map_or(NoServer::Refuse, |view| view.no_server);
    let known = section.iter().flat_map(|pool| &pool.servers).zip(view.iter().flat_map(|view| &view.servers));
    let mut servers: Vec<_> = (0..)
        .map(|server| ServerId { pool: id, server: ServerIndex(server) })
        .zip(known)
        .filter(|(_, (server, view))| {
            let address = view.address;
            !server.removed
                && address.is_ipv4() == is_ipv4
                && !address.ip().is_unspecified()
                && address.port() != 0
        })
        .map(|(id, (_, view))| (id, view))
        .collect();
    // Should two have one address by way of DNS or an operator, the one that takes connections counts.
    servers.sort_by_key(|(id, view)| (view.address, !view.selectable, *id));
    servers.dedup_by_key(|(_, view)| view.address);
    let takes_any = servers.iter().any(|(_, view)| view.selectable);
    let weights: Vec<_> = servers
        .iter()
        .map(|(_, view)| {
            let takes = view.selectable || (!takes_any && no_server == NoServer::TryAll && view.in_service);
            (view.address, if takes { view.full_weight } else { 0 })
        })
        .collect();
    let servers =
        servers.iter().map(|(id, view)| ForwardedServer { id: *id, address: view.address }).collect();
    ForwardedPool { id, is_ipv4, key, servers, table: maglev::table(&weights), no_server }
}

/// Keeps what the kernel forwards up to date.
#[derive(Debug)]
pub struct Forwarder {
    current: Arc<KernelForwarding>,
    /// Since when it is in force or not, and why not.
    state: Result<(), String>,
    since: Instant,
    /// When to try again, and how long to wait after that.
    retry: Option<Instant>,
    wait: Duration,
    outputs: VecDeque<Output>,
}

impl Forwarder {
    /// One that takes what `serving` asks for to be in force; `None` if the plan leaves nothing to the kernel.
    pub fn new(plan: &Plan, serving: &Serving, now: Instant) -> Option<Self> {
        plan.frontends.iter().any(|frontend| frontend.forwarding.nat().is_some()).then(|| Self {
            current: Arc::new(KernelForwarding::new(serving)),
            state: Ok(()),
            since: now,
            retry: None,
            wait: FORWARDING_RETRY,
            outputs: VecDeque::new(),
        })
    }

    /// What the kernel should have now.
    pub fn current(&self) -> Arc<KernelForwarding> {
        Arc::clone(&self.current)
    }

    /// The IPv4 connections that the kernel forwards.
    pub fn forwarded(&self) -> Forwarded {
        let ipv4 = |address| match address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        };
        let servers = self.current.pools.iter().flat_map(|pool| &pool.servers);
        Forwarded {
            endpoints: self.current.endpoints.iter().filter_map(|own| ipv4(own.address)).collect(),
            servers: servers.filter_map(|server| ipv4(server.address)).collect(),
        }
    }

    /// Takes in another view.
    pub fn handle_serving(&mut self, serving: &Serving) {
        let wanted = KernelForwarding::new(serving);
        if wanted != *self.current {
            self.current = Arc::new(wanted);
            self.outputs.push_back(Output::Forward(self.current()));
        }
    }

    /// The flows of a server have to end.
    pub fn handle_dead(&mut self, server: ServerId) {
        let ways = self.current.ways_to(server);
        self.outputs.extend(ways.map(|(endpoints, server)| Output::DeleteFlows { endpoints, server }));
    }

    /// Takes in whether the latest description is in force, or that it is not any more.
    pub fn handle_result(&mut self, result: Result<(), String>, now: Instant) {
        if result.is_ok() != self.state.is_ok() {
            self.since = now;
        }
        let event = match (&self.state, &result) {
            (Err(_), Ok(())) => Some(ForwardingEvent::ForwardingInForce),
            (before, Err(reason)) if before.as_ref() != Err(reason) => {
                Some(ForwardingEvent::ForwardingFailed { reason: reason.clone() })
            }
            _ => None,
        };
        self.outputs.extend(event.map(|event| Output::Event(Event::Forwarding(event))));
        match result {
            Ok(()) => (self.retry, self.wait) = (None, FORWARDING_RETRY),
            Err(_) => {
                self.retry = Some(now + self.wait);
                self.wait = (self.wait * 2).min(FORWARDING_RETRY_MAX);
            }
        }
        self.state = result;
    }

    /// Tries again what failed, if it is time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.retry.is_some_and(|at| at <= now) {
            self.retry = None;
            self.outputs.push_back(Output::Forward(self.current()));
        }
    }

    /// Whether the latest description is in force.
    pub fn works(&self) -> bool {
        self.state.is_ok()
    }

    /// Whether there is something to say.
    pub(crate) fn has_news(&self) -> bool {
        self.outputs.iter().any(|output| matches!(output, Output::Event(_)))
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        self.retry.map(|at| Deadline { at, why: "put the kernel's rules in force again" })
    }

    /// What there is to see at `now`.
    pub fn status(&self, now: Instant) -> ForwardingStatus {
        ForwardingStatus {
            endpoints: self.current.endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect(),
            failed: self.state.as_ref().err().cloned(),
            since: now.since(self.since),
        }
    }
}

#[cfg(test)]
mod tests;
