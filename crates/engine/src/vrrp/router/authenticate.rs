//! Whether an advert is from who it says it is: signatures, and the clock they go by.

use std::sync::Arc;

use super::receive::Mismatch;
use super::{Config, Router};
use crate::plan::hmac::HmacMode;
use crate::plan::{Authentication, Delivery};
use crate::time::{Instant, WallClock};
use crate::vrrp::event::VrrpEvent;
use crate::vrrp::hmac::{Apart, Authenticator, Trailer};
use crate::vrrp::packet::{self, Advert};

/// What signs and judges for a router, if its configuration asks for signatures.
pub(super) fn authenticator(config: &Config) -> Option<Authenticator> {
    let Authentication::Hmac(hmac) = &config.authentication else { return None };
    let peers = match &config.delivery {
        Delivery::Multicast { .. } => Vec::new(),
        Delivery::Unicast { peers, .. } => peers.iter().map(|peer| peer.address).collect(),
    };
    Some(Authenticator::new(Arc::clone(hmac), peers))
}

impl Router {
    /// Takes in what the wall clock shows.
    pub(crate) fn handle_wall_clock(&mut self, clock: WallClock) {
        self.wall_clock = clock;
    }

    /// The trailer of the next advert, the same for all its destinations.
    pub(super) fn sign(&mut self, advert: &Advert, now: Instant) -> Option<Trailer> {
        let wall = self.wall_clock.read(now);
        self.authenticator.as_mut()?.sign(&packet::encode_message(advert), advert.source, wall)
    }

    /// Holds the signature of an advert, or that it has none, against the configuration. `message` is what a signature
    /// covers.
    pub(super) fn authenticate(
        &mut self,
        advert: &Advert,
        message: &[u8],
        now: Instant,
    ) -> Result<(), Mismatch> {
        let (peer, router) = (advert.source, self.config.name.clone());
        match (&mut self.authenticator, &advert.trailer) {
            (None, None) => {}
            (None, Some(trailer)) => return Err(Mismatch::Signed { key: trailer.key }),
            (Some(authenticator), None) => {
                if authenticator.config().mode == HmacMode::Enforce {
                    return Err(Mismatch::Unsigned);
                }
                if self.complaints.worth_saying("unsigned", peer, "", now) {
                    self.say(VrrpEvent::UnsignedHeard { router, peer });
                }
            }
            (Some(authenticator), Some(trailer)) => {
                let wall = self.wall_clock.read(now);
                let opened = authenticator.open(message, peer, trailer, wall).map_err(Mismatch::Hmac)?;
                if let Some(skew) = opened.worrying_skew
                    && self.complaints.worth_saying("clock", peer, "", now)
                {
                    let apart = Apart(skew).to_string();
                    self.say(VrrpEvent::ClocksDiffer { router, peer, apart });
                }
            }
        }
        Ok(())
    }
}
