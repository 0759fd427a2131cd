//! Files and processes whose state changes the priority of routers.

use std::time::Duration;

use serde::Serialize;

use super::TrackEffect;

/// Index of a [`TrackedFile`] in its [`Plan`](super::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FileId(pub u16);

/// Index of a [`TrackedProcess`] in its [`Plan`](super::Plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ProcessId(pub u16);

/// A file with a number that counts for routers (`track_file`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedFile {
    /// The name that routers track it by.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// What to write into it at start (`init_file`).
    pub initial: Option<InitialValue>,
}

/// What is written into a tracked file at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitialValue {
    /// The number.
    pub value: i32,
    /// Also if the file is there already.
    pub overwrite: bool,
}

/// A file and what its number does to one router.
///
/// Unlike with scripts, the effect of a weight is the number times the weight, and a fault if that is below -253.
/// Without a weight, any number but zero is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackFile {
    /// The file.
    pub file: FileId,
    /// What its number does.
    pub effect: TrackEffect,
}

/// Processes of which enough have to run (`vrrp_track_process`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedProcess {
    /// The name that routers track them by.
    pub name: String,
    /// Which processes.
    pub target: ProcessTarget,
    /// The fewest of them that are good.
    pub quorum: u32,
    /// The most of them that are good.
    pub quorum_max: u32,
    /// How long a gained quorum has to last before it counts.
    pub fork_delay: Duration,
    /// How long a lost one has to.
    pub terminate_delay: Duration,
}

/// Which processes are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessTarget {
    /// `haproxy`: mainstay's own data plane, which is enough while it serves. Without one, those that match.
    DataPlane(ProcessMatch),
    /// Those that match.
    Matching(ProcessMatch),
}

/// What is compared with every process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessMatch {
    /// The process's name, or the first word of its command line.
    pub command: String,
    /// The other words of its command line; `None` compares the process's name alone.
    pub command_line: Option<Parameters>,
}

/// What the words after the first one of a command line have to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parameters {
    /// Anything (`full_command`).
    Any,
    /// These and no others.
    Exactly(Vec<String>),
    /// These, and then anything (`param_match partial`).
    Beginning(Vec<String>),
    /// These, the last of which may go on (`param_match initial`).
    Initial(Vec<String>),
}

/// Processes and what their number does to one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackProcess {
    /// The processes.
    pub process: ProcessId,
    /// What their number does.
    pub effect: TrackEffect,
}
