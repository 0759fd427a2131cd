//! Words, braces and line ends of a keepalived.conf.
//!
//! Owns Keepalived's rules for comments, escapes and quotes: `#` and `!` start a comment anywhere outside double
//! quotes, a backslash before them or before the line's end takes their meaning away, double quotes hold a word
//! together, and single quotes do so only in the value of a command.

use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::codes;
use crate::config::keepalived::tree::Word;
use crate::config::source::{SourceId, Span};

/// One piece of text.
#[derive(Clone, Debug)]
pub(super) enum Token {
    /// A keyword or a value.
    Word(Word),
    /// `{`.
    Open(Span),
    /// `}`.
    Close(Span),
    /// The end of a line.
    End,
}

/// Cuts a text into tokens.
pub(super) fn tokens(source: SourceId, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Vec<Token> {
    let mut scanner =
        Scanner { source, text, at: 0, tokens: Vec::new(), command: false, template: false, diagnostics };
    while let Some(next) = scanner.peek() {
        scanner.step(next);
    }
    scanner.tokens.push(Token::End);
    scanner.tokens
}

/// Whether the values of `keyword` are a command, in which single quotes and escapes count.
fn takes_command(keyword: &str) -> bool {
    keyword == "script" || keyword.starts_with("notify") || keyword.ends_with("_script")
}

/// Whether `character` separates words. A byte order mark does: some editors start a file with one.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || character == '\u{feff}'
}

struct Scanner<'a> {
    source: SourceId,
    text: &'a str,
    at: usize,
    tokens: Vec<Token>,
    command: bool,
    template: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn span(&self, start: usize) -> Span {
        let offset = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Span { source: self.source, start: offset(start), end: offset(self.at) }
    }

    fn step(&mut self, next: char) {
        let start = self.at;
        match next {
            '\n' => {
                self.advance();
                self.command = false;
                self.tokens.push(Token::End);
            }
            '#' | '!' => self.skip_comment(),
            '{' if self.starts_template() => self.word(),
            '{' | '}' => {
                self.advance();
                self.command = false;
                let span = self.span(start);
                self.tokens.push(if next == '{' { Token::Open(span) } else { Token::Close(span) });
            }
            '\\' if self.continues_line() => self.skip_line_end(),
            _ if is_blank(next) => self.advance(),
            _ => self.word(),
        }
    }

    fn skip_comment(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    fn continues_line(&self) -> bool {
        self.rest().starts_with("\\\n") || self.rest().starts_with("\\\r\n")
    }

    fn skip_line_end(&mut self) {
        self.at += self.rest().find('\n').map_or(self.rest().len(), |end| end + 1);
    }

    fn starts_template(&self) -> bool {
        self.rest().starts_with("{{") || self.rest().starts_with("{%")
    }

    /// `{{ name }}` or `{% … %}`: stands for a value that was never filled in. One report for a file is enough.
    fn skip_template(&mut self) {
        let start = self.at;
        let line = self.rest().lines().next().unwrap_or_default();
        let length = [line.find("}}"), line.find("%}")].into_iter().flatten().min().map(|end| end + 2);
        self.at += length.unwrap_or(line.len());
        if !self.template {
            self.template = true;
            self.diagnostics.push(
                Diagnostic::error(
                    codes::TEMPLATE,
                    self.span(start),
                    "this file is a template that was not filled in",
                )
                .label("a placeholder")
                .hint("give mainstay the file that the template tool writes"),
            );
        }
    }

    fn word(&mut self) {
        let start = self.at;
        let mut text = String::new();
        let mut quoted = false;
        let mut cut = false;
        let mut filled = true;
        while let Some(next) = self.peek() {
            match next {
                '"' => {
                    quoted = true;
                    self.quoted('"', &mut text);
                }
                '\'' if self.command => {
                    quoted = true;
                    self.quoted('\'', &mut text);
                }
                '$' if self.peek_second() == Some('{') => self.reference(&mut text),
                '#' | '!' => {
                    cut = true;
                    break;
                }
                '\\' if self.continues_line() => break,
                '\\' if self.command || matches!(self.peek_second(), Some('#' | '!')) => {
                    self.escape(&mut text);
                }
                '{' if self.starts_template() => {
                    filled = false;
                    self.skip_template();
                }
                '{' | '}' => break,
                _ if is_blank(next) => break,
                _ => {
                    text.push(next);
                    self.advance();
                }
            }
        }
        if matches!(self.tokens.last(), None | Some(Token::End | Token::Open(_) | Token::Close(_))) {
            self.command = takes_command(&text);
        }
        let span = self.span(start);
        self.tokens.push(Token::Word(Word { text, span, quoted, cut, filled }));
    }

    /// `${NAME}`, braces and all.
    fn reference(&mut self, text: &mut String) {
        let line = self.rest().lines().next().unwrap_or_default();
        let length = line.find('}').map_or(2, |end| end + 1);
        text.push_str(line.get(..length).unwrap_or_default());
        self.at += length;
    }

    fn quoted(&mut self, quote: char, text: &mut String) {
        let start = self.at;
        self.advance();
        while let Some(next) = self.peek() {
            match next {
                _ if next == quote => {
                    self.advance();
                    return;
                }
                '\n' => break,
                '#' | '!' if quote == '\'' => break,
                '\\' if self.command => self.escape(text),
                '\\' if self.peek_second() == Some('"') => {
                    self.advance();
                    text.push('"');
                    self.advance();
                }
                _ => {
                    text.push(next);
                    self.advance();
                }
            }
        }
        let quote_mark = Span { end: self.span(start).start.saturating_add(1), ..self.span(start) };
        self.diagnostics.push(
            Diagnostic::error(
                codes::UNCLOSED_QUOTE,
                quote_mark,
                "this quoted string does not end on its line",
            )
            .label("opened here")
            .hint("close it; outside double quotes, `#` and `!` start a comment"),
        );
    }

    fn escape(&mut self, text: &mut String) {
        let (meant, length) = unescape(self.rest());
        text.extend(meant);
        self.at += length;
    }
}

/// The character that the escape sequence at the start of `text` means, and the sequence's length in bytes.
pub(crate) fn unescape(text: &str) -> (Option<char>, usize) {
    let mut following = text.chars().skip(1);
    let Some(kind) = following.next() else { return (Some('\\'), text.len().min(1)) };
    let after = 1 + kind.len_utf8();
    let number = |start: usize, radix: u32, most: usize| {
        let digits =
            text.get(start..).unwrap_or_default().chars().take(most).take_while(|c| c.is_digit(radix));
        let length = digits.count();
        let code = u32::from_str_radix(text.get(start..start + length).unwrap_or_default(), radix);
        (code.ok().and_then(char::from_u32), start + length)
    };
    match kind {
        'a' => (Some('\u{7}'), after),
        'b' => (Some('\u{8}'), after),
        'E' => (Some('\u{1b}'), after),
        'f' => (Some('\u{c}'), after),
        'n' => (Some('\n'), after),
        'r' => (Some('\r'), after),
        't' => (Some('\t'), after),
        'v' => (Some('\u{b}'), after),
        'x' => number(after, 16, usize::MAX),
        '0'..='7' => number(1, 8, 3),
        '\n' => (None, after),
        _ => (Some(kind), after),
    }
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn escapes_mean_what_they_mean_to_keepalived() {
        assert_eq!(unescape(r"\x41 "), (Some('A'), 4));
        assert_eq!(unescape(r"\101 "), (Some('A'), 4));
        assert_eq!(unescape(r"\t"), (Some('\t'), 2));
        assert_eq!(unescape(r"\."), (Some('.'), 2));
        assert_eq!(unescape("\\"), (Some('\\'), 1));
        assert_eq!(unescape(r"\ü"), (Some('ü'), 3));
    }
}
