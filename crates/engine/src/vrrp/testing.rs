//! What unit tests of this module share.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::packet::GROUP;
use crate::plan::{
    AnnouncePolicy, Authentication, Delivery, Notify, Preempt, Priority, Router, Scope, Version,
    VirtualAddress, Vrid,
};
use crate::time::Centis;

/// A version 2 multicast router on eth0 with Keepalived's defaults.
pub(crate) fn router(priority: u8) -> Router {
    Router {
        name: "vrrp33".to_owned(),
        interface: "eth0".to_owned(),
        vrid: Vrid::new(33).unwrap(),
        priority: Priority(priority),
        version: Version::V2,
        advert_interval: Centis::new(100),
        delivery: Delivery::Multicast { group: GROUP.into() },
        source: None,
        checksum: None,
        missed_adverts: 3,
        trusts_active_router: false,
        authentication: Authentication::None,
        link_secret: None,
        preempt: Preempt::After(Duration::ZERO),
        addresses: vec![VirtualAddress {
            address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100)),
            prefix_length: 24,
            interface: "eth0".to_owned(),
            label: None,
            broadcast: None,
            scope: Scope::Global,
        }],
        excluded_addresses: Vec::new(),
        virtual_mac: None,
        routing: Vec::new(),
        track_scripts: Vec::new(),
        track_interfaces: Vec::new(),
        track_files: Vec::new(),
        track_processes: Vec::new(),
        ignore_own_interface: false,
        answers_lower_priority: true,
        answers_higher_priority: false,
        announce: AnnouncePolicy {
            repeat: 5,
            delay: Duration::from_secs(5),
            refresh: None,
            refresh_repeat: 1,
            lower_priority_repeat: 5,
            lower_priority_delay: Duration::from_secs(5),
            other_interfaces_refresh: None,
        },
        notify: Notify::default(),
    }
}
