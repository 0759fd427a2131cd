//! The `vrrp_sync_group` blocks: who is in which, and what all members track because the group does.

use super::fields::Fields;
use super::instance::Instance;
use super::notify::lower_notify;
use super::tracking::{Known, Tracks, lower_tracks};
use super::{Globals, missing};
use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, Word, codes};
use crate::plan::{Priority, Router, RouterId, SyncGroup, TrackEffect};

/// Makes a group of a block and has its members track what it tracks; `None` if it has no members.
pub(super) fn lower_group(
    statement: &Statement,
    earlier: &[SyncGroup],
    instances: &mut [Instance],
    globals: &Globals,
    known: &mut Known,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<SyncGroup> {
    let name = statement.values.first()?;
    let fields = Fields::read(Place::SyncGroup, statement.statements(), diagnostics);
    let mut members: Vec<(RouterId, &Word)> = Vec::new();
    for word in member_words(&fields) {
        match find(word, instances, earlier, &members) {
            Ok(id) => members.push((id, word)),
            Err(diagnostic) => diagnostics.push(*diagnostic),
        }
    }
    match members.as_slice() {
        [] => {
            let message = format!("sync group `{}` has no members", name.text);
            let hint = "add a block such as `group { VI_1 VI_2 }`";
            missing(statement, message, hint, diagnostics);
            return None;
        }
        [(_, word)] => diagnostics.push(
            Diagnostic::warning(
                codes::LONELY_MEMBER,
                word.span,
                format!("sync group `{}` has one member, so nothing moves with it", name.text),
            )
            .hint("name every instance that has to be active on the same balancer"),
        ),
        _ => {}
    }
    report_mixed_owners(&members, instances, diagnostics);
    report_free_weights(&fields, diagnostics);
    let free_weights = fields.has("sync_group_tracking_weight") || fields.has("global_tracking");
    let tracks = lower_tracks(&fields, "", known, diagnostics);
    let notify = lower_notify(&fields, globals, diagnostics);
    for (id, word) in &members {
        let Some(instance) = instances.get_mut(usize::from(id.0)) else { continue };
        let router = &mut instance.router;
        if !free_weights {
            drop_weights(router, word, diagnostics);
        }
        track_with_group(router, &tracks, word, diagnostics);
        if !instance.says_priority_changes {
            router.notify.priority_changes = notify.priority_changes;
        }
    }
    let members = members.into_iter().map(|(id, _)| id).collect();
    Some(SyncGroup { name: name.text.clone(), members, notify })
}

/// Names stand one or more to a line.
fn member_words<'a>(fields: &Fields<'a>) -> impl Iterator<Item = &'a Word> {
    let words = fields.inside("group").flat_map(|line| std::iter::once(&line.keyword).chain(&line.values));
    words.filter(|word| word.filled)
}

fn find(
    word: &Word,
    instances: &[Instance],
    earlier: &[SyncGroup],
    members: &[(RouterId, &Word)],
) -> Result<RouterId, Box<Diagnostic>> {
    let names = || instances.iter().map(|instance| instance.router.name.as_str());
    let Some((_, number)) = names().zip(0..).find(|(name, _)| *name == word.text) else {
        let message = format!("there is no `vrrp_instance {}`; Keepalived would leave it out", word.text);
        let diagnostic = Diagnostic::error(codes::UNDEFINED_MEMBER, word.span, message).label("not defined");
        return Err(Box::new(match did_you_mean(&word.text, names()) {
            Some(other) => diagnostic.hint(format!("did you mean `{other}`?")),
            None => diagnostic.hint("define it, or take it out of the group"),
        }));
    };
    let id = RouterId(number);
    let elsewhere = earlier.iter().find(|group| group.members.contains(&id));
    let message = match elsewhere {
        Some(other) => format!("`{}` is in sync group `{}` already", word.text, other.name),
        None if members.iter().any(|(member, _)| *member == id) => {
            format!("`{}` is in this group already", word.text)
        }
        None => return Ok(id),
    };
    let diagnostic = Diagnostic::error(codes::MEMBER_TWICE, word.span, message);
    Err(Box::new(diagnostic.label("Keepalived would leave it out here").hint("name it once")))
}

fn report_mixed_owners(
    members: &[(RouterId, &Word)],
    instances: &[Instance],
    diagnostics: &mut Vec<Diagnostic>,
) {
    let owns = |id: &RouterId| {
        instances.get(usize::from(id.0)).is_some_and(|instance| instance.router.priority == Priority::OWNER)
    };
    let (Some((_, owner)), Some((_, other))) =
        (members.iter().find(|(id, _)| owns(id)), members.iter().find(|(id, _)| !owns(id)))
    else {
        return;
    };
    let message = format!("`{}` owns its addresses and `{}` does not", owner.text, other.text);
    diagnostics.push(
        Diagnostic::warning(codes::MIXED_OWNERS, owner.span, message)
            .label("is active as soon as the others of the group are")
            .related(other.span, "waits for the silence of others")
            .hint("give all members of a group the same priority"),
    );
}

fn report_free_weights(fields: &Fields<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let names = ["sync_group_tracking_weight", "global_tracking"];
    for statement in names.into_iter().filter_map(|name| fields.last(name)) {
        let message =
            format!("`{}` lets members of one group have different priorities", statement.keyword.text);
        diagnostics.push(
            Diagnostic::warning(codes::FREE_WEIGHTS, statement.keyword.span, message)
                .label("two balancers may never agree who is active")
                .hint("track scripts, files and interfaces in the group instead"),
        );
    }
}

/// Members have to agree about their priority, so what one of them tracks alone cannot have a weight. As with
/// Keepalived, an interface without its weight is a fault while it is down, and a script is not tracked.
fn drop_weights(router: &mut Router, word: &Word, diagnostics: &mut Vec<Diagnostic>) {
    let weighted = |effect: &TrackEffect| effect.weight != 0;
    let mut dropped = Vec::new();
    for track in router.track_interfaces.iter_mut().filter(|track| weighted(&track.effect)) {
        track.effect.weight = 0;
        dropped.push("an interface, whose loss is a fault");
    }
    for track in router.track_files.iter_mut().filter(|track| track.effect.weight == 1) {
        track.effect.weight = 0;
        dropped.push("a file, in which any number but 0 is a fault");
    }
    let before = (router.track_scripts.len(), router.track_files.len());
    router.track_scripts.retain(|track| !weighted(&track.effect));
    router.track_files.retain(|track| !weighted(&track.effect));
    if router.track_scripts.len() < before.0 {
        dropped.push("a script, which is not tracked");
    }
    if router.track_files.len() < before.1 {
        dropped.push("a file, which is not tracked");
    }
    for what in dropped {
        let message = format!("in a group the weight does not count that `{}` gives {what}", word.text);
        diagnostics.push(
            Diagnostic::warning(codes::GROUP_WEIGHT, word.span, message)
                .label("as in Keepalived")
                .hint("track it in the group, where it changes the priority of every member"),
        );
    }
}

/// Has a member track what its group tracks.
fn track_with_group(router: &mut Router, group: &Tracks, word: &Word, diagnostics: &mut Vec<Diagnostic>) {
    let own = &router.interface;
    let others = group.interfaces.iter().filter(|track| track.interface != *own);
    let twice = [
        join(&mut router.track_scripts, group.scripts.iter(), |it| (it.script, &mut it.effect)),
        join(&mut router.track_files, group.files.iter(), |it| (it.file, &mut it.effect)),
        join(&mut router.track_processes, group.processes.iter(), |it| (it.process, &mut it.effect)),
        join(&mut router.track_interfaces, others, |it| (it.interface.clone(), &mut it.effect)),
    ];
    if twice.contains(&true) {
        let message = format!("`{}` tracks something that its group tracks as well", word.text);
        let diagnostic = Diagnostic::warning(codes::TRACKED_TWICE, word.span, message);
        diagnostics.push(diagnostic.label("the group's weight counts").hint("track it in the group alone"));
    }
}

/// Adds what the group tracks to what a member tracks. Of what both track, the group's weight counts unless the member's
/// has none. Whether there is any of that.
fn join<'a, T: Clone + 'a, K: PartialEq>(
    own: &mut Vec<T>,
    of_group: impl Iterator<Item = &'a T>,
    parts: impl Fn(&mut T) -> (K, &mut TrackEffect),
) -> bool {
    let mut twice = false;
    for track in of_group {
        let mut track = track.clone();
        let (key, effect) = parts(&mut track);
        let same = own.iter_mut().find_map(|other| {
            let (other_key, effect) = parts(other);
            (other_key == key).then_some(effect)
        });
        let Some(same) = same else {
            own.push(track);
            continue;
        };
        twice = true;
        if same.weight != 0 {
            *same = *effect;
        }
    }
    twice
}
