//! What a router makes of its peers' links: a process that is gone, a firewall that feigns it, and what health is worth.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mainstay_engine::engine::InterfaceState;
use mainstay_engine::event::Severity;
use mainstay_engine::flows::PeerFlows;
use mainstay_engine::health::check::{CheckStatus, Verdict};
use mainstay_engine::peers::event::PeersEvent;
use mainstay_engine::peers::view::View;
use mainstay_engine::peers::{LinkEnd, LinkId, PeerInput, PeerOptions, PeerOutput};
use mainstay_engine::plan::{
    Check, Delivery, FlowKey, Forwarding, Frontend, LinkSecret, Nat, Notify, Plan, Pool, PoolId, Preempt,
    Router, RouterId, Server, SyncGroup, UnicastPeer,
};
use mainstay_engine::vrrp::event::VrrpEvent;
use mainstay_engine::{Event, Input, Output};
use proptest::prelude::*;

use crate::bench::{Bench, HIGHER, LOWER, OWN, SECOND, events, router};

const ON: PeerOptions = PeerOptions { link: true, follow_health: true };
const LINK: LinkId = LinkId(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn secret(router: Router) -> Router {
    Router { link_secret: LinkSecret::new(b"a secret".to_vec()), ..router }
}

fn linked(config: Router) -> Bench {
    let mut bench = Bench::with_peers(Plan { routers: vec![secret(config)], ..Plan::default() }, ON);
    bench.link(true);
    bench
}

/// A backup that has followed `HIGHER` for a while, with a link to it.
fn follower(config: Router) -> Bench {
    following(linked(config))
}

fn following(mut bench: Bench) -> Bench {
    bench.hear(HIGHER, 120);
    bench.handle(Input::Peer(PeerInput::Opened { link: LINK }));
    for _ in 0..3 {
        bench.pass(SECOND);
        bench.hear(HIGHER, 120);
    }
    bench.pass(SECOND / 2);
    bench.take();
    bench
}

fn end(bench: &mut Bench, end: LinkEnd) {
    bench.handle(Input::Peer(PeerInput::Ended { link: LINK, end }));
}

fn gone(bench: &mut Bench) {
    end(bench, LinkEnd::Closed);
    end(bench, LinkEnd::Refused);
}

fn dials(outputs: &[Output]) -> Vec<IpAddr> {
    let peer = |output: &Output| match output {
        Output::Peer(PeerOutput::Dial { peer, .. }) => Some(*peer),
        _ => None,
    };
    outputs.iter().filter_map(peer).collect()
}

fn peer_events(outputs: &[Output]) -> Vec<&PeersEvent> {
    let event = |output| match output {
        &Output::Event(Event::Peers(ref event)) => Some(event),
        _ => None,
    };
    outputs.iter().filter_map(event).collect()
}

#[test]
fn a_peer_that_closes_its_link_refuses_a_new_one_and_does_not_answer_is_replaced() {
    let mut bench = follower(router(100));
    end(&mut bench, LinkEnd::Closed);
    assert_eq!((dials(&bench.take()), bench.state().as_str()), (vec![HIGHER], "backup"));
    end(&mut bench, LinkEnd::Refused);
    assert_eq!((bench.deeds(), bench.state().as_str()), (vec!["advert 1".to_owned()], "backup"));
    // 10 ms, and 10 ms by (256 - 100) / 256.
    assert_eq!(bench.until_active(), Duration::from_nanos(16_093_750));
    let deeds = bench.deeds();
    assert_eq!(deeds[..2], ["advert 100", "install"], "as after three missed adverts");
    assert!(
        bench.reason().starts_with("active because 10.0.0.9 is gone: its kernel closed"),
        "{}",
        bench.reason()
    );
}

#[test]
fn how_far_flows_are_the_same_is_seen_and_what_becomes_of_them_is_said() {
    let mut bench = follower(router(100));
    assert_eq!(bench.engine.status(bench.now).peers[0].flows, None, "the kernel forwards nothing");
    let age = Some(Duration::from_millis(500));
    let flows = |peer| PeerFlows { peer, kept: 540, whole: BTreeSet::new(), age, told: 7 };
    bench.handle(Input::Peer(PeerInput::Flows(vec![flows(OWN), flows(HIGHER)])));
    bench.pass(SECOND);
    let known = bench.engine.status(bench.now).peers[0].flows.clone().expect("it told of some");
    assert_eq!((known.kept, known.age, known.told), (540, Some(Duration::from_millis(1500)), 7));
    bench.take();
    let (address, took) = (HIGHER, Duration::from_millis(4));
    bench.handle(Input::Peer(PeerInput::FlowsTaken { address, taken: 540, refused: 0, took }));
    bench.handle(Input::Peer(PeerInput::FlowsTaken { address, taken: 539, refused: 1, took }));
    bench.handle(Input::Peer(PeerInput::FlowsFailed("no memory".to_owned())));
    let outputs = bench.take();
    let said: Vec<_> =
        peer_events(&outputs).iter().map(|event| (event.severity(), event.to_string())).collect();
    let sentences = [
        (Severity::Info, "540 connections to 10.0.0.9 go on here, known to the kernel after 4 ms"),
        (
            Severity::Warning,
            "539 connections to 10.0.0.9 go on here, known to the kernel after 4 ms; it refused 1",
        ),
        (Severity::Warning, "connections in the kernel may not survive the next takeover: no memory"),
    ];
    assert_eq!(said, sentences.map(|(severity, sentence)| (severity, sentence.to_owned())));
}

/// The group decides when its members are active, so the question only says that this one could take over.
#[test]
fn a_member_of_a_sync_group_replaces_a_dead_peer_as_fast() {
    let group = SyncGroup { name: "G".to_owned(), members: vec![RouterId(0)], notify: Notify::default() };
    let plan = Plan { routers: vec![secret(router(100))], groups: vec![group], ..Plan::default() };
    let mut bench = Bench::with_peers(plan, ON);
    bench.link(true);
    let mut bench = following(bench);
    gone(&mut bench);
    assert_eq!(bench.until_active(), Duration::from_nanos(16_093_750));
    assert_eq!(bench.deeds()[..3], ["advert 1", "advert 100", "install"]);
}

#[test]
fn an_answer_means_that_nothing_has_happened() {
    let mut bench = follower(router(100));
    gone(&mut bench);
    bench.pass(15 * MILLISECOND);
    bench.hear(HIGHER, 120);
    bench.pass(3 * SECOND);
    assert_eq!((bench.deeds(), bench.state().as_str()), (vec!["advert 1".to_owned()], "backup"));
    assert!(bench.until_active() < SECOND, "its adverts are waited for as ever");
}

#[test]
fn nothing_less_than_closed_and_refused_asks() {
    let silent = || LinkEnd::Other("nothing answers".to_owned());
    for (first, second) in [
        (LinkEnd::Closed, silent()),
        (LinkEnd::Closed, LinkEnd::KeyRefused),
        (silent(), LinkEnd::Refused),
        (LinkEnd::Refused, LinkEnd::Refused),
    ] {
        let mut bench = follower(router(100));
        end(&mut bench, first.clone());
        bench.pass(400 * MILLISECOND);
        end(&mut bench, second.clone());
        bench.pass(SECOND);
        assert!(!bench.deeds().contains(&"advert 1".to_owned()), "{first:?}, {second:?}");
    }
    let mut bench = follower(router(100));
    end(&mut bench, LinkEnd::Closed);
    bench.handle(Input::Peer(PeerInput::Opened { link: LINK }));
    bench.pass(100 * MILLISECOND);
    assert_eq!(bench.deeds(), [""; 0], "a reset by somebody else: the link comes back");
}

#[test]
fn only_the_router_that_is_followed_is_asked() {
    let mut bench = follower(router(100));
    bench.hear(LOWER, 254);
    assert_eq!(dials(&bench.take()), [LOWER]);
    gone(&mut bench);
    assert_eq!(bench.deeds(), [""; 0], "10.0.0.9 is not active any more");

    let mut bench = linked(router(200));
    bench.hear(HIGHER, 120);
    bench.handle(Input::Peer(PeerInput::Opened { link: LINK }));
    bench.until_active();
    bench.take();
    gone(&mut bench);
    assert!(!bench.deeds().contains(&"advert 1".to_owned()), "an active router follows nobody");
}

#[test]
fn one_that_let_go_is_not_asked() {
    let mut bench = follower(router(100));
    bench.hear(HIGHER, 0);
    gone(&mut bench);
    assert_eq!(bench.deeds(), [""; 0]);
    assert!(bench.until_active() < SECOND, "its priority 0 was enough");
}

#[test]
fn a_challenge_is_answered_at_once_and_taken_for_no_rival() {
    let mut bench = Bench::active(router(120));
    bench.hear(LOWER, 1);
    let done = bench.take();
    assert!(matches!(done.as_slice(), [Output::SendAdvert { .. }]), "{done:?}");
    bench.pass(SECOND);
    bench.take();
    bench.hear(LOWER, 1);
    let done = bench.take();
    assert!(
        matches!(events(&done)[..], [VrrpEvent::PeerAlsoActive { .. }]),
        "who says it at every interval means it: {done:?}"
    );
}

#[test]
fn a_backup_that_overhears_a_challenge_goes_on_following() {
    for preempt in [Preempt::Never, Preempt::After(Duration::ZERO)] {
        let mut bench = follower(Router { preempt, ..router(100) });
        bench.hear(LOWER, 1);
        gone(&mut bench);
        // LANs make copies.
        bench.hear(LOWER, 1);
        bench.pass(5 * MILLISECOND);
        bench.hear(LOWER, 1);
        assert!(bench.until_active() < 30 * MILLISECOND, "{preempt:?}: 10.0.0.9 is still the one it asks");
    }
}

#[test]
fn a_successor_of_the_lowest_priority_is_followed_when_it_says_so_again() {
    let mut bench = follower(Router { preempt: Preempt::Never, ..router(100) });
    for _ in 0..6 {
        bench.hear(LOWER, 1);
        bench.pass(SECOND);
    }
    assert_eq!((bench.deeds(), bench.state().as_str()), (Vec::new(), "backup"));
    assert!(bench.reason().contains("advertises priority 1"), "{}", bench.reason());
}

#[test]
fn one_that_let_go_may_be_succeeded_by_the_lowest_priority_at_once() {
    let mut bench = follower(Router { preempt: Preempt::Never, ..router(100) });
    bench.hear(HIGHER, 0);
    bench.hear(LOWER, 1);
    // Its own `Skew_Time` after the priority 0 is 0.6 s.
    bench.pass(3 * SECOND);
    assert_eq!(bench.state(), "backup");
}

#[test]
fn a_successor_that_is_heard_meanwhile_ends_a_challenge() {
    let mut bench = follower(router(100));
    gone(&mut bench);
    bench.hear(LOWER, 110);
    bench.pass(SECOND);
    assert_eq!(bench.state(), "backup");
}

#[test]
fn a_successor_announces_on_until_the_dead_ones_address_has_expired() {
    let mut bench = follower(router(100));
    gone(&mut bench);
    bench.until_active();
    bench.take();
    let announced = |bench: &mut Bench| bench.deeds().iter().filter(|deed| *deed == "announce").count();
    bench.pass(1_250 * MILLISECOND);
    assert_eq!(announced(&mut bench), 10, "every 125 ms");
    bench.pass(3 * SECOND);
    assert_eq!(announced(&mut bench), 0);
}

#[test]
fn without_a_secret_there_is_no_link_and_that_is_said() {
    let mut bench = Bench::with_peers(Plan { routers: vec![router(100)], ..Plan::default() }, ON);
    bench.link(true);
    bench.hear(HIGHER, 120);
    let done = bench.take();
    assert!(matches!(peer_events(&done)[..], [PeersEvent::NoPeerLink { .. }]), "{done:?}");
    assert!(!done.iter().any(|output| matches!(output, Output::Peer(_))), "{done:?}");
    let status = bench.engine.status(bench.now);
    assert!(status.without_peer_link[0].contains("neither `auth_pass` nor `auth_hmac`"), "{status:?}");
}

#[test]
fn links_can_be_left_out() {
    let plan = Plan { routers: vec![secret(router(100))], ..Plan::default() };
    let mut bench = Bench::with_peers(plan, PeerOptions::default());
    bench.link(true);
    bench.hear(HIGHER, 120);
    bench.pass(10 * SECOND);
    assert!(!bench.take().iter().any(|output| matches!(output, Output::Peer(_))));
}

#[test]
fn an_active_router_of_a_multicast_group_learns_its_backups_from_their_dials() {
    let mut bench = linked(router(120));
    bench.until_active();
    let done = bench.take();
    assert!(dials(&done).is_empty());
    let listens =
        done.iter().any(|output| matches!(output, Output::Peer(PeerOutput::Listen(at)) if at.len() == 1));
    assert!(listens, "{done:?}");
    let accepted = PeerInput::Accepted { peer: LOWER, local: OWN, router: RouterId(0) };
    bench.handle(Input::Peer(accepted));
    assert_eq!(dials(&bench.take()), [LOWER]);
}

#[test]
fn other_keys_are_named_with_what_mends_them_and_not_too_often() {
    let mut bench = follower(router(100));
    for _ in 0..10 {
        bench.handle(Input::Peer(PeerInput::Stranger { peer: LOWER }));
        end(&mut bench, LinkEnd::KeyRefused);
        bench.pass(2 * SECOND);
    }
    let done = bench.take();
    let named: Vec<_> = peer_events(&done)
        .into_iter()
        .filter(|event| matches!(event, PeersEvent::PeerKeyMismatch { .. }))
        .collect();
    assert_eq!(named.len(), 2, "{named:?}");
    assert!(named.iter().all(|event| event.to_string().contains("whole `auth_pass`")), "{named:?}");
}

#[test]
fn drift_is_said_when_it_begins_and_when_it_ends() {
    let mut bench = follower(router(100));
    let (own, _) = own_view(&mut bench);
    let mut said = Vec::new();
    for version in ["another", "another", own.version.as_str()] {
        let view = Box::new(View { version: version.to_owned(), ..own.clone() });
        bench.handle(Input::Peer(PeerInput::View { link: LINK, view, clock_ms: 0 }));
        said.push(peer_events(&bench.take()).len());
    }
    assert_eq!(said, [1, 0, 1]);
}

/// What the daemon tells its peers of itself.
fn own_view(bench: &mut Bench) -> (View, usize) {
    bench.pass(SECOND);
    let told: Vec<_> = bench
        .take()
        .into_iter()
        .filter_map(|output| match output {
            Output::Peer(PeerOutput::Tell(view)) => Some(view),
            _ => None,
        })
        .collect();
    (told.last().expect("a view each second").as_ref().clone(), told.len())
}

/// A server that is checked every two seconds.
fn server(number: u8) -> Server {
    let address = SocketAddr::from(([10, 0, 1, number], 6443));
    let check = Check { connect_timeout: SECOND, answer_timeout: SECOND, ..Check::new(address) };
    Server { check: Some(check), ..Server::new(format!("cp{number}"), address) }
}

/// A balancer of three servers that are checked.
struct Node {
    bench: Bench,
    /// Servers that this node can reach.
    up: [bool; 3],
    /// Servers that the peer says it reaches; `None` when it says nothing.
    peer: Option<Vec<&'static str>>,
}

impl Node {
    fn new(priority: u8, options: PeerOptions) -> Self {
        Self::of(Self::plan(priority, false), options)
    }

    /// Its plan; the kernel forwards, or there is no frontend.
    fn plan(priority: u8, nat: bool) -> Plan {
        let pool = Pool::new("k8s", (1..=3).map(server).collect());
        let endpoints = vec![SocketAddr::from(([10, 0, 0, 100], 6443))];
        let forwarding = Forwarding::Nat(Nat { endpoints, key: FlowKey::AddressAndPort });
        let frontend = Frontend { forwarding, ..Frontend::new("api", Vec::new(), PoolId(0)) };
        Plan {
            pools: vec![pool],
            frontends: nat.then_some(frontend).into_iter().collect(),
            routers: vec![secret(router(priority))],
            ..Plan::default()
        }
    }

    fn of(plan: Plan, options: PeerOptions) -> Self {
        let mut bench = Bench::with_peers(plan, options);
        bench.link(true);
        bench.handle(Input::Peer(PeerInput::Accepted { peer: HIGHER, local: OWN, router: RouterId(0) }));
        bench.handle(Input::Peer(PeerInput::Opened { link: LINK }));
        let mut node = Self { bench, up: [true; 3], peer: Some(vec!["k8s/cp1", "k8s/cp2", "k8s/cp3"]) };
        node.pass(5);
        node
    }

    /// Lets seconds pass, in which checks end and the peer tells of itself.
    fn pass(&mut self, seconds: u32) {
        for _ in 0..seconds * 10 {
            self.bench.pass(SECOND / 10);
            for output in self.bench.take() {
                let Output::StartCheck { server, attempt, .. } = output else { continue };
                let status = if self.up[usize::from(server.server.0)] {
                    CheckStatus::L4Ok
                } else {
                    CheckStatus::L4Con
                };
                let verdict = Verdict { status, code: None, detail: String::new(), took: MILLISECOND };
                self.bench.handle(Input::CheckFinished { server, attempt, verdict });
            }
            if let Some(reaches) = &self.peer {
                let reaches = reaches.iter().map(|name| (*name).to_owned()).collect();
                let view = Box::new(View { reaches, ..View::default() });
                self.bench.handle(Input::Peer(PeerInput::View { link: LINK, view, clock_ms: 0 }));
            }
        }
    }

    fn takes_part_with(&self) -> u8 {
        self.bench.engine.status(self.bench.now).routers[0].effective_priority
    }
}

#[test]
fn a_priority_follows_what_is_reached_beside_the_peers() {
    let mut node = Node::new(150, ON);
    assert_eq!(node.takes_part_with(), 150);
    node.up = [true, false, false];
    // Three checks to notice; a lack counts after three intervals with their time-outs and a margin: 11 s.
    node.pass(13);
    assert_eq!(node.takes_part_with(), 150);
    node.pass(10);
    assert_eq!(node.takes_part_with(), 50);
    node.up = [true; 3];
    node.pass(5);
    assert_eq!(node.takes_part_with(), 150);
}

#[test]
fn who_reaches_nothing_while_another_does_is_the_last_resort_sooner() {
    let mut node = Node::new(150, ON);
    node.up = [false; 3];
    // Three checks to notice, and one with its time-outs and a margin: 5 s.
    node.pass(5);
    assert_eq!(node.takes_part_with(), 150);
    node.pass(9);
    assert_eq!(node.takes_part_with(), 1);
    node.peer = None;
    node.pass(60);
    assert_eq!(node.takes_part_with(), 1, "it still reaches nothing, whatever became of the link");
}

#[test]
fn who_cannot_forward_reaches_nothing() {
    let mut node = Node::new(150, ON);
    node.bench.handle(Input::Forwarded(Err("nft refused".to_owned())));
    node.pass(14);
    assert_eq!(node.takes_part_with(), 150, "nothing of this plan is forwarded by the kernel");
    let mut node = Node::of(Node::plan(150, true), ON);
    node.bench.handle(Input::Forwarded(Err("nft refused".to_owned())));
    node.pass(14);
    assert_eq!(node.takes_part_with(), 1);
    node.bench.handle(Input::Forwarded(Ok(())));
    node.pass(5);
    assert_eq!(node.takes_part_with(), 150);
}

#[test]
fn when_servers_are_gone_for_all_nobody_moves() {
    let mut node = Node::new(150, ON);
    node.up = [false; 3];
    node.pass(7);
    // The peer noticed one interval later.
    node.peer = Some(Vec::new());
    node.pass(120);
    assert_eq!(node.takes_part_with(), 150);
}

#[test]
fn an_owner_and_whoever_asked_for_it_keep_their_priority() {
    for (priority, options) in [(255, ON), (150, PeerOptions { follow_health: false, ..ON })] {
        let mut node = Node::new(priority, options);
        node.up = [false; 3];
        node.pass(60);
        assert_eq!(node.takes_part_with(), priority);
    }
}

#[test]
fn unicast_peers_are_dialled_as_soon_as_there_is_an_address_to_dial_from() {
    let peers = vec![UnicastPeer { address: HIGHER, min_ttl: 0, max_ttl: 255 }];
    let delivery = Delivery::Unicast { peers, ttl: 255, only_peers: false };
    let plan = Plan { routers: vec![secret(Router { delivery, ..router(100) })], ..Plan::default() };
    let mut bench = Bench::with_peers(plan, ON);
    bench.pass(SECOND);
    assert!(dials(&bench.take()).is_empty());
    bench.link(true);
    assert_eq!(dials(&bench.take()), [HIGHER]);
}

fn any_end() -> impl Strategy<Value = LinkEnd> {
    prop_oneof![
        Just(LinkEnd::Closed),
        Just(LinkEnd::ClosedEarly),
        Just(LinkEnd::Refused),
        Just(LinkEnd::KeyRefused),
        Just(LinkEnd::Other("it".to_owned())),
    ]
}

fn any_input() -> impl Strategy<Value = PeerInput> {
    let link = || (0..4u64).prop_map(LinkId);
    let peer = || (0..40u8).prop_map(|last| IpAddr::from(Ipv4Addr::new(10, 0, 0, last)));
    prop_oneof![
        link().prop_map(|link| PeerInput::Opened { link }),
        (link(), any_end()).prop_map(|(link, end)| PeerInput::Ended { link, end }),
        (peer(), any::<u16>()).prop_map(|(peer, router)| PeerInput::Accepted {
            peer,
            local: OWN,
            router: RouterId(router % 3),
        }),
        (link(), any::<u64>(), any::<u64>(), ".{0,20}").prop_map(|(link, theirs, clock_ms, text)| {
            let reaches = vec![text.clone()];
            PeerInput::View {
                link,
                view: Box::new(View { clock_ms: theirs, reaches, host: text, ..View::default() }),
                clock_ms,
            }
        }),
        peer().prop_map(|peer| PeerInput::Stranger { peer }),
        peer().prop_map(|address| PeerInput::NotListening { address, reason: "busy".to_owned() }),
    ]
}

proptest! {
    /// Debug builds check a router's invariants after every input.
    #[test]
    fn no_order_of_news_breaks_anything(
        steps in prop::collection::vec((any_input(), 0..3000u64, prop::option::of((0..40u8, 0..=255u8))), 1..60),
    ) {
        let mut bench = linked(router(100));
        for (input, millis, advert) in steps {
            bench.handle(Input::Peer(input));
            bench.pass(Duration::from_millis(millis));
            if let Some((last, priority)) = advert {
                bench.hear(IpAddr::from(Ipv4Addr::new(10, 0, 0, last)), priority);
            }
        }
        let status = bench.engine.status(bench.now);
        prop_assert!(status.peers.len() <= 32, "learned links are bounded");
    }
}

#[test]
fn an_interface_that_loses_its_address_dials_nobody() {
    let mut bench = linked(router(100));
    bench.hear(HIGHER, 120);
    bench.take();
    bench.handle(Input::Interface {
        name: "eth0",
        state: Some(InterfaceState { running: false, addresses: Vec::new() }),
    });
    end(&mut bench, LinkEnd::Refused);
    bench.pass(60 * SECOND);
    assert!(dials(&bench.take()).is_empty());
}
