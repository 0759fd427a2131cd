//! A conversation on one of HAProxy's sockets.
//!
//! Owns its form: one line of commands and the end, or a prompt and line after line; `;` between commands; an empty line
//! after each answer; how long a line may be and how long it may take.

use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::plan::Level;
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::time::timeout;

use super::commands::{self, Run, Talk};
use super::events::{self, Follow};
use super::sessions;
use super::{Answers, Ask};

/// The longest line, as with HAProxy (`tune.bufsize`).
const LINE_BYTES: u64 = 16 * 1024;

/// Longest time that `set timeout cli` takes.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// How a conversation stands.
struct Conversation {
    answers: Arc<Answers>,
    level: Level,
    prompt: bool,
    over: bool,
    patience: Duration,
}

/// Answers whoever is at the other end, who may do what `level` permits.
pub(super) async fn converse<S>(stream: S, answers: Arc<Answers>, level: Level, patience: Duration)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut stream = BufReader::new(stream);
    let mut talk = Conversation { answers, level, prompt: false, over: false, patience };
    while !talk.over {
        let mut line = Vec::new();
        let mut bounded = (&mut stream).take(LINE_BYTES);
        match timeout(talk.patience, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(length)) if length > 0 => {}
            _ => return,
        }
        let whole = line.ends_with(b"\n");
        let text = String::from_utf8_lossy(&line).into_owned();
        talk.over = !whole;
        let mut answer = String::new();
        for command in split(text.trim_end_matches(['\r', '\n'])) {
            let (words, follow) = talk.carry_out(&command).await;
            answer.push_str(&words);
            if let Some(Follow { recent, seen }) = follow {
                let said = timeout(talk.patience, stream.write_all(answer.as_bytes())).await;
                if !matches!(said, Ok(Ok(()))) || events::follow(&mut stream, &recent, seen).await.is_err() {
                    return;
                }
                answer.clear();
            }
            answer.push('\n');
        }
        talk.over |= !talk.prompt;
        if talk.prompt && !talk.over {
            answer.push_str("> ");
        }
        let written = timeout(talk.patience, stream.write_all(answer.as_bytes())).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
    let _ = timeout(talk.patience, stream.shutdown()).await;
}

impl Conversation {
    /// The answer to a command, and what of the log follows it.
    async fn carry_out(&mut self, command: &str) -> (String, Option<Follow>) {
        let unescaped = words(command);
        let words: Vec<&str> = unescaped.iter().map(String::as_str).collect();
        let Some((command, arguments)) = commands::find(&words) else {
            return (commands::unknown(&words, self.level), None);
        };
        if command.level > self.level {
            return ("Permission denied\n".to_owned(), None);
        }
        let answer = match &command.run {
            Run::Events => return events::show(arguments),
            Run::Answer(run) => {
                let ask = Ask { answers: Arc::clone(&self.answers), status: self.answers.status().await };
                match ask.status {
                    Ok(_) => run(&ask, arguments),
                    Err(sentence) => format!("{sentence}\n"),
                }
            }
            Run::Tables(run) => run(&self.answers, arguments, self.level),
            Run::Sessions => sessions::show(&self.answers, arguments).await,
            Run::Conversation(talk) => self.talk(*talk, arguments),
            Run::Order(parse) => match parse(arguments) {
                Ok(task) => self.answers.carry_out(&task).await,
                Err(text) => text,
            },
        };
        (answer, None)
    }

    fn talk(&mut self, talk: Talk, arguments: &[&str]) -> String {
        match talk {
            Talk::Help => return commands::help(arguments, self.level),
            Talk::Quit => self.over = true,
            Talk::Prompt => self.prompt = !self.prompt,
            Talk::Lower(level) => self.level = self.level.min(level),
            Talk::Level => {
                let name = match self.level {
                    Level::User => "user",
                    Level::Operator => "operator",
                    Level::Admin => "admin",
                };
                return format!("{name}\n");
            }
            Talk::Timeout => match arguments {
                ["cli"] => return "Expects an integer value.\n".to_owned(),
                ["cli", delay, ..] => match seconds(delay) {
                    Some(patience) => self.patience = patience,
                    None => return "Invalid timeout value.\n".to_owned(),
                },
                _ => return "'set timeout' only supports 'cli'.\n".to_owned(),
            },
        }
        String::new()
    }
}

/// A delay of `set timeout cli`: seconds without a unit.
fn seconds(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let patience = Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(milliseconds)?);
    (!patience.is_zero() && patience <= LONGEST_TIMEOUT).then_some(patience)
}

/// The commands of a line, between semicolons that no backslash stands before.
fn split(line: &str) -> Vec<String> {
    let mut commands = vec![String::new()];
    let mut escaped = false;
    for character in line.chars() {
        if character == ';' && !escaped {
            commands.push(String::new());
        } else if let Some(command) = commands.last_mut() {
            command.push(character);
        }
        escaped = character == '\\' && !escaped;
    }
    commands
}

/// The words of a command; a backslash keeps the blank, semicolon or backslash that follows it.
fn words(command: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut within, mut escaped) = (false, false);
    for character in command.chars() {
        let blank = character.is_ascii_whitespace() && !escaped;
        if blank {
            within = false;
            continue;
        }
        if character == '\\' && !escaped {
            escaped = true;
            continue;
        }
        escaped = false;
        if !within {
            words.push(String::new());
            within = true;
        }
        if let Some(word) = words.last_mut() {
            word.push(character);
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_words_are_cut_where_haproxy_cuts_them() {
        assert_eq!(split("show stat;show info"), ["show stat", "show info"]);
        assert_eq!(split("a\\;b"), ["a\\;b"]);
        assert_eq!(words("  show\tstat  2 "), ["show", "stat", "2"]);
        assert_eq!(words("a\\ b \\;"), ["a b", ";"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn delays_are_seconds_without_a_unit() {
        assert_eq!(seconds("5"), Some(Duration::from_secs(5)));
        assert_eq!(seconds("2m"), Some(Duration::from_secs(120)));
        assert_eq!([seconds("0"), seconds("x"), seconds("99d"), seconds("")], [None; 4]);
    }
}
