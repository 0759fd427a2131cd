//! What the tests of haproxy.cfg share: loading texts in surroundings that are always the same.

use std::net::IpAddr;

use mainstay_engine::config::diagnostic::Diagnostic;
use mainstay_engine::config::haproxy::secrets;
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{self, Surroundings};
use mainstay_engine::plan::{Frontend, Plan, Pool};

use crate::config_support;

/// What became of some texts.
pub(crate) struct Loaded {
    pub(crate) sources: Sources,
    pub(crate) plan: Option<Plan>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// The plan's only frontend and pool.
    pub(crate) fn only_pair(&self) -> (&Frontend, &Pool) {
        let plan = self.plan.as_ref().unwrap_or_else(|| panic!("refused:\n{}", report(self)));
        match (plan.frontends.as_slice(), plan.pools.as_slice()) {
            ([frontend], [pool]) => (frontend, pool),
            other => panic!("one frontend and one pool, not {other:?}\n{}", report(self)),
        }
    }

    /// Whether something was said under this code.
    pub(crate) fn says(&self, code: &str) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.code == code)
    }
}

/// The addresses of the few names there are.
fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    let addresses: &[[u8; 4]] = match name {
        "cp1" => &[[192, 0, 2, 11]],
        "cp" => &[[192, 0, 2, 11], [192, 0, 2, 12]],
        "localhost" => &[[127, 0, 0, 1]],
        _ => return Err("Name or service not known".to_owned()),
    };
    Ok(addresses.iter().map(|octets| IpAddr::from(*octets)).collect())
}

fn variable(name: &str) -> Option<String> {
    match name {
        "API_PORT" => Some("6443".to_owned()),
        "WORDS" => Some("check inter 3s".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

/// A machine that is always the same.
pub(crate) fn surroundings() -> Surroundings<'static> {
    Surroundings {
        variable: &variable,
        resolve: &resolve,
        key_file: &|path| Err(format!("{path}: no such file")),
        pattern_file: &|path| Err(format!("{path}: no such file")),
    }
}

/// Reads and lowers one text.
pub(crate) fn load(text: &str) -> Loaded {
    load_all(&[text])
}

/// Reads and lowers several texts, in order.
pub(crate) fn load_all(texts: &[&str]) -> Loaded {
    let mut sources = Sources::default();
    let ids: Vec<_> = texts.iter().map(|text| sources.add("haproxy.cfg", *text)).collect();
    for &id in &ids {
        for secret in secrets(&sources, id) {
            sources.mark_secret(secret);
        }
    }
    let (plan, diagnostics) = config::load(&sources, &ids, &[], &surroundings());
    Loaded { sources, plan, diagnostics }
}

/// Every finding in a short form.
pub(crate) fn report(loaded: &Loaded) -> String {
    config_support::report(&loaded.sources, &loaded.diagnostics)
}

/// The text of a fixture.
pub(crate) fn fixture(name: &str) -> String {
    config_support::fixture("haproxy_config", name)
}

/// The names of all fixtures, in order.
pub(crate) fn fixtures() -> Vec<String> {
    config_support::fixtures("haproxy_config")
}
