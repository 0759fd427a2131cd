//! The life of one pair of VRRP daemons on a LAN of their own: election, stop, preemption, kill, a pulled cable, a LAN in two
//! parts.
//!
//! Owns [`Cell`]. Who is active is judged by who has the virtual address, sampled every few milliseconds from the
//! beginning to the end, so that a change that nobody asked for is seen too.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay::lab::address_watch::AddressWatch;
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::{Host, INTERFACE, Lan};
use mainstay_engine::limits::{ADDRESS_LIFETIME, HAND_OVER_DRAIN};

use super::combination::{Combination, own_ipv4};
use super::matrix::Kind;
use super::vrrp_peer::{Side, VrrpPeer};

/// What a loaded machine may add to every change, the start of a daemon and the drain of connections included.
const SLACK: Duration = Duration::from_secs(4);
/// What it may add to the time without an owner.
const GAP_SLACK: Duration = Duration::from_millis(1500);
/// The longest time without an owner when mainstay stops: it keeps the address until it hears its successor, who
/// advertises before it installs.
const SEAMLESS: Duration = Duration::from_millis(250);

/// The preferred side's priority, and the other's.
pub(crate) const PRIORITIES: [u8; 2] = [150, 100];
/// Their host numbers.
const NUMBERS: [u8; 2] = [141, 142];

/// What the life of a pair showed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Times {
    /// From the start of both until the preferred one alone is active.
    pub(crate) election: Duration,
    /// Time without an owner when the preferred one stops.
    pub(crate) stop: Duration,
    /// From its start until it is active again.
    pub(crate) preemption: Duration,
    /// From its death until the other one is active.
    pub(crate) kill: Duration,
    /// From the moment its cable is pulled until the other one is active.
    pub(crate) cable: Duration,
    /// From the end of a LAN in two parts, in which both were active, until the preferred one alone is.
    pub(crate) heal: Duration,
}

/// A pair and its LAN.
pub(crate) struct Cell {
    combination: Combination,
    kinds: [Kind; 2],
    names: [String; 2],
    files: [PathBuf; 2],
    peers: [Box<dyn VrrpPeer>; 2],
    watches: [AddressWatch; 2],
    /// Last, because the others live in its namespaces.
    lan: Lan,
}

impl Cell {
    /// Builds the LAN and writes the files; `number` tells this cell from others.
    pub(crate) fn build(number: usize, kinds: [Kind; 2], combination: Combination) -> Self {
        let names = [format!("a{number}"), format!("b{number}")];
        let lan = {
            // `ip netns add` prepares its directory the first time, which two of them must not do at once.
            static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
            let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
            let hosts = [(names[0].as_str(), own_ipv4(NUMBERS[0])), (&names[1], own_ipv4(NUMBERS[1]))];
            Lan::of(&format!("lan{number}"), &hosts).expect("a LAN")
        };
        let hosts = [0, 1].map(|side: usize| lan.host(&names[side]).expect("it was built").clone());
        let own = NUMBERS.map(|number| combination.own_address(number));
        for (host, own) in hosts.iter().zip(own) {
            if let IpAddr::V6(own) = own {
                host.configure(&[format!("addr add {own}/64 dev {INTERFACE}")]).expect("ip");
            }
        }
        hosts.iter().for_each(await_addresses);
        let sides = [0, 1].map(|side| Side {
            host: hosts[side].clone(),
            combination,
            priority: PRIORITIES[side],
            own: own[side],
            other: own[1 - side],
        });
        let watches = [0, 1].map(|side| {
            AddressWatch::where_running(&hosts[side], combination.virtual_address()).expect("a watch")
        });
        let files = [0, 1].map(|side: usize| sides[side].file("conf"));
        let mut sides = sides.into_iter();
        let peers = kinds.map(|kind| kind.install(sides.next().expect("one for each")));
        Self { combination, kinds, names, files, peers, watches, lan }
    }

    /// Lives through everything.
    ///
    /// # Errors
    /// What went wrong, and when, with both logs.
    pub(crate) fn live(&mut self) -> Result<Times, String> {
        let outcome = self.phases();
        outcome.map_err(|sentence| {
            let [preferred, other] = [0, 1].map(|side| {
                format!(
                    "--- log of {}, priority {}\n{}",
                    self.kinds[side].name(),
                    PRIORITIES[side],
                    self.peers[side].log()
                )
            });
            format!("{sentence}\n{preferred}{other}")
        })
    }

    /// Starts both with another password on each side, if it has any, and waits until each says that it refuses the other.
    pub(crate) fn disagree(&mut self) {
        let file = &self.files[0];
        let text = fs::read_to_string(file).expect("its file");
        fs::write(file, text.replace("auth_pass k8s-secr", "auth_pass another")).expect("its file");
        self.peers.iter_mut().for_each(|peer| peer.start());
        self.wait("two passwords", [true, true]).expect("both are active");
        for peer in &self.peers {
            wait_until(SLACK, || {
                let names_it = |line: &String| line.contains("passw") || line.contains("uthentication");
                let complains = peer.complaints().iter().any(names_it);
                Ok(if complains { Ok(()) } else { Err(format!("nothing is said of it: {}", peer.log())) })
            })
            .expect("a complaint");
        }
    }

    fn phases(&mut self) -> Result<Times, String> {
        let mut times = Times::default();
        let began = Instant::now();
        self.peers.iter_mut().for_each(|peer| peer.start());
        self.wait("election", [true, false])?;
        times.election = began.elapsed();
        let elected = Instant::now();

        self.peers[0].stop();
        self.wait("stop", [false, true])?;
        times.stop = self.longest_gap(elected, Instant::now());
        let bound = if self.kinds[0].is_mainstay() {
            SEAMLESS
        } else {
            self.combination.skew(PRIORITIES[1]) + GAP_SLACK
        };
        within("nobody was active during the stop", times.stop, bound)?;

        times.preemption = self.bring_back("preemption")?;

        let killed = Instant::now();
        self.peers[0].kill();
        times.kill = self.wait_held("kill", 1, killed)?;
        within("nobody took over from the killed one", times.kill, self.patience() + GAP_SLACK)?;
        self.peers[0].forget_addresses();
        self.wait("kill", [false, true])?;
        self.bring_back("return after the kill")?;

        times.cable = self.pull_the_cable()?;

        self.lan.part(true).map_err(|error| error.to_string())?;
        self.wait("cut", [true, true])?;
        self.lan.part(false).map_err(|error| error.to_string())?;
        let healed = Instant::now();
        self.wait("heal", [true, false])?;
        times.heal = healed.elapsed();
        self.check_quiet(elected)?;
        Ok(times)
    }

    /// Starts the preferred side again, which takes the address back.
    fn bring_back(&mut self, what: &str) -> Result<Duration, String> {
        let began = Instant::now();
        self.peers[0].start();
        let took = self.wait_held(what, 0, began)?;
        self.wait(what, [true, false]).map(|()| took)
    }

    /// Pulls the preferred side's cable until the other one is active, and plugs it in again.
    fn pull_the_cable(&self) -> Result<Duration, String> {
        let host = self.lan.host(&self.names[0]).expect("it was built");
        let pulled = Instant::now();
        self.lan.plug(host, false).map_err(|error| error.to_string())?;
        let took = self.wait_held("cable", 1, pulled)?;
        within("nobody took over from the one without a cable", took, self.patience() + GAP_SLACK)?;
        self.lan.plug(host, true).map_err(|error| error.to_string())?;
        self.wait("return of the cable", [true, false]).map(|()| took)
    }

    /// The longest that the other side waits for the preferred one, and that one for the other.
    fn patience(&self) -> Duration {
        self.combination.active_down(PRIORITIES[1])
    }

    /// Waits until exactly these sides are active.
    fn wait(&self, what: &str, active: [bool; 2]) -> Result<(), String> {
        let patience = self.patience() * 2 + HAND_OVER_DRAIN + ADDRESS_LIFETIME + SLACK;
        let waited = wait_until(patience, || {
            let holds = [0, 1].map(|side: usize| self.watches[side].holds());
            Ok(if holds == active { Ok(()) } else { Err(format!("{holds:?} and not {active:?} are active")) })
        });
        waited.map_err(|error| format!("{what}: {error}"))
    }

    /// Waits until one side is active, and says how long after `since` that was.
    fn wait_held(&self, what: &str, side: usize, since: Instant) -> Result<Duration, String> {
        let first = || self.watches[side].held_between(since, Instant::now()).first().copied();
        let missing = || format!("the one with priority {} is not active", PRIORITIES[side]);
        let waited = wait_until(self.patience() + SLACK, || Ok(first().ok_or_else(missing)));
        waited.map(|(from, _)| from - since).map_err(|error| format!("{what}: {error}"))
    }

    /// The longest time in between in which no side was active.
    fn longest_gap(&self, since: Instant, until: Instant) -> Duration {
        let mut spans: Vec<_> =
            self.watches.iter().flat_map(|watch| watch.held_between(since, until)).collect();
        spans.sort();
        let mut covered = since;
        let mut longest = Duration::ZERO;
        for (from, to) in spans.into_iter().chain([(until, until)]) {
            longest = longest.max(from.saturating_duration_since(covered));
            covered = covered.max(to);
        }
        longest
    }

    /// Nobody changes anything on a LAN that is whole, nobody refused what the other one said, and since the election
    /// each side became active as often as there was a reason.
    fn check_quiet(&self, elected: Instant) -> Result<(), String> {
        let from = Instant::now();
        std::thread::sleep(self.patience());
        let now = Instant::now();
        let spans = [0, 1].map(|side: usize| self.watches[side].held_between(elected, now).len());
        // The preferred one: from the election, after its stop, after its death, with its cable. The other: each time
        // that one is gone, and in its part.
        if spans != [4, 4] {
            return Err(format!("they were active {spans:?} times and not [4, 4] times"));
        }
        if self.watches[0].held_between(from, now) != [(from, now)] || self.watches[1].holds() {
            return Err("the active one changed on a whole LAN".to_owned());
        }
        for (peer, kind) in self.peers.iter().zip(self.kinds) {
            let complaints = peer.complaints();
            if !complaints.is_empty() {
                return Err(format!("{} complains: {complaints:?}", kind.name()));
            }
        }
        Ok(())
    }
}

fn within(what: &str, took: Duration, bound: Duration) -> Result<(), String> {
    if took <= bound { Ok(()) } else { Err(format!("{what} for {took:?}, more than {bound:?}")) }
}

/// Waits until no own address is tentative: duplicate address detection takes a second or two.
fn await_addresses(host: &Host) {
    let patience = Duration::from_secs(10);
    wait_until(patience, || {
        let mut command = std::process::Command::new("ip");
        command.args(["-6", "address", "show", "dev", INTERFACE, "tentative"]);
        let output = host.enter(|| command.output())?.expect("ip runs");
        Ok(if output.stdout.is_empty() { Ok(()) } else { Err("an address is tentative".to_owned()) })
    })
    .expect("no duplicate addresses");
}
