//! The part of `mainstay status` that shows the other balancers of the group.

use std::fmt::Write as _;

use mainstay_engine::admin::{PeerFlowStatus, PeerStatus, PeerView};
use mainstay_engine::peers::view::RouterView;

use super::{Mood, Paint, span};

/// Names of servers in one line; more are counted.
const NAMED: usize = 6;

/// Every peer, and why routers have none.
pub(super) fn render(text: &mut String, peers: &[PeerStatus], without: &[String], paint: Paint) {
    for peer in peers {
        text.push('\n');
        render_peer(text, peer, paint);
    }
    for sentence in without {
        let _ = writeln!(text, "\n{sentence}");
    }
}

fn render_peer(text: &mut String, peer: &PeerStatus, paint: Paint) {
    let host = peer.told.as_ref().map(|told| told.view.host.as_str()).filter(|host| !host.is_empty());
    let name = host.map_or_else(|| peer.address.clone(), |host| format!("{host} ({})", peer.address));
    let state =
        if peer.up { paint.paint("linked", Mood::Good) } else { paint.paint("not linked", Mood::Changing) };
    let _ = writeln!(text, "peer {name}: {state} for {}, of {}", span(peer.since), peer.routers.join(", "));
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "  {name:<9} {value}");
    };
    if !peer.up {
        line("why", &peer.link);
    }
    if let Some(told) = &peer.told {
        let age = if peer.up { String::new() } else { format!(", as it said {} ago", span(told.age)) };
        for router in &told.view.routers {
            line("router", &format!("{}{age}", words(router)));
        }
        line("reaches", &reaches(told));
    }
    if let Some(flows) = &peer.flows {
        line("flows", &flows_line(flows));
    }
    for difference in &peer.drift {
        line("differs", &paint.paint(difference, Mood::Changing));
    }
}

fn words(router: &RouterView) -> String {
    let priority = if router.priority == router.effective_priority {
        format!("priority {}", router.priority)
    } else {
        format!("priority {} (configured {})", router.effective_priority, router.priority)
    };
    format!("{}: {}; vrid {} on {}, {priority}", router.name, router.why, router.vrid, router.interface)
}

fn flows_line(flows: &PeerFlowStatus) -> String {
    let age = flows.age.map(|age| format!(", as of {} ago", span(age))).unwrap_or_default();
    format!("{} of its connections are kept here{age}; it knows {} of this node's", flows.kept, flows.told)
}

fn reaches(told: &PeerView) -> String {
    let servers = &told.view.reaches;
    let named: Vec<_> = servers.iter().take(NAMED).map(String::as_str).collect();
    match (servers.len(), servers.len().saturating_sub(NAMED)) {
        (0, _) => "no checked server".to_owned(),
        (count, 0) => format!("{count} checked: {}", named.join(", ")),
        (count, more) => format!("{count} checked: {} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mainstay_engine::peers::view::View;

    use super::*;

    #[test]
    fn a_peer_is_shown_with_its_own_words_and_what_differs() {
        let router = RouterView {
            name: "vrrp33".to_owned(),
            vrid: 33,
            interface: "ens160".to_owned(),
            state: "active".to_owned(),
            priority: 120,
            effective_priority: 40,
            why: "active since no other router was heard for 3.6 s".to_owned(),
        };
        let reaches = (0..8).map(|n| format!("k8s/cp{n}")).collect();
        let view = View { host: "lb1".to_owned(), routers: vec![router], reaches, ..View::default() };
        let mut peer = PeerStatus {
            address: "192.168.2.141".to_owned(),
            routers: vec!["vrrp33".to_owned()],
            up: true,
            link: "up".to_owned(),
            since: Duration::from_secs(190),
            told: Some(PeerView { view, age: Duration::from_millis(400), clock_ahead_ms: 0 }),
            drift: vec!["pool k8s is configured differently there".to_owned()],
            flows: Some(PeerFlowStatus { kept: 540, age: Some(Duration::from_secs(2)), told: 0 }),
        };
        let mut text = String::new();
        render(&mut text, &[peer.clone()], &[], Paint(false));
        assert_eq!(
            text,
            "
peer lb1 (192.168.2.141): linked for 3m10s, of vrrp33
  router    vrrp33: active since no other router was heard for 3.6 s; vrid 33 on ens160, priority 40 (configured 120)
  reaches   8 checked: k8s/cp0, k8s/cp1, k8s/cp2, k8s/cp3, k8s/cp4, k8s/cp5 and 2 more
  flows     540 of its connections are kept here, as of 2.0s ago; it knows 0 of this node's
  differs   pool k8s is configured differently there
"
        );
        (peer.up, peer.told, peer.drift, peer.flows) = (false, None, Vec::new(), None);
        peer.link = "nothing answers on its port".to_owned();
        text.clear();
        render(&mut text, &[peer], &["router V has no peer link: none".to_owned()], Paint(false));
        assert_eq!(
            text,
            "
peer 192.168.2.141: not linked for 3m10s, of vrrp33
  why       nothing answers on its port

router V has no peer link: none
"
        );
    }
}
