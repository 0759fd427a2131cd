//! The clients: a prober that opens a new connection every few milliseconds, and connections that are held.
//!
//! Everything runs on the client host and goes through the endpoint as a Kubernetes client would: TCP, TLS that
//! verifies, one request. Owns what was seen; judging it is the scoreboard's.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::apiserver::{ECHO_PROTOCOL, SERVER_HEADER, STOPPING_HEADER};
use super::error::{Context, Result};
use super::load::Busy;
use super::topology::{Host, PORT, VIRTUAL_ADDRESS};

/// Time between the starts of two probes. They overlap: one that hangs does not stop the clock.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(10);
/// A probe that has no answer by then has failed. It is as long as TCP's first retransmission: a connection whose
/// first packet is lost counts as failed, though a patient client would have got through later.
pub const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// A held connection that says nothing for so long when asked is lost.
const HELD_PATIENCE: Duration = Duration::from_millis(2500);
/// How long opening a held connection may take; longer than any timer of the recipe that may hold it up.
const OPEN_PATIENCE: Duration = Duration::from_secs(10);
/// What a busy connection sends before it waits for all of it to come back.
const BUSY_CHUNK: usize = 16 * 1024;
/// An answer's head is shorter than this.
const HEAD_MAX: usize = 8192;

/// The client host at work.
#[derive(Debug)]
pub struct Clients {
    runtime: Runtime,
    dialer: Dialer,
    seen: Arc<Mutex<Vec<Probe>>>,
    probing: Arc<AtomicBool>,
}

/// One new connection, seen from the client.
#[derive(Clone, Debug)]
pub struct Probe {
    /// When it was started.
    pub started: Instant,
    /// When it had its answer or had failed.
    pub ended: Instant,
    /// What came of it.
    pub outcome: std::result::Result<Answer, ProbeFailure>,
}

/// What an apiserver said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The server's name.
    pub server: String,
    /// Whether it said that it is shutting down.
    pub stopping: bool,
}

/// How a new connection failed: how far it got, and what ended it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProbeFailure {
    /// Nobody listens at the endpoint.
    Refused,
    /// Nobody answers for the address.
    Unreachable,
    /// No answer to the connection request.
    ConnectTimeout,
    /// Connected, then closed or reset before the server's first byte.
    ClosedBeforeAnswer,
    /// Connected, then nothing until the patience ran out.
    NoAnswer,
    /// The server had begun to speak, then the connection was reset or closed.
    CutMidExchange,
    /// An answer, but not 200.
    Status(u16),
    /// Something else, such as a certificate that does not fit.
    Other(String),
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable => f.write_str("no route to host"),
            Self::ConnectTimeout => f.write_str("connect timed out"),
            Self::ClosedBeforeAnswer => f.write_str("closed before any answer"),
            Self::NoAnswer => f.write_str("connected, no answer"),
            Self::CutMidExchange => f.write_str("cut mid-exchange"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

impl ProbeFailure {
    /// Whether the endpoint had taken the connection before it failed: a hand-over can cut such a one in flight.
    pub fn was_connected(&self) -> bool {
        matches!(self, Self::ClosedBeforeAnswer | Self::NoAnswer | Self::CutMidExchange)
    }
}

impl Clients {
    /// Moves to `host`; probes nothing yet.
    ///
    /// # Errors
    /// No threads, or the authority's certificate is no good.
    pub fn start(host: &Host, authority: CertificateDer<'static>) -> Result<Self> {
        let host = host.clone();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .on_thread_start(move || {
                if let Err(error) = host.move_in() {
                    eprintln!("mainstay lab: {error}");
                }
            })
            .enable_all()
            .build()
            .context("cannot start the clients")?;
        let mut roots = RootCertStore::empty();
        roots.add(authority).context("cannot use the lab's authority")?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // Each probe is a client that was never here before.
        config.resumption = Resumption::disabled();
        Ok(Self {
            runtime,
            dialer: Dialer { connector: TlsConnector::from(Arc::new(config)) },
            seen: Arc::default(),
            probing: Arc::default(),
        })
    }

    /// Opens a new connection to the endpoint every [`PROBE_INTERVAL`] from now on.
    pub fn start_probing(&self) {
        if self.probing.swap(true, Ordering::Relaxed) {
            return;
        }
        let (probing, seen, dialer) =
            (Arc::clone(&self.probing), Arc::clone(&self.seen), self.dialer.clone());
        self.runtime.spawn(async move {
            let mut tick = interval(PROBE_INTERVAL);
            // On a busy machine probes start late rather than in a burst: a late probe still measures its own time.
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while probing.load(Ordering::Relaxed) {
                tick.tick().await;
                let (seen, dialer) = (Arc::clone(&seen), dialer.clone());
                tokio::spawn(async move {
                    let started = Instant::now();
                    let outcome = dialer.ask(VIRTUAL_ADDRESS, "/version", PROBE_PATIENCE).await;
                    lock(&seen).push(Probe { started, ended: Instant::now(), outcome });
                });
            }
        });
    }

    /// Starts no more probes.
    pub fn stop_probing(&self) {
        self.probing.store(false, Ordering::Relaxed);
    }

    /// Forgets the probes seen so far.
    pub fn forget(&self) {
        lock(&self.seen).clear();
    }

    /// Probes that ended, with those started before `since` left out, in the order of their end.
    pub fn probes_since(&self, since: Instant) -> Vec<Probe> {
        lock(&self.seen).iter().filter(|probe| probe.started >= since).cloned().collect()
    }

    /// One new connection and one request to `path` at `address`.
    ///
    /// # Errors
    /// How it failed.
    pub fn ask(&self, address: Ipv4Addr, path: &str) -> std::result::Result<Answer, ProbeFailure> {
        self.ask_patiently(address, path, PROBE_PATIENCE)
    }

    /// As [`ask`](Self::ask), for a client that waits for `patience`.
    ///
    /// # Errors
    /// How it failed.
    pub fn ask_patiently(
        &self,
        address: Ipv4Addr,
        path: &str,
        patience: Duration,
    ) -> std::result::Result<Answer, ProbeFailure> {
        let (dialer, path) = (self.dialer.clone(), path.to_owned());
        let asked = self.runtime.spawn(async move { dialer.ask(address, &path, patience).await });
        self.runtime.block_on(asked).unwrap_or_else(|error| Err(ProbeFailure::Other(error.to_string())))
    }

    /// Opens `count` connections to the endpoint at once and holds them: alternately a watch with an event each
    /// second and an `exec`-like stream that is silent.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn hold(&self, count: usize) -> Result<Vec<Held>> {
        let opening: Vec<_> = (0..count)
            .map(|index| {
                let (dialer, kind) =
                    (self.dialer.clone(), if index % 2 == 0 { Stream::Watch } else { Stream::Exec });
                self.runtime.spawn(async move { dialer.hold(kind).await })
            })
            .collect();
        self.runtime.block_on(async {
            let mut held = Vec::new();
            for (index, opened) in opening.into_iter().enumerate() {
                let opened = opened.await.context("a client panicked")?;
                held.push(opened.context(format!("cannot open held connection {}", index + 1))?);
            }
            Ok(held)
        })
    }

    /// Opens `count` connections to the endpoint that carry data from then on, as much as they can.
    ///
    /// # Errors
    /// One of them cannot be opened.
    pub fn keep_busy(&self, count: usize) -> Result<Busy> {
        let busy = Busy::default();
        let opening: Vec<_> = (0..count)
            .map(|_| {
                let dialer = self.dialer.clone();
                self.runtime.spawn(async move { dialer.hold(Stream::Exec).await })
            })
            .collect();
        for opened in opening {
            let held = self.runtime.block_on(opened).context("a client panicked")?;
            let held = held.context("cannot open a busy connection")?;
            let busy = busy.clone();
            self.runtime.spawn(async move {
                if held.carry(&busy).await.is_err() {
                    busy.broken.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Ok(busy)
    }

    /// Which of the connections in `held` still carry data from end to end. Closes them.
    pub fn judge(&self, held: Vec<Held>) -> Vec<bool> {
        let judging: Vec<_> = held.into_iter().map(|held| self.runtime.spawn(held.works())).collect();
        self.runtime.block_on(async {
            let mut works = Vec::new();
            for judged in judging {
                works.push(judged.await.unwrap_or(false));
            }
            works
        })
    }
}

/// A connection that is held.
#[derive(Debug)]
pub struct Held {
    kind: Stream,
    server: String,
    stream: TlsStream<TcpStream>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Watch,
    Exec,
}

impl Held {
    /// The server at its other end.
    pub fn server(&self) -> &str {
        &self.server
    }

    /// Sends chunks and waits for each to come back, until the end.
    async fn carry(mut self, busy: &Busy) -> std::io::Result<()> {
        let mut chunk = vec![0x5a; BUSY_CHUNK];
        while !busy.ending.load(Ordering::Relaxed) {
            self.stream.write_all(&chunk).await?;
            self.stream.flush().await?;
            self.stream.read_exact(&mut chunk).await?;
            busy.carried.fetch_add(BUSY_CHUNK as u64, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether bytes still come through. A watch must show a *new* event, so what had arrived before is read first.
    async fn works(mut self) -> bool {
        let mut buffer = [0; HEAD_MAX];
        while let Ok(read) = timeout(Duration::from_millis(1), self.stream.read(&mut buffer)).await {
            if !matches!(read, Ok(1..)) {
                return false;
            }
        }
        if self.kind == Stream::Exec {
            let sent = async { self.stream.write_all(b"ping").await.and(self.stream.flush().await) };
            if sent.await.is_err() {
                return false;
            }
        }
        matches!(timeout(HELD_PATIENCE, self.stream.read(&mut buffer)).await, Ok(Ok(1..)))
    }
}

/// Opens connections. Must be used on the clients' own threads, which live on the client host.
#[derive(Clone)]
struct Dialer {
    connector: TlsConnector,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

impl Dialer {
    async fn ask(
        &self,
        address: Ipv4Addr,
        path: &str,
        patience: Duration,
    ) -> std::result::Result<Answer, ProbeFailure> {
        let mut reached = ProbeFailure::ConnectTimeout;
        let head = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let asked = timeout(patience, self.request(address, &head, &mut reached)).await;
        let (_, answer) = asked.unwrap_or(Err(reached))?;
        if answer.status == 200 { Ok(answer) } else { Err(ProbeFailure::Status(answer.status)) }
    }

    async fn hold(&self, kind: Stream) -> std::result::Result<Held, ProbeFailure> {
        let (head, expected) = match kind {
            Stream::Watch => (format!("GET /watch HTTP/1.1\r\nHost: {VIRTUAL_ADDRESS}\r\n\r\n"), 200),
            Stream::Exec => {
                let upgrade = format!("Connection: Upgrade\r\nUpgrade: {ECHO_PROTOCOL}\r\n");
                (format!("GET /exec HTTP/1.1\r\nHost: {VIRTUAL_ADDRESS}\r\n{upgrade}\r\n"), 101)
            }
        };
        let mut reached = ProbeFailure::ConnectTimeout;
        let opened = timeout(OPEN_PATIENCE, self.request(VIRTUAL_ADDRESS, &head, &mut reached)).await;
        let (stream, answer) = opened.unwrap_or(Err(reached))?;
        if answer.status == expected {
            Ok(Held { kind, server: answer.server, stream })
        } else {
            Err(ProbeFailure::Status(answer.status))
        }
    }

    /// Connects, sends `head` and reads the head of the answer. `reached` says what it means when time runs out.
    async fn request(
        &self,
        address: Ipv4Addr,
        head: &str,
        reached: &mut ProbeFailure,
    ) -> std::result::Result<(TlsStream<TcpStream>, Answer), ProbeFailure> {
        let stream = TcpStream::connect(SocketAddr::from((address, PORT)))
            .await
            .map_err(|error| connect_failure(&error))?;
        *reached = ProbeFailure::NoAnswer;
        let other = |error: std::io::Error| ProbeFailure::Other(error.to_string());
        stream.set_nodelay(true).map_err(other)?;
        let name = ServerName::from(std::net::IpAddr::from(address));
        let connected = self.connector.connect(name, stream).await;
        let mut stream =
            connected.map_err(|error| exchange_failure(&error, ProbeFailure::ClosedBeforeAnswer))?;
        let cut = |error: std::io::Error| exchange_failure(&error, ProbeFailure::CutMidExchange);
        stream.write_all(head.as_bytes()).await.map_err(cut)?;
        stream.flush().await.map_err(cut)?;
        let mut answer = Vec::new();
        while !answer.windows(4).any(|window| window == b"\r\n\r\n") {
            let count = stream.read_buf(&mut answer).await.map_err(cut)?;
            if count == 0 || answer.len() > HEAD_MAX {
                return Err(ProbeFailure::CutMidExchange);
            }
        }
        let answer = read_head(&String::from_utf8_lossy(&answer));
        answer.map(|answer| (stream, answer)).ok_or_else(|| ProbeFailure::Other("no HTTP answer".to_owned()))
    }
}

fn connect_failure(error: &std::io::Error) -> ProbeFailure {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => ProbeFailure::Refused,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => ProbeFailure::Unreachable,
        ErrorKind::TimedOut => ProbeFailure::ConnectTimeout,
        // A listener that is closed with connections still in its queue resets them.
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => ProbeFailure::Refused,
        _ => ProbeFailure::Other(format!("cannot connect: {error}")),
    }
}

fn exchange_failure(error: &std::io::Error, cut: ProbeFailure) -> ProbeFailure {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::UnexpectedEof => cut,
        ErrorKind::TimedOut => ProbeFailure::NoAnswer,
        _ => ProbeFailure::Other(error.to_string()),
    }
}

fn read_head(head: &str) -> Option<Answer> {
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let mut answer = Answer { status, server: String::new(), stopping: false };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case(SERVER_HEADER) {
            value.trim().clone_into(&mut answer.server);
        }
        answer.stopping |= name.eq_ignore_ascii_case(STOPPING_HEADER);
    }
    Some(answer)
}

/// A panic in one probe must not hide what the others saw.
fn lock(seen: &Mutex<Vec<Probe>>) -> MutexGuard<'_, Vec<Probe>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_names_its_server() {
        let head = "HTTP/1.1 200 OK\r\nX-Server: cp2\r\nx-stopping: 1\r\n\r\nok";
        let expected = Answer { status: 200, server: "cp2".to_owned(), stopping: true };
        assert_eq!(read_head(head), Some(expected));
        assert_eq!(read_head("garbage"), None);
    }
}
