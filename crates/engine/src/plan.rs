//! The plan: the typed, checked configuration, whatever language it was written in.
//!
//! Owns the types only. [`config::lower`](crate::config::lower) is the one maker of a [`Plan`]; nothing else knows a
//! default. A plan is immutable, and everything in it has been checked: references are indices that exist, ranges hold.

mod agent;
mod check;
mod check_status;
mod condition;
mod dial;
mod external_check;
mod forwarding;
mod frontend;
mod group;
pub mod hmac;
mod listen;
pub mod log;
mod notify;
mod outage;
mod page;
mod pool;
mod proxy_header;
mod resolver;
mod router;
mod routing;
mod rule;
mod runtime_api;
mod steps;
mod track;

use std::time::Duration;

use serde::Serialize;

pub use self::agent::Agent;
pub use self::check::{Check, CheckKind, StatusRanges, TlsCheck, Verify};
pub use self::check_status::CheckStatus;
pub use self::condition::{
    Acl, AddressRange, Condition, Constant, Converter, Count, Expression, Fetch, Pattern, Range, Regex, Term,
    Test, TextMatch, embedded,
};
pub use self::dial::{Dial, LocalAddress, ShownSource, Source, Target, Tuning};
pub use self::external_check::ExternalCheck;
pub use self::forwarding::{FlowKey, Forwarding, Nat, ProxyOnly};
pub use self::frontend::{Bind, Frontend};
pub use self::group::SyncGroup;
pub use self::listen::{Elsewhere, FileAccess};
pub use self::notify::{Notify, NotifyFifo, NotifyScript};
pub use self::outage::{DeadServer, NoServer, Outage};
pub use self::page::{Access, AccessRule, Account, NodeName, Pages, StatisticsPage};
pub use self::pool::{Algorithm, HashFunction, HashType, InitialState, Observe, OnError, Pool, Server};
pub use self::proxy_header::{ProxyHeader, ProxyVersion};
pub use self::resolver::{Hold, Lookup, NameServer, Resolver, ResolverId};
pub use self::router::{
    AnnouncePolicy, Authentication, ChecksumForm, Delivery, Family, HardwareAddress, LinkSecret, Preempt,
    Priority, Router, Scope, TrackEffect, TrackInterface, TrackScript, UnicastPeer, Version, VirtualAddress,
    VirtualMac, Vrid,
};
pub use self::routing::{MAIN_TABLE, Network, Route, RouteKind, Routing, RoutingEntry, Rule, RuleAction};
pub use self::rule::{
    Action, ConnectionRule, FrontendRules, Inspection, KeyKind, PoolRules, ServerRule, Stick, Switch, Table,
    TableId,
};
pub use self::runtime_api::{Level, RuntimeApi, StatsAddress, StatsSocket};
pub use self::steps::{
    Connect, Dialect, Expect, Expected, HeaderPattern, MysqlPacket, Request, Step, StepAction, Steps,
    TextPattern, Told,
};
pub use self::track::{
    FileId, InitialValue, Parameters, ProcessId, ProcessMatch, ProcessTarget, TrackFile, TrackProcess,
    TrackedFile, TrackedProcess,
};

/// Everything one daemon was told to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Connections all frontends together hold at once; more wait in the listen backlog (`global maxconn`).
    pub maxconn: u32,
    /// Worker threads of the proxy; `None` is one for each core (`nbthread`).
    pub workers: Option<u16>,
    /// Percentage by which check times are spread at random, 0 to 50 (`spread-checks`).
    pub spread_checks: u8,
    /// Where HAProxy's runtime API is answered.
    pub runtime_api: RuntimeApi,
    /// The name of this host in what it logs.
    pub log_hostname: log::LogHostname,
    /// The longest time over which first checks are spread (`max-spread-checks`).
    pub max_spread_checks: Option<Duration>,
    /// Where clients connect. [`FrontendId`] is an index into this.
    pub frontends: Vec<Frontend>,
    /// Groups of servers. [`PoolId`] is an index into this.
    pub pools: Vec<Pool>,
    /// Who knows addresses of servers. [`ResolverId`] is an index into this.
    pub resolvers: Vec<Resolver>,
    /// What is remembered of connections. [`TableId`] is an index into this.
    pub tables: Vec<Table>,
    /// Scripts that routers track. [`ScriptId`] is an index into this.
    pub scripts: Vec<Script>,
    /// Real-time priority of what sends adverts (`vrrp_rt_priority`); `None` is ordinary scheduling.
    pub realtime_priority: Option<u8>,
    /// Files that routers track. [`FileId`] is an index into this.
    pub files: Vec<TrackedFile>,
    /// Processes that routers track. [`ProcessId`] is an index into this.
    pub processes: Vec<TrackedProcess>,
    /// VRRP virtual routers. [`RouterId`] is an index into this.
    pub routers: Vec<Router>,
    /// Routers that move together.
    pub groups: Vec<SyncGroup>,
    /// FIFOs that every change of a router or a group is written to.
    pub notify_fifos: Vec<NotifyFifo>,
    /// When routers begin to listen.
    pub vrrp_start: VrrpStart,
    /// The least time between two announcements on one interface, by interface; empty for those without.
    pub announce_gaps: Vec<AnnounceGap>,
}

/// Index of a [`Frontend`] in its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct FrontendId(pub u16);

/// Index of a [`Pool`] in its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct PoolId(pub u16);

/// Index of a [`Server`] in its [`Pool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServerIndex(pub u16);

/// One server of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ServerId {
    /// The pool.
    pub pool: PoolId,
    /// The server in it.
    pub server: ServerIndex,
}

/// Index of a [`Script`] in its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ScriptId(pub u16);

/// Index of a [`Router`] in its [`Plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct RouterId(pub u16);

/// When routers begin to wait for the silence of others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VrrpStart {
    /// Not before the daemon has run for so long (`vrrp_startup_delay`).
    pub after_start: Duration,
    /// Not before the machine has run for so long (`vrrp_delay_after_boot`).
    pub after_boot: Duration,
}

/// The least time between two announcements on some interfaces (`vrrp_garp_interval`, `garp_group`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnnounceGap {
    /// The interfaces, which share the times; all that no other gap names when empty, and then each for itself.
    pub interfaces: Vec<String>,
    /// Between two gratuitous ARP requests (`garp_interval`).
    pub arp: Duration,
    /// Between two unsolicited neighbour advertisements (`gna_interval`).
    pub neighbour: Duration,
}

/// A command whose result changes a router's priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The name that `track_script` uses.
    pub name: String,
    /// What to run.
    pub command: ScriptCommand,
    /// Time between the starts of two runs.
    pub interval: Duration,
    /// How long one run may take before it is killed and counts as failed.
    pub timeout: Duration,
    /// Passed runs in a row that make it good.
    pub rise: u32,
    /// Failed runs in a row that make it bad.
    pub fall: u32,
    /// Change of priority for routers that track it without a weight of their own, -253 to 253.
    pub weight: i16,
    /// Runs as this user and group instead of the daemon's.
    pub user: Option<ScriptUser>,
}

/// The account a script runs as, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptUser {
    /// User name.
    pub user: String,
    /// Group name; the user's own when `None`.
    pub group: Option<String>,
}

/// What a tracked script runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptCommand {
    /// `pgrep haproxy`, `pidof haproxy` or `killall -0 haproxy`: asks whether mainstay's own data plane serves.
    DataPlaneServes {
        /// The command as it was written.
        written: String,
    },
    /// A program and its arguments, run without a shell.
    Execute {
        /// Program and arguments; never empty.
        arguments: Vec<String>,
    },
}

impl Plan {
    /// The server `id` names, if this plan has it.
    pub fn server(&self, id: ServerId) -> Option<&Server> {
        self.pools.get(usize::from(id.pool.0))?.servers.get(usize::from(id.server.0))
    }

    /// Every program that is told about routers or groups.
    pub fn notify_scripts(&self) -> impl Iterator<Item = &NotifyScript> {
        let routers = self.routers.iter().map(|router| &router.notify);
        let scripts = routers.chain(self.groups.iter().map(|group| &group.notify)).flat_map(Notify::scripts);
        scripts.chain(self.notify_fifos.iter().filter_map(|fifo| fifo.script.as_ref()))
    }

    /// Every server of every pool, in the order of the file. Those that were removed are left out.
    pub fn servers(&self) -> impl Iterator<Item = (ServerId, &Server)> {
        (0..).zip(&self.pools).flat_map(|(pool, servers)| {
            let present = (0..).zip(&servers.servers).filter(|(_, server)| !server.removed);
            present.map(move |(server, value)| {
                (ServerId { pool: PoolId(pool), server: ServerIndex(server) }, value)
            })
        })
    }
}
