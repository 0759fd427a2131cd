//! Leads frontends to pools, and judges what only shows when all sections are known.
//!
//! Owns [`join`]: names, modes, missing time-outs, and proxies that are not started.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::{Kind, Word, codes};
use crate::config::lower::haproxy::bind::{Listen, number, settle};
use crate::config::lower::haproxy::check::{Patience, ProxyFacts, agent};
use crate::config::lower::haproxy::page::check_pages;
use crate::config::lower::haproxy::proxy::{Given, Mode, Proxy};
use crate::config::lower::haproxy::rules::{Names, check_inheritance, has_table, lower_rules, lower_tables};
use crate::config::lower::haproxy::track::track;
use crate::config::lower::haproxy::{Parts, Reader};
use crate::config::source::Span;
use crate::limits;
use crate::plan::log::Logging;
use crate::plan::{
    Algorithm, Bind, Check, Forwarding, Frontend, FrontendRules, HashType, Outage, Pool, PoolId, PoolRules,
    Server, Tuning,
};

/// Shorter time-outs cut watches: an idle one hears a bookmark about once a minute, but `kubectl exec` and `logs -f`
/// may hear nothing for as long as their user thinks.
const PATIENT: Duration = Duration::from_secs(3_600);

/// Makes frontends and pools of all sections.
pub(super) fn join(proxies: &[Proxy<'_>], parts: &mut Parts, reader: &mut Reader<'_, '_>) {
    check_names(proxies, reader.diagnostics);
    let backs: Vec<&Proxy<'_>> = proxies
        .iter()
        .filter(|proxy| proxy.is_back() && proxy.has_server && !proxy.settings.disabled)
        .collect();
    for proxy in proxies.iter().filter(|proxy| !proxy.settings.disabled) {
        check_timeouts(proxy, reader.diagnostics);
    }
    check_http_options(proxies, reader.diagnostics);
    let place = |back: &Proxy<'_>| proxies.iter().position(|proxy| std::ptr::eq(proxy, back)).unwrap_or(0);
    let id = |back: &Proxy<'_>| u32::try_from(place(back) + 2).unwrap_or(u32::MAX);
    parts.pools = backs.iter().map(|proxy| lower_pool(proxy, id(proxy), reader)).collect();
    track(&backs, &mut parts.pools, reader.diagnostics);
    let mut used = vec![false; backs.len()];
    let mut fronts: Vec<(&Proxy<'_>, Option<PoolId>, Vec<Listen>)> = Vec::new();
    let mut pages: Vec<&Proxy<'_>> = Vec::new();
    for front in proxies.iter().filter(|proxy| proxy.is_front() && !proxy.settings.disabled) {
        let default = match target(front, proxies, reader.diagnostics) {
            Target::Nowhere => continue,
            Target::Pages => {
                pages.push(front);
                None
            }
            Target::Servers(default) => default,
        };
        let switches = front.switches().filter_map(|word| named_back(proxies, word));
        let mut targets: Vec<&Proxy<'_>> = Vec::new();
        for back in default.into_iter().chain(switches) {
            if !targets.iter().any(|known| std::ptr::eq(*known, back)) {
                targets.push(back);
            }
        }
        let place = |back: &Proxy<'_>| backs.iter().position(|other| std::ptr::eq(*other, back));
        for back in targets {
            check_modes(front, back, reader.diagnostics);
            if let Some(used) = place(back).and_then(|place| used.get_mut(place)) {
                *used = true;
                warn_of_cut_watches(front, back, reader.diagnostics);
            }
        }
        let pool = default.and_then(place).and_then(|place| u16::try_from(place).ok()).map(PoolId);
        if !front.binds.is_empty() {
            fronts.push((front, pool, front.binds.clone()));
        }
    }
    settle(&mut fronts.iter_mut().flat_map(|(_, _, binds)| binds).collect::<Vec<_>>());
    let names: Vec<&Proxy<'_>> = fronts.iter().map(|(front, _, _)| *front).collect();
    let answers = |proxy: &Proxy<'_>| pages.iter().any(|page| std::ptr::eq(*page, proxy));
    let lower = |(proxy, pool, binds)| lower_frontend(proxy, (pool, answers(proxy)), binds, reader);
    parts.frontends = fronts.into_iter().map(lower).collect();
    check_pages(proxies, answers, reader.diagnostics);
    join_rules(proxies, (&names, &backs, &pages), parts, reader);
    for (back, _) in backs.iter().zip(used).filter(|(_, used)| !used) {
        reader.diagnostics.push(Diagnostic::note(
            codes::UNUSED_BACKEND,
            back.name.span,
            format!("no frontend leads to `{}`; its servers are checked all the same", back.name.text),
        ));
    }
    fill(parts);
    check_limits(proxies, parts, reader.diagnostics);
}

/// A pool of which nothing else was said is full with a tenth of the connections that may come to it, as in HAProxy.
fn fill(parts: &mut Parts) {
    // 0 is as many as there are descriptors for, which nobody knows here.
    let all = if parts.maxconn == 0 { limits::USUAL_MAXCONN } else { parts.maxconn };
    let limit = |frontend: &Frontend| frontend.maxconn.unwrap_or(all);
    for (id, pool) in (0..).map(PoolId).zip(&mut parts.pools).filter(|(_, pool)| pool.fullconn == 0) {
        let leads = |frontend: &&Frontend| {
            frontend.pool == Some(id) || frontend.rules.switches.iter().any(|switch| switch.pool == Some(id))
        };
        let connections = parts.frontends.iter().filter(leads).map(limit).fold(0, u32::saturating_add);
        pool.fullconn = connections.div_ceil(10).max(1);
    }
}

/// Reads the rules of every proxy, and gives them to its frontend and its pool.
fn join_rules(
    proxies: &[Proxy<'_>],
    (fronts, backs, pages): (&[&Proxy<'_>], &[&Proxy<'_>], &[&Proxy<'_>]),
    parts: &mut Parts,
    reader: &mut Reader<'_, '_>,
) {
    let userlists = reader.userlists.clone();
    let tables: Vec<&Proxy<'_>> = proxies.iter().filter(|proxy| has_table(proxy)).collect();
    parts.tables = lower_tables(&tables, reader);
    check_inheritance(proxies, reader.diagnostics);
    for own in proxies {
        let http = pages.iter().any(|page| std::ptr::eq(*page, own));
        let names = Names { own, proxies, fronts, backs, tables: &tables, http, userlists: &userlists };
        let (front, pool) = lower_rules(&names, reader);
        let place = |among: &[&Proxy<'_>]| among.iter().position(|other| std::ptr::eq(*other, own));
        if let Some(frontend) = place(fronts).and_then(|place| parts.frontends.get_mut(place)) {
            frontend.rules = front;
            frontend.rules.stats_access.extend(own.settings.pages.login());
        }
        if let Some(back) = place(backs).and_then(|place| parts.pools.get_mut(place)) {
            back.rules = pool;
        }
    }
}

/// The backend of this name.
fn named_back<'a, 'b>(proxies: &'b [Proxy<'a>], word: &Word) -> Option<&'b Proxy<'a>> {
    proxies.iter().find(|proxy| proxy.is_back() && proxy.name.text == word.text)
}

fn lower_frontend(
    proxy: &Proxy<'_>,
    (pool, answers): (Option<PoolId>, bool),
    binds: Vec<Listen>,
    reader: &mut Reader<'_, '_>,
) -> Frontend {
    let settings = &proxy.settings;
    let mut binds: Vec<Bind> = binds
        .into_iter()
        .map(|Listen { bind, .. }| Bind {
            accept_proxy: bind.accept_proxy || settings.expects_header,
            tuning: Tuning { user_timeout: bind.tuning.user_timeout, ..settings.tuning.clone() },
            ..bind
        })
        .collect();
    number(&mut binds, proxy.name.span, reader.diagnostics);
    Frontend {
        name: proxy.name.text.clone(),
        id: proxy.number,
        binds,
        maxconn: settings.maxconn,
        backlog: settings.backlog,
        client_timeout: settings.timeouts.get("timeout client"),
        client_fin_timeout: settings.timeouts.get("timeout client-fin"),
        pool,
        forwarding: Forwarding::Proxy,
        pages: answers.then(|| settings.pages.pages(&proxy.name.text, proxy.kind == Kind::Listen)),
        rules: FrontendRules::default(),
        logging: frontend_logging(proxy, answers, reader),
    }
}

/// What is logged of its connections. Requests that it answers itself are not, so its format does not matter.
fn frontend_logging(proxy: &Proxy<'_>, answers: bool, reader: &mut Reader<'_, '_>) -> Logging {
    let mut found = Vec::new();
    let name = Some((proxy.name.text.as_str(), proxy.name.span));
    let logging = proxy.settings.logs.lower(&reader.logs, name, &mut found);
    found.retain(|diagnostic: &Diagnostic| !answers || diagnostic.code == codes::NO_LOG_TARGET);
    reader.diagnostics.extend(found);
    if answers { Logging::default() } else { logging }
}

fn lower_pool(proxy: &Proxy<'_>, id: u32, reader: &mut Reader<'_, '_>) -> Pool {
    let settings = &proxy.settings;
    let timeout = |name| settings.timeouts.get(name);
    let patience = Patience { connect: timeout("timeout connect"), check: timeout("timeout check") };
    let address = proxy.binds.first().map(|listen| listen.bind.address);
    let facts = ProxyFacts { name: &proxy.name.text, id, address };
    let servers = proxy.servers.iter().map(|line| {
        let check = settings
            .rules
            .check(line, patience, facts, reader)
            .map(|check| Check { dial: line.check_dial(&settings.dial, check.address), ..check });
        let agent = agent(line, patience, reader);
        Server { check, agent, ..line.server(&settings.dial) }
    });
    let balance_factor = settings.hash_balance_factor.and_then(NonZeroU32::new);
    let hash_type = HashType { balance_factor, ..settings.hash_type.unwrap_or_default() };
    Pool {
        name: proxy.name.text.clone(),
        id: proxy.number,
        algorithm: match settings.algorithm {
            Some(Algorithm::Source(_)) => Algorithm::Source(hash_type),
            Some(Algorithm::Hash(_)) => Algorithm::Hash(hash_type),
            algorithm => algorithm.unwrap_or(Algorithm::RoundRobin),
        },
        servers: servers.collect(),
        connect_timeout: timeout("timeout connect"),
        server_timeout: timeout("timeout server"),
        server_fin_timeout: timeout("timeout server-fin"),
        tunnel_timeout: timeout("timeout tunnel"),
        queue_timeout: match settings.timeouts.given("timeout queue") {
            Some(given) => Some(given.value).filter(|time| !time.is_zero()),
            None => timeout("timeout connect"),
        },
        retries: if settings.retries_connects == Some(false) { 0 } else { settings.retries.unwrap_or(3) },
        redispatch: settings.redispatch.unwrap_or(true),
        redispatch_interval: settings.redispatch_interval,
        fullconn: settings.fullconn.unwrap_or(0),
        all_backups: settings.all_backups,
        rules: PoolRules::default(),
        logging: settings.logs.lower(&reader.logs, None, reader.diagnostics),
        abort_on_close: settings.abort_on_close,
        log_checks: settings.log_checks,
        outage: Outage::default(),
    }
}

/// Frontends have names of their own, backends too; a `listen` is both.
fn check_names(proxies: &[Proxy<'_>], diagnostics: &mut Vec<Diagnostic>) {
    for (index, proxy) in proxies.iter().enumerate() {
        let alike = |other: &&Proxy<'_>| {
            other.name.text == proxy.name.text
                && ((other.is_front() && proxy.is_front()) || (other.is_back() && proxy.is_back()))
        };
        if let Some(first) = proxies.iter().take(index).find(alike) {
            diagnostics.push(
                Diagnostic::error(
                    codes::SAME_NAME,
                    proxy.name.span,
                    format!("there are two proxies `{}`", proxy.name.text),
                )
                .label("the second one")
                .related(first.name.span, "the first one")
                .hint("rename one of them, and what refers to it"),
            );
        }
    }
}

/// Where connections of a frontend go.
enum Target<'a, 'b> {
    /// To the servers of this proxy, unless a rule sends them elsewhere; `None` where there are only rules.
    Servers(Option<&'b Proxy<'a>>),
    /// To nobody: it answers them itself.
    Pages,
    /// It is not started.
    Nowhere,
}

/// Where connections of a frontend go. If that is nowhere, it is said.
fn target<'a, 'b>(
    front: &'b Proxy<'a>,
    proxies: &'b [Proxy<'a>],
    diagnostics: &mut Vec<Diagnostic>,
) -> Target<'a, 'b> {
    if !front.has_bind && front.kind == Kind::Frontend {
        diagnostics.push(
            Diagnostic::warning(
                codes::NO_BIND,
                front.name.span,
                format!("`{}` has no `bind` line, so nobody can connect to it", front.name.text),
            )
            .hint("add `bind *:6443`, or make it a `backend`"),
        );
    }
    let word = front.settings.default_backend.map(|given| given.value);
    let back = match word {
        None => Some(front).filter(|front| front.is_back()),
        Some(word) => {
            let found = named_back(proxies, word);
            if found.is_none() && word.filled {
                let names = proxies.iter().filter(|proxy| proxy.is_back());
                let meant = did_you_mean(&word.text, names.map(|proxy| proxy.name.text.as_str()));
                let message = format!("there is no backend `{}`", word.text);
                let diagnostic = Diagnostic::error(codes::UNDEFINED_SECTION, word.span, message);
                diagnostics.push(match meant {
                    Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                    None => diagnostic.label("not defined"),
                });
                return Target::Nowhere;
            }
            found
        }
    };
    let reason = match back {
        Some(back) if !back.settings.disabled && back.has_server => return Target::Servers(Some(back)),
        _ if front.answers_http() => return Target::Pages,
        None => "it has no `default_backend`",
        Some(back) if back.settings.disabled => "its backend is disabled",
        Some(_) => "it leads to no server",
    };
    if front.switches().next().is_some() {
        return Target::Servers(None);
    }
    diagnostics.push(
        Diagnostic::warning(
            codes::NOT_STARTED,
            front.name.span,
            format!("`{}` is not started: {reason}", front.name.text),
        )
        .label("nothing listens for it"),
    );
    Target::Nowhere
}

fn check_modes(front: &Proxy<'_>, back: &Proxy<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let http = |proxy: &Proxy<'_>| proxy.settings.mode.filter(|mode| mode.value == Mode::Http);
    let (front_http, back_http) = (http(front), http(back));
    if let Some(mode) = [front_http, back_http].into_iter().flatten().find(|mode| mode.own) {
        diagnostics.push(
            Diagnostic::error(
                codes::HTTP_MODE,
                mode.span,
                "mainstay relays TCP and has no `mode http`",
            )
            .label("asks for HTTP")
            .hint("write `mode tcp`: connections are then balanced as a whole, and HTTP is left to the servers"),
        );
        return;
    }
    let Some(mode) = front_http.or(back_http) else { return };
    let same = std::ptr::eq(front, back);
    let (name, message) = match (front_http, back_http) {
        (Some(_), None) => (
            front,
            format!(
                "`{}` inherits `mode http`, but its backend `{}` is `mode tcp`: it runs as tcp here, and HAProxy refuses it",
                front.name.text, back.name.text
            ),
        ),
        (None, _) => (back, format!("`{}` inherits `mode http` and runs as tcp", back.name.text)),
        _ if same => (front, format!("`{}` inherits `mode http` and runs as tcp", front.name.text)),
        _ => (
            front,
            format!("`{}` and `{}` inherit `mode http` and run as tcp", front.name.text, back.name.text),
        ),
    };
    diagnostics.push(
        Diagnostic::warning(codes::RUNS_AS_TCP, name.name.span, message)
            .label("has no `mode` of its own")
            .related(mode.span, "inherited from here")
            .hint("add `mode tcp` to this section"),
    );
}

/// Options that need `mode http` in proxies that run as tcp. As in HAProxy, `httplog` from `defaults` is no matter.
fn check_http_options(proxies: &[Proxy<'_>], diagnostics: &mut Vec<Diagnostic>) {
    let mut said: Vec<Span> = Vec::new();
    for proxy in proxies.iter().filter(|proxy| !proxy.settings.disabled) {
        if proxy.settings.mode.is_some_and(|mode| mode.value == Mode::Http) {
            continue;
        }
        for option in &proxy.settings.http_options {
            let logs = option.value.ends_with("log");
            if said.contains(&option.span) || (logs && !option.own) {
                continue;
            }
            said.push(option.span);
            let message = format!(
                "`{}` {} in `{}`: it needs `mode http`, as in HAProxy",
                option.value,
                if logs { "is `option tcplog`" } else { "does nothing" },
                proxy.name.text
            );
            let diagnostic = Diagnostic::warning(codes::NEEDS_HTTP, option.span, message);
            diagnostics.push(match logs {
                true => diagnostic.hint("write `option tcplog`"),
                false => diagnostic.hint("leave it out: a kube-apiserver does not ask for such headers"),
            });
        }
    }
}

/// HAProxy's own conditions for its warning.
fn check_timeouts(proxy: &Proxy<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let timeout = |name| proxy.settings.timeouts.get(name).is_some();
    let mut missing = Vec::new();
    if proxy.is_front() && !timeout("timeout client") {
        missing.push("`timeout client`");
    }
    if proxy.is_back() && proxy.has_server {
        if !timeout("timeout connect") {
            missing.push("`timeout connect`");
        }
        if !timeout("timeout server") && !timeout("timeout tunnel") {
            missing.push("`timeout server`");
        }
    }
    if !missing.is_empty() {
        diagnostics.push(
            Diagnostic::warning(
                codes::NO_TIMEOUTS,
                proxy.name.span,
                format!("`{}` has no {}", proxy.name.text, missing.join(", no ")),
            )
            .label("may hold dead connections for ever")
            .hint("set them here or in `defaults`"),
        );
    }
}

fn warn_of_cut_watches(front: &Proxy<'_>, back: &Proxy<'_>, diagnostics: &mut Vec<Diagnostic>) {
    if back.settings.timeouts.get("timeout tunnel").is_some_and(|time| time >= PATIENT) {
        return;
    }
    let tunnel = back.settings.timeouts.given("timeout tunnel").filter(|given| !given.value.is_zero());
    let candidates = match tunnel {
        Some(tunnel) => [Some(("timeout tunnel", tunnel)), None],
        None => [
            front.settings.timeouts.given("timeout client").map(|given| ("timeout client", given)),
            back.settings.timeouts.given("timeout server").map(|given| ("timeout server", given)),
        ],
    };
    let short = |(_, given): &(&str, Given<Duration>)| !given.value.is_zero() && given.value < PATIENT;
    let shortest = candidates.into_iter().flatten().filter(short).min_by_key(|(_, given)| given.value);
    let Some((name, given)) = shortest else { return };
    diagnostics.push(
        Diagnostic::warning(
            codes::CUTS_WATCHES,
            given.span,
            format!(
                "connections through `{}` are cut when nothing is said for {} s",
                front.name.text,
                given.value.as_secs_f64()
            ),
        )
        .label(format!("`{name}` counts while a watch is silent"))
        .related(back.name.span, "for servers of this section")
        .hint(format!(
            "add `timeout tunnel 4h` to `{}`: watches, `kubectl logs -f` and `exec` may be silent for long",
            back.name.text
        )),
    );
}

fn check_limits(proxies: &[Proxy<'_>], parts: &Parts, diagnostics: &mut Vec<Diagnostic>) {
    let binds = parts.frontends.iter().map(|frontend| frontend.binds.len()).sum::<usize>();
    let counts = [
        (parts.frontends.len(), limits::FRONTENDS, "frontends"),
        (parts.pools.len(), limits::POOLS, "backends"),
        (binds, limits::BINDS, "addresses to listen on"),
    ];
    let Some(last) = proxies.last() else { return };
    for (count, most, what) in counts {
        if count > most {
            diagnostics.push(
                Diagnostic::error(codes::TOO_MANY, last.name.span, format!("there are too many {what}"))
                    .label(format!("{count}, more than {most}")),
            );
        }
    }
}
