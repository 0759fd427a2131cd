//! The side that is dialled: tells whoever has the key of this node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::peers::view::View;
use mainstay_engine::peers::{ListenAddress, PeerInput};
use mainstay_engine::plan::RouterId;
use nix::unistd::gethostname;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};

use super::channel::{Channel, Failure, Key};
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
        let (mut channel, router) =
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
        self.tell(&mut channel).await;
    }

    /// Tells of this node, now and whenever the engine has something new, until the peer hangs up.
    async fn tell(&self, channel: &mut Channel<TcpStream>) {
        let host = gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut views = self.views.clone();
        views.mark_changed();
        loop {
            tokio::select! {
                () = channel.ended() => return,
                changed = views.changed() => if changed.is_err() { return },
            }
            let view = Arc::clone(&views.borrow_and_update());
            let sent = match message::encode(&view, &host, clock::wall_ms()) {
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
