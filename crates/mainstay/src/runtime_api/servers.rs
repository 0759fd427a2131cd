//! Answers about servers, in the forms that HAProxy's tools read: `show backend`, `show servers`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use mainstay_engine::admin::{PoolStatus, ServerStatus};
use mainstay_engine::health::order::AdminState;

use super::Ask;

/// `show backend`.
pub(super) fn backends(ask: &Ask, _: &[&str]) -> String {
    let pools = ask.status.as_ref().map_or(&[][..], |status| &status.pools);
    let names: String = pools.iter().map(|pool| format!("{}\n", pool.name)).collect();
    format!("# name\n{names}")
}

/// `show servers state`.
pub(super) fn states(ask: &Ask, arguments: &[&str]) -> String {
    let mut text = String::from(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight \
         srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state \
         bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr \
         srv_agent_addr srv_agent_port\n",
    );
    let pools = match of(ask, arguments) {
        Ok(pools) => pools,
        Err(sentence) => return sentence,
    };
    let all = ask.status.as_ref().map_or(&[][..], |status| &status.pools);
    for (pool, server) in pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)))
    {
        let (address, port) = address(server);
        let checks = server.checks.as_ref();
        // HAProxy's numbers of results start with two that no check has had: unknown, and none yet.
        let latest = server.check.as_deref().and_then(|check| check.split(['/', ' ']).next());
        let result = latest.map_or((1, 0), result);
        let _ = writeln!(
            text,
            "{} {} {} {} {address} {} {} {} {} {} {} {} {} {} 0 0 0 - {port} - 0 0 - - 0",
            pool.id,
            pool.name,
            server.id,
            server.name,
            operational_state(server),
            administrative_state(all, server),
            server.weight,
            server.initial_weight,
            server.since.as_secs(),
            result.0,
            result.1,
            checks.map_or(0, |checks| checks.health),
            if checks.is_some() { 6 } else { 0 },
        );
    }
    text
}

/// `show servers conn`.
pub(super) fn connections(ask: &Ask, arguments: &[&str]) -> String {
    let pools = match of(ask, arguments) {
        Ok(pools) => pools,
        Err(sentence) => return sentence,
    };
    let mut text = String::from(
        "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb safe_nb idle_lim \
         idle_cur idle_per_thr[0]\n",
    );
    for (pool, server) in pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)))
    {
        let (address, port) = address(server);
        let _ = writeln!(
            text,
            "{}/{} {}/{} {address} {port} - 0 {} {} {} 0 0 -1 0",
            pool.name, server.name, pool.id, server.id, server.sessions, server.sessions_max, server.sessions,
        );
    }
    text
}

/// The pools that are asked for.
fn of<'a>(ask: &'a Ask, arguments: &[&str]) -> Result<Vec<&'a PoolStatus>, String> {
    let pools = ask.status.as_ref().map_or(&[][..], |status| &status.pools);
    let Some(name) = arguments.first() else { return Ok(pools.iter().collect()) };
    let found: Vec<_> = pools.iter().filter(|pool| pool.name == *name).collect();
    if found.is_empty() { Err("Can't find backend.\n".to_owned()) } else { Ok(found) }
}

fn address(server: &ServerStatus) -> (String, u16) {
    match server.address.parse::<SocketAddr>() {
        Ok(address) => (address.ip().to_string(), address.port()),
        Err(_) => ("-".to_owned(), 0),
    }
}

/// HAProxy's number of the state that checks found: 0 down, 2 up.
fn operational_state(server: &ServerStatus) -> u8 {
    match server.state.as_str() {
        state if state.starts_with("down") || state.starts_with("maintenance") => 0,
        "stopping" => 3,
        _ => 2,
    }
}

/// HAProxy's bits of what operators want: 1 maintenance, 8 drain; and, of the server that it tracks, 2 and 16.
fn administrative_state(pools: &[PoolStatus], server: &ServerStatus) -> u8 {
    let own = match server.admin {
        AdminState::Ready => 0,
        AdminState::Maintenance => 1,
        AdminState::Drain => 8,
    };
    // A chain of servers that track has an end.
    let led = leader(pools, server).map_or(0, |leader| administrative_state(pools, leader));
    own | if led & 3 == 0 { 0 } else { 2 } | if led & 24 == 0 { 0 } else { 16 }
}

/// The server that another one tracks.
pub(super) fn leader<'a>(pools: &'a [PoolStatus], server: &ServerStatus) -> Option<&'a ServerStatus> {
    let (pool, name) = server.tracks.as_deref()?.split_once('/')?;
    pools.iter().find(|other| other.name == pool)?.servers.iter().find(|other| other.name == name)
}

/// HAProxy's number of a check's status, and of its result: 2 failed, 3 passed.
fn result(status: &str) -> (u8, u8) {
    match status {
        "HANA" => (4, 2),
        "SOCKERR" => (5, 2),
        "L4OK" => (6, 3),
        "L4TOUT" => (7, 2),
        "L4CON" => (8, 2),
        "L6OK" => (9, 3),
        "L6TOUT" => (10, 2),
        "L6RSP" => (11, 2),
        "L7TOUT" => (12, 2),
        "L7RSP" => (13, 2),
        "L7OK" => (15, 3),
        "L7OKC" => (16, 4),
        "L7STS" => (17, 2),
        "PROCERR" => (18, 2),
        "PROCTOUT" => (19, 2),
        "PROCOK" => (20, 3),
        _ => (1, 0),
    }
}
