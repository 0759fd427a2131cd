//! What the real `nft` makes of rules, and what is left of earlier ones.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use mainstay_engine::balance::maglev;
use mainstay_engine::forwarding::ForwardedServer;

use super::*;

fn forwarding(servers: &[SocketAddr], endpoints: &[SocketAddr]) -> KernelForwarding {
    let mut forwarding = KernelForwarding::default();
    for is_ipv4 in [true, false] {
        let of_family = |address: &&SocketAddr| address.is_ipv4() == is_ipv4;
        let server = |(index, address): (u16, &SocketAddr)| ForwardedServer {
            id: ServerId { pool: PoolId(3), server: ServerIndex(index) },
            address: *address,
        };
        let servers: Vec<_> = (0..).zip(servers.iter().filter(of_family)).map(server).collect();
        let weights: Vec<_> = servers.iter().map(|server| (server.address, 1)).collect();
        for &address in endpoints.iter().filter(of_family) {
            let pool = forwarding.pools.len();
            forwarding.endpoints.push(Endpoint { frontend: FrontendId(2), address, pool, open: true });
        }
        forwarding.pools.push(ForwardedPool {
            id: PoolId(3),
            is_ipv4,
            key: FlowKey::AddressAndPort,
            table: maglev::table(&weights),
            servers,
            no_server: NoServer::Refuse,
        });
    }
    forwarding
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Gives `nft` in a network namespace of its own one script after the other, and lists the table after the last.
fn in_force(scripts: &[String]) -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = std::env::temp_dir().join(format!("mainstay-ruleset-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let mut line = "set -e".to_owned();
    for (number, script) in scripts.iter().enumerate() {
        let file = directory.join(number.to_string());
        std::fs::write(&file, script).unwrap();
        let _ = write!(line, "; nft -f {}", file.display());
    }
    let _ = write!(line, "; nft list ruleset");
    let output = Command::new("unshare").args(["--map-root-user", "--net", "sh", "-c", &line]).output();
    let output = output.expect("unshare is there: tools/install-test-tools");
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_change_leaves_what_a_fresh_start_would_make() {
    let endpoints = addresses(&["10.0.0.100:6443", "10.0.0.101:443", "[fd00::100]:6443"]);
    let three = addresses(&["10.0.0.1:6443", "10.0.0.2:6443", "10.0.0.3:6443", "[fd00::1]:6443"]);
    let before = Ruleset::new(&forwarding(&three, &endpoints));
    let after = Ruleset::new(&forwarding(&three[..2], &endpoints[..1]));
    let none = Ruleset::new(&forwarding(&[], &endpoints));
    let sorted = |text: String| {
        // Which was declared first is no matter.
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let fresh = sorted(in_force(&[after.replace()]));
    assert_eq!(sorted(in_force(&[before.replace(), none.update(&before), after.update(&none)])), fresh);
    assert_eq!(sorted(in_force(&[before.replace(), after.replace()])), fresh);
    assert_eq!(in_force(&[before.replace(), removal(), removal()]), "");
}

#[test]
fn many_servers_and_endpoints_are_taken() {
    let server = |number: u8| SocketAddr::from(([10, 1, 0, number], 6443));
    let endpoint = |number: u8| SocketAddr::from(([10, 0, 0, number], 6443));
    let mut many = forwarding(&(1..=20).map(server).collect::<Vec<_>>(), &[]);
    let pool = |endpoint: &mut Endpoint| endpoint.pool = 0;
    many.endpoints = forwarding(&[], &(1..=20).map(endpoint).collect::<Vec<_>>()).endpoints;
    many.endpoints.iter_mut().for_each(pool);
    let rules = in_force(&[Ruleset::new(&many).replace()]);
    assert_eq!(rules.matches("dnat ip to").count(), 20);
}

#[test]
fn a_counter_knows_whom_it_is_about() {
    let rules = Ruleset::new(&forwarding(
        &addresses(&["10.0.0.1:6443", "[fd00::1]:6443"]),
        &addresses(&["10.0.0.100:6443"]),
    ));
    let server = Subject::Server(ServerId { pool: PoolId(3), server: ServerIndex(0) });
    let frontend = Subject::Frontend(FrontendId(2));
    for name in &rules.counters {
        let (subject, what) = subject(name).expect(name);
        assert_eq!(subject, if name.starts_with('p') { server } else { frontend });
        assert!(name.ends_with(match what {
            Counted::New => "_new",
            Counted::In => "_in",
            Counted::Out => "_out",
        }));
    }
    assert_eq!(rules.counters.len(), 9);
    for strange in ["", "f", "f0_new", "p0_s0_in", "p0v4_x0_in", "f0_e0_all", "guard"] {
        assert_eq!(subject(strange), None, "{strange}");
    }
}
