//! `mainstay status` for people: who is active and why, and the state of every server, for somebody just woken up.
//!
//! Owns the text rendering of a [`Status`].

mod peers;

use std::fmt::Write as _;
use std::time::Duration;

use mainstay_engine::admin::{
    DifferenceStatus, FileStatus, ForwardingStatus, FrontendStatus, GroupStatus, PoolStatus, ProcessStatus,
    RouterStatus, ScriptStatus, ServerStatus, Status, TimingStatus,
};

/// Renders `status`, with terminal colours if `colour`.
pub fn render(status: &Status, colour: bool) -> String {
    let paint = Paint(colour);
    let mut text = String::new();
    let stopping = if status.stopping { ", stopping" } else { "" };
    let _ = writeln!(text, "mainstay {}, up {}{stopping}", status.version, span(status.uptime));
    if let Some(timing) = &status.timing {
        let _ = writeln!(text, "timing: {}", timing_line(timing, Paint(colour)));
    }
    for router in &status.routers {
        text.push('\n');
        render_router(&mut text, router, paint);
    }
    if !status.groups.is_empty() {
        text.push('\n');
        render_groups(&mut text, &status.groups, paint);
    }
    if !status.scripts.is_empty() {
        text.push('\n');
        render_scripts(&mut text, &status.scripts, paint);
    }
    if !status.files.is_empty() {
        text.push('\n');
        render_files(&mut text, &status.files);
    }
    if !status.processes.is_empty() {
        text.push('\n');
        render_processes(&mut text, &status.processes, paint);
    }
    if let Some(forwarding) = &status.forwarding {
        text.push('\n');
        render_forwarding(&mut text, forwarding, paint);
    }
    if !status.frontends.is_empty() {
        text.push('\n');
        render_frontends(&mut text, &status.frontends);
    }
    for pool in &status.pools {
        text.push('\n');
        render_pool(&mut text, pool, paint);
    }
    peers::render(&mut text, &status.peers, &status.without_peer_link, paint);
    text
}

/// Terminal colours, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

/// What a state means to the reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Good,
    Fine,
    Changing,
    Bad,
}

impl Paint {
    fn paint(self, text: &str, mood: Mood) -> String {
        let code = match mood {
            _ if !self.0 => return text.to_owned(),
            Mood::Fine => return text.to_owned(),
            Mood::Good => "32",
            Mood::Changing => "33",
            Mood::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn timing_line(timing: &TimingStatus, paint: Paint) -> String {
    let scheduling = match (timing.realtime_priority, &timing.realtime_refused) {
        (Some(priority), _) => format!("SCHED_RR priority {priority}"),
        (None, Some(why)) => paint.paint(&format!("ordinary scheduling, {why}"), Mood::Changing),
        (None, None) => "ordinary scheduling".to_owned(),
    };
    let memory = match &timing.memory_not_locked {
        None => "memory locked".to_owned(),
        Some(why) => paint.paint(&format!("memory not locked, {why}"), Mood::Changing),
    };
    format!("{scheduling}; {memory}; latest timer {:.1} ms late", timing.latest.as_secs_f64() * 1000.0)
}

fn mood_of_state(state: &str) -> Mood {
    match state {
        "active" => Mood::Good,
        "backup" => Mood::Fine,
        "fault" => Mood::Bad,
        _ => Mood::Changing,
    }
}

fn render_groups(text: &mut String, groups: &[GroupStatus], paint: Paint) {
    let rows = groups.iter().map(|group| {
        vec![
            Cell::left(&group.name),
            Cell::left(&group.state).mood(mood_of_state(&group.state)),
            Cell::left(&span(group.since)),
            Cell::left(&group.reason),
        ]
    });
    table(text, &["GROUP", "STATE", "FOR", "WHY"], rows, paint);
}

fn render_files(text: &mut String, files: &[FileStatus]) {
    let rows = files.iter().map(|file| {
        let number = file.number.map_or("unknown".to_owned(), |number| number.to_string());
        let (name, since) = (Cell::left(&file.name), Cell::left(&span(file.since)));
        vec![name, Cell::right(&number), since, Cell::left(&file.path)]
    });
    table(text, &["FILE", "SAYS", "FOR", "PATH"], rows, Paint(false));
}

fn render_processes(text: &mut String, processes: &[ProcessStatus], paint: Paint) {
    let rows = processes.iter().map(|process| {
        vec![
            Cell::left(&process.name),
            Cell::left(&process.state).mood(mood_of_tracked(&process.state)),
            Cell::left(&span(process.since)),
            Cell::right(&process.count.to_string()),
        ]
    });
    table(text, &["PROCESSES", "STATE", "FOR", "RUNNING"], rows, paint);
}

fn mood_of_tracked(state: &str) -> Mood {
    match state {
        "good" => Mood::Good,
        "bad" => Mood::Bad,
        _ => Mood::Changing,
    }
}

fn render_router(text: &mut String, router: &RouterStatus, paint: Paint) {
    let mood = mood_of_state(&router.state);
    let _ = writeln!(
        text,
        "router {}: {} for {}, {}",
        router.name,
        paint.paint(&router.state, mood),
        span(router.since),
        router.addresses.join(", ")
    );
    for difference in &router.differences {
        render_difference(text, difference, paint);
    }
    if router.differences_left_out > 0 {
        let _ = writeln!(text, "  ! more differences than fit here, {} times", router.differences_left_out);
    }
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    line("why", &router.reason);
    line("addresses", if router.addresses_installed { "installed here" } else { "not here" });
    line("identity", &format!("vrid {} on {}, {}", router.vrid, router.interface, priority(router)));
    if let Some(virtual_mac) = &router.virtual_mac {
        line("hardware", virtual_mac);
    }
    for routing in &router.routing {
        let failed = routing.state.starts_with("failed");
        let mood = if failed { Mood::Bad } else { Mood::Fine };
        line("routing", &paint.paint(&format!("{}: {}", routing.entry, routing.state), mood));
    }
    for tracked in &router.tracking {
        line("tracking", tracked);
    }
    let adverts = format!(
        "{} sent, {} received; became active {}",
        router.adverts_sent,
        router.adverts_received,
        times(router.transitions_to_active)
    );
    line("adverts", &adverts);
    for refused in &router.refused {
        let sentence = format!("{} {}, latest: {}", refused.count, refused.reason, refused.latest);
        line("refused", &paint.paint(&sentence, Mood::Changing));
    }
}

/// What is wrong with another router, before everything else: it explains the rest.
fn render_difference(text: &mut String, difference: &DifferenceStatus, paint: Paint) {
    let (mark, mood) = if difference.harmful { ('!', Mood::Bad) } else { ('-', Mood::Changing) };
    let sentence = paint.paint(&format!("{mark} {}", difference.sentence), mood);
    let seen = format!(
        "{} in {}, the latest {} ago",
        times(difference.count),
        span(difference.since),
        span(difference.latest)
    );
    let _ = writeln!(text, "  {sentence} ({seen})\n    to mend it, {}", difference.hint);
}

fn priority(router: &RouterStatus) -> String {
    if router.priority == router.effective_priority {
        format!("priority {}", router.priority)
    } else {
        format!("priority {} (configured {})", router.effective_priority, router.priority)
    }
}

fn render_scripts(text: &mut String, scripts: &[ScriptStatus], paint: Paint) {
    let rows = scripts.iter().map(|script| {
        let mood = mood_of_tracked(&script.state);
        vec![
            Cell::left(&script.name),
            Cell::left(&script.state).mood(mood),
            Cell::left(&span(script.since)),
            Cell::left(&script.latest),
        ]
    });
    table(text, &["SCRIPT", "STATE", "FOR", "LAST RUN"], rows, paint);
}

fn render_forwarding(text: &mut String, forwarding: &ForwardingStatus, paint: Paint) {
    let (endpoints, since) = (forwarding.endpoints.join(", "), span(forwarding.since));
    let state = match &forwarding.failed {
        None => paint.paint(&format!("in force for {since}"), Mood::Good),
        Some(reason) => paint.paint(&format!("not in force for {since}: {reason}"), Mood::Bad),
    };
    let _ = writeln!(text, "kernel forwarding of {endpoints}: {state}");
}

fn render_frontends(text: &mut String, frontends: &[FrontendStatus]) {
    let rows = frontends.iter().map(|frontend| {
        let name = match frontend.state.as_str() {
            "open" => frontend.name.clone(),
            state => format!("{} ({state})", frontend.name),
        };
        vec![
            Cell::left(&name),
            Cell::left(&frontend.binds.join(", ")),
            Cell::right(&frontend.sessions.to_string()),
            Cell::right(&frontend.sessions_max.to_string()),
            Cell::right(&frontend.sessions_total.to_string()),
        ]
    });
    table(text, &["FRONTEND", "LISTENS ON", "SESSIONS", "MOST", "TOTAL"], rows, Paint(false));
}

fn render_pool(text: &mut String, pool: &PoolStatus, paint: Paint) {
    let usable = pool.servers.iter().filter(|server| mood(server) != Mood::Bad).count();
    let usable_mood = match usable {
        0 => Mood::Bad,
        all if all == pool.servers.len() => Mood::Good,
        _ => Mood::Changing,
    };
    let share = paint.paint(&format!("{usable} of {} servers usable", pool.servers.len()), usable_mood);
    let _ = write!(text, "pool {}: {share}, {}, {} queued", pool.name, pool.algorithm, pool.queued);
    if pool.queue_timeouts > 0 {
        let _ = write!(text, ", {} gave up waiting", pool.queue_timeouts);
    }
    if pool.no_server > 0 {
        let _ = write!(text, ", {} found no server", pool.no_server);
    }
    if let Some(left) = pool.rebalancing {
        let _ = write!(text, ", rebalancing: up to {left} connections are still to be closed");
    }
    text.push('\n');
    let headings = ["SERVER", "ADDRESS", "STATE", "FOR", "LAST CHECK", "SESSIONS", "MOST", "TOTAL", "ERRORS"];
    table(text, &headings, pool.servers.iter().map(server_row), paint);
}

fn server_row(server: &ServerStatus) -> Vec<Cell> {
    let name = if server.backup { format!("{} (backup)", server.name) } else { server.name.clone() };
    let check = match (&server.check, server.checked) {
        (Some(check), Some(ago)) => format!("{check}, {} ago", span(ago)),
        (Some(check), None) => check.clone(),
        (None, _) => "-".to_owned(),
    };
    let sessions = match server.maxconn {
        Some(limit) => format!("{}/{limit}", server.sessions),
        None => server.sessions.to_string(),
    };
    vec![
        Cell::left(&name),
        Cell::left(&server.address),
        Cell::left(&state(server)).mood(mood(server)),
        Cell::left(&span(server.since)),
        Cell::left(&check),
        Cell::right(&sessions),
        Cell::right(&server.sessions_max.to_string()),
        Cell::right(&server.sessions_total.to_string()),
        Cell::right(&server.connect_errors.to_string()),
    ]
}

fn state(server: &ServerStatus) -> String {
    match server.closing {
        Some(left) => format!("{}, closing ({})", server.state, span(left)),
        None => server.state.clone(),
    }
}

fn mood(server: &ServerStatus) -> Mood {
    match server.state.as_str() {
        "up" => Mood::Good,
        "no check" => Mood::Fine,
        "up, going down" | "drain" => Mood::Changing,
        _ => Mood::Bad,
    }
}

/// One cell of a table.
struct Cell {
    text: String,
    right: bool,
    mood: Mood,
}

impl Cell {
    fn left(text: &str) -> Self {
        Self { text: text.to_owned(), right: false, mood: Mood::Fine }
    }

    fn right(text: &str) -> Self {
        Self { right: true, ..Self::left(text) }
    }

    fn mood(self, mood: Mood) -> Self {
        Self { mood, ..self }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Aligned columns; headings align with their first cell.
fn table(text: &mut String, headings: &[&str], rows: impl Iterator<Item = Vec<Cell>>, paint: Paint) {
    let mut rows: Vec<Vec<Cell>> = rows.collect();
    let heading = headings.iter().enumerate().map(|(column, heading)| Cell {
        right: rows.first().and_then(|row| row.get(column)).is_some_and(|cell| cell.right),
        ..Cell::left(heading)
    });
    rows.insert(0, heading.collect());
    let widths: Vec<usize> = (0..headings.len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(Cell::width).max().unwrap_or(0))
        .collect();
    for row in &rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            let padding = " ".repeat(width.saturating_sub(cell.width()));
            let (before, after) = if cell.right { (padding.as_str(), "") } else { ("", padding.as_str()) };
            let _ = write!(line, " {before}{}{after} ", paint.paint(&cell.text, cell.mood));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

/// The two largest units: what matters at 3 a.m. is the order of magnitude.
fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if seconds < 10 => format!("{seconds}.{}s", duration.subsec_millis() / 100),
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}
