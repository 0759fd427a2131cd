//! What the tests share: a daemon and HAProxy on one file, servers that say their names, and clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use crate::ports::free_address;

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// One of the two, running.
pub(crate) struct Balancer {
    child: Child,
    address: SocketAddr,
    stats: PathBuf,
}

/// Starts HAProxy and mainstay, in this order, each on a port of its own. `backend` is what its file says of the
/// backend.
pub(crate) fn both(backend: &str) -> [(&'static str, Balancer); 2] {
    [("HAProxy", start(backend, haproxy)), ("mainstay", start(backend, mainstay))]
}

fn start(backend: &str, command: fn(&PathBuf, &str) -> Command) -> Balancer {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("balancer");
    fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join(format!("{}-{number}.cfg", std::process::id()));
    let address = free_address();
    let stats = file.with_extension("stats");
    let text = format!(
        "global\n maxconn 2000\n nbthread 1\n stats socket {}\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 30s\n \
         timeout server 30s\nfrontend f\n bind {address}\n default_backend b\nbackend b\n{backend}",
        stats.display()
    );
    fs::write(&file, text).expect("a file can be written");
    let socket = file.with_extension("socket").display().to_string();
    let child = command(&file, &socket).stderr(Stdio::null()).stdout(Stdio::null()).spawn();
    let balancer = Balancer { child: child.expect("it starts; tools/install-test-tools"), address, stats };
    let began = Instant::now();
    // Listening is not connected to: that would take a server's turn.
    while TcpListener::bind(address).is_ok() {
        assert!(began.elapsed() < PATIENCE, "{} does not listen", file.display());
        thread::sleep(Duration::from_millis(20));
    }
    balancer
}

fn haproxy(file: &PathBuf, _: &str) -> Command {
    let mut command = Command::new("haproxy");
    command.arg("-db").arg("-f").arg(file);
    command
}

fn mainstay(file: &PathBuf, socket: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstay"));
    command.arg("run").arg("--haproxy-cfg").arg(file).args(["--socket", socket, "--no-peer-link"]);
    command
}

impl Balancer {
    /// Which server answers a client with this address.
    pub(crate) fn ask_from(&self, source: [u8; 4]) -> u8 {
        self.hold_from(source).1
    }

    fn connect_from(&self, source: [u8; 4]) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        // The kernel looks for a port when it knows where to: with thousands of them in use it would look for long.
        setsockopt(&socket, sockopt::IpBindAddressNoPort, &true).expect("an option");
        socket.bind(&SocketAddr::from((IpAddr::from(source), 0)).into()).expect("an address of loopback");
        socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        socket.connect(&self.address.into()).expect("it listens");
        TcpStream::from(socket)
    }

    /// Waits until the statistics of the backend say so of the column at `place`.
    pub(crate) fn wait_for(&self, place: usize, value: &str) {
        let began = Instant::now();
        loop {
            let mut stream = UnixStream::connect(&self.stats).expect("it listens");
            writeln!(stream, "show stat b 2 -1").expect("it reads");
            let mut text = String::new();
            stream.read_to_string(&mut text).expect("it answers");
            if text
                .lines()
                .any(|line| line.starts_with("b,BACKEND,") && line.split(',').nth(place) == Some(value))
            {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{text}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// A connection from this address, and the server that it has got.
    pub(crate) fn hold_from(&self, source: [u8; 4]) -> (TcpStream, u8) {
        let mut stream = self.connect_from(source);
        let mut name = [0];
        stream.read_exact(&mut name).expect("a server answers");
        (stream, name[0])
    }

    /// A client's connection.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        stream
    }

    /// Which servers answer clients in a row.
    pub(crate) fn ask(&self, count: usize) -> Vec<u8> {
        // From many addresses, so that each has free ports.
        (0..=u8::MAX).cycle().take(count).map(|host| self.ask_from([127, 2, 0, host | 1])).collect()
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server that says its name to everybody and ends.
pub(crate) fn named(name: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.write_all(&[name]);
        }
    });
    address
}

/// A server that says its name and holds every connection until its client ends it.
pub(crate) fn holding(name: u8) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let _ = stream.write_all(&[name]);
                let _ = stream.read(&mut [0]);
            });
        }
    });
    address
}

/// How often each of the first `servers` names was said.
pub(crate) fn tally(names: &[u8], servers: u8) -> Vec<usize> {
    (0..servers).map(|server| names.iter().filter(|&&name| name == server).count()).collect()
}
