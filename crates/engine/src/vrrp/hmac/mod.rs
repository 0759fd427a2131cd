//! The trailer that signs an advert: `auth_hmac` of Keepalived 2.4 (draft-cassen-vrrp-auth-hmac).
//!
//! Owns [`Trailer`], what is signed and how. `sequence` numbers adverts by the clock, `replay` remembers whose numbers
//! were seen, `authenticator` is one router's part: it signs and judges.
//!
//! Everything here works on the bytes of a VRRP message without its IP header, so that one signature is good for every
//! destination: neither the header nor the checksum, which covers the destination, is signed.

mod authenticator;
mod replay;
mod sequence;

use std::fmt;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

pub(crate) use self::authenticator::{Apart, Authenticator, Refusal};
pub use self::sequence::Sequence;
use crate::plan::hmac::Key;

/// Bytes of a trailer.
pub const TRAILER_LENGTH: usize = 28;
/// Bytes of an HMAC-SHA256 that are sent.
const HMAC_LENGTH: usize = 16;
/// The one kind of trailer: HMAC-SHA256, truncated to 128 bits.
const TYPE_HMAC_SHA256_128: u8 = 1;
/// Where a VRRP message has its checksum; version 2 and 3 agree.
const CHECKSUM: std::ops::Range<usize> = 6..8;

/// What follows a signed VRRP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Which key signed.
    pub key: u8,
    /// Which advert of its sender this is.
    pub sequence: Sequence,
    hmac: [u8; HMAC_LENGTH],
}

/// Why bytes are no trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedTrailer {
    /// It is of an unknown type.
    Type(u8),
    /// Its reserved bytes are not zero.
    Reserved(u16),
}

impl fmt::Display for MalformedTrailer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Type(number) => {
                write!(f, "the authentication trailer has type {number}, not 1 (HMAC-SHA256)")
            }
            Self::Reserved(value) => {
                write!(f, "the reserved bytes of the authentication trailer are {value:#06x}, not zero")
            }
        }
    }
}

impl Trailer {
    /// Signs `message`, which `source` is going to send, with `key`.
    pub fn sign(message: &[u8], source: IpAddr, sequence: Sequence, key: &Key) -> Self {
        let unsigned = Self { key: key.id().get(), sequence, hmac: [0; HMAC_LENGTH] };
        let whole: [u8; 32] = unsigned.mac(message, source, key).finalize().into_bytes().into();
        let mut hmac = [0; HMAC_LENGTH];
        hmac.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        Self { hmac, ..unsigned }
    }

    /// Whether `key` made this trailer for this very message of this very sender. The time it takes says nothing about
    /// the difference.
    pub fn is_genuine(&self, message: &[u8], source: IpAddr, key: &Key) -> bool {
        self.mac(message, source, key).verify_truncated_left(&self.hmac).is_ok()
    }

    /// Reads a trailer.
    ///
    /// # Errors
    /// Its type or its reserved bytes are others than this version of the format has.
    pub fn from_bytes(bytes: &[u8; TRAILER_LENGTH]) -> Result<Self, MalformedTrailer> {
        let &[kind, key, r0, r1, s0, s1, s2, s3, f0, f1, c0, c1, ref hmac @ ..] = bytes;
        if kind != TYPE_HMAC_SHA256_128 {
            return Err(MalformedTrailer::Type(kind));
        }
        let reserved = u16::from_be_bytes([r0, r1]);
        if reserved != 0 {
            return Err(MalformedTrailer::Reserved(reserved));
        }
        let sequence = Sequence::from_bits(u64::from_be_bytes([s0, s1, s2, s3, f0, f1, c0, c1]));
        Ok(Self { key, sequence, hmac: *hmac })
    }

    /// The trailer as it goes on the wire.
    pub fn to_bytes(&self) -> [u8; TRAILER_LENGTH] {
        let [s0, s1, s2, s3, f0, f1, c0, c1] = self.sequence.to_bits().to_be_bytes();
        let mut bytes = [0; TRAILER_LENGTH];
        let start = [TYPE_HMAC_SHA256_128, self.key, 0, 0, s0, s1, s2, s3, f0, f1, c0, c1];
        bytes.iter_mut().zip(start.into_iter().chain(self.hmac)).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The MAC over everything that is signed: a pseudo-header, the message without its checksum, and the trailer
    /// without its HMAC.
    fn mac(&self, message: &[u8], source: IpAddr, key: &Key) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes()).expect("HMAC takes a key of any length");
        mac.update(&pseudo_header(message, source));
        mac.update(message.get(..CHECKSUM.start).unwrap_or(message));
        mac.update(&[0; CHECKSUM.end - CHECKSUM.start]);
        mac.update(message.get(CHECKSUM.end..).unwrap_or_default());
        mac.update(&Self { hmac: [0; HMAC_LENGTH], ..*self }.to_bytes());
        mac
    }
}

/// Binds the signature to the address family, the version, the virtual router and the sender.
fn pseudo_header(message: &[u8], source: IpAddr) -> [u8; 20] {
    let (family, address) = match source {
        IpAddr::V4(source) => {
            let [a, b, c, d] = source.octets();
            (4, [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        }
        IpAddr::V6(source) => (6, source.octets()),
    };
    let byte = |at| message.get(at).copied().unwrap_or_default();
    let mut header = [0; 20];
    let start = [family, byte(0) >> 4, byte(1), 0];
    header.iter_mut().zip(start.into_iter().chain(address)).for_each(|(to, from)| *to = from);
    header
}

#[cfg(test)]
mod tests;
