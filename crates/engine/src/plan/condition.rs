//! Conditions on connections: samples of them, what they are compared with, and how tests are joined.
//!
//! Data only; [`rules`](crate::rules) evaluates it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::plan::{Account, FrontendId, PoolId, ServerId, TableId};

/// What stands after `if` or `unless`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// It was `unless`: the rule applies when the tests do not hold.
    pub unless: bool,
    /// It holds when all terms of any of these hold.
    pub any: Vec<Vec<Term>>,
}

/// One access list in a condition, perhaps after `!`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// Whether it must not hold.
    pub negated: bool,
    /// What is tested.
    pub acl: Arc<Acl>,
}

/// An access list: it holds when any of its tests does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// Its name; `None` where it was written between braces.
    pub name: Option<String>,
    /// One for each line of this name.
    pub tests: Vec<Test>,
}

/// A sample, and what it is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is looked at.
    pub sample: Expression,
    /// What it has to be.
    pub pattern: Pattern,
}

/// A sample and what is made of it before it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// What is looked at.
    pub fetch: Fetch,
    /// Applied in order.
    pub converters: Vec<Converter>,
}

/// What can be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The same for ever: `always_true`, `int(…)`, `fe_name`, and what is asked of a proxy without servers.
    Constant(Constant),
    /// Nothing until nothing more is waited for, then true (`wait_end`).
    WaitEnd,
    /// The client's address (`src`).
    Source,
    /// The client's port (`src_port`).
    SourcePort,
    /// The address the client connected to (`dst`).
    Destination,
    /// The port the client connected to (`dst_port`).
    DestinationPort,
    /// How many bytes have arrived (`req.len`).
    Length,
    /// Bytes that have arrived; a length of 0 is all there are (`req.payload`).
    Payload {
        /// How many bytes come before.
        offset: usize,
        /// How many bytes.
        length: usize,
    },
    /// The type of the first TLS handshake message (`req.ssl_hello_type`).
    HelloType,
    /// The protocol version that a TLS client hello says (`req.ssl_ver`).
    HelloVersion,
    /// The server name a TLS client hello asks for (`req.ssl_sni`).
    ServerName,
    /// The first protocol of a TLS client hello's ALPN list (`req.ssl_alpn`).
    Alpn,
    /// The path of a request of HTTP (`path`).
    Path,
    /// The method of a request of HTTP (`method`).
    Method,
    /// Whether a request of HTTP has the password of one of these (`http_auth`).
    Authorized(Vec<Account>),
    /// Connections of a frontend (`fe_conn`).
    FrontendConnections(FrontendId),
    /// Servers that can be chosen (`nbsrv`).
    UsableServers(PoolId),
    /// Connections and waiting places that servers have left (`connslots`).
    ConnectionSlots(PoolId),
    /// Connections that wait in a pool (`queue`).
    Queue(PoolId),
    /// As many, for each server that can be chosen (`avg_queue`).
    AverageQueue(PoolId),
    /// Connections of a pool (`be_conn`).
    PoolConnections(PoolId),
    /// Connections that servers can still take (`be_conn_free`).
    FreeConnections(PoolId),
    /// Whether a server works (`srv_is_up`).
    ServerIsUp(ServerId),
    /// Connections of a server (`srv_conn`).
    ServerConnections(ServerId),
    /// Sessions of a frontend in the last second (`fe_sess_rate`).
    FrontendRate(FrontendId),
    /// Sessions of a pool in the last second (`be_sess_rate`).
    PoolRate(PoolId),
    /// Connections of a server in the last second (`srv_sess_rate`).
    ServerRate(ServerId),
    /// What is counted for a tracked key (`sc0_…`, `sc_…(0)`).
    Tracked {
        /// Which of the counters of a connection.
        slot: u8,
        /// Looked up here, under the tracked key; `None` is where it is tracked.
        table: Option<TableId>,
        /// Which count.
        count: Count,
    },
    /// What is counted for the client's address (`src_conn_rate(…)` and its like).
    OfSource {
        /// Looked up here.
        table: TableId,
        /// Which count.
        count: Count,
    },
}

/// A value that the configuration gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Constant {
    /// `always_true`, `bool(…)`.
    Boolean(bool),
    /// `int(…)`.
    Integer(i64),
    /// `str(…)`, `fe_name`.
    Text(String),
}

/// What is counted for a key of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Count {
    /// Connections so far (`conn_cnt`).
    ConnectionsTotal,
    /// Connections now (`conn_cur`).
    Connections,
    /// Connections in a period (`conn_rate`).
    ConnectionRate,
    /// Sessions so far: connections that the rules let in (`sess_cnt`).
    SessionsTotal,
    /// Sessions in a period (`sess_rate`).
    SessionRate,
    /// Whether the key is tracked at all (`sc0_tracked`).
    Tracked,
    /// How many connections track the key now (`sc0_trackers`).
    Trackers,
}

/// What can be made of a sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Converter {
    /// Letters to small ones (`lower`).
    Lower,
    /// Letters to capitals (`upper`).
    Upper,
    /// The length of a text (`length`).
    Length,
    /// Bytes as hexadecimal digits (`hex`).
    Hex,
    /// The network of an address (`ipmask`).
    Mask(Ipv4Addr, Ipv6Addr),
    /// A part between delimiters; negative counts from the end (`field`).
    Field {
        /// Which one, from 1 on.
        index: i64,
        /// Bytes that separate parts.
        delimiters: Vec<u8>,
    },
}

/// What a sample is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// There is one (`-m found`).
    Found,
    /// It is true, or not 0.
    Boolean,
    /// It is in one of these ranges.
    Integers(Vec<Range>),
    /// Its length is in one of these ranges (`-m len`).
    Lengths(Vec<Range>),
    /// It is in one of these networks.
    Networks(Vec<AddressRange>),
    /// It matches one of these texts.
    Texts {
        /// Where in the sample.
        how: TextMatch,
        /// Without regard to capitals.
        ignore_case: bool,
        /// The texts, in small letters where capitals do not matter.
        texts: Vec<Vec<u8>>,
    },
    /// It is one of these, byte for byte (`-m bin`).
    Bytes(Vec<Vec<u8>>),
    /// One of these is found in it.
    Regexes(Vec<Regex>),
}

/// Where a text has to be found in a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// It is the sample (`str`).
    Whole,
    /// The sample starts with it (`beg`).
    Start,
    /// The sample ends with it (`end`).
    End,
    /// Anywhere (`sub`).
    Anywhere,
    /// Between slashes (`dir`).
    Directory,
    /// Between dots, slashes, colons and question marks (`dom`).
    Domain,
}

/// Whole numbers from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The least, unless there is none.
    pub from: Option<i64>,
    /// The greatest, unless there is none.
    pub to: Option<i64>,
}

/// A network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRange {
    /// IPv4: the address and its mask.
    V4(Ipv4Addr, Ipv4Addr),
    /// IPv6: the address and the length of its prefix.
    V6(Ipv6Addr, u8),
}

/// A regular expression that was found to be one.
#[derive(Clone, Debug)]
pub struct Regex {
    text: String,
    compiled: regex::bytes::Regex,
}

impl Expression {
    /// A sample as it is.
    pub fn plain(fetch: Fetch) -> Self {
        Self { fetch, converters: Vec::new() }
    }
}

impl Range {
    /// Whether `number` is in it.
    pub fn contains(self, number: i64) -> bool {
        self.from.is_none_or(|from| number >= from) && self.to.is_none_or(|to| number <= to)
    }
}

impl AddressRange {
    /// Whether `address` is in it. As in HAProxy an IPv4 address is in an IPv6 network as `::ffff:a.b.c.d`, and an IPv6
    /// one in an IPv4 network if it stands for an IPv4 address.
    pub fn contains(self, address: IpAddr) -> bool {
        match self {
            Self::V4(network, mask) => {
                let address = match address {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(address) => embedded(address),
                };
                address.is_some_and(|address| address & mask == network & mask)
            }
            Self::V6(network, length) => {
                let address = match address {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
                address.to_bits() & mask == network.to_bits() & mask
            }
        }
    }
}

/// The IPv4 address that an IPv6 one stands for: mapped, compatible or 6to4.
pub fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = address.to_bits();
    let six_to_four = || (bits >> 112 == 0x2002).then(|| u32::try_from(bits >> 80 & 0xffff_ffff).ok())?;
    let [high @ .., _, _] = address.segments();
    let low = u32::try_from(bits & 0xffff_ffff).ok();
    let plain = high == [0; 6] || high == [0, 0, 0, 0, 0, 0xffff];
    low.filter(|_| plain).or_else(six_to_four).map(Ipv4Addr::from_bits)
}

impl Regex {
    /// Reads a regular expression, or says what is wrong with it.
    pub fn new(text: &str, ignore_case: bool) -> Result<Self, String> {
        // Byte by byte, as HAProxy's: what is looked at need not be text.
        let builder = &mut regex::bytes::RegexBuilder::new(text);
        let compiled = builder.case_insensitive(ignore_case).unicode(false).build();
        compiled.map(|compiled| Self { text: text.to_owned(), compiled }).map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            // The last line has the reason; those above repeat the expression.
            other => other.to_string().lines().last().unwrap_or_default().replace("error: ", ""),
        })
    }

    /// Whether it is found in `bytes`.
    pub fn is_in(&self, bytes: &[u8]) -> bool {
        self.compiled.is_match(bytes)
    }
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Regex {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_families_meet_as_in_haproxy() {
        let v4 = AddressRange::V4([10, 1, 0, 0].into(), [255, 255, 0, 0].into());
        for (address, inside) in [
            ("10.1.2.3", true),
            ("10.2.2.3", false),
            ("::ffff:10.1.2.3", true),
            ("::10.1.2.3", true),
            ("2002:a01:203::", true),
            ("fd00::a01:203", false),
        ] {
            assert_eq!(v4.contains(address.parse().unwrap()), inside, "{address}");
        }
        let v6 = AddressRange::V6("::ffff:10.1.0.0".parse().unwrap(), 112);
        assert!(v6.contains("10.1.2.3".parse().unwrap()) && !v6.contains("10.2.2.3".parse().unwrap()));
        assert!(AddressRange::V6(Ipv6Addr::UNSPECIFIED, 0).contains("fd00::1".parse().unwrap()));
        assert!(!AddressRange::V6(Ipv6Addr::LOCALHOST, 128).contains("::2".parse().unwrap()));
    }
}
