//! What a fault may cost, from the lab's own catalogue.

use mainstay::lab::balancer::Kind;
use mainstay::lab::cluster::Cluster;
use mainstay::lab::faults;
use mainstay::lab::recipe::Timers;
use mainstay::lab::scoreboard::Line;

fn run(cluster: &mut Cluster, name: &str) -> Line {
    let fault = faults::find(name).expect(name);
    let line = fault.run(cluster, |_| ()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(line.new > 100 && line.unavailable.is_none(), "{name} was watched: {line:?}");
    assert!(line.healed.is_some(), "{name} heals: {line:?}");
    line
}

pub(crate) fn of_balancers() {
    let mut cluster = super::cluster(Kind::Mainstay, Kind::Mainstay, Timers::Recipe);
    let killed = run(&mut cluster, "balancer-killed");
    // Through the peer link; its kernel keeps the address for its lifetime.
    assert!(killed.longest_gap < 0.5, "{killed:?}");
    assert!(killed.address_gone.is_some_and(|gone| gone < 2.0), "{killed:?}");
    for name in ["balancer-frozen", "balancer-link-cut"] {
        let line = run(&mut cluster, name);
        // Three adverts and a skew of 0.6 s after the last one, which is up to a second old.
        assert!((2.4..4.2).contains(&line.longest_gap), "{line:?}");
        assert!(line.address_gone.is_some_and(|gone| gone < 2.0), "{line:?}");
        assert!(line.two_holders < 0.1, "{line:?}");
    }
    for name in ["balancer-stopped", "hand-over", "balancer-returns"] {
        let line = run(&mut cluster, name);
        assert_eq!((line.new_failed, line.failures.len()), (0, 0), "{line:?}");
        assert!(line.address_gone.is_some(), "{line:?}");
    }
    for balancer in [&cluster.lb1, &cluster.lb2] {
        let status = balancer.status().expect("a status");
        assert_eq!(status.routers[0].differences, [], "a move is no conflict");
        let log = balancer.log();
        assert!(
            !log.contains("address_conflict") && !log.contains("answers for"),
            "a move is no conflict:\n{log}"
        );
    }
}

pub(crate) fn of_balancers_with_fast_timers() {
    let mut cluster = super::cluster(Kind::Mainstay, Kind::Mainstay, Timers::Fast);
    let line = run(&mut cluster, "balancer-killed");
    // 0.36 s by the timers; a busy machine may add to it.
    assert!(line.longest_gap < 0.6, "{line:?}");
    assert!(line.address_gone.is_some_and(|gone| gone < 2.0), "{line:?}");
}

pub(crate) fn of_apiservers() {
    let mut cluster = super::cluster(Kind::Mainstay, Kind::Mainstay, Timers::Recipe);
    for name in ["apiserver-killed", "apiserver-stopped", "apiserver-returns"] {
        let line = run(&mut cluster, name);
        assert_eq!((line.new_failed, line.failures.len()), (0, 0), "{line:?}");
    }
    let frozen = run(&mut cluster, "apiserver-frozen");
    // Its kernel accepts connections until checks have failed.
    assert!(frozen.new_failed < frozen.new / 10 && frozen.longest_gap < 0.5, "{frozen:?}");
    let gone = run(&mut cluster, "apiservers-gone");
    assert!(gone.new_failed > 0 && gone.longest_gap < 7.0, "{gone:?}");
}
