//! Where connections and servers are logged, and how a line looks.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// What a proxy logs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Where lines go (`log`).
    pub targets: Vec<LogTarget>,
    /// The name in their headers (`log-tag`); `None` is the program's.
    pub tag: Option<String>,
    /// What a connection's line says; `None` is a short line when it begins.
    pub format: Option<Arc<LogFormat>>,
    /// What goes ahead of it as structured data in targets of [`Layout::Rfc5424`] (`log-format-sd`).
    pub structured: Option<Arc<LogFormat>>,
    /// Log when the server is connected instead of at the end (`option logasap`).
    pub early: bool,
    /// Do not log connections on which the client said nothing (`option dontlognull`).
    pub skip_silent: bool,
    /// Do not log connections that came to a good end (`option dontlog-normal`).
    pub skip_normal: bool,
    /// Log those that did not as errors (`option log-separate-errors`).
    pub separate_errors: bool,
}

/// The name of this host in the headers of lines (`log-send-hostname`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogHostname {
    /// Not there.
    #[default]
    Omitted,
    /// What the system calls itself.
    System,
    /// This one.
    Given(String),
}

/// One target of log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// Where it is.
    pub address: LogAddress,
    /// Bytes of the longest line, without its end (`len`).
    pub length: u16,
    /// What stands before a line's text.
    pub layout: Layout,
    /// Which lines it gets, where it shares them with others.
    pub sample: Option<Sample>,
    /// Among the 24 of syslog.
    pub facility: Facility,
    /// Lines less important than this are left out.
    pub level: Severity,
    /// Lines more important than this are sent as this.
    pub least: Severity,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LogAddress {
    /// Datagrams over UDP.
    Udp(SocketAddr),
    /// Datagrams to a socket in the file system.
    Unix(String),
    /// Datagrams to a socket in the abstract namespace.
    Abstract(String),
    /// A descriptor that the daemon was started with; 1 and 2 are standard output and standard error.
    Descriptor(u16),
}

/// What stands before a line's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Priority, date, tag and process.
    Local,
    /// The same with the host's name.
    Rfc3164,
    /// The syslog of today, with structured data.
    Rfc5424,
    /// The priority.
    Priority,
    /// The severity.
    Short,
    /// The severity and the time.
    Timed,
    /// The time.
    Iso,
    /// Nothing.
    Raw,
}

/// The lines a target gets out of every `size` (`sample`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// First and last of each range, from 1; in order, and apart.
    pub ranges: Vec<(u32, u32)>,
    /// How many lines there are before it begins anew.
    pub size: u32,
}

/// A facility of syslog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

/// How important a line is; a lower one is more important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// `emerg`.
    Emergency,
    /// `alert`.
    Alert,
    /// `crit`.
    Critical,
    /// `err`.
    Error,
    /// `warning`.
    Warning,
    /// `notice`.
    Notice,
    /// `info`.
    Info,
    /// `debug`.
    Debug,
}

/// What a line says of a connection.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct LogFormat {
    /// As it was written.
    pub written: String,
    /// In order.
    pub parts: Vec<Part>,
}

impl fmt::Debug for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LogFormat").field(&self.written).finish()
    }
}

/// A piece of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// A blank, unless one stands there already.
    Blank,
    /// Something known of the connection.
    Field(Field, Style),
}

/// How a field is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// In double quotes (`Q`).
    pub quoted: bool,
    /// As a hexadecimal number (`X`).
    pub hexadecimal: bool,
    /// With `"`, `\` and `]` escaped (`E`).
    pub escaped: bool,
    /// As the result of a sample expression: always text.
    pub text: bool,
}

/// What can be known of a connection. The comment of each is its name in HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `%B`.
    BytesRead,
    /// `%U`.
    BytesUploaded,
    /// `%H`.
    Hostname,
    /// `%ID`.
    UniqueId,
    /// `%ST`.
    Status,
    /// `%T`.
    DateUtc,
    /// `%Tl`.
    DateLocal,
    /// `%t`.
    Date,
    /// `%Ts`.
    Timestamp,
    /// `%ms`.
    Milliseconds,
    /// `%Th`.
    HandshakeTime,
    /// `%Tw`.
    QueueTime,
    /// `%Tc`.
    ConnectTime,
    /// `%Td`.
    DataTime,
    /// `%Tt`.
    TotalTime,
    /// `%Tu`.
    UserTime,
    /// `%ac`.
    ProcessConnections,
    /// `%fc`.
    FrontendConnections,
    /// `%bc`.
    BackendConnections,
    /// `%sc`.
    ServerConnections,
    /// `%rc`.
    Retries,
    /// `%sq`.
    ServerQueue,
    /// `%bq`.
    BackendQueue,
    /// `%f`, and `%ft` where there is no TLS.
    Frontend,
    /// `%b`.
    Backend,
    /// `%s`.
    Server,
    /// `%ci`.
    ClientAddress,
    /// `%cp`.
    ClientPort,
    /// `%fi`.
    FrontendAddress,
    /// `%fp`.
    FrontendPort,
    /// `%bi`.
    BackendSource,
    /// `%bp`.
    BackendSourcePort,
    /// `%si`.
    ServerAddress,
    /// `%sp`.
    ServerPort,
    /// `%lc`.
    LogCounter,
    /// `%rt`.
    RequestCounter,
    /// `%pid`.
    Process,
    /// `%ts`.
    Termination,
    /// `%tsc`.
    TerminationWithCookie,
    /// `%sslc` and `%sslv`.
    Tls,
    /// `%hr`, `%hs` and their kind: nothing is captured.
    Captures,
}

impl Logging {
    /// Every format there is.
    pub fn formats(&self) -> impl Iterator<Item = &LogFormat> {
        self.format.iter().chain(&self.structured).map(|format| &**format)
    }

    /// Whether a connection's line can be written as soon as it has a server.
    ///
    /// As in HAProxy that is so when nothing in it changes later on, too.
    pub fn at_connect(&self) -> bool {
        self.early || self.format.as_ref().is_some_and(|format| !format.needs(Field::changes_until_the_end))
    }
}

impl LogFormat {
    /// Whether one of its fields is of this kind.
    pub fn needs(&self, kind: impl Fn(Field) -> bool) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Field(field, _) if kind(*field)))
    }
}

impl Field {
    /// Whether it is known only when the connection has ended; by HAProxy's reckoning, which has `%tsc` not among these.
    pub const fn changes_until_the_end(self) -> bool {
        matches!(
            self,
            Self::BytesRead
                | Self::BytesUploaded
                | Self::UniqueId
                | Self::HandshakeTime
                | Self::QueueTime
                | Self::ConnectTime
                | Self::DataTime
                | Self::TotalTime
                | Self::UserTime
                | Self::ProcessConnections
                | Self::FrontendConnections
                | Self::BackendConnections
                | Self::ServerConnections
                | Self::Retries
                | Self::ServerQueue
                | Self::BackendQueue
                | Self::Termination
        )
    }

    /// Whether it is the address that the server is connected from.
    pub const fn is_source(self) -> bool {
        matches!(self, Self::BackendSource | Self::BackendSourcePort)
    }
}

impl Sample {
    /// Whether it contains the line with this number, counted from zero.
    pub fn contains(&self, line: u64) -> bool {
        let place = line.checked_rem(u64::from(self.size)).unwrap_or(0) + 1;
        self.ranges.iter().any(|&(first, last)| (u64::from(first)..=u64::from(last)).contains(&place))
    }
}
