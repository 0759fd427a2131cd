//! The links to other balancers: dials, accepts, encrypts, and says how each link ended.
//!
//! Owns [`PeerLinks`]. It decides nothing: whom to dial and what an end means is the engine's business. `channel` is the
//! encrypted connection, `dial` and `accept` are its two ends, `message` and `flows` are what is said on it, `socket` what is
//! asked of the kernel. Everything runs on the services' threads, so that nothing here delays an advert.

mod accept;
mod channel;
mod dial;
pub mod flows;
pub mod message;
mod socket;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mainstay_engine::peers::view::View;
use mainstay_engine::peers::{self, ListenAddress, PeerInput, PeerOutput};
use mainstay_engine::plan::{Plan, RouterId};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use self::accept::Door;
use self::channel::Key;
use self::flows::FlowReport;

/// The port that daemons listen on for each other. Not registered with IANA; 112 is VRRP's protocol number.
pub const DEFAULT_PORT: u16 = 5112;

/// How long the two sides may take to prove their keys to each other.
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(2);

/// Connections whose key is not proved yet. Whoever is one too many tries again.
const HANDSHAKES: usize = 32;

/// Connections whose key is proved: as many as the engine has links.
const ACCEPTED: usize = 256;

/// The shortest time between two reports of things that strangers can bring about.
const REPORTS_APART: Duration = Duration::from_secs(1);

/// Where news of links goes.
pub type Report = Arc<dyn Fn(PeerInput) + Send + Sync>;

/// The links of one daemon.
pub struct PeerLinks {
    runtime: Handle,
    port: u16,
    /// For each router that has a secret.
    keys: BTreeMap<RouterId, Key>,
    door: Arc<Door>,
    view: watch::Sender<Arc<View>>,
    listeners: BTreeMap<ListenAddress, AbortHandle>,
    report: Report,
    flows: Option<FlowReport>,
}

impl PeerLinks {
    /// No link yet; [`PeerLinks::carry_out`] makes them on `port`. With `flows`, peers are told of flows and asked for
    /// theirs.
    pub fn new(runtime: Handle, plan: &Plan, port: u16, report: Report, flows: Option<FlowReport>) -> Self {
        let secrets = plan.routers.iter().map(|router| router.link_secret.as_ref());
        let keys: BTreeMap<_, _> = (0..)
            .map(RouterId)
            .zip(secrets)
            .filter_map(|(id, secret)| Some((id, Key::of(secret?))))
            .collect();
        // Each key once, by the name that the engine has for it.
        let named = peers::keys(plan).into_iter().flatten();
        let distinct = named.filter_map(|id| Some((id, keys.get(&id)?.clone()))).collect();
        let (view, views) = watch::channel(Arc::default());
        let door = Door {
            keys: distinct,
            views,
            handshakes: Arc::new(Semaphore::new(HANDSHAKES)),
            places: Arc::new(Semaphore::new(ACCEPTED)),
            report: Arc::clone(&report),
            flows: flows.clone(),
            next: AtomicU64::default(),
            quiet: Quiet::default(),
        };
        let door = Arc::new(door);
        Self { runtime, port, keys, door, view, listeners: BTreeMap::new(), report, flows }
    }

    /// Does what the engine wants, without waiting for it.
    pub fn carry_out(&mut self, output: PeerOutput) {
        match output {
            PeerOutput::Listen(wanted) => {
                self.listeners.retain(|address, listener| {
                    let stays = wanted.contains(address) && !listener.is_finished();
                    if !stays {
                        listener.abort();
                    }
                    stays
                });
                for address in wanted {
                    if !self.listeners.contains_key(&address) {
                        let door = Arc::clone(&self.door);
                        let listener = self.runtime.spawn(door.listen(address.clone(), self.port));
                        self.listeners.insert(address, listener.abort_handle());
                    }
                }
            }
            PeerOutput::Dial { link, peer, source, router } => {
                let Some(key) = self.keys.get(&router).cloned() else { return };
                let (report, flows, port) = (Arc::clone(&self.report), self.flows.clone(), self.port);
                self.runtime.spawn(async move {
                    let end = dial::dial(link, peer, &source, port, &key, &report, flows.as_ref()).await;
                    report(PeerInput::Ended { link, end });
                });
            }
            PeerOutput::Tell(view) => {
                self.view.send_replace(view);
            }
        }
    }
}

impl fmt::Debug for PeerLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerLinks").field("port", &self.port).finish_non_exhaustive()
    }
}

/// Keeps strangers from filling the control thread's inbox.
#[derive(Debug, Default)]
struct Quiet(Mutex<Option<Instant>>);

impl Quiet {
    /// Whether something may be reported now.
    fn may_speak(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= REPORTS_APART);
        if may {
            *last = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests;
