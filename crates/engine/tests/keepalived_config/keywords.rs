//! The keywords that a keepalived.conf can be met with: none of them is unknown.

use std::fmt::Write as _;

use mainstay_engine::config::keepalived::codes;
use mainstay_engine::config::keepalived::keywords::{TABLE, Treatment};

use crate::support::{Loaded, load, report};

/// A row of keywords and the blocks they stand in, from the outermost.
type Keywords = (&'static [&'static str], &'static [&'static str]);

/// Everything that Keepalived 2.2.7 takes outside its load balancer's own blocks.
#[rustfmt::skip]
const KEEPALIVED: &[Keywords] = &[
    (
        &[],
        &[
            "SSL", "bfd_instance", "child_wait_time", "garp_group", "global_defs", "instance",
            "interface_up_down_delays", "linkbeat_interfaces", "linkbeat_use_polling",
            "namespace_with_ipsets", "net_namespace", "net_namespace_ipvs", "static_ipaddress",
            "static_routes", "static_rules", "track_file", "track_group", "use_pid_dir", "virtual_server",
            "virtual_server_group", "vrrp_instance", "vrrp_script", "vrrp_sync_group", "vrrp_track_file",
            "vrrp_track_process",
        ],
    ),
    (
        &["global_defs"],
        &[
            "process_names", "process_name", "vrrp_process_name", "checker_process_name", "lvs_process_name",
            "bfd_process_name", "router_id", "notification_email_from", "smtp_server", "smtp_helo_name",
            "smtp_connect_timeout", "notification_email", "smtp_alert", "startup_script",
            "startup_script_timeout", "shutdown_script", "shutdown_script_timeout", "max_auto_priority",
            "min_auto_priority_delay", "smtp_alert_vrrp", "smtp_alert_checker", "checker_log_all_failures",
            "dynamic_interfaces", "no_email_faults", "default_interface", "disable_local_igmp",
            "lvs_timeouts", "lvs_flush", "lvs_flush_on_stop", "lvs_flush_onstop", "lvs_sync_daemon",
            "vrrp_mcast_group4", "vrrp_mcast_group6", "vrrp_garp_master_delay", "vrrp_garp_master_repeat",
            "vrrp_garp_master_refresh", "vrrp_garp_master_refresh_repeat", "vrrp_garp_lower_prio_delay",
            "vrrp_garp_lower_prio_repeat", "vrrp_down_timer_adverts", "vrrp_garp_interval",
            "vrrp_gna_interval", "vrrp_min_garp", "vrrp_garp_extra_if", "vrrp_vmac_garp_intvl",
            "vrrp_lower_prio_no_advert", "vrrp_higher_prio_send_advert", "vrrp_version", "vrrp_iptables",
            "vrrp_ipsets", "nftables", "nftables_priority", "nftables_ifindex", "nftables_ipvs",
            "nftables_ipvs_priority", "nftables_ipvs_start_fwmark", "nftables_counters",
            "vrrp_check_unicast_src", "vrrp_skip_check_adv_addr", "vrrp_strict", "vrrp_priority",
            "vrrp_no_swap", "vrrp_rt_priority", "vrrp_cpu_affinity", "vrrp_rlimit_rttime",
            "vrrp_rlimit_rtime", "notify_fifo", "notify_fifo_script", "vrrp_notify_fifo",
            "vrrp_notify_fifo_script", "vrrp_notify_priority_changes", "fifo_write_vrrp_states_on_reload",
            "lvs_notify_fifo", "lvs_notify_fifo_script", "checker_priority", "checker_no_swap",
            "checker_rt_priority", "checker_cpu_affinity", "checker_rlimit_rttime", "checker_rlimit_rtime",
            "bfd_priority", "bfd_no_swap", "bfd_rt_priority", "bfd_cpu_affinity", "bfd_rlimit_rttime",
            "bfd_rlimit_rtime", "snmp_socket", "enable_traps", "enable_snmp_vrrp", "enable_snmp_keepalived",
            "enable_snmp_rfc", "enable_snmp_rfcv2", "enable_snmp_rfcv3", "enable_snmp_checker", "enable_dbus",
            "dbus_service_name", "script_user", "enable_script_security", "vrrp_netlink_cmd_rcv_bufs",
            "vrrp_netlink_cmd_rcv_bufs_force", "vrrp_netlink_monitor_rcv_bufs",
            "vrrp_netlink_monitor_rcv_bufs_force", "process_monitor_rcv_bufs",
            "process_monitor_rcv_bufs_force", "lvs_netlink_cmd_rcv_bufs", "lvs_netlink_cmd_rcv_bufs_force",
            "lvs_netlink_monitor_rcv_bufs", "lvs_netlink_monitor_rcv_bufs_force", "rs_init_notifies",
            "no_checker_emails", "vrrp_rx_bufs_policy", "vrrp_rx_bufs_multiplier", "vrrp_startup_delay",
            "log_unknown_vrids", "vmac_prefix", "vmac_addr_prefix", "umask", "random_seed",
            "reload_check_config", "reload_time_file", "reload_repeat", "reload_file", "include_check",
            "config_save_dir", "tmp_config_directory", "data_use_instance",
        ],
    ),
    (
        &["vrrp_instance"],
        &[
            "use_vmac", "use_vmac_addr", "vmac_xmit_base", "use_ipvlan", "unicast_peer",
            "unicast_fault_no_peer", "check_unicast_src", "old_unicast_checksum", "native_ipv6", "state",
            "interface", "vrf", "dont_track_primary", "track_interface", "track_script", "track_file",
            "track_process", "track_bfd", "mcast_src_ip", "unicast_src_ip", "mcast_dst_ip", "track_src_ip",
            "virtual_router_id", "unicast_ttl", "version", "priority", "advert_int", "virtual_ipaddress",
            "virtual_ipaddress_excluded", "promote_secondaries", "linkbeat_use_polling", "virtual_routes",
            "virtual_rules", "accept", "no_accept", "skip_check_adv_addr", "strict_mode", "preempt",
            "nopreempt", "preempt_delay", "debug", "notify_backup", "notify_master", "notify_fault",
            "notify_stop", "notify_deleted", "notify", "notify_master_rx_lower_pri", "smtp_alert",
            "notify_priority_changes", "lvs_sync_daemon_interface", "garp_master_delay",
            "garp_master_refresh", "garp_master_repeat", "garp_master_refresh_repeat",
            "garp_lower_prio_delay", "garp_lower_prio_repeat", "down_timer_adverts", "garp_extra_if",
            "vmac_garp_intvl", "lower_prio_no_advert", "higher_prio_send_advert", "kernel_rx_buf_size",
            "authentication",
        ],
    ),
    (
        &["vrrp_instance", "authentication"],
        &[
            "auth_type", "auth_pass",
        ],
    ),
    (
        &["vrrp_script"],
        &[
            "script", "interval", "timeout", "weight", "rise", "fall", "user", "init_fail",
        ],
    ),
    (
        &["vrrp_sync_group"],
        &[
            "group", "track_interface", "track_script", "track_file", "track_process", "track_bfd",
            "notify_backup", "notify_master", "notify_fault", "notify_stop", "notify", "smtp_alert",
            "global_tracking", "sync_group_tracking_weight", "notify_priority_changes",
        ],
    ),
    (
        &["vrrp_track_process"],
        &[
            "process", "param_match", "weight", "quorum", "quorum_max", "delay", "terminate_delay",
            "fork_delay", "full_command",
        ],
    ),
    (
        &["track_file"],
        &[
            "file", "weight", "init_file",
        ],
    ),
    (
        &["vrrp_track_file"],
        &[
            "file", "weight", "init_file",
        ],
    ),
    (
        &["garp_group"],
        &[
            "garp_interval", "gna_interval", "interface", "interfaces",
        ],
    ),
    (
        &["track_group"],
        &[
            "group",
        ],
    ),
    (
        &["bfd_instance"],
        &[
            "source_ip", "neighbor_ip", "neighbour_ip", "min_rx", "min_tx", "idle_tx", "multiplier",
            "passive", "ttl", "hoplimit", "max_hops", "weight", "vrrp", "checker",
        ],
    ),
    (
        &["static_routes"],
        &[
            "via", "dev", "weight", "onlink", "encap", "realms", "as", "src", "gw", "inet", "inet6", "from",
            "tos", "table", "protocol", "scope", "metric", "priority", "preference", "oif", "expires", "mtu",
            "hoplimit", "advmss", "rtt", "rttvar", "reordering", "window", "cwnd", "ssthresh", "rto_min",
            "initcwnd", "initrwnd", "features", "quickack", "congctl", "pref", "ttl-propagate",
            "fastopen_no_cookie", "add", "prepend", "append", "or", "nexthop", "no_track", "track_group",
            "to", "vrf", "blackhole", "unreachable", "prohibit", "throw",
        ],
    ),
    (
        &["static_rules"],
        &[
            "inet6", "inet", "from", "to", "table", "lookup", "preference", "order", "priority", "tos",
            "dsfield", "fwmark", "realms", "suppress_prefixlength", "sup_pl", "suppress_ifgroup", "sup_group",
            "dev", "iif", "oif", "tunnel-id", "uidrange", "l3mdev", "protocol", "ipproto", "sport", "dport",
            "no_track", "track_group", "type", "goto", "nop",
        ],
    ),
    (&["static_ipaddress"], &["dev", "scope", "broadcast", "brd", "label", "peer", "home", "-nodad", "no_track"]),
];

/// Options behind a value, as a line of the block that takes them.
const OPTIONS: &[(&[&str], &[&str])] = &[
    (
        &["vrrp_instance", "virtual_ipaddress"],
        &[
            "192.0.2.1 dev eth0",
            "192.0.2.1 label eth0:1",
            "192.0.2.1 brd 192.0.2.255",
            "192.0.2.1 broadcast -",
            "192.0.2.1 scope link",
            "192.0.2.1 peer 192.0.2.2",
            "192.0.2.1 home",
            "192.0.2.1 -nodad",
            "192.0.2.1 mngtmpaddr",
            "192.0.2.1 noprefixroute",
            "192.0.2.1 autojoin",
            "192.0.2.1 no_track",
            "192.0.2.1 preferred_lft 0",
            "192.0.2.1 use_vmac",
        ],
    ),
    (
        &["vrrp_instance", "unicast_peer"],
        &["192.0.2.1", "192.0.2.1 min_ttl 1", "192.0.2.1 min_ttl 1 max_ttl 255"],
    ),
    (
        &["vrrp_instance", "track_interface"],
        &[
            "eth1",
            "eth1 weight 1",
            "eth1 weight -1 reverse",
            "eth1 weight 1 noreverse",
            "eth1 weight 1 no_reverse",
        ],
    ),
    (&["vrrp_instance", "track_script"], &["c", "c weight 2", "c weight 2 reverse"]),
];

/// Keywords that occur in published keepalived.conf files.
#[rustfmt::skip]
const PUBLISHED: &[Keywords] = &[
    (&[], &["global_defs", "vrrp_instance", "vrrp_script", "vrrp_sync_group", "vrrp_track_process", "virtual_server"]),
    (&["virtual_server"], &["real_server", "SSL_GET", "delay_loop", "lb_algo", "lb_kind", "persistence_timeout", "protocol"]),
    (
        &["global_defs"],
        &[
            "router_id", "script_user", "enable_script_security", "vrrp_skip_check_adv_addr", "vrrp_garp_interval",
            "vrrp_gna_interval", "max_auto_priority", "notification_email", "notification_email_from", "smtp_server",
            "smtp_connect_timeout", "vrrp_garp_master_refresh", "vrrp_garp_master_delay", "vrrp_strict", "vrrp_version",
            "vrrp_mcast_group4", "lvs_sync_daemon",
        ],
    ),
    (&["vrrp_script"], &["script", "interval", "weight", "fall", "rise", "timeout", "init_fail"]),
    (
        &["vrrp_instance"],
        &[
            "state", "interface", "priority", "virtual_router_id", "virtual_ipaddress", "authentication", "track_script",
            "advert_int", "unicast_peer", "unicast_src_ip", "mcast_src_ip", "nopreempt", "notify_master", "notify_backup",
            "notify_fault", "notify_stop", "dont_track_primary", "track_process", "track_interface", "version", "debug",
            "smtp_alert", "garp_master_delay", "use_vmac", "virtual_routes", "virtual_rules", "lvs_sync_daemon_interface",
        ],
    ),
    (&["vrrp_instance", "authentication"], &["auth_type", "auth_pass"]),
    (&["vrrp_sync_group"], &["group", "notify_master", "notify_backup", "notify_fault"]),
    (&["vrrp_instance", "virtual_routes"], &["src", "via", "dev", "scope", "gw", "table", "or", "blackhole"]),
    (&["vrrp_instance", "virtual_rules"], &["from", "to", "table"]),
];

#[test]
fn every_keyword_is_acted_on_or_named() {
    let mut silent = String::new();
    let mut count = 0;
    for (blocks, keyword) in KEEPALIVED
        .iter()
        .chain(PUBLISHED)
        .flat_map(|(blocks, names)| names.iter().map(move |name| (blocks, name)))
    {
        count += 1;
        let text = inside(blocks, keyword);
        let loaded = load(&text);
        if unknown(&loaded) || !(acted_on(keyword) || named(&loaded, blocks, keyword)) {
            let _ = writeln!(silent, "{blocks:?} {keyword}:\n{}", report(&loaded));
        }
    }
    assert!(count > 300, "only {count} keywords");
    assert!(silent.is_empty(), "{silent}");
}

#[test]
fn every_option_is_acted_on_or_named() {
    for (blocks, lines) in OPTIONS {
        for line in *lines {
            let loaded = load(&inside(blocks, line));
            assert!(!unknown(&loaded), "{line}:\n{}", report(&loaded));
        }
    }
}

/// The other direction: the test would see a keyword that nobody knows.
#[test]
fn a_keyword_of_nobody_is_unknown() {
    for blocks in [
        &[][..],
        &["global_defs"],
        &["vrrp_script"],
        &["vrrp_instance"],
        &["vrrp_instance", "authentication"],
    ] {
        assert!(unknown(&load(&inside(blocks, "nobodys_keyword"))), "{blocks:?}");
    }
}

/// `line` in the innermost of `blocks`.
fn inside(blocks: &[&str], line: &str) -> String {
    let mut text = String::new();
    for block in blocks {
        let _ = match *block {
            "vrrp_script" | "vrrp_instance" | "vrrp_sync_group" | "vrrp_track_process" => {
                writeln!(text, "{block} N {{")
            }
            _ => writeln!(text, "{block} {{"),
        };
    }
    text + line + "\n" + &"}\n".repeat(blocks.len())
}

fn unknown(loaded: &Loaded) -> bool {
    loaded.diagnostics.iter().any(|found| found.code == codes::UNKNOWN_KEYWORD)
}

fn acted_on(name: &str) -> bool {
    let mut rows = TABLE.iter().copied().flatten();
    rows.any(|row| row.names.contains(&name) && row.treatment == Treatment::ActedOn)
}

/// Whether a finding points at the keyword or at a block round it.
fn named(loaded: &Loaded, blocks: &[&str], keyword: &str) -> bool {
    let source = loaded.sources.get(loaded.id).expect("the text");
    loaded.diagnostics.iter().filter_map(|found| found.span).any(|span| {
        let at = source.text.get(span.start as usize..span.end as usize).unwrap_or_default();
        at == keyword || blocks.contains(&at)
    })
}
