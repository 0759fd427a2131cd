//! `resolvers` sections, and the parameters of servers that ask them.
//!
//! Owns [`lower_resolvers`] and [`Resolution`]: what `resolvers`, `resolve-prefer`, `resolve-net`, `resolve-opts` and
//! `init-addr` say of one server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::config::diagnostic::{Diagnostic, Level, did_you_mean};
use crate::config::haproxy::{Section, Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{self, Host};
use crate::config::lower::haproxy::line::Line;
use crate::plan::{Family, Lookup, NameServer, Network, Resolver, ResolverId};

/// An address that nobody knows yet.
const UNKNOWN: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Takes in a section whose lines were checked.
pub(super) fn lower_resolvers(section: &Section, lines: &[Line<'_>], reader: &mut Reader<'_, '_>) {
    let Some(name) = section.header.first() else { return };
    let mut resolver = Resolver::new(name.text.clone(), Vec::new());
    for line in lines {
        let time = line.time().unwrap_or_default();
        match line.name {
            "nameserver" => resolver.name_servers.extend(name_server(line, reader)),
            "parse-resolv-conf" => resolver.system = true,
            "hold valid" => resolver.hold.valid = time,
            "hold nx" => resolver.hold.nx = time,
            "hold timeout" => resolver.hold.timeout = time,
            "hold refused" => resolver.hold.refused = time,
            "hold obsolete" => resolver.hold.obsolete = time,
            "hold other" => resolver.hold.other = time,
            "accepted_payload_size" => resolver.payload_bytes = line.number().unwrap_or(512),
            "resolve_retries" => resolver.tries = line.number().unwrap_or(3),
            "timeout resolve" => resolver.interval = time,
            "timeout retry" => resolver.retry = time,
            _ => {}
        }
    }
    reader.resolvers.push(resolver);
}

fn name_server(line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Option<NameServer> {
    let [name, word] = line.values else { return None };
    let (tcp, text) = match word.text.strip_prefix("tcp@") {
        Some(rest) => (true, rest),
        None => (word.text.starts_with("tcp"), word.text.as_str()),
    };
    let text = ["udp@", "udp4@", "udp6@"].iter().find_map(|known| text.strip_prefix(known)).unwrap_or(text);
    // What is wrong with it was reported with the section.
    let written = address::parse(word, text, &mut Vec::new())?;
    let ip = match &written.host {
        // HAProxy sends to where a socket bound to any address would be reached.
        Host::Address(IpAddr::V4(ip)) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        Host::Address(ip) => *ip,
        Host::Name(host) => address::resolve(host, word, reader.surroundings, &mut Vec::new()).ok()?,
    };
    let port = *written.ports?.start();
    Some(NameServer { name: name.text.clone(), address: SocketAddr::new(ip, port), tcp })
}

/// What a server says about its name.
#[derive(Clone, Debug, Default)]
pub(super) struct Resolution<'a> {
    section: Option<&'a Word>,
    prefer: Option<Family>,
    networks: Vec<Network>,
    duplicates: bool,
    ignore_weight: bool,
    /// Where the first address comes from; empty is the default.
    initial: Vec<Initial>,
}

/// Where the first address of a name may come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Initial {
    /// A state file, which mainstay has none of.
    Last,
    /// The system's own resolver.
    Libc,
    /// Nobody knows yet.
    None,
    Address(IpAddr),
}

impl<'a> Resolution<'a> {
    /// Takes in a parameter; whether it is one of these.
    pub(super) fn set(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) -> bool {
        let Some(word) = line.values.first() else { return false };
        let text = word.text.as_str();
        match line.name {
            "resolvers" => self.section = Some(word),
            "resolve-prefer" => match text {
                "ipv4" => self.prefer = Some(Family::Ipv4),
                "ipv6" => self.prefer = Some(Family::Ipv6),
                _ => line.bad_value("`resolve-prefer` takes `ipv4` or `ipv6`", diagnostics),
            },
            "resolve-net" => match text.split(',').map(network).collect() {
                Some(networks) => self.networks = networks,
                None => line.bad_value("`resolve-net` takes networks, separated by commas", diagnostics),
            },
            "resolve-opts" => {
                for option in text.split(',') {
                    match option {
                        "allow-dup-ip" => self.duplicates = true,
                        "prevent-dup-ip" => self.duplicates = false,
                        "ignore-weight" => self.ignore_weight = true,
                        _ => line.bad_value(
                            "`resolve-opts` takes allow-dup-ip, prevent-dup-ip and ignore-weight",
                            diagnostics,
                        ),
                    }
                }
            }
            "init-addr" => match text.split(',').map(initial).collect() {
                Some(methods) => self.initial = methods,
                None => line.bad_value(
                    "`init-addr` takes last, libc, none and addresses, separated by commas",
                    diagnostics,
                ),
            },
            _ => return false,
        }
        true
    }

    /// The first address of the name of a server, which is unspecified while nobody knows it; `None` if it is refused.
    pub(super) fn first_address(
        &self,
        name: &str,
        word: &Word,
        reader: &mut Reader<'_, '_>,
    ) -> Option<IpAddr> {
        if self.section.is_some() && name.starts_with('_') {
            return Some(UNKNOWN);
        }
        let default = [Initial::Last, Initial::Libc];
        let methods = if self.initial.is_empty() { &default[..] } else { &self.initial };
        let mut problem = None;
        for method in methods {
            match method {
                Initial::Last => {}
                Initial::None => return Some(self.unknown(name, problem.take(), reader)),
                Initial::Address(ip) => return Some(*ip),
                Initial::Libc => {
                    match address::resolve(name, word, reader.surroundings, reader.diagnostics) {
                        Ok(ip) => return Some(ip),
                        Err(unresolved) if unresolved.code != codes::UNRESOLVED => {
                            reader.diagnostics.push(*unresolved);
                            return None;
                        }
                        Err(unresolved) => problem = Some(unresolved),
                    }
                }
            }
        }
        if self.section.is_some() && self.initial.is_empty() {
            return Some(self.unknown(name, problem, reader));
        }
        reader.diagnostics.push(problem.map_or_else(
            || {
                let message = format!("nothing in `init-addr` says how `{name}` gets its first address");
                Diagnostic::error(codes::UNRESOLVED, word.span, message)
                    .hint("add `libc`, `none` or an address to `init-addr`")
            },
            |problem| *problem,
        ));
        None
    }

    /// No address. That is a warning only where somebody tried to find one.
    fn unknown(&self, name: &str, problem: Option<Box<Diagnostic>>, reader: &mut Reader<'_, '_>) -> IpAddr {
        if let Some(problem) = problem {
            let until = match self.section {
                Some(section) => format!("`resolvers {}` finds one", section.text),
                None => "an operator sets one".to_owned(),
            };
            let message = format!("`{name}` has no address now; it is in maintenance until {until}");
            reader.diagnostics.push(Diagnostic { level: Level::Warning, message, hint: None, ..*problem });
        }
        UNKNOWN
    }

    /// Where the address of the name comes from later; `None` leaves it as it is.
    pub(super) fn lookup(&self, name: &str, reader: &mut Reader<'_, '_>) -> Option<Lookup> {
        let resolver = self.resolver(reader)?;
        Some(Lookup {
            prefer: self.prefer.unwrap_or(Family::Ipv6),
            networks: self.networks.clone(),
            duplicates: self.duplicates,
            ignore_weight: self.ignore_weight,
            ..Lookup::new(resolver, name)
        })
    }

    /// The section that is asked; one that is not there is reported.
    pub(super) fn resolver(&self, reader: &mut Reader<'_, '_>) -> Option<ResolverId> {
        let section = self.section?;
        let position = reader.resolvers.iter().position(|resolver| resolver.name == section.text);
        if position.is_none() {
            let message = format!("there is no section `resolvers {}`", section.text);
            let diagnostic = Diagnostic::error(codes::UNDEFINED_SECTION, section.span, message);
            let names = reader.resolvers.iter().map(|resolver| resolver.name.as_str());
            let diagnostic = match did_you_mean(&section.text, names) {
                Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                None => diagnostic.label("not defined"),
            };
            reader.diagnostics.push(diagnostic);
        }
        u16::try_from(position?).ok().map(ResolverId)
    }
}

fn initial(text: &str) -> Option<Initial> {
    Some(match text {
        "last" => Initial::Last,
        "libc" => Initial::Libc,
        "none" => Initial::None,
        _ => Initial::Address(text.parse().ok()?),
    })
}

fn network(text: &str) -> Option<Network> {
    let (address, length) = text.split_once('/').map_or((text, None), |(ip, length)| (ip, Some(length)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let prefix_length = length.map_or(Some(whole), |length| length.parse().ok()).filter(|it| *it <= whole)?;
    Some(Network { address, prefix_length })
}
