//! The files that both are asked about, topic by topic.

use crate::{
    addresses, balance, checks, general, language, logs, mutations, names, pages, proxy_headers, rules,
};

/// What is asked about one part of the language. The lines are put into files that are otherwise complete.
pub(crate) struct Topic {
    /// Lines of a backend.
    pub(crate) backend: &'static [&'static str],
    /// What follows `server`.
    pub(crate) servers: &'static [&'static str],
    /// Lines of a frontend.
    pub(crate) frontend: &'static [&'static str],
    /// Whole files.
    pub(crate) files: &'static [&'static str],
    /// Lines that the two judge differently on purpose, and why.
    pub(crate) disagreements: &'static [(&'static str, &'static str)],
}

const TOPICS: &[Topic] = &[
    addresses::TOPIC,
    balance::TOPIC,
    checks::TOPIC,
    general::TOPIC,
    language::TOPIC,
    logs::TOPIC,
    names::TOPIC,
    pages::TOPIC,
    proxy_headers::TOPIC,
    rules::TOPIC,
];

const DEFAULTS: &str = "defaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\n";

/// Every file.
pub(crate) fn cases() -> Vec<String> {
    let backend = TOPICS.iter().flat_map(|topic| topic.backend).map(|lines| {
        format!("{DEFAULTS}frontend f\n bind :6443\n default_backend b\nbackend b\n server m1 10.0.0.1:6443 check\n {lines}\n")
    });
    let servers = TOPICS.iter().flat_map(|topic| topic.servers).map(|line| {
        format!("{DEFAULTS}frontend f\n bind :6443\n default_backend b\nbackend b\n server m1 10.0.0.1:6443\n server {line}\n")
    });
    let frontend = TOPICS.iter().flat_map(|topic| topic.frontend).map(|lines| {
        format!("{DEFAULTS}backend b\n server m1 10.0.0.1:6443\nfrontend f\n bind :6443\n default_backend b\n {lines}\n")
    });
    let files = TOPICS.iter().flat_map(|topic| topic.files).map(|text| (*text).to_owned());
    backend.chain(servers).chain(frontend).chain(files).chain(mutations::cases()).collect()
}

/// Every disagreement.
pub(crate) fn disagreements() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    TOPICS.iter().flat_map(|topic| topic.disagreements).chain(mutations::DISAGREEMENTS)
}
