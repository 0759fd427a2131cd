//! From the tree of haproxy.cfg files to the frontends and pools of a plan.
//!
//! Owns [`lower`]: which section inherits from which, and what `global` sets. `line` holds lines against the table of
//! keywords, `proxy` collects what a section says, `bind`, `server` and `check` make one part of the plan each, and
//! `join` leads frontends to pools.

mod addition;
mod address;
mod balance;
mod bind;
mod check;
mod join;
mod line;
mod log;
mod log_format;
mod page;
mod proxy;
mod proxy_header;
mod resolvers;
mod rules;
mod sections;
mod server;
mod source;
mod stats_socket;
mod template;
mod track;
mod tuning;
mod value;

pub use addition::Additions;

use std::time::Duration;

use crate::config::Surroundings;
use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::keywords::Place;
use crate::config::haproxy::{Kind, Section, Tree, Word, codes};
use crate::plan::log::LogHostname;
use crate::plan::{Frontend, Pool, Resolver, RuntimeApi, ScriptUser, Table};

use bind::{UnixBind, lower_unix_bind};
use line::recognise;
use log::GlobalLogs;
use page::{Balancer, Userlist};
use proxy::{Proxy, Settings};
use server::Authorities;
use stats_socket::lower_socket;

/// What haproxy.cfg files say about a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// [`Plan::maxconn`](crate::Plan::maxconn).
    pub maxconn: u32,
    /// [`Plan::workers`](crate::Plan::workers).
    pub workers: Option<u16>,
    /// [`Plan::spread_checks`](crate::Plan::spread_checks).
    pub spread_checks: u8,
    /// [`Plan::runtime_api`](crate::Plan::runtime_api).
    pub runtime_api: RuntimeApi,
    /// [`Plan::log_hostname`](crate::Plan::log_hostname).
    pub log_hostname: LogHostname,
    /// [`Plan::max_spread_checks`](crate::Plan::max_spread_checks).
    pub max_spread_checks: Option<Duration>,
    /// [`Plan::frontends`](crate::Plan::frontends).
    pub frontends: Vec<Frontend>,
    /// [`Plan::pools`](crate::Plan::pools).
    pub pools: Vec<Pool>,
    /// [`Plan::resolvers`](crate::Plan::resolvers).
    pub resolvers: Vec<Resolver>,
    /// [`Plan::tables`](crate::Plan::tables).
    pub tables: Vec<Table>,
}

/// Makes the frontends and pools that all files together describe. Whatever is wrong goes to `diagnostics`; the parts
/// are of use only if nothing there is an error.
pub fn lower(tree: &Tree, surroundings: &Surroundings<'_>, diagnostics: &mut Vec<Diagnostic>) -> Parts {
    let mut parts = Parts::default();
    let (authorities, logs, programs) = (Authorities::default(), GlobalLogs::default(), Programs::of(tree));
    let mut reader = Reader {
        surroundings,
        authorities,
        logs,
        unix_bind: UnixBind::default(),
        resolvers: Vec::new(),
        programs,
        balancer: Balancer::of(tree),
        userlists: Vec::new(),
        diagnostics,
    };
    for section in tree.sections.iter().filter(|section| section.kind == Kind::Global) {
        lower_global(section, &mut parts, &mut reader);
    }
    parts.log_hostname = reader.logs.hostname.clone();
    sections::check(&tree.others, &mut reader);
    let mut defaults: Vec<(Option<&Word>, Settings<'_>)> = Vec::new();
    let mut proxies: Vec<Proxy<'_>> = Vec::new();
    for section in tree.sections.iter().filter(|section| section.kind != Kind::Global) {
        let is_defaults = section.kind == Kind::Defaults;
        let (name, from) = header(section, is_defaults, reader.diagnostics);
        let base = inherited(section, from, &defaults, reader.diagnostics);
        if is_defaults {
            defaults.push((name, Settings::of_defaults(section, base, &mut reader)));
        } else if let Some(name) = name {
            let mut proxy = Proxy::read(section, name, base, &mut reader);
            proxy.number = u32::try_from(proxies.len()).unwrap_or(u32::MAX).saturating_add(2);
            proxies.push(proxy);
        }
    }
    join::join(&proxies, &mut parts, &mut reader);
    Parts { resolvers: reader.resolvers, ..parts }
}

/// What every step of lowering may ask and say.
struct Reader<'a, 'b> {
    surroundings: &'a Surroundings<'a>,
    authorities: Authorities,
    logs: GlobalLogs,
    unix_bind: UnixBind,
    /// Every `resolvers` section.
    resolvers: Vec<Resolver>,
    programs: Programs,
    balancer: Balancer,
    /// Every `userlist` section.
    userlists: Vec<Userlist>,
    diagnostics: &'b mut Vec<Diagnostic>,
}

/// What `global` says about programs that check servers.
#[derive(Clone, Debug)]
struct Programs {
    /// `external-check`.
    allowed: bool,
    /// `insecure-fork-wanted`.
    fork_wanted: bool,
    /// `user` and `group`.
    user: Option<ScriptUser>,
}

impl Programs {
    fn of(tree: &Tree) -> Self {
        let said = |keyword: &str| {
            let global = tree.sections.iter().filter(|section| section.kind == Kind::Global);
            let mut statements = global.flat_map(|section| &section.statements);
            let first = |words: &&[Word]| words.first().is_some_and(|word| word.text == keyword);
            statements.by_ref().map(|statement| statement.words.as_slice()).filter(first).last()
        };
        let value = |keyword| said(keyword).and_then(|words| words.get(1)).map(|word| word.text.clone());
        Self {
            allowed: said("external-check").is_some(),
            fork_wanted: said("insecure-fork-wanted").is_some(),
            user: value("user").map(|user| ScriptUser { user, group: value("group") }),
        }
    }
}

fn lower_global(section: &Section, parts: &mut Parts, reader: &mut Reader<'_, '_>) {
    if let Some(extra) = section.header.first() {
        reader.diagnostics.push(Diagnostic::error(codes::VALUE_COUNT, extra.span, "`global` has no name"));
    }
    for statement in &section.statements {
        let Some(line) = recognise(Place::Global, Kind::Global, statement, reader.diagnostics) else {
            continue;
        };
        match line.name {
            "log" | "log-tag" | "log-send-hostname" => lower_global_log(&line, reader),
            "maxconn" => parts.maxconn = line.number().unwrap_or(0),
            "nbthread" => parts.workers = line.number(),
            "spread-checks" => parts.spread_checks = line.number().unwrap_or(0),
            "ca-base" => reader.authorities.base = line.values.first().map(|word| word.text.clone()),
            "max-spread-checks" => parts.max_spread_checks = line.time().filter(|time| !time.is_zero()),
            "ssl-server-verify" => match line.values.first().map(|word| word.text.as_str()) {
                Some("none") => reader.authorities.believe_anyone = true,
                Some("required") => reader.authorities.believe_anyone = false,
                _ => line.bad_value("`ssl-server-verify` takes `none` or `required`", reader.diagnostics),
            },
            "unix-bind" => lower_unix_bind(&line, reader),
            "stats socket" => parts.runtime_api.sockets.extend(lower_socket(&line, reader)),
            "stats timeout" => parts.runtime_api.timeout = line.time().unwrap_or_default(),
            "stats maxconn" => parts.runtime_api.maxconn = line.number().unwrap_or_default(),
            // The tree has acted on the rest.
            _ => {}
        }
    }
}

/// What a line of `global` says of logs. Its targets are there to be referred to.
fn lower_global_log(line: &line::Line<'_>, reader: &mut Reader<'_, '_>) {
    let mut logs = std::mem::take(&mut reader.logs);
    logs.apply(line, reader);
    reader.logs = logs;
}

/// The name of a section and of the `defaults` section it names.
fn header<'a>(
    section: &'a Section,
    is_defaults: bool,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<&'a Word>, Option<&'a Word>) {
    let texts: Vec<&str> = section.header.iter().map(|word| word.text.as_str()).collect();
    let word = |index: usize| section.header.get(index);
    let keyword = &section.keyword.text;
    let (name, from, known) = match texts.as_slice() {
        [] => (None, None, 0),
        ["from", _] if is_defaults => (None, word(1), 2),
        [_, "from", _, ..] => (word(0), word(2), 3),
        // HAProxy looks at nothing else behind `defaults`.
        [_, second, ..] if is_defaults && *second != "from" => (word(0), None, texts.len()),
        _ => (word(0), None, 1),
    };
    if let Some(extra) = word(known) {
        let old = extra.text.contains(':');
        let message = match old {
            true => format!("`{keyword}` takes no address any more"),
            false => format!("`{}` is one too many after `{keyword}`", extra.text),
        };
        let code = if old { codes::OBSOLETE } else { codes::VALUE_COUNT };
        diagnostics.push(
            Diagnostic::error(code, extra.span, message)
                .hint(format!("write `bind {}` on a line of its own below", extra.text)),
        );
    }
    if let (None, false) = (name, is_defaults) {
        diagnostics.push(
            Diagnostic::error(codes::VALUE_COUNT, section.keyword.span, format!("`{keyword}` needs a name"))
                .label("a name is missing"),
        );
    }
    if let Some(name) = name.filter(|name| name.filled && !is_defaults) {
        let odd = |c: char| !c.is_ascii_alphanumeric() && !"-_.:".contains(c);
        if let Some(odd) = name.text.chars().find(|c| odd(*c)) {
            let message = format!("the name of a section cannot have `{odd}` in it");
            diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, name.span, message)
                    .label("letters, digits, `-`, `_`, `.` and `:`"),
            );
        }
    }
    (name, from)
}

/// What the proxy or `defaults` section starts with.
fn inherited<'a>(
    section: &Section,
    from: Option<&Word>,
    defaults: &[(Option<&'a Word>, Settings<'a>)],
    diagnostics: &mut Vec<Diagnostic>,
) -> Settings<'a> {
    let base = match from {
        None if section.kind == Kind::Defaults => None,
        None => defaults.last().map(|(_, settings)| settings),
        Some(from) => {
            let named = |name: &Option<&Word>| name.is_some_and(|name| name.text == from.text);
            let mut alike = defaults.iter().rev().filter(|(name, _)| named(name));
            let found = alike.next();
            if let (Some((Some(last), _)), Some((Some(first), _))) = (found, alike.next()) {
                let message = format!("there are two sections `defaults {}`", from.text);
                diagnostics.push(
                    Diagnostic::error(codes::SAME_NAME, from.span, message)
                        .label("which one is not clear")
                        .related(first.span, "the first one")
                        .related(last.span, "the second one")
                        .hint("rename one of them"),
                );
            }
            if found.is_none() {
                let names = defaults.iter().filter_map(|(name, _)| name.map(|name| name.text.as_str()));
                let message = format!("there is no section `defaults {}` above", from.text);
                let diagnostic = Diagnostic::error(codes::UNDEFINED_SECTION, from.span, message);
                diagnostics.push(match did_you_mean(&from.text, names) {
                    Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                    None => diagnostic.label("not defined"),
                });
            }
            found.map(|(_, settings)| settings)
        }
    };
    base.cloned().unwrap_or_default().inherited()
}
