//! What is worth saying about names.

use std::fmt;

use serde::Serialize;

use crate::event::Severity;
use crate::resolve::Problem;

/// Something worth saying about a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum ResolveEvent {
    /// A name does not resolve, after all tries.
    NameFails {
        /// The `resolvers` section.
        section: String,
        /// The name.
        name: String,
        /// Why, of the last try.
        #[serde(serialize_with = "as_text")]
        problem: Problem,
    },
    /// A name that did not resolve does.
    NameResolves {
        /// The `resolvers` section.
        section: String,
        /// The name.
        name: String,
    },
}

impl ResolveEvent {
    /// How much it matters.
    pub const fn severity(&self) -> Severity {
        match self {
            Self::NameFails { .. } => Severity::Warning,
            Self::NameResolves { .. } => Severity::Info,
        }
    }
}

impl fmt::Display for ResolveEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NameFails { section, name, problem } => {
                write!(f, "resolvers {section}: {name} does not resolve: {problem}")
            }
            Self::NameResolves { section, name } => write!(f, "resolvers {section}: {name} resolves"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoName => "there is no such name",
            Self::NoRecord => "it has no such record",
            Self::Timeout => "nobody answered in time",
            Self::Refused => "the name servers refuse to answer",
            Self::Other => "the name servers failed, or made no sense",
        })
    }
}

fn as_text<S: serde::Serializer>(problem: &Problem, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(problem)
}
