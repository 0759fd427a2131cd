//! What samples are compared with: flags, matching methods and patterns.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::config::Surroundings;
use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::{Word, codes};
use crate::config::lower::haproxy::rules::sample::{Kind, Sample, mask4};
use crate::plan::{AddressRange, Pattern, Range, Regex, TextMatch};

const METHODS: [&str; 13] =
    ["found", "bool", "int", "ip", "bin", "len", "str", "beg", "sub", "dir", "dom", "end", "reg"];

/// Patterns of one test: far more than anybody writes by hand, few enough to look at for each connection.
const PATTERNS: usize = 10_000;

/// What stands before the patterns.
#[derive(Default)]
struct Flags<'a> {
    ignore_case: bool,
    no_names: bool,
    method: Option<&'a Word>,
    files: Vec<&'a Word>,
    /// `--`: what follows is meant, even if it is nothing.
    ended: bool,
}

/// A pattern: where it stands, and its text, which may come from a file.
struct Given<'a> {
    word: &'a Word,
    text: String,
}

/// Reads what follows a sample, which is compared in the `usual` way unless a flag says otherwise.
pub(super) fn read(
    sample: &Sample,
    name: &Word,
    words: &[Word],
    usual: Option<&str>,
    surroundings: &Surroundings<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Result<Pattern, Box<Diagnostic>> {
    let (flags, words) = flags(words)?;
    let mut given: Vec<Given<'_>> =
        words.iter().map(|word| Given { word, text: word.text.clone() }).collect();
    for file in &flags.files {
        let text = (surroundings.pattern_file)(&file.text).map_err(|error| {
            let message = format!("the patterns in `{}` cannot be read: {error}", file.text);
            Box::new(Diagnostic::error(codes::BAD_PATTERN, file.span, message))
        })?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        given.extend(lines.map(|line| Given { word: file, text: line.to_owned() }));
    }
    if given.len() > PATTERNS {
        let message = format!("more than {PATTERNS} patterns for `{}`", name.text);
        return Err(Diagnostic::error(codes::TOO_MANY, name.span, message).into());
    }
    let method = match flags.method {
        Some(word) => word.text.as_str(),
        None if usual.is_some() => usual.unwrap_or_default(),
        None => match sample.kind {
            Kind::Boolean => "bool",
            Kind::Integer | Kind::Version => "int",
            Kind::Address => "ip",
            Kind::Text => "str",
            Kind::Bytes => {
                let message = format!("`{}` are bytes, and nobody says how to compare them", name.text);
                return Err(Diagnostic::error(codes::BAD_PATTERN, name.span, message)
                    .hint("write `-m bin`, `-m str` or `-m found` behind it")
                    .into());
            }
        },
    };
    if given.is_empty() && !flags.ended && flags.files.is_empty() && !["found", "bool"].contains(&method) {
        let message = format!("`{}` is compared with nothing, so this never holds", name.text);
        diagnostics.push(
            Diagnostic::warning(codes::NEVER_MATCHES, name.span, message)
                .label("no pattern")
                .hint("write a pattern, `-m found` for \"there is one\", or `--` if nothing shall match"),
        );
    }
    build(method, sample, name, &flags, &given, surroundings)
}

fn flags(mut words: &[Word]) -> Result<(Flags<'_>, &[Word]), Box<Diagnostic>> {
    let mut flags = Flags::default();
    while let Some((word, rest)) = words.split_first() {
        let value = || {
            let message = format!("`{}` needs a value", word.text);
            rest.first().ok_or_else(|| Box::new(Diagnostic::error(codes::BAD_PATTERN, word.span, message)))
        };
        let length = match word.text.as_str() {
            "-i" => {
                flags.ignore_case = true;
                1
            }
            "-n" => {
                flags.no_names = true;
                1
            }
            "-m" => {
                let method = value()?;
                if !METHODS.contains(&method.text.as_str()) {
                    return Err(unknown_method(method));
                }
                flags.method = Some(method);
                2
            }
            "-f" => {
                flags.files.push(value()?);
                2
            }
            "-M" => {
                let message = "mainstay has no maps: `-M` reads one";
                return Err(Diagnostic::error(codes::REFUSED, word.span, message)
                    .hint("give the patterns one to a line, and leave `-M` out")
                    .into());
            }
            "-u" => {
                let id = value()?;
                if id.text.parse::<u32>().is_err() {
                    let message = format!("`-u` takes a whole number, not `{}`", id.text);
                    return Err(Diagnostic::error(codes::BAD_PATTERN, id.span, message).into());
                }
                2
            }
            "--" => {
                flags.ended = true;
                return Ok((flags, rest));
            }
            text if text.starts_with('-') => {
                let message = format!("`{text}` is no flag");
                return Err(Diagnostic::error(codes::BAD_PATTERN, word.span, message)
                    .hint("write `--` before patterns that begin with `-`")
                    .into());
            }
            _ => break,
        };
        words = words.get(length..).unwrap_or_default();
    }
    Ok((flags, words))
}

fn unknown_method(word: &Word) -> Box<Diagnostic> {
    let message = format!("there is no way to match `{}`", word.text);
    let diagnostic = Diagnostic::error(codes::BAD_PATTERN, word.span, message);
    Box::new(match did_you_mean(&word.text, METHODS) {
        Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
        None => diagnostic.label(format!("one of {}", METHODS.join(", "))),
    })
}

fn build(
    method: &str,
    sample: &Sample,
    name: &Word,
    flags: &Flags<'_>,
    given: &[Given<'_>],
    surroundings: &Surroundings<'_>,
) -> Result<Pattern, Box<Diagnostic>> {
    let texts = |how| {
        let text = |given: &Given<'_>| match flags.ignore_case {
            true => given.text.to_ascii_lowercase().into_bytes(),
            false => given.text.clone().into_bytes(),
        };
        let texts = given.iter().map(text).collect();
        Ok(Pattern::Texts { how, ignore_case: flags.ignore_case, texts })
    };
    match method {
        "found" => Ok(Pattern::Found),
        "bool" => Ok(Pattern::Boolean),
        "int" => ranges(given, sample.kind == Kind::Version).map(Pattern::Integers),
        "len" => ranges(given, false).map(Pattern::Lengths),
        "ip" if sample.kind == Kind::Boolean => {
            let message = "what is only true or false cannot be compared with addresses";
            Err(Diagnostic::error(codes::BAD_PATTERN, name.span, message).into())
        }
        "ip" => {
            let each = given.iter().map(|given| network(given, flags.no_names, surroundings));
            each.collect::<Result<Vec<_>, _>>().map(|all| Pattern::Networks(all.concat()))
        }
        "bin" => given.iter().map(bytes).collect::<Result<_, _>>().map(Pattern::Bytes),
        "reg" => {
            let regex = |given: &Given<'_>| {
                Regex::new(&given.text, flags.ignore_case).map_err(|error| {
                    let message = format!("this is no regular expression: {error}");
                    let hint = "references back and looks around are not among what mainstay understands";
                    Box::new(Diagnostic::error(codes::BAD_PATTERN, given.word.span, message).hint(hint))
                })
            };
            given.iter().map(regex).collect::<Result<_, _>>().map(Pattern::Regexes)
        }
        "beg" => texts(TextMatch::Start),
        "sub" => texts(TextMatch::Anywhere),
        "dir" => texts(TextMatch::Directory),
        "dom" => texts(TextMatch::Domain),
        "end" => texts(TextMatch::End),
        _ => texts(TextMatch::Whole),
    }
}

fn bytes(given: &Given<'_>) -> Result<Vec<u8>, Box<Diagnostic>> {
    let digits = given.text.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2 && !pair.starts_with('+'))?;
        u8::from_str_radix(pair, 16).ok()
    });
    digits.collect::<Option<_>>().ok_or_else(|| {
        let message = format!("`{}` are not bytes in hexadecimal digits", given.text);
        let diagnostic = Diagnostic::error(codes::BAD_PATTERN, given.word.span, message);
        Box::new(diagnostic.label("two digits for each byte"))
    })
}

/// Numbers and ranges, with operators before them that count from there on.
fn ranges(given: &[Given<'_>], versions: bool) -> Result<Vec<Range>, Box<Diagnostic>> {
    let mut operator = "eq";
    let mut ranges = Vec::new();
    for pattern in given {
        let text = pattern.text.as_str();
        if ["eq", "ge", "gt", "le", "lt"].contains(&text) {
            operator = text;
            continue;
        }
        let number = |text: &str| if versions { version(text) } else { text.parse().ok() };
        let wrong = || {
            let message = format!("`{text}` is neither a number, a range nor an operator");
            let diagnostic = Diagnostic::error(codes::BAD_PATTERN, pattern.word.span, message);
            Box::new(diagnostic.label("such as 1024, 1024:65535, or `ge 1024`"))
        };
        let (from, to) = match text.split_once(':').or_else(|| dashed(text)) {
            None => {
                let number = number(text).ok_or_else(wrong)?;
                (Some(number), Some(number))
            }
            Some((from, to)) => {
                let bound = |text: &str| match text {
                    "" => Ok(None),
                    text => number(text).map(Some).ok_or_else(wrong),
                };
                (bound(from)?, bound(to)?)
            }
        };
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(wrong());
        }
        ranges.push(match operator {
            "ge" => Range { from, to: None },
            "gt" => Range { from: from.map(|from| from.saturating_add(1)), to: None },
            "le" => Range { from: None, to },
            "lt" => Range { from: None, to: to.map(|to| to.saturating_sub(1)) },
            _ => Range { from, to },
        });
    }
    Ok(ranges)
}

/// A range with a dash, as HAProxy takes it, too; a leading one is a sign.
fn dashed(text: &str) -> Option<(&str, &str)> {
    let (from, to) = text.split_once('-')?;
    (!from.is_empty()).then_some((from, to))
}

fn version(text: &str) -> Option<i64> {
    let (major, minor) = text.split_once('.').unwrap_or((text, "0"));
    let (major, minor): (u16, u16) = (major.parse().ok()?, minor.parse().ok()?);
    Some(i64::from(major) << 16 | i64::from(minor))
}

fn network(
    given: &Given<'_>,
    no_names: bool,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<AddressRange>, Box<Diagnostic>> {
    let (host, mask) =
        given.text.split_once('/').map_or((given.text.as_str(), None), |(host, mask)| (host, Some(mask)));
    let wrong = |reason: &str| {
        let message = format!("`{}` is no address or network{reason}", given.text);
        let diagnostic = Diagnostic::error(codes::BAD_PATTERN, given.word.span, message);
        Box::new(diagnostic.label("such as 192.0.2.1, 192.0.2.0/24 or 2001:db8::/32"))
    };
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        let length = mask.map_or(Some(128), |mask| mask.parse().ok().filter(|length| *length <= 128));
        return length.map(|length| vec![AddressRange::V6(address, length)]).ok_or_else(|| wrong(""));
    }
    let mask = mask.map_or(Some(Ipv4Addr::BROADCAST), mask4).ok_or_else(|| wrong(""))?;
    if let Some(address) = short_v4(host) {
        return Ok(vec![AddressRange::V4(address, mask)]);
    }
    if no_names {
        return Err(wrong(""));
    }
    let found = (surroundings.resolve)(host).map_err(|error| wrong(&format!(": {error}")))?;
    let v4 = found.into_iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(AddressRange::V4(address, mask)),
        IpAddr::V6(_) => None,
    });
    // HAProxy takes the first one.
    let v4: Vec<_> = v4.take(1).collect();
    if v4.is_empty() { Err(wrong(": the name has no IPv4 address")) } else { Ok(v4) }
}

/// An IPv4 address whose octets of 0 before the last one may be left out.
fn short_v4(text: &str) -> Option<Ipv4Addr> {
    let octets: Vec<u8> = text.split('.').map(|octet| octet.parse().ok()).collect::<Option<_>>()?;
    match *octets.as_slice() {
        [a, d] => Some([a, 0, 0, d].into()),
        [a, b, d] => Some([a, b, 0, d].into()),
        [a, b, c, d] => Some([a, b, c, d].into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_addresses_leave_out_the_middle() {
        let read = |text| short_v4(text).map(|address| address.to_string());
        assert_eq!(read("10.12").as_deref(), Some("10.0.0.12"));
        assert_eq!(read("192.168.1").as_deref(), Some("192.168.0.1"));
        assert_eq!((read("10"), read("1.2.3.4.5"), read("1.2.x")), (None, None, None));
    }

    #[test]
    fn versions_are_two_numbers() {
        assert_eq!(
            (version("3.1"), version("3"), version("3.x")),
            (Some(0x0003_0001), Some(0x0003_0000), None)
        );
    }
}
