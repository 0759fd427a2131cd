//! `option httpchk`: one HTTP request, and what the answer says.
//!
//! Reads no more of an answer than it needs: the status line, the end of the headers, and of a refusal the beginning of
//! its body, where a kube-apiserver names what is not ready.

use std::io;
use std::time::Duration;

use mainstay_engine::health::check::CheckStatus;
use mainstay_engine::plan::HttpCheck;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use crate::checks::connect::words;
use crate::checks::{Finding, Stream};

/// Bytes of an answer that are read: headers are far shorter, and of a body only the beginning matters.
const ANSWER_BYTES: usize = 16 * 1024;

/// Characters of a body or an answer that go into a verdict.
const DETAIL_CHARACTERS: usize = 160;

/// How long the rest of a refusal's body is waited for once its status is known.
const BODY_PATIENCE: Duration = Duration::from_millis(100);

/// Sends the request and judges the answer.
pub(super) async fn ask(stream: &mut impl Stream, check: &HttpCheck) -> Finding {
    if let Err(error) = send(stream, &check.request).await {
        return refused_to_talk(&error);
    }
    let mut answer = Vec::new();
    let (code, body_at) = loop {
        match parse_head(&answer) {
            Head::Complete { code, body_at } => break (code, body_at),
            Head::Partial if answer.len() >= ANSWER_BYTES => {
                let detail = format!("no end of the headers within {ANSWER_BYTES} bytes");
                return Finding::new(CheckStatus::L7Rsp, detail);
            }
            Head::Partial => {}
            Head::NotHttp => {
                let detail = format!("not HTTP: {}", printable(&answer));
                return Finding::new(CheckStatus::L7Rsp, detail);
            }
        }
        match read_some(stream, &mut answer).await {
            Ok(0) if answer.is_empty() => {
                return Finding::new(CheckStatus::L7Rsp, "connection closed without an answer");
            }
            Ok(0) => {
                return Finding::new(CheckStatus::L7Rsp, "connection closed before the end of the headers");
            }
            Ok(_) => {}
            Err(error) => return refused_to_talk(&error),
        }
    };
    let (status, detail) = if check.expect.contains(code) {
        (CheckStatus::L7Ok, String::new())
    } else {
        let _ = timeout(BODY_PATIENCE, read_body(stream, &mut answer, body_at)).await;
        let (head, body) = answer.split_at_checked(body_at).unwrap_or_default();
        (CheckStatus::L7Sts, refusal(head, body))
    };
    Finding { status, code: Some(code), detail }
}

async fn send(stream: &mut impl Stream, request: &str) -> io::Result<()> {
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await
}

/// The connection broke although it was established.
fn refused_to_talk(error: &io::Error) -> Finding {
    Finding::new(CheckStatus::L7Rsp, words(error))
}

/// Appends what has arrived to `answer`, which stays within [`ANSWER_BYTES`]; 0 is the end.
async fn read_some(stream: &mut impl Stream, answer: &mut Vec<u8>) -> io::Result<usize> {
    let room = ANSWER_BYTES.saturating_sub(answer.len());
    stream.take(u64::try_from(room).unwrap_or(0)).read_buf(answer).await
}

/// Reads on until the body is complete or as much of it as fits has been read.
async fn read_body(stream: &mut impl Stream, answer: &mut Vec<u8>, body_at: usize) -> io::Result<()> {
    let length = answer.get(..body_at).and_then(content_length);
    let end = length.map_or(ANSWER_BYTES, |length| body_at.saturating_add(length).min(ANSWER_BYTES));
    while answer.len() < end && read_some(stream, answer).await? > 0 {}
    Ok(())
}

/// What the bytes of an answer amount to so far.
#[derive(Debug, PartialEq, Eq)]
enum Head {
    /// Good so far, but more has to come.
    Partial,
    /// Status and headers are there.
    Complete {
        code: u16,
        /// Where the body starts.
        body_at: usize,
    },
    /// No answer of HTTP/1.
    NotHttp,
}

/// RFC 9112 §4: `HTTP/1.1 200 OK`, the reason being optional. A line may end in a lone LF (§2.2).
fn parse_head(answer: &[u8]) -> Head {
    // `d` stands for a digit. The rest has to be there as it is, as far as it has arrived.
    let wrong = answer.iter().zip(b"HTTP/1.d ddd").any(|(&byte, &expected)| match expected {
        b'd' => !byte.is_ascii_digit(),
        _ => byte != expected,
    });
    if wrong {
        return Head::NotHttp;
    }
    let Some((start, rest)) = answer.split_first_chunk::<12>() else { return Head::Partial };
    match (start, rest.first()) {
        (_, None) => return Head::Partial,
        ([.., version, b' ', hundreds, _, _], Some(b' ' | b'\r' | b'\n'))
            if matches!(version, b'0' | b'1') && *hundreds != b'0' => {}
        _ => return Head::NotHttp,
    }
    let [.., hundreds, tens, ones] = start.map(|byte| u16::from(byte.wrapping_sub(b'0')));
    let code = hundreds * 100 + tens * 10 + ones;
    end_of_head(answer).map_or(Head::Partial, |body_at| Head::Complete { code, body_at })
}

/// Where the empty line after the headers ends.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    let mut end = 0;
    for line in answer.split_inclusive(|&byte| byte == b'\n') {
        end += line.len();
        if matches!(line, b"\n" | b"\r\n") {
            return Some(end);
        }
    }
    None
}

fn content_length(head: &[u8]) -> Option<usize> {
    header(head, "content-length")?.parse().ok()
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let lines = std::str::from_utf8(head).ok()?.lines();
    lines
        .filter_map(|line| line.split_once(':'))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
}

/// What a refusal's body says: the message of a Kubernetes `Status`, the first check a readiness endpoint marks as
/// failed, or else the first line.
fn refusal(head: &[u8], body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if let Ok(serde_json::Value::Object(status)) = serde_json::from_str(&text)
        && let Some(message) = status.get("message").and_then(serde_json::Value::as_str)
    {
        return printable(message.as_bytes());
    }
    let chunked =
        header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    // The first line of a chunked body is the length of its first chunk.
    let mut lines = text.lines().skip(usize::from(chunked)).map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let failed = std::iter::once(first).chain(lines).find(|line| line.starts_with("[-]"));
    printable(failed.unwrap_or(first).as_bytes())
}

/// The beginning of a text from outside, on one line and harmless to a terminal.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let tame = text.chars().map(|character| if character.is_control() { '.' } else { character });
    let mut shown: String = tame.take(DETAIL_CHARACTERS).collect();
    if text.chars().nth(DETAIL_CHARACTERS).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_head_is_read_strictly() {
        for (answer, expected) in [
            ("", Head::Partial),
            ("HTTP/1.", Head::Partial),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", Head::Partial),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", Head::Complete { code: 200, body_at: 25 }),
            ("HTTP/1.0 403\r\n\r\n", Head::Complete { code: 403, body_at: 16 }),
            ("HTTP/1.0 500 \n\n", Head::Complete { code: 500, body_at: 15 }),
            ("HTTP/2.0 200 OK\r\n\r\n", Head::NotHttp),
            ("HTTP/1.7 200 OK\r\n\r\n", Head::NotHttp),
            ("HTTP/1.1  200 OK\r\n\r\n", Head::NotHttp),
            ("HTTP/1.1 2000 OK\r\n\r\n", Head::NotHttp),
            ("HTTP/1.1 020 OK\r\n\r\n", Head::NotHttp),
            ("http/1.1 200 OK\r\n\r\n", Head::NotHttp),
            ("SSH-2.0-OpenSSH", Head::NotHttp),
        ] {
            assert_eq!(parse_head(answer.as_bytes()), expected, "{answer:?}");
        }
    }

    #[test]
    fn a_refusal_names_what_matters() {
        let ready = b"[+]ping ok\n[+]log ok\n[-]etcd failed: reason withheld\nreadyz check failed\n";
        assert_eq!(refusal(b"", ready), "[-]etcd failed: reason withheld");
        let status = br#"{"kind": "Status", "message": "forbidden: User \"system:anonymous\"", "code": 403}"#;
        assert_eq!(refusal(b"", status), "forbidden: User \"system:anonymous\"");
        assert_eq!(refusal(b"Transfer-Encoding: chunked\r\n", b"9\r\nnot ready\r\n0\r\n\r\n"), "not ready");
        assert_eq!(refusal(b"", b"\n\x1b[31mred\r\nmore"), ".[31mred");
        assert_eq!(refusal(b"", b""), "");
        assert_eq!(refusal(b"", "ü".repeat(500).as_bytes()).chars().count(), DETAIL_CHARACTERS + 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged(answer in prop::collection::vec(any::<u8>(), 0..200), start in 0_usize..12) {
            let mut bytes = b"HTTP/1.1 200"[..start].to_vec();
            bytes.extend(&answer);
            if let Head::Complete { body_at, .. } = parse_head(&bytes) {
                let (head, body) = bytes.split_at(body_at);
                prop_assert!(refusal(head, body).chars().all(|character| !character.is_control()));
            }
        }
    }
}
