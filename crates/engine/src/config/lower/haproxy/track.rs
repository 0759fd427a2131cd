//! `track`: servers whose health is that of another one.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::proxy::Proxy;
use crate::config::lower::haproxy::server::ServerLine;
use crate::plan::{Pool, PoolId, ServerId, ServerIndex};

/// Puts into `pools`, one for each of `backs`, who follows whom. What cannot be is reported.
pub(super) fn track(backs: &[&Proxy<'_>], pools: &mut [Pool], diagnostics: &mut Vec<Diagnostic>) {
    for (pool, back) in (0..).map(PoolId).zip(backs) {
        for (server, line) in (0..).map(ServerIndex).zip(&back.servers) {
            let Some(word) = line.parameters.track else { continue };
            let result = target(backs, back, line, &word.text);
            let result = result.and_then(|target| follow(backs, pools, ServerId { pool, server }, target));
            if let Err(reason) = result {
                let message = format!("`{}` cannot track `{}`: {reason}", line.name.text, word.text);
                diagnostics
                    .push(Diagnostic::error(codes::TRACK, word.span, message).label("is to be tracked"));
            }
        }
    }
}

/// The server that `text` names.
fn target(
    backs: &[&Proxy<'_>],
    own: &Proxy<'_>,
    line: &ServerLine<'_>,
    text: &str,
) -> Result<ServerId, String> {
    if line.parameters.check {
        return Err("it has a check of its own".to_owned());
    }
    let (section, name) = text.rsplit_once('/').unwrap_or((&own.name.text, text));
    let found = (0..).map(PoolId).zip(backs).find(|(_, back)| back.name.text == section);
    let (pool, back) = found.ok_or_else(|| format!("there is no section `{section}` with servers"))?;
    if !std::ptr::eq(*back, own)
        && back.settings.rules.disables_on_404() != own.settings.rules.disables_on_404()
    {
        return Err("only one of the two sections has `http-check disable-on-404`".to_owned());
    }
    let found = (0..).map(ServerIndex).zip(&back.servers).find(|(_, server)| server.name.text == name);
    let (server, tracked) = found.ok_or_else(|| format!("there is no server `{name}` in `{section}`"))?;
    let own = &tracked.parameters;
    if !own.check && own.agent_check.is_none() && own.track.is_none() {
        return Err("nobody checks that one".to_owned());
    }
    Ok(ServerId { pool, server })
}

/// Notes it down, unless the chain comes back.
fn follow(
    backs: &[&Proxy<'_>],
    pools: &mut [Pool],
    server: ServerId,
    target: ServerId,
) -> Result<(), String> {
    let mut next = Some(target);
    while let Some(tracked) = next {
        if tracked == server {
            return Err("the chain of tracked servers comes back to it".to_owned());
        }
        let pool = pools.get(usize::from(tracked.pool.0));
        next = pool
            .and_then(|pool| pool.servers.get(usize::from(tracked.server.0)))
            .and_then(|found| found.track);
    }
    debug_assert_eq!(backs.len(), pools.len(), "one pool for each section");
    let pool = pools.get_mut(usize::from(server.pool.0));
    if let Some(found) = pool.and_then(|pool| pool.servers.get_mut(usize::from(server.server.0))) {
        found.track = Some(target);
    }
    Ok(())
}
