//! The steps of one kind that a section writes down, in HAProxy's order of things.
//!
//! Owns [`Ruleset`]: what `option httpchk` adds to `http-check` lines, which step may follow which, the steps that are
//! implied, and whose comment is shown where. A section with lines of its own has none of those it would inherit.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::check::connect::ConnectLine;
use crate::config::source::Span;
use crate::limits::CHECK_STEPS;
use crate::plan::{Dialect, Expect, Expected, Request, StatusRanges};

/// The steps of one kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruleset<'a> {
    drafts: Vec<Draft<'a>>,
    /// Where the section itself has the first line of it.
    pub(super) own: Option<Span>,
    pub(super) disable_on_404: bool,
    written: u16,
}

/// A step as it is written: where it connects depends on the server.
#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub(super) number: u16,
    pub(super) what: What<'a>,
    pub(super) comment: Option<String>,
}

/// What a line asks for.
#[derive(Clone, Debug)]
pub(super) enum What<'a> {
    Comment,
    Connect(ConnectLine<'a>),
    Send(Vec<u8>),
    Request {
        request: RequestLine,
        /// Whether `option httpchk` alone asks for it.
        from_option: bool,
    },
    Expect(Box<Expect>),
}

/// The parts of a request that a line names.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestLine {
    pub(super) method: Option<String>,
    pub(super) uri: Option<String>,
    pub(super) version: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Option<String>,
}

impl RequestLine {
    /// Puts what `newer` names in place of what is here.
    fn overwrite(&mut self, newer: Self) {
        let Self { method, uri, version, headers, body } = newer;
        self.method = method.or(self.method.take());
        self.uri = uri.or(self.uri.take());
        self.version = version.or(self.version.take());
        self.body = body.or(self.body.take());
        if !headers.is_empty() {
            self.headers = headers;
        }
    }

    pub(super) fn request(&self) -> Request {
        let Self { method, uri, version, headers, body } = self.clone();
        let usual = Request::default();
        Request {
            method: method.unwrap_or(usual.method),
            uri: uri.unwrap_or(usual.uri),
            version: version.unwrap_or(usual.version),
            headers,
            body: body.unwrap_or_default(),
        }
    }
}

impl<'a> Ruleset<'a> {
    /// The one that a line of the section itself adds to.
    pub(super) fn own(&mut self, span: Span) -> &mut Self {
        if self.own.is_none() {
            *self = Self { own: Some(span), ..Self::default() };
        }
        self
    }

    /// Adds a step that a line asks for. `strict` is for HTTP where it is what is spoken.
    pub(super) fn add(
        &mut self,
        mut what: What<'a>,
        comment: Option<String>,
        strict: bool,
        span: Span,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        self.written = self.written.saturating_add(1);
        if self.drafts.len() >= CHECK_STEPS {
            let message = format!("a check has at most {CHECK_STEPS} steps");
            diagnostics.push(Diagnostic::error(codes::TOO_MANY, span, message));
            return;
        }
        if let Some(reason) = self.misplaced(&what, strict) {
            diagnostics.push(
                Diagnostic::error(codes::STEP_ORDER, span, format!("this step cannot stand here: {reason}"))
                    .label("misplaced"),
            );
            return;
        }
        if let What::Request { request, .. } = &mut what
            && strict
            && let Some(index) = self.index_of_option()
        {
            let Draft { what: What::Request { request: mut first, .. }, .. } = self.drafts.remove(index)
            else {
                return;
            };
            first.overwrite(std::mem::take(request));
            *request = first;
        }
        self.drafts.push(Draft { number: self.written, what, comment });
    }

    /// Adds what `option httpchk` asks for.
    pub(super) fn add_option(&mut self, request: RequestLine) {
        if let Some(index) = self.index_of_option() {
            self.drafts.remove(index);
        }
        let mut steps = self.drafts.iter_mut().filter(|draft| !matches!(draft.what, What::Comment));
        let first = match steps.next() {
            Some(Draft { what: What::Connect(_), .. }) => steps.next(),
            first => first,
        };
        if let Some(Draft { what: What::Request { request: explicit, .. }, .. }) = first {
            explicit.overwrite(request);
            return;
        }
        let what = What::Request { request, from_option: true };
        self.drafts.insert(0, Draft { number: 1, what, comment: None });
    }

    /// All steps, those that are implied included, and none that is only a comment.
    pub(super) fn complete(&self, dialect: Dialect) -> Vec<Draft<'a>> {
        let mut drafts = self.drafts.clone();
        let is_connect = |draft: &Draft<'_>| matches!(draft.what, What::Connect(_));
        if self.index_of_option() == Some(0)
            && let Some(next) = drafts.iter().skip(1).position(|draft| !matches!(draft.what, What::Comment))
            && drafts.get(next + 1).is_some_and(is_connect)
        {
            let request = drafts.remove(0);
            drafts.insert(next + 1, request);
        }
        if dialect == Dialect::Http && matches!(drafts.last(), Some(Draft { what: What::Request { .. }, .. }))
        {
            let usual = StatusRanges { ranges: vec![(200, 399)] };
            let what = What::Expect(Box::new(Expect::new(Expected::Status(usual))));
            drafts.push(Draft { number: self.written.saturating_add(1), what, comment: None });
        }
        let first = drafts.iter().position(|draft| !matches!(draft.what, What::Comment));
        if !first.and_then(|first| drafts.get(first)).is_some_and(is_connect) {
            let what = What::Connect(ConnectLine::implied());
            drafts.insert(0, Draft { number: 0, what, comment: None });
        }
        with_comments(drafts)
    }

    /// Whether nothing is ever asked, but an answer is expected.
    pub(super) fn asks_nothing(&self) -> bool {
        let says = |draft: &Draft<'_>| matches!(draft.what, What::Request { .. });
        let hears = |draft: &Draft<'_>| matches!(draft.what, What::Expect(_));
        self.drafts.iter().any(hears) && !self.drafts.iter().any(says)
    }

    fn index_of_option(&self) -> Option<usize> {
        self.drafts.iter().position(|draft| matches!(draft.what, What::Request { from_option: true, .. }))
    }

    /// Why `what` cannot be the next step, if so.
    fn misplaced(&self, what: &What<'_>, strict: bool) -> Option<&'static str> {
        let of_option = |draft: &Draft<'_>| matches!(draft.what, What::Request { from_option: true, .. });
        let mut steps = self.drafts.iter().filter(|draft| !matches!(draft.what, What::Comment));
        if matches!(what, What::Connect(_)) {
            let has_connect = steps.clone().any(|draft| matches!(draft.what, What::Connect(_)));
            if !has_connect && steps.clone().any(|draft| !of_option(draft)) {
                return Some("where a step connects, the first one has to");
            }
        }
        let last = steps.next_back().filter(|draft| strict && !of_option(draft))?;
        match (&last.what, what) {
            (What::Request { .. } | What::Expect(_), What::Request { .. }) => {
                Some("`http-check connect` has to come before the next request")
            }
            (What::Connect(_), What::Expect(_)) if self.index_of_option().is_none() => {
                Some("`http-check send` has to come first")
            }
            (What::Connect(_) | What::Request { .. }, What::Connect(_)) => {
                Some("`http-check expect` has to come first")
            }
            _ => None,
        }
    }
}

/// Gives comments to the steps below them: to a connect, or to all of one kind that follow.
fn with_comments(drafts: Vec<Draft<'_>>) -> Vec<Draft<'_>> {
    let mut steps = Vec::with_capacity(drafts.len());
    let mut comment: Option<String> = None;
    let mut before = None;
    for mut draft in drafts {
        let kind = std::mem::discriminant(&draft.what);
        if before.is_some_and(|before| before != kind) {
            comment = None;
        }
        before = Some(kind);
        if matches!(draft.what, What::Comment) {
            (comment, before) = (draft.comment, None);
            continue;
        }
        if draft.comment.is_none() {
            draft.comment.clone_from(&comment);
        }
        if matches!(draft.what, What::Connect(_)) {
            comment = None;
        }
        steps.push(draft);
    }
    steps
}
