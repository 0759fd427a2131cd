//! Configuration languages: text in, one [`Plan`] and all diagnostics out.
//!
//! Owns [`load`], and what is asked of files that were loaded: [`inspect`], [`compare`]. `source` holds the texts and
//! places in them, `diagnostic` what is wrong with them, `lower` makes the plan. A reader never fails: it returns what it
//! understood and everything it found wrong.

mod compare;
pub mod diagnostic;
pub mod haproxy;
mod host;
pub mod keepalived;
pub mod lower;
mod places;
pub mod source;

pub use host::{Host, Networks, Program};

use std::net::IpAddr;

use zeroize::Zeroizing;

use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::source::{SourceId, Sources, Span};
use crate::plan::Plan;

/// What a configuration may ask of the machine it is read on; the engine cannot look for itself.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The addresses of a host name, or why there are none.
    pub resolve: &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>,
    /// What a file that is said to hold a key holds, or why it cannot be read.
    pub key_file: &'a dyn Fn(&str) -> Result<KeyFile, String>,
    /// What a file of patterns for conditions holds, or why it cannot be read.
    pub pattern_file: &'a dyn Fn(&str) -> Result<String, String>,
}

/// A file with a key in it.
pub struct KeyFile {
    /// The whole text.
    pub text: Zeroizing<String>,
    /// Whether its group or everybody may read it.
    pub readable_by_others: bool,
}

/// The places of passwords and keys in all texts, for [`Sources::mark_secret`].
pub fn secrets(sources: &Sources, haproxy: &[SourceId], keepalived: &[SourceId]) -> Vec<Span> {
    let haproxy = haproxy.iter().flat_map(|&id| haproxy::secrets(sources, id));
    haproxy.chain(keepalived.iter().flat_map(|&id| keepalived::secrets(sources, id))).collect()
}

/// Makes a plan from the texts of haproxy.cfg and keepalived.conf files, each in the order given.
///
/// The plan is there exactly if no diagnostic is an error.
pub fn load(
    sources: &Sources,
    haproxy: &[SourceId],
    keepalived: &[SourceId],
    surroundings: &Surroundings<'_>,
) -> (Option<Plan>, Vec<Diagnostic>) {
    let (tree, mut diagnostics) = haproxy::read(sources, haproxy, surroundings.variable);
    let parts = lower::haproxy::lower(&tree, surroundings, &mut diagnostics);
    let mut trees = Vec::new();
    for &id in keepalived {
        let (tree, found) = keepalived::read(sources, id, surroundings.variable);
        trees.push(tree);
        diagnostics.extend(found);
    }
    let vrrp = lower::keepalived::lower(&trees, surroundings, &mut diagnostics);
    let lower::haproxy::Parts {
        maxconn,
        workers,
        spread_checks,
        max_spread_checks,
        runtime_api,
        log_hostname,
        frontends,
        pools,
        resolvers,
        tables,
    } = parts;
    let plan = Plan {
        maxconn,
        workers,
        spread_checks,
        runtime_api,
        log_hostname,
        max_spread_checks,
        frontends,
        pools,
        resolvers,
        tables,
        scripts: vrrp.scripts,
        files: vrrp.files,
        processes: vrrp.processes,
        realtime_priority: Some(lower::keepalived::realtime_priority(&trees)),
        routers: vrrp.routers,
        groups: vrrp.groups,
        notify_fifos: vrrp.notify_fifos,
        vrrp_start: vrrp.vrrp_start,
        announce_gaps: vrrp.announce_gaps,
    };
    let refused = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    ((!refused).then_some(plan), diagnostics)
}

/// What servers that are added while the daemon runs are read with: the same files as for [`load`].
pub fn additions(
    sources: &Sources,
    haproxy: &[SourceId],
    surroundings: &Surroundings<'_>,
) -> lower::haproxy::Additions {
    lower::haproxy::Additions::new(haproxy::read(sources, haproxy, surroundings.variable).0)
}

/// Leaves to the kernel what it can forward of a plan that was made of these files, and says what it cannot. The plan is of no
/// use if anything of that is an error.
pub fn forward_by_kernel(
    plan: &mut Plan,
    sources: &Sources,
    haproxy: &[SourceId],
    surroundings: &Surroundings<'_>,
) -> Vec<Diagnostic> {
    let tree = haproxy::read(sources, haproxy, surroundings.variable).0;
    let mut diagnostics = Vec::new();
    lower::nat::lower(plan, &tree, &mut diagnostics);
    diagnostics
}

/// Holds keepalived.conf files, which are one configuration, against the machine they are to run on, or without one
/// against themselves. What [`load`] says of them is not said again.
pub fn inspect(
    sources: &Sources,
    keepalived: &[SourceId],
    host: Option<&Host<'_>>,
    surroundings: &Surroundings<'_>,
) -> Vec<Diagnostic> {
    let (tree, parts) = understood(sources, keepalived, surroundings);
    let mut diagnostics = Vec::new();
    host::inspect(&tree, &parts, host, &mut diagnostics);
    diagnostics
}

/// Holds the keepalived.conf files of several balancers against each other. What [`load`] says of each is not said again.
pub fn compare(
    sources: &Sources,
    balancers: &[SourceId],
    surroundings: &Surroundings<'_>,
) -> Vec<Diagnostic> {
    let balancer = |&id: &SourceId| {
        let (tree, parts) = understood(sources, &[id], surroundings);
        let file = sources.get(id).map(|source| source.name.clone()).unwrap_or_default();
        compare::Balancer { file, tree, routers: parts.routers }
    };
    let balancers: Vec<_> = balancers.iter().map(balancer).collect();
    let mut diagnostics = Vec::new();
    compare::compare(&balancers, &mut diagnostics);
    diagnostics
}

/// What keepalived.conf files together say, as far as it is understood.
fn understood(
    sources: &Sources,
    ids: &[SourceId],
    surroundings: &Surroundings<'_>,
) -> (keepalived::Tree, lower::keepalived::Parts) {
    let read = |&id: &SourceId| keepalived::read(sources, id, surroundings.variable).0.statements;
    let statements = ids.iter().flat_map(read).collect();
    let tree = keepalived::Tree { statements };
    let parts = lower::keepalived::lower(std::slice::from_ref(&tree), surroundings, &mut Vec::new());
    (tree, parts)
}
