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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keepalived;
    use crate::config::source::Sources;

    fn of(text: &str) -> u8 {
        let mut sources = Sources::default();
        let id = sources.add("keepalived.conf".to_owned(), text.to_owned());
        realtime_priority(&[keepalived::read(&sources, id, &|_| None).0])
    }

    #[test]
    fn the_lowest_unless_the_file_says_more() {
        assert_eq!(of("vrrp_instance VI_1 {\n}\n"), 1);
        assert_eq!(of("global_defs {\n  vrrp_rt_priority 42\n}\n"), 42);
    }
}
