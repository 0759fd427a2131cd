//! Checks of several steps: connects, sends and expects in turn, and says at which step it went wrong.
//!
//! Owns [`run`]. `expect` judges answers of bytes, `http` those of HTTP. What was received is kept until something is sent
//! again, so that several expectations look at the same answer, as with HAProxy.

use std::io;
use std::time::Duration;

use mainstay_engine::health::check::{CheckStatus, Seen};
use mainstay_engine::plan::{Check, Connect, Dialect, Expect, Expected, Step, StepAction, Steps};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use crate::checks::connect::{self, words};
use crate::checks::connectors::Connectors;
use crate::checks::{Finding, Stream, expect, http};

/// Bytes of an answer that are read: what matters of one is far shorter.
pub(super) const ANSWER_BYTES: usize = 16 * 1024;

/// How long the rest of a refusal's body is waited for once its status is known.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// What one expectation makes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// More of it has to come first.
    Wait,
    /// It passes.
    Passed,
    /// It does not.
    Failed(Finding),
}

/// A check under way.
struct Conversation<'a> {
    check: &'a Check,
    steps: &'a Steps,
    connectors: &'a Connectors,
    seen: &'a Seen,
    stream: Option<Box<dyn Stream>>,
    /// Whether the connection ends in the orderly way.
    orderly: bool,
    /// What was received since something was sent.
    answer: Vec<u8>,
    /// Whether no more of it will come.
    ended: bool,
    answered_by: Instant,
}

/// Carries out all steps. A connection that should be ended properly comes back.
pub(super) async fn run(
    check: &Check,
    steps: &Steps,
    connectors: &Connectors,
    seen: &Seen,
) -> (Finding, Option<Box<dyn Stream>>) {
    let mut conversation = Conversation {
        check,
        steps,
        connectors,
        seen,
        stream: None,
        orderly: false,
        answer: Vec::new(),
        ended: false,
        answered_by: Instant::now(),
    };
    let mut latest = Finding::new(CheckStatus::L7Ok, "");
    for step in &steps.steps {
        match conversation.carry_out(step).await {
            Ok(finding) => latest = finding,
            Err(finding) => return (finding, conversation.goodbye()),
        }
    }
    (latest, conversation.goodbye())
}

impl Conversation<'_> {
    /// The connection, if it is to be ended properly.
    fn goodbye(&mut self) -> Option<Box<dyn Stream>> {
        self.stream.take().filter(|_| self.orderly)
    }

    /// What would be the result were this the last step, or what went wrong.
    async fn carry_out(&mut self, step: &Step) -> Result<Finding, Finding> {
        match &step.action {
            StepAction::Connect(to) => self.connect(step, to).await,
            StepAction::Send(bytes) => self.send(step, bytes).await,
            StepAction::Request(request) => self.send(step, request.text().as_bytes()).await,
            StepAction::Expect(expected) => self.expect(step, expected).await,
        }
    }

    async fn connect(&mut self, step: &Step, to: &Connect) -> Result<Finding, Finding> {
        if let Some(mut before) = self.stream.take().filter(|_| self.orderly) {
            let _ = timeout(super::GOODBYE, before.shutdown()).await;
        }
        (self.answer, self.ended) = (Vec::new(), false);
        let address = to.address(self.check.address);
        // As with HAProxy, a connection is established when its TLS handshake is done.
        let established_by = Instant::now() + self.check.connect_timeout;
        let dial = self.check.dial.as_deref();
        let stream = connect::connect(address, dial, to.proxy_header.as_ref(), established_by).await;
        let stream = stream.map_err(|finding| self.located(finding, step))?;
        // A header on its way needs an orderly end, too.
        self.orderly =
            to.linger || to.tls.is_some() || to.proxy_header.is_some() || self.steps.dialect == Dialect::Http;
        if !self.orderly {
            connect::reset_on_close(&stream);
        }
        let Some(tls) = &to.tls else {
            self.stream = Some(Box::new(stream));
            self.answered_by = Instant::now() + self.check.answer_timeout;
            return Ok(Finding::new(CheckStatus::L4Ok, ""));
        };
        let connector =
            self.connectors.get(tls).map_err(|reason| Finding::new(CheckStatus::Sockerr, reason))?;
        match timeout_at(established_by, connector.handshake(stream, address)).await {
            Err(_) => {
                let silent = Finding::new(CheckStatus::L6Tout, "no end of the TLS handshake");
                Err(self.located(silent, step))
            }
            Ok(Err(finding)) => Err(self.located(finding, step)),
            Ok(Ok(stream)) => {
                self.stream = Some(Box::new(stream));
                self.answered_by = Instant::now() + self.check.answer_timeout;
                Ok(Finding::new(CheckStatus::L6Ok, ""))
            }
        }
    }

    async fn send(&mut self, step: &Step, bytes: &[u8]) -> Result<Finding, Finding> {
        (self.answer, self.ended) = (Vec::new(), false);
        let Some(stream) = &mut self.stream else { return Err(not_connected()) };
        let sending = async {
            stream.write_all(bytes).await?;
            stream.flush().await
        };
        let finding = match timeout_at(self.answered_by, sending).await {
            Ok(Ok(())) => return Ok(Finding::new(CheckStatus::L7Ok, "")),
            Ok(Err(error)) => Finding::new(CheckStatus::L7Rsp, words(&error)),
            Err(_) => Finding::new(CheckStatus::L7Tout, "what is sent is not taken"),
        };
        Err(self.located(finding, step))
    }

    async fn expect(&mut self, step: &Step, expected: &Expect) -> Result<Finding, Finding> {
        let excused = self.steps.disable_on_404 && self.seen.up;
        loop {
            let (judged, code) = match self.steps.dialect {
                Dialect::Http => http::judge(expected, &self.answer, self.ended, excused),
                Dialect::Tcp | Dialect::Protocol => {
                    (expect::judge(expected, &self.answer, self.ended, self.steps.dialect, step.number), None)
                }
            };
            match judged {
                Judged::Passed => return Ok(self.passed(expected, code, excused)),
                Judged::Failed(finding) => {
                    let mut finding = self.explained(finding, expected).await;
                    if let Some(comment) = &step.comment {
                        finding.detail.push_str(&format!(" comment: {comment}"));
                    }
                    return Err(finding);
                }
                Judged::Wait => self.read(step, expected).await?,
            }
        }
    }

    /// Reads more of an answer.
    async fn read(&mut self, step: &Step, expected: &Expect) -> Result<(), Finding> {
        let Some(stream) = &mut self.stream else { return Err(not_connected()) };
        let finding = match timeout_at(self.answered_by, read_some(stream, &mut self.answer)).await {
            Ok(Ok(read)) => {
                self.ended = read == 0 || self.answer.len() >= ANSWER_BYTES;
                return Ok(());
            }
            Ok(Err(error)) => Finding::new(CheckStatus::L7Rsp, words(&error)),
            Err(_) => Finding::new(expected.timeout.unwrap_or(CheckStatus::L7Tout), "no complete answer"),
        };
        Err(self.located(finding, step))
    }

    fn passed(&self, expected: &Expect, code: Option<u16>, excused: bool) -> Finding {
        let leaving = excused && code == Some(404);
        let status = if leaving { CheckStatus::L7Okc } else { expected.ok.unwrap_or(CheckStatus::L7Ok) };
        let detail = expected.on_success.clone().filter(|_| !leaving).unwrap_or_default();
        Finding { status, code, detail }
    }

    /// Adds what the body of a refusal says.
    async fn explained(&mut self, mut finding: Finding, expected: &Expect) -> Finding {
        let of_status = matches!(expected.pattern, Expected::Status(_) | Expected::StatusRegex(_));
        if self.steps.dialect != Dialect::Http || !of_status || !finding.detail.is_empty() {
            return finding;
        }
        if let Some(stream) = &mut self.stream {
            let rest = async {
                while !http::is_complete(&self.answer) && read_some(stream, &mut self.answer).await? > 0 {}
                io::Result::Ok(())
            };
            let _ = timeout(BODY_PATIENCE, rest).await;
        }
        finding.detail = http::refusal_of(&self.answer);
        finding
    }

    /// Says in HAProxy's words at which step a `tcp-check` came to grief.
    fn located(&self, mut finding: Finding, step: &Step) -> Finding {
        if self.steps.dialect != Dialect::Tcp {
            return finding;
        }
        let at = match (step.number, &step.action) {
            (0, _) => " at initial connection step of tcp-check".to_owned(),
            (number, action) => format!(" at step {number} of tcp-check ({})", expect::name_of(action)),
        };
        finding.detail.push_str(&at);
        if let Some(comment) = &step.comment {
            finding.detail.push_str(&format!(" comment: '{comment}'"));
        }
        finding
    }
}

/// No plan has a check that does not connect first.
fn not_connected() -> Finding {
    Finding::new(CheckStatus::Sockerr, "this check never connects")
}

/// Appends what has arrived to `answer`, which stays within [`ANSWER_BYTES`]; 0 is the end.
async fn read_some(stream: &mut Box<dyn Stream>, answer: &mut Vec<u8>) -> io::Result<usize> {
    let room = ANSWER_BYTES.saturating_sub(answer.len());
    stream.take(u64::try_from(room).unwrap_or(0)).read_buf(answer).await
}
