//! A LAN with two balancers that forward in the kernel, two servers that echo, and clients.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use mainstay::lab::topology::{Host, INTERFACE, Lan, VIRTUAL_ADDRESS};
use mainstay::nat::conntrack::Conntrack;
use mainstay_engine::flows::Flow;
use nix::mount::{MsFlags, mount};
use socket2::{Domain, Socket, Type};

/// Set in the child that runs inside namespaces of its own.
const INSIDE: &str = "MAINSTAY_TEST_INSIDE_NAMESPACE";

/// Longer than anything the kernel takes here.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The balancers, with the recipe's addresses.
pub(crate) const BALANCERS: [(&str, u8); 2] = [("lb1", 141), ("lb2", 142)];
const SERVERS: [(&str, u8); 2] = [("cp1", 151), ("cp2", 152)];
const CLIENT: (&str, u8) = ("client", 160);

/// Addresses of clients that use the same source ports.
pub(crate) const CLIENT_ADDRESSES: u8 = 9;

/// Runs `body` inside fresh namespaces. `name` is the test's full name.
pub(crate) fn in_namespaces(name: &str, body: fn(&Rig)) {
    if std::env::var_os(INSIDE).is_some() {
        // `ip netns` keeps its names there.
        mount(Some("test"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=0755")).expect("a mount");
        body(&Rig::build());
        return;
    }
    let mut command = Command::new("unshare");
    if !nix::unistd::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    let program = std::env::current_exe().expect("a test has a program");
    let output = command
        .args(["--net", "--mount", "--"])
        .arg(program)
        .args(["--exact", "--nocapture", name])
        .env(INSIDE, "yes")
        .output()
        .expect("`unshare` of util-linux runs");
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "inside the namespaces:\n{said}");
    assert!(said.contains("1 passed"), "the test did not run inside the namespaces:\n{said}");
    for line in said.lines().filter(|line| line.starts_with("    ")) {
        println!("{line}");
    }
}

/// Which family a test speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Family {
    /// The address with this last number.
    pub(crate) fn address(self, number: u8) -> IpAddr {
        match self {
            Self::Ipv4 => {
                let [a, b, c, _] = VIRTUAL_ADDRESS.octets();
                Ipv4Addr::new(a, b, c, number).into()
            }
            Self::Ipv6 => [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)].into(),
        }
    }

    /// What clients connect to.
    pub(crate) fn endpoint(self) -> SocketAddr {
        SocketAddr::new(self.address(140), 6443)
    }

    fn prefix(self) -> u8 {
        if self == Self::Ipv4 { 24 } else { 64 }
    }
}

/// Both endpoints.
pub(crate) fn endpoints() -> BTreeSet<SocketAddr> {
    [Family::Ipv4, Family::Ipv6].map(Family::endpoint).into()
}

/// The LAN.
pub(crate) struct Rig {
    lan: Lan,
}

impl Rig {
    fn build() -> Self {
        let hosts = [BALANCERS[0], BALANCERS[1], SERVERS[0], SERVERS[1], CLIENT];
        let ipv4 = |number| match Family::Ipv4.address(number) {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
        };
        let lan = Lan::of("lan", &hosts.map(|(name, number)| (name, ipv4(number)))).expect("a LAN");
        let rig = Self { lan };
        for (name, number) in hosts {
            let host = rig.host(name);
            let mut addresses = vec![Family::Ipv6.address(number)];
            if name == CLIENT.0 {
                let more =
                    |family: Family| (1..CLIENT_ADDRESSES).map(move |more| family.address(number + more));
                addresses.extend(more(Family::Ipv4).chain(more(Family::Ipv6)));
            }
            host.configure(&addresses.into_iter().map(|it| add_address("add", it)).collect::<Vec<_>>())
                .expect("ip");
        }
        SERVERS.iter().for_each(|(name, _)| rig.serve(name));
        BALANCERS.iter().for_each(|(name, _)| rig.forward(name));
        rig
    }

    /// The host called `name`.
    pub(crate) fn host(&self, name: &str) -> &Host {
        self.lan.host(name).expect("it was built")
    }

    /// Does `work` on a host.
    pub(crate) fn on<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        self.host(name).enter(work).expect("the host")
    }

    /// Puts the virtual addresses on a host, and has nobody remember that they were elsewhere.
    pub(crate) fn give_address(&self, name: &str) {
        let addresses = [Family::Ipv4, Family::Ipv6].map(|family| add_address("add", family.address(140)));
        self.host(name).configure(&addresses).expect("ip");
        for host in [SERVERS[0].0, SERVERS[1].0, CLIENT.0] {
            self.host(host).configure(&[format!("neigh flush dev {INTERFACE}")]).expect("ip");
        }
    }

    /// Takes the virtual addresses off a host.
    pub(crate) fn take_address(&self, name: &str) {
        let addresses = [Family::Ipv4, Family::Ipv6].map(|family| add_address("del", family.address(140)));
        self.host(name).configure(&addresses).expect("ip");
    }

    /// Opens connections from every client's address with every one of `ports`.
    pub(crate) fn connect(&self, family: Family, ports: &Range<u16>) -> Vec<TcpStream> {
        self.on(CLIENT.0, || {
            let addresses = (0..CLIENT_ADDRESSES).map(|more| family.address(CLIENT.1 + more));
            let sources =
                addresses.flat_map(|address| ports.clone().map(move |port| SocketAddr::new(address, port)));
            let streams: Vec<_> = sources.map(|source| connect(source, family.endpoint())).collect();
            for mut stream in &streams {
                assert!(answers(&mut stream), "a new connection is answered");
            }
            streams
        })
    }

    /// Waits until the kernel of a host has as established what every client's address has with every one of `ports`.
    pub(crate) fn await_established(&self, name: &str, family: Family, ports: &Range<u16>) -> Vec<Flow> {
        let count = usize::from(CLIENT_ADDRESSES) * ports.len();
        let endpoints = BTreeSet::from([family.endpoint()]);
        await_that(|| {
            let entries = self.on(name, || Conntrack::open().and_then(|mut it| it.list(&endpoints)));
            let flows: Vec<_> = entries
                .expect("a list")
                .into_iter()
                .filter(|entry| entry.is_established() && entry.is_rewritten())
                .map(|entry| entry.flow)
                .filter(|flow| ports.contains(&flow.client.port()))
                .collect();
            if flows.len() == count { Ok(flows) } else { Err(format!("{} of {count} flows", flows.len())) }
        })
    }

    fn serve(&self, name: &str) {
        for family in [Family::Ipv4, Family::Ipv6] {
            let number = SERVERS.iter().find(|(server, _)| *server == name).expect("a server").1;
            let address = SocketAddr::new(family.address(number), 6443);
            let listener = await_that(|| {
                self.on(name, || TcpListener::bind(address)).map_err(|error| error.to_string())
            });
            thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    thread::spawn(move || {
                        let mut byte = [0];
                        while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(&byte).is_ok() {}
                    });
                }
            });
        }
    }

    /// Has the kernel of a host forward the endpoints, in its own words.
    fn forward(&self, name: &str) {
        let [a, b] = SERVERS.map(|(_, number)| Family::Ipv4.address(number));
        let [c, d] = SERVERS.map(|(_, number)| Family::Ipv6.address(number));
        let [ipv4, ipv6] = [Family::Ipv4, Family::Ipv6].map(|family| family.address(140));
        let rules = format!(
            "table inet test {{
               chain in {{ type nat hook prerouting priority dstnat;
                 ip daddr {ipv4} tcp dport 6443 dnat ip to jhash ip saddr . tcp sport mod 2 seed 0x51 map {{ 0 : {a}, 1 : {b} }}
                 ip6 daddr {ipv6} tcp dport 6443 dnat ip6 to jhash ip6 saddr . tcp sport mod 2 seed 0x51 map {{ 0 : {c}, 1 : {d} }}
               }}
               chain out {{ type nat hook postrouting priority srcnat;
                 meta l4proto tcp ct original ip daddr {ipv4} snat ip to {ipv4}
                 meta l4proto tcp ct original ip6 daddr {ipv6} snat ip6 to {ipv6}
               }}
             }}"
        );
        self.on(name, || {
            let settings = [
                ("ipv4/ip_forward", "1"),
                ("ipv6/conf/all/forwarding", "1"),
                ("ipv4/conf/all/send_redirects", "0"),
                ("ipv4/conf/ens160/send_redirects", "0"),
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/ens160/rp_filter", "0"),
            ];
            for (name, value) in settings {
                fs::write(format!("/proc/sys/net/{name}"), value).expect(name);
            }
            let mut nft =
                Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().expect("`nft` runs");
            nft.stdin.take().expect("an input").write_all(rules.as_bytes()).expect("it reads");
            assert!(nft.wait().expect("it ends").success(), "{rules}");
            for name in ["tcp_loose", "tcp_be_liberal"] {
                fs::write(format!("/proc/sys/net/netfilter/nf_conntrack_{name}"), "1").expect(name);
            }
        });
    }
}

/// How many of the connections still answer.
pub(crate) fn count_answering(streams: &[TcpStream]) -> usize {
    streams.iter().map(|mut stream| answers(&mut stream)).filter(|&answers| answers).count()
}

fn answers(stream: &mut &TcpStream) -> bool {
    let mut byte = [7];
    stream.write_all(&byte).is_ok() && matches!(stream.read(&mut byte), Ok(1))
}

/// Waits until `look` succeeds.
pub(crate) fn await_that<T>(mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(what) => assert!(began.elapsed() < PATIENCE, "it stays like this: {what}"),
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn connect(source: SocketAddr, endpoint: SocketAddr) -> TcpStream {
    await_that(|| {
        let socket = Socket::new(Domain::for_address(source), Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&source.into()).map_err(|error| error.to_string())?;
        socket.set_read_timeout(Some(Duration::from_secs(3))).expect("a time-out");
        socket.connect(&endpoint.into()).map_err(|error| error.to_string())?;
        Ok(TcpStream::from(socket))
    })
}

fn add_address(verb: &str, address: IpAddr) -> String {
    let family = if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 };
    let flags = if verb == "add" && family == Family::Ipv6 { " nodad" } else { "" };
    format!("addr {verb} {address}/{} dev {INTERFACE}{flags}", family.prefix())
}
