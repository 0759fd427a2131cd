//! The routes and rules that move with the addresses of one router.
//!
//! They come after the addresses, which routes can name as their source, and go before them, in the opposite order. While
//! the router is active the kernel is asked for them at every renewal of the addresses, which puts back what somebody
//! removed. They have no lifetime: what a daemon that was killed leaves is removed when it starts again. One that
//! cannot be installed is said and tried again; the addresses serve on without it.

use std::collections::BTreeMap;

use super::Router;
use crate::admin::RoutingStatus;
use crate::engine::Output;
use crate::limits::COMPLAINT_AGAIN;
use crate::plan::RoutingEntry;
use crate::time::Instant;
use crate::vrrp::event::VrrpEvent;

/// What is known about one router's routes and rules since it became active.
#[derive(Debug, Default)]
pub(super) struct RoutingState {
    /// What the kernel last said of each, by its place in the plan.
    said: BTreeMap<usize, Result<(), String>>,
    /// When it was last said of each that it was put back.
    restored: BTreeMap<usize, Instant>,
}

impl Router {
    /// Puts all routes and rules in force.
    pub(super) fn install_routing(&mut self) {
        self.routing = RoutingState::default();
        let entries = self.config.routing.iter().map(|routing| routing.entry.clone());
        self.outputs.extend(entries.map(|entry| Output::InstallRouting { entry }));
    }

    /// Asks for those again that are to be put back when they are gone.
    pub(super) fn renew_routing(&mut self) {
        let tracked = self.config.routing.iter().filter(|routing| routing.tracked);
        let entries = tracked.map(|routing| routing.entry.clone());
        self.outputs.extend(entries.map(|entry| Output::InstallRouting { entry }));
    }

    /// Takes all routes and rules back, whether they are known to be there or not.
    pub(super) fn remove_routing(&mut self) {
        self.routing = RoutingState::default();
        let entries = self.config.routing.iter().rev().map(|routing| routing.entry.clone());
        self.outputs.extend(entries.map(|entry| Output::RemoveRouting { entry }));
    }

    /// Takes in that a route or rule is in force; `anew` says that it was not when that was asked for.
    pub(crate) fn handle_routing_installed(&mut self, entry: &RoutingEntry, anew: bool, now: Instant) {
        let Some(place) = self.place_of(entry) else { return };
        let before = self.routing.said.insert(place, Ok(()));
        let (router, entry) = (self.config.name.clone(), entry.to_string());
        match before {
            Some(Ok(())) if anew => {
                let lately = self.routing.restored.get(&place);
                if lately.is_none_or(|at| now.since(*at) >= COMPLAINT_AGAIN) {
                    self.routing.restored.insert(place, now);
                    self.say(VrrpEvent::RoutingRestored { router, entry });
                }
            }
            Some(Err(_)) => self.say(VrrpEvent::RoutingRecovered { router, entry }),
            Some(Ok(())) | None => {}
        }
    }

    /// Takes in that a route or rule could not be put in force.
    pub(crate) fn handle_routing_failed(&mut self, entry: &RoutingEntry, reason: String) {
        let Some(place) = self.place_of(entry) else { return };
        let failed = Err(reason.clone());
        if self.routing.said.insert(place, failed.clone()) != Some(failed) {
            let (router, entry) = (self.config.name.clone(), entry.to_string());
            self.say(VrrpEvent::RoutingFailed { router, entry, reason });
        }
    }

    /// What `status` shows of them.
    pub(super) fn routing_status(&self) -> Vec<RoutingStatus> {
        let status = |(place, entry): (usize, &RoutingEntry)| RoutingStatus {
            entry: entry.to_string(),
            state: match self.routing.said.get(&place) {
                None => "not here".to_owned(),
                Some(Ok(())) => "in force".to_owned(),
                Some(Err(reason)) => format!("failed: {reason}"),
            },
        };
        self.config.routing.iter().map(|routing| &routing.entry).enumerate().map(status).collect()
    }

    /// The place of an entry in the plan, while it should be in force.
    fn place_of(&self, entry: &RoutingEntry) -> Option<usize> {
        let held = self.addresses.held() || self.addresses.drains();
        self.config.routing.iter().position(|routing| held && routing.entry == *entry)
    }
}
