//! The order of a start: read, plan, bind, take the sockets, make the engine, go.
//!
//! Owns `mainstay run`. Whatever fails before the engine exists ends the start with a sentence that names it, and has
//! changed nothing on this machine.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use mainstay_engine::config::diagnostic::Level;
use mainstay_engine::config::lower::haproxy::Additions;
use mainstay_engine::forwarding::KernelForwarding;
use mainstay_engine::peers::PeerOptions;
use mainstay_engine::serving::Serving;
use mainstay_engine::{Engine, Plan};
use tokio::runtime::{self, Runtime};

use crate::admin::server::AdminSocket;
use crate::checks::Checks;
use crate::cli::{Exit, PeerArgs, RunArgs, contents};
use crate::configuration::{Configuration, ConfigurationArgs, Purpose};
use crate::control::{Command, CommandBox, Control, Vrrp};
use crate::log::EventCounts;
use crate::mailbox::{Inbox, mailbox};
use crate::metrics::Exporter;
use crate::nat::flow_sync::FlowSync;
use crate::nat::{self, Nat};
use crate::net::{Network, Orders, Usher};
use crate::notify::Notifier;
use crate::peer_link::PeerLinks;
use crate::proxy::{Listeners, Proxy};
use crate::resolver::NameServers;
use crate::runtime_api::{self, Answers, Sockets};
use crate::scripts::{Probe, Scripts};
use crate::{clock, diagnostics, log, net, pages, resources, signals, tracked};

/// Threads for checks, scripts and operators. They wait nearly all the time.
const SERVICE_THREADS: usize = 2;

/// The name of the thread that owns the engine.
const CONTROL_THREAD: &str = "control";

/// Runs the daemon until it is asked to stop.
pub fn run(args: &RunArgs) -> Exit {
    signals::unblock();
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
    let (mut plan, additions) = read_plan(&args.configuration)?;
    plan.pools.iter_mut().for_each(|pool| pool.outage = args.outage.outage());
    let (plan, additions) = (Arc::new(plan), Arc::new(additions));
    resources::need_capabilities(&plan)?;
    resources::raise_descriptor_limit();
    // Before the threads: their stacks are then locked as they are used, not as a whole.
    let memory = resources::lock_memory();
    let socket = AdminSocket::bind(&args.socket.path)?;
    let stats_sockets = Sockets::bind(&plan.runtime_api)?;
    let exporter = args.metrics.map(Exporter::bind).transpose()?;
    let runtime = service_threads().map_err(|error| format!("cannot start threads: {error}"))?;
    let (mailbox, inbox) = mailbox().map_err(|error| format!("cannot make a mailbox: {error}"))?;
    let control = make_control(&plan, &args.peers, &runtime, &mailbox, inbox, memory)?;
    let answers = Answers::new(Arc::clone(&plan), control.proxy.clone(), mailbox.clone(), additions);
    let answers = Arc::new(answers);
    if let Some(visitors) = control.proxy.as_ref().and_then(|proxy| proxy.visitors()) {
        pages::serve(visitors, runtime.handle(), Arc::clone(&plan), Arc::clone(&answers));
    }
    let stats_files = runtime_api::serve(stats_sockets, runtime.handle(), &answers)
        .map_err(|error| format!("cannot answer on the stats sockets: {error}"))?;
    let socket = socket
        .serve(runtime.handle(), mailbox.clone())
        .map_err(|error| format!("cannot answer operators: {error}"))?;
    exporter
        .map_or(Ok(()), |exporter| exporter.serve(runtime.handle(), answers))
        .map_err(|error| format!("cannot answer with metrics: {error}"))?;
    signals::listen(runtime.handle(), mailbox, args.socket.path.clone())
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    summarize(&plan, args);
    run_control(control)?;
    drop((socket, stats_files));
    tracing::info!("stopped");
    // A tracked script or a check that still runs is of no interest any more.
    runtime.shutdown_background();
    Ok(())
}

/// Reads the configuration and says everything that is wrong with it.
fn read_plan(args: &ConfigurationArgs) -> Result<(Plan, Additions), String> {
    let Configuration { findings, plan, additions } = Configuration::read(args, Purpose::Run)?;
    for diagnostic in &findings.diagnostics {
        let line = diagnostics::short(&findings.sources, diagnostic);
        match diagnostic.level {
            Level::Error => tracing::error!("{line}"),
            Level::Warning => tracing::warn!("{line}"),
            Level::Note => tracing::debug!("{line}"),
        }
    }
    let plan =
        plan.ok_or("the configuration is not valid, and nothing was started; `mainstay check` shows where")?;
    if plan.frontends.is_empty() && plan.routers.is_empty() {
        return Err("there is nothing to do: the configuration has neither a frontend nor a virtual router"
            .to_owned());
    }
    Ok((plan, additions))
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
    peers: &PeerArgs,
    runtime: &Runtime,
    mailbox: &CommandBox,
    inbox: Inbox<Command>,
    memory: Result<(), String>,
) -> Result<Control, String> {
    let post = mailbox.clone();
    let report = move |server, attempt, verdict| {
        post.post(Command::CheckFinished { server, attempt, verdict });
    };
    let post = mailbox.clone();
    let answered = move |server, attempt, answer| {
        post.post(Command::AgentAnswered { server, attempt, answer });
    };
    let checks =
        Checks::new(runtime.handle().clone(), plan, report, answered).map_err(|error| error.to_string())?;
    let listeners = Listeners::bind(plan).map_err(|error| error.to_string())?;
    let now = clock::now();
    // Spreads checks; any number that differs between balancers will do.
    let seed = now.as_nanos() ^ u64::from(std::process::id()).rotate_left(32);
    let options = PeerOptions { link: !peers.no_peer_link, follow_health: !peers.no_health_priority };
    let engine = Engine::with_peers(Arc::clone(plan), options, seed, now);
    let linked = options.link && !plan.routers.is_empty();
    let forwarding = engine.forwarding().filter(|_| linked);
    let flows = forwarding.map(|forwarding| start_flow_sync(&forwarding, mailbox)).transpose()?;
    let peer_links = linked.then(|| make_peer_links(plan, runtime, peers, mailbox, flows.as_ref()));
    let start = || start_proxy(listeners, &engine, mailbox);
    let proxy = (!plan.frontends.is_empty()).then(start).transpose()?;
    let nat = engine.forwarding().map(|forwarding| start_nat(&forwarding, engine.serving(), mailbox));
    let nat = nat.transpose()?;
    let probe = proxy.as_ref().map(|proxy| probe(proxy, nat.as_ref()));
    let post = mailbox.clone();
    let report =
        Arc::new(move |script, run, outcome| post.post(Command::ScriptFinished { script, run, outcome }));
    let scripts = Scripts::new(runtime.handle().clone(), plan, probe.as_ref(), report)?;
    let vrrp =
        if plan.routers.is_empty() { None } else { Some(make_vrrp(plan, mailbox, flows.as_ref(), memory)?) };
    let post = mailbox.clone();
    let report = Arc::new(move |what, reason| post.post(Command::NotifyFailed { what, reason }));
    let notifier = Notifier::start(runtime.handle().clone(), plan, report)?;
    let post = mailbox.clone();
    let report: tracked::Report = Arc::new(move |finding| post.post(Command::Tracked(finding)));
    tracked::watch(runtime.handle(), plan, probe.as_ref(), &report);
    let post = mailbox.clone();
    let report = Arc::new(move |attempt, answer| post.post(Command::Resolved { attempt, answer }));
    let name_servers = NameServers::new(runtime.handle().clone(), plan, report);
    let waiting = BTreeMap::new();
    Ok(Control {
        engine,
        vrrp,
        nat,
        proxy,
        checks,
        inbox,
        scripts,
        name_servers,
        notifier,
        peer_links,
        waiting,
        last_ticket: 0,
        events: EventCounts::default(),
    })
}

fn start_proxy(listeners: Listeners, engine: &Engine, mailbox: &CommandBox) -> Result<Arc<Proxy>, String> {
    let started = Proxy::start(listeners, engine.serving());
    let proxy = Arc::new(started.map_err(|error| format!("cannot start the data plane: {error}"))?);
    let post = mailbox.clone();
    proxy.watch_errors(move |server| post.post(Command::ConnectionErrors { server }));
    Ok(proxy)
}

/// Whether the data plane serves, and the kernel forwards what is left to it.
fn probe(proxy: &Arc<Proxy>, nat: Option<&Nat>) -> Probe {
    let (proxy, forwards) = (Arc::clone(proxy), nat.map(Nat::probe));
    Arc::new(move || proxy.probe().and_then(|()| forwards.as_ref().map_or(Ok(()), |forwards| forwards())))
}

/// Has the kernel forward, before there is an address that packets could come to.
fn start_nat(
    forwarding: &KernelForwarding,
    serving: Arc<Serving>,
    mailbox: &CommandBox,
) -> Result<Nat, String> {
    nat::host::prepare(forwarding)?;
    let post = mailbox.clone();
    let nat = Nat::start(forwarding, serving, move |result| post.post(Command::Forwarded(result)))?;
    let endpoints: Vec<_> = forwarding.endpoints.iter().map(|own| own.address.to_string()).collect();
    tracing::info!("the kernel forwards connections to {}", endpoints.join(", "));
    Ok(nat)
}

fn make_peer_links(
    plan: &Plan,
    runtime: &Runtime,
    peers: &PeerArgs,
    mailbox: &CommandBox,
    flows: Option<&FlowSync>,
) -> PeerLinks {
    let (post, port) = (mailbox.clone(), peers.peer_link_port);
    let report = Arc::new(move |input| post.post(Command::Peer(input)));
    PeerLinks::new(runtime.handle().clone(), plan, port, report, flows.map(FlowSync::link_report))
}

/// Keeps the connections that the kernel forwards the same on all linked balancers.
fn start_flow_sync(forwarding: &KernelForwarding, mailbox: &CommandBox) -> Result<FlowSync, String> {
    let post = mailbox.clone();
    let endpoints = forwarding.endpoints.iter().map(|own| own.address);
    FlowSync::start(endpoints, move |input| post.post(Command::Peer(input)))
        .map_err(|error| format!("cannot ask the kernel about its connections: {error}"))
}

fn make_vrrp(
    plan: &Plan,
    mailbox: &CommandBox,
    flows: Option<&FlowSync>,
    memory: Result<(), String>,
) -> Result<Vrrp, String> {
    let network = Network::open(plan).map_err(|error| format!("cannot open a netlink socket: {error}"))?;
    let adverts = network.adverts();
    let (post, priority) = (mailbox.clone(), plan.realtime_priority);
    let usher = flows.map_or_else(|| Box::new(|_| ()) as Usher, FlowSync::usher);
    let orders = Orders::start(network, priority, usher, move |report| post.post(Command::Network(report)))
        .map_err(|error| format!("cannot start a thread: {error}"))?;
    Ok(Vrrp { adverts, orders, priority, memory })
}

/// Runs the control thread to its end. Its panic ends the process, as that of the threads that carry out its orders for
/// addresses and for the kernel: without them nobody renews the addresses, and a data plane that nobody watches should not
/// look alive.
fn run_control(control: Control) -> Result<(), String> {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let name = thread::current().name().map(ToOwned::to_owned).unwrap_or_default();
        if [CONTROL_THREAD, net::ORDERS_THREAD, nat::THREAD].contains(&name.as_str()) {
            // By the log, because standard error itself can make a thread wait for its reader.
            tracing::error!(
                "the {name} thread failed, which is a defect; the process ends so that a peer takes over: {panic}"
            );
            log::flush();
            std::process::abort();
        }
        say(panic);
    }));
    let thread = thread::Builder::new()
        .name(CONTROL_THREAD.to_owned())
        .spawn(move || control.run())
        .map_err(|error| format!("cannot start the control thread: {error}"))?;
    thread.join().map_err(|_| "the control thread failed".to_owned())
}

fn summarize(plan: &Plan, args: &RunArgs) {
    tracing::info!(
        "mainstay {} runs {}; `mainstay status{}` shows them",
        env!("CARGO_PKG_VERSION"),
        contents(plan),
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
