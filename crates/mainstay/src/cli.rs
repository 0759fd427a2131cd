//! The command line: subcommands, options and exit codes.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use mainstay_engine::admin::Status;
use mainstay_engine::config::diagnostic::Level;
use mainstay_engine::plan::{DeadServer, NoServer, Outage};
use mainstay_engine::{Engine, Plan};

use crate::admin::{self, client};
use crate::configuration::{self, Configuration, ConfigurationArgs, Findings, Purpose};
use crate::diagnostics::{self, Format};
use crate::log::LogFormat;
use crate::nat::host::Finding;
use crate::{boot, clock, lab, nat, peer_link, status};

/// Keeps a Kubernetes API endpoint up: TCP balancing, health checks and VRRP in one daemon.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXIT_CODES, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Shown below every help. The numbers are those of [`Exit`].
const EXIT_CODES: &str = "Exit codes:
  0  done; for `run`: stopped after handing over
  1  refused: configuration invalid, cannot start, daemon not reachable or refuses
  2  wrong usage
  3  `run` was asked to stop twice and exited without waiting for a successor";

/// What the process says when it ends. clap itself ends it with 2 for wrong usage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Configuration invalid, cannot start, daemon not reachable or refuses.
    Refused = 1,
    /// Stopped by a second signal, before anybody had taken over.
    Interrupted = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground
    Run(RunArgs),
    /// Read the configuration, say everything that is wrong with it, and change nothing
    Check(CheckArgs),
    /// Show who is active and why, and the state of every server
    Status(StatusArgs),
    /// Give the virtual addresses to a peer, without losing a connection attempt
    #[command(name = "handover", alias = "hand-over")]
    HandOver(SocketArgs),
    /// End a handover: take part with the configured priority again
    Resume(SocketArgs),
    /// Take a server out of service, put it back, or change its weight, until the daemon restarts
    Server(ServerArgs),
    /// Rehearse faults on a whole cluster in network namespaces on this machine
    Lab(lab::LabArgs),
    /// Print the version
    Version,
}

/// Options of `mainstay run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// What to run.
    #[command(flatten)]
    pub configuration: ConfigurationArgs,
    /// Where to answer operators.
    #[command(flatten)]
    pub socket: SocketArgs,
    /// How to tell other balancers of this one.
    #[command(flatten)]
    pub peers: PeerArgs,
    /// Answer with metrics for Prometheus on this address, at /metrics
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics: Option<SocketAddr>,
    /// What to do about servers that die and return.
    #[command(flatten)]
    pub outage: OutageArgs,
    /// How log lines on standard error look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub log_format: LogFormat,
}

/// Options about servers that die and return.
#[derive(Debug, Args)]
pub struct OutageArgs {
    /// What becomes of the connections of a server that answers no checks any more, while another one works
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub dead_server: DeadServerChoice,
    /// What becomes of new connections when no server is left
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    pub no_server: NoServerChoice,
    /// When a server has returned, close connections of the others until it has its share: so many in a second
    #[arg(long, value_name = "CONNECTIONS")]
    pub rebalance: Option<NonZeroU32>,
}

/// What becomes of the connections of a dead server.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum DeadServerChoice {
    /// Closed, 50 a second, and all within 10 s
    #[default]
    Close,
    /// Kept until one of the two ends closes them
    Keep,
}

/// What becomes of new connections when no server is left.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum NoServerChoice {
    /// Closed at once
    #[default]
    Refuse,
    /// Held until a server is back, or `timeout queue` is over
    Hold,
    /// Sent to servers that checks found dead, in turn
    TryAll,
}

impl OutageArgs {
    /// What they say, as a plan has it.
    pub fn outage(&self) -> Outage {
        Outage {
            dead_server: match self.dead_server {
                DeadServerChoice::Close => DeadServer::Close,
                DeadServerChoice::Keep => DeadServer::Keep,
            },
            no_server: match self.no_server {
                NoServerChoice::Refuse => NoServer::Refuse,
                NoServerChoice::Hold => NoServer::Hold,
                NoServerChoice::TryAll => NoServer::TryAll,
            },
            rebalance: self.rebalance,
        }
    }
}

/// Options about the other balancers of a group.
#[derive(Debug, Args)]
pub struct PeerArgs {
    /// TCP port for links to other mainstay balancers of the same group; the same on all of them
    #[arg(long, value_name = "PORT", default_value_t = peer_link::DEFAULT_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    pub peer_link_port: u16,
    /// Have no links to other balancers: a dead one is missed by its adverts only
    #[arg(long)]
    pub no_peer_link: bool,
    /// Keep the priority as it is, also when another balancer reaches servers that this one does not
    #[arg(long)]
    pub no_health_priority: bool,
}

/// Options of `mainstay check`.
#[derive(Debug, Args)]
struct CheckArgs {
    #[command(flatten)]
    configuration: ConfigurationArgs,
    /// Each --keepalived-conf is another balancer's: check whether they fit together
    #[arg(long)]
    compare: bool,
    /// Also look whether this machine can forward in the kernel, with --forwarding nat; said on standard error
    #[arg(long, conflicts_with = "compare")]
    host: bool,
    /// How findings look
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    format: Format,
}

/// Options of `mainstay status`.
#[derive(Debug, Args)]
struct StatusArgs {
    /// Print the status as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Options of `mainstay server`.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The server, with its pool: the sections and lines of haproxy.cfg
    #[arg(value_name = "POOL/SERVER")]
    server: String,
    /// What to do with it
    #[arg(value_enum)]
    action: ServerAction,
    /// For `weight`: 0 to 256, or a percentage of the configured one, such as 50%
    #[arg(value_name = "N", required_if_eq("action", "weight"))]
    value: Option<String>,
    #[command(flatten)]
    socket: SocketArgs,
}

/// What can be done with a server.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ServerAction {
    /// In service: it takes connections if it works
    Ready,
    /// No new connections; those it has stay, and checks go on
    Drain,
    /// No new connections and no checks; those it has stay
    Maint,
    /// Another share of new connections
    Weight,
}

/// Where the daemon's admin socket is.
#[derive(Debug, Args)]
pub struct SocketArgs {
    /// The daemon's admin socket
    #[arg(long = "socket", value_name = "PATH", default_value = admin::DEFAULT_SOCKET)]
    pub path: PathBuf,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => boot::run(&args).into(),
        Command::Check(args) => check(&args).into(),
        Command::Status(args) => show_status(&args).into(),
        Command::HandOver(socket) => order(&socket, "hand-over").into(),
        Command::Resume(socket) => order(&socket, "resume").into(),
        Command::Server(args) => change_server(&args).into(),
        Command::Lab(args) => lab::main(args),
        Command::Version => {
            print(&format!("mainstay {}\n", env!("CARGO_PKG_VERSION")));
            Exit::Success.into()
        }
    }
}

fn check(args: &CheckArgs) -> Exit {
    if args.compare {
        return compare(args);
    }
    let Configuration { findings, plan, .. } = match Configuration::read(&args.configuration, Purpose::Check)
    {
        Ok(configuration) => configuration,
        Err(sentence) => return refuse(&sentence),
    };
    let found = counts(&findings);
    let exit = show(
        &findings,
        args.format,
        &match &plan {
            None => format!("The configuration is not valid{found}.\n"),
            Some(plan) => format!("The configuration is valid{found}: {}.\n", contents(plan)),
        },
    );
    match plan {
        Some(plan) if args.host => check_host(plan),
        _ => exit,
    }
}

/// Says what this machine lacks for what the kernel is to forward.
fn check_host(plan: Plan) -> Exit {
    // What the kernel would be given if all servers worked.
    let engine = Engine::new(Arc::new(plan), 0, clock::now());
    let say = |text: &str| drop(io::stderr().write_all(text.as_bytes()));
    let Some(forwarding) = engine.forwarding() else {
        say("Nothing is left to the kernel of this machine; `--forwarding nat` asks for it.\n");
        return Exit::Success;
    };
    let lacks = nat::host::inspect(&forwarding);
    for Finding { sentence, remedy, refused } in &lacks {
        let level = if *refused { "error" } else { "warning" };
        say(&format!("{level}: {sentence}\n  to mend it, {remedy}\n"));
    }
    let refused = lacks.iter().any(|finding| finding.refused);
    say(match (refused, lacks.is_empty()) {
        (true, _) => "This machine cannot forward in the kernel.\n",
        (false, true) => "This machine can forward in the kernel.\n",
        (false, false) => "This machine can forward in the kernel, with warnings.\n",
    });
    if refused { Exit::Refused } else { Exit::Success }
}

/// Checks the files of several balancers.
fn compare(args: &CheckArgs) -> Exit {
    let balancers = args.configuration.keepalived_conf.len();
    if balancers < 2 {
        let sentence = "--compare needs the --keepalived-conf of two balancers or more";
        Cli::command().error(ErrorKind::TooFewValues, sentence).exit();
    }
    let findings = match configuration::compare(&args.configuration) {
        Ok(findings) => findings,
        Err(sentence) => return refuse(&sentence),
    };
    let (verdict, found) = (if findings.valid() { "valid" } else { "not valid" }, counts(&findings));
    show(
        &findings,
        args.format,
        &format!("The configurations of {balancers} balancers are {verdict}{found}.\n"),
    )
}

/// Prints all findings and, for people, the `verdict`.
fn show(findings: &Findings, format: Format, verdict: &str) -> Exit {
    print(&diagnostics::render(findings, format, wants_colour()));
    if format != Format::Json {
        print(verdict);
    }
    if findings.valid() { Exit::Success } else { Exit::Refused }
}

/// How much was found, for the last line; empty if nothing was.
fn counts(findings: &Findings) -> String {
    let count = |level| {
        let count = findings.count(level);
        (count > 0).then(|| plural(count, diagnostics::word(level)))
    };
    let found: Vec<_> = [Level::Error, Level::Warning, Level::Note].into_iter().filter_map(count).collect();
    if found.is_empty() { String::new() } else { format!(" ({})", found.join(", ")) }
}

/// What a plan holds, in a few words.
pub fn contents(plan: &Plan) -> String {
    [
        plural(plan.frontends.len(), "frontend"),
        plural(plan.servers().count(), "server"),
        plural(plan.routers.len(), "virtual router"),
    ]
    .join(", ")
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn show_status(args: &StatusArgs) -> Exit {
    let answer = match client::ask(&args.socket.path, "status") {
        Ok(answer) => answer,
        Err(sentence) => return refuse(&sentence),
    };
    let status: Status = match serde_json::from_str(&answer) {
        Ok(status) => status,
        // An error of the daemon, or one that speaks another version.
        Err(_) => return refuse(&format!("the daemon answered: {answer}")),
    };
    if args.json {
        print(&format!("{answer}\n"));
    } else {
        print(&status::render(&status, wants_colour()));
    }
    Exit::Success
}

fn change_server(args: &ServerArgs) -> Exit {
    let action = args.action.to_possible_value();
    let action = action.as_ref().map_or("", |action| action.get_name());
    let value = args.value.as_deref().unwrap_or_default();
    order(&args.socket, &format!("server {} {action} {value}", args.server))
}

/// Sends a command whose answer is yes or no.
fn order(socket: &SocketArgs, command: &str) -> Exit {
    let answer = match client::ask(&socket.path, command) {
        Ok(answer) => answer,
        Err(sentence) => return refuse(&sentence),
    };
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
    if answer["done"] == true {
        return Exit::Success;
    }
    let reason = answer["refused"].as_str().or(answer["error"].as_str());
    refuse(reason.unwrap_or("the daemon gave an answer that this version does not understand"))
}

/// Standard output is a terminal whose user did not object (<https://no-color.org>).
fn wants_colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

fn refuse(sentence: &str) -> Exit {
    let _ = writeln!(io::stderr(), "error: {sentence}");
    Exit::Refused
}

/// Like `print!`, but a reader that has gone (`| head`) is no panic.
fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        for exit in [Exit::Success, Exit::Refused, Exit::Interrupted] {
            assert!(EXIT_CODES.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }
}
