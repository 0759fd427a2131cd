//! What kernel forwarding needs of a machine: what is there, what is set for it, and what is missing.
//!
//! Owns [`inspect`], which only looks, and [`prepare`], which sets what a daemon may set and refuses the rest.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mainstay_engine::forwarding::KernelForwarding;
use serde_json::Value;

use super::ruleset::Ruleset;
use crate::nft;

/// How long a look may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of a hundred entries for flows, this many in use leave too little room.
const NEARLY_FULL: u64 = 90;

/// A setting of the kernel that forwarding needs.
struct Setting {
    /// Below /proc/sys, with dots.
    name: &'static str,
    /// What it is for.
    purpose: &'static str,
}

const FORWARD_IPV4: Setting =
    Setting { name: "net.ipv4.ip_forward", purpose: "the kernel forwards IPv4 packets" };
const FORWARD_IPV6: Setting =
    Setting { name: "net.ipv6.conf.all.forwarding", purpose: "the kernel forwards IPv6 packets" };
const LOOSE: Setting = Setting {
    name: "net.netfilter.nf_conntrack_tcp_loose",
    purpose: "connections that another balancer forwarded are taken up",
};
const LIBERAL: Setting = Setting {
    name: "net.netfilter.nf_conntrack_tcp_be_liberal",
    purpose: "what they send is not taken for forged",
};

/// Something that the machine lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// A sentence without a full stop.
    pub sentence: String,
    /// How to mend it.
    pub remedy: String,
    /// Whether `mainstay run` refuses to start.
    pub refused: bool,
}

impl Finding {
    fn new(sentence: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), remedy: remedy.into(), refused: false }
    }
}

/// What this machine lacks in order to forward this. Changes nothing.
pub fn inspect(forwarding: &KernelForwarding) -> Vec<Finding> {
    let mut findings: Vec<_> = try_rules(forwarding).err().into_iter().collect();
    for setting in settings(forwarding) {
        let value = read(setting.name);
        // Without the module that has it, loading that brings the kernel's own default.
        if !value.as_deref().is_ok_and(|value| value == "1") {
            let value = value.unwrap_or_else(|_| "not there yet".to_owned());
            findings.push(Finding::new(
                format!("{} is {value}, and with 1 {}", setting.name, setting.purpose),
                format!("`mainstay run` sets it; to have it so at once: sysctl -w {}=1", setting.name),
            ));
        }
    }
    findings.extend(room());
    findings.extend(strict_reverse_paths());
    findings.extend(dropping_chains());
    findings
}

/// Makes this machine ready to forward this, and says what it changed.
///
/// # Errors
/// A sentence: what is missing, and how to mend it.
pub fn prepare(forwarding: &KernelForwarding) -> Result<(), String> {
    try_rules(forwarding).map_err(|finding| format!("{}; {}", finding.sentence, finding.remedy))?;
    for setting in settings(forwarding) {
        if read(setting.name).is_ok_and(|value| value == "1") {
            continue;
        }
        if setting.name == FORWARD_IPV6.name {
            keep_router_advertisements();
        }
        write(setting.name, "1").map_err(|error| {
            let Setting { name, purpose } = setting;
            format!("cannot set {name} to 1, with which {purpose}: {error}; set it with sysctl")
        })?;
        tracing::info!("set {} to 1: {}", setting.name, setting.purpose);
    }
    for Finding { sentence, remedy, .. } in
        room().into_iter().chain(strict_reverse_paths()).chain(dropping_chains())
    {
        tracing::warn!("{sentence}; {remedy}");
    }
    Ok(())
}

/// Whether `nft` and the kernel know everything that the rules are made of.
fn try_rules(forwarding: &KernelForwarding) -> Result<(), Finding> {
    let script = Ruleset::new(forwarding).replace();
    nft::run(&["-c", "-f", "-"], &script, PATIENCE).map(drop).map_err(|reason| Finding {
        sentence: format!("this machine cannot forward connections in the kernel: {reason}"),
        remedy: "it takes nft 1.0 (apt install nftables), a kernel from 5.15 on with nf_conntrack, nft_nat, nft_hash and nft_fib, \
                 and CAP_NET_ADMIN"
            .to_owned(),
        refused: true,
    })
}

fn settings(forwarding: &KernelForwarding) -> impl Iterator<Item = Setting> {
    let any = |is_ipv4| forwarding.endpoints.iter().any(|own| own.address.is_ipv4() == is_ipv4);
    let (ipv4, ipv6) = (any(true).then_some(FORWARD_IPV4), any(false).then_some(FORWARD_IPV6));
    ipv4.into_iter().chain(ipv6).chain([LOOSE, LIBERAL])
}

/// An interface that takes addresses and routes from routers on its link stops doing so when the machine forwards itself, unless it
/// is told to go on.
fn keep_router_advertisements() {
    let interfaces = fs::read_dir("/proc/sys/net/ipv6/conf").into_iter().flatten().flatten();
    for interface in interfaces {
        let file = interface.path().join("accept_ra");
        if fs::read_to_string(&file).is_ok_and(|value| value.trim() == "1") {
            let name = interface.file_name();
            match fs::write(&file, "2") {
                Ok(()) => {
                    tracing::info!("set accept_ra of {name:?} to 2: it goes on taking router advertisements");
                }
                Err(error) => tracing::warn!("cannot set accept_ra of {name:?} to 2: {error}"),
            }
        }
    }
}

/// Whether there is room for more flows.
fn room() -> Option<Finding> {
    let number = |name| read(name).ok()?.parse::<u64>().ok();
    let count = number("net.netfilter.nf_conntrack_count")?;
    let most = number("net.netfilter.nf_conntrack_max").filter(|most| *most > 0)?;
    (count.saturating_mul(100) / most >= NEARLY_FULL).then(|| {
        Finding::new(
            format!("the kernel knows {count} flows, and has room for {most}"),
            "give it more: sysctl -w net.netfilter.nf_conntrack_max=N",
        )
    })
}

/// Interfaces on which packets are dropped whose way back is by another one.
fn strict_reverse_paths() -> Option<Finding> {
    let strict =
        |name: &str| read(&format!("net.ipv4.conf.{name}.rp_filter")).is_ok_and(|value| value == "1");
    let all = fs::read_dir("/proc/sys/net/ipv4/conf").into_iter().flatten().flatten();
    let names = all.filter_map(|entry| entry.file_name().into_string().ok());
    let strict: Vec<_> =
        names.filter(|name| !["all", "default", "lo"].contains(&name.as_str()) && strict(name)).collect();
    // With one way to everybody it makes no difference.
    (strict.len() > 1).then(|| {
        Finding::new(
            format!(
                "rp_filter is strict on {}, which drops packets whose way back is by another interface",
                strict.join(", ")
            ),
            "set it to 2 where clients, servers and balancers are on several interfaces",
        )
    })
}

/// Chains of others that drop what is forwarded unless it is let through, such as Docker's.
fn dropping_chains() -> Option<Finding> {
    let answer = nft::run(&["-j", "list", "chains"], "", PATIENCE).ok()?;
    let answer: Value = serde_json::from_str(&answer).ok()?;
    let chains = answer.get("nftables")?.as_array()?.iter().filter_map(|entry| entry.get("chain"));
    let text = |chain: &Value, key: &str| Some(chain.get(key)?.as_str()?.to_owned());
    let drops = |chain: &&Value| {
        text(chain, "hook").as_deref() == Some("forward") && text(chain, "policy").as_deref() == Some("drop")
    };
    let name = |chain: &Value| {
        Some(format!("{} {} {}", text(chain, "family")?, text(chain, "table")?, text(chain, "name")?))
    };
    let found: Vec<_> = chains.filter(drops).filter_map(name).collect();
    (!found.is_empty()).then(|| {
        Finding::new(
            format!("the chain {} drops forwarded packets that it does not let through", found.join(", ")),
            "have it accept connections to the servers, and what belongs to them (ct state established)",
        )
    })
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}

fn read(name: &str) -> io::Result<String> {
    fs::read_to_string(path(name)).map(|value| value.trim().to_owned())
}

fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name), value)
}
