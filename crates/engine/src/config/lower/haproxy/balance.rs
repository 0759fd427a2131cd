//! How a pool chooses servers: the values of `balance` and `hash-type`.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::line::{Line, bad_value};
use crate::plan::{Algorithm, HashType};

/// Servers that `balance random` draws, unless it says.
const DRAWS: u16 = 2;

/// The algorithm that a `balance` line asks for.
pub(super) fn algorithm(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Algorithm> {
    let word = line.values.first()?;
    let start = word.text.split('(').next().unwrap_or_default();
    Some(match word.text.as_str() {
        "roundrobin" => Algorithm::RoundRobin,
        "static-rr" => Algorithm::StaticRr,
        "leastconn" => Algorithm::LeastConn,
        "source" => Algorithm::Source(HashType::default()),
        "first" => Algorithm::First,
        "random" | "random()" => Algorithm::Random { draws: DRAWS },
        _ if start == "random" => Algorithm::Random { draws: draws(word, diagnostics)? },
        other if is_other_algorithm(start) => {
            let message = format!("mainstay does not act on `balance {other}` yet: servers take turns");
            diagnostics.push(Diagnostic::warning(codes::NOT_ACTED_ON, line.whole(), message));
            Algorithm::RoundRobin
        }
        _ => {
            line.bad_value(
                "`balance` takes roundrobin, static-rr, leastconn, source, first or random",
                diagnostics,
            );
            return None;
        }
    })
}

/// The number in `random(number)`. More draws than there can be servers change nothing.
fn draws(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<u16> {
    let number = word.text.strip_prefix("random(").and_then(|rest| rest.strip_suffix(')'));
    match number.and_then(|number| number.parse::<u32>().ok()) {
        Some(draws) if draws > 0 => Some(u16::try_from(draws).unwrap_or(u16::MAX)),
        _ => {
            diagnostics
                .push(bad_value(word, "`random` takes the number of servers to draw, such as random(2)"));
            None
        }
    }
}

fn is_other_algorithm(start: &str) -> bool {
    ["uri", "url_param", "hdr", "rdp-cookie", "hash", "log-hash", "sticky"].contains(&start)
}

/// What a `hash-type` line asks for.
pub(super) fn hash_type(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<HashType> {
    let mut report = |word: &Word, expected: &str| diagnostics.push(bad_value(word, expected));
    let (method, rest) = line.values.split_first()?;
    let consistent = match method.text.as_str() {
        "consistent" => true,
        "map-based" => false,
        _ => {
            report(method, "`hash-type` takes map-based or consistent");
            return None;
        }
    };
    let Some((function, modifier)) = rest.split_first() else {
        // As in HAProxy, whose addresses would else all lie close together on the ring.
        return Some(HashType { consistent, avalanche: consistent });
    };
    if !["sdbm", "djb2", "wt6", "crc32"].contains(&function.text.as_str()) {
        report(function, "`hash-type` takes the function sdbm, djb2, wt6 or crc32");
        return None;
    }
    let avalanche = match modifier.first() {
        None => false,
        Some(modifier) if modifier.text == "avalanche" => true,
        Some(modifier) => {
            report(modifier, "after the function, `hash-type` takes avalanche");
            return None;
        }
    };
    let message = format!(
        "`{}` has no effect: as in HAProxy, `balance source` takes addresses as they are",
        function.text
    );
    diagnostics.push(Diagnostic::note(codes::NO_EFFECT, function.span, message));
    Some(HashType { consistent, avalanche })
}
