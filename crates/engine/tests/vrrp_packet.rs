//! What holds for every datagram and every advert: reading never panics, what is written is read back, damage is seen.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mainstay_engine::plan::{Authentication, Family, Priority, Vrid};
use mainstay_engine::time::Centis;
use mainstay_engine::vrrp::hmac::{TRAILER_LENGTH, Trailer};
use mainstay_engine::vrrp::packet::{Advert, ChecksumForm, Form, Malformed, decode, encode, peek};
use proptest::prelude::*;

/// Where the version 2 and 3 message begins, behind an IP header without options.
const MESSAGE: usize = 20;

fn any_address(family: Family) -> impl Strategy<Value = IpAddr> {
    any::<u128>().prop_map(move |bits| match family {
        Family::Ipv4 => Ipv4Addr::from(u32::try_from(bits >> 96).expect("32 bits")).into(),
        Family::Ipv6 => Ipv6Addr::from(bits).into(),
    })
}

/// A form that exists over a family, and an interval that it can carry.
fn any_form(family: Family) -> impl Strategy<Value = (Form, Centis)> {
    let authentication =
        prop_oneof![Just(Authentication::None), any::<[u8; 8]>().prop_map(Authentication::Password),];
    let forms = [ChecksumForm::PseudoHeader, ChecksumForm::GroupPseudoHeader, ChecksumForm::MessageOnly];
    let (version_2, forms) = match family {
        Family::Ipv4 => (1, &forms[..]),
        Family::Ipv6 => (0, &forms[..1]),
    };
    let checksum = proptest::sample::select(forms.to_vec());
    prop_oneof![
        version_2 => (authentication, 1..=255_u16)
            .prop_map(|(authentication, seconds)| (Form::V2 { authentication }, Centis::new(seconds * 100))),
        1 => (checksum, 1..=4095_u16).prop_map(|(checksum, centis)| (Form::V3 { checksum }, Centis::new(centis))),
    ]
}

fn any_advert() -> impl Strategy<Value = Advert> {
    prop_oneof![3 => any_advert_over(Family::Ipv4), 2 => any_advert_over(Family::Ipv6)]
}

fn any_trailer() -> impl Strategy<Value = Trailer> {
    any::<[u8; TRAILER_LENGTH]>().prop_map(|mut bytes| {
        (bytes[0], bytes[2], bytes[3]) = (1, 0, 0);
        Trailer::from_bytes(&bytes).expect("a trailer")
    })
}

fn any_advert_over(family: Family) -> impl Strategy<Value = Advert> {
    let any_address = move || any_address(family);
    let addresses = prop_oneof![
        4 => prop::collection::vec(any_address(), 1..4),
        1 => prop::collection::vec(any_address(), 1..=255),
    ];
    let ip = (any_address(), any_address(), any::<u8>());
    let form = (any_form(family), prop::option::weighted(0.3, any_trailer()));
    (ip, 1..=255_u8, any::<u8>(), addresses, form).prop_map(
        |((source, destination, ttl), vrid, priority, addresses, ((form, interval), trailer))| Advert {
            source,
            destination,
            ttl,
            vrid: Vrid::new(vrid).expect("not 0"),
            priority: Priority(priority),
            interval,
            addresses,
            form,
            trailer,
        },
    )
}

/// Bytes that get past the first checks more often than chance lets them: a real datagram, cut, lengthened or overwritten.
fn nearly_an_advert() -> impl Strategy<Value = Vec<u8>> {
    let overwrite = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8);
    (any_advert(), overwrite, prop::option::of(any::<prop::sample::Index>()), any::<bool>()).prop_map(
        |(advert, changes, cut, mend)| {
            let mut datagram = encode(&advert, 1);
            for (at, value) in changes {
                let at = at.index(datagram.len());
                datagram[at] = value;
            }
            if let Some(cut) = cut {
                datagram.truncate(cut.index(datagram.len()));
            }
            if mend {
                mend_ip_header(&mut datagram);
            }
            datagram
        },
    )
}

/// Makes length, fragment fields and checksum of the IP header right, so that what is behind it is looked at.
fn mend_ip_header(datagram: &mut [u8]) {
    let length = u16::try_from(datagram.len()).expect("a short datagram");
    let Some(header) = datagram.get_mut(..MESSAGE) else { return };
    header[0] = 0x45;
    header[2..4].copy_from_slice(&length.to_be_bytes());
    header[6..8].fill(0);
    header[9] = 112;
    header[10..12].fill(0);
    let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let sum = u16::try_from(0xffff - ((folded & 0xffff) + (folded >> 16))).expect("a folded sum");
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// What form a checksum has is only known when it is right in no earlier one: 224.0.0.18 as the destination makes the first
/// two the same, and chance any two.
fn same_but_for_the_checksum_form(read: &Advert, sent: &Advert) -> bool {
    let forms_fit = match (&read.form, &sent.form) {
        (Form::V3 { .. }, Form::V3 { .. }) => true,
        (read, sent) => read == sent,
    };
    forms_fit && Advert { form: sent.form.clone(), ..read.clone() } == *sent
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn reading_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = (decode(&bytes), peek(&bytes));
    }

    /// What is accepted is what was sent by somebody: writing it again gives bytes that are read the same.
    #[test]
    fn reading_what_is_nearly_an_advert_never_panics_nor_invents(bytes in nearly_an_advert()) {
        if let Ok(advert) = decode(&bytes) {
            prop_assert_eq!(peek(&bytes), Some((advert.source, advert.vrid)));
            let again = decode(&encode(&advert, 7));
            prop_assert_eq!(again, Ok(advert));
        }
    }

    #[test]
    fn what_is_written_is_read_back(advert in any_advert(), identification: u16) {
        let datagram = encode(&advert, identification);
        let read = decode(&datagram);
        prop_assert!(
            read.as_ref().is_ok_and(|read| same_but_for_the_checksum_form(read, &advert)),
            "{:?}", read
        );
        prop_assert_eq!(peek(&datagram), Some((advert.source, advert.vrid)));
    }

    #[test]
    fn no_flipped_bit_goes_unseen(advert in any_advert(), at: prop::sample::Index) {
        let mut datagram = encode(&advert, 1);
        let bit = at.index(datagram.len() * 8);
        // Traffic class and flow label mean nothing here, and no sum of IPv6 covers them.
        let covered = (4..8).contains(&bit) || bit >= 32;
        prop_assume!(advert.source.is_ipv4() || covered);
        datagram[bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(decode(&datagram), Ok(advert), "bit {} of byte {}", bit % 8, bit / 8);
    }
}

/// Every single one, where a password may tempt to trust what it comes with. The sums are one's complement: one flipped bit
/// never leaves them right.
#[test]
fn every_flipped_bit_of_an_advert_with_a_password_is_refused() {
    let advert = Advert {
        source: Ipv4Addr::new(10, 9, 0, 2).into(),
        destination: Ipv4Addr::new(224, 0, 0, 18).into(),
        ttl: 255,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(100),
        interval: Centis::new(100),
        addresses: vec![Ipv4Addr::new(10, 9, 0, 100).into(), Ipv4Addr::new(10, 9, 0, 101).into()],
        form: Form::V2 { authentication: Authentication::Password(*b"k8s-secr") },
        trailer: None,
    };
    let whole = encode(&advert, 1);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&damaged).is_err(), "bit {} of byte {} goes unseen", bit % 8, bit / 8);
    }
    let password = whole.len() - 8..whole.len();
    for byte in password {
        let mut damaged = whole.clone();
        damaged[byte] ^= 1;
        assert_eq!(decode(&damaged), Err(Malformed::Checksum), "byte {byte}");
    }
}
