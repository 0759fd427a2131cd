//! What follows the words of a command.

use std::net::IpAddr;

use mainstay_engine::health::order::{AdminState, ForcedHealth, FrontendOrder, Order, ServerOrder, Weight};

use super::{AgentPart, PortWish, ServerChange, Task, frontend};
use crate::proxy::SessionId;

type Parsed = Result<Task, String>;
type Change = Result<ServerChange, String>;

/// The heaviest a server can be.
const HEAVIEST: u16 = 256;

fn word<'a>(words: &[&'a str], index: usize) -> &'a str {
    words.get(index).copied().unwrap_or_default()
}

/// `backend/server`.
fn names(words: &[&str]) -> Option<(String, String)> {
    let (pool, server) = word(words, 0).split_once('/')?;
    (!pool.is_empty() && !server.is_empty()).then(|| (pool.to_owned(), server.to_owned()))
}

fn server(words: &[&str], change: Change) -> Parsed {
    let (pool, server) = names(words).ok_or("Require 'backend/server'.\n")?;
    Ok(Task::Server { pool, server, change })
}

fn quiet(order: ServerOrder) -> Change {
    Ok(ServerChange::Quiet(order))
}

fn refuse(text: &str) -> Change {
    Err(text.to_owned())
}

fn frontend_name<'a>(words: &[&'a str]) -> Result<&'a str, String> {
    let name = word(words, 0);
    if name.is_empty() { Err("A frontend name is expected.\n".to_owned()) } else { Ok(name) }
}

/// C's `strtol`: the number that a text begins with, and what follows it; `None` without a digit.
fn strtol(text: &str) -> Option<(i64, &str)> {
    let trimmed = text.trim_start();
    let (negative, digits) = match trimmed.as_bytes().first() {
        Some(b'-') => (true, trimmed.get(1..)?),
        Some(b'+') => (false, trimmed.get(1..)?),
        _ => (false, trimmed),
    };
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    let (digits, rest) = digits.split_at_checked(end).filter(|(digits, _)| !digits.is_empty())?;
    let number = digits.parse().unwrap_or(i64::MAX);
    Some((if negative { -number } else { number }, rest))
}

/// C's `atoi`: 0 for what is no number.
fn atoi(text: &str) -> i64 {
    strtol(text).map_or(0, |(number, _)| number)
}

/// A count that is given as C's `atoi` reads it.
fn count(text: &str) -> Result<u32, String> {
    u32::try_from(atoi(text)).map_err(|_| "Value out of range.\n".to_owned())
}

fn expect_integer(text: &str) -> Result<(), String> {
    if text.is_empty() { Err("Expects an integer value.\n".to_owned()) } else { Ok(()) }
}

pub(in super::super) fn add_server(words: &[&str]) -> Parsed {
    let (pool, server) = names(words).ok_or("Require 'backend/server'.")?;
    let rest = words.iter().skip(1).map(|word| (*word).to_owned());
    Ok(Task::AddServer { pool, words: [server].into_iter().chain(rest).collect() })
}

pub(in super::super) fn remove_server(words: &[&str]) -> Parsed {
    let (pool, server) = names(words).ok_or("Require 'backend/server'.")?;
    Ok(Task::Other(Order::RemoveServer { pool, server }))
}

#[expect(clippy::unnecessary_wraps, reason = "as every command")]
pub(in super::super) fn clear_maxima(_: &[&str]) -> Parsed {
    Ok(Task::Other(Order::ClearCounters { all: false }))
}

#[expect(clippy::unnecessary_wraps, reason = "as every command")]
pub(in super::super) fn clear_all_counters(_: &[&str]) -> Parsed {
    Ok(Task::Other(Order::ClearCounters { all: true }))
}

pub(in super::super) fn disable_server(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::State(AdminState::Maintenance)))
}

pub(in super::super) fn enable_server(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::State(AdminState::Ready)))
}

pub(in super::super) fn disable_health(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::Checks(false)))
}

pub(in super::super) fn enable_health(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::Checks(true)))
}

pub(in super::super) fn disable_agent(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::Agent(false)))
}

pub(in super::super) fn enable_agent(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::Agent(true)))
}

pub(in super::super) fn disable_frontend(words: &[&str]) -> Parsed {
    Ok(frontend(frontend_name(words)?, FrontendOrder::Disable))
}

pub(in super::super) fn enable_frontend(words: &[&str]) -> Parsed {
    Ok(frontend(frontend_name(words)?, FrontendOrder::Enable))
}

pub(in super::super) fn shutdown_frontend(words: &[&str]) -> Parsed {
    Ok(frontend(frontend_name(words)?, FrontendOrder::Shutdown))
}

pub(in super::super) fn get_weight(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::ShowWeight))
}

pub(in super::super) fn set_weight(words: &[&str]) -> Parsed {
    server(words, weight(word(words, 1)))
}

pub(in super::super) fn shutdown_sessions(words: &[&str]) -> Parsed {
    server(words, quiet(ServerOrder::ShutdownSessions))
}

pub(in super::super) fn shutdown_session(words: &[&str]) -> Parsed {
    let text = word(words, 0);
    let hex = text.strip_prefix("0x").map(|digits| u64::from_str_radix(digits, 16));
    match hex.unwrap_or_else(|| text.parse()) {
        Ok(number) if number > 0 => Ok(Task::KillSession(SessionId(number))),
        _ => Err("Session pointer expected (use 'show sess').\n".to_owned()),
    }
}

pub(in super::super) fn set_maxconn_server(words: &[&str]) -> Parsed {
    let text = word(words, 1);
    let change = match strtol(text) {
        _ if text.is_empty() => refuse("Require <maxconn>.\n"),
        None => refuse("maxconn string empty or preceded by garbage"),
        Some((_, rest)) if !rest.is_empty() => refuse("Trailing garbage in maxconn string"),
        // HAProxy takes a negative one for a very large one.
        Some((number, _)) => quiet(ServerOrder::Maxconn(u32::try_from(number).unwrap_or_default())),
    };
    server(words, change)
}

pub(in super::super) fn set_maxconn_frontend(words: &[&str]) -> Parsed {
    let (name, text) = (frontend_name(words)?, word(words, 1));
    if text.is_empty() {
        return Err("Integer value expected.\n".to_owned());
    }
    Ok(frontend(name, FrontendOrder::Maxconn(count(text)?)))
}

pub(in super::super) fn set_maxconn_global(words: &[&str]) -> Parsed {
    let text = word(words, 0);
    expect_integer(text)?;
    // Nothing and less is as configured.
    Ok(Task::Other(Order::Maxconn(u32::try_from(atoi(text).max(0)).unwrap_or(u32::MAX))))
}

pub(in super::super) fn set_rate_limit(words: &[&str]) -> Parsed {
    let order = match (word(words, 0), word(words, 1)) {
        ("connections", "global") => Order::ConnectionRate,
        ("sessions", "global") => Order::SessionRate,
        _ => {
            return Err("'set rate-limit' only supports :\n   \
                        - 'connections global' to set the per-process maximum connection rate\n   \
                        - 'sessions global' to set the per-process maximum session rate\n"
                .to_owned());
        }
    };
    let text = word(words, 2);
    expect_integer(text)?;
    Ok(Task::Other(order(count(text)?)))
}

pub(in super::super) fn set_server(words: &[&str]) -> Parsed {
    let value = word(words, 2);
    let change = match word(words, 1) {
        "state" => match value {
            "ready" => quiet(ServerOrder::State(AdminState::Ready)),
            "drain" => quiet(ServerOrder::State(AdminState::Drain)),
            "maint" => quiet(ServerOrder::State(AdminState::Maintenance)),
            _ => refuse("'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n"),
        },
        "weight" => weight(value),
        "health" => match value {
            "up" => quiet(ServerOrder::Health(ForcedHealth::Up)),
            "down" => quiet(ServerOrder::Health(ForcedHealth::Down)),
            "stopping" => quiet(ServerOrder::Health(ForcedHealth::Stopping)),
            _ => refuse("'set server <srv> health' expects 'up', 'stopping', or 'down'.\n"),
        },
        "addr" => address(words.get(2..).unwrap_or_default()),
        "check-addr" => check_address(words.get(2..).unwrap_or_default()),
        "check-port" if value.is_empty() => refuse("set server <b>/<s> check-port requires a port.\n"),
        "check-port" => port(value).and_then(|port| quiet(ServerOrder::CheckAddress(None, Some(port)))),
        "agent" => match value {
            "up" => quiet(ServerOrder::AgentHealth(true)),
            "down" => quiet(ServerOrder::AgentHealth(false)),
            _ => Ok(ServerChange::Aim(AgentPart::Word)),
        },
        "agent-send" => Ok(ServerChange::Aim(AgentPart::Text)),
        "agent-addr" | "agent-port" => Ok(ServerChange::Aim(AgentPart::Place)),
        "fqdn" if value.is_empty() => refuse("set server <b>/<s> fqdn requires a FQDN.\n"),
        "fqdn" => refuse("set server <b>/<s> fqdn failed because no resolution is configured.\n"),
        "ssl" => refuse("'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n"),
        _ => refuse(
            "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | check-addr | \
             check-port | fqdn | health | ssl | state | weight\n",
        ),
    };
    server(words, change)
}

fn weight(text: &str) -> Change {
    if text.is_empty() {
        return refuse("Require <weight> or <weight%>.\n");
    }
    let Some((number, rest)) = strtol(text) else {
        return refuse("Empty weight string empty or preceded by garbage");
    };
    if rest == "%" {
        return match u32::try_from(number) {
            Ok(percent) => quiet(ServerOrder::Weight(Weight::Percent(percent))),
            Err(_) if number < 0 => refuse("Relative weight must be positive.\n"),
            Err(_) => quiet(ServerOrder::Weight(Weight::Percent(u32::MAX))),
        };
    }
    match u16::try_from(number) {
        Ok(weight) if weight <= HEAVIEST && rest.is_empty() => {
            quiet(ServerOrder::Weight(Weight::Absolute(weight)))
        }
        Ok(weight) if weight <= HEAVIEST => refuse("Trailing garbage in weight string"),
        _ => refuse("Absolute weight can only be between 0 and 256 inclusive.\n"),
    }
}

/// An address and, after `port`, a port.
fn address(words: &[&str]) -> Change {
    let text = word(words, 0);
    if text.is_empty() {
        return refuse("set server <b>/<s> addr requires an address and optionally a port.\n");
    }
    let Ok(ip) = text.parse::<IpAddr>() else {
        return Err(format!("Invalid addr '{text}' by 'stats socket command'\n"));
    };
    let wish = if word(words, 1) == "port" { port_wish(word(words, 2)) } else { PortWish::None };
    let port = if let PortWish::Port(port) = wish { Some(port) } else { None };
    Ok(ServerChange::Address(ServerOrder::Address(ip, port), wish))
}

fn port_wish(text: &str) -> PortWish {
    if text.starts_with(['+', '-']) {
        return PortWish::Mapped;
    }
    // HAProxy takes 65536 and more for a port, and cuts it to 16 bits.
    text.parse().ok().filter(|port| *port > 0).map_or(PortWish::Unreadable(text.to_owned()), PortWish::Port)
}

/// A port that checks go to; 0 is the server's own.
fn port(text: &str) -> Result<u16, String> {
    match strtol(text) {
        Some((number, "")) => u16::try_from(number).map_err(|_| "provided port is invalid".to_owned()),
        _ => Err("provided port is not an integer".to_owned()),
    }
}

fn check_address(words: &[&str]) -> Change {
    let text = word(words, 0);
    if text.is_empty() {
        return refuse("set server <b>/<s> check-addr requires an address and optionally a port.\n");
    }
    let Ok(ip) = text.parse::<IpAddr>() else { return Err(format!("invalid addr '{text}'")) };
    let port = if word(words, 1) == "port" { Some(port(word(words, 2))?) } else { None };
    quiet(ServerOrder::CheckAddress(Some(ip), port))
}
