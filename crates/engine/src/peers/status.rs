//! How peers and their links explain themselves.

use std::net::IpAddr;

use super::event::KEY_ADVICE;
use super::{LinkEnd, Peers};
use crate::admin::{PeerFlowStatus, PeerStatus, PeerView};
use crate::time::Instant;

/// Why a router has no link.
pub(super) const NO_SECRET: &str = "it has neither `auth_pass` nor `auth_hmac` that could key one, so a peer whose process dies is missed by its adverts only";

impl Peers {
    /// One for each link.
    pub(crate) fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let name = |id: &crate::plan::RouterId| {
            self.plan.routers.get(usize::from(id.0)).map(|router| router.name.clone())
        };
        self.links
            .values()
            .map(|link| PeerStatus {
                address: link.peer.to_string(),
                routers: link.routers.iter().filter_map(name).collect(),
                up: link.is_up(),
                link: match &link.ended {
                    _ if link.is_up() => "up".to_owned(),
                    None => "being dialled for the first time".to_owned(),
                    Some(end) => phrase(end),
                },
                since: now.since(link.since),
                told: link.told.as_ref().map(|told| PeerView {
                    view: told.view.clone(),
                    age: now.since(told.at),
                    clock_ahead_ms: told.clock_ahead_ms,
                }),
                drift: link.told.as_ref().map(|told| told.drift.clone()).unwrap_or_default(),
                flows: self.flow_status(link.peer, now),
            })
            .collect()
    }

    fn flow_status(&self, peer: IpAddr, now: Instant) -> Option<PeerFlowStatus> {
        let (flows, at) = &self.flows;
        let flows = flows.iter().find(|flows| flows.peer == peer)?;
        let age = flows.age.map(|age| age + now.since(*at));
        Some(PeerFlowStatus { kept: flows.kept, age, told: flows.told })
    }

    /// Why there are no links, one sentence each.
    pub(crate) fn without_link(&self) -> Vec<String> {
        if !self.options.link {
            return Vec::new();
        }
        let without = self.plan.routers.iter().zip(&self.keys).filter(|(_, key)| key.is_none());
        without.map(|(router, _)| format!("router {} has no peer link: {NO_SECRET}", router.name)).collect()
    }
}

/// How a link ended.
pub(super) fn phrase(end: &LinkEnd) -> String {
    match end {
        LinkEnd::Closed => "the peer's kernel closed it".to_owned(),
        LinkEnd::ClosedEarly => "the peer takes connections and closes them at once".to_owned(),
        LinkEnd::Refused => {
            "refused: nothing listens there, so mainstay does not run or has no link".to_owned()
        }
        LinkEnd::KeyRefused => format!("the keys differ: {KEY_ADVICE}"),
        LinkEnd::Other(how) => how.clone(),
    }
}
