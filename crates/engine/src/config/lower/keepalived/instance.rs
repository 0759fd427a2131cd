//! One `vrrp_instance` block.

use std::time::Duration;

use super::address::{check_families, check_interface, check_twins, lower_addresses};
use super::authentication::lower_authentication;
use super::delivery::lower_delivery;
use super::fields::Fields;
use super::link_secret::link_secret;
use super::notify::lower_notify;
use super::pace::{check_other_interfaces, other_interfaces_refresh};
use super::routing::{RulePriorities, lower_routing};
use super::tracking::{Known, lower_tracks};
use super::virtual_mac::{UseVmac, use_vmac};
use super::{Globals, missing, strict, version};
use crate::config::Surroundings;
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, Word, codes};
use crate::config::source::Span;
use crate::plan::{
    AnnouncePolicy, ChecksumForm, Family, Preempt, Priority, Router, Version, VirtualAddress, Vrid,
};
use crate::time::Centis;

/// A router, and where its identifier stands.
#[derive(Debug)]
pub(super) struct Instance {
    /// What goes into the plan.
    pub(super) router: Router,
    /// Where its virtual router id stands.
    pub(super) vrid_span: Span,
    /// What it says about a hardware address of its own.
    pub(super) use_vmac: Option<UseVmac>,
    /// Whether it says itself if changes of its priority are written to FIFOs.
    pub(super) says_priority_changes: bool,
}

/// Makes a router of a block; `None` if it lacks something a router cannot do without.
pub(super) fn lower_instance(
    statement: &Statement,
    globals: &Globals,
    known: &mut Known,
    rules: &mut RulePriorities,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Instance> {
    let name = statement.values.first()?;
    let fields = Fields::read(Place::Instance, statement.statements(), diagnostics);
    let version = version(fields.integer("version")).unwrap_or(globals.version);
    let says_master = starts_active(&fields, diagnostics);
    let priority = priority(&fields, says_master, diagnostics);
    let strict = strict::is_strict(&fields, globals);
    let state_counts = !strict || strict::state_counts(&fields, priority, diagnostics);
    let interface = interface(statement, name, &fields, diagnostics);
    let vrid = vrid(statement, name, &fields, diagnostics);
    let interface_name = interface.map(|word| word.text.clone()).unwrap_or_default();
    let (addresses, excluded_addresses) = addresses(statement, name, &fields, &interface_name, diagnostics);
    let family = addresses.first().map_or(Family::Ipv4, |own| Family::of(own.address));
    let version = version_over(family, version, &fields, diagnostics);
    let (source, delivery) = lower_delivery(&fields, family, globals, diagnostics);
    let advert_interval = advert_interval(&fields, version, diagnostics);
    let authentication = lower_authentication(&fields, version, advert_interval, surroundings, diagnostics);
    let use_vmac = use_vmac(&fields, &delivery, diagnostics);
    check_other_interfaces(&fields, "garp_extra_if", diagnostics);
    let tracks = lower_tracks(&fields, &interface_name, known, diagnostics);
    let mut router = Router {
        name: name.text.clone(),
        // An instance without one was reported, and is dropped below.
        vrid: vrid.or(Vrid::new(1))?,
        priority,
        version,
        advert_interval,
        delivery,
        source,
        checksum: checksum(&fields, diagnostics),
        missed_adverts: fields.integer("down_timer_adverts").unwrap_or(globals.missed_adverts),
        trusts_active_router: fields.flag_or("skip_check_adv_addr", globals.trusts_active_router),
        link_secret: link_secret(&fields, &authentication),
        authentication,
        preempt: preempt(&fields, says_master && state_counts, diagnostics),
        addresses,
        excluded_addresses,
        virtual_mac: None,
        routing: lower_routing(&fields, rules, diagnostics),
        track_scripts: tracks.scripts,
        track_interfaces: tracks.interfaces,
        track_files: tracks.files,
        track_processes: tracks.processes,
        ignore_own_interface: fields.has("dont_track_primary"),
        answers_lower_priority: !fields.flag_or("lower_prio_no_advert", globals.lower_prio_no_advert),
        answers_higher_priority: fields.flag_or("higher_prio_send_advert", globals.higher_prio_send_advert),
        announce: announce(&fields, globals),
        notify: lower_notify(&fields, globals, diagnostics),
        interface: interface_name,
    };
    if strict {
        strict::apply(&mut router, &fields, diagnostics);
        strict::report_accept(&router, &fields, globals, diagnostics);
    }
    let vrid_span = fields.word("virtual_router_id").map_or(name.span, |word| word.span);
    (interface.is_some() && vrid.is_some()).then_some(Instance {
        router,
        vrid_span,
        use_vmac,
        says_priority_changes: fields.has("notify_priority_changes"),
    })
}

/// Version 2 does not exist over IPv6 (RFC 3768 §1); Keepalived goes by version 3 there, whatever is configured.
fn version_over(
    family: Family,
    version: Version,
    fields: &Fields<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Version {
    if family == Family::Ipv4 || version == Version::V3 {
        return version;
    }
    if let Some(word) = fields.word("version") {
        diagnostics.push(
            Diagnostic::warning(
                codes::NO_EFFECT,
                word.span,
                "version 2 does not exist over IPv6: version 3 is used",
            )
            .label("has no effect, as in Keepalived")
            .hint("write `version 3`"),
        );
    }
    Version::V3
}

/// The one form of checksum to send, where the file asks for one.
fn checksum(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<ChecksumForm> {
    if fields.flag("v3_checksum_as_v2") {
        return Some(ChecksumForm::MessageOnly);
    }
    let old = fields.last("old_unicast_checksum")?;
    let Some(word) = old.values.first() else { return Some(ChecksumForm::GroupPseudoHeader) };
    if word.text != "never" {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_VALUE,
                word.span,
                format!("`old_unicast_checksum` takes `never` or nothing, not `{}`", word.text),
            )
            .label("neither"),
        );
    }
    Some(ChecksumForm::PseudoHeader)
}

/// Whether the instance says `state MASTER`, which is all a state changes.
fn starts_active(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let Some(word) = fields.word("state") else { return false };
    if !["MASTER", "BACKUP"].contains(&word.text.as_str()) {
        let diagnostic = Diagnostic::error(
            codes::BAD_VALUE,
            word.span,
            format!("`state` takes MASTER or BACKUP, not `{}`", word.text),
        );
        let upper = word.text.to_uppercase();
        diagnostics.push(match ["MASTER", "BACKUP"].into_iter().find(|known| upper.starts_with(known)) {
            Some(known) => diagnostic.hint(format!("write `state {known}`")),
            None => diagnostic,
        });
    }
    word.text == "MASTER"
}

fn interface<'a>(
    statement: &Statement,
    name: &Word,
    fields: &Fields<'a>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'a Word> {
    let Some(word) = fields.word("interface") else {
        if !fields.has("interface") {
            let message = format!("instance `{}` has no interface", name.text);
            missing(statement, message, "add a line such as `interface eth0`", diagnostics);
        }
        return None;
    };
    if word.text == "lo" {
        diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, "adverts cannot travel on the loopback interface")
                .hint("name the interface of the LAN that clients come from"),
        );
    }
    check_interface(word, diagnostics).then_some(word)
}

fn vrid(
    statement: &Statement,
    name: &Word,
    fields: &Fields<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Vrid> {
    if !fields.has("virtual_router_id") {
        let message = format!("instance `{}` has no virtual router id", name.text);
        let hint = "add a line such as `virtual_router_id 51`, the same number on every balancer";
        missing(statement, message, hint, diagnostics);
    }
    Vrid::new(fields.integer("virtual_router_id")?)
}

fn priority(fields: &Fields<'_>, starts_active: bool, diagnostics: &mut Vec<Diagnostic>) -> Priority {
    if let Some(priority) = fields.integer("priority") {
        return Priority(priority);
    }
    let Some(state) = fields.last("state").filter(|_| starts_active && !fields.has("priority")) else {
        return DEFAULT_PRIORITY;
    };
    diagnostics.push(
        Diagnostic::warning(
            codes::OWNER_BY_DEFAULT,
            state.span(),
            "without a `priority`, `state MASTER` means 255: this balancer owns the addresses, and no check lowers it",
        )
        .hint("add a line such as `priority 101`"),
    );
    Priority::OWNER
}

/// RFC 9568 §5.2.4.
const DEFAULT_PRIORITY: Priority = Priority(100);

fn advert_interval(fields: &Fields<'_>, version: Version, diagnostics: &mut Vec<Diagnostic>) -> Centis {
    let (Some(word), Some(asked)) = (fields.word("advert_int"), fields.seconds("advert_int")) else {
        return DEFAULT_ADVERT_INTERVAL;
    };
    // Keepalived rounds to the nearest unit the version can express.
    let (unit, most) = match version {
        Version::V2 => (Duration::from_secs(1), 25_500),
        Version::V3 => (Duration::from_millis(10), 4_095),
    };
    let units = (asked + unit / 2).as_nanos() / unit.as_nanos();
    let centis = u16::try_from(units.max(1) * (unit.as_millis() / 10)).unwrap_or(u16::MAX);
    let interval = Centis::new(centis.min(most));
    if centis > most {
        diagnostics.push(
            Diagnostic::error(
                codes::OUT_OF_RANGE,
                word.span,
                "`advert_int` must be at most 40.95 in version 3",
            )
            .label("does not fit the advert"),
        );
    } else if interval.to_duration() != asked {
        let message = match version {
            Version::V2 => {
                format!("version 2 counts whole seconds: `advert_int {}` becomes {interval}", word.text)
            }
            Version::V3 => {
                format!(
                    "version 3 counts hundredths of seconds: `advert_int {}` becomes {interval}",
                    word.text
                )
            }
        };
        let diagnostic = Diagnostic::warning(codes::ROUNDED_INTERVAL, word.span, message);
        diagnostics.push(match version {
            Version::V2 => diagnostic.hint("`version 3` on every balancer allows 0.01 and more"),
            Version::V3 => diagnostic,
        });
    }
    interval
}

/// RFC 9568 §5.2.7.
const DEFAULT_ADVERT_INTERVAL: Centis = Centis::new(100);

fn preempt(fields: &Fields<'_>, starts_active: bool, diagnostics: &mut Vec<Diagnostic>) -> Preempt {
    let never = fields.last("nopreempt");
    let delay = fields.last("preempt_delay");
    let mut undone = |statement: &Statement, message: String| {
        diagnostics.push(
            Diagnostic::warning(codes::PREEMPT_CONFLICT, statement.keyword.span, message)
                .label("has no effect, as in Keepalived")
                .hint("for this to count, write `state BACKUP` on every balancer"),
        );
    };
    if starts_active {
        for statement in [never, delay].into_iter().flatten() {
            undone(statement, format!("`state MASTER` undoes `{}`", statement.keyword.text));
        }
        return Preempt::After(Duration::ZERO);
    }
    if never.is_none() {
        return Preempt::After(fields.seconds("preempt_delay").unwrap_or_default());
    }
    if let Some(delay) = delay {
        diagnostics.push(
            Diagnostic::warning(
                codes::PREEMPT_CONFLICT,
                delay.keyword.span,
                "`nopreempt` undoes `preempt_delay`",
            )
            .label("has no effect, as in Keepalived"),
        );
    }
    Preempt::Never
}

fn addresses(
    statement: &Statement,
    name: &Word,
    fields: &Fields<'_>,
    interface: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> (Vec<VirtualAddress>, Vec<VirtualAddress>) {
    if fields.inside("virtual_ipaddress").next().is_none() {
        let message = format!("instance `{}` has no virtual address", name.text);
        let hint = "add a line such as `virtual_ipaddress { 192.0.2.10/24 }`";
        missing(statement, message, hint, diagnostics);
    }
    let advertised = lower_addresses(fields.inside("virtual_ipaddress"), interface, diagnostics);
    check_families(&advertised, diagnostics);
    let excluded = lower_addresses(fields.inside("virtual_ipaddress_excluded"), interface, diagnostics);
    let advertised_count = advertised.len();
    let all: Vec<_> = advertised.into_iter().chain(excluded).collect();
    check_twins(&all, diagnostics);
    let mut addresses: Vec<_> = all.into_iter().map(|(address, _)| address).collect();
    let excluded = addresses.split_off(advertised_count);
    (addresses, excluded)
}

fn announce(fields: &Fields<'_>, globals: &Globals) -> AnnouncePolicy {
    let seconds = |count: u32| Duration::from_secs(u64::from(count));
    let or = |name: &str, default: u32| fields.integer(name).unwrap_or(default);
    let defaults = globals.announcements;
    let refresh = or("garp_master_refresh", defaults.refresh);
    AnnouncePolicy {
        repeat: or("garp_master_repeat", defaults.repeat),
        delay: seconds(or("garp_master_delay", defaults.delay)),
        refresh: (refresh > 0).then_some(seconds(refresh)),
        refresh_repeat: or("garp_master_refresh_repeat", defaults.refresh_repeat),
        lower_priority_repeat: or("garp_lower_prio_repeat", defaults.lower_priority_repeat),
        lower_priority_delay: seconds(or("garp_lower_prio_delay", defaults.lower_priority_delay)),
        other_interfaces_refresh: match fields.last("garp_extra_if") {
            Some(line) => other_interfaces_refresh(Some(line)),
            None => defaults.other_interfaces_refresh,
        },
    }
}
