//! How an instance authenticates its adverts, and its `authentication` block.
//!
//! No message here may hold a password, nor a span of one.

use std::sync::Arc;

use super::fields::Fields;
use super::hmac::lower_hmac;
use crate::config::Surroundings;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::plan::{Authentication, Version};
use crate::time::Centis;

/// How an instance authenticates its adverts.
pub(super) fn lower_authentication(
    instance: &Fields<'_>,
    version: Version,
    advert_interval: Centis,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Authentication {
    let Some(hmac) = instance.last("auth_hmac") else {
        return lower_password(instance, version, diagnostics);
    };
    if let Some(password) = instance.last("authentication") {
        diagnostics.push(
            Diagnostic::warning(
                codes::TWO_AUTHENTICATIONS,
                password.keyword.span,
                "`auth_hmac` undoes `authentication`: adverts carry no password",
            )
            .label("has no effect, as in Keepalived")
            .related(hmac.keyword.span, "what counts")
            .hint("remove this block"),
        );
    }
    let hmac = lower_hmac(hmac, instance, advert_interval, surroundings, diagnostics);
    hmac.map_or(Authentication::None, |hmac| Authentication::Hmac(Arc::new(hmac)))
}

fn lower_password(
    instance: &Fields<'_>,
    version: Version,
    diagnostics: &mut Vec<Diagnostic>,
) -> Authentication {
    let Some(block) = instance.last("authentication") else { return Authentication::None };
    let fields = Fields::read(Place::Authentication, instance.inside("authentication"), diagnostics);
    let kind = fields.word("auth_type").map(|word| word.text.as_str());
    let known_kind = check_kind(block, &fields, diagnostics);
    let Some(password) = fields.last("auth_pass") else {
        if known_kind && !fields.has("auth_pass") && kind.is_some() {
            super::missing(
                block,
                "this `authentication` block has no password".to_owned(),
                "add an `auth_pass` line, the same on every balancer",
                diagnostics,
            );
        }
        return Authentication::None;
    };
    if version == Version::V3 {
        diagnostics.push(
            Diagnostic::warning(
                codes::USELESS_PASSWORD,
                block.keyword.span,
                "VRRP version 3 has no passwords: adverts are not authenticated",
            )
            .label("keys the link of mainstay balancers to each other and nothing else"),
        );
        return Authentication::None;
    }
    password_bytes(password, diagnostics).map_or(Authentication::None, Authentication::Password)
}

/// Reports a type other than PASS; whether the type is PASS or, with a password there, left out.
fn check_kind(block: &Statement, fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Some(word) = fields.word("auth_type") else {
        if !fields.has("auth_type") {
            super::missing(
                block,
                "this `authentication` block has no type, and Keepalived would not authenticate".to_owned(),
                "add the line `auth_type PASS`",
                diagnostics,
            );
        }
        return false;
    };
    let diagnostic = match word.text.as_str() {
        "PASS" => return true,
        "AH" => Diagnostic::error(
            codes::REFUSED,
            word.span,
            "IPsec AH is not supported, and adverts without it would be ignored by the peers: two active balancers",
        )
        .hint("use `auth_type PASS` on every balancer"),
        "PASS;" => Diagnostic::error(codes::BAD_VALUE, word.span, "unknown authentication type `PASS;`")
            .label("Keepalived would not authenticate")
            .hint("lines do not end with `;` here: write `auth_type PASS`"),
        // It might be the password.
        _ => Diagnostic::error(codes::BAD_VALUE, word.span, "unknown authentication type")
            .label("neither PASS nor AH")
            .hint("write `auth_type PASS`"),
    };
    diagnostics.push(diagnostic);
    false
}

/// The password as it goes on the wire.
fn password_bytes(statement: &Statement, diagnostics: &mut Vec<Diagnostic>) -> Option<[u8; 8]> {
    let value = statement.values.first()?;
    let keyword = statement.keyword.span;
    if value.cut {
        diagnostics.push(
            Diagnostic::warning(
                codes::CUT_PASSWORD,
                keyword,
                "a `#` or `!` ends this password: what follows is a comment, as in Keepalived",
            )
            .hint("if it belongs to the password, put the password in double quotes on every balancer"),
        );
    }
    let text = value.text.as_bytes();
    if text.len() > PASSWORD_BYTES {
        diagnostics.push(
            Diagnostic::warning(
                codes::LONG_PASSWORD,
                keyword,
                format!(
                    "adverts carry only the first {PASSWORD_BYTES} bytes of this password, as in Keepalived"
                ),
            )
            .label("longer than that")
            .hint(
                "all of it keys the link of mainstay balancers to each other, so it has to be equal on both",
            ),
        );
    }
    let mut bytes = [0; PASSWORD_BYTES];
    for (byte, given) in bytes.iter_mut().zip(text) {
        *byte = *given;
    }
    Some(bytes)
}

/// The length of the authentication data (RFC 2338 §5.3.10).
const PASSWORD_BYTES: usize = 8;
