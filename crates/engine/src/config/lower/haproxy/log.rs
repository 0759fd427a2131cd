//! `log` lines and everything else that says what is logged, where, and how.
//!
//! Owns [`Logs`], what a section says of it, and [`GlobalLogs`]. What a line of a connection says is
//! [`log_format`](super::log_format)'s.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Prefix, Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{Host, parse as parse_address, resolve};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::config::lower::haproxy::log_format;
use crate::config::source::Span;
use crate::plan::log::{
    Facility, Layout, LogAddress, LogFormat, LogHostname, LogTarget, Logging, Sample, Severity,
};

/// The port of syslog.
const SYSLOG_PORT: u16 = 514;

/// Bytes of the longest line, unless `len` says otherwise.
const LENGTH: u16 = 1024;

/// What `len` can be.
const LENGTHS: std::ops::RangeInclusive<i64> = 80..=65_535;

/// The facilities of syslog, in the order of their numbers.
const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "auth2", "ftp", "ntp",
    "audit", "alert", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];

/// The severities of syslog, in the order of their numbers.
const SEVERITIES: [(&str, Severity); 8] = [
    ("emerg", Severity::Emergency),
    ("alert", Severity::Alert),
    ("crit", Severity::Critical),
    ("err", Severity::Error),
    ("warning", Severity::Warning),
    ("notice", Severity::Notice),
    ("info", Severity::Info),
    ("debug", Severity::Debug),
];

const LAYOUTS: [(&str, Layout); 8] = [
    ("local", Layout::Local),
    ("rfc3164", Layout::Rfc3164),
    ("rfc5424", Layout::Rfc5424),
    ("priority", Layout::Priority),
    ("short", Layout::Short),
    ("timed", Layout::Timed),
    ("iso", Layout::Iso),
    ("raw", Layout::Raw),
];

/// Kinds of targets that HAProxy has and mainstay has not.
const NOT_YET: [&str; 6] = ["ring@", "tcp@", "tcp4@", "tcp6@", "uxst@", "stream+"];

/// What section `global` says of logs.
#[derive(Clone, Debug, Default)]
pub(super) struct GlobalLogs {
    targets: Vec<Target>,
    tag: Option<String>,
    pub(super) hostname: LogHostname,
}

/// What the section of a proxy says of logs.
#[derive(Clone, Debug, Default)]
pub(super) struct Logs<'a> {
    targets: Vec<Entry>,
    tag: Option<String>,
    format: Option<Format<'a>>,
    structured: Option<&'a Word>,
    pub(super) early: bool,
    pub(super) skip_silent: bool,
    pub(super) skip_normal: bool,
    pub(super) separate_errors: bool,
}

/// A target, before the default layout is known.
#[derive(Clone, Debug)]
struct Target {
    layout: Option<Layout>,
    rest: LogTarget,
}

/// A `log` line of a proxy.
#[derive(Clone, Debug)]
enum Entry {
    /// `log global`.
    Global,
    Target(Target),
}

/// The one of several keywords that came last.
#[derive(Clone, Copy, Debug)]
enum Format<'a> {
    Tcp(Span),
    Written(&'a Word),
}

impl GlobalLogs {
    /// Reads a line of section `global`.
    pub(super) fn apply(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        match line.name {
            "log" if line.prefix != Prefix::None => self.targets.clear(),
            "log" => match line.values.first() {
                Some(word) if word.text == "global" && line.values.len() == 1 => {
                    line.bad_value("here `log` takes a target", reader.diagnostics);
                }
                _ => self.targets.extend(target(line, reader)),
            },
            "log-tag" => self.tag = line.values.first().map(|word| word.text.clone()),
            "log-send-hostname" => {
                let name = line.values.first().map(|word| word.text.clone());
                self.hostname = name.map_or(LogHostname::System, LogHostname::Given);
            }
            _ => {}
        }
    }
}

impl<'a> Logs<'a> {
    /// Reads a line of a proxy; whether it was one of these.
    pub(super) fn apply(&mut self, line: &Line<'a>, reader: &mut Reader<'_, '_>) -> bool {
        let on = line.prefix == Prefix::None;
        match line.name {
            "log" if !on => {
                if let Some(extra) = line.values.first() {
                    let message = "`no log` takes nothing: it forgets all targets";
                    reader.diagnostics.push(Diagnostic::error(codes::VALUE_COUNT, extra.span, message));
                }
                self.targets.clear();
            }
            "log" if matches!(line.values, [word] if word.text == "global") => {
                self.targets.push(Entry::Global);
            }
            "log" => self.targets.extend(target(line, reader).map(Entry::Target)),
            "log-tag" => self.tag = line.values.first().map(|word| word.text.clone()),
            "log-format" => self.format = line.values.first().map(Format::Written),
            "log-format-sd" => self.structured = line.values.first(),
            "error-log-format" => {
                // HAProxy writes such lines of handshakes that failed only.
                if let Some(word) = line.values.first() {
                    let _ = log_format::parse(word, reader.diagnostics);
                }
            }
            "option tcplog" | "option httplog" | "option httpslog" => {
                if line.values.first().is_some_and(|word| word.text != "clf") {
                    line.bad_value("`option httplog` takes nothing or `clf`", reader.diagnostics);
                }
                self.format = Some(Format::Tcp(line.span));
            }
            "option logasap" => self.early = on,
            "option dontlognull" => self.skip_silent = on,
            "option dontlog-normal" => self.skip_normal = on,
            "option log-separate-errors" => self.separate_errors = on,
            _ => return false,
        }
        true
    }

    /// What a proxy logs; `front` if it has clients, and then its name for warnings, and where that stands.
    pub(super) fn lower(
        &self,
        global: &GlobalLogs,
        front: Option<(&str, Span)>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Logging {
        let anonymous = global.hostname == LogHostname::Omitted;
        let default = if anonymous { Layout::Local } else { Layout::Rfc3164 };
        let settle =
            |target: &Target| LogTarget { layout: target.layout.unwrap_or(default), ..target.rest.clone() };
        let targets: Vec<LogTarget> = self
            .targets
            .iter()
            .flat_map(|entry| match entry {
                Entry::Global => global.targets.as_slice(),
                Entry::Target(target) => std::slice::from_ref(target),
            })
            .map(settle)
            .collect();
        let mut logging = Logging {
            targets,
            tag: self.tag.clone().or_else(|| global.tag.clone()),
            early: self.early,
            skip_silent: self.skip_silent,
            skip_normal: self.skip_normal,
            separate_errors: self.separate_errors,
            ..Logging::default()
        };
        let Some((name, at)) = front else { return logging };
        let shared = |format: Option<LogFormat>| format.map(Arc::new);
        logging.format = match self.format {
            Some(Format::Tcp(_)) => Some(Arc::new(log_format::tcp())),
            Some(Format::Written(word)) => shared(log_format::parse(word, diagnostics)),
            None => None,
        };
        logging.structured = shared(self.structured.and_then(|word| log_format::parse(word, diagnostics)));
        if let (Some(format), true) = (self.format, logging.targets.is_empty()) {
            let written = match format {
                Format::Tcp(span) => span,
                Format::Written(word) => word.span,
            };
            let message = format!("`{name}` has a log format, but nowhere to log to, as in HAProxy");
            diagnostics.push(
                Diagnostic::warning(codes::NO_LOG_TARGET, written, message)
                    .label("describes lines that are not written")
                    .related(at, "this proxy has no `log` line that names a target")
                    .hint("add `log global` here, and `log /dev/log local0` to `global`"),
            );
        }
        logging
    }
}

/// The target that a `log` line names. Its parts stand in a fixed order, as in HAProxy.
fn target(line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Option<Target> {
    if !line.filled() {
        return None;
    }
    let mut words = Words { line, rest: line.values };
    let address = words.next().map(|word| (word, address(word, reader)));
    let diagnostics = &mut *reader.diagnostics;
    let length = words.length(diagnostics)?;
    let layout = words.choice("format", &LAYOUTS, diagnostics)?;
    let sample = words.sample(diagnostics)?;
    let Some(facility) = words.next() else {
        diagnostics.push(
            missing(line.whole(), "`log` needs a target and a facility".to_owned())
                .hint("such as `log /dev/log local0`"),
        );
        return None;
    };
    let Some(number) = FACILITIES.iter().position(|known| *known == facility.text) else {
        diagnostics.push(
            bad_value(facility, "a facility of syslog was expected").hint("such as `local0` or `daemon`"),
        );
        return None;
    };
    let level = words.severity("a level", diagnostics)?.unwrap_or(Severity::Debug);
    let least = words.severity("a lowest level", diagnostics)?.unwrap_or(Severity::Emergency);
    if let Some(extra) = words.next() {
        let message = format!("`log` does not take `{}` here", extra.text);
        diagnostics.push(Diagnostic::error(codes::VALUE_COUNT, extra.span, message).label("one too many"));
        return None;
    }
    let (_, Some(address)) = address? else { return None };
    let facility = Facility(u8::try_from(number).unwrap_or(0));
    Some(Target {
        layout,
        rest: LogTarget { address, length, layout: Layout::Local, sample, facility, level, least },
    })
}

/// What is left of a line. Methods give `None` after they have reported something.
struct Words<'a, 'b> {
    line: &'b Line<'a>,
    rest: &'a [Word],
}

impl<'a> Words<'a, '_> {
    fn next(&mut self) -> Option<&'a Word> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The word after `keyword`, if that comes next.
    fn after(&mut self, keyword: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Option<&'a Word>> {
        if self.rest.first().is_none_or(|word| word.text != keyword) {
            return Some(None);
        }
        let span = self.next().map_or(self.line.span, |word| word.span);
        let value = self.next();
        if value.is_none() {
            diagnostics.push(missing(span, format!("`{keyword}` needs a value")));
        }
        value.map(Some)
    }

    fn length(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<u16> {
        let Some(word) = self.after("len", diagnostics)? else { return Some(LENGTH) };
        let length = word.text.parse().ok().filter(|length| LENGTHS.contains(length));
        if length.is_none() {
            let message = format!("`len` must be from 80 to 65535, not `{}`", word.text);
            diagnostics.push(Diagnostic::error(codes::OUT_OF_RANGE, word.span, message));
        }
        length.and_then(|length| u16::try_from(length).ok())
    }

    fn choice<T: Copy>(
        &mut self,
        keyword: &str,
        known: &[(&str, T)],
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Option<T>> {
        let Some(word) = self.after(keyword, diagnostics)? else { return Some(None) };
        let found = known.iter().find(|(name, _)| *name == word.text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            diagnostics.push(bad_value(word, &format!("`{keyword}` takes {}", names.join(", "))));
        }
        found.map(Some)
    }

    fn severity(&mut self, what: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Option<Severity>> {
        let Some(word) = self.next() else { return Some(None) };
        let found = SEVERITIES.iter().find(|(name, _)| *name == word.text).map(|(_, value)| *value);
        if found.is_none() {
            let message =
                format!("{what} was expected: emerg, alert, crit, err, warning, notice, info or debug");
            diagnostics.push(bad_value(word, &message));
        }
        found.map(Some)
    }

    fn sample(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Option<Sample>> {
        let Some(word) = self.after("sample", diagnostics)? else { return Some(None) };
        match sample(&word.text) {
            Ok(sample) => Some(Some(sample)),
            Err(reason) => {
                let diagnostic = bad_value(word, "`sample` takes ranges and a size, such as 1,3-4:5");
                diagnostics.push(diagnostic.label(reason));
                None
            }
        }
    }
}

fn sample(text: &str) -> Result<Sample, &'static str> {
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number > 0);
    let (ranges, size) = text.split_once(':').ok_or("the size is missing")?;
    let size = number(size).ok_or("the size is a whole number above zero")?;
    let mut ranges = ranges
        .split(',')
        .map(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            number(first).zip(number(last)).filter(|(first, last)| first <= last)
        })
        .collect::<Option<Vec<_>>>()
        .ok_or("a range is a number above zero, or two in order")?;
    ranges.sort_unstable();
    if ranges.iter().zip(ranges.iter().skip(1)).any(|(one, next)| next.0 <= one.1) {
        return Err("the ranges overlap");
    }
    if ranges.last().is_some_and(|(_, last)| *last > size) {
        return Err("a range goes beyond the size");
    }
    Ok(Sample { ranges, size })
}

/// Where a target is.
fn address(word: &Word, reader: &mut Reader<'_, '_>) -> Option<LogAddress> {
    let text = word.text.as_str();
    match text {
        "stdout" => return Some(LogAddress::Descriptor(1)),
        "stderr" => return Some(LogAddress::Descriptor(2)),
        _ => {}
    }
    if let Some(number) = text.strip_prefix("fd@") {
        let descriptor = number.parse().ok().map(LogAddress::Descriptor);
        if descriptor.is_none() {
            reader.diagnostics.push(bad_value(word, "`fd@` takes the number of a descriptor"));
        }
        return descriptor;
    }
    if NOT_YET.iter().any(|family| text.starts_with(family)) {
        let message = format!("mainstay does not log to `{text}` yet: this target gets no lines");
        reader.diagnostics.push(
            Diagnostic::warning(codes::NOT_ACTED_ON, word.span, message)
                .hint("log to /dev/log, and let the syslog daemon there forward it"),
        );
        return None;
    }
    let unix = |path: &str| Some(LogAddress::Unix(path.to_owned()));
    if text.starts_with('/') {
        return unix(text);
    }
    for prefix in ["unix@", "uxdg@"] {
        if let Some(path) = text.strip_prefix(prefix) {
            return unix(path);
        }
    }
    if let Some(name) = text.strip_prefix("abns@") {
        return Some(LogAddress::Abstract(name.to_owned()));
    }
    udp(word, text, reader)
}

fn udp(word: &Word, text: &str, reader: &mut Reader<'_, '_>) -> Option<LogAddress> {
    let rest = ["udp@", "udp4@", "udp6@", "dgram+ipv4@", "dgram+ipv6@"]
        .iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let written = parse_address(word, rest, reader.diagnostics)?;
    let port = match written.ports {
        None => SYSLOG_PORT,
        Some(ports) if ports.start() == ports.end() => *ports.start(),
        Some(_) => {
            reader.diagnostics.push(bad_value(word, "a target has one port"));
            return None;
        }
    };
    let address = match written.host {
        Host::Address(address) if address.is_unspecified() && rest.starts_with(':') => {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        }
        Host::Address(address) => address,
        Host::Name(name) => match resolve(&name, word, reader.surroundings, reader.diagnostics) {
            Ok(address) => address,
            Err(diagnostic) => {
                reader.diagnostics.push(*diagnostic);
                return None;
            }
        },
    };
    Some(LogAddress::Udp(SocketAddr::new(address, port)))
}
