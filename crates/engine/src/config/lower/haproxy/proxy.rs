//! What the section of a proxy says, over what it inherits.
//!
//! Owns [`Settings`] and [`Proxy`]. Where connections go is [`join`](super::join)'s business.

use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::keywords::PROXY;
use crate::config::haproxy::{Kind, Prefix, Section, Word, codes};
use crate::config::lower::haproxy::bind::{Listen, lower_bind};
use crate::config::lower::haproxy::check::Rules;
use crate::config::lower::haproxy::line::{Line, bad_value, recognise};
use crate::config::lower::haproxy::log::Logs;
use crate::config::lower::haproxy::page::PageSettings;
use crate::config::lower::haproxy::proxy_header::expects_header;
use crate::config::lower::haproxy::rules::is_rule;
use crate::config::lower::haproxy::server::{Parameters, ServerLine};
use crate::config::lower::haproxy::source::{lower_line, report_alone};
use crate::config::lower::haproxy::template::lower_template;
use crate::config::lower::haproxy::{Reader, balance, rules, tuning, value};
use crate::config::source::Span;
use crate::limits;
use crate::plan::{Algorithm, Dial, HashType, Tuning};

/// A value, and where it was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<T> {
    pub(super) value: T,
    pub(super) span: Span,
    /// Whether the section says so itself.
    pub(super) own: bool,
}

/// What a proxy relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Tcp,
    Http,
}

/// What a `defaults` section can say.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings<'a> {
    pub(super) mode: Option<Given<Mode>>,
    pub(super) algorithm: Option<Algorithm>,
    pub(super) hash_type: Option<HashType>,
    /// In per cent; 0 is no bound.
    pub(super) hash_balance_factor: Option<u32>,
    /// What `balance hash` looks at.
    pub(super) hash_key: Option<Word>,
    pub(super) maxconn: Option<u32>,
    pub(super) backlog: Option<u32>,
    pub(super) retries: Option<u32>,
    pub(super) redispatch: Option<bool>,
    pub(super) redispatch_interval: Option<i32>,
    pub(super) retries_connects: Option<bool>,
    pub(super) fullconn: Option<u32>,
    pub(super) all_backups: bool,
    /// Whether connections start with a PROXY header.
    pub(super) expects_header: bool,
    pub(super) abort_on_close: bool,
    pub(super) log_checks: bool,
    /// How its servers are connected.
    pub(super) dial: Dial,
    /// What the kernel is told of its clients.
    pub(super) tuning: Tuning,
    pub(super) disabled: bool,
    pub(super) default_backend: Option<Given<&'a Word>>,
    pub(super) timeouts: Timeouts,
    pub(super) rules: Rules<'a>,
    pub(super) logs: Logs<'a>,
    pub(super) parameters: Parameters<'a>,
    /// Lines on conditions, rules and tables, in order: they are read when all proxies are known.
    pub(super) rule_lines: Vec<Line<'a>>,
    /// The `defaults` section that some of them come from.
    pub(super) rules_from: Option<Span>,
    /// Options that need `mode http`.
    pub(super) http_options: Vec<Given<&'static str>>,
    /// What it answers itself.
    pub(super) pages: PageSettings<'a>,
}

/// Every time-out; zero is none, as in HAProxy.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeouts {
    given: Vec<(&'static str, Given<Duration>)>,
}

impl Timeouts {
    /// Where a time-out was given, even if it is none.
    pub(super) fn given(&self, name: &str) -> Option<Given<Duration>> {
        self.given.iter().find(|(known, _)| *known == name).map(|(_, given)| *given)
    }

    /// A time-out.
    pub(super) fn get(&self, name: &str) -> Option<Duration> {
        self.given(name).map(|given| given.value).filter(|time| !time.is_zero())
    }

    fn set(&mut self, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
        let Some(value) = line.time() else { return };
        let given = Given { value, span: line.whole(), own: true };
        match self.given.iter_mut().find(|(known, _)| *known == line.name) {
            None => self.given.push((line.name, given)),
            Some((_, before)) => {
                if before.own {
                    diagnostics.push(
                        Diagnostic::warning(
                            codes::GIVEN_TWICE,
                            given.span,
                            format!("`{}` is given twice; the last one counts, as in HAProxy", line.name),
                        )
                        .label("this one counts")
                        .related(before.span, "this one does not"),
                    );
                }
                *before = given;
            }
        }
    }
}

/// A section of a proxy.
pub(super) struct Proxy<'a> {
    pub(super) kind: Kind,
    /// HAProxy's number: 2 is the first one's.
    pub(super) number: u32,
    pub(super) name: &'a Word,
    pub(super) settings: Settings<'a>,
    pub(super) binds: Vec<Listen>,
    pub(super) servers: Vec<ServerLine<'a>>,
    /// Whether it has `bind` lines, however they came out.
    pub(super) has_bind: bool,
    /// Whether it has `server` lines, however they came out.
    pub(super) has_server: bool,
}

impl<'a> Settings<'a> {
    /// What another section starts with.
    pub(super) fn inherited(mut self) -> Self {
        let foreign = |given: &mut Given<Duration>| given.own = false;
        self.timeouts.given.iter_mut().for_each(|(_, given)| foreign(given));
        self.http_options.iter_mut().for_each(|given| given.own = false);
        self.mode = self.mode.map(|given| Given { own: false, ..given });
        self.default_backend = self.default_backend.map(|given| Given { own: false, ..given });
        self.rules = self.rules.inherited();
        self.pages = self.pages.inherited();
        self
    }

    /// Reads a `defaults` section.
    pub(super) fn of_defaults(section: &'a Section, base: Self, reader: &mut Reader<'_, '_>) -> Self {
        let mut settings = base;
        for statement in &section.statements {
            let Some(line) = recognise(PROXY, Kind::Defaults, statement, reader.diagnostics) else {
                continue;
            };
            if CONDITIONAL.contains(&line.name) {
                refuse_in_defaults(&line, reader.diagnostics);
                continue;
            }
            if line.name == "acl" || line.name.starts_with("tcp-request ") {
                require_name(section, &line, reader.diagnostics);
            }
            if line.name.starts_with("tcp-request ") && line.name != "tcp-request inspect-delay" {
                settings.rules_from = Some(section.keyword.span);
            }
            settings.apply(&line, reader);
        }
        settings
    }

    fn apply(&mut self, line: &Line<'a>, reader: &mut Reader<'_, '_>) {
        let on = line.prefix == Prefix::None;
        if self.logs.apply(line, reader) && !line.name.starts_with("option http") {
            return;
        }
        self.pages.apply(line, &reader.balancer, reader.diagnostics);
        match line.name {
            "mode" => self.set_mode(line, reader.diagnostics),
            "balance" => {
                self.algorithm = balance::algorithm(line, reader.diagnostics).or(self.algorithm);
                self.hash_key = line.values.get(1).cloned();
            }
            "hash-balance-factor" => {
                let factor = balance::balance_factor(line, reader.diagnostics);
                self.hash_balance_factor = factor.or(self.hash_balance_factor);
            }
            "hash-type" => self.hash_type = balance::hash_type(line, reader.diagnostics).or(self.hash_type),
            "option abortonclose" => self.abort_on_close = on,
            "maxconn" => self.maxconn = line.number().filter(|limit| *limit > 0),
            "backlog" => self.backlog = line.number().filter(|length| *length > 0),
            "retries" => self.retries = line.number(),
            "disabled" => self.disabled = true,
            "enabled" => self.disabled = false,
            "option redispatch" => {
                self.redispatch = (line.prefix != Prefix::Default).then_some(on);
                self.redispatch_interval = line.values.first().map(|word| value::leading_integer(&word.text));
            }
            "retry-on" => {
                self.retries_connects = retry_on(line, reader.diagnostics).or(self.retries_connects);
            }
            "fullconn" => {
                let count = line.values.first().map_or(0, |word| value::leading_integer(&word.text));
                self.fullconn = u32::try_from(count).ok().filter(|count| *count > 0);
            }
            "option allbackups" => self.all_backups = on,
            "option log-health-checks" => self.log_checks = on,
            "option httplog" | "option httpslog" | "option forwardfor" | "option forwarded"
            | "option originalto" => {
                self.http_options.push(Given { value: line.name, span: line.span, own: true });
            }
            "default_backend" => {
                self.default_backend =
                    line.values.first().map(|value| Given { value, span: value.span, own: true });
            }
            "default-server" => self.parameters.apply(line.values, reader),
            name if name.starts_with("timeout ") => self.timeouts.set(line, reader.diagnostics),
            "tcp-request connection" if expects_header(line, reader.diagnostics) => {
                self.expects_header = true;
            }
            "source" => self.dial.source = lower_line(line, reader),
            "usesrc" => report_alone(line, reader.diagnostics),
            "option nolinger" => {
                (self.dial.tuning.no_linger, self.tuning.no_linger) = (on, on);
            }
            name if name.starts_with("clitcpka-") => tuning::set(&mut self.tuning, line, reader.diagnostics),
            name if name.starts_with("srvtcpka-") => {
                tuning::set(&mut self.dial.tuning, line, reader.diagnostics);
            }
            name if is_rule(name) => self.rule_lines.push(*line),
            _ => {
                self.rules.apply(line, reader.diagnostics);
            }
        }
    }

    fn set_mode(&mut self, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
        let Some(word) = line.values.first() else { return };
        let value = match word.text.as_str() {
            "tcp" => Mode::Tcp,
            "http" => Mode::Http,
            other @ ("log" | "syslog" | "spop" | "haterm") => {
                let message = format!("mainstay relays TCP and has no `mode {other}`");
                diagnostics.push(Diagnostic::error(codes::REFUSED, word.span, message));
                return;
            }
            _ => return line.bad_value("`mode` takes `tcp` or `http`", diagnostics),
        };
        self.mode = Some(Given { value, span: line.whole(), own: true });
    }
}

/// What may be tried again besides connects, which `mode tcp` never does: it passed on what it got.
const RETRIED_IN_HTTP: [&str; 14] = [
    "empty-response",
    "junk-response",
    "response-timeout",
    "0rtt-rejected",
    "401",
    "403",
    "404",
    "408",
    "425",
    "500",
    "501",
    "502",
    "503",
    "504",
];

/// Whether a connect that failed is tried again; `None` if the line says nothing that makes sense, which was reported.
fn retry_on(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<bool> {
    let mut connects = false;
    for word in line.values {
        match word.text.as_str() {
            "conn-failure" | "all-retryable-errors" => connects = true,
            "none" if line.values.len() == 1 => {}
            "none" => {
                diagnostics.push(bad_value(word, "`none` stands alone: it says that nothing is tried again"));
                return None;
            }
            other if RETRIED_IN_HTTP.contains(&other) => {}
            _ => {
                let expected = "`retry-on` takes none, conn-failure, all-retryable-errors, and for `mode http` \
                                empty-response, junk-response, response-timeout, 0rtt-rejected and statuses";
                diagnostics.push(bad_value(word, expected));
                return None;
            }
        }
    }
    Some(connects)
}

/// Rules on pages, which no `defaults` section has.
const CONDITIONAL: [&str; 3] = ["stats admin", "stats http-request", "http-request"];

fn refuse_in_defaults(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let diagnostic = if line.name == "http-request" {
        rules::refused(line)
    } else {
        let message = format!("`{}` cannot stand in `defaults`", line.name);
        Diagnostic::error(codes::NOT_ALLOWED_HERE, line.span, message)
            .hint("move it to the section that shows the page")
    };
    diagnostics.push(diagnostic);
}

/// As in HAProxy a `defaults` section with rules has a name, so that only those who ask for it get them.
fn require_name(section: &Section, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if section.header.first().is_none_or(|word| word.text == "from") {
        let message = format!("`{}` cannot stand in a `defaults` section without a name", line.name);
        diagnostics.push(
            Diagnostic::error(codes::NOT_ALLOWED_HERE, line.span, message)
                .related(section.keyword.span, "this section")
                .hint("give it a name, and add `from NAME` to the sections that shall have these rules"),
        );
    }
}

impl<'a> Proxy<'a> {
    /// Reads the section `name`.
    pub(super) fn read(
        section: &'a Section,
        name: &'a Word,
        settings: Settings<'a>,
        reader: &mut Reader<'_, '_>,
    ) -> Self {
        let mut proxy = Self {
            kind: section.kind,
            number: 0,
            name,
            settings,
            binds: Vec::new(),
            servers: Vec::new(),
            has_bind: false,
            has_server: false,
        };
        for statement in &section.statements {
            let has = |keyword: &str| statement.words.first().is_some_and(|word| word.text == keyword);
            proxy.has_bind |= has("bind");
            proxy.has_server |= (has("server") || has("server-template")) && proxy.is_back();
            let Some(line) = recognise(PROXY, section.kind, statement, reader.diagnostics) else { continue };
            match line.name {
                "bind" => proxy.binds.extend(lower_bind(&line, reader)),
                "server" => {
                    let server = ServerLine::read(&line, &proxy.settings.parameters, reader);
                    server.into_iter().for_each(|server| proxy.add_server(server, reader));
                }
                "server-template" => {
                    let servers = lower_template(&line, &proxy.settings.parameters, reader);
                    servers.into_iter().for_each(|server| proxy.add_server(server, reader));
                }
                _ => proxy.settings.apply(&line, reader),
            }
        }
        proxy.settings.rules.finish(&reader.programs, reader.diagnostics);
        proxy.settings.pages.finish(reader.diagnostics);
        proxy
    }

    /// Whether clients can connect to it.
    pub(super) fn is_front(&self) -> bool {
        matches!(self.kind, Kind::Frontend | Kind::Listen)
    }

    /// Whether it is meant to answer requests of HTTP itself, which it does if it leads to no server.
    pub(super) fn answers_http(&self) -> bool {
        let http = self.settings.mode.is_some_and(|mode| mode.value == Mode::Http);
        http && self.is_front() && self.settings.pages.answers() && self.switches().next().is_none()
    }

    /// Whether it can have servers.
    pub(super) fn is_back(&self) -> bool {
        matches!(self.kind, Kind::Backend | Kind::Listen)
    }

    fn add_server(&mut self, server: ServerLine<'a>, reader: &mut Reader<'_, '_>) {
        if let Some(first) = self.servers.iter().find(|other| other.name.text == server.name.text) {
            reader.diagnostics.push(
                Diagnostic::error(
                    codes::SAME_NAME,
                    server.name.span,
                    format!("there are two servers `{}` in `{}`", server.name.text, self.name.text),
                )
                .label("the second one")
                .related(first.name.span, "the first one")
                .hint("rename one of them"),
            );
        } else if self.servers.len() == limits::SERVERS_PER_POOL {
            reader.diagnostics.push(
                Diagnostic::error(codes::TOO_MANY, server.name.span, "too many servers in one section")
                    .label(format!("more than {}", limits::SERVERS_PER_POOL)),
            );
        } else if self.servers.len() < limits::SERVERS_PER_POOL {
            let id = u32::try_from(self.servers.len() + 1).unwrap_or(u32::MAX);
            self.servers.push(ServerLine { id, ..server });
        }
    }

    /// The backends that `use_backend` lines name.
    pub(super) fn switches(&self) -> impl Iterator<Item = &'a Word> {
        let lines = self.settings.rule_lines.iter().filter(|line| line.name == "use_backend");
        lines.filter_map(|line| line.values.first())
    }
}
