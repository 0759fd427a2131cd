//! The `track_script`, `track_interface`, `track_file` and `track_process` blocks of instances and groups.

use super::address::check_interface;
use super::fields::{Fields, integer, recognise};
use super::script::KnownScript;
use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::config::source::Span;
use crate::plan::{
    FileId, ProcessId, ScriptId, TrackEffect, TrackFile, TrackInterface, TrackProcess, TrackScript,
};

/// What can be tracked, as far as it is defined.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) scripts: Vec<KnownScript>,
    pub(super) files: Vec<KnownTracked>,
    pub(super) processes: Vec<KnownTracked>,
}

/// A file, or processes, that can be tracked.
#[derive(Debug)]
pub(super) struct KnownTracked {
    pub(super) name: String,
    /// Where its name stands.
    pub(super) span: Span,
    /// What it does to a router that tracks it without saying more.
    pub(super) effect: TrackEffect,
    /// Whether anything tracks it.
    pub(super) tracked: bool,
}

/// Everything an instance or a group tracks.
#[derive(Debug)]
pub(super) struct Tracks {
    pub(super) scripts: Vec<TrackScript>,
    pub(super) interfaces: Vec<TrackInterface>,
    pub(super) files: Vec<TrackFile>,
    pub(super) processes: Vec<TrackProcess>,
}

/// What an instance on the interface `own`, or a group, tracks.
pub(super) fn lower_tracks(
    fields: &Fields<'_>,
    own: &str,
    known: &mut Known,
    diagnostics: &mut Vec<Diagnostic>,
) -> Tracks {
    let files = lower_tracked(fields, "track_file", &mut known.files, diagnostics);
    let processes = lower_tracked(fields, "track_process", &mut known.processes, diagnostics);
    Tracks {
        scripts: lower_track_scripts(fields, &mut known.scripts, diagnostics),
        interfaces: lower_track_interfaces(fields, own, diagnostics),
        files: files.map(|(file, effect)| TrackFile { file: FileId(file), effect }).collect(),
        processes: processes
            .map(|(process, effect)| TrackProcess { process: ProcessId(process), effect })
            .collect(),
    }
}

/// The files or processes an instance or a group tracks, by number.
fn lower_tracked(
    fields: &Fields<'_>,
    block: &'static str,
    known: &mut [KnownTracked],
    diagnostics: &mut Vec<Diagnostic>,
) -> impl Iterator<Item = (u16, TrackEffect)> + use<> {
    let mut tracked: Vec<(u16, TrackEffect)> = Vec::new();
    for entry in fields.inside(block).filter(|entry| entry.keyword.filled) {
        let word = &entry.keyword;
        let Some((found, number)) = known.iter_mut().zip(0..).find(|(known, _)| known.name == word.text)
        else {
            let message = format!("there is no `{block} {}`; Keepalived would not track it", word.text);
            let diagnostic =
                Diagnostic::error(codes::UNDEFINED_TRACKED, word.span, message).label("not defined");
            diagnostics.push(match did_you_mean(&word.text, known.iter().map(|known| known.name.as_str())) {
                Some(other) => diagnostic.hint(format!("did you mean `{other}`?")),
                None => diagnostic.hint("define it in a block of its own, at the top of the file"),
            });
            continue;
        };
        found.tracked = true;
        let effect = effect(entry, found.effect, 254, diagnostics);
        if tracked.iter().any(|(other, _)| *other == number) {
            let message = format!("`{}` is tracked already", word.text);
            let diagnostic = Diagnostic::warning(codes::TRACKED_TWICE, word.span, message);
            diagnostics.push(diagnostic.label("has no effect, as in Keepalived"));
        } else {
            tracked.push((number, effect));
        }
    }
    tracked.into_iter()
}

/// Reports files and processes that nothing tracks.
pub(super) fn report_untracked(known: &[KnownTracked], diagnostics: &mut Vec<Diagnostic>) {
    for unused in known.iter().filter(|known| !known.tracked) {
        let message = format!("nothing tracks `{}`, so it changes nothing", unused.name);
        diagnostics.push(
            Diagnostic::note(codes::UNTRACKED, unused.span, message)
                .hint("name it in a `track_file` or `track_process` block of an instance or a group"),
        );
    }
}

/// `weight N [reverse]` in the block of what is tracked.
pub(super) fn weight_statement(
    fields: &Fields<'_>,
    default: i16,
    most: i16,
    diagnostics: &mut Vec<Diagnostic>,
) -> TrackEffect {
    let mut effect = TrackEffect { weight: default, reverse: false };
    let Some(statement) = fields.last("weight") else { return effect };
    if let Some(word) = statement.values.first() {
        match integer(&word.text).and_then(|weight| i16::try_from(weight).ok()) {
            Some(weight) if (-most..=most).contains(&weight) => effect.weight = weight,
            _ => diagnostics.push(Diagnostic::error(
                codes::OUT_OF_RANGE,
                word.span,
                format!("`weight` must be from -{most} to {most}, not `{}`", word.text),
            )),
        }
    }
    match statement.values.get(1) {
        Some(word) if word.text == "reverse" => effect.reverse = true,
        Some(word) => diagnostics.push(
            Diagnostic::error(codes::BAD_VALUE, word.span, "only `reverse` may follow a weight")
                .label("not `reverse`"),
        ),
        None => {}
    }
    effect
}

/// The scripts an instance tracks.
fn lower_track_scripts(
    fields: &Fields<'_>,
    scripts: &mut [KnownScript],
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<TrackScript> {
    let mut tracked: Vec<TrackScript> = Vec::new();
    for entry in fields.inside("track_script").filter(|entry| entry.keyword.filled) {
        let word = &entry.keyword;
        let found = scripts.iter_mut().zip(0..).find(|(known, _)| known.script.name == word.text);
        let Some((known, index)) = found else {
            diagnostics.push(undefined(entry, scripts));
            continue;
        };
        known.tracked = true;
        let effect = effect(entry, known.effect, 253, diagnostics);
        let id = ScriptId(index);
        if tracked.iter().any(|other| other.script == id) {
            diagnostics.push(
                Diagnostic::warning(
                    codes::TRACKED_TWICE,
                    word.span,
                    format!("`{}` is tracked already", word.text),
                )
                .label("has no effect, as in Keepalived"),
            );
            continue;
        }
        let later = known.span.source > word.span.source
            || (known.span.source == word.span.source && known.span.start > word.span.start);
        if later {
            diagnostics.push(
                Diagnostic::warning(
                    codes::LATE_SCRIPT,
                    word.span,
                    format!(
                        "`{}` is defined further down: mainstay tracks it, Keepalived would not",
                        word.text
                    ),
                )
                .label("used here")
                .related(known.span, "defined here")
                .hint("move the `vrrp_script` block above the instance"),
            );
        }
        tracked.push(TrackScript { script: id, effect });
    }
    tracked
}

fn undefined(entry: &Statement, scripts: &[KnownScript]) -> Diagnostic {
    let name = entry.keyword.text.as_str();
    let message = format!("there is no `vrrp_script {name}`; Keepalived would not track it");
    let diagnostic =
        Diagnostic::error(codes::UNDEFINED_SCRIPT, entry.keyword.span, message).label("not defined");
    match did_you_mean(name, scripts.iter().map(|known| known.script.name.as_str())) {
        Some(other) => diagnostic.hint(format!("did you mean `{other}`?")),
        None => diagnostic.hint("define it in a `vrrp_script` block above the instance"),
    }
}

/// The interfaces an instance tracks beside its own.
fn lower_track_interfaces(
    fields: &Fields<'_>,
    own: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<TrackInterface> {
    let mut tracked: Vec<TrackInterface> = Vec::new();
    for entry in fields.inside("track_interface").filter(|entry| entry.keyword.filled) {
        let word = &entry.keyword;
        let effect = effect(entry, TrackEffect { weight: 0, reverse: false }, 253, diagnostics);
        if !check_interface(word, diagnostics) {
            continue;
        }
        let twice = if word.text == own && !fields.has("dont_track_primary") {
            Some(format!("`{own}` is the instance's own interface: its loss is a fault in any case"))
        } else if tracked.iter().any(|other| other.interface == word.text) {
            Some(format!("`{}` is tracked already", word.text))
        } else {
            None
        };
        if let Some(message) = twice {
            let diagnostic = Diagnostic::warning(codes::TRACKED_TWICE, word.span, message);
            diagnostics.push(diagnostic.label("has no effect, as in Keepalived"));
            continue;
        }
        tracked.push(TrackInterface { interface: word.text.clone(), effect });
    }
    tracked
}

/// `[weight N] [reverse]`, on top of what counts without them.
fn effect(
    entry: &Statement,
    default: TrackEffect,
    most: i16,
    diagnostics: &mut Vec<Diagnostic>,
) -> TrackEffect {
    let mut effect = default;
    if let Some(block) = &entry.block {
        let message = format!("`{}` takes no block here", entry.keyword.text);
        diagnostics.push(
            Diagnostic::error(codes::BLOCK_EXPECTED, block.open, message).hint("is a `}` missing above?"),
        );
        return effect;
    }
    let mut words = entry.values.iter();
    while let Some(word) = words.next() {
        let option = Statement { keyword: word.clone(), values: Vec::new(), block: None };
        match recognise(Place::Tracked, &option, diagnostics) {
            Some((_, "weight")) => {
                let Some(value) = words.next() else {
                    let message = "`weight` takes one value, and none follows";
                    let diagnostic = Diagnostic::error(codes::VALUE_COUNT, word.span, message);
                    diagnostics.push(diagnostic.label("a value is missing"));
                    break;
                };
                let weight = integer(&value.text).and_then(|weight| i16::try_from(weight).ok());
                match weight.filter(|weight| (-most..=most).contains(weight)) {
                    Some(weight) => effect = TrackEffect { weight, reverse: false },
                    None if !value.filled => {}
                    None => diagnostics.push(Diagnostic::error(
                        codes::OUT_OF_RANGE,
                        value.span,
                        format!("`weight` must be from -{most} to {most}, not `{}`", value.text),
                    )),
                }
            }
            Some((_, "reverse")) => effect.reverse = true,
            Some(_) => effect.reverse = false,
            None => {}
        }
    }
    effect
}
