//! `show stat`: one line for each frontend, server and backend, in the three forms that HAProxy has.
//!
//! Owns [`Line`], [`lines`] and the forms. Names and order of the fields, and what each form says of them, are HAProxy
//! 2.6's. A field that means nothing for a line, or counts what TCP mode has none of, is empty.

mod listen;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use mainstay_engine::admin::{BackCounters, FrontendStatus, PoolStatus, ServerStatus, Status};
use serde_json::{Value as Json, json};

use super::servers::leader;

/// The fields, in the order of the CSV.
pub const FIELDS: [&str; 103] = [
    "pxname",
    "svname",
    "qcur",
    "qmax",
    "scur",
    "smax",
    "slim",
    "stot",
    "bin",
    "bout",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "lastchg",
    "downtime",
    "qlimit",
    "pid",
    "iid",
    "sid",
    "throttle",
    "lbtot",
    "tracked",
    "type",
    "rate",
    "rate_lim",
    "rate_max",
    "check_status",
    "check_code",
    "check_duration",
    "hrsp_1xx",
    "hrsp_2xx",
    "hrsp_3xx",
    "hrsp_4xx",
    "hrsp_5xx",
    "hrsp_other",
    "hanafail",
    "req_rate",
    "req_rate_max",
    "req_tot",
    "cli_abrt",
    "srv_abrt",
    "comp_in",
    "comp_out",
    "comp_byp",
    "comp_rsp",
    "lastsess",
    "last_chk",
    "last_agt",
    "qtime",
    "ctime",
    "rtime",
    "ttime",
    "agent_status",
    "agent_code",
    "agent_duration",
    "check_desc",
    "agent_desc",
    "check_rise",
    "check_fall",
    "check_health",
    "agent_rise",
    "agent_fall",
    "agent_health",
    "addr",
    "cookie",
    "mode",
    "algo",
    "conn_rate",
    "conn_rate_max",
    "conn_tot",
    "intercepted",
    "dcon",
    "dses",
    "wrew",
    "connect",
    "reuse",
    "cache_lookups",
    "cache_hits",
    "srv_icur",
    "src_ilim",
    "qtime_max",
    "ctime_max",
    "rtime_max",
    "ttime_max",
    "eint",
    "idle_conn_cur",
    "safe_conn_cur",
    "used_conn_cur",
    "need_conn_est",
    "uweight",
    "agg_server_status",
    "agg_server_check_status",
    "agg_check_status",
];

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A frontend.
    Frontend,
    /// A pool as a whole.
    Backend,
    /// A server.
    Server,
}

/// A value, with what the typed form says of its type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// 32 bits.
    U32(u64),
    /// 64 bits.
    U64(u64),
    /// With a sign.
    S32(i64),
    /// Text.
    Text(String),
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// What it is about.
    pub kind: Kind,
    /// HAProxy's number of the proxy.
    pub proxy: u32,
    /// HAProxy's number of the server; 0 of a proxy as a whole.
    pub server: u32,
    /// Origin, nature and scope of a field, as letters, and its value, by place.
    fields: BTreeMap<usize, (&'static str, Value)>,
}

/// Which lines are wanted (`show stat [<proxy> <types> <server>] [no-maint] [up]`).
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only this proxy, by number or name.
    pub proxy: Option<String>,
    /// A sum of 1 for frontends, 2 for backends, 4 for servers; `None` is all.
    pub kinds: Option<u8>,
    /// Only this server, by number.
    pub server: Option<u32>,
    /// No servers in maintenance.
    pub no_maintenance: bool,
    /// Only servers that are up.
    pub up: bool,
}

/// Every line that `filter` wants, in HAProxy's order.
pub fn lines(status: &Status, filter: &Filter) -> Vec<Line> {
    let mut proxies: Vec<u32> = status
        .frontends
        .iter()
        .map(|front| front.id)
        .chain(status.pools.iter().map(|pool| pool.id))
        .collect();
    proxies.sort_unstable();
    proxies.dedup();
    let mut lines = Vec::new();
    for id in proxies {
        for front in status.frontends.iter().filter(|front| front.id == id) {
            lines.push(frontend(front));
            lines.extend(listen::backend(front, status.uptime));
        }
        for pool in status.pools.iter().filter(|pool| pool.id == id) {
            lines.extend(pool.servers.iter().map(|one| server(status, pool, one)));
            lines.push(backend(pool));
        }
    }
    lines.retain(|line| filter.wants(line));
    lines
}

impl Filter {
    fn wants(&self, line: &Line) -> bool {
        let proxy = self.proxy.as_ref().is_none_or(|wanted| {
            wanted.parse() == Ok(line.proxy) || line.text("pxname") == Some(wanted.as_str())
        });
        let bit = match line.kind {
            Kind::Frontend => 1,
            Kind::Backend => 2,
            Kind::Server => 4,
        };
        let kind = self.kinds.is_none_or(|kinds| kinds & bit != 0);
        let of_server = self.server.is_none_or(|server| server == line.server);
        let state = line.text("status").unwrap_or_default();
        let in_service = line.kind != Kind::Server || !state.starts_with("MAINT");
        let works = line.kind != Kind::Server || !(state.starts_with("DOWN") || state.starts_with("MAINT"));
        proxy && kind && of_server && (!self.no_maintenance || in_service) && (!self.up || works)
    }
}

impl Line {
    fn new(kind: Kind, proxy: (&str, u32), server: (&str, u32)) -> Self {
        let mut line = Self { kind, proxy: proxy.1, server: server.1, fields: BTreeMap::new() };
        line.put("pxname", "KNS", Value::Text(proxy.0.to_owned()));
        line.put("svname", "KNS", Value::Text(server.0.to_owned()));
        line.put("pid", "KGP", Value::U32(1));
        line.put("iid", "KGS", Value::U32(proxy.1.into()));
        line.put("sid", "KGS", Value::U32(server.1.into()));
        line.put(
            "type",
            "CGS",
            Value::U32(match kind {
                Kind::Frontend => 0,
                Kind::Backend => 1,
                Kind::Server => 2,
            }),
        );
        line.put("mode", "CGS", Value::Text("tcp".to_owned()));
        line
    }

    /// A text field.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A field that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            Value::U32(number) | Value::U64(number) => i64::try_from(*number).ok(),
            Value::S32(number) => Some(*number),
            Value::Text(_) => None,
        }
    }

    fn value(&self, name: &str) -> Option<&Value> {
        let place = FIELDS.iter().position(|field| *field == name)?;
        self.fields.get(&place).map(|(_, value)| value)
    }

    fn put(&mut self, name: &str, tags: &'static str, value: Value) {
        if let Some(place) = FIELDS.iter().position(|field| *field == name) {
            self.fields.insert(place, (tags, value));
        }
    }

    /// Leaves out fields, for those who may not see them.
    pub fn hide(&mut self, names: &[&str]) {
        self.fields.retain(|place, _| FIELDS.get(*place).is_none_or(|name| !names.contains(name)));
    }

    /// Counters, which only ever grow.
    fn counters<const N: usize>(&mut self, counters: [(&str, u64); N]) {
        for (name, value) in counters {
            self.put(name, "MCP", Value::U64(value));
        }
    }

    fn rates(&mut self, tags: [&'static str; 2], rates: [(&str, u32); 2]) {
        for (tags, (name, value)) in tags.into_iter().zip(rates) {
            self.put(name, tags, Value::U32(value.into()));
        }
    }

    fn milliseconds(&mut self, name: &str, tags: &'static str, time: Duration) {
        self.put(name, tags, Value::U32(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
    }

    fn seconds(&mut self, name: &str, tags: &'static str, time: Duration) {
        self.put(name, tags, Value::U32(time.as_secs()));
    }

    fn back_counters(&mut self, counters: &BackCounters) {
        self.counters([
            ("bin", counters.bytes_in),
            ("bout", counters.bytes_out),
            ("dresp", 0),
            ("econ", counters.connections_failed),
            ("eresp", counters.response_errors),
            ("wretr", counters.retries),
            ("wredis", counters.redispatches),
            ("lbtot", counters.chosen),
            ("cli_abrt", counters.client_aborts),
            ("srv_abrt", counters.server_aborts),
        ]);
        let last = counters.last_session.map_or(-1, |ago| i64::try_from(ago.as_secs()).unwrap_or(i64::MAX));
        self.put("lastsess", "MAP", Value::S32(last));
        let times = [counters.queue_time, counters.connect_time, Default::default(), counters.total_time];
        for ((name, max), time) in
            [("qtime", "qtime_max"), ("ctime", "ctime_max"), ("rtime", "rtime_max"), ("ttime", "ttime_max")]
                .into_iter()
                .zip(times)
        {
            self.milliseconds(name, "MaP", time.mean);
            self.milliseconds(max, "MMP", time.max);
        }
    }
}

fn frontend(front: &FrontendStatus) -> Line {
    let counters = &front.counters;
    let mut line = Line::new(Kind::Frontend, (&front.name, front.id), ("FRONTEND", 0));
    line.put("scur", "MGP", Value::U32(front.sessions.into()));
    line.put("smax", "MMP", Value::U32(front.sessions_max.into()));
    if let Some(limit) = front.maxconn {
        line.put("slim", "CLP", Value::U32(limit.into()));
    }
    line.counters([
        ("stot", front.sessions_total),
        ("bin", counters.bytes_in),
        ("bout", counters.bytes_out),
        ("dreq", counters.denied_requests),
        ("dresp", 0),
        ("ereq", counters.request_errors),
        ("conn_tot", counters.connections),
        ("dcon", counters.denied_connections),
        ("dses", counters.denied_sessions),
    ]);
    let state = match front.state.as_str() {
        "open" => "OPEN",
        "disabled" => "PAUSED",
        _ => "STOP",
    };
    line.put("status", "SGP", Value::Text(state.to_owned()));
    line.rates(
        ["MRP", "MMP"],
        [("rate", counters.session_rate.now), ("rate_max", counters.session_rate.max)],
    );
    line.put("rate_lim", "CLP", Value::U32(0));
    listen::requests(&mut line, front);
    line.rates(
        ["MRP", "MMP"],
        [("conn_rate", counters.connection_rate.now), ("conn_rate_max", counters.connection_rate.max)],
    );
    line
}

fn server(status: &Status, pool: &PoolStatus, server: &ServerStatus) -> Line {
    let mut line = Line::new(Kind::Server, (&pool.name, pool.id), (&server.name, server.id));
    line.put("qcur", "MGP", Value::U32(server.queued.into()));
    line.put("qmax", "MMP", Value::U32(server.queued_max.into()));
    line.put("scur", "MGP", Value::U32(server.sessions.into()));
    line.put("smax", "MMP", Value::U32(server.sessions_max.into()));
    if let Some(limit) = server.maxconn {
        line.put("slim", "CLP", Value::U32(limit.into()));
    }
    line.counters([("stot", server.sessions_total), ("connect", server.sessions_total), ("reuse", 0)]);
    line.back_counters(&server.counters);
    line.put("status", "SGP", Value::Text(state(server, followed(status, server))));
    let weight = if server.warming_up { server.effective_weight } else { server.weight };
    line.put("weight", "MaP", Value::U32(weight.into()));
    line.put("uweight", "MaP", Value::U32(server.weight.into()));
    line.put("act", "SGP", Value::U32((!server.backup).into()));
    line.put("bck", "SGP", Value::U32(server.backup.into()));
    line.seconds("lastchg", "MAP", server.since);
    if let Some(limit) = server.maxqueue {
        line.put("qlimit", "CLS", Value::U32(limit.into()));
    }
    if server.warming_up && server.weight > 0 {
        let percent = u64::from(server.effective_weight) * 100 / u64::from(server.weight);
        line.put("throttle", "MaP", Value::U32(percent.clamp(1, 100)));
    }
    let rate = server.counters.session_rate;
    line.rates(["MRP", "MMP"], [("rate", rate.now), ("rate_max", rate.max)]);
    let local = server.address.starts_with("unix@") || server.address.starts_with("abns@");
    let address = if local { "unix".to_owned() } else { server.address.clone() };
    line.put("addr", "CGS", Value::Text(address));
    if let Some(leader) = &server.tracks {
        line.put("tracked", "CNS", Value::Text(leader.clone()));
    }
    checks(&mut line, server);
    agent(&mut line, server);
    line
}

/// The server whose checks count for this one: the end of the chain of those that track.
fn followed<'a>(status: &'a Status, server: &'a ServerStatus) -> &'a ServerStatus {
    let leader = |follower: &&'a ServerStatus| leader(&status.pools, follower);
    std::iter::successors(Some(server), leader).last().unwrap_or(server)
}

/// What checks found out.
fn checks(line: &mut Line, server: &ServerStatus) {
    let Some(checks) = &server.checks else { return };
    line.counters([("chkfail", checks.failed), ("chkdown", server.downs)]);
    line.seconds("downtime", "MCP", server.downtime);
    // In maintenance there are no checks, and what they found before says nothing.
    if server.state.starts_with("maintenance") {
        return;
    }
    line.put("check_rise", "CGS", Value::U32(checks.rise.into()));
    line.put("check_fall", "CGS", Value::U32(checks.fall.into()));
    line.put("check_health", "CGS", Value::U32(checks.health.into()));
    let Some(status) = &checks.status else {
        line.put("check_status", "MOP", Value::Text("INI".to_owned()));
        line.put("check_desc", "MOP", Value::Text("Initializing".to_owned()));
        return;
    };
    line.put("check_status", "MOP", Value::Text(status.clone()));
    if let Some(code) = checks.code {
        line.put("check_code", "MOP", Value::U32(code.into()));
    }
    if let Some(took) = checks.took {
        line.put("check_duration", "MDP", Value::U64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
    }
    line.put("last_chk", "MOP", Value::Text(checks.detail.clone()));
    line.put("check_desc", "MOP", Value::Text(checks.sentence.clone()));
}

/// What its agent said.
fn agent(line: &mut Line, server: &ServerStatus) {
    let Some(agent) = &server.agent_checks else { return };
    line.put("agent_rise", "CGS", Value::U32(1));
    line.put("agent_fall", "CGS", Value::U32(1));
    line.put("agent_health", "CGS", Value::U32(agent.up.into()));
    let Some(status) = &agent.status else {
        line.put("agent_status", "MOP", Value::Text("INI".to_owned()));
        line.put("agent_desc", "MOP", Value::Text("Initializing".to_owned()));
        return;
    };
    line.put("agent_status", "MOP", Value::Text(status.clone()));
    if agent.has_code {
        line.put("agent_code", "MOP", Value::U32(0));
    }
    if let Some(took) = agent.took {
        line.put("agent_duration", "MDP", Value::U64(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
    }
    line.put("last_agt", "MOP", Value::Text(agent.detail.clone()));
    line.put("agent_desc", "MOP", Value::Text(agent.sentence.clone()));
}

/// HAProxy's words for the state of a server, with the progress of the checks that count for it.
fn state(server: &ServerStatus, checked: &ServerStatus) -> String {
    let health = checked.checks.as_ref().map(|checks| (checks.health, checks.rise, checks.fall));
    let partly = |word: &str| match health {
        Some((health, rise, fall)) if health >= rise && health < rise + fall - 1 => {
            format!("{word} {}/{fall}", health - rise + 1)
        }
        _ => word.to_owned(),
    };
    match server.state.as_str() {
        "maintenance" => "MAINT".to_owned(),
        "no check" => "no check".to_owned(),
        "drain" if checked.agent_checks.is_some() => "DRAIN (agent)".to_owned(),
        "drain" => partly("DRAIN"),
        "stopping" => partly("NOLB"),
        "down (agent)" => "DOWN (agent)".to_owned(),
        state if state.starts_with("up") => partly("UP"),
        state => match (state.strip_prefix("maintenance"), health) {
            (Some(via), _) => format!("MAINT{via}"),
            (None, Some((health, rise, _))) if health > 0 => format!("DOWN {health}/{rise}"),
            _ => "DOWN".to_owned(),
        },
    }
}

fn backend(pool: &PoolStatus) -> Line {
    let mut line = Line::new(Kind::Backend, (&pool.name, pool.id), ("BACKEND", 0));
    line.put("qcur", "MGP", Value::U32(pool.queued.into()));
    line.put("qmax", "MMP", Value::U32(pool.queued_max.into()));
    line.put("scur", "MGP", Value::U32(pool.sessions.into()));
    line.put("smax", "MMP", Value::U32(pool.sessions_max.into()));
    line.put("slim", "CLP", Value::U32(pool.fullconn.into()));
    line.counters([
        ("stot", pool.sessions_total),
        ("dreq", pool.denied_requests),
        ("connect", pool.servers.iter().map(|server| server.sessions_total).sum()),
        ("reuse", 0),
        ("chkdown", pool.downs),
    ]);
    line.back_counters(&pool.counters);
    let usable = |server: &&ServerStatus| {
        server.weight > 0 && (server.state.starts_with("up") || server.state == "no check")
    };
    let count = |backup| pool.servers.iter().filter(usable).filter(move |server| server.backup == backup);
    let (active, backup) = (count(false).count(), count(true).count());
    let up = active + backup > 0;
    line.put("status", "SGP", Value::Text(if up { "UP" } else { "DOWN" }.to_owned()));
    let weight: u64 = if active > 0 { count(false) } else { count(true) }
        .map(|server| u64::from(server.effective_weight))
        .sum();
    line.put("weight", "MaP", Value::U32(weight));
    line.put("uweight", "MaP", Value::U32(weight));
    line.put("act", "MGP", Value::U32(active as u64));
    line.put("bck", "MGP", Value::U32(backup as u64));
    line.seconds("lastchg", "MAP", pool.since);
    line.seconds("downtime", "MCP", pool.downtime);
    let rate = pool.counters.session_rate;
    line.rates(["MGP", "MGP"], [("rate", rate.now), ("rate_max", rate.max)]);
    line.put("algo", "CGS", Value::Text(pool.algorithm.clone()));
    line
}

/// As CSV, with its line of names.
pub fn csv(lines: &[Line]) -> String {
    let mut text = format!("# {},\n", FIELDS.join(","));
    for line in lines {
        for place in 0..FIELDS.len() {
            if let Some((_, value)) = line.fields.get(&place) {
                match value {
                    Value::U32(number) | Value::U64(number) => _ = write!(text, "{number}"),
                    Value::S32(number) => _ = write!(text, "{number}"),
                    Value::Text(words) => text.push_str(&quoted(words)),
                }
            }
            text.push(',');
        }
        text.push('\n');
    }
    text
}

/// A text of CSV (RFC 4180 §2): in quotes if it needs them.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\"").replace(['\r', '\n'], " "))
    } else {
        text.to_owned()
    }
}

/// One field on a line, with its type.
pub fn typed(lines: &[Line]) -> String {
    let mut text = String::new();
    for line in lines {
        for (place, (tags, value)) in &line.fields {
            let name = FIELDS.get(*place).copied().unwrap_or_default();
            let Line { proxy, server, .. } = line;
            let kind = letter(line.kind);
            let _ = writeln!(text, "{kind}.{proxy}.{server}.{place}.{name}.1:{tags}:{}", typed_value(value));
        }
    }
    text
}

/// A value and its type, as the typed form has them.
pub fn typed_value(value: &Value) -> String {
    match value {
        Value::U32(number) => format!("u32:{number}"),
        Value::U64(number) => format!("u64:{number}"),
        Value::S32(number) => format!("s32:{number}"),
        Value::Text(text) => format!("str:{}", text.replace(['\r', '\n'], " ")),
    }
}

/// An array of lines, each an array of fields.
pub fn json(lines: &[Line]) -> String {
    let line = |line: &Line| -> Json {
        let fields = line.fields.iter().map(|(place, (tags, value))| {
            json!({
                "objType": match line.kind {
                    Kind::Frontend => "Frontend",
                    Kind::Backend => "Backend",
                    Kind::Server => "Server",
                },
                "proxyId": line.proxy,
                "id": line.server,
                "field": { "pos": place, "name": FIELDS.get(*place) },
                "processNum": 1,
                "tags": json_tags(tags),
                "value": json_value(value),
            })
        });
        fields.collect()
    };
    Json::Array(lines.iter().map(line).collect()).to_string()
}

/// A value and its type, as the JSON form has them.
pub fn json_value(value: &Value) -> Json {
    match value {
        Value::U32(number) => json!({ "type": "u32", "value": number }),
        Value::U64(number) => json!({ "type": "u64", "value": number }),
        Value::S32(number) => json!({ "type": "s32", "value": number }),
        Value::Text(text) => json!({ "type": "str", "value": text }),
    }
}

/// Origin, nature and scope in words (management.txt, "Typed output format").
pub fn json_tags(tags: &str) -> Json {
    let mut letters = tags.chars();
    let mut next = || letters.next().unwrap_or(' ');
    let origin = match next() {
        'M' => "Metric",
        'S' => "Status",
        'K' => "Key",
        'C' => "Config",
        _ => "Product",
    };
    let nature = match next() {
        'G' => "Gauge",
        'M' => "Max",
        'L' => "Limit",
        'C' => "Counter",
        'R' => "Rate",
        'A' => "Age",
        'a' => "Avg",
        'D' => "Duration",
        'N' => "Name",
        _ => "Output",
    };
    let scope = match next() {
        'S' => "Service",
        'C' => "Cluster",
        _ => "Process",
    };
    json!({ "origin": origin, "nature": nature, "scope": scope })
}

const fn letter(kind: Kind) -> char {
    match kind {
        Kind::Frontend => 'F',
        Kind::Backend => 'B',
        Kind::Server => 'S',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_would_break_a_line_of_csv_are_quoted() {
        assert_eq!(quoted("plain text"), "plain text");
        assert_eq!(quoted("a, \"b\"\nc"), "\"a, \"\"b\"\" c\"");
    }

    #[test]
    fn a_field_is_told_with_its_type() {
        let mut line = Line::new(Kind::Server, ("k8s", 3), ("cp1", 1));
        line.put("scur", "MGP", Value::U32(7));
        let text = typed(&[line.clone()]);
        assert!(text.contains("S.3.1.4.scur.1:MGP:u32:7\n"), "{text}");
        assert!(text.starts_with("S.3.1.0.pxname.1:KNS:str:k8s\n"), "{text}");
        let json: Json = serde_json::from_str(&json(&[line])).unwrap();
        assert_eq!(json[0][0]["tags"]["nature"], "Name");
    }
}
