//! The cluster of one seed: a keepalived.conf for each balancer, read as a real one is, and what follows from it.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{Surroundings, load};
use mainstay_engine::plan::{Preempt, Priority, Router, Version};

use crate::random::Random;

/// The longest that a datagram is under way, a late duplicate included.
pub(crate) const LONGEST_DELAY: Duration = Duration::from_millis(8);
/// The longest that a script runs.
pub(crate) const LONGEST_SCRIPT: Duration = Duration::from_millis(100);
/// What a loaded machine adds to every wake-up.
pub(crate) const LONGEST_WAKE: Duration = Duration::from_millis(2);

/// How far the clocks of balancers that sign may be apart: what `time_window` is without a line, and no less than for the
/// longest interval.
pub(crate) const LONGEST_WINDOW: Duration = Duration::from_secs(6);

/// The balancers of one LAN.
pub(crate) struct Cluster {
    /// Whether signatures want a common time, or only one that never goes back.
    pub(crate) monotonic: bool,
    pub(crate) texts: Vec<String>,
    pub(crate) plans: Vec<Arc<Plan>>,
}

/// What all balancers agree on.
struct Group {
    number: usize,
    version: u8,
    interval: &'static str,
    /// Whether every balancer has an interval of its own, which version 3 allows.
    mixed: bool,
    unicast: bool,
    password: bool,
    /// What keeps adverts from being played back, if they are signed.
    signed: Option<&'static str>,
    addresses: usize,
}

impl Cluster {
    pub(crate) fn new(random: &mut Random) -> Self {
        let nodes = 2 + random.index(4);
        let monotonic = random.percent(25);
        let anti_replay = if monotonic { "monotonic" } else { "time" };
        let groups: Vec<Group> =
            (0..=random.index(2)).map(|number| Group::new(number, anti_replay, random)).collect();
        let owner = random.percent(15);
        let texts: Vec<String> = (0..nodes).map(|node| text(node, nodes, &groups, owner, random)).collect();
        let plans = texts.iter().map(|text| Arc::new(plan(text))).collect();
        Self { monotonic, texts, plans }
    }
}

impl Group {
    fn new(number: usize, anti_replay: &'static str, random: &mut Random) -> Self {
        let version = random.pick(&[2, 3]);
        let intervals = intervals(version);
        Self {
            number,
            version,
            interval: random.pick(intervals),
            mixed: version == 3 && random.percent(30),
            unicast: random.percent(50),
            password: random.percent(60),
            signed: random.percent(40).then_some(anti_replay),
            addresses: 1 + random.index(2),
        }
    }
}

fn intervals(version: u8) -> &'static [&'static str] {
    if version == 2 { &["1", "1", "2"] } else { &["0.1", "0.2", "0.5", "1"] }
}

/// The begin of two keys.
const KEY: &str = "as-long-as-a-key-has-to-be-and-more-";

/// The address of a balancer on the LAN.
pub(crate) fn address_of(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, 1 + u8::try_from(node).expect("few balancers")).into()
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
        let priority = match random.below(10) {
            0 => 100,
            1 => 1,
            2 => 254,
            _ => 1 + random.below(254),
        };
        let owns = owner && (node + group.number).is_multiple_of(nodes);
        let priority = if owns { 255 } else { priority };
        let Group { number, version, .. } = group;
        let interval = if group.mixed { random.pick(intervals(*version)) } else { group.interval };
        let _ = writeln!(
            text,
            "vrrp_instance V{number} {{\n    state BACKUP\n    interface eth0\n    version {version}\n    \
             virtual_router_id {}\n    priority {priority}\n    advert_int {interval}",
            51 + number
        );
        let _ = writeln!(text, "    garp_master_refresh {}", random.pick(&[0, 5]));
        match random.below(4) {
            0 if !owns => text.push_str("    nopreempt\n"),
            1 if !owns => writeln!(text, "    preempt_delay {}", 1 + random.below(5)).expect("a string"),
            _ => {}
        }
        if group.unicast {
            let _ = writeln!(text, "    unicast_src_ip {}\n    unicast_peer {{", address_of(node));
            for peer in (0..nodes).filter(|&peer| peer != node) {
                let _ = writeln!(text, "        {}", address_of(peer));
            }
            text.push_str("    }\n");
        }
        if let Some(anti_replay) = group.signed {
            // Everybody signs, so that it is all the same whether somebody would do without.
            let mode = random.pick(&["enforce", "enforce", "permissive"]);
            let active = 1 + random.index(2);
            let _ = writeln!(
                text,
                "    auth_hmac {{\n        key 1 {KEY}1\n        key 2 {KEY}2\n        active_key {active}\n        \
                 anti_replay {anti_replay}\n        mode {mode}\n    }}"
            );
        } else if group.password {
            text.push_str("    authentication {\n        auth_type PASS\n        auth_pass 42\n    }\n");
        }
        text.push_str("    virtual_ipaddress {\n");
        for address in 0..group.addresses {
            let _ = writeln!(text, "        10.0.0.{}/24", 100 + number * 10 + address);
        }
        text.push_str("    }\n");
        if random.percent(60) {
            text.push_str("    track_script {\n        chk\n    }\n");
        }
        text.push_str("}\n");
    }
    text
}

pub(crate) fn plan(text: &str) -> Plan {
    let mut sources = Sources::default();
    let id = sources.add("keepalived.conf", text);
    let surroundings = Surroundings {
        variable: &|_| None,
        resolve: &|name| Err(format!("{name}: no such host")),
        key_file: &|path| Err(format!("{path}: no such file")),
    };
    let (plan, diagnostics) = load(&sources, &[], &[id], &surroundings);
    plan.unwrap_or_else(|| panic!("the simulated file is refused: {diagnostics:?}\n{text}"))
}

/// `Skew_Time` (RFC 3768 §6.1, RFC 9568 §6.1), worked out again from the RFCs.
pub(crate) fn skew(router: &Router, priority: Priority) -> Duration {
    let unit = match router.version {
        Version::V2 => Duration::from_secs(1),
        Version::V3 => router.advert_interval.to_duration(),
    };
    unit * (256 - u32::from(priority.0)) / 256
}

/// `Active_Down_Interval`.
pub(crate) fn master_down(router: &Router, priority: Priority) -> Duration {
    router.advert_interval.to_duration() * 3 + skew(router, priority)
}

/// How long a script that changed takes at most until its router acts on it.
pub(crate) fn script_settles(plan: &Plan) -> Duration {
    let longest =
        plan.scripts.iter().map(|script| script.interval * (script.rise.max(script.fall) + 1)).max();
    longest.unwrap_or_default() + LONGEST_SCRIPT + LONGEST_WAKE
}

/// What its `preempt_delay` adds.
pub(crate) fn preempt_delay(router: &Router) -> Duration {
    match router.preempt {
        Preempt::Never => Duration::ZERO,
        Preempt::After(delay) => delay,
    }
}
