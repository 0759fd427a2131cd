//! How one check ended, in HAProxy's vocabulary.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

pub use crate::plan::CheckStatus;

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The result.
    pub status: CheckStatus,
    /// The HTTP status or that of a program, with results that [have one](CheckStatus::has_code); 0 if it is not known.
    pub code: Option<u16>,
    /// More for people: an error's text, the body of a refusal. Empty when there is nothing to add.
    pub detail: String,
    /// How long the check took.
    pub took: Duration,
}

/// How a server is seen when it is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether checks have found it up.
    pub up: bool,
    /// Connections it has.
    pub sessions: u32,
}

impl fmt::Display for Verdict {
    /// As in HAProxy's logs and pages: `L7STS/500 in 3ms`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.status.name())?;
        if let Some(code) = self.code {
            write!(f, "/{code}")?;
        }
        write!(f, " in {}ms", self.took.as_millis())?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        Ok(())
    }
}
