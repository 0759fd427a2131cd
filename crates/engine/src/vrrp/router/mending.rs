//! How an operator mends what makes a router refuse another one, in the words of keepalived.conf.
//!
//! Owns these hints: one for each mismatch, each continuing "to mend it, ".

use super::receive::Mismatch;
use crate::vrrp::hmac::Refusal;
use crate::vrrp::packet::Malformed;

/// Who understands no hint but this has to look at the wire.
const LOOK: &str = "find out what sends it: `tcpdump -nvv 'ip proto 112'` shows all of it";

/// For a well-formed advert.
pub(super) fn of_mismatch(mismatch: &Mismatch) -> &'static str {
    match mismatch {
        Mismatch::Ttl { on_lan: true, .. } => {
            "put both routers on one LAN, without anything between them that routes or rewrites adverts"
        }
        Mismatch::Ttl { on_lan: false, .. } => {
            "set `min_ttl` and `max_ttl` of that `unicast_peer` to its distance, or `unicast_ttl` there"
        }
        Mismatch::Version { .. } => "write the same `vrrp_version` (in an instance: `version`) on both sides",
        Mismatch::AuthenticationType { .. } => "write the same `authentication` block on both sides, or none",
        Mismatch::Password => "write the same `auth_pass` on both sides; only its first 8 characters count",
        Mismatch::Unsigned => {
            "give it the same `auth_hmac` block, or write `mode permissive` here until every balancer has one"
        }
        Mismatch::Signed { .. } => {
            "give this balancer the same `auth_hmac` block, or write `mode receive-only` there until it has one"
        }
        Mismatch::Hmac(Refusal::Stale { .. }) => "set the clocks of both balancers by NTP",
        Mismatch::Hmac(Refusal::UnknownKey { .. }) => {
            "write all keys in the `auth_hmac` blocks of both sides before one of them becomes the `active_key`"
        }
        Mismatch::Hmac(Refusal::Bad { .. }) => {
            "write the same key under that number in the `auth_hmac` blocks of both sides"
        }
        Mismatch::Hmac(Refusal::Replay) => {
            "look for who repeats adverts on this LAN (a loop between switches, or an attacker)"
        }
        Mismatch::Interval { .. } => "write the same `advert_int` on both sides",
        Mismatch::AddressList { .. } => "write the same `virtual_ipaddress` block on both sides",
        Mismatch::VridTaken(_) => {
            "choose another `virtual_router_id` if it is of another group, or write the same `virtual_ipaddress` block \
             on both sides if it is not"
        }
        Mismatch::Stranger => {
            "add it to `unicast_peer` if it is of this group, or choose another `virtual_router_id` if it is not"
        }
        Mismatch::Destination(destination) if destination.is_multicast() => {
            "write `unicast_peer` on both sides, or on none: it is missing there"
        }
        Mismatch::Destination(_) => "write `unicast_peer` on both sides, or on none: it is missing here",
    }
}

/// For a datagram that could not be read.
pub(super) const fn of_malformed(malformed: Malformed) -> &'static str {
    match malformed {
        Malformed::Carp { .. } => "choose another `virtual_router_id` here, or another vhid there",
        Malformed::Checksum => {
            "look for what damages frames on the way; if it is always so, that router computes the checksum in a way of \
             its own: let it use that of RFC 9568 or RFC 5798"
        }
        Malformed::AuthenticationType(_) => {
            "let it use `auth_type PASS` or no `authentication` block, and the same here"
        }
        Malformed::Interval => "give it an `advert_int` that is not 0",
        Malformed::Version(_) => "let it use VRRP version 2 or 3, and the same `vrrp_version` here",
        Malformed::Ipv6Version2 => "write `vrrp_version 3` there: version 2 does not exist over IPv6",
        Malformed::NoAddress => "give it the same `virtual_ipaddress` block as here",
        _ => LOOK,
    }
}

/// Whether whoever sends such datagrams serves the addresses of this virtual router, as far as can be known.
pub(super) const fn is_of_a_router(malformed: Malformed) -> bool {
    matches!(malformed, Malformed::Checksum | Malformed::AuthenticationType(_))
}
