//! Samples of a connection.
//!
//! Owns [`Value`] and [`take`]: what a [`Fetch`] finds, and what converters make of it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::Ordering;

use crate::plan::{Constant, Converter, Expression, Fetch, PoolId, ServerId, embedded};
use crate::rules::client_hello::{ClientHello, Partial, client_hello, hello_type};
use crate::rules::{Context, table};
use crate::serving::{PoolView, ServerView};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Boolean(bool),
    Integer(i64),
    Address(IpAddr),
    Text(Cow<'a, [u8]>),
}

/// A sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sample<'a> {
    /// What was found, if anything.
    pub(super) value: Option<Value<'a>>,
    /// Whether it may be another one when more has arrived.
    pub(super) may_change: bool,
}

impl<'a> Sample<'a> {
    fn settled(value: Option<Value<'a>>) -> Self {
        Self { value, may_change: false }
    }

    fn of_hello<T>(read: Result<T, Partial>, value: impl FnOnce(T) -> Option<Value<'a>>) -> Self {
        match read {
            Ok(read) => Self::settled(value(read)),
            Err(reason) => Self { value: None, may_change: reason == Partial::NeedMore },
        }
    }
}

/// Takes a sample and converts it.
pub(super) fn take<'a>(expression: &'a Expression, context: &Context<'a>) -> Sample<'a> {
    let mut sample = fetch(&expression.fetch, context);
    for converter in &expression.converters {
        sample.value = sample.value.and_then(|value| convert(value, converter));
    }
    sample.may_change &= !context.complete;
    sample
}

fn fetch<'a>(fetch: &'a Fetch, context: &Context<'a>) -> Sample<'a> {
    let received = context.received.unwrap_or_default();
    let hello = |value: fn(ClientHello) -> Option<Value<'a>>| match context.received {
        Some(received) => Sample::of_hello(client_hello(received), value),
        None => Sample::settled(None),
    };
    let text = |bytes: Vec<u8>| Value::Text(Cow::Owned(bytes));
    let integer = |number: u64| Some(Value::Integer(i64::try_from(number).unwrap_or(i64::MAX)));
    match fetch {
        Fetch::WaitEnd => {
            Sample { value: context.complete.then_some(Value::Boolean(true)), may_change: true }
        }
        Fetch::Length => Sample {
            value: context.received.and_then(|received| integer(received.len() as u64)),
            may_change: true,
        },
        Fetch::Payload { offset, length } => payload(context.received, *offset, *length),
        Fetch::HelloType => match context.received {
            Some(_) => Sample::of_hello(hello_type(received), |kind| integer(kind.into())),
            None => Sample::settled(None),
        },
        Fetch::HelloVersion => hello(|hello| {
            let (major, minor) = hello.version;
            Some(Value::Integer(i64::from(major) << 16 | i64::from(minor)))
        }),
        Fetch::ServerName => hello(|hello| hello.server_name.map(|name| Value::Text(Cow::Owned(name)))),
        Fetch::Alpn => hello(|hello| hello.alpn.map(|name| Value::Text(Cow::Owned(name)))),
        Fetch::Constant(Constant::Boolean(value)) => Sample::settled(Some(Value::Boolean(*value))),
        Fetch::Constant(Constant::Integer(value)) => Sample::settled(Some(Value::Integer(*value))),
        Fetch::Constant(Constant::Text(value)) => Sample::settled(Some(text(value.clone().into_bytes()))),
        // A client that came by a socket of this machine has no address.
        Fetch::Source => {
            let source = Some(context.source.ip()).filter(|source| !source.is_unspecified());
            Sample::settled(source.map(Value::Address))
        }
        Fetch::SourcePort => {
            let source = Some(context.source).filter(|source| !source.ip().is_unspecified());
            Sample::settled(source.and_then(|source| integer(source.port().into())))
        }
        Fetch::Destination => {
            Sample::settled(context.destination.map(|address| Value::Address(address.ip().to_canonical())))
        }
        Fetch::DestinationPort => {
            Sample::settled(context.destination.and_then(|address| integer(address.port().into())))
        }
        Fetch::Path => {
            let path = context.request.map(|request| request.path().as_bytes());
            Sample::settled(path.map(|path| Value::Text(Cow::Borrowed(path))))
        }
        Fetch::Method => {
            let method = context.request.map(|request| request.method.as_bytes());
            Sample::settled(method.map(|method| Value::Text(Cow::Borrowed(method))))
        }
        Fetch::Authorized(accounts) => {
            let given = context.request.and_then(|request| request.credentials);
            // All are compared, so that it takes as long whoever it is.
            let fits = |given| accounts.iter().fold(false, |any, account| any | account.fits(given));
            Sample::settled(Some(Value::Boolean(given.is_some_and(fits))))
        }
        Fetch::Tracked { slot, table, count } => {
            Sample::settled(integer(table::tracked(context, *slot, *table, *count)))
        }
        Fetch::OfSource { table, count } => {
            Sample::settled(integer(table::of_source(context, *table, *count)))
        }
        _ => Sample::settled(of_load(fetch, context).map(Value::Integer)),
    }
}

fn payload(received: Option<&[u8]>, offset: usize, length: usize) -> Sample<'_> {
    let Some(received) = received else { return Sample::settled(None) };
    let rest = received.get(offset..).unwrap_or_default();
    let (value, may_change) = match length {
        0 => (Some(rest).filter(|rest| !rest.is_empty()), true),
        _ => (rest.get(..length), rest.len() < length),
    };
    Sample { value: value.map(|bytes| Value::Text(Cow::Borrowed(bytes))), may_change }
}

/// What the loads of frontends, pools and servers say.
fn of_load(fetch: &Fetch, context: &Context<'_>) -> Option<i64> {
    let serving = context.serving;
    let pool = |id: PoolId| serving.pools.get(usize::from(id.0));
    let server = |id: ServerId| pool(id.pool)?.servers.get(usize::from(id.server.0));
    match *fetch {
        Fetch::FrontendConnections(id) => {
            let load = serving.frontends.get(usize::from(id.0))?;
            Some(load.sessions.load(Ordering::Relaxed).into())
        }
        Fetch::UsableServers(id) => Some(usable(pool(id)?)),
        Fetch::ConnectionSlots(id) => Some(slots(pool(id)?)),
        Fetch::Queue(id) => Some(pool(id)?.load.queued.load(Ordering::Relaxed).into()),
        Fetch::AverageQueue(id) => {
            let pool = pool(id)?;
            let queued = i64::from(pool.load.queued.load(Ordering::Relaxed));
            let servers = usable(pool);
            // As in HAProxy twice the queue where nobody serves it.
            Some(if servers > 0 { (queued + servers - 1) / servers } else { queued * 2 })
        }
        Fetch::PoolConnections(id) => Some(pool(id)?.load.sessions.load(Ordering::Relaxed).into()),
        Fetch::PoolRate(id) => Some(pool(id)?.load.session_rate.per_second(context.now).into()),
        Fetch::FrontendRate(id) => {
            let load = serving.frontends.get(usize::from(id.0))?;
            Some(load.session_rate.per_second(context.now).into())
        }
        Fetch::ServerRate(id) => Some(server(id)?.load.session_rate.per_second(context.now).into()),
        Fetch::FreeConnections(id) => Some(free(pool(id)?)),
        Fetch::ServerIsUp(id) => Some(server(id)?.usable.into()),
        Fetch::ServerConnections(id) => Some(server(id)?.load.sessions().into()),
        _ => None,
    }
}

fn usable(pool: &PoolView) -> i64 {
    i64::try_from(pool.servers.iter().filter(|server| server.selectable).count()).unwrap_or(i64::MAX)
}

/// Room of a server with these limits; `None` is any.
fn room(server: &ServerView) -> Option<i64> {
    Some(i64::from(server.maxconn?) - i64::from(server.load.sessions()))
}

/// -1 is HAProxy's word for "any number".
fn slots(pool: &PoolView) -> i64 {
    let running = pool.servers.iter().filter(|server| server.usable);
    let each = running.map(|server| Some(room(server)? + i64::from(server.maxqueue?)));
    each.sum::<Option<i64>>().unwrap_or(-1)
}

fn free(pool: &PoolView) -> i64 {
    let selectable = pool.servers.iter().filter(|server| server.selectable);
    selectable.map(room).sum::<Option<i64>>().unwrap_or(-1)
}

fn convert<'a>(value: Value<'a>, converter: &Converter) -> Option<Value<'a>> {
    let text = |value: &Value<'a>| value.text().map(Cow::into_owned);
    let owned = |bytes| Some(Value::Text(Cow::Owned(bytes)));
    match converter {
        Converter::Lower => owned(text(&value)?.to_ascii_lowercase()),
        Converter::Upper => owned(text(&value)?.to_ascii_uppercase()),
        Converter::Length => Some(Value::Integer(i64::try_from(text(&value)?.len()).ok()?)),
        Converter::Hex => {
            owned(text(&value)?.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect())
        }
        Converter::Mask(v4, v6) => Some(Value::Address(match value.address()? {
            IpAddr::V4(address) => IpAddr::V4(address & *v4),
            IpAddr::V6(address) => IpAddr::V6(address & *v6),
        })),
        Converter::Field { index, delimiters } => {
            let bytes = text(&value)?;
            let mut parts: Vec<&[u8]> = bytes.split(|byte| delimiters.contains(byte)).collect();
            if *index < 0 {
                parts.reverse();
            }
            let place = usize::try_from(index.unsigned_abs()).ok()?.checked_sub(1)?;
            owned(parts.get(place)?.to_vec())
        }
    }
}

impl<'a> Value<'a> {
    /// The value as a text.
    pub(super) fn text(&self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Text(text) => Some(text.clone()),
            Self::Integer(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            Self::Boolean(value) => Some(Cow::Owned(i64::from(*value).to_string().into_bytes())),
            Self::Address(address) => Some(Cow::Owned(address.to_string().into_bytes())),
        }
    }

    /// The value as bytes: addresses as on the wire, numbers in 64 bits, as HAProxy hashes them.
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.into_owned(),
            Self::Integer(number) => number.to_be_bytes().to_vec(),
            Self::Boolean(value) => i64::from(value).to_be_bytes().to_vec(),
            Self::Address(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Address(IpAddr::V6(address)) => address.octets().to_vec(),
        }
    }

    /// The value as a whole number.
    pub(super) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Boolean(value) => Some((*value).into()),
            Self::Address(IpAddr::V4(address)) => Some(address.to_bits().into()),
            Self::Address(IpAddr::V6(_)) => None,
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        }
    }

    /// The value as an address.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Integer(number) => Some(Ipv4Addr::from_bits(u32::try_from(*number).ok()?).into()),
            Self::Text(text) => std::str::from_utf8(text).ok()?.parse().ok(),
            Self::Boolean(_) => None,
        }
    }

    /// The value as an IPv4 address.
    pub(super) fn v4(&self) -> Option<Ipv4Addr> {
        match self.address()? {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(address) => embedded(address),
        }
    }

    /// The value as an IPv6 address.
    pub(super) fn v6(&self) -> Option<Ipv6Addr> {
        match self.address()? {
            IpAddr::V4(address) => Some(address.to_ipv6_mapped()),
            IpAddr::V6(address) => Some(address),
        }
    }
}
/// What an expression is as bytes, if it is anything now.
pub fn bytes_of(expression: &Expression, context: &Context<'_>) -> Option<Vec<u8>> {
    take(expression, context).value.map(Value::into_bytes)
}
