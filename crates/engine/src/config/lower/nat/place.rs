//! Where in a haproxy.cfg the reason stands that leaves a frontend to the proxy.

use crate::config::haproxy::{Kind, Section, Tree};
use crate::config::lower::nat::reason::Reason;
use crate::config::source::Span;
use crate::plan::Frontend;

/// Finds places of what a plan holds.
#[derive(Clone, Copy)]
pub(super) struct Places<'a>(pub(super) &'a Tree);

impl<'a> Places<'a> {
    /// The name of a frontend.
    pub(super) fn name(self, frontend: &str) -> Option<Span> {
        let section = self.section(frontend, &[Kind::Frontend, Kind::Listen])?;
        section.header.first().map(|word| word.span)
    }

    /// Where the reason stands, or else the name of the frontend.
    pub(super) fn of(self, frontend: &Frontend, reason: &Reason) -> Option<Span> {
        let section = match &reason.pool {
            Some(pool) => self.section(pool, &[Kind::Backend, Kind::Listen]),
            None => self.section(&frontend.name, &[Kind::Frontend, Kind::Listen]),
        };
        let found = reason.lines.iter().find_map(|line| section.and_then(|section| find(section, *line)));
        found.or_else(|| self.name(&frontend.name))
    }

    fn section(self, name: &str, kinds: &[Kind]) -> Option<&'a Section> {
        self.0.sections.iter().find(|section| {
            kinds.contains(&section.kind) && section.header.first().is_some_and(|word| word.text == name)
        })
    }
}

/// The word `wanted` in a line that begins with `keyword`, or the keyword itself if `wanted` is empty.
fn find(section: &Section, (keyword, wanted): (&str, &str)) -> Option<Span> {
    let lines = section.statements.iter().map(|statement| &statement.words);
    lines.filter(|words| words.first().is_some_and(|word| word.text == keyword)).find_map(|words| {
        let mut words = words.iter().skip(usize::from(!wanted.is_empty()));
        words.find(|word| wanted.is_empty() || word.text == wanted).map(|word| word.span)
    })
}
