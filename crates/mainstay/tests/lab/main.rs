//! What mainstay promises, on whole clusters in network namespaces, with real daemons as peers.
//!
//! A test needs namespaces for itself and everything it starts, so this program runs itself again for each, inside new
//! ones. They run one after the other: they measure times. `cargo test --test lab -- NAME` runs some of them.

mod capture;
mod cell;
mod combination;
mod daemon;
mod faults;
mod frr_peer;
mod groups;
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

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use mainstay::lab::balancer::Kind;
use mainstay::lab::cluster::{Cluster, Holder, Options};
use mainstay::lab::enter::{self, Place};
use mainstay::lab::recipe::Timers;

const TESTS: &[(&str, fn())] = &[
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

/// Before the name of the test that is to be run inside.
const ONLY: &str = "--only";

/// How a test ends that measured, and held nothing to it.
const NOT_HELD: u8 = 77;

/// Whether the test of this process is one.
static HELD_NOTHING: AtomicBool = AtomicBool::new(false);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match enter::place() {
        Place::Outside => outside(&arguments),
        Place::Inside => {
            enter::prepare().expect("a place for the lab's files");
            let (_, test) =
                TESTS.iter().find(|(name, _)| arguments.ends_with(&[(*name).to_owned()])).expect(ONLY);
            test();
            ExitCode::from(if HELD_NOTHING.load(Ordering::Relaxed) { NOT_HELD } else { 0 })
        }
    }
}

fn outside(arguments: &[String]) -> ExitCode {
    let filters: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(*filter));
    let program = env::current_exe().expect("this program's own file");
    let (mut failed, mut not_held) = (Vec::new(), Vec::new());
    for (name, _) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        let started = Instant::now();
        let mut command = enter::command(&program, [ONLY, name]).expect("the tools that namespaces need");
        let code = command.status().expect("namespaces").code();
        let verdict = match code {
            Some(0) => "ok",
            Some(code) if code == i32::from(NOT_HELD) => {
                not_held.push(*name);
                "not held: no real-time scheduling"
            }
            _ => {
                failed.push(*name);
                "FAILED"
            }
        };
        println!("test {name} ... {verdict} ({:.1} s)", started.elapsed().as_secs_f64());
    }
    if !not_held.is_empty() {
        println!("\nnot held, because there is no real-time scheduling here: {}", not_held.join(", "));
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nfailed: {}", failed.join(", "));
    ExitCode::FAILURE
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
