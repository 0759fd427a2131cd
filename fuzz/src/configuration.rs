//! Any text of a configuration file ends in a plan or in findings that can be shown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use mainstay::configuration::Findings;
use mainstay::diagnostics::{Format, render};
use mainstay_engine::config::diagnostic::Level;
use mainstay_engine::config::source::{SourceId, Sources, Span};
use mainstay_engine::config::{Host, KeyFile, Program, Surroundings, compare, inspect, load, secrets};
use mainstay_engine::time::Instant;
use mainstay_engine::{Engine, Plan};

/// Reads `bytes` as a haproxy.cfg.
///
/// # Panics
/// If a place lies outside the text, masking moves anything, a plan is there beside an error or missing without one, or
/// an engine cannot be made from it.
pub fn haproxy_cfg(bytes: &[u8]) {
    check(bytes, |id| (vec![id], Vec::new()));
}

/// Reads `bytes` as a keepalived.conf.
///
/// # Panics
/// As [`haproxy_cfg`].
pub fn keepalived_conf(bytes: &[u8]) {
    check(bytes, |id| (Vec::new(), vec![id]));
}

/// `arrange` says which texts are haproxy.cfg and which are keepalived.conf files.
fn check(bytes: &[u8], arrange: fn(SourceId) -> (Vec<SourceId>, Vec<SourceId>)) {
    // Files that are not UTF-8 are refused before they are read.
    let Ok(text) = str::from_utf8(bytes) else { return };
    let mut sources = Sources::default();
    let id = sources.add("file", text);
    let (haproxy, keepalived) = arrange(id);
    for secret in secrets(&sources, &haproxy, &keepalived) {
        assert_inside(&sources, secret);
        sources.mark_secret(secret);
    }
    assert_masked(text, &sources.masked_text(id).expect("the text was added"));

    let surroundings = Surroundings {
        variable: &variable,
        resolve: &resolve,
        key_file: &key_file,
        pattern_file: &|_| Ok("192.0.2.1\n".to_owned()),
    };
    let (plan, mut diagnostics) = load(&sources, &haproxy, &keepalived, &surroundings);
    let refused = diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error);
    assert_eq!(plan.is_some(), !refused, "a plan is there exactly if no finding is an error");
    let host = Host { interface: &interface, program: &|_, _| Program::NotExecutable, runs_here: true };
    diagnostics.extend(inspect(&sources, &keepalived, Some(&host), &surroundings));
    diagnostics.extend(compare(&sources, &[keepalived.clone(), keepalived].concat(), &surroundings));
    for diagnostic in &diagnostics {
        let related = diagnostic.related.iter().map(|(span, _)| *span);
        diagnostic.span.into_iter().chain(related).for_each(|span| assert_inside(&sources, span));
    }
    if let Some(plan) = plan {
        assert_runs(plan);
    }
    let findings = Findings { sources, diagnostics };
    for format in [Format::Full, Format::Short, Format::Json] {
        render(&findings, format, false);
    }
}

/// Some variables are set, some are not.
fn variable(name: &str) -> Option<String> {
    (!name.starts_with("UNSET")).then(|| "10.0.0.9".to_owned())
}

/// One interface exists.
fn interface(name: &str) -> Option<Vec<(IpAddr, u8)>> {
    (name == "eth0").then(|| vec![(IpAddr::V4(Ipv4Addr::new(192, 168, 2, 141)), 24)])
}

/// Some names have addresses, some do not.
fn resolve(name: &str) -> Result<Vec<IpAddr>, String> {
    if name.starts_with("missing") {
        return Err(format!("{name}: no such host"));
    }
    Ok(vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), IpAddr::V6(Ipv6Addr::LOCALHOST)])
}

/// Some key files are there, some are not, some are anything.
fn key_file(path: &str) -> Result<KeyFile, String> {
    if path.starts_with("missing") {
        return Err("no such file".to_owned());
    }
    let text = if path.starts_with("good") { "hex:".to_owned() + &"5a".repeat(32) } else { path.to_owned() };
    Ok(KeyFile { text: text.into(), readable_by_others: path.ends_with('r') })
}

fn assert_inside(sources: &Sources, span: Span) {
    let text = &sources.get(span.source).expect("a place is in one of the texts").text;
    let (start, end) = (index(span.start), index(span.end));
    assert!(text.get(start..end).is_some(), "{span:?} lies outside its text of {} bytes", text.len());
}

fn index(at: u32) -> usize {
    usize::try_from(at).expect("it was an index")
}

/// Every byte that is not hidden is where it was, and so are the ends of lines.
fn assert_masked(text: &str, masked: &str) {
    assert_eq!(masked.len(), text.len(), "masking keeps the length");
    for (at, (was, is)) in text.bytes().zip(masked.bytes()).enumerate() {
        assert!(is == was || is == b'*' && was != b'\n', "masking made {is} of {was} at byte {at}");
    }
}

/// An engine takes every plan that the readers accept.
fn assert_runs(plan: Plan) {
    let mut engine = Engine::new(Arc::new(plan), 1, Instant::default());
    while engine.poll_output().is_some() {}
    if let Some(deadline) = engine.poll_timeout() {
        engine.handle_timeout(deadline.at);
        while engine.poll_output().is_some() {}
        engine.status(deadline.at);
    }
}
