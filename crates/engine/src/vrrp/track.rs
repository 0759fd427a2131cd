//! What a router tracks: scripts and interfaces, and what they do to its priority.

use serde::Serialize;

/// How one run of a tracked script ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ScriptOutcome {
    /// It passed.
    Passed,
    /// It failed; the phrase says how ("exit status 1", "killed by signal 9", "no such file", "listener closed").
    Failed(String),
    /// It did not end in time and was killed.
    TimedOut,
}
