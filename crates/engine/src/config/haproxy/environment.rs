//! The environment that a file sees: the daemon's own, what the files set or removed, and where reading is.
//!
//! Owns [`Environment`]. `.FILE`, `.LINE` and `.SECTION` are variables that only the reader knows.

use std::collections::BTreeMap;

use crate::config::haproxy::tree::Word;

/// Variables.
pub(super) struct Environment<'a> {
    outer: &'a dyn Fn(&str) -> Option<String>,
    /// Whether `resetenv` hid the daemon's own.
    hidden: bool,
    /// What the files set or removed themselves.
    changed: BTreeMap<String, Option<String>>,
    /// Which file is read.
    pub(super) file: String,
    /// Its line, counted from 1.
    pub(super) line: usize,
    /// The name of the section; empty where it has none.
    pub(super) section: String,
}

impl<'a> Environment<'a> {
    pub(super) fn new(outer: &'a dyn Fn(&str) -> Option<String>) -> Self {
        let (file, section) = (String::new(), String::new());
        Self { outer, hidden: false, changed: BTreeMap::new(), file, line: 0, section }
    }

    /// The value of a variable.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        match name {
            ".FILE" => Some(self.file.clone()),
            ".LINE" => Some(self.line.to_string()),
            ".SECTION" => Some(self.section.clone()),
            _ => match self.changed.get(name) {
                Some(value) => value.clone(),
                None if self.hidden => None,
                None => (self.outer)(name),
            },
        }
    }

    /// Carries out a line of section `global` that changes the environment.
    pub(super) fn change(&mut self, words: &[Word]) {
        let mut texts = words.iter().map(|word| word.text.as_str());
        match (texts.next(), texts.next(), texts.next()) {
            (Some("setenv"), Some(name), Some(value)) => self.set(name, Some(value.to_owned())),
            (Some("presetenv"), Some(name), Some(value)) if self.get(name).is_none() => {
                self.set(name, Some(value.to_owned()));
            }
            (Some("unsetenv"), ..) => {
                words.iter().skip(1).for_each(|word| self.set(&word.text, None));
            }
            (Some("resetenv"), ..) => {
                let kept = words.iter().skip(1).map(|word| (word.text.clone(), self.get(&word.text)));
                self.changed = kept.collect();
                self.hidden = true;
            }
            _ => {}
        }
    }

    fn set(&mut self, name: &str, value: Option<String>) {
        self.changed.insert(name.to_owned(), value);
    }
}
