//! The whole cluster: LAN, apiservers, balancers and clients, and what it means that all of it is well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::balancer::{Balancer, Kind};
use super::certificates::Certificates;
use super::clients::{Clients, PROBE_INTERVAL};
use super::control_plane::{ControlPlaneNode, Times};
use super::enter::{self, DIRECTORY};
use super::error::{Context, LabError, Result};
use super::recipe::{self, Timers};
use super::time::wait_until;
use super::topology::Lan;

/// The clients must have seen nothing wrong for this long.
const QUIET: Duration = Duration::from_secs(1);
/// How long the cluster may take until all is well. The slowest thing is HAProxy's second look at a server that was
/// down: three checks, two seconds apart; Keepalived's return takes three runs of its script and its master-down timer.
const SETTLE_PATIENCE: Duration = Duration::from_secs(45);

/// What to build.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the preferred balancer runs.
    pub lb1: Kind,
    /// What the other balancer runs.
    pub lb2: Kind,
    /// How fast a dead balancer is noticed.
    pub timers: Timers,
    /// Whether each apiserver may take 100 connections instead of the recipe's 20.
    pub roomy: bool,
    /// How long apiservers take.
    pub times: Times,
    /// This program's file.
    pub mainstay: PathBuf,
}

/// Who should hold the virtual address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The preferred balancer.
    Lb1,
    /// The other one.
    Lb2,
}

/// A running cluster. Dropping it takes it down.
#[derive(Debug)]
pub struct Cluster {
    /// The clients.
    pub clients: Clients,
    /// The preferred balancer.
    pub lb1: Balancer,
    /// The other balancer.
    pub lb2: Balancer,
    /// The apiservers.
    pub apiservers: Vec<ControlPlaneNode>,
    /// The LAN they are on; last, because the others live in its namespaces.
    pub lan: Lan,
    changes: Vec<String>,
}

impl Cluster {
    /// Builds the cluster and starts everything in it; [`settle`](Self::settle) waits until it works.
    ///
    /// # Errors
    /// A tool is missing or something cannot be started.
    pub fn build(options: &Options) -> Result<Self> {
        if [options.lb1, options.lb2].contains(&Kind::Pair) {
            for (tool, package) in [("haproxy", "haproxy"), ("keepalived", "keepalived"), ("pgrep", "procps")]
            {
                enter::require(tool, package)?;
            }
        }
        let lan = Lan::build()?;
        let directory = Path::new(DIRECTORY);
        let mut apiserver_hosts = Vec::new();
        for name in ["cp1", "cp2", "cp3"] {
            apiserver_hosts.push(lan.host(name)?.clone());
        }
        let addresses: Vec<_> = apiserver_hosts.iter().map(|host| host.address().to_string()).collect();
        let pki = Certificates::make(directory, &addresses)?;
        let mut apiservers = Vec::new();
        for host in &apiserver_hosts {
            let mut node = ControlPlaneNode::install(host, &options.mainstay, directory, &pki, options.times);
            node.start()?;
            apiservers.push(node);
        }
        let mut changes = Vec::new();
        let mut balancer = |name, kind: Kind| {
            let mut files = recipe::files(name, kind.reader(), options.timers, enter::as_ordinary_user());
            if kind == Kind::Nat {
                files.lift_bounds();
            } else if options.roomy {
                files.give_room();
            }
            changes.extend(files.changes.iter().map(|change| format!("{name}: {change}")));
            let mut balancer = Balancer::install(kind, lan.host(name)?, &files, options.mainstay.clone())?;
            balancer.start().map(|()| balancer)
        };
        let (lb1, lb2) = (balancer("lb1", options.lb1)?, balancer("lb2", options.lb2)?);
        let clients = Clients::start(lan.host("client")?, pki.authority)?;
        Ok(Self { clients, lb1, lb2, apiservers, lan, changes })
    }

    /// What differs from the printed recipe, one phrase each.
    pub fn changes(&self) -> &[String] {
        &self.changes
    }

    /// Waits until all is well with `holder` as the active balancer. The clients must be probing.
    ///
    /// # Errors
    /// Something is still missing after a long time; the error says what, and shows both balancers' logs.
    pub fn settle(&mut self, holder: Holder) -> Result<()> {
        let waited =
            wait_until(SETTLE_PATIENCE, || self.unsettled(holder).map(|missing| missing.map_or(Ok(()), Err)));
        waited.map_err(|error| {
            LabError::new(format!("{error}\n{}{}", self.lb1.log_tail(), self.lb2.log_tail()))
        })
    }

    /// Undoes whatever was done to the cluster: plugs in, thaws, starts what does not run.
    ///
    /// # Errors
    /// Something cannot be started.
    pub fn restore(&mut self) -> Result<()> {
        for balancer in [&mut self.lb1, &mut self.lb2] {
            self.lan.plug(balancer.host(), true)?;
            balancer.thaw()?;
            if !balancer.is_complete() {
                balancer.kill()?;
                balancer.start()?;
            }
        }
        for apiserver in &mut self.apiservers {
            if apiserver.is_running() {
                apiserver.signal(Signal::SIGCONT)?;
            } else {
                apiserver.start()?;
            }
        }
        Ok(())
    }

    /// What is not well, or nothing.
    fn unsettled(&mut self, holder: Holder) -> Result<Option<String>> {
        let (active, backup) = match holder {
            Holder::Lb1 => (&self.lb1, &self.lb2),
            Holder::Lb2 => (&self.lb2, &self.lb1),
        };
        if !active.address().holds() {
            return Ok(Some(format!("{} does not hold the virtual address", active.host().name())));
        }
        if backup.address().holds() {
            return Ok(Some("both balancers hold the virtual address".to_owned()));
        }
        // The backup may be down on purpose, so only a running one has to be ready.
        for balancer in [active, backup].into_iter().filter(|balancer| balancer.is_started()) {
            if let Err(missing) = balancer.readiness()? {
                return Ok(Some(missing));
            }
        }
        Ok(self.clients_complain())
    }

    /// What the clients saw wrong in the last moments.
    fn clients_complain(&self) -> Option<String> {
        let Some(since) = Instant::now().checked_sub(QUIET) else {
            return Some("the machine just booted".to_owned());
        };
        let probes = self.clients.probes_since(since);
        if let Some(failure) = probes.iter().find_map(|probe| probe.outcome.as_ref().err()) {
            return Some(format!("new connections fail: {failure}"));
        }
        let servers: BTreeSet<_> =
            probes.iter().filter_map(|probe| Some(&probe.outcome.as_ref().ok()?.server)).collect();
        if servers.len() < self.apiservers.len() {
            return Some(format!(
                "new connections reach {} of {} apiservers",
                servers.len(),
                self.apiservers.len()
            ));
        }
        // A busy machine starts fewer probes than asked for, but not none.
        let expected = QUIET.as_millis() / PROBE_INTERVAL.as_millis() / 4;
        (u128::try_from(probes.len()).is_ok_and(|count| count < expected))
            .then(|| format!("only {} new connections were made in a second", probes.len()))
    }
}

impl Options {
    /// Two balancers of one kind with the recipe's timers, run by this very program.
    ///
    /// # Errors
    /// This program's file cannot be found.
    pub fn new(kind: Kind) -> Result<Self> {
        let mainstay = std::env::current_exe().context("cannot find this program's own file")?;
        let (timers, times) = (Timers::Recipe, Times::default());
        Ok(Self { lb1: kind, lb2: kind, timers, roomy: false, times, mainstay })
    }
}
