//! The command of a `vrrp_script`, and of everything else that is run.
//!
//! Owns how it is split, which is Keepalived's way and not a shell's, and which commands mean mainstay itself.

use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::{Word, codes, unescape};
use crate::plan::ScriptCommand;

/// Makes a command of the value of `script`; `None` if there is nothing to run.
pub(super) fn lower_command(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<ScriptCommand> {
    let arguments = split_or_report(word, diagnostics)?;
    if asks_for_haproxy(&arguments) {
        diagnostics.push(
            Diagnostic::note(
                codes::DATA_PLANE,
                word.span,
                format!(
                    "`{}` asks whether mainstay's own data plane serves; without a frontend it has none, and runs this",
                    word.text
                ),
            )
            .label("looks for a process named haproxy"),
        );
        return Some(ScriptCommand::DataPlaneServes { written: word.text.clone() });
    }
    report_shell_syntax(word, &arguments, diagnostics);
    let program = arguments.first().map_or("", String::as_str);
    let is_own_script = arguments.len() == 1 && program.starts_with('/');
    if !is_own_script && arguments.iter().any(|argument| argument.contains("haproxy")) {
        diagnostics.push(
            Diagnostic::warning(
                codes::LOOKS_FOR_HAPROXY,
                word.span,
                "this command mentions HAProxy, which does not run here; it is run as it is and may always fail",
            )
            .hint("`script \"pgrep haproxy\"` asks whether mainstay's own data plane serves"),
        );
    }
    Some(ScriptCommand::Execute { arguments })
}

/// Makes program and arguments of what is to be run; `None` if that is nothing.
pub(super) fn lower_arguments(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let arguments = split_or_report(word, diagnostics)?;
    report_shell_syntax(word, &arguments, diagnostics);
    Some(arguments)
}

/// The words of a command, of which there is at least one.
fn split_or_report(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let Some(arguments) = split(&word.text) else {
        diagnostics.push(
            Diagnostic::error(
                codes::UNCLOSED_QUOTE,
                word.span,
                "a quoted argument of this command does not end",
            )
            .hint("close the `'`, or write `\\\\'` for the character itself"),
        );
        return None;
    };
    if arguments.is_empty() {
        diagnostics.push(
            Diagnostic::error(codes::MISSING, word.span, "this command is empty")
                .label("a program was expected"),
        );
        return None;
    }
    Some(arguments)
}

/// The words of a command: blanks separate them, quotes hold them together, a backslash starts an escape. `None` if a
/// quote is not closed.
fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let mut length = next.len_utf8();
        match next {
            '\\' => {
                let (meant, used) = unescape(rest);
                word.get_or_insert_default().extend(meant);
                length = used;
            }
            _ if quote == Some(next) => quote = None,
            '\'' | '"' if quote.is_none() => {
                quote = Some(next);
                word.get_or_insert_default();
            }
            _ if quote.is_none() && next.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(next),
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// Whether a command asks if a process called `haproxy` exists, and does nothing else.
fn asks_for_haproxy(arguments: &[String]) -> bool {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some((program, rest)) = words.split_first() else { return false };
    match (file_name(program), rest) {
        ("sh" | "bash" | "dash", ["-c", command]) => split(command).is_some_and(|inner| {
            !matches!(inner.first().map(|word| file_name(word)), Some("sh" | "bash" | "dash"))
                && asks_for_haproxy(&inner)
        }),
        ("pgrep", [flags @ .., "haproxy"]) => flags.iter().all(|flag| PGREP_FLAGS.contains(flag)),
        ("pidof", [flags @ .., "haproxy"]) => flags.iter().all(|flag| PIDOF_FLAGS.contains(flag)),
        ("killall" | "pkill", [flags @ .., "haproxy"]) => only_asks(flags),
        _ => false,
    }
}

fn file_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

/// Flags that change what `pgrep` prints or how it compares, but not what it is asked here.
const PGREP_FLAGS: [&str; 12] =
    ["-x", "--exact", "-f", "--full", "-c", "--count", "-l", "--list-name", "-a", "-o", "-n", "-i"];

/// The same for `pidof`.
const PIDOF_FLAGS: [&str; 4] = ["-s", "-x", "-c", "-q"];

/// Whether the flags of `killall` or `pkill` make it send signal 0, which only asks.
fn only_asks(flags: &[&str]) -> bool {
    let mut signal_zero = false;
    let mut rest = flags;
    while let Some((flag, after)) = rest.split_first() {
        rest = after;
        match *flag {
            "-0" | "-s0" | "--signal=0" => signal_zero = true,
            "-s" | "--signal" => {
                let Some((&"0", after)) = rest.split_first() else { return false };
                signal_zero = true;
                rest = after;
            }
            "-e" | "--exact" | "-q" | "--quiet" | "-v" | "--verbose" | "-x" | "-f" => {}
            _ => return false,
        }
    }
    signal_zero
}

/// Names what a shell would have understood in a command that no shell reads.
fn report_shell_syntax(word: &Word, arguments: &[String], diagnostics: &mut Vec<Diagnostic>) {
    let program = arguments.first().map_or("", String::as_str);
    if matches!(file_name(program), "sh" | "bash" | "dash" | "ash" | "zsh") {
        return;
    }
    let shell = |argument: &&String| {
        SHELL_WORDS.contains(&argument.as_str())
            || SHELL_STARTS.iter().any(|start| argument.starts_with(start))
            || argument.contains("$(")
            || argument.contains('`')
            || (argument.ends_with(';') && !argument.ends_with("\\;"))
    };
    if let Some(argument) = arguments.iter().find(shell) {
        diagnostics.push(
            Diagnostic::warning(
                codes::SHELL_SYNTAX,
                word.span,
                format!("no shell reads this command: `{argument}` is passed on as it is, as in Keepalived"),
            )
            .hint("use `sh -c '...'`, or put the command in a script of its own"),
        );
    }
}

const SHELL_WORDS: [&str; 7] = ["|", "||", "&&", "&", ";", ">", "<"];
const SHELL_STARTS: [&str; 7] = [">/", ">>", "1>", "2>", "&>", "</", "<<"];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split(text).unwrap_or_default()
    }

    #[test]
    fn a_command_splits_as_in_keepalived() {
        assert_eq!(words("/bin/sh -c 'exit 0'"), ["/bin/sh", "-c", "exit 0"]);
        assert_eq!(words("x'y z'w \"q r\" # end"), ["xy zw", "q r", "#", "end"]);
        assert_eq!(words(r"a\ b \x41 ''"), ["a b", "A", ""]);
        assert_eq!(split("it's"), None);
    }

    #[test]
    fn questions_for_haproxy_are_known_in_all_their_forms() {
        let asks = |text: &str| asks_for_haproxy(&words(text));
        for question in [
            "pgrep haproxy",
            "/usr/bin/pgrep -x haproxy",
            "pidof haproxy",
            "/bin/pidof -s haproxy",
            "killall -0 haproxy",
            "/usr/bin/killall -s 0 haproxy",
            "killall -q -0 haproxy",
            "pkill -0 haproxy",
            "pkill -0 -x haproxy",
            "/bin/sh -c 'killall -0 haproxy'",
        ] {
            assert!(asks(question), "{question}");
        }
        for other in [
            "killall haproxy",
            "killall -9 haproxy",
            "pkill -x haproxy",
            "pgrep -v haproxy",
            "pgrep nginx",
            "killall -0 haproxy nginx",
            "sh -c 'sh -c \"pgrep haproxy\"'",
            "pgrep",
        ] {
            assert!(!asks(other), "{other}");
        }
    }
}
