//! What the kernel shall forward, as text for `nft`.
//!
//! Owns [`Ruleset`]. All of it is one table of our own; others' are never touched. Each text is one transaction. The rules may stay
//! in force on a balancer that does not have the virtual addresses: they do nothing for an address that is not this machine's.
//!
//! Of a connection to an endpoint the destination becomes that of a server, and the source the endpoint's address, so that a server
//! sees the same whichever balancer forwards it. What belongs to a connection that the kernel does not know yet is dropped and never
//! answered: a reset would end a connection that another balancer left us a moment ago, and its ends send again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write as _};
use std::net::SocketAddr;

use mainstay_engine::forwarding::{Endpoint, ForwardedPool, KernelForwarding};
use mainstay_engine::limits::MAGLEV_ENTRIES;
use mainstay_engine::plan::{FlowKey, FrontendId, NoServer, PoolId, ServerId, ServerIndex};

/// The table.
pub const TABLE: &str = "inet mainstay_nat";

/// The seed of the kernel's hash. Balancers of one group, of whatever version, must have the same.
const SEED: u32 = 0x6d73_7479;

/// The zone in which the kernel keeps connections of this machine to an endpoint that is elsewhere, be it as a client or as a
/// server: when the address comes here they are connections that the kernel does not know, and are taken up as any other.
const ELSEWHERE: u16 = 28_019;

/// Holds for what would leave by the interface that it came by: its sender has not learnt yet that the address has moved. A gateway
/// between its clients and the address has two interfaces.
const STRAYS: &str = "fib daddr . iif oif exists";

/// What is counted of each endpoint and of each server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// Packets that began a connection.
    New,
    /// What came from clients.
    In,
    /// What came from servers.
    Out,
}

/// Whom a counter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A frontend: one of its endpoints.
    Frontend(FrontendId),
    /// A server.
    Server(ServerId),
}

/// Everything the kernel has of one description.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// Declarations of the table, without its braces.
    body: String,
    chains: BTreeSet<String>,
    counters: BTreeSet<String>,
}

impl Ruleset {
    /// The rules that make the kernel forward this.
    pub fn new(forwarding: &KernelForwarding) -> Self {
        let mut rules = Self::default();
        for pool in &forwarding.pools {
            rules.pool(pool);
        }
        let endpoints = named(forwarding);
        for (name, endpoint) in &endpoints {
            rules.endpoint(name, endpoint, forwarding);
        }
        rules.translation(&endpoints);
        rules.guard(forwarding);
        rules.counting(&endpoints);
        rules
    }

    /// Puts it in force in place of whatever the table holds.
    pub fn replace(&self) -> String {
        format!("{}table {TABLE} {{\n{}}}\n", removal(), self.body)
    }

    /// Puts it in force in place of `before`, and goes on counting.
    pub fn update(&self, before: &Self) -> String {
        let mut script = format!("flush table {TABLE}\ntable {TABLE} {{\n{}}}\n", self.body);
        for chain in before.chains.difference(&self.chains) {
            let _ = writeln!(script, "delete chain {TABLE} {chain}");
        }
        for counter in before.counters.difference(&self.counters) {
            let _ = writeln!(script, "delete counter {TABLE} {counter}");
        }
        script
    }

    fn chain(&mut self, name: &str, rules: &[String]) {
        self.chains.insert(name.to_owned());
        let _ = writeln!(self.body, "chain {name} {{\n{}\n}}", rules.join("\n"));
    }

    fn count(&mut self, subject: &str, what: Counted) -> String {
        let name = counter(subject, what);
        if self.counters.insert(name.clone()) {
            let _ = writeln!(self.body, "counter {name} {{ }}");
        }
        format!("counter name \"{name}\"")
    }

    /// How a connection finds its server, and what is counted of each.
    fn pool(&mut self, pool: &ForwardedPool) {
        let (name, ip) = (pool_name(pool), family(pool.is_ipv4));
        let mut counted = [String::new(), String::new()];
        for server in &pool.servers {
            let own = server_name(&name, server.id.server);
            let count = self.count(&own, Counted::New);
            self.chain(&own, &[format!("{count} meta l4proto tcp dnat {ip} to {}", server.address)]);
            for (map, what) in counted.iter_mut().zip([Counted::In, Counted::Out]) {
                self.count(&own, what);
                let _ = write!(map, "{} : \"{}\", ", concatenated(server.address), counter(&own, what));
            }
        }
        for (elements, (suffix, end)) in
            counted.iter().zip([("in", "daddr . tcp dport"), ("out", "saddr . tcp sport")])
        {
            let rule = format!("counter name {ip} {end} map {{ {elements} }}");
            let rules: Vec<_> = (!elements.is_empty()).then_some(rule).into_iter().collect();
            self.chain(&format!("{name}_{suffix}"), &rules);
        }
        let key = match pool.key {
            FlowKey::AddressAndPort => format!("{ip} saddr . tcp sport"),
            FlowKey::Address => format!("{ip} saddr"),
        };
        let entry = |(hash, index): (u16, &u16)| {
            let server = pool.servers.get(usize::from(*index))?;
            Some(format!("{hash} : goto {}", server_name(&name, server.id.server)))
        };
        let entries: Vec<_> = (0..).zip(&pool.table).filter_map(entry).collect();
        let rule =
            format!("jhash {key} mod {MAGLEV_ENTRIES} seed {SEED:#x} vmap {{ {} }}", entries.join(", "));
        let rules: Vec<_> = (!entries.is_empty()).then_some(rule).into_iter().collect();
        self.chain(&name, &rules);
    }

    /// Where the connections of one endpoint go, and where what they carry is counted.
    fn endpoint(&mut self, name: &str, endpoint: &Endpoint, forwarding: &KernelForwarding) {
        let Some(pool) = forwarding.pools.get(endpoint.pool).map(pool_name) else { return };
        let count = self.count(name, Counted::New);
        self.chain(name, &[format!("{count} goto {pool}")]);
        let (from_clients, from_servers) = (self.count(name, Counted::In), self.count(name, Counted::Out));
        self.chain(
            &format!("{name}_through"),
            &[
                format!("ct direction original {from_clients} goto {pool}_in"),
                format!("{from_servers} goto {pool}_out"),
            ],
        );
    }

    /// The chains that translate addresses. They see the first packet of each connection.
    ///
    /// Their priorities are just below the usual ones: whoever translates first has it.
    fn translation(&mut self, endpoints: &[(String, &Endpoint)]) {
        let open = endpoints.iter().filter(|(_, endpoint)| endpoint.open);
        let dispatch = by_family(open.map(|(name, endpoint)| {
            (endpoint.address, format!("{} : goto {name}", concatenated(endpoint.address)))
        }));
        let dispatch: Vec<_> = dispatch
            .into_iter()
            .map(|(ip, elements)| {
                format!("fib daddr type local {ip} daddr . tcp dport vmap {{ {elements} }}")
            })
            .collect();
        for (hook, priority) in [("prerouting", -101), ("output", -101)] {
            self.base(&format!("nat_{hook}"), "nat", hook, priority, &dispatch);
        }
        let source = endpoints.iter().map(|(_, endpoint)| {
            let address = endpoint.address;
            let ip = family(address.is_ipv4());
            format!("{} snat {ip} to {}", originally(address), address.ip())
        });
        let source: Vec<_> = ["ct status & dnat == 0 return".to_owned()].into_iter().chain(source).collect();
        // A server on this machine is reached by way of `input`.
        for (hook, priority) in [("postrouting", 99), ("input", 99)] {
            self.base(&format!("nat_{hook}"), "nat", hook, priority, &source);
        }
    }

    /// Keeps the kernel from answering for connections that it does not know, and from remembering what would be in the way of
    /// those that come to it later.
    fn guard(&mut self, forwarding: &KernelForwarding) {
        let endpoints = || forwarding.endpoints.iter();
        let of_clients = by_family(endpoints().map(|own| (own.address, concatenated(own.address))));
        let refused = endpoints().filter(|own| refuses(own, forwarding));
        let refused = by_family(refused.map(|own| (own.address, concatenated(own.address))));
        let addresses: BTreeSet<_> = endpoints().map(|own| own.address.ip()).collect();
        let addresses = by_family(addresses.iter().map(|ip| (SocketAddr::new(*ip, 0), ip.to_string())));
        let servers = forwarding.pools.iter().flat_map(|pool| &pool.servers).map(|server| server.address);
        let servers: BTreeSet<_> = servers.collect();
        let servers = by_family(servers.iter().map(|server| (*server, concatenated(*server))));
        let (mut input, mut forward, mut output) = (vec![], vec![], vec![]);
        let (mut raw_prerouting, mut raw_output) = (vec![], vec![]);
        let elsewhere = format!("ct zone set {ELSEWHERE}");
        for (ip, elements) in &refused {
            let begins = "tcp flags & (fin | syn | rst | ack) == syn";
            input.push(format!("{ip} daddr . tcp dport {{ {elements} }} {begins} reject with tcp reset"));
        }
        for (ip, elements) in &of_clients {
            let to_endpoint = format!("{ip} daddr . tcp dport {{ {elements} }}");
            // A connection that began before this table, or whose packets went through here while the address was elsewhere.
            // It cannot be translated any more, and another balancer's it is not.
            input.push(format!("{to_endpoint} ct status confirmed reject with tcp reset"));
            input.push(format!("{to_endpoint} drop"));
            forward.push(format!("{to_endpoint} {STRAYS} drop"));
            raw_output.push(format!("{to_endpoint} fib daddr type != local {elsewhere}"));
            raw_prerouting.push(format!(
                "{ip} saddr . tcp sport {{ {elements} }} fib saddr type != local fib daddr type local {elsewhere}"
            ));
        }
        for (ip, elements) in &servers {
            let Some(own) = addresses.get(ip) else { continue };
            let of_server = format!("{ip} saddr . tcp sport {{ {elements} }} {ip} daddr {{ {own} }}");
            input.push(format!("{of_server} ct direction original drop"));
            // Before it has an entry of its own, which would be in the way of the right one.
            output.push(format!("{of_server} ct direction original drop"));
            forward.push(format!("{of_server} ct direction original {STRAYS} drop"));
            raw_output.push(format!("{of_server} fib daddr type != local {elsewhere}"));
            raw_prerouting.push(format!(
                "{ip} saddr {{ {own} }} {ip} daddr . tcp dport {{ {elements} }} fib daddr type local fib saddr type != local {elsewhere}"
            ));
        }
        self.base("raw_prerouting", "filter", "prerouting", -300, &raw_prerouting);
        self.base("raw_output", "filter", "output", -300, &raw_output);
        self.base("guard_input", "filter", "input", -10, &input);
        self.base("guard_forward", "filter", "forward", -10, &forward);
        self.base("guard_output", "filter", "output", -10, &output);
    }

    /// Counts what goes through, before its addresses are translated back.
    fn counting(&mut self, endpoints: &[(String, &Endpoint)]) {
        let through = |(name, endpoint): &(String, &Endpoint)| {
            format!("{} goto {name}_through", originally(endpoint.address))
        };
        let rules: Vec<_> = ["ct status & dnat == 0 return".to_owned()]
            .into_iter()
            .chain(endpoints.iter().map(through))
            .collect();
        self.chain("through", &rules);
        self.base("count_postrouting", "filter", "postrouting", 90, &["jump through".to_owned()]);
        // What this machine sends to itself was counted as it left.
        self.base("count_input", "filter", "input", 90, &["iifname != \"lo\" jump through".to_owned()]);
    }

    fn base(&mut self, name: &str, kind: &str, hook: &str, priority: i32, rules: &[String]) {
        let hook = format!("type {kind} hook {hook} priority {priority}; policy accept;");
        let rules: Vec<_> = [hook].into_iter().chain(rules.iter().cloned()).collect();
        self.chain(name, &rules);
    }
}

/// Takes the table away, whether it is there or not.
pub fn removal() -> String {
    format!("table {TABLE}\ndelete table {TABLE}\n")
}

/// Whom a counter of this name is about, and what it counts.
pub fn subject(counter: &str) -> Option<(Subject, Counted)> {
    let (rest, what) = counter.rsplit_once('_')?;
    let what = match what {
        "new" => Counted::New,
        "in" => Counted::In,
        "out" => Counted::Out,
        _ => return None,
    };
    let (owner, part) = rest.split_once('_')?;
    if let Some(frontend) = owner.strip_prefix('f') {
        return Some((Subject::Frontend(FrontendId(frontend.parse().ok()?)), what));
    }
    let (pool, _) = owner.strip_prefix('p')?.split_once('v')?;
    let server = ServerIndex(part.strip_prefix('s')?.parse().ok()?);
    Some((Subject::Server(ServerId { pool: PoolId(pool.parse().ok()?), server }), what))
}

fn counter(subject: &str, what: Counted) -> String {
    let what = match what {
        Counted::New => "new",
        Counted::In => "in",
        Counted::Out => "out",
    };
    format!("{subject}_{what}")
}

/// Each endpoint with its name: the frontend's number, and its own in that.
fn named(forwarding: &KernelForwarding) -> Vec<(String, &Endpoint)> {
    let mut numbers: BTreeMap<FrontendId, u32> = BTreeMap::new();
    let mut name = |frontend: FrontendId| {
        let number = numbers.entry(frontend).and_modify(|number| *number += 1).or_default();
        format!("f{}_e{number}", frontend.0)
    };
    forwarding.endpoints.iter().map(|endpoint| (name(endpoint.frontend), endpoint)).collect()
}

fn pool_name(pool: &ForwardedPool) -> String {
    let key = match pool.key {
        FlowKey::AddressAndPort => "",
        FlowKey::Address => "a",
    };
    format!("p{}v{}{key}", pool.id.0, if pool.is_ipv4 { 4 } else { 6 })
}

fn server_name(pool: &str, server: ServerIndex) -> String {
    format!("{pool}_s{}", server.0)
}

/// Whether a new connection to an endpoint is refused: its client knows at once.
fn refuses(endpoint: &Endpoint, forwarding: &KernelForwarding) -> bool {
    let pool = forwarding.pools.get(endpoint.pool);
    !endpoint.open || pool.is_some_and(|pool| pool.table.is_empty() && pool.no_server != NoServer::Hold)
}

const fn family(is_ipv4: bool) -> &'static str {
    if is_ipv4 { "ip" } else { "ip6" }
}

/// An address and a port as a key of a set.
fn concatenated(address: SocketAddr) -> String {
    format!("{} . {}", address.ip(), address.port())
}

/// Whether a client connected to this address, whatever became of it since.
fn originally(address: SocketAddr) -> String {
    let ip = family(address.is_ipv4());
    format!(
        "ct original {ip} daddr {} meta l4proto tcp ct original proto-dst {}",
        address.ip(),
        address.port()
    )
}

/// Elements of sets, those of each family by themselves.
fn by_family(elements: impl Iterator<Item = (SocketAddr, impl Display)>) -> BTreeMap<&'static str, String> {
    let mut sets: BTreeMap<&'static str, String> = BTreeMap::new();
    for (address, element) in elements {
        let set = sets.entry(family(address.is_ipv4())).or_default();
        let _ = write!(set, "{}{element}", if set.is_empty() { "" } else { ", " });
    }
    sets
}

#[cfg(test)]
mod tests;
