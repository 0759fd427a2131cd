//! One virtual router, clause by clause: RFC 9568 and, for version 2, RFC 3768, and where Keepalived or mainstay differ.

mod bench;
mod conflicts;
mod delivery;
mod groups;
mod mismatches;
mod moves;
mod peer_link;
mod rfc;
mod rfc_ipv6;
mod rfc_version_2;
mod rfc_wire;
mod routing;
mod tuning;
mod virtual_mac;
