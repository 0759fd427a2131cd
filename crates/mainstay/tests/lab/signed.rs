//! Two balancers whose adverts are signed, in every kind of group, on real interfaces.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mainstay::lab::balancer::{Balancer, Kind};
use mainstay::lab::enter::DIRECTORY;
use mainstay::lab::recipe::Files;
use mainstay::lab::time::wait_until;
use mainstay::lab::topology::Lan;
use mainstay_engine::admin::RouterStatus;

/// Adverts come every second in version 2: a takeover takes 3.6 s, a planned one up to 2. Over IPv6, an address has to be
/// found unique first.
const PATIENCE: Duration = Duration::from_secs(20);

/// The key of the group, and one that is not.
const KEY: &str = "correct-horse-battery-staple-and-more";
const OTHER: &str = "hex:a5a4a3a2a1a0a5a4a3a2a1a0a5a4a3a2a1a0a5a4a3a2a1a0a5a4a3a2a1a0a5a4";

/// What must never be shown.
const SECRETS: [&str; 3] = ["correct-horse", "a5a4a3a2", "a5 a4 a3"];

#[derive(Clone, Copy, Debug)]
struct Group {
    version: u8,
    ipv6: bool,
    unicast: bool,
}

pub(crate) fn groups_of_every_kind_elect_take_over_and_name_a_wrong_key() {
    let lan = Lan::build().expect("a LAN");
    for (version, ipv6, unicast) in
        [(2, false, false), (2, false, true), (3, false, false), (3, false, true), (3, true, false)]
    {
        life(&lan, Group { version, ipv6, unicast });
    }
}

fn life(lan: &Lan, group: Group) {
    let mut lb1 = balancer(lan, "lb1", group);
    let mut lb2 = balancer(lan, "lb2", group);
    give_key(&lb1, KEY);
    give_key(&lb2, KEY);
    lb1.start().expect("lb1 starts");
    lb2.start().expect("lb2 starts");
    wait_for(group, &lb1, "lb1 is active", |router| router.state == "active" && router.addresses_installed);
    wait_for(group, &lb2, "lb2 follows it", |router| {
        router.state == "backup" && router.active_peer.is_some()
    });

    lb1.kill().expect("it can be killed");
    wait_for(group, &lb2, "lb2 takes over", |router| router.state == "active" && router.addresses_installed);
    lb1.start().expect("lb1 starts again");
    wait_for(group, &lb1, "lb1 preempts", |router| router.state == "active");
    let yielded = wait_for(group, &lb2, "lb2 yields", |router| router.state == "backup");
    let preempting = router(&lb1).expect("a status");
    assert_eq!((preempting.refused, yielded.refused), (vec![], vec![]), "{group:?}: nothing was refused");
    let mut shown = shown_of(&lb1) + &shown_of(&lb2);

    // The same number, another key: both are active, and each says why.
    lb2.kill().expect("it can be killed");
    give_key(&lb2, OTHER);
    lb2.start().expect("lb2 starts again");
    for (this, other) in [(&lb1, &lb2), (&lb2, &lb1)] {
        let names_it = |router: &RouterStatus| {
            let mut refused = router.refused.iter();
            refused.any(|refused| {
                let from =
                    if group.ipv6 { "fe80:".to_owned() } else { format!("{}: ", other.host().address()) };
                refused.reason == "hmac_bad" && refused.latest.starts_with(&from)
            })
        };
        wait_for(group, this, "the wrong key is named", names_it);
        assert!(this.log().contains("its signature is wrong"), "{group:?}\n{}", this.log_tail());
    }
    shown += &shown_of(&lb1);
    shown += &shown_of(&lb2);
    for secret in SECRETS {
        assert!(!shown.contains(secret), "{group:?}: {secret} is shown in\n{shown}");
    }
    assert!(shown.contains("hmac_bad") && shown.contains("key 1"), "{shown}");
}

fn balancer(lan: &Lan, name: &'static str, group: Group) -> Balancer {
    let host = lan.host(name).expect("the host");
    let (priority, peer) = if name == "lb1" { (120, "192.168.2.142") } else { (100, "192.168.2.141") };
    let mut lines = format!("priority {priority}\n");
    if group.version == 3 {
        lines += "version 3\nadvert_int 0.1\n";
    }
    if group.unicast {
        let _ = writeln!(lines, "unicast_peer {{\n{peer}\n}}");
    }
    let address = if group.ipv6 { "fe80::140/64" } else { "192.168.2.140/24" };
    let key = key_file(name);
    let keepalived = format!(
        "vrrp_instance signed {{\ninterface ens160\nvirtual_router_id 33\n{lines}auth_hmac {{\n\
         key 1 file:{}\nactive_key 1\ntime_window 30\n}}\nvirtual_ipaddress {{\n{address}\n}}\n}}\n",
        key.display()
    );
    let files = Files { haproxy: String::new(), keepalived, changes: Vec::new() };
    let mainstay = PathBuf::from(env!("CARGO_BIN_EXE_mainstay"));
    Balancer::install(Kind::Mainstay, host, &files, mainstay).expect("a balancer")
}

fn key_file(host: &str) -> PathBuf {
    Path::new(DIRECTORY).join(host).join("vrrp.key")
}

fn give_key(balancer: &Balancer, key: &str) {
    let path = key_file(balancer.host().name());
    fs::write(&path, format!("{key}\n")).expect("a key file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("its rights");
}

fn router(balancer: &Balancer) -> Result<RouterStatus, String> {
    let mut status = balancer.status().map_err(|error| error.to_string())?;
    status.routers.pop().ok_or("no router".to_owned())
}

fn wait_for(
    group: Group,
    balancer: &Balancer,
    what: &str,
    fits: impl Fn(&RouterStatus) -> bool,
) -> RouterStatus {
    let waited = wait_until(PATIENCE, || {
        // The socket appears a moment after the process.
        Ok(router(balancer)
            .and_then(|router| if fits(&router) { Ok(router) } else { Err(format!("{router:?}")) }))
    });
    waited.unwrap_or_else(|error| panic!("{group:?}: {what}: {error}\n{}", balancer.log_tail()))
}

/// Everything that a balancer shows to people: its log, its status and the verdict on its files.
fn shown_of(balancer: &Balancer) -> String {
    let mut shown = balancer.log();
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
        let output = command.args(words).output().expect("mainstay runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    let path = |name: &str| balancer.file(name).display().to_string();
    shown += &run(&["status", "--socket", &path("mainstay.sock")]);
    shown += &run(&["status", "--json", "--socket", &path("mainstay.sock")]);
    for format in ["full", "short", "json"] {
        // With the key in the file itself, and a mistake beside it.
        let text = fs::read_to_string(balancer.file("keepalived.conf")).expect("the file");
        let wrong = text.replace("active_key 1", &format!("key 2 {OTHER}\nkey 1 {KEY}\nactive_key {KEY}"));
        let name = balancer.file("wrong.conf");
        fs::write(&name, wrong).expect("a file");
        let verdict = run(&["check", "--keepalived-conf", &name.display().to_string(), "--format", format]);
        assert!(verdict.contains("K042") && verdict.contains("K015"), "{verdict}");
        shown += &verdict;
        shown += &run(&["check", "--keepalived-conf", &path("keepalived.conf"), "--format", format]);
    }
    shown
}
