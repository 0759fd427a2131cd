//! What the kernel counted, and where that is shown: the counters that the proxy keeps as well.
//!
//! Owns [`Counters`]. The kernel counts packets of IP, so bytes are a little more here than what a proxy passes on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use mainstay_engine::plan::{FrontendId, ServerId};
use mainstay_engine::serving::Serving;
use mainstay_engine::time::Instant;
use serde::Deserialize;

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
            for total in
                [&pool.sessions_total, &server.sessions_total, &pool.chosen_total, &server.chosen_total]
            {
                add(total, new.packets);
            }
            pool.session_rate.add(count, now);
            server.session_rate.add(count, now);
            pool.last_session.set(now);
            server.last_session.set(now);
        }
        Counted::In => {
            [&pool.bytes_in, &server.bytes_in].map(|total| add(total, new.bytes)).into_iter().collect()
        }
        Counted::Out => {
            [&pool.bytes_out, &server.bytes_out].map(|total| add(total, new.bytes)).into_iter().collect()
        }
    }
}

fn add(total: &AtomicU64, more: u64) {
    total.fetch_add(more, Ordering::Relaxed);
}
