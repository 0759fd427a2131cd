//! What keys the peer link of an instance's balancers.

use super::fields::Fields;
use crate::config::keepalived::keywords::Place;
use crate::plan::{Authentication, LinkSecret};

/// The key that signs adverts, or the whole password as it is written, whatever becomes of it on the wire: adverts carry
/// eight bytes of it in version 2 and nothing in version 3.
pub(super) fn link_secret(instance: &Fields<'_>, authentication: &Authentication) -> Option<LinkSecret> {
    if let Authentication::Hmac(hmac) = authentication {
        return LinkSecret::new(hmac.active.bytes().to_vec());
    }
    // What is wrong with the block is said where adverts' authentication is read.
    let fields = Fields::read(Place::Authentication, instance.inside("authentication"), &mut Vec::new());
    let password = fields.last("auth_pass")?.values.first()?;
    LinkSecret::new(password.text.clone().into_bytes())
}
