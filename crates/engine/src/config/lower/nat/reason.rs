//! Why the kernel cannot forward a frontend, and what of it has no effect there.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::plan::{Algorithm, Bind, Frontend, FrontendRules, Inspection, Pool, PoolRules, ProxyOnly, Server};

/// Why the kernel cannot forward a frontend.
#[derive(Debug)]
pub(super) struct Reason {
    /// After "stays with the proxy:".
    pub(super) sentence: String,
    /// The section that says so, if not the frontend.
    pub(super) pool: Option<String>,
    /// Lines that may say so: their keyword, and the word in them that matters.
    pub(super) lines: Vec<(&'static str, &'static str)>,
}

impl Reason {
    pub(super) fn of_frontend(sentence: impl Into<String>, lines: &[(&'static str, &'static str)]) -> Self {
        Self { sentence: sentence.into(), pool: None, lines: lines.to_vec() }
    }

    fn of_pool(pool: &Pool, sentence: impl Into<String>, lines: &[(&'static str, &'static str)]) -> Self {
        Self { pool: Some(pool.name.clone()), ..Self::of_frontend(sentence, lines) }
    }
}

/// What a frontend asks for by itself.
pub(super) fn of_frontend(frontend: &Frontend) -> Result<(), Reason> {
    let FrontendRules { connection, session, content, switches, sessions_per_second, .. } = &frontend.rules;
    let request = [("tcp-request", "")];
    match () {
        () if frontend.pages.is_some() => Err(Reason::of_frontend("it answers requests itself", &[])),
        () if !connection.is_empty() || !session.is_empty() => {
            Err(Reason::of_frontend("it has rules on connections", &request))
        }
        () if *content != Inspection::default() => {
            Err(Reason::of_frontend("it looks at what clients send", &request))
        }
        () if !switches.is_empty() => {
            Err(Reason::of_frontend("it chooses between backends", &[("use_backend", "")]))
        }
        () if sessions_per_second.is_some() => {
            let lines = [("rate-limit", "")];
            Err(Reason::of_frontend("it limits how many connections come in a second", &lines))
        }
        () => Ok(()),
    }
}

/// What a `bind` line asks for.
pub(super) fn of_bind(bind: &Bind) -> Result<(), Reason> {
    let why = |sentence: &str, word: &'static str| {
        Err(Reason::of_frontend(format!("`bind {bind}` {sentence}"), &[("bind", word)]))
    };
    match () {
        () if bind.elsewhere.is_some() => why("is no address", ""),
        () if bind.accept_proxy => why("expects a PROXY header", "accept-proxy"),
        () if bind.interface.is_some() => why("takes connections from one interface only", "interface"),
        () if bind.transparent => why("takes connections to addresses of others", "transparent"),
        () if bind.address.ip().is_loopback() => why("is an address that no other machine has a way to", ""),
        () if super::is_link_local(bind.address.ip()) => why("is an address of one link only", ""),
        () => Ok(()),
    }
}

/// What a pool and its servers ask for.
pub(super) fn of_pool(pool: &Pool) -> Result<(), Reason> {
    let PoolRules { content, servers, stick, .. } = &pool.rules;
    let found = match () {
        () if *content != Inspection::default() => ("its backend looks at what clients send", "tcp-request"),
        () if !servers.is_empty() => ("its backend has rules on servers", "use-server"),
        () if !stick.is_empty() => ("its backend remembers where connections went", "stick"),
        () if matches!(pool.algorithm, Algorithm::Hash(_)) => ("its backend balances by a sample", "balance"),
        () => return pool.servers.iter().try_for_each(|server| of_server(pool, server)),
    };
    let (sentence, keyword) = found;
    Err(Reason::of_pool(pool, sentence, &[(keyword, "")]))
}

fn of_server(pool: &Pool, server: &Server) -> Result<(), Reason> {
    let Some(what) = server.proxy_only() else { return Ok(()) };
    let (sentence, words): (_, &[&'static str]) = match what {
        ProxyOnly::Maxconn => ("`maxconn` bounds the connections of", &["maxconn"]),
        ProxyOnly::Minconn => ("`minconn` bounds the connections of", &["minconn"]),
        ProxyOnly::ProxyHeader => ("a PROXY header is sent to", &["send-proxy", "send-proxy-v2"]),
        ProxyOnly::Local => ("there is no address of", &[""]),
        ProxyOnly::Source => ("a source address is set for", &["source"]),
        ProxyOnly::ClientPort => ("the client's port decides about that of", &[""]),
    };
    let lines = words.iter().flat_map(|word| [("server", *word), ("default-server", *word)]);
    // A line of its own comes before parameters of servers.
    let own = (what == ProxyOnly::Source).then_some(("source", ""));
    let lines: Vec<_> = own.into_iter().chain(lines).collect();
    Err(Reason::of_pool(pool, format!("{sentence} server `{}`", server.name), &lines))
}

/// What an endpoint and its servers are to each other.
pub(super) fn of_endpoint(
    endpoint: SocketAddr,
    pool: &Pool,
    taken: &BTreeSet<SocketAddr>,
) -> Result<(), Reason> {
    if taken.contains(&endpoint) {
        let sentence = format!("another frontend has {endpoint} already");
        return Err(Reason::of_frontend(sentence, &[("bind", "")]));
    }
    for server in &pool.servers {
        let address = server.address;
        // What DNS will tell is not known yet.
        if !address.ip().is_unspecified() && address.is_ipv4() != endpoint.is_ipv4() {
            let sentence = format!("{endpoint} and server `{}` are of different families", server.name);
            return Err(Reason::of_pool(pool, sentence, &[("server", "")]));
        }
        if address == endpoint {
            let sentence = format!("server `{}` is {endpoint} itself", server.name);
            return Err(Reason::of_pool(pool, sentence, &[("server", "")]));
        }
    }
    Ok(())
}

/// What of a frontend and its servers is for a proxy only, in the file's words.
pub(super) fn without_effect(frontend: &Frontend, pool: &Pool) -> Vec<&'static str> {
    let any = |test: fn(&Server) -> bool| pool.servers.iter().any(test);
    let bounded = frontend.maxconn.is_some() || frontend.binds.iter().any(|bind| bind.maxconn.is_some());
    let timed = [frontend.client_timeout, pool.connect_timeout, pool.server_timeout, pool.tunnel_timeout];
    let found = [
        ("`maxconn`", bounded),
        ("`timeout` lines", timed.iter().any(Option::is_some)),
        ("`log` lines", !frontend.logging.targets.is_empty()),
        ("`slowstart`", any(|server| server.slow_start.is_some())),
        ("`observe`", any(|server| server.observe.is_some())),
    ];
    found.into_iter().filter(|(_, there)| *there).map(|(what, _)| what).collect()
}
