//! The entries of `virtual_ipaddress` and `virtual_ipaddress_excluded`.

use std::net::{IpAddr, Ipv4Addr};

use super::fields::recognise;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::{Place, Values};
use crate::config::keepalived::{Statement, Word, codes};
use crate::config::source::Span;
use crate::limits;
use crate::plan::{Family, Scope, VirtualAddress};

/// Makes the addresses of one instance; those with mistakes are left out.
pub(super) fn lower_addresses<'a>(
    entries: impl Iterator<Item = &'a Statement>,
    interface: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<(VirtualAddress, Span)> {
    let mut addresses: Vec<(VirtualAddress, Span)> = Vec::new();
    for entry in entries {
        let Some(address) = lower_address(entry, interface, diagnostics) else { continue };
        let span = entry.keyword.span;
        if addresses.len() == limits::ADDRESSES_PER_ROUTER {
            let message = format!("more than {} addresses in one instance", limits::ADDRESSES_PER_ROUTER);
            diagnostics.push(Diagnostic::error(codes::TOO_MANY, span, message).label("one too many"));
            break;
        }
        addresses.push((address, span));
    }
    addresses
}

/// Reports advertised addresses of another family than the first, which no advert can carry beside it.
pub(super) fn check_families(advertised: &[(VirtualAddress, Span)], diagnostics: &mut Vec<Diagnostic>) {
    let Some((first, first_span)) = advertised.first() else { return };
    let family = Family::of(first.address);
    for (address, span) in advertised.iter().filter(|(other, _)| Family::of(other.address) != family) {
        diagnostics.push(
            Diagnostic::error(
                codes::MIXED_FAMILIES,
                *span,
                format!("`{}` cannot be advertised together with {family} addresses", address.address),
            )
            .label("another family")
            .related(*first_span, format!("makes this an {family} instance"))
            .hint("move it to `virtual_ipaddress_excluded`, or to an instance of its own"),
        );
    }
}

/// Reports addresses that stand in an instance twice, advertised or excluded.
pub(super) fn check_twins(addresses: &[(VirtualAddress, Span)], diagnostics: &mut Vec<Diagnostic>) {
    for (index, (address, span)) in addresses.iter().enumerate() {
        let twin = addresses.iter().take(index).find(|(other, _)| other.address == address.address);
        if let Some((_, first)) = twin {
            diagnostics.push(
                Diagnostic::error(
                    codes::ADDRESS_CLASH,
                    *span,
                    format!("`{}` is a virtual address twice", address.address),
                )
                .label("the second time")
                .related(*first, "the first time"),
            );
        }
    }
}

fn lower_address(
    entry: &Statement,
    interface: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<VirtualAddress> {
    let (address, prefix_length) = network(&entry.keyword, diagnostics)?;
    if let Some(block) = &entry.block {
        let diagnostic = Diagnostic::error(codes::BLOCK_EXPECTED, block.open, "an address takes no block");
        diagnostics.push(diagnostic.hint("is a `}` missing above?"));
        return None;
    }
    let mut made = VirtualAddress {
        address,
        prefix_length,
        interface: interface.to_owned(),
        label: None,
        broadcast: None,
        scope: Scope::Global,
    };
    let mut words = entry.values.iter();
    while let Some(word) = words.next() {
        // An option without an effect may have a value, which is then no option.
        if matches!(word.text.as_str(), "preferred_lft" | "track_group" | "peer") {
            words.next();
        }
        let option = Statement { keyword: word.clone(), values: Vec::new(), block: None };
        let Some((values, name)) = recognise(Place::VirtualAddress, &option, diagnostics) else { continue };
        debug_assert_eq!(values, Values::Word);
        let Some(value) = words.next() else {
            let message = format!("`{name}` takes one value, and none follows");
            diagnostics
                .push(Diagnostic::error(codes::VALUE_COUNT, word.span, message).label("a value is missing"));
            break;
        };
        if value.filled {
            set(&mut made, address, name, value, diagnostics);
        }
    }
    Some(made)
}

fn network(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<(IpAddr, u8)> {
    if !word.filled {
        return None;
    }
    let (address, length) = match word.text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (word.text.as_str(), None),
    };
    let Ok(parsed) = address.parse::<IpAddr>() else {
        diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, format!("`{}` is not an IP address", word.text))
                .label("an address such as 192.0.2.1/24 was expected"),
        );
        return None;
    };
    let is_broadcast = matches!(parsed, IpAddr::V4(parsed) if parsed.is_broadcast());
    if parsed.is_unspecified() || parsed.is_multicast() || is_broadcast || parsed.is_loopback() {
        diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, format!("`{parsed}` cannot be a virtual address"))
                .label("no client can connect to it"),
        );
        return None;
    }
    let most: u8 = if parsed.is_ipv4() { 32 } else { 128 };
    match length.map(str::parse::<u8>) {
        None => Some((parsed, most)),
        Some(Ok(length)) if (1..=most).contains(&length) => Some((parsed, length)),
        Some(_) => {
            diagnostics.push(Diagnostic::error(
                codes::OUT_OF_RANGE,
                word.span,
                format!("the prefix length of `{}` must be from 1 to {most}", word.text),
            ));
            None
        }
    }
}

fn set(
    made: &mut VirtualAddress,
    address: IpAddr,
    name: &str,
    value: &Word,
    diagnostics: &mut Vec<Diagnostic>,
) {
    let text = value.text.as_str();
    match name {
        "dev" => {
            if check_interface(value, diagnostics) {
                text.clone_into(&mut made.interface);
            }
        }
        "label" => {
            if text.len() > INTERFACE_NAME_BYTES {
                diagnostics.push(
                    Diagnostic::error(
                        codes::OUT_OF_RANGE,
                        value.span,
                        format!("the label `{text}` is too long"),
                    )
                    .label(format!("at most {INTERFACE_NAME_BYTES} bytes")),
                );
            }
            made.label = Some(text.to_owned());
        }
        "scope" => match scope(text) {
            Some(scope) => made.scope = scope,
            None => diagnostics.push(
                Diagnostic::error(codes::BAD_VALUE, value.span, format!("`{text}` is not a scope"))
                    .hint("scopes are global, site, link, host, nowhere and the numbers up to 255"),
            ),
        },
        _ => match broadcast(text, address, made.prefix_length) {
            Some(broadcast) => made.broadcast = Some(broadcast),
            None => diagnostics.push(Diagnostic::error(
                codes::BAD_VALUE,
                value.span,
                match address {
                    IpAddr::V4(_) => format!("`{name}` takes an IPv4 address, `+` or `-`, not `{text}`"),
                    IpAddr::V6(_) => format!("an IPv6 address has no broadcast address: `{name} {text}`"),
                },
            )),
        },
    }
}

/// Longest name of an interface or a label that the kernel takes (`IFNAMSIZ` less the final zero).
pub(super) const INTERFACE_NAME_BYTES: usize = 15;

/// Reports a name that no interface can have; whether it can be one.
pub(super) fn check_interface(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let possible = (1..=INTERFACE_NAME_BYTES).contains(&word.text.len()) && !word.text.contains(['/', ' ']);
    if !possible {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_VALUE,
                word.span,
                format!("no interface can be called `{}`", word.text),
            )
            .label(format!("1 to {INTERFACE_NAME_BYTES} bytes, without blanks and slashes")),
        );
    }
    possible
}

pub(super) fn scope(text: &str) -> Option<Scope> {
    Some(match text {
        "global" => Scope::Global,
        "site" => Scope::Site,
        "link" => Scope::Link,
        "host" => Scope::Host,
        "nowhere" => Scope::Other(255),
        _ => match text.parse().ok()? {
            0 => Scope::Global,
            200 => Scope::Site,
            253 => Scope::Link,
            254 => Scope::Host,
            number => Scope::Other(number),
        },
    })
}

fn broadcast(text: &str, address: IpAddr, prefix_length: u8) -> Option<Ipv4Addr> {
    let IpAddr::V4(address) = address else { return None };
    let host_bits = u32::MAX.checked_shr(u32::from(prefix_length)).unwrap_or(0);
    match text {
        "+" => Some(Ipv4Addr::from_bits(address.to_bits() | host_bits)),
        "-" => Some(Ipv4Addr::from_bits(address.to_bits() & !host_bits)),
        _ => text.parse().ok(),
    }
}
