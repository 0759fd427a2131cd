//! Samples in conditions: `src`, `req.ssl_sni,lower`, `srv_is_up(b/m1)`.
//!
//! Owns [`read`]: the name, its arguments, its converters, and what kind of value comes out.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::keywords::samples::{OTHER_CONVERTERS, OTHER_SAMPLES};
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::page::Userlist;
use crate::config::lower::haproxy::rules::names::Names;
use crate::plan::{Constant, Converter, Count, Expression, Fetch};

/// What kind of value a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Boolean,
    Integer,
    /// Two numbers with a dot, such as versions of TLS.
    Version,
    Address,
    Text,
    Bytes,
}

/// A sample that was understood.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) expression: Expression,
    pub(super) kind: Kind,
}

/// Samples that mainstay takes, for suggestions.
const SAMPLES: &[&str] = &[
    "always_true",
    "always_false",
    "bool",
    "int",
    "str",
    "wait_end",
    "src",
    "src_port",
    "dst",
    "dst_port",
    "fe_name",
    "fe_conn",
    "req.len",
    "req.payload",
    "req.ssl_hello_type",
    "req.ssl_ver",
    "req.ssl_sni",
    "req.ssl_alpn",
    "nbsrv",
    "connslots",
    "queue",
    "avg_queue",
    "be_conn",
    "be_conn_free",
    "be_sess_rate",
    "fe_sess_rate",
    "srv_is_up",
    "srv_conn",
    "srv_sess_rate",
    "sc0_conn_rate",
    "sc0_conn_cur",
    "sc0_conn_cnt",
    "src_conn_rate",
    "src_conn_cur",
    "src_conn_cnt",
];

/// Ways to compare that `path_…` can end with.
const PATH_METHODS: [&str; 7] = ["beg", "dir", "dom", "end", "len", "reg", "sub"];

const CONVERTERS: &[&str] = &["lower", "upper", "length", "hex", "ipmask", "field"];

impl Sample {
    /// Whether it needs what the client sends.
    pub(super) fn is_content(&self) -> bool {
        matches!(
            self.expression.fetch,
            Fetch::Length
                | Fetch::Payload { .. }
                | Fetch::HelloType
                | Fetch::HelloVersion
                | Fetch::ServerName
                | Fetch::Alpn
                | Fetch::Path
                | Fetch::Method
                | Fetch::Authorized(_)
        )
    }
}

/// Reads a sample with its converters.
pub(super) fn read(word: &Word, names: &Names<'_, '_>) -> Result<Sample, Box<Diagnostic>> {
    let (name, arguments, mut rest) = split(&word.text).ok_or_else(|| {
        let message = "the arguments of this sample do not end";
        Box::new(Diagnostic::error(codes::SAMPLE_ARGUMENTS, word.span, message).label("needs a `)`"))
    })?;
    // `path_beg` is `path` with a way to compare.
    let (name, _) = with_method(name, names);
    let reader = Reader { word, names, name, arguments: arguments.unwrap_or_default() };
    let (fetch, mut kind) = reader.fetch()?;
    let mut converters = Vec::new();
    while let Some(next) = rest.strip_prefix(',') {
        if next.is_empty() {
            rest = next;
            break;
        }
        let Some((name, arguments, left)) = split(next) else {
            let message = "the arguments of this converter do not end";
            return Err(Diagnostic::error(codes::SAMPLE_ARGUMENTS, word.span, message).into());
        };
        let reader = Reader { word, names, name, arguments: arguments.unwrap_or_default() };
        let (converter, turned) = reader.converter()?;
        converters.push(converter);
        kind = turned;
        rest = left;
    }
    if !rest.is_empty() {
        let message = format!("`{rest}` is one too many after the arguments of this sample");
        return Err(Diagnostic::error(codes::SAMPLE_ARGUMENTS, word.span, message).into());
    }
    Ok(Sample { expression: Expression { fetch, converters }, kind })
}

/// A name, and the way to compare that it ends with (`path_beg`), where requests of HTTP can be looked at.
fn with_method<'t>(name: &'t str, names: &Names<'_, '_>) -> (&'t str, Option<&'t str>) {
    match name.split_once('_') {
        Some(("path", method)) if names.http && PATH_METHODS.contains(&method) => ("path", Some(method)),
        _ => (name, None),
    }
}

/// The way to compare that the name of a sample ends with, if there is one.
pub(super) fn method_of<'w>(word: &'w Word, names: &Names<'_, '_>) -> Option<&'w str> {
    let name = word.text.split(['(', ',']).next()?;
    with_method(name, names).1
}

/// A name, its arguments if it has any, and what follows.
fn split(text: &str) -> Option<(&str, Option<&str>, &str)> {
    let end = text.find(['(', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix('(') {
        None => Some((name, None, rest)),
        Some(inside) => {
            let (arguments, rest) = inside.split_once(')')?;
            Some((name, Some(arguments), rest))
        }
    }
}

struct Reader<'a, 'b, 'c> {
    word: &'a Word,
    names: &'a Names<'b, 'c>,
    name: &'a str,
    arguments: &'a str,
}

impl Reader<'_, '_, '_> {
    fn fetch(&self) -> Result<(Fetch, Kind), Box<Diagnostic>> {
        if let Some(fetch) = self.of_connection()? {
            return Ok(fetch);
        }
        if let Some(fetch) = self.of_load()? {
            let kind = if self.name == "srv_is_up" { Kind::Boolean } else { Kind::Integer };
            return Ok((fetch, kind));
        }
        if let Some(fetch) = self.of_table()? {
            return Ok((fetch, Kind::Integer));
        }
        Err(self.unknown("sample", OTHER_SAMPLES, SAMPLES))
    }

    /// What is known of the connection itself.
    fn of_connection(&self) -> Result<Option<(Fetch, Kind)>, Box<Diagnostic>> {
        let found = match self.name {
            "always_true" => (Fetch::Constant(Constant::Boolean(true)), Kind::Boolean),
            "always_false" => (Fetch::Constant(Constant::Boolean(false)), Kind::Boolean),
            "wait_end" => (Fetch::WaitEnd, Kind::Boolean),
            "src" => (Fetch::Source, Kind::Address),
            "src_port" => (Fetch::SourcePort, Kind::Integer),
            "dst" => (Fetch::Destination, Kind::Address),
            "dst_port" => (Fetch::DestinationPort, Kind::Integer),
            "fe_name" => (Fetch::Constant(Constant::Text(self.names.proxy().to_owned())), Kind::Text),
            "req.len" | "req_len" => (Fetch::Length, Kind::Integer),
            "req.ssl_hello_type" | "req_ssl_hello_type" => (Fetch::HelloType, Kind::Integer),
            "req.ssl_ver" | "req_ssl_ver" => (Fetch::HelloVersion, Kind::Version),
            "req.ssl_sni" | "req_ssl_sni" => (Fetch::ServerName, Kind::Text),
            "req.ssl_alpn" => (Fetch::Alpn, Kind::Text),
            "path" if self.names.http => (Fetch::Path, Kind::Text),
            "method" if self.names.http => (Fetch::Method, Kind::Text),
            "http_auth" if self.names.http => {
                let accounts = Userlist::accounts(self.names.userlists, self.arguments);
                let accounts = accounts.map_err(|(code, message, hint)| {
                    Box::new(Diagnostic::error(code, self.word.span, message).hint(hint))
                })?;
                return Ok(Some((Fetch::Authorized(accounts), Kind::Boolean)));
            }
            "bool" => {
                let value = match self.arguments {
                    "true" | "1" => true,
                    "false" | "0" => false,
                    _ => return Err(self.wrong("true, false, 0 or 1")),
                };
                return Ok(Some((Fetch::Constant(Constant::Boolean(value)), Kind::Boolean)));
            }
            "int" => {
                let value = self.arguments.parse().map_err(|_| self.wrong("a whole number"))?;
                return Ok(Some((Fetch::Constant(Constant::Integer(value)), Kind::Integer)));
            }
            "str" => {
                let value = Constant::Text(self.arguments.to_owned());
                return Ok(Some((Fetch::Constant(value), Kind::Text)));
            }
            "req.payload" => {
                let numbers: Option<Vec<i64>> =
                    self.arguments.split(',').map(|number| number.trim().parse().ok()).collect();
                let Some([offset, length]) = numbers.as_deref() else {
                    return Err(self.wrong("an offset and a length"));
                };
                let (Ok(offset), Ok(length)) = (usize::try_from(*offset), usize::try_from(*length)) else {
                    return Err(self.wrong("an offset and a length that are not negative"));
                };
                return Ok(Some((Fetch::Payload { offset, length }, Kind::Bytes)));
            }
            _ => return Ok(None),
        };
        self.nothing()?;
        Ok(Some(found))
    }

    /// What is known of frontends, pools and servers.
    fn of_load(&self) -> Result<Option<Fetch>, Box<Diagnostic>> {
        let none = Fetch::Constant(Constant::Integer(0));
        let make: fn(_) -> Fetch = match self.name {
            "nbsrv" => Fetch::UsableServers,
            "connslots" => Fetch::ConnectionSlots,
            "queue" => Fetch::Queue,
            "avg_queue" => Fetch::AverageQueue,
            "be_conn" => Fetch::PoolConnections,
            "be_conn_free" => Fetch::FreeConnections,
            "be_sess_rate" => Fetch::PoolRate,
            "fe_conn" | "fe_sess_rate" => {
                let make =
                    if self.name == "fe_conn" { Fetch::FrontendConnections } else { Fetch::FrontendRate };
                let found = self.names.frontend(self.arguments).map_err(|problem| self.not_there(problem))?;
                return Ok(Some(found.map_or(none, make)));
            }
            "srv_is_up" | "srv_conn" | "srv_sess_rate" => {
                let make = match self.name {
                    "srv_is_up" => Fetch::ServerIsUp,
                    "srv_conn" => Fetch::ServerConnections,
                    _ => Fetch::ServerRate,
                };
                let found = self.names.server(self.arguments).map_err(|problem| self.not_there(problem))?;
                return Ok(Some(found.map_or(none, make)));
            }
            _ => return Ok(None),
        };
        let pool = self.names.pool(self.arguments).map_err(|problem| self.not_there(problem))?;
        Ok(Some(pool.map_or(none, make)))
    }

    /// What tables count.
    fn of_table(&self) -> Result<Option<Fetch>, Box<Diagnostic>> {
        let Some((start, count)) = self.name.split_once('_') else { return Ok(None) };
        let count = match count {
            "conn_cnt" => Count::ConnectionsTotal,
            "conn_cur" => Count::Connections,
            "conn_rate" => Count::ConnectionRate,
            "sess_cnt" => Count::SessionsTotal,
            "sess_rate" => Count::SessionRate,
            "tracked" if start != "src" => Count::Tracked,
            "trackers" if start != "src" => Count::Trackers,
            _ => return Ok(None),
        };
        let table = |name: &str| self.names.table(name).map_err(|problem| self.not_there(problem));
        let (slot, named) = match start {
            "src" => return Ok(Some(Fetch::OfSource { table: table(self.arguments)?, count })),
            "sc0" => (0, self.arguments),
            "sc1" => (1, self.arguments),
            "sc2" => (2, self.arguments),
            "sc" => {
                let (slot, named) = self.arguments.split_once(',').unwrap_or((self.arguments, ""));
                (slot.parse().map_err(|_| self.wrong("the number of a counter, from 0 to 2"))?, named)
            }
            _ => return Ok(None),
        };
        let table = if named.is_empty() { None } else { Some(table(named)?) };
        Ok(Some(Fetch::Tracked { slot, table, count }))
    }

    fn converter(&self) -> Result<(Converter, Kind), Box<Diagnostic>> {
        Ok(match self.name {
            "lower" => (self.nothing().map(|()| Converter::Lower)?, Kind::Text),
            "upper" => (self.nothing().map(|()| Converter::Upper)?, Kind::Text),
            "hex" => (self.nothing().map(|()| Converter::Hex)?, Kind::Text),
            "length" => (self.nothing().map(|()| Converter::Length)?, Kind::Integer),
            "ipmask" => {
                let (v4, v6) = self.arguments.split_once(',').unwrap_or((self.arguments, "128"));
                let v4 = mask4(v4).ok_or_else(|| self.wrong("an IPv4 mask, such as 24 or 255.255.255.0"))?;
                let v6 = mask6(v6).ok_or_else(|| self.wrong("an IPv6 mask, such as 64"))?;
                (Converter::Mask(v4, v6), Kind::Address)
            }
            "field" => {
                let (index, delimiters) = self.arguments.split_once(',').unwrap_or((self.arguments, ""));
                let index: i64 = index.parse().map_err(|_| self.wrong("a number and delimiters"))?;
                // A third argument, and a delimiter that is a comma, look the same.
                if index == 0 || delimiters.is_empty() || delimiters.contains(',') {
                    return Err(self.wrong("a number that is not 0, and delimiters other than a comma"));
                }
                (Converter::Field { index, delimiters: delimiters.as_bytes().to_vec() }, Kind::Text)
            }
            _ => return Err(self.unknown("converter", OTHER_CONVERTERS, CONVERTERS)),
        })
    }

    fn nothing(&self) -> Result<(), Box<Diagnostic>> {
        if self.arguments.is_empty() { Ok(()) } else { Err(self.wrong("no arguments")) }
    }

    fn wrong(&self, expected: &str) -> Box<Diagnostic> {
        let message = format!("`{}` takes {expected}, not `{}`", self.name, self.arguments);
        Diagnostic::error(codes::SAMPLE_ARGUMENTS, self.word.span, message).into()
    }

    fn not_there(&self, (code, message, label): (&'static str, String, String)) -> Box<Diagnostic> {
        Diagnostic::error(code, self.word.span, format!("{message} for `{}`", self.name)).label(label).into()
    }

    fn unknown(&self, what: &str, others: &[&'static str], ours: &[&'static str]) -> Box<Diagnostic> {
        let counter = self.name.strip_prefix("sc1_").or_else(|| self.name.strip_prefix("sc2_"));
        let generic = counter.map(|count| format!("sc0_{count}"));
        if others.contains(&generic.as_deref().unwrap_or(self.name)) {
            let message = format!("mainstay does not know `{}` of a connection", self.name);
            return Diagnostic::error(codes::REFUSED, self.word.span, message)
                .label(format!("a {what} of HAProxy's"))
                .hint("it relays bytes: it knows addresses, the first bytes of TLS, loads and stick tables")
                .into();
        }
        let message = format!("there is no {what} `{}`", self.name);
        let diagnostic = Diagnostic::error(codes::UNKNOWN_SAMPLE, self.word.span, message);
        Box::new(match did_you_mean(self.name, ours.iter().copied()) {
            Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
            None => diagnostic.label("not known"),
        })
    }
}

/// An IPv4 mask, as a number of bits or as an address.
pub(super) fn mask4(text: &str) -> Option<Ipv4Addr> {
    match text.parse::<u32>() {
        Ok(bits @ 0..=32) => {
            Some(Ipv4Addr::from_bits(u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0)))
        }
        Ok(_) => None,
        Err(_) => text.parse().ok(),
    }
}

fn mask6(text: &str) -> Option<Ipv6Addr> {
    match text.parse::<u32>() {
        Ok(bits @ 0..=128) => {
            Some(Ipv6Addr::from_bits(u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0)))
        }
        Ok(_) => None,
        Err(_) => text.parse().ok(),
    }
}
