//! What is written is what Prometheus reads, and the alerts ask for nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Engine;
use mainstay_engine::admin::{
    DifferenceStatus, EventStatus, FileStatus, GroupStatus, PeerFlowStatus, PeerStatus, ProcessStatus,
    RefusedStatus, ScriptStatus, TimingStatus,
};
use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{self, Surroundings};
use mainstay_engine::time::Instant;

use super::*;

const HAPROXY: &str = "
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen api
    bind 127.0.0.1:6443
    maxconn 100
    server one 127.0.0.1:9 check maxconn 10
    server two 127.0.0.1:10
";

const KEEPALIVED: &str = "vrrp_instance VI_1 {\n    interface eth0\n    virtual_router_id 51\n    priority 101\n\
                          virtual_ipaddress {\n        192.0.2.1/32\n    }\n}\n";

/// A daemon of which there is something to say everywhere.
fn status() -> Status {
    let mut sources = Sources::default();
    let haproxy = sources.add("haproxy.cfg", HAPROXY);
    let keepalived = sources.add("keepalived.conf", KEEPALIVED);
    let surroundings = Surroundings {
        pattern_file: &|path| Err(format!("{path}: no such file")),
        variable: &|_| None,
        resolve: &|_| Err("nobody knows it".to_owned()),
        key_file: &|_| Err("there is none".to_owned()),
    };
    let (plan, diagnostics) = config::load(&sources, &[haproxy], &[keepalived], &surroundings);
    let plan = plan.unwrap_or_else(|| panic!("{diagnostics:?}"));
    let now = Instant::from_nanos(1_000_000_000);
    let mut status = Engine::new(Arc::new(plan), 1, now).status(now);
    let since = Duration::from_millis(1500);
    let router = &mut status.routers[0];
    router.refused =
        vec![RefusedStatus { reason: "checksum".to_owned(), count: 2, latest: "It was wrong.".to_owned() }];
    router.differences_total = BTreeMap::from([("interval".to_owned(), 3)]);
    router.differences = vec![DifferenceStatus {
        who: "192.0.2.9".to_owned(),
        kind: "interval".to_owned(),
        sentence: String::new(),
        hint: String::new(),
        harmful: true,
        both_active: false,
        since,
        latest: since,
        count: 3,
    }];
    status.timing = Some(TimingStatus {
        realtime_priority: Some(50),
        realtime_refused: None,
        memory_not_locked: None,
        latest: since,
    });
    let (name, state) = ("a \"name\"\n\\".to_owned(), "good".to_owned());
    let routers = vec!["VI_1".to_owned()];
    let moving = "moving".to_owned();
    status.groups =
        vec![GroupStatus { name: name.clone(), state: moving, reason: String::new(), since, routers }];
    status.scripts =
        vec![ScriptStatus { name: name.clone(), state: state.clone(), since, latest: String::new() }];
    status.processes = vec![ProcessStatus { name: name.clone(), state, since, count: 1 }];
    status.files = vec![FileStatus { name: name.clone(), path: name.clone(), number: Some(-5), since }];
    status.peers = vec![PeerStatus {
        address: "192.0.2.9".to_owned(),
        routers: Vec::new(),
        up: true,
        link: "up".to_owned(),
        since,
        told: None,
        drift: vec!["192.0.2.9 has another clock".to_owned()],
        flows: Some(PeerFlowStatus { kept: 540, age: Some(since), told: 12 }),
    }];
    status.events = vec![EventStatus { event: name, severity: "info".to_owned(), count: 7 }];
    // No file can have such a name; the format could hold it.
    status.pools[0].servers[1].name = "t\"w\\o".to_owned();
    for server in &mut status.pools[0].servers {
        server.checked = Some(since);
        if let Some(checks) = &mut server.checks {
            checks.status = Some("L7STS".to_owned());
        }
    }
    status
}

fn scrape(query: &str) -> Vec<Sample> {
    scrape_of(&status(), query)
}

fn scrape_of(status: &Status, query: &str) -> Vec<Sample> {
    let daemon = Daemon { status, load: ProxyLoad::default() };
    parse(&super::text(&daemon, Wanted::parse(query).expect("a query")))
}

/// One line with a number.
#[derive(Debug, PartialEq)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    number: f64,
}

/// Reads the text format of Prometheus and accepts nothing that is not in its description: HELP and TYPE before the
/// samples, once for each name, samples of a name together, no sample twice, counters that say so.
fn parse(text: &str) -> Vec<Sample> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has no end");
    let mut samples: Vec<Sample> = Vec::new();
    let (mut seen, mut family) = (BTreeSet::new(), (String::new(), String::new()));
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help");
            assert!(!help.contains('\\') && help.ends_with('.'), "{line}");
            let kind =
                lines.next().and_then(|line| line.strip_prefix(&format!("# TYPE {name} "))).expect("a type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(seen.insert(name.to_owned()), "twice: {line}");
            family = (name.to_owned(), kind.to_owned());
            continue;
        }
        let sample = sample(line);
        assert_eq!(sample.name, family.0, "{line}");
        assert!(sample.number.is_finite() && (family.1 != "counter" || sample.number >= 0.0), "{line}");
        assert!(
            !samples.iter().any(|one| one.name == sample.name && one.labels == sample.labels),
            "twice: {line}"
        );
        samples.push(sample);
    }
    samples
}

fn sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect("a name");
    let (name, mut rest) = line.split_at(end);
    assert_name(name);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            assert_name(label);
            let (value, after) = unescape(after);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            rest = match (after.strip_prefix(','), after.strip_prefix('}')) {
                (Some(more), _) => more,
                (None, Some(end)) => {
                    rest = end;
                    break;
                }
                _ => panic!("neither `,` nor `}}`: {line}"),
            };
        }
    }
    let number =
        rest.strip_prefix(' ').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{line}"));
    Sample { name: name.to_owned(), labels, number }
}

fn assert_name(name: &str) {
    let letter = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let fine = name.bytes().enumerate().all(|(at, byte)| letter(byte) || at > 0 && byte.is_ascii_digit());
    assert!(!name.is_empty() && fine, "{name:?} is no name");
}

/// The value of a label up to its closing quote, and what comes after.
fn unescape(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match characters.next().expect("something escaped").1 {
                'n' => '\n',
                other if ['\\', '"'].contains(&other) => other,
                other => panic!("\\{other} is no escape"),
            }),
            other => value.push(other),
        }
    }
    panic!("no closing quote: {text}")
}

fn find<'a>(samples: &'a [Sample], name: &str, label: (&str, &str)) -> Vec<&'a Sample> {
    let fits =
        |sample: &&Sample| sample.name == name && sample.labels.get(label.0).is_some_and(|is| is == label.1);
    samples.iter().filter(fits).collect()
}

#[test]
fn everything_is_well_formed_and_names_come_back_as_they_were() {
    let samples = scrape("");
    assert_eq!(find(&samples, "mainstay_events_total", ("event", "a \"name\"\n\\"))[0].number, 7.0);
    assert_eq!(find(&samples, "mainstay_file_number", ("file", "a \"name\"\n\\"))[0].number, -5.0);
    assert_eq!(find(&samples, "mainstay_timer_lateness_max_seconds", ("", "")).len(), 0);
    let codes = find(&samples, "haproxy_server_check_status", ("state", "L7STS"));
    assert_eq!(codes.iter().map(|sample| sample.number).sum::<f64>(), 1.0);
    assert_eq!(find(&samples, "haproxy_server_current_sessions", ("server", "t\"w\\o")).len(), 1);
}

#[test]
fn a_thing_is_in_one_state_at_a_time() {
    let samples = scrape("");
    for (name, what) in [
        ("mainstay_router_state", "router"),
        ("mainstay_group_state", "group"),
        ("haproxy_frontend_status", "proxy"),
        ("haproxy_backend_status", "proxy"),
        ("haproxy_server_status", "server"),
    ] {
        let mut sums = BTreeMap::<_, f64>::new();
        for sample in samples.iter().filter(|sample| sample.name == name) {
            *sums.entry(&sample.labels[what]).or_default() += sample.number;
        }
        assert!(!sums.is_empty() && sums.values().all(|&sum| sum == 1.0), "{name}: {sums:?}");
    }
}

#[test]
fn scopes_leave_out_the_others() {
    let prefixes = |query: &str| -> BTreeSet<String> {
        let prefix = |sample: Sample| sample.name.split('_').take(2).collect::<Vec<_>>().join("_");
        scrape(query).into_iter().map(prefix).collect()
    };
    assert_eq!(prefixes("scope=frontend"), ["haproxy_frontend".to_owned()].into());
    assert_eq!(prefixes("scope=global&scope=server").len(), 2);
    assert_eq!(prefixes("scope="), BTreeSet::new());
    assert_eq!(prefixes("scope=%2A&other=x"), prefixes(""));
    assert!(prefixes("scope=mainstay").iter().all(|prefix| prefix.starts_with("mainstay_")));
    assert!(Wanted::parse("scope=listener").is_err());
}

#[test]
fn servers_in_maintenance_can_be_left_out() {
    let mut status = status();
    status.pools[0].servers[0].state = "maintenance".to_owned();
    let servers = |query| {
        let samples = scrape_of(&status, query);
        find(&samples, "haproxy_server_status", ("server", "one")).len()
    };
    assert_eq!((servers("no-maint"), servers("scope=server"), servers("no-maint&scope=server")), (0, 5, 0));
}

#[test]
fn alerts_ask_for_metrics_and_labels_that_exist() {
    let rules = include_str!("../../../../contrib/mainstay-alerts.yaml");
    let samples = scrape("");
    let mut asked = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        let begins = expression.match_indices("mainstay_").chain(expression.match_indices("haproxy_"));
        for (at, _) in begins {
            let rest = &expression[at..];
            let end = rest.find(|one: char| !one.is_ascii_alphanumeric() && one != '_').unwrap_or(rest.len());
            let found: Vec<_> = samples.iter().filter(|sample| sample.name == rest[..end]).collect();
            assert!(!found.is_empty(), "{} is asked for and not written", &rest[..end]);
            asked += 1;
            let Some((label, value)) =
                rest[end..].strip_prefix('{').and_then(|inside| inside.split_once('='))
            else {
                continue;
            };
            let value =
                value.trim_start_matches('~').trim_start_matches('"').split('"').next().expect("a value");
            for value in value.split('|') {
                let written =
                    found.iter().any(|sample| sample.labels.get(label).is_some_and(|is| is == value));
                assert!(written, "no sample of {} has {label}=\"{value}\"", &rest[..end]);
            }
        }
    }
    let alerts = rules.matches("- alert: ").count();
    assert!(asked + 1 >= alerts, "{alerts} alerts ask for {asked} metrics");
}
