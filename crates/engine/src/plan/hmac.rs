//! What an `auth_hmac` block asks for: adverts signed as Keepalived 2.4 signs them.
//!
//! Owns [`AuthHmac`] and [`Key`]. A key is wiped when it is dropped and shown by nothing.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

/// How one router signs its adverts and whose it believes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthHmac {
    /// The key that signs (`active_key`).
    pub active: Key,
    /// Further keys that may have signed what arrives; none has the id of another.
    pub others: Vec<Key>,
    /// What keeps a recorded advert from counting again.
    pub anti_replay: AntiReplay,
    /// What is done with adverts that are not signed.
    pub mode: HmacMode,
}

impl AuthHmac {
    /// The key that `id` names, if there is one.
    pub fn key(&self, id: u8) -> Option<&Key> {
        std::iter::once(&self.active).chain(&self.others).find(|key| key.id.get() == id)
    }

    /// Whether what a router with this configuration hears of one with `sender` is signed, or not signed, as it wants.
    pub fn accepts(&self, sender: &Self) -> bool {
        match sender.signs() {
            true => self.key(sender.active.id.get()) == Some(&sender.active),
            false => self.mode != HmacMode::Enforce,
        }
    }

    /// Whether own adverts are signed.
    pub fn signs(&self) -> bool {
        self.mode != HmacMode::ReceiveOnly
    }
}

/// A key and the number by which adverts name it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    id: KeyId,
    bytes: Zeroizing<Vec<u8>>,
}

impl Key {
    /// Shortest key, in bytes: half of its bits are left against a quantum computer's search.
    pub const SHORTEST: usize = 32;
    /// Longest key, in bytes: one block of SHA-256; longer ones would be hashed down.
    pub const LONGEST: usize = 64;

    /// `None` unless `bytes` has a length between [`Key::SHORTEST`] and [`Key::LONGEST`].
    pub fn new(id: KeyId, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        (Self::SHORTEST..=Self::LONGEST).contains(&bytes.len()).then_some(Self { id, bytes })
    }

    /// The number by which adverts name it.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// The secret.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({}, ..)", self.id)
    }
}

/// The number of a key, 1 to 255.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(u8);

impl KeyId {
    /// `None` for 0, which no key has.
    pub const fn new(id: u8) -> Option<Self> {
        if id == 0 { None } else { Some(Self(id)) }
    }

    /// The number on the wire.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What keeps a recorded advert from counting again (`anti_replay`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AntiReplay {
    /// A sender's adverts come in order, and each was signed within `window` of the receiver's own time.
    Time {
        /// How far two clocks may differ, in whole seconds (`time_window`).
        window: Duration,
    },
    /// A sender's adverts come in order; nothing is asked of its clock but that it goes forward.
    Monotonic,
}

/// What is done with adverts that are not signed (`mode`). A signed one always has to be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacMode {
    /// They are refused.
    Enforce,
    /// They are accepted.
    Permissive,
    /// They are accepted, and own adverts are not signed either.
    ReceiveOnly,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_lengths_of_keepalived_and_are_not_shown() {
        let id = KeyId::new(7).unwrap();
        let key = |length| Key::new(id, Zeroizing::new(vec![b's'; length]));
        assert_eq!([31, 32, 64, 65].map(|length| key(length).is_some()), [false, true, true, false]);
        assert_eq!(format!("{:?}", key(32).unwrap()), "Key(7, ..)");
        assert_eq!(KeyId::new(0), None);
    }

    #[test]
    fn keys_are_found_by_their_id() {
        let key = |id, byte| Key::new(KeyId::new(id).unwrap(), Zeroizing::new(vec![byte; 32])).unwrap();
        let hmac = AuthHmac {
            active: key(2, 1),
            others: vec![key(1, 2), key(9, 3)],
            anti_replay: AntiReplay::Monotonic,
            mode: HmacMode::ReceiveOnly,
        };
        assert_eq!([1, 2, 9].map(|id| hmac.key(id).unwrap().bytes()[0]), [2, 1, 3]);
        assert_eq!((hmac.key(0), hmac.key(3)), (None, None));
        assert!(!hmac.signs());
    }

    #[test]
    fn whoever_signs_needs_a_key_that_the_other_has_and_the_rest_a_mode() {
        let key = |id, byte| Key::new(KeyId::new(id).unwrap(), Zeroizing::new(vec![byte; 32])).unwrap();
        let hmac =
            |active, others, mode| AuthHmac { active, others, anti_replay: AntiReplay::Monotonic, mode };
        let old = hmac(key(1, 1), vec![], HmacMode::Enforce);
        let prepared = hmac(key(1, 1), vec![key(2, 2)], HmacMode::Permissive);
        let rotated = hmac(key(2, 2), vec![key(1, 1)], HmacMode::Enforce);
        let other = hmac(key(1, 3), vec![], HmacMode::Permissive);
        let receiver = hmac(key(1, 3), vec![], HmacMode::ReceiveOnly);
        assert!(old.accepts(&prepared) && prepared.accepts(&rotated) && rotated.accepts(&old));
        assert!(!old.accepts(&rotated) && !old.accepts(&other) && !other.accepts(&old));
        assert!(other.accepts(&receiver) && !old.accepts(&receiver) && !receiver.accepts(&old));
    }
}
