//! Carries out health checks: one attempt at a time, as the engine asks, with a verdict in HAProxy's words.
//!
//! Owns [`Checks`]. It decides nothing: when to check and what a verdict means is the engine's business. `connect` opens
//! connections, `tls`, `http` and `ssl_hello` are what a check can say on one. Every attempt has a connection of its own
//! and ends within the check's time-outs.
//!
//! Results are HAProxy's but for one: a server that resets an established connection is an L7RSP or L6RSP here. HAProxy
//! says SOCKERR, which mainstay keeps for what this machine could not do.

mod connect;
mod connectors;
mod http;
mod ssl_hello;
mod tls;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::health::check::{CheckStatus, Verdict};
use mainstay_engine::plan::{Check, CheckKind, Plan, ServerId};
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
}

impl Checks {
    /// Reads the files of authorities that `plan` names. Attempts run on `runtime`, which needs its I/O and time drivers,
    /// and end in one call of `report` each.
    ///
    /// # Errors
    ///
    /// When a `ca-file` cannot be used or a name to verify is none.
    pub fn new(
        runtime: Handle,
        plan: &Plan,
        report: impl Fn(ServerId, u64, Verdict) + Send + Sync + 'static,
    ) -> Result<Self, SetupError> {
        let connectors = Connectors::default();
        for (id, server) in plan.servers() {
            let Some(tls) = server.check.as_ref().and_then(|check| check.tls.as_ref()) else { continue };
            connectors.get(tls).map_err(|reason| {
                let pool = plan.pools.get(usize::from(id.pool.0)).map_or("", |pool| &pool.name);
                SetupError { server: format!("{pool}/{}", server.name), reason }
            })?;
        }
        let slots = Semaphore::new(CONCURRENT_CHECKS);
        let shared = Arc::new(Shared { connectors, slots, report: Box::new(report) });
        Ok(Self { runtime, shared })
    }

    /// Starts an attempt and returns at once.
    pub fn start(&self, server: ServerId, attempt: u64, check: Arc<Check>) {
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move { shared.attempt(server, attempt, &check).await });
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("connectors", &self.shared.connectors).finish_non_exhaustive()
    }
}

impl Shared {
    async fn attempt(&self, server: ServerId, attempt: u64, check: &Check) {
        let asked = Instant::now();
        let Ok(Ok(_slot)) = timeout(PATIENCE_FOR_OTHERS, self.slots.acquire()).await else {
            let busy = Finding::new(
                CheckStatus::Sockerr,
                format!("{CONCURRENT_CHECKS} other checks are under way and none ended"),
            );
            return (self.report)(server, attempt, busy.into_verdict(asked));
        };
        let started = Instant::now();
        let connector = check.tls.as_ref().map(|tls| self.connectors.get(tls)).transpose();
        let (finding, goodbye) = match connector {
            Ok(connector) => carry_out(check, connector.as_ref()).await,
            Err(reason) => (Finding::new(CheckStatus::Sockerr, reason), None),
        };
        (self.report)(server, attempt, finding.into_verdict(started));
        if let Some(mut stream) = goodbye {
            // The verdict does not wait for the end of the connection, and does not depend on it.
            let _ = timeout(GOODBYE, stream.shutdown()).await;
        }
    }
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
    let stream = match connect::connect(check, established_by).await {
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
        CheckKind::Connect => Finding::new(established, ""),
        CheckKind::SslHello => match timeout_at(answered_by, ssl_hello::ask(stream)).await {
            Ok(finding) => finding,
            Err(_) => Finding::new(CheckStatus::L6Tout, "no answer to a client hello"),
        },
        CheckKind::Http(http) => match timeout_at(answered_by, http::ask(stream, http)).await {
            Ok(finding) => finding,
            Err(_) => Finding::new(CheckStatus::L7Tout, "no complete answer"),
        },
    }
}

#[cfg(test)]
mod tests;
