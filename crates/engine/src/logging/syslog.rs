//! What stands before the text of a line, and how long a line may be.
//!
//! Owns [`datagram`]: every layout that `log … format` knows.

use std::fmt::Write as _;

use super::render::{Date, Host, Offset};
use crate::plan::log::{Facility, Layout, LogTarget, Severity};
use crate::time::UnixTime;

/// The name of the program in headers, unless `log-tag` says otherwise: what tools that read HAProxy's lines look for.
const TAG: &str = "haproxy";

/// One line on its way to a target.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// How important it is.
    pub severity: Severity,
    /// When it is written.
    pub now: UnixTime,
    /// The program's name.
    pub tag: Option<&'a str>,
    /// The host's name, if headers have one.
    pub hostname: Option<&'a str>,
    /// Structured data, for targets that take it.
    pub structured: Option<&'a str>,
    /// What it says.
    pub text: &'a str,
}

/// What is sent to `target`: header, text and the end of the line. `None` if the target does not want it.
pub fn datagram(target: &LogTarget, line: &Line<'_>, host: &Host) -> Option<Vec<u8>> {
    if line.severity > target.level {
        return None;
    }
    let severity = line.severity.max(target.least);
    let mut text = String::with_capacity(line.text.len() + 64);
    let Facility(facility) = target.facility;
    let priority = u16::from(facility) * 8 + severity as u16;
    let (tag, process) = (line.tag.unwrap_or(TAG), host.process);
    let _ = match target.layout {
        Layout::Raw => Ok(()),
        Layout::Priority => write!(text, "<{priority}>"),
        Layout::Short => write!(text, "<{}>", severity as u16),
        Layout::Iso => write!(text, "{} ", iso(line.now, host.offset)),
        Layout::Timed => write!(text, "<{}>{} ", severity as u16, iso(line.now, host.offset)),
        Layout::Local => {
            write!(text, "<{priority}>{} {tag}[{process}]: ", stamp(line.now, host.offset))
        }
        Layout::Rfc3164 => {
            let name = line.hostname.unwrap_or("localhost");
            write!(text, "<{priority}>{} {name} {tag}[{process}]: ", stamp(line.now, host.offset))
        }
        Layout::Rfc5424 => {
            let (now, name) = (iso(line.now, host.offset), line.hostname.unwrap_or("-"));
            write!(text, "<{priority}>1 {now} {name} {tag} {process} - {} ", line.structured.unwrap_or("-"))
        }
    };
    text.push_str(line.text);
    let mut bytes = text.into_bytes();
    bytes.truncate(usize::from(target.length));
    bytes.push(b'\n');
    Some(bytes)
}

/// `Feb  6 12:14:14`.
fn stamp(now: UnixTime, offset: i32) -> String {
    let date = Date::new(now, offset);
    let Date { day, hour, minute, second, .. } = date;
    format!("{} {day:2} {hour:02}:{minute:02}:{second:02}", date.month_name())
}

/// `2009-02-06T12:14:14.655000+00:00`.
fn iso(now: UnixTime, offset: i32) -> String {
    let date = Date::new(now, offset);
    let Date { year, month, day, hour, minute, second } = date;
    let month = month + 1;
    let micros = now.since_epoch().subsec_micros();
    let offset = Offset { seconds: offset, colon: true };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}{offset}")
}
