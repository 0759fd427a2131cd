//! No datagram from the LAN makes the decoder or the engine panic, spin, or do what the plan does not name.
//!
//! The bytes are a row of datagrams of either family, each as long as its IP header says. The identification, or the end
//! of the flow label, which nothing reads, says how many milliseconds pass before it arrives. As chance hardly ever finds
//! a checksum, every row comes a second time with the checksums of each datagram mended; and as it never finds a
//! signature, a third time with every advert signed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay::admin::protocol::reply;
use mainstay_engine::admin::{Reply, Request};
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{Surroundings, load};
use mainstay_engine::engine::{HandOverRules, InterfaceState};
use mainstay_engine::plan::hmac::{Key, KeyId};
use mainstay_engine::time::{Instant, UnixTime};
use mainstay_engine::vrrp::hmac::{Sequence, Trailer};
use mainstay_engine::vrrp::packet::{Advert, decode, encode, encode_message, peek};
use mainstay_engine::{Engine, Input, Output, Plan};

/// Virtual routers of every kind, some of which the golden frames of the corpus are for.
const KEEPALIVED_CONF: &str = include_str!("vrrp.conf");

const INTERFACE: &str = "eth0";
/// Its addresses: one for everything over IPv4, one for multicast over IPv6, one for unicast over it.
const OWN: [(IpAddr, u8); 3] = [
    (IpAddr::V4(Ipv4Addr::new(10, 9, 0, 3)), 24),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 3)), 64),
    (IpAddr::V6(Ipv6Addr::new(0xfd00, 9, 0, 0, 0, 0, 0, 3)), 64),
];

const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

/// Long enough for every router to become active when nobody is heard.
const SILENCE: Duration = Duration::from_secs(10);

/// The longest pause before a datagram: longer than a backup waits.
const PAUSE_MILLIS: u64 = 4096;

/// What can come of one datagram or one deadline: all routers send, install, announce and say something, some times over.
const OUTPUTS: usize = 1000;

/// Deadlines within [`PAUSE_MILLIS`] or [`SILENCE`]: the shortest are adverts that are 10 ms apart.
const DEADLINES: usize = 20_000;

/// Delivers a row of datagrams to backups, to active routers, and to ones that hand over, resume and stop.
///
/// # Panics
/// If an advert changes when it is written and read again, if the engine does something that its plan does not name, does
/// too much at once, or has something due that it does not do.
pub fn vrrp_datagram(bytes: &[u8]) {
    let whole = split(bytes);
    let mended: Vec<_> = whole.iter().map(|datagram| mend(datagram)).collect();
    let signed: Vec<_> = (0..).zip(&mended).map(|(number, datagram)| sign(datagram, number)).collect();
    for row in [whole, mended, signed] {
        row.iter().for_each(|datagram| assert_reads(datagram));
        let mut backups = Machine::start();
        backups.deliver(&row);

        let mut actives = Machine::start();
        actives.pass(SILENCE);
        actives.deliver(&row);
        actives.ask(Request::HandOver);
        actives.deliver(&row);
        actives.ask(Request::Resume);
        actives.deliver(&row);
        actives.take(Input::Stop);
        actives.deliver(&row);
    }
}

/// Cuts where the IP headers say that datagrams end; what makes no sense is one datagram.
fn split(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    while !bytes.is_empty() {
        let claimed = if is_ipv6(bytes) { IPV6_HEADER + field(bytes, 4) } else { field(bytes, 2) };
        let length = if claimed >= IPV4_HEADER { claimed.min(bytes.len()) } else { bytes.len() };
        let (datagram, rest) = bytes.split_at(length);
        datagrams.push(datagram.to_vec());
        bytes = rest;
    }
    datagrams
}

fn is_ipv6(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| byte >> 4 == 6)
}

/// A 16-bit field, 0 where there is none.
fn field(bytes: &[u8], at: usize) -> usize {
    bytes.get(at..at + 2).map_or(0, |field| usize::from(field[0]) << 8 | usize::from(field[1]))
}

/// The same datagram with its length, its protocol and its checksums right.
fn mend(datagram: &[u8]) -> Vec<u8> {
    if is_ipv6(datagram) { mend_ipv6(datagram) } else { mend_ipv4(datagram) }
}

/// The message's checksum without a pseudo-header.
fn mend_ipv4(datagram: &[u8]) -> Vec<u8> {
    let mut mended = datagram.to_vec();
    let header_length = usize::from(datagram.first().map_or(0, |byte| byte & 0x0f)) * 4;
    if header_length < IPV4_HEADER || header_length + 8 > datagram.len() {
        return mended;
    }
    let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
    mended[2..4].copy_from_slice(&length.to_be_bytes());
    mended[9] = 112;
    let (header, message) = mended.split_at_mut(header_length);
    fill_in_checksum(&[], header, 10);
    fill_in_checksum(&[], message, 6);
    mended
}

/// Without a pseudo-header there is no checksum over IPv6.
fn mend_ipv6(datagram: &[u8]) -> Vec<u8> {
    let mut mended = datagram.to_vec();
    if datagram.len() < IPV6_HEADER + 8 {
        return mended;
    }
    let length = u16::try_from(datagram.len() - IPV6_HEADER).unwrap_or(u16::MAX).to_be_bytes();
    mended[4..6].copy_from_slice(&length);
    mended[6] = 112;
    let (header, message) = mended.split_at_mut(IPV6_HEADER);
    let pseudo_header = [&header[8..], &[0, 0], &length, &[0, 0, 0, 112]].concat();
    fill_in_checksum(&pseudo_header, message, 6);
    mended
}

/// The same advert with a signature of the target's key, each with a later number; as it is if it is none.
fn sign(datagram: &[u8], number: u64) -> Vec<u8> {
    let Ok(advert) = decode(datagram) else { return datagram.to_vec() };
    let key = KeyId::new(1).and_then(|id| Key::new(id, (0..32).collect::<Vec<_>>().into()));
    let sequence = Sequence::at(UnixTime::new(SILENCE + Duration::from_secs(number)));
    let message = encode_message(&advert);
    let trailer = key.map(|key| Trailer::sign(&message, advert.source, sequence, &key));
    let identification = u16::from_be_bytes([datagram[4], datagram[5]]);
    encode(&Advert { trailer, ..advert }, identification)
}

/// RFC 1071, over `before` as well, which has an even length.
fn fill_in_checksum(before: &[u8], bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].fill(0);
    let words = before.chunks(2).chain(bytes.chunks(2));
    let mut sum: u64 =
        words.map(|word| u64::from(word[0]) << 8 | word.get(1).map_or(0, |&low| u64::from(low))).sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    let sum = !u16::try_from(sum).expect("it was folded");
    bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

fn assert_reads(datagram: &[u8]) {
    match decode(datagram) {
        Ok(advert) => {
            assert!(advert.interval.count() > 0 && !advert.addresses.is_empty(), "{advert:?} means nothing");
            assert_eq!(peek(datagram), Some((advert.source, advert.vrid)), "a glance sees the same");
            assert_eq!(decode(&encode(&advert, 1)).as_ref(), Ok(&advert), "written and read again");
        }
        Err(malformed) => assert!(!malformed.to_string().is_empty() && !malformed.name().is_empty()),
    }
}

/// An engine with its clock, which does nothing that its plan does not name.
struct Machine {
    engine: Engine,
    plan: Arc<Plan>,
    now: Instant,
}

impl Machine {
    fn start() -> Self {
        let plan = Arc::new(plan());
        let now = Instant::default() + SILENCE;
        let engine = Engine::new(Arc::clone(&plan), 1, now);
        let mut machine = Self { engine, plan, now };
        machine.carry_out();
        let state = Some(InterfaceState { running: true, addresses: OWN.to_vec() });
        machine.take(Input::Interface { name: INTERFACE, state });
        machine
    }

    fn deliver(&mut self, datagrams: &[Vec<u8>]) {
        for datagram in datagrams {
            let pause = field(datagram, if is_ipv6(datagram) { 2 } else { 4 });
            self.pass(Duration::from_millis(pause as u64 % PAUSE_MILLIS));
            self.take(Input::Datagram { interface: INTERFACE, datagram });
        }
        let status = reply(&Reply::Status(Box::new(self.engine.status(self.now))));
        assert!(!status.contains('\n'), "an answer is one line");
    }

    fn ask(&mut self, request: Request) {
        self.take(Input::Request { ticket: 1, request });
    }

    fn take(&mut self, input: Input<'_>) {
        self.engine.handle(input, self.now);
        self.carry_out();
    }

    /// Lets time pass and does what is due meanwhile.
    fn pass(&mut self, span: Duration) {
        let until = self.now + span;
        for _ in 0..DEADLINES {
            let Some(deadline) = self.engine.poll_timeout().filter(|deadline| deadline.at <= until) else {
                self.now = until;
                return;
            };
            self.now = self.now.max(deadline.at);
            self.engine.handle_timeout(self.now);
            self.carry_out();
            let next = self.engine.poll_timeout();
            assert!(
                next.is_none_or(|next| next.at > self.now),
                "{deadline:?} is due again at once: {next:?}"
            );
        }
        panic!("more than {DEADLINES} deadlines in {span:?}");
    }

    fn carry_out(&mut self) {
        let mut count = 0;
        while let Some(output) = self.engine.poll_output() {
            count += 1;
            assert!(count <= OUTPUTS, "too much at once, the last was {output:?}");
            self.assert_planned(&output);
        }
    }

    fn assert_planned(&self, output: &Output) {
        match output {
            Output::SendAdvert { interface, hardware: None, destination, datagram } => {
                let advert = decode(datagram).expect("what is sent is well-formed");
                assert_eq!(interface, INTERFACE);
                assert!(OWN.iter().any(|(own, _)| *own == advert.source), "{} is not its own", advert.source);
                assert_eq!(advert.destination, *destination);
                for address in advert.addresses {
                    assert!(self.is_virtual(address), "{address} is advertised and not planned");
                }
            }
            Output::InstallAddress { address, .. } | Output::RemoveAddress { address } => {
                assert!(self.is_virtual(address.address), "{address:?} is not planned");
            }
            Output::Announce { interface, address } | Output::Probe { interface, address } => {
                assert_eq!(interface, INTERFACE);
                assert!(self.is_virtual(*address), "{address} is announced and not planned");
            }
            Output::HandOverRules { rules, .. } => {
                if let Some(HandOverRules::Silence { addresses } | HandOverRules::Forward { addresses, .. }) =
                    rules
                {
                    let planned = addresses.iter().all(|&address| self.is_virtual(address.into()));
                    assert!(planned && !addresses.is_empty(), "{rules:?} are for others' addresses");
                }
            }
            Output::Event(event) => {
                let said = event.to_string();
                let secret = ["k8s-secr", "hunter2", "0001020304"].iter().any(|secret| said.contains(secret));
                assert!(!secret, "a password or a key is said: {said}");
                assert!(!said.chars().any(char::is_control), "a terminal obeys {said:?}");
            }
            Output::Publish(_) | Output::Log(_) | Output::Reply { .. } | Output::Exit => {}
            Output::SendAdvert { .. }
            | Output::InstallRouting { .. }
            | Output::RemoveRouting { .. }
            | Output::RunScript { .. }
            | Output::Notify(_)
            | Output::StartCheck { .. }
            | Output::AskAgent { .. }
            | Output::ShutdownSessions { .. }
            | Output::CloseSessions { .. }
            | Output::Forward(_)
            | Output::DeleteFlows { .. }
            | Output::Resolve { .. }
            | Output::Peer(_) => {
                panic!("{output:?} is none of this plan's");
            }
        }
    }

    fn is_virtual(&self, address: IpAddr) -> bool {
        let mut all = self.plan.routers.iter().flat_map(|router| &router.addresses);
        all.any(|own| own.address == address)
    }
}

fn plan() -> Plan {
    let mut sources = Sources::default();
    let id = sources.add("vrrp.conf", KEEPALIVED_CONF);
    let surroundings = Surroundings {
        variable: &|_| None,
        resolve: &|name| Err(format!("{name}: no such host")),
        key_file: &|path| Err(format!("{path}: no such file")),
        pattern_file: &|path| Err(format!("{path}: no such file")),
    };
    let (plan, diagnostics) = load(&sources, &[], &[id], &surroundings);
    plan.unwrap_or_else(|| panic!("the configuration of the target is refused: {diagnostics:?}"))
}
