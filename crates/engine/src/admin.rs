//! What operators can ask, and the one snapshot that answers them.
//!
//! Owns [`Request`], [`Reply`] and [`Status`] and their texts. `status`, its JSON and everything else that shows the
//! daemon's state read the same [`Status`]. Spans are seconds in JSON.

mod counters;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::counters::{
    AgentStatistics, BackCounters, CheckStatistics, FrontendCounters, RateStatus, RequestCounters, TimeStatus,
};
use crate::health::order::{AdminState, Order, Outcome, Refusal};
use crate::peers::view::View;

/// What an operator can ask a running daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Show everything.
    Status,
    /// Give the addresses to a peer and stay a backup of last resort.
    HandOver,
    /// End [`Request::HandOver`]: take part with the configured priority again.
    Resume,
    /// Change something, until the daemon ends.
    Order(Order),
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// It was done, or is under way.
    Done,
    /// It was not done, and why.
    Refused(String),
    /// To [`Request::Order`].
    Order(Result<Outcome, Refusal>),
}

/// Everything there is to see of a daemon at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the daemon.
    pub version: String,
    /// Since the daemon started.
    #[serde(with = "seconds")]
    pub uptime: Duration,
    /// Whether it is handing over in order to exit.
    pub stopping: bool,
    /// What keeps adverts on time; `null` without virtual routers, or where real-time scheduling is not wanted.
    pub timing: Option<TimingStatus>,
    /// In the order of the plan.
    pub routers: Vec<RouterStatus>,
    /// In the order of the plan.
    pub groups: Vec<GroupStatus>,
    /// In the order of the plan.
    pub scripts: Vec<ScriptStatus>,
    /// In the order of the plan.
    pub files: Vec<FileStatus>,
    /// In the order of the plan.
    pub processes: Vec<ProcessStatus>,
    /// In the order of the plan.
    pub frontends: Vec<FrontendStatus>,
    /// In the order of the plan.
    pub pools: Vec<PoolStatus>,
    /// What the kernel forwards, if anything.
    #[serde(default)]
    pub forwarding: Option<ForwardingStatus>,
    /// The other balancers that are linked to this one, or should be.
    #[serde(default)]
    pub peers: Vec<PeerStatus>,
    /// Why routers have no peer link, one sentence each.
    #[serde(default)]
    pub without_peer_link: Vec<String>,
    /// What was said so far, by name. The engine leaves it empty: whoever says events counts them.
    #[serde(default)]
    pub events: Vec<EventStatus>,
}

/// What the kernel forwards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ForwardingStatus {
    /// Where clients connect, in the order of the plan.
    pub endpoints: Vec<String>,
    /// Why the latest rules are not in force; `null` if they are.
    pub failed: Option<String>,
    /// How long they have been in force, or not.
    #[serde(with = "seconds")]
    pub since: Duration,
}

/// How often one kind of event was said with one severity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventStatus {
    /// The event's name, as in the log's JSON.
    pub event: String,
    /// `debug`, `info`, `warning` or `error`.
    pub severity: String,
    /// How often.
    pub count: u64,
}

/// One link to another balancer, and what that balancer tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// The peer's address.
    pub address: String,
    /// The routers that both have, by the names of this node.
    pub routers: Vec<String>,
    /// Whether the link is up.
    pub up: bool,
    /// `up`, or why it is not, as a phrase.
    pub link: String,
    /// How long it has been up, or not.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// What the peer last told of itself.
    pub told: Option<PeerView>,
    /// How the peer differs from this node though it should not, one sentence each.
    pub drift: Vec<String>,
    /// How far the connections that the kernels forward are the same on both; `null` where none are.
    pub flows: Option<PeerFlowStatus>,
}

/// Connections in the kernel that a peer and this node tell each other of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerFlowStatus {
    /// Established connections of the peer that are kept here, for when this node takes over.
    pub kept: usize,
    /// How old its latest word about them is; `null` if it never said one.
    #[serde(with = "optional_seconds")]
    pub age: Option<Duration>,
    /// Established connections of this node that the peer knows.
    pub told: usize,
}

/// What another balancer tells of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeerView {
    /// Its own words.
    pub view: View,
    /// How old they are.
    #[serde(with = "seconds")]
    pub age: Duration,
    /// How far its clock is ahead of this node's.
    pub clock_ahead_ms: i64,
}

/// What keeps adverts on time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimingStatus {
    /// The priority of the control thread under `SCHED_RR`.
    pub realtime_priority: Option<u8>,
    /// Why it has none.
    pub realtime_refused: Option<String>,
    /// Why the process is not locked in memory; `null` if it is.
    pub memory_not_locked: Option<String>,
    /// How late a timer of VRRP ever was.
    #[serde(with = "seconds")]
    pub latest: Duration,
}

/// One virtual router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// The instance's name.
    pub name: String,
    /// The interface adverts travel on.
    pub interface: String,
    /// The virtual router's identifier.
    pub vrid: u8,
    /// `active`, `backup`, `fault`, `initialize`, `handing over` or `stopped`.
    pub state: String,
    /// Why it is in that state, as a sentence: "backup because 192.168.2.141 advertises priority 120 > 100".
    pub reason: String,
    /// How long it has been in that state.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// As configured.
    pub priority: u8,
    /// After tracking; 0 in a fault.
    pub effective_priority: u8,
    /// What tracking changed, one phrase each: "chk_haproxy failed: -20".
    pub tracking: Vec<String>,
    /// The active router's address, when it is another.
    pub active_peer: Option<String>,
    /// Virtual addresses, `address/prefix`.
    pub addresses: Vec<String>,
    /// Whether the addresses are installed here.
    pub addresses_installed: bool,
    /// The virtual router's own hardware address and the interface that has it, if there is one.
    pub virtual_mac: Option<String>,
    /// Routes and rules that move with the addresses, in the order of the plan.
    pub routing: Vec<RoutingStatus>,
    /// How often it became active.
    pub transitions_to_active: u64,
    /// Adverts sent.
    pub adverts_sent: u64,
    /// Valid adverts received.
    pub adverts_received: u64,
    /// Datagrams refused, by reason, most recent detail with each.
    pub refused: Vec<RefusedStatus>,
    /// What is wrong between it and others on its LAN now, harmful things first.
    pub differences: Vec<DifferenceStatus>,
    /// How often each kind of difference was seen since the start.
    pub differences_total: BTreeMap<String, u64>,
    /// How often differences were seen that there was no room to show.
    pub differences_left_out: u64,
    /// How often it was found to be active beside another router that it refuses.
    pub both_active_total: u64,
}

/// One thing that is wrong between a router and another on its LAN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DifferenceStatus {
    /// The other's address, or its hardware address where no more is known.
    pub who: String,
    /// The stable name of what differs; of refused adverts the same as in [`RefusedStatus`].
    pub kind: String,
    /// A sentence that begins with `who`.
    pub sentence: String,
    /// How to mend it.
    pub hint: String,
    /// Whether it keeps the group from working, as opposed to being odd.
    pub harmful: bool,
    /// Whether both routers are active because of it.
    pub both_active: bool,
    /// How long it has lasted.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// How long ago it was last seen.
    #[serde(with = "seconds")]
    pub latest: Duration,
    /// How often it was seen.
    pub count: u64,
}

/// A route or rule that moves with the addresses.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RoutingStatus {
    /// What `ip` would say of it, after `route` or `rule`.
    pub entry: String,
    /// `in force`, `not here`, or `failed` with the reason.
    pub state: String,
}

/// Datagrams refused for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// The reason's stable name.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The latest, as a sentence.
    pub latest: String,
}

/// One sync group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name.
    pub name: String,
    /// The state of all its routers, or `moving` while they differ.
    pub state: String,
    /// What keeps it from taking part, or the state of each router.
    pub reason: String,
    /// How long ago its routers last got a state in common.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// Its routers.
    pub routers: Vec<String>,
}

/// One tracked file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileStatus {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub path: String,
    /// The number in it; 0 when it is not there.
    pub number: Option<i64>,
    /// How long it has been that number.
    #[serde(with = "seconds")]
    pub since: Duration,
}

/// Some tracked processes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Their name.
    pub name: String,
    /// `good`, `bad` or `unknown`.
    pub state: String,
    /// How long they have been in that state.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// How many there are.
    pub count: u32,
}

/// One tracked script.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScriptStatus {
    /// Its name.
    pub name: String,
    /// `good`, `bad` or `unknown`.
    pub state: String,
    /// How long it has been in that state.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// How the latest run ended, as a phrase.
    pub latest: String,
}

/// One frontend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrontendStatus {
    /// Its name.
    pub name: String,
    /// HAProxy's number of the section it comes from (`iid`).
    pub id: u32,
    /// Where it listens; where the kernel forwards, what it stands for, with `(nat)` behind each address.
    pub binds: Vec<String>,
    /// `open`, `disabled` or `shut down`.
    pub state: String,
    /// Connections now.
    pub sessions: u32,
    /// Its limit now.
    pub maxconn: Option<u32>,
    /// Most connections at once.
    pub sessions_max: u32,
    /// Connections so far.
    pub sessions_total: u64,
    /// What else was counted.
    pub counters: FrontendCounters,
    /// What was counted of requests, if it answers them itself.
    #[serde(default)]
    pub requests: Option<RequestCounters>,
}

/// One pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: String,
    /// HAProxy's number of the section it comes from (`iid`).
    pub id: u32,
    /// How a server is chosen.
    pub algorithm: String,
    /// Connections now, those that wait included.
    pub sessions: u32,
    /// Most connections at once.
    pub sessions_max: u32,
    /// Connections so far.
    pub sessions_total: u64,
    /// Connections waiting for a slot now.
    pub queued: u32,
    /// Most connections that waited at once.
    pub queued_max: u32,
    /// Connections that a rule refused.
    pub denied_requests: u64,
    /// What else was counted.
    pub counters: BackCounters,
    /// How long it has had a server that takes connections, or none.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// How often the last of its servers went down.
    pub downs: u64,
    /// How long it has had no server, in all.
    #[serde(with = "seconds")]
    pub downtime: Duration,
    /// Connections that gave up waiting.
    pub queue_timeouts: u64,
    /// Connections that found no usable server.
    pub no_server: u64,
    /// As many connections fill it.
    #[serde(default)]
    pub fullconn: u32,
    /// While its connections are spread anew: how many may still be closed.
    #[serde(default)]
    pub rebalancing: Option<u32>,
    /// In the order of the file.
    pub servers: Vec<ServerStatus>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name.
    pub name: String,
    /// HAProxy's number of the server in its pool (`sid`).
    pub id: u32,
    /// Where it listens.
    pub address: String,
    /// `up`, `up, going down`, `stopping`, `down`, `down (agent)`, `down, going up`, `no check`, `drain`, `maintenance` or
    /// `maintenance (via POOL/SERVER)`.
    pub state: String,
    /// What an operator or its agent wants of it.
    #[serde(default)]
    pub admin: AdminState,
    /// The server whose health is also its own (`track`), as `pool/server`.
    #[serde(default)]
    pub tracks: Option<String>,
    /// How long it has been up or down.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// The latest check in HAProxy's words ("L4OK in 1ms", "L7STS/500 in 3ms"), with its detail.
    pub check: Option<String>,
    /// The latest answer of its agent, likewise.
    #[serde(default)]
    pub agent: Option<String>,
    /// What its agent said, if it is asked.
    #[serde(default)]
    pub agent_checks: Option<AgentStatistics>,
    /// How long ago that check ended.
    #[serde(with = "optional_seconds")]
    pub checked: Option<Duration>,
    /// What checks found out, if it is checked.
    pub checks: Option<CheckStatistics>,
    /// How often it went down.
    pub downs: u64,
    /// How long it has been down, in all.
    #[serde(with = "seconds")]
    pub downtime: Duration,
    /// As configured.
    pub initial_weight: u16,
    /// As configured, or as an operator or its agent set it.
    pub weight: u16,
    /// After slow start.
    pub effective_weight: u16,
    /// Whether it is a backup server.
    pub backup: bool,
    /// Connections now.
    pub sessions: u32,
    /// Its limit now.
    pub maxconn: Option<u32>,
    /// Most connections at once.
    pub sessions_max: u32,
    /// Connections so far.
    pub sessions_total: u64,
    /// Connects that failed.
    pub connect_errors: u64,
    /// What else was counted.
    pub counters: BackCounters,
    /// Connections that may wait for this very server.
    pub maxqueue: Option<u32>,
    /// Connections that wait for this very server now.
    #[serde(default)]
    pub queued: u32,
    /// Most connections that waited for it at once.
    #[serde(default)]
    pub queued_max: u32,
    /// Whether slow start limits it.
    pub warming_up: bool,
    /// While its connections are closed because it is dead: how long that still takes.
    #[serde(with = "optional_seconds", default)]
    pub closing: Option<Duration>,
    /// Connections that were closed because it was dead.
    #[serde(default)]
    pub closed_dead: u64,
    /// Connections that were closed so that another server gets its share.
    #[serde(default)]
    pub closed_to_rebalance: u64,
}

/// A [`Duration`] as a number of seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(duration.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// An optional [`Duration`] as a number of seconds or null.
mod optional_seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde's `with` passes a reference to the field")]
    pub(super) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds: Option<f64> = Option::deserialize(deserializer)?;
        seconds.map(Duration::try_from_secs_f64).transpose().map_err(serde::de::Error::custom)
    }
}
