//! What a check says and expects, step by step (`tcp-check` and `http-check` lines, and options that stand for them).

use std::net::{IpAddr, SocketAddr};

use crate::plan::{CheckStatus, ProxyHeader, Regex, StatusRanges, TlsCheck};

/// The steps of a check. The first one is a connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steps {
    /// What is spoken.
    pub dialect: Dialect,
    /// In order.
    pub steps: Vec<Step>,
    /// A server that is up and answers 404 gets no new connections and keeps its old ones.
    pub disable_on_404: bool,
}

/// What is spoken, which decides in what words a failure is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Bytes, as `tcp-check` lines say.
    Tcp,
    /// HTTP/1.
    Http,
    /// Bytes, as an option such as `redis-check` says.
    Protocol,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number in messages; 0 is a connect that nobody wrote.
    pub number: u16,
    /// What is done.
    pub action: StepAction,
    /// Shown when it fails.
    pub comment: Option<String>,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepAction {
    /// Opens a connection, in place of one that is open.
    Connect(Connect),
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends a request of HTTP.
    Request(Request),
    /// Waits for an answer and judges it.
    Expect(Box<Expect>),
}

/// How a step connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// In place of the check's own address.
    pub ip: Option<IpAddr>,
    /// In place of the check's own port.
    pub port: Option<u16>,
    /// Whether it speaks TLS.
    pub tls: Option<TlsCheck>,
    /// The PROXY header that comes first.
    pub proxy_header: Option<ProxyHeader>,
    /// Ends in the orderly way instead of with a reset.
    pub linger: bool,
}

/// A request of HTTP, piece by piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: String,
    /// What is asked for.
    pub uri: String,
    /// `HTTP/1.0` or `HTTP/1.1`.
    pub version: String,
    /// Names and values.
    pub headers: Vec<(String, String)>,
    /// What follows the headers.
    pub body: String,
}

/// What an answer has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expect {
    /// What is looked for.
    pub pattern: Expected,
    /// Whether the answer must not have it.
    pub negated: bool,
    /// Bytes to wait for before the answer is judged. Without it, one that does not match is waited for until it ends.
    pub min_recv: Option<usize>,
    /// The result where this is the last step, in place of L7OK.
    pub ok: Option<CheckStatus>,
    /// The result of another answer.
    pub error: Option<CheckStatus>,
    /// The result where there is no answer in time, in place of L7TOUT.
    pub timeout: Option<CheckStatus>,
    /// What is told where this is the last step and passes.
    pub on_success: Option<String>,
    /// What is told where it fails.
    pub on_error: Option<Told>,
}

/// What is told of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// This text.
    Text(String),
    /// The first line of the answer from here on; with the number in its first three bytes as the code, if so.
    Answer {
        /// Bytes that are left out.
        skipped: usize,
        /// Whether it begins with a code.
        code: bool,
    },
}

/// What is looked for in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// These bytes, written as text.
    Text(Vec<u8>),
    /// A match in the bytes.
    TextRegex(Regex),
    /// These bytes, written as digits.
    Binary(Vec<u8>),
    /// A match in the hexadecimal digits of the bytes.
    BinaryRegex(Regex),
    /// One of these statuses of HTTP.
    Status(StatusRanges),
    /// A match in the status of HTTP.
    StatusRegex(Regex),
    /// This text in the body of an answer of HTTP.
    Body(Vec<u8>),
    /// A match in that body.
    BodyRegex(Regex),
    /// A header of HTTP.
    Header(HeaderPattern),
    /// A packet that MySQL greets with, or answers a login with.
    Mysql(MysqlPacket),
}

/// A packet of MySQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MysqlPacket {
    /// The server's greeting.
    Greeting,
    /// Its answer to a login.
    Ok,
}

/// A header that is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderPattern {
    /// Its name.
    pub name: TextPattern,
    /// Its value, if that matters.
    pub value: Option<TextPattern>,
    /// Whether the value is compared as a whole and not between its commas.
    pub whole: bool,
}

/// How a text is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextPattern {
    /// It is this.
    Is(String),
    /// It begins so.
    Begins(String),
    /// It ends so.
    Ends(String),
    /// This is in it.
    Has(String),
    /// It matches.
    Matches(Regex),
}

impl Connect {
    /// As the server's own parameters say.
    pub const fn new(tls: Option<TlsCheck>) -> Self {
        Self { ip: None, port: None, tls, proxy_header: None, linger: false }
    }

    /// Where it connects, in a check that goes to `address`.
    pub fn address(&self, address: SocketAddr) -> SocketAddr {
        SocketAddr::new(self.ip.unwrap_or(address.ip()), self.port.unwrap_or(address.port()))
    }
}

impl Expect {
    /// Of which nothing but this was said.
    pub const fn new(pattern: Expected) -> Self {
        Self {
            pattern,
            negated: false,
            min_recv: None,
            ok: None,
            error: None,
            timeout: None,
            on_success: None,
            on_error: None,
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "OPTIONS".to_owned(),
            uri: "/".to_owned(),
            version: "HTTP/1.0".to_owned(),
            headers: Vec::new(),
            body: String::new(),
        }
    }
}

impl Request {
    /// As it goes on the wire. HTTP/1.1 connections are ended by saying so (RFC 9112 §9.6).
    pub fn text(&self) -> String {
        let Self { method, uri, version, headers, body } = self;
        let mut text = format!("{method} {uri} {version}\r\n");
        let mut header = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\r\n"));
        headers.iter().for_each(|(name, value)| header(name, value));
        if !body.is_empty() {
            header("content-length", &body.len().to_string());
        }
        if version == "HTTP/1.1" {
            header("connection", "close");
        }
        text.push_str("\r\n");
        text.push_str(body);
        text
    }
}

impl TextPattern {
    /// Whether `text` is as described.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Is(wanted) => text == wanted,
            Self::Begins(wanted) => text.starts_with(wanted),
            Self::Ends(wanted) => text.ends_with(wanted),
            Self::Has(wanted) => text.contains(wanted),
            Self::Matches(pattern) => pattern.is_in(text.as_bytes()),
        }
    }
}
