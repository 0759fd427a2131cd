//! The peer links of a simulated LAN: what the kernels of both ends make of processes that live, sleep and die.

use std::net::IpAddr;
use std::time::Duration;

use mainstay_engine::peers::{LinkEnd, LinkId};

use crate::lan::Lan;
use crate::node::{Life, News, Node};

/// How long a peer that does not answer is waited for.
const NO_ANSWER: Duration = Duration::from_secs(2);
/// How long it takes to notice that nothing comes any more.
const SILENCE: Duration = Duration::from_secs(10);

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
}

/// News for a balancer, and when it comes; `None` is as soon as the LAN carries it.
pub(crate) type Telling = (usize, Option<Duration>, News);

impl Links {
    /// Somebody dials: what both will hear of it.
    pub(crate) fn dial(
        &mut self,
        dialler: usize,
        link: LinkId,
        to: IpAddr,
        nodes: &[Node],
        lan: &Lan,
    ) -> Vec<Telling> {
        let ended = |after, end| vec![(dialler, after, News::LinkEnded { link, end })];
        let silent = || ended(Some(NO_ANSWER), LinkEnd::Other("nothing answers".to_owned()));
        let Some(peer) = nodes.iter().position(|node| node.own == to) else { return silent() };
        if !reach_each_other(dialler, peer, nodes, lan) {
            return silent();
        }
        match nodes[peer].life {
            _ if nodes[peer].rejects_links => ended(None, LinkEnd::Refused),
            Life::Dead => ended(None, LinkEnd::Refused),
            Life::Paused | Life::Suspended => silent(),
            Life::Running => {
                let incarnation = nodes[dialler].incarnation;
                self.up.push(Watch { dialler, incarnation, link, peer });
                vec![
                    (dialler, None, News::LinkOpened { link }),
                    (peer, None, News::LinkAccepted { from: nodes[dialler].own }),
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

    /// Balancers that have a link to `peer`.
    pub(crate) fn watchers(&self, peer: usize, nodes: &[Node]) -> Vec<usize> {
        let alive = |watch: &&Watch| {
            watch.peer == peer
                && nodes[watch.dialler].life == Life::Running
                && nodes[watch.dialler].incarnation == watch.incarnation
        };
        self.up.iter().filter(alive).map(|watch| watch.dialler).collect()
    }
}

fn reach_each_other(one: usize, other: usize, nodes: &[Node], lan: &Lan) -> bool {
    let linked = |node: usize| nodes[node].link_up && nodes[node].life != Life::Suspended;
    linked(one) && linked(other) && !lan.is_cut(one, other) && !lan.is_cut(other, one)
}
