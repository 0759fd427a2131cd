//! A stand-in for kube-apiserver: start, readiness, watches and shutdown as the real one shows them to a load balancer.
//!
//! Runs as a process of its own, so that it can be killed, stopped and frozen. HTTPS only, HTTP/1.1 and h2 by ALPN.

use std::convert::Infallible;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use clap::Args;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::{CONNECTION, UPGRADE};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpSocket, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Interval, interval, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::error::{Context, Result};
use super::time::parse_duration;
use super::topology::PORT;

/// Names the server that answered.
pub const SERVER_HEADER: &str = "x-server";
/// Present when the server that answered is shutting down.
pub const STOPPING_HEADER: &str = "x-stopping";
/// The protocol of an `exec`-like stream, which returns what it gets.
pub const ECHO_PROTOCOL: &str = "lab-echo";

/// Go listens with the system's limit, 4096: a frozen apiserver still accepts that many connections.
const BACKLOG: u32 = 4096;
/// Time between two events of a watch.
const EVENT_INTERVAL: Duration = Duration::from_secs(1);
/// How long requests in progress may take after the listener closed.
const DRAIN: Duration = Duration::from_secs(1);
/// A stream that echoes reads this much at once.
const ECHO_BUFFER: usize = 4096;

/// One stub apiserver.
#[derive(Args, Debug)]
pub struct ApiserverArgs {
    /// The name in its `x-server` header.
    #[arg(long)]
    pub name: String,
    /// DER file with its certificate.
    #[arg(long)]
    pub certificate: PathBuf,
    /// DER file with its key.
    #[arg(long)]
    pub key: PathBuf,
    /// Time from start until `/readyz` answers 200.
    #[arg(long, default_value = "2s", value_parser = parse_duration)]
    pub ready_after: Duration,
    /// Time from SIGTERM until it stops serving, as `--shutdown-delay-duration` of the real one.
    #[arg(long, default_value = "5s", value_parser = parse_duration)]
    pub shutdown_delay: Duration,
}

/// Serves until SIGTERM.
pub fn main(args: ApiserverArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.context("cannot start a runtime").and_then(|runtime| runtime.block_on(serve(args)));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stub apiserver: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How far the server is in its shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    /// Not asked to.
    No,
    /// `/readyz` fails, everything else works.
    Announced,
    /// Streams end.
    Now,
}

struct Server {
    name: String,
    started: Instant,
    ready_after: Duration,
    shutdown: watch::Receiver<Shutdown>,
}

async fn serve(args: ApiserverArgs) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(&args)?));
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let socket = TcpSocket::new_v4().context("cannot open a socket")?;
    socket.set_reuseaddr(true).context("cannot prepare the listener")?;
    socket.bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT))).context("cannot bind")?;
    let listener = socket.listen(BACKLOG).context("cannot listen")?;

    let (shut_down, shutdown) = watch::channel(Shutdown::No);
    let server = Arc::new(Server {
        name: args.name,
        started: Instant::now(),
        ready_after: args.ready_after,
        shutdown,
    });
    let mut connections = JoinSet::new();
    let mut end = None;
    loop {
        let ended = async {
            match end {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(connection(stream, acceptor.clone(), Arc::clone(&server)));
            },
            Some(_) = terminate.recv(), if end.is_none() => {
                shut_down.send_replace(Shutdown::Announced);
                end = Some(tokio::time::Instant::now() + args.shutdown_delay);
            }
            Some(_) = connections.join_next() => {}
            () = ended => break,
        }
    }
    drop(listener);
    shut_down.send_replace(Shutdown::Now);
    let drained = timeout(DRAIN, async { while connections.join_next().await.is_some() {} }).await;
    // What is still open after that is cut by the end of the process, as the real one does.
    drop(drained);
    Ok(())
}

fn tls(args: &ApiserverArgs) -> Result<ServerConfig> {
    let certificate =
        CertificateDer::from(fs::read(&args.certificate).context("cannot read the certificate")?);
    let key = fs::read(&args.key).context("cannot read the key")?;
    let key = PrivateKeyDer::try_from(key).context("cannot use the key")?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key);
    let mut config = config.context("cannot use the certificate")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, server: Arc<Server>) {
    // The real one accepts connections long before it serves them.
    sleep(server.silent_for()).await;
    // Small answers must not wait for an acknowledgement.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    // A client that goes away early is the client's affair.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let mut shutdown = server.shutdown.clone();
    let service = service_fn(move |request| answer(Arc::clone(&server), request));
    let builder = auto::Builder::new(TokioExecutor::new());
    let mut serving = std::pin::pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    let stopping = shutdown.wait_for(|phase| *phase == Shutdown::Now);
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = stopping => serving.as_mut().graceful_shutdown(),
    }
    // Its error would be the client's, who sees it too.
    drop(serving.await);
}

async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
) -> std::result::Result<Response<Content>, Infallible> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let path = request.uri().path().to_owned();
    let phase = *server.shutdown.borrow();
    let mut response = match server.status(&path) {
        StatusCode::OK if path == "/watch" => {
            let silent = query.split('&').any(|part| part == "silent=1");
            Response::new(Content::Watch(Watch::new(silent, server.shutdown.clone())))
        }
        StatusCode::OK if path == "/exec" => echo(request, server.shutdown.clone()),
        status => {
            let mut response = Response::new(Content::text(server.text(&path, status)));
            *response.status_mut() = status;
            response
        }
    };
    let headers = response.headers_mut();
    if let Ok(name) = server.name.parse() {
        headers.insert(SERVER_HEADER, name);
    }
    if phase != Shutdown::No {
        headers.insert(STOPPING_HEADER, hyper::header::HeaderValue::from_static("1"));
    }
    Ok(response)
}

impl Server {
    /// How long a connection accepted now waits for its first byte: 0.7 of the 2 s until ready.
    fn silent_for(&self) -> Duration {
        (self.ready_after * 7 / 20).saturating_sub(self.started.elapsed())
    }

    fn status(&self, path: &str) -> StatusCode {
        let age = self.started.elapsed();
        let stopping = *self.shutdown.borrow() != Shutdown::No;
        match path {
            // Anonymous users are nobody until the roles are loaded.
            _ if age < self.ready_after / 2 => StatusCode::FORBIDDEN,
            "/readyz" if stopping || age < self.ready_after => StatusCode::INTERNAL_SERVER_ERROR,
            "/readyz" | "/livez" | "/healthz" | "/version" | "/watch" | "/exec" => StatusCode::OK,
            _ => StatusCode::FORBIDDEN,
        }
    }

    fn text(&self, path: &str, status: StatusCode) -> String {
        match (path, status) {
            ("/version", StatusCode::OK) => {
                "{\n  \"major\": \"1\",\n  \"minor\": \"36\",\n  \"gitVersion\": \"v1.36.0\"\n}".to_owned()
            }
            (_, StatusCode::OK) => "ok".to_owned(),
            (_, StatusCode::INTERNAL_SERVER_ERROR) => {
                let failed =
                    if *self.shutdown.borrow() == Shutdown::No { "poststarthook/rbac" } else { "shutdown" };
                let name = path.trim_start_matches('/');
                format!("[+]ping ok\n[+]etcd ok\n[-]{failed} failed: reason withheld\n{name} check failed\n")
            }
            _ => format!(
                "{{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":\"forbidden: User \
                 \\\"system:anonymous\\\" cannot get path \\\"{path}\\\"\",\"reason\":\"Forbidden\",\"code\":403}}"
            ),
        }
    }
}

/// Switches to a stream that returns what it gets, as `kubectl exec` and `port-forward` do.
fn echo(request: Request<Incoming>, mut shutdown: watch::Receiver<Shutdown>) -> Response<Content> {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
        let mut buffer = [0; ECHO_BUFFER];
        let copy = async {
            use tokio::io::{AsyncReadExt, AsyncWriteExt};
            while let Ok(count @ 1..) = from.read(&mut buffer).await {
                let Some(bytes) = buffer.get(..count) else { return };
                if to.write_all(bytes).await.is_err() || to.flush().await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = copy => {}
            _ = shutdown.wait_for(|phase| *phase == Shutdown::Now) => {}
        }
    });
    let mut response = Response::new(Content::text(String::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, hyper::header::HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, hyper::header::HeaderValue::from_static(ECHO_PROTOCOL));
    response
}

/// The body of an answer.
enum Content {
    Text(Option<Bytes>),
    Watch(Watch),
}

/// A stream of events that ends with the server.
struct Watch {
    /// `None` for a watch on which nothing happens.
    events: Option<Interval>,
    end: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Watch {
    fn new(silent: bool, mut shutdown: watch::Receiver<Shutdown>) -> Self {
        let end = Box::pin(async move { drop(shutdown.wait_for(|phase| *phase == Shutdown::Now).await) });
        Self { events: (!silent).then(|| interval(EVENT_INTERVAL)), end }
    }
}

impl Content {
    fn text(text: String) -> Self {
        Self::Text((!text.is_empty()).then(|| Bytes::from(text)))
    }
}

impl Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Watch(watch) => {
                if watch.end.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                let Some(events) = &mut watch.events else { return Poll::Pending };
                let event = Bytes::from_static(b"{\"type\":\"BOOKMARK\"}\n");
                events.poll_tick(cx).map(|_| Some(Ok(Frame::data(event))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Text(None))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        match self {
            Self::Text(text) => {
                let length = text.as_ref().map_or(0, Bytes::len);
                hyper::body::SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX))
            }
            Self::Watch(_) => hyper::body::SizeHint::default(),
        }
    }
}
