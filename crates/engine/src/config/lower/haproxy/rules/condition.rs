//! Access lists, and conditions made of them.
//!
//! Owns [`AccessLists`]: the lists of one proxy as far as they have been read. As in HAProxy a condition knows the lists
//! above it and the predefined ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::config::diagnostic::{Diagnostic, Level, did_you_mean};
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::line::Line;
use crate::config::lower::haproxy::rules::names::Names;
use crate::config::lower::haproxy::rules::{pattern, sample};
use crate::config::source::Span;
use crate::plan::{
    Acl, AddressRange, Condition, Constant, Expression, Fetch, Pattern, Range, Term, Test, TextMatch,
};

/// Names that HAProxy knows without their being defined, and that look at what mainstay does not.
const OTHER_PREDEFINED: [&str; 19] = [
    "HTTP",
    "HTTP_1.0",
    "HTTP_1.1",
    "HTTP_2.0",
    "HTTP_3.0",
    "HTTP_CONTENT",
    "HTTP_URL_ABS",
    "HTTP_URL_SLASH",
    "HTTP_URL_STAR",
    "METH_CONNECT",
    "METH_DELETE",
    "METH_GET",
    "METH_HEAD",
    "METH_OPTIONS",
    "METH_POST",
    "METH_PUT",
    "METH_TRACE",
    "METH_PATCH",
    "RDP_COOKIE",
];

/// Where a condition stands, and so what it can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What its rule is called.
    pub(super) rule: &'static str,
    /// Whether what clients send can be looked at.
    pub(super) sees_content: bool,
}

/// The access lists of one proxy.
#[derive(Default)]
pub(super) struct AccessLists {
    lists: BTreeMap<String, List>,
}

/// One of them.
#[derive(Clone)]
struct List {
    acl: Acl,
    /// Whether any of its tests looks at what clients send, and whether all do.
    content: (bool, bool),
    /// Why it cannot be used.
    unusable: Option<Diagnostic>,
}

/// A condition, and what it needs.
pub(super) struct Read {
    pub(super) condition: Option<Condition>,
    /// Whether it looks at what clients send.
    pub(super) content: bool,
}

impl AccessLists {
    /// Reads an `acl` line.
    pub(super) fn define(&mut self, line: &Line<'_>, names: &Names<'_, '_>, reader: &mut Reader<'_, '_>) {
        let Some((name, words)) = line.values.split_first() else { return };
        let odd = |c: char| !c.is_ascii_alphanumeric() && !"-_.:".contains(c);
        if let Some(odd) = name.text.chars().find(|c| odd(*c)) {
            let message = format!("the name of an access list cannot have `{odd}` in it");
            reader.diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, name.span, message)
                    .label("letters, digits, `-`, `_`, `.` and `:`"),
            );
            return;
        }
        if name.text.eq_ignore_ascii_case("or") {
            let message = format!("`{}` joins conditions, so no access list can be called that", name.text);
            reader.diagnostics.push(Diagnostic::error(codes::BAD_VALUE, name.span, message));
            return;
        }
        let found = read_test(line.whole(), words, names, reader);
        let list = self.lists.entry(name.text.clone()).or_insert_with(|| List {
            acl: Acl { name: Some(name.text.clone()), tests: Vec::new() },
            content: (false, true),
            unusable: None,
        });
        match found {
            Ok((test, content)) => {
                list.acl.tests.push(test);
                list.content = (list.content.0 | content, list.content.1 & content);
            }
            Err(problem) if problem.code == codes::REFUSED => {
                let message = format!("{}; rules that ask for `{}` are refused", problem.message, name.text);
                let warning = Diagnostic {
                    level: Level::Warning,
                    code: codes::NOT_ACTED_ON,
                    message,
                    ..*problem.clone()
                };
                reader.diagnostics.push(warning);
                list.unusable.get_or_insert(*problem);
            }
            Err(problem) => {
                list.unusable.get_or_insert(Diagnostic { message: String::new(), ..*problem.clone() });
                reader.diagnostics.push(*problem);
            }
        }
    }

    /// Reads what follows a rule: nothing, or `if` or `unless` and a condition. `None` if it cannot be used, which was
    /// reported.
    pub(super) fn condition(
        &self,
        words: &[Word],
        standing: Standing,
        names: &Names<'_, '_>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<Read> {
        let Some((first, mut words)) = words.split_first() else {
            return Some(Read { condition: None, content: false });
        };
        let unless = match first.text.as_str() {
            "if" => false,
            "unless" => true,
            other => {
                let message = format!("`{other}` cannot follow `{}` here", standing.rule);
                let hint = "a condition begins with `if` or `unless`";
                reader.diagnostics.push(
                    Diagnostic::error(codes::BAD_CONDITION, first.span, message)
                        .label("expected `if` or `unless`")
                        .hint(hint),
                );
                return None;
            }
        };
        let (mut any, mut content): (Vec<Vec<Term>>, bool) = (Vec::new(), false);
        let (mut negated, mut begins) = (false, true);
        while let Some((word, rest)) = words.split_first() {
            words = rest;
            if ["or", "||"].iter().any(|or| word.text.eq_ignore_ascii_case(or)) {
                (negated, begins) = (false, true);
                continue;
            }
            let bare = word.text.trim_start_matches('!');
            negated ^= (word.text.len() - bare.len()) % 2 == 1;
            if bare.is_empty() {
                continue;
            }
            let list = if bare == "{" {
                let Some(end) = words.iter().position(|word| word.text == "}") else {
                    let message = "this test does not end";
                    reader.diagnostics.push(
                        Diagnostic::error(codes::BAD_CONDITION, word.span, message)
                            .label("opened here")
                            .hint("close it with a `}` that stands alone"),
                    );
                    return None;
                };
                let (inside, after) = words.split_at(end);
                words = after.get(1..).unwrap_or_default();
                self.anonymous(word.span, inside, names, reader)?
            } else {
                self.named(bare, word, names, reader)?
            };
            warn_of_blindness(&list, word.span, standing, reader);
            content |= list.content.0;
            if std::mem::take(&mut begins) {
                any.push(Vec::new());
            }
            if let Some(terms) = any.last_mut() {
                terms.push(Term { negated: std::mem::take(&mut negated), acl: Arc::new(list.acl) });
            }
        }
        Some(Read { condition: Some(Condition { unless, any }), content })
    }

    fn anonymous(
        &self,
        span: Span,
        words: &[Word],
        names: &Names<'_, '_>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<List> {
        match read_test(span, words, names, reader) {
            Ok((test, content)) => {
                let acl = Acl { name: None, tests: vec![test] };
                Some(List { acl, content: (content, content), unusable: None })
            }
            Err(problem) => {
                reader.diagnostics.push(*problem);
                None
            }
        }
    }

    fn named(
        &self,
        name: &str,
        word: &Word,
        names: &Names<'_, '_>,
        reader: &mut Reader<'_, '_>,
    ) -> Option<List> {
        if let Some(list) = self.lists.get(name) {
            let Some(problem) = &list.unusable else { return Some(list.clone()) };
            // A mistake was reported where it was made.
            if !problem.message.is_empty() {
                let message = format!("mainstay cannot judge `{name}`: {}", problem.message);
                let mut diagnostic = Diagnostic::error(codes::REFUSED, word.span, message);
                if let Some(span) = problem.span {
                    diagnostic = diagnostic.related(span, "needed here");
                }
                reader.diagnostics.push(diagnostic);
            }
            return None;
        }
        if let Some(list) = predefined(name).or_else(|| method(name).filter(|_| names.http)) {
            return Some(list);
        }
        reader.diagnostics.push(if OTHER_PREDEFINED.contains(&name) {
            let message = format!("mainstay cannot judge `{name}`: it looks at no HTTP and no RDP");
            Diagnostic::error(codes::REFUSED, word.span, message)
        } else {
            let message = format!("there is no access list `{name}` above this line");
            let diagnostic = Diagnostic::error(codes::UNDEFINED_ACL, word.span, message);
            let known = self.lists.keys().map(String::as_str);
            match did_you_mean(name, known.chain(["TRUE", "FALSE", "LOCALHOST", "WAIT_END", "REQ_CONTENT"])) {
                _ if name.starts_with('{') => {
                    diagnostic.label("not defined").hint("braces stand alone: `{ src 192.0.2.1 }`")
                }
                _ if name.eq_ignore_ascii_case("and") => diagnostic
                    .label("not defined")
                    .hint("leave it out: what stands side by side holds together"),
                Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                None => diagnostic.label("not defined"),
            }
        });
        None
    }
}

/// Reads a sample and its patterns; whether it looks at what clients send.
fn read_test(
    span: Span,
    words: &[Word],
    names: &Names<'_, '_>,
    reader: &mut Reader<'_, '_>,
) -> Result<(Test, bool), Box<Diagnostic>> {
    let Some((first, rest)) = words.split_first() else {
        let message = "nothing says what to look at";
        let diagnostic = Diagnostic::error(codes::BAD_CONDITION, span, message);
        return Err(Box::new(diagnostic.label("a sample is missing").hint("such as `{ src 192.0.2.0/24 }`")));
    };
    let sample = sample::read(first, names)?;
    let usual = sample::method_of(first, names);
    let pattern = pattern::read(&sample, first, rest, usual, reader.surroundings, reader.diagnostics)?;
    let content = sample.is_content();
    Ok((Test { sample: sample.expression, pattern }, content))
}

fn warn_of_blindness(list: &List, span: Span, standing: Standing, reader: &mut Reader<'_, '_>) {
    if standing.sees_content || !list.content.1 || list.acl.tests.is_empty() {
        return;
    }
    let what = match &list.acl.name {
        Some(name) => format!("`{name}`"),
        None => "this test".to_owned(),
    };
    let message =
        format!("{what} never holds in `{}`: nothing the client sends is known then", standing.rule);
    reader.diagnostics.push(
        Diagnostic::warning(codes::NEVER_MATCHES, span, message)
            .label("looks at what the client sends")
            .hint("write `tcp-request content` with a `tcp-request inspect-delay`"),
    );
}

/// `METH_GET` and its like, where requests of HTTP can be looked at. As in HAProxy, `GET` is `HEAD` too.
fn method(name: &str) -> Option<List> {
    let method = name.strip_prefix("METH_").filter(|_| OTHER_PREDEFINED.contains(&name))?;
    let methods = if method == "GET" { &["GET", "HEAD"][..] } else { &[method] };
    let texts = methods.iter().map(|method| method.as_bytes().to_vec()).collect();
    let pattern = Pattern::Texts { how: TextMatch::Whole, ignore_case: false, texts };
    let acl = Acl {
        name: Some(name.to_owned()),
        tests: vec![Test { sample: Expression::plain(Fetch::Method), pattern }],
    };
    Some(List { acl, content: (true, true), unusable: None })
}

/// What HAProxy defines itself.
fn predefined(name: &str) -> Option<List> {
    let constant = |value| Expression::plain(Fetch::Constant(Constant::Boolean(value)));
    let (sample, pattern) = match name {
        "TRUE" => (constant(true), Pattern::Boolean),
        "FALSE" => (constant(false), Pattern::Boolean),
        "LOCALHOST" => {
            let network = AddressRange::V4([127, 0, 0, 1].into(), [255, 0, 0, 0].into());
            (Expression::plain(Fetch::Source), Pattern::Networks(vec![network]))
        }
        "REQ_CONTENT" => {
            let some = Range { from: Some(1), to: None };
            (Expression::plain(Fetch::Length), Pattern::Integers(vec![some]))
        }
        "WAIT_END" => (Expression::plain(Fetch::WaitEnd), Pattern::Boolean),
        _ => return None,
    };
    let content = name == "REQ_CONTENT";
    let acl = Acl { name: Some(name.to_owned()), tests: vec![Test { sample, pattern }] };
    Some(List { acl, content: (content, content), unusable: None })
}
