//! HAProxy's words for what came of an order.

use std::net::SocketAddr;

use mainstay_engine::health::order::{FrontendOrder, Outcome, Refusal, ServerOrder};

use super::{AgentPart, PortWish, ServerChange};

/// A server was changed, or was so already.
pub(super) fn of_change(change: &ServerChange, outcome: Outcome) -> String {
    match (change, outcome) {
        (ServerChange::Address(_, wish), Outcome::Moved { from, to }) => moved(from, to, wish),
        (_, Outcome::Weight { now, configured }) => format!("{now} (initial {configured})\n"),
        _ => String::new(),
    }
}

fn moved(from: Option<SocketAddr>, to: Option<SocketAddr>, wish: &PortWish) -> String {
    let ip =
        |address: Option<SocketAddr>| address.map_or("(none)".to_owned(), |address| address.ip().to_string());
    let port = |address: Option<SocketAddr>| address.map_or(0, |address| address.port());
    let ip_change = if ip(from) == ip(to) {
        "no need to change the addr".to_owned()
    } else {
        format!("IP changed from '{}' to '{}'", ip(from), ip(to))
    };
    let port_change = match wish {
        PortWish::None => String::new(),
        PortWish::Port(_) if port(from) == port(to) => ", no need to change the port".to_owned(),
        PortWish::Port(_) => format!(", port changed from '{}' to '{}'", port(from), port(to)),
        PortWish::Unreadable(text) => format!(", problem converting port '{text}' to an int"),
        PortWish::Mapped => {
            ", can't change <port> to port map because it is incompatible with current health \
                             check port configuration (use 'port' statement from the 'server' directive."
                .to_owned()
        }
    };
    format!("{ip_change}{port_change} by 'stats socket command'\n")
}

/// What HAProxy has no words for.
const NEEDS_PROXY: &str =
    "The kernel forwards connections to servers of this backend, and only a proxy can do this.\n";

/// A server was not changed.
pub(super) fn of_refusal(change: Option<&ServerChange>, refusal: Refusal) -> String {
    let text = match (refusal, change) {
        (Refusal::NoPool, _) => "No such backend.\n",
        (Refusal::NeedsProxy, _) => NEEDS_PROXY,
        (Refusal::StaticWeights, _) => {
            "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n"
        }
        (Refusal::NoCheck, Some(ServerChange::Quiet(ServerOrder::CheckAddress(..)))) => {
            "health checks are not enabled on this server"
        }
        (Refusal::NoAgent, Some(ServerChange::Quiet(ServerOrder::Agent(_)))) => {
            "Agent was not configured on this server, cannot enable.\n"
        }
        (Refusal::NoAgent, Some(ServerChange::Aim(AgentPart::Place))) => {
            "agent checks are not enabled on this server"
        }
        (Refusal::NoAgent, _) => "agent checks are not enabled on this server.\n",
        (Refusal::FixedAgent, Some(ServerChange::Aim(AgentPart::Word))) => {
            "'set server <srv> agent' expects 'up' or 'down'.\n"
        }
        (Refusal::FixedAgent, _) => "mainstay asks an agent where and as its configuration says.\n",
        (Refusal::NoAddress, _) => {
            "Update for the current server address family is only supported through configuration file."
        }
        (Refusal::NoCheck, _) => "Health check was not configured on this server, cannot enable.\n",
        _ => "No such server.\n",
    };
    text.to_owned()
}

/// A server was to be added.
pub(super) fn of_addition(result: Result<Outcome, Refusal>) -> String {
    let text = match result {
        Ok(_) => "New server registered.\n",
        Err(Refusal::SameName) => "Already exists a server with the same name in backend.\n",
        Err(Refusal::StaticServers) => {
            "Backend must use a dynamic load balancing to support dynamic servers."
        }
        Err(Refusal::TooManyServers) => "Cannot register any more server in backend.\n",
        Err(Refusal::NeedsProxy) => NEEDS_PROXY,
        Err(_) => "No such backend.",
    };
    text.to_owned()
}

/// A server was to be removed.
pub(super) fn of_removal(result: Result<Outcome, Refusal>) -> String {
    let text = match result {
        Ok(_) => "Server deleted.",
        Err(Refusal::InService) => "Only servers in maintenance mode can be deleted.",
        Err(Refusal::HasSessions) => "Server still has connections attached to it, cannot remove it.",
        Err(Refusal::NoPool) => "No such backend.",
        Err(_) => "No such server.",
    };
    text.to_owned()
}

/// A frontend was not changed.
pub(super) fn of_frontend(order: FrontendOrder, refusal: Refusal) -> String {
    let text = match (refusal, order) {
        (Refusal::Enabled, _) => "All sockets are already enabled.\n",
        (Refusal::Disabled, _) => "All sockets are already disabled.\n",
        (Refusal::ShutDown, FrontendOrder::Enable) => "Frontend was previously shut down, cannot enable.\n",
        (Refusal::ShutDown, FrontendOrder::Disable) => "Frontend was previously shut down, cannot disable.\n",
        (Refusal::ShutDown, _) => "Frontend was already shut down.\n",
        _ => "No such frontend.\n",
    };
    text.to_owned()
}
