//! What a fault cost: numbers from what was observed, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::address_watch::overlap;
use super::clients::Probe;
use super::faults::Fault;

/// What was seen of one fault.
#[derive(Debug)]
pub struct Observed {
    /// When the fault began.
    pub injected: Instant,
    /// When watching ended.
    pub ended: Instant,
    /// Probes from a little before the fault on, in the order of their end.
    pub probes: Vec<Probe>,
    /// Connections held.
    pub held: usize,
    /// How many of them carried no more data afterwards.
    pub held_lost: usize,
    /// New connections must succeed this long before the fault counts as healed.
    pub stable_for: Duration,
    /// Since when the losing balancer has not held the address; `None` inside when it still does, outside when no
    /// balancer has to lose it.
    pub address_gone: Option<Option<Instant>>,
    /// When the losing balancer held the address.
    pub loser_held: Vec<(Instant, Instant)>,
    /// When the other one did.
    pub other_held: Vec<(Instant, Instant)>,
}

/// One line of the scoreboard. Times are seconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Line {
    /// The fault's name.
    pub fault: &'static str,
    /// Why there are no numbers.
    pub unavailable: Option<&'static str>,
    /// New connections started since the fault.
    pub new: usize,
    /// How many of them failed.
    pub new_failed: usize,
    /// How many of those the endpoint had taken before they broke: a moving address can cut such a one in flight.
    pub cut: usize,
    /// Those that failed, by how.
    pub failures: BTreeMap<String, usize>,
    /// New connections that reached an apiserver which was shutting down; they were served.
    pub to_stopping_server: usize,
    /// The longest time without a successful new connection while new ones were started all the time.
    pub longest_gap: f64,
    /// Connections held when the fault began.
    pub held: usize,
    /// How many of them it cost.
    pub held_lost: usize,
    /// From the fault until the first of the new connections that all succeed; `None` if it did not heal while watched.
    pub healed: Option<f64>,
    /// From the fault until the balancer that loses the address did not have it any more; `None` for never, and when
    /// none has to lose it.
    pub address_gone: Option<f64>,
    /// Whether a balancer has to lose the address in this fault.
    pub address_moves: bool,
    /// How long two balancers held the address at the same time.
    pub two_holders: f64,
    /// How long the fault was watched.
    pub watched: f64,
}

/// One cluster and what its faults cost.
#[derive(Clone, Debug, Serialize)]
pub struct Board {
    /// What the preferred balancer ran.
    pub lb1: &'static str,
    /// What the other one ran.
    pub lb2: &'static str,
    /// What differs from the printed recipe.
    pub changes: Vec<String>,
    /// One line for each fault and round.
    pub lines: Vec<Line>,
}

impl Line {
    /// A line without numbers.
    pub fn unavailable(fault: &Fault, reason: &'static str) -> Self {
        Self { fault: fault.name, unavailable: Some(reason), ..Self::default() }
    }
}

/// Turns what was seen into numbers.
pub fn judge(fault: &Fault, observed: &Observed) -> Line {
    let since: Vec<_> = observed.probes.iter().filter(|probe| probe.started >= observed.injected).collect();
    let mut failures = BTreeMap::new();
    let failed: Vec<_> = since.iter().filter_map(|probe| probe.outcome.as_ref().err()).collect();
    for failure in &failed {
        *failures.entry(failure.to_string()).or_default() += 1;
    }
    let after = |then: Instant| round(then.saturating_duration_since(observed.injected));
    let stopping = |probe: &&&Probe| probe.outcome.as_ref().is_ok_and(|answer| answer.stopping);
    Line {
        fault: fault.name,
        unavailable: None,
        new: since.len(),
        new_failed: failed.len(),
        cut: failed.iter().filter(|failure| failure.was_connected()).count(),
        failures,
        to_stopping_server: since.iter().filter(stopping).count(),
        longest_gap: round(longest_gap(observed)),
        held: observed.held,
        held_lost: observed.held_lost,
        healed: healed(observed).map(round),
        address_gone: observed.address_gone.flatten().map(after),
        address_moves: observed.address_gone.is_some(),
        two_holders: round(overlap(&observed.loser_held, &observed.other_held)),
        watched: round(observed.ended.saturating_duration_since(observed.injected)),
    }
}

/// The table for people: the boards side by side, fault by fault.
pub fn table(boards: &[Board]) -> String {
    let head = [
        "fault",
        "balancers",
        "new failed",
        "cut",
        "longest gap",
        "held lost",
        "healed after",
        "old address gone",
        "two holders",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    let mut faults: Vec<&str> = Vec::new();
    for line in boards.iter().flat_map(|board| &board.lines) {
        if !faults.contains(&line.fault) {
            faults.push(line.fault);
        }
    }
    for fault in faults {
        for board in boards {
            rows.extend(board.lines.iter().filter(|line| line.fault == fault).map(|line| row(board, line)));
        }
    }
    let width =
        |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..head.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<_> = row.iter().zip(&widths).enumerate().map(align).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    let notes = notes(boards);
    if !notes.is_empty() {
        let _ = write!(text, "\n{notes}");
    }
    text
}

fn align((column, (cell, width)): (usize, (&String, &usize))) -> String {
    if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
}

fn row(board: &Board, line: &Line) -> [String; 9] {
    let balancers =
        if board.lb1 == board.lb2 { board.lb1.to_owned() } else { format!("{} | {}", board.lb1, board.lb2) };
    if line.unavailable.is_some() {
        let none = || "-".to_owned();
        return [line.fault.to_owned(), balancers, none(), none(), none(), none(), none(), none(), none()];
    }
    let seconds = |seconds: f64| format!("{seconds:.2} s");
    let not_within = || format!("not in {:.0} s", line.watched);
    let gone =
        if line.address_moves { line.address_gone.map_or_else(not_within, seconds) } else { "-".to_owned() };
    [
        line.fault.to_owned(),
        balancers,
        format!("{} of {}", line.new_failed, line.new),
        line.cut.to_string(),
        seconds(line.longest_gap),
        format!("{} of {}", line.held_lost, line.held),
        line.healed.map_or_else(not_within, seconds),
        gone,
        if line.address_moves { seconds(line.two_holders) } else { "-".to_owned() },
    ]
}

fn notes(boards: &[Board]) -> String {
    let mut notes = Vec::new();
    for board in boards {
        for line in &board.lines {
            if let Some(reason) = line.unavailable {
                notes.push(format!("{}: {reason}.", line.fault));
            }
            if line.to_stopping_server > 0 {
                notes.push(format!(
                    "{} with {}: {} new connections went to an apiserver that was shutting down.",
                    line.fault, board.lb1, line.to_stopping_server
                ));
            }
        }
        notes.extend(board.changes.iter().map(|change| format!("{} ({}).", change, board.lb1)));
    }
    notes.iter().flat_map(|note| [note, "\n"]).collect()
}

fn longest_gap(observed: &Observed) -> Duration {
    let successes = observed.probes.iter().filter(|probe| probe.outcome.is_ok()).map(|probe| probe.ended);
    let before = observed.injected;
    let mut last = None;
    let mut longest = Duration::ZERO;
    for success in successes {
        if success >= before {
            longest = longest.max(success.saturating_duration_since(last.unwrap_or(before)));
        }
        last = Some(success);
    }
    longest.max(observed.ended.saturating_duration_since(last.unwrap_or(before)))
}

/// From the fault to the end of the first probe after the last one that failed.
fn healed(observed: &Observed) -> Option<Duration> {
    let failed = |probe: &&Probe| probe.outcome.is_err() && probe.started >= observed.injected;
    let Some(last) = observed.probes.iter().filter(failed).map(|probe| probe.started).max() else {
        return Some(Duration::ZERO);
    };
    let first =
        observed.probes.iter().filter(|probe| probe.started > last).min_by_key(|probe| probe.started)?;
    let stable = observed.ended.saturating_duration_since(first.started) >= observed.stable_for;
    stable.then(|| first.ended.saturating_duration_since(observed.injected))
}

/// Milliseconds are as fine as anything here is measured.
fn round(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
