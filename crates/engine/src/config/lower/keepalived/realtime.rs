//! How urgent adverts are to the machine: `vrrp_rt_priority`.
//!
//! Keepalived has ordinary scheduling unless it is told otherwise or finds itself late; mainstay begins with the lowest
//! real-time priority, because it balances connections on the same machine.

use super::fields::Fields;
use crate::config::keepalived::Tree;
use crate::config::keepalived::keywords::Place;

/// The least that comes before every thread without a real-time priority.
const LOWEST: u8 = 1;

/// The real-time priority that the files ask for. What is wrong with them is [`lower`](super::lower)'s to say.
pub fn realtime_priority(trees: &[Tree]) -> u8 {
    let said = &mut Vec::new();
    let statements = trees.iter().flat_map(|tree| &tree.statements);
    let root = Fields::read(Place::Root, statements, said);
    let globals = Fields::read(Place::GlobalDefinitions, root.inside("global_defs"), said);
    globals.integer("vrrp_rt_priority").unwrap_or(LOWEST)
}
