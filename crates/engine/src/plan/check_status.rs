//! HAProxy's names for how a check ended.

use serde::Serialize;

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
    /// The answer was the one of a server that wants no new connections (`http-check disable-on-404`).
    L7Okc,
    /// The answer timed out.
    L7Tout,
    /// The answer could not be understood, or was not the one expected.
    L7Rsp,
    /// The answer had a status that does not pass.
    L7Sts,
    /// Connections of clients failed so often that it counts as a failed check (`observe`).
    Hana,
    /// The program of an external check could not be run.
    Procerr,
    /// The program of an external check did not end in time.
    Proctout,
    /// The program of an external check found nothing wrong.
    Procok,
    /// An agent said nothing about health.
    Checked,
}

impl CheckStatus {
    /// Whether the check passed.
    pub const fn passed(self) -> bool {
        matches!(self, Self::L4Ok | Self::L6Ok | Self::L7Ok | Self::L7Okc | Self::Procok)
    }

    /// Whether HAProxy shows a code with it, 0 where the check knows none.
    pub const fn has_code(self) -> bool {
        matches!(self, Self::L7Ok | Self::L7Okc | Self::L7Sts | Self::Procerr | Self::Proctout | Self::Procok)
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
            Self::L7Okc => "L7OKC",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
            Self::Hana => "HANA",
            Self::Procerr => "PROCERR",
            Self::Proctout => "PROCTOUT",
            Self::Procok => "PROCOK",
            Self::Checked => "CHECKED",
        }
    }

    /// HAProxy's words for it (management.txt, `check_status`).
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Sockerr => "Socket error",
            Self::L4Ok => "Layer4 check passed",
            Self::L4Tout => "Layer4 timeout",
            Self::L4Con => "Layer4 connection problem",
            Self::L6Ok => "Layer6 check passed",
            Self::L6Tout => "Layer6 timeout",
            Self::L6Rsp => "Layer6 invalid response",
            Self::L7Ok => "Layer7 check passed",
            Self::L7Tout => "Layer7 timeout",
            Self::L7Rsp => "Layer7 invalid response",
            Self::L7Sts => "Layer7 wrong status",
            Self::L7Okc => "Layer7 check conditionally passed",
            Self::Hana => "Health analyze",
            Self::Procerr => "External check error",
            Self::Proctout => "External check timeout",
            Self::Procok => "External check passed",
            Self::Checked => "No status change",
        }
    }
}
