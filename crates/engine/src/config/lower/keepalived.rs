//! From the trees of keepalived.conf files to their part of a plan.
//!
//! Owns [`lower`] and what `global_defs` sets for all instances. `fields` holds statements against the table of
//! keywords; the others make one part of the plan each.

mod address;
mod authentication;
mod command;
mod delivery;
mod fields;
mod group;
mod hmac;
mod instance;
mod link_secret;
mod notify;
mod pace;
mod realtime;
mod routing;
mod script;
mod strict;
mod tracked;
mod tracking;
mod virtual_mac;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::config::Surroundings;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, Tree, codes};
use crate::config::source::Span;
use crate::limits;
use crate::plan::{
    AnnounceGap, NotifyFifo, Router, Script, ScriptUser, SyncGroup, TrackedFile, TrackedProcess, Version,
    VrrpStart,
};

use fields::Fields;
use group::lower_group;
use instance::{Instance, lower_instance};
use notify::lower_fifos;
use pace::{lower_gaps, other_interfaces_refresh};
use routing::RulePriorities;
use script::{KnownScript, lower_script};
use tracked::{lower_file, lower_process};
use tracking::{Known, report_untracked};

pub use realtime::realtime_priority;

/// The part of a plan that keepalived.conf files are about; the fields are those of [`Plan`](crate::plan::Plan).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are those of the plan")]
pub struct Parts {
    pub scripts: Vec<Script>,
    pub files: Vec<TrackedFile>,
    pub processes: Vec<TrackedProcess>,
    pub routers: Vec<Router>,
    pub groups: Vec<SyncGroup>,
    pub notify_fifos: Vec<NotifyFifo>,
    pub vrrp_start: VrrpStart,
    pub announce_gaps: Vec<AnnounceGap>,
}

/// Makes the part of a plan that all files together describe. Whatever is wrong goes to `diagnostics`; the plan is of use
/// only if nothing there is an error.
pub fn lower(trees: &[Tree], surroundings: &Surroundings<'_>, diagnostics: &mut Vec<Diagnostic>) -> Parts {
    let statements = || trees.iter().flat_map(|tree| &tree.statements);
    let root = Fields::read(Place::Root, statements(), diagnostics);
    let global = Fields::read(Place::GlobalDefinitions, root.inside("global_defs"), diagnostics);
    delivery::check_usual_groups(&global, diagnostics);
    let globals = Globals::read(&global);
    let (files, known_files) = lower_files(&root, diagnostics);
    let (processes, known_processes) = lower_processes(&root, diagnostics);
    let scripts = lower_scripts(&root, &globals, diagnostics);
    let mut known = Known { scripts, files: known_files, processes: known_processes };
    let mut instances: Vec<Instance> = Vec::new();
    let mut rules = RulePriorities::default();
    for statement in named(&root, "vrrp_instance", limits::ROUTERS, diagnostics) {
        instances.extend(lower_instance(
            statement,
            &globals,
            &mut known,
            &mut rules,
            surroundings,
            diagnostics,
        ));
    }
    virtual_mac::name_interfaces(&mut instances, &globals.vmac_prefix, diagnostics);
    check_vrids(&instances, diagnostics);
    let mut groups: Vec<SyncGroup> = Vec::new();
    for statement in named(&root, "vrrp_sync_group", limits::GROUPS, diagnostics) {
        let group = lower_group(statement, &groups, &mut instances, &globals, &mut known, diagnostics);
        groups.extend(group);
    }
    report_unused_scripts(&known.scripts, diagnostics);
    report_untracked(&known.files, diagnostics);
    report_untracked(&known.processes, diagnostics);
    Parts {
        scripts: known.scripts.into_iter().map(|known| known.script).collect(),
        files,
        processes,
        routers: instances.into_iter().map(|instance| instance.router).collect(),
        groups,
        notify_fifos: lower_fifos(&global, globals.script_user.as_ref(), diagnostics),
        vrrp_start: VrrpStart {
            after_start: global.seconds("vrrp_startup_delay").unwrap_or_default(),
            after_boot: global.seconds("vrrp_delay_after_boot").unwrap_or_default(),
        },
        announce_gaps: lower_gaps(&root, &global, diagnostics),
    }
}

fn report_unused_scripts(scripts: &[KnownScript], diagnostics: &mut Vec<Diagnostic>) {
    for script in scripts.iter().filter(|script| !script.tracked) {
        diagnostics.push(
            Diagnostic::note(
                codes::UNUSED_SCRIPT,
                script.span,
                "no instance tracks this script, so it never runs",
            )
            .hint("name it in a `track_script` block"),
        );
    }
}

fn lower_files(
    root: &Fields<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<TrackedFile>, Vec<tracking::KnownTracked>) {
    let mut statements = named(root, "track_file", limits::TRACKED_FILES, diagnostics);
    statements.extend(named(root, "vrrp_track_file", limits::TRACKED_FILES, diagnostics));
    statements.into_iter().filter_map(|statement| lower_file(statement, diagnostics)).unzip()
}

fn lower_processes(
    root: &Fields<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<TrackedProcess>, Vec<tracking::KnownTracked>) {
    let mut statements = named(root, "vrrp_track_process", limits::TRACKED_PROCESSES, diagnostics);
    statements.extend(named(root, "track_process", limits::TRACKED_PROCESSES, diagnostics));
    statements.into_iter().filter_map(|statement| lower_process(statement, diagnostics)).unzip()
}

fn lower_scripts(
    root: &Fields<'_>,
    globals: &Globals,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<KnownScript> {
    named(root, "vrrp_script", limits::SCRIPTS, diagnostics)
        .into_iter()
        .filter_map(|statement| lower_script(statement, globals, diagnostics))
        .collect()
}

/// The blocks of one kind, each name once and at most `most`.
fn named<'a>(
    root: &Fields<'a>,
    kind: &'static str,
    most: usize,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<&'a Statement> {
    let mut kept: Vec<&Statement> = Vec::new();
    for statement in root.all(kind) {
        let Some(name) = statement.values.first() else { continue };
        let namesake =
            kept.iter().filter_map(|other| other.values.first()).find(|other| other.text == name.text);
        if let Some(first) = namesake {
            let hint = if first.span.source == name.span.source {
                "rename one of them, and what refers to it"
            } else {
                "files of several balancers are checked with `mainstay check --compare`"
            };
            diagnostics.push(
                Diagnostic::error(
                    codes::SAME_NAME,
                    name.span,
                    format!("there are two `{kind} {}`", name.text),
                )
                .label("the second one")
                .related(first.span, "the first one")
                .hint(hint),
            );
        } else if kept.len() == most {
            diagnostics.push(
                Diagnostic::error(codes::TOO_MANY, name.span, format!("more than {most} `{kind}` blocks"))
                    .label("one too many"),
            );
            break;
        } else {
            kept.push(statement);
        }
    }
    kept
}

fn check_vrids(instances: &[Instance], diagnostics: &mut Vec<Diagnostic>) {
    for (index, instance) in instances.iter().enumerate() {
        let router = &instance.router;
        let twin = instances.iter().take(index).find(|other| {
            let other = &other.router;
            let same_family = other.family() == router.family();
            other.vrid == router.vrid && other.interface == router.interface && same_family
        });
        if let Some(twin) = twin {
            let message = format!(
                "`{}` and `{}` are the same virtual router {} on `{}`",
                twin.router.name, router.name, router.vrid, router.interface
            );
            diagnostics.push(
                Diagnostic::error(codes::SAME_VRID, instance.vrid_span, message)
                    .label("used a second time")
                    .related(twin.vrid_span, "first used here")
                    .hint("give each instance on an interface its own `virtual_router_id`"),
            );
        }
    }
}

/// What `global_defs` sets for all scripts and instances.
#[derive(Clone, Debug)]
struct Globals {
    script_user: Option<ScriptUser>,
    version: Version,
    group: IpAddr,
    group_ipv6: IpAddr,
    missed_adverts: u8,
    only_peers: bool,
    trusts_active_router: bool,
    vmac_prefix: String,
    announcements: Announcements,
    strict: bool,
    /// Where that stands.
    strict_span: Option<Span>,
    lower_prio_no_advert: bool,
    higher_prio_send_advert: bool,
    priority_changes: bool,
}

/// The numbers of `garp_*` keywords, before they become a policy.
#[derive(Clone, Copy, Debug)]
struct Announcements {
    delay: u32,
    repeat: u32,
    refresh: u32,
    refresh_repeat: u32,
    lower_priority_delay: u32,
    lower_priority_repeat: u32,
    other_interfaces_refresh: Option<Duration>,
}

impl Globals {
    fn read(fields: &Fields<'_>) -> Self {
        let least = fields.flag("vrrp_min_garp");
        let delay = fields.integer("vrrp_garp_master_delay").unwrap_or(if least { 0 } else { 5 });
        let repeat = fields.integer("vrrp_garp_master_repeat").unwrap_or(if least { 1 } else { 5 });
        Self {
            script_user: script_user(fields.last("script_user")),
            version: version(fields.integer("vrrp_version")).unwrap_or(Version::V2),
            group: fields.address("vrrp_mcast_group4").unwrap_or(VRRP_GROUP),
            group_ipv6: fields.address("vrrp_mcast_group6").unwrap_or(VRRP_GROUP_IPV6),
            missed_adverts: fields.integer("vrrp_down_timer_adverts").unwrap_or(3),
            only_peers: fields.flag("vrrp_check_unicast_src"),
            trusts_active_router: fields.flag("vrrp_skip_check_adv_addr"),
            vmac_prefix: fields.word("vmac_prefix").map_or("vrrp".to_owned(), |word| word.text.clone()),
            announcements: Announcements {
                delay,
                repeat,
                refresh: fields.integer("vrrp_garp_master_refresh").unwrap_or(0),
                refresh_repeat: fields.integer("vrrp_garp_master_refresh_repeat").unwrap_or(1),
                lower_priority_delay: fields.integer("vrrp_garp_lower_prio_delay").unwrap_or(delay),
                lower_priority_repeat: fields.integer("vrrp_garp_lower_prio_repeat").unwrap_or(repeat),
                other_interfaces_refresh: other_interfaces_refresh(fields.last("vrrp_garp_extra_if")),
            },
            strict: fields.flag("vrrp_strict"),
            strict_span: fields.last("vrrp_strict").map(|line| line.keyword.span),
            lower_prio_no_advert: fields.flag("vrrp_lower_prio_no_advert"),
            higher_prio_send_advert: fields.flag("vrrp_higher_prio_send_advert"),
            priority_changes: fields.flag("vrrp_notify_priority_changes"),
        }
    }
}

/// The group that RFC 9568 §5.1.1.2 assigns.
const VRRP_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 18));

/// The group that RFC 9568 §5.1.2.2 assigns.
const VRRP_GROUP_IPV6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12));

fn version(number: Option<u8>) -> Option<Version> {
    number.map(|number| if number == 3 { Version::V3 } else { Version::V2 })
}

fn script_user(statement: Option<&Statement>) -> Option<ScriptUser> {
    let mut words = statement?.values.iter().map(|word| word.text.clone());
    Some(ScriptUser { user: words.next()?, group: words.next() })
}

/// Reports that the block of `owner` lacks something.
fn missing(owner: &Statement, message: String, hint: &str, diagnostics: &mut Vec<Diagnostic>) {
    let span: Span = owner.span();
    diagnostics.push(Diagnostic::error(codes::MISSING, span, message).label("in this block").hint(hint));
}
