//! The peer links of a simulated LAN: what the kernels of both ends make of processes that live, sleep and die.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::peers::{LinkEnd, LinkId};
use mainstay_engine::plan::{Delivery, Family, Router, RouterId};

use crate::lan::Lan;
use crate::node::{Life, News, Node};

/// How long a peer that does not answer is waited for.
const NO_ANSWER: Duration = Duration::from_secs(2);
/// How long it takes to notice that nothing comes any more.
const SILENCE: Duration = Duration::from_secs(10);

/// A link, where it goes, and the router whose secret is its key.
pub(crate) type Dialled = (LinkId, IpAddr, RouterId);

/// The links that are up.
#[derive(Default)]
pub(crate) struct Links {
    up: Vec<Watch>,
}

struct Watch {
    dialler: usize,
    incarnation: u64,
    link: LinkId,
    peer: usize,
    /// Which of the addresses of `peer` it goes to.
    kind: usize,
    /// The dialler's router whose secret is its key.
    router: usize,
}

/// News for a balancer, and when it comes; `None` is as soon as the LAN carries it.
pub(crate) type Telling = (usize, Option<Duration>, News);

impl Links {
    /// Somebody dials: what both will hear of it.
    pub(crate) fn dial(
        &mut self,
        dialler: usize,
        (link, to, router): Dialled,
        nodes: &[Node],
        lan: &Lan,
    ) -> Vec<Telling> {
        let ended = |after, end| vec![(dialler, after, News::LinkEnded { link, end })];
        let silent = || ended(Some(NO_ANSWER), LinkEnd::Other("nothing answers".to_owned()));
        let at = |node: &Node| node.own.iter().position(|(own, _)| *own == to);
        let Some((peer, kind)) = (0..).zip(nodes).find_map(|(peer, node)| Some((peer, at(node)?))) else {
            return silent();
        };
        if !reach_each_other(dialler, peer, nodes, lan) {
            return silent();
        }
        let dialled_for = usize::from(router.0);
        let secret = &nodes[dialler].plan.routers[dialled_for].link_secret;
        let proved = nodes[peer].plan.routers.iter().position(|router| router.link_secret == *secret);
        match nodes[peer].life {
            _ if nodes[peer].rejects_links => ended(None, LinkEnd::Refused),
            Life::Dead => ended(None, LinkEnd::Refused),
            Life::Paused | Life::Suspended => silent(),
            Life::Running => {
                let Some(proved) = proved else {
                    return ended(None, LinkEnd::Other("its key is another".to_owned()));
                };
                let router = RouterId(u16::try_from(proved).expect("few routers"));
                let incarnation = nodes[dialler].incarnation;
                self.up.push(Watch { dialler, incarnation, link, peer, kind, router: dialled_for });
                vec![
                    (dialler, None, News::LinkOpened { link }),
                    (peer, None, News::LinkAccepted { from: nodes[dialler].own[kind].0, local: to, router }),
                ]
            }
        }
    }

    /// The kernel of `peer` closes all links: its process died, or a firewall resets them.
    pub(crate) fn close(&mut self, peer: usize, nodes: &[Node], lan: &Lan) -> Vec<Telling> {
        let mut told = Vec::new();
        self.up.retain(|watch| {
            if watch.peer == peer && nodes[watch.dialler].incarnation == watch.incarnation {
                let (after, end) = if reach_each_other(watch.dialler, peer, nodes, lan) {
                    (None, LinkEnd::Closed)
                } else {
                    (Some(SILENCE), LinkEnd::Other("it said nothing".to_owned()))
                };
                told.push((watch.dialler, after, News::LinkEnded { link: watch.link, end }));
            }
            watch.peer != peer
        });
        told
    }

    /// Balancers that have a link to `peer` which is about its router `group`: to where adverts of that router come from,
    /// with that router's secret for a key.
    pub(crate) fn watchers(&self, peer: usize, group: usize, nodes: &[Node]) -> Vec<usize> {
        let is_about_it = |watch: &&Watch| {
            let dialler = &nodes[watch.dialler];
            watch.peer == peer
                && dialler.life == Life::Running
                && dialler.incarnation == watch.incarnation
                && watch.kind == source(&dialler.plan.routers[group])
                && dialler.plan.routers[group].link_secret == dialler.plan.routers[watch.router].link_secret
        };
        self.up.iter().filter(is_about_it).map(|watch| watch.dialler).collect()
    }
}

/// Which of a balancer's addresses adverts of a router leave from.
fn source(router: &Router) -> usize {
    match (router.family(), &router.delivery) {
        (Family::Ipv4, _) => 0,
        (Family::Ipv6, Delivery::Multicast { .. }) => 1,
        (Family::Ipv6, Delivery::Unicast { .. }) => 2,
    }
}

fn reach_each_other(one: usize, other: usize, nodes: &[Node], lan: &Lan) -> bool {
    let linked = |node: usize| nodes[node].link_up && nodes[node].life != Life::Suspended;
    linked(one) && linked(other) && !lan.is_cut(one, other) && !lan.is_cut(other, one)
}
