//! Interfaces with a virtual router's own hardware address (RFC 9568 §7.3): made, up while they have addresses, away.
//!
//! Owns [`VirtualInterface`] and the frames that leave with such an address as source. Adverts are heard and sent on the
//! interface below; this one is where the virtual addresses are. While the router is a backup it is down, so that nothing
//! is taken (§6.4.2) and nothing is said that would lead a switch here.

use std::io;
use std::net::IpAddr;

use mainstay_engine::plan::{Family, HardwareAddress, Plan};

use super::links::Identity;
use super::netlink::Netlink;
use super::settings::{self, Settings};

/// One such interface.
#[derive(Debug)]
pub(super) struct VirtualInterface {
    /// The interface it is on top of.
    pub(super) base: String,
    /// Its name.
    pub(super) name: String,
    hardware: HardwareAddress,
    family: Family,
    /// Index of the one that was made here.
    index: Option<u32>,
}

/// All that `plan` asks for.
pub(super) fn virtual_interfaces(plan: &Plan) -> Vec<VirtualInterface> {
    let of_router = |router: &mainstay_engine::plan::Router| {
        let own = router.virtual_mac.as_ref()?;
        Some(VirtualInterface {
            base: router.interface.clone(),
            name: own.interface.clone(),
            hardware: own.address,
            family: router.family(),
            index: None,
        })
    };
    plan.routers.iter().filter_map(of_router).collect()
}

impl VirtualInterface {
    /// Makes it unless it is there. What a daemon that was killed left is replaced.
    ///
    /// # Errors
    /// The kernel's, or that another interface has the name.
    pub(super) fn ensure(&mut self, netlink: &mut Netlink, settings: &mut Settings) -> io::Result<()> {
        let Some(base) = netlink.link(&self.base)? else {
            // The kernel takes it away with the one below.
            self.index = None;
            return Ok(());
        };
        if let Some(found) = netlink.link(&self.name)? {
            if self.index == Some(found.index) {
                return Ok(());
            }
            let left_over = Identity { kind: Some("macvlan".to_owned()), hardware: Some(self.hardware.0) };
            if netlink.identity(found.index)? != Some(left_over) {
                return Err(io::Error::other("another interface has this name"));
            }
            netlink.delete_link(found.index)?;
        }
        netlink.make_macvlan(&self.name, base.index, self.hardware)?;
        self.index = netlink.link(&self.name)?.map(|made| made.index);
        if self.family == Family::Ipv4 {
            settings.prepare_ipv4(&self.base)?;
        }
        settings::of_virtual_interface(&self.name, self.family == Family::Ipv6)
    }

    /// Takes it away, if it was made here.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn delete(&mut self, netlink: &mut Netlink) -> io::Result<()> {
        self.index.take().map_or(Ok(()), |index| netlink.delete_link(index))
    }
}

/// A datagram to a group in an Ethernet frame from `hardware`.
pub(super) fn frame(hardware: HardwareAddress, group: IpAddr, datagram: &[u8]) -> io::Result<Vec<u8>> {
    let (destination, ethertype) = match group {
        // RFC 1112 §6.4.
        IpAddr::V4(group) if group.is_multicast() => {
            let [_, b, c, d] = group.octets();
            ([0x01, 0x00, 0x5e, b & 0x7f, c, d], [0x08, 0x00])
        }
        // RFC 2464 §7.
        IpAddr::V6(group) if group.is_multicast() => {
            let [.., a, b, c, d] = group.octets();
            ([0x33, 0x33, a, b, c, d], [0x86, 0xdd])
        }
        _ => return Err(io::Error::other("only what goes to a group can have a virtual MAC address")),
    };
    Ok([&destination[..], &hardware.0, &ethertype, datagram].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_go_to_the_groups_own_hardware_addresses() {
        let hardware = HardwareAddress([0, 0, 0x5e, 0, 1, 51]);
        let ipv4 = frame(hardware, "224.128.0.18".parse().unwrap(), &[7]).unwrap();
        assert_eq!(ipv4, [1, 0, 0x5e, 0, 0, 18, 0, 0, 0x5e, 0, 1, 51, 0x08, 0x00, 7]);
        let ipv6 = frame(hardware, "ff02::12".parse().unwrap(), &[7]).unwrap();
        assert_eq!(ipv6, [0x33, 0x33, 0, 0, 0, 0x12, 0, 0, 0x5e, 0, 1, 51, 0x86, 0xdd, 7]);
        assert!(frame(hardware, "10.0.0.1".parse().unwrap(), &[7]).is_err());
    }
}
