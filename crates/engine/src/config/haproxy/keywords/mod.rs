//! The table of keywords: what HAProxy 2.6 to 3.5 know, and what mainstay does with each.
//!
//! Owns [`Keyword`] and [`TABLE`]. The table drives reading, ranges, suggestions and the reference; a keyword that is
//! not in it is a mistake. A name may have two words, such as `option redispatch`.

mod global;
mod options;
mod parameters;
mod proxy;
pub mod samples;
mod sections;

use crate::config::diagnostic::did_you_mean;

/// Keywords that share their place, their values and their treatment.
#[derive(Clone, Copy, Debug)]
pub struct Keyword {
    /// Their names.
    pub names: &'static [&'static str],
    /// Where they belong.
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

/// Where a keyword belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Section `global`.
    Global,
    /// A section of a proxy, if it is one of those.
    Proxy(Sections),
    /// The parameters of `bind`.
    Bind,
    /// The parameters of `server` and `default-server`.
    Server,
    /// One of [`OTHER_SECTIONS`], by its keyword.
    Section(&'static str),
}

/// Kinds of proxy sections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sections {
    /// `defaults`.
    pub defaults: bool,
    /// `frontend`, and the front half of `listen`.
    pub front: bool,
    /// `backend`, and the back half of `listen`.
    pub back: bool,
}

/// What follows a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Nothing.
    Nothing,
    /// A whole number in this range.
    Integer(i64, i64),
    /// A time: a whole number and `us`, `ms`, `s`, `m`, `h` or `d`; milliseconds without a unit.
    Time,
    /// One word.
    Word,
    /// So many words.
    Words(usize, usize),
    /// Anything: it is not looked at.
    Anything,
}

/// What mainstay does with a keyword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// What HAProxy does.
    ActedOn,
    /// Nothing, which changes nothing that matters; the reason.
    NoEffect(&'static str),
    /// Nothing yet; what that means.
    NotYet(&'static str),
    /// Refuses the file; the reason.
    Refused(&'static str),
}

/// Every keyword, place by place.
pub const TABLE: &[&[Keyword]] = &[
    global::GLOBAL,
    proxy::PROXY,
    options::OPTIONS,
    parameters::BIND,
    parameters::SERVER,
    sections::SECTIONS,
];

/// The other sections that HAProxy knows, and what it means that mainstay passes them over; empty if it does not.
pub const OTHER_SECTIONS: &[(&str, &str)] = &[
    ("acme", "no certificates are fetched"),
    ("cache", "nothing is cached"),
    ("crt-list", "mainstay does not terminate TLS"),
    ("crt-store", "mainstay does not terminate TLS"),
    ("fcgi-app", "no FastCGI application is called"),
    ("healthcheck", "checks are written in the backend"),
    ("http-errors", "mainstay answers no HTTP itself"),
    ("log-forward", "no logs are forwarded"),
    ("log-profile", "connections are not logged"),
    ("mailers", "no mail is sent"),
    ("namespace_list", "connections stay in the daemon's network namespace"),
    ("peers", "balancers do not share tables"),
    ("program", "no other program is started"),
    ("resolvers", ""),
    ("ring", "connections are not logged"),
    ("traces", "there are no traces of HAProxy's inside"),
    ("userlist", ""),
];

/// The sections that mainstay acts on.
pub const SECTIONS: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];

/// Every keyword of a place; a proxy's may belong in other sections.
pub fn keywords(place: Place) -> impl Iterator<Item = &'static Keyword> {
    TABLE.iter().copied().flatten().filter(move |keyword| place.alike(keyword.place))
}

/// The keyword that `words` start with, its name as the table has it, and how many words the name has.
pub fn find(place: Place, words: &[&str]) -> Option<(&'static Keyword, &'static str, usize)> {
    let first = words.first()?;
    let two = words.get(1).map(|second| format!("{first} {second}"));
    let named = |wanted: &str| {
        keywords(place).find_map(|keyword| {
            keyword.names.iter().find(|known| **known == wanted).map(|known| (keyword, *known))
        })
    };
    two.and_then(|two| named(&two))
        .map(|(keyword, name)| (keyword, name, 2))
        .or_else(|| named(first).map(|(keyword, name)| (keyword, name, 1)))
}

/// Whether `word` is the first of two words of a keyword's name.
pub fn is_family(place: Place, word: &str) -> bool {
    names(place).any(|name| name.split_once(' ').is_some_and(|(family, _)| family == word))
}

/// The keyword that the first one or two words were probably meant to be.
pub fn suggest(place: Place, words: &[&str]) -> Option<&'static str> {
    let first = words.first()?;
    if is_family(place, first) {
        let second = words.get(1)?;
        let members =
            names(place).filter_map(|name| name.split_once(' ').filter(|(family, _)| family == first));
        let meant = did_you_mean(second, members.map(|(_, member)| member))?;
        return names(place).find(|name| name.split_once(' ') == Some((*first, meant)));
    }
    let single = names(place).filter(|name| !name.contains(' '));
    let families = names(place).filter_map(|name| name.split_once(' ').map(|(family, _)| family));
    did_you_mean(first, single.chain(families))
}

/// Another place that knows what `words` start with.
pub fn elsewhere(place: Place, words: &[&str]) -> Option<Place> {
    [Place::Global, PROXY, Place::Bind, Place::Server]
        .into_iter()
        .find(|other| !other.alike(place) && find(*other, words).is_some())
}

fn names(place: Place) -> impl Iterator<Item = &'static str> {
    keywords(place).flat_map(|keyword| keyword.names.iter().copied())
}

/// Any section of a proxy.
pub const PROXY: Place = Place::Proxy(Sections { defaults: true, front: true, back: true });

impl Place {
    /// Whether both are the same but for the sections of a proxy.
    pub fn alike(self, other: Self) -> bool {
        self == other || matches!((self, other), (Self::Proxy(_), Self::Proxy(_)))
    }

    /// What the reference calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Global => "section `global`",
            Self::Proxy(Sections { front: false, .. }) => "a `backend` or `listen` section",
            Self::Proxy(Sections { back: false, .. }) => "a `frontend` or `listen` section",
            Self::Proxy(_) => "the section of a proxy",
            Self::Bind => "a `bind` line",
            Self::Server => "a `server` line",
            Self::Section(_) => "this section",
        }
    }
}

const fn proxy(defaults: bool, front: bool, back: bool) -> Place {
    Place::Proxy(Sections { defaults, front, back })
}

/// `defaults`, `frontend`, `backend`, `listen`.
const ALL: Place = proxy(true, true, true);
/// `defaults`, `frontend`, `listen`.
const FRONT: Place = proxy(true, true, false);
/// `defaults`, `backend`, `listen`.
const BACK: Place = proxy(true, false, true);
/// `frontend`, `backend`, `listen`.
const ALL_BUT_DEFAULTS: Place = proxy(false, true, true);
/// `frontend`, `listen`.
const FRONT_BUT_DEFAULTS: Place = proxy(false, true, false);
/// `backend`, `listen`.
const BACK_BUT_DEFAULTS: Place = proxy(false, false, true);

const fn acted_on(
    place: Place,
    names: &'static [&'static str],
    values: Values,
    default: &'static str,
    meaning: &'static str,
) -> Keyword {
    Keyword { names, place, values, default, treatment: Treatment::ActedOn, meaning }
}

const fn no_effect(
    place: Place,
    names: &'static [&'static str],
    values: Values,
    reason: &'static str,
) -> Keyword {
    Keyword { names, place, values, default: "", treatment: Treatment::NoEffect(reason), meaning: "" }
}

const fn not_yet(
    place: Place,
    names: &'static [&'static str],
    values: Values,
    consequence: &'static str,
) -> Keyword {
    Keyword { names, place, values, default: "", treatment: Treatment::NotYet(consequence), meaning: "" }
}

const fn refused(
    place: Place,
    names: &'static [&'static str],
    values: Values,
    reason: &'static str,
) -> Keyword {
    Keyword { names, place, values, default: "", treatment: Treatment::Refused(reason), meaning: "" }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_place_has_a_keyword_twice() {
        let mut seen = BTreeSet::new();
        for keyword in TABLE.iter().copied().flatten() {
            let place = if matches!(keyword.place, Place::Proxy(_)) { PROXY } else { keyword.place };
            for name in keyword.names {
                assert!(seen.insert((place, name)), "{name} twice in {}", place.name());
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

    #[test]
    fn names_of_two_words_are_found_before_those_of_one() {
        let found = find(PROXY, &["timeout", "connect", "5s"]).map(|(_, name, length)| (name, length));
        assert_eq!(found, Some(("timeout connect", 2)));
        assert!(find(PROXY, &["timeout", "conect"]).is_none());
        assert_eq!(suggest(PROXY, &["timeout", "conect"]), Some("timeout connect"));
        assert_eq!(suggest(PROXY, &["balence"]), Some("balance"));
    }
}
