//! Judges answers of HTTP/1 (`http-check expect`).
//!
//! Looks at no more of an answer than it needs: the status line, the end of the headers, and the body where that is asked
//! for. Of a refusal it tells the beginning of the body, where a kube-apiserver names what is not ready.

use std::borrow::Cow;

use mainstay_engine::health::check::CheckStatus;
use mainstay_engine::plan::{Expect, Expected, HeaderPattern};

use crate::checks::Finding;
use crate::checks::expect::{has, told};
use crate::checks::steps::{ANSWER_BYTES, Judged};

/// Characters of a body or an answer that go into a verdict.
const DETAIL_CHARACTERS: usize = 160;

/// Judges as much of an answer as has come, and its status once that is known; `ended` says that this is all. 404 passes
/// if it is `excused`.
pub(super) fn judge(expect: &Expect, answer: &[u8], ended: bool, excused: bool) -> (Judged, Option<u16>) {
    let (code, body_at) = match parse_head(answer) {
        Head::Complete { code, body_at } => (code, body_at),
        Head::Partial if !ended => return (Judged::Wait, None),
        bad => return (Judged::Failed(Finding::new(CheckStatus::L7Rsp, no_answer(&bad, answer))), None),
    };
    let coded = |mut finding: Finding| {
        finding.code = Some(code);
        (Judged::Failed(finding), Some(code))
    };
    if excused && code == 404 {
        return (Judged::Passed, Some(code));
    }
    let (head, body) = answer.split_at_checked(body_at).unwrap_or_default();
    let complete = ended || is_complete(answer);
    let body = unchunked(head, body);
    let (matches, failure) = match &expect.pattern {
        Expected::Status(statuses) => (statuses.contains(code), CheckStatus::L7Sts),
        Expected::StatusRegex(pattern) => (pattern.is_in(code.to_string().as_bytes()), CheckStatus::L7Sts),
        Expected::Header(pattern) => (has_header(head, pattern), CheckStatus::L7Sts),
        Expected::Body(_) | Expected::BodyRegex(_) if body.is_empty() => {
            if !complete {
                return (Judged::Wait, Some(code));
            }
            let status = expect.error.unwrap_or(CheckStatus::L7Rsp);
            let detail = "HTTP content check could not find a response body";
            return coded(match &expect.on_error {
                None => Finding::new(status, detail),
                on_error => told(status, on_error.as_ref(), &body),
            });
        }
        Expected::Body(text) => (has(&body, text), CheckStatus::L7Rsp),
        Expected::BodyRegex(pattern) => (pattern.is_in(&body), CheckStatus::L7Rsp),
        // The rest is not HTTP's.
        _ => (false, CheckStatus::L7Rsp),
    };
    let of_body = matches!(expect.pattern, Expected::Body(_) | Expected::BodyRegex(_));
    let short = match (&expect.pattern, expect.min_recv) {
        (_, Some(least)) if body.len() < least => true,
        (Expected::Body(text), _) if body.len() < text.len() => true,
        (_, least) => !matches && least.is_none(),
    };
    if of_body && !complete && short {
        return (Judged::Wait, Some(code));
    }
    if matches != expect.negated {
        return (Judged::Passed, Some(code));
    }
    let mut finding = told(expect.error.unwrap_or(failure), expect.on_error.as_ref(), &body);
    if expect.on_error.is_none() {
        finding.detail = match (&expect.pattern, expect.negated) {
            (Expected::Status(_) | Expected::StatusRegex(_), _) => String::new(),
            (Expected::Header(_), false) => "no such header".to_owned(),
            (Expected::Header(_), true) => "unwanted header".to_owned(),
            (_, true) => "HTTP check matched unwanted content".to_owned(),
            (_, false) => "HTTP content check did not match".to_owned(),
        };
    }
    coded(finding)
}

fn no_answer(head: &Head, answer: &[u8]) -> String {
    match head {
        Head::NotHttp => format!("not HTTP: {}", printable(answer)),
        _ if answer.is_empty() => "connection closed without an answer".to_owned(),
        _ if answer.len() >= ANSWER_BYTES => format!("no end of the headers within {ANSWER_BYTES} bytes"),
        _ => "connection closed before the end of the headers".to_owned(),
    }
}

/// Whether the headers say that the body is all there.
pub(super) fn is_complete(answer: &[u8]) -> bool {
    let Head::Complete { code, body_at } = parse_head(answer) else { return false };
    let (head, body) = answer.split_at_checked(body_at).unwrap_or_default();
    if matches!(code, 204 | 304) {
        return true;
    }
    if is_chunked(head) {
        return body.ends_with(b"0\r\n\r\n");
    }
    content_length(head).is_some_and(|length| body.len() >= length)
}

/// What the body of a refusal says.
pub(super) fn refusal_of(answer: &[u8]) -> String {
    let Head::Complete { body_at, .. } = parse_head(answer) else { return String::new() };
    let (head, body) = answer.split_at_checked(body_at).unwrap_or_default();
    refusal(head, body)
}

fn is_chunked(head: &[u8]) -> bool {
    header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
}

/// The body without the lengths of its chunks (RFC 9112 §7.1), as far as it goes.
fn unchunked<'a>(head: &[u8], body: &'a [u8]) -> Cow<'a, [u8]> {
    if !is_chunked(head) {
        return Cow::Borrowed(body);
    }
    let mut whole = Vec::new();
    let mut rest = body;
    while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
        let (line, after) = rest.split_at_checked(end + 1).unwrap_or_default();
        let length = std::str::from_utf8(line).ok().and_then(|line| line.split(';').next());
        let length = length.and_then(|length| usize::from_str_radix(length.trim(), 16).ok());
        let Some(length) = length.filter(|length| *length > 0) else { break };
        let chunk = after.get(..length).unwrap_or(after);
        whole.extend_from_slice(chunk);
        rest = after.get(chunk.len() + 2..).unwrap_or_default();
    }
    Cow::Owned(whole)
}

/// Whether one of the headers is as described. A value is looked at between its commas, unless as a whole.
fn has_header(head: &[u8], pattern: &HeaderPattern) -> bool {
    let text = String::from_utf8_lossy(head);
    let mut named = text.lines().skip(1).filter_map(|line| line.split_once(':')).filter(|(name, _)| {
        let name = name.to_ascii_lowercase();
        pattern.name.matches(name.trim())
    });
    let Some(wanted) = &pattern.value else { return named.next().is_some() };
    named.any(|(_, value)| match pattern.whole {
        true => wanted.matches(value.trim()),
        false => value.split(',').any(|value| wanted.matches(value.trim())),
    })
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
    let body = unchunked(head, body);
    let text = String::from_utf8_lossy(&body);
    if let Ok(serde_json::Value::Object(status)) = serde_json::from_str(&text)
        && let Some(message) = status.get("message").and_then(serde_json::Value::as_str)
    {
        return printable(message.as_bytes());
    }
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or_default();
    let failed = std::iter::once(first).chain(lines).find(|line| line.starts_with("[-]"));
    printable(failed.unwrap_or(first).as_bytes())
}

/// The beginning of a text from outside, on one line and harmless to a terminal.
pub(super) fn printable(bytes: &[u8]) -> String {
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
