//! `show info`: the daemon as a whole, in HAProxy's words.
//!
//! Owns [`Process`] and its forms. Numbers and names of the fields are HAProxy 2.6's; those about TLS, compression and
//! memory pools are left out, because there is nothing here that they would count.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value as Json, json};

use super::statistics::{Value, json_tags, json_value, typed_value};
use crate::proxy::ProxyLoad;

/// What there is to say of the daemon as a whole.
#[derive(Clone, Debug)]
pub struct Process {
    /// Since its start.
    pub uptime: Duration,
    /// Worker threads.
    pub workers: usize,
    /// What the data plane did.
    pub load: ProxyLoad,
    /// Servers that are checked: each is a task.
    pub checked: usize,
    /// Whether it is handing over in order to exit.
    pub stopping: bool,
    /// Listening sockets.
    pub listeners: usize,
    /// Peers that are linked, and those that should be.
    pub peers: (usize, usize),
}

/// When HAProxy 2.6.12 was released, whose API this is.
const RELEASE_DATE: &str = "2023/03/28";

/// HAProxy's number of a field, its name, what it means, its origin, nature and scope, and its value.
type Field = (u8, &'static str, &'static str, &'static str, Value);

impl Process {
    fn fields(&self) -> Vec<Field> {
        let load = &self.load;
        let seconds = self.uptime.as_secs();
        let started =
            SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(self.uptime);
        let (descriptors, _) =
            nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap_or_default();
        let text = |text: &str| Value::Text(text.to_owned());
        let number = |number: usize| Value::U32(number as u64);
        let whole = |number: u32| Value::U32(number.into());
        vec![
            // Programs look for this name, and compare the version with HAProxy's.
            (0, "Name", "Product name", "POS", text("HAProxy")),
            (1, "Version", "Product version", "POS", text(&version())),
            (2, "Release_date", "Date of latest source code update", "POS", text(RELEASE_DATE)),
            (3, "Nbthread", "Number of started threads (global.nbthread)", "CGS", number(self.workers)),
            (4, "Nbproc", "Number of started worker processes", "CGS", number(1)),
            (5, "Process_num", "Relative worker process number", "KGP", number(1)),
            (6, "Pid", "This worker process identifier for the system", "SGP", whole(std::process::id())),
            (7, "Uptime", "How long ago this worker process was started", "MDP", text(&uptime(seconds))),
            (
                8,
                "Uptime_sec",
                "How long ago this worker process was started (seconds)",
                "MDP",
                Value::U32(seconds),
            ),
            (9, "Memmax_MB", "Worker process's hard limit on memory usage in MB", "CLP", number(0)),
            (
                13,
                "Ulimit-n",
                "Hard limit on the number of per-process file descriptors",
                "CLP",
                Value::U32(descriptors),
            ),
            (
                14,
                "Maxsock",
                "Hard limit on the number of per-process sockets",
                "CLP",
                Value::U32(descriptors),
            ),
            (
                15,
                "Maxconn",
                "Hard limit on the number of per-process connections",
                "CLP",
                whole(load.maxconn),
            ),
            (
                16,
                "Hard_maxconn",
                "Hard limit on the number of per-process connections",
                "CLP",
                whole(load.maxconn),
            ),
            (
                17,
                "CurrConns",
                "Current number of connections on this worker process",
                "MGP",
                whole(load.sessions),
            ),
            (
                18,
                "CumConns",
                "Total number of connections on this worker process since started",
                "MCP",
                Value::U32(load.connections_total),
            ),
            (
                19,
                "CumReq",
                "Total number of requests on this worker process since started",
                "MCP",
                Value::U32(load.sessions_total),
            ),
            (
                23,
                "Maxpipes",
                "Hard limit on the number of pipes for splicing, 0=unlimited",
                "CLP",
                whole(load.pipes_max),
            ),
            (24, "PipesUsed", "Current number of pipes in use", "MGP", whole(load.pipes_used)),
            (
                25,
                "PipesFree",
                "Current number of allocated and available pipes",
                "MGP",
                whole(load.pipes_free),
            ),
            (
                26,
                "ConnRate",
                "Number of front connections created on this worker process over the last second",
                "MRP",
                whole(load.connection_rate),
            ),
            (
                27,
                "ConnRateLimit",
                "Hard limit for ConnRate (global.maxconnrate)",
                "CLP",
                whole(load.connection_rate_limit),
            ),
            (
                28,
                "MaxConnRate",
                "Highest ConnRate reached on this worker process since started",
                "MMP",
                whole(load.connection_rate_max),
            ),
            (
                29,
                "SessRate",
                "Number of sessions created on this worker process over the last second",
                "MRP",
                whole(load.session_rate),
            ),
            (
                30,
                "SessRateLimit",
                "Hard limit for SessRate (global.maxsessrate)",
                "CLP",
                whole(load.session_rate_limit),
            ),
            (
                31,
                "MaxSessRate",
                "Highest SessRate reached on this worker process since started",
                "MRP",
                whole(load.session_rate_max),
            ),
            (
                47,
                "Tasks",
                "Total number of tasks in the current worker process (active + sleeping)",
                "MGP",
                number(load.sessions as usize + self.checked),
            ),
            (
                48,
                "Run_queue",
                "Total number of active tasks+tasklets in the current worker process",
                "MGP",
                whole(load.ready),
            ),
            (50, "node", "Node name (global.node)", "COS", text(&node())),
            (
                52,
                "Stopping",
                "1 if the worker process is currently stopping",
                "MGP",
                number(self.stopping.into()),
            ),
            (
                53,
                "Jobs",
                "Current number of active jobs on this worker process",
                "MGP",
                number(self.listeners + load.sessions as usize),
            ),
            (
                54,
                "Unstoppable Jobs",
                "Current number of unstoppable jobs on this worker process",
                "MGP",
                number(0),
            ),
            (
                55,
                "Listeners",
                "Current number of active listeners on this worker process",
                "MGP",
                number(self.listeners),
            ),
            (
                56,
                "ActivePeers",
                "Current number of verified active peers connections",
                "MGP",
                number(self.peers.1),
            ),
            (
                57,
                "ConnectedPeers",
                "Current number of peers having passed the connection step",
                "MGP",
                number(self.peers.0),
            ),
            (
                58,
                "DroppedLogs",
                "Total number of dropped logs for current worker process since started",
                "MGP",
                Value::U32(load.dropped_logs),
            ),
            (
                61,
                "TotalBytesOut",
                "Total number of bytes emitted by this worker process since started",
                "MGP",
                Value::U64(load.bytes_total),
            ),
            (
                62,
                "TotalSplicdedBytesOut",
                "Total number of bytes emitted by this worker process through a kernel pipe",
                "MGP",
                Value::U64(load.bytes_spliced),
            ),
            (
                63,
                "BytesOutRate",
                "Number of bytes emitted over the last second",
                "MRP",
                Value::U64(load.bytes_rate),
            ),
            (66, "Build info", "Build info", "POS", text(&version())),
            (70, "Start_time_sec", "Start time in seconds", "MDP", Value::U32(started.as_secs())),
        ]
    }

    /// A line for each field; with what it means if that is asked for.
    pub fn plain(&self, described: bool) -> String {
        let mut text = String::new();
        for (_, name, meaning, _, value) in self.fields() {
            let value = typed_value(&value);
            let value = value.split_once(':').map_or("", |(_, value)| value);
            let _ = match described {
                true => writeln!(text, "{name}: {value}:\"{meaning}\""),
                false => writeln!(text, "{name}: {value}"),
            };
        }
        text
    }

    /// A line for each field, with its type.
    pub fn typed(&self) -> String {
        let mut text = String::new();
        for (number, name, _, tags, value) in self.fields() {
            let _ = writeln!(text, "{number}.{name}.1:{tags}:{}", typed_value(&value));
        }
        text
    }

    /// An array of fields.
    pub fn json(&self) -> String {
        let field = |(number, name, _, tags, value): Field| {
            json!({
                "field": { "pos": number, "name": name },
                "processNum": 1,
                "tags": json_tags(tags),
                "value": json_value(&value),
            })
        };
        Json::Array(self.fields().into_iter().map(field).collect()).to_string()
    }
}

/// The version of HAProxy whose API this is, and our own.
pub fn version() -> String {
    format!("2.6.12-mainstay-{}", env!("CARGO_PKG_VERSION"))
}

fn uptime(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{days}d {hours}h{minutes:02}m{:02}s", seconds % 60)
}

fn node() -> String {
    nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default()
}
