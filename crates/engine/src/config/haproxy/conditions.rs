//! Lines that start with a dot: `.if`, `.elif`, `.else`, `.endif`, and what the file has to say.
//!
//! mainstay answers as HAProxy 2.6.12 on Linux does, whose language it reads. Predicates that came later are understood,
//! so that a file for a newer HAProxy is read, and judged as by 2.6.

use crate::config::diagnostic::{Diagnostic, Level, did_you_mean};
use crate::config::haproxy::codes;
use crate::config::haproxy::tree::Word;
use crate::config::source::Span;
use crate::limits;

/// The version whose language is read.
const VERSION: Version = [2, 6, 12, 0];

/// The version of OpenSSL that Debian's HAProxy 2.6 comes with. mainstay has none, and files ask because they want to
/// know which keywords of TLS there are.
const OPENSSL_VERSION: Version = [3, 0, 0, 0];

/// Build options that files ask for, and that change nothing that mainstay acts on.
const FEATURES: [&str; 8] =
    ["EPOLL", "GETADDRINFO", "LINUX_SPLICE", "NETFILTER", "NS", "OPENSSL", "POLL", "THREAD"];

/// Techniques that are in use.
const ENABLED: [&str; 5] = ["EPOLL", "GETADDRINFO", "POLL", "REUSEPORT", "SPLICE"];

/// Major, minor, patch, and commits since then; a `-dev` before the patch makes that negative.
type Version = [i64; 4];

/// The `.if` lines that are open.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    span: Span,
    /// Whether the lines now are read.
    holds: bool,
    /// Whether some branch was taken already, or none may be because the block around is skipped.
    done: bool,
    /// Whether `.else` came.
    last: bool,
}

impl Conditions {
    /// Whether the next line is read.
    pub(super) fn holds(&self) -> bool {
        self.open.last().is_none_or(|open| open.holds)
    }

    /// Takes a line that starts with a dot.
    pub(super) fn handle(
        &mut self,
        words: &[Word],
        variable: &dyn Fn(&str) -> Option<String>,
        diagnostics: &mut Vec<Diagnostic>,
    ) {
        let Some((keyword, rest)) = words.split_first() else { return };
        let text = rest.iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ");
        let span = Span { end: words.last().map_or(keyword.span.end, |word| word.span.end), ..keyword.span };
        if !self.accepts(keyword, rest, diagnostics) {
            return;
        }
        let mut judge = || {
            evaluate(&text, variable).unwrap_or_else(|problem| {
                diagnostics.push(unclear(span, problem));
                false
            })
        };
        match keyword.text.as_str() {
            ".if" if self.open.len() >= limits::CONFIG_NESTING => {
                diagnostics.push(
                    Diagnostic::error(codes::TOO_MANY, span, "conditions are nested too deep")
                        .label(format!("more than {} levels", limits::CONFIG_NESTING)),
                );
            }
            ".if" => {
                let outer = self.holds();
                let holds = outer && judge();
                self.open.push(Open { span, holds, done: holds || !outer, last: false });
            }
            ".elif" | ".else" => match self.open.last_mut().filter(|open| !open.last) {
                Some(open) => {
                    open.last = keyword.text == ".else";
                    open.holds = !open.done && (open.last || judge());
                    open.done |= open.holds;
                }
                None => {
                    diagnostics.push(error(span, format!("there is no `.if` for this `{}`", keyword.text)));
                }
            },
            ".endif" => {
                if self.open.pop().is_none() {
                    diagnostics.push(error(span, "there is no `.if` for this `.endif`".to_owned()));
                }
            }
            _ if !self.holds() => {}
            ".notice" | ".diag" | ".warning" | ".alert" => {
                diagnostics.push(said(&keyword.text, span, &text));
            }
            other => diagnostics.push(unknown(other, span)),
        }
    }

    /// Whether so many words may follow this keyword; which one may not is reported.
    fn accepts(&self, keyword: &Word, rest: &[Word], diagnostics: &mut Vec<Diagnostic>) -> bool {
        let (most, hint) = match keyword.text.as_str() {
            ".else" | ".endif" => (0, "conditions stand behind `.if` and `.elif`"),
            ".notice" | ".diag" | ".warning" | ".alert" if self.holds() => (1, "put the text in quotes"),
            _ => return true,
        };
        let Some(extra) = rest.get(most) else { return true };
        let message = format!("`{}` does not take `{}`", keyword.text, extra.text);
        diagnostics.push(
            Diagnostic::error(codes::VALUE_COUNT, extra.span, message).label("one too many").hint(hint),
        );
        false
    }

    /// The file ends.
    pub(super) fn finish(self, diagnostics: &mut Vec<Diagnostic>) {
        for open in self.open {
            diagnostics.push(error(open.span, "this `.if` has no `.endif`".to_owned()));
        }
    }
}

fn error(span: Span, message: String) -> Diagnostic {
    Diagnostic::error(codes::CONDITION, span, message)
}

fn unclear(span: Span, problem: String) -> Diagnostic {
    let names = PREDICATES.map(|(name, _)| format!("{name}()")).join(", ");
    error(span, problem).hint(format!("conditions are made of numbers, {names}, !, &&, || and parentheses"))
}

fn unknown(keyword: &str, span: Span) -> Diagnostic {
    let message = format!("`{keyword}` is not understood");
    let diagnostic = Diagnostic::error(codes::CONDITION, span, message);
    match did_you_mean(keyword, KEYWORDS) {
        Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
        None => diagnostic
            .hint(format!("after a dot come {}", KEYWORDS.map(|word| format!("`{word}`")).join(", "))),
    }
}

/// The words that start with a dot.
const KEYWORDS: [&str; 8] = [".if", ".elif", ".else", ".endif", ".notice", ".warning", ".alert", ".diag"];

/// Every predicate, and how many arguments it takes.
const PREDICATES: [(&str, usize); 13] = [
    ("defined", 1),
    ("streq", 2),
    ("strneq", 2),
    ("strstr", 2),
    ("feature", 1),
    ("enabled", 1),
    ("version_atleast", 1),
    ("version_before", 1),
    ("openssl_version_atleast", 1),
    ("openssl_version_before", 1),
    ("ssllib_name_startswith", 1),
    ("awslc_api_atleast", 1),
    ("awslc_api_before", 1),
];

fn said(keyword: &str, span: Span, text: &str) -> Diagnostic {
    let level = match keyword {
        ".alert" => Level::Error,
        ".warning" => Level::Warning,
        _ => Level::Note,
    };
    Diagnostic {
        span: Some(span),
        ..Diagnostic::nowhere(level, codes::SAID_BY_FILE, format!("the file says: {text}"))
    }
}

/// The value of a condition; nothing is no.
fn evaluate(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Result<bool, String> {
    if text.trim().is_empty() {
        return Ok(false);
    }
    let mut parser = Parser { rest: text, depth: 0, variable };
    let value = parser.any()?;
    match parser.rest.trim_start() {
        "" => Ok(value),
        rest => Err(format!("`{rest}` is one too many in this condition")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
    variable: &'a dyn Fn(&str) -> Option<String>,
}

impl<'a> Parser<'a> {
    fn any(&mut self) -> Result<bool, String> {
        let mut value = self.all()?;
        while self.take("||") {
            let other = self.all()?;
            value |= other;
        }
        Ok(value)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut value = self.one()?;
        while self.take("&&") {
            let other = self.one()?;
            value &= other;
        }
        Ok(value)
    }

    fn one(&mut self) -> Result<bool, String> {
        let mut negated = false;
        while self.take("!") {
            negated = !negated;
        }
        self.depth += 1;
        if self.depth > limits::CONFIG_NESTING {
            return Err("parentheses are nested too deep".to_owned());
        }
        let value = if self.take("(") {
            let value = self.any()?;
            if !self.take(")") {
                return Err("a `)` is missing".to_owned());
            }
            value
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(value != negated)
    }

    /// A number, or a predicate and what stands in its parentheses.
    fn term(&mut self) -> Result<bool, String> {
        let rest = self.rest.trim_start();
        let length = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(length);
        if let Some((number, after)) = number(rest) {
            self.rest = after;
            return Ok(number);
        }
        let Some((inside, after)) = after.strip_prefix('(').and_then(|after| after.split_once(')')) else {
            return Err(match rest {
                "" => "something is missing at the end of this condition".to_owned(),
                _ => format!("`{rest}` is no condition"),
            });
        };
        self.rest = after;
        self.predicate(name, inside)
    }

    fn predicate(&self, name: &str, inside: &str) -> Result<bool, String> {
        let Some((_, count)) = PREDICATES.iter().find(|(known, _)| *known == name) else {
            let meant = did_you_mean(name, PREDICATES.map(|(known, _)| known));
            let meant = meant.map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"));
            return Err(format!("there is no condition `{name}`{meant}"));
        };
        let arguments: Vec<&str> = inside.split(',').collect();
        if arguments.len() != *count {
            let expected = if *count == 1 { "one argument" } else { "two arguments" };
            return Err(format!("`{name}` takes {expected}, not {}", arguments.len()));
        }
        let first = arguments.first().copied().unwrap_or_default();
        let second = arguments.get(1).copied().unwrap_or_default();
        Ok(match name {
            "defined" => (self.variable)(first).is_some(),
            "feature" => FEATURES.contains(&first),
            "enabled" => ENABLED.contains(&first),
            "streq" => first == second,
            "strneq" => first != second,
            "strstr" => first.contains(second),
            "version_atleast" => VERSION >= version(first),
            "version_before" => VERSION < version(first),
            "openssl_version_atleast" => OPENSSL_VERSION >= version(first),
            "openssl_version_before" => OPENSSL_VERSION < version(first),
            "ssllib_name_startswith" => "OpenSSL".starts_with(first),
            // Debian's HAProxy comes without AWS-LC.
            _ => false,
        })
    }

    fn take(&mut self, token: &str) -> bool {
        match self.rest.trim_start().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }
}

/// The number that a text starts with, and whether it is not zero, as C reads it.
fn number(text: &str) -> Option<(bool, &str)> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (digits, base) = digits.strip_prefix("0x").map_or((digits, 10), |digits| (digits, 16));
    let length = digits.find(|c: char| !c.is_digit(base)).unwrap_or(digits.len());
    let (number, rest) = digits.split_at(length);
    (length > 0).then(|| (number.chars().any(|digit| digit != '0'), rest))
}

/// `2.6`, `2.6.12`, `2.6-dev3` or `2.6.12-7`. As in HAProxy, what is no number counts as 0.
fn version(text: &str) -> Version {
    let (numbers, after) = text.split_once('-').unwrap_or((text, ""));
    let number = |text: Option<&str>| {
        let text = text.unwrap_or_default();
        let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        text.get(..length).and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    let mut parts = numbers.split('.');
    let (major, minor) = (number(parts.next()), number(parts.next()));
    match after.strip_prefix("dev") {
        Some(build) => [major, minor, number(Some(build)) - DEVELOPMENT, 0],
        None => [major, minor, number(parts.next()), number(Some(after))],
    }
}

/// Puts every `-dev` before the release.
const DEVELOPMENT: i64 = 1 << 40;

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn conditions_are_judged_as_haproxy_does() {
        let variable = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let judge = |text| evaluate(text, &variable);
        for text in [
            "1",
            "-1",
            "0x10",
            "9999999999999999999999",
            "!!1",
            "defined(HOME)",
            "!defined(X) && streq(a,a)",
            "0 || version_atleast(2.4)",
            "!(0 || 0)",
            "(1&&0)||1",
            "version_before(3.0)",
            "version_atleast(2.6.12)",
            "version_atleast(2.6-dev3)",
            "version_atleast(2)",
            "version_before(2.6.12-1)",
            "version_atleast(x)",
            "openssl_version_atleast(1.1.1)",
            "ssllib_name_startswith(OpenSSL)",
            "strstr(abc,bc)",
            "feature(OPENSSL)",
        ] {
            assert_eq!(judge(text), Ok(true), "{text}");
        }
        for text in [
            "",
            "0",
            "0x0",
            "defined(X)",
            "defined()",
            "strneq(a,a)",
            "streq(a, a)",
            "feature(QUIC)",
            "1 && 0",
            "version_atleast(2.6.13)",
            "version_before(2.6-dev3)",
            "openssl_version_before(3.0.0)",
            "awslc_api_atleast(1)",
        ] {
            assert_eq!(judge(text), Ok(false), "{text}");
        }
        for text in [
            "foo",
            "foo(1)",
            "(1",
            "1 1",
            "1 &&",
            "1&&",
            "0 && foo",
            "1 || foo(",
            "defined(HOME",
            "defined(HOME,PATH)",
            "streq(a)",
            "streq(a,b,c)",
            "feture(OPENSSL)",
        ] {
            assert!(judge(text).is_err(), "{text}");
        }
    }
}
