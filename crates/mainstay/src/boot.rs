//! The order of a start: read, plan, bind, take the sockets, make the engine, go.
//!
//! Owns `mainstay run`. Whatever fails before the engine exists ends the start with a sentence that names it, and has
//! changed nothing on this machine.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, thread};

use mainstay_engine::config::source::Sources;
use mainstay_engine::config::{self, Surroundings};
use mainstay_engine::{Engine, Plan};
use tokio::runtime::{self, Runtime};

use crate::admin::server::AdminSocket;
use crate::cli::{Exit, RunArgs};
use crate::control::{self, Command, Control, Inbox, Mailbox};
use crate::net::Network;
use crate::scripts::{Probe, Scripts};
use crate::{clock, log, resources, signals};

/// Read when no file is given, where they exist.
const DEFAULT_HAPROXY_CFG: &str = "/etc/haproxy/haproxy.cfg";
const DEFAULT_KEEPALIVED_CONF: &str = "/etc/keepalived/keepalived.conf";

/// Threads for checks, scripts and operators. They wait nearly all the time.
const SERVICE_THREADS: usize = 2;

/// The name of the thread whose panic ends the process.
const CONTROL_THREAD: &str = "control";

/// Runs the daemon until it is asked to stop.
pub fn run(args: &RunArgs) -> Exit {
    let log = match log::start(args.log_format) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: cannot start the log: {error}");
            return Exit::Refused;
        }
    };
    let exit = match start(args) {
        Ok(()) => Exit::Success,
        Err(sentence) => {
            tracing::error!("{sentence}");
            Exit::Refused
        }
    };
    drop(log);
    exit
}

fn start(args: &RunArgs) -> Result<(), String> {
    let plan = Arc::new(read_plan(args)?);
    resources::need_capabilities(&plan)?;
    resources::raise_descriptor_limit();
    // Before the threads: their stacks are then locked as they are used, not as a whole.
    resources::lock_memory();
    let socket = AdminSocket::bind(&args.socket.path)?;
    let runtime = service_threads().map_err(|error| format!("cannot start threads: {error}"))?;
    let (mailbox, inbox) = control::mailbox().map_err(|error| format!("cannot make a mailbox: {error}"))?;
    let control = make_control(&plan, &runtime, &mailbox, inbox)?;
    let socket = socket
        .serve(runtime.handle(), mailbox.clone())
        .map_err(|error| format!("cannot answer operators: {error}"))?;
    signals::listen(runtime.handle(), mailbox, args.socket.path.clone())
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    summarize(&plan, args);
    run_control(control)?;
    drop(socket);
    tracing::info!("stopped");
    // A script or a check that still runs is of no interest any more.
    runtime.shutdown_background();
    Ok(())
}

/// Reads the configuration and says everything that is wrong with it.
fn read_plan(args: &RunArgs) -> Result<Plan, String> {
    let (haproxy, keepalived) = files(args)?;
    let mut sources = Sources::default();
    let mut read = |paths: &[PathBuf]| -> Result<Vec<_>, String> {
        let texts = paths.iter().map(|path| {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            Ok(sources.add(path.display().to_string(), text))
        });
        texts.collect()
    };
    let (haproxy, keepalived) = (read(&haproxy)?, read(&keepalived)?);
    let surroundings =
        Surroundings { variable: &|name| std::env::var(name).ok(), resolve: &|_| Ok(Vec::new()) };
    let (plan, _diagnostics) = config::load(&sources, &haproxy, &keepalived, &surroundings);
    plan.ok_or_else(|| "the configuration is not valid".to_owned())
}

/// The files to read: those given, or else the usual ones that exist.
fn files(args: &RunArgs) -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
    if !args.haproxy_cfg.is_empty() || args.keepalived_conf.is_some() {
        return Ok((args.haproxy_cfg.clone(), args.keepalived_conf.iter().cloned().collect()));
    }
    let usual = |path: &str| -> Vec<PathBuf> {
        Some(PathBuf::from(path)).filter(|path| path.exists()).into_iter().collect()
    };
    let (haproxy, keepalived) = (usual(DEFAULT_HAPROXY_CFG), usual(DEFAULT_KEEPALIVED_CONF));
    if haproxy.is_empty() && keepalived.is_empty() {
        return Err(format!(
            "nothing to run: neither {DEFAULT_HAPROXY_CFG} nor {DEFAULT_KEEPALIVED_CONF} exists; \
             name files with --haproxy-cfg and --keepalived-conf"
        ));
    }
    Ok((haproxy, keepalived))
}

fn service_threads() -> io::Result<Runtime> {
    runtime::Builder::new_multi_thread()
        .worker_threads(SERVICE_THREADS)
        .thread_name("services")
        .enable_all()
        .build()
}

fn make_control(
    plan: &Arc<Plan>,
    runtime: &Runtime,
    mailbox: &Mailbox,
    inbox: Inbox,
) -> Result<Control, String> {
    let network = if plan.routers.is_empty() {
        None
    } else {
        Some(Network::open(plan).map_err(|error| format!("cannot open a netlink socket: {error}"))?)
    };
    let probe: Probe = Arc::new(|| Ok(()));
    let post = mailbox.clone();
    let report =
        Arc::new(move |script, run, outcome| post.post(Command::ScriptFinished { script, run, outcome }));
    let scripts = Scripts::new(runtime.handle().clone(), plan, &probe, report)?;
    let now = clock::now();
    // Spreads checks; any number that differs between balancers will do.
    let seed = now.as_nanos() ^ u64::from(std::process::id()).rotate_left(32);
    let engine = Engine::new(Arc::clone(plan), seed, now);
    Ok(Control { engine, network, inbox, scripts, waiting: BTreeMap::new(), last_ticket: 0 })
}

/// Runs the control thread to its end. Its panic ends the process: without it nobody renews the addresses, and a data
/// plane that nobody watches should not look alive.
fn run_control(control: Control) -> Result<(), String> {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        if thread::current().name() == Some(CONTROL_THREAD) {
            eprintln!(
                "mainstay: the control thread failed, which is a defect; the process ends so that a peer takes over"
            );
            std::process::abort();
        }
    }));
    let thread = thread::Builder::new()
        .name(CONTROL_THREAD.to_owned())
        .spawn(move || control.run())
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    thread.join().map_err(|_| "the control thread failed".to_owned())
}

fn summarize(plan: &Plan, args: &RunArgs) {
    let servers = plan.servers().count();
    tracing::info!(
        "mainstay {} runs: {} frontends, {} pools with {servers} servers, {} virtual routers; `mainstay status{}` shows them",
        env!("CARGO_PKG_VERSION"),
        plan.frontends.len(),
        plan.pools.len(),
        plan.routers.len(),
        socket_option(&args.socket.path),
    );
}

fn socket_option(path: &Path) -> String {
    if path == Path::new(crate::admin::DEFAULT_SOCKET) {
        String::new()
    } else {
        format!(" --socket {}", path.display())
    }
}
