//! Rules on requests of HTTP that a frontend answers itself: `stats admin`, `stats http-request`, and the one
//! `http-request` that mainstay acts on.

use crate::config::diagnostic::{Diagnostic, Level, did_you_mean};
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::line::{Line, missing};
use crate::config::lower::haproxy::proxy::Mode;
use crate::config::lower::haproxy::rules::Lowering;
use crate::config::lower::haproxy::rules::condition::{Read, Standing};
use crate::plan::{Access, AccessRule};

/// The service that answers with metrics.
const EXPORTER: &str = "prometheus-exporter";

/// A rule that judges or changes HTTP.
pub(in crate::config::lower::haproxy) fn refused(line: &Line<'_>) -> Diagnostic {
    let message = format!(
        "mainstay cannot do what `{}` asks for: it judges or changes HTTP, and mainstay relays bytes",
        line.name
    );
    Diagnostic::error(codes::REFUSED, line.span, message)
}

impl Lowering<'_, '_, '_> {
    /// Reads a rule on requests. Where none are answered, it is only looked at as strictly.
    pub(super) fn http(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let before = reader.diagnostics.len();
        match line.name {
            "stats admin" => self.stats_admin(line, reader),
            "stats http-request" => self.stats_access(line, reader),
            _ => self.http_request(line, reader),
        }
        // What cannot be done matters only where it would be.
        if !self.names.http && line.name != "http-request" {
            let known = reader.diagnostics.split_off(before);
            let matters = |found: &Diagnostic| found.level == Level::Error && found.code != codes::REFUSED;
            reader.diagnostics.extend(known.into_iter().filter(matters));
        }
    }

    fn stats_admin(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        if line.values.first().is_none_or(|word| !["if", "unless"].contains(&word.text.as_str())) {
            let message = "`stats admin` needs `if` or `unless`, and a condition".to_owned();
            reader.diagnostics.push(missing(line.whole(), message));
            return;
        }
        if let Some(read) = self.http_condition(line.values, "stats admin", reader) {
            self.front.stats_admin.extend(read.condition);
        }
    }

    fn stats_access(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let Some((word, mut rest)) = line.values.split_first() else {
            let message = "`stats http-request` needs an action: allow, deny or auth".to_owned();
            reader.diagnostics.push(missing(line.span, message));
            return;
        };
        let access = match word.text.as_str() {
            "allow" => Access::Allow,
            "deny" => Access::Deny,
            "auth" => match rest {
                [realm] if realm.text == "realm" => {
                    let message = "`realm` needs a name".to_owned();
                    reader.diagnostics.push(missing(realm.span, message));
                    return;
                }
                [realm, name, after @ ..] if realm.text == "realm" => {
                    rest = after;
                    Access::Ask(Some(name.text.clone()))
                }
                _ => Access::Ask(None),
            },
            _ => {
                reader.diagnostics.push(unknown_action(line, word));
                return;
            }
        };
        if let Some(Read { condition, .. }) = self.http_condition(rest, "stats http-request", reader) {
            self.front.stats_access.push(AccessRule { access, condition });
        }
    }

    fn http_request(&mut self, line: &Line<'_>, reader: &mut Reader<'_, '_>) {
        let tcp = self.names.own.settings.mode.is_none_or(|mode| mode.value == Mode::Tcp);
        match line.values {
            [] => {
                let message = "`http-request` needs an action".to_owned();
                reader.diagnostics.push(missing(line.span, message));
            }
            // Passed over, which is said elsewhere.
            _ if tcp => {}
            [action, service, rest @ ..]
                if self.names.http && action.text == "use-service" && service.text == EXPORTER =>
            {
                if let Some(read) = self.http_condition(rest, "http-request use-service", reader) {
                    self.front.exporter.push(read.condition);
                }
            }
            [action, service, ..] if action.text == "use-service" && !service.text.starts_with("lua.") => {
                let message = format!("there is no service `{}`", service.text);
                let diagnostic = match service.text == EXPORTER {
                    true => refused(line),
                    false => Diagnostic::error(codes::BAD_VALUE, service.span, message),
                };
                reader.diagnostics.push(match did_you_mean(&service.text, [EXPORTER]) {
                    Some(meant) if meant != service.text => {
                        diagnostic.hint(format!("did you mean `{meant}`?"))
                    }
                    _ => {
                        diagnostic.hint("`prometheus-exporter` is answered in a `frontend` without a backend")
                    }
                });
            }
            _ => reader.diagnostics.push(refused(line)),
        }
    }

    fn http_condition(
        &self,
        words: &[Word],
        rule: &'static str,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Read> {
        let standing = Standing { rule, sees_content: true };
        self.lists.condition(words, standing, self.names, reader)
    }
}

/// Actions that HAProxy knows and mainstay does not carry out for a page.
const OTHER_ACTIONS: [&str; 14] = [
    "add-header",
    "capture",
    "del-header",
    "early-hint",
    "redirect",
    "reject",
    "replace-header",
    "replace-path",
    "return",
    "set-header",
    "set-log-level",
    "set-path",
    "silent-drop",
    "tarpit",
];

fn unknown_action(line: &Line<'_>, word: &Word) -> Diagnostic {
    if OTHER_ACTIONS.contains(&word.text.as_str()) {
        return refused(line).hint("mainstay knows allow, deny and auth for a page of statistics");
    }
    let message = format!("`stats http-request` does not know the action `{}`", word.text);
    let diagnostic = Diagnostic::error(codes::BAD_VALUE, word.span, message);
    match did_you_mean(&word.text, ["allow", "deny", "auth"]) {
        Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
        None => diagnostic.label("expected allow, deny or auth"),
    }
}
