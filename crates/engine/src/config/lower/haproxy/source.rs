//! `source` lines and parameters: where connections to servers come from.
//!
//! Owns [`lower_source`] and what only works after `source`.

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address;
use crate::config::lower::haproxy::line::{Line, bad_value, missing};
use crate::config::source::Span;
use crate::plan::{ShownSource, Source};

/// The source that the first of `words` names, what `usesrc` and `interface` behind it say, and how many words these are.
/// Only a server can have a range of ports, as in HAProxy.
pub(super) fn lower_source(
    words: &[Word],
    keyword: Span,
    of_server: bool,
    reader: &mut Reader<'_, '_>,
) -> (Option<Source>, usize) {
    let Some((written, mut rest)) = words.split_first() else {
        reader.diagnostics.push(missing(keyword, "`source` needs an address".to_owned()));
        return (None, 0);
    };
    let mut source = own_address(written, of_server, reader).map(|(address, ports)| Source {
        address,
        ports,
        shown: None,
        interface: None,
    });
    let mut length = 1;
    while let Some((name, behind)) = rest.split_first().filter(|(name, _)| is_behind(&name.text)) {
        let Some((value, others)) = behind.split_first() else {
            let what = if name.text == "usesrc" { "an address, `client` or `clientip`" } else { "a name" };
            reader.diagnostics.push(missing(name.span, format!("`{}` needs {what}", name.text)));
            return (None, length + 1);
        };
        (rest, length) = (others, length + 2);
        if name.text == "interface" {
            source.iter_mut().for_each(|source| source.interface = Some(value.text.clone()));
        } else if let Some(shown) = shown_source(value, reader) {
            source.iter_mut().for_each(|source| source.shown = Some(shown));
        } else if !value.text.starts_with("hdr_ip(") {
            source = None;
        }
    }
    (source, length)
}

/// Takes in a line of a section.
pub(super) fn lower_line(line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Option<Source> {
    let (source, length) = lower_source(line.values, line.span, false, reader);
    if let Some(extra) = line.values.get(length) {
        let message =
            format!("`source` takes `usesrc` and `interface` besides an address, not `{}`", extra.text);
        reader
            .diagnostics
            .push(Diagnostic::error(codes::SOURCE, extra.span, message).label("neither of them"));
        return None;
    }
    source
}

/// Reports a word that means something only after `source`.
pub(super) fn report_alone(line: &Line<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let message = format!("`{}` means nothing without `source` before it", line.name);
    diagnostics.push(
        Diagnostic::error(codes::SOURCE, line.span, message)
            .hint(format!("write `source 0.0.0.0 {} …`", line.name)),
    );
}

fn is_behind(word: &str) -> bool {
    word == "usesrc" || word == "interface"
}

fn own_address(
    word: &Word,
    of_server: bool,
    reader: &mut Reader<'_, '_>,
) -> Option<(SocketAddr, Option<RangeInclusive<u16>>)> {
    let address = read(word, reader)?;
    let ports = address.1.unwrap_or(0..=0);
    if ports.start() == ports.end() {
        return Some((SocketAddr::new(address.0, *ports.start()), None));
    }
    if !of_server {
        let message = "a section has one source port, or none".to_owned();
        reader.diagnostics.push(
            Diagnostic::error(codes::SOURCE, word.span, message)
                .label("a range of ports")
                .hint("write it in `server` or `default-server`: each server then has ports of its own"),
        );
        return None;
    }
    Some((SocketAddr::new(address.0, 0), Some(ports)))
}

fn shown_source(word: &Word, reader: &mut Reader<'_, '_>) -> Option<ShownSource> {
    match word.text.as_str() {
        "client" => return Some(ShownSource::Client),
        "clientip" => return Some(ShownSource::ClientIp),
        text if text.starts_with("hdr_ip(") => {
            let message = "the source address cannot come from a header, because nobody reads HTTP here";
            reader.diagnostics.push(
                Diagnostic::warning(codes::SOURCE_FROM_HEADER, word.span, message)
                    .label("is passed over, as in HAProxy's `mode tcp`")
                    .hint("`usesrc clientip` shows the client's address"),
            );
            return None;
        }
        _ => {}
    }
    let (ip, ports) = read(word, reader)?;
    let ports = ports.unwrap_or(0..=0);
    if ports.start() != ports.end() {
        let message = "the address that a server sees has one port, or none";
        reader
            .diagnostics
            .push(Diagnostic::error(codes::SOURCE, word.span, message).label("a range of ports"));
        return None;
    }
    Some(ShownSource::Address(SocketAddr::new(ip, *ports.start())))
}

fn read(word: &Word, reader: &mut Reader<'_, '_>) -> Option<(std::net::IpAddr, Option<RangeInclusive<u16>>)> {
    if word.text == "::" {
        reader.diagnostics.push(bad_value(word, "an address was expected").hint("write `[::]`"));
        return None;
    }
    let (ip, written) = address::resolved(word, &word.text, reader)?;
    Some((ip, written.ports))
}
