//! Where something stands in a keepalived.conf: from what a plan holds back to the lines it came from.

use crate::config::keepalived::{Statement, Tree};

/// The `vrrp_instance` called `name`.
pub(super) fn instance<'a>(tree: &'a Tree, name: &str) -> Option<&'a Statement> {
    named(tree, "vrrp_instance", name)
}

/// The `vrrp_script` called `name`.
pub(super) fn script<'a>(tree: &'a Tree, name: &str) -> Option<&'a Statement> {
    named(tree, "vrrp_script", name)
}

/// The `vrrp_sync_group` called `name`.
pub(super) fn group<'a>(tree: &'a Tree, name: &str) -> Option<&'a Statement> {
    named(tree, "vrrp_sync_group", name)
}

/// The statement of `global_defs` that counts for `keyword`.
pub(super) fn global<'a>(tree: &'a Tree, keyword: &str) -> Option<&'a Statement> {
    let blocks = tree.statements.iter().filter(|statement| statement.keyword.text == "global_defs");
    blocks.flat_map(Statement::statements).rfind(|statement| statement.keyword.text == keyword)
}

/// The statement of a block that counts for the first of `keywords` that it has.
pub(super) fn setting<'a>(block: &'a Statement, keywords: &[&str]) -> Option<&'a Statement> {
    keywords.iter().find_map(|keyword| {
        block.statements().iter().rev().find(|statement| statement.keyword.text == *keyword)
    })
}

/// The lines inside the blocks that `keyword` opens in `block`.
pub(super) fn entries<'a>(block: &'a Statement, keyword: &str) -> impl Iterator<Item = &'a Statement> {
    block
        .statements()
        .iter()
        .filter(move |statement| statement.keyword.text == keyword)
        .flat_map(Statement::statements)
}

/// The first of that name, which is the one in the plan.
fn named<'a>(tree: &'a Tree, kind: &str, name: &str) -> Option<&'a Statement> {
    tree.statements.iter().find(|statement| {
        statement.keyword.text == kind && statement.values.first().is_some_and(|value| value.text == name)
    })
}
