//! How one check ended, in HAProxy's vocabulary.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

/// How one check ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The result.
    pub status: CheckStatus,
    /// The HTTP status, when there was one.
    pub code: Option<u16>,
    /// More for people: an error's text, the body of a refusal. Empty when there is nothing to add.
    pub detail: String,
    /// How long the check took.
    pub took: Duration,
}

/// HAProxy's names for check results (management.txt, `check_status`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum CheckStatus {
    /// The check itself could not run on this machine.
    Sockerr,
    /// Connected.
    L4Ok,
    /// The connect timed out.
    L4Tout,
    /// The connect was refused or unreachable.
    L4Con,
    /// TLS is up.
    L6Ok,
    /// The TLS handshake timed out.
    L6Tout,
    /// The TLS handshake failed.
    L6Rsp,
    /// The answer was the one expected.
    L7Ok,
    /// The answer timed out.
    L7Tout,
    /// The answer could not be understood.
    L7Rsp,
    /// The answer had a status that does not pass.
    L7Sts,
}

impl CheckStatus {
    /// Whether the check passed.
    pub const fn passed(self) -> bool {
        matches!(self, Self::L4Ok | Self::L6Ok | Self::L7Ok)
    }

    /// HAProxy's spelling.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sockerr => "SOCKERR",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L4Con => "L4CON",
            Self::L6Ok => "L6OK",
            Self::L6Tout => "L6TOUT",
            Self::L6Rsp => "L6RSP",
            Self::L7Ok => "L7OK",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
        }
    }
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
