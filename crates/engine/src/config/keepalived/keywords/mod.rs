//! The table of keywords: what Keepalived 2.2.7 and 2.4 know, and what mainstay does with each.
//!
//! Owns [`Keyword`] and [`TABLE`]. The table drives reading, ranges, suggestions and the reference; a keyword that is
//! not in it is a mistake.

mod global;
mod group;
mod instance;
mod notify;
mod routing;

use crate::config::diagnostic::did_you_mean;
use crate::plan::Family;

/// Keywords that share their place, their values and their treatment.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// Their names.
    pub names: &'static [&'static str],
    /// The block they belong in.
    pub place: Place,
    /// What follows them.
    pub values: Values,
    /// What counts without them, in words; empty if nothing does.
    pub default: &'static str,
    /// What mainstay does with them.
    pub treatment: Treatment,
    /// What they mean, in a few words.
    pub meaning: &'static str,
}

/// A kind of block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The top of the file.
    Root,
    /// `global_defs`.
    GlobalDefinitions,
    /// `vrrp_script`.
    Script,
    /// `vrrp_instance`.
    Instance,
    /// `vrrp_sync_group`.
    SyncGroup,
    /// `track_file` at the top of a file.
    TrackFile,
    /// `vrrp_track_process`.
    TrackProcess,
    /// `garp_group`.
    AnnounceGroup,
    /// `authentication`.
    Authentication,
    /// `auth_hmac`.
    AuthHmac,
    /// The options of an address in `virtual_ipaddress` and `virtual_ipaddress_excluded`.
    VirtualAddress,
    /// The options of a line in `track_script` and `track_interface`.
    Tracked,
    /// The options of an address in `unicast_peer`.
    Peer,
    /// The options of a line in `virtual_routes`.
    Route,
    /// The options of a line in `virtual_rules`.
    Rule,
}

/// What follows a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    Nothing,
    /// Nothing, or a word for yes or no.
    Flag,
    /// A whole number in this range.
    Integer(i64, i64),
    /// A decimal number in this range of millionths, such as seconds down to a microsecond.
    Decimal(u64, u64),
    /// One word.
    Word,
    /// So many words.
    Words(usize, usize),
    /// The number of a key, 1 to 255, and the key; once for each number.
    Key,
    /// One address, of that family if one is named.
    Address(Option<Family>),
    /// A block.
    Block,
    /// A name and a block.
    NamedBlock,
    /// Anything: it is not looked at.
    Anything,
}

/// What mainstay does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// What Keepalived does.
    ActedOn,
    /// Nothing, which changes nothing that matters; the reason.
    NoEffect(&'static str),
    /// Nothing yet; what that means.
    NotYet(&'static str),
    /// Refuses the file; the reason.
    Refused(&'static str),
}

/// Every keyword, block by block.
pub const TABLE: &[&[Keyword]] = &[
    global::ROOT,
    global::GLOBAL_DEFINITIONS,
    instance::SCRIPT,
    instance::INSTANCE,
    instance::SMALL_BLOCKS,
    routing::ROUTES,
    routing::RULES,
    group::GROUP,
    group::TRACKED,
    notify::INSTANCE,
    notify::GROUP,
    notify::GLOBAL,
];

/// Every keyword of a block.
pub fn keywords(place: Place) -> impl Iterator<Item = &'static Keyword> {
    TABLE.iter().copied().flatten().filter(move |keyword| keyword.place == place)
}

/// The keyword `name` of a block, with the name as the table has it.
pub fn find(place: Place, name: &str) -> Option<(&'static Keyword, &'static str)> {
    keywords(place)
        .find_map(|keyword| keyword.names.iter().find(|known| **known == name).map(|known| (keyword, *known)))
}

/// The keyword of a block that `typed` was probably meant to be.
pub fn suggest(place: Place, typed: &str) -> Option<&'static str> {
    did_you_mean(typed, keywords(place).flat_map(|keyword| keyword.names.iter().copied()))
}

/// Another block that knows `name`.
pub fn elsewhere(place: Place, name: &str) -> Option<Place> {
    TABLE
        .iter()
        .copied()
        .flatten()
        .find(|keyword| keyword.place != place && keyword.names.contains(&name))
        .map(|keyword| keyword.place)
}

/// Whether `name` opens a block that only stands at the top of a file.
pub(super) fn is_top_block(name: &str) -> bool {
    ["global_defs", "vrrp_script", "vrrp_instance", "vrrp_sync_group", "vrrp_track_process", "garp_group"]
        .contains(&name)
}

/// Whether `name` opens a block inside an instance, such as `track_script`.
pub(super) fn is_instance_block(name: &str) -> bool {
    find(Place::Instance, name).is_some_and(|(keyword, _)| keyword.values == Values::Block)
}

impl Place {
    /// Whether a word in such a block that is no keyword may be a password or a key.
    pub const fn holds_secrets(self) -> bool {
        matches!(self, Self::Authentication | Self::AuthHmac)
    }

    /// The keyword that opens such a block, or what the reference calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Root => "top of the file",
            Self::GlobalDefinitions => "global_defs",
            Self::Script => "vrrp_script",
            Self::Instance => "vrrp_instance",
            Self::SyncGroup => "vrrp_sync_group",
            Self::TrackFile => "track_file",
            Self::TrackProcess => "vrrp_track_process",
            Self::AnnounceGroup => "garp_group",
            Self::Authentication => "authentication",
            Self::AuthHmac => "auth_hmac",
            Self::VirtualAddress => "virtual_ipaddress",
            Self::Tracked => "track_script",
            Self::Peer => "unicast_peer",
            Self::Route => "virtual_routes",
            Self::Rule => "virtual_rules",
        }
    }
}

const fn acted_on(
    place: Place,
    names: &'static [&'static str],
    values: Values,
    default: &'static str,
    meaning: &'static str,
) -> Keyword {
    Keyword { names, place, values, default, treatment: Treatment::ActedOn, meaning }
}

const fn no_effect(place: Place, names: &'static [&'static str], reason: &'static str) -> Keyword {
    passed_over(place, names, Treatment::NoEffect(reason))
}

const fn not_yet(place: Place, names: &'static [&'static str], consequence: &'static str) -> Keyword {
    passed_over(place, names, Treatment::NotYet(consequence))
}

const fn refused(place: Place, names: &'static [&'static str], reason: &'static str) -> Keyword {
    passed_over(place, names, Treatment::Refused(reason))
}

const fn passed_over(place: Place, names: &'static [&'static str], treatment: Treatment) -> Keyword {
    Keyword { names, place, values: Values::Anything, default: "", treatment, meaning: "" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_block_has_a_keyword_twice() {
        let mut seen = BTreeSet::new();
        for keyword in TABLE.iter().copied().flatten() {
            for name in keyword.names {
                assert!(seen.insert((keyword.place, name)), "{name} twice in {}", keyword.place.name());
            }
        }
    }

    #[test]
    fn every_row_says_something() {
        for keyword in TABLE.iter().copied().flatten() {
            let said = match keyword.treatment {
                Treatment::ActedOn => keyword.meaning,
                Treatment::NoEffect(text) | Treatment::NotYet(text) | Treatment::Refused(text) => text,
            };
            assert!(!said.is_empty() && !said.ends_with('.'), "{:?}: {said:?}", keyword.names);
        }
    }
}
