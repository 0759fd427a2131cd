//! `stats socket` and its like in `global`: where HAProxy's runtime API is answered.
//!
//! Owns [`lower_socket`].

use std::net::SocketAddr;

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::keywords::Place;
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{self, PATH_BYTES};
use crate::config::lower::haproxy::line::{Line, bad_value, missing, recognise_parameter};
use crate::plan::{Level, StatsAddress, StatsSocket};

/// The socket of one line.
pub(super) fn lower_socket(line: &Line<'_>, reader: &mut Reader<'_, '_>) -> Option<StatsSocket> {
    let (place, mut parameters) = line.values.split_first()?;
    let address = read_address(place, reader)?;
    let mut socket = StatsSocket { address, level: Level::Operator, mode: None, user: None, group: None };
    while let Some((name, rest)) = parameters.split_first() {
        let value = rest.first();
        let text = value.map(|word| word.text.as_str());
        let known = match (name.text.as_str(), text) {
            ("level", Some("user")) => set(&mut socket.level, Level::User),
            ("level", Some("operator")) => set(&mut socket.level, Level::Operator),
            ("level", Some("admin")) => set(&mut socket.level, Level::Admin),
            ("mode", Some(text)) => match u32::from_str_radix(text, 8) {
                Ok(mode) if mode <= 0o7777 => set(&mut socket.mode, Some(mode)),
                _ => Err("`mode` takes permissions as octal digits, such as 660"),
            },
            ("user" | "uid", Some(text)) => set(&mut socket.user, Some(text.to_owned())),
            ("group" | "gid", Some(text)) => set(&mut socket.group, Some(text.to_owned())),
            ("expose-fd", Some("listeners")) | ("severity-output", Some("none" | "number" | "string")) => {
                Ok(())
            }
            ("level", Some(_)) => Err("`level` takes user, operator or admin"),
            ("expose-fd", Some(_)) => Err("`expose-fd` takes `listeners`"),
            ("severity-output", Some(_)) => Err("`severity-output` takes none, number or string"),
            ("level" | "mode" | "user" | "uid" | "group" | "gid" | "expose-fd" | "severity-output", None) => {
                reader.diagnostics.push(missing(name.span, format!("`{}` needs a value", name.text)));
                return None;
            }
            _ => {
                let (_, length) = recognise_parameter(Place::Bind, parameters, reader.diagnostics);
                parameters = parameters.get(length..).unwrap_or_default();
                continue;
            }
        };
        if let (Err(expected), Some(value)) = (known, value) {
            reader.diagnostics.push(bad_value(value, expected));
        }
        parameters = rest.get(1..).unwrap_or_default();
    }
    Some(socket)
}

fn set<T>(place: &mut T, value: T) -> Result<(), &'static str> {
    *place = value;
    Ok(())
}

fn read_address(word: &Word, reader: &mut Reader<'_, '_>) -> Option<StatsAddress> {
    if !word.filled {
        return None;
    }
    let text = word.text.as_str();
    let path = text.strip_prefix("unix@").unwrap_or(text);
    if let Some(name) = text.strip_prefix("abns@") {
        return Some(StatsAddress::Abstract(name.to_owned()));
    }
    if path.starts_with('/') {
        if path.len() > PATH_BYTES {
            let message = format!("this path is longer than the {PATH_BYTES} bytes that a socket's can have");
            reader.diagnostics.push(Diagnostic::error(codes::OUT_OF_RANGE, word.span, message));
            return None;
        }
        return Some(StatsAddress::Path(path.to_owned()));
    }
    let (ip, written) = address::resolved(word, text, reader)?;
    match written.ports {
        Some(ports) if *ports.start() > 0 && ports.start() == ports.end() => {
            Some(StatsAddress::Tcp(SocketAddr::new(ip, *ports.start())))
        }
        _ => {
            reader.diagnostics.push(bad_value(word, "a path, or an address and one port, was expected"));
            None
        }
    }
}
