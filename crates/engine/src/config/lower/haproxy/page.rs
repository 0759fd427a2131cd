//! What a proxy of HTTP answers itself: `stats …` and `monitor-uri`.
//!
//! Owns [`PageSettings`], and the [`Userlist`]s of those who may see a page. Which proxies answer at all shows when all sections are known, so [`check_pages`] says then
//! what is not acted on. Conditions are read with the other rules.

use std::sync::Arc;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Kind, Tree, Word, codes};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::config::lower::haproxy::proxy::{Given, Mode, Proxy};
use crate::config::lower::haproxy::value::{TimeProblem, microseconds};
use crate::config::source::Span;
use crate::plan::{
    Access, AccessRule, Account, Acl, Condition, Expression, Fetch, NodeName, Pages, Pattern, StatisticsPage,
    Term, Test,
};

/// Where HAProxy shows statistics unless it is told where.
const USUAL_URI: &str = "/haproxy?stats";

/// What HAProxy asks for a password with unless it is told what.
const USUAL_REALM: &str = "HAProxy Statistics";

/// The longest `stats refresh` that HAProxy takes, in seconds.
const LONGEST_REFRESH: u64 = 2_147_483_647;

/// What `global` says of the balancer itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Balancer {
    node: Option<String>,
    description: Option<String>,
}

impl Balancer {
    /// What the sections `global` say.
    pub(super) fn of(tree: &Tree) -> Self {
        let global = tree.sections.iter().filter(|section| section.kind == Kind::Global);
        let words: Vec<&[Word]> = global
            .flat_map(|section| &section.statements)
            .map(|statement| statement.words.as_slice())
            .collect();
        let said = |keyword: &str| {
            let line =
                words.iter().rev().find(|words| words.first().is_some_and(|word| word.text == keyword));
            line.map(|words| joined(words.get(1..).unwrap_or_default())).filter(|text| !text.is_empty())
        };
        Self { node: said("node"), description: said("description") }
    }
}

/// The users of a `userlist` section.
#[derive(Clone, Debug)]
pub(super) struct Userlist {
    name: String,
    accounts: Vec<Account>,
    /// Whether a password is given as what `crypt` makes of it.
    encrypted: bool,
}

impl Userlist {
    /// What the lines of the section `name` say.
    pub(super) fn of(name: &Word, lines: &[Line<'_>]) -> Self {
        let mut list = Self { name: name.text.clone(), accounts: Vec::new(), encrypted: false };
        for line in lines.iter().filter(|line| line.name == "user") {
            match line.values {
                [user, how, password, ..] if how.text == "insecure-password" => {
                    list.accounts.push(Account::new(&user.text, &password.text));
                }
                _ => list.encrypted |= line.values.iter().any(|word| word.text == "password"),
            }
        }
        list
    }

    /// The accounts of the list of this name; the error is a code, what is wrong, and a hint.
    pub(super) fn accounts(
        lists: &[Self],
        name: &str,
    ) -> Result<Vec<Account>, (&'static str, String, &'static str)> {
        match lists.iter().find(|list| list.name == name) {
            None => {
                let message = format!("there is no `userlist {name}`");
                Err((codes::UNDEFINED_SECTION, message, "add such a section, with lines `user`"))
            }
            Some(list) if list.encrypted => {
                let message =
                    format!("`userlist {name}` has encrypted passwords, which mainstay cannot compare");
                Err((
                    codes::REFUSED,
                    message,
                    "write `insecure-password`, and keep others from reading the file",
                ))
            }
            Some(list) => Ok(list.accounts.clone()),
        }
    }
}

/// What a section says of pages, over what it inherits.
#[derive(Clone, Debug, Default)]
pub(super) struct PageSettings<'a> {
    monitor_uri: Option<&'a Word>,
    statistics: Option<StatisticsPage>,
    users: Vec<(String, Account)>,
    /// Every line that only proxies of HTTP act on.
    lines: Vec<Given<&'static str>>,
    /// The first line with a user or a realm.
    login: Option<Span>,
    /// The first rule on who may see the page.
    access: Option<Span>,
    /// Whether a rule answers requests.
    answers: bool,
}

impl<'a> PageSettings<'a> {
    /// What another section starts with.
    pub(super) fn inherited(mut self) -> Self {
        self.lines.iter_mut().for_each(|line| line.own = false);
        self
    }

    /// Reads a line, if it is about pages. Conditions are for the other rules.
    pub(super) fn apply(&mut self, line: &Line<'a>, balancer: &Balancer, found: &mut Vec<Diagnostic>) {
        match line.name {
            "http-request" => {
                let service = line.values.first().is_some_and(|word| word.text == "use-service");
                self.answers |= service;
            }
            "monitor-uri" => match line.values.first() {
                Some(word) if !word.text.is_empty() => self.monitor_uri = Some(word),
                _ => found.push(missing(line.whole(), "`monitor-uri` needs a URI".to_owned())),
            },
            name if name.starts_with("stats ") => self.apply_statistics(line, balancer, found),
            _ => return,
        }
        self.lines.push(Given { value: line.name, span: line.span, own: true });
    }

    fn apply_statistics(&mut self, line: &Line<'a>, balancer: &Balancer, found: &mut Vec<Diagnostic>) {
        let page = self.statistics.get_or_insert_with(|| StatisticsPage {
            uri: USUAL_URI.to_owned(),
            realm: USUAL_REALM.to_owned(),
            refresh: None,
            scope: Vec::new(),
            hide_version: false,
            node: None,
            description: None,
            legends: false,
        });
        let value = line.values.first().filter(|word| !word.text.is_empty());
        let needs = |what: &str| missing(line.whole(), format!("`{}` needs {what}", line.name));
        match line.name {
            "stats uri" => match value {
                Some(word) => page.uri = word.text.clone(),
                None => found.push(needs("a URI, such as `/stats`")),
            },
            "stats realm" => match value {
                Some(word) => {
                    page.realm = word.text.clone();
                    self.login.get_or_insert(line.span);
                }
                None => found.push(needs("a realm")),
            },
            "stats auth" => match value {
                Some(word) => self.add_user(word, line, found),
                None => found.push(needs("a user and a password, as `user:password`")),
            },
            "stats scope" => match value {
                Some(word) => page.scope.push(word.text.clone()),
                None => found.push(needs("the name of a proxy, or `.`")),
            },
            "stats refresh" => match refresh(line.values.first(), line) {
                Ok(time) => page.refresh = Some(time).filter(|time| !time.is_zero()),
                Err(diagnostic) => found.push(*diagnostic),
            },
            "stats hide-version" => page.hide_version = true,
            "stats show-version" => page.hide_version = false,
            "stats show-legends" => page.legends = true,
            "stats show-node" => {
                let name = value.map(|word| word.text.clone()).or_else(|| balancer.node.clone());
                page.node = Some(name.map_or(NodeName::Machine, NodeName::Given));
            }
            "stats show-desc" => {
                let text = Some(joined(line.values)).filter(|text| !text.is_empty());
                page.description = text.or_else(|| balancer.description.clone());
                if page.description.is_none() {
                    let message =
                        "`stats show-desc` shows nothing: no description is given here or in `global`";
                    found.push(Diagnostic::warning(codes::VALUE_COUNT, line.span, message));
                }
            }
            "stats http-request" => {
                self.access.get_or_insert(line.span);
            }
            // `stats enable` says no more than that there is a page, and `stats show-modules` what mainstay has none of.
            _ => {}
        }
    }

    fn add_user(&mut self, word: &Word, line: &Line<'_>, found: &mut Vec<Diagnostic>) {
        let (user, password) = word.text.split_once(':').unwrap_or((&word.text, ""));
        self.login.get_or_insert(line.span);
        if self.users.iter().any(|(known, _)| known == user) {
            let message = "this user has a password already; the first one counts, as in HAProxy";
            found.push(Diagnostic::warning(codes::GIVEN_TWICE, line.span, message));
        } else {
            self.users.push((user.to_owned(), Account::new(user, password)));
        }
    }

    /// What is wrong with it as a whole.
    pub(super) fn finish(&self, found: &mut Vec<Diagnostic>) {
        if let (Some(login), Some(access)) = (self.login, self.access) {
            let message = "`stats http-request` cannot stand beside `stats auth` and `stats realm`";
            found.push(
                Diagnostic::error(codes::PARAMETERS_CLASH, access, message)
                    .related(login, "given here")
                    .hint("write `stats http-request auth realm NAME unless …`, with a `userlist`"),
            );
        }
    }

    /// Whether there is anything to answer.
    pub(super) fn answers(&self) -> bool {
        self.monitor_uri.is_some() || self.statistics.is_some() || self.answers
    }

    /// What the proxy `name` answers itself.
    pub(super) fn pages(&self, name: &str, is_listen: bool) -> Pages {
        let own = |page: &StatisticsPage| StatisticsPage {
            scope: page
                .scope
                .iter()
                .map(|wanted| if wanted == "." { name } else { wanted }.to_owned())
                .collect(),
            ..page.clone()
        };
        Pages {
            monitor_uri: self.monitor_uri.map(|word| word.text.clone()),
            statistics: self.statistics.as_ref().map(own),
            is_listen,
        }
    }

    /// The rule that `stats auth` stands for.
    pub(super) fn login(&self) -> Option<AccessRule> {
        if self.users.is_empty() {
            return None;
        }
        let accounts = self.users.iter().map(|(_, account)| *account).collect();
        let test = Test { sample: Expression::plain(Fetch::Authorized(accounts)), pattern: Pattern::Boolean };
        let acl = Arc::new(Acl { name: None, tests: vec![test] });
        let condition = Condition { unless: true, any: vec![vec![Term { negated: false, acl }]] };
        Some(AccessRule { access: Access::Ask(None), condition: Some(condition) })
    }
}

/// Says of which lines nothing comes, because nothing answers HTTP there. `answers` tells where something does.
pub(super) fn check_pages(
    proxies: &[Proxy<'_>],
    answers: impl Fn(&Proxy<'_>) -> bool,
    found: &mut Vec<Diagnostic>,
) {
    let mut said: Vec<Span> = Vec::new();
    for proxy in proxies.iter().filter(|proxy| !proxy.settings.disabled && !answers(proxy)) {
        let http = proxy.settings.mode.is_some_and(|mode| mode.value == Mode::Http);
        for line in &proxy.settings.pages.lines {
            // Reported where it stands, as every rule of HTTP that is not acted on.
            let is_rule = line.value == "http-request";
            let of_frontends = line.value == "monitor-uri";
            if said.contains(&line.span) || (is_rule && http) || (of_frontends && !proxy.is_front()) {
                continue;
            }
            said.push(line.span);
            let name = &proxy.name.text;
            found.push(if http {
                let message = format!(
                    "mainstay does not act on `{}` in `{name}`: connections are relayed to servers as they are",
                    line.value
                );
                Diagnostic::warning(codes::NOT_ACTED_ON, line.span, message)
                    .hint("give it a `frontend` of its own, with a port of its own and no backend")
            } else {
                let message =
                    format!("`{}` does nothing in `{name}`: it needs `mode http`, as in HAProxy", line.value);
                Diagnostic::warning(codes::NEEDS_HTTP, line.span, message)
                    .hint("give it a `frontend` of its own, with `mode http`")
            });
        }
    }
}

/// A whole number and a unit, seconds without one.
fn refresh(word: Option<&Word>, line: &Line<'_>) -> Result<Duration, Box<Diagnostic>> {
    let Some(word) = word else {
        return Err(Box::new(missing(line.span, "`stats refresh` needs a time, such as `10s`".to_owned())));
    };
    let text = word.text.as_str();
    let seconds = match microseconds(text, 1_000_000) {
        Ok((time, _)) => u64::try_from(time.div_ceil(1_000_000)).ok(),
        Err(TimeProblem::TooLong) => None,
        Err(TimeProblem::Unreadable) => {
            return Err(Box::new(bad_value(word, "`stats refresh` takes a time, such as `10s`")));
        }
    };
    match seconds.filter(|seconds| *seconds <= LONGEST_REFRESH) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => {
            let message = format!("`stats refresh` is at most {LONGEST_REFRESH} s, not `{text}`");
            Err(Box::new(Diagnostic::error(codes::OUT_OF_RANGE, word.span, message)))
        }
    }
}

fn joined(words: &[Word]) -> String {
    words.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
}
