//! What a client sends first is a PROXY header within its bounds, part of one, or refused.

use mainstay_engine::plan::{ProxyHeader, ProxyVersion};
use mainstay_engine::proxy_protocol::{HEADER_BYTES, decode, encode};

/// Reads `bytes` as the start of a connection.
///
/// # Panics
/// If a header is longer than what was read or than it may be, if it is read early or late, or if what it said is not
/// understood again when it is passed on.
pub fn proxy_header(bytes: &[u8]) {
    let Ok(Some(header)) = decode(bytes) else { return };
    assert!(header.length <= bytes.len() && header.length <= HEADER_BYTES, "{header:?}");
    let (whole, _) = bytes.split_at(header.length);
    assert_eq!(decode(whole), Ok(Some(header.clone())), "what follows a header does not matter");
    let cut = whole.split_last().map_or(whole, |(_, cut)| cut);
    assert_eq!(decode(cut), Ok(None), "a header without its last byte is not whole");
    let form = ProxyHeader { checksum: true, authority: true, ..ProxyHeader::new(ProxyVersion::V2) };
    let again = decode(&encode(&form, header.endpoints, header.authority.as_deref()));
    let again = again.expect("what we send is a header").expect("and whole");
    assert_eq!(again.endpoints, header.endpoints);
    assert!(header.endpoints.is_none() || again.authority == header.authority);
}
