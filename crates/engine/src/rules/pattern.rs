//! Whether a sample is what a test asks for.

use std::borrow::Cow;

use crate::plan::{Pattern, TextMatch};
use crate::rules::sample::Value;

/// Bytes between which `dir` looks for a text.
const DIRECTORY: &[u8] = b"/?";

/// Bytes between which `dom` looks for a text.
const DOMAIN: &[u8] = b"/?.:";

/// Whether `value` matches.
pub(super) fn matches(pattern: &Pattern, value: &Value<'_>) -> bool {
    match pattern {
        Pattern::Found => true,
        Pattern::Boolean => value.integer().is_some_and(|number| number != 0),
        Pattern::Integers(ranges) => {
            value.integer().is_some_and(|number| ranges.iter().any(|range| range.contains(number)))
        }
        Pattern::Lengths(ranges) => {
            let length = value.text().and_then(|text| i64::try_from(text.len()).ok());
            length.is_some_and(|length| ranges.iter().any(|range| range.contains(length)))
        }
        Pattern::Networks(networks) => {
            value.address().is_some_and(|address| networks.iter().any(|network| network.contains(address)))
        }
        Pattern::Texts { how, ignore_case, texts } => {
            let Some(mut sample) = value.text() else { return false };
            if *ignore_case {
                sample = Cow::Owned(sample.to_ascii_lowercase());
            }
            texts.iter().any(|text| text_matches(*how, text, &sample))
        }
        Pattern::Bytes(blocks) => {
            value.text().is_some_and(|sample| blocks.iter().any(|block| **block == *sample))
        }
        Pattern::Regexes(regexes) => {
            value.text().is_some_and(|sample| regexes.iter().any(|regex| regex.is_in(&sample)))
        }
    }
}

fn text_matches(how: TextMatch, text: &[u8], sample: &[u8]) -> bool {
    match how {
        TextMatch::Whole => text == sample,
        TextMatch::Start => sample.starts_with(text),
        TextMatch::End => sample.ends_with(text),
        TextMatch::Anywhere => text.is_empty() || sample.windows(text.len()).any(|window| window == text),
        TextMatch::Directory => is_between(text, sample, DIRECTORY),
        TextMatch::Domain => is_between(text, sample, DOMAIN),
    }
}

/// Whether `text`, without delimiters at its ends, is in the sample between delimiters or its ends.
fn is_between(text: &[u8], sample: &[u8], delimiters: &[u8]) -> bool {
    let delimits = |byte: &u8| delimiters.contains(byte);
    let start = text.iter().position(|byte| !delimits(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !delimits(byte)).map_or(start, |last| last + 1);
    let Some(text) = text.get(start..end).filter(|text| !text.is_empty()) else { return false };
    sample.windows(text.len()).enumerate().any(|(at, window)| {
        let before = at.checked_sub(1).and_then(|before| sample.get(before));
        let after = sample.get(at + text.len());
        window == text && before.is_none_or(delimits) && after.is_none_or(delimits)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_match_where_they_should() {
        let sample = b"http://www1.dc-eu.example.com:80/blah";
        for text in [
            "http",
            "www1",
            ".www1",
            "dc-eu",
            "example",
            "com",
            "80",
            "dc-eu.example",
            "blah",
            ":www1:",
            "com:80",
        ] {
            assert!(text_matches(TextMatch::Domain, text.as_bytes(), sample), "{text}");
        }
        for text in ["eu", "dc", "", "."] {
            assert!(!text_matches(TextMatch::Domain, text.as_bytes(), sample), "{text}");
        }
        let sample = b"/images/png/logo/32x32.png";
        for (text, found) in
            [("/images", true), ("images/png", true), ("32x32.png", true), ("png", true), ("32x32", false)]
        {
            assert_eq!(text_matches(TextMatch::Directory, text.as_bytes(), sample), found, "{text}");
        }
        assert!(
            text_matches(TextMatch::Anywhere, b"png/l", sample)
                && !text_matches(TextMatch::Anywhere, b"xyz", sample)
        );
        assert!(text_matches(TextMatch::Anywhere, b"", b"") && !text_matches(TextMatch::Start, b"i", sample));
    }
}
