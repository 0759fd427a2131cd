//! How the servers of a section are checked: `option httpchk` and its like, `http-check` and `tcp-check` lines.
//!
//! Owns what a section says, and makes the check of each of its servers of it. `ruleset` has the steps, the others the
//! lines.

mod agent;
mod bytes;
mod connect;
mod expect;
mod protocol;
mod request;
mod ruleset;

pub(super) use self::agent::agent;

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::address;
use crate::config::lower::haproxy::check::bytes::{is_format, of_digits};
use crate::config::lower::haproxy::check::connect::ConnectLine;
use crate::config::lower::haproxy::check::ruleset::{Draft, Ruleset, What};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::config::lower::haproxy::server::ServerLine;
use crate::config::lower::haproxy::{Programs, Reader};
use crate::config::source::Span;
use crate::plan::{
    Check, CheckKind, Connect, Dialect, ExternalCheck, ScriptUser, Step, StepAction, Steps, Target, TlsCheck,
    Verify,
};

/// What a section says about checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules<'a> {
    protocol: Protocol<'a>,
    http: Ruleset<'a>,
    tcp: Ruleset<'a>,
    command: Option<&'a Word>,
    path: Option<&'a Word>,
    /// Where `option external-check` stands.
    external: Option<Span>,
}

#[derive(Clone, Debug, Default)]
enum Protocol<'a> {
    /// A connection.
    #[default]
    Plain,
    Tcp,
    Http,
    SslHello,
    Other(Vec<Draft<'a>>),
    External,
}

/// What a program that checks servers is told of their section.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProxyFacts<'a> {
    pub(super) name: &'a str,
    pub(super) id: u32,
    /// Where it listens first.
    pub(super) address: Option<SocketAddr>,
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
        (self.http.own, self.tcp.own) = (None, None);
        self
    }

    /// Takes in a line; whether it was one about checks.
    pub(super) fn apply(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> bool {
        match line.name {
            "option tcp-check" => {
                self.protocol = Protocol::Tcp;
                self.tcp.own(line.span);
            }
            "option ssl-hello-chk" => self.protocol = Protocol::SslHello,
            "option httpchk" => {
                self.protocol = Protocol::Http;
                self.http.own(line.span).add_option(request::of_option(line));
            }
            "option redis-check" | "option smtpchk" | "option ldap-check" | "option mysql-check"
            | "option pgsql-check" => {
                if let Some(steps) = protocol::steps(line, diagnostics) {
                    self.protocol = Protocol::Other(steps);
                }
            }
            "option external-check" => {
                self.protocol = Protocol::External;
                self.external = Some(line.span);
            }
            "external-check command" => self.command = line.values.first(),
            "external-check path" => self.path = line.values.first(),
            name if name.starts_with("http-check ") => self.apply_http(line, diagnostics),
            name if name.starts_with("tcp-check ") => self.apply_tcp(line, diagnostics),
            _ => return false,
        }
        true
    }

    fn apply_http(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let strict = matches!(self.protocol, Protocol::Http);
        let rules = self.http.own(line.span);
        let (what, comment) = match line.name {
            "http-check disable-on-404" => return rules.disable_on_404 = true,
            "http-check connect" => {
                let (connect, comment) = ConnectLine::read(line, diagnostics);
                (What::Connect(connect), comment)
            }
            "http-check send" => {
                let Some((request, comment)) = request::of_line(line, diagnostics) else { return };
                (What::Request { request, from_option: false }, comment)
            }
            "http-check expect" => {
                let Some((expect, comment)) = expect::read(line, diagnostics) else { return };
                (What::Expect(Box::new(expect)), comment)
            }
            _ => (What::Comment, line.values.first().map(|word| word.text.clone())),
        };
        rules.add(what, comment, strict, line.whole(), diagnostics);
    }

    fn apply_tcp(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let (what, comment) = match line.name {
            "tcp-check connect" => {
                let (connect, comment) = ConnectLine::read(line, diagnostics);
                (What::Connect(connect), comment)
            }
            "tcp-check expect" => {
                let Some((expect, comment)) = expect::read(line, diagnostics) else { return };
                (What::Expect(Box::new(expect)), comment)
            }
            "tcp-check comment" => (What::Comment, line.values.first().map(|word| word.text.clone())),
            _ => {
                let Some((bytes, comment)) = sent(line, diagnostics) else { return };
                (What::Send(bytes), comment)
            }
        };
        self.tcp.own(line.span).add(what, comment, false, line.whole(), diagnostics);
    }

    /// Reports lines that count for nothing, and what is missing.
    pub(super) fn finish(&self, programs: &Programs, diagnostics: &mut Vec<Diagnostic>) {
        let (http, tcp) = (matches!(self.protocol, Protocol::Http), matches!(self.protocol, Protocol::Tcp));
        let pairs = [
            (self.http.own, http, "http-check", "option httpchk"),
            (self.tcp.own, tcp, "tcp-check", "option tcp-check"),
        ];
        for (span, used, rule, option) in pairs {
            if let (Some(span), false) = (span, used) {
                let message = format!("`{rule}` lines do nothing without `{option}`, as in HAProxy");
                diagnostics.push(
                    Diagnostic::warning(codes::IGNORED_HERE, span, message)
                        .hint(format!("add `{option}` to this section")),
                );
            }
        }
        if let Some(span) = self.http.own
            && http
            && self.http.asks_nothing()
        {
            let message = "this check waits for an answer and asks nothing, as in HAProxy: lines here replace all that `defaults` say about it";
            diagnostics.push(
                Diagnostic::warning(codes::ASKS_NOTHING, span, message)
                    .hint("write `option httpchk` or `http-check send` in this section, too"),
            );
        }
        self.finish_external(programs, diagnostics);
    }

    fn finish_external(&self, programs: &Programs, diagnostics: &mut Vec<Diagnostic>) {
        let used = matches!(self.protocol, Protocol::External);
        let Some(span) = self.external.filter(|_| used) else {
            if let Some(word) = self.command.or(self.path) {
                let message =
                    "`external-check` lines do nothing without `option external-check`, as in HAProxy";
                diagnostics.push(Diagnostic::warning(codes::IGNORED_HERE, word.span, message));
            }
            return;
        };
        if !programs.fork_wanted {
            let message =
                "HAProxy would want `insecure-fork-wanted` in `global`, too; mainstay does without it";
            diagnostics.push(Diagnostic::warning(codes::EXTERNAL_CHECK, span, message));
        }
        if !programs.allowed {
            diagnostics.push(
                Diagnostic::error(codes::EXTERNAL_CHECK, span, "no program may be run to check a server")
                    .hint("write `external-check` in `global` to allow it"),
            );
        }
        if self.command.is_none() {
            diagnostics
                .push(missing(span, "`option external-check` needs `external-check command`".to_owned()));
        }
    }

    /// Whether a server that answers 404 gets no new connections.
    pub(super) fn disables_on_404(&self) -> bool {
        matches!(self.protocol, Protocol::Http) && self.http.disable_on_404
    }

    /// The check of a server, if it has one.
    pub(super) fn check(
        &self,
        server: &ServerLine<'a>,
        patience: Patience,
        proxy: ProxyFacts<'_>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Check> {
        let own = &server.parameters;
        if !own.check && !own.check_tls {
            return None;
        }
        let (dialect, drafts) = match &self.protocol {
            Protocol::Http => (Dialect::Http, self.http.complete(Dialect::Http)),
            Protocol::Tcp => (Dialect::Tcp, self.tcp.complete(Dialect::Tcp)),
            Protocol::Other(steps) => (Dialect::Protocol, steps.clone()),
            Protocol::Plain | Protocol::SslHello | Protocol::External => (Dialect::Tcp, Vec::new()),
        };
        let plain = matches!(drafts.as_slice(), [] | [Draft { number: 0, .. }]);
        let speaks_tls = own.check_tls
            || drafts.iter().any(|draft| matches!(&draft.what, What::Connect(line) if line.tls));
        // HAProxy wants to know whom to believe as soon as `check-ssl` is there.
        let verify = match speaks_tls {
            true => own.verify(server.span, &reader.authorities, reader.diagnostics)?,
            false => Verify::None,
        };
        if !own.check {
            return None;
        }
        let implied = ConnectLine::implied();
        let by_default = |line: &ConnectLine<'_>| line.port.is_none() && line.address.is_none();
        let needs_port = plain
            || drafts.iter().any(|draft| matches!(&draft.what, What::Connect(line) if by_default(line)));
        let address = self.address(server, needs_port, reader)?;
        let base = reader.authorities.base.clone();
        let tls = |line: &ConnectLine<'_>| tls_of(line, server, &verify, base.as_deref());
        let kind = match &self.protocol {
            Protocol::SslHello => CheckKind::SslHello,
            Protocol::External => {
                CheckKind::External(self.external_check(server, proxy, reader.programs.user.clone()))
            }
            _ if plain => CheckKind::Connect,
            _ => {
                let made = drafts.into_iter().map(|draft| step(draft, server, tls, reader));
                let steps = made.collect::<Option<Vec<Step>>>()?;
                let http = dialect == Dialect::Http;
                CheckKind::Steps(Steps { dialect, steps, disable_on_404: http && self.http.disable_on_404 })
            }
        };
        let tls = if plain { tls(&implied) } else { None };
        let proxy_header = own.checks_header(true, false).filter(|_| plain);
        Some(timed(Check { kind, tls, proxy_header, ..Check::new(address) }, server, patience))
    }

    fn external_check(
        &self,
        server: &ServerLine<'a>,
        proxy: ProxyFacts<'_>,
        user: Option<ScriptUser>,
    ) -> ExternalCheck {
        let text = |word: Option<&Word>| word.map_or_else(String::new, |word| word.text.clone());
        ExternalCheck {
            command: text(self.command),
            path: text(self.path),
            user,
            proxy: proxy.address,
            proxy_name: proxy.name.to_owned(),
            proxy_id: proxy.id,
            server_id: server.id,
            server_name: server.name.text.clone(),
            server_maxconn: server.parameters.maxconn.unwrap_or(0),
        }
    }

    /// Where checks connect to: `addr` and `port`, or where the server is.
    fn address(
        &self,
        server: &ServerLine<'a>,
        needs_port: bool,
        reader: &mut Reader<'_, '_>,
    ) -> Option<SocketAddr> {
        let own = &server.parameters;
        let (mut ip, mut port) = (server.address.ip(), server.address.port());
        if let Some(word) = own.address {
            let (other, written) = address::resolved(word, &word.text, reader)?;
            ip = other;
            port = written.ports.map_or(port, |ports| *ports.start());
        }
        port = own.port.unwrap_or(port);
        // A socket of this machine has no port.
        if port == 0 && ip.is_unspecified() && matches!(server.target, Target::Local(_)) {
            return Some(server.address);
        }
        // The port of a server of a service comes with its address.
        if port == 0 && needs_port && !server.lookup.as_ref().is_some_and(|lookup| lookup.service) {
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

/// How one connect speaks TLS, if it does.
fn tls_of(
    line: &ConnectLine<'_>,
    server: &ServerLine<'_>,
    verify: &Verify,
    base: Option<&str>,
) -> Option<TlsCheck> {
    let own = &server.parameters;
    if !(line.tls || line.default && own.check_tls) {
        return None;
    }
    let name = line.name.or(own.check_name).or(own.verify_host);
    let alpn = line.alpn.or(own.alpn);
    Some(TlsCheck {
        verify: verify.clone(),
        server_name: name.map(|word| word.text.clone()),
        alpn: alpn.map_or_else(Vec::new, |word| word.text.split(',').map(str::to_owned).collect()),
        certificate: own
            .certificate
            .map(|word| crate::config::lower::haproxy::server::in_directory(base, word)),
    })
}

/// A step of the plan.
fn step<'a>(
    draft: Draft<'a>,
    server: &ServerLine<'_>,
    tls: impl FnOnce(&ConnectLine<'a>) -> Option<TlsCheck>,
    reader: &mut Reader<'_, '_>,
) -> Option<Step> {
    let Draft { number, what, comment } = draft;
    let action = match what {
        What::Connect(line) => {
            let tls = tls(&line);
            let (mut ip, mut port) = (None, line.port);
            if let Some(word) = line.address {
                let (other, written) = address::resolved(word, &word.text, reader)?;
                ip = Some(other);
                port = port.or(written.ports.map(|ports| *ports.start()));
            }
            let proxy_header = server.parameters.checks_header(line.default, line.header);
            StepAction::Connect(Connect { ip, port, tls, proxy_header, linger: line.linger })
        }
        What::Send(bytes) => StepAction::Send(bytes),
        What::Request { request, .. } => StepAction::Request(request.request()),
        What::Expect(expect) => StepAction::Expect(expect),
        What::Comment => return None,
    };
    Some(Step { number, action, comment })
}

/// Puts in when and how often.
fn timed(check: Check, server: &ServerLine<'_>, patience: Patience) -> Check {
    let own = &server.parameters;
    let interval = own.interval.unwrap_or(Duration::from_secs(2));
    // With `timeout check`, connecting has a limit of its own; without it, `inter` is one for both.
    let connect_timeout = match (patience.check, patience.connect) {
        (Some(_), Some(connect)) => connect.min(interval),
        _ => interval,
    };
    Check {
        interval,
        fast_interval: own.fast_interval.unwrap_or(interval),
        down_interval: own.down_interval.unwrap_or(interval),
        connect_timeout,
        answer_timeout: patience.check.unwrap_or(interval),
        rise: own.rise.unwrap_or(2),
        fall: own.fall.unwrap_or(3),
        ..check
    }
}

/// `tcp-check send` and its like.
fn sent(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<(Vec<u8>, Option<String>)> {
    let (data, comment) = match line.values {
        [data] => (data, None),
        [data, keyword, text] if keyword.text == "comment" => (data, Some(text.text.clone())),
        [_, keyword, ..] if keyword.text == "comment" => {
            diagnostics.push(missing(keyword.span, "`comment` needs a text".to_owned()));
            return None;
        }
        [_, extra, ..] => {
            diagnostics.push(bad_value(extra, "what is sent is one word, then perhaps `comment`"));
            return None;
        }
        [] => return None,
    };
    if line.name.ends_with("-lf") && is_format(data) {
        diagnostics.push(
            Diagnostic::error(codes::REFUSED, data.span, "a check cannot send what changes")
                .label("depends on the moment"),
        );
        return None;
    }
    if !line.name.contains("binary") {
        return Some((data.text.clone().into_bytes(), comment));
    }
    match of_digits(data) {
        Ok(bytes) => Some((bytes, comment)),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            None
        }
    }
}
