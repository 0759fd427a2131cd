//! The `auth_hmac` block of an instance.
//!
//! No message here may hold a key, nor a value that might be one in the wrong place.

use std::time::Duration;

use zeroize::Zeroizing;

use super::fields::Fields;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::config::{KeyFile, Surroundings};
use crate::plan::hmac::{AntiReplay, AuthHmac, HmacMode, Key, KeyId};
use crate::time::Centis;

/// How an instance signs its adverts; `None` if its block has mistakes, which were reported.
pub(super) fn lower_hmac(
    block: &Statement,
    instance: &Fields<'_>,
    advert_interval: Centis,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<AuthHmac> {
    let fields = Fields::read(Place::AuthHmac, instance.inside("auth_hmac"), diagnostics);
    let (anti_replay, mode) =
        (anti_replay(&fields, advert_interval, diagnostics), mode(&fields, diagnostics));
    let keys = keys(block, &fields, surroundings, diagnostics);
    let active = active_key(block, &fields, diagnostics)?;
    let (mut active, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.id() == active);
    Some(AuthHmac { active: active.pop()?, others, anti_replay: anti_replay?, mode: mode? })
}

fn anti_replay(
    fields: &Fields<'_>,
    advert_interval: Centis,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<AntiReplay> {
    let window = fields.last("time_window");
    match fields.word("anti_replay").map(|word| (word.text.as_str(), word.span)) {
        None | Some(("time", _)) => {
            let given = fields.integer("time_window").map(Duration::from_secs);
            Some(AntiReplay::Time { window: given.unwrap_or_else(|| default_window(advert_interval)) })
        }
        Some(("monotonic", _)) => {
            diagnostics.extend(window.map(|window| {
                Diagnostic::note(
                    codes::NO_EFFECT,
                    window.keyword.span,
                    "`time_window` has no effect: with `anti_replay monotonic`, clocks are not compared",
                )
            }));
            Some(AntiReplay::Monotonic)
        }
        Some((_, span)) => {
            diagnostics.push(Diagnostic::error(
                codes::BAD_VALUE,
                span,
                "`anti_replay` takes time or monotonic",
            ));
            None
        }
    }
}

/// Long enough that a missed advert is not taken for a wrong clock, in the range of `time_window`.
fn default_window(advert_interval: Centis) -> Duration {
    let seconds = (u64::from(advert_interval.count()) * 3).div_ceil(100);
    Duration::from_secs(seconds.clamp(5, 300))
}

fn mode(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<HmacMode> {
    let Some(word) = fields.word("mode") else { return Some(HmacMode::Enforce) };
    match word.text.as_str() {
        "enforce" => Some(HmacMode::Enforce),
        "permissive" => Some(HmacMode::Permissive),
        "receive-only" => Some(HmacMode::ReceiveOnly),
        _ => {
            let message = "`mode` takes enforce, permissive or receive-only";
            diagnostics.push(Diagnostic::error(codes::BAD_VALUE, word.span, message));
            None
        }
    }
}

/// The number of the key that signs, if a `key` line has it.
fn active_key(block: &Statement, fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<KeyId> {
    let Some(word) = fields.word("active_key") else {
        if !fields.has("active_key") {
            super::missing(
                block,
                "this `auth_hmac` block does not say which key signs".to_owned(),
                "add a line such as `active_key 1`",
                diagnostics,
            );
        }
        return None;
    };
    let active = KeyId::new(word.text.parse().ok()?)?;
    let known: Vec<_> = fields.all("key").filter_map(number).collect();
    if known.contains(&active) {
        return Some(active);
    }
    if !known.is_empty() {
        let numbers: Vec<_> = known.iter().map(KeyId::to_string).collect();
        let message = format!("`active_key {active}` is not defined, and Keepalived would not sign");
        diagnostics.push(
            Diagnostic::error(codes::UNDEFINED_KEY, word.span, message)
                .label(format!("defined: {}", numbers.join(", ")))
                .hint(format!("add a line such as `key {active} file:/etc/keepalived/vrrp.key`")),
        );
    }
    None
}

/// All keys, each number once.
fn keys(
    block: &Statement,
    fields: &Fields<'_>,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Key> {
    if !fields.has("key") {
        super::missing(
            block,
            "this `auth_hmac` block has no key".to_owned(),
            "add a line such as `key 1 file:/etc/keepalived/vrrp.key`, the same key on every balancer",
            diagnostics,
        );
    }
    let mut keys: Vec<Key> = Vec::new();
    let mut seen: Vec<(KeyId, &Statement)> = Vec::new();
    for statement in fields.all("key") {
        let Some(id) = number(statement) else { continue };
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == id) {
            diagnostics.push(
                Diagnostic::error(
                    codes::KEY_TWICE,
                    statement.keyword.span,
                    format!("there are two keys {id}"),
                )
                .label("the second one")
                .related(first.keyword.span, "the first one")
                .hint("give each key its own number, the same on every balancer"),
            );
            continue;
        }
        seen.push((id, statement));
        keys.extend(key(statement, id, surroundings, diagnostics));
    }
    keys
}

fn number(statement: &Statement) -> Option<KeyId> {
    KeyId::new(statement.values.first()?.text.parse().ok()?)
}

fn key(
    statement: &Statement,
    id: KeyId,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Key> {
    let (value, span) = (statement.values.get(1)?, statement.keyword.span);
    let bytes = if let Some(path) = value.text.strip_prefix("file:") {
        let KeyFile { text, readable_by_others } = match (surroundings.key_file)(path) {
            Ok(file) => file,
            Err(reason) => {
                let message = format!("key {id} cannot be read from `{path}`: {reason}");
                diagnostics.push(Diagnostic::error(codes::KEY_FILE, span, message));
                return None;
            }
        };
        if readable_by_others {
            let message = format!("others than the owner can read key {id} in `{path}`");
            diagnostics.push(
                Diagnostic::warning(codes::OPEN_KEY_FILE, span, message)
                    .hint(format!("chmod 600 {path}, and replace the key if somebody may have read it")),
            );
        }
        // Editors end the last line.
        decode(text.trim_end_matches(['\r', '\n']))
    } else {
        if value.cut {
            diagnostics.push(
                Diagnostic::warning(
                    codes::CUT_PASSWORD,
                    span,
                    "a `#` or `!` ends this key: what follows is a comment, as in Keepalived",
                )
                .hint("if it belongs to the key, put the key in double quotes on every balancer"),
            );
        }
        decode(&value.text)
    };
    let Some(bytes) = bytes else {
        diagnostics.push(
            Diagnostic::error(codes::KEY_DIGITS, span, format!("key {id} is not hexadecimal after `hex:`"))
                .label("an even number of digits 0-9 and a-f was expected")
                .hint("`openssl rand -hex 32` makes a key"),
        );
        return None;
    };
    let length = bytes.len();
    let key = Key::new(id, bytes);
    if key.is_none() {
        let message =
            format!("key {id} has {length} bytes; {} to {} are allowed", Key::SHORTEST, Key::LONGEST);
        diagnostics.push(
            Diagnostic::error(codes::KEY_LENGTH, span, message)
                .label(if length < Key::SHORTEST { "too short" } else { "too long" })
                .hint("`openssl rand -hex 32` makes a key; write `hex:` before its digits"),
        );
    }
    key
}

/// The bytes of a key that is written as `hex:` and digits, or as itself; `None` if the digits are none.
fn decode(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let Some(digits) = text.strip_prefix("hex:") else {
        return Some(Zeroizing::new(text.as_bytes().to_vec()));
    };
    // A vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len()));
    for pair in digits.as_bytes().chunks(2) {
        let &[high, low] = pair else { return None };
        let digit =
            |character: u8| char::from(character).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        bytes.push(digit(high)? << 4 | digit(low)?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_hexadecimal_or_themselves() {
        let read = |text| decode(text).map(|bytes| bytes.to_vec());
        assert_eq!(read("hex:00fFA9"), Some(vec![0, 0xff, 0xa9]));
        assert_eq!(read("plain"), Some(b"plain".to_vec()));
        assert_eq!(read("HEX:00"), Some(b"HEX:00".to_vec()), "Keepalived knows the small letters only");
        assert_eq!(["hex:0", "hex:0g", "hex:+1", "hex:é"].map(read), [const { None }; 4]);
        assert_eq!(read("hex:"), Some(Vec::new()));
    }

    #[test]
    fn the_window_is_three_adverts_and_five_seconds_at_least() {
        let windows =
            [1, 100, 167, 200, 250, 25_500].map(|centis| default_window(Centis::new(centis)).as_secs());
        assert_eq!(windows, [5, 5, 6, 6, 8, 300]);
    }
}
