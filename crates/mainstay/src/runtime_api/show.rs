//! Answers about the daemon as a whole and about its counters.

use mainstay_engine::plan::{Level, StatsAddress};

use super::Ask;
use super::info::{self, Process};
use super::statistics::{self, Filter};

/// `show stat`.
pub(super) fn statistics(ask: &Ask, arguments: &[&str]) -> String {
    let Ok(status) = &ask.status else { return String::new() };
    let mut filter = Filter::default();
    let (mut arguments, mut form) = (arguments, "csv");
    // As in HAProxy, the three numbers come first, and -1 is any.
    if let [proxy, kinds, server, rest @ ..] = arguments
        && let (Ok(kinds), Ok(server)) = (kinds.parse::<i16>(), server.parse::<i64>())
    {
        filter.proxy = Some((*proxy).to_owned()).filter(|proxy| proxy != "-1");
        filter.kinds = u8::try_from(kinds).ok();
        filter.server = u32::try_from(server).ok();
        arguments = rest;
    }
    for argument in arguments {
        match *argument {
            "typed" | "json" => form = argument,
            "no-maint" => filter.no_maintenance = true,
            "up" => filter.up = true,
            _ => {}
        }
    }
    if let Some(proxy) = &filter.proxy {
        let known = |name: &str, id: u32| name == proxy || proxy.parse() == Ok(id);
        let exists = status.frontends.iter().any(|front| known(&front.name, front.id))
            || status.pools.iter().any(|pool| known(&pool.name, pool.id));
        if !exists {
            return "No such proxy.\n".to_owned();
        }
    }
    let lines = statistics::lines(status, &filter);
    match form {
        "typed" => statistics::typed(&lines),
        "json" => statistics::json(&lines) + "\n",
        _ => statistics::csv(&lines),
    }
}

/// `show info`.
pub(super) fn info(ask: &Ask, arguments: &[&str]) -> String {
    let Some(process) = process(ask) else { return String::new() };
    if arguments.contains(&"typed") {
        process.typed()
    } else if arguments.contains(&"json") {
        process.json() + "\n"
    } else {
        process.plain(arguments.contains(&"desc"))
    }
}

/// The daemon as a whole.
pub(super) fn process(ask: &Ask) -> Option<Process> {
    let status = ask.status.as_ref().ok()?;
    Some(Process {
        uptime: status.uptime,
        workers: ask.answers.workers,
        load: ask.answers.load(),
        checked: status
            .pools
            .iter()
            .flat_map(|pool| &pool.servers)
            .filter(|server| server.checks.is_some())
            .count(),
        stopping: status.stopping,
        listeners: status.frontends.iter().map(|front| front.binds.len()).sum(),
        peers: (status.peers.iter().filter(|peer| peer.up).count(), status.peers.len()),
    })
}

/// `show version`.
pub(super) fn version(_: &Ask, _: &[&str]) -> String {
    info::version() + "\n"
}

/// `show env`.
pub(super) fn environment(_: &Ask, arguments: &[&str]) -> String {
    match arguments.first() {
        Some(name) => match std::env::var(name) {
            Ok(value) => format!("{name}={value}\n"),
            Err(_) => "Variable not found\n".to_owned(),
        },
        None => std::env::vars_os()
            .map(|(name, value)| format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy()))
            .collect(),
    }
}

/// `show cli sockets`.
pub(super) fn sockets(ask: &Ask, _: &[&str]) -> String {
    let line = |socket: &mainstay_engine::plan::StatsSocket| {
        let address = match &socket.address {
            StatsAddress::Path(path) => format!("unix@{path}"),
            StatsAddress::Abstract(name) => format!("abns@{name}"),
            StatsAddress::Tcp(address) if address.is_ipv4() => format!("ipv4@{address}"),
            StatsAddress::Tcp(address) => format!("ipv6@{address}"),
        };
        let level = match socket.level {
            Level::User => "user",
            Level::Operator => "operator",
            Level::Admin => "admin",
        };
        format!("{address} {level} all\n")
    };
    let lines: String = ask.answers.plan.runtime_api.sockets.iter().map(line).collect();
    format!("# socket lvl processes\n{lines}")
}

/// `show errors`: what HAProxy captures of messages of HTTP that are none, of which a relay of TCP meets none.
pub(super) fn errors(_: &Ask, _: &[&str]) -> String {
    format!(
        "Total events captured on [{}] : 0\n",
        jiff::ZonedDateTime::now().strftime("%d/%b/%Y:%H:%M:%S%.3f")
    )
}
