//! Carries out health checks: one attempt at a time, as the engine asks, with a verdict in HAProxy's words.
//!
//! Owns [`Checks`]. It decides nothing: when to check and what a verdict means is the engine's business. `connect` opens
//! connections, `steps`, `tls` and `ssl_hello` are what a check can say on one, `expect` and `http` judge answers, `external`
//! runs programs, `agent` asks agents. Every attempt has a connection of its own
//! and ends within the check's time-outs.
//!
//! Results are HAProxy's but for one: a server that resets an established connection is an L7RSP or L6RSP here. HAProxy
//! says SOCKERR, which mainstay keeps for what this machine could not do.

mod agent;
mod connect;
mod connectors;
mod expect;
mod external;
mod http;
mod ssl_hello;
mod steps;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::health::agent::Answer;
use mainstay_engine::health::check::{CheckStatus, Seen, Verdict};
use mainstay_engine::plan::{Agent, Check, CheckKind, Plan, ServerId};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::checks::connectors::Connectors;
use crate::checks::tls::Connector;

/// Attempts under way at once: bounds descriptors and memory when a long list of servers goes silent together.
const CONCURRENT_CHECKS: usize = 256;

/// How long an attempt may wait for others to end; together with its own time-outs less than the engine waits for a
/// result. Longer means that this machine is not keeping up, which says nothing about the server.
const PATIENCE_FOR_OTHERS: Duration = Duration::from_secs(4);

/// Time for a proper end of a TLS or HTTP connection after the verdict is known.
const GOODBYE: Duration = Duration::from_millis(200);

/// What keeps checks from being carried out at all; nothing starts then.
#[derive(Debug)]
pub struct SetupError {
    /// `pool/server`.
    server: String,
    /// What is wrong, with the name of the file if it is in one.
    reason: String,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "check of server {}: {}", self.server, self.reason)
    }
}

impl std::error::Error for SetupError {}

/// Carries out checks.
pub struct Checks {
    runtime: Handle,
    shared: Arc<Shared>,
}

/// What all attempts share.
struct Shared {
    connectors: Connectors,
    slots: Semaphore,
    report: Box<dyn Fn(ServerId, u64, Verdict) + Send + Sync>,
    answered: Box<dyn Fn(ServerId, u64, Answer) + Send + Sync>,
}

impl Checks {
    /// Reads the files of authorities that `plan` names. Attempts run on `runtime`, which needs its I/O and time drivers,
    /// and end in one call of `report` each; questions to agents end in one of `answered`.
    ///
    /// # Errors
    ///
    /// When a `ca-file` cannot be used or a name to verify is none.
    pub fn new(
        runtime: Handle,
        plan: &Plan,
        report: impl Fn(ServerId, u64, Verdict) + Send + Sync + 'static,
        answered: impl Fn(ServerId, u64, Answer) + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let connectors = Connectors::default();
        for (id, server) in plan.servers() {
            for tls in server.check.iter().flat_map(Check::tls_of_connects) {
                connectors.get(tls).map_err(|reason| {
                    let pool = plan.pools.get(usize::from(id.pool.0)).map_or("", |pool| &pool.name);
                    SetupError { server: format!("{pool}/{}", server.name), reason }
                })?;
            }
        }
        let slots = Semaphore::new(CONCURRENT_CHECKS);
        let shared =
            Arc::new(Shared { connectors, slots, report: Box::new(report), answered: Box::new(answered) });
        Ok(Self { runtime, shared })
    }

    /// Starts an attempt and returns at once.
    pub fn start(&self, server: ServerId, attempt: u64, check: Arc<Check>, seen: Seen) {
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move { shared.attempt(server, attempt, &check, &seen).await });
    }

    /// Asks an agent and returns at once.
    pub fn ask_agent(&self, server: ServerId, attempt: u64, agent: Agent) {
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move { shared.ask_agent(server, attempt, &agent).await });
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("connectors", &self.shared.connectors).finish_non_exhaustive()
    }
}

impl Shared {
    async fn ask_agent(&self, server: ServerId, attempt: u64, agent: &Agent) {
        let asked = Instant::now();
        let answer = match timeout(PATIENCE_FOR_OTHERS, self.slots.acquire()).await {
            Ok(Ok(_slot)) => agent::ask(agent).await,
            _ => agent::busy(busy(), asked),
        };
        (self.answered)(server, attempt, answer);
    }

    async fn attempt(&self, server: ServerId, attempt: u64, check: &Check, seen: &Seen) {
        let asked = Instant::now();
        let Ok(Ok(_slot)) = timeout(PATIENCE_FOR_OTHERS, self.slots.acquire()).await else {
            let busy = Finding::new(CheckStatus::Sockerr, busy());
            return (self.report)(server, attempt, busy.into_verdict(asked));
        };
        let started = Instant::now();
        let connector = check.tls.as_ref().map(|tls| self.connectors.get(tls)).transpose();
        let (finding, goodbye) = match (&check.kind, connector) {
            (CheckKind::Steps(steps), _) => steps::run(check, steps, &self.connectors, seen).await,
            (CheckKind::External(program), _) => (external::run(check, program, seen).await, None),
            (_, Ok(connector)) => carry_out(check, connector.as_ref()).await,
            (_, Err(reason)) => (Finding::new(CheckStatus::Sockerr, reason), None),
        };
        (self.report)(server, attempt, finding.into_verdict(started));
        if let Some(mut stream) = goodbye {
            // The verdict does not wait for the end of the connection, and does not depend on it.
            let _ = timeout(GOODBYE, stream.shutdown()).await;
        }
    }
}

fn busy() -> String {
    format!("{CONCURRENT_CHECKS} other checks are under way and none ended")
}

/// What an attempt found out; a [`Verdict`] but for the time it took.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    status: CheckStatus,
    code: Option<u16>,
    detail: String,
}

impl Finding {
    fn new(status: CheckStatus, detail: impl Into<String>) -> Self {
        Self { status, code: None, detail: detail.into() }
    }

    fn into_verdict(self, started: Instant) -> Verdict {
        let Self { status, code, detail } = self;
        let code = status.has_code().then(|| code.unwrap_or(0));
        Verdict { status, code, detail, took: started.elapsed() }
    }
}

/// A connection of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Runs one attempt. A connection that something was said on comes back, to be ended properly.
async fn carry_out(check: &Check, connector: Option<&Connector>) -> (Finding, Option<Box<dyn Stream>>) {
    // As with HAProxy, a connection is established when its TLS handshake is done.
    let established_by = Instant::now() + check.connect_timeout;
    let stream = match connect::connect(
        check.address,
        check.dial.as_deref(),
        check.proxy_header.as_ref(),
        established_by,
    )
    .await
    {
        Ok(stream) => stream,
        Err(finding) => return (finding, None),
    };
    if let Some(connector) = connector {
        return match timeout_at(established_by, connector.handshake(stream, check.address)).await {
            Err(_) => (Finding::new(CheckStatus::L6Tout, "no end of the TLS handshake"), None),
            Ok(Err(finding)) => (finding, None),
            Ok(Ok(mut stream)) => {
                (converse(&mut stream, check, CheckStatus::L6Ok).await, Some(Box::new(stream)))
            }
        };
    }
    if check.kind == CheckKind::Connect {
        // A header on its way needs an orderly end.
        if check.proxy_header.is_none() {
            connect::reset_on_close(&stream);
        }
        return (Finding::new(CheckStatus::L4Ok, ""), None);
    }
    let mut stream = stream;
    (converse(&mut stream, check, CheckStatus::L4Ok).await, Some(Box::new(stream)))
}

/// Says and hears on an established connection what the check asks for.
async fn converse(stream: &mut impl Stream, check: &Check, established: CheckStatus) -> Finding {
    let answered_by = Instant::now() + check.answer_timeout;
    match &check.kind {
        CheckKind::SslHello => match timeout_at(answered_by, ssl_hello::ask(stream)).await {
            Ok(finding) => finding,
            Err(_) => Finding::new(CheckStatus::L6Tout, "no answer to a client hello"),
        },
        _ => Finding::new(established, ""),
    }
}

#[cfg(test)]
mod tests;
