//! The texts that were read, and places in them.
//!
//! Owns [`Sources`] and [`Span`]. Reading files is the caller's.

/// All texts of one configuration, in the order they were given.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    sources: Vec<Source>,
    secrets: Vec<Span>,
}

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// The path it was read from, as the operator gave it.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// Index of a [`Source`] in its [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(u32);

/// A place in a text: bytes `start..end` of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The text.
    pub source: SourceId,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Sources {
    /// Adds a text.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> SourceId {
        let id = SourceId(u32::try_from(self.sources.len()).unwrap_or(u32::MAX));
        self.sources.push(Source { name: name.into(), text: text.into() });
        id
    }

    /// The text `id` names; `None` for an id of another [`Sources`].
    pub fn get(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(usize::try_from(id.0).ok()?)
    }

    /// Hides a place from [`Sources::masked_text`]: it holds a password or a key.
    pub fn mark_secret(&mut self, secret: Span) {
        self.secrets.push(secret);
    }

    /// The text `id` names, for people to read: every byte of a secret is a `*`, and every other byte and every line
    /// end is where it was. `None` for an id of another [`Sources`].
    pub fn masked_text(&self, id: SourceId) -> Option<String> {
        let source = self.get(id)?;
        let secret = |at: usize| {
            let mut spans = self.secrets.iter().filter(|secret| secret.source == id);
            u32::try_from(at).is_ok_and(|at| spans.any(|secret| (secret.start..secret.end).contains(&at)))
        };
        let mask = |(at, character): (usize, char)| match character {
            '\n' | '\r' => character.to_string(),
            _ if secret(at) => "*".repeat(character.len_utf8()),
            _ => character.to_string(),
        };
        Some(source.text.char_indices().map(mask).collect())
    }

    /// Line and column of a span's start, both counted from 1, the column in characters.
    pub fn line_column(&self, span: Span) -> Option<(usize, usize)> {
        let before = self.get(span.source)?.text.get(..usize::try_from(span.start).ok()?)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}
