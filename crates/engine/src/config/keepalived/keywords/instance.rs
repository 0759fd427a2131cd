//! Keywords in `vrrp_script`, in `vrrp_instance` and in the blocks inside it.

use super::{Keyword, Place, Values, acted_on, no_effect, not_yet, refused};

/// Weights that cannot lift a priority of 1 above 254, nor lower 254 below 1.
const WEIGHT: Values = Values::Words(1, 2);

/// Seconds that fit Keepalived's microsecond timers.
const DELAY: Values = Values::Integer(0, 4_294);

pub(super) const SCRIPT: &[Keyword] = {
    use Place::Script as P;
    &[
        acted_on(P, &["script"], Values::Word, "", "the command, split into words without a shell"),
        acted_on(P, &["interval"], Values::Integer(1, 4_294), "1", "seconds between two runs"),
        acted_on(
            P,
            &["timeout"],
            Values::Integer(1, 4_294),
            "interval",
            "seconds until a run counts as failed",
        ),
        acted_on(
            P,
            &["weight"],
            WEIGHT,
            "0",
            "change of priority, -253 to 253, and `reverse` to swap good and bad",
        ),
        acted_on(P, &["rise"], Values::Integer(1, 65_535), "1", "passed runs until it is good"),
        acted_on(P, &["fall"], Values::Integer(1, 65_535), "1", "failed runs until it is bad"),
        acted_on(P, &["user"], Values::Words(1, 2), "script_user", "user and group it runs as"),
        acted_on(
            P,
            &["init_fail"],
            Values::Nothing,
            "",
            "Keepalived forgets it as soon as an instance tracks it",
        ),
    ]
};

pub(super) const INSTANCE: &[Keyword] = {
    use Place::Instance as P;
    &[
        acted_on(P, &["state"], Values::Word, "BACKUP", "MASTER or BACKUP; MASTER undoes nopreempt"),
        acted_on(P, &["interface"], Values::Word, "", "the interface that adverts travel on"),
        acted_on(
            P,
            &["virtual_router_id"],
            Values::Integer(1, 255),
            "",
            "the virtual router's number on the LAN",
        ),
        acted_on(
            P,
            &["priority"],
            Values::Integer(1, 255),
            "100, or 255 with state MASTER",
            "the highest becomes active; 255 owns the addresses",
        ),
        acted_on(
            P,
            &["advert_int"],
            Values::Decimal(10_000, 255_000_000),
            "1",
            "seconds between adverts: whole ones in version 2, at least 0.01 and at most 40.95 in version 3",
        ),
        acted_on(P, &["version"], Values::Integer(2, 3), "vrrp_version", "protocol version"),
        acted_on(P, &["authentication"], Values::Block, "none", "a password that adverts carry"),
        acted_on(
            P,
            &["unicast_src_ip", "mcast_src_ip"],
            Values::Address,
            "the interface's first address",
            "source address of adverts",
        ),
        acted_on(
            P,
            &["unicast_peer"],
            Values::Block,
            "",
            "addresses that adverts are sent to instead of the group",
        ),
        acted_on(P, &["unicast_ttl"], Values::Integer(0, 255), "255", "TTL of unicast adverts"),
        acted_on(P, &["unicast_fault_no_peer"], Values::Nothing, "", "without a peer there is nothing to do"),
        acted_on(
            P,
            &["mcast_dst_ip"],
            Values::Address,
            "vrrp_mcast_group4",
            "group that adverts are sent to",
        ),
        acted_on(P, &["virtual_ipaddress"], Values::Block, "", "addresses that the active router owns"),
        acted_on(
            P,
            &["virtual_ipaddress_excluded"],
            Values::Block,
            "",
            "addresses that move along but are not in the advert",
        ),
        acted_on(P, &["track_script"], Values::Block, "", "scripts that change the priority"),
        acted_on(P, &["track_interface"], Values::Block, "", "interfaces whose loss changes the priority"),
        acted_on(
            P,
            &["dont_track_primary"],
            Values::Nothing,
            "",
            "the loss of the own interface changes nothing",
        ),
        acted_on(P, &["nopreempt"], Values::Nothing, "", "never take over from an active router"),
        acted_on(P, &["preempt"], Values::Nothing, "", "take over from a lower priority"),
        acted_on(
            P,
            &["preempt_delay"],
            Values::Decimal(0, 1_000_000_000),
            "0",
            "seconds to wait before taking over from a lower priority",
        ),
        acted_on(
            P,
            &["garp_master_delay"],
            DELAY,
            "vrrp_garp_master_delay",
            "seconds until the second burst",
        ),
        acted_on(
            P,
            &["garp_master_repeat"],
            Values::Integer(1, 1_000),
            "vrrp_garp_master_repeat",
            "announcements in one burst",
        ),
        acted_on(P, &["garp_master_refresh"], DELAY, "vrrp_garp_master_refresh", "seconds between refreshes"),
        acted_on(
            P,
            &["garp_master_refresh_repeat"],
            Values::Integer(1, 1_000),
            "vrrp_garp_master_refresh_repeat",
            "announcements in one refresh",
        ),
        acted_on(
            P,
            &["garp_lower_prio_delay"],
            DELAY,
            "vrrp_garp_lower_prio_delay",
            "seconds until the second burst after a lower priority was heard",
        ),
        acted_on(
            P,
            &["garp_lower_prio_repeat"],
            Values::Integer(0, 1_000),
            "vrrp_garp_lower_prio_repeat",
            "announcements after a lower priority was heard",
        ),
        refused(
            P,
            &["auth_hmac"],
            "signed adverts are not supported, and unsigned ones would be ignored by the peers: two active balancers",
        ),
        refused(
            P,
            &["v3_checksum_as_v2"],
            "adverts with that checksum are not sent, and the peers would ignore the others: two active balancers",
        ),
        refused(P, &["native_ipv6"], "only IPv4 routers run"),
        refused(
            P,
            &["use_vmac", "use_vmac_addr", "use_ipvlan"],
            "virtual addresses are put on the interface itself, with its own MAC address",
        ),
        refused(P, &["vrf"], "adverts travel on `interface`"),
        refused(P, &["no_virtual_ipaddress"], "a virtual router without an address protects nothing"),
        no_effect(P, &["vmac_xmit_base"], "adverts always leave by the interface itself"),
        no_effect(P, &["accept"], "virtual addresses always accept connections"),
        not_yet(P, &["no_accept"], "virtual addresses accept connections all the same"),
        not_yet(P, &["strict_mode"], "adverts are as strict as the other settings make them"),
        no_effect(P, &["skip_check_adv_addr"], "every advert is checked, which costs next to nothing"),
        not_yet(P, &["check_unicast_src"], "a unicast advert may come from any address"),
        not_yet(P, &["old_unicast_checksum"], "adverts carry the checksum of Keepalived 1.3.7 and later"),
        not_yet(P, &["down_timer_adverts"], "an active router is missed after 3 advert intervals"),
        not_yet(P, &["lower_prio_no_advert"], "a lower priority is answered with an advert"),
        not_yet(P, &["higher_prio_send_advert"], "a higher priority is not answered"),
        not_yet(P, &["owner_ignore_adverts", "timer_expired_backup"], "states change as in Keepalived 2.2"),
        not_yet(P, &["garp_extra_if"], "addresses on other interfaces are announced as the others"),
        not_yet(P, &["track_process", "track_file", "track_bfd"], "the priority does not follow it"),
        not_yet(P, &["track_src_ip"], "the priority does not follow the source address"),
        not_yet(P, &["virtual_routes", "virtual_rules"], "no routes and no rules move with the addresses"),
        not_yet(P, &["promote_secondaries"], "the kernel setting of that name stays as it is"),
        not_yet(
            P,
            &[
                "notify",
                "notify_master",
                "notify_backup",
                "notify_fault",
                "notify_stop",
                "notify_deleted",
                "notify_master_rx_lower_pri",
                "notify_priority_changes",
            ],
            "nothing is run when the state changes: `mainstay status` shows it",
        ),
        not_yet(P, &["smtp_alert"], "no mails are sent"),
        not_yet(P, &["lvs_sync_daemon_interface"], "the kernel's load balancer is not used"),
        no_effect(P, &["linkbeat_use_polling"], "the kernel reports when a link goes down"),
        no_effect(P, &["kernel_rx_buf_size", "debug"], "it is about Keepalived's own buffers and logs"),
    ]
};

pub(super) const SMALL_BLOCKS: &[Keyword] = &[
    acted_on(Place::Authentication, &["auth_type"], Values::Word, "", "PASS; AH is refused"),
    acted_on(
        Place::Authentication,
        &["auth_pass"],
        Values::Word,
        "",
        "the password, of which 8 bytes count; it crosses the network in clear",
    ),
    acted_on(Place::VirtualAddress, &["dev"], Values::Word, "interface", "the interface it is put on"),
    acted_on(Place::VirtualAddress, &["label"], Values::Word, "", "the interface label, such as `eth0:1`"),
    acted_on(
        Place::VirtualAddress,
        &["brd", "broadcast"],
        Values::Word,
        "none",
        "the broadcast address; `+` sets the host bits, `-` clears them",
    ),
    acted_on(
        Place::VirtualAddress,
        &["scope"],
        Values::Word,
        "global",
        "global, site, link, host, nowhere or a number up to 255",
    ),
    refused(
        Place::VirtualAddress,
        &["use_vmac"],
        "virtual addresses are put on the interface itself, with its own MAC address",
    ),
    refused(Place::VirtualAddress, &["peer"], "a virtual address is not one end of a point-to-point link"),
    no_effect(
        Place::VirtualAddress,
        &["no_track", "track_group"],
        "an address that somebody removes is put back",
    ),
    no_effect(
        Place::VirtualAddress,
        &["home", "-nodad", "mngtmpaddr", "autojoin", "preferred_lft"],
        "it is about IPv6 addresses, or about how long the kernel keeps them",
    ),
    not_yet(Place::VirtualAddress, &["noprefixroute"], "the kernel adds the route to the address's network"),
    acted_on(
        Place::Tracked,
        &["weight"],
        Values::Integer(-253, 253),
        "the script's, or 0",
        "change of priority",
    ),
    acted_on(Place::Tracked, &["reverse"], Values::Nothing, "", "swaps good and bad"),
    acted_on(
        Place::Tracked,
        &["noreverse", "no_reverse"],
        Values::Nothing,
        "",
        "undoes the script's `reverse`",
    ),
    not_yet(Place::Peer, &["min_ttl", "max_ttl"], "adverts of any TTL are taken from this peer"),
];
