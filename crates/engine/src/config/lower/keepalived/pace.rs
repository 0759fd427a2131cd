//! How fast announcements may follow each other: `vrrp_garp_interval`, `vrrp_gna_interval` and `garp_group` blocks; and
//! how often they are repeated on other interfaces.

use std::time::Duration;

use super::fields::{Fields, integer};
use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::plan::AnnounceGap;

/// The gaps that groups of interfaces ask for, and then the one for all others.
pub(super) fn lower_gaps(
    root: &Fields<'_>,
    global: &Fields<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<AnnounceGap> {
    check_other_interfaces(global, "vrrp_garp_extra_if", diagnostics);
    let mut gaps: Vec<AnnounceGap> = Vec::new();
    for statement in root.all("garp_group") {
        let fields = Fields::read(Place::AnnounceGroup, statement.statements(), diagnostics);
        let lines =
            fields.inside("interfaces").flat_map(|line| std::iter::once(&line.keyword).chain(&line.values));
        let words: Vec<_> = fields.word("interface").into_iter().chain(lines).collect();
        if words.is_empty() {
            let message = "this group names no interface";
            let diagnostic = Diagnostic::error(codes::MISSING, statement.keyword.span, message);
            diagnostics.push(diagnostic.hint("add a line such as `interface eth0`"));
            continue;
        }
        for word in &words {
            if gaps.iter().any(|gap| gap.interfaces.contains(&word.text)) {
                let message = format!("`{}` is in another `garp_group` already", word.text);
                diagnostics.push(
                    Diagnostic::error(codes::SAME_NAME, word.span, message).hint("name it in one of them"),
                );
            }
        }
        let interval = |name, global_name: &str| {
            fields.seconds(name).or_else(|| global.seconds(global_name)).unwrap_or_default()
        };
        gaps.push(AnnounceGap {
            interfaces: words.into_iter().map(|word| word.text.clone()).collect(),
            arp: interval("garp_interval", "vrrp_garp_interval"),
            neighbour: interval("gna_interval", "vrrp_gna_interval"),
        });
    }
    let interval = |name| global.seconds(name).unwrap_or_default();
    let (arp, neighbour) = (interval("vrrp_garp_interval"), interval("vrrp_gna_interval"));
    if !(arp.is_zero() && neighbour.is_zero()) {
        gaps.push(AnnounceGap { interfaces: Vec::new(), arp, neighbour });
    }
    gaps
}

/// Reports what is wrong with a line that [`other_interfaces_refresh`] reads.
pub(super) fn check_other_interfaces(fields: &Fields<'_>, name: &str, diagnostics: &mut Vec<Diagnostic>) {
    let Some(line) = fields.last(name) else { return };
    let seconds = |text: &str| integer(text).is_some_and(|seconds| (0..=86_400).contains(&seconds));
    for word in line.values.iter().filter(|word| word.text != "all" && !seconds(&word.text)) {
        diagnostics.push(Diagnostic::error(
            codes::BAD_VALUE,
            word.span,
            format!("`{name}` takes `all` and seconds up to 86400, not `{}`", word.text),
        ));
    }
    if line.values.iter().all(|word| seconds(&word.text)) {
        let message = format!("without `all`, `{name}` is about virtual MAC addresses alone");
        diagnostics.push(
            Diagnostic::note(codes::NO_EFFECT, line.keyword.span, message)
                .hint(format!("write `{name} all SECONDS`")),
        );
    }
}

/// `[all] SECONDS`. Without `all` it is about virtual MAC addresses alone.
pub(super) fn other_interfaces_refresh(statement: Option<&Statement>) -> Option<Duration> {
    let words = &statement?.values;
    let all = words.iter().any(|word| word.text == "all");
    let seconds =
        words.iter().find_map(|word| integer(&word.text)).and_then(|seconds| u64::try_from(seconds).ok());
    seconds.filter(|seconds| all && *seconds > 0).map(Duration::from_secs)
}
