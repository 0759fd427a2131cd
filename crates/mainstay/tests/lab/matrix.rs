//! The interoperation matrix: every combination of daemons, versions, families, deliveries and authentications, each
//! lived through on a LAN of its own and printed as a line of one table.
//!
//! No combination is left out in silence: the table is the whole product, and what a pair cannot do has its reason.

use std::fmt::Write as _;
use std::panic::catch_unwind;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use mainstay_engine::plan::Family;

use super::cell::{Cell, PRIORITIES, Times};
use super::combination::{Authentication, Combination, Delivery};
use super::frr_peer::Frr;
use super::keepalived_peer::Keepalived;
use super::mainstay_peer::Mainstay;
use super::vrrp_peer::{Side, VrrpPeer};

/// Cells that live at once. They mostly wait; more would measure each other.
const AT_ONCE: usize = 10;

/// What a side runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Mainstay,
    /// With `use_vmac`: address and adverts on an interface with the group's MAC address.
    MainstayVmac,
    /// With `vmac_xmit_base` too: adverts leave from the interface below.
    MainstayBase,
    Keepalived,
    Frr,
}

impl Kind {
    /// What mainstay shares a group with.
    const PEERS: [Self; 3] = [Self::Mainstay, Self::Keepalived, Self::Frr];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mainstay => "mainstay",
            Self::MainstayVmac => "mainstay v",
            Self::MainstayBase => "mainstay b",
            Self::Keepalived => "keepalived",
            Self::Frr => "frr",
        }
    }

    pub(crate) fn is_mainstay(self) -> bool {
        matches!(self, Self::Mainstay | Self::MainstayVmac | Self::MainstayBase)
    }

    /// One of it, not yet started.
    pub(crate) fn install(self, side: Side) -> Box<dyn VrrpPeer> {
        match self {
            Self::Mainstay => Box::new(Mainstay::install(side, "")),
            Self::MainstayVmac => Box::new(Mainstay::install(side, "    use_vmac\n")),
            Self::MainstayBase => Box::new(Mainstay::install(side, "    use_vmac\n    vmac_xmit_base\n")),
            Self::Keepalived => Box::new(Keepalived::install(side)),
            Self::Frr => Box::new(Frr::install(side)),
        }
    }

    /// Who of mainstay's kinds meets it. FRR's address always has the group's MAC address, so all of them do.
    fn met_by(self) -> &'static [Self] {
        match self {
            Self::Frr => &[Self::Mainstay, Self::MainstayVmac, Self::MainstayBase],
            _ => &[Self::Mainstay],
        }
    }

    /// Why mainstay and it cannot do this together, if so.
    fn objection(self, combination: Combination) -> Option<&'static str> {
        match (self, combination.delivery, combination.authentication) {
            (Self::Keepalived, _, Authentication::Hmac) => Some("Keepalived has `auth_hmac` from 2.4 on"),
            (Self::Frr, Delivery::Unicast, _) => Some("FRR speaks multicast alone"),
            (Self::Frr, _, Authentication::Password | Authentication::Hmac) => {
                Some("FRR takes no adverts with authentication, and has none")
            }
            _ => None,
        }
    }
}

/// One row.
struct Row {
    /// The preferred side first.
    kinds: [Kind; 2],
    combination: Combination,
    /// Why it cannot be done.
    objection: Option<&'static str>,
}

pub(crate) fn of_all_peers() {
    println!("keepalived is {}, frr is {}", Keepalived::version(), Frr::version());
    let rows = rows();
    let outcomes = live(&rows);
    let mut failures = String::new();
    for (row, outcome) in rows.iter().zip(&outcomes) {
        if let Some(Err(sentence)) = outcome {
            let [preferred, other] = row.kinds.map(Kind::name);
            let _ = writeln!(failures, "\n{preferred} over {other}, {}: {sentence}", row.combination);
        }
    }
    println!("{}{}", failures, table(&rows, &outcomes));
    assert!(failures.is_empty(), "cells of the matrix failed, see above");
}

/// That nobody refused anything is worth something only if a refusal is seen.
pub(crate) fn would_see_a_refusal() {
    let combination = Combination {
        version: 2,
        family: Family::Ipv4,
        delivery: Delivery::Multicast,
        authentication: Authentication::Password,
    };
    for (number, peer) in [Kind::Keepalived, Kind::Frr].into_iter().enumerate() {
        Cell::build(number, [Kind::Mainstay, peer], combination).disagree();
    }
}

/// Every combination with every peer; where both roles differ, in both.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for peer in Kind::PEERS {
        for combination in Combination::all() {
            let objection = combination.contradiction().or_else(|| peer.objection(combination));
            if objection.is_some() {
                rows.push(Row { kinds: [Kind::Mainstay, peer], combination, objection });
                continue;
            }
            for &ours in peer.met_by() {
                rows.push(Row { kinds: [ours, peer], combination, objection });
                if peer != ours {
                    rows.push(Row { kinds: [peer, ours], combination, objection });
                }
            }
        }
    }
    rows
}

/// What came of every row, in order; nothing of those that cannot be done.
fn live(rows: &[Row]) -> Vec<Option<Result<Times, String>>> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(rows.iter().map(|_| None).collect::<Vec<_>>());
    let mut order: Vec<usize> = (0..rows.len()).filter(|&row| rows[row].objection.is_none()).collect();
    // Long lives first, so that no short one waits for the end.
    order.sort_by_key(|&row| rows[row].combination.version);
    let work = || {
        while let Some(&row) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let life = || Cell::build(row, rows[row].kinds, rows[row].combination).live();
            let outcome = catch_unwind(life).unwrap_or_else(|_| Err("it panicked, see above".to_owned()));
            outcomes.lock().expect("no cell panics while it holds this")[row] = Some(outcome);
        }
    };
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(work);
        }
    });
    outcomes.into_inner().expect("no cell panics while it holds this")
}

fn table(rows: &[Row], outcomes: &[Option<Result<Times, String>>]) -> String {
    let [high, low] = PRIORITIES;
    let mut reasons: Vec<&str> = Vec::new();
    let mut text = format!(
        "\nVRRP with every peer: who has priority {high}, and who has {low}; times in seconds\n\
         {:<11} {:<11} {:<8} {:<7} {:<10} {:<5} {:>8} {:>10} {:>6} {:>6} {:>6} {:>6}\n",
        high,
        low,
        "version",
        "family",
        "delivery",
        "auth",
        "election",
        "preemption",
        "stop",
        "kill",
        "cable",
        "heal"
    );
    for (row, outcome) in rows.iter().zip(outcomes) {
        let [preferred, other] = row.kinds.map(Kind::name);
        let _ = write!(text, "{preferred:<11} {other:<11} {}", row.combination);
        let _ = match (outcome, row.objection) {
            (Some(Ok(times)), _) => {
                let Times { election, preemption, stop, kill, cable, heal } = *times;
                let [election, preemption, stop, kill, cable, heal] =
                    [election, preemption, stop, kill, cable, heal].map(seconds);
                writeln!(text, " {election:>8} {preemption:>10} {stop:>6} {kill:>6} {cable:>6} {heal:>6}")
            }
            (Some(Err(_)), _) => writeln!(text, " {:>8}", "FAILED"),
            (None, reason) => {
                let reason = reason.expect("a row without an outcome has a reason");
                let note = reasons.iter().position(|known| *known == reason).unwrap_or_else(|| {
                    reasons.push(reason);
                    reasons.len() - 1
                });
                let dashes = format!(" {:>8} {:>10} {:>6} {:>6} {:>6} {:>6}", "-", "-", "-", "-", "-", "-");
                writeln!(text, "{dashes}  ({})", note + 1)
            }
        };
    }
    text.push_str(
        "election: from the start of both until the right one alone has the address. stop: time without an owner when it \
         stops.\npreemption: from its start until it has the address back. kill: from SIGKILL until the other one has it.\n\
         cable: the same, from the moment its cable is pulled.\n\
         heal: from the end of a LAN in two parts with an owner in each until the right one alone has it; mainstay keeps\n\
         an IPv4 address for a second longer, silent in ARP, for the connections it has.\n\
         mainstay v: with `use_vmac`. mainstay b: with `vmac_xmit_base` too.\n",
    );
    for (note, reason) in reasons.iter().enumerate() {
        let _ = writeln!(text, "({}) {reason}", note + 1);
    }
    text
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}
