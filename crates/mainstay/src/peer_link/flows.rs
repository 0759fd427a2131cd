//! Messages about flows, which travel on peer links between the views.
//!
//! Owns [`FlowNews`] and how one side says that it wants them: in the last message of its handshake, which older versions
//! leave empty and do not read, so that nobody is told what it does not understand. What the messages say is none of the
//! link's business.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use mainstay_engine::flows::PeerKey;
use mainstay_engine::flows::wire::{FIRST_BYTE, Message};
use mainstay_engine::peers::LinkId;
use tokio::sync::mpsc;

/// Messages that wait to be sent to one peer; whoever has more keeps it until there is room.
const MESSAGES_WAITING: usize = 8;

/// What a dialler says at the end of its handshake that wants to be told of flows.
const WANTED: &[u8] = b"flows 1";

/// What a link has to say about flows.
#[derive(Debug)]
pub enum FlowNews {
    /// A peer wants to be told, until it closes this.
    Listens {
        /// Which one, never the same again.
        key: PeerKey,
        /// Its address.
        peer: IpAddr,
        /// Where its messages go.
        messages: mpsc::Sender<Vec<u8>>,
    },
    /// A peer told something.
    Told {
        /// By which link.
        key: PeerKey,
        /// Its address.
        peer: IpAddr,
        /// What it said, unread.
        message: Vec<u8>,
    },
    /// No more comes by a link, or something was lost: what follows makes sense again from the next beginning on.
    Ended {
        /// By which link.
        key: PeerKey,
    },
}

/// Where news of flows goes. Returns whether there was room for it; for an end there always is.
pub type FlowReport = Arc<dyn Fn(FlowNews) -> bool + Send + Sync>;

/// What a dialler says at the end of its handshake.
pub(super) fn wish(flows: Option<&FlowReport>) -> &'static [u8] {
    if flows.is_some() { WANTED } else { &[] }
}

/// Messages for a dialler that said `wish`.
pub(super) fn messages(
    wish: &[u8],
    flows: Option<&FlowReport>,
    key: PeerKey,
    peer: IpAddr,
) -> Option<mpsc::Receiver<Vec<u8>>> {
    let report = flows.filter(|_| wish == WANTED)?;
    let (messages, receiver) = mpsc::channel(MESSAGES_WAITING);
    report(FlowNews::Listens { key, peer, messages }).then_some(receiver)
}

/// The next message, if there ever is one.
pub(super) async fn next(messages: &mut Option<mpsc::Receiver<Vec<u8>>>) -> Option<Vec<u8>> {
    match messages {
        Some(messages) => messages.recv().await,
        None => std::future::pending().await,
    }
}

/// Passes on what a peer tells on one link.
pub(super) struct Ear<'a> {
    report: Option<&'a FlowReport>,
    key: PeerKey,
    peer: IpAddr,
    /// Something was lost: what follows makes no sense before the next beginning.
    deaf: bool,
}

impl<'a> Ear<'a> {
    pub(super) fn new(report: Option<&'a FlowReport>, link: LinkId, peer: IpAddr) -> Self {
        Self { report, key: PeerKey(link.0), peer, deaf: false }
    }

    /// Whether `message` is about flows; it is passed on then.
    pub(super) fn hears(&mut self, message: &mut Vec<u8>) -> bool {
        if message.first() != Some(&FIRST_BYTE) {
            return false;
        }
        let Some(report) = self.report else { return true };
        self.deaf &= !Message::begins(message);
        let (key, peer) = (self.key, self.peer);
        if !self.deaf && !report(FlowNews::Told { key, peer, message: std::mem::take(message) }) {
            self.deaf = true;
            report(FlowNews::Ended { key });
        }
        true
    }
}

impl Drop for Ear<'_> {
    fn drop(&mut self) {
        if let Some(report) = self.report {
            report(FlowNews::Ended { key: self.key });
        }
    }
}

impl fmt::Debug for Ear<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("peer", &self.peer).finish_non_exhaustive()
    }
}
