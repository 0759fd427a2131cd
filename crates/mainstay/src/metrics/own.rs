//! Metrics under our own names: what HAProxy has no number for, virtual routers before all.

use mainstay_engine::admin::{PoolStatus, RouterStatus, ServerStatus, Status, TimingStatus};

use crate::proxy::ProxyLoad;

use super::exposition::{Exposition, Kind, Labels, Number};

/// The states that routers and groups can be in, as `status` spells them.
const STATES: [&str; 6] = ["active", "backup", "fault", "handing over", "initialize", "stopped"];

/// A state that only groups know: their routers differ.
const MOVING: &str = "moving";

/// Everything of `status` and `load` that has one of our names.
pub(super) fn write(text: &mut Exposition, status: &Status, load: &ProxyLoad) {
    daemon(text, status);
    data_plane(text, load);
    routers(text, &status.routers);
    router_traffic(text, &status.routers);
    tracked(text, status);
    peers(text, status);
    pools(text, status);
}

fn daemon(text: &mut Exposition, status: &Status) {
    let alone = |number: Number| [(vec![], number)];
    text.family(
        "mainstay_build_info",
        Kind::Gauge,
        "1, with the version as a label.",
        [(vec![("version", status.version.as_str())], true)],
    );
    text.family(
        "mainstay_uptime_seconds",
        Kind::Gauge,
        "Since the daemon started.",
        alone(status.uptime.into()),
    );
    text.family(
        "mainstay_stopping",
        Kind::Gauge,
        "Whether it hands over in order to exit.",
        alone(status.stopping.into()),
    );
    let events = status.events.iter().map(|event| {
        (vec![("event", event.event.as_str()), ("severity", event.severity.as_str())], event.count)
    });
    text.family("mainstay_events_total", Kind::Counter, "Events, by the name they have in the log.", events);
    if let Some(forwarding) = &status.forwarding {
        text.family(
            "mainstay_kernel_forwarding_in_force",
            Kind::Gauge,
            "Whether the kernel forwards as it should.",
            alone(forwarding.failed.is_none().into()),
        );
    }
    let Some(TimingStatus { realtime_priority, memory_not_locked, latest, .. }) = &status.timing else {
        return;
    };
    text.family(
        "mainstay_realtime_scheduling",
        Kind::Gauge,
        "Whether the kernel runs what sends adverts before everything else.",
        alone(realtime_priority.is_some().into()),
    );
    text.family(
        "mainstay_memory_locked",
        Kind::Gauge,
        "Whether the process cannot be swapped out.",
        alone(memory_not_locked.is_none().into()),
    );
    text.family(
        "mainstay_timer_lateness_max_seconds",
        Kind::Gauge,
        "How late a timer of VRRP ever was.",
        alone((*latest).into()),
    );
}

fn data_plane(text: &mut Exposition, load: &ProxyLoad) {
    text.family(
        "mainstay_accept_pauses_total",
        Kind::Counter,
        "How often a worker accepted nothing for a moment, because the kernel had no descriptor or memory left.",
        [(vec![], load.accept_pauses)],
    );
    text.family(
        "mainstay_session_panics_total",
        Kind::Counter,
        "Connections that ended in a defect of mainstay.",
        [(vec![], load.panics)],
    );
}

fn labels(router: &RouterStatus) -> Labels<'_> {
    vec![("router", &router.name), ("interface", &router.interface)]
}

/// `labels` and one more.
fn with<'a>(mut labels: Labels<'a>, name: &'static str, value: &'a str) -> Labels<'a> {
    labels.push((name, value));
    labels
}

fn each<T, N: Into<Number>>(
    text: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    whats: &[T],
    labels: impl Fn(&T) -> Labels<'_>,
    number: impl Fn(&T) -> N,
) {
    text.family(name, kind, help, whats.iter().map(|what| (labels(what), number(what))));
}

fn routers(text: &mut Exposition, routers: &[RouterStatus]) {
    let states = routers
        .iter()
        .flat_map(|router| STATES.map(|state| (with(labels(router), "state", state), router.state == state)));
    text.family("mainstay_router_state", Kind::Gauge, "1 for the state a virtual router is in.", states);
    each(
        text,
        ("mainstay_router_state_seconds", Kind::Gauge, "How long it has been in that state."),
        routers,
        labels,
        |router| router.since,
    );
    each(
        text,
        ("mainstay_router_priority", Kind::Gauge, "Its priority as configured."),
        routers,
        labels,
        |router| router.priority,
    );
    each(
        text,
        ("mainstay_router_effective_priority", Kind::Gauge, "Its priority after tracking; 0 in a fault."),
        routers,
        labels,
        |router| router.effective_priority,
    );
    each(
        text,
        ("mainstay_router_addresses_installed", Kind::Gauge, "Whether its addresses are on this machine."),
        routers,
        labels,
        |router| router.addresses_installed,
    );
    each(
        text,
        ("mainstay_router_transitions_to_active_total", Kind::Counter, "How often it became active."),
        routers,
        labels,
        |router| router.transitions_to_active,
    );
    let harm = |router: &RouterStatus, harmful| {
        u64::try_from(router.differences.iter().filter(|one| one.harmful == harmful).count())
            .unwrap_or(u64::MAX)
    };
    let differences = routers.iter().flat_map(|router| {
        [("true", true), ("false", false)]
            .map(|(word, harmful)| (with(labels(router), "harmful", word), harm(router, harmful)))
    });
    text.family(
        "mainstay_router_differences",
        Kind::Gauge,
        "What is wrong between it and others on its LAN now.",
        differences,
    );
}

fn router_traffic(text: &mut Exposition, routers: &[RouterStatus]) {
    each(
        text,
        ("mainstay_router_adverts_sent_total", Kind::Counter, "Adverts sent."),
        routers,
        labels,
        |router| router.adverts_sent,
    );
    each(
        text,
        ("mainstay_router_adverts_received_total", Kind::Counter, "Valid adverts received."),
        routers,
        labels,
        |router| router.adverts_received,
    );
    let refused = routers.iter().flat_map(|router| {
        router.refused.iter().map(|refused| (with(labels(router), "reason", &refused.reason), refused.count))
    });
    text.family("mainstay_router_refused_total", Kind::Counter, "Datagrams refused, by reason.", refused);
    let seen = routers.iter().flat_map(|router| {
        router.differences_total.iter().map(|(kind, &count)| (with(labels(router), "kind", kind), count))
    });
    text.family(
        "mainstay_router_differences_total",
        Kind::Counter,
        "How often each kind of difference was seen.",
        seen,
    );
    each(
        text,
        (
            "mainstay_router_both_active_total",
            Kind::Counter,
            "How often it was active beside another router that it refuses.",
        ),
        routers,
        labels,
        |router| router.both_active_total,
    );
}

fn tracked(text: &mut Exposition, status: &Status) {
    let groups = status.groups.iter().flat_map(|group| {
        let states = STATES.into_iter().chain([MOVING]);
        states.map(|state| (vec![("group", group.name.as_str()), ("state", state)], group.state == state))
    });
    text.family("mainstay_group_state", Kind::Gauge, "1 for the state a sync group is in.", groups);
    // What has no state yet is left out: it is neither good nor bad.
    let known = |state: &str| matches!(state, "good" | "bad").then_some(state == "good");
    let scripts = status
        .scripts
        .iter()
        .filter_map(|script| known(&script.state).map(|good| (vec![("script", script.name.as_str())], good)));
    text.family("mainstay_script_good", Kind::Gauge, "Whether a tracked script is good.", scripts);
    let processes = status.processes.iter().filter_map(|process| {
        known(&process.state).map(|good| (vec![("process", process.name.as_str())], good))
    });
    text.family("mainstay_process_good", Kind::Gauge, "Whether there are enough processes.", processes);
    let counts =
        status.processes.iter().map(|process| (vec![("process", process.name.as_str())], process.count));
    text.family("mainstay_process_count", Kind::Gauge, "Tracked processes.", counts);
    let files = status
        .files
        .iter()
        .filter_map(|file| file.number.map(|number| (vec![("file", file.name.as_str())], number)));
    text.family("mainstay_file_number", Kind::Gauge, "The number in a tracked file.", files);
}

fn peers(text: &mut Exposition, status: &Status) {
    let up = status.peers.iter().map(|peer| (vec![("peer", peer.address.as_str())], peer.up));
    text.family("mainstay_peer_link_up", Kind::Gauge, "Whether the link to another balancer is up.", up);
    let drift = status.peers.iter().map(|peer| {
        let count = u64::try_from(peer.drift.len()).unwrap_or(u64::MAX);
        (vec![("peer", peer.address.as_str())], count)
    });
    text.family(
        "mainstay_peer_differences",
        Kind::Gauge,
        "In how many ways a linked balancer differs though it should not.",
        drift,
    );
    let flows = || {
        let known = status.peers.iter().filter_map(|peer| Some((peer, peer.flows.as_ref()?)));
        known.map(|(peer, flows)| (peer.address.as_str(), flows))
    };
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let counts = flows().flat_map(|(peer, flows)| {
        [("kept", flows.kept), ("told", flows.told)]
            .map(|(word, number)| (vec![("peer", peer), ("direction", word)], count(number)))
    });
    text.family(
        "mainstay_peer_flows",
        Kind::Gauge,
        "Connections in the kernel that another balancer has and that are kept here, or that it was told of.",
        counts,
    );
    let ages = flows().filter_map(|(peer, flows)| Some((vec![("peer", peer)], flows.age?)));
    text.family(
        "mainstay_peer_flows_age_seconds",
        Kind::Gauge,
        "How old the latest word of another balancer about its connections is.",
        ages,
    );
}

fn pools(text: &mut Exposition, status: &Status) {
    let pools = &status.pools;
    each(
        text,
        ("mainstay_pool_queued", Kind::Gauge, "Connections that wait for a server now."),
        pools,
        pool_label,
        |pool| pool.queued,
    );
    each(
        text,
        ("mainstay_pool_queue_timeouts_total", Kind::Counter, "Connections that gave up waiting."),
        pools,
        pool_label,
        |pool| pool.queue_timeouts,
    );
    each(
        text,
        ("mainstay_pool_no_server_total", Kind::Counter, "Connections that found no usable server."),
        pools,
        pool_label,
        |pool| pool.no_server,
    );
    let servers = || pools.iter().flat_map(|pool| pool.servers.iter().map(move |server| (pool, server)));
    text.family(
        "mainstay_server_usable",
        Kind::Gauge,
        "Whether a server takes new connections, as far as checks and orders go.",
        servers().map(|(pool, server)| (with(pool_label(pool), "server", &server.name), usable(server))),
    );
    let closed = servers().flat_map(|(pool, server)| {
        let labels = |reason| with(with(pool_label(pool), "server", &server.name), "reason", reason);
        [(labels("dead"), server.closed_dead), (labels("rebalance"), server.closed_to_rebalance)]
    });
    text.family(
        "mainstay_server_closed_connections_total",
        Kind::Counter,
        "Connections closed because their server was dead, or so that another one gets its share.",
        closed,
    );
    let ages = servers().filter_map(|(pool, server)| {
        server.checked.map(|ago| (with(pool_label(pool), "server", &server.name), ago))
    });
    text.family(
        "mainstay_server_check_age_seconds",
        Kind::Gauge,
        "How long ago the latest health check ended.",
        ages,
    );
}

fn pool_label(pool: &PoolStatus) -> Labels<'_> {
    vec![("pool", &pool.name)]
}

fn usable(server: &ServerStatus) -> bool {
    matches!(server.state.as_str(), "up" | "up, going down" | "no check")
}
