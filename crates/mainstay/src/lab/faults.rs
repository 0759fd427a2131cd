//! The catalogue of faults, and how one of them is carried out and watched.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::balancer::Kind;
use super::clients::Held;
use super::cluster::{Cluster, Holder};
use super::error::Result;
use super::scoreboard::{self, Line, Observed};
use super::time::pause_until;

/// Connections held during a fault. The recipe has 60 slots on three servers; with one server gone the probes and
/// these still fit into what is left.
const HELD: usize = 30;
/// How long they are held before it: one that has just begun is what the probes are for.
const HELD_BEFORE: Duration = Duration::from_secs(1);
/// New connections must succeed this long before a fault counts as healed.
const STABLE: Duration = Duration::from_millis(1500);
/// A fault that is not healed by then is reported as such.
const PATIENCE: Duration = Duration::from_secs(15);
/// Long enough to see an address that a dead balancer leaves behind.
const OBSERVE: Duration = Duration::from_secs(6);
/// How long all apiservers stay gone.
const ALL_GONE: Duration = Duration::from_secs(3);

type Step = fn(&mut Cluster) -> Result<()>;

/// One way to break the cluster.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What it is, as a sentence.
    pub sentence: &'static str,
    /// Why the cluster at hand cannot show it.
    unavailable: fn(&Cluster) -> Option<&'static str>,
    /// Done before the clients are watched, and who is active then.
    prepare: Option<Step>,
    active: Holder,
    /// The fault itself.
    inject: Step,
    /// What follows after a time.
    follow: Option<(Duration, Step)>,
    /// Undoes what [`Cluster::restore`] cannot know.
    undo: Option<Step>,
    /// The balancer that has to let go of the address.
    loses: Option<Holder>,
}

/// Every fault, in the order they are run.
pub const CATALOGUE: [Fault; 12] = [
    Fault {
        name: "balancer-killed",
        sentence: "Everything on the active balancer is killed with SIGKILL.",
        inject: |cluster| cluster.lb1.kill(),
        ..BALANCER
    },
    Fault {
        name: "haproxy-killed",
        sentence: "What forwards connections on the active balancer is killed with SIGKILL: HAProxy, or mainstay as a whole.",
        inject: |cluster| cluster.lb1.kill_data_plane(),
        ..BALANCER
    },
    Fault {
        name: "balancer-frozen",
        sentence: "Everything on the active balancer is frozen with SIGSTOP.",
        inject: |cluster| cluster.lb1.freeze(),
        ..BALANCER
    },
    Fault {
        name: "balancer-link-cut",
        sentence: "The active balancer loses its link to the LAN.",
        inject: |cluster| cluster.lan.plug(cluster.lb1.host(), false),
        ..BALANCER
    },
    Fault {
        name: "balancer-stopped",
        sentence: "The active balancer's services are stopped with SIGTERM, as at a shutdown.",
        inject: |cluster| cluster.lb1.ask_to_stop(),
        ..BALANCER
    },
    Fault {
        name: "hand-over",
        sentence: "The active balancer is told to give its address to the other one (`mainstay handover`).",
        unavailable: |cluster| {
            (cluster.lb1.kind() == Kind::Pair).then_some("HAProxy + Keepalived have no planned hand-over")
        },
        inject: |cluster| cluster.lb1.hand_over(),
        undo: Some(|cluster| cluster.lb1.resume()),
        ..BALANCER
    },
    Fault {
        name: "balancer-returns",
        sentence: "The preferred balancer comes back and takes the address from the other one.",
        prepare: Some(|cluster| {
            cluster.lb1.kill()?;
            cluster.lb1.host().forget_virtual_address()
        }),
        active: Holder::Lb2,
        inject: |cluster| cluster.lb1.start(),
        loses: Some(Holder::Lb2),
        ..BALANCER
    },
    Fault {
        name: "apiserver-killed",
        sentence: "An apiserver is killed with SIGKILL.",
        inject: |cluster| first_apiserver(cluster, |apiserver| apiserver.kill()),
        ..APISERVER
    },
    Fault {
        name: "apiserver-stopped",
        sentence: "An apiserver shuts down gracefully: not ready at once, gone 5 s later.",
        inject: |cluster| first_apiserver(cluster, |apiserver| apiserver.signal(Signal::SIGTERM)),
        ..APISERVER
    },
    Fault {
        name: "apiserver-frozen",
        sentence: "An apiserver is frozen with SIGSTOP: its kernel still accepts connections.",
        inject: |cluster| first_apiserver(cluster, |apiserver| apiserver.signal(Signal::SIGSTOP)),
        ..APISERVER
    },
    Fault {
        name: "apiserver-returns",
        sentence: "An apiserver that was gone starts again: it accepts connections 2 s before it is ready.",
        prepare: Some(|cluster| {
            first_apiserver(cluster, |apiserver| apiserver.kill())?;
            // A balancer that still takes it for alive would not notice its return.
            pause_until(Instant::now() + PATIENCE / 2);
            Ok(())
        }),
        inject: |cluster| first_apiserver(cluster, |apiserver| apiserver.start()),
        ..APISERVER
    },
    Fault {
        name: "apiservers-gone",
        sentence: "All apiservers are killed at once and start again 3 s later.",
        inject: |cluster| cluster.apiservers.iter_mut().try_for_each(|apiserver| apiserver.kill()),
        follow: Some((ALL_GONE, |cluster| {
            cluster.apiservers.iter_mut().try_for_each(|apiserver| apiserver.start())
        })),
        ..APISERVER
    },
];

/// What faults of the active balancer have in common.
const BALANCER: Fault = Fault {
    name: "",
    sentence: "",
    unavailable: |_| None,
    prepare: None,
    active: Holder::Lb1,
    inject: |_| Ok(()),
    follow: None,
    undo: None,
    loses: Some(Holder::Lb1),
};

/// What faults of apiservers have in common.
const APISERVER: Fault = Fault { loses: None, ..BALANCER };

fn first_apiserver(
    cluster: &mut Cluster,
    act: impl FnOnce(&mut super::control_plane::ControlPlaneNode) -> Result<()>,
) -> Result<()> {
    cluster.apiservers.first_mut().map_or(Ok(()), act)
}

/// The fault called `name`.
pub fn find(name: &str) -> Option<&'static Fault> {
    CATALOGUE.iter().find(|fault| fault.name == name)
}

impl Fault {
    /// Breaks `cluster` in this way, watches it heal and puts it together again. `say` is told of every phase.
    ///
    /// # Errors
    /// The cluster does not work before the fault, or cannot be put together after it.
    pub fn run(&self, cluster: &mut Cluster, mut say: impl FnMut(&str)) -> Result<Line> {
        cluster.clients.start_probing();
        say("waiting until all is well");
        cluster.settle(Holder::Lb1)?;
        if let Some(reason) = (self.unavailable)(cluster) {
            return Ok(Line::unavailable(self, reason));
        }
        if let Some(prepare) = self.prepare {
            say("preparing");
            prepare(cluster)?;
            self.wait_prepared(cluster)?;
        }
        let held = cluster.clients.hold(HELD)?;
        pause_until(Instant::now() + HELD_BEFORE);
        say("breaking it");
        let observed = self.observe(cluster, held, &mut say)?;
        let line = scoreboard::judge(self, &observed);
        say("putting it together again");
        if let Some(undo) = self.undo {
            undo(cluster)?;
        }
        cluster.restore()?;
        cluster.clients.forget();
        Ok(line)
    }

    fn wait_prepared(&self, cluster: &mut Cluster) -> Result<()> {
        // With an apiserver gone, not all of them can be reached, and that is the state to start from.
        if self.loses.is_some() { cluster.settle(self.active) } else { Ok(()) }
    }

    fn observe(
        &self,
        cluster: &mut Cluster,
        held: Vec<Held>,
        say: &mut impl FnMut(&str),
    ) -> Result<Observed> {
        let injected = Instant::now();
        (self.inject)(cluster)?;
        say("watching");
        let mut earliest = injected + OBSERVE;
        if let Some((after, follow)) = self.follow {
            pause_until(injected + after);
            follow(cluster)?;
            earliest += after;
        }
        pause_until(earliest);
        while injected.elapsed() < PATIENCE && !is_stable(cluster) {
            pause_until(Instant::now() + STABLE / 10);
        }
        let ended = Instant::now();
        let probes = cluster.clients.probes_since(injected.checked_sub(STABLE).unwrap_or(injected));
        say("asking the held connections");
        let works = cluster.clients.judge(held);
        let (loser, other) = match self.loses {
            Some(Holder::Lb2) => (&cluster.lb2, &cluster.lb1),
            _ => (&cluster.lb1, &cluster.lb2),
        };
        Ok(Observed {
            injected,
            ended,
            probes,
            held: works.len(),
            held_lost: works.iter().filter(|works| !**works).count(),
            stable_for: STABLE,
            address_gone: self.loses.map(|_| loser.address().gone_since()),
            loser_held: loser.address().held_between(injected, ended),
            other_held: other.address().held_between(injected, ended),
        })
    }
}

/// Whether nothing failed lately.
fn is_stable(cluster: &Cluster) -> bool {
    let Some(since) = Instant::now().checked_sub(STABLE) else { return false };
    let probes = cluster.clients.probes_since(since);
    !probes.is_empty() && probes.iter().all(|probe| probe.outcome.is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_sentences_end() {
        for (index, fault) in CATALOGUE.iter().enumerate() {
            assert!(fault.sentence.ends_with('.') && !fault.name.is_empty(), "{fault:?}");
            assert_eq!(CATALOGUE.iter().position(|other| other.name == fault.name), Some(index));
        }
    }
}
