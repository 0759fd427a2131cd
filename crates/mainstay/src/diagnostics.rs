//! Findings about a configuration, as people and programs read them.
//!
//! Owns three renderings of the one [`Diagnostic`]: `full` shows the line with a caret, `short` is a line for each, `json`
//! is for programs. Passwords are never shown: texts are quoted masked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level as Mark, Renderer, Snippet};
use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::source::{SourceId, Sources, Span};
use serde::Serialize;

use crate::configuration::Findings;

/// How findings look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Each with its line, a caret and a hint; notes, which are many and change nothing, in a line each.
    #[default]
    Full,
    /// `file:line:column: level[code]: message`, a line for each.
    Short,
    /// One JSON object with `valid` and all findings.
    Json,
}

/// Renders all findings; `colour` is for terminals and concerns [`Format::Full`] alone.
pub fn render(findings: &Findings, format: Format, colour: bool) -> String {
    let Findings { sources, diagnostics } = findings;
    match format {
        Format::Full => {
            let (notes, others): (Vec<_>, Vec<_>) =
                diagnostics.iter().partition(|diagnostic| diagnostic.level == Level::Note);
            let masked = masked_texts(sources, &others);
            let others = others.iter().map(|diagnostic| full(sources, &masked, diagnostic, colour) + "\n\n");
            let notes_end = if notes.is_empty() { "" } else { "\n" };
            let notes = notes.iter().map(|diagnostic| short(sources, diagnostic) + "\n");
            others.chain(notes).chain([notes_end.to_owned()]).collect()
        }
        Format::Short => diagnostics.iter().map(|diagnostic| short(sources, diagnostic) + "\n").collect(),
        Format::Json => json(findings),
    }
}

/// One finding in one line, its hint included.
pub fn short(sources: &Sources, diagnostic: &Diagnostic) -> String {
    let Diagnostic { code, message, hint, .. } = diagnostic;
    let place = diagnostic
        .span
        .and_then(|span| place(sources, span))
        .map_or_else(String::new, |place| format!("{}:{}:{}: ", place.file, place.line, place.column));
    let hint = hint.as_ref().map_or_else(String::new, |hint| format!("; hint: {hint}"));
    format!("{place}{}[{code}]: {message}{hint}", word(diagnostic.level))
}

/// The word for a level.
pub fn word(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    }
}

/// The texts that findings point into, as they may be shown; each is masked once, however many findings there are.
type MaskedTexts = BTreeMap<SourceId, String>;

fn masked_texts(sources: &Sources, diagnostics: &[&Diagnostic]) -> MaskedTexts {
    let related = diagnostics.iter().flat_map(|diagnostic| &diagnostic.related).map(|(span, _)| span.source);
    let primary = diagnostics.iter().filter_map(|diagnostic| diagnostic.span).map(|span| span.source);
    let ids: BTreeSet<_> = primary.chain(related).collect();
    ids.into_iter().filter_map(|id| Some((id, sources.masked_text(id)?))).collect()
}

fn full(sources: &Sources, masked: &MaskedTexts, diagnostic: &Diagnostic, colour: bool) -> String {
    let mark = match diagnostic.level {
        Level::Error => Mark::ERROR,
        Level::Warning => Mark::WARNING,
        Level::Note => Mark::NOTE,
    };
    let title = mark.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group = Group::with_title(title);
    let texts = texts(sources, masked, diagnostic);
    for (name, text, spans) in &texts {
        let annotations = spans.iter().map(|(kind, range, label)| kind.span(range.clone()).label(*label));
        group = group.element(Snippet::source(*text).path(*name).annotations(annotations));
    }
    if let Some(hint) = &diagnostic.hint {
        group = group.element(Mark::HELP.with_name("hint").message(hint.as_str()));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// One text and what is marked in it.
type Marked<'a> = (&'a str, &'a str, Vec<(AnnotationKind, Range<usize>, &'a str)>);

/// The texts that a finding points into, masked; the one with the finding itself comes first.
fn texts<'a>(sources: &'a Sources, masked: &'a MaskedTexts, diagnostic: &'a Diagnostic) -> Vec<Marked<'a>> {
    let primary = diagnostic.span.map(|span| (AnnotationKind::Primary, span, diagnostic.label.as_str()));
    let related =
        diagnostic.related.iter().map(|(span, label)| (AnnotationKind::Context, *span, label.as_str()));
    let mut order = Vec::new();
    let mut texts: Vec<Marked<'a>> = Vec::new();
    for (kind, span, label) in primary.into_iter().chain(related) {
        let Some(index) = order.iter().position(|known| *known == span.source) else {
            let (Some(source), Some(text)) = (sources.get(span.source), masked.get(&span.source)) else {
                continue;
            };
            order.push(span.source);
            texts.push((source.name.as_str(), text, vec![(kind, range(span), label)]));
            continue;
        };
        if let Some((_, _, spans)) = texts.get_mut(index) {
            spans.push((kind, range(span), label));
        }
    }
    texts
}

fn range(span: Span) -> Range<usize> {
    let byte = |at| usize::try_from(at).unwrap_or(usize::MAX);
    byte(span.start)..byte(span.end)
}

#[derive(Serialize)]
struct Place<'a> {
    file: &'a str,
    line: usize,
    column: usize,
}

#[derive(Serialize)]
struct Related<'a> {
    place: Option<Place<'a>>,
    label: &'a str,
}

#[derive(Serialize)]
struct Finding<'a> {
    level: Level,
    code: &'static str,
    message: &'a str,
    place: Option<Place<'a>>,
    label: &'a str,
    related: Vec<Related<'a>>,
    hint: Option<&'a str>,
}

#[derive(Serialize)]
struct Report<'a> {
    valid: bool,
    diagnostics: Vec<Finding<'a>>,
}

fn json(all: &Findings) -> String {
    let sources = &all.sources;
    let findings = all.diagnostics.iter().map(|diagnostic| Finding {
        level: diagnostic.level,
        code: diagnostic.code,
        message: &diagnostic.message,
        place: diagnostic.span.and_then(|span| place(sources, span)),
        label: &diagnostic.label,
        related: diagnostic
            .related
            .iter()
            .map(|(span, label)| Related { place: place(sources, *span), label })
            .collect(),
        hint: diagnostic.hint.as_deref(),
    });
    let report = Report { valid: all.valid(), diagnostics: findings.collect() };
    serde_json::to_string(&report).unwrap_or_default() + "\n"
}

fn place(sources: &Sources, span: Span) -> Option<Place<'_>> {
    let (line, column) = sources.line_column(span)?;
    Some(Place { file: &sources.get(span.source)?.name, line, column })
}

#[cfg(test)]
mod tests {
    use mainstay_engine::config::keepalived;

    use super::*;

    fn findings() -> Findings {
        let mut sources = Sources::default();
        let text = "vrrp_instance V {\n  auth_pass hunter2\n  prio 1\n}\n";
        let id = sources.add("lb1.conf", text);
        for secret in keepalived::secrets(&sources, id) {
            sources.mark_secret(secret);
        }
        let span = |word: &str| {
            let start = text.find(word).unwrap();
            let offset = |at| u32::try_from(at).unwrap();
            Span { source: id, start: offset(start), end: offset(start + word.len()) }
        };
        let found = Diagnostic::error("K010", span("prio"), "unknown keyword `prio`")
            .label("not a keyword")
            .related(span("hunter2"), "a password")
            .hint("did you mean `priority`?");
        Findings { sources, diagnostics: vec![found] }
    }

    #[test]
    fn full_shows_the_line_with_a_caret() {
        insta::assert_snapshot!(render(&findings(), Format::Full, false).trim_end(), @"
        error[K010]: unknown keyword `prio`
         --> lb1.conf:3:3
          |
        2 |   auth_pass *******
          |             ------- a password
        3 |   prio 1
          |   ^^^^ not a keyword
          |
          = hint: did you mean `priority`?
        ");
    }

    #[test]
    fn short_is_one_line() {
        insta::assert_snapshot!(render(&findings(), Format::Short, false), @"lb1.conf:3:3: error[K010]: unknown keyword `prio`; hint: did you mean `priority`?");
    }

    #[test]
    fn json_has_places_for_programs() {
        insta::assert_snapshot!(render(&findings(), Format::Json, false), @r#"{"valid":false,"diagnostics":[{"level":"error","code":"K010","message":"unknown keyword `prio`","place":{"file":"lb1.conf","line":3,"column":3},"label":"not a keyword","related":[{"place":{"file":"lb1.conf","line":2,"column":13},"label":"a password"}],"hint":"did you mean `priority`?"}]}"#);
    }
}
