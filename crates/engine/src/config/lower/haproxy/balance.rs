//! How a pool chooses servers: the values of `balance` and `hash-type`.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::line::{Line, bad_value};
use crate::plan::{Algorithm, HashFunction, HashType};

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
        "hash" => {
            if line.values.len() != 2 {
                let message = "`balance hash` takes a sample, such as `balance hash src,ipmask(24)`";
                diagnostics.push(bad_value(line.values.get(2).unwrap_or(word), message));
                return None;
            }
            Algorithm::Hash(HashType::default())
        }
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
                "`balance` takes roundrobin, static-rr, leastconn, source, hash, first or random",
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
    ["uri", "url_param", "hdr", "rdp-cookie", "log-hash", "sticky"].contains(&start)
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
        return Some(HashType { consistent, avalanche: consistent, ..HashType::default() });
    };
    let Some(known) = FUNCTIONS.iter().find(|(name, _)| *name == function.text) else {
        report(function, "`hash-type` takes the function sdbm, djb2, wt6 or crc32");
        return None;
    };
    let avalanche = match modifier.first() {
        None => false,
        Some(modifier) if modifier.text == "avalanche" => true,
        Some(modifier) => {
            report(modifier, "after the function, `hash-type` takes avalanche");
            return None;
        }
    };
    Some(HashType { consistent, avalanche, function: known.1, balance_factor: None })
}

/// How `hash-type` calls the functions.
const FUNCTIONS: [(&str, HashFunction); 4] = [
    ("sdbm", HashFunction::Sdbm),
    ("djb2", HashFunction::Djb2),
    ("wt6", HashFunction::Wt6),
    ("crc32", HashFunction::Crc32),
];

/// What a `hash-balance-factor` line asks for; 0 is no bound.
pub(super) fn balance_factor(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<u32> {
    let factor = line.values.first()?;
    match factor.text.parse() {
        Ok(percent) if percent == 0 || percent > 100 => Some(percent),
        _ => {
            let message = "`hash-balance-factor` takes 0, or more than 100 per cent of a server's fair share";
            diagnostics.push(bad_value(factor, message));
            None
        }
    }
}
