//! A session whose two sides are connected: relays both ways, passes on how each side ends, and knows its time-outs.
//!
//! Owns [`Relaying`]. How an end is passed on:
//! - A side that finishes (FIN): the other side is finished when it has got everything. The session lives on until both
//!   have finished, so half-closed connections work in both directions.
//! - A server that breaks off (RST, or the kernel gave it up): the client gets everything that was received before, then
//!   a reset. HAProxy sends an orderly end here, which a client can take for a complete answer.
//! - A client that breaks off: the server gets what it takes at once, then a reset. Nobody waits for an answer.
//! - A time-out closes both sides. HAProxy closes its own direction, and waits for a server that does not answer an end
//!   until that one runs out of time, too.

use std::sync::atomic::Ordering;
use std::time::Instant;

use mainstay_engine::plan::{Frontend, Pool, ServerId};
use mainstay_engine::serving::termination::{Cause, Stage, Termination};
use socket2::SockRef;

use crate::dial;

use super::record::Record;
use super::relay::{End, Relay, Side};
use super::session::Next;
use super::shared::Slot;
use super::socket::{self, WATCH_AFTER};
use super::worker::Tools;

/// The second half of a session; its client is the session's.
#[derive(Debug)]
pub(super) struct Relaying {
    pub(super) server: Side,
    slot: Slot,
    to_server: Relay,
    to_client: Relay,
    /// When the kernel shall begin to watch the server, if it does not yet.
    watch_at: Option<Instant>,
}

impl Relaying {
    /// `first` goes to the server before anything from the client.
    pub(super) fn new(server: Side, slot: Slot, first: Vec<u8>) -> Self {
        Self {
            // One that is connected in its own way is watched in its own way, too.
            watch_at: slot
                .dial
                .as_ref()
                .is_none_or(|dial| dial::leaves_watching(dial))
                .then(|| server.active + WATCH_AFTER),
            server,
            slot,
            to_server: Relay::starting_with(first),
            to_client: Relay::starting_with(Vec::new()),
        }
    }

    /// When to call [`watch_server`](Self::watch_server), if there is a call to make.
    pub(super) fn watch_at(&self) -> Option<Instant> {
        self.watch_at
    }

    /// Has the kernel find out whether the server is still there, if it is time for that.
    pub(super) fn watch_server(&mut self, now: Instant) {
        if self.watch_at.take_if(|at| *at <= now).is_some() {
            // It fails only for a connection that is gone already.
            let _ = socket::watch_peer(&SockRef::from(&self.server.stream));
        }
    }

    /// Which server it is connected to.
    pub(super) fn server_id(&self) -> ServerId {
        self.slot.server
    }

    /// Moves what can be moved both ways.
    pub(super) fn resume(&mut self, client: &mut Side, record: &mut Record, tools: &mut Tools) -> Next {
        let up = self.to_server.forward(client, &mut self.server, tools);
        let down = self.to_client.forward(&mut self.server, client, tools);
        record.receive(up.moved, down.moved);
        tools.count_moved(up.moved.saturating_add(down.moved));
        if up.more || down.more { Next::Again } else { self.settle(client, record, tools.now) }
    }

    /// Counts it as closed for this reason, if that is one that is counted.
    pub(super) fn count_closed(&self, cause: Cause) {
        let counter = match cause {
            Cause::Down => &self.slot.load.closed_dead,
            Cause::Up => &self.slot.load.closed_to_rebalance,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Makes the coming close a reset for both peers.
    pub(super) fn reset(&self, client: &Side) {
        socket::reset_on_close(&self.server.stream);
        socket::reset_on_close(&client.stream);
    }

    /// When the side that keeps the session waiting runs out of time, and which side that is; the client, if it is both.
    pub(super) fn deadline(
        &self,
        client: &Side,
        frontend: &Frontend,
        pool: &Pool,
    ) -> Option<(Instant, Cause)> {
        let tunnel = pool.tunnel_timeout.filter(|_| self.to_server.talked && self.to_client.talked);
        let limit = |side: &Side, usual, half_closed: Option<_>| {
            let is_half_closed = side.finished || side.end != End::Open;
            let limit = half_closed.filter(|_| is_half_closed).or(tunnel).or(usual)?;
            side.active.checked_add(limit)
        };
        // A side is not to blame for its silence while the other one keeps it from talking.
        let server_stalls = self.to_server.waits_for_sink(client, &self.server);
        let client_stalls = self.to_client.waits_for_sink(&self.server, client);
        let of_client = limit(client, frontend.client_timeout, frontend.client_fin_timeout)
            .filter(|_| client_stalls || !server_stalls);
        let of_server = limit(&self.server, pool.server_timeout, pool.server_fin_timeout)
            .filter(|_| server_stalls || !client_stalls);
        let of_client = of_client.map(|deadline| (deadline, Cause::ClientTimeout));
        let of_server = of_server.map(|deadline| (deadline, Cause::ServerTimeout));
        [of_client, of_server].into_iter().flatten().min_by_key(|(deadline, _)| *deadline)
    }

    /// Passes on how a side ended, once everything before it has been passed on.
    fn settle(&mut self, client: &mut Side, record: &mut Record, now: Instant) -> Next {
        let Self { server, to_server, to_client, .. } = self;
        let idle = !to_server.is_pending() && !to_client.is_pending();
        if idle && client.end == End::Finished && server.end == End::Finished {
            // Closing tells both: a shutdown before it would be one more system call.
            return Next::Close;
        }
        if client.failed || client.end == End::Reset {
            record.abort(Termination::new(Cause::Client, Stage::Data));
            socket::reset_on_close(&server.stream);
            return Next::Close;
        }
        if server.end == End::Reset || server.failed && server.end == End::Finished {
            record.abort(Termination::new(Cause::Server, Stage::Data));
            to_server.discard();
            if !to_client.is_pending() {
                socket::reset_on_close(&client.stream);
                return Next::Close;
            }
        }
        pass_on_end(client, to_server, server, now);
        pass_on_end(server, to_client, client, now);
        Next::Wait
    }
}

/// Finishes the sink of a direction whose source has finished.
fn pass_on_end(source: &Side, relay: &Relay, sink: &mut Side, now: Instant) {
    if source.end == End::Finished && !relay.is_pending() && !sink.finished && !sink.failed {
        // If it fails the connection is gone, and reading says so.
        let _ = socket::finish(&sink.stream);
        sink.finished = true;
        sink.active = now;
    }
}
