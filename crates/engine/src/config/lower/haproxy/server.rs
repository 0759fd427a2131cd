//! `server` and `default-server` lines.
//!
//! Owns what their parameters say; [`check`](super::check) makes the check, which needs the whole section.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::keywords::Place;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{self, Host};
use crate::config::lower::haproxy::line::{Line, bad_value, missing, recognise_parameter};
use crate::config::lower::haproxy::proxy_header::HeaderFlags;
use crate::config::lower::haproxy::resolvers::Resolution;
use crate::config::lower::haproxy::source::{lower_source, report_alone};
use crate::config::source::Span;
use crate::plan::{
    Dial, InitialState, Lookup, Observe, OnError, ProxyHeader, ProxyVersion, Server, Source, Target, Verify,
};

/// What `global` says about whom to believe.
#[derive(Clone, Debug, Default)]
pub(super) struct Authorities {
    /// `ca-base`.
    pub(super) base: Option<String>,
    /// `ssl-server-verify none`.
    pub(super) believe_anyone: bool,
}

/// What the parameters of servers say.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters<'a> {
    pub(super) check: bool,
    pub(super) interval: Option<Duration>,
    pub(super) fast_interval: Option<Duration>,
    pub(super) down_interval: Option<Duration>,
    pub(super) rise: Option<u32>,
    pub(super) fall: Option<u32>,
    pub(super) port: Option<u16>,
    pub(super) address: Option<&'a Word>,
    pub(super) check_tls: bool,
    pub(super) check_name: Option<&'a Word>,
    pub(super) verify_host: Option<&'a Word>,
    pub(super) alpn: Option<&'a Word>,
    pub(super) header: HeaderFlags,
    pub(super) check_header: bool,
    verify: Option<bool>,
    authority: Option<&'a Word>,
    weight: Option<u16>,
    pub(super) maxconn: Option<u32>,
    minconn: Option<u32>,
    maxqueue: Option<u32>,
    slow_start: Option<Duration>,
    backup: bool,
    disabled: bool,
    shutdown_sessions: bool,
    pub(super) source: Option<Source>,
    pub(super) user_timeout: Option<Duration>,
    pub(super) resolution: Resolution<'a>,
    shutdown_backup_sessions: bool,
    pub(super) certificate: Option<&'a Word>,
    pub(super) track: Option<&'a Word>,
    initial_state: InitialState,
    observed: bool,
    error_limit: Option<u32>,
    on_error: Option<OnError>,
    /// Where `agent-check` stands.
    pub(super) agent_check: Option<Span>,
    pub(super) agent_port: Option<u16>,
    pub(super) agent_address: Option<&'a Word>,
    pub(super) agent_interval: Option<Duration>,
    pub(super) agent_send: Option<&'a Word>,
}

/// A server, before it is known how it is checked.
#[derive(Clone, Debug)]
pub(super) struct ServerLine<'a> {
    pub(super) name: Word,
    /// Its place in the section, from 1.
    pub(super) id: u32,
    pub(super) span: Span,
    /// The port is 0 where none was given, and all of it is nothing for a socket of this machine.
    pub(super) address: SocketAddr,
    pub(super) target: Target,
    /// Where the address stands.
    pub(super) written: Span,
    pub(super) lookup: Option<Lookup>,
    pub(super) parameters: Parameters<'a>,
}

impl<'a> Parameters<'a> {
    /// Takes parameters in, over what was said before.
    pub(super) fn apply(&mut self, mut words: &'a [Word], reader: &mut Reader<'_, '_>) {
        while !words.is_empty() {
            let (parameter, length) = recognise_parameter(Place::Server, words, reader.diagnostics);
            words = words.get(length..).unwrap_or_default();
            if let Some(parameter) = parameter.filter(|parameter| parameter.name == "source") {
                let (source, length) = lower_source_of(&parameter, words, reader);
                self.source = source;
                words = words.get(length..).unwrap_or_default();
            } else if let Some(parameter) = parameter {
                self.set(&parameter, reader.diagnostics);
            }
        }
    }

    fn set(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let word = line.values.first();
        if self.header.set(line, diagnostics) {
            return;
        }
        let text = word.map_or("", |word| word.text.as_str());
        match line.name {
            "check" => self.check = true,
            "no-check" => self.check = false,
            "inter" | "fastinter" | "downinter" | "agent-inter" => self.set_interval(line, diagnostics),
            "rise" => self.rise = line.number(),
            "fall" => self.fall = line.number(),
            "port" => self.port = line.number().filter(|port| *port > 0),
            "addr" => self.address = word,
            "weight" => self.weight = line.number(),
            "maxconn" => self.maxconn = line.number(),
            "minconn" => self.minconn = line.number(),
            "maxqueue" => self.maxqueue = line.number(),
            // HAProxy counts whole seconds.
            "slowstart" => self.slow_start = line.time().map(whole_seconds),
            "backup" => self.backup = true,
            "no-backup" => self.backup = false,
            "disabled" => self.disabled = true,
            "enabled" => self.disabled = false,
            "check-ssl" => self.check_tls = true,
            "check-send-proxy" => self.check_header = true,
            "no-check-send-proxy" => self.check_header = false,
            "no-check-ssl" => self.check_tls = false,
            "check-sni" => self.check_name = word,
            "verifyhost" => self.verify_host = word,
            "check-alpn" => self.alpn = word,
            "ca-file" => self.authority = word,
            "crt" => self.certificate = word,
            "track" => self.track = word,
            "agent-check" => self.agent_check = Some(line.span),
            "no-agent-check" => self.agent_check = None,
            "agent-port" => self.agent_port = line.number().filter(|port| *port > 0),
            "agent-addr" => self.agent_address = word,
            "agent-send" => self.agent_send = word,
            "error-limit" => self.error_limit = line.number(),
            "init-state" | "observe" | "on-error" | "on-marked-up" => self.set_choice(line, diagnostics),
            "verify" => match text {
                "none" => self.verify = Some(false),
                "required" => self.verify = Some(true),
                _ => line.bad_value("`verify` takes `none` or `required`", diagnostics),
            },
            "tcp-ut" => self.user_timeout = line.time().filter(|time| !time.is_zero()),
            "usesrc" | "interface" => report_alone(line, diagnostics),
            "on-marked-down" if text == "shutdown-sessions" => self.shutdown_sessions = true,
            "on-marked-down" => line.bad_value("`on-marked-down` takes `shutdown-sessions`", diagnostics),
            _ => {
                self.resolution.set(line, diagnostics);
            }
        }
    }

    /// The header that a check starts with. One that connects `as_server` sends the server's unless it goes elsewhere.
    pub(super) fn checks_header(&self, as_server: bool, asked: bool) -> Option<ProxyHeader> {
        let elsewhere = self.port.is_some() || self.address.is_some();
        let asked = asked || as_server && self.check_header;
        let header = self.header.header().filter(|_| asked || as_server && !elsewhere);
        header.or(asked.then_some(ProxyHeader::new(ProxyVersion::V1)))
    }

    fn set_interval(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let time = line.time().filter(|time| !time.is_zero());
        if time.is_none() {
            line.bad_value("the time between checks cannot be nothing", diagnostics);
        }
        match line.name {
            "inter" => self.interval = time,
            "fastinter" => self.fast_interval = time,
            "downinter" => self.down_interval = time,
            _ => self.agent_interval = time,
        }
    }

    /// Parameters that take one of a few words.
    fn set_choice(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let Some(word) = line.values.first() else { return };
        match (line.name, word.text.as_str()) {
            ("init-state", "up") => self.initial_state = InitialState::Up,
            ("init-state", "fully-up") => self.initial_state = InitialState::FullyUp,
            ("init-state", "down") => self.initial_state = InitialState::Down,
            ("init-state", "fully-down") => self.initial_state = InitialState::FullyDown,
            ("init-state", _) => {
                line.bad_value("`init-state` takes up, fully-up, down or fully-down", diagnostics);
            }
            ("observe", "none") => self.observed = false,
            ("observe", "layer4") => self.observed = true,
            ("observe", "layer7") => diagnostics.push(
                Diagnostic::warning(
                    codes::NEEDS_HTTP,
                    word.span,
                    "`observe layer7` does nothing: it needs `mode http`, as in HAProxy",
                )
                .hint("write `observe layer4`"),
            ),
            ("observe", _) => line.bad_value("`observe` takes none, layer4 or layer7", diagnostics),
            ("on-error", "fastinter") => self.on_error = Some(OnError::FastInterval),
            ("on-error", "fail-check") => self.on_error = Some(OnError::FailCheck),
            ("on-error", "sudden-death") => self.on_error = Some(OnError::SuddenDeath),
            ("on-error", "mark-down") => self.on_error = Some(OnError::MarkDown),
            ("on-error", _) => {
                line.bad_value(
                    "`on-error` takes fastinter, fail-check, sudden-death or mark-down",
                    diagnostics,
                );
            }
            (_, "shutdown-backup-sessions") => self.shutdown_backup_sessions = true,
            _ => line.bad_value("`on-marked-up` takes `shutdown-backup-sessions`", diagnostics),
        }
    }

    /// Whom TLS believes; `None` if nobody can be, which was reported.
    pub(super) fn verify(
        &self,
        span: Span,
        authorities: &Authorities,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<Verify> {
        if !self.verify.unwrap_or(!authorities.believe_anyone) {
            return Some(Verify::None);
        }
        match self.authority {
            Some(file) if file.text == "@system-ca" => return Some(Verify::System),
            Some(file) => return Some(Verify::Authority(in_directory(authorities.base.as_deref(), file))),
            None => {}
        }
        diagnostics.push(
            Diagnostic::error(
                codes::NO_AUTHORITY,
                span,
                "this check speaks TLS, but nobody says whom to believe",
            )
            .label("needs `ca-file` or `verify none`")
            .hint("write `ca-file /etc/kubernetes/pki/ca.crt`, or `verify none` on a network you trust"),
        );
        None
    }
}

/// A file that is looked for in `base` unless its path is a whole one.
pub(super) fn in_directory(base: Option<&str>, file: &Word) -> String {
    match base {
        Some(base) if !file.text.starts_with('/') => format!("{base}/{}", file.text),
        _ => file.text.clone(),
    }
}

/// What a parameter `source` says, and how many of the words `behind` it belong to it.
fn lower_source_of(line: &Line<'_>, behind: &[Word], reader: &mut Reader<'_, '_>) -> (Option<Source>, usize) {
    let words: Vec<Word> = line.values.iter().chain(behind).cloned().collect();
    let (source, length) = lower_source(&words, line.span, true, reader);
    (source, length.saturating_sub(line.values.len()))
}

fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(u64::try_from(time.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX))
}

impl<'a> ServerLine<'a> {
    /// Reads a `server` line, over the parameters of `default-server`.
    pub(super) fn read(
        line: &Line<'a>,
        defaults: &Parameters<'a>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Self> {
        let [name, written, rest @ ..] = line.values else {
            let message = "`server` needs a name, and an address with a port".to_owned();
            reader.diagnostics.push(missing(line.whole(), message));
            return None;
        };
        let odd = |c: &char| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c);
        if let Some(odd) = name.text.chars().find(odd).filter(|_| name.filled) {
            let message = format!("the name of a server cannot have `{odd}` in it");
            reader.diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, name.span, message)
                    .label("letters, digits, `-`, `_`, `.` and `:`"),
            );
        }
        Self::make(name.clone(), written, rest, line.whole(), defaults, reader)
    }

    /// Puts a server together from its name, its address and its parameters.
    pub(super) fn make(
        name: Word,
        written: &'a Word,
        rest: &'a [Word],
        span: Span,
        defaults: &Parameters<'a>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Self> {
        let mut parameters = defaults.clone();
        parameters.apply(rest, reader);
        let (address, target, lookup) = server_address(written, &parameters, reader)?;
        let written = written.span;
        name.filled.then_some(Self { name, id: 0, span, address, target, written, lookup, parameters })
    }

    /// How it is connected, with what its section says of servers that say nothing themselves.
    pub(super) fn dial(&self, section: &Dial) -> Dial {
        let (own, target) = (&self.parameters, self.target.clone());
        let mut tuning = section.tuning.clone();
        tuning.user_timeout = own.user_timeout;
        if matches!(target, Target::Local(_)) {
            return Dial { target, ..Dial::default() };
        }
        Dial { target, source: own.source.clone().or_else(|| section.source.clone()), tuning }
    }

    /// How a check at `address` is connected. As with HAProxy, it comes from an own address, whatever servers see.
    pub(super) fn check_dial(&self, section: &Dial, address: SocketAddr) -> Option<Arc<Dial>> {
        let Dial { target, source, .. } = self.dial(section);
        let target = match target {
            Target::Local(local) if address.ip().is_unspecified() => Target::Local(local),
            _ => Target::Address,
        };
        let source = source.map(|source| Source { shown: None, ..source });
        let dial = Dial { target, source, ..Dial::default() };
        (dial != Dial::default()).then(|| Arc::new(dial))
    }

    /// The server, but for its check.
    pub(super) fn server(&self, section: &Dial) -> Server {
        let dial = self.dial(section);
        let Parameters { weight, maxconn, minconn, maxqueue, slow_start, .. } = self.parameters;
        let (minconn, maxconn) = (minconn.filter(|least| *least > 0), maxconn.filter(|limit| *limit > 0));
        Server {
            name: self.name.text.clone(),
            address: self.address,
            dial: Some(dial).filter(|dial| *dial != Dial::default()).map(Arc::new),
            lookup: self.lookup.clone(),
            weight: weight.unwrap_or(1),
            backup: self.parameters.backup,
            disabled: self.parameters.disabled,
            // As in HAProxy, a `minconn` alone is a `maxconn`.
            maxconn: maxconn.max(minconn),
            minconn: minconn.filter(|least| maxconn.is_some_and(|most| *least < most)),
            maxqueue: maxqueue.filter(|limit| *limit > 0),
            slow_start: slow_start.filter(|time| !time.is_zero()),
            shutdown_sessions_when_down: self.parameters.shutdown_sessions,
            proxy_header: self.parameters.header.header(),
            shutdown_backup_sessions_when_up: self.parameters.shutdown_backup_sessions,
            initial_state: self.parameters.initial_state,
            observe: self.parameters.observed.then(|| Observe {
                limit: self.parameters.error_limit.unwrap_or(10),
                on_error: self.parameters.on_error.unwrap_or(OnError::FailCheck),
            }),
            check: None,
            removed: false,
            track: None,
            agent: None,
        }
    }
}

/// An address that is none.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The address of a server, port 0 where none is given, what that means, and where the address comes from later.
fn server_address(
    word: &Word,
    parameters: &Parameters<'_>,
    reader: &mut Reader<'_, '_>,
) -> Option<(SocketAddr, Target, Option<Lookup>)> {
    if let Some(local) = address::local(word, &word.text, reader.diagnostics) {
        return local.ok().map(|local| (NOWHERE, Target::Local(local), None));
    }
    if word.text.starts_with("fd@") {
        reader.diagnostics.push(
            Diagnostic::error(codes::DESCRIPTOR, word.span, "a server cannot be an inherited descriptor")
                .label("an address was expected"),
        );
        return None;
    }
    if let Some((host, offset)) = split_offset(&word.text) {
        let bare = Word { text: host.to_owned(), ..word.clone() };
        let (address, _, lookup) = server_address(&bare, parameters, reader)?;
        return Some((address, Target::ClientPort(offset), lookup));
    }
    let written = address::parse(word, &word.text, reader.diagnostics)?;
    if let Some(ports) = written.ports.as_ref().filter(|ports| ports.start() != ports.end()) {
        let message = format!("a server has one port, not those from {} to {}", ports.start(), ports.end());
        reader.diagnostics.push(Diagnostic::error(codes::BAD_VALUE, word.span, message));
        return None;
    }
    let (ip, lookup) = server_ip(&written.host, word, parameters, reader)?;
    let Some(port) = written.ports.map(|ports| *ports.start()) else {
        let told = lookup.as_ref().is_some_and(|lookup| lookup.service);
        let target = if told { Target::Address } else { Target::ClientPort(0) };
        return Some((SocketAddr::new(ip, 0), target, lookup));
    };
    if port == 0 {
        reader.diagnostics.push(bad_value(word, "port 0 is none"));
    }
    Some((SocketAddr::new(ip, port), Target::Address, lookup))
}

/// `+1000` and `-1000` count from the port that the client connected to, in 16 bits.
fn split_offset(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let (digits, negative) = match port.strip_prefix('-') {
        Some(digits) => (digits, true),
        None => (port.strip_prefix('+')?, false),
    };
    let number: u32 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    let offset = u16::try_from(number % 65_536).ok()?;
    Some((host, if negative { offset.wrapping_neg() } else { offset }))
}

fn server_ip(
    host: &Host,
    word: &Word,
    parameters: &Parameters<'_>,
    reader: &mut Reader<'_, '_>,
) -> Option<(IpAddr, Option<Lookup>)> {
    match host {
        Host::Address(ip) if ip.is_unspecified() => {
            reader.diagnostics.push(
                Diagnostic::error(
                    codes::REFUSED,
                    word.span,
                    "mainstay connects to servers, not to where the client wanted to go",
                )
                .label("every address")
                .hint("write the server's address"),
            );
            None
        }
        Host::Address(ip) => {
            parameters.resolution.resolver(reader);
            Some((*ip, None))
        }
        Host::Name(name) => {
            let lookup = parameters.resolution.lookup(name, reader);
            Some((parameters.resolution.first_address(name, word, reader)?, lookup))
        }
    }
}
