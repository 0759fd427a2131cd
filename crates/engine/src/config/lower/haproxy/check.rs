//! How the servers of a section are checked: `option httpchk` and its like, `http-check` and `tcp-check` lines.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{self, Host};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::config::lower::haproxy::server::ServerLine;
use crate::config::source::Span;
use crate::plan::{Check, CheckKind, HttpCheck, StatusRanges, TlsCheck};

/// What a section says about checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules<'a> {
    protocol: Protocol,
    request: Request,
    expect: Option<StatusRanges>,
    http_connect: Option<Connect<'a>>,
    tcp_connect: Option<Connect<'a>>,
    /// Where this section itself has lines of each kind.
    http_rule: Option<Span>,
    tcp_rule: Option<Span>,
    sends: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Protocol {
    /// A connection, with rules of `tcp-check` or without.
    #[default]
    Plain,
    Tcp,
    Http,
    SslHello,
}

/// A request, piece by piece.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    uri: String,
    version: String,
    headers: Vec<(String, String)>,
    body: String,
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

/// How a check connects where a line says so.
#[derive(Clone, Debug, Default)]
struct Connect<'a> {
    /// With the server's own parameters, where nothing else is said.
    default: bool,
    tls: bool,
    port: Option<u16>,
    address: Option<&'a Word>,
    name: Option<&'a Word>,
    alpn: Option<&'a Word>,
}

/// How long a check may take, from the section.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) connect: Option<Duration>,
    pub(super) check: Option<Duration>,
}

impl<'a> Rules<'a> {
    /// What another section starts with.
    pub(super) fn inherited(mut self) -> Self {
        (self.http_rule, self.tcp_rule, self.sends) = (None, None, 0);
        self
    }

    /// Takes in a line; whether it was one about checks.
    pub(super) fn apply(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> bool {
        match line.name {
            "option tcp-check" => self.protocol = Protocol::Tcp,
            "option ssl-hello-chk" => self.protocol = Protocol::SslHello,
            "option httpchk" => self.httpchk(line),
            "http-check connect" => {
                self.only_once(self.http_connect.is_some() && self.http_rule.is_some(), line, diagnostics);
                self.http_rule = Some(line.span);
                self.http_connect = Some(connect(line, diagnostics));
            }
            "tcp-check connect" => {
                self.only_once(self.tcp_connect.is_some() && self.tcp_rule.is_some(), line, diagnostics);
                self.tcp_rule = Some(line.span);
                self.tcp_connect = Some(connect(line, diagnostics));
            }
            "http-check send" => {
                self.only_once(self.sends > 0, line, diagnostics);
                self.http_rule = Some(line.span);
                if self.sends == 0 {
                    self.sends = 1;
                    self.send(line, diagnostics);
                }
            }
            "http-check expect" => {
                self.http_rule = Some(line.span);
                self.expect = expect(line, diagnostics).or(self.expect.take());
            }
            _ => return false,
        }
        true
    }

    /// Reports lines that count for nothing.
    pub(super) fn finish(&self, diagnostics: &mut Vec<Diagnostic>) {
        let pairs = [
            (self.http_rule, Protocol::Http, "http-check", "option httpchk"),
            (self.tcp_rule, Protocol::Tcp, "tcp-check", "option tcp-check"),
        ];
        for (span, protocol, rule, option) in pairs {
            if let (Some(span), true) = (span, self.protocol != protocol) {
                diagnostics.push(
                    Diagnostic::warning(
                        codes::IGNORED_HERE,
                        span,
                        format!("`{rule}` lines do nothing without `{option}`, as in HAProxy"),
                    )
                    .hint(format!("add `{option}` to this section")),
                );
            }
        }
    }

    /// `option httpchk [METHOD] URI [VERSION]`. What is left of old files puts headers behind the version.
    fn httpchk(&mut self, line: &Line<'a>) {
        self.protocol = Protocol::Http;
        let texts: Vec<&str> = line.values.iter().map(|word| word.text.as_str()).collect();
        let mut request = Request::default();
        match texts.as_slice() {
            [] => return,
            [uri] => request.uri = (*uri).to_owned(),
            [method, uri, rest @ ..] => {
                (request.method, request.uri) = ((*method).to_owned(), (*uri).to_owned());
                let rest = rest.join(" ");
                let mut lines = rest.split("\r\n");
                if let Some(version) = lines.next().filter(|version| !version.is_empty()) {
                    request.version = version.to_owned();
                }
                let headers = lines.filter_map(|header| header.split_once(':'));
                request.headers =
                    headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
            }
        }
        self.request = request;
    }

    fn only_once(&self, again: bool, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
        if again {
            diagnostics.push(
                Diagnostic::warning(
                    codes::NOT_ACTED_ON,
                    line.span,
                    format!(
                        "mainstay does not act on a second `{}` yet: a check connects once and asks once",
                        line.name
                    ),
                )
                .label("the second one"),
            );
        }
    }

    fn send(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let mut words = line.values.iter();
        while let Some(word) = words.next() {
            let mut value = || {
                let found = words.next();
                if found.is_none() {
                    diagnostics.push(missing(word.span, format!("`{}` needs a value", word.text)));
                }
                found.map_or_else(String::new, |value| value.text.clone())
            };
            match word.text.as_str() {
                "meth" => self.request.method = value(),
                "uri" => self.request.uri = value(),
                "ver" => self.request.version = value(),
                "body" => self.request.body = value(),
                "comment" => drop(value()),
                "hdr" => {
                    let name = value();
                    let value = value();
                    self.request.headers.push((name, value));
                }
                "uri-lf" | "body-lf" => {
                    drop(value());
                    diagnostics.push(Diagnostic::warning(
                        codes::NOT_ACTED_ON,
                        word.span,
                        format!("mainstay does not act on `{}` yet: requests are plain texts", word.text),
                    ));
                }
                _ => {
                    diagnostics.push(bad_value(
                        word,
                        "`http-check send` takes meth, uri, ver, hdr, body and comment",
                    ));
                    return;
                }
            }
        }
    }

    /// The check of a server, if it has one.
    pub(super) fn check(
        &self,
        server: &ServerLine<'a>,
        patience: Patience,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Check> {
        let own = &server.parameters;
        if !own.check && !own.check_tls {
            return None;
        }
        let connect = match self.protocol {
            Protocol::Http => self.http_connect.as_ref(),
            Protocol::Tcp => self.tcp_connect.as_ref(),
            Protocol::Plain | Protocol::SslHello => None,
        };
        let speaks_tls = connect.map_or(own.check_tls, |line| line.tls || (line.default && own.check_tls));
        // HAProxy wants to know whom to believe as soon as `check-ssl` is there.
        let verify = if speaks_tls || own.check_tls {
            own.verify(server.span, &reader.authorities, reader.diagnostics)
        } else {
            None
        };
        if !own.check {
            return None;
        }
        let address = self.address(server, connect, reader)?;
        let name = connect.and_then(|line| line.name).or(own.check_name).or(own.verify_host);
        let alpn = connect.and_then(|line| line.alpn).or(own.alpn);
        let tls = verify.filter(|_| speaks_tls).map(|verify| TlsCheck {
            verify,
            server_name: name.map(|word| word.text.clone()),
            alpn: alpn.map_or_else(Vec::new, |word| word.text.split(',').map(str::to_owned).collect()),
        });
        let interval = own.interval.unwrap_or(Duration::from_secs(2));
        // With `timeout check`, connecting has a limit of its own; without it, `inter` is one for both.
        let connect_timeout = match (patience.check, patience.connect) {
            (Some(_), Some(connect)) => connect.min(interval),
            _ => interval,
        };
        Some(Check {
            address,
            proxy_header: own.checks_header(connect.is_none_or(|line| line.default)),
            kind: self.kind(),
            tls,
            interval,
            fast_interval: own.fast_interval.unwrap_or(interval),
            down_interval: own.down_interval.unwrap_or(interval),
            connect_timeout,
            answer_timeout: patience.check.unwrap_or(interval),
            rise: own.rise.unwrap_or(2),
            fall: own.fall.unwrap_or(3),
        })
    }

    fn kind(&self) -> CheckKind {
        match self.protocol {
            Protocol::Plain | Protocol::Tcp => CheckKind::Connect,
            Protocol::SslHello => CheckKind::SslHello,
            Protocol::Http => CheckKind::Http(HttpCheck {
                request: self.request.text(),
                expect: self
                    .expect
                    .clone()
                    .unwrap_or_else(|| StatusRanges { ranges: vec![(200, 399)], negated: false }),
            }),
        }
    }

    /// Where checks connect to: what the line says, or `addr` and `port`, or where the server is.
    fn address(
        &self,
        server: &ServerLine<'a>,
        connect: Option<&Connect<'a>>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<SocketAddr> {
        let own = &server.parameters;
        let (mut ip, mut port) = (server.address.ip(), server.address.port());
        for word in own.address.into_iter().chain(connect.and_then(|line| line.address)) {
            let written = address::parse(word, &word.text, reader.diagnostics)?;
            ip = match written.host {
                Host::Address(ip) => ip,
                Host::Name(name) => {
                    match address::resolve(&name, word, reader.surroundings, reader.diagnostics) {
                        Ok(ip) => ip,
                        Err(diagnostic) => {
                            reader.diagnostics.push(*diagnostic);
                            return None;
                        }
                    }
                }
            };
            port = written.ports.map_or(port, |ports| *ports.start());
        }
        port = connect.and_then(|line| line.port).or(own.port).unwrap_or(port);
        // The port of a server of a service comes with its address.
        if port == 0 && !server.lookup.as_ref().is_some_and(|lookup| lookup.service) {
            reader.diagnostics.push(
                Diagnostic::error(
                    codes::NO_CHECK_PORT,
                    server.written,
                    "this server is checked, but at no port",
                )
                .label("an address without a port")
                .hint("write the port after the address, or `port` and a number for the check alone"),
            );
            return None;
        }
        Some(SocketAddr::new(ip, port))
    }
}

impl Request {
    /// As it goes on the wire: HTTP/1.1 connections are ended by saying so (RFC 9112 §9.6).
    fn text(&self) -> String {
        let Self { method, uri, version, headers, body } = self;
        let mut text = format!("{method} {uri} {version}\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        if version == "HTTP/1.1" {
            text.push_str("connection: close\r\n");
        }
        text.push_str("\r\n");
        text.push_str(body);
        text
    }
}

fn connect<'a>(line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> Connect<'a> {
    let mut connect = Connect::default();
    let mut words = line.values.iter();
    while let Some(word) = words.next() {
        let takes_value = ["port", "addr", "sni", "alpn", "comment", "proto"].contains(&word.text.as_str());
        let value = if takes_value { words.next() } else { None };
        if takes_value && value.is_none() {
            diagnostics.push(missing(word.span, format!("`{}` needs a value", word.text)));
            break;
        }
        match (word.text.as_str(), value) {
            ("default", _) => connect.default = true,
            ("ssl", _) => connect.tls = true,
            ("addr", value) => connect.address = value,
            ("sni", value) => connect.name = value,
            ("alpn", value) => connect.alpn = value,
            ("port", Some(value)) => {
                connect.port = value.text.parse().ok().filter(|port| *port > 0);
                if connect.port.is_none() && value.filled {
                    diagnostics.push(bad_value(value, "a port is a number from 1 to 65535"));
                }
            }
            ("comment" | "linger", _) => {}
            (other @ ("send-proxy" | "via-socks4" | "proto"), _) => {
                diagnostics.push(Diagnostic::warning(
                    codes::NOT_ACTED_ON,
                    word.span,
                    format!(
                        "mainstay does not act on `{other}` yet: checks connect directly and speak HTTP/1"
                    ),
                ));
            }
            _ => {
                let expected = format!("`{}` takes default, port, addr, ssl, sni and alpn", line.name);
                diagnostics.push(bad_value(word, &expected));
                break;
            }
        }
    }
    connect
}

/// `http-check expect`: the statuses that pass; `None` for everything else, which is reported.
fn expect(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<StatusRanges> {
    let mut words = line.values.iter();
    let mut negated = false;
    while let Some(word) = words.next() {
        match word.text.as_str() {
            "comment" | "min-recv" | "ok-status" | "error-status" | "tout-status" | "on-success"
            | "on-error" | "status-code" => drop(words.next()),
            "!" => negated = !negated,
            "status" => return words.next().and_then(|value| statuses(value, negated, diagnostics)),
            "rstatus" | "string" | "rstring" | "string-lf" | "hdr" | "fhdr" => {
                diagnostics.push(Diagnostic::warning(
                    codes::NOT_ACTED_ON,
                    word.span,
                    format!(
                        "mainstay does not act on `http-check expect {}` yet: any answer from 200 to 399 passes",
                        word.text
                    ),
                ));
                return None;
            }
            _ => {
                diagnostics.push(bad_value(word, "`http-check expect` takes `status` and statuses"));
                return None;
            }
        }
    }
    diagnostics.push(missing(line.span, "`http-check expect` needs `status` and statuses".to_owned()));
    None
}

/// `200`, `200-299` or several of them, separated by commas.
fn statuses(word: &Word, negated: bool, diagnostics: &mut Vec<Diagnostic>) -> Option<StatusRanges> {
    let status = |text: &str| text.parse::<u16>().ok();
    let range = |text: &str| match text.split_once('-') {
        Some((low, high)) => Some((status(low)?, status(high)?)),
        None => Some((status(text)?, status(text)?)),
    };
    let ranges: Option<Vec<(u16, u16)>> = word.text.split(',').map(range).collect();
    if ranges.is_none() && word.filled {
        diagnostics.push(bad_value(word, "statuses are numbers such as 200, 200-299 or 200,204"));
    }
    ranges.map(|ranges| StatusRanges { ranges, negated })
}
