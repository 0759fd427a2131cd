//! The log: one line for each thing worth saying, on standard error.
//!
//! Owns the two formats and the way to standard error. A line is handed to a thread of its own, so that a journal that
//! does not read never delays an advert; when [`LINES_WAITING`] lines wait, further ones are dropped and counted.
//! Nothing is logged for each connection. `recent` keeps the last lines in memory.

mod recent;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use mainstay_engine::Event;
use mainstay_engine::admin::EventStatus;
use mainstay_engine::event::Severity;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

pub use recent::Recent;

/// Lines that may wait for a slow reader of standard error: minutes of an eventful night.
const LINES_WAITING: usize = 1024;

/// How long the end of the process waits for the last lines to be read.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// The environment variable that chooses what is logged, in the syntax of `tracing_subscriber::EnvFilter`.
const FILTER_VARIABLE: &str = "MAINSTAY_LOG";

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Time, level and a sentence.
    #[default]
    Text,
    /// One JSON object with the sentence as `message` and every detail as a field.
    Json,
}

/// The way to the writing thread, once a log was started.
static LINES: OnceLock<Lines> = OnceLock::new();

/// Keeps the log open; its end waits for the last lines.
#[derive(Debug)]
pub struct Log;

/// Starts to log in `format`. Call it once.
///
/// # Errors
/// There is no thread to be had, or a log was started before.
pub fn start(format: LogFormat) -> io::Result<Log> {
    let (sender, receiver) = sync_channel(LINES_WAITING);
    let lines = Lines { sender, dropped: Arc::default(), recent: Arc::default() };
    let (dropped, recent) = (Arc::clone(&lines.dropped), Arc::clone(&lines.recent));
    thread::Builder::new().name("log".to_owned()).spawn(move || write_lines(&receiver, &dropped, &recent))?;
    // Under systemd the journal knows the time.
    let with_time = std::env::var_os("JOURNAL_STREAM").is_none();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| EnvFilter::new("info")))
        .event_format(Line { format, with_time })
        .with_writer(lines.clone())
        .try_init()
        .map_err(io::Error::other)?;
    let _ = LINES.set(lines);
    Ok(Log)
}

/// How often events were logged, by severity and name: as many as there are kinds of events.
#[derive(Debug, Default)]
pub struct EventCounts(BTreeMap<(Severity, String), u64>);

impl EventCounts {
    /// What `status` shows.
    pub fn status(&self) -> Vec<EventStatus> {
        self.0
            .iter()
            .map(|((severity, event), &count)| EventStatus {
                event: event.clone(),
                severity: word(*severity).to_owned(),
                count,
            })
            .collect()
    }
}

const fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "debug",
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// Logs an event of the engine: its sentence, at the level of its severity, with its fields. Counts it by name.
pub fn event(event: &Event, counts: &mut EventCounts) {
    let fields = serde_json::to_value(event).unwrap_or_default();
    if let Some(name) = fields["event"].as_str() {
        let count = counts.0.entry((event.severity(), name.to_owned())).or_default();
        *count = count.saturating_add(1);
    }
    let fields = fields.to_string();
    match event.severity() {
        Severity::Debug => tracing::debug!(fields, "{event}"),
        Severity::Info => tracing::info!(fields, "{event}"),
        Severity::Warning => tracing::warn!(fields, "{event}"),
        Severity::Error => tracing::error!(fields, "{event}"),
    }
}

/// The last lines, once a log was started.
pub fn recent() -> Option<Arc<Recent>> {
    LINES.get().map(|lines| Arc::clone(&lines.recent))
}

/// Waits until all lines so far are written, for a moment only.
pub fn flush() {
    let Some(lines) = LINES.get() else { return };
    let done = Arc::new(OnceLock::new());
    if lines.sender.try_send(Message::Flush(Arc::clone(&done), thread::current())).is_ok() {
        let deadline = std::time::Instant::now() + FLUSH_PATIENCE;
        while done.get().is_none() {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                break;
            }
            thread::park_timeout(left);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        flush();
    }
}

enum Message {
    Line(Vec<u8>),
    Flush(Arc<OnceLock<()>>, thread::Thread),
}

fn write_lines(receiver: &Receiver<Message>, dropped: &AtomicU64, recent: &Recent) {
    let mut stderr = io::stderr();
    while let Ok(message) = receiver.recv() {
        // Nobody is left to be told that standard error is gone.
        match message {
            Message::Line(line) => {
                recent.keep(String::from_utf8_lossy(&line).trim_end());
                let _ = stderr.write_all(&line);
            }
            Message::Flush(done, waiting) => {
                let _ = done.set(());
                waiting.unpark();
            }
        }
        let missed = dropped.swap(0, Ordering::Relaxed);
        if missed > 0 {
            let _ = writeln!(stderr, "{missed} log lines were dropped because nobody read standard error");
        }
    }
}

/// Hands complete lines to the writing thread.
#[derive(Clone, Debug)]
struct Lines {
    sender: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
    recent: Arc<Recent>,
}

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.sender.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

/// Formats one line.
struct Line {
    format: LogFormat,
    with_time: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let mut time = String::new();
        if self.with_time || self.format == LogFormat::Json {
            SystemTime.format_time(&mut Writer::new(&mut time))?;
        }
        match self.format {
            LogFormat::Text => said.write_text(&time, *event.metadata().level(), &mut writer),
            LogFormat::Json => said.write_json(&time, *event.metadata().level(), &mut writer),
        }
    }
}

/// What one call of a logging macro said.
#[derive(Default)]
struct Said {
    message: String,
    /// Of an [`Event`], as JSON.
    event: String,
    fields: Map<String, Value>,
}

impl Said {
    fn write_text(&self, time: &str, level: Level, writer: &mut Writer<'_>) -> fmt::Result {
        if !time.is_empty() {
            write!(writer, "{time} ")?;
        }
        write!(writer, "{level:>5} {}", self.message.replace('\n', " "))?;
        for (name, value) in &self.fields {
            write!(writer, " {name}={value}")?;
        }
        writeln!(writer)
    }

    /// Fields that would hide time, level or message lose.
    fn write_json(&self, time: &str, level: Level, writer: &mut Writer<'_>) -> fmt::Result {
        let mut line: Map<String, Value> = serde_json::from_str(&self.event).unwrap_or_default();
        line.extend(self.fields.clone());
        line.insert("time".to_owned(), time.into());
        line.insert("level".to_owned(), level.as_str().to_lowercase().into());
        line.insert("message".to_owned(), self.message.as_str().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        } else {
            self.fields.insert(field.name().to_owned(), format!("{value:?}").into());
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "fields" => value.clone_into(&mut self.event),
            "message" => value.clone_into(&mut self.message),
            name => {
                self.fields.insert(name.to_owned(), value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said() -> Said {
        Said {
            message: "router VI_1 is active: no peer was heard\nat all".to_owned(),
            event: r#"{"event":"became_active","router":"VI_1","message":"hidden"}"#.to_owned(),
            fields: Map::new(),
        }
    }

    #[test]
    fn text_is_one_line() {
        let mut text = String::new();
        said().write_text("", Level::WARN, &mut Writer::new(&mut text)).unwrap();
        assert_eq!(text, " WARN router VI_1 is active: no peer was heard at all\n");
    }

    #[test]
    fn json_has_the_fields_of_the_event_and_its_own_win() {
        let mut text = String::new();
        said().write_json("noon", Level::INFO, &mut Writer::new(&mut text)).unwrap();
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["event"], "became_active");
        assert_eq!(line["router"], "VI_1");
        assert_eq!(line["level"], "info");
        assert_eq!(line["time"], "noon");
        assert_eq!(line["message"], said().message);
        assert_eq!(text.matches('\n').count(), 1, "the newline of the message is escaped");
    }

    #[test]
    fn lines_that_nobody_reads_are_counted() {
        let (sender, _receiver) = sync_channel(1);
        let mut lines = Lines { sender, dropped: Arc::default(), recent: Arc::default() };
        for _ in 0..3 {
            assert_eq!(lines.write(b"line").unwrap(), 4);
        }
        assert_eq!(lines.dropped.load(Ordering::Relaxed), 2);
    }
}
