//! `tcp-check expect` and `http-check expect` lines.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::check::bytes::{is_format, of_digits, regex};
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::plan::{CheckStatus, Expect, Expected, HeaderPattern, StatusRanges, TextPattern, Told};

/// A line that is being read.
struct ExpectLine<'a> {
    http: bool,
    words: std::slice::Iter<'a, Word>,
    pattern: Option<Expected>,
    rest: Expect,
    comment: Option<String>,
}

/// Reads a line; the other value is its comment. Nothing comes back where something is wrong, which is reported.
pub(super) fn read(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<(Expect, Option<String>)> {
    let mut reader = ExpectLine {
        http: line.name.starts_with("http"),
        words: line.values.iter(),
        pattern: None,
        rest: Expect::new(Expected::Text(Vec::new())),
        comment: None,
    };
    while let Some(word) = reader.words.next() {
        if let Err(diagnostic) = reader.take(word, diagnostics) {
            if word.filled {
                diagnostics.push(*diagnostic);
            }
            return None;
        }
    }
    let Some(pattern) = reader.pattern else {
        diagnostics.push(missing(line.span, format!("`{}` needs what to look for", line.name)));
        return None;
    };
    Some((Expect { pattern, ..reader.rest }, reader.comment))
}

type Problem = Box<Diagnostic>;

impl<'a> ExpectLine<'a> {
    fn take(&mut self, word: &'a Word, diagnostics: &mut Vec<Diagnostic>) -> Result<(), Problem> {
        let bare = word.text.trim_start_matches('!');
        let marks = word.text.len() - bare.len();
        self.rest.negated ^= marks % 2 == 1;
        if bare.is_empty() {
            return match self.words.clone().next() {
                Some(next) if !is_pattern(next.text.trim_start_matches('!')) => {
                    Err(Box::new(bad_value(next, "`!` stands before what to look for")))
                }
                _ => Ok(()),
            };
        }
        if marks > 0 && !is_pattern(bare) {
            return Err(Box::new(bad_value(word, "`!` stands before what to look for")));
        }
        if is_pattern(bare) {
            return self.set_pattern(word, bare, diagnostics);
        }
        let known = [
            "min-recv",
            "comment",
            "on-success",
            "on-error",
            "ok-status",
            "error-status",
            "tout-status",
            "status-code",
        ];
        if !known.contains(&bare) {
            return Err(Box::new(bad_value(word, &self.expected())));
        }
        let value = self.value(word)?;
        let text = || value.text.clone();
        match bare {
            "min-recv" => match value.text.parse::<i32>() {
                Ok(-1) => self.rest.min_recv = None,
                Ok(count) if count >= 0 => self.rest.min_recv = usize::try_from(count).ok(),
                _ => return Err(Box::new(bad_value(value, "`min-recv` takes -1 or a number of bytes"))),
            },
            "comment" => self.comment = Some(text()),
            "on-success" => self.rest.on_success = plain(value, diagnostics),
            "on-error" => self.rest.on_error = plain(value, diagnostics).map(Told::Text),
            "ok-status" => self.rest.ok = Some(status(value, &OK)?),
            "error-status" => self.rest.error = Some(status(value, &ERROR)?),
            "tout-status" => self.rest.timeout = Some(status(value, &TIMEOUT)?),
            _ => diagnostics.push(Diagnostic::warning(
                codes::NOT_ACTED_ON,
                word.span,
                "mainstay does not act on `status-code` yet: no code is taken out of the answer",
            )),
        }
        Ok(())
    }

    fn expected(&self) -> String {
        match self.http {
            true => "`http-check expect` takes status, rstatus, string, rstring, hdr or fhdr".to_owned(),
            false => "`tcp-check expect` takes string, rstring, binary or rbinary".to_owned(),
        }
    }

    fn value(&mut self, word: &Word) -> Result<&'a Word, Problem> {
        let needs = || Box::new(missing(word.span, format!("`{}` needs a value", word.text)));
        self.words.next().filter(|value| !value.text.is_empty() || !value.filled).ok_or_else(needs)
    }

    fn set_pattern(
        &mut self,
        word: &Word,
        name: &str,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Result<(), Problem> {
        let of_http = ["status", "rstatus", "hdr", "fhdr"].contains(&name);
        let of_bytes = ["binary", "rbinary", "binary-lf"].contains(&name);
        if (of_http && !self.http) || (of_bytes && self.http) {
            return Err(Box::new(bad_value(word, &self.expected())));
        }
        if self.pattern.is_some() {
            return Err(Box::new(bad_value(word, "an answer is held against one pattern")));
        }
        if name == "hdr" || name == "fhdr" {
            let header = self.header(word, name == "fhdr")?;
            self.pattern = Some(Expected::Header(header));
            return Ok(());
        }
        let value = self.value(word)?;
        let bytes = || value.text.clone().into_bytes();
        self.pattern = Some(match (name, self.http) {
            ("string" | "string-lf", false) => Expected::Text(bytes()),
            ("string" | "string-lf", true) => Expected::Body(bytes()),
            ("rstring", false) => Expected::TextRegex(regex(value)?),
            ("rstring", true) => Expected::BodyRegex(regex(value)?),
            ("rbinary", _) => Expected::BinaryRegex(regex(value)?),
            ("rstatus", _) => Expected::StatusRegex(regex(value)?),
            ("status", _) => Expected::Status(statuses(value)?),
            _ => Expected::Binary(of_digits(value)?),
        });
        if name.ends_with("-lf") && is_format(value) {
            diagnostics.push(
                Diagnostic::error(codes::REFUSED, value.span, "a check cannot compare with what changes")
                    .label("depends on the moment"),
            );
        }
        Ok(())
    }

    /// `name [-m METHOD] NAME [value [-m METHOD] VALUE]`.
    fn header(&mut self, word: &Word, whole: bool) -> Result<HeaderPattern, Problem> {
        let first = self.value(word)?;
        if !["name", "name-lf"].contains(&first.text.as_str()) {
            return Err(Box::new(bad_value(first, "a header is looked for by `name`")));
        }
        let name = self.text_pattern(first, true)?;
        let next =
            self.words.clone().next().filter(|next| ["value", "value-lf"].contains(&next.text.as_str()));
        let value = match next {
            Some(next) => {
                self.words.next();
                Some(self.text_pattern(next, false)?)
            }
            None => None,
        };
        Ok(HeaderPattern { name, value, whole })
    }

    fn text_pattern(&mut self, word: &Word, caseless: bool) -> Result<TextPattern, Problem> {
        let mut value = self.value(word)?;
        let mut method = "str";
        if value.text == "-m" {
            let named = self.value(value)?;
            method = named.text.as_str();
            value = self.value(named)?;
            if !["str", "beg", "end", "sub", "reg"].contains(&method) {
                return Err(Box::new(bad_value(named, "`-m` takes str, beg, end, sub or reg")));
            }
        }
        if word.text.ends_with("-lf") && is_format(value) {
            let message = "a check cannot compare with what changes";
            return Err(Box::new(Diagnostic::error(codes::REFUSED, value.span, message)));
        }
        // Names of headers have no case.
        let text = if caseless { value.text.to_ascii_lowercase() } else { value.text.clone() };
        Ok(match method {
            "beg" => TextPattern::Begins(text),
            "end" => TextPattern::Ends(text),
            "sub" => TextPattern::Has(text),
            "reg" => TextPattern::Matches(regex(value)?),
            _ => TextPattern::Is(text),
        })
    }
}

fn is_pattern(name: &str) -> bool {
    let known = [
        "string",
        "rstring",
        "string-lf",
        "binary",
        "rbinary",
        "binary-lf",
        "status",
        "rstatus",
        "hdr",
        "fhdr",
    ];
    known.contains(&name)
}

const OK: [CheckStatus; 4] = [CheckStatus::L7Ok, CheckStatus::L7Okc, CheckStatus::L6Ok, CheckStatus::L4Ok];
const ERROR: [CheckStatus; 5] =
    [CheckStatus::L7Okc, CheckStatus::L7Rsp, CheckStatus::L7Sts, CheckStatus::L6Rsp, CheckStatus::L4Con];
const TIMEOUT: [CheckStatus; 3] = [CheckStatus::L7Tout, CheckStatus::L6Tout, CheckStatus::L4Tout];

fn status(word: &Word, known: &[CheckStatus]) -> Result<CheckStatus, Problem> {
    let found = known.iter().find(|status| status.name().eq_ignore_ascii_case(&word.text));
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|status| status.name()).collect();
        Box::new(bad_value(word, &format!("one of {} is expected", names.join(", "))))
    })
}

/// A message for people; one that depends on the answer is not shown.
fn plain(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<String> {
    if is_format(word) {
        diagnostics.push(Diagnostic::warning(
            codes::NOT_ACTED_ON,
            word.span,
            "mainstay does not act on variables in messages of checks yet: the usual words are shown",
        ));
        return None;
    }
    Some(word.text.clone())
}

/// `200`, `200-299` or several of them, separated by commas.
fn statuses(word: &Word) -> Result<StatusRanges, Problem> {
    let status = |text: &str| text.parse::<u16>().ok();
    let range = |text: &str| match text.split_once('-') {
        Some((low, high)) => Some((status(low)?, status(high)?)),
        None => Some((status(text)?, status(text)?)),
    };
    let ranges: Option<Vec<(u16, u16)>> = word.text.split(',').map(range).collect();
    let problem = || Box::new(bad_value(word, "statuses are numbers such as 200, 200-299 or 200,204"));
    ranges.map(|ranges| StatusRanges { ranges }).ok_or_else(problem)
}
