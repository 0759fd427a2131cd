//! Tracked files: the numbers in them.
//!
//! Owns [`Files`] and what counts as a number. Reading a file is the shell's, which says how it begins at start and
//! whenever that changed.

use crate::admin::FileStatus;
use crate::plan::{FileId, TrackedFile};
use crate::time::Instant;

/// All tracked files of a plan.
#[derive(Debug)]
pub(crate) struct Files {
    files: Vec<File>,
}

#[derive(Debug)]
struct File {
    config: TrackedFile,
    /// `None` until somebody looked.
    number: Option<i64>,
    since: Instant,
}

impl Files {
    /// Files that nobody has looked at.
    pub(crate) fn new(files: &[TrackedFile], now: Instant) -> Self {
        let file = |config: &TrackedFile| File { config: config.clone(), number: None, since: now };
        Self { files: files.iter().map(file).collect() }
    }

    /// Takes in how a file begins. Whether that is another number.
    ///
    /// As with Keepalived, a file without a number says 0, and one with too large a number what it said before.
    pub(crate) fn handle_read(&mut self, file: FileId, contents: &[u8], now: Instant) -> bool {
        let Some(file) = self.files.get_mut(usize::from(file.0)) else { return false };
        let number = number(contents).or(file.number).unwrap_or(0);
        if file.number == Some(number) {
            return false;
        }
        (file.number, file.since) = (Some(number), now);
        true
    }

    /// A file's name and number; `None` if there is none with that number.
    pub(super) fn judge(&self, id: FileId) -> Option<(&str, Option<i64>)> {
        let file = self.files.get(usize::from(id.0))?;
        Some((&file.config.name, file.number))
    }

    /// One for each file of the plan.
    pub(crate) fn status(&self, now: Instant) -> Vec<FileStatus> {
        self.files
            .iter()
            .map(|file| FileStatus {
                name: file.config.name.clone(),
                path: file.config.path.clone(),
                number: file.number,
                since: now.since(file.since),
            })
            .collect()
    }
}

/// The number that a text begins with, as C's `strtol` reads it: decimal, `0x` or octal; `None` beyond 32 bits.
fn number(contents: &[u8]) -> Option<i64> {
    let text: String = contents.iter().map(|&byte| char::from(byte)).collect();
    let text = text.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hexadecimal = ["0x", "0X"].iter().find_map(|prefix| unsigned.strip_prefix(prefix));
    let hexadecimal = hexadecimal.filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (radix, digits) = match hexadecimal {
        Some(rest) => (16, rest),
        None if unsigned.starts_with('0') => (8, unsigned),
        None => (10, unsigned),
    };
    let length = digits.find(|c: char| !c.is_digit(radix)).unwrap_or(digits.len());
    let digits = digits.get(..length).filter(|digits| !digits.is_empty());
    let value = digits.map_or(Ok(0), |digits| i64::from_str_radix(digits, radix)).ok()?;
    let value = if negative { -value } else { value };
    // Keepalived takes one more than fits.
    (i64::from(i32::MIN)..=i64::from(i32::MAX) + 1).contains(&value).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_c() {
        let read = |text: &str| number(text.as_bytes());
        for (text, value) in [
            ("", 0),
            ("up", 0),
            ("12\n", 12),
            (" \t-20 because", -20),
            ("+7", 7),
            ("0x1F", 31),
            ("-0x10", -16),
            ("010", 8),
            ("09", 0),
            ("0x", 0),
            ("2147483648", 2_147_483_648),
        ] {
            assert_eq!(read(text), Some(value), "{text:?}");
        }
        assert_eq!(read("2147483649"), None);
        assert_eq!(read("99999999999999999999999"), None);
        assert_eq!(number(&[0xff, 0xfe]), Some(0));
    }

    #[test]
    fn a_number_that_is_too_large_changes_nothing() {
        let config = TrackedFile { name: "f".to_owned(), path: "/f".to_owned(), initial: None };
        let mut files = Files::new(&[config], Instant::default());
        let mut read = |text: &[u8]| files.handle_read(FileId(0), text, Instant::default());
        assert!(read(b"5"));
        assert!(!read(b"5000000000"));
        assert!(!read(b"5 again"));
        assert!(read(b""), "gone, which is 0");
    }
}
