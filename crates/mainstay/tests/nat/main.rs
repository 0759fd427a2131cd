//! Kernel forwarding with the real daemon and the real kernel: clients, balancers and servers in network namespaces.
//!
//! `cargo test --test nat -- NAME` runs some of them.

mod client;
mod death;
#[path = "../inside/mod.rs"]
mod inside;
mod moves;
mod operate;
mod rig;
mod shares;
mod stacked;
mod thousand;

use std::process::ExitCode;

const TESTS: inside::Tests = &[
    ("shares::go_by_weight_and_servers_see_the_endpoint", shares::go_by_weight_and_servers_see_the_endpoint),
    ("shares::of_ipv6_and_of_several_endpoints", shares::of_ipv6_and_of_several_endpoints),
    ("shares::of_clients_on_the_balancer", shares::of_clients_on_the_balancer),
    ("operate::a_drained_server_keeps_what_it_has", operate::a_drained_server_keeps_what_it_has),
    ("operate::the_table_comes_and_goes_and_others_stay", operate::the_table_comes_and_goes_and_others_stay),
    ("operate::a_machine_that_cannot_is_told_so", operate::a_machine_that_cannot_is_told_so),
    ("death::new_connections_go_elsewhere", death::new_connections_go_elsewhere),
    ("moves::connections_outlive_a_killed_balancer", moves::connections_outlive_a_killed_balancer),
    (
        "moves::connections_outlive_a_balancer_without_power",
        moves::connections_outlive_a_balancer_without_power,
    ),
    ("moves::a_frozen_balancer_leaves_nothing_behind", moves::a_frozen_balancer_leaves_nothing_behind),
    ("moves::a_hand_over_costs_nothing", moves::a_hand_over_costs_nothing),
    (
        "thousand::connections_notice_no_fault_of_balancers_and_no_change_of_servers",
        thousand::connections_notice_no_fault_of_balancers_and_no_change_of_servers,
    ),
    ("stacked::servers_on_the_balancers_themselves", stacked::servers_on_the_balancers_themselves),
];

fn main() -> ExitCode {
    inside::main(TESTS, &["thousand::"], || true)
}
