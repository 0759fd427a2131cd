//! What is worth saying about servers and pools.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use crate::event::Severity;
use crate::plan::NoServer;

/// Something worth saying about a server or a pool.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum HealthEvent {
    /// A server passed enough checks and takes connections.
    ServerUp {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The check that decided it.
        check: String,
        /// Servers of the pool that are up now.
        up: usize,
        /// Servers of the pool, those in maintenance left out.
        servers: usize,
    },
    /// A server failed enough checks and takes no connections any more.
    ServerDown {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The check that decided it.
        check: String,
        /// Servers of the pool that are still up.
        up: usize,
        /// Servers of the pool, those in maintenance left out.
        servers: usize,
    },
    /// A server is up, and its latest checks failed.
    ServerGoingDown {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The latest check.
        check: String,
        /// Failed checks in a row.
        failed: u32,
        /// As many take it down.
        fall: u32,
    },
    /// A server is down, and its latest checks passed.
    ServerGoingUp {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The latest check.
        check: String,
        /// Passed checks in a row.
        passed: u32,
        /// As many bring it up.
        rise: u32,
    },
    /// A server is up and asks for no new connections.
    ServerStopping {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The check that said so.
        check: String,
    },
    /// A server that asked for no new connections asks for them again.
    ServerRunning {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// The check that said so.
        check: String,
    },
    /// A check ended, in a pool that wants to know of each that is news (`option log-health-checks`).
    CheckEnded {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Whether it is a backup server.
        backup: bool,
        /// Whether the check passed.
        passed: bool,
        /// Whether it did so on a condition: no new connections.
        conditionally: bool,
        /// How it ended.
        check: String,
        /// Results in a row of those that change the server, and what it is: `2/3 UP`.
        progress: String,
    },
    /// This machine could not carry out a check, so it says nothing about the server.
    CheckNotRun {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// Why.
        check: String,
    },
    /// The connections of a dead server are being closed.
    ServerClosing {
        /// The pool's name.
        pool: String,
        /// The server's name.
        server: String,
        /// How many there are.
        connections: u32,
        /// The time that it takes.
        over: Duration,
    },
    /// Connections are closed so that a server that has returned gets its share.
    PoolRebalancing {
        /// The pool's name.
        pool: String,
        /// Connections that other servers have above their shares.
        connections: u32,
        /// Connections closed in a second.
        per_second: u32,
    },
    /// Every server has its share, or closing more connections does not help.
    PoolRebalanced {
        /// The pool's name.
        pool: String,
    },
    /// No server of a pool can take connections.
    PoolWithoutServer {
        /// The pool's name.
        pool: String,
        /// What becomes of new connections.
        then: NoServer,
    },
    /// A pool that had no server has one again.
    PoolServesAgain {
        /// The pool's name.
        pool: String,
    },
}

impl HealthEvent {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::ServerGoingDown { .. } | Self::ServerGoingUp { .. } => Severity::Debug,
            Self::ServerUp { .. }
            | Self::ServerRunning { .. }
            | Self::CheckEnded { .. }
            | Self::PoolRebalancing { .. }
            | Self::PoolRebalanced { .. }
            | Self::PoolServesAgain { .. } => Severity::Info,
            Self::ServerStopping { .. } | Self::ServerClosing { .. } => Severity::Warning,
            Self::ServerDown { .. } | Self::CheckNotRun { .. } => Severity::Warning,
            Self::PoolWithoutServer { .. } => Severity::Error,
        }
    }
}

impl fmt::Display for HealthEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ServerUp { pool, server, check, up, servers } => {
                write!(f, "server {pool}/{server} is up: {check}; {up} of {servers} servers up")
            }
            Self::ServerDown { pool, server, check, up, servers } => {
                write!(f, "server {pool}/{server} is down: {check}; {up} of {servers} servers up")
            }
            Self::ServerGoingDown { pool, server, check, failed, fall } => {
                write!(f, "server {pool}/{server} is going down: {check}; {failed} of {fall} checks failed")
            }
            Self::ServerGoingUp { pool, server, check, passed, rise } => {
                write!(f, "server {pool}/{server} is going up: {check}; {passed} of {rise} checks passed")
            }
            Self::ServerStopping { pool, server, check } => {
                write!(f, "server {pool}/{server} takes no new connections: {check}")
            }
            Self::ServerRunning { pool, server, check } => {
                write!(f, "server {pool}/{server} takes new connections again: {check}")
            }
            Self::CheckEnded { pool, server, backup, passed, conditionally, check, progress } => {
                let backup = if *backup { "backup " } else { "" };
                let how = match (passed, conditionally) {
                    (true, true) => "conditionally succeeded",
                    (true, false) => "succeeded",
                    (false, _) => "failed",
                };
                write!(
                    f,
                    "Health check for {backup}server {pool}/{server} {how}, reason: {check}, status: {progress}"
                )
            }
            Self::CheckNotRun { pool, server, check } => {
                write!(f, "server {pool}/{server} could not be checked, its state stays: {check}")
            }
            Self::ServerClosing { pool, server, connections, over } => write!(
                f,
                "server {pool}/{server} does not answer: its {connections} connections are closed over {:.1} s",
                over.as_secs_f64()
            ),
            Self::PoolRebalancing { pool, connections, per_second } => write!(
                f,
                "pool {pool} is rebalanced: {connections} connections are closed, {per_second} a second, because others \
                 have more than their share"
            ),
            Self::PoolRebalanced { pool } => write!(f, "pool {pool} is balanced again"),
            Self::PoolWithoutServer { pool, then } => {
                let then = match then {
                    NoServer::Refuse => "fail",
                    NoServer::Hold => "wait for one",
                    NoServer::TryAll => "try those that checks found dead",
                };
                write!(f, "pool {pool} has no server left: its new connections {then}")
            }
            Self::PoolServesAgain { pool } => write!(f, "pool {pool} has a server again"),
        }
    }
}
