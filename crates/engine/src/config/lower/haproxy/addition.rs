//! Servers that are added while the daemon runs: the same line, read by the same reader, as if it stood in its section.
//!
//! Owns [`Additions`]. A server is checked as its section says and inherits what a section inherits, but for
//! `default-server`, which HAProxy does not apply to such servers either. It starts disabled, unless it says `enabled`.

use crate::config::Surroundings;
use crate::config::diagnostic::{Diagnostic, Level};
use crate::config::haproxy::{self, Kind, Section, Statement, Tree, codes};
use crate::config::source::Sources;
use crate::plan::Server;

/// Parameters that HAProxy does not take for such a server, or that refer to what a running daemon does not look at again.
const NOT_AT_RUN_TIME: [&str; 23] = [
    "cookie",
    "init-addr",
    "log-proto",
    "max-reuse",
    "namespace",
    "no-agent-check",
    "no-check",
    "no-check-send-proxy",
    "no-check-ssl",
    "no-send-proxy-v2-ssl",
    "no-send-proxy-v2-ssl-cn",
    "no-ssl",
    "non-stick",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "socks4",
    "ssl-reuse",
    "stick",
    "tcp-ut",
    "track",
];

/// Lines of a section that say nothing about how one more server of it is used and checked.
const LEFT_OUT: [&str; 7] =
    ["bind", "server", "server-template", "default-server", "use_backend", "default_backend", "use-server"];

/// What servers that are added are read with.
#[derive(Clone, Debug, Default)]
pub struct Additions {
    /// The sections that say something about servers.
    tree: Tree,
}

impl Additions {
    /// Keeps what `tree` says about servers.
    pub fn new(mut tree: Tree) -> Self {
        tree.sections.retain(|section| section.kind != Kind::Frontend);
        for section in &mut tree.sections {
            section.statements.retain(|statement| !is_left_out(statement));
        }
        Self { tree }
    }

    /// The server that the words after `server` describe, as one of the section `pool`.
    ///
    /// # Errors
    /// What is wrong with the words; the places are of no use. Nothing at all where there is no such section.
    pub fn server(
        &self,
        pool: &str,
        words: &[&str],
        surroundings: &Surroundings<'_>,
    ) -> Result<Server, Vec<Diagnostic>> {
        let mut sources = Sources::default();
        // Ids of sources are compared, and this one must not be that of a file.
        let sections = self.tree.sections.iter().chain(&self.tree.others);
        let files = sections.flat_map(|section| &section.statements);
        let files = files.flat_map(|statement| &statement.words).map(|word| word.span.source).max();
        let id = loop {
            let id = sources.add("command", text(words));
            if files.is_none_or(|last| id > last) {
                break id;
            }
        };
        let (line, mut found) = haproxy::read(&sources, &[id], &|_| None);
        let statement = line.sections.into_iter().flat_map(|section| section.statements).next();
        let mut diagnostics = Vec::new();
        let mut server = None;
        if let (Some(statement), Some(tree)) = (statement, self.around(pool)) {
            found.extend(not_at_run_time(&statement));
            let tree = with_server(tree, statement);
            let parts = super::lower(&tree, surroundings, &mut diagnostics);
            server = parts.pools.into_iter().flat_map(|pool| pool.servers).next();
        }
        // What is wrong with the files was said when the daemon started.
        let own = |diagnostic: &Diagnostic| diagnostic.span.is_some_and(|span| span.source == id);
        found.extend(diagnostics.into_iter().filter(own));
        found.retain(|diagnostic| diagnostic.level == Level::Error);
        server.filter(|_| found.is_empty()).ok_or(found)
    }

    /// The section `pool`, last, and all that it may inherit from.
    fn around(&self, pool: &str) -> Option<Tree> {
        let is_it = |section: &Section| {
            matches!(section.kind, Kind::Backend | Kind::Listen)
                && section.header.first().is_some_and(|name| name.text == pool)
        };
        let place = self.tree.sections.iter().position(is_it)?;
        let above = self.tree.sections.iter().take(place);
        let general = |section: &&Section| matches!(section.kind, Kind::Global | Kind::Defaults);
        let mut sections: Vec<Section> = above.filter(general).cloned().collect();
        // `global` counts wherever it stands.
        let below = self.tree.sections.iter().skip(place);
        sections.extend(below.clone().filter(|section| section.kind == Kind::Global).cloned());
        sections.extend(below.take(1).cloned());
        Some(Tree { sections, others: self.tree.others.clone() })
    }
}

fn with_server(mut tree: Tree, server: Statement) -> Tree {
    if let Some(section) = tree.sections.last_mut() {
        section.statements.push(server);
    }
    tree
}

fn is_left_out(statement: &Statement) -> bool {
    statement.words.first().is_some_and(|word| LEFT_OUT.contains(&word.text.as_str()))
}

/// A section with one line. Every word is in quotes, so that it means what it says.
fn text(words: &[&str]) -> String {
    let quoted = |word: &&str| format!(" '{}'", word.replace('\'', "'\\''").replace(['\n', '\r'], " "));
    let mut words: Vec<String> = words.iter().map(quoted).collect();
    words.insert(words.len().min(2), " disabled".to_owned());
    format!("backend added\n server{}\n", words.concat())
}

fn not_at_run_time(statement: &Statement) -> Option<Diagnostic> {
    let parameters = statement.words.iter().skip(3);
    let word = parameters.into_iter().find(|word| NOT_AT_RUN_TIME.contains(&word.text.as_str()))?;
    let message = format!("'{}' option is not accepted for dynamic server", word.text);
    Some(Diagnostic::error(codes::NOT_ALLOWED_HERE, word.span, message))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::plan::CheckKind;

    const FILE: &str = "\
defaults
    mode tcp
    timeout check 3s
    default-server weight 7
backend other
    server a 10.0.0.1:1
backend k8s
    option httpchk GET /readyz
    default-server check inter 9s
    server cp1 10.0.0.1:6443
defaults later
    option ssl-hello-chk
global
    ssl-server-verify none
";

    fn surroundings() -> Surroundings<'static> {
        Surroundings {
            variable: &|_| Some("filled in".to_owned()),
            resolve: &|name| Err(format!("nobody knows {name}")),
            key_file: &|_| Err("there is none".to_owned()),
            pattern_file: &|_| Err("there is none".to_owned()),
        }
    }

    fn add(pool: &str, words: &str) -> Result<Server, Vec<String>> {
        let mut sources = Sources::default();
        let ids = [sources.add("haproxy.cfg", FILE)];
        let (tree, found) = haproxy::read(&sources, &ids, &|_| None);
        assert_eq!(found, []);
        let words: Vec<&str> = words.split(' ').collect();
        let server = Additions::new(tree).server(pool, &words, &surroundings());
        server.map_err(|found| found.into_iter().map(|diagnostic| diagnostic.message).collect())
    }

    #[test]
    fn a_server_is_read_as_one_of_its_section() {
        let server = add("k8s", "cp4 10.0.0.4:6443 check check-ssl weight 20 maxconn 5").unwrap();
        assert_eq!((server.name.as_str(), server.address.to_string().as_str()), ("cp4", "10.0.0.4:6443"));
        assert_eq!((server.weight, server.maxconn, server.disabled), (20, Some(5), true));
        let check = server.check.unwrap();
        assert!(matches!(check.kind, CheckKind::Steps(_)) && check.tls_of_connects().count() == 1);
        assert_eq!(check.answer_timeout, Duration::from_secs(3));
        assert_eq!(check.interval, Duration::from_secs(2), "not that of `default-server`");
    }

    #[test]
    fn nothing_comes_from_default_server_and_enabled_counts() {
        let server = add("k8s", "cp4 10.0.0.4:6443 enabled").unwrap();
        assert_eq!((server.weight, server.check, server.disabled), (1, None, false));
    }

    #[test]
    fn what_is_wrong_with_the_line_is_said_and_nothing_else() {
        let refused = |words| add("k8s", words).unwrap_err();
        assert!(refused("cp4 10.0.0.4:6443 weigth 3")[0].starts_with("unknown keyword `weigth`"));
        assert_eq!(refused("cp4 nowhere:6443").len(), 1);
        assert_eq!(refused("cp4 10.0.0.4:6443 weight 300"), ["`weight` must be from 0 to 256, not `300`"]);
        let dynamic = |word| vec![format!("'{word}' option is not accepted for dynamic server")];
        assert!(refused("cp4 10.0.0.4:6443 track k8s/cp1").contains(&dynamic("track")[0]));
        assert!(refused("cp4 10.0.0.4:6443 init-addr none").contains(&dynamic("init-addr")[0]));
        assert!(!refused("cp4 $HOME:1").is_empty() && !refused("cp4 'x").is_empty());
        assert!(!refused("cp4").is_empty() && !refused("").is_empty());
        assert_eq!(add("nobody", "cp4 10.0.0.4:6443"), Err(Vec::new()));
    }
}
