//! The peer link between two real daemons: what it makes faster, and what must not move an address.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use mainstay::lab::balancer::{Balancer, Kind};
use mainstay::lab::cluster::{Cluster, Holder};
use mainstay::lab::faults;
use mainstay::lab::recipe::Timers;
use mainstay::lab::time::wait_until;
use mainstay::peer_link::DEFAULT_PORT;
use mainstay_engine::admin::PeerStatus;
use nix::sys::signal::Signal;

/// Longer than a link takes to come up after everything else has.
const PATIENCE: Duration = Duration::from_secs(30);

/// The recipe's timer is 3.6 s. On an idle machine the link needs some 30 ms; a loaded one may add to it.
const AT_ONCE: Duration = Duration::from_millis(500);

fn linked_cluster() -> Cluster {
    let cluster = super::cluster(Kind::Mainstay, Kind::Mainstay, Timers::Recipe);
    linked(&cluster);
    cluster
}

fn peer(balancer: &Balancer) -> PeerStatus {
    let status = balancer.status().expect("a status");
    assert_eq!(status.peers.len(), 1, "{:?}", status.peers);
    status.peers.into_iter().next().expect("one peer")
}

/// Waits until each of the two knows the other.
fn linked(cluster: &Cluster) {
    for balancer in [&cluster.lb1, &cluster.lb2] {
        wait_until(PATIENCE, || {
            let peer = peer(balancer);
            Ok(if peer.up && peer.told.is_some() { Ok(()) } else { Err(format!("no link: {peer:?}")) })
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", balancer.log_tail()));
    }
}

/// How often the two became active.
fn transitions(cluster: &Cluster) -> [u64; 2] {
    [&cluster.lb1, &cluster.lb2]
        .map(|balancer| balancer.status().expect("a status").routers[0].transitions_to_active)
}

fn run_on(balancer: &Balancer, program: &str, arguments: &[&str]) {
    let mut command = Command::new(program);
    command.args(arguments);
    let output = balancer.host().enter(|| command.output()).expect("the host").expect(program);
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One rule in front of everything that comes in or goes out.
fn firewall(balancer: &Balancer, hook: &str, rule: &str) {
    let chain = format!("chain wall {{\ntype filter hook {hook} priority 0\n{rule}\n}}");
    run_on(balancer, "nft", &[&format!("table inet wall {{\n{chain}\n}}")]);
}

fn open_firewall(balancer: &Balancer) {
    run_on(balancer, "nft", &["delete table inet wall"]);
}

fn holds(balancer: &Balancer, patience: Duration) -> Duration {
    let began = Instant::now();
    wait_until(patience, || {
        Ok(if balancer.address().holds() { Ok(()) } else { Err("the address is elsewhere".to_owned()) })
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", balancer.log_tail()));
    began.elapsed()
}

pub(crate) fn replaces_a_dead_process_at_once() {
    let mut cluster = linked_cluster();
    let told = peer(&cluster.lb2);
    let view = told.told.expect("a view").view;
    assert_eq!((view.routers[0].state.as_str(), view.routers[0].priority), ("active", 120), "{view:?}");
    assert_eq!(view.reaches.len(), 3, "{view:?}");
    assert_eq!(told.drift, [""; 0], "the recipe's two files differ only where they may");

    let fault = faults::find("balancer-killed").expect("a fault");
    let line = fault.run(&mut cluster, |_| ()).expect("a run");
    println!("    SIGKILL: longest gap {:.0} ms", line.longest_gap * 1000.0);
    assert!(line.longest_gap < AT_ONCE.as_secs_f64(), "{line:?}\n{}", cluster.lb2.log_tail());

    cluster.settle(Holder::Lb1).expect("lb1 comes back");
    linked(&cluster);
    cluster.lb1.signal(Signal::SIGABRT).expect("it runs");
    let took = holds(&cluster.lb2, Duration::from_secs(10));
    println!("    SIGABRT: taken over after {:.0} ms", took.as_secs_f64() * 1000.0);
    assert!(took < AT_ONCE, "{took:?}\n{}", cluster.lb2.log_tail());

    // A backup that dies is no news for the active one.
    cluster.lb1.kill().expect("what is left of it ends");
    cluster.lb1.start().expect("it starts");
    cluster.settle(Holder::Lb1).expect("lb1 comes back");
    linked(&cluster);
    let before = cluster.lb1.status().expect("a status").routers[0].transitions_to_active;
    cluster.lb2.kill().expect("it can be killed");
    wait_until(PATIENCE, || Ok(if peer(&cluster.lb1).up { Err("still linked".to_owned()) } else { Ok(()) }))
        .expect("the link ends");
    let router = &cluster.lb1.status().expect("a status").routers[0];
    assert_eq!((router.state.as_str(), router.transitions_to_active), ("active", before));
}

pub(crate) fn interference_changes_nothing() {
    let cluster = linked_cluster();
    let before = transitions(&cluster);
    let unmoved = |what: &str| {
        let now = transitions(&cluster);
        assert_eq!(now, before, "{what}\n{}{}", cluster.lb1.log_tail(), cluster.lb2.log_tail());
        assert!(cluster.lb1.address().holds() && !cluster.lb2.address().holds(), "{what}");
    };
    let down = |what: &str| {
        wait_until(PATIENCE, || {
            Ok(if peer(&cluster.lb2).up { Err(format!("{what}: still linked")) } else { Ok(()) })
        })
        .expect(what);
        // The question, its answer and the end of patience are over by then.
        thread::sleep(Duration::from_millis(500));
        unmoved(what);
    };

    let link = format!("tcp dport {DEFAULT_PORT}");
    firewall(&cluster.lb1, "input", &format!("{link} reject with tcp reset"));
    down("reset and refused by a firewall");
    let log = cluster.lb2.log();
    assert!(log.contains("closed its link and refuses a new one"), "{}", cluster.lb2.log_tail());
    assert!(log.contains("asks 192.168.2.141"), "{}", cluster.lb2.log_tail());
    open_firewall(&cluster.lb1);
    linked(&cluster);

    firewall(&cluster.lb1, "input", &format!("{link} drop"));
    down("dropped by a firewall");
    open_firewall(&cluster.lb1);
    linked(&cluster);

    // As if an attacker had sent a reset with the right numbers: the kernel of lb1 sends one for it.
    let ups = |log: &str| log.matches("is up").count();
    let earlier = ups(&cluster.lb2.log());
    run_on(&cluster.lb1, "ss", &["-K", "sport", "=", &format!(":{DEFAULT_PORT}")]);
    wait_until(PATIENCE, || {
        let again = ups(&cluster.lb2.log()) > earlier && peer(&cluster.lb2).up;
        Ok(if again { Ok(()) } else { Err("the link was not made anew".to_owned()) })
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", cluster.lb2.log_tail()));
    unmoved("an established link that was reset");

    cluster.lb1.freeze().expect("it can be frozen");
    thread::sleep(Duration::from_millis(1500));
    cluster.lb1.thaw().expect("it can be thawed");
    linked(&cluster);
    // Its address has a lifetime in the kernel, which may have ended meanwhile: nobody holds it then until lb1 goes on.
    holds(&cluster.lb1, PATIENCE);
    unmoved("a peer that is slow");
}

pub(crate) fn keepalived_is_left_alone() {
    let mut cluster = super::cluster(Kind::Pair, Kind::Mainstay, Timers::Recipe);
    let peer = peer(&cluster.lb2);
    assert!(!peer.up && peer.link.starts_with("refused"), "{peer:?}");
    assert_eq!(cluster.lb2.status().expect("a status").routers[0].state, "backup");

    cluster.lb1.kill().expect("it can be killed");
    let took = holds(&cluster.lb2, Duration::from_secs(10));
    assert!(took > Duration::from_secs(2), "three adverts were waited for: {took:?}");
}

pub(crate) fn the_address_goes_where_servers_are_reached() {
    let mut cluster = linked_cluster();
    firewall(&cluster.lb1, "output", "ip daddr 192.168.2.151-192.168.2.153 tcp dport 6443 drop");
    let took = holds(&cluster.lb2, Duration::from_secs(60));
    println!("    cut from all servers: moved after {:.1} s", took.as_secs_f64());
    let status = cluster.lb1.status().expect("a status");
    let router = &status.routers[0];
    assert_eq!(router.effective_priority, 1, "{router:?}");
    assert!(router.tracking.iter().any(|change| change.starts_with("reaches 0 of 3 servers")), "{router:?}");
    open_firewall(&cluster.lb1);
    cluster.settle(Holder::Lb1).expect("lb1 takes it back when it reaches them again");

    linked(&cluster);
    let before = transitions(&cluster);
    for apiserver in &mut cluster.apiservers {
        apiserver.kill().expect("it can be killed");
    }
    for balancer in [&cluster.lb1, &cluster.lb2] {
        wait_until(PATIENCE, || {
            let servers = &balancer.status()?.pools[0].servers;
            let down = servers.iter().all(|server| server.state.starts_with("down"));
            Ok(if down { Ok(()) } else { Err(format!("{servers:?}")) })
        })
        .expect("both notice");
    }
    // Longer than a lack has to last before it counts.
    thread::sleep(Duration::from_secs(12));
    assert_eq!(transitions(&cluster), before, "nobody reaches anything, so nobody moves");
    assert_eq!(cluster.lb1.status().expect("a status").routers[0].effective_priority, 120);
    cluster.restore().expect("apiservers start");
    cluster.settle(Holder::Lb1).expect("all is well again");
    assert_eq!(transitions(&cluster), before);
}
