//! Whom a router hears and in which form it answers, where Keepalived's settings go beyond the RFCs.

use mainstay_engine::Output;
use mainstay_engine::plan::{Delivery, Router, UnicastPeer};
use mainstay_engine::vrrp::packet::{Advert, ChecksumForm, Form, decode};

use crate::bench::{Bench, HIGHER, LOWER, OWN, SECOND, fast, router};

/// A version 3 router that expects adverts of `peers` alone, or of anybody.
fn unicast(peers: Vec<UnicastPeer>, only_peers: bool) -> Router {
    Router { delivery: Delivery::Unicast { peers, ttl: 64, only_peers }, ..fast(100) }
}

/// What a stronger router sends to this one alone.
fn to_us(ttl: u8) -> Advert {
    Advert { destination: OWN, ttl, ..Bench::new(fast(100)).advert(LOWER, 200) }
}

fn refusals(bench: &Bench) -> Vec<String> {
    let status = bench.engine.status(bench.now);
    status.routers[0].refused.iter().map(|refused| refused.reason.clone()).collect()
}

fn sent(bench: &mut Bench) -> Vec<Advert> {
    let sent = bench.take().into_iter().filter_map(|output| match output {
        Output::SendAdvert { datagram, .. } => Some(decode(&datagram).expect("own adverts are sound")),
        _ => None,
    });
    sent.collect()
}

#[test]
fn keepalived_min_ttl_and_max_ttl_bound_the_distance_of_a_peer() {
    let peer = UnicastPeer { address: LOWER, min_ttl: 60, max_ttl: 64 };
    for (ttl, heard) in [(59, false), (60, true), (64, true), (65, false)] {
        let mut bench = Bench::new(unicast(vec![peer], true));
        bench.hear_this(&to_us(ttl));
        let expected: &[&str] = if heard { &[] } else { &["ttl"] };
        assert_eq!(refusals(&bench), expected, "TTL {ttl}");
    }
}

#[test]
fn keepalived_unicast_takes_any_ttl_where_none_is_configured() {
    let mut bench = Bench::new(unicast(vec![UnicastPeer { address: LOWER, min_ttl: 0, max_ttl: 255 }], true));
    bench.hear_this(&to_us(1));
    assert_eq!(refusals(&bench), [""; 0]);
}

#[test]
fn keepalived_check_unicast_src_refuses_everybody_but_the_peers() {
    for (only_peers, expected) in [(true, vec!["stranger"]), (false, vec![])] {
        let peers = vec![UnicastPeer { address: HIGHER, min_ttl: 0, max_ttl: 255 }];
        let mut bench = Bench::new(unicast(peers, only_peers));
        bench.hear_this(&to_us(255));
        assert_eq!(refusals(&bench), expected);
    }
}

#[test]
fn keepalived_skip_check_adv_addr_trusts_further_adverts_of_the_active_router() {
    let mut bench = Bench::new(Router { trusts_active_router: true, ..router(100) });
    let mut changed = bench.advert(LOWER, 200);
    changed.addresses.clear();
    changed.addresses.push(HIGHER);
    bench.hear_this(&changed);
    assert_eq!(refusals(&bench), ["vrid_taken"], "the first one is looked at");
    bench.hear(LOWER, 200);
    bench.hear_this(&changed);
    bench.hear_this(&Advert { source: HIGHER, ..changed });
    let status = bench.engine.status(bench.now);
    assert_eq!(status.routers[0].refused[0].count, 2, "of the follower's two, only the stranger's");
    assert_eq!(status.routers[0].adverts_received, 2);
}

#[test]
fn keepalived_down_timer_adverts_is_how_many_a_backup_misses() {
    let mut bench = Bench::new(Router { missed_adverts: 7, ..router(100) });
    bench.hear(LOWER, 200);
    assert_eq!(bench.until_active(), 7 * SECOND + SECOND * 156 / 256);
}

/// Keepalived with `v3_checksum_as_v2` drops what has a pseudo-header, and its older releases what has none.
#[test]
fn version_3_checksums_are_sent_in_the_form_that_the_group_was_heard_to_send() {
    let forms = [ChecksumForm::PseudoHeader, ChecksumForm::GroupPseudoHeader, ChecksumForm::MessageOnly];
    for heard in forms {
        let mut bench =
            Bench::new(unicast(vec![UnicastPeer { address: LOWER, min_ttl: 0, max_ttl: 255 }], false));
        bench.hear_this(&Advert { form: Form::V3 { checksum: heard }, ..to_us(255) });
        bench.until_active();
        let sent = sent(&mut bench);
        assert!(!sent.is_empty());
        for advert in sent {
            assert_eq!(advert.form, Form::V3 { checksum: heard });
        }
    }
}

#[test]
fn a_configured_checksum_form_is_kept_whatever_is_heard() {
    let mut bench = Bench::new(Router { checksum: Some(ChecksumForm::MessageOnly), ..fast(100) });
    bench.hear(LOWER, 200);
    bench.until_active();
    for advert in sent(&mut bench) {
        assert_eq!(advert.form, Form::V3 { checksum: ChecksumForm::MessageOnly });
    }
}
