//! Lines that start with a dot: `.if`, `.elif`, `.else`, `.endif`, and what the file has to say.
//!
//! mainstay answers as HAProxy 2.6 on Linux does, whose language it reads.

use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::haproxy::codes;
use crate::config::haproxy::tree::Word;
use crate::config::source::Span;
use crate::limits;

/// The version whose language is read.
const VERSION: (u32, u32) = (2, 6);

/// Build options that files ask for, and that change nothing that mainstay acts on.
const FEATURES: [&str; 8] =
    ["EPOLL", "GETADDRINFO", "LINUX_SPLICE", "NETFILTER", "NS", "OPENSSL", "POLL", "THREAD"];

/// Techniques that are in use.
const ENABLED: [&str; 5] = ["EPOLL", "GETADDRINFO", "POLL", "REUSEPORT", "SPLICE"];

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
        let mut judge = || {
            evaluate(&text, variable).unwrap_or_else(|problem| {
                diagnostics.push(error(span, problem));
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
            ".notice" | ".diag" | ".warning" | ".alert" if self.holds() => {
                diagnostics.push(said(&keyword.text, span, &text));
            }
            ".notice" | ".diag" | ".warning" | ".alert" => {}
            other => diagnostics.push(error(span, format!("`{other}` is not understood"))),
        }
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
        .hint("conditions are made of defined(), streq(), strneq(), feature(), enabled(), version_atleast(), version_before(), !, &&, || and parentheses")
}

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
        if let Ok(number) = name.parse::<i64>() {
            self.rest = after;
            return Ok(number != 0);
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
        let mut arguments = inside.split(',');
        let (first, second) = (arguments.next().unwrap_or_default(), arguments.next());
        match (name, second) {
            ("defined", None) => Ok((self.variable)(first).is_some()),
            ("feature", None) => Ok(FEATURES.contains(&first)),
            ("enabled", None) => Ok(ENABLED.contains(&first)),
            ("streq", second) => Ok(first == second.unwrap_or_default()),
            ("strneq", second) => Ok(first != second.unwrap_or_default()),
            ("version_atleast", None) => version(first).map(|version| VERSION >= version),
            ("version_before", None) => version(first).map(|version| VERSION < version),
            _ => Err(format!("`{name}({inside})` is not understood")),
        }
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

/// Major and minor of `2.6-dev3` or `2.6.12`.
fn version(text: &str) -> Result<(u32, u32), String> {
    let mut parts = text.split(['.', '-']).map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Ok((major, minor)),
        _ => Err(format!("`{text}` is no version")),
    }
}

#[cfg(test)]
mod tests {
    use super::evaluate;

    #[test]
    fn conditions_are_judged_as_haproxy_does() {
        let variable = |name: &str| (name == "HOME").then(|| "/root".to_owned());
        let judge = |text| evaluate(text, &variable);
        for text in [
            "1",
            "defined(HOME)",
            "!defined(X) && streq(a,a)",
            "0 || version_atleast(2.4)",
            "!(0 || 0)",
            "version_before(3.0)",
        ] {
            assert_eq!(judge(text), Ok(true), "{text}");
        }
        for text in ["", "0", "defined(X)", "strneq(a,a)", "feature(QUIC)", "1 && 0", "streq(a)"] {
            assert_eq!(judge(text), Ok(false), "{text}");
        }
        for text in ["foo", "foo(1)", "(1", "1 1", "defined(HOME", "version_atleast(x)"] {
            assert!(judge(text).is_err(), "{text}");
        }
    }
}
