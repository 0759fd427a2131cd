//! The statements of one block, held against the table of keywords.
//!
//! Owns [`Fields`]: unknown keywords, keywords without effect, missing values and values out of range are reported
//! here and nowhere else, so that what it hands out is what the table promises.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::config::diagnostic::Diagnostic;
use crate::config::keepalived::keywords::{self, Place, Treatment, Values};
use crate::config::keepalived::{Statement, Word, codes};
use crate::plan::Family;

/// What a block says, by keyword.
pub(super) struct Fields<'a> {
    /// Well-formed statements; a keyword whose every statement was reported has an empty list.
    given: BTreeMap<&'static str, Vec<&'a Statement>>,
}

impl<'a> Fields<'a> {
    /// Holds `statements` of a block of kind `place` against the table.
    pub(super) fn read(
        place: Place,
        statements: impl IntoIterator<Item = &'a Statement>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Self {
        let mut given: BTreeMap<&'static str, Vec<&Statement>> = BTreeMap::new();
        for statement in statements {
            let Some((values, name)) = recognise(place, statement, diagnostics) else { continue };
            let seen = given.entry(name).or_default();
            if !check_values(place, values, name, statement, diagnostics) {
                continue;
            }
            let single =
                !matches!(values, Values::Block | Values::NamedBlock | Values::Anything | Values::Key);
            if let (true, Some(first)) = (single, seen.last()) {
                diagnostics.push(
                    Diagnostic::warning(
                        codes::GIVEN_TWICE,
                        statement.keyword.span,
                        format!("`{name}` is given twice; the last one counts, as in Keepalived"),
                    )
                    .label("this one counts")
                    .related(first.keyword.span, "this one does not"),
                );
            }
            seen.push(statement);
        }
        Self { given }
    }

    /// Whether the keyword is there, well-formed or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// All statements of a keyword.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &'a Statement> {
        self.given.get(name).into_iter().flatten().copied()
    }

    /// The statement of a keyword that counts.
    pub(super) fn last(&self, name: &str) -> Option<&'a Statement> {
        self.given.get(name)?.last().copied()
    }

    /// The statements in all blocks of a keyword.
    pub(super) fn inside(&self, name: &str) -> impl Iterator<Item = &'a Statement> {
        self.all(name).flat_map(Statement::statements)
    }

    /// The value of a keyword.
    pub(super) fn word(&self, name: &str) -> Option<&'a Word> {
        self.last(name)?.values.first()
    }

    /// The value of a keyword that takes a whole number.
    pub(super) fn integer<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        T::try_from(integer(&self.word(name)?.text)?).ok()
    }

    /// The value of a keyword that takes a decimal number of seconds.
    pub(super) fn seconds(&self, name: &str) -> Option<Duration> {
        decimal(&self.word(name)?.text).map(Duration::from_micros)
    }

    /// The value of a keyword that takes an address.
    pub(super) fn address(&self, name: &str) -> Option<IpAddr> {
        self.word(name)?.text.parse().ok()
    }

    /// Whether a keyword is there and does not say no.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.flag_or(name, false)
    }

    /// What a keyword says, or `default` where it is not.
    pub(super) fn flag_or(&self, name: &str, default: bool) -> bool {
        self.last(name).map_or(default, |statement| {
            statement.values.first().is_none_or(|word| flag(&word.text) == Some(true))
        })
    }
}

/// What a keyword takes and its name in the table, if mainstay acts on it; whatever else it is, is reported.
pub(super) fn recognise(
    place: Place,
    statement: &Statement,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(Values, &'static str)> {
    let word = &statement.keyword;
    if !word.filled {
        return None;
    }
    let Some((keyword, name)) = keywords::find(place, &word.text) else {
        diagnostics.push(unknown(place, word));
        return None;
    };
    let diagnostic = match keyword.treatment {
        Treatment::ActedOn => return Some((keyword.values, name)),
        Treatment::NoEffect(reason) => {
            Diagnostic::note(codes::NO_EFFECT, word.span, format!("`{name}` has no effect: {reason}"))
        }
        Treatment::NotYet(consequence) => Diagnostic::warning(
            codes::NOT_ACTED_ON,
            word.span,
            format!("mainstay does not act on `{name}` yet: {consequence}"),
        ),
        Treatment::Refused(reason) => Diagnostic::error(
            codes::REFUSED,
            word.span,
            format!("mainstay cannot do what `{name}` asks for: {reason}"),
        ),
    };
    diagnostics.push(diagnostic);
    None
}

fn unknown(place: Place, word: &Word) -> Diagnostic {
    let elsewhere = keywords::elsewhere(place, &word.text);
    let suggestion = keywords::suggest(place, &word.text).filter(|_| elsewhere.is_none());
    // What nobody knows inside `authentication` may be the password itself; keys are long enough to look like anything.
    let unsaid = place == Place::AuthHmac || (place == Place::Authentication && suggestion.is_none());
    let message = if unsaid {
        format!("unknown keyword in `{}`; Keepalived would ignore it", place.name())
    } else if place == Place::Root {
        format!("unknown keyword `{}`; Keepalived would ignore it", word.text)
    } else {
        format!("unknown keyword `{}` in `{}`; Keepalived would ignore it", word.text, place.name())
    };
    let diagnostic = Diagnostic::error(codes::UNKNOWN_KEYWORD, word.span, message);
    match (elsewhere, suggestion) {
        (Some(Place::Root), _) => diagnostic
            .label("not a keyword here")
            .hint("it belongs at the top of the file: is a `}` missing above?"),
        (Some(other), _) => {
            diagnostic.label("not a keyword here").hint(format!("it belongs in `{}`", other.name()))
        }
        (None, Some(other)) => diagnostic.label("not a keyword").hint(format!("did you mean `{other}`?")),
        (None, None) => diagnostic.label("not a keyword"),
    }
}

/// Reports what is wrong with the values of a statement; whether nothing is.
pub(super) fn check_values(
    place: Place,
    values: Values,
    name: &str,
    statement: &Statement,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    if statement.values.iter().any(|value| !value.filled) {
        return false;
    }
    let wants_block = matches!(values, Values::Block | Values::NamedBlock);
    if wants_block != statement.block.is_some() && values != Values::Anything {
        let message = match wants_block {
            true => format!("`{name}` needs a block"),
            false => format!("`{name}` takes no block"),
        };
        let hint =
            if wants_block { "write `{` and `}` around what belongs to it" } else { "remove the braces" };
        diagnostics
            .push(Diagnostic::error(codes::BLOCK_EXPECTED, statement.keyword.span, message).hint(hint));
        return false;
    }
    check_count(values, name, statement, diagnostics)
        && statement.values.first().is_none_or(|value| check_value(place, values, name, value, diagnostics))
}

fn check_count(values: Values, name: &str, statement: &Statement, diagnostics: &mut Vec<Diagnostic>) -> bool {
    let (least, most, what) = match values {
        Values::Anything => return true,
        Values::Nothing | Values::Block => (0, 0, "no value".to_owned()),
        Values::Flag => (0, 1, "at most one value".to_owned()),
        Values::NamedBlock => (1, 1, "a name".to_owned()),
        Values::Word | Values::Address(_) | Values::Integer(..) | Values::Decimal(..) => {
            (1, 1, "one value".to_owned())
        }
        Values::Key => (2, 2, "a number and a key".to_owned()),
        Values::Words(least, most) => (least, most, format!("{least} or {most} values")),
    };
    let count = statement.values.len();
    if (least..=most).contains(&count) {
        return true;
    }
    let extra = statement.values.get(most);
    let message = match extra {
        Some(_) => format!("`{name}` takes {what}, and more follows"),
        None if count > 0 => format!("`{name}` takes {what}, and only one value follows"),
        None => format!("`{name}` takes {what}, and none follows"),
    };
    let diagnostic = Diagnostic::error(
        codes::VALUE_COUNT,
        extra.map_or(statement.keyword.span, |word| word.span),
        message,
    );
    diagnostics.push(match (extra, name) {
        (None, _) => diagnostic.label("a value is missing"),
        (Some(_), "script") => {
            diagnostic.label("Keepalived would leave this out").hint("put the whole command in double quotes")
        }
        (Some(_), "auth_pass") => {
            diagnostic.label("not part of the password").hint("put a password with blanks in double quotes")
        }
        (Some(_), "key") => {
            diagnostic.label("not part of the key").hint("put a key with blanks in double quotes")
        }
        (Some(_), _) => diagnostic.label("one too many").hint("each keyword stands on a line of its own"),
    });
    false
}

fn check_value(
    place: Place,
    values: Values,
    name: &str,
    value: &Word,
    diagnostics: &mut Vec<Diagnostic>,
) -> bool {
    let text = value.text.as_str();
    let problem = match values {
        Values::Integer(low, high) => match integer(text) {
            Some(number) if (low..=high).contains(&number) => return true,
            Some(_) => (codes::OUT_OF_RANGE, format!("`{name}` must be from {low} to {high}")),
            None => (codes::BAD_VALUE, format!("`{name}` takes a whole number from {low} to {high}")),
        },
        Values::Key => match integer(text) {
            Some(1..=255) => return true,
            _ => (codes::OUT_OF_RANGE, format!("`{name}` takes a number from 1 to 255 and then the key")),
        },
        Values::Decimal(low, high) => match decimal(text) {
            Some(number) if (low..=high).contains(&number) => return true,
            Some(_) => {
                (codes::OUT_OF_RANGE, format!("`{name}` must be from {} to {}", plain(low), plain(high)))
            }
            None => (codes::BAD_VALUE, format!("`{name}` takes a number of seconds, such as 1 or 0.1")),
        },
        Values::Address(family) => match text.parse::<IpAddr>() {
            Ok(address) if family.is_none_or(|family| family == Family::of(address)) => return true,
            _ => {
                let family = family.map_or("IP".to_owned(), |family| family.to_string());
                (codes::BAD_VALUE, format!("`{name}` takes an {family} address"))
            }
        },
        Values::Flag if flag(text).is_none() => (codes::BAD_VALUE, format!("`{name}` takes yes or no")),
        _ => return true,
    };
    let (code, message) = problem;
    if place.holds_secrets() {
        diagnostics.push(Diagnostic::error(code, value.span, message));
        return false;
    }
    let diagnostic = Diagnostic::error(code, value.span, format!("{message}, not `{text}`"));
    diagnostics.push(match text.strip_suffix(';') {
        Some(rest) => diagnostic.hint(format!("lines do not end with `;` here: write `{name} {rest}`")),
        None => diagnostic,
    });
    false
}

/// A whole number.
pub(super) fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Millionths in a decimal number; digits beyond the sixth after the point do not count.
pub(super) fn decimal(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let millionths: u64 =
        fraction.chars().chain("000000".chars()).take(6).collect::<String>().parse().ok()?;
    whole.checked_mul(1_000_000)?.checked_add(millionths)
}

/// Millionths as a decimal number.
fn plain(millionths: u64) -> String {
    let (whole, fraction) = (millionths / 1_000_000, millionths % 1_000_000);
    if fraction == 0 {
        return whole.to_string();
    }
    format!("{whole}.{}", format!("{fraction:06}").trim_end_matches('0'))
}

/// Yes or no.
fn flag(text: &str) -> Option<bool> {
    match text {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{decimal, plain};

    #[test]
    fn decimals_are_exact_to_the_millionth() {
        let read = ["1", "0.01", ".5", "2.", "1.2345678", "40.95"].map(decimal);
        assert_eq!(read, [1_000_000, 10_000, 500_000, 2_000_000, 1_234_567, 40_950_000].map(Some));
        assert_eq!(["", ".", "-1", "1e3", "1.2.3", "99999999999999999999"].map(decimal), [None; 6]);
        assert_eq!([10_000, 255_000_000, 1].map(plain), ["0.01", "255", "0.000001"]);
    }
}
