//! The recipe's files and the few changes that other timers, or HAProxy itself, need.
//!
//! mainstay gets the recipe exactly as it is printed. Every change made for someone else is said in [`Files::changes`].

use std::fs;

/// Appended to the distribution's haproxy.cfg.
const HAPROXY_APPEND: &str = include_str!("recipe/haproxy-append.cfg");
/// For machines without a distribution's haproxy.cfg.
const HAPROXY_BASE: &str = include_str!("recipe/haproxy-base.cfg");
const KEEPALIVED: [(&str, &str); 2] = [
    ("lb1", include_str!("recipe/keepalived-lb1.conf")),
    ("lb2", include_str!("recipe/keepalived-lb2.conf")),
];
/// Where the distribution puts its file.
const DISTRIBUTION_FILE: &str = "/etc/haproxy/haproxy.cfg";

/// How fast a dead balancer is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Timers {
    /// As printed: VRRP version 2, an advert each second.
    Recipe,
    /// VRRP version 3, an advert every 100 ms.
    Fast,
    /// VRRP version 3, an advert every 10 ms, the shortest interval there is.
    Fastest,
}

/// Who reads the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// mainstay, which takes them as they are.
    Mainstay,
    /// HAProxy and Keepalived.
    Pair,
}

/// What one balancer is configured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Text of haproxy.cfg.
    pub haproxy: String,
    /// Text of keepalived.conf.
    pub keepalived: String,
    /// What differs from the printed recipe, one phrase each.
    pub changes: Vec<&'static str>,
}

impl Files {
    /// Lets each apiserver take any number of connections.
    pub fn lift_bounds(&mut self) {
        self.haproxy = self.haproxy.replacen(" maxconn 20\n", "\n", 1);
        self.changes.push("no `maxconn` for each apiserver, which the kernel does not keep");
    }

    /// Lets each apiserver take 100 connections.
    pub fn give_room(&mut self) {
        self.haproxy = self.haproxy.replacen(
            "default-server check maxconn 20\n",
            "default-server check maxconn 100\n",
            1,
        );
        self.changes.push("`maxconn 100` instead of 20 for each apiserver");
    }
}

/// The files of the balancer called `name`.
///
/// `ordinary_user` is whether only one user exists, so that HAProxy cannot change to another.
pub fn files(name: &str, reader: Reader, timers: Timers, ordinary_user: bool) -> Files {
    let mut changes = Vec::new();
    let base = fs::read_to_string(DISTRIBUTION_FILE).unwrap_or_else(|_| HAPROXY_BASE.to_owned());
    let mut append = HAPROXY_APPEND.to_owned();
    let mut base = with_newline(base);
    if reader == Reader::Pair {
        append = append.replacen("    bind *:6443\n", "    mode tcp\n    bind *:6443\n", 1);
        changes.push("`mode tcp` added to the frontend for HAProxy, which refuses the recipe without it");
        if ordinary_user {
            base = without_lines(&base, &["chroot", "user", "group"]);
            changes.push(
                "`chroot`, `user` and `group` removed for HAProxy, which cannot change to another user here",
            );
        }
    }
    let mut keepalived =
        KEEPALIVED.iter().find(|(of, _)| *of == name).map(|(_, text)| (*text).to_owned()).unwrap_or_default();
    match timers {
        Timers::Recipe => {}
        Timers::Fast => {
            keepalived = fast(&keepalived, "0.1");
            changes.push(
                "`version 3`, `advert_int 0.1` and no authentication, which VRRP version 3 does not have",
            );
        }
        Timers::Fastest => {
            keepalived = fast(&keepalived, "0.01");
            changes.push(
                "`version 3`, `advert_int 0.01` and no authentication, which VRRP version 3 does not have",
            );
        }
    }
    Files { haproxy: base + &append, keepalived, changes }
}

fn fast(recipe: &str, interval: &str) -> String {
    let (before, rest) = recipe.split_once("  authentication {").unwrap_or((recipe, ""));
    let (_, after) = rest.split_once("  }\n").unwrap_or(("", rest));
    format!("{before}{after}").replacen(
        "  interface ens160\n",
        &format!("  interface ens160\n  version 3\n  advert_int {interval}\n"),
        1,
    )
}

fn without_lines(text: &str, keywords: &[&str]) -> String {
    let kept = |line: &&str| line.split_whitespace().next().is_none_or(|word| !keywords.contains(&word));
    text.lines().filter(kept).flat_map(|line| [line, "\n"]).collect()
}

fn with_newline(mut text: String) -> String {
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mainstay_gets_the_recipe_as_printed() {
        let files = files("lb1", Reader::Mainstay, Timers::Recipe, true);
        assert!(files.haproxy.ends_with(HAPROXY_APPEND));
        assert_eq!(files.keepalived, include_str!("recipe/keepalived-lb1.conf"));
        assert_eq!(files.changes, [""; 0]);
    }

    #[test]
    fn haproxy_gets_the_mode_it_needs_and_no_user_it_cannot_become() {
        let files = files("lb2", Reader::Pair, Timers::Recipe, true);
        assert!(files.haproxy.contains("    mode tcp\n    bind *:6443\n"), "{}", files.haproxy);
        assert!(!files.haproxy.contains("chroot"), "{}", files.haproxy);
        assert_eq!(files.keepalived, include_str!("recipe/keepalived-lb2.conf"));
        assert_eq!(files.changes.len(), 2);
    }

    #[test]
    fn room_is_made_in_the_printed_line() {
        let mut files = files("lb1", Reader::Mainstay, Timers::Fastest, false);
        assert!(files.keepalived.contains("  advert_int 0.01\n"), "{}", files.keepalived);
        files.give_room();
        assert!(files.haproxy.contains("maxconn 100\n") && !files.haproxy.contains("maxconn 20\n"));
        assert_eq!(files.changes.len(), 2);
    }

    #[test]
    fn fast_timers_change_three_things() {
        let files = files("lb1", Reader::Mainstay, Timers::Fast, false);
        assert!(files.keepalived.contains("  version 3\n  advert_int 0.1\n"), "{}", files.keepalived);
        assert!(!files.keepalived.contains("auth"), "{}", files.keepalived);
        assert!(
            files.keepalived.contains("  track_script {\n    chk_haproxy\n  }\n"),
            "{}",
            files.keepalived
        );
    }
}
