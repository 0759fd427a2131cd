//! `bind` lines: addresses, port ranges, sockets of this machine, and what is special about each.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::keywords::Place;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address;
use crate::config::lower::haproxy::line::{Line, bad_value, recognise_parameter};
use crate::config::source::Span;
use crate::limits;
use crate::plan::{Bind, Elsewhere, FileAccess, LocalAddress, Tuning};

/// An address to listen on, before it is known what else listens there.
#[derive(Clone, Debug)]
pub(super) struct Listen {
    pub(super) bind: Bind,
    /// Whether `v4v6` or `v6only` said so.
    pub(super) explicit: bool,
}

/// What the parameters of a line say of each of its addresses.
#[derive(Clone, Debug, Default)]
struct Parameters<'a> {
    interface: Option<String>,
    accept_proxy: bool,
    dual_stack: Option<bool>,
    access: FileAccess,
    id: Option<Given<'a>>,
    maxconn: Option<u32>,
    backlog: Option<u32>,
    transparent: bool,
    mss: Option<i32>,
    user_timeout: Option<Duration>,
}

/// A number, and where it stands.
type Given<'a> = (u32, &'a Word);

/// The addresses of one line.
pub(super) fn lower_bind(line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Vec<Listen> {
    let Some((addresses, parameters)) = line.values.split_first() else { return Vec::new() };
    let parameters = read_parameters(parameters, reader);
    let mut listens = Vec::new();
    for text in addresses.text.split(',') {
        listens.extend(lower_address(addresses, text, &parameters, reader));
    }
    if let (Some((id, word)), [_, _, ..]) = (parameters.id, listens.as_slice()) {
        reader.diagnostics.push(
            Diagnostic::error(
                codes::LISTENER,
                word.span,
                format!("several listeners cannot all have id {id}"),
            )
            .label("a line of one listener was expected")
            .related(addresses.span, "there are more here"),
        );
        listens.iter_mut().for_each(|listen| listen.bind.id = 0);
    }
    listens
}

fn read_parameters<'a>(mut words: &'a [Word], reader: &mut Reader<'_, '_>) -> Parameters<'a> {
    let mut parameters = Parameters { access: reader.unix_bind.access.clone(), ..Parameters::default() };
    while !words.is_empty() {
        let (parameter, length) = recognise_parameter(Place::Bind, words, reader.diagnostics);
        words = words.get(length..).unwrap_or_default();
        if let Some(parameter) = parameter {
            parameters.set(&parameter, reader.diagnostics);
        }
    }
    parameters
}

impl<'a> Parameters<'a> {
    fn set(&mut self, line: &Line<'a>, diagnostics: &mut Vec<Diagnostic>) {
        let word = line.values.first();
        match line.name {
            "interface" => self.interface = word.map(|word| word.text.clone()),
            "accept-proxy" => self.accept_proxy = true,
            "v4v6" => self.dual_stack = Some(true),
            "v6only" => self.dual_stack = Some(false),
            "transparent" => self.transparent = true,
            "maxconn" => self.maxconn = line.number().filter(|limit| *limit > 0),
            "backlog" => self.backlog = line.number().filter(|length| *length > 0),
            "id" => self.id = line.number().zip(word),
            "tcp-ut" => self.user_timeout = line.time().filter(|time| !time.is_zero()),
            "mss" => {
                self.mss = line.number().filter(|size| *size != 0);
                if self.mss.is_none() {
                    line.bad_value(
                        "`mss` is a size from 1 to 65535, or what is taken off the usual one",
                        diagnostics,
                    );
                }
            }
            _ => {
                set_access(&mut self.access, line.name, word, diagnostics);
            }
        }
    }

    /// A listener that has all of this.
    fn bind(&self, address: SocketAddr) -> Bind {
        Bind {
            interface: self.interface.clone(),
            accept_proxy: self.accept_proxy,
            id: self.id.map_or(0, |(id, _)| id),
            maxconn: self.maxconn,
            backlog: self.backlog,
            transparent: self.transparent,
            mss: self.mss,
            tuning: Tuning { user_timeout: self.user_timeout, ..Tuning::default() },
            ..Bind::new(address)
        }
    }
}

/// Takes in who may connect to a file; whether `name` says so.
pub(super) fn set_access(
    access: &mut FileAccess,
    name: &str,
    word: Option<&Word>,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let Some(word) = word else { return false };
    match name {
        "mode" => match u32::from_str_radix(&word.text, 8) {
            Ok(mode) => access.mode = Some(mode & 0o7777),
            Err(_) => {
                diagnostics.push(bad_value(word, "`mode` takes permissions as octal digits, such as 660"));
            }
        },
        "user" | "uid" => access.user = Some(word.text.clone()),
        "group" | "gid" => access.group = Some(word.text.clone()),
        _ => return false,
    }
    true
}

/// What `global` says of sockets that are files.
#[derive(Clone, Debug, Default)]
pub(super) struct UnixBind {
    access: FileAccess,
    prefix: String,
}

/// Takes in a `unix-bind` line.
pub(super) fn lower_unix_bind(line: &Line<'_>, reader: &mut Reader<'_, '_>) {
    let mut words = line.values;
    while let Some((name, rest)) = words.split_first() {
        let value = rest.first();
        if name.text == "prefix" {
            reader.unix_bind.prefix = value.map_or_else(String::new, |word| word.text.clone());
        } else if !set_access(&mut reader.unix_bind.access, &name.text, value, reader.diagnostics) {
            let expected = "`unix-bind` takes prefix, mode, user, uid, group and gid, and a value for each";
            return reader.diagnostics.push(bad_value(name, expected));
        }
        words = rest.get(1..).unwrap_or_default();
    }
}

/// The listeners of one address.
fn lower_address(
    word: &Word,
    text: &str,
    parameters: &Parameters<'_>,
    reader: &mut Reader<'_, '_>,
) -> Vec<Listen> {
    if !word.filled {
        return Vec::new();
    }
    if let Some(elsewhere) = elsewhere(word, text, parameters, reader) {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let listen = |elsewhere| Listen {
            bind: Bind { elsewhere: Some(elsewhere), ..parameters.bind(nowhere) },
            explicit: true,
        };
        return elsewhere.ok().map(listen).into_iter().collect();
    }
    let Some((ip, written)) = address::resolved(word, text, reader) else { return Vec::new() };
    let Some(ports) = written.ports.filter(|ports| *ports.start() > 0) else {
        reader.diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, format!("`{text}` names no port to listen on"))
                .hint("write an address and a port, such as `*:6443`"),
        );
        return Vec::new();
    };
    if ports.len() > limits::PORTS_PER_BIND {
        reader.diagnostics.push(
            Diagnostic::error(codes::TOO_MANY, word.span, "this is a long range of ports")
                .label(format!("more than {}", limits::PORTS_PER_BIND)),
        );
        return Vec::new();
    }
    let explicit = parameters.dual_stack.is_some();
    let dual_stack = parameters.dual_stack.unwrap_or(ip == IpAddr::from([0_u16; 8])) && ip.is_ipv6();
    let listen =
        |port| Listen { bind: Bind { dual_stack, ..parameters.bind(SocketAddr::new(ip, port)) }, explicit };
    ports.map(listen).collect()
}

/// What `text` names, if that is no address; `Err` was reported.
fn elsewhere(
    word: &Word,
    text: &str,
    parameters: &Parameters<'_>,
    reader: &mut Reader<'_, '_>,
) -> Option<Result<Elsewhere, ()>> {
    if let Some(number) = text.strip_prefix("fd@") {
        let number = number.parse().ok().filter(|number| *number >= 0);
        if number.is_none() {
            reader.diagnostics.push(
                Diagnostic::error(codes::DESCRIPTOR, word.span, format!("`{text}` names no descriptor"))
                    .hint("write its number, such as `fd@3`"),
            );
        }
        return Some(number.map(Elsewhere::Descriptor).ok_or(()));
    }
    let local = address::local(word, text, reader.diagnostics)?;
    Some(local.map(|address| {
        let address = match address {
            LocalAddress::Path(path) => LocalAddress::Path(format!("{}{path}", reader.unix_bind.prefix)),
            name @ LocalAddress::Abstract(_) => name,
        };
        Elsewhere::Local(address, parameters.access.clone())
    }))
}

/// Numbers the listeners of a frontend that have no number of their own, as HAProxy does.
pub(super) fn number(binds: &mut [Bind], place: Span, diagnostics: &mut Vec<Diagnostic>) {
    let mut taken: BTreeSet<u32> = BTreeSet::new();
    for bind in binds.iter().filter(|bind| bind.id > 0) {
        if !taken.insert(bind.id) {
            let message = format!("two listeners have id {}", bind.id);
            diagnostics.push(Diagnostic::error(codes::LISTENER, place, message).label("in this section"));
        }
    }
    // Those that have a number of their own take a place, too.
    for (mut next, bind) in (1..).zip(binds) {
        if bind.id == 0 {
            while !taken.insert(next) {
                next += 1;
            }
            bind.id = next;
        }
    }
}

/// `::` takes IPv4 connections unless an IPv4 address listens on the same port: the kernel allows one of them only.
pub(super) fn settle(listens: &mut [&mut Listen]) {
    let ports: Vec<u16> = listens
        .iter()
        .filter(|listen| listen.bind.elsewhere.is_none() && listen.bind.address.is_ipv4())
        .map(|listen| listen.bind.address.port())
        .collect();
    for listen in listens.iter_mut().filter(|listen| !listen.explicit) {
        listen.bind.dual_stack &= !ports.contains(&listen.bind.address.port());
    }
}
