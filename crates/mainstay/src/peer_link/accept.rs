//! The side that is dialled: tells whoever has the key of this node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mainstay_engine::flows::PeerKey;
use mainstay_engine::peers::view::View;
use mainstay_engine::peers::{ListenAddress, PeerInput};
use mainstay_engine::plan::RouterId;
use nix::unistd::gethostname;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{sleep, timeout};

use super::channel::{Channel, Failure, Key};
use super::flows::{self, FlowReport};
use super::{ACCEPTED, HANDSHAKE_PATIENCE, HANDSHAKES, Quiet, Report, message, socket};
use crate::clock;

/// How long to wait before accepting again when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all listeners share.
pub(super) struct Door {
    /// Each key once, with the engine's name for it.
    pub(super) keys: Vec<(RouterId, Key)>,
    pub(super) views: watch::Receiver<Arc<View>>,
    pub(super) handshakes: Arc<Semaphore>,
    pub(super) places: Arc<Semaphore>,
    pub(super) report: Report,
    pub(super) flows: Option<FlowReport>,
    /// The name of the next peer that is told of flows.
    pub(super) next: AtomicU64,
    pub(super) quiet: Quiet,
}

impl Door {
    /// Accepts on one address for as long as it is let.
    pub(super) async fn listen(self: Arc<Self>, at: ListenAddress, port: u16) {
        let listener = match socket::listen(&at, port) {
            Ok(listener) => listener,
            Err(error) => {
                let (address, reason) = (at.address, error.to_string());
                return (self.report)(PeerInput::NotListening { address, reason });
            }
        };
        loop {
            let Ok((stream, peer)) = listener.accept().await else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let Ok(slot) = Arc::clone(&self.handshakes).try_acquire_owned() else {
                self.say_bound(&format!("{HANDSHAKES} connections that prove no key"));
                continue;
            };
            tokio::spawn(Arc::clone(&self).receive(stream, peer, at.clone(), slot));
        }
    }

    async fn receive(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        at: ListenAddress,
        slot: OwnedSemaphorePermit,
    ) {
        if socket::prepare(&stream).is_err() {
            return;
        }
        let (mut channel, router, wish) =
            match timeout(HANDSHAKE_PATIENCE, Channel::respond(stream, &self.keys)).await {
                Ok(Ok(proved)) => proved,
                Ok(Err(Failure::Key)) if self.quiet.may_speak() => {
                    return (self.report)(PeerInput::Stranger { peer: peer.ip() });
                }
                _ => return,
            };
        drop(slot);
        let Ok(_place) = Arc::clone(&self.places).try_acquire_owned() else {
            return self.say_bound(&format!("{ACCEPTED} accepted links"));
        };
        (self.report)(PeerInput::Accepted { peer: peer.ip(), local: at.address, router });
        let key = PeerKey(self.next.fetch_add(1, Ordering::Relaxed));
        let messages = flows::messages(&wish, self.flows.as_ref(), key, peer.ip());
        self.tell(&mut channel, messages).await;
    }

    /// Tells of this node, now and whenever the engine has something new, until the peer hangs up. Views go first, and wait
    /// for one message about flows at most.
    async fn tell(&self, channel: &mut Channel<TcpStream>, mut flows: Option<mpsc::Receiver<Vec<u8>>>) {
        let host = gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut views = self.views.clone();
        views.mark_changed();
        loop {
            let message = tokio::select! {
                biased;
                () = channel.ended() => return,
                changed = views.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let view = Arc::clone(&views.borrow_and_update());
                    message::encode(&view, &host, clock::wall_ms())
                }
                Some(message) = flows::next(&mut flows) => Ok(message),
            };
            let sent = match message {
                Ok(message) => channel.send(&message).await,
                Err(reason) => {
                    tracing::error!("cannot tell peers of this node: {reason}");
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }

    fn say_bound(&self, bound: &str) {
        if self.quiet.may_speak() {
            (self.report)(PeerInput::Bound(bound.to_owned()));
        }
    }
}
