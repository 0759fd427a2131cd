//! What the tests of keepalived.conf share: loading a text, and showing what was found in a short form.

use std::path::PathBuf;

use mainstay_engine::config::diagnostic::{Diagnostic, Level};
use mainstay_engine::config::keepalived::{read, secrets};
use mainstay_engine::config::lower::keepalived::lower;
use mainstay_engine::config::source::{SourceId, Sources, Span};
use mainstay_engine::plan::{Router, Script};

/// What became of one text.
pub(crate) struct Loaded {
    pub(crate) sources: Sources,
    pub(crate) id: SourceId,
    pub(crate) scripts: Vec<Script>,
    pub(crate) routers: Vec<Router>,
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether any finding is an error.
    pub(crate) fn refused(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.level == Level::Error)
    }
}

/// Reads and lowers one text.
pub(crate) fn load(text: &str) -> Loaded {
    let mut sources = Sources::default();
    let id = sources.add("keepalived.conf", text);
    for secret in secrets(&sources, id) {
        sources.mark_secret(secret);
    }
    let (tree, mut diagnostics) = read(&sources, id);
    let (scripts, routers) = lower(&[tree], &mut diagnostics);
    Loaded { sources, id, scripts, routers, diagnostics }
}

/// Every finding as `line:column level[code] message`, with its line, its label, related places and hint below.
pub(crate) fn report(loaded: &Loaded) -> String {
    loaded.diagnostics.iter().map(|diagnostic| show(loaded, diagnostic)).collect()
}

fn show(loaded: &Loaded, diagnostic: &Diagnostic) -> String {
    let level = match diagnostic.level {
        Level::Error => "error",
        Level::Warning => "warning",
        Level::Note => "note",
    };
    let place = diagnostic.span.map_or_else(String::new, |span| place(loaded, span));
    let mut shown = format!("{place} {level}[{}] {}\n", diagnostic.code, diagnostic.message);
    if let Some(span) = diagnostic.span {
        shown.push_str(&format!("    at {}", quoted(loaded, span)));
        let label = &diagnostic.label;
        shown.push_str(&if label.is_empty() { "\n".to_owned() } else { format!(": {label}\n") });
    }
    for (span, label) in &diagnostic.related {
        shown.push_str(&format!(
            "    see {} {}: {label}\n",
            self::place(loaded, *span),
            quoted(loaded, *span)
        ));
    }
    if let Some(hint) = &diagnostic.hint {
        shown.push_str(&format!("    hint: {hint}\n"));
    }
    shown
}

fn place(loaded: &Loaded, span: Span) -> String {
    let (line, column) = loaded.sources.line_column(span).expect("a place in the text");
    format!("{line}:{column}")
}

fn quoted(loaded: &Loaded, span: Span) -> String {
    let text = loaded.sources.masked_text(loaded.id).expect("the text");
    format!("`{}`", &text[span.start as usize..span.end as usize])
}

/// The text of a fixture.
#[expect(clippy::disallowed_methods, reason = "a test may read its own fixtures")]
pub(crate) fn fixture(name: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived_config/fixtures").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of all fixtures, in order.
pub(crate) fn fixtures() -> Vec<String> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/keepalived_config/fixtures");
    let entries = std::fs::read_dir(&directory).expect("the fixtures");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    let mut names: Vec<String> = entries.filter_map(name).collect();
    names.sort();
    assert!(names.len() > 10, "the fixtures are in {}", directory.display());
    names
}
