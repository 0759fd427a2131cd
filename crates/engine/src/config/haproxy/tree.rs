//! The tree of a haproxy.cfg: sections, and the lines in them.
//!
//! Owns [`Tree`]. It carries out what steers reading itself: `.if` lines, and the keywords that change the environment
//! for the lines below. What a line means is not known here.

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::conditions::Conditions;
use crate::config::haproxy::environment::Environment;
use crate::config::haproxy::keywords::{OTHER_SECTIONS, SECTIONS};
use crate::config::haproxy::{codes, tokens};
use crate::config::source::{Source, SourceId, Span};

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The sections of `global`, `defaults` and proxies, in order.
    pub sections: Vec<Section>,
    /// The other sections, in order.
    pub others: Vec<Section>,
}

/// A section.
#[derive(Clone, Debug)]
pub struct Section {
    /// What it is.
    pub kind: Kind,
    /// The word that starts it.
    pub keyword: Word,
    /// The rest of its first line: name, `from`, the name of a `defaults` section.
    pub header: Vec<Word>,
    /// Its lines.
    pub statements: Vec<Statement>,
}

/// What a section is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `global`.
    Global,
    /// `defaults`.
    Defaults,
    /// `frontend`.
    Frontend,
    /// `backend`.
    Backend,
    /// `listen`.
    Listen,
    /// One of [`OTHER_SECTIONS`].
    Other,
}

/// A line of a section.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The word before the keyword, if it changes its meaning.
    pub prefix: Prefix,
    /// The keyword and all that follows; never empty.
    pub words: Vec<Word>,
}

/// What stands before a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing.
    None,
    /// `no`.
    No,
    /// `default`.
    Default,
}

/// A word.
#[derive(Clone, Debug)]
pub struct Word {
    /// The text that is meant: without quotes and escapes, with its variables filled in.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// Whether all of it is known; what is not was reported.
    pub filled: bool,
}

/// Collects lines in sections.
pub(super) struct Grower<'a> {
    environment: Environment<'a>,
    tree: Tree,
    within: Within,
    template: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// What the next line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    Section,
    Other,
}

impl<'a> Grower<'a> {
    pub(super) fn new(
        variable: &'a dyn Fn(&str) -> Option<String>,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            environment: Environment::new(variable),
            tree: Tree::default(),
            within: Within::Nothing,
            template: false,
            diagnostics,
        }
    }

    /// Reads one file. A section does not go on in the next one.
    pub(super) fn read(&mut self, id: SourceId, source: &Source) {
        self.within = Within::Nothing;
        self.template = false;
        self.environment.file.clone_from(&source.name);
        self.environment.section.clear();
        let mut conditions = Conditions::default();
        let mut start = 0;
        let mut last = None;
        for (index, line) in source.text.split_inclusive('\n').enumerate() {
            self.environment.line = index + 1;
            let words = self.words(id, start, line);
            start += line.len();
            last = words.last().map(|word| word.span);
            let Some(first) = words.first() else { continue };
            if first.text.starts_with('.') {
                conditions.handle(&words, &|name| self.environment.get(name), self.diagnostics);
            } else if conditions.holds() {
                self.line(words);
            }
        }
        conditions.finish(self.diagnostics);
        if let (false, Some(span)) = (source.text.ends_with('\n'), last) {
            self.diagnostics.push(
                Diagnostic::error(
                    codes::CUT_OFF,
                    span,
                    "the last line does not end, so the file may be cut off",
                )
                .label("nothing follows")
                .hint("end the line if the file is complete"),
            );
        }
    }

    pub(super) fn finish(self) -> Tree {
        self.tree
    }

    fn words(&mut self, id: SourceId, start: usize, line: &str) -> Vec<Word> {
        let context = tokens::Context {
            variable: &|name| self.environment.get(name),
            template: &mut self.template,
            diagnostics: self.diagnostics,
        };
        tokens::words(id, start, line, context)
    }

    fn line(&mut self, mut words: Vec<Word>) {
        let prefix = match words.first().map(|word| word.text.as_str()) {
            Some("no") => Prefix::No,
            Some("default") => Prefix::Default,
            _ => Prefix::None,
        };
        let before = words.first().map(|word| word.span);
        if prefix != Prefix::None && words.len() > 1 {
            words.remove(0);
        }
        let Some(keyword) = words.first() else { return };
        let other = OTHER_SECTIONS.iter().any(|(name, _)| *name == keyword.text);
        let (kind, sections) = match kind(&keyword.text) {
            Some(kind) => (kind, &mut self.tree.sections),
            None if other => (Kind::Other, &mut self.tree.others),
            None => return self.statement(prefix, words),
        };
        if let (Some(span), true) = (before, prefix != Prefix::None) {
            let message = format!("a section cannot stand after `{}`", prefix.word());
            self.diagnostics.push(Diagnostic::error(codes::BAD_VALUE, span, message));
        }
        let keyword = words.remove(0);
        self.environment.section = words.first().map(|name| name.text.clone()).unwrap_or_default();
        self.within = if kind == Kind::Other { Within::Other } else { Within::Section };
        sections.push(Section { kind, keyword, header: words, statements: Vec::new() });
    }

    fn statement(&mut self, prefix: Prefix, words: Vec<Word>) {
        let Some(keyword) = words.first() else { return };
        let section = match self.within {
            Within::Nothing => None,
            Within::Section => self.tree.sections.last_mut(),
            Within::Other => self.tree.others.last_mut(),
        };
        match section {
            Some(section) => {
                if section.kind == Kind::Global {
                    self.environment.change(&words);
                }
                section.statements.push(Statement { prefix, words });
            }
            None if keyword.filled => {
                let message = format!("`{}` stands before the first section of its file", keyword.text);
                let diagnostic =
                    Diagnostic::error(codes::OUTSIDE_SECTION, keyword.span, message).label("in no section");
                let sections = OTHER_SECTIONS.iter().map(|(name, _)| *name).chain(SECTIONS);
                self.diagnostics.push(match did_you_mean(&keyword.text, sections) {
                    Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                    None => diagnostic.hint(
                        "start a section above it: `global`, `defaults`, `frontend`, `backend` or `listen`",
                    ),
                });
            }
            None => {}
        }
    }
}

impl Prefix {
    /// As it is written; empty for none.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "",
            Self::No => "no",
            Self::Default => "default",
        }
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "global" => Some(Kind::Global),
        "defaults" => Some(Kind::Defaults),
        "frontend" => Some(Kind::Frontend),
        "backend" => Some(Kind::Backend),
        "listen" => Some(Kind::Listen),
        _ => None,
    }
}
