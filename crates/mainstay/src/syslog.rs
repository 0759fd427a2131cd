//! Writes lines about connections and servers to the targets of `log` lines.
//!
//! Owns [`Syslog`]: a thread that gets what happened through a bounded queue, has the engine put it into words, and sends
//! those. Whoever hands something over never waits; what there is no room for is dropped and counted, and so is what a
//! target does not take.

use std::collections::{HashMap, hash_map};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mainstay_engine::logging::server_state::ServerLine;
use mainstay_engine::logging::syslog::{Line, datagram};
use mainstay_engine::logging::{Connection, Host, legacy, line};
use mainstay_engine::plan::log::{LogAddress, LogHostname, Logging, Severity};
use mainstay_engine::plan::{Frontend, Plan, Pool};
use nix::unistd::gethostname;

use crate::clock;

/// Lines that may wait for the thread that writes them: what a busy balancer has to say in a tenth of a second.
const LINES_WAITING: usize = 4096;

/// How often it is said that lines were dropped, at most.
const COMPLAINT: Duration = Duration::from_secs(10);

/// The way to the targets. Dropping it writes what waits, and ends the thread.
#[derive(Debug)]
pub struct Syslog {
    sender: Option<SyncSender<Entry>>,
    dropped: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

/// What there is to write.
#[derive(Debug)]
enum Entry {
    /// A connection, whose line says what the format of its frontend says.
    Connection(Arc<Plan>, Box<Connection>),
    /// A connection that begins.
    Begin(Arc<Plan>, Box<Connection>),
    Server(Arc<Plan>, ServerLine),
}

impl Syslog {
    /// Starts the thread, if the plan names a target.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(plan: &Plan) -> io::Result<Self> {
        let of_frontends = plan.frontends.iter().map(|frontend| &frontend.logging);
        let mut loggings = of_frontends.chain(plan.pools.iter().map(|pool| &pool.logging));
        let dropped = Arc::new(AtomicU64::new(0));
        if loggings.all(|logging| logging.targets.is_empty()) {
            return Ok(Self { sender: None, dropped, thread: None });
        }
        let (sender, receiver) = sync_channel(LINES_WAITING);
        let mut writer = Writer::new(Arc::clone(&dropped));
        let thread = thread::Builder::new().name("syslog".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender: Some(sender), dropped, thread: Some(thread) })
    }

    /// Writes the line of a connection.
    pub fn connection(&self, plan: &Arc<Plan>, connection: Connection) {
        self.send(|| Entry::Connection(Arc::clone(plan), Box::new(connection)));
    }

    /// Writes that a connection begins.
    pub fn begin(&self, plan: &Arc<Plan>, connection: Connection) {
        self.send(|| Entry::Begin(Arc::clone(plan), Box::new(connection)));
    }

    /// Writes a line about a server.
    pub fn server(&self, plan: &Arc<Plan>, line: ServerLine) {
        self.send(|| Entry::Server(Arc::clone(plan), line));
    }

    /// Lines that were not written.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn send(&self, entry: impl FnOnce() -> Entry) {
        if let Some(sender) = &self.sender
            && sender.try_send(entry()).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread that writes.
#[derive(Debug)]
struct Writer {
    host: Host,
    /// The minute that the offset of `host` is about.
    minute: u64,
    sockets: Sockets,
    /// Lines that targets with a sample have seen: of a frontend or a pool, and which of its targets.
    samples: HashMap<(Owner, usize), u64>,
    dropped: Arc<AtomicU64>,
    complained: (u64, Option<Instant>),
}

/// Whose targets a line goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    Frontend(u16),
    Pool(u16),
}

impl Writer {
    fn new(dropped: Arc<AtomicU64>) -> Self {
        let name = gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self {
            host: Host { name, process: std::process::id(), offset: 0 },
            minute: u64::MAX,
            sockets: Sockets::default(),
            samples: HashMap::new(),
            dropped,
            complained: (0, None),
        }
    }

    fn run(&mut self, entries: &Receiver<Entry>) {
        loop {
            match entries.recv_timeout(COMPLAINT) {
                Ok(entry) => {
                    self.set_clock();
                    self.write(&entry);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.complain();
        }
    }

    /// How far local time is ahead of UTC can change, but not within a minute.
    fn set_clock(&mut self) {
        let minute = clock::wall().since_epoch().as_secs() / 60;
        if minute != self.minute {
            self.minute = minute;
            self.host.offset = jiff::ZonedDateTime::now().offset().seconds();
        }
    }

    fn write(&mut self, entry: &Entry) {
        match entry {
            Entry::Connection(plan, connection) => {
                let Some(frontend) = frontend(plan, connection) else { return };
                let logging = &frontend.logging;
                let Some(format) = &logging.format else { return };
                let text = line(format, connection, plan, &self.host);
                let structured =
                    logging.structured.as_ref().map(|format| line(format, connection, plan, &self.host));
                let separate = logging.separate_errors && connection.is_remarkable();
                let severity = if separate { Severity::Error } else { Severity::Info };
                let owner = Owner::Frontend(connection.frontend.0);
                self.send(plan, owner, logging, severity, &text, structured.as_deref());
            }
            Entry::Begin(plan, connection) => {
                let Some(frontend) = frontend(plan, connection) else { return };
                let text = legacy(connection, plan);
                let owner = Owner::Frontend(connection.frontend.0);
                self.send(plan, owner, &frontend.logging, Severity::Info, &text, None);
            }
            Entry::Server(plan, ServerLine { pool, severity, text }) => {
                let Some(Pool { logging, .. }) = plan.pools.get(usize::from(pool.0)) else { return };
                self.send(plan, Owner::Pool(pool.0), logging, *severity, text, None);
            }
        }
    }

    fn send(
        &mut self,
        plan: &Plan,
        owner: Owner,
        logging: &Logging,
        severity: Severity,
        text: &str,
        structured: Option<&str>,
    ) {
        let hostname = match &plan.log_hostname {
            LogHostname::Omitted => None,
            LogHostname::System => Some(self.host.name.as_str()),
            LogHostname::Given(name) => Some(name.as_str()),
        };
        let tag = logging.tag.as_deref();
        let line = Line { severity, now: clock::wall(), tag, hostname, structured, text };
        for (index, target) in logging.targets.iter().enumerate() {
            let Some(bytes) = datagram(target, &line, &self.host) else { continue };
            if let Some(sample) = &target.sample {
                let seen = self.samples.entry((owner, index)).or_default();
                let number = *seen;
                *seen = seen.wrapping_add(1);
                if !sample.contains(number) {
                    continue;
                }
            }
            if self.sockets.send(&target.address, &bytes).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn complain(&mut self) {
        let dropped = self.dropped.load(Ordering::Relaxed);
        let (said, at) = self.complained;
        if dropped > said && at.is_none_or(|at| at.elapsed() >= COMPLAINT) {
            tracing::warn!(
                "{} log lines were dropped: a target takes none, or there are too many",
                dropped - said
            );
            self.complained = (dropped, Some(Instant::now()));
        }
    }
}

fn frontend<'a>(plan: &'a Plan, connection: &Connection) -> Option<&'a Frontend> {
    plan.frontends.get(usize::from(connection.frontend.0))
}

/// What lines are sent through, opened when it is first needed.
#[derive(Debug, Default)]
struct Sockets {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    unix: Option<UnixDatagram>,
    files: HashMap<u16, File>,
}

impl Sockets {
    fn send(&mut self, target: &LogAddress, bytes: &[u8]) -> io::Result<()> {
        match target {
            LogAddress::Udp(address) => self.udp(address)?.send_to(bytes, address).map(|_| ()),
            LogAddress::Unix(path) => self.unix()?.send_to(bytes, path).map(|_| ()),
            LogAddress::Abstract(name) => {
                let address = UnixAddr::from_abstract_name(name)?;
                self.unix()?.send_to_addr(bytes, &address).map(|_| ())
            }
            LogAddress::Descriptor(1) => io::stdout().lock().write_all(bytes),
            LogAddress::Descriptor(2) => io::stderr().lock().write_all(bytes),
            LogAddress::Descriptor(number) => self.file(*number)?.write_all(bytes),
        }
    }

    fn udp(&mut self, address: &SocketAddr) -> io::Result<&UdpSocket> {
        let (socket, any): (_, IpAddr) = match address {
            SocketAddr::V4(_) => (&mut self.v4, Ipv4Addr::UNSPECIFIED.into()),
            SocketAddr::V6(_) => (&mut self.v6, Ipv6Addr::UNSPECIFIED.into()),
        };
        if socket.is_none() {
            let opened = UdpSocket::bind((any, 0))?;
            opened.set_nonblocking(true)?;
            *socket = Some(opened);
        }
        socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn unix(&mut self) -> io::Result<&UnixDatagram> {
        if self.unix.is_none() {
            let opened = UnixDatagram::unbound()?;
            opened.set_nonblocking(true)?;
            self.unix = Some(opened);
        }
        self.unix.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn file(&mut self, number: u16) -> io::Result<&mut File> {
        match self.files.entry(number) {
            hash_map::Entry::Occupied(open) => Ok(open.into_mut()),
            hash_map::Entry::Vacant(place) => {
                let path = format!("/proc/self/fd/{number}");
                Ok(place.insert(OpenOptions::new().append(true).open(path)?))
            }
        }
    }
}
