//! Asks agents (`agent-check`) and hands their answer on as it is.

use mainstay_engine::health::agent::Answer;
use mainstay_engine::health::check::{CheckStatus, Verdict};
use mainstay_engine::plan::Agent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::checks::Finding;
use crate::checks::connect::{self, words};

/// Bytes of an answer: a line of a few words.
const ANSWER_BYTES: u64 = 4096;

/// Asks once.
pub(super) async fn ask(agent: &Agent) -> Answer {
    let started = Instant::now();
    let failed = |finding: Finding| Answer::Failed(finding.into_verdict(started));
    let stream = match connect::connect(agent.address, None, None, started + agent.timeout).await {
        Ok(stream) => stream,
        Err(finding) => return failed(finding),
    };
    let answered_by = Instant::now() + agent.timeout;
    match timeout_at(answered_by, talk(stream, &agent.send)).await {
        Ok(Ok(line)) => Answer::Line { line, took: started.elapsed() },
        Ok(Err(error)) => failed(Finding::new(CheckStatus::L7Rsp, words(&error))),
        Err(_) => failed(Finding::new(CheckStatus::L7Tout, "no complete answer")),
    }
}

/// Sends what is to be sent, and reads one line.
async fn talk(mut stream: TcpStream, send: &str) -> std::io::Result<String> {
    stream.write_all(send.as_bytes()).await?;
    let mut bytes = Vec::new();
    let mut limited = stream.take(ANSWER_BYTES);
    while !bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        && limited.read_buf(&mut bytes).await? > 0
    {}
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// How an answer that never came is reported.
pub(super) fn busy(detail: String, asked: Instant) -> Answer {
    let verdict: Verdict = Finding::new(CheckStatus::Sockerr, detail).into_verdict(asked);
    Answer::Failed(verdict)
}
