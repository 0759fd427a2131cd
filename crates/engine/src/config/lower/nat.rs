//! Which frontends of a plan the kernel can forward, where that is asked for.
//!
//! Owns [`lower`]. What the kernel cannot do for a frontend leaves that one to the proxy, and is named; if it can do none, the
//! configuration is refused. What it does otherwise than HAProxy is named as well.

mod place;
mod reason;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::haproxy::{Tree, codes};
use crate::plan::{Algorithm, Bind, FlowKey, Forwarding, Frontend, Nat, Plan, Pool};

use place::Places;
use reason::Reason;

/// Leaves to the kernel what it can forward. `tree` is what the plan was made of.
pub fn lower(plan: &mut Plan, tree: &Tree, diagnostics: &mut Vec<Diagnostic>) {
    let places = Places(tree);
    let virtual_addresses = virtual_addresses(plan);
    let mut taken: BTreeSet<SocketAddr> = BTreeSet::new();
    let mut found = Vec::new();
    for frontend in &plan.frontends {
        let forwarding = match judge(plan, frontend, &virtual_addresses, &taken) {
            Ok((nat, pool)) => {
                taken.extend(&nat.endpoints);
                say_what_differs(frontend, pool, places, diagnostics);
                Forwarding::Nat(nat)
            }
            Err(reason) => {
                diagnostics.push(left_to_the_proxy(frontend, &reason, places));
                Forwarding::Proxy
            }
        };
        found.push(forwarding);
    }
    if !found.iter().any(|forwarding| forwarding.nat().is_some()) {
        let message = "nothing here can be forwarded by the kernel";
        diagnostics.push(
            Diagnostic::nowhere(Level::Error, codes::NAT_NOTHING, message)
                .hint("run it with `--forwarding proxy`, or mend what the warnings name"),
        );
    }
    for (frontend, forwarding) in plan.frontends.iter_mut().zip(found) {
        frontend.forwarding = forwarding;
    }
}

/// Every address that routers move.
fn virtual_addresses(plan: &Plan) -> Vec<IpAddr> {
    let all =
        plan.routers.iter().flat_map(|router| router.addresses.iter().chain(&router.excluded_addresses));
    all.map(|own| own.address).filter(|address| !is_link_local(*address)).collect()
}

/// An address that means something on one link only, where nothing can be forwarded to.
fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

/// What the kernel is to forward for a frontend, and to which servers; or why it cannot.
fn judge<'a>(
    plan: &'a Plan,
    frontend: &Frontend,
    virtual_addresses: &[IpAddr],
    taken: &BTreeSet<SocketAddr>,
) -> Result<(Nat, &'a Pool), Reason> {
    reason::of_frontend(frontend)?;
    let pool = frontend.pool.and_then(|pool| plan.pools.get(usize::from(pool.0)));
    let pool = pool.ok_or_else(|| Reason::of_frontend("it leads to no servers", &[]))?;
    reason::of_pool(pool)?;
    let mut endpoints = BTreeSet::new();
    for bind in &frontend.binds {
        reason::of_bind(bind)?;
        endpoints.extend(endpoints_of(bind, virtual_addresses, plan)?);
    }
    for endpoint in &endpoints {
        reason::of_endpoint(*endpoint, pool, taken)?;
    }
    let key = match pool.algorithm {
        Algorithm::Source(_) => FlowKey::Address,
        _ => FlowKey::AddressAndPort,
    };
    Ok((Nat { endpoints: endpoints.into_iter().collect(), key }, pool))
}

/// The addresses that a `bind` line means. Every address is none that another line names: that one is the closer match.
fn endpoints_of(bind: &Bind, virtual_addresses: &[IpAddr], plan: &Plan) -> Result<Vec<SocketAddr>, Reason> {
    if !bind.address.ip().is_unspecified() {
        return Ok(vec![bind.address]);
    }
    let meant = |address: &&IpAddr| address.is_ipv4() == bind.address.is_ipv4() || bind.dual_stack;
    let port = bind.address.port();
    let named = |endpoint: &SocketAddr| {
        let mut binds = plan.frontends.iter().flat_map(|frontend| &frontend.binds);
        binds.any(|other| other.elsewhere.is_none() && other.address == *endpoint)
    };
    let every = virtual_addresses.iter().filter(meant).map(|&address| SocketAddr::new(address, port));
    let endpoints: Vec<_> = every.filter(|endpoint| !named(endpoint)).collect();
    if endpoints.is_empty() {
        let sentence = format!(
            "`{bind}` is every address, and there is no virtual one of its family that it could mean"
        );
        return Err(Reason::of_frontend(sentence, &[("bind", "")]));
    }
    Ok(endpoints)
}

fn left_to_the_proxy(frontend: &Frontend, reason: &Reason, places: Places<'_>) -> Diagnostic {
    let message = format!("`{}` stays with the proxy: {}", frontend.name, reason.sentence);
    let diagnostic = match places.of(frontend, reason) {
        Some(span) => {
            Diagnostic::warning(codes::NAT_NOT_HERE, span, message).label("the kernel cannot do this")
        }
        None => Diagnostic::nowhere(Level::Warning, codes::NAT_NOT_HERE, message),
    };
    diagnostic.hint("its connections end with this balancer; take it out if they are to survive that")
}

/// Names what is otherwise than with the proxy.
fn say_what_differs(frontend: &Frontend, pool: &Pool, places: Places<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let name = &frontend.name;
    let mut note = |code, message: String| {
        diagnostics.push(match places.name(name) {
            Some(span) => Diagnostic::note(code, span, message),
            None => Diagnostic::nowhere(Level::Note, code, message),
        });
    };
    if !matches!(pool.algorithm, Algorithm::Source(_)) {
        let message = format!(
            "connections of `{name}` find their server by the hash of the client's address and port, which every balancer knows, \
             and not by their numbers or in turn"
        );
        note(codes::NAT_BY_HASH, message);
    }
    let without = reason::without_effect(frontend, pool);
    if !without.is_empty() {
        let message = format!("the kernel forwards `{name}` without regard to {}", without.join(", "));
        note(codes::NAT_NO_EFFECT, message);
    }
}
