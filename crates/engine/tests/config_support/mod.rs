//! What the tests of both configuration languages share: fixtures and mutations of them, and findings in a short form.

use std::collections::BTreeSet;
use std::path::PathBuf;

use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::source::{Sources, Span};
use proptest::prelude::*;

/// Whether any finding is an error.
pub(crate) fn refused(diagnostics: &[Diagnostic]) -> bool {
    diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
}

/// Every finding as `line:column level[code] message`, with its line, its label, related places and hint below. Places in
/// several files have the file's name before them.
pub(crate) fn report(sources: &Sources, diagnostics: &[Diagnostic]) -> String {
    let files: BTreeSet<_> = diagnostics.iter().flat_map(places).map(|span| span.source).collect();
    diagnostics.iter().map(|diagnostic| show(sources, diagnostic, files.len() > 1)).collect()
}

fn places(diagnostic: &Diagnostic) -> impl Iterator<Item = Span> {
    let related = diagnostic.related.iter().map(|(span, _)| *span);
    diagnostic.span.into_iter().chain(related)
}

fn show(sources: &Sources, diagnostic: &Diagnostic, named: bool) -> String {
    let level = match diagnostic.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    let place = diagnostic.span.map_or_else(String::new, |span| place(sources, span, named));
    let mut shown = format!("{place} {level}[{}] {}\n", diagnostic.code, diagnostic.message);
    if let Some(span) = diagnostic.span {
        shown.push_str(&format!("    at {}", quoted(sources, span)));
        let label = &diagnostic.label;
        shown.push_str(&if label.is_empty() { "\n".to_owned() } else { format!(": {label}\n") });
    }
    for (span, label) in &diagnostic.related {
        shown.push_str(&format!(
            "    see {} {}: {label}\n",
            self::place(sources, *span, named),
            quoted(sources, *span)
        ));
    }
    if let Some(hint) = &diagnostic.hint {
        shown.push_str(&format!("    hint: {hint}\n"));
    }
    shown
}

fn place(sources: &Sources, span: Span, named: bool) -> String {
    let (line, column) = sources.line_column(span).expect("a place in the text");
    let name =
        if named { format!("{}:", sources.get(span.source).expect("a text").name) } else { String::new() };
    format!("{name}{line}:{column}")
}

fn quoted(sources: &Sources, span: Span) -> String {
    let text = sources.masked_text(span.source).expect("the text");
    format!("`{}`", &text[span.start as usize..span.end as usize])
}

/// Asserts that every place in `diagnostics` lies inside its text.
pub(crate) fn assert_inside(sources: &Sources, diagnostics: &[Diagnostic]) {
    let inside = |span: &Span| {
        let text = &sources.get(span.source).expect("a text").text;
        text.get(span.start as usize..span.end as usize).is_some()
    };
    for diagnostic in diagnostics {
        for span in places(diagnostic) {
            assert!(inside(&span), "{diagnostic:?} points outside");
        }
    }
}

/// The text of a fixture of the test `test`.
#[expect(clippy::disallowed_methods, reason = "a test may read its own fixtures")]
pub(crate) fn fixture(test: &str, name: &str) -> String {
    let path = directory(test).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all fixtures of the test `test`, in order.
pub(crate) fn fixtures(test: &str) -> Vec<String> {
    let directory = directory(test);
    let entries = std::fs::read_dir(&directory).expect("the fixtures");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    assert!(names.len() > 10, "the fixtures are in {}", directory.display());
    names
}

/// A fixture of the test `test` with some of it cut out or replaced by other words.
pub(crate) fn mutation(
    test: &'static str,
    word: impl Strategy<Value = String>,
) -> impl Strategy<Value = String> {
    let edit = (any::<prop::sample::Index>(), 0..40_usize, word);
    (proptest::sample::select(fixtures(test)), prop::collection::vec(edit, 1..6)).prop_map(
        move |(name, edits)| {
            let mut text: Vec<char> = fixture(test, &name).chars().collect();
            for (at, length, new) in edits {
                let at = at.index(text.len() + 1);
                let end = (at + length).min(text.len());
                text.splice(at..end, new.chars());
            }
            text.into_iter().collect()
        },
    )
}

fn directory(test: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests").join(test).join("fixtures")
}
