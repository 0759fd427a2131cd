//! Sync groups: two routers on two LANs that are active, or not, together; and what is told about it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mainstay_engine::admin::Request;
use mainstay_engine::engine::InterfaceState;
use mainstay_engine::limits::HAND_OVER_DRAIN;
use mainstay_engine::plan::{
    FileId, Notify, NotifyFifo, NotifyScript, Plan, Priority, Router, RouterId, SyncGroup, TrackEffect,
    TrackFile, TrackedFile, VirtualAddress, VrrpStart,
};
use mainstay_engine::time::Instant;
use mainstay_engine::vrrp::packet::{Advert, Form, GROUP, LAN_TTL, decode, encode};
use mainstay_engine::{Engine, Input, Output};

use crate::bench::{SECOND, router};

/// One balancer on two LANs, eth0 and eth1, with a router on each; the peer has the higher address on both.
struct TwoLans {
    engine: Engine,
    now: Instant,
    done: Vec<Output>,
    own: u8,
}

const PEER: u8 = 9;

fn member(number: u8, priority: u8) -> Router {
    let base = router(priority);
    let interface = format!("eth{number}");
    let address = IpAddr::V4(Ipv4Addr::new(10, 0, number, 100));
    Router {
        name: format!("V{number}"),
        addresses: vec![VirtualAddress {
            address,
            interface: interface.clone(),
            ..base.addresses[0].clone()
        }],
        interface,
        ..base
    }
}

/// Both routers in one group, and a FIFO that hears of everything.
fn grouped(routers: [Router; 2]) -> Plan {
    let members = vec![RouterId(0), RouterId(1)];
    let fifo = NotifyFifo { path: "/run/fifo".to_owned(), user: None, script: None };
    Plan {
        routers: routers.to_vec(),
        groups: vec![SyncGroup { name: "G".to_owned(), members, notify: Notify::default() }],
        notify_fifos: vec![fifo],
        ..Plan::default()
    }
}

fn pair(priority: u8) -> Plan {
    grouped([member(0, priority), member(1, priority)])
}

impl TwoLans {
    fn new(plan: Plan) -> Self {
        let now = Instant::from_nanos(1_000_000_000_000);
        let engine = Engine::new(Arc::new(plan), 1, now);
        let mut lans = Self { engine, now, done: Vec::new(), own: 5 };
        lans.link(0, true);
        lans.link(1, true);
        lans
    }

    /// After the silence of both LANs.
    fn active(plan: Plan) -> Self {
        let mut lans = Self::new(plan);
        lans.pass(4 * SECOND);
        assert_eq!(lans.states(), ["active", "active"]);
        lans.done.clear();
        lans
    }

    fn link(&mut self, lan: u8, running: bool) {
        let own = IpAddr::V4(Ipv4Addr::new(10, 0, lan, self.own));
        let state = Some(InterfaceState { running, addresses: vec![(own, 24)] });
        self.handle(Input::Interface { name: &format!("eth{lan}"), state });
    }

    fn handle(&mut self, input: Input<'_>) {
        self.engine.handle(input, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        self.done.extend(std::iter::from_fn(|| self.engine.poll_output()));
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(deadline) = self.engine.poll_timeout().filter(|deadline| deadline.at <= end) {
            self.now = deadline.at;
            self.engine.handle_timeout(self.now);
            self.collect();
        }
        self.now = end;
    }

    /// The peer advertises itself on one LAN.
    fn hear(&mut self, lan: u8, priority: u8) {
        let advert = Advert {
            source: IpAddr::V4(Ipv4Addr::new(10, 0, lan, PEER)),
            destination: GROUP.into(),
            ttl: LAN_TTL,
            vrid: router(1).vrid,
            priority: Priority(priority),
            interval: router(1).advert_interval,
            addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, lan, 100))],
            form: Form::V2 { authentication: router(1).authentication },
            trailer: None,
        };
        let datagram = encode(&advert, 1);
        self.handle(Input::Datagram { interface: &format!("eth{lan}"), datagram: &datagram });
    }

    /// The peer advertises itself every second on the given LANs.
    fn hear_for(&mut self, seconds: u32, lans: &[u8], priority: u8) {
        for _ in 0..seconds {
            lans.iter().for_each(|lan| self.hear(*lan, priority));
            self.pass(SECOND);
        }
    }

    fn states(&self) -> [String; 2] {
        let status = self.engine.status(self.now);
        [0, 1].map(|router: usize| status.routers[router].state.clone())
    }

    fn reason(&self, router: usize) -> String {
        self.engine.status(self.now).routers[router].reason.clone()
    }

    /// The lines for FIFOs since this was last asked.
    fn lines(&mut self) -> Vec<String> {
        let lines = self.done.drain(..).filter_map(|output| match output {
            Output::Notify(notification) => Some(notification.line.trim_end().to_owned()),
            _ => None,
        });
        lines.collect()
    }

    /// Priorities advertised on a LAN since this was last asked.
    fn advertised(&mut self, lan: u8) -> Vec<u8> {
        let priority = |output: Output| match output {
            Output::SendAdvert { interface, datagram, .. } if interface == format!("eth{lan}") => {
                Some(decode(&datagram).expect("own adverts are sound").priority.0)
            }
            _ => None,
        };
        self.done.drain(..).filter_map(priority).collect()
    }
}

#[test]
fn a_group_starts_together_and_says_so_as_keepalived_does() {
    let mut lans = TwoLans::new(pair(100));
    assert_eq!(lans.states(), ["backup", "backup"]);
    assert_eq!(
        lans.lines(),
        ["GROUP \"G\" BACKUP 0", "INSTANCE \"V0\" BACKUP 100", "INSTANCE \"V1\" BACKUP 100"]
    );
    lans.pass(4 * SECOND);
    assert_eq!(lans.states(), ["active", "active"]);
    let lines = lans.lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[2], "GROUP \"G\" MASTER 0");
}

#[test]
fn nobody_starts_before_all_interfaces_are_known() {
    let now = Instant::from_nanos(1_000_000_000_000);
    let mut lans =
        TwoLans { engine: Engine::new(Arc::new(pair(100)), 1, now), now, done: Vec::new(), own: 5 };
    lans.link(0, true);
    assert_eq!(lans.states(), ["initialize", "initialize"]);
    assert!(
        lans.reason(0).contains("the state of interface eth1, for router V1 of group G"),
        "{}",
        lans.reason(0)
    );
    lans.link(1, true);
    assert_eq!(lans.states(), ["backup", "backup"]);
}

#[test]
fn a_fault_in_one_is_a_fault_in_all_until_all_can() {
    let mut lans = TwoLans::active(pair(100));
    lans.link(1, false);
    assert_eq!(lans.states(), ["fault", "fault"]);
    assert_eq!(lans.reason(0), "fault: router V1 of group G is in fault: interface eth1 is down");
    assert_eq!(
        lans.lines(),
        ["INSTANCE \"V1\" FAULT 100", "INSTANCE \"V0\" FAULT 100", "GROUP \"G\" FAULT 0"]
    );
    lans.link(0, false);
    lans.link(1, true);
    assert_eq!(lans.states(), ["fault", "fault"], "the other one is in a fault now");
    lans.link(0, true);
    assert_eq!(lans.states(), ["backup", "backup"]);
    assert_eq!(
        lans.lines(),
        ["INSTANCE \"V0\" BACKUP 100", "INSTANCE \"V1\" BACKUP 100", "GROUP \"G\" BACKUP 0"]
    );
    lans.pass(4 * SECOND);
    assert_eq!(lans.states(), ["active", "active"]);
}

#[test]
fn a_fault_gives_the_addresses_of_all_away() {
    let mut lans = TwoLans::active(pair(100));
    lans.link(1, false);
    assert_eq!(lans.advertised(0), [0], "the peer on the other LAN need not wait");
}

#[test]
fn silence_on_one_lan_alone_moves_nothing() {
    let mut lans = TwoLans::new(pair(100));
    lans.hear_for(8, &[0], 200);
    assert_eq!(lans.states(), ["backup", "backup"]);
    assert_eq!(lans.reason(1), "backup: could take over, waits for the other routers of its group");
    lans.pass(4 * SECOND);
    assert_eq!(lans.states(), ["active", "active"], "silence on both");
    let lines = lans.lines();
    assert_eq!(
        lines[3..],
        ["INSTANCE \"V0\" MASTER 100", "INSTANCE \"V1\" MASTER 100", "GROUP \"G\" MASTER 0"],
        "the one that completed the group first"
    );
}

#[test]
fn a_claim_ends_with_the_next_advert_that_is_followed() {
    let mut lans = TwoLans::new(pair(100));
    lans.hear_for(5, &[0], 200);
    lans.hear(1, 200);
    lans.pass(SECOND * 2);
    lans.hear(1, 200);
    lans.pass(SECOND * 3);
    assert_eq!(lans.states(), ["backup", "backup"], "LAN 0 is silent, and LAN 1 was heard 3 s ago");
}

#[test]
fn a_member_that_yields_takes_the_others_along_make_before_break() {
    let mut lans = TwoLans::active(pair(100));
    lans.hear(0, 200);
    assert_eq!(lans.states(), ["backup", "handing over"]);
    assert!(lans.reason(1).contains("because another router of its group is a backup"), "{}", lans.reason(1));
    assert_eq!(lans.advertised(1), [0]);
    lans.hear(1, 200);
    assert_eq!(lans.states(), ["backup", "backup"]);
    assert_eq!(lans.lines(), ["INSTANCE \"V1\" BACKUP 100", "GROUP \"G\" BACKUP 0"], "V0 was told before");
    lans.hear_for(6, &[0, 1], 200);
    assert_eq!(lans.states(), ["backup", "backup"]);
}

#[test]
fn a_member_that_follows_in_vain_is_a_backup_in_the_end() {
    let mut lans = TwoLans::active(pair(100));
    lans.hear(0, 200);
    lans.hear_for(5, &[0], 200);
    assert_eq!(lans.states(), ["backup", "backup"]);
    lans.hear_for(5, &[0], 200);
    assert_eq!(lans.states(), ["backup", "backup"], "the group stays where its first router is");
}

#[test]
fn a_hand_over_and_its_end_are_the_groups() {
    let mut lans = TwoLans::active(pair(100));
    lans.handle(Input::Request { ticket: 1, request: Request::HandOver });
    assert_eq!(lans.states(), ["handing over", "handing over"]);
    lans.hear(0, 50);
    assert_eq!(lans.states(), ["backup", "handing over"]);
    lans.hear(1, 50);
    lans.hear_for(5, &[0, 1], 50);
    assert_eq!(lans.states(), ["backup", "backup"], "last resort");
    lans.handle(Input::Request { ticket: 2, request: Request::Resume });
    lans.hear_for(5, &[0, 1], 50);
    assert_eq!(lans.states(), ["active", "active"], "its own priority again");
}

#[test]
fn a_resume_in_between_leaves_no_half_of_a_group() {
    let mut lans = TwoLans::active(pair(100));
    lans.handle(Input::Request { ticket: 1, request: Request::HandOver });
    lans.hear(0, 50);
    lans.handle(Input::Request { ticket: 2, request: Request::Resume });
    assert_eq!(lans.states(), ["backup", "handing over"], "the one that stayed follows the one that went");
    lans.hear(1, 50);
    assert_eq!(lans.states(), ["backup", "backup"]);
}

#[test]
fn a_stop_tells_each_and_then_the_group() {
    let mut lans = TwoLans::active(pair(100));
    lans.handle(Input::Stop);
    assert_eq!(lans.states(), ["handing over", "handing over"]);
    lans.hear(0, 50);
    lans.hear(1, 50);
    lans.pass(HAND_OVER_DRAIN);
    let exits = lans.done.iter().filter(|output| matches!(output, Output::Exit)).count();
    assert!(matches!(lans.done.last(), Some(Output::Exit)) && exits == 1, "told before the exit");
    assert_eq!(lans.lines(), ["INSTANCE \"V0\" STOP 100", "INSTANCE \"V1\" STOP 100", "GROUP \"G\" STOP 0"]);
}

#[test]
fn owners_wait_for_each_other() {
    let mut lans = TwoLans::new(pair(255));
    lans.pass(Duration::from_millis(1));
    assert_eq!(lans.states(), ["active", "active"]);
    let mut mixed = TwoLans::new(grouped([member(0, 255), member(1, 100)]));
    mixed.pass(SECOND);
    assert_eq!(mixed.states(), ["backup", "backup"]);
    mixed.pass(4 * SECOND);
    assert_eq!(mixed.states(), ["active", "active"]);
}

#[test]
fn a_lower_claim_on_one_lan_has_all_addresses_announced() {
    let mut lans = TwoLans::active(pair(100));
    lans.pass(6 * SECOND);
    lans.done.clear();
    lans.hear(0, 50);
    let announced = |lan: &str| {
        let here =
            |output: &&Output| matches!(output, Output::Announce { interface, .. } if interface == lan);
        lans.done.iter().filter(here).count()
    };
    assert_eq!((announced("eth0"), announced("eth1")), (5, 5));
    assert_eq!(lans.lines(), ["INSTANCE \"V0\" MASTER_RX_LOWER_PRI 100"]);
    lans.hear(0, 50);
    assert_eq!(lans.lines(), [""; 0], "not for every advert of a flood");
}

#[test]
fn programs_get_keepaliveds_arguments_in_keepaliveds_order() {
    let script =
        |name: &str| Some(NotifyScript { arguments: vec![name.to_owned(), "x".to_owned()], user: None });
    let notify = Notify { master: script("master"), any: script("any"), ..Notify::default() };
    let mut plan = pair(100);
    plan.routers[1].notify = notify.clone();
    plan.groups[0].notify = notify;
    plan.notify_fifos.clear();
    let mut lans = TwoLans::active(plan);
    lans.pass(SECOND);
    lans.link(1, false);
    let run = |output: &Output| match output {
        Output::Notify(notification) => {
            Some(notification.commands.iter().map(|it| it.arguments.join(" ")).collect::<Vec<_>>())
        }
        _ => None,
    };
    let ran: Vec<_> = lans.done.iter().filter_map(run).flatten().collect();
    assert_eq!(ran, ["any x INSTANCE V1 FAULT 100", "any x GROUP G FAULT 0"]);
    lans.done.clear();
    lans.link(1, true);
    lans.pass(4 * SECOND);
    let ran: Vec<_> = lans.done.iter().filter_map(run).flatten().collect();
    let expected = [
        "any x INSTANCE V1 BACKUP 100",
        "any x GROUP G BACKUP 0",
        "master x",
        "any x INSTANCE V1 MASTER 100",
        "master x",
        "any x GROUP G MASTER 0",
    ];
    assert_eq!(ran, expected);
}

#[test]
fn priority_changes_are_told_where_that_is_asked_for() {
    let mut plan = pair(100);
    plan.files = vec![TrackedFile { name: "f".to_owned(), path: "/f".to_owned(), initial: None }];
    for router in &mut plan.routers {
        let effect = TrackEffect { weight: 1, reverse: false };
        router.track_files = vec![TrackFile { file: FileId(0), effect }];
    }
    plan.routers[0].notify.priority_changes = true;
    let mut lans = TwoLans::new(plan);
    assert_eq!(lans.states(), ["initialize", "initialize"], "no file was read");
    lans.handle(Input::FileRead { file: FileId(0), contents: b"0" });
    lans.lines();
    lans.handle(Input::FileRead { file: FileId(0), contents: b"-10" });
    assert_eq!(lans.lines(), ["INSTANCE \"V0\" BACKUP_PRIORITY 90"]);
    lans.pass(4 * SECOND);
    lans.lines();
    lans.handle(Input::FileRead { file: FileId(0), contents: b"20" });
    assert_eq!(lans.lines(), ["INSTANCE \"V0\" MASTER_PRIORITY 120"]);
    lans.handle(Input::FileRead { file: FileId(0), contents: b"-300" });
    assert_eq!(lans.states(), ["fault", "fault"]);
}

#[test]
fn a_startup_delay_puts_the_silence_off_and_hears_meanwhile() {
    let start = VrrpStart { after_start: 5 * SECOND, after_boot: Duration::ZERO };
    let mut lans = TwoLans::new(Plan { vrrp_start: start, ..pair(100) });
    lans.pass(8 * SECOND);
    assert_eq!(lans.states(), ["backup", "backup"]);
    lans.pass(SECOND);
    assert_eq!(lans.states(), ["active", "active"]);
    let mut owners = TwoLans::new(Plan { vrrp_start: start, groups: Vec::new(), ..pair(255) });
    owners.pass(4 * SECOND);
    assert_eq!(owners.states(), ["backup", "backup"]);
    owners.pass(2 * SECOND);
    assert_eq!(owners.states(), ["active", "active"]);
}

#[test]
fn a_delay_after_boot_is_over_on_a_machine_that_runs_for_long() {
    let start = |seconds| VrrpStart { after_start: Duration::ZERO, after_boot: Duration::from_secs(seconds) };
    let mut late = TwoLans::new(Plan { vrrp_start: start(1_010), ..pair(100) });
    late.pass(12 * SECOND);
    assert_eq!(late.states(), ["backup", "backup"], "it was booted 1000 s ago");
    late.pass(2 * SECOND);
    assert_eq!(late.states(), ["active", "active"]);
    TwoLans::active(Plan { vrrp_start: start(1_000), ..pair(100) });
}
