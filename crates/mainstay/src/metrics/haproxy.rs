//! Metrics under the names that HAProxy's own exporter gives them, so that its dashboards and alerts go on working.
//!
//! The numbers are those of `show stat` and `show info`. What only HTTP, TLS and compression have is left out.

use std::time::Duration;

use mainstay_engine::admin::Status;

use super::exposition::{Exposition, Kind, Labels, Number};
use super::{Daemon, Wanted};
use crate::runtime_api::statistics::{self, Filter, Kind as Of, Line};

/// How the number of a field becomes the number of a sample.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// As it is.
    Same,
    /// From milliseconds to seconds.
    Milliseconds,
}

use Kind::{Counter, Gauge};
use Of::{Backend as B, Frontend as F, Server as S};
use Unit::{Milliseconds, Same};

/// The end of a name, what it is written of, whether it only grows, help, the field of `show stat`, and its unit.
type Row = (&'static str, &'static [Of], Kind, &'static str, &'static str, Unit);

const ROWS: [Row; 50] = [
    ("current_queue", &[B, S], Gauge, "Connections that wait now.", "qcur", Same),
    ("max_queue", &[B, S], Gauge, "Most connections that ever waited.", "qmax", Same),
    ("current_sessions", &[F, B, S], Gauge, "Connections now.", "scur", Same),
    ("max_sessions", &[F, B, S], Gauge, "Most connections at once.", "smax", Same),
    ("limit_sessions", &[F, B, S], Gauge, "The limit of connections at once.", "slim", Same),
    ("sessions_total", &[F, B, S], Counter, "Connections so far.", "stot", Same),
    ("bytes_in_total", &[F, B, S], Counter, "Bytes from clients.", "bin", Same),
    ("bytes_out_total", &[F, B, S], Counter, "Bytes to clients.", "bout", Same),
    ("requests_denied_total", &[F, B], Counter, "Connections that a rule refused.", "dreq", Same),
    ("responses_denied_total", &[F, B, S], Counter, "Answers that a rule refused.", "dresp", Same),
    ("request_errors_total", &[F], Counter, "Connections that broke off too early.", "ereq", Same),
    ("connection_errors_total", &[B, S], Counter, "Connections that got no server.", "econ", Same),
    ("response_errors_total", &[B, S], Counter, "Connections that servers broke off.", "eresp", Same),
    ("retry_warnings_total", &[B, S], Counter, "Connects that were tried again.", "wretr", Same),
    ("redispatch_warnings_total", &[B, S], Counter, "Connects tried again elsewhere.", "wredis", Same),
    ("weight", &[B, S], Gauge, "The weight now.", "weight", Same),
    ("active_servers", &[B], Gauge, "Active servers that work.", "act", Same),
    ("backup_servers", &[B], Gauge, "Backup servers that work.", "bck", Same),
    ("check_failures_total", &[S], Counter, "Checks that failed while it was up.", "chkfail", Same),
    ("check_up_down_total", &[B, S], Counter, "How often it went down.", "chkdown", Same),
    ("check_last_change_seconds", &[B, S], Gauge, "Since it last went up or down.", "lastchg", Same),
    ("downtime_seconds_total", &[B, S], Counter, "How long it was down, in all.", "downtime", Same),
    ("queue_limit", &[S], Gauge, "How many may wait for it.", "qlimit", Same),
    ("current_throttle", &[S], Gauge, "Percentage that slow start permits.", "throttle", Same),
    ("loadbalanced_total", &[B, S], Counter, "How often a server was chosen.", "lbtot", Same),
    ("limit_session_rate", &[F], Gauge, "The limit of connections each second.", "rate_lim", Same),
    ("max_session_rate", &[F, B, S], Gauge, "Most connections in a second.", "rate_max", Same),
    ("connections_rate_max", &[F], Gauge, "Most connections accepted in a second.", "conn_rate_max", Same),
    ("http_requests_total", &[F], Counter, "Requests that it answered itself.", "req_tot", Same),
    ("http_requests_rate_max", &[F], Gauge, "Most requests in a second.", "req_rate_max", Same),
    ("intercepted_requests_total", &[F], Counter, "Requests for a page of it.", "intercepted", Same),
    ("connections_total", &[F], Counter, "Connections accepted.", "conn_tot", Same),
    ("denied_connections_total", &[F], Counter, "Connections refused when they came.", "dcon", Same),
    ("denied_sessions_total", &[F], Counter, "Connections refused by who connects.", "dses", Same),
    ("check_code", &[S], Gauge, "The status of HTTP in the latest check.", "check_code", Same),
    (
        "check_duration_seconds",
        &[S],
        Gauge,
        "How long the latest check took.",
        "check_duration",
        Milliseconds,
    ),
    ("client_aborts_total", &[B, S], Counter, "Connections that clients broke off.", "cli_abrt", Same),
    ("server_aborts_total", &[B, S], Counter, "Connections that servers broke off.", "srv_abrt", Same),
    ("last_session_seconds", &[B, S], Gauge, "Since it was last used; -1 is never.", "lastsess", Same),
    ("queue_time_average_seconds", &[B, S], Gauge, "How long connections waited.", "qtime", Milliseconds),
    ("connect_time_average_seconds", &[B, S], Gauge, "How long connects took.", "ctime", Milliseconds),
    ("response_time_average_seconds", &[B, S], Gauge, "How long answers took: 0.", "rtime", Milliseconds),
    ("total_time_average_seconds", &[B, S], Gauge, "How long connections were.", "ttime", Milliseconds),
    ("max_queue_time_seconds", &[B, S], Gauge, "The longest wait.", "qtime_max", Milliseconds),
    ("max_connect_time_seconds", &[B, S], Gauge, "The longest connect.", "ctime_max", Milliseconds),
    ("max_response_time_seconds", &[B, S], Gauge, "The longest answer: 0.", "rtime_max", Milliseconds),
    ("max_total_time_seconds", &[B, S], Gauge, "The longest connection.", "ttime_max", Milliseconds),
    ("connection_attempts_total", &[B, S], Counter, "Connects that were begun.", "connect", Same),
    ("connection_reuses_total", &[B, S], Counter, "Connections used again: none.", "reuse", Same),
    ("uweight", &[B, S], Gauge, "The weight as configured or ordered.", "uweight", Same),
];

/// States of a server, as the exporter labels them.
const SERVER_STATES: [&str; 5] = ["DOWN", "UP", "MAINT", "DRAIN", "NOLB"];

/// States of a frontend or backend.
const STATES: [&str; 2] = ["DOWN", "UP"];

/// Results of a check, as the exporter labels them.
const CHECKS: [&str; 16] = [
    "HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP", "L7TOUT", "L7RSP", "L7OK",
    "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK",
];

/// Everything that is wanted and has a name of HAProxy's.
pub(super) fn write(text: &mut Exposition, daemon: &Daemon<'_>, wanted: Wanted) {
    if wanted.process {
        process(text, daemon);
    }
    let filter = Filter { no_maintenance: !wanted.maintenance, ..Filter::default() };
    let lines = statistics::lines(daemon.status, &filter);
    for (is_wanted, of, word) in
        [(wanted.frontends, F, "frontend"), (wanted.backends, B, "backend"), (wanted.servers, S, "server")]
    {
        if is_wanted {
            let lines: Vec<&Line> = lines.iter().filter(|line| line.kind == of).collect();
            rows(text, (of, word), &lines);
            states(text, (of, word), &lines);
        }
    }
}

fn rows(text: &mut Exposition, (of, word): (Of, &str), lines: &[&Line]) {
    for (name, whats, kind, help, field, unit) in ROWS {
        if whats.contains(&of) {
            let samples =
                lines.iter().filter_map(|line| Some((labels(line), number(line.number(field)?, unit))));
            text.family(&format!("haproxy_{word}_{name}"), kind, help, samples);
        }
    }
}

fn states(text: &mut Exposition, (of, word): (Of, &str), lines: &[&Line]) {
    let states = lines.iter().flat_map(|line| {
        let now = state(line);
        let known: &[&'static str] = if of == S { &SERVER_STATES } else { &STATES };
        known.iter().map(move |&state| (with_state(line, state), now == state))
    });
    text.family(&format!("haproxy_{word}_status"), Gauge, "1 for the state it is in.", states);
    let checks =
        lines.iter().filter(|line| of == S && line.text("check_status").is_some()).flat_map(|line| {
            CHECKS.map(|state| (with_state(line, state), line.text("check_status") == Some(state)))
        });
    text.family("haproxy_server_check_status", Gauge, "1 for the result of its latest check.", checks);
}

fn number(number: i64, unit: Unit) -> Number {
    match unit {
        Same => number.into(),
        Milliseconds => Duration::from_millis(u64::try_from(number).unwrap_or(0)).into(),
    }
}

fn labels(line: &Line) -> Labels<'_> {
    let proxy = ("proxy", line.text("pxname").unwrap_or_default());
    match line.kind {
        S => vec![proxy, ("server", line.text("svname").unwrap_or_default())],
        F | B => vec![proxy],
    }
}

fn with_state<'a>(line: &'a Line, state: &'static str) -> Labels<'a> {
    let mut labels = labels(line);
    labels.push(("state", state));
    labels
}

/// The label that stands for the words of `show stat`.
fn state(line: &Line) -> &'static str {
    let words = line.text("status").unwrap_or_default();
    let begins = |with| words.starts_with(with);
    match line.kind {
        F if begins("OPEN") => "UP",
        F => "DOWN",
        _ if begins("DOWN") => "DOWN",
        _ if begins("MAINT") => "MAINT",
        _ if begins("DRAIN") => "DRAIN",
        _ if begins("NOLB") => "NOLB",
        _ => "UP",
    }
}

fn process(text: &mut Exposition, daemon: &Daemon<'_>) {
    let Daemon { status, load } = daemon;
    let Status { uptime, stopping, version, .. } = status;
    let rows: [(&str, Kind, &str, Number); 14] = [
        ("uptime_seconds", Gauge, "Since the daemon started.", uptime.as_secs().into()),
        ("max_connections", Gauge, "The limit of connections at once.", load.maxconn.into()),
        ("current_connections", Gauge, "Connections now.", load.sessions.into()),
        ("connections_total", Counter, "Connections accepted.", load.connections_total.into()),
        ("requests_total", Counter, "Connections let in.", load.sessions_total.into()),
        ("pipes_used_total", Counter, "Pipes in use now.", load.pipes_used.into()),
        ("pipes_free_total", Counter, "Pipes that wait for use now.", load.pipes_free.into()),
        ("current_connection_rate", Gauge, "Connections in the last second.", load.connection_rate.into()),
        ("max_connection_rate", Gauge, "Most connections in a second.", load.connection_rate_max.into()),
        ("current_session_rate", Gauge, "Connections let in, last second.", load.session_rate.into()),
        ("max_session_rate", Gauge, "Most connections let in in a second.", load.session_rate_max.into()),
        ("bytes_out_total", Counter, "Bytes passed on, both ways.", load.bytes_total.into()),
        ("spliced_bytes_out_total", Counter, "Of them, without a copy.", load.bytes_spliced.into()),
        ("stopping", Gauge, "Whether it hands over in order to exit.", (*stopping).into()),
    ];
    for (name, kind, help, number) in rows {
        text.family(&format!("haproxy_process_{name}"), kind, help, [(vec![], number)]);
    }
    let version: Labels<'_> = vec![("version", version)];
    text.family("haproxy_process_build_info", Gauge, "1, with the version as a label.", [(version, true)]);
}
