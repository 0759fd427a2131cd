//! What every algorithm keeps and what each of them promises, from one thread and from many.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mainstay_engine::balance::hash_map::hash_map;
use mainstay_engine::balance::ring::Ring;
use mainstay_engine::balance::rotation::rotation;
use mainstay_engine::balance::{Pick, pick};
use mainstay_engine::plan::{Algorithm, HashFunction, HashType, NoServer, PoolId, ServerIndex};
use mainstay_engine::serving::{PoolView, ServerView, WEIGHT_SCALE};
use proptest::prelude::*;

const HASH: HashType =
    HashType { consistent: false, avalanche: false, function: HashFunction::Sdbm, balance_factor: None };
const BOUNDED: Algorithm = Algorithm::Source(HashType {
    consistent: true,
    avalanche: true,
    balance_factor: NonZeroU32::new(125),
    ..HASH
});
const MAP: Algorithm = Algorithm::Source(HASH);
const RING: Algorithm = Algorithm::Source(HashType { consistent: true, avalanche: true, ..HASH });

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RoundRobin,
    Algorithm::StaticRr,
    Algorithm::LeastConn,
    MAP,
    RING,
    BOUNDED,
    Algorithm::Hash(HASH),
    Algorithm::First,
    Algorithm::Random { draws: 2 },
];

/// Whether a client waits for one server rather than go to another.
const fn waits(algorithm: Algorithm) -> bool {
    matches!(algorithm, Algorithm::Source(_) | Algorithm::Hash(_))
}

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A server for a test: weight (0 is not selectable) and maxconn.
type Shape = (u16, Option<u32>);

fn new_pool(algorithm: Algorithm, shapes: &[Shape]) -> PoolView {
    let weights: Vec<u16> = shapes.iter().map(|&(weight, _)| weight).collect();
    let server = |&(weight, maxconn): &Shape| ServerView {
        dial: None,
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, 6443)),
        selectable: weight > 0,
        in_service: true,
        usable: true,
        weight: weight * WEIGHT_SCALE,
        full_weight: weight,
        maxconn,
        minconn: None,
        maxqueue: None,
        load: Arc::default(),
    };
    PoolView {
        id: PoolId(0),
        algorithm,
        servers: shapes.iter().map(server).collect(),
        ring: Arc::new(Ring::new(&weights)),
        rotation: if algorithm == Algorithm::RoundRobin { rotation(&weights) } else { hash_map(&weights, 1) },
        fullconn: 0,
        no_server: NoServer::Refuse,
        load: Arc::default(),
    }
}

fn sessions(pool: &PoolView) -> Vec<u32> {
    pool.servers.iter().map(|server| server.load.sessions()).collect()
}

/// The servers of `count` connections that stay, by number.
fn picks(pool: &PoolView, count: usize) -> Vec<u16> {
    let server = |_| match pick(pool, CLIENT.into(), None) {
        Pick::Server(ServerIndex(index)) => index,
        other => panic!("{other:?}"),
    };
    (0..count).map(server).collect()
}

#[test]
fn round_robin_is_a_strict_rotation() {
    let pool = new_pool(Algorithm::RoundRobin, &[(100, None); 3]);
    assert_eq!(picks(&pool, 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn threads_share_one_rotation() {
    let pool = new_pool(Algorithm::RoundRobin, &[(2, None), (1, None), (1, None)]);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| picks(&pool, 10_000));
        }
    });
    assert_eq!(sessions(&pool), [20_000, 10_000, 10_000]);
}

#[test]
fn a_full_server_loses_its_turns_to_all_others_alike() {
    let pool = new_pool(Algorithm::RoundRobin, &[(1, Some(1)), (1, None), (1, None)]);
    assert_eq!(picks(&pool, 7), [0, 1, 2, 1, 2, 1, 2]);
}

#[test]
fn the_fewest_connections_for_the_weight_win_and_equals_take_turns() {
    let pool = new_pool(Algorithm::LeastConn, &[(1, None), (1, None), (2, None)]);
    for (server, count) in pool.servers.iter().zip([3, 1, 3]) {
        (0..count).for_each(|_| assert!(server.load.acquire(None)));
    }
    // (3+1)/1, (1+1)/1 and (3+1)/2: the second and the third are level.
    let first_two = picks(&pool, 2);
    assert!(first_two == [1, 2] || first_two == [2, 1], "{first_two:?}");
    picks(&pool, 391);
    assert_eq!(sessions(&pool), [100, 100, 200]);

    let idle = new_pool(Algorithm::LeastConn, &[(1, None); 3]);
    let turns: Vec<_> = (0..6)
        .flat_map(|_| {
            let server = picks(&idle, 1);
            idle.servers[usize::from(server[0])].load.release();
            server
        })
        .collect();
    assert_eq!(turns, [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_limit_grows_from_minconn_to_maxconn_as_the_pool_fills() {
    let mut pool = new_pool(Algorithm::RoundRobin, &[(1, Some(10))]);
    pool.servers[0].minconn = Some(2);
    pool.fullconn = 100;
    let limit = |sessions| {
        pool.load.sessions.store(sessions, Ordering::Relaxed);
        pool.limit(&pool.servers[0])
    };
    let limits = [0, 20, 29, 30, 55, 99, 100, 1_000].map(limit);
    assert_eq!(limits, [2, 2, 2, 3, 5, 9, 10, 10].map(Some));
}

#[test]
fn a_client_keeps_its_server_and_waits_for_it() {
    let pool = new_pool(MAP, &[(1, Some(1)); 3]);
    let clients: Vec<IpAddr> = (0..3).map(|host| IpAddr::from([192, 0, 2, host])).collect();
    let homes: Vec<Pick> = clients.iter().map(|&client| pick(&pool, client.into(), None)).collect();
    assert_eq!(sessions(&pool), [1, 1, 1], "neighbours spread evenly");
    let waits: Vec<Pick> = clients.iter().map(|&client| pick(&pool, client.into(), None)).collect();
    let home = |pick: &Pick| if let Pick::Server(server) = pick { Pick::Wait(*server) } else { *pick };
    assert_eq!(waits, homes.iter().map(home).collect::<Vec<_>>(), "each for its own");
    pool.servers.iter().for_each(|server| server.load.release());
    let again: Vec<Pick> = clients.iter().map(|&client| pick(&pool, client.into(), None)).collect();
    assert_eq!(again, homes);
}

#[test]
fn first_fills_one_server_after_the_other() {
    let pool = new_pool(Algorithm::First, &[(0, None), (1, Some(2)), (1, Some(1)), (9, None)]);
    assert_eq!(picks(&pool, 5), [1, 1, 2, 3, 3]);
}

#[test]
fn the_server_that_failed_is_the_last_resort() {
    for algorithm in ALGORITHMS {
        let two = new_pool(algorithm, &[(1, None), (1, Some(1)), (0, None)]);
        for _ in 0..3 {
            assert_eq!(
                pick(&two, CLIENT.into(), Some(ServerIndex(1))),
                Pick::Server(ServerIndex(0)),
                "{algorithm:?}"
            );
        }
        assert_eq!(
            pick(&two, CLIENT.into(), Some(ServerIndex(0))),
            Pick::Server(ServerIndex(1)),
            "{algorithm:?}"
        );
        // The other one is full now: waiting for it is better than what has just failed.
        let waits = match algorithm {
            algorithm if waits(algorithm) => Pick::Wait(ServerIndex(1)),
            _ => Pick::Full,
        };
        assert_eq!(pick(&two, CLIENT.into(), Some(ServerIndex(0))), waits, "{algorithm:?}");

        let one = new_pool(algorithm, &[(0, None), (1, None)]);
        assert_eq!(
            pick(&one, CLIENT.into(), Some(ServerIndex(1))),
            Pick::Server(ServerIndex(1)),
            "{algorithm:?}"
        );
        let none = new_pool(algorithm, &[(0, None)]);
        assert_eq!(pick(&none, CLIENT.into(), None), Pick::None, "{algorithm:?}");
        assert_eq!(pick(&new_pool(algorithm, &[]), CLIENT.into(), None), Pick::None, "{algorithm:?}");
    }
}

#[test]
fn a_view_that_contradicts_itself_makes_no_panic() {
    for algorithm in ALGORITHMS {
        let mut view = new_pool(algorithm, &[(1, None), (1, None)]);
        view.rotation = Arc::from([9, 1]);
        assert!(matches!(pick(&view, CLIENT.into(), None), Pick::Server(_)), "{algorithm:?}");
        view.rotation = Arc::from([]);
        view.ring = Arc::default();
        assert_ne!(pick(&view, CLIENT.into(), None), Pick::None, "{algorithm:?}");
    }
}

#[test]
fn slots_hold_under_contention() {
    for algorithm in ALGORITHMS {
        let pool = new_pool(algorithm, &[(1, Some(3)), (3, Some(2)), (0, None), (2, Some(4))]);
        std::thread::scope(|scope| {
            for host in 0..4 {
                let pool = &pool;
                scope.spawn(move || come_and_go(pool, IpAddr::from([10, 0, 0, host])));
            }
        });
        assert_eq!(sessions(&pool), [0; 4], "{algorithm:?}");
        for (server, limit) in pool.servers.iter().zip([3, 2, 0, 4]) {
            let most = server.load.sessions_max.load(std::sync::atomic::Ordering::Relaxed);
            assert!(most <= limit, "{algorithm:?}: {most} of {limit}");
        }
    }
}

/// Takes up to four slots at a time and gives them back.
fn come_and_go(pool: &PoolView, client: IpAddr) {
    for _ in 0..1_000 {
        let taken: Vec<_> = (0..4).map(|_| pick(pool, client.into(), None)).collect();
        for taken in taken {
            if let Pick::Server(index) = taken {
                pool.servers[usize::from(index.0)].load.release();
            }
        }
    }
}

fn shapes() -> impl Strategy<Value = Vec<Shape>> {
    let server = (prop_oneof![Just(0_u16), 1_u16..=256], prop::option::of(1_u32..4));
    prop::collection::vec(server, 0..8)
}

proptest! {
    #[test]
    fn a_pick_is_selectable_and_has_a_slot(
        algorithm in prop::sample::select(&ALGORITHMS[..]),
        shapes in shapes(),
        clients in prop::collection::vec((any::<u32>(), prop::option::of(0_u16..8)), 1..40),
    ) {
        let pool = new_pool(algorithm, &shapes);
        let mut expected = vec![0_u32; shapes.len()];
        for (address, avoid) in clients {
            let avoid = avoid.map(ServerIndex);
            let others = (0..).zip(&shapes).any(|(index, &(weight, _))| {
                weight > 0 && Some(ServerIndex(index)) != avoid
            });
            let candidate = |index: u16| {
                shapes[usize::from(index)].0 > 0 && (!others || Some(ServerIndex(index)) != avoid)
            };
            let free = |index: u16| {
                shapes[usize::from(index)].1.is_none_or(|limit| expected[usize::from(index)] < limit)
            };
            match pick(&pool, IpAddr::from(address.to_be_bytes()).into(), avoid) {
                Pick::Server(ServerIndex(index)) => {
                    prop_assert!(candidate(index) && free(index));
                    expected[usize::from(index)] += 1;
                }
                Pick::None => prop_assert!(shapes.iter().all(|&(weight, _)| weight == 0)),
                Pick::Wait(ServerIndex(index)) => {
                    prop_assert!(waits(algorithm));
                    prop_assert!(candidate(index) && !free(index));
                }
                Pick::Full => {
                    prop_assert!(!waits(algorithm));
                    let mut candidates = (0..).take(shapes.len()).filter(|&index| candidate(index));
                    prop_assert!(candidates.all(|index| !free(index)));
                }
            }
        }
        prop_assert_eq!(sessions(&pool), expected);
    }

    #[test]
    fn round_robin_shares_are_exact_over_one_rotation(weights in prop::collection::vec(0_u16..=256, 1..8)) {
        prop_assume!(weights.iter().any(|&weight| weight > 0));
        let shapes: Vec<Shape> = weights.iter().map(|&weight| (weight, None)).collect();
        let pool = new_pool(Algorithm::RoundRobin, &shapes);
        let turns = u32::try_from(pool.rotation.len()).unwrap();
        picks(&pool, pool.rotation.len());
        let total: u32 = weights.iter().map(|&weight| u32::from(weight)).sum();
        for (had, &weight) in sessions(&pool).into_iter().zip(&weights) {
            prop_assert_eq!(had * total, u32::from(weight) * turns);
        }
    }
}

#[test]
fn no_server_takes_much_more_than_its_share_and_an_idle_pool_bounds_nobody() {
    let shapes = [(WEIGHT, None), (2 * WEIGHT, None), (WEIGHT, None)];
    let pool = new_pool(BOUNDED, &shapes);
    let clients: Vec<IpAddr> = (0..4_000_u32).map(|client| IpAddr::from(client.to_be_bytes())).collect();
    for (number, &client) in (1_u32..).zip(&clients) {
        assert!(matches!(pick(&pool, client.into(), None), Pick::Server(_)));
        for (sessions, (weight, _)) in sessions(&pool).into_iter().zip(shapes) {
            // 125 % of a quarter or a half, and what rounding up adds.
            let share = f64::from(number) * 1.25 * f64::from(weight) / f64::from(4 * WEIGHT);
            assert!(f64::from(sessions) <= share + 2.0, "{sessions} of {share} after {number}");
        }
    }
    let (idle, unbounded) = (new_pool(BOUNDED, &shapes), new_pool(RING, &shapes));
    for client in clients {
        let [Pick::Server(bounded), Pick::Server(home)] =
            [&idle, &unbounded].map(|pool| pick(pool, client.into(), None))
        else {
            panic!("nobody is full");
        };
        assert_eq!(bounded, home);
        idle.servers[usize::from(bounded.0)].load.release();
    }
}

/// One of the weights that servers have.
const WEIGHT: u16 = 10;
