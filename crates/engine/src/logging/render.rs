//! The line of a connection.
//!
//! Owns [`Connection`], everything a line can say, and [`line`]. HAProxy's texts: what is unknown is `-` or -1, numbers
//! that will still grow have a plus before them, and whatever cannot be printed is `#` and its number.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::plan::log::{Field, LogFormat, Part, Style};
use crate::plan::{FrontendId, Plan, PoolId, ServerId};
use crate::serving::termination::Termination;
use crate::time::UnixTime;

/// What is known of one connection when it is logged. Times are from the accept on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where it came in.
    pub frontend: FrontendId,
    /// Where it went.
    pub pool: Option<PoolId>,
    /// The server it was last sent to.
    pub server: Option<ServerId>,
    /// Who connected.
    pub client: SocketAddr,
    /// The number of the listener, if the client came by a socket of this machine and has no address.
    pub local_client: Option<u32>,
    /// The address that the client connected to, if the format asks for it.
    pub destination: Option<SocketAddr>,
    /// The address that the server was connected from, if the format asks for it.
    pub source: Option<SocketAddr>,
    /// The server's address.
    pub target: Option<SocketAddr>,
    /// The server is a socket of this machine, which has no address.
    pub local_target: bool,
    /// When it was accepted.
    pub accepted: UnixTime,
    /// Until a server was chosen, or the wait for one was over.
    pub queued: Option<Duration>,
    /// Until the server was connected.
    pub connected: Option<Duration>,
    /// Until its end, or until now.
    pub total: Duration,
    /// Bytes from the client.
    pub bytes_in: u64,
    /// Bytes from the server.
    pub bytes_out: u64,
    /// How it ended; `None` is in good order, or not yet.
    pub termination: Option<Termination>,
    /// Whether it is logged before its end, because that was asked for.
    pub unfinished: bool,
    /// Connects that were tried again.
    pub retries: u32,
    /// Whether one of them went to another server.
    pub redispatched: bool,
    /// Connections of the process, itself included.
    pub process_connections: u32,
    /// Connections of the frontend, itself included.
    pub frontend_connections: u32,
    /// Connections of the pool, itself excluded once it has ended.
    pub backend_connections: u32,
    /// Connections of the server, itself excluded once it has ended.
    pub server_connections: u32,
    /// How many were before it in the server's queue.
    pub server_queue: u32,
    /// How many were before it in the pool's queue, itself included.
    pub backend_queue: u32,
    /// How many connections there were before it.
    pub request_counter: u64,
    /// How many lines its frontend had logged before this one.
    pub log_counter: u64,
}

/// What lines say of the process and the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// What the machine is called.
    pub name: String,
    /// The process.
    pub process: u32,
    /// How far the local time is ahead of UTC, in seconds.
    pub offset: i32,
}

impl Connection {
    /// Whether something about it deserves attention: it did not end well, or only in the second try.
    pub const fn is_remarkable(&self) -> bool {
        self.redispatched || self.termination.is_some() || self.retries > 0
    }
}

/// The line that says that a connection begins, for frontends without a format.
pub fn legacy(connection: &Connection, plan: &Plan) -> String {
    let Connection { client, destination, .. } = connection;
    let frontend = plan.frontends.get(usize::from(connection.frontend.0)).map_or("", |front| &front.name);
    if let Some(listener) = connection.local_client {
        return format!("Connect to unix:{listener} ({frontend}/TCP)");
    }
    let address = |of: Option<SocketAddr>| match of {
        Some(of) => format!("{}:{}", of.ip(), of.port()),
        None => "unknown:0".to_owned(),
    };
    format!("Connect from {} to {} ({frontend}/TCP)", address(Some(*client)), address(*destination))
}

/// The line that `format` makes of a connection.
pub fn line(format: &LogFormat, connection: &Connection, plan: &Plan, host: &Host) -> String {
    let mut writer = Writer { text: String::with_capacity(160), connection, plan, host };
    let mut blank = true;
    for part in &format.parts {
        match part {
            Part::Text(text) => writer.text.push_str(text),
            Part::Blank if blank => {}
            Part::Blank => writer.text.push(' '),
            Part::Field(field, style) => writer.field(*field, *style),
        }
        blank = *part == Part::Blank;
    }
    writer.text
}

struct Writer<'a> {
    text: String,
    connection: &'a Connection,
    plan: &'a Plan,
    host: &'a Host,
}

impl Writer<'_> {
    fn field(&mut self, field: Field, style: Style) {
        let Connection { pool, server, .. } = *self.connection;
        let plan = self.plan;
        match field {
            Field::Frontend => {
                let frontend = plan.frontends.get(usize::from(self.connection.frontend.0));
                self.word(frontend.map_or("", |frontend| &frontend.name), style);
            }
            Field::Backend => {
                // As long as it has none, HAProxy takes the frontend for it.
                let frontend = plan.frontends.get(usize::from(self.connection.frontend.0));
                let pool = pool.and_then(|pool| plan.pools.get(usize::from(pool.0)));
                let name = pool.map(|pool| &pool.name).or(frontend.map(|frontend| &frontend.name));
                self.word(name.map_or("", String::as_str), style);
            }
            Field::Server => {
                let server = server.and_then(|server| plan.server(server));
                self.word(server.map_or("<NOSRV>", |server| &server.name), style);
            }
            Field::Hostname => {
                let name = self.host.name.clone();
                self.word(&name, style);
            }
            Field::UniqueId | Field::Tls => self.word("", style),
            Field::Captures => {}
            Field::Termination | Field::TerminationWithCookie => self.termination(field),
            Field::DateUtc | Field::DateLocal | Field::Date | Field::Timestamp | Field::Milliseconds => {
                self.date(field, style);
            }
            Field::ClientAddress | Field::FrontendAddress | Field::BackendSource | Field::ServerAddress => {
                self.address(field, style);
            }
            Field::ClientPort | Field::FrontendPort | Field::BackendSourcePort | Field::ServerPort => {
                self.port(field, style);
            }
            _ => self.number(field, style),
        }
    }

    /// A name, as its style says; nothing is a dash.
    fn word(&mut self, word: &str, style: Style) {
        if word.is_empty() && !style.quoted {
            return self.text.push('-');
        }
        let quote = if style.quoted { "\"" } else { "" };
        self.text.push_str(quote);
        for byte in word.bytes() {
            let escape = style.escaped && matches!(byte, b'"' | b'\\' | b']');
            if escape {
                self.text.push('\\');
            }
            if (b' '..=b'~').contains(&byte) && (escape || !matches!(byte, b'"' | b'#')) {
                self.text.push(char::from(byte));
            } else {
                let _ = write!(self.text, "#{byte:02X}");
            }
        }
        self.text.push_str(quote);
    }

    fn termination(&mut self, field: Field) {
        match self.connection.termination {
            Some(termination) => {
                let _ = write!(self.text, "{termination}");
            }
            None => self.text.push_str("--"),
        }
        if field == Field::TerminationWithCookie {
            self.text.push_str("--");
        }
    }

    fn date(&mut self, field: Field, style: Style) {
        let accepted = self.connection.accepted;
        let since = accepted.since_epoch();
        let offset = if field == Field::DateUtc { 0 } else { self.host.offset };
        let date = Date::new(accepted, offset);
        let _ = match field {
            Field::Date => write!(self.text, "{date}.{:03}", since.subsec_millis()),
            Field::Timestamp if style.hexadecimal => write!(self.text, "{:04X}", since.as_secs()),
            Field::Timestamp => write!(self.text, "{}", since.as_secs()),
            Field::Milliseconds if style.hexadecimal => write!(self.text, "{:02X}", since.subsec_millis()),
            Field::Milliseconds => write!(self.text, "{:03}", since.subsec_millis()),
            _ => write!(self.text, "{date} {}", Offset { seconds: offset, colon: false }),
        };
    }

    fn socket(&self, field: Field) -> Option<SocketAddr> {
        let Connection { client, destination, source, target, .. } = *self.connection;
        match field {
            Field::ClientAddress | Field::ClientPort => Some(client),
            Field::FrontendAddress | Field::FrontendPort => destination,
            Field::BackendSource | Field::BackendSourcePort => source,
            _ => target,
        }
    }

    fn address(&mut self, field: Field, style: Style) {
        if self.is_local(field) {
            return self.word("unix", style);
        }
        let text = match self.socket(field).map(|socket| socket.ip()) {
            None => String::new(),
            Some(IpAddr::V4(address)) if style.hexadecimal && !style.text => {
                format!("{:08X}", u32::from(address))
            }
            Some(IpAddr::V6(address)) if style.hexadecimal && !style.text => {
                format!("{:032X}", u128::from(address))
            }
            Some(address) => {
                let text = address.to_string();
                return self.word(&text, style);
            }
        };
        match text.as_str() {
            "" => self.word("", style),
            hexadecimal => self.text.push_str(hexadecimal),
        }
    }

    /// Whether it is the address or the port of an end that has none.
    fn is_local(&self, field: Field) -> bool {
        let Connection { local_client, local_target, .. } = *self.connection;
        match field {
            Field::ClientAddress | Field::ClientPort | Field::FrontendAddress | Field::FrontendPort => {
                local_client.is_some()
            }
            _ => local_target,
        }
    }

    fn port(&mut self, field: Field, style: Style) {
        let local = match (self.is_local(field), field) {
            (false, _) => None,
            (true, Field::ClientPort | Field::FrontendPort) => self.connection.local_client,
            (true, _) => Some(0),
        };
        let Some(port) = local.or(self.socket(field).map(|socket| socket.port().into())) else {
            return self.text.push('-');
        };
        if style.text {
            return self.word(&port.to_string(), style);
        }
        let _ = if style.hexadecimal { write!(self.text, "{port:04X}") } else { write!(self.text, "{port}") };
    }

    fn number(&mut self, field: Field, style: Style) {
        let connection = self.connection;
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let until = |time: Option<Duration>| time.map_or(-1, ms);
        let after =
            |time: Duration, before: Option<Duration>| before.map(|before| time.saturating_sub(before));
        let grows = match field {
            Field::TotalTime | Field::UserTime | Field::BytesRead => connection.unfinished,
            Field::Retries => connection.redispatched,
            _ => false,
        };
        if grows {
            self.text.push('+');
        }
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let number = match field {
            Field::BytesRead => count(connection.bytes_out),
            Field::BytesUploaded => count(connection.bytes_in),
            Field::QueueTime => until(connection.queued),
            Field::ConnectTime => {
                until(connection.connected.and_then(|connected| after(connected, connection.queued)))
            }
            Field::DataTime => until(after(connection.total, connection.connected)),
            Field::TotalTime | Field::UserTime => ms(connection.total),
            Field::ProcessConnections => i64::from(connection.process_connections),
            Field::FrontendConnections => i64::from(connection.frontend_connections),
            Field::BackendConnections => i64::from(connection.backend_connections),
            Field::ServerConnections => i64::from(connection.server_connections),
            Field::Retries => i64::from(connection.retries),
            Field::ServerQueue => i64::from(connection.server_queue),
            Field::BackendQueue => i64::from(connection.backend_queue),
            Field::LogCounter => count(connection.log_counter),
            Field::RequestCounter => count(connection.request_counter),
            Field::Process => i64::from(self.host.process),
            // No status, and no handshake.
            _ => 0,
        };
        let identifies = matches!(field, Field::LogCounter | Field::RequestCounter | Field::Process);
        let _ = if style.hexadecimal && identifies {
            write!(self.text, "{number:04X}")
        } else {
            write!(self.text, "{number}")
        };
    }
}

/// A date and a time to the second: `06/Feb/2009:12:14:14`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    pub(super) year: u64,
    /// From zero.
    pub(super) month: usize,
    pub(super) day: u64,
    pub(super) hour: u64,
    pub(super) minute: u64,
    pub(super) second: u64,
}

/// The names of months.
pub(super) const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Date {
    /// What a clock `offset` seconds ahead of UTC shows.
    pub(super) fn new(time: UnixTime, offset: i32) -> Self {
        let seconds = time.since_epoch().as_secs().saturating_add_signed(i64::from(offset));
        let (days, rest) = (seconds / 86_400, seconds % 86_400);
        // Years begin in March here, so that the odd day is the last one.
        let day = days + 719_468;
        let (era, day_of_era) = (day / 146_097, day % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = (from_march + 2) % 12;
        Self {
            year: year_of_era + era * 400 + u64::from(month < 2),
            month: usize::try_from(month).unwrap_or(0),
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// The name of its month.
    pub(super) fn month_name(&self) -> &'static str {
        MONTHS.get(self.month).copied().unwrap_or("Jan")
    }
}

impl std::fmt::Display for Date {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { year, day, hour, minute, second, .. } = self;
        write!(f, "{day:02}/{}/{year:04}:{hour:02}:{minute:02}:{second:02}", self.month_name())
    }
}

/// How far a clock is ahead of UTC: `+0100`, or `+01:00`.
pub(super) struct Offset {
    pub(super) seconds: i32,
    pub(super) colon: bool,
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let minutes = self.seconds.unsigned_abs() / 60;
        let sign = if self.seconds < 0 { '-' } else { '+' };
        let colon = if self.colon { ":" } else { "" };
        write!(f, "{sign}{:02}{colon}{:02}", minutes / 60, minutes % 60)
    }
}
