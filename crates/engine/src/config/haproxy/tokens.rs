//! The words of one line of a haproxy.cfg.
//!
//! Owns HAProxy's rules for blanks, comments, escapes, quotes and environment variables: `#` starts a comment anywhere
//! outside quotes, single quotes take everything as it is, and variables are filled in inside double quotes and in addresses.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::haproxy::tree::Word;
use crate::config::source::{SourceId, Span};
use crate::limits;

/// What a line may refer to.
pub(super) struct Context<'a> {
    /// The value of a variable.
    pub(super) variable: &'a dyn Fn(&str) -> Option<String>,
    /// A placeholder of a template was reported already; one report for a file is enough.
    pub(super) template: &'a mut bool,
    pub(super) diagnostics: &'a mut Vec<Diagnostic>,
}

/// Cuts a line, which starts at byte `start` of its text, into words.
pub(super) fn words(source: SourceId, start: usize, line: &str, context: Context<'_>) -> Vec<Word> {
    let mut scanner = Scanner { source, start, line, at: 0, words: Vec::new(), open: None, context };
    while scanner.step() {}
    scanner.end_word();
    let words = scanner.words;
    if let Some(extra) = words.get(limits::WORDS_PER_LINE) {
        scanner.context.diagnostics.push(
            Diagnostic::error(codes::TOO_MANY, extra.span, "this line has too many words")
                .label(format!("more than {}", limits::WORDS_PER_LINE)),
        );
        return Vec::new();
    }
    words
}

struct Scanner<'a> {
    source: SourceId,
    start: usize,
    line: &'a str,
    at: usize,
    words: Vec<Word>,
    /// The word that has started: where, its text so far, and whether all of it is known.
    open: Option<(usize, String, bool)>,
    context: Context<'a>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.line.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn span(&self, from: usize) -> Span {
        let offset = |at| u32::try_from(self.start + at).unwrap_or(u32::MAX);
        Span { source: self.source, start: offset(from), end: offset(self.at) }
    }

    fn word(&mut self) -> &mut (usize, String, bool) {
        let at = self.at;
        self.open.get_or_insert_with(|| (at, String::new(), true))
    }

    fn push(&mut self, character: char) {
        let word = &mut self.word().1;
        if word.len() < limits::CONFIG_WORD_BYTES {
            word.push(character);
        }
    }

    fn end_word(&mut self) {
        if let Some((from, text, filled)) = self.open.take() {
            let span = self.span(from);
            self.words.push(Word { text, span, filled });
        }
    }

    /// Takes the next piece; whether the line goes on.
    fn step(&mut self) -> bool {
        let Some(next) = self.peek() else { return false };
        match next {
            '#' => return false,
            '"' => self.weak_quotes(),
            '\'' => self.strong_quotes(),
            '\\' => self.escape(false),
            _ if next.is_whitespace() || next == '\u{feff}' => {
                self.end_word();
                self.advance();
            }
            '$' if self.in_address() && self.names_set_variable() => self.variable(),
            _ if self.starts_placeholder() => self.skip_placeholder(),
            _ => {
                self.push(next);
                self.advance();
            }
        }
        true
    }

    fn strong_quotes(&mut self) {
        let from = self.at;
        self.word();
        self.advance();
        let Some(length) = self.rest().find('\'') else { return self.report_unclosed(from) };
        let text = self.rest().get(..length).unwrap_or_default().to_owned();
        self.word().1.push_str(&text);
        self.at += length + 1;
    }

    fn weak_quotes(&mut self) {
        let from = self.at;
        self.word();
        self.advance();
        while let Some(next) = self.peek() {
            match next {
                '"' => return self.advance(),
                '\\' => self.escape(true),
                '$' => self.variable(),
                _ => {
                    self.push(next);
                    self.advance();
                }
            }
        }
        self.report_unclosed(from);
    }

    fn report_unclosed(&mut self, from: usize) {
        let span = self.span(from);
        let quote = Span { end: span.start.saturating_add(1), ..span };
        self.context.diagnostics.push(
            Diagnostic::error(codes::UNCLOSED_QUOTE, quote, "this quoted string does not end on its line")
                .label("opened here")
                .hint("close it, or write `\\` before a quote that is meant as it is"),
        );
        self.word().2 = false;
        self.at = self.line.len();
    }

    fn escape(&mut self, weak: bool) {
        let from = self.at;
        self.word();
        let mut following = self.rest().chars().skip(1);
        let meant = match following.next() {
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('x') => return self.hexadecimal(from),
            Some('$') if weak => '$',
            Some(same @ (' ' | '\\' | '#' | '\'' | '"')) => same,
            // Other combinations are no escapes.
            _ => {
                self.push('\\');
                return self.advance();
            }
        };
        self.push(meant);
        self.advance();
        self.advance();
    }

    fn hexadecimal(&mut self, from: usize) {
        let digits = self.rest().get(2..4).filter(|digits| digits.chars().all(|c| c.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        self.at += if code.is_some() { 4 } else { 2 };
        match code {
            Some(code) => self.push(char::from(code)),
            None => {
                let span = self.span(from);
                self.context.diagnostics.push(
                    Diagnostic::error(codes::BAD_ESCAPE, span, "`\\x` needs two hexadecimal digits")
                        .hint("write `\\\\x` for a backslash and an x"),
                );
                self.word().2 = false;
            }
        }
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}`, or `${NAME[*]}` for as many words as the value has.
    fn variable(&mut self) {
        let from = self.at;
        self.advance();
        let braced = self.peek() == Some('{');
        if braced {
            self.advance();
        }
        let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
        // A dot starts the name of what only the reader knows: `.FILE`, `.LINE`, `.SECTION`.
        let dot = usize::from(self.peek() == Some('.'));
        let rest = self.rest().get(dot..).unwrap_or_default();
        let length = dot + rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let name = self.rest().get(..length).unwrap_or_default().to_owned();
        self.at += length;
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) {
            return self.report_variable(from, "`$` is not followed by the name of a variable");
        }
        let several = braced && self.rest().starts_with("[*]");
        if several {
            self.at += 3;
        }
        let mut value = (self.context.variable)(&name);
        if braced {
            let Some(end) = self.rest().find('}') else {
                return self.report_variable(from, "this `${` is not closed");
            };
            let before = self.rest().get(..end).unwrap_or_default().to_owned();
            self.at += end + 1;
            match before.strip_prefix('-') {
                Some(default) => value = value.or_else(|| Some(default.to_owned())),
                None if !before.is_empty() => {
                    return self.report_variable(from, "only `-` and a default may follow the name");
                }
                None => {}
            }
        }
        match value {
            Some(value) => self.fill_in(&value, several),
            None => {
                let message = format!("the environment variable `{name}` is not set, so nothing stands here");
                let span = self.span(from);
                self.context.diagnostics.push(
                    Diagnostic::warning(codes::UNSET_VARIABLE, span, message)
                        .hint(format!("set it, or give a default: `${{{name}-default}}`")),
                );
            }
        }
    }

    fn fill_in(&mut self, value: &str, several: bool) {
        for character in value.chars() {
            if several && character.is_whitespace() {
                self.end_word();
            } else {
                self.push(character);
            }
        }
    }

    fn report_variable(&mut self, from: usize, message: &str) {
        let span = self.span(from);
        self.context.diagnostics.push(
            Diagnostic::error(codes::BAD_VARIABLE, span, message)
                .label("in double quotes")
                .hint("write `${NAME}` or `${NAME-default}`, and `\\$` for a plain dollar"),
        );
        self.word().2 = false;
    }

    /// Whether this word is an address, where HAProxy fills in variables without quotes.
    fn in_address(&self) -> bool {
        let place = self.words.len();
        self.words.first().is_some_and(|keyword| {
            let address = match keyword.text.as_str() {
                "bind" | "dgram-bind" | "log" | "source" => 1,
                "server" | "nameserver" | "peer" | "mailer" => 2,
                "server-template" => 3,
                _ => return false,
            };
            place == address
        })
    }

    fn names_set_variable(&self) -> bool {
        let after = self.rest().trim_start_matches('$').trim_start_matches('{');
        let name = after.split(|c: char| c != '_' && !c.is_ascii_alphanumeric()).next().unwrap_or_default();
        (self.context.variable)(name).is_some()
    }

    fn starts_placeholder(&self) -> bool {
        let rest = self.rest();
        let shell = rest
            .strip_prefix("${")
            .is_some_and(|name| name.starts_with(|first: char| first == '_' || first.is_ascii_alphabetic()));
        shell || rest.starts_with("{{") || rest.starts_with("{%") || rest.starts_with("<%")
    }

    /// `{{ name }}`, `{% … %}` or an unquoted `${NAME}`: stands for a value that was never filled in.
    fn skip_placeholder(&mut self) {
        let from = self.at;
        self.word().2 = false;
        let shell = self.rest().starts_with("${");
        let ends: &[&str] = if shell { &["}"] } else { &["}}", "%}", "%>"] };
        let length = ends.iter().filter_map(|end| Some(self.rest().find(end)? + end.len())).min();
        self.at += length.unwrap_or(self.rest().len());
        if !std::mem::replace(self.context.template, true) {
            let span = self.span(from);
            let hint = match shell {
                true => {
                    "fill the template in, or put the word in double quotes to have the environment fill it in"
                }
                false => "give mainstay the file that the template tool writes",
            };
            self.context.diagnostics.push(
                Diagnostic::error(codes::TEMPLATE, span, "this file is a template that was not filled in")
                    .label("a placeholder")
                    .hint(hint),
            );
        }
    }
}
