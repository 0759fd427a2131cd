//! VRRP: who owns the virtual addresses.
//!
//! Owns [`Vrrp`], all virtual routers of a daemon. `packet` is the wire format, `router` one virtual router, `track`
//! what changes its priority.

pub mod event;
pub mod track;

use std::net::IpAddr;

use crate::admin::{RouterStatus, ScriptStatus};
use crate::engine::{InterfaceState, Output};
use crate::plan::{Plan, ScriptId, VirtualAddress};
use crate::time::{Deadline, Instant};
use crate::vrrp::track::ScriptOutcome;

/// All virtual routers of a plan.
#[derive(Debug)]
pub struct Vrrp {}

impl Vrrp {
    /// Every router initialised; left-over addresses are removed first.
    pub fn new(_plan: &Plan, _now: Instant) -> Self {
        Self {}
    }

    /// Takes in an IP datagram of protocol 112.
    pub fn handle_datagram(&mut self, _interface: &str, _datagram: &[u8], _now: Instant) {}

    /// Takes in what an interface can do.
    pub fn handle_interface(&mut self, _name: &str, _state: Option<InterfaceState>, _now: Instant) {}

    /// Takes in that somebody else removed an address.
    pub fn handle_address_gone(&mut self, _interface: &str, _address: IpAddr, _now: Instant) {}

    /// Takes in that an address could not be installed.
    pub fn handle_install_failed(&mut self, _address: &VirtualAddress, _reason: String, _now: Instant) {}

    /// Takes in that an advert could not be sent.
    pub fn handle_send_failed(&mut self, _interface: &str, _reason: String, _now: Instant) {}

    /// Takes in how a run of a script ended.
    pub fn handle_script_finished(
        &mut self,
        _script: ScriptId,
        _run: u64,
        _outcome: ScriptOutcome,
        _now: Instant,
    ) {
    }

    /// Gives the addresses to a peer, make before break, and stays a backup of last resort.
    pub fn handle_hand_over(&mut self, _now: Instant) -> Result<(), String> {
        Ok(())
    }

    /// Ends a hand-over.
    pub fn handle_resume(&mut self, _now: Instant) -> Result<(), String> {
        Ok(())
    }

    /// Gives the addresses to a peer, make before break, for good.
    pub fn handle_stop(&mut self, _now: Instant) {}

    /// Whether no address is held any more after [`Vrrp::handle_stop`].
    pub fn has_let_go(&self) -> bool {
        true
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When something is due next.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        None
    }

    /// One for each router of the plan.
    pub fn router_status(&self, _now: Instant) -> Vec<RouterStatus> {
        Vec::new()
    }

    /// One for each script of the plan.
    pub fn script_status(&self, _now: Instant) -> Vec<ScriptStatus> {
        Vec::new()
    }
}
