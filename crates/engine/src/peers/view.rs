//! What one node tells the others of its group about itself.
//!
//! Owns [`View`] and its bounds. A view informs: priorities of health follow it and operators read it, but who is active
//! is decided by adverts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Routers in a view: more than a balancer has in practice.
const ROUTERS: usize = 16;

/// Parts of the configuration in a view.
const PARTS: usize = 64;

/// Bytes of all names of servers in a view and what separates them, so that it fits one frame of the peer link: hundreds
/// of servers.
const SERVER_BYTES: usize = 16 * 1024;

/// Bytes between two names.
const SEPARATION: usize = 3;

/// Bytes of one text in a view.
const TEXT_BYTES: usize = 256;

/// One node as it sees itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct View {
    /// The node's host name; filled in by the shell.
    pub host: String,
    /// Of the daemon.
    pub version: String,
    /// Wall time in milliseconds since 1970, when it was sent; filled in by the shell.
    pub clock_ms: u64,
    /// A digest of each part of the configuration that balancers of one group share, by what it is.
    pub configuration: BTreeMap<String, String>,
    /// In the order of the plan.
    pub routers: Vec<RouterView>,
    /// Checked servers that work, `pool/server`.
    pub reaches: Vec<String>,
    /// Whether something was left out because it is too much.
    pub shortened: bool,
}

/// One virtual router of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RouterView {
    /// The instance's name.
    pub name: String,
    /// The virtual router's identifier.
    pub vrid: u8,
    /// The interface adverts travel on.
    pub interface: String,
    /// As in `status`.
    pub state: String,
    /// As configured.
    pub priority: u8,
    /// After tracking.
    pub effective_priority: u8,
    /// Why it is in that state.
    pub why: String,
}

impl View {
    /// Leaves out what is more than a view holds.
    pub(crate) fn bounded(mut self) -> Self {
        let fits = |text: &str| text.len() <= TEXT_BYTES;
        let counts = (self.configuration.len(), self.routers.len(), self.reaches.len());
        self.configuration.retain(|name, _| fits(name));
        while self.configuration.len() > PARTS {
            self.configuration.pop_last();
        }
        self.routers.truncate(ROUTERS);
        self.routers.iter_mut().for_each(RouterView::shorten);
        let mut left = SERVER_BYTES;
        self.reaches.retain(|name| {
            let needed = name.len() + SEPARATION;
            let taken = fits(name) && needed <= left;
            left -= if taken { needed } else { 0 };
            taken
        });
        self.shortened |= counts != (self.configuration.len(), self.routers.len(), self.reaches.len());
        self
    }

    /// Whether a view from outside may be believed and shown: within all bounds, and nothing that a terminal obeys.
    ///
    /// # Errors
    /// A phrase that says what is wrong with it.
    pub fn check(&self) -> Result<(), &'static str> {
        let routers = self.routers.iter().flat_map(RouterView::texts);
        let parts = self.configuration.iter().flat_map(|(name, digest)| [name, digest]);
        let mut texts =
            [&self.host, &self.version].into_iter().chain(routers).chain(parts).chain(&self.reaches);
        if self.routers.len() > ROUTERS || self.configuration.len() > PARTS {
            return Err("its view has too many parts");
        }
        if self.reaches.iter().map(|name| name.len() + SEPARATION).sum::<usize>() > SERVER_BYTES {
            return Err("its view has too many servers");
        }
        if texts.any(|text| text.len() > TEXT_BYTES || text.chars().any(char::is_control)) {
            return Err("its view has a text that is too long or has control characters");
        }
        Ok(())
    }
}

impl RouterView {
    fn texts(&self) -> [&String; 4] {
        [&self.name, &self.interface, &self.state, &self.why]
    }

    fn shorten(&mut self) {
        for text in [&mut self.name, &mut self.interface, &mut self.state, &mut self.why] {
            let end = (0..=TEXT_BYTES).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.truncate(end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large() -> View {
        View {
            configuration: (0..1000).map(|n| (format!("{n:0256}"), format!("{n:016}"))).collect(),
            routers: vec![RouterView { why: "ä".repeat(1000), ..RouterView::default() }; 300],
            reaches: (0..5000).map(|n| format!("pool/server{n}")).collect(),
            ..View::default()
        }
    }

    #[test]
    fn what_is_too_much_is_left_out_and_said() {
        let view = large().bounded();
        assert_eq!(view.check(), Ok(()));
        assert!(view.shortened && view.routers.len() == ROUTERS && view.configuration.len() == PARTS);
        let small = View { reaches: vec!["p/s".to_owned()], ..View::default() };
        assert_eq!(small.clone().bounded(), small);
    }

    #[test]
    fn views_from_outside_are_within_bounds_and_safe_to_print() {
        assert!(large().check().is_err());
        for host in ["\u{1b}[2J".to_owned(), "h".repeat(257)] {
            assert!(View { host, ..View::default() }.check().is_err());
        }
    }
}
