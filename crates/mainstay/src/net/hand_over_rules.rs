//! What the kernel does with frames while virtual addresses move (docs/adr/0002), as nftables rules.
//!
//! Owns the texts of the rules. Each virtual router has tables of its own, named after it; others'
//! are never touched. The addresses in them expire by themselves, so rules that a killed daemon left behind do nothing.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use mainstay_engine::engine::{Forwarded, HandOverRules};
use mainstay_engine::limits::HAND_OVER_DRAIN;
use mainstay_engine::plan::Vrid;

use crate::{nft, realtime};

/// How long a move waits for `nft`, which takes 5 to 20 ms. The predecessor serves meanwhile.
const PATIENCE: Duration = Duration::from_millis(250);

/// Connections that can begin at a successor during a drain and be told from older ones: far more than one second brings.
const OWN_CONNECTIONS: u32 = 65_536;

/// Puts `rules` in force in place of earlier ones of this virtual router; `None` only ends those.
///
/// # Errors
/// A sentence: there is no `nft`, it refused, or it took too long.
pub(super) fn apply(
    interface: &str,
    index: u32,
    vrid: Vrid,
    rules: Option<&HandOverRules>,
) -> Result<(), String> {
    let script = script(interface, index, vrid, rules);
    let (sender, receiver) = channel();
    let run = move || {
        // Neither this thread nor `nft` is in the hurry of the one that waits.
        realtime::leave();
        // Nobody listens any more if it took too long.
        let _ = sender.send(nft::run(&["-f", "-"], &script, PATIENCE).map(drop));
    };
    thread::Builder::new().name("nft".to_owned()).spawn(run).map_err(|error| error.to_string())?;
    receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| Err(nft::too_late(PATIENCE)))
}

/// One transaction. A table that may not be there is made first, so that deleting it cannot fail.
fn script(interface: &str, index: u32, vrid: Vrid, rules: Option<&HandOverRules>) -> String {
    let table = format!("mainstay_vrid{vrid}_if{index}");
    let mut script = String::new();
    for family in ["arp", "netdev"] {
        let _ = writeln!(script, "table {family} {table}\ndelete table {family} {table}");
    }
    match rules {
        None => {}
        Some(HandOverRules::Silence { addresses }) => {
            let moved = moved(addresses);
            let _ = writeln!(
                script,
                "table arp {table} {{\n\
                 {moved}\
                 chain input {{ type filter hook input priority 0; \
                 iifname \"{interface}\" arp operation request arp daddr ip @moved drop; }}\n\
                 chain output {{ type filter hook output priority 0; \
                 oifname \"{interface}\" arp saddr ip @moved drop; }}\n}}"
            );
        }
        Some(HandOverRules::Forward { addresses, to, except }) => {
            let (moved, (heard, forwarded)) = (moved(addresses), forwarded(except));
            let connection = "ip saddr . tcp sport . tcp dport";
            let _ = writeln!(
                script,
                "table netdev {table} {{\n\
                 {moved}\
                 {heard}set own {{ typeof {connection}; flags dynamic,timeout; timeout {drain}s; size {OWN_CONNECTIONS}; }}\n\
                 chain ingress {{ type filter hook ingress device \"{interface}\" priority -500;\n\
                 {forwarded}ip daddr @moved tcp flags & (syn | ack) == syn update @own {{ {connection} }} accept\n\
                 ip daddr @moved meta l4proto tcp {connection} != @own fwd ip to {to} device \"{interface}\"\n\
                 }}\n}}",
                drain = 2 * HAND_OVER_DRAIN.as_secs(),
            );
        }
    }
    script
}

/// The set and the rules for connections that the kernel forwards. What clients send stays here, and tells this kernel of their
/// connections. What servers send goes to the other router until it does: only that one knows whom it is for.
fn forwarded(except: &Forwarded) -> (String, String) {
    if except.endpoints.is_empty() {
        return (String::new(), String::new());
    }
    let elements = |addresses: &[SocketAddrV4]| {
        let element = |address: &SocketAddrV4| format!("{} . {}", address.ip(), address.port());
        addresses.iter().map(element).collect::<Vec<_>>().join(", ")
    };
    let set = format!(
        "set heard {{ typeof tcp sport; flags dynamic,timeout; timeout {drain}s; size {OWN_CONNECTIONS}; }}\n",
        drain = 2 * HAND_OVER_DRAIN.as_secs(),
    );
    let mut rules = format!(
        "ip daddr . tcp dport {{ {} }} update @heard {{ tcp sport }} accept\n",
        elements(&except.endpoints)
    );
    if !except.servers.is_empty() {
        let _ = writeln!(
            rules,
            "ip saddr . tcp sport {{ {} }} tcp dport @heard accept",
            elements(&except.servers)
        );
    }
    (set, rules)
}

/// The set of addresses. They expire when the drain is long over and, should the daemon die, the kernel has removed them.
fn moved(addresses: &[Ipv4Addr]) -> String {
    let timeout = 2 * HAND_OVER_DRAIN.as_millis();
    let elements: Vec<_> = addresses.iter().map(|address| format!("{address} timeout {timeout}ms")).collect();
    format!("set moved {{ type ipv4_addr; flags timeout; elements = {{ {} }}; }}\n", elements.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_end_by_themselves_and_replace_earlier_ones() {
        let vrid = Vrid::new(33).unwrap();
        let addresses = vec![Ipv4Addr::new(192, 168, 2, 140)];
        let endpoints = vec![SocketAddrV4::new(Ipv4Addr::new(192, 168, 2, 140), 6443)];
        let except = Forwarded { endpoints, servers: Vec::new() };
        let forward = HandOverRules::Forward { addresses, to: Ipv4Addr::new(192, 168, 2, 141), except };
        let text = script("ens160", 7, vrid, Some(&forward));
        assert!(text.contains("192.168.2.140 timeout 2000ms"), "{text}");
        assert!(text.contains("ip daddr . tcp dport { 192.168.2.140 . 6443 } update @heard"), "{text}");
        let delete = text.find("delete table netdev mainstay_vrid33_if7").unwrap();
        assert!(delete < text.find("chain ingress").unwrap(), "{text}");
        assert_eq!(script("ens160", 7, vrid, None).matches("delete").count(), 2);
    }
}
