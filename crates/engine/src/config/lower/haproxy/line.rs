//! One line of a section, or one parameter of a line, held against the table of keywords.
//!
//! Owns [`Line`]: unknown keywords, keywords without effect or in the wrong section, missing values and values out of
//! range are reported here and nowhere else, so that what it hands out is what the table promises.

use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::keywords::{self, Keyword, Place, Treatment, Values};
use crate::config::haproxy::{Kind, Prefix, Statement, Word, codes};
use crate::config::lower::haproxy::value::{TimeProblem, time};
use crate::config::source::Span;

/// A keyword that mainstay acts on, and its values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The keyword's name, as the table has it.
    pub(super) name: &'static str,
    /// What stands before it.
    pub(super) prefix: Prefix,
    /// What follows it.
    pub(super) values: &'a [Word],
    /// Where the keyword stands.
    pub(super) span: Span,
}

impl Line<'_> {
    /// Its value as a whole number.
    pub(super) fn number<T: TryFrom<i64>>(&self) -> Option<T> {
        T::try_from(self.values.first()?.text.parse::<i64>().ok()?).ok()
    }

    /// Its value as a time.
    pub(super) fn time(&self) -> Option<Duration> {
        time(&self.values.first()?.text).ok().map(|(time, _)| time)
    }

    /// From the keyword to the last value.
    pub(super) fn whole(&self) -> Span {
        Span { end: self.values.last().map_or(self.span.end, |word| word.span.end), ..self.span }
    }

    /// Whether all of it is known.
    pub(super) fn filled(&self) -> bool {
        self.values.iter().all(|word| word.filled)
    }

    /// Reports its first value.
    pub(super) fn bad_value(&self, expected: &str, diagnostics: &mut Vec<Diagnostic>) {
        let Some(word) = self.values.first() else { return };
        diagnostics.push(bad_value(word, expected));
    }
}

/// A value that is not what its keyword takes.
pub(super) fn bad_value(word: &Word, expected: &str) -> Diagnostic {
    Diagnostic::error(codes::BAD_VALUE, word.span, format!("{expected}, not `{}`", word.text))
}

/// A value that is missing.
pub(super) fn missing(span: Span, message: String) -> Diagnostic {
    Diagnostic::error(codes::VALUE_COUNT, span, message).label("a value is missing")
}

/// The line that `statement` is, if mainstay acts on it; whatever else it is, is reported.
pub(super) fn recognise<'a>(
    place: Place,
    kind: Kind,
    statement: &'a Statement,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Line<'a>> {
    let (keyword, line) = understand(place, kind, statement, diagnostics)?;
    treat(keyword.treatment, &line, diagnostics).then_some(line)
}

/// The keyword and line that `statement` is, whatever mainstay does with it; what is wrong with it is reported.
pub(super) fn understand<'a>(
    place: Place,
    kind: Kind,
    statement: &'a Statement,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(&'static Keyword, Line<'a>)> {
    let texts: Vec<&str> = statement.words.iter().map(|word| word.text.as_str()).collect();
    let first = statement.words.first()?;
    if !first.filled {
        return None;
    }
    let Some((keyword, name, length)) = keywords::find(place, &texts) else {
        diagnostics.push(unknown(place, &statement.words));
        return None;
    };
    let last = statement.words.get(length - 1)?;
    let span = Span { end: last.span.end, ..first.span };
    let values = statement.words.get(length..)?;
    let line = Line { name, prefix: statement.prefix, values, span };
    let negated = statement.prefix != Prefix::None;
    if negated && !can_be_negated(name, statement.prefix) {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_VALUE,
                span,
                format!("`{name}` cannot stand after `no` or `default`"),
            )
            .hint("only `log` and options that can be switched off can"),
        );
        return None;
    }
    if let (true, "log", Some(extra)) = (negated, name, values.first()) {
        let message = format!("`no log` does not take `{}`", extra.text);
        diagnostics.push(
            Diagnostic::error(codes::VALUE_COUNT, extra.span, message)
                .label("one too many")
                .hint("`no log` takes back all logs at once"),
        );
        return None;
    }
    let fits = belongs(keyword.place, kind, &line, diagnostics)
        && (negated || check_values(keyword.values, &line, diagnostics));
    fits.then_some((keyword, line))
}

/// Reports what nobody knows among the parameters of a line that is passed over.
pub(super) fn check_parameters(place: Place, mut words: &[Word], diagnostics: &mut Vec<Diagnostic>) {
    while let Some(first) = words.first().filter(|word| word.filled) {
        let found = keywords::find(place, &[first.text.as_str()]);
        if found.is_none() {
            diagnostics.push(unknown(place, words));
        }
        let values = found.is_some_and(|(keyword, ..)| keyword.values != Values::Nothing);
        words = words.get(1 + usize::from(values)..).unwrap_or_default();
    }
}

/// The parameter that `words` start with, if mainstay acts on it, and how many words it has; whatever else it is, is
/// reported.
pub(super) fn recognise_parameter<'a>(
    place: Place,
    words: &'a [Word],
    diagnostics: &mut Vec<Diagnostic>,
) -> (Option<Line<'a>>, usize) {
    let Some(first) = words.first() else { return (None, 1) };
    if !first.filled {
        return (None, 1);
    }
    let Some((keyword, name, _)) = keywords::find(place, &[first.text.as_str()]) else {
        diagnostics.push(unknown(place, words));
        return (None, 1);
    };
    let count = usize::from(keyword.values != Values::Nothing);
    let values = words.get(1..).unwrap_or_default();
    let values = values.get(..count.min(values.len())).unwrap_or_default();
    let line = Line { name, prefix: Prefix::None, values, span: first.span };
    let fits = check_values(keyword.values, &line, diagnostics);
    let acted_on = fits && treat(keyword.treatment, &line, diagnostics);
    (acted_on.then_some(line), 1 + count)
}

fn unknown(place: Place, words: &[Word]) -> Diagnostic {
    let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
    let family = texts.first().is_some_and(|first| keywords::is_family(place, first));
    let span = words.iter().take(if family { 2 } else { 1 }).map(|word| word.span);
    let span = span.reduce(|first, last| Span { end: last.end, ..first });
    let shown = texts.iter().take(if family { 2 } else { 1 }).copied().collect::<Vec<_>>().join(" ");
    let message = match place {
        Place::Section(name) => format!("unknown keyword `{shown}` in section `{name}`"),
        _ => format!("unknown keyword `{shown}` in {}", place.name()),
    };
    let diagnostic = Diagnostic {
        span,
        ..Diagnostic::nowhere(crate::config::diagnostic::Level::Error, codes::UNKNOWN_KEYWORD, message)
    };
    let elsewhere = keywords::elsewhere(place, &texts);
    match (keywords::suggest(place, &texts), elsewhere) {
        (_, Some(other)) if !family => {
            diagnostic.label("not a keyword here").hint(format!("it belongs in {}", other.name()))
        }
        (Some(meant), _) => diagnostic.label("not a keyword").hint(format!("did you mean `{meant}`?")),
        _ => diagnostic.label("not a keyword"),
    }
}

/// Options that HAProxy has no `no` for; `option redispatch` and its like have one.
const ALWAYS_ON: [&str; 18] = [
    "option tcp-check",
    "option httpchk",
    "option ssl-hello-chk",
    "option ldap-check",
    "option mysql-check",
    "option pgsql-check",
    "option redis-check",
    "option smtpchk",
    "option spop-check",
    "option external-check",
    "option forwardfor",
    "option originalto",
    "option tcplog",
    "option httplog",
    "option httpslog",
    "option tcpka",
    "option http-restrict-req-hdr-names",
    "option http-use-htx",
];

fn can_be_negated(name: &str, prefix: Prefix) -> bool {
    if name == "log" {
        return prefix == Prefix::No;
    }
    let others =
        ["busy-polling", "set-dumpable", "strict-limits", "insecure-fork-wanted", "numa-cpu-mapping"];
    others.contains(&name) || (name.starts_with("option ") && !ALWAYS_ON.contains(&name))
}

/// Whether the keyword does something in this kind of section.
fn belongs(place: Place, kind: Kind, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Place::Proxy(sections) = place else { return true };
    let (here, section) = match kind {
        Kind::Global | Kind::Listen | Kind::Other => (true, "listen"),
        Kind::Defaults => (sections.defaults, "defaults"),
        Kind::Frontend => (sections.front, "frontend"),
        Kind::Backend => (sections.back, "backend"),
    };
    if here {
        return true;
    }
    let name = line.name;
    let hint = format!("it belongs in {}", place.name());
    let of_frontends = ["tcp-request connection", "tcp-request session"].contains(&name);
    diagnostics.push(if kind == Kind::Defaults || name == "server" || of_frontends {
        let message = format!("`{name}` cannot stand in `{section}`");
        Diagnostic::error(codes::NOT_ALLOWED_HERE, line.span, message).hint(hint)
    } else {
        let message = format!("`{name}` does nothing in `{section}`, as in HAProxy");
        Diagnostic::warning(codes::IGNORED_HERE, line.span, message).hint(hint)
    });
    false
}

/// Says what mainstay does with a keyword; whether it acts on it.
fn treat(treatment: Treatment, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Line { name, span, .. } = *line;
    if line.prefix != Prefix::None && treatment != Treatment::ActedOn {
        return false;
    }
    diagnostics.push(match treatment {
        Treatment::ActedOn => return true,
        Treatment::NoEffect(reason) => {
            Diagnostic::note(codes::NO_EFFECT, span, format!("`{name}` has no effect: {reason}"))
        }
        Treatment::NotYet(consequence) => Diagnostic::warning(
            codes::NOT_ACTED_ON,
            span,
            format!("mainstay does not act on `{name}` yet: {consequence}"),
        ),
        Treatment::Refused(reason) => Diagnostic::error(
            if reason.starts_with("HAProxy gave it up") { codes::OBSOLETE } else { codes::REFUSED },
            span,
            format!("mainstay cannot do what `{name}` asks for: {reason}"),
        ),
    });
    false
}

/// Reports what is wrong with the values of a line; whether nothing is.
fn check_values(values: Values, line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let name = line.name;
    let (least, most) = match values {
        Values::Anything => return true,
        Values::Nothing => (0, 0),
        Values::Integer(..) | Values::Time | Values::Word => (1, 1),
        Values::Words(least, most) => (least, most),
    };
    if let Some(extra) = line.values.get(most) {
        diagnostics.push(
            Diagnostic::error(
                codes::VALUE_COUNT,
                extra.span,
                format!("`{name}` does not take `{}`", extra.text),
            )
            .label("one too many")
            .hint("each keyword stands on a line of its own"),
        );
        return false;
    }
    if line.values.len() < least {
        let message = format!("`{name}` needs {}", if least == 1 { "a value" } else { "more values" });
        diagnostics.push(missing(line.span, message));
        return false;
    }
    line.filled() && line.values.first().is_none_or(|value| check_value(values, name, value, diagnostics))
}

fn check_value(values: Values, name: &str, value: &Word, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let text = value.text.as_str();
    diagnostics.push(match values {
        Values::Integer(low, high) => match text.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => return true,
            Ok(_) => {
                let message = format!("`{name}` must be from {low} to {high}, not `{text}`");
                Diagnostic::error(codes::OUT_OF_RANGE, value.span, message)
            }
            Err(_) => bad_value(value, &format!("`{name}` takes a whole number")),
        },
        Values::Time => match time(text) {
            Ok((_, "")) => return true,
            Ok((_, rest)) => {
                let meant = text.strip_suffix(rest).unwrap_or(text);
                let message = format!("`{text}` is read as `{meant}`, as in HAProxy");
                diagnostics.push(
                    Diagnostic::warning(codes::BAD_VALUE, value.span, message)
                        .hint("the units are us, ms, s, m, h and d"),
                );
                return true;
            }
            Err(TimeProblem::Unreadable) => {
                bad_value(value, &format!("`{name}` takes a time, such as 500ms, 5s or 1m"))
            }
            Err(TimeProblem::TooLong) => {
                let message =
                    format!("`{name}` must be at most 2147483647 ms, about 24.8 days, not `{text}`");
                Diagnostic::error(codes::OUT_OF_RANGE, value.span, message)
            }
        },
        Values::Word if text.is_empty() => bad_value(value, &format!("`{name}` takes a value")),
        _ => return true,
    });
    false
}
