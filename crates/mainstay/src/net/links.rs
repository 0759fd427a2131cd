//! Orders to the kernel about interfaces of the daemon's own: make one with a hardware address, up, down, away.
//!
//! Owns what is asked for them; [`Netlink`] owns the conversation.

use std::io;

use mainstay_engine::plan::HardwareAddress;
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, MacVlanMode,
};
use nix::errno::Errno;

use super::netlink::{Netlink, is};
use super::wire;

/// What tells an interface of the daemon's own from any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// The kind, as `ip -d link` says it.
    pub(super) kind: Option<String>,
    /// The hardware address.
    pub(super) hardware: Option<[u8; 6]>,
}

impl Netlink {
    /// Makes an interface called `name` with a hardware address of its own on top of the one with index `base`.
    ///
    /// In mode "bridge" frames with that address as source reach `base` as all others do: an active router on another
    /// host has the same one, and its adverts have to be heard. In mode "private" they would come up here instead.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn make_macvlan(
        &mut self,
        name: &str,
        base: u32,
        hardware: HardwareAddress,
    ) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.attributes.extend([
            LinkAttribute::IfName(name.to_owned()),
            LinkAttribute::Link(base),
            LinkAttribute::Address(hardware.0.to_vec()),
            LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::MacVlan),
                LinkInfo::Data(InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Bridge)])),
            ]),
        ]);
        let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
        self.request(RouteNetlinkMessage::NewLink(message), flags, |_, _| {})
    }

    /// Sets the interface with `index` up or down.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn set_up(&mut self, index: u32, up: bool) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
        self.request(RouteNetlinkMessage::SetLink(message), NLM_F_REQUEST | NLM_F_ACK, |_, _| {})
    }

    /// Takes the interface with `index` away; fine if it is gone.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.request(RouteNetlinkMessage::DelLink(message), NLM_F_REQUEST | NLM_F_ACK, |_, _| {}) {
            Err(error) if is(&error, Errno::ENODEV) => Ok(()),
            answer => answer,
        }
    }

    /// What the interface with `index` is.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn identity(&mut self, index: u32) -> io::Result<Option<Identity>> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let mut found = None;
        let flags = NLM_F_REQUEST | NLM_F_ACK;
        self.request(RouteNetlinkMessage::GetLink(message), flags, |_, body| {
            found = wire::link_identity(body);
        })?;
        Ok(found)
    }
}
