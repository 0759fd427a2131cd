//! What goes wrong in the lab, as one sentence.

use std::fmt;

/// Why the lab could not go on, in words for the person who started it.
#[derive(Debug)]
pub struct LabError(String);

/// The lab's results.
pub type Result<T> = std::result::Result<T, LabError>;

impl LabError {
    /// An error that says `sentence`.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for LabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LabError {}

/// Says what was being done when an error came up.
pub trait Context<T> {
    /// Puts `doing` in front of the error.
    fn context(self, doing: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, doing: impl fmt::Display) -> Result<T> {
        self.map_err(|error| LabError(format!("{doing}: {error}")))
    }
}
