//! The `track_script` and `track_interface` blocks of an instance.

use super::address::check_interface;
use super::fields::{Fields, integer, recognise};
use super::script::KnownScript;
use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::keepalived::keywords::Place;
use crate::config::keepalived::{Statement, codes};
use crate::plan::{ScriptId, TrackEffect, TrackInterface, TrackScript};

/// The scripts an instance tracks.
pub(super) fn lower_track_scripts(
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
        let effect = effect(entry, known.effect, diagnostics);
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
pub(super) fn lower_track_interfaces(
    fields: &Fields<'_>,
    own: &str,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<TrackInterface> {
    let mut tracked: Vec<TrackInterface> = Vec::new();
    for entry in fields.inside("track_interface").filter(|entry| entry.keyword.filled) {
        let word = &entry.keyword;
        let effect = effect(entry, TrackEffect { weight: 0, reverse: false }, diagnostics);
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
fn effect(entry: &Statement, default: TrackEffect, diagnostics: &mut Vec<Diagnostic>) -> TrackEffect {
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
                match weight.filter(|weight| (-253..=253).contains(weight)) {
                    Some(weight) => effect = TrackEffect { weight, reverse: false },
                    None if !value.filled => {}
                    None => diagnostics.push(Diagnostic::error(
                        codes::OUT_OF_RANGE,
                        value.span,
                        format!("`weight` must be from -253 to 253, not `{}`", value.text),
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
