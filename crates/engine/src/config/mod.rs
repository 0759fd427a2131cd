//! Configuration languages: text in, one [`Plan`] and all diagnostics out.
//!
//! Owns [`load`]. `source` holds the texts and places in them, `diagnostic` what is wrong with them, `lower` makes the
//! plan. A reader never fails: it returns what it understood and everything it found wrong.

pub mod diagnostic;
pub mod haproxy;
pub mod keepalived;
pub mod lower;
pub mod source;

use std::net::IpAddr;

use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::source::{SourceId, Sources, Span};
use crate::plan::Plan;

/// What a configuration may ask of the machine it is read on; the engine cannot look for itself.
pub struct Surroundings<'a> {
    /// The value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// The addresses of a host name, or why there are none.
    pub resolve: &'a dyn Fn(&str) -> Result<Vec<IpAddr>, String>,
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
        let (tree, found) = keepalived::read(sources, id);
        trees.push(tree);
        diagnostics.extend(found);
    }
    let (scripts, routers) = lower::keepalived::lower(&trees, &mut diagnostics);
    let lower::haproxy::Parts { maxconn, workers, spread_checks, frontends, pools } = parts;
    let plan = Plan { maxconn, workers, spread_checks, frontends, pools, scripts, routers };
    let refused = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    ((!refused).then_some(plan), diagnostics)
}
