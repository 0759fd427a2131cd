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
        let text = &self.get(id)?.text;
        let mut secrets: Vec<_> = self.secrets.iter().filter(|secret| secret.source == id).collect();
        secrets.sort_unstable();
        let mut secrets = secrets.into_iter().peekable();
        // The end of all secrets that begin at or before the character: a file may have as many as lines.
        let mut hidden_until = 0;
        let mut masked = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            let at = u32::try_from(at).unwrap_or(u32::MAX);
            while let Some(begun) = secrets.next_if(|secret| secret.start <= at) {
                hidden_until = hidden_until.max(begun.end);
            }
            match character {
                '\n' | '\r' => masked.push(character),
                _ if at < hidden_until => masked.extend(std::iter::repeat_n('*', character.len_utf8())),
                _ => masked.push(character),
            }
        }
        Some(masked)
    }

    /// Line and column of a span's start, both counted from 1, the column in characters.
    pub fn line_column(&self, span: Span) -> Option<(usize, usize)> {
        let before = self.get(span.source)?.text.get(..usize::try_from(span.start).ok()?)?;
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Some((before.matches('\n').count() + 1, before[line_start..].chars().count() + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_in_any_order_and_overlap() {
        let mut sources = Sources::default();
        let (other, id) = (sources.add("other", "abcdef"), sources.add("text", "ab\ncdé\r\nfgh"));
        for (source, start, end) in [(id, 9, 10), (id, 1, 7), (id, 4, 5), (other, 2, 2), (other, 4, 9)] {
            sources.mark_secret(Span { source, start, end });
        }
        assert_eq!(sources.masked_text(id).as_deref(), Some("a*\n****\r\n*gh"));
        assert_eq!(sources.masked_text(other).as_deref(), Some("abcd**"));
    }

    /// A file of the largest size, all of it secrets: this takes a moment, and took hours.
    #[test]
    fn many_secrets_take_no_longer_than_few() {
        let lines = 1 << 18;
        let mut sources = Sources::default();
        let id = sources.add("text", "password secret\n".repeat(1 << 18));
        for line in 0..lines {
            sources.mark_secret(Span { source: id, start: line * 16 + 9, end: line * 16 + 15 });
        }
        let masked = sources.masked_text(id).unwrap();
        assert_eq!(masked.matches("password ******\n").count(), 1 << 18);
    }
}
