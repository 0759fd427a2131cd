//! The known answer and everything close to it, and one sender and receiver whose clocks people step.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::authenticator::Opened;
use super::*;
use crate::plan::hmac::{AntiReplay, AuthHmac, HmacMode, KeyId};
use crate::time::UnixTime;

/// A whole VRRP payload of Keepalived 2.4's own documentation of the format: IPv4, version 3, VRID 51, priority 200.
const KNOWN: [u8; 40] = [
    0x31, 0x33, 0xc8, 0x01, 0x00, 0x64, 0x44, 0x02, 0xc0, 0x00, 0x02, 0x64, //
    0x01, 0x01, 0x00, 0x00, 0x68, 0x00, 0x00, 0x00, 0x80, 0x00, 0x00, 0x00, //
    0x1b, 0x84, 0xbc, 0x4e, 0x8e, 0x43, 0x89, 0x2d, 0xc6, 0xd9, 0x84, 0x48, 0xf8, 0xee, 0x22, 0x65,
];
const KNOWN_SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 10));
const KNOWN_SEQUENCE: Sequence = Sequence::from_bits(0x6800_0000_8000_0000);
const KNOWN_TIME: UnixTime = UnixTime::new(Duration::from_millis(0x6800_0000 * 1000 + 500));

const HOUR: Duration = Duration::from_secs(3600);
const WINDOW: Duration = Duration::from_secs(5);

fn key(id: u8, bytes: impl Iterator<Item = u8>) -> Key {
    Key::new(KeyId::new(id).unwrap(), Zeroizing::new(bytes.collect())).unwrap()
}

fn known_key() -> Key {
    key(1, 0..32)
}

fn hmac(anti_replay: AntiReplay) -> AuthHmac {
    AuthHmac { active: known_key(), others: Vec::new(), anti_replay, mode: HmacMode::Enforce }
}

fn authenticator(anti_replay: AntiReplay) -> Authenticator {
    Authenticator::new(Arc::new(hmac(anti_replay)), Vec::new())
}

const TIME: AntiReplay = AntiReplay::Time { window: WINDOW };

/// Opens a whole payload as the router of a daemon does.
fn open(authenticator: &mut Authenticator, payload: &[u8], wall: UnixTime) -> Result<Opened, String> {
    let (message, trailer) = payload.split_last_chunk().unwrap();
    let trailer = Trailer::from_bytes(trailer).map_err(|malformed| malformed.to_string())?;
    authenticator.open(message, KNOWN_SOURCE, &trailer, wall).map_err(|refusal| refusal.name().to_owned())
}

#[test]
fn the_known_answer_is_given_and_accepted() {
    let (message, trailer) = KNOWN.split_last_chunk().unwrap();
    let signed = Trailer::sign(message, KNOWN_SOURCE, KNOWN_SEQUENCE, &known_key());
    assert_eq!(&signed.to_bytes(), trailer);
    assert_eq!(open(&mut authenticator(TIME), &KNOWN, KNOWN_TIME), Ok(Opened { worrying_skew: None }));
}

/// All values of all bytes, but for the checksum's, which is not signed: the decoder checks it.
#[test]
fn every_change_of_a_single_byte_is_refused() {
    for at in (0..KNOWN.len()).filter(|at| !CHECKSUM.contains(at)) {
        for change in 1..=u8::MAX {
            for anti_replay in [TIME, AntiReplay::Monotonic] {
                let mut payload = KNOWN;
                payload[at] ^= change;
                let verdict = open(&mut authenticator(anti_replay), &payload, KNOWN_TIME);
                assert!(verdict.is_err(), "byte {at} changed by {change:#x} is accepted");
            }
        }
    }
}

#[test]
fn a_signature_is_good_for_its_sender_alone_and_for_every_destination() {
    let (message, trailer) = KNOWN.split_last_chunk().unwrap();
    let trailer = Trailer::from_bytes(trailer).unwrap();
    let other_sum: Vec<u8> = message
        .iter()
        .enumerate()
        .map(|(at, &byte)| if CHECKSUM.contains(&at) { 0xa5 } else { byte })
        .collect();
    assert!(
        trailer.is_genuine(&other_sum, KNOWN_SOURCE, &known_key()),
        "the checksum covers the destination"
    );
    let mapped = IpAddr::V6("c633:640a::".parse().unwrap());
    for source in [IpAddr::V4(Ipv4Addr::new(198, 51, 100, 11)), mapped, IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        assert!(!trailer.is_genuine(message, source, &known_key()), "{source}");
    }
    assert!(!trailer.is_genuine(message, KNOWN_SOURCE, &key(1, 1..33)), "another key");
}

#[test]
fn refusals_come_in_the_order_of_keepalived() {
    let mut receiver = authenticator(TIME);
    let name =
        |payload: &[u8], wall, receiver: &mut Authenticator| open(receiver, payload, wall).unwrap_err();
    let late = UnixTime::new(KNOWN_TIME.since_epoch() + HOUR);
    let mut payload = KNOWN;
    payload[39] ^= 1;
    assert_eq!(name(&payload, KNOWN_TIME, &mut receiver), "hmac_bad");
    payload[13] = 2;
    assert_eq!(name(&payload, KNOWN_TIME, &mut receiver), "hmac_unknown_key");
    payload[13] = 0;
    assert_eq!(name(&payload, KNOWN_TIME, &mut receiver), "hmac_unknown_key", "no key has the id 0");
    assert_eq!(name(&payload, late, &mut receiver), "hmac_stale");
    payload[15] = 1;
    assert!(name(&payload, late, &mut receiver).contains("0x0001"));
    payload[12] = 2;
    assert!(name(&payload, late, &mut receiver).contains("type 2"));
    assert!(open(&mut receiver, &KNOWN, KNOWN_TIME).is_ok(), "none of them moved the mark");
    assert_eq!(name(&KNOWN, KNOWN_TIME, &mut receiver), "hmac_replay");
}

#[test]
fn the_window_has_two_sides_and_half_of_it_is_worrying() {
    let seconds =
        |seconds| UnixTime::new(Duration::from_secs(0x6800_0000) + Duration::from_secs(seconds) - 2 * WINDOW);
    let verdict = |wall| open(&mut authenticator(TIME), &KNOWN, wall);
    let stale = Err("hmac_stale".to_owned());
    assert_eq!((verdict(seconds(4)), verdict(seconds(16))), (stale.clone(), stale));
    for (wall, ahead) in [(seconds(5), true), (seconds(15), false)] {
        let skew = verdict(wall).unwrap().worrying_skew.unwrap();
        assert_eq!((skew.apart(), skew.is_ahead()), (WINDOW, ahead));
    }
    assert_eq!([8, 12].map(|wall| verdict(seconds(wall)).unwrap().worrying_skew), [None; 2]);
    assert!(verdict(seconds(7)).unwrap().worrying_skew.is_some());
    let mut monotonic = authenticator(AntiReplay::Monotonic);
    assert_eq!(open(&mut monotonic, &KNOWN, UnixTime::default()), Ok(Opened { worrying_skew: None }));
}

/// A sender, a receiver and what is between them.
struct Pair {
    sender: Authenticator,
    receiver: Authenticator,
    sender_clock: Duration,
    receiver_clock: Duration,
}

impl Pair {
    fn new(anti_replay: AntiReplay) -> Self {
        let clock = Duration::from_secs(1_800_000_000);
        let (sender, receiver) = (authenticator(anti_replay), authenticator(anti_replay));
        Self { sender, receiver, sender_clock: clock, receiver_clock: clock }
    }

    fn pass(&mut self, span: Duration) {
        self.sender_clock += span;
        self.receiver_clock += span;
    }

    fn sign(&mut self) -> Trailer {
        self.sender.sign(&KNOWN[..12], KNOWN_SOURCE, UnixTime::new(self.sender_clock)).unwrap()
    }

    fn hear(&mut self, trailer: &Trailer) -> Result<(), &'static str> {
        let opened =
            self.receiver.open(&KNOWN[..12], KNOWN_SOURCE, trailer, UnixTime::new(self.receiver_clock));
        opened.map(|_| ()).map_err(Refusal::name)
    }

    /// One advert, a second after the one before.
    fn advert(&mut self) -> Result<(), &'static str> {
        self.pass(Duration::from_secs(1));
        let trailer = self.sign();
        self.hear(&trailer)
    }
}

#[test]
fn numbers_grow_however_often_the_clock_is_asked() {
    let mut pair = Pair::new(TIME);
    let numbers: Vec<u64> = (0..3).map(|_| pair.sign().sequence.to_bits() & 0xffff).collect();
    assert_eq!(numbers, [0, 1, 2], "the counter is 0 unless the clock stood still");
    pair.sender_clock -= Duration::from_secs(2);
    let before = pair.sign().sequence;
    assert_eq!(before.to_bits() & 0xffff, 3, "a small step back does not make numbers smaller");
    pair.pass(Duration::from_secs(3));
    assert_eq!(pair.sign().sequence.to_bits() & 0xffff, 0);
}

#[test]
fn a_recorded_advert_is_refused_at_once_and_later() {
    for anti_replay in [TIME, AntiReplay::Monotonic] {
        let mut pair = Pair::new(anti_replay);
        let recorded = pair.sign();
        assert_eq!(pair.hear(&recorded), Ok(()));
        assert_eq!(pair.hear(&recorded), Err("hmac_replay"));
        assert_eq!(pair.advert(), Ok(()));
        assert_eq!(pair.hear(&recorded), Err("hmac_replay"));
        pair.pass(HOUR);
        let later = if anti_replay == TIME { "hmac_stale" } else { "hmac_replay" };
        assert_eq!(pair.hear(&recorded), Err(later));
    }
}

#[test]
fn a_clock_that_is_an_hour_wrong_and_mended_is_believed_at_once() {
    for forward in [true, false] {
        for of_sender in [true, false] {
            let mut pair = Pair::new(TIME);
            assert_eq!(pair.advert(), Ok(()));
            let step = |pair: &mut Pair, forward: bool| {
                let clock = if of_sender { &mut pair.sender_clock } else { &mut pair.receiver_clock };
                *clock = if forward { *clock + HOUR } else { *clock - HOUR };
            };
            step(&mut pair, forward);
            assert_eq!([pair.advert(), pair.advert()], [Err("hmac_stale"); 2]);
            step(&mut pair, !forward);
            assert_eq!([pair.advert(), pair.advert()], [Ok(()); 2], "forward {forward}, sender {of_sender}");
        }
    }
}

#[test]
fn clocks_that_are_stepped_together_are_believed_at_once() {
    for forward in [true, false] {
        let mut pair = Pair::new(TIME);
        assert_eq!([pair.advert(), pair.advert()], [Ok(()); 2]);
        for clock in [&mut pair.sender_clock, &mut pair.receiver_clock] {
            *clock = if forward { *clock + HOUR } else { *clock - HOUR };
        }
        assert_eq!([pair.advert(), pair.advert()], [Ok(()); 2], "forward {forward}");
    }
}

/// A sender goes on from its last number, and one that restarts with its clock set back waits until it catches up.
#[test]
fn monotonic_senders_survive_a_step_back_but_not_together_with_a_restart() {
    let mut pair = Pair::new(AntiReplay::Monotonic);
    assert_eq!(pair.advert(), Ok(()));
    pair.sender_clock -= HOUR;
    assert_eq!([pair.advert(), pair.advert()], [Ok(()); 2]);
    pair.sender = authenticator(AntiReplay::Monotonic);
    assert_eq!(pair.advert(), Err("hmac_replay"));
    pair.sender_clock += HOUR;
    assert_eq!(pair.advert(), Ok(()), "a restart with a clock that goes forward is fine");
}

#[test]
fn whoever_only_receives_does_not_sign() {
    let config = AuthHmac { mode: HmacMode::ReceiveOnly, ..hmac(TIME) };
    let mut receiver = Authenticator::new(Arc::new(config), Vec::new());
    assert_eq!(receiver.sign(&KNOWN[..12], KNOWN_SOURCE, KNOWN_TIME), None);
}

#[test]
fn any_configured_key_verifies() {
    let mut old = authenticator(TIME);
    let new = |active, other| {
        Authenticator::new(Arc::new(AuthHmac { active, others: vec![other], ..hmac(TIME) }), Vec::new())
    };
    let mut prepared = new(known_key(), key(2, 100..164));
    let mut rotated = new(key(2, 100..164), known_key());
    let message = &KNOWN[..12];
    let by_old = old.sign(message, KNOWN_SOURCE, KNOWN_TIME).unwrap();
    let by_new = rotated.sign(message, KNOWN_SOURCE, KNOWN_TIME).unwrap();
    assert_eq!((by_old.key, by_new.key), (1, 2));
    assert!(rotated.open(message, KNOWN_SOURCE, &by_old, KNOWN_TIME).is_ok());
    assert!(prepared.open(message, KNOWN_SOURCE, &by_new, KNOWN_TIME).is_ok());
    let refusal = old.open(message, KNOWN_SOURCE, &by_new, KNOWN_TIME).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "it signs with key 2, which is not configured here; this router signs with key 1"
    );
}

#[test]
fn a_stale_advert_says_how_far_the_clocks_are_apart() {
    let mut pair = Pair::new(TIME);
    pair.sender_clock += HOUR;
    let trailer = pair.sign();
    let wall = UnixTime::new(pair.receiver_clock);
    let refusal = pair.receiver.open(&KNOWN[..12], KNOWN_SOURCE, &trailer, wall).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "its advert is stale, or a clock is wrong: it was signed at a time 60 min ahead of this machine's clock, \
         and 5.0 s is the most"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn trailers_are_read_as_they_are_written(bytes: [u8; 28], sequence: u64) {
        let mut bytes = bytes;
        (bytes[0], bytes[2], bytes[3]) = (1, 0, 0);
        let read = Trailer::from_bytes(&bytes).unwrap();
        prop_assert_eq!(read.to_bytes(), bytes);
        let key = key(bytes[1].max(1), 0..32);
        let signed = Trailer::sign(&bytes, KNOWN_SOURCE, Sequence::from_bits(sequence), &key);
        prop_assert_eq!(Trailer::from_bytes(&signed.to_bytes()), Ok(signed));
    }

    /// No message is shorter than its header and one address.
    #[test]
    fn what_is_signed_is_believed_and_nothing_like_it(
        message in prop::collection::vec(any::<u8>(), 12..1100),
        source: [u8; 16],
        family: bool,
        sequence: u64,
        id in 1_u8..,
        secret in prop::collection::vec(any::<u8>(), 32..=64),
        at: prop::sample::Index,
        change in 1_u8..,
    ) {
        let source = if family {
            IpAddr::V6(source.into())
        } else {
            IpAddr::V4([source[0], source[1], source[2], source[3]].into())
        };
        let key = Key::new(KeyId::new(id).unwrap(), Zeroizing::new(secret)).unwrap();
        let trailer = Trailer::sign(&message, source, Sequence::from_bits(sequence), &key);
        prop_assert!(trailer.is_genuine(&message, source, &key));
        let mut changed = message.clone();
        let at = at.index(changed.len());
        changed[at] ^= change;
        prop_assert_eq!(trailer.is_genuine(&changed, source, &key), CHECKSUM.contains(&at));
        prop_assert!(!trailer.is_genuine(&message[..message.len() - 1], source, &key));
    }

    /// Whatever the clocks do, no advert counts twice, and two clocks that agree are enough to be believed.
    #[test]
    fn steps_of_clocks_neither_let_repetitions_in_nor_lock_anybody_out(
        monotonic: bool,
        steps in prop::collection::vec((-7200_i64..7200, -7200_i64..7200, 0_u64..5_000), 1..30),
    ) {
        let mut pair = Pair::new(if monotonic { AntiReplay::Monotonic } else { TIME });
        let mut accepted = Vec::new();
        let stepped = |clock: Duration, by: i64| {
            let by_seconds = Duration::from_secs(by.unsigned_abs());
            if by < 0 { clock - by_seconds } else { clock + by_seconds }
        };
        for (of_sender, of_receiver, millis) in steps {
            pair.sender_clock = stepped(pair.sender_clock, of_sender);
            pair.receiver_clock = stepped(pair.receiver_clock, of_receiver);
            pair.pass(Duration::from_millis(millis));
            let trailer = pair.sign();
            if pair.hear(&trailer).is_ok() {
                accepted.push(trailer);
            }
            if let Some(latest) = accepted.last().copied() {
                prop_assert!(pair.hear(&latest).is_err(), "the latest one counts twice");
            }
            if monotonic {
                for recorded in accepted.clone() {
                    prop_assert!(pair.hear(&recorded).is_err());
                }
            }
        }
        pair.receiver_clock = pair.sender_clock;
        prop_assert_eq!([pair.advert(), pair.advert()], [Ok(()); 2]);
    }
}
