//! The recipe's own files, appended to the distribution's haproxy.cfg: what they promise on two hosts.

use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

use mainstay::lab::balancer::Kind;
use mainstay::lab::clients::{PROBE_PATIENCE, ProbeFailure};
use mainstay::lab::cluster::Cluster;
use mainstay::lab::recipe::Timers;
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::VIRTUAL_ADDRESS;

/// `maxconn 20` on three servers.
const SLOTS: usize = 60;
/// `timeout queue` is not set, so it is the distribution's `timeout connect 5000`.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than anything here waits.
const PATIENCE: Duration = Duration::from_secs(15);

pub(crate) fn runs_as_printed_and_queues_the_61st() {
    let cluster = super::cluster(Kind::Mainstay, Kind::Mainstay, Timers::Recipe);
    assert_eq!(cluster.changes(), [""; 0], "the files are used as printed");
    cluster.clients.stop_probing();
    wait_for_silence(&cluster);

    assert_eq!(cluster.lb1.address().label().as_deref(), Some("ens160:1"));
    assert_eq!(cluster.lb2.address().label(), None);
    let status = cluster.lb1.status().expect("a status");
    let [router] = status.routers.as_slice() else { panic!("one router: {:?}", status.routers) };
    assert_eq!(
        (router.state.as_str(), router.addresses.as_slice()),
        ("active", ["192.168.2.140/24".to_owned()].as_slice())
    );
    assert!(router.reason.starts_with("active since no other router was heard"), "{}", router.reason);

    strict_rotation(&cluster);
    queue(&cluster);
}

fn strict_rotation(cluster: &Cluster) {
    let asked = (0..9).map(|_| cluster.clients.ask(VIRTUAL_ADDRESS, "/version").expect("an answer").server);
    let servers: Vec<String> = asked.collect();
    let first: BTreeSet<_> = servers.iter().take(3).collect();
    assert_eq!(first.len(), 3, "{servers:?}");
    for (server, three_later) in servers.iter().zip(servers.iter().skip(3)) {
        assert_eq!(server, three_later, "{servers:?}");
    }
}

fn queue(cluster: &Cluster) {
    let mut held = cluster.clients.hold(SLOTS).expect("every slot is free");
    wait_for(cluster, "60 connections", |sessions, queued| (sessions, queued) == (60, 0));

    // The 61st waits, and is served by whichever server has a free slot first.
    let freed = held.pop().expect("a held connection");
    let server = freed.server().to_owned();
    let served = thread::scope(|scope| {
        let waiting = scope.spawn(|| cluster.clients.ask_patiently(VIRTUAL_ADDRESS, "/version", PATIENCE));
        wait_for(cluster, "one connection in the queue", |_, queued| queued == 1);
        assert_eq!(cluster.clients.judge(vec![freed]), [true], "a held connection works");
        waiting.join().expect("a client")
    });
    assert_eq!(served.expect("the 61st is served").server, server);

    // Without a free slot, it ends after `timeout queue`.
    held.extend(cluster.clients.hold(1).expect("the slot is free again"));
    wait_for(cluster, "60 connections", |sessions, queued| (sessions, queued) == (60, 0));
    let asked = Instant::now();
    let refused = cluster.clients.ask_patiently(VIRTUAL_ADDRESS, "/version", PATIENCE);
    let waited = asked.elapsed();
    assert_eq!(refused, Err(ProbeFailure::ClosedBeforeAnswer));
    assert!((QUEUE_TIMEOUT..QUEUE_TIMEOUT + Duration::from_secs(1)).contains(&waited), "{waited:?}");
    wait_for(cluster, "nothing in the queue", |sessions, queued| (sessions, queued) == (60, 0));
    let pool = &cluster.lb1.status().expect("a status").pools[0];
    assert_eq!(pool.queue_timeouts, 1);
    assert!(pool.servers.iter().all(|server| server.sessions_max == 20), "{:?}", pool.servers);
    assert!(cluster.clients.judge(held).iter().all(|works| *works), "held connections are left alone");
}

/// Waits until the last probe has ended: those that began before the address was there may still try to connect.
fn wait_for_silence(cluster: &Cluster) {
    let mut latest = (0, Instant::now());
    wait_until(PATIENCE, || {
        let servers = &cluster.lb1.status()?.pools[0].servers;
        let total = servers.iter().map(|server| server.sessions_total).sum::<u64>();
        if total != latest.0 || servers.iter().any(|server| server.sessions > 0) {
            latest = (total, Instant::now());
        }
        let silent = latest.1.elapsed() > PROBE_PATIENCE;
        Ok(if silent { Ok(()) } else { Err("probes go on".to_owned()) })
    })
    .expect("silence");
}

/// Waits until the sessions of all servers and the length of the queue are as they should be.
fn wait_for(cluster: &Cluster, what: &str, fits: impl Fn(u32, u32) -> bool) {
    wait_until(PATIENCE, || {
        let status = cluster.lb1.status()?;
        let [pool] = status.pools.as_slice() else { panic!("one pool: {:?}", status.pools) };
        let sessions = pool.servers.iter().map(|server| server.sessions).sum();
        let seen = format!("{sessions} connections and {} in the queue, not {what}", pool.queued);
        Ok(if fits(sessions, pool.queued) { Ok(()) } else { Err(seen) })
    })
    .expect(what);
}
