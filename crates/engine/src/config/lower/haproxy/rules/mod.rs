//! Rules on connections: `acl`, `tcp-request`, `use_backend`, `use-server`, `stick`, `monitor fail`; `http` has
//! those of pages.
//!
//! Owns [`lower_rules`], which reads all such lines of a proxy in order once every proxy is known, because they refer to
//! each other. `condition` reads access lists, `sample` and `pattern` what they are made of, `table` stick tables.

mod condition;
mod http;
mod names;
mod pattern;
mod sample;
mod table;

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::line::{Line, missing};
use crate::config::lower::haproxy::proxy::Proxy;
use crate::config::source::Span;
use crate::plan::{
    Action, Algorithm, ConnectionRule, FrontendRules, Inspection, PoolRules, ServerIndex, ServerRule, Stick,
    Switch, Table,
};

use condition::{AccessLists, Read, Standing};
pub(super) use http::refused;
pub(super) use names::Names;

/// Rules that have no family.
const RULES: [&str; 9] = [
    "acl",
    "use_backend",
    "use-server",
    "stick-table",
    "monitor fail",
    "rate-limit sessions",
    "stats admin",
    "stats http-request",
    "http-request",
];

/// Whether a keyword belongs to rules.
pub(super) fn is_rule(name: &str) -> bool {
    RULES.contains(&name) || name.starts_with("tcp-request ") || name.starts_with("stick ")
}

/// The tables of those proxies that have one, in their order.
pub(super) fn lower_tables(proxies: &[&Proxy<'_>], reader: &mut Reader<'_, '_>) -> Vec<Table> {
    let mut tables = Vec::new();
    for proxy in proxies {
        let mut lines = proxy.settings.rule_lines.iter().filter(|line| line.name == "stick-table");
        let Some(line) = lines.next() else { continue };
        tables.push(table::read(&proxy.name.text, line, reader));
        for second in lines {
            let message = format!("`{}` has two stick tables", proxy.name.text);
            reader.diagnostics.push(
                Diagnostic::error(codes::SAME_NAME, second.whole(), message)
                    .label("the second one")
                    .related(line.whole(), "the first one")
                    .hint("put it into a `backend` of its own"),
            );
        }
    }
    tables
}

/// As in HAProxy rules of a `defaults` section are for frontends or for backends, not for both.
pub(super) fn check_inheritance(proxies: &[Proxy<'_>], diagnostics: &mut Vec<Diagnostic>) {
    for (index, proxy) in proxies.iter().enumerate() {
        let Some(from) = proxy.settings.rules_from else { continue };
        let others = proxies.iter().take(index).filter(|other| other.settings.rules_from == Some(from));
        let mut both =
            others.filter(|other| (other.is_front(), other.is_back()) != (proxy.is_front(), proxy.is_back()));
        let of_frontends = |line: &&Line<'_>| {
            !proxy.is_front() && ["tcp-request connection", "tcp-request session"].contains(&line.name)
        };
        let (message, related) = if let Some(line) = proxy.settings.rule_lines.iter().find(of_frontends) {
            (format!("a backend cannot inherit `{}`", line.name), (line.span, "inherited from here"))
        } else if let Some(other) = both.next() {
            let message =
                format!("`{}` and `{}` cannot both inherit these rules", other.name.text, proxy.name.text);
            (message, (from, "inherited from here"))
        } else {
            continue;
        };
        diagnostics.push(
            Diagnostic::error(codes::NOT_ALLOWED_HERE, proxy.name.span, message)
                .related(related.0, related.1)
                .hint("write two `defaults` sections, and let each section say `from` which"),
        );
    }
}

/// Whether the proxy has a stick table.
pub(super) fn has_table(proxy: &Proxy<'_>) -> bool {
    proxy.settings.rule_lines.iter().any(|line| line.name == "stick-table")
}

/// The rules of a proxy. Content rules of a `listen` are asked once, as those of a frontend.
pub(super) fn lower_rules(names: &Names<'_, '_>, reader: &mut Reader<'_, '_>) -> (FrontendRules, PoolRules) {
    let mut lowering = Lowering {
        names,
        lists: AccessLists::default(),
        front: FrontendRules::default(),
        pool: PoolRules::default(),
        content: Inspection::default(),
        delay: None,
        impatient: None,
        hasty: None,
        latest: None,
    };
    for line in &names.own.settings.rule_lines {
        lowering.line(line, reader);
    }
    lowering.hash(reader);
    lowering.finish(reader)
}

struct Lowering<'a, 'b, 'c> {
    names: &'c Names<'a, 'b>,
    lists: AccessLists,
    front: FrontendRules,
    pool: PoolRules,
    content: Inspection,
    /// Where `inspect-delay` was given.
    delay: Option<Span>,
    /// The first rule that looks at what clients send.
    impatient: Option<Span>,
    /// The first key that clients send.
    hasty: Option<Span>,
    /// The rule that is asked latest so far.
    latest: Option<(Stage, Span)>,
}

/// When a rule is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Connection,
    Session,
    Content,
    Switch,
}

impl<'a> Lowering<'a, '_, '_> {
    fn line(&mut self, line: &Line<'a>, reader: &mut Reader<'_, '_>) {
        match line.name {
            "acl" => self.lists.define(line, self.names, reader),
            "tcp-request inspect-delay" => self.set_delay(line, reader),
            "tcp-request connection" => {
                self.order(Stage::Connection, line, reader);
                let standing = Standing { rule: "tcp-request connection", sees_content: false };
                if let Some(rule) = self.rule(line, standing, reader) {
                    self.front.connection.push(rule);
                }
            }
            "tcp-request session" => {
                self.order(Stage::Session, line, reader);
                let standing = Standing { rule: "tcp-request session", sees_content: false };
                if let Some(rule) = self.rule(line, standing, reader) {
                    self.front.session.push(rule);
                }
            }
            "tcp-request content" => {
                self.order(Stage::Content, line, reader);
                let standing = Standing { rule: "tcp-request content", sees_content: true };
                if let Some(rule) = self.rule(line, standing, reader) {
                    self.content.rules.push(rule);
                }
            }
            "use_backend" => self.switch(line, reader),
            "use-server" => self.use_server(line, reader),
            "monitor fail" => self.monitor_fail(line, reader),
            "stats admin" | "stats http-request" | "http-request" => self.http(line, reader),
            "rate-limit sessions" => {
                self.front.sessions_per_second = line.number().filter(|limit| *limit > 0);
            }
            name if name.starts_with("stick ") => self.stick(line, reader),
            _ => {}
        }
    }

    fn finish(mut self, reader: &mut Reader<'_, '_>) -> (FrontendRules, PoolRules) {
        if let (Some(span), None) = (self.hasty, self.delay) {
            let message = "this key comes from what clients send, and nothing waits for it, as in HAProxy";
            reader.diagnostics.push(
                Diagnostic::warning(codes::UNTIMELY_KEY, span, message)
                    .label("there by chance")
                    .hint("add `tcp-request inspect-delay 5s`"),
            );
        }
        if let (Some(span), None) = (self.impatient, self.delay) {
            reader.diagnostics.push(
                Diagnostic::warning(
                    codes::NO_INSPECT_DELAY,
                    span,
                    "this rule looks at what clients send and does not wait for it",
                )
                .label("finds what happens to be there")
                .hint("add `tcp-request inspect-delay 5s`"),
            );
        }
        if self.names.own.is_front() {
            self.front.content = self.content;
        } else {
            self.pool.content = self.content;
        }
        (self.front, self.pool)
    }

    /// As HAProxy says it: rules are asked stage by stage, not in the order of the file.
    fn order(&mut self, stage: Stage, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        match self.latest {
            Some((latest, span)) if latest > stage => {
                let message =
                    format!("`{}` is asked before a rule that stands above it, as in HAProxy", line.name);
                reader.diagnostics.push(
                    Diagnostic::warning(codes::RULE_ORDER, line.span, message)
                        .label("asked first")
                        .related(span, "asked later")
                        .hint("move it up, so that the file reads as it works"),
                );
            }
            _ => self.latest = Some((stage, line.span)),
        }
    }

    fn set_delay(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        if let Some(first) = self.delay {
            let message = "`tcp-request inspect-delay` is given twice; the first one counts, as in HAProxy";
            reader.diagnostics.push(
                Diagnostic::warning(codes::GIVEN_TWICE, line.whole(), message)
                    .label("this one does not count")
                    .related(first, "this one counts"),
            );
            return;
        }
        self.delay = Some(line.whole());
        self.content.delay = line.time().filter(|time| !time.is_zero());
    }

    /// A `tcp-request` rule: an action, and when.
    fn rule(
        &mut self,
        line: &Line<'_>,
        standing: Standing,
        reader: &mut Reader<'_, '_>,
    ) -> Option<ConnectionRule> {
        let (word, rest) = line.values.split_first()?;
        let (action, rest) = match word.text.as_str() {
            "accept" => (Action::Accept, rest),
            "reject" => (Action::Reject, rest),
            name if name.starts_with("track-sc") => self.track(word, rest, standing, reader)?,
            _ => {
                reader.diagnostics.push(other_action(line, word));
                return None;
            }
        };
        let Read { condition, content } = self.lists.condition(rest, standing, self.names, reader)?;
        if content && standing.sees_content {
            self.impatient.get_or_insert(line.whole());
        }
        Some(ConnectionRule { action, condition })
    }

    fn track<'w>(
        &mut self,
        word: &Word,
        rest: &'w [Word],
        standing: Standing,
        reader: &mut Reader<'_, '_>,
    ) -> Option<(Action, &'w [Word])> {
        let slot = match word.text.as_str() {
            "track-sc0" => 0,
            "track-sc1" => 1,
            "track-sc2" => 2,
            _ => {
                let message = "a connection has counters 0 to 2, as in HAProxy";
                let diagnostic = Diagnostic::error(codes::OUT_OF_RANGE, word.span, message);
                reader.diagnostics.push(diagnostic.label("expected track-sc0, track-sc1 or track-sc2"));
                return None;
            }
        };
        let Some((key, mut rest)) = rest.split_first() else {
            reader
                .diagnostics
                .push(missing(word.span, format!("`{}` needs a key, such as `src`", word.text)));
            return None;
        };
        let sample = match sample::read(key, self.names) {
            Ok(sample) => sample,
            Err(diagnostic) => {
                reader.diagnostics.push(*diagnostic);
                return None;
            }
        };
        if sample.is_content() && !standing.sees_content {
            let message = format!("`{}` is not known in `{}`", key.text, standing.rule);
            reader.diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, key.span, message)
                    .label("sent by the client later")
                    .hint("write `tcp-request content`"),
            );
            return None;
        }
        if sample.is_content() {
            self.hasty.get_or_insert(key.span);
        }
        let mut named = None;
        if let [table, name, after @ ..] = rest
            && table.text == "table"
        {
            (named, rest) = (Some(name), after);
        }
        let table = self.table(named, key.span, reader)?;
        Some((Action::Track { slot, key: sample.expression, table }, rest))
    }

    fn table(
        &self,
        named: Option<&Word>,
        span: Span,
        reader: &mut Reader<'_, '_>,
    ) -> Option<crate::plan::TableId> {
        let name = named.map_or("", |word| word.text.as_str());
        match self.names.table(name) {
            Ok(table) => Some(table),
            Err((code, message, label)) => {
                let span = named.map_or(span, |word| word.span);
                reader.diagnostics.push(Diagnostic::error(code, span, message).label(label).hint(
                    "add `stick-table type ip size 1m expire 30m store conn_rate(10s)` to that section",
                ));
                None
            }
        }
    }

    fn switch(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let Some((target, rest)) = line.values.split_first() else { return };
        self.latest = Some((Stage::Switch, line.span));
        let standing = Standing { rule: "use_backend", sees_content: true };
        let read = self.lists.condition(rest, standing, self.names, reader);
        if target.text.contains("%[") {
            let message = "mainstay chooses backends by conditions, not by their names";
            reader.diagnostics.push(
                Diagnostic::error(codes::REFUSED, target.span, message)
                    .label("a name that depends on the connection")
                    .hint("write a `use_backend … if …` for each backend"),
            );
            return;
        }
        match (self.names.pool(&target.text), read) {
            (Ok(pool), Some(read)) => {
                self.front.switches.push(Switch { pool, condition: read.condition });
            }
            (Ok(_), None) => {}
            (Err((code, message, label)), _) => {
                reader.diagnostics.push(Diagnostic::error(code, target.span, message).label(label));
            }
        }
    }

    fn use_server(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let Some((target, rest)) = line.values.split_first() else { return };
        if rest.is_empty() {
            let message = "`use-server` needs `if` or `unless`, and a condition".to_owned();
            reader.diagnostics.push(missing(line.whole(), message));
            return;
        }
        let standing = Standing { rule: "use-server", sees_content: true };
        let read = self.lists.condition(rest, standing, self.names, reader);
        if target.text.contains("%[") {
            let message = "mainstay chooses servers by conditions, not by their names";
            reader.diagnostics.push(Diagnostic::error(codes::REFUSED, target.span, message));
            return;
        }
        let servers = &self.names.own.servers;
        let place = servers.iter().position(|server| server.name.text == target.text);
        let Some(server) = place.and_then(|place| u16::try_from(place).ok()).map(ServerIndex) else {
            let message = format!("`{}` has no server `{}`", self.names.own.name.text, target.text);
            let diagnostic = Diagnostic::error(codes::UNDEFINED_SERVER, target.span, message);
            let names = servers.iter().map(|server| server.name.text.as_str());
            reader.diagnostics.push(match did_you_mean(&target.text, names) {
                Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                None => diagnostic.label("not defined"),
            });
            return;
        };
        if let Some(Read { condition: Some(condition), .. }) = read {
            self.pool.servers.push(ServerRule { server, condition });
        }
    }

    fn monitor_fail(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let standing = Standing { rule: "monitor fail", sees_content: true };
        let read = self.lists.condition(line.values, standing, self.names, reader);
        if let Some(Read { condition: Some(condition), .. }) = read {
            self.front.monitor_fail.push(condition);
        }
    }

    /// What `balance hash` looks at.
    fn hash(&mut self, reader: &mut Reader<'_, '_>) {
        let settings = &self.names.own.settings;
        let Some(key) =
            settings.hash_key.as_ref().filter(|_| matches!(settings.algorithm, Some(Algorithm::Hash(_))))
        else {
            return;
        };
        match sample::read(key, self.names) {
            Ok(sample) => self.pool.hash = Some(sample.expression),
            Err(diagnostic) => reader.diagnostics.push(*diagnostic),
        }
    }

    fn stick(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let Some((key, mut rest)) = line.values.split_first() else { return };
        let sample = match sample::read(key, self.names) {
            Ok(sample) => sample,
            Err(diagnostic) => {
                reader.diagnostics.push(*diagnostic);
                return;
            }
        };
        let mut named = None;
        if let [table, name, after @ ..] = rest
            && table.text == "table"
        {
            (named, rest) = (Some(name), after);
        }
        let table = self.table(named, line.whole(), reader);
        let standing = Standing { rule: line.name, sees_content: true };
        let read = self.lists.condition(rest, standing, self.names, reader);
        let (Some(table), Some(read)) = (table, read) else { return };
        self.pool.stick.push(Stick {
            looks_up: line.name != "stick store-request",
            stores: line.name != "stick match",
            key: sample.expression,
            table,
            condition: read.condition,
        });
    }
}

/// Actions that HAProxy knows and mainstay does not carry out.
const OTHER_ACTIONS: [&str; 27] = [
    "attach-srv",
    "capture",
    "close",
    "do-resolve",
    "expect-netscaler-cip",
    "expect-proxy",
    "lua.",
    "ot-group",
    "sc-add-gpc",
    "sc-inc-gpc",
    "sc-inc-gpc0",
    "sc-inc-gpc1",
    "sc-set-gpt",
    "sc-set-gpt0",
    "send-spoe-group",
    "set-dst",
    "set-dst-port",
    "set-fc-mark",
    "set-fc-tos",
    "set-log-level",
    "set-mark",
    "set-nice",
    "set-priority-class",
    "set-priority-offset",
    "set-src",
    "silent-drop",
    "switch-mode",
];

fn other_action(line: &Line<'_>, word: &Word) -> Diagnostic {
    let name = word.text.split('(').next().unwrap_or_default();
    let known = OTHER_ACTIONS.contains(&name)
        || ["set-src-port", "set-tos", "set-var", "set-var-fmt", "unset-var", "use-service"].contains(&name);
    if known {
        let message = format!("mainstay cannot do what `{} {}` asks for", line.name, word.text);
        return Diagnostic::error(codes::REFUSED, line.whole(), message)
            .label("changes or judges connections")
            .hint("mainstay knows accept, reject and track-sc0 to track-sc2");
    }
    let message = format!("`{}` does not know the action `{}`", line.name, word.text);
    let diagnostic = Diagnostic::error(codes::BAD_VALUE, word.span, message);
    match did_you_mean(&word.text, ["accept", "reject", "track-sc0"]) {
        Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
        None => diagnostic.label("expected accept, reject or track-sc0 to track-sc2"),
    }
}
