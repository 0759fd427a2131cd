//! Tests of links in memory and on loopback.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream as Caller};
use std::sync::mpsc::{Receiver, channel};

use mainstay_engine::flows::PeerKey;
use mainstay_engine::flows::wire::Message;
use mainstay_engine::peers::view::RouterView;
use mainstay_engine::peers::{LinkEnd, LinkId};
use mainstay_engine::plan::LinkSecret;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::runtime::Runtime;

use super::channel::{Channel, FRAME_BYTES, Failure};
use super::flows::FlowNews;
use super::*;

/// Longer than anything here takes; a test that needs it fails.
const TIMELY: Duration = Duration::from_secs(10);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn key(secret: &str) -> Key {
    Key::of(&LinkSecret::new(secret.into()).unwrap())
}

fn keys(secrets: &[&str]) -> Vec<(RouterId, Key)> {
    (0..).map(RouterId).zip(secrets.iter().map(|secret| key(secret))).collect()
}

#[test]
fn who_has_one_of_the_keys_is_understood_and_known_by_it() {
    runtime().block_on(async {
        let (ours, theirs) = duplex(1024);
        let keys = keys(&["one", "two", "three"]);
        let (dialled, accepted) =
            tokio::join!(Channel::initiate(ours, &keys[1].1, b"wish"), Channel::respond(theirs, &keys));
        let (mut dialled, (mut accepted, name, wish)) = (dialled.ok().unwrap(), accepted.ok().unwrap());
        assert_eq!((name, &wish[..]), (RouterId(1), &b"wish"[..]));
        let long = vec![7; message::MESSAGE_BYTES];
        let (sent, heard) = tokio::join!(accepted.send(&long), dialled.receive());
        assert!(sent.is_ok() && heard.ok() == Some(long), "as long as a message may be");
    });
}

#[test]
fn another_key_is_refused_and_both_sides_know_it() {
    runtime().block_on(async {
        // Equal in what adverts carry of a password.
        let (ours, theirs) = duplex(1024);
        let (mine, others) = (key("password-1"), keys(&["password-2", "x"]));
        let (dialled, accepted) =
            tokio::join!(Channel::initiate(ours, &mine, &[]), Channel::respond(theirs, &others));
        assert!(matches!(dialled, Err(Failure::Key)));
        assert!(matches!(accepted, Err(Failure::Key)));
    });
}

#[test]
fn a_recorded_call_opens_nothing() {
    runtime().block_on(async {
        let keys = keys(&["one"]);
        let (mut ours, theirs) = duplex(1024);
        let call = Channel::initiate(theirs, &keys[0].1, &[]);
        let recording = async {
            let mut hello = vec![0; 50];
            ours.read_exact(&mut hello).await.unwrap();
            drop(ours);
            hello
        };
        let (_, hello) = tokio::join!(call, recording);

        let (mut attacker, theirs) = duplex(1024);
        let replay = async {
            attacker.write_all(&hello).await.unwrap();
            let mut answer = vec![0; 50];
            attacker.read_exact(&mut answer).await.unwrap();
            // It cannot make the last message without the key.
            attacker.write_all(&[0, 16]).await.unwrap();
            attacker.write_all(&[0; 16]).await.unwrap();
        };
        let (accepted, ()) = tokio::join!(Channel::respond(theirs, &keys), replay);
        assert!(matches!(accepted, Err(Failure::Other(_))));
    });
}

#[test]
fn long_frames_are_refused_before_they_are_read() {
    runtime().block_on(async {
        let (mut attacker, theirs) = duplex(1024);
        attacker.write_all(&[0xff, 0xff]).await.unwrap();
        let keys = keys(&["one"]);
        // Nothing more comes, so reading on would never end.
        let accepted = tokio::time::timeout(TIMELY, Channel::respond(theirs, &keys)).await.unwrap();
        assert!(matches!(accepted, Err(Failure::Other(_))));
        assert!(FRAME_BYTES <= usize::from(u16::MAX));
    });
}

proptest! {
    #[test]
    fn whatever_strangers_say_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        runtime().block_on(async {
            for dialled in [false, true] {
                let (mut attacker, theirs) = duplex(1024);
                attacker.write_all(&bytes).await.unwrap();
                attacker.shutdown().await.unwrap();
                let keys = keys(&["one", "two"]);
                let refused = if dialled {
                    Channel::initiate(theirs, &keys[0].1, &[]).await.is_err()
                } else {
                    Channel::respond(theirs, &keys).await.is_err()
                };
                assert!(refused);
            }
        });
    }

    #[test]
    fn messages_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(view) = message::decode(&bytes) {
            assert_eq!(view.check(), Ok(()));
        }
    }
}

#[test]
fn a_view_arrives_as_it_was_sent() {
    let router = RouterView { name: "V".to_owned(), vrid: 51, priority: 120, ..RouterView::default() };
    let view = View { reaches: vec!["k8s/cp1".to_owned()], routers: vec![router], ..View::default() };
    let message = message::encode(&view, "lb1", 17).unwrap();
    assert_eq!(message::decode(&message), Ok(View { host: "lb1".to_owned(), clock_ms: 17, ..view }));
    assert_eq!(message::decode(b"{\"later\":1}"), Ok(View::default()), "other versions are understood");
    assert!(message::decode(b"{\"host\":\"\\u001b[2J\"}").is_err());
}

#[test]
fn the_largest_view_fits_one_message() {
    let long = |n: usize| format!("{n:0256}");
    let router = || {
        let [name, interface, state, why] = [long(1), long(2), long(3), long(4)];
        RouterView { name, interface, state, why, vrid: 255, priority: 255, effective_priority: 255 }
    };
    let view = View {
        configuration: (0..64).map(|n| (long(n), format!("{n:016}"))).collect(),
        routers: std::iter::repeat_with(router).take(16).collect(),
        reaches: (0..2048).map(|n| format!("{n:05}")).collect(),
        version: long(1),
        ..View::default()
    };
    assert_eq!(view.check(), Ok(()));
    let message = message::encode(&view, &long(9), u64::MAX).unwrap();
    assert!(message::decode(&message).is_ok());
    let more = View { reaches: vec!["x".repeat(8); 2048], ..view };
    assert!(more.check().is_err(), "it is the largest");
}

/// A daemon's links on loopback, and what they report.
struct Node {
    links: PeerLinks,
    news: Receiver<PeerInput>,
    flow_news: Receiver<FlowNews>,
    address: ListenAddress,
    _runtime: Runtime,
}

/// Distinct loopback addresses keep tests that run at once apart.
fn node(last: u8, port: u16) -> Node {
    node_with(last, port, false)
}

fn node_with(last: u8, port: u16, with_flows: bool) -> Node {
    let runtime = runtime();
    let (sender, news) = channel();
    let report: Report = Arc::new(move |input| drop(sender.send(input)));
    let (sender, flow_news) = channel();
    let flows: FlowReport = Arc::new(move |news| sender.send(news).is_ok());
    let flows = with_flows.then_some(flows);
    let mut links = PeerLinks::new(runtime.handle().clone(), &Plan::default(), port, report, flows);
    links.keys.insert(RouterId(0), key("one"));
    Arc::get_mut(&mut links.door).unwrap().keys = keys(&["one"]);
    let address =
        ListenAddress { address: Ipv4Addr::new(127, 0, 51, last).into(), interface: "lo".to_owned() };
    Node { links, news, flow_news, address, _runtime: runtime }
}

impl Node {
    fn listen(&mut self) {
        self.links.carry_out(PeerOutput::Listen(BTreeSet::from([self.address.clone()])));
    }

    fn dial(&mut self, peer: IpAddr) {
        let source = self.address.clone();
        self.links.carry_out(PeerOutput::Dial { link: LinkId(9), peer, source, router: RouterId(0) });
    }

    /// What the dialled link was reported to be, until it ended or told something.
    fn outcome(&self) -> Result<View, LinkEnd> {
        loop {
            match self.news.recv_timeout(TIMELY).expect("news") {
                PeerInput::View { view, .. } => return Ok(*view),
                PeerInput::Ended { end, .. } => return Err(end),
                PeerInput::Opened { link } => assert_eq!(link, LinkId(9)),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_link_tells_of_the_peer_and_of_its_end() {
    let (mut ours, mut theirs) = (node(1, 15_112), node(2, 15_112));
    let peer = theirs.address.address;
    ours.dial(peer);
    assert_eq!(ours.outcome(), Err(LinkEnd::Refused), "nobody listens yet");
    theirs.listen();
    theirs.links.carry_out(PeerOutput::Tell(Arc::new(View { version: "7".to_owned(), ..View::default() })));
    let started = Instant::now();
    let view = loop {
        ours.dial(peer);
        match ours.outcome() {
            Ok(view) => break view,
            Err(LinkEnd::Refused) if started.elapsed() < TIMELY => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(end) => panic!("{end:?}"),
        }
    };
    assert_eq!(view.version, "7");
    assert!(view.clock_ms > 0);
    let accepted = theirs.news.recv_timeout(TIMELY).unwrap();
    assert!(
        matches!(accepted, PeerInput::Accepted { peer, local, router: RouterId(0) }
            if peer == ours.address.address && local == theirs.address.address),
        "{accepted:?}"
    );
    drop(theirs);
    assert_eq!(ours.outcome(), Err(LinkEnd::Closed));
    ours.dial(peer);
    assert_eq!(ours.outcome(), Err(LinkEnd::Refused));
}

/// Dials until the peer listens, and tells something.
fn linked(ours: &mut Node, theirs: &mut Node) {
    theirs.listen();
    theirs.links.carry_out(PeerOutput::Tell(Arc::default()));
    let started = Instant::now();
    loop {
        ours.dial(theirs.address.address);
        match ours.outcome() {
            Ok(_) => return,
            Err(LinkEnd::Refused) if started.elapsed() < TIMELY => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(end) => panic!("{end:?}"),
        }
    }
}

#[test]
fn flows_are_told_to_who_wants_them_between_the_views() {
    let (mut ours, mut theirs) = (node_with(5, 15_115, true), node_with(6, 15_115, true));
    linked(&mut ours, &mut theirs);
    let news = theirs.flow_news.recv_timeout(TIMELY).unwrap();
    let FlowNews::Listens { peer, messages, .. } = news else { panic!("{news:?}") };
    assert_eq!(peer, ours.address.address);
    let told = Message::Begin([10, 0, 0, 1].into()).encode();
    messages.blocking_send(told.clone()).unwrap();
    theirs.links.carry_out(PeerOutput::Tell(Arc::default()));
    let news = ours.flow_news.recv_timeout(TIMELY).unwrap();
    assert!(matches!(&news, FlowNews::Told { key: PeerKey(9), message, .. } if *message == told), "{news:?}");
    assert!(ours.outcome().is_ok(), "and views go on");
    drop(theirs);
    let news = ours.flow_news.recv_timeout(TIMELY).unwrap();
    assert!(matches!(news, FlowNews::Ended { key: PeerKey(9) }), "{news:?}");
    assert_eq!(ours.outcome(), Err(LinkEnd::Closed));
}

#[test]
fn a_flood_of_flows_does_not_hold_views_up() {
    let (mut ours, mut theirs) = (node_with(9, 15_118, true), node_with(10, 15_118, true));
    linked(&mut ours, &mut theirs);
    let news = theirs.flow_news.recv_timeout(TIMELY).unwrap();
    let FlowNews::Listens { messages, .. } = news else { panic!("{news:?}") };
    let flood = std::thread::spawn(move || {
        let mut message = Message::Begin([10, 0, 0, 1].into()).encode();
        message.resize(60_000, 0);
        while messages.blocking_send(message.clone()).is_ok() {}
    });
    let mut slowest = Duration::ZERO;
    for version in 0..50 {
        let (version, told) = (version.to_string(), Instant::now());
        let view = View { version: version.clone(), ..View::default() };
        theirs.links.carry_out(PeerOutput::Tell(Arc::new(view)));
        while ours.outcome().unwrap().version != version {}
        slowest = slowest.max(told.elapsed());
    }
    println!("    the slowest view took {slowest:.1?}, among {} messages", ours.flow_news.try_iter().count());
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    drop(theirs);
    flood.join().unwrap();
}

#[test]
fn who_does_not_know_flows_is_not_told_of_them() {
    for (ours_knows, port) in [(true, 15_116), (false, 15_117)] {
        let (mut ours, mut theirs) = (node_with(7, port, ours_knows), node_with(8, port, !ours_knows));
        linked(&mut ours, &mut theirs);
        theirs.links.carry_out(PeerOutput::Tell(Arc::default()));
        assert!(ours.outcome().is_ok(), "views come");
        assert!(theirs.flow_news.try_recv().is_err(), "nobody asked for flows, or nobody has any");
    }
}

#[test]
fn who_cannot_keep_up_makes_sense_of_what_comes_from_the_next_beginning_on() {
    let (sender, news) = channel();
    let room = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let has_room = Arc::clone(&room);
    let report: FlowReport = Arc::new(move |news| {
        let taken =
            has_room.load(std::sync::atomic::Ordering::Relaxed) || matches!(news, FlowNews::Ended { .. });
        taken && sender.send(news).is_ok()
    });
    let address = IpAddr::from([10, 0, 0, 1]);
    let mut ear = flows::Ear::new(Some(&report), LinkId(1), address);
    let mut hear = |message: Message| assert!(ear.hears(&mut message.encode()));
    hear(Message::Begin(address));
    assert!(matches!(news.try_recv(), Ok(FlowNews::Ended { .. })), "it was lost");
    room.store(true, std::sync::atomic::Ordering::Relaxed);
    hear(Message::Whole(address));
    assert!(news.try_recv().is_err(), "it would be taken for all");
    hear(Message::Begin(address));
    hear(Message::Whole(address));
    assert_eq!(news.try_iter().count(), 2);
    assert!(!ear.hears(&mut b"{}".to_vec()), "a view");
}

#[test]
fn strangers_are_told_and_reported() {
    let mut theirs = node(3, 15_113);
    theirs.listen();
    let address = SocketAddr::new(theirs.address.address, 15_113);
    let started = Instant::now();
    let mut caller = loop {
        match Caller::connect(address) {
            Ok(caller) => break caller,
            Err(error) => assert!(started.elapsed() < TIMELY, "{error}"),
        }
    };
    caller.write_all(&[0, 3, b'a', b'b', b'c']).unwrap();
    caller.set_read_timeout(Some(TIMELY)).unwrap();
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, [0, 0]);
    assert!(matches!(theirs.news.recv_timeout(TIMELY), Ok(PeerInput::Stranger { .. })));
}

#[test]
fn an_address_that_is_not_there_yet_can_be_listened_on_and_one_that_is_taken_is_reported() {
    let (mut first, mut second) = (node(4, 15_114), node(4, 15_114));
    first.address.address = Ipv4Addr::new(192, 0, 2, 77).into();
    first.listen();
    assert!(first.news.recv_timeout(Duration::from_millis(200)).is_err(), "nothing to complain about");
    second.address = first.address.clone();
    second.listen();
    assert!(matches!(second.news.recv_timeout(TIMELY), Ok(PeerInput::NotListening { .. })));
}
