//! What frontends answer themselves: pages of statistics, whether the service is up, metrics.
//!
//! Owns [`serve`], which speaks HTTP/1.1 on connections that the data plane has accepted: how many at once, how long one
//! may take, how much one may say. The engine decides what a request is answered with; `answers` writes HAProxy's short
//! answers, `statistics` and `html` the page, `change` does what is asked for there. Each connection is good for one
//! request, so that nobody keeps a place.

mod answers;
mod change;
mod counted;
mod html;
mod statistics;

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::AUTHORIZATION;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use mainstay_engine::endpoints::Endpoints;
use mainstay_engine::pages::{self, Answer};
use mainstay_engine::plan::{Frontend, Plan};
use mainstay_engine::rules::{Context, Counters, HttpRequest};
use mainstay_engine::serving::FrontendLoad;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::clock;
use crate::proxy::Visitor;
use crate::runtime_api::Answers;

use answers::Reply;
use counted::Counted;

/// Connections of one frontend that are answered at once; more are closed. Far more than monitors and people make, so that
/// those who say nothing do not keep them out, and few enough for their buffers to cost little.
const CONNECTIONS: usize = 1_024;

/// Pages and metrics that are written at once, since each is in memory until its reader has it; others wait.
const PAGES: usize = 32;

/// How long a request may take to arrive, unless `timeout client` is shorter.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// From the connection to the last byte that the client takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of the head of a request, as many as HAProxy takes (`tune.bufsize`).
const REQUEST_BYTES: usize = 16 * 1024;

/// What connections are answered with.
struct Reception {
    plan: Arc<Plan>,
    answers: Arc<Answers>,
    /// One for each frontend.
    places: Vec<Arc<Semaphore>>,
    /// How many pages may be written.
    pages: Arc<Semaphore>,
}

/// Answers the connections of frontends that answer themselves, on `runtime`, until the daemon ends.
pub fn serve(
    mut visitors: UnboundedReceiver<Visitor>,
    runtime: &Handle,
    plan: Arc<Plan>,
    answers: Arc<Answers>,
) {
    let places = plan.frontends.iter().map(|_| Arc::new(Semaphore::new(CONNECTIONS))).collect();
    let pages = Arc::new(Semaphore::new(PAGES));
    let reception = Arc::new(Reception { plan, answers, places, pages });
    runtime.spawn(async move {
        while let Some(visitor) = visitors.recv().await {
            let place = reception.places.get(usize::from(visitor.frontend.0));
            let Some(place) = place.and_then(|places| Arc::clone(places).try_acquire_owned().ok()) else {
                let name = reception.plan.frontends.get(usize::from(visitor.frontend.0));
                let name = name.map_or("", |frontend| &frontend.name);
                tracing::warn!(
                    "{CONNECTIONS} connections to {name} are being answered; another one is closed"
                );
                continue;
            };
            let reception = Arc::clone(&reception);
            tokio::spawn(async move {
                // Whoever is too slow learns it by the end of the connection.
                let _ = timeout(PATIENCE, reception.converse(visitor)).await;
                drop(place);
            });
        }
    });
}

/// A connection, as those who answer a request see it.
struct Guest {
    endpoints: Endpoints,
    load: Arc<FrontendLoad>,
    /// What of it is counted under keys of tables; rules of pages look at none.
    counters: Counters,
    /// Its place among those who read a page.
    page: OnceLock<OwnedSemaphorePermit>,
}

impl Reception {
    async fn converse(&self, visitor: Visitor) {
        let Visitor { stream, endpoints, frontend, presence } = visitor;
        let Some(frontend) = self.plan.frontends.get(usize::from(frontend.0)) else { return };
        let patience = frontend.client_timeout.map_or(REQUEST_PATIENCE, |time| time.min(REQUEST_PATIENCE));
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        let load = presence.load();
        let stream = Counted::new(stream, Arc::clone(&load));
        let guest = Guest { endpoints, load, counters: Counters::default(), page: OnceLock::new() };
        let guest = &guest;
        let service = service_fn(|request| async move {
            let reply = self.answer(frontend, guest, request).await;
            Ok::<_, Infallible>(reply.into_response())
        });
        // A request that is not HTTP was answered as far as it can be.
        let _ = hyper::server::conn::http1::Builder::new()
            .keep_alive(false)
            .auto_date_header(false)
            .timer(TokioTimer::new())
            .header_read_timeout(patience)
            .max_buf_size(REQUEST_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        drop(presence);
    }

    async fn answer(&self, frontend: &Frontend, guest: &Guest, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let uri = head.uri.to_string();
        let credentials = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let asked =
            HttpRequest { method: head.method.as_str(), uri: &uri, credentials: credentials.and_then(basic) };
        let answer = self.decide(frontend, guest, asked);
        let load = &guest.load;
        load.requests.begin(clock::now());
        let fate = match answer {
            Answer::NoServer => &load.requests.unserved,
            Answer::Forbidden => &load.denied_requests,
            _ => &load.requests.intercepted,
        };
        fate.fetch_add(1, Ordering::Relaxed);
        if matches!(answer, Answer::Metrics | Answer::Statistics(..))
            && let Ok(page) = Arc::clone(&self.pages).acquire_owned().await
        {
            // Each connection is good for one page.
            let _ = guest.page.set(page);
        }
        let reply = match answer {
            Answer::Ready => answers::ready(),
            Answer::NotReady | Answer::NoServer => answers::unavailable(),
            Answer::Forbidden => answers::forbidden(),
            Answer::AskPassword(realm) => answers::unauthorized(realm),
            Answer::Metrics => statistics::metrics(&self.answers, head.uri.query().unwrap_or_default()).await,
            Answer::Statistics(page, view, may_change) => {
                statistics::show(&self.answers, page, &view, may_change).await
            }
            Answer::Change(page, view, true) => change::carry_out(&self.answers, page, view, body).await,
            Answer::Change(page, view, false) => change::denied(page, view),
        };
        load.requests.answer(reply.status.as_u16());
        reply
    }

    /// What the engine says.
    fn decide<'a>(&self, frontend: &'a Frontend, guest: &Guest, asked: HttpRequest<'_>) -> Answer<'a> {
        let Some(serving) = self.answers.serving() else { return Answer::NoServer };
        let endpoints = guest.endpoints;
        let context = Context {
            source: endpoints.client,
            destination: Some(endpoints.destination).filter(|_| endpoints.local.is_none()),
            received: None,
            request: Some(asked),
            complete: true,
            serving: &serving,
            counters: &guest.counters,
            now: clock::now(),
        };
        pages::answer(frontend, asked, &context)
    }
}

/// The credentials of `Basic` authentication (RFC 7617).
fn basic(value: &str) -> Option<&str> {
    let (scheme, credentials) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("basic").then(|| credentials.trim())
}
