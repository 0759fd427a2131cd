//! The HTTP round a scrape.
//!
//! Owns [`Exporter`]: how many may ask at once, how long one may take, and what other paths and methods are answered with.
//! Each connection is good for one request, so that nobody keeps a place.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{Daemon, Wanted};
use crate::runtime_api::Answers;

/// Scrapes at once; further ones wait in the kernel's backlog.
const CONNECTIONS: usize = 16;

/// From the connection to the last byte that the scraper takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a request, which is one line and a few headers; hyper's least.
const REQUEST_BYTES: usize = 8 * 1024;

/// How long to wait before accepting again when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where metrics are.
const PATH: &str = "/metrics";

/// The address, bound but not yet answering.
#[derive(Debug)]
pub struct Exporter(TcpListener);

impl Exporter {
    /// Binds `address`.
    ///
    /// # Errors
    /// A sentence that names it.
    pub fn bind(address: SocketAddr) -> Result<Self, String> {
        let bound = TcpListener::bind(address).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok(listener)
        });
        bound.map(Self).map_err(|error| format!("cannot answer with metrics on {address}: {error}"))
    }

    /// Answers on `runtime` until the daemon ends.
    ///
    /// # Errors
    /// The kernel's.
    pub fn serve(self, runtime: &Handle, answers: Arc<Answers>) -> io::Result<()> {
        let _context = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(self.0)?;
        runtime.spawn(accept(listener, answers));
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, answers: Arc<Answers>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let answers = Arc::clone(&answers);
                tokio::spawn(async move {
                    // Whoever is too slow learns it by the end of the connection.
                    let _ = timeout(PATIENCE, converse(stream, answers)).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a scrape of metrics: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, answers: Arc<Answers>) {
    let service = service_fn(|request| {
        let answers = Arc::clone(&answers);
        async move { Ok::<_, Infallible>(answer(&request, &answers).await) }
    });
    // A request that is not HTTP was answered as far as it can be.
    let _ = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        // All of it has to be over within PATIENCE.
        .header_read_timeout(None)
        .max_buf_size(REQUEST_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer<B>(request: &Request<B>, answers: &Answers) -> Response<Full<Bytes>> {
    if request.uri().path() != PATH {
        return sentence(StatusCode::NOT_FOUND, "metrics are at /metrics");
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = sentence(StatusCode::METHOD_NOT_ALLOWED, "metrics can only be read");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    let wanted = match Wanted::parse(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(reason) => return sentence(StatusCode::BAD_REQUEST, &reason),
    };
    match answers.status().await {
        Ok(status) => {
            let daemon = Daemon { status: &status, load: answers.load() };
            respond(StatusCode::OK, super::CONTENT_TYPE, super::text(&daemon, wanted))
        }
        Err(reason) => sentence(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

fn sentence(status: StatusCode, sentence: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", format!("{sentence}\n"))
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
