//! What the kernel does with frames while virtual addresses move (docs/adr/0002), as nftables rules.
//!
//! Owns the texts of the rules and the run of `nft`. Each virtual router has tables of its own, named after it; others'
//! are never touched. The addresses in them expire by themselves, so rules that a killed daemon left behind do nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use mainstay_engine::engine::HandOverRules;
use mainstay_engine::limits::HAND_OVER_DRAIN;
use mainstay_engine::plan::Vrid;

/// How long the control thread waits for `nft`, which takes 5 to 20 ms: less than a version 2 peer's patience by far.
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
        // Nobody listens any more if it took too long.
        let _ = sender.send(nft(&script));
    };
    thread::Builder::new().name("nft".to_owned()).spawn(run).map_err(|error| error.to_string())?;
    receiver
        .recv_timeout(PATIENCE)
        .unwrap_or_else(|_| Err(format!("nft did not end within {} ms", PATIENCE.as_millis())))
}

fn nft(script: &str) -> Result<(), String> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("cannot run nft: {error}"))?;
    if let Some(mut input) = child.stdin.take() {
        // A refusal shows in how it ends.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("cannot wait for nft: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft refused: {}", said.lines().next().unwrap_or("it does not say why")))
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
        Some(HandOverRules::Forward { addresses, to }) => {
            let moved = moved(addresses);
            let connection = "ip saddr . tcp sport . tcp dport";
            let _ = writeln!(
                script,
                "table netdev {table} {{\n\
                 {moved}\
                 set own {{ typeof {connection}; flags dynamic,timeout; timeout {drain}s; size {OWN_CONNECTIONS}; }}\n\
                 chain ingress {{ type filter hook ingress device \"{interface}\" priority -500;\n\
                 ip daddr @moved tcp flags & (syn | ack) == syn update @own {{ {connection} }} accept\n\
                 ip daddr @moved meta l4proto tcp {connection} != @own fwd ip to {to} device \"{interface}\"\n\
                 }}\n}}",
                drain = 2 * HAND_OVER_DRAIN.as_secs(),
            );
        }
    }
    script
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
        let forward = HandOverRules::Forward { addresses, to: Ipv4Addr::new(192, 168, 2, 141) };
        let text = script("ens160", 7, vrid, Some(&forward));
        assert!(text.contains("192.168.2.140 timeout 2000ms"), "{text}");
        let delete = text.find("delete table netdev mainstay_vrid33_if7").unwrap();
        assert!(delete < text.find("chain ingress").unwrap(), "{text}");
        assert_eq!(script("ens160", 7, vrid, None).matches("delete").count(), 2);
    }
}
