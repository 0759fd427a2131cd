//! What a request is answered with at a frontend that answers HTTP itself.
//!
//! Owns [`answer`], which asks in HAProxy's order: `monitor-uri`, rules, the page of statistics, and then there is no
//! server. Pure: the shell speaks HTTP, and writes what comes out.

use crate::plan::{Access, Frontend, StatisticsPage};
use crate::rules::{Context, HttpRequest, Outcome, applies};

/// Longest part of a name that a page can be narrowed to, as in HAProxy.
const SCOPE_BYTES: usize = 20;

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// The service is up.
    Ready,
    /// The service is down.
    NotReady,
    /// Metrics.
    Metrics,
    /// A password is needed, for this realm.
    AskPassword(&'a str),
    /// It is refused.
    Forbidden,
    /// The page of statistics.
    Statistics(&'a StatisticsPage, View, MayChange),
    /// Servers are to be changed, if that is permitted.
    Change(&'a StatisticsPage, View, MayChange),
    /// There is no server to handle it.
    NoServer,
}

/// Whether who asks may change servers.
pub type MayChange = bool;

/// What is wanted of a page of statistics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The form.
    pub form: Form,
    /// Servers that are down are left out (`;up`).
    pub up: bool,
    /// Servers in maintenance are left out (`;no-maint`).
    pub no_maintenance: bool,
    /// It shall not be loaded again by itself (`;norefresh`).
    pub no_refresh: bool,
    /// Only proxies with this in their names (`scope=`).
    pub scope: String,
    /// What came of a change (`;st=`).
    pub changed: Option<Changed>,
}

/// The form of statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people.
    #[default]
    Html,
    /// `;csv`.
    Csv,
    /// `;json`.
    Json,
}

/// What came of a change that was asked for on a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It was made.
    Done,
    /// Nothing was asked for, or nothing had to be done.
    Nothing,
    /// It was made for some servers; the others are not there.
    Partly,
    /// What was asked for makes no sense.
    Unclear,
    /// It was too long to be read.
    TooLong,
    /// It is not permitted.
    Denied,
}

impl Changed {
    const ALL: [Self; 6] =
        [Self::Done, Self::Nothing, Self::Partly, Self::Unclear, Self::TooLong, Self::Denied];

    /// HAProxy's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Done => "DONE",
            Self::Nothing => "NONE",
            Self::Partly => "PART",
            Self::Unclear => "ERRP",
            Self::TooLong => "EXCD",
            Self::Denied => "DENY",
        }
    }
}

/// What `frontend` answers a request with, which is that of the context.
pub fn answer<'a>(frontend: &'a Frontend, request: HttpRequest<'_>, context: &Context<'_>) -> Answer<'a> {
    let Some(pages) = &frontend.pages else { return Answer::NoServer };
    let context = Context { request: Some(request), ..*context };
    let holds = |condition| applies(condition, &context) == Outcome::Yes;
    let rules = &frontend.rules;
    if pages.monitor_uri.as_deref() == Some(request.uri) {
        let down = rules.monitor_fail.iter().any(|condition| holds(Some(condition)));
        return if down { Answer::NotReady } else { Answer::Ready };
    }
    if rules.exporter.iter().any(|condition| holds(condition.as_ref())) {
        return Answer::Metrics;
    }
    let Some(page) = &pages.statistics else { return Answer::NoServer };
    let changes = request.method == "POST";
    let Some(view) = request.uri.strip_prefix(&page.uri).filter(|_| changes || is_read(request.method))
    else {
        return Answer::NoServer;
    };
    match rules.stats_access.iter().find(|rule| holds(rule.condition.as_ref())).map(|rule| &rule.access) {
        Some(Access::Deny) => return Answer::Forbidden,
        Some(Access::Ask(realm)) => return Answer::AskPassword(realm.as_ref().unwrap_or(&page.realm)),
        Some(Access::Allow) | None => {}
    }
    let may_change = rules.stats_admin.iter().any(|condition| holds(Some(condition)));
    let view = View::parse(view);
    if changes { Answer::Change(page, view, may_change) } else { Answer::Statistics(page, view, may_change) }
}

fn is_read(method: &str) -> bool {
    ["GET", "HEAD"].contains(&method)
}

impl View {
    /// Reads what follows the URI of the page.
    fn parse(text: &str) -> Self {
        let after = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
        let scope = after("scope=").map(|rest| rest.split([';', '&', ' ']).next().unwrap_or_default());
        let status = after(";st=").unwrap_or_default();
        Self {
            form: match () {
                () if text.contains(";csv") => Form::Csv,
                () if text.contains(";json") => Form::Json,
                () => Form::Html,
            },
            up: text.contains(";up"),
            no_maintenance: text.contains(";no-maint"),
            no_refresh: text.contains(";norefresh"),
            scope: scope.unwrap_or_default().chars().take(SCOPE_BYTES).collect(),
            changed: Changed::ALL.into_iter().find(|changed| status.starts_with(changed.word())),
        }
    }

    /// The URI that shows this, below that of the page.
    pub fn suffix(&self) -> String {
        let mut text = String::new();
        if let Some(changed) = self.changed {
            text.push_str(";st=");
            text.push_str(changed.word());
        }
        for (wanted, word) in
            [(self.up, ";up"), (self.no_maintenance, ";no-maint"), (self.no_refresh, ";norefresh")]
        {
            text.push_str(if wanted { word } else { "" });
        }
        if !self.scope.is_empty() {
            text.push_str("?scope=");
            text.push_str(&self.scope);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_uri_is_read_and_what_is_shown_leads_back_to_it(text in "[;?=&a-z/%é]{0,30}(;up|;csv|;st=DONE|[?]scope=|;no-maint){0,4}[a-z;&]{0,30}") {
            let request = HttpRequest { method: "GET", uri: &text, credentials: None };
            prop_assert!(!request.path().contains('?'));
            let view = View::parse(&text);
            let again = View { form: Form::Html, ..view.clone() };
            // A part of a name can look like a mark of its own.
            prop_assume!(!view.scope.contains(';'));
            prop_assert_eq!(View::parse(&view.suffix()), again);
        }
    }

    #[test]
    fn what_is_wanted_stands_behind_the_uri() {
        let view = View::parse(";csv;norefresh;up?scope=api&x");
        let expected =
            View { form: Form::Csv, up: true, no_refresh: true, scope: "api".to_owned(), ..View::default() };
        assert_eq!(view, expected);
        assert_eq!(view.suffix(), ";up;norefresh?scope=api");
        let changed = View::parse(";st=PART;no-maint");
        assert_eq!((changed.changed, changed.no_maintenance), (Some(Changed::Partly), true));
        assert_eq!(View::parse("/anything?else=1;st=what"), View::default());
        assert_eq!(View::parse(&format!("?scope={}", "é".repeat(30))).scope.chars().count(), SCOPE_BYTES);
    }
}
