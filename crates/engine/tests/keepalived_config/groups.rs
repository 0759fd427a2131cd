//! Sync groups, what is tracked, who is told, and how announcements are spread: what becomes of them in a plan.

use std::time::Duration;

use mainstay_engine::plan::{
    AnnounceGap, Authentication, FileId, InitialValue, NotifyScript, Parameters, Preempt, ProcessId,
    ProcessMatch, ProcessTarget, RouterId, ScriptId, ScriptUser, TrackEffect, TrackFile, TrackProcess,
    TrackScript, VrrpStart,
};

use crate::support::{Loaded, load, report};

const WEIGHTLESS: TrackEffect = TrackEffect { weight: 0, reverse: false };

/// A text that nothing is wrong with.
fn sound(text: &str) -> Loaded {
    let loaded = load(text);
    assert!(!loaded.refused(), "{}", report(&loaded));
    loaded
}

fn instance(name: &str, lines: &str) -> String {
    let number = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    format!(
        "vrrp_instance {name} {{\n interface eth{number}\n virtual_router_id 5{number}\n virtual_ipaddress {{\n \
         10.0.{number}.9/24\n }}\n {lines}\n}}\n"
    )
}

#[test]
fn members_track_what_their_group_tracks_and_lose_their_own_weights() {
    let loaded = sound(&format!(
        "vrrp_script a {{\n script /bin/a\n weight 10\n}}\nvrrp_script b {{\n script /bin/b\n}}\n\
         track_file f {{\n file /run/f\n}}\nvrrp_track_process p {{\n process p\n}}\n\
         vrrp_sync_group G {{\n group {{\n V1\n V2\n }}\n track_script {{\n b\n }}\n track_file {{\n f weight 2\n }}\n \
         track_interface {{\n eth2\n eth3 weight -5\n }}\n track_process {{\n p weight 4 reverse\n }}\n}}\n{}{}",
        instance("V1", "track_script {\n a\n }\n track_interface {\n eth9 weight 30\n }"),
        instance("V2", "track_script {\n b\n }\n track_file {\n f weight 7\n }"),
    ));
    let [group] = loaded.others.groups.as_slice() else { panic!("one group") };
    assert_eq!((group.name.as_str(), group.members.as_slice()), ("G", [RouterId(0), RouterId(1)].as_slice()));
    let effect = |weight, reverse| TrackEffect { weight, reverse };
    for router in &loaded.routers {
        assert_eq!(router.track_scripts, [TrackScript { script: ScriptId(1), effect: WEIGHTLESS }]);
        assert_eq!(router.track_files, [TrackFile { file: FileId(0), effect: effect(2, false) }]);
        let processes = [TrackProcess { process: ProcessId(0), effect: effect(4, true) }];
        assert_eq!(router.track_processes, processes);
    }
    let interfaces = |router: usize| {
        let tracked = loaded.routers[router].track_interfaces.iter();
        tracked.map(|track| (track.interface.as_str(), track.effect.weight)).collect::<Vec<_>>()
    };
    assert_eq!(interfaces(0), [("eth9", 0), ("eth2", 0), ("eth3", -5)]);
    assert_eq!(interfaces(1), [("eth3", -5)], "its own interface counts anyway");
}

#[test]
fn free_weights_leave_members_theirs() {
    let loaded = sound(&format!(
        "vrrp_script a {{\n script /bin/a\n weight 10\n}}\n{}{}\
         vrrp_sync_group G {{\n group {{\n V1\n V2\n }}\n sync_group_tracking_weight\n}}\n",
        instance("V1", "track_script {\n a\n }"),
        instance("V2", ""),
    ));
    assert_eq!(loaded.routers[0].track_scripts[0].effect.weight, 10);
}

#[test]
fn who_is_told_and_as_whom() {
    let loaded = sound(&format!(
        "global_defs {{\n script_user watch\n vrrp_notify_priority_changes on\n notify_fifo /run/one\n \
         vrrp_notify_fifo /run/two root adm\n vrrp_notify_fifo_script \"/bin/read -v\" \n}}\n\
         vrrp_sync_group G {{\n group {{\n V1 V2\n }}\n notify_priority_changes off\n notify /bin/group\n}}\n{}{}",
        instance("V1", "notify_master \"/bin/m 'a b'\" root\n notify_stop /bin/s"),
        instance("V2", "notify_priority_changes yes\n notify_master_rx_lower_pri /bin/lower x y"),
    ));
    let user = |user: &str, group: Option<&str>| {
        Some(ScriptUser { user: user.to_owned(), group: group.map(str::to_owned) })
    };
    let script = |words: &[&str], user| {
        Some(NotifyScript { arguments: words.iter().map(|word| (*word).to_owned()).collect(), user })
    };
    let [one, two] = &loaded.routers.as_slice() else { panic!("two routers") };
    assert_eq!(one.notify.master, script(&["/bin/m", "a b"], user("root", None)));
    assert_eq!(one.notify.stop, script(&["/bin/s"], user("watch", None)));
    assert_eq!(two.notify.lower_priority, script(&["/bin/lower"], user("x", Some("y"))));
    assert_eq!((one.notify.priority_changes, two.notify.priority_changes), (false, true));
    assert_eq!(loaded.others.groups[0].notify.any, script(&["/bin/group"], user("watch", None)));
    let [first, second] = &loaded.others.notify_fifos.as_slice() else { panic!("two FIFOs") };
    assert_eq!((first.path.as_str(), &first.user, &first.script), ("/run/one", &user("watch", None), &None));
    assert_eq!(second.user, user("root", Some("adm")));
    assert_eq!(second.script, script(&["/bin/read", "-v", "/run/two"], user("watch", None)));
}

#[test]
fn files_and_processes_take_every_form() {
    let process = |lines: &str| {
        let text =
            format!("vrrp_track_process p {{\n {lines}\n}}\n{}", instance("V1", "track_process {\n p\n }"));
        sound(&text).others.processes.remove(0)
    };
    let target = |command: &str, command_line| {
        ProcessTarget::Matching(ProcessMatch { command: command.to_owned(), command_line })
    };
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let plain = process("process nginx");
    assert_eq!((plain.target, plain.quorum, plain.quorum_max), (target("nginx", None), 1, u32::MAX));
    assert_eq!((plain.fork_delay, plain.terminate_delay), (Duration::ZERO, Duration::ZERO));
    assert_eq!(
        process("process \"/a b\" c \"d e\"").target,
        target("/a b", Some(Parameters::Exactly(words(&["c", "d e"]))))
    );
    assert_eq!(process("process a\n param_match").target, target("a", Some(Parameters::Exactly(Vec::new()))));
    assert_eq!(process("process a\n full_command").target, target("a", Some(Parameters::Any)));
    assert_eq!(
        process("process a b\n param_match partial").target,
        target("a", Some(Parameters::Beginning(words(&["b"]))))
    );
    assert_eq!(
        process("process a b\n param_match initial").target,
        target("a", Some(Parameters::Initial(words(&["b"]))))
    );
    assert!(matches!(
        process("process /usr/sbin/haproxy\n full_command").target,
        ProcessTarget::DataPlane(_)
    ));
    assert_eq!(
        process("process haproxy -v").target,
        target("haproxy", Some(Parameters::Exactly(words(&["-v"]))))
    );
    let none = process("process a\n quorum_max 0\n delay 2\n fork_delay 0.5");
    assert_eq!((none.quorum, none.quorum_max), (0, 0));
    assert_eq!((none.fork_delay, none.terminate_delay), (Duration::from_millis(500), Duration::from_secs(2)));
    let file = |lines: &str| {
        let text = format!(
            "track_file f {{\n file \"/run/a b\"\n {lines}\n}}\n{}",
            instance("V1", "track_file {\n f\n }")
        );
        let mut loaded = sound(&text);
        (loaded.others.files.remove(0), loaded.routers[0].track_files[0].effect)
    };
    assert_eq!(file("").0.path, "/run/a b");
    assert_eq!((file("").0.initial, file("").1), (None, TrackEffect { weight: 1, reverse: false }));
    let (initialised, effect) = file("init_file -5 overwrite\n weight 0 reverse");
    assert_eq!(initialised.initial, Some(InitialValue { value: -5, overwrite: true }));
    assert_eq!(effect, TrackEffect { weight: 0, reverse: true });
    assert_eq!(file("init_file").0.initial, Some(InitialValue { value: 0, overwrite: false }));
}

#[test]
fn times_of_starts_and_announcements() {
    let loaded = sound(&format!(
        "global_defs {{\n vrrp_startup_delay 5.5\n vrrp_delay_after_boot 60\n vrrp_garp_interval 0.001\n \
         vrrp_garp_extra_if all 100\n vrrp_lower_prio_no_advert\n}}\n\
         garp_group {{\n gna_interval 0.5\n interfaces {{\n eth0 eth1\n eth2\n }}\n}}\n{}{}",
        instance("V1", "garp_extra_if 100\n lower_prio_no_advert no\n higher_prio_send_advert"),
        instance("V2", "preempt_delay 1000"),
    ));
    let start = VrrpStart { after_start: Duration::from_millis(5500), after_boot: Duration::from_secs(60) };
    assert_eq!(loaded.others.vrrp_start, start);
    let gap = |interfaces: &[&str], neighbour| AnnounceGap {
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        arp: Duration::from_millis(1),
        neighbour,
    };
    let group = gap(&["eth0", "eth1", "eth2"], Duration::from_millis(500));
    assert_eq!(loaded.others.announce_gaps, [group, gap(&[], Duration::ZERO)]);
    let [one, two] = &loaded.routers.as_slice() else { panic!("two routers") };
    assert_eq!((one.answers_lower_priority, one.answers_higher_priority), (true, true));
    assert_eq!((two.answers_lower_priority, two.answers_higher_priority), (false, false));
    assert_eq!(one.announce.other_interfaces_refresh, None, "without virtual MAC addresses");
    assert_eq!(two.announce.other_interfaces_refresh, Some(Duration::from_secs(100)));
    assert_eq!(two.preempt, Preempt::After(Duration::from_secs(1000)));
    assert!(load(&instance("V1", "preempt_delay 1000.1")).refused());
}

#[test]
fn strict_mode_takes_back_what_keepalived_does() {
    let loaded = sound(&format!(
        "global_defs {{\n vrrp_strict\n vrrp_down_timer_adverts 5\n}}\n{}{}",
        instance(
            "V1",
            "state MASTER\n priority 101\n nopreempt\n authentication {\n auth_type PASS\n auth_pass x\n }\n \
             higher_prio_send_advert\n garp_lower_prio_repeat 5",
        ),
        instance("V2", "strict_mode off\n authentication {\n auth_type PASS\n auth_pass x\n }"),
    ));
    let [strict, other] = &loaded.routers.as_slice() else { panic!("two routers") };
    assert_eq!((strict.authentication == Authentication::None, strict.missed_adverts), (true, 3));
    assert_eq!(strict.preempt, Preempt::Never, "MASTER does not count, so nopreempt does");
    assert_eq!((strict.answers_lower_priority, strict.answers_higher_priority), (false, false));
    assert_eq!(strict.announce.lower_priority_repeat, 0);
    assert_eq!((other.authentication == Authentication::None, other.missed_adverts), (false, 5));
    assert!(load(&instance("V1", "strict_mode\n unicast_peer {\n 10.0.1.2\n }")).refused());
}
