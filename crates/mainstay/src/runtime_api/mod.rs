//! HAProxy's runtime API: what its users' tools and scripts talk to.
//!
//! Owns [`RuntimeApi`], which answers on the sockets of the plan. `sockets` binds them, `conversation` is the form of a
//! conversation, `commands` the table of what can be asked; `show`, `statistics`, `info` and `servers` make the answers.
//! All of them read the one snapshot that `mainstay status` shows. `orders` is what changes something.

mod commands;
mod conversation;
mod events;
pub mod info;
mod orders;
mod servers;
mod sessions;
mod show;
mod sockets;
pub mod statistics;
mod tables;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::Plan;
use mainstay_engine::admin::{Reply, Request, Status};
use mainstay_engine::config::lower::haproxy::Additions;
use mainstay_engine::health::order::{Order, Outcome, Refusal};
use mainstay_engine::plan::Level;
use mainstay_engine::serving::Serving;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use crate::control::{Command, CommandBox};
use crate::proxy::{Proxy, ProxyLoad};
use crate::unix_socket::Files;

pub use sockets::Sockets;

use sockets::Listener;

/// How long the control thread may take to answer; usually it takes microseconds.
const CONTROL_PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before accepting again when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Whom answers are asked of.
pub struct Answers {
    plan: Arc<Plan>,
    proxy: Option<Arc<Proxy>>,
    mailbox: CommandBox,
    /// What servers that are added are read with.
    additions: Arc<Additions>,
    /// Threads of the data plane.
    workers: usize,
}

/// What a command is answered from.
struct Ask {
    answers: Arc<Answers>,
    /// The daemon at this moment, or why it cannot be seen.
    status: Result<Box<Status>, String>,
}

impl Answers {
    /// Answers from the data plane and from the control thread.
    pub fn new(
        plan: Arc<Plan>,
        proxy: Option<Arc<Proxy>>,
        mailbox: CommandBox,
        additions: Arc<Additions>,
    ) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let workers = plan.workers.map_or(cores, usize::from);
        Self { plan, proxy, mailbox, additions, workers }
    }

    /// The daemon at this moment. As with HAProxy, a frontend without a limit has that of the process.
    ///
    /// # Errors
    /// Why it cannot be seen, as a sentence.
    pub async fn status(&self) -> Result<Box<Status>, String> {
        match self.request(Request::Status).await? {
            Reply::Status(mut status) => {
                let most = self.load().maxconn;
                status.frontends.iter_mut().for_each(|front| _ = front.maxconn.get_or_insert(most));
                Ok(status)
            }
            _ => Err("the daemon gave an answer that was not asked for".to_owned()),
        }
    }

    /// What the data plane did.
    pub fn load(&self) -> ProxyLoad {
        self.proxy.as_ref().map(|proxy| proxy.load()).unwrap_or_default()
    }

    /// Has an order carried out.
    ///
    /// # Errors
    /// Why nobody would say what came of it, as a sentence.
    pub async fn order(&self, order: Order) -> Result<Result<Outcome, Refusal>, String> {
        match self.request(Request::Order(order)).await? {
            Reply::Order(result) => Ok(result),
            _ => Err("the daemon gave an answer that was not asked for".to_owned()),
        }
    }

    /// What everything else is answered by: servers, loads and tables of this moment.
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.proxy.as_ref().map(|proxy| proxy.serving())
    }

    /// Threads of the data plane.
    pub fn workers(&self) -> usize {
        self.workers
    }

    async fn request(&self, request: Request) -> Result<Reply, String> {
        let (answer, answered) = oneshot::channel();
        self.mailbox.post(Command::Request { request, answer });
        match timeout(CONTROL_PATIENCE, answered).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(_)) => Err("mainstay is exiting".to_owned()),
            Err(_) => Err("the control thread does not answer".to_owned()),
        }
    }
}

/// Answers on all sockets until the daemon ends. The files of the sockets are the caller's from here on.
///
/// # Errors
/// The kernel's.
pub fn serve(sockets: Sockets, runtime: &Handle, answers: &Arc<Answers>) -> io::Result<Files> {
    let _context = runtime.enter();
    let (listeners, files) = sockets.into_parts();
    for (listener, level) in listeners {
        let answers = Arc::clone(answers);
        match listener {
            Listener::Unix(listener) => {
                let listener = UnixListener::from_std(listener)?;
                runtime.spawn(async move {
                    let places = places(&answers);
                    loop {
                        let accepted = listener.accept().await.map(|(stream, _)| stream);
                        welcome(accepted, &places, &answers, level).await;
                    }
                });
            }
            Listener::Tcp(listener) => {
                let listener = TcpListener::from_std(listener)?;
                runtime.spawn(async move {
                    let places = places(&answers);
                    loop {
                        let accepted = listener.accept().await.map(|(stream, _)| stream);
                        welcome(accepted, &places, &answers, level).await;
                    }
                });
            }
        }
    }
    Ok(files)
}

fn places(answers: &Answers) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(usize::try_from(answers.plan.runtime_api.maxconn).unwrap_or(usize::MAX >> 4)))
}

/// Begins a conversation with whoever has connected, once there is a place: as with HAProxy, others wait in the backlog.
async fn welcome<S>(accepted: io::Result<S>, places: &Arc<Semaphore>, answers: &Arc<Answers>, level: Level)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    match accepted {
        Ok(stream) => {
            let Ok(place) = Arc::clone(places).acquire_owned().await else { return };
            let (answers, patience) = (Arc::clone(answers), answers.plan.runtime_api.timeout);
            tokio::spawn(async move {
                conversation::converse(stream, answers, level, patience).await;
                drop(place);
            });
        }
        Err(error) => {
            tracing::warn!("cannot accept a connection to a stats socket: {error}");
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}
