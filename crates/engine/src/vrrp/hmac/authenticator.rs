//! One router's part in signing: numbers and signs its own adverts, judges those of others.
//!
//! Owns [`Authenticator`] and [`Refusal`]. The order of the checks is Keepalived's; a mark moves after all of them only.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Trailer;
use super::replay::Marks;
use super::sequence::{Sequence, Skew};
use crate::plan::hmac::{AntiReplay, AuthHmac, KeyId};
use crate::time::UnixTime;
use crate::vrrp::phrase::Span;

/// Signs for one router and judges what it hears.
#[derive(Debug)]
pub(crate) struct Authenticator {
    config: Arc<AuthHmac>,
    /// The latest number given out. Nothing of it outlives a restart: the clock has gone on meanwhile.
    last: Option<Sequence>,
    marks: Marks,
}

/// A genuine advert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    /// How far the sender's clock is off, if that is more than half of what is tolerated.
    pub(crate) worrying_skew: Option<Skew>,
}

/// Why a signed advert is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was not signed lately, or one of the two clocks is wrong.
    Stale {
        /// How far the sender's clock is off.
        skew: Skew,
        /// How far it may be.
        window: Duration,
    },
    /// It was signed with a key that is not configured.
    UnknownKey {
        /// The sender's key.
        theirs: u8,
        /// The key that signs here.
        ours: KeyId,
    },
    /// It is not what the holder of the key signed.
    Bad {
        /// The key it names.
        key: u8,
    },
    /// It was accepted before, or a later one was.
    Replay,
}

impl Refusal {
    /// The stable name that counters and events carry.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Stale { .. } => "hmac_stale",
            Self::UnknownKey { .. } => "hmac_unknown_key",
            Self::Bad { .. } => "hmac_bad",
            Self::Replay => "hmac_replay",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Stale { skew, window } => write!(
                f,
                "its advert is stale, or a clock is wrong: it was signed at a time {}, and {} is the most",
                Apart(skew),
                Span(window)
            ),
            Self::UnknownKey { theirs, ours } => {
                write!(
                    f,
                    "it signs with key {theirs}, which is not configured here; this router signs with key {ours}"
                )
            }
            Self::Bad { key } => {
                write!(
                    f,
                    "its signature is wrong: its key {key} is another than this router's, or it is forged"
                )
            }
            Self::Replay => f.write_str("its advert is a repetition of an earlier one"),
        }
    }
}

/// How far another clock is off, as a phrase.
pub(crate) struct Apart(pub(crate) Skew);

impl fmt::Display for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = if self.0.is_ahead() { "ahead of" } else { "behind" };
        write!(f, "{} {relation} this machine's clock", Span(self.0.apart()))
    }
}

impl Authenticator {
    /// Nothing signed and nothing heard yet. `peers` are the unicast ones.
    pub(crate) fn new(config: Arc<AuthHmac>, peers: Vec<IpAddr>) -> Self {
        Self { config, last: None, marks: Marks::new(peers) }
    }

    /// What it was configured with.
    pub(crate) fn config(&self) -> &AuthHmac {
        &self.config
    }

    /// The trailer of the next advert, for all its destinations; `None` if own adverts are not signed.
    pub(crate) fn sign(&mut self, message: &[u8], source: IpAddr, wall: UnixTime) -> Option<Trailer> {
        if !self.config.signs() {
            return None;
        }
        let sequence = self.next(wall);
        self.last = Some(sequence);
        Some(Trailer::sign(message, source, sequence, &self.config.active))
    }

    /// Judges a signed message, and remembers its number if it is believed.
    ///
    /// # Errors
    /// It is not believed, and nothing has changed.
    pub(crate) fn open(
        &mut self,
        message: &[u8],
        source: IpAddr,
        trailer: &Trailer,
        wall: UnixTime,
    ) -> Result<Opened, Refusal> {
        let skew = trailer.sequence.skew(wall);
        let window = self.window();
        if let Some(window) = window.filter(|&window| skew.apart() > window) {
            return Err(Refusal::Stale { skew, window });
        }
        let Some(key) = self.config.key(trailer.key) else {
            return Err(Refusal::UnknownKey { theirs: trailer.key, ours: self.config.active.id() });
        };
        if !trailer.is_genuine(message, source, key) {
            return Err(Refusal::Bad { key: trailer.key });
        }
        let sensible = |mark: Sequence| window.is_none_or(|window| mark.skew(wall).apart() <= window);
        if !self.marks.accept(source, trailer.sequence, sensible) {
            return Err(Refusal::Replay);
        }
        let worrying = window.is_some_and(|window| skew.apart() * 2 > window);
        Ok(Opened { worrying_skew: worrying.then_some(skew) })
    }

    /// The larger one of the clock and the successor of the last number, unless the clock was set back so far that
    /// nobody would believe that.
    fn next(&self, wall: UnixTime) -> Sequence {
        let clock = Sequence::at(wall);
        let Some(last) = self.last else { return clock };
        let skew = last.skew(wall);
        let lost = self.window().is_some_and(|window| skew.is_ahead() && skew.apart() > window);
        if lost || clock.is_after(last) { clock } else { last.next() }
    }

    fn window(&self) -> Option<Duration> {
        match self.config.anti_replay {
            AntiReplay::Time { window } => Some(window),
            AntiReplay::Monotonic => None,
        }
    }
}
