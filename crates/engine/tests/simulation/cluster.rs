//! The cluster of one seed: a keepalived.conf for each balancer, read as a real one is, and what follows from it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{Surroundings, load};
use mainstay_engine::plan::{Family, Preempt, Priority, Router, Version};

use crate::random::Random;

/// The longest that a datagram is under way, a late duplicate included.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_millis(8);
/// The longest that a script runs.
pub(crate) const LONGEST_SCRIPT: Duration = Duration::from_millis(100);
/// The interface that routers track beside their own.
pub(crate) const UPLINK: &str = "eth1";
/// What a loaded machine adds to every wake-up.
pub(crate) const LONGEST_WAKE: Duration = Duration::from_millis(2);

/// How far the clocks of balancers that sign may be apart: what `time_window` is without a line, and no less than for the
/// longest interval.
pub(crate) const LONGEST_WINDOW: Duration = Duration::from_secs(6);

/// What no clock is off by, in millionths: quartz is off by tens, a bad virtual machine by hundreds.
pub(crate) const LARGEST_DRIFT: i64 = 500;

const MOST_GROUPS: usize = 3;

/// The balancers of one LAN.
pub(crate) struct Cluster {
    /// Whether signatures want a common time, or only one that never goes back.
    pub(crate) monotonic: bool,
    pub(crate) texts: Vec<String>,
    pub(crate) plans: Vec<Arc<Plan>>,
    /// For each group, who disagrees with all others.
    pub(crate) odd: Vec<Option<Odd>>,
}

/// A balancer whose file says something else about one group than the others' do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odd {
    pub(crate) node: usize,
    pub(crate) difference: Difference,
}

/// Those that no damage on the wire looks like: a checksum covers what they are about, and not a signature.
pub(crate) const UNMISTAKABLE: [Difference; 4] =
    [Difference::Password, Difference::Interval, Difference::Addresses, Difference::Version];

/// What differs. Each alone makes both sides refuse the other's adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    Password,
    Key,
    Interval,
    Addresses,
    Version,
}

impl Difference {
    /// What either side may call it.
    pub(crate) const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Password => &["password", "authentication_type"],
            Self::Key => &["hmac_bad"],
            Self::Interval => &["interval"],
            Self::Addresses => &["address_list", "address_count", "vrid_taken"],
            Self::Version => &["version"],
        }
    }
}

/// What all balancers agree on, except for an odd one.
struct Group {
    number: usize,
    vrid: usize,
    family: Family,
    version: u8,
    interval: &'static str,
    /// Whether every balancer has an interval of its own, which version 3 allows.
    mixed: bool,
    unicast: bool,
    password: Option<&'static str>,
    /// What keeps adverts from being played back, and the keys, if they are signed.
    signed: Option<(&'static str, &'static str)>,
    addresses: Vec<IpAddr>,
    odd: Option<Odd>,
}

impl Cluster {
    pub(crate) fn new(random: &mut Random) -> Self {
        let nodes = 2 + random.index(4);
        let monotonic = random.percent(25);
        let anti_replay = if monotonic { "monotonic" } else { "time" };
        let groups: Vec<Group> = (0..=random.index(MOST_GROUPS))
            .map(|number| Group::new(number, nodes, anti_replay, random))
            .collect();
        let owner = random.percent(15);
        let texts: Vec<String> = (0..nodes).map(|node| text(node, nodes, &groups, owner, random)).collect();
        let plans = texts.iter().map(|text| Arc::new(plan(text))).collect();
        Self { monotonic, texts, plans, odd: groups.iter().map(|group| group.odd).collect() }
    }
}

impl Group {
    fn new(number: usize, nodes: usize, anti_replay: &'static str, random: &mut Random) -> Self {
        let family = if random.percent(30) { Family::Ipv6 } else { Family::Ipv4 };
        let version = if family == Family::Ipv6 { 3 } else { random.pick(&[2, 3]) };
        let signed = random.percent(30).then_some((anti_replay, KEY));
        // Version 3 has none on the wire; it is what keys the links then.
        let password = (signed.is_none() && random.percent(60)).then_some("42");
        let count = 1 + random.index(2);
        let mut group = Self {
            number,
            // Each family has its own virtual routers, so that two groups of a LAN may share an identifier.
            vrid: if family == Family::Ipv4 { 51 + number } else { 51 + MOST_GROUPS - 1 - number },
            family,
            version,
            interval: random.pick(intervals(version)),
            mixed: version == 3 && random.percent(30),
            unicast: random.percent(50),
            password,
            signed,
            addresses: (0..count).map(|address| virtual_address(family, number * 10 + address)).collect(),
            odd: None,
        };
        group.odd = random.percent(20).then(|| group.odd_one(random.index(nodes), random));
        group
    }

    fn odd_one(&self, node: usize, random: &mut Random) -> Odd {
        let differences: &[Difference] = match (self.family, self.version) {
            _ if self.signed.is_some() => &[Difference::Addresses, Difference::Key],
            (Family::Ipv6, _) => &[Difference::Addresses],
            (_, 3) => &[Difference::Addresses, Difference::Version],
            _ => &[Difference::Addresses, Difference::Version, Difference::Password, Difference::Interval],
        };
        Odd { node, difference: random.pick(differences) }
    }

    /// The group as the file of `node` has it.
    fn as_of(&self, node: usize, random: &mut Random) -> Self {
        let Self { number, vrid, family, unicast, password, mut signed, odd, .. } = *self;
        let (mut version, mut password, mut addresses) = (self.version, password, self.addresses.clone());
        let mut interval = if self.mixed { random.pick(intervals(version)) } else { self.interval };
        match odd.filter(|odd| odd.node == node).map(|odd| odd.difference) {
            None => {}
            Some(Difference::Password) => {
                password = if password.is_some() { random.pick(&[None, Some("43")]) } else { Some("43") };
            }
            Some(Difference::Key) => signed = signed.map(|(anti_replay, _)| (anti_replay, OTHER_KEY)),
            Some(Difference::Interval) => interval = "3",
            Some(Difference::Addresses) => addresses = vec![virtual_address(family, 100 + number)],
            Some(Difference::Version) => (version, interval, password) = (5 - version, "1", None),
        }
        Self {
            number,
            vrid,
            family,
            version,
            interval,
            mixed: false,
            unicast,
            password,
            signed,
            addresses,
            odd,
        }
    }
}

fn intervals(version: u8) -> &'static [&'static str] {
    if version == 2 { &["1", "1", "2"] } else { &["0.1", "0.2", "0.5", "1"] }
}

/// The begin of two keys, and of two others.
const KEY: &str = "as-long-as-a-key-has-to-be-and-more-";
const OTHER_KEY: &str = "as-long-as-a-key-has-to-be-but-not-";

/// The addresses of a balancer on the LAN: one for everything over IPv4, one for multicast over IPv6, one for unicast.
pub(crate) fn addresses_of(node: usize) -> Vec<(IpAddr, u8)> {
    let number = 1 + u8::try_from(node).expect("few balancers");
    vec![
        (Ipv4Addr::new(10, 0, 0, number).into(), 24),
        (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into()).into(), 64),
        (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into(), 64),
    ]
}

/// The address that unicast adverts of a balancer leave from.
fn unicast_address_of(node: usize, family: Family) -> IpAddr {
    addresses_of(node)[if family == Family::Ipv6 { 2 } else { 0 }].0
}

fn virtual_address(family: Family, number: usize) -> IpAddr {
    let number = 100 + u8::try_from(number).expect("few groups");
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, 0, 0, number).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into()).into(),
    }
}

fn text(node: usize, nodes: usize, groups: &[Group], owner: bool, random: &mut Random) -> String {
    let mut text = String::new();
    let (interval, rise, fall) = (1 + random.index(2), 1 + random.index(3), 1 + random.index(3));
    let weight = random.pick(&[0, -20, -60, 30]);
    let _ = writeln!(
        text,
        "vrrp_script chk {{\n    script /bin/chk\n    interval {interval}\n    timeout 1\n    rise {rise}\n    \
         fall {fall}\n    weight {weight}\n}}"
    );
    for group in groups {
        let owns = owner && (node + group.number).is_multiple_of(nodes);
        instance(&mut text, (node, nodes), &group.as_of(node, random), owns, random);
    }
    text
}

fn instance(
    text: &mut String,
    (node, nodes): (usize, usize),
    group: &Group,
    owns: bool,
    random: &mut Random,
) {
    let priority = match random.below(10) {
        _ if owns => 255,
        0 => 100,
        1 => 1,
        2 => 254,
        _ => 1 + random.below(254),
    };
    let Group { number, vrid, version, interval, .. } = group;
    let _ = writeln!(
        text,
        "vrrp_instance V{number} {{\n    state BACKUP\n    interface eth0\n    version {version}\n    \
         virtual_router_id {vrid}\n    priority {priority}\n    advert_int {interval}"
    );
    let _ = writeln!(text, "    garp_master_refresh {}", random.pick(&[0, 5]));
    match random.below(4) {
        0 if !owns => text.push_str("    nopreempt\n"),
        1 if !owns => writeln!(text, "    preempt_delay {}", 1 + random.below(5)).expect("a string"),
        _ => {}
    }
    if group.unicast {
        let _ = writeln!(
            text,
            "    unicast_src_ip {}\n    unicast_peer {{",
            unicast_address_of(node, group.family)
        );
        for peer in (0..nodes).filter(|&peer| peer != node) {
            let _ = writeln!(text, "        {}", unicast_address_of(peer, group.family));
        }
        text.push_str("    }\n");
    }
    if let Some((anti_replay, key)) = group.signed {
        // Everybody signs, so that it is all the same whether somebody would do without.
        let mode = random.pick(&["enforce", "enforce", "permissive"]);
        let active = 1 + random.index(2);
        let _ = writeln!(
            text,
            "    auth_hmac {{\n        key 1 {key}1\n        key 2 {key}2\n        active_key {active}\n        \
             anti_replay {anti_replay}\n        mode {mode}\n    }}"
        );
    }
    if let Some(password) = group.password {
        let _ = writeln!(
            text,
            "    authentication {{\n        auth_type PASS\n        auth_pass {password}\n    }}"
        );
    }
    text.push_str("    virtual_ipaddress {\n");
    for address in &group.addresses {
        let _ = writeln!(text, "        {address}/{}", if address.is_ipv6() { 64 } else { 24 });
    }
    text.push_str("    }\n");
    if random.percent(60) {
        text.push_str("    track_script {\n        chk\n    }\n");
    }
    if random.percent(30) {
        let weight = random.pick(&[0, -30, 20]);
        let _ = writeln!(text, "    track_interface {{\n        {UPLINK} weight {weight}\n    }}");
    }
    text.push_str("}\n");
}

pub(crate) fn plan(text: &str) -> Plan {
    let mut sources = Sources::default();
    let id = sources.add("keepalived.conf", text);
    let surroundings = Surroundings {
        variable: &|_| None,
        resolve: &|name| Err(format!("{name}: no such host")),
        key_file: &|path| Err(format!("{path}: no such file")),
        pattern_file: &|path| Err(format!("{path}: no such file")),
    };
    let (plan, diagnostics) = load(&sources, &[], &[id], &surroundings);
    plan.unwrap_or_else(|| panic!("the simulated file is refused: {diagnostics:?}\n{text}"))
}

/// A bound on what a span of some balancer's clock is, by the clock of the simulation.
pub(crate) fn drifted(span: Duration) -> Duration {
    span + span * 2 / 1000
}

/// `Skew_Time` (RFC 3768 §6.1, RFC 9568 §6.1), worked out again from the RFCs.
pub(crate) fn skew(router: &Router, priority: Priority) -> Duration {
    let unit = match router.version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => router.advert_interval.to_duration(),
    };
    unit * (256 - u32::from(priority.0)) / 256
}

/// `Active_Down_Interval`, by any clock.
pub(crate) fn master_down(router: &Router, priority: Priority) -> Duration {
    drifted(router.advert_interval.to_duration() * 3 + skew(router, priority))
}

/// How long a script that changed takes at most until its router acts on it.
pub(crate) fn script_settles(plan: &Plan) -> Duration {
    let longest =
        plan.scripts.iter().map(|script| script.interval * (script.rise.max(script.fall) + 1)).max();
    drifted(longest.unwrap_or_default()) + LONGEST_SCRIPT + LONGEST_WAKE
}

/// What its `preempt_delay` adds.
pub(crate) fn preempt_delay(router: &Router) -> Duration {
    match router.preempt {
        Preempt::Never => Duration::ZERO,
        Preempt::After(delay) => drifted(delay),
    }
}
