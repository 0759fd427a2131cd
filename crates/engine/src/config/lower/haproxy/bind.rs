//! `bind` lines: addresses, port ranges, and on which interface.

use std::net::{IpAddr, SocketAddr};

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::haproxy::keywords::Place;
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{self, Host};
use crate::config::lower::haproxy::line::{Line, recognise_parameter};
use crate::limits;
use crate::plan::Bind;

/// An address to listen on, before it is known what else listens there.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    pub(super) bind: Bind,
    /// Whether `v4v6` or `v6only` said so.
    pub(super) explicit: bool,
}

/// The addresses of one line.
pub(super) fn lower_bind(line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Vec<Listen> {
    let Some((addresses, mut parameters)) = line.values.split_first() else { return Vec::new() };
    let (mut interface, mut dual_stack, mut accept_proxy) = (None, None, false);
    while !parameters.is_empty() {
        let (parameter, length) = recognise_parameter(Place::Bind, parameters, reader.diagnostics);
        parameters = parameters.get(length..).unwrap_or_default();
        let Some(parameter) = parameter else { continue };
        match parameter.name {
            "interface" => interface = parameter.values.first().map(|word| word.text.clone()),
            "accept-proxy" => accept_proxy = true,
            "v4v6" => dual_stack = Some(true),
            "v6only" => dual_stack = Some(false),
            _ => {}
        }
    }
    let mut listens = Vec::new();
    for text in addresses.text.split(',') {
        let Some(written) = address::parse(addresses, text, reader.diagnostics) else { continue };
        let ip = match &written.host {
            Host::Address(ip) => Ok(*ip),
            Host::Name(name) => address::resolve(name, addresses, reader.surroundings, reader.diagnostics),
        };
        let ip = match ip {
            Ok(ip) => ip,
            Err(diagnostic) => {
                reader.diagnostics.push(*diagnostic);
                continue;
            }
        };
        let Some(ports) = written.ports.filter(|ports| *ports.start() > 0) else {
            reader.diagnostics.push(
                Diagnostic::error(
                    codes::BAD_VALUE,
                    addresses.span,
                    format!("`{text}` names no port to listen on"),
                )
                .hint("write an address and a port, such as `*:6443`"),
            );
            continue;
        };
        if ports.len() > limits::PORTS_PER_BIND {
            reader.diagnostics.push(
                Diagnostic::error(codes::TOO_MANY, addresses.span, "this is a long range of ports")
                    .label(format!("more than {}", limits::PORTS_PER_BIND)),
            );
            continue;
        }
        let explicit = dual_stack.is_some();
        let dual_stack = dual_stack.unwrap_or(ip == IpAddr::from([0_u16; 8])) && ip.is_ipv6();
        listens.extend(ports.map(|port| {
            let address = SocketAddr::new(ip, port);
            Listen {
                bind: Bind { dual_stack, interface: interface.clone(), accept_proxy, ..Bind::new(address) },
                explicit,
            }
        }));
    }
    listens
}

/// `::` takes IPv4 connections unless an IPv4 address listens on the same port: the kernel allows one of them only.
pub(super) fn settle(listens: &mut [&mut Listen]) {
    let ports: Vec<u16> = listens
        .iter()
        .filter(|listen| listen.bind.address.is_ipv4())
        .map(|listen| listen.bind.address.port())
        .collect();
    for listen in listens.iter_mut().filter(|listen| !listen.explicit) {
        listen.bind.dual_stack &= !ports.contains(&listen.bind.address.port());
    }
}
