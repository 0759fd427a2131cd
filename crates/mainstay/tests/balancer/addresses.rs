//! Where connections come from and go to that is not an address and a port: the same file for mainstay and for HAProxy,
//! the same clients and servers, the same log lines.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use crate::ports::free_address;
use crate::rig::PATIENCE;

/// Longer than a balancer takes to listen.
const POLL: Duration = Duration::from_millis(20);

/// A balancer on one file, in a directory of its own.
pub(crate) struct Place {
    directory: PathBuf,
    child: Option<Child>,
}

impl Place {
    pub(crate) fn new(name: &str) -> Self {
        // Paths of sockets are short.
        let directory = std::env::temp_dir().join(format!("ms-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        Self { directory, child: None }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn start(&mut self, real: bool, text: &str) {
        let (file, socket) = (self.path("cfg"), self.path("admin"));
        let defaults = "defaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n timeout server 30s\n";
        fs::write(&file, format!("global\n nbthread 1\n{defaults}{text}")).expect("a file");
        let mut command = if real {
            let mut command = Command::new("haproxy");
            command.arg("-db").arg("-f").arg(&file);
            command
        } else {
            let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
            command.arg("run").arg("--haproxy-cfg").arg(&file).arg("--no-peer-link");
            command.arg("--socket").arg(&socket);
            command
        };
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        self.child = Some(child.expect("it starts; tools/install-test-tools"));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Tries until it succeeds.
fn until<T>(what: &str, mut attempt: impl FnMut() -> std::io::Result<T>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{what}: {error}"),
        }
        thread::sleep(POLL);
    }
}

fn abstract_name(name: &str) -> UnixAddress {
    // HAProxy's names are as long as they can be.
    UnixAddress::from_abstract_name(format!("{name:\0<107}")).expect("a name")
}

/// What a client gets that says nothing.
fn answer(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer and an end");
    text
}

/// Servers that say who they take the client for; they read `header` bytes first and say them, too.
fn serve_unix(listener: UnixListener, header: usize) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = vec![0; header];
            let _ = stream.read_exact(&mut bytes);
            let _ = stream.write_all(format!("{bytes:?}").as_bytes());
        }
    });
}

fn serve_tcp(address: SocketAddr) {
    let listener = TcpListener::bind(address).expect("a free port");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let peer = stream.peer_addr().expect("a peer");
            let own = stream.local_addr().expect("an address").port();
            let range = (21_011..=21_013).contains(&peer.port());
            let _ = stream.write_all(format!("{} {own} {range}", peer.ip()).as_bytes());
        }
    });
}

/// What clients of one balancer got, and what it logged of them.
fn outcomes(real: bool) -> Vec<String> {
    let mut place = Place::new(if real { "theirs" } else { "ours" });
    let log = UdpSocket::bind("127.0.0.1:0").expect("a port for logs");
    log.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let name = format!("{}-{real}", std::process::id());
    serve_unix(UnixListener::bind(place.path("server")).expect("a socket"), 0);
    let listener = UnixListener::bind_addr(&abstract_name(&format!("{name}-server"))).expect("a name");
    serve_unix(listener, 16);
    let (near, mapped) = (free_address(), free_address());
    let far = SocketAddr::from(([127, 0, 0, 2], mapped.port()));
    let plus = SocketAddr::from(([127, 0, 0, 2], mapped.port() + 1));
    [near, far, plus].into_iter().for_each(serve_tcp);
    let (sourced, ranged) = (free_address(), free_address());
    let directory = place.directory.display().to_string();
    place.start(
        real,
        &format!(
            " log 127.0.0.1:{} format rfc3164 local0\n\
             log-format \"%ft %ci:%cp %fi:%fp %b/%s %si:%sp %bi %ts\"\n\
             frontend file\n bind unix@{directory}/in id 7 mode 640\n bind {directory}/second\n default_backend file\n\
             frontend name\n bind abns@{name} maxconn 1\n default_backend name\n\
             frontend legacy\n log-format \"-\"\n bind {directory}/legacy,abns@{name}-legacy\n default_backend none\n\
             listen mapped\n bind {mapped}\n server same 127.0.0.2\n server next 127.0.0.2:+1 backup\n\
             listen offset\n bind {sourced}\n source 127.0.0.9\n \
             server near {near}\n\
             listen range\n bind {ranged}\n server near {near} source 127.0.0.8:21011-21013\n\
             backend file\n server unix unix@{directory}/server check inter 1s\n\
             backend name\n server abns abns@{name}-server send-proxy-v2\n\
             backend none\n server gone unix@{directory}/gone\n",
            log.local_addr().expect("an address").port()
        ),
    );
    let file = |name: &str| until(name, || UnixStream::connect(place.path(name)));
    let abstract_one = |name: &str| until(name, || UnixStream::connect_addr(&abstract_name(name)));
    let tcp = |address: SocketAddr| until("a port", || TcpStream::connect(address));
    let mut got = vec![answer(file("in")), answer(file("second")), answer(abstract_one(&name))];
    let mode = fs::metadata(place.path("in")).expect("a file").permissions().mode();
    got.push(format!("{mode:o}"));
    got.extend([answer(tcp(mapped)), answer(tcp(sourced))]);
    got.extend((0..3).map(|_| answer(tcp(ranged))));
    let lines = 8;
    let mut logged: Vec<String> = (0..lines).map(|_| receive(&log)).collect();
    logged.sort();
    let known = [(directory, "DIR"), (name, "NAME"), (mapped.port().to_string(), "MAPPED")];
    let others = [(near, "NEAR"), (sourced, "SOURCED"), (ranged, "RANGED")];
    let others = others.map(|(address, name)| (address.port().to_string(), name));
    let all: Vec<_> = known.into_iter().chain(others).collect();
    got.extend(logged);
    got.into_iter()
        .map(|text| all.iter().fold(text, |text, (own, name)| text.replace(own.as_str(), name)))
        .collect()
}

/// One line, without the client's port and the time.
fn receive(log: &UdpSocket) -> String {
    let mut buffer = [0; 1024];
    let length = log.recv(&mut buffer).expect("a line for each connection");
    let text = String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned();
    let text = text.split_once("]: ").map_or(text.clone(), |(_, line)| line.to_owned());
    let words = text.split(' ').map(|word| match word.strip_prefix("127.0.0.1:") {
        Some(port) if text.split(' ').nth(1) == Some(word) => "127.0.0.1:CLIENT".replace(port, ""),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn sockets_and_ports_and_sources_are_what_haproxy_makes_of_them() {
    let (theirs, ours) = thread::scope(|scope| {
        let theirs = scope.spawn(|| outcomes(true));
        let ours = scope.spawn(|| outcomes(false));
        (theirs.join().expect("no panic"), ours.join().expect("no panic"))
    });
    assert_eq!(ours, theirs);
    // What HAProxy is known to do: a local client is nobody, and a file has the mode that was asked for.
    assert!(ours.contains(&"140640".to_owned()), "{ours:?}");
    assert!(ours.iter().any(|line| line.starts_with("file unix:7 unix:7 file/unix unix:0 unix")), "{ours:?}");
    assert!(ours.iter().any(|line| line == "127.0.0.8 NEAR true"), "{ours:?}");
}

/// Client, mainstay, HAProxy, mainstay, server: each hands over who the client is by a socket of this machine.
#[test]
fn a_real_haproxy_stands_between_two_frontends() {
    let (mut own, mut real) = (Place::new("own"), Place::new("real"));
    let name = format!("{}-between", std::process::id());
    let (front, server) = (free_address(), free_address());
    let between = real.path("between").display().to_string();
    let listener = TcpListener::bind(server).expect("a free port");
    real.start(
        true,
        &format!("listen l\n bind unix@{between} accept-proxy\n server m abns@{name} send-proxy\n"),
    );
    own.start(
        false,
        &format!(
            "listen first\n bind {front}\n server h unix@{between} send-proxy-v2\n\
             listen last\n bind abns@{name} accept-proxy\n server s {server} send-proxy\n"
        ),
    );
    until("HAProxy", || UnixStream::connect(real.path("between")));
    let mut client = until("the frontend", || TcpStream::connect(front));
    client.write_all(b"hello").expect("it is sent");
    client.shutdown(Shutdown::Write).expect("it is open");
    listener.set_nonblocking(true).expect("a flag");
    let (stream, _) = until("a connection at the server", || listener.accept());
    stream.set_nonblocking(false).expect("a flag");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let told = answer(stream);
    let port = client.local_addr().expect("an address").port();
    assert_eq!(told, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {}\r\nhello", front.port()));
}

#[test]
fn files_are_taken_over_and_taken_away() {
    let mut first = Place::new("first");
    let path = first.path("in");
    serve_unix(UnixListener::bind(first.path("server")).expect("a socket"), 0);
    // A file that nobody listens on any more.
    drop(UnixListener::bind(&path).expect("a socket"));
    let text = format!("listen l\n bind {}\n server s {}\n", path.display(), first.path("server").display());
    first.start(false, &text);
    assert_eq!(answer(until("the socket", || UnixStream::connect(&path))), "[]");
    let child = first.child.as_mut().expect("it runs");
    let process = nix::unistd::Pid::from_raw(i32::try_from(child.id()).expect("a number"));
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).expect("it runs");
    assert!(child.wait().expect("it ends").success());
    assert!(!path.exists());
}

#[test]
fn a_socket_that_was_inherited_is_listened_on() {
    let mut place = Place::new("fd");
    let (server, listener) = (free_address(), TcpListener::bind("127.0.0.1:0").expect("a port"));
    serve_tcp(server);
    let address = listener.local_addr().expect("an address");
    let descriptor = OwnedFd::from(listener);
    fcntl(&descriptor, FcntlArg::F_SETFD(FdFlag::empty())).expect("a flag");
    let text = format!("listen l\n bind fd@{}\n server s {server}\n", descriptor.as_raw_fd());
    place.start(false, &text);
    let stream = until("the socket", || {
        // The kernel takes connections before the daemon does: only an answer counts.
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    assert_eq!(answer(stream), format!("127.0.0.1 {} false", server.port()));
}

#[test]
fn servers_see_the_address_of_the_client() {
    for (shown, expected) in [("clientip", "10.1.0.2"), ("client", "10.1.0.2"), ("10.9.9.9", "10.9.9.9")] {
        for real in [true, false] {
            let seen = transparent(Path::new("tests/balancer/transparent.sh"), shown, real);
            assert_eq!(seen, format!("{expected} {}", shown == "client"), "{shown}, HAProxy: {real}");
        }
    }
}

/// What a server in a network of its own sees of a client in another one.
fn transparent(script: &Path, shown: &str, real: bool) -> String {
    let place = Place::new(&format!("transparent-{real}-{shown}"));
    let output = Command::new("unshare")
        .args(["--map-root-user", "--net", "--mount", "sh"])
        .arg(script)
        .arg(&place.directory)
        .arg(shown)
        .arg(if real { "haproxy" } else { env!("CARGO_BIN_EXE_mainstay") })
        .output()
        .expect("unshare is there: tools/install-test-tools");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
