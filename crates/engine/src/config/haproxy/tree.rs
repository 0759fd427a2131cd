//! The tree of a haproxy.cfg: sections, and the lines in them.
//!
//! Owns [`Tree`]. It carries out what steers reading itself: `.if` lines, and the keywords that change the environment
//! for the lines below. What a line means is not known here.

use std::collections::BTreeMap;

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::conditions::Conditions;
use crate::config::haproxy::keywords::{OTHER_SECTIONS, SECTIONS};
use crate::config::haproxy::{codes, tokens};
use crate::config::source::{Source, SourceId, Span};

/// What all files together say.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The sections that mainstay acts on, in order.
    pub sections: Vec<Section>,
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
    variable: &'a dyn Fn(&str) -> Option<String>,
    /// What the files set or removed themselves.
    environment: BTreeMap<String, Option<String>>,
    sections: Vec<Section>,
    within: Within,
    template: bool,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// What the next line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Nothing,
    Section,
    /// A section that is passed over.
    Other,
}

impl<'a> Grower<'a> {
    pub(super) fn new(
        variable: &'a dyn Fn(&str) -> Option<String>,
        diagnostics: &'a mut Vec<Diagnostic>,
    ) -> Self {
        Self {
            variable,
            environment: BTreeMap::new(),
            sections: Vec::new(),
            within: Within::Nothing,
            template: false,
            diagnostics,
        }
    }

    /// Reads one file. A section does not go on in the next one.
    pub(super) fn read(&mut self, id: SourceId, source: &Source) {
        self.within = Within::Nothing;
        self.template = false;
        let mut conditions = Conditions::default();
        let mut start = 0;
        let mut last = None;
        for line in source.text.split_inclusive('\n') {
            let words = self.words(id, start, line);
            start += line.len();
            last = words.last().map(|word| word.span);
            let (environment, outer) = (&self.environment, self.variable);
            let known = |name: &str| environment.get(name).cloned().unwrap_or_else(|| outer(name));
            let Some(first) = words.first() else { continue };
            if first.text.starts_with('.') {
                conditions.handle(&words, &known, self.diagnostics);
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
        Tree { sections: self.sections }
    }

    fn words(&mut self, id: SourceId, start: usize, line: &str) -> Vec<Word> {
        let (environment, outer) = (&self.environment, self.variable);
        let variable = |name: &str| environment.get(name).cloned().unwrap_or_else(|| outer(name));
        let context = tokens::Context {
            variable: &variable,
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
        if prefix != Prefix::None && words.len() > 1 {
            words.remove(0);
        }
        let Some(keyword) = words.first() else { return };
        if let Some(kind) = kind(&keyword.text) {
            let keyword = words.remove(0);
            self.sections.push(Section { kind, keyword, header: words, statements: Vec::new() });
            self.within = Within::Section;
        } else if let Some((name, meaning)) = other_section(&words) {
            self.diagnostics.push(Diagnostic::warning(
                codes::NOT_ACTED_ON,
                keyword.span,
                format!("mainstay does not act on section `{name}` yet: {meaning}"),
            ));
            self.within = Within::Other;
        } else {
            self.statement(prefix, words);
        }
    }

    fn statement(&mut self, prefix: Prefix, words: Vec<Word>) {
        let Some(keyword) = words.first() else { return };
        match (self.within, self.sections.last_mut()) {
            (Within::Section, Some(section)) => {
                if section.kind == Kind::Global {
                    set_environment(&mut self.environment, self.variable, &words);
                }
                section.statements.push(Statement { prefix, words });
            }
            (Within::Other, _) => {}
            _ if keyword.filled => {
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
            _ => {}
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

/// The section that a line starts and mainstay passes over. As in HAProxy a section's name is no keyword elsewhere.
fn other_section(words: &[Word]) -> Option<(&'static str, &'static str)> {
    let first = words.first()?;
    OTHER_SECTIONS.iter().find(|(name, _)| *name == first.text).copied()
}

fn set_environment(
    environment: &mut BTreeMap<String, Option<String>>,
    outer: &dyn Fn(&str) -> Option<String>,
    words: &[Word],
) {
    let mut texts = words.iter().map(|word| word.text.as_str());
    match (texts.next(), texts.next(), texts.next()) {
        (Some("setenv"), Some(name), Some(value)) => {
            environment.insert(name.to_owned(), Some(value.to_owned()));
        }
        (Some("presetenv"), Some(name), Some(value)) => {
            let set = environment.get(name).cloned().unwrap_or_else(|| outer(name));
            environment.insert(name.to_owned(), set.or_else(|| Some(value.to_owned())));
        }
        (Some("unsetenv"), ..) => {
            environment.extend(words.iter().skip(1).map(|word| (word.text.clone(), None)));
        }
        _ => {}
    }
}
