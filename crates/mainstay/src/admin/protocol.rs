//! The words on the admin socket: a request is one line of text, its answer one line of JSON.
//!
//! `status` is answered with the [`Status`](mainstay_engine::admin::Status) itself, everything else with an object that
//! has one key: `done`, `refused`, `error` or `commands`.

use mainstay_engine::admin::{Reply, Request};
use mainstay_engine::config::diagnostic::did_you_mean;
use serde_json::{Map, Value, json};

use super::orders;

/// The longest request: some times the longest command, with names of a pool and a server.
pub const REQUEST_BYTES: usize = 1024;

/// Every command: its name, what it asks, what it does.
const COMMANDS: [(&str, Option<Request>, &str); 4] = [
    ("status", Some(Request::Status), "everything there is to see, as one object"),
    (
        "hand-over",
        Some(Request::HandOver),
        "give the virtual addresses to a peer and stay a backup of last resort",
    ),
    ("resume", Some(Request::Resume), "end a hand-over: take part with the configured priority again"),
    ("help", None, "this list"),
];

/// The command that takes words, and what it does.
const WITH_WORDS: (&str, &str) = (
    "server POOL/SERVER ready|drain|maint|weight N",
    "take a server out of service, put it back, or change its weight, until the daemon ends",
);

/// What a line asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// Something the engine answers.
    Request(Request),
    /// The list of commands.
    Help,
}

/// Understands a line, with or without its newline.
///
/// # Errors
/// A sentence for the operator.
pub fn parse(line: &[u8]) -> Result<Line, String> {
    if line.len() > REQUEST_BYTES {
        return Err(format!("a request has at most {REQUEST_BYTES} bytes"));
    }
    let text = str::from_utf8(line).map_err(|_| "a request is a line of UTF-8 text".to_owned())?.trim();
    if text.is_empty() {
        return Err("an empty request; try `help`".to_owned());
    }
    if let Some((_, request, _)) = COMMANDS.iter().find(|(name, ..)| *name == text) {
        return Ok(request.clone().map_or(Line::Help, Line::Request));
    }
    if let Some(rest) = text.strip_prefix("server ") {
        return orders::server(rest.split_whitespace()).map(|order| Line::Request(Request::Order(order)));
    }
    let command = text.escape_debug();
    match did_you_mean(text, COMMANDS.iter().map(|(name, ..)| *name)) {
        Some(meant) => Err(format!("there is no command `{command}`; did you mean `{meant}`?")),
        None => Err(format!("there is no command `{command}`; try `help`")),
    }
}

/// The answer to a request, without a newline.
pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Status(status) => match serde_json::to_string(status) {
            Ok(status) => status,
            Err(defect) => error(&format!("the status cannot be written as JSON: {defect}")),
        },
        Reply::Done => json!({ "done": true }).to_string(),
        Reply::Order(Ok(_)) => json!({ "done": true }).to_string(),
        Reply::Order(Err(refusal)) => json!({ "refused": refusal.to_string() }).to_string(),
        Reply::Refused(reason) => json!({ "refused": reason }).to_string(),
    }
}

/// The answer to a request that was not understood or could not be passed on.
pub fn error(sentence: &str) -> String {
    json!({ "error": sentence }).to_string()
}

/// The answer to `help`.
pub fn help() -> String {
    let commands = COMMANDS.iter().map(|(name, _, meaning)| (*name, *meaning)).chain([WITH_WORDS]);
    let commands: Map<String, Value> =
        commands.map(|(name, meaning)| (name.to_owned(), meaning.into())).collect();
    json!({ "commands": commands }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_on_a_line() {
        assert_eq!(parse(b"status"), Ok(Line::Request(Request::Status)));
        assert_eq!(parse(b"  hand-over \r\n"), Ok(Line::Request(Request::HandOver)));
        assert_eq!(parse(b"resume\n"), Ok(Line::Request(Request::Resume)));
        assert_eq!(parse(b"help\n"), Ok(Line::Help));
    }

    #[test]
    fn whatever_else_is_there_gets_an_error_that_helps() {
        let error = |line: &[u8]| parse(line).expect_err("it is no command");
        assert_eq!(error(b""), "an empty request; try `help`");
        assert_eq!(error(b"handover"), "there is no command `handover`; did you mean `hand-over`?");
        assert_eq!(error(b"shutdown now"), "there is no command `shutdown now`; try `help`");
        assert_eq!(error(b"\x1b[2J"), "there is no command `\\u{1b}[2J`; try `help`");
        assert_eq!(error(b"\xff\xfe"), "a request is a line of UTF-8 text");
        assert_eq!(
            error(b"server k8s"),
            "`server` takes POOL/SERVER and one of ready, drain, maint and `weight N`"
        );
        assert_eq!(error(&[b'a'; REQUEST_BYTES + 1]), "a request has at most 1024 bytes");
    }

    #[test]
    fn answers_are_one_line_of_json() {
        for answer in [reply(&Reply::Done), reply(&Reply::Refused("a\nb".to_owned())), error("a\nb"), help()]
        {
            assert!(!answer.contains('\n'), "{answer}");
            assert!(serde_json::from_str::<Value>(&answer).unwrap().is_object());
        }
    }
}
