//! What the kernel counted, and where that is shown: the counters that the proxy keeps as well.
//!
//! Owns [`Counters`]. The kernel counts packets of IP, so bytes are a little more here than what a proxy passes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use mainstay_engine::forwarding::KernelForwarding;
use mainstay_engine::plan::{FrontendId, PoolId, ServerId, ServerIndex};
use mainstay_engine::serving::Serving;
use mainstay_engine::time::Instant;
use serde::Deserialize;

use super::conntrack::Entry;
use super::ruleset::{Counted, Subject, subject};

/// What the kernel's counters showed when they were last read.
#[derive(Debug, Default)]
pub(super) struct Counters {
    shown: BTreeMap<String, Shown>,
}

/// One counter of `nft -j list counters`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct Shown {
    packets: u64,
    bytes: u64,
}

impl Counters {
    /// Counts for `serving` what is new in the answer of `nft -j list counters`.
    pub(super) fn take_in(&mut self, text: &str, serving: &Serving, now: Instant) {
        let mut shown = BTreeMap::new();
        for (name, counter) in counters(text) {
            let before = self.shown.get(&name).copied().unwrap_or_default();
            // One that was made anew begins at nothing.
            let since = |before: u64, now: u64| now.checked_sub(before).unwrap_or(now);
            let new = Shown {
                packets: since(before.packets, counter.packets),
                bytes: since(before.bytes, counter.bytes),
            };
            if let Some((subject, what)) = subject(&name).filter(|_| new.packets > 0) {
                match subject {
                    Subject::Frontend(id) => of_frontend(serving, id, what, new, now),
                    Subject::Server(id) => of_server(serving, id, what, new, now),
                }
            }
            shown.insert(name, counter);
        }
        self.shown = shown;
    }
}

/// Shows the connections of `entries` where those of a proxy are shown, in place of what was shown of the kernel's before.
pub(super) fn show_connections(entries: &[Entry], forwarding: &KernelForwarding, serving: &Serving) {
    let endpoints: BTreeMap<_, _> = forwarding.endpoints.iter().map(|own| (own.address, own)).collect();
    let mut of_frontends: BTreeMap<FrontendId, u32> = BTreeMap::new();
    let mut of_servers: BTreeMap<ServerId, u32> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.is_established()) {
        let Some(endpoint) = endpoints.get(&entry.flow.endpoint) else { continue };
        *of_frontends.entry(endpoint.frontend).or_default() += 1;
        let servers = forwarding.pools.get(endpoint.pool).into_iter().flat_map(|pool| &pool.servers);
        for server in servers.filter(|server| server.address == entry.flow.server) {
            *of_servers.entry(server.id).or_default() += 1;
        }
    }
    for (id, load) in (0..).map(FrontendId).zip(&serving.frontends) {
        show(of_frontends.get(&id).copied().unwrap_or(0), &load.forwarded, &load.sessions_max);
    }
    for (id, pool) in (0..).map(PoolId).zip(&serving.pools) {
        let mut all: u32 = 0;
        for (index, server) in (0..).map(ServerIndex).zip(&pool.servers) {
            let count = of_servers.get(&ServerId { pool: id, server: index }).copied().unwrap_or(0);
            show(count, &server.load.forwarded, &server.load.sessions_max);
            all = all.saturating_add(count);
        }
        show(all, &pool.load.forwarded, &pool.load.sessions_max);
    }
}

fn show(count: u32, forwarded: &AtomicU32, most: &AtomicU32) {
    forwarded.store(count, Ordering::Relaxed);
    most.fetch_max(count, Ordering::Relaxed);
}

fn counters(text: &str) -> Vec<(String, Shown)> {
    let answer: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let entries = answer.get("nftables").and_then(|entries| entries.as_array()).cloned().unwrap_or_default();
    let counter = |entry: serde_json::Value| {
        let counter = entry.get("counter")?.clone();
        let name = counter.get("name")?.as_str()?.to_owned();
        Some((name, serde_json::from_value(counter).ok()?))
    };
    entries.into_iter().filter_map(counter).collect()
}

fn of_frontend(serving: &Serving, id: FrontendId, what: Counted, new: Shown, now: Instant) {
    let Some(load) = serving.frontends.get(usize::from(id.0)) else { return };
    match what {
        Counted::New => {
            add(&load.connections_total, new.packets);
            add(&load.sessions_total, new.packets);
            let count = u32::try_from(new.packets).unwrap_or(u32::MAX);
            load.connection_rate.add(count, now);
            load.session_rate.add(count, now);
        }
        Counted::In => add(&load.bytes_in, new.bytes),
        Counted::Out => add(&load.bytes_out, new.bytes),
    }
}

fn of_server(serving: &Serving, id: ServerId, what: Counted, new: Shown, now: Instant) {
    let Some(pool) = serving.pools.get(usize::from(id.pool.0)) else { return };
    let Some(server) = pool.servers.get(usize::from(id.server.0)) else { return };
    let (pool, server) = (&pool.load, &server.load);
    match what {
        Counted::New => {
            let count = u32::try_from(new.packets).unwrap_or(u32::MAX);
            add_to_both(&pool.sessions_total, &server.sessions_total, new.packets);
            add_to_both(&pool.chosen_total, &server.chosen_total, new.packets);
            pool.session_rate.add(count, now);
            server.session_rate.add(count, now);
            pool.last_session.set(now);
            server.last_session.set(now);
        }
        Counted::In => add_to_both(&pool.bytes_in, &server.bytes_in, new.bytes),
        Counted::Out => add_to_both(&pool.bytes_out, &server.bytes_out, new.bytes),
    }
}

fn add_to_both(pool: &AtomicU64, server: &AtomicU64, more: u64) {
    add(pool, more);
    add(server, more);
}

fn add(total: &AtomicU64, more: u64) {
    total.fetch_add(more, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mainstay_engine::plan::{Bind, Frontend, Plan, Pool, Server};
    use mainstay_engine::{Engine, time};

    use super::*;

    fn serving() -> Arc<Serving> {
        let address = "10.0.0.1:6443".parse().unwrap();
        let plan = Plan {
            frontends: vec![Frontend::new("api", vec![Bind::new(address)], PoolId(0))],
            pools: vec![Pool::new("cp", vec![Server::new("one", address)])],
            ..Plan::default()
        };
        Engine::new(Arc::new(plan), 0, time::Instant::from_nanos(0)).serving()
    }

    fn answer(counters: &[(&str, u64, u64)]) -> String {
        let entry = |(name, packets, bytes): &(&str, u64, u64)| {
            format!(r#"{{"counter": {{"name": "{name}", "packets": {packets}, "bytes": {bytes}}}}}"#)
        };
        let entries: Vec<_> = counters.iter().map(entry).collect();
        format!(r#"{{"nftables": [{{"metainfo": {{}}}}, {}]}}"#, entries.join(", "))
    }

    #[test]
    fn what_is_new_is_added_and_a_table_made_anew_begins_at_nothing() {
        let (serving, mut counters) = (serving(), Counters::default());
        let now = time::Instant::from_nanos(1);
        let named = |new, packets, bytes| {
            let of_server = [("p0v4_s0_new", new, 9), ("p0v4_s0_in", packets, bytes)];
            answer(&[&of_server[..], &[("f0_e0_new", new, 9), ("f0_e0_out", packets, bytes)]].concat())
        };
        counters.take_in(&named(3, 5, 100), &serving, now);
        counters.take_in(&named(5, 7, 150), &serving, now);
        // The same again, and nonsense.
        counters.take_in(&named(5, 7, 150), &serving, now);
        let anew = [("p7v4_s9_new", 1, 1), ("other", 1, 1), ("p0v4_s0_new", 2, 1)];
        counters.take_in(&answer(&anew), &serving, now);
        counters.take_in("no JSON", &serving, now);
        let (server, frontend) = (&serving.pools[0].servers[0].load, &serving.frontends[0]);
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((read(&server.sessions_total), read(&server.bytes_in)), (7, 150));
        assert_eq!((read(&frontend.sessions_total), read(&frontend.bytes_out)), (5, 150));
        assert_eq!(read(&serving.pools[0].load.sessions_total), 7);
    }
}
