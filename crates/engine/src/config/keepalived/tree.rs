//! The tree of a keepalived.conf: statements, their values and their blocks.
//!
//! Owns [`Tree`] and how statements nest. It knows no keyword but those that stand at the top, by which it finds out
//! where a `}` was forgotten.

use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::tokens::Token;
use crate::config::keepalived::variables::Variables;
use crate::config::keepalived::{codes, keywords};
use crate::config::source::Span;
use crate::limits;

/// What one file says.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The statements at the top, in the order of the file.
    pub statements: Vec<Statement>,
}

/// A keyword, its values and its block.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The first word.
    pub keyword: Word,
    /// The other words of the line.
    pub values: Vec<Word>,
    /// What stands in braces after them.
    pub block: Option<Block>,
}

/// A word, or a quoted string.
#[derive(Clone, Debug)]
pub struct Word {
    /// The text that is meant: without quotes and escapes, with its variables filled in.
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// Whether any of it was in quotes.
    pub quoted: bool,
    /// Whether a comment follows without a blank, so that the word may have been meant to go on.
    pub cut: bool,
    /// Whether all of it is known; a placeholder of a template is not, and was reported.
    pub filled: bool,
}

/// What stands between two braces.
#[derive(Clone, Debug)]
pub struct Block {
    /// The statements, in the order of the file.
    pub statements: Vec<Statement>,
    /// The opening brace.
    pub open: Span,
}

impl Statement {
    /// From the keyword to the last value.
    pub fn span(&self) -> Span {
        Span {
            end: self.values.last().map_or(self.keyword.span.end, |value| value.span.end),
            ..self.keyword.span
        }
    }

    /// The statements of its block; none without one.
    pub fn statements(&self) -> &[Self] {
        self.block.as_ref().map_or(&[], |block| &block.statements)
    }
}

/// Puts tokens together, with what `environment` says of a variable.
pub(super) fn grow(
    tokens: Vec<Token>,
    environment: &dyn Fn(&str) -> Option<String>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Tree {
    let mut grower = Grower {
        words: Vec::new(),
        statements: Vec::new(),
        open: Vec::new(),
        skipped: 0,
        variables: Variables::new(environment),
        diagnostics,
    };
    for token in tokens {
        match token {
            Token::Word(word) if grower.skipped == 0 => grower.words.push(word),
            Token::Word(_) => {}
            Token::End => grower.end_statement(),
            Token::Open(span) => grower.open(span),
            Token::Close(span) => grower.close(span),
        }
    }
    grower.end_statement();
    while let Some(open) = grower.open.pop() {
        grower.report_unclosed(&open, None);
        grower.leave(open);
    }
    Tree { statements: grower.statements }
}

struct Grower<'a> {
    words: Vec<Word>,
    statements: Vec<Statement>,
    open: Vec<OpenBlock>,
    /// Braces to skip because they nest too deep.
    skipped: usize,
    variables: Variables<'a>,
    diagnostics: &'a mut Vec<Diagnostic>,
}

/// A block whose end was not seen yet.
struct OpenBlock {
    owner: Option<Statement>,
    open: Span,
    before: Vec<Statement>,
}

impl Grower<'_> {
    fn end_statement(&mut self) {
        if let Some(statement) = self.take_statement() {
            self.statements.push(statement);
        }
    }

    /// The words of the line so far as a statement, unless they are for the reader itself.
    fn take_statement(&mut self) -> Option<Statement> {
        let mut words = self.variables.expand(std::mem::take(&mut self.words), self.diagnostics)?;
        if words.first().is_some_and(|word| word.text.starts_with('@') && !word.quoted) {
            let condition = words.remove(0);
            self.diagnostics.push(
                Diagnostic::error(
                    codes::CONDITION,
                    condition.span,
                    "lines that start with `@` are not understood",
                )
                .label("depends on the configuration's id")
                .hint("give each balancer a file of its own"),
            );
        }
        if words.is_empty() {
            return None;
        }
        let keyword = words.remove(0);
        if INCLUDES.contains(&keyword.text.as_str()) {
            self.diagnostics.push(
                Diagnostic::error(codes::INCLUDE, keyword.span, "other files are not included")
                    .label("names another file")
                    .hint("give that file with a `--keepalived-conf` of its own, in the order of the lines"),
            );
            return None;
        }
        Some(Statement { keyword, values: words, block: None })
    }

    fn open(&mut self, span: Span) {
        if self.skipped > 0 || self.open.len() >= limits::CONFIG_NESTING {
            if self.skipped == 0 {
                self.diagnostics.push(
                    Diagnostic::error(codes::TOO_MANY, span, "blocks are nested too deep")
                        .label(format!("more than {} levels", limits::CONFIG_NESTING)),
                );
            }
            self.skipped += 1;
            return;
        }
        let owner = match self.take_statement() {
            Some(statement) => Some(statement),
            // The brace may stand on a line of its own.
            None => self.statements.pop_if(|statement| statement.block.is_none()),
        };
        match &owner {
            None => self.diagnostics.push(
                Diagnostic::error(codes::STRAY_OPEN, span, "this block has no keyword")
                    .label("opens a block"),
            ),
            Some(statement) => self.leave_forgotten(statement),
        }
        let before = std::mem::take(&mut self.statements);
        self.open.push(OpenBlock { owner, open: span, before });
    }

    fn close(&mut self, span: Span) {
        if self.skipped > 0 {
            self.skipped -= 1;
            return;
        }
        self.end_statement();
        match self.open.pop() {
            Some(open) => self.leave(open),
            None => self.diagnostics.push(
                Diagnostic::error(codes::STRAY_CLOSE, span, "this `}` closes nothing")
                    .label("no block is open here"),
            ),
        }
    }

    /// Leaves the blocks that `next` cannot stand in: a `}` was forgotten before it.
    fn leave_forgotten(&mut self, next: &Statement) {
        let at_top = keywords::is_top_block(&next.keyword.text);
        let in_instance = keywords::is_instance_block(&next.keyword.text);
        while let Some(open) = self.open.pop_if(|open| {
            let inside_another =
                || open.owner.as_ref().is_some_and(|owner| keywords::is_instance_block(&owner.keyword.text));
            at_top || (in_instance && inside_another())
        }) {
            self.report_unclosed(&open, Some(next.keyword.span));
            self.leave(open);
        }
    }

    fn leave(&mut self, open: OpenBlock) {
        let inside = std::mem::replace(&mut self.statements, open.before);
        if let Some(mut owner) = open.owner {
            owner.block = Some(Block { statements: inside, open: open.open });
            self.statements.push(owner);
        }
    }

    fn report_unclosed(&mut self, open: &OpenBlock, next: Option<Span>) {
        let mut diagnostic =
            Diagnostic::error(codes::UNCLOSED_BLOCK, open.open, "this block is never closed")
                .label("opened here");
        if let Some(next) = next {
            diagnostic = diagnostic.related(next, "a new block starts here");
        }
        self.diagnostics.push(diagnostic.hint("add the missing `}`"));
    }
}

const INCLUDES: [&str; 6] = ["include", "includer", "includem", "includew", "includeb", "includea"];
