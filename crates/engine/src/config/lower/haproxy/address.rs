//! Addresses with ports: where to listen, where servers are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use crate::config::Surroundings;
use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::line::bad_value;
use crate::plan::LocalAddress;

/// The parts of an address, before a name is looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) host: Host,
    /// `None` where the text names none.
    pub(super) ports: Option<RangeInclusive<u16>>,
}

/// Who is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Address(IpAddr),
    Name(String),
}

/// The longest path of a socket: `sun_path` less its end, and room for the name it has until it is ready.
pub(super) const PATH_BYTES: usize = 97;

/// The longest name of a socket that is no file: `sun_path` less the zero byte before it.
const NAME_BYTES: usize = 107;

/// Families of sockets that mainstay has not, or not everywhere.
const OTHER_FAMILIES: [&str; 13] = [
    "unix@",
    "abns@",
    "abnsz@",
    "fd@",
    "sockpair@",
    "udp@",
    "udp4@",
    "udp6@",
    "quic4@",
    "quic6@",
    "rev@",
    "mptcp@",
    "rhttp@",
];

/// The socket of this machine that `text`, (a part of) `word`, names, if it is one; `Err` is one that cannot be, which
/// was reported.
pub(super) fn local(
    word: &Word,
    text: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Result<LocalAddress, ()>> {
    if !word.filled {
        return None;
    }
    let prefixes = ["unix@", "uxst@", "stream+unix@"];
    let path = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix));
    let path = path.or(Some(text).filter(|text| text.starts_with('/')));
    let name = ["abns@", "stream+abns@"].iter().find_map(|prefix| text.strip_prefix(prefix));
    let (address, length, most) = match (path, name) {
        (Some(path), _) => (LocalAddress::Path(path.to_owned()), path.len(), PATH_BYTES),
        (None, Some(name)) => (LocalAddress::Abstract(name.to_owned()), name.len(), NAME_BYTES),
        (None, None) => return None,
    };
    if (1..=most).contains(&length) {
        return Some(Ok(address));
    }
    let what = if path.is_some() { "path of a socket" } else { "name of a socket" };
    let message = format!("the {what} has 1 to {most} bytes, not {length}");
    diagnostics.push(Diagnostic::error(codes::LOCAL_ADDRESS, word.span, message));
    Some(Err(()))
}

/// Reads `text`, which is (a part of) `word`.
pub(super) fn parse(word: &Word, text: &str, diagnostics: &mut Vec<Diagnostic>) -> Option<Written> {
    if !word.filled {
        return None;
    }
    if text.starts_with('/') || OTHER_FAMILIES.iter().any(|family| text.starts_with(family)) {
        diagnostics.push(
            Diagnostic::error(
                codes::REFUSED,
                word.span,
                format!("mainstay cannot use `{text}` here: TCP over IP was expected"),
            )
            .label("an address and a port were expected"),
        );
        return None;
    }
    let mut wildcard = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let (mut rest, mut families) = (text, None);
    for (prefix, any) in [("ipv4@", wildcard), ("tcp4@", wildcard), ("ipv6@", V6_ANY), ("tcp6@", V6_ANY)] {
        if let Some(after) = text.strip_prefix(prefix) {
            (rest, wildcard, families) = (after, any, Some(any.is_ipv4()));
        }
    }
    let rest = ["ip@", "tcp@", "stream+ipv4@", "stream+ipv6@"]
        .iter()
        .find_map(|p| rest.strip_prefix(p))
        .unwrap_or(rest);
    let (host, port) = split(rest);
    let ports = match port {
        None | Some("") => None,
        Some(port) => match ports(port) {
            Some(ports) => Some(ports),
            None => {
                diagnostics
                    .push(bad_value(word, "a port is a number from 1 to 65535").label("in this address"));
                return None;
            }
        },
    };
    let host = match host {
        "" | "*" => Host::Address(wildcard),
        _ => host.parse().map_or_else(|_| Host::Name(host.to_owned()), Host::Address),
    };
    if let (Host::Address(ip), Some(v4)) = (&host, families)
        && ip.is_ipv4() != v4
    {
        let version = if v4 { "IPv4" } else { "IPv6" };
        diagnostics.push(bad_value(word, &format!("an {version} address was expected")));
        return None;
    }
    Some(Written { host, ports })
}

const V6_ANY: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// Host and port. The last colon starts the port, unless brackets say otherwise.
fn split(text: &str) -> (&str, Option<&str>) {
    if let Some((host, after)) = text.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        return (host, after.strip_prefix(':'));
    }
    match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    }
}

fn ports(text: &str) -> Option<RangeInclusive<u16>> {
    let port =
        |text: &str| text.parse::<u16>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match text.split_once('-') {
        None => port(text).map(|port| port..=port),
        Some((low, high)) => Some(port(low)?..=port(high)?).filter(|range| !range.is_empty()),
    }
}

/// Reads `text`, which is (a part of) `word`, and looks its name up if it is one; what is wrong is reported.
pub(super) fn resolved(word: &Word, text: &str, reader: &mut Reader<'_, '_>) -> Option<(IpAddr, Written)> {
    let written = parse(word, text, reader.diagnostics)?;
    let ip = match &written.host {
        Host::Address(ip) => *ip,
        Host::Name(name) => resolve(name, word, reader.surroundings, reader.diagnostics)
            .map_err(|diagnostic| reader.diagnostics.push(*diagnostic))
            .ok()?,
    };
    Some((ip, written))
}

/// The address of a name, or why there is none.
pub(super) fn resolve(
    name: &str,
    word: &Word,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<IpAddr, Box<Diagnostic>> {
    let unresolved = |reason: &str| {
        let diagnostic = Diagnostic::error(
            codes::UNRESOLVED,
            word.span,
            format!("the host name `{name}` has no address: {reason}"),
        )
        .label("looked up now")
        .hint("write the address, or add the name to /etc/hosts");
        Box::new(diagnostic)
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(Box::new(bad_value(word, "an address or a host name was expected")));
    }
    let addresses = (surroundings.resolve)(name).map_err(|reason| unresolved(&reason))?;
    // HAProxy prefers IPv4 where both are there.
    let first = addresses.iter().find(|address| address.is_ipv4()).or(addresses.first());
    let first = *first.ok_or_else(|| unresolved("nothing was found"))?;
    if addresses.iter().any(|other| *other != first) {
        let message = format!("the host name `{name}` has {} addresses; {first} is used", addresses.len());
        diagnostics.push(Diagnostic::note(codes::SEVERAL_ADDRESSES, word.span, message));
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_starts_the_port() {
        assert_eq!(split("10.0.0.1:6443"), ("10.0.0.1", Some("6443")));
        assert_eq!(split("[::]:6443"), ("::", Some("6443")));
        assert_eq!(split(":::6443"), ("::", Some("6443")));
        assert_eq!(split("[fe80::1]"), ("fe80::1", None));
        assert_eq!(split("lb"), ("lb", None));
        assert_eq!(ports("8000-8003"), Some(8000..=8003));
        assert_eq!([ports("0x1"), ports("99999"), ports("9-1"), ports("+1")], [None, None, None, None]);
    }
}
