//! `agent-check` and its parameters.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address;
use crate::config::lower::haproxy::check::Patience;
use crate::config::lower::haproxy::server::ServerLine;
use crate::plan::Agent;

/// The agent of a server, if it has one.
pub(in crate::config::lower::haproxy) fn agent(
    server: &ServerLine<'_>,
    patience: Patience,
    reader: &mut Reader<'_, '_>,
) -> Option<Agent> {
    let own = &server.parameters;
    let asked = own.agent_check?;
    let Some(port) = own.agent_port else {
        reader.diagnostics.push(
            Diagnostic::error(codes::PARAMETERS_CLASH, asked, "this server has an agent, but at no port")
                .hint("write `agent-port` and a number"),
        );
        return None;
    };
    let ip = match own.agent_address {
        Some(word) => address::resolved(word, &word.text, reader)?.0,
        None => server.address.ip(),
    };
    let usual = own.interval.unwrap_or(Duration::from_secs(2));
    let interval = own.agent_interval.unwrap_or(usual);
    Some(Agent {
        address: SocketAddr::new(ip, port),
        send: own.agent_send.map_or_else(String::new, |word| word.text.clone()),
        interval,
        timeout: patience.check.unwrap_or(interval),
    })
}
