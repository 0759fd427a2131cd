//! What can be asked on HAProxy's sockets.
//!
//! Owns [`COMMANDS`], the one table that finds, permits and explains them, and the answers about commands themselves.

use mainstay_engine::plan::Level;

use super::orders::{self, Task};
use super::servers;
use super::show;
use super::tables;
use super::{Answers, Ask};

/// A command.
pub(super) struct Command {
    /// The words it starts with.
    pub(super) name: &'static str,
    /// Who may give it.
    pub(super) level: Level,
    /// What `help` says: how it is written, and what it does. Empty for one that is only another spelling.
    pub(super) usage: (&'static str, &'static str),
    /// Carries it out. The arguments follow the name.
    pub(super) run: Run,
}

/// How a command is carried out.
pub(super) enum Run {
    /// Of the conversation itself.
    Conversation(Talk),
    /// Answered from what is known.
    Answer(fn(&Ask, &[&str]) -> String),
    /// Answered from stick tables; how much is permitted decides what is shown.
    Tables(fn(&Answers, &[&str], Level) -> String),
    /// Answered by the threads that serve sessions.
    Sessions,
    /// Answered from the log, as long as the other end wants to hear it.
    Events,
    /// Changes something; the error is the answer to what was not understood.
    Order(fn(&[&str]) -> Result<Task, String>),
}

/// What a command changes about the conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Talk {
    /// Show the commands.
    Help,
    /// End it.
    Quit,
    /// Begin or end to show a prompt.
    Prompt,
    /// Do with less.
    Lower(Level),
    /// Say how much is permitted.
    Level,
    /// Wait longer, or less long, for the next command.
    Timeout,
}

const fn answer(
    name: &'static str,
    level: Level,
    usage: (&'static str, &'static str),
    run: fn(&Ask, &[&str]) -> String,
) -> Command {
    Command { name, level, usage, run: Run::Answer(run) }
}

const fn order(
    name: &'static str,
    usage: (&'static str, &'static str),
    parse: fn(&[&str]) -> Result<Task, String>,
) -> Command {
    Command { name, level: Level::Admin, usage, run: Run::Order(parse) }
}

const fn talk(name: &'static str, usage: (&'static str, &'static str), talk: Talk) -> Command {
    Command { name, level: Level::User, usage, run: Run::Conversation(talk) }
}

/// Every command, in the order of `help`.
pub(super) static COMMANDS: &[Command] = &[
    order("add server", ("add server <bk>/<srv>", "create a new server"), orders::parse::add_server),
    Command {
        level: Level::Operator,
        ..order(
            "clear counters",
            ("clear counters [all]", "clear max statistics counters (or all counters)"),
            orders::parse::clear_maxima,
        )
    },
    order("clear counters all", ("", ""), orders::parse::clear_all_counters),
    Command {
        name: "clear table",
        level: Level::Admin,
        usage: ("clear table <table> [<filter>]*", "remove an entry from a table (filter: data/key)"),
        run: Run::Tables(|answers, arguments, _| tables::clear(answers, arguments)),
    },
    order(
        "del server",
        ("del server <bk>/<srv>", "remove a dynamically added server"),
        orders::parse::remove_server,
    ),
    order(
        "disable agent",
        ("disable agent <bk>/<srv>", "disable agent checks"),
        orders::parse::disable_agent,
    ),
    order(
        "disable frontend",
        ("disable frontend <frontend>", "temporarily disable specific frontend"),
        orders::parse::disable_frontend,
    ),
    order(
        "disable health",
        ("disable health <bk>/<srv>", "disable health checks"),
        orders::parse::disable_health,
    ),
    order(
        "disable server",
        ("disable server <bk>/<srv>", "disable a server for maintenance (use 'set server' instead)"),
        orders::parse::disable_server,
    ),
    order("enable agent", ("enable agent <bk>/<srv>", "enable agent checks"), orders::parse::enable_agent),
    order(
        "enable frontend",
        ("enable frontend <frontend>", "re-enable specific frontend"),
        orders::parse::enable_frontend,
    ),
    order(
        "enable health",
        ("enable health <bk>/<srv>", "enable health checks"),
        orders::parse::enable_health,
    ),
    order(
        "enable server",
        ("enable server <bk>/<srv>", "enable a disabled server (use 'set server' instead)"),
        orders::parse::enable_server,
    ),
    Command {
        level: Level::User,
        ..order(
            "get weight",
            ("get weight <bk>/<srv>", "report a server's current weight"),
            orders::parse::get_weight,
        )
    },
    talk(
        "operator",
        ("operator", "lower the level of the current CLI session to operator"),
        Talk::Lower(Level::Operator),
    ),
    order(
        "set maxconn frontend",
        ("set maxconn frontend <frontend> <value>", "change a frontend's maxconn setting"),
        orders::parse::set_maxconn_frontend,
    ),
    order(
        "set maxconn global",
        ("set maxconn global <value>", "change the per-process maxconn setting"),
        orders::parse::set_maxconn_global,
    ),
    order(
        "set maxconn server",
        ("set maxconn server <bk>/<srv>", "change a server's maxconn setting"),
        orders::parse::set_maxconn_server,
    ),
    order(
        "set rate-limit",
        ("set rate-limit <setting> <value>", "change a rate limiting value"),
        orders::parse::set_rate_limit,
    ),
    order(
        "set server",
        ("set server <bk>/<srv> [opts]", "change a server's state, weight, address or ssl"),
        orders::parse::set_server,
    ),
    talk("set timeout", ("set timeout [cli] <delay>", "change a timeout setting"), Talk::Timeout),
    Command {
        name: "set table",
        level: Level::Admin,
        usage: ("set table <table> key <k> [data.* <v>]*", "update or create a table entry's data"),
        run: Run::Tables(|answers, arguments, _| tables::set(answers, arguments)),
    },
    order(
        "set weight",
        ("set weight <bk>/<srv>", "change a server's weight (use 'set server' instead)"),
        orders::parse::set_weight,
    ),
    answer(
        "show backend",
        Level::User,
        ("show backend", "list backends in the current running config"),
        servers::backends,
    ),
    talk("show cli level", ("show cli level", "display the level of the current CLI session"), Talk::Level),
    answer(
        "show cli sockets",
        Level::Operator,
        ("show cli sockets", "dump list of cli sockets"),
        show::sockets,
    ),
    answer(
        "show env",
        Level::Operator,
        ("show env [var]", "dump environment variables known to the process"),
        show::environment,
    ),
    answer(
        "show errors",
        Level::Operator,
        (
            "show errors [<px>] [request|response]",
            "report last request and/or response errors for each proxy",
        ),
        show::errors,
    ),
    Command {
        name: "show events",
        level: Level::Operator,
        usage: ("show events [<sink>] [-w] [-n]", "show event sink state"),
        run: Run::Events,
    },
    answer(
        "show info",
        Level::User,
        ("show info [desc|json|typed]*", "report information about the running process"),
        show::info,
    ),
    answer(
        "show servers conn",
        Level::Operator,
        ("show servers conn [<backend>]", "dump server connections status (all or for a single backend)"),
        servers::connections,
    ),
    answer(
        "show servers state",
        Level::Operator,
        ("show servers state [<backend>]", "dump volatile server information (all or for a single backend)"),
        servers::states,
    ),
    Command {
        name: "show sess",
        level: Level::Operator,
        usage: ("show sess [id]", "report the list of current sessions or dump this exact session"),
        run: Run::Sessions,
    },
    answer(
        "show stat",
        Level::User,
        ("show stat [desc|json|no-maint|typed|up]*", "report counters for each proxy and server"),
        show::statistics,
    ),
    Command {
        name: "show table",
        level: Level::User,
        usage: (
            "show table <table> [<filter>]*",
            "report table usage stats or dump this table's contents (filter: data/key)",
        ),
        run: Run::Tables(tables::show),
    },
    answer(
        "show version",
        Level::User,
        ("show version", "show version of the current process"),
        show::version,
    ),
    order(
        "shutdown frontend",
        ("shutdown frontend <frontend>", "stop a specific frontend"),
        orders::parse::shutdown_frontend,
    ),
    order(
        "shutdown session",
        ("shutdown session [id]", "kill a specific session"),
        orders::parse::shutdown_session,
    ),
    order(
        "shutdown sessions server",
        ("shutdown sessions server <bk>/<srv>", "kill sessions on a server"),
        orders::parse::shutdown_sessions,
    ),
    talk("user", ("user", "lower the level of the current CLI session to user"), Talk::Lower(Level::User)),
    talk("help", ("help [<command>]", "list matching or all commands"), Talk::Help),
    talk("prompt", ("prompt", "toggle interactive mode with prompt"), Talk::Prompt),
    talk("quit", ("quit", "disconnect"), Talk::Quit),
];

/// The command that `words` start with, and what follows its name. Of two that fit, the longer name is meant.
pub(super) fn find<'a, 'w>(words: &'a [&'w str]) -> Option<(&'static Command, &'a [&'w str])> {
    let fits = |command: &&Command| {
        let mut name = command.name.split(' ');
        let mut given = words.iter();
        name.all(|word| given.next().is_some_and(|given| *given == word))
    };
    let command = COMMANDS.iter().filter(fits).max_by_key(|command| command.name.len())?;
    words.get(command.name.split(' ').count()..).map(|arguments| (command, arguments))
}

/// The answer to `help`, of commands that start with `words` if there are any.
pub(super) fn help(words: &[&str], level: Level) -> String {
    let wanted = words.join(" ");
    let matching: Vec<_> = permitted(level).filter(|command| command.name.starts_with(&wanted)).collect();
    if wanted.is_empty() || matching.is_empty() {
        return list("The following commands are valid at this level:", permitted(level));
    }
    list("The following commands are valid at this level:", with_the_last_ones(matching.into_iter()))
}

/// The answer to what is no command.
pub(super) fn unknown(words: &[&str], level: Level) -> String {
    let given = words.join(" ");
    let like = |command: &&Command| {
        let first = words.first().is_some_and(|word| command.name.split(' ').next() == Some(word));
        first || strsim::jaro_winkler(command.name, &given) > LIKE_ENOUGH
    };
    let mut matching: Vec<_> = permitted(level).filter(like).collect();
    if given.is_empty() || matching.is_empty() {
        return list("Unknown command. Please enter one of the following commands only:", permitted(level));
    }
    matching.sort_by(|one, other| {
        let likeness = |command: &Command| strsim::jaro_winkler(command.name, &given);
        likeness(other).total_cmp(&likeness(one))
    });
    list(
        "Unknown command, but maybe one of the following ones is a better match:",
        with_the_last_ones(matching.into_iter().take(MATCHES)),
    )
}

/// Below this, suggestions are noise.
const LIKE_ENOUGH: f64 = 0.8;

/// Suggestions for what is no command.
const MATCHES: usize = 5;

/// These are always offered.
const LAST_ONES: [&str; 3] = ["help", "prompt", "quit"];

fn with_the_last_ones(
    commands: impl Iterator<Item = &'static Command>,
) -> impl Iterator<Item = &'static Command> {
    let last = |command: &&Command| LAST_ONES.contains(&command.name);
    commands.filter(move |command| !last(command)).chain(COMMANDS.iter().filter(last))
}

fn permitted(level: Level) -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(move |command| command.level <= level)
}

fn list(heading: &str, commands: impl Iterator<Item = &'static Command>) -> String {
    let lines = commands.filter(|command| !command.usage.0.is_empty());
    let lines: String =
        lines.map(|Command { usage: (usage, meaning), .. }| format!("  {usage:<40}: {meaning}\n")).collect();
    format!("{heading}\n{lines}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_is_meant() {
        let name = |words: &[&str]| find(words).map(|(command, rest)| (command.name, rest.len()));
        assert_eq!(name(&["show", "stat", "2", "1", "-1"]), Some(("show stat", 3)));
        assert_eq!(name(&["show", "cli", "level"]), Some(("show cli level", 0)));
        assert_eq!(name(&["show"]), None);
        assert_eq!(name(&["shutdown"]), None);
        assert_eq!(name(&["shutdown", "sessions", "b/s"]), None);
        assert_eq!(name(&["clear", "counters", "all"]), Some(("clear counters all", 0)));
    }

    #[test]
    fn names_are_unique_and_what_is_offered_is_permitted() {
        for command in COMMANDS {
            assert_eq!(COMMANDS.iter().filter(|other| other.name == command.name).count(), 1);
        }
        assert!(!help(&[], Level::User).contains("show env"));
        assert!(help(&[], Level::Operator).contains("show env"));
        assert!(unknown(&["shwo", "stat"], Level::User).contains("show stat"));
        assert!(unknown(&["shwo", "stat"], Level::User).contains("better match"));
        assert!(unknown(&[""], Level::User).starts_with("Unknown command. Please"));
    }
}
