//! Judges answers that are bytes (`tcp-check expect`), and has HAProxy's words for steps.

use std::fmt::Write as _;

use mainstay_engine::health::check::CheckStatus;
use mainstay_engine::plan::{Dialect, Expect, Expected, MysqlPacket, StepAction, Told};

use crate::checks::Finding;
use crate::checks::http::printable;
use crate::checks::steps::Judged;

/// Judges as much of an answer as has come; `ended` says that this is all.
pub(super) fn judge(expect: &Expect, answer: &[u8], ended: bool, dialect: Dialect, step: u16) -> Judged {
    let wanted = match &expect.pattern {
        Expected::Text(bytes) | Expected::Binary(bytes) => bytes.len(),
        _ => 1,
    };
    let least = wanted.max(expect.min_recv.unwrap_or(0));
    if !ended && answer.len() < least {
        return Judged::Wait;
    }
    let matches = match &expect.pattern {
        Expected::Text(bytes) | Expected::Binary(bytes) => has(answer, bytes),
        Expected::TextRegex(pattern) => pattern.is_in(answer),
        Expected::BinaryRegex(pattern) => pattern.is_in(digits(answer).as_bytes()),
        Expected::Mysql(packet) => return mysql(*packet, answer, ended),
        // The rest is HTTP's.
        _ => false,
    };
    if !matches && !ended && expect.min_recv.is_none() {
        return Judged::Wait;
    }
    if matches != expect.negated {
        return Judged::Passed;
    }
    let status = expect.error.unwrap_or(CheckStatus::L7Rsp);
    let mut finding = told(status, expect.on_error.as_ref(), answer);
    if expect.on_error.is_none() {
        finding.detail = mismatch(expect, answer, dialect, matches, step);
    }
    Judged::Failed(finding)
}

/// A failure, and what an expectation wants told of the answer.
pub(super) fn told(status: CheckStatus, on_error: Option<&Told>, answer: &[u8]) -> Finding {
    match on_error {
        None => Finding::new(status, ""),
        Some(Told::Text(text)) => Finding::new(status, text.clone()),
        Some(Told::Answer { skipped, code }) => {
            let number = answer.get(..3).and_then(|start| std::str::from_utf8(start).ok());
            let code = number.filter(|_| *code).and_then(|number| number.parse().ok());
            let rest = answer.get(*skipped..).unwrap_or_default();
            let line = rest.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
            Finding { code, ..Finding::new(status, printable(line.trim_ascii_start())) }
        }
    }
}

/// What a step is called in messages.
pub(super) fn name_of(action: &StepAction) -> String {
    match action {
        StepAction::Connect(connect) => match connect.port {
            Some(port) => format!("connect port {port}"),
            None => "connect".to_owned(),
        },
        StepAction::Send(_) | StepAction::Request(_) => "send".to_owned(),
        StepAction::Expect(expect) => match &expect.pattern {
            Expected::Text(text) => format!("expect string '{}'", printable(text)),
            Expected::TextRegex(_) => "expect regex".to_owned(),
            Expected::Binary(bytes) => format!("expect binary '{}'", digits(bytes)),
            Expected::BinaryRegex(_) => "expect binary regex".to_owned(),
            _ => "expect".to_owned(),
        },
    }
}

fn mismatch(expect: &Expect, answer: &[u8], dialect: Dialect, matches: bool, step: u16) -> String {
    if answer.is_empty() {
        return format!("TCPCHK got an empty response at step {step}");
    }
    if dialect == Dialect::Protocol {
        return String::new();
    }
    let what = match matches {
        true => "TCPCHK matched unwanted content",
        false => "TCPCHK did not match content",
    };
    let pattern = match &expect.pattern {
        Expected::Text(text) => format!("'{}'", printable(text)),
        Expected::Binary(_) => "(binary)".to_owned(),
        Expected::BinaryRegex(_) => "(binary regex)".to_owned(),
        _ => "(regex)".to_owned(),
    };
    format!("{what} {pattern} at step {step}")
}

/// Whether `wanted` is somewhere in `answer`.
pub(super) fn has(answer: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || answer.windows(wanted.len()).any(|window| window == wanted)
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// A packet has three bytes of length and a number before it; one that begins with 0xff is an error.
fn mysql(packet: MysqlPacket, answer: &[u8], ended: bool) -> Judged {
    let whole = |bytes: &[u8]| {
        let [low, middle, high, _number, ..] = *bytes else { return None };
        let length = usize::try_from(u32::from_le_bytes([low, middle, high, 0])).ok()?;
        bytes.get(..length.checked_add(4)?).map(<[u8]>::len)
    };
    let start = match packet {
        MysqlPacket::Greeting => Some(0),
        MysqlPacket::Ok => whole(answer),
    };
    let found = start.and_then(|start| answer.get(start..)).filter(|bytes| whole(bytes).is_some());
    match found {
        None if !ended => Judged::Wait,
        None => Judged::Failed(Finding::new(CheckStatus::L7Rsp, "no whole packet of MySQL")),
        Some([_, _, _, _, 0xff, low, high, text @ ..]) => Judged::Failed(Finding {
            code: Some(u16::from_le_bytes([*low, *high])),
            ..Finding::new(CheckStatus::L7Sts, printable(text))
        }),
        Some(_) => Judged::Passed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(wanted: &str) -> Expect {
        Expect::new(Expected::Text(wanted.as_bytes().to_vec()))
    }

    fn failed(status: CheckStatus, detail: &str) -> Judged {
        Judged::Failed(Finding::new(status, detail))
    }

    #[test]
    fn an_answer_is_waited_for_until_it_matches_ends_or_is_long_enough() {
        let tcp =
            |expect: &Expect, answer: &str, ended| judge(expect, answer.as_bytes(), ended, Dialect::Tcp, 3);
        let pong = text("+PONG");
        assert_eq!(tcp(&pong, "+PO", false), Judged::Wait);
        assert_eq!(tcp(&pong, "-LOADING", false), Judged::Wait);
        assert_eq!(tcp(&pong, "x+PONG\r\n", false), Judged::Passed);
        let said = "TCPCHK did not match content '+PONG' at step 3";
        assert_eq!(tcp(&pong, "-LOADING", true), failed(CheckStatus::L7Rsp, said));
        let empty = "TCPCHK got an empty response at step 3";
        assert_eq!(tcp(&pong, "", true), failed(CheckStatus::L7Rsp, empty));
        let least = Expect { min_recv: Some(6), error: Some(CheckStatus::L7Sts), ..text("+PONG") };
        assert_eq!(tcp(&least, "-LOAD", false), Judged::Wait);
        assert_eq!(tcp(&least, "-LOADI", false), failed(CheckStatus::L7Sts, said));
        let not = Expect { negated: true, min_recv: Some(1), ..text("E") };
        assert_eq!(tcp(&not, "OK", false), Judged::Passed);
        let said = "TCPCHK matched unwanted content 'E' at step 3";
        assert_eq!(tcp(&not, "E1", false), failed(CheckStatus::L7Rsp, said));
    }

    #[test]
    fn packets_of_mysql_are_whole_and_no_errors() {
        let greeting = b"\x05\0\0\0\x0a8.0\0";
        assert_eq!(mysql(MysqlPacket::Greeting, &greeting[..6], false), Judged::Wait);
        assert_eq!(mysql(MysqlPacket::Greeting, greeting, false), Judged::Passed);
        assert_eq!(mysql(MysqlPacket::Ok, greeting, false), Judged::Wait);
        let refused = [&greeting[..], b"\x08\0\0\x02\xff\x15\x04denied"].concat();
        let expected = Finding { code: Some(1045), ..Finding::new(CheckStatus::L7Sts, "denie") };
        let Judged::Failed(finding) = mysql(MysqlPacket::Ok, &refused, true) else { panic!("it is refused") };
        assert_eq!((finding.status, finding.code), (expected.status, expected.code));
    }
}
