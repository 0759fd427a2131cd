//! What the data plane counted of each frontend, pool and server, as numbers of one moment.
//!
//! Owns [`FrontendCounters`], [`RequestCounters`] and [`BackCounters`]. What they mean is said where they are counted, in
//! [`serving`](crate::serving).

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{optional_seconds, seconds};
use crate::serving::average::Times;
use crate::serving::rate::Rate;
use crate::serving::requests::{CLASSES, RequestLoad};
use crate::serving::{FrontendLoad, PoolLoad, ServerLoad};
use crate::time::Instant;

/// Events of one second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateStatus {
    /// In the last second.
    pub now: u32,
    /// Most in any second.
    pub max: u32,
}

impl RateStatus {
    fn of(rate: &Rate, now: Instant) -> Self {
        Self { now: rate.per_second(now), max: rate.max() }
    }
}

/// What was counted of a frontend.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FrontendCounters {
    /// Connections accepted.
    pub connections: u64,
    /// Connections accepted each second.
    pub connection_rate: RateStatus,
    /// Connections let in each second.
    pub session_rate: RateStatus,
    /// Connections refused when they were accepted.
    pub denied_connections: u64,
    /// Connections refused once it was known who connects.
    pub denied_sessions: u64,
    /// Connections refused for what they said.
    pub denied_requests: u64,
    /// Connections that broke off before a pool was found for them.
    pub request_errors: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
}

impl FrontendCounters {
    /// The numbers of now.
    pub(crate) fn of(load: &FrontendLoad, now: Instant) -> Self {
        Self {
            connections: load.connections_total.load(Relaxed),
            connection_rate: RateStatus::of(&load.connection_rate, now),
            session_rate: RateStatus::of(&load.session_rate, now),
            denied_connections: load.denied_connections.load(Relaxed),
            denied_sessions: load.denied_sessions.load(Relaxed),
            denied_requests: load.denied_requests.load(Relaxed),
            request_errors: load.request_errors.load(Relaxed),
            bytes_in: load.bytes_in.load(Relaxed),
            bytes_out: load.bytes_out.load(Relaxed),
        }
    }
}

/// What was counted of the requests that a frontend answers itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestCounters {
    /// Requests.
    pub total: u64,
    /// Requests each second.
    pub rate: RateStatus,
    /// Requests for something that is here.
    pub intercepted: u64,
    /// Requests that no server was there for.
    pub unserved: u64,
    /// Answers by class of their status: 1xx to 5xx, and others.
    pub answers: [u64; CLASSES],
    /// Whether HAProxy would show a backend of the same name, and with how many connections that would be full.
    pub backend: Option<u32>,
}

impl RequestCounters {
    /// The numbers of now.
    pub(crate) fn of(load: &RequestLoad, backend: Option<u32>, now: Instant) -> Self {
        Self {
            total: load.total.load(Relaxed),
            rate: RateStatus::of(&load.rate, now),
            intercepted: load.intercepted.load(Relaxed),
            unserved: load.unserved.load(Relaxed),
            answers: load.answers.each_ref().map(|counter| counter.load(Relaxed)),
            backend,
        }
    }
}

/// What was counted of the connections of a pool or of a server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BackCounters {
    /// Connections each second.
    pub session_rate: RateStatus,
    /// Connections that were given up before there was a server.
    pub connections_failed: u64,
    /// Connections that broke off at the server's end.
    pub response_errors: u64,
    /// Failed connects that were tried again with the same server.
    pub retries: u64,
    /// Failed connects that were tried again with another server.
    pub redispatches: u64,
    /// Connections that the client broke off.
    pub client_aborts: u64,
    /// Connections that the server broke off.
    pub server_aborts: u64,
    /// How often the algorithm chose it.
    pub chosen: u64,
    /// How long ago it was last used.
    #[serde(with = "optional_seconds")]
    pub last_session: Option<Duration>,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// How long a connection waits for a server, on average and at most.
    pub queue_time: TimeStatus,
    /// How long a connect takes.
    pub connect_time: TimeStatus,
    /// How long a connection lasts.
    pub total_time: TimeStatus,
}

/// How long something takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeStatus {
    /// On average, lately.
    #[serde(with = "seconds")]
    pub mean: Duration,
    /// At most.
    #[serde(with = "seconds")]
    pub max: Duration,
}

impl BackCounters {
    /// The numbers of a pool.
    pub(crate) fn of_pool(load: &PoolLoad, now: Instant) -> Self {
        let counters = [
            &load.connections_failed,
            &load.response_errors,
            &load.retries,
            &load.redispatches,
            &load.client_aborts,
            &load.server_aborts,
            &load.chosen_total,
            &load.bytes_in,
            &load.bytes_out,
        ];
        Self::of(counters, &load.session_rate, load.last_session.since(now), &load.times, now)
    }

    /// The numbers of a server.
    pub(crate) fn of_server(load: &ServerLoad, now: Instant) -> Self {
        let counters = [
            &load.connections_failed,
            &load.response_errors,
            &load.retries,
            &load.redispatches,
            &load.client_aborts,
            &load.server_aborts,
            &load.chosen_total,
            &load.bytes_in,
            &load.bytes_out,
        ];
        Self::of(counters, &load.session_rate, load.last_session.since(now), &load.times, now)
    }

    fn of(
        counters: [&AtomicU64; 9],
        rate: &Rate,
        last_session: Option<Duration>,
        times: &Times,
        now: Instant,
    ) -> Self {
        let [
            connections_failed,
            response_errors,
            retries,
            redispatches,
            client_aborts,
            server_aborts,
            chosen,
            bytes_in,
            bytes_out,
        ] = counters.map(|counter| counter.load(Relaxed));
        let time = |average: &crate::serving::average::Average| TimeStatus {
            mean: average.mean(chosen),
            max: average.max(),
        };
        Self {
            session_rate: RateStatus::of(rate, now),
            connections_failed,
            response_errors,
            retries,
            redispatches,
            client_aborts,
            server_aborts,
            chosen,
            last_session,
            bytes_in,
            bytes_out,
            queue_time: time(&times.queue),
            connect_time: time(&times.connect),
            total_time: time(&times.total),
        }
    }
}

/// What checks found out about a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckStatistics {
    /// The latest result in HAProxy's words (`L4OK`), if there is one.
    pub status: Option<String>,
    /// That result as a sentence (`Layer4 check passed`).
    #[serde(default)]
    pub sentence: String,
    /// The status of HTTP or of a program, 0 where there could be one and is none.
    pub code: Option<u16>,
    /// How long the latest check took.
    #[serde(with = "optional_seconds")]
    pub took: Option<Duration>,
    /// More about the latest result; empty when there is nothing to add.
    pub detail: String,
    /// Passed checks in a row that bring the server up.
    pub rise: u32,
    /// Failed checks in a row that take it down.
    pub fall: u32,
    /// HAProxy's measure of health: from 0 to `rise` + `fall` - 1, and up from `rise` on.
    pub health: u32,
    /// Checks that failed while the server was up.
    pub failed: u64,
}

/// What the agent of a server said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatistics {
    /// The latest result in HAProxy's words (`L7STS`), if there is one.
    pub status: Option<String>,
    /// That result as a sentence.
    pub sentence: String,
    /// Whether HAProxy shows a code with it, which is always 0.
    pub has_code: bool,
    /// How long asking took.
    #[serde(with = "optional_seconds")]
    pub took: Option<Duration>,
    /// What it said, or what went wrong.
    pub detail: String,
    /// Whether it lets the server work.
    pub up: bool,
}
