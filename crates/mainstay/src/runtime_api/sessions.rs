//! Answers about single sessions.
//!
//! Each begins with its number, which `shutdown session` takes. Of HAProxy's fields there are those that mainstay knows;
//! what follows them (`state`, `idle`, `in`, `out`) is ours.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use mainstay_engine::Plan;

use super::Answers;
use crate::proxy::{Cursor, SessionId, SessionInfo, SessionPhase};

/// `show sess [all|<id>]`.
pub(super) async fn show(answers: &Answers, arguments: &[&str]) -> String {
    let wanted = match arguments.first() {
        None | Some(&"all") => None,
        Some(text) => Some(text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())),
    };
    let Some(proxy) = &answers.proxy else { return not_found(wanted.is_some()) };
    let (plan, mut text, mut cursor) = (proxy.plan(), String::new(), Some(Cursor::default()));
    while let Some(from) = cursor {
        let page = proxy.sessions(from).await;
        for session in &page.sessions {
            match wanted {
                Some(id) if id.map(SessionId) == Some(session.id) => return whole(session, &plan),
                Some(_) => {}
                None if arguments.is_empty() => text.push_str(&line(session, &plan)),
                None => text.push_str(&whole(session, &plan)),
            }
        }
        cursor = page.next;
    }
    if wanted.is_some() { not_found(true) } else { text }
}

fn not_found(one: bool) -> String {
    if one { "Session not found.\n".to_owned() } else { String::new() }
}

/// The names of a session's frontend, pool and server.
struct Names<'a> {
    frontend: &'a str,
    pool: Option<&'a str>,
    server: Option<&'a str>,
}

impl<'a> Names<'a> {
    fn of(session: &SessionInfo, plan: &'a Plan) -> Self {
        let frontend = plan.frontends.get(usize::from(session.frontend.0));
        let pool = plan.pools.get(usize::from(session.pool.0));
        let server = session.server.and_then(|server| plan.server(server));
        Self {
            frontend: frontend.map_or("", |frontend| &frontend.name),
            pool: pool.map(|pool| pool.name.as_str()),
            server: server.map(|server| server.name.as_str()),
        }
    }
}

fn line(session: &SessionInfo, plan: &Plan) -> String {
    let Names { frontend, pool, server } = Names::of(session, plan);
    format!(
        "{}: proto={} src={} fe={frontend} be={} srv={} age={} exp={} state={} idle={} in={} out={}\n",
        id(session.id),
        protocol(session.client),
        address(session.client),
        pool.unwrap_or("<NONE>"),
        server.unwrap_or("<none>"),
        human(session.age),
        session.expires.map(human).unwrap_or_default(),
        state(session.phase),
        human(session.idle),
        session.bytes_in,
        session.bytes_out,
    )
}

fn whole(session: &SessionInfo, plan: &Plan) -> String {
    let Names { frontend, pool, server } = Names::of(session, plan);
    let number = |id: Option<u32>| id.map_or("-1".to_owned(), |id| id.to_string());
    let front_id = plan.frontends.get(usize::from(session.frontend.0)).map(|frontend| frontend.id);
    let pool_id = plan.pools.get(usize::from(session.pool.0)).map(|pool| pool.id);
    let mut text = format!(
        "{}: id={} proto={} source={}\n",
        id(session.id),
        session.id.0,
        protocol(session.client),
        address(session.client)
    );
    let _ = writeln!(
        text,
        "  frontend={frontend} (id={} mode=tcp), addr={}",
        number(front_id),
        address(session.local)
    );
    let _ = writeln!(text, "  backend={} (id={} mode=tcp)", pool.unwrap_or("<NONE>"), number(pool_id));
    let place = session.server.map(|server| u32::from(server.server.0).saturating_add(1));
    let target = session.server.and_then(|server| plan.server(server)).map(|server| server.address);
    let _ = match target {
        Some(target) => {
            writeln!(text, "  server={} (id={}) addr={target}", server.unwrap_or("<none>"), number(place))
        }
        None => writeln!(text, "  server=<none> (id=0)"),
    };
    let _ = writeln!(
        text,
        "  state={} age={} idle={} exp={} in={} out={}",
        state(session.phase),
        human(session.age),
        human(session.idle),
        session.expires.map_or("<NEVER>".to_owned(), human),
        session.bytes_in,
        session.bytes_out,
    );
    text
}

fn id(session: SessionId) -> String {
    format!("0x{:x}", session.0)
}

const fn protocol(client: Option<SocketAddr>) -> &'static str {
    match client {
        Some(SocketAddr::V4(_)) => "tcpv4",
        Some(SocketAddr::V6(_)) => "tcpv6",
        None => "unix_stream",
    }
}

fn address(address: Option<SocketAddr>) -> String {
    match address {
        Some(SocketAddr::V4(address)) => address.to_string(),
        // As in HAProxy, without brackets.
        Some(SocketAddr::V6(address)) => format!("{}:{}", address.ip(), address.port()),
        None => "unix".to_owned(),
    }
}

/// HAProxy's names for how far the server's side is.
const fn state(phase: SessionPhase) -> &'static str {
    match phase {
        SessionPhase::Inspecting => "INI",
        SessionPhase::Queued => "QUE",
        SessionPhase::TurnAround => "TAR",
        SessionPhase::Connecting => "CON",
        SessionPhase::Established => "EST",
    }
}

/// The two largest units of a time, as HAProxy writes it: `4h59m`.
fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    let units =
        [(seconds / 86_400, 'd'), (seconds / 3_600 % 24, 'h'), (seconds / 60 % 60, 'm'), (seconds % 60, 's')];
    let text: String = units
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .take(2)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_two_units() {
        let texts = [0, 59, 61, 3_600, 17_999, 90_061].map(|seconds| human(Duration::from_secs(seconds)));
        assert_eq!(texts, ["0s", "59s", "1m1s", "1h", "4h59m", "1d1h"]);
    }
}
