//! What mainstay promises, on whole clusters in network namespaces, with real daemons as peers.
//!
//! A test needs namespaces for itself and everything it starts, so this program runs itself again for each, inside new
//! ones. `cargo test --test lab -- NAME` runs some of them.

mod capture;
mod cell;
mod combination;
mod daemon;
mod faults;
mod frr_peer;
mod groups;
#[path = "../inside/mod.rs"]
mod inside;
mod interop;
mod keepalived_peer;
mod mainstay_peer;
mod matrix;
mod mismatches;
mod peer_link;
mod recipe;
mod signed;
mod timing;
mod virtual_mac;
mod vrrp_peer;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use mainstay::lab::balancer::Kind;
use mainstay::lab::cluster::{Cluster, Holder, Options};
use mainstay::lab::recipe::Timers;

const TESTS: inside::Tests = &[
    ("recipe::runs_as_printed_and_queues_the_61st", recipe::runs_as_printed_and_queues_the_61st),
    ("interop::mainstay_before_keepalived", interop::mainstay_before_keepalived),
    ("interop::keepalived_before_mainstay", interop::keepalived_before_mainstay),
    ("groups::tells_what_keepalived_tells", groups::tells_what_keepalived_tells),
    ("groups::moves_as_a_whole_beside_keepalived", groups::moves_as_a_whole_beside_keepalived),
    ("matrix::of_all_peers", matrix::of_all_peers),
    ("matrix::would_see_a_refusal", matrix::would_see_a_refusal),
    ("faults::of_balancers", faults::of_balancers),
    ("faults::of_balancers_with_fast_timers", faults::of_balancers_with_fast_timers),
    ("faults::of_apiservers", faults::of_apiservers),
    ("timing::holds_at_100_ms", timing::holds_at_100_ms),
    ("timing::holds_at_10_ms", timing::holds_at_10_ms),
    ("timing::a_move_delays_no_advert", timing::a_move_delays_no_advert),
    (
        "signed::groups_of_every_kind_elect_take_over_and_name_a_wrong_key",
        signed::groups_of_every_kind_elect_take_over_and_name_a_wrong_key,
    ),
    ("peer_link::replaces_a_dead_process_at_once", peer_link::replaces_a_dead_process_at_once),
    ("peer_link::interference_changes_nothing", peer_link::interference_changes_nothing),
    ("peer_link::keepalived_is_left_alone", peer_link::keepalived_is_left_alone),
    (
        "peer_link::the_address_goes_where_servers_are_reached",
        peer_link::the_address_goes_where_servers_are_reached,
    ),
    ("mismatches::of_a_real_keepalived", mismatches::of_a_real_keepalived),
    ("mismatches::a_strangers_address", mismatches::a_strangers_address),
    ("mismatches::carp_on_the_lan", mismatches::carp_on_the_lan),
    ("virtual_mac::a_takeover_needs_no_announcement", virtual_mac::a_takeover_needs_no_announcement),
    ("virtual_mac::shares_a_group_with_keepalived", virtual_mac::shares_a_group_with_keepalived),
    (
        "virtual_mac::makes_of_a_file_what_keepalived_makes",
        virtual_mac::makes_of_a_file_what_keepalived_makes,
    ),
];

/// Whether the test of this process measured only.
static HELD_NOTHING: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    inside::main(TESTS, &["matrix::", "timing::"], || !HELD_NOTHING.load(Ordering::Relaxed))
}

/// Says that this test holds nothing to what it measured, because real-time scheduling is not permitted here.
fn not_held() {
    HELD_NOTHING.store(true, Ordering::Relaxed);
}

/// A cluster in which all is well, with `lb1` active.
fn cluster(lb1: Kind, lb2: Kind, timers: Timers) -> Cluster {
    settled(Options { lb1, lb2, timers, ..Options::new(lb1).expect("options") })
}

/// Two mainstays and more room for connections than the recipe has.
fn roomy_cluster(timers: Timers) -> Cluster {
    settled(Options { timers, roomy: true, ..Options::new(Kind::Mainstay).expect("options") })
}

fn settled(options: Options) -> Cluster {
    let mainstay = PathBuf::from(env!("CARGO_BIN_EXE_mainstay"));
    let mut cluster = Cluster::build(&Options { mainstay, ..options }).expect("a cluster");
    cluster.clients.start_probing();
    cluster.settle(Holder::Lb1).expect("the preferred balancer becomes active");
    cluster
}
