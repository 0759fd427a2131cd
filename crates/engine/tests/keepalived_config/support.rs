//! What the tests of keepalived.conf share: loading a text, and showing what was found in a short form.

use mainstay_engine::config::compare;
use mainstay_engine::config::diagnostic::Diagnostic;
use mainstay_engine::config::keepalived::{read, secrets};
use mainstay_engine::config::lower::keepalived::{Parts, lower};
use mainstay_engine::config::source::{SourceId, Sources};
use mainstay_engine::config::{KeyFile, Surroundings};
use mainstay_engine::plan::{Router, Script};

use crate::config_support;

/// What became of one text.
pub(crate) struct Loaded {
    pub(crate) sources: Sources,
    pub(crate) id: SourceId,
    pub(crate) scripts: Vec<Script>,
    pub(crate) routers: Vec<Router>,
    /// Everything but those two.
    pub(crate) others: Parts,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether any finding is an error.
    pub(crate) fn refused(&self) -> bool {
        config_support::refused(&self.diagnostics)
    }
}

/// Where every text of these tests is read.
pub(crate) const SURROUNDINGS: Surroundings<'static> = Surroundings {
    variable: &|name| (name == "CREDENTIALS_DIRECTORY").then(|| "/credentials".to_owned()),
    resolve: &|name| Err(format!("{name}: no such host")),
    key_file: &key_file,
    pattern_file: &|path| Err(format!("{path}: no such file")),
};

/// Reads and lowers one text.
pub(crate) fn load(text: &str) -> Loaded {
    let mut sources = Sources::default();
    let id = sources.add("keepalived.conf", text);
    for secret in secrets(&sources, id) {
        sources.mark_secret(secret);
    }
    let surroundings = SURROUNDINGS;
    let (tree, mut diagnostics) = read(&sources, id, surroundings.variable);
    let mut others = lower(&[tree], &surroundings, &mut diagnostics);
    let (scripts, routers) = (std::mem::take(&mut others.scripts), std::mem::take(&mut others.routers));
    Loaded { sources, id, scripts, routers, others, diagnostics }
}

/// Holds the files of balancers, by name, against each other.
pub(crate) fn differences(files: &[(&str, &str)]) -> (Sources, Vec<Diagnostic>) {
    let mut sources = Sources::default();
    let ids: Vec<_> = files.iter().map(|(name, text)| sources.add(*name, *text)).collect();
    for secret in ids.iter().flat_map(|id| secrets(&sources, *id)).collect::<Vec<_>>() {
        sources.mark_secret(secret);
    }
    let diagnostics = compare(&sources, &ids, &SURROUNDINGS);
    (sources, diagnostics)
}

/// The key files there are.
fn key_file(path: &str) -> Result<KeyFile, String> {
    let text = match path {
        "/credentials/vrrp" | "/keys/open" => "hex:".to_owned() + &"a5".repeat(32) + "\n",
        "/keys/ascii" => "hunter2-and-more-of-it-up-to-32-b".to_owned(),
        "/keys/short" => "hunter2".to_owned(),
        _ => return Err("No such file or directory (os error 2)".to_owned()),
    };
    Ok(KeyFile { text: text.into(), readable_by_others: path == "/keys/open" })
}

/// Every finding in a short form.
pub(crate) fn report(loaded: &Loaded) -> String {
    config_support::report(&loaded.sources, &loaded.diagnostics)
}

/// The text of a fixture.
pub(crate) fn fixture(name: &str) -> String {
    config_support::fixture("keepalived_config", name)
}

/// The names of all fixtures, in order.
pub(crate) fn fixtures() -> Vec<String> {
    config_support::fixtures("keepalived_config")
}
