//! What frontends have in `show stat` that answer requests themselves: fields of their own, and the backend that HAProxy
//! makes of a `listen` section without servers.

use std::time::Duration;

use mainstay_engine::admin::{FrontendStatus, RequestCounters};

use super::{Kind, Line, Value};

/// The classes of statuses, in the order in which they are counted.
const CLASSES: [&str; 6] = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"];

/// What only HTTP has, and nothing here does.
const NONE: [&str; 6] = ["comp_in", "comp_out", "comp_byp", "comp_rsp", "cache_lookups", "cache_hits"];

/// Adds what is counted of requests.
pub(super) fn requests(line: &mut Line, front: &FrontendStatus) {
    let Some(requests) = &front.requests else { return };
    line.put("mode", "CGS", Value::Text("http".to_owned()));
    for (name, count) in CLASSES.into_iter().zip(requests.answers) {
        line.counters([(name, count)]);
    }
    NONE.into_iter().for_each(|name| line.counters([(name, 0)]));
    line.rates(["MRP", "MMP"], [("req_rate", requests.rate.now), ("req_rate_max", requests.rate.max)]);
    line.counters([
        ("req_tot", requests.total),
        ("intercepted", requests.intercepted),
        ("wrew", 0),
        ("eint", 0),
    ]);
}

/// The backend of a `listen` section that has no servers. Only requests get there that nothing else answers.
pub(super) fn backend(front: &FrontendStatus, uptime: Duration) -> Option<Line> {
    let requests = front.requests.as_ref()?;
    let RequestCounters { unserved, backend: Some(fullconn), .. } = requests else { return None };
    let mut line = Line::new(Kind::Backend, (&front.name, front.id), ("BACKEND", 0));
    line.put("mode", "CGS", Value::Text("http".to_owned()));
    for name in ["qcur", "qmax", "scur", "weight", "act", "bck", "rate", "uweight"] {
        line.put(name, "MGP", Value::U32(0));
    }
    line.put("slim", "CLP", Value::U32((*fullconn).into()));
    // One at a time, and for no time at all.
    let reached = u64::from(*unserved > 0);
    line.put("smax", "MMP", Value::U32(reached));
    line.put("rate_max", "MMP", Value::U32(reached));
    line.counters([
        ("stot", *unserved),
        ("econ", *unserved),
        ("hrsp_5xx", *unserved),
        ("req_tot", *unserved),
        ("bin", front.counters.bytes_in),
        ("bout", front.counters.bytes_out),
    ]);
    let zero = ["dreq", "dresp", "eresp", "wretr", "wredis", "chkdown", "lbtot", "cli_abrt", "srv_abrt"];
    let none =
        ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_other", "wrew", "connect", "reuse", "eint"];
    zero.into_iter().chain(none).chain(NONE).for_each(|name| line.counters([(name, 0)]));
    for name in ["qtime", "ctime", "rtime", "ttime", "qtime_max", "ctime_max", "rtime_max", "ttime_max"] {
        line.milliseconds(name, "MaP", Duration::ZERO);
    }
    line.put("lastsess", "MAP", Value::S32(if *unserved > 0 { 0 } else { -1 }));
    line.put("status", "SGP", Value::Text("UP".to_owned()));
    line.seconds("lastchg", "MAP", uptime);
    line.put("algo", "CGS", Value::Text("roundrobin".to_owned()));
    Some(line)
}
