//! The language of `log-format`: text, variables such as `%ci`, and their flags.
//!
//! Owns [`parse`] and [`TCP`]. HAProxy's rules: blanks merge, a name is as long as letters and digits go on, `%o` gives
//! its flags to all that follows, and `%[…]` is a sample expression.

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::{Word, codes};
use crate::plan::log::{Field, LogFormat, Part, Style};

/// What `option tcplog` stands for.
pub(super) const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";

/// Variables that there are in TCP mode.
const FIELDS: [(&str, Field); 46] = [
    ("B", Field::BytesRead),
    ("H", Field::Hostname),
    ("ID", Field::UniqueId),
    ("ST", Field::Status),
    ("T", Field::DateUtc),
    ("Tc", Field::ConnectTime),
    ("Td", Field::DataTime),
    ("Th", Field::HandshakeTime),
    ("Tl", Field::DateLocal),
    ("Ts", Field::Timestamp),
    ("Tt", Field::TotalTime),
    ("Tu", Field::UserTime),
    ("Tw", Field::QueueTime),
    ("U", Field::BytesUploaded),
    ("ac", Field::ProcessConnections),
    ("b", Field::Backend),
    ("bc", Field::BackendConnections),
    ("bi", Field::BackendSource),
    ("bp", Field::BackendSourcePort),
    ("bq", Field::BackendQueue),
    ("ci", Field::ClientAddress),
    ("cp", Field::ClientPort),
    ("f", Field::Frontend),
    ("fc", Field::FrontendConnections),
    ("fi", Field::FrontendAddress),
    ("fp", Field::FrontendPort),
    ("ft", Field::Frontend),
    ("hr", Field::Captures),
    ("hrl", Field::Captures),
    ("hs", Field::Captures),
    ("hsl", Field::Captures),
    ("lc", Field::LogCounter),
    ("ms", Field::Milliseconds),
    ("pid", Field::Process),
    ("rc", Field::Retries),
    ("rt", Field::RequestCounter),
    ("s", Field::Server),
    ("sc", Field::ServerConnections),
    ("si", Field::ServerAddress),
    ("sp", Field::ServerPort),
    ("sq", Field::ServerQueue),
    ("sslc", Field::Tls),
    ("sslv", Field::Tls),
    ("t", Field::Date),
    ("ts", Field::Termination),
    ("tsc", Field::TerminationWithCookie),
];

/// Variables that need `mode http`.
const OF_HTTP: [&str; 17] =
    ["CC", "CS", "HM", "HP", "HPO", "HQ", "HU", "HV", "Ta", "Ti", "TR", "Tq", "Tr", "r", "tr", "trg", "trl"];

/// Sample expressions that say what a variable says, too.
const SAMPLES: [(&str, Field); 6] = [
    ("src", Field::ClientAddress),
    ("src_port", Field::ClientPort),
    ("dst", Field::FrontendAddress),
    ("dst_port", Field::FrontendPort),
    ("fe_name", Field::Frontend),
    ("be_name", Field::Backend),
];

/// The flags in braces, in units of one variable.
#[derive(Clone, Copy, Default)]
struct Braces<'a>(&'a str);

impl Braces<'_> {
    /// `style` with the flags switched on or off; what is no flag changes nothing, as in HAProxy.
    fn apply(self, mut style: Style) -> Style {
        for flag in self.0.split([',', ' ']) {
            let on = flag.starts_with('+');
            match flag.strip_prefix(['+', '-']) {
                Some("Q") => style.quoted = on,
                Some("X") => style.hexadecimal = on,
                Some("E") => style.escaped = on,
                _ => {}
            }
        }
        style
    }
}

/// What is wrong with a format, said of the word it stands in.
enum Mistake {
    Unknown(String),
    NeedsHttp(String),
    Syntax(String),
    Sample(String),
}

/// The format that `word` is; what is wrong with it goes to `diagnostics`.
pub(super) fn parse(word: &Word, diagnostics: &mut Vec<Diagnostic>) -> Option<LogFormat> {
    if !word.filled {
        return None;
    }
    let mistake = match read(&word.text) {
        Ok(format) => return Some(format),
        Err(mistake) => mistake,
    };
    let said = |code, message: String| Diagnostic::error(code, word.span, message);
    diagnostics.push(match mistake {
        Mistake::Unknown(name) => {
            let diagnostic = said(codes::UNKNOWN_LOG_VARIABLE, format!("there is no log variable `%{name}`"));
            let known = FIELDS.iter().map(|(known, _)| *known).filter(|known| known.len() > 1);
            match did_you_mean(&name, known) {
                Some(meant) => diagnostic.hint(format!("did you mean `%{meant}`? a percent sign is `%%`")),
                None => diagnostic.hint("a percent sign is written `%%`"),
            }
        }
        Mistake::NeedsHttp(name) => {
            said(codes::HTTP_LOG_VARIABLE, format!("the log variable `%{name}` needs `mode http`"))
                .label("speaks of requests")
                .hint("leave it out: connections are relayed as a whole, and no request is seen")
        }
        Mistake::Syntax(message) => said(codes::LOG_FORMAT, message)
            .hint("variables are `%ci`, `%{+Q}s` or `%[src]`; a percent sign is `%%`"),
        Mistake::Sample(name) => {
            said(codes::LOG_SAMPLE, format!("mainstay cannot log the sample `%[{name}]`"))
                .label("not among those it knows")
                .hint("there are src, src_port, dst, dst_port, fe_name and be_name, without converters")
        }
    });
    None
}

/// The format of `option tcplog`.
pub(super) fn tcp() -> LogFormat {
    read(TCP).unwrap_or_default()
}

fn read(text: &str) -> Result<LogFormat, Mistake> {
    let mut parts: Vec<Part> = Vec::new();
    let mut style = Style::default();
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let Some(after) = rest.strip_prefix('%') else {
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
            push_text(&mut parts, next);
            continue;
        };
        let (braces, after) = match after.strip_prefix('{') {
            None => (None, after),
            Some(inside) => {
                let (flags, after) = inside.split_once('}').ok_or_else(|| cut_off(inside))?;
                (Some(Braces(flags)), after)
            }
        };
        let named = braces.unwrap_or_default();
        let Some(first) = after.chars().next() else { return Err(cut_off("%")) };
        if first == '[' {
            let inside = after.get(1..).unwrap_or_default();
            let (field, after) = sample(inside)?;
            parts.push(Part::Field(field, Style { text: true, ..named.apply(style) }));
            rest = after;
        } else if first.is_ascii_alphabetic() || braces.is_some() && first.is_ascii_alphanumeric() {
            let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
            let (name, after) = after.split_at(end);
            rest = after;
            if name == "o" {
                style = named.apply(style);
            } else {
                parts.push(Part::Field(variable(name)?, named.apply(style)));
            }
        } else if let Some(Braces(flags)) = braces {
            return Err(Mistake::Syntax(format!("no variable follows `%{{{flags}}}`")));
        } else if first.is_ascii_digit() || first == ' ' || first == '\t' {
            return Err(Mistake::Syntax(format!("no variable can begin with `{first}`")));
        } else {
            // `%%` is a percent sign; before anything else it vanishes, as in HAProxy.
            push_text(&mut parts, first);
            rest = after.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    Ok(LogFormat { written: text.to_owned(), parts })
}

fn cut_off(after: &str) -> Mistake {
    Mistake::Syntax(format!("the format ends in the middle of a variable, after `{after}`"))
}

fn push_text(parts: &mut Vec<Part>, next: char) {
    match (next, parts.last_mut()) {
        (' ', Some(Part::Blank)) => {}
        (' ', _) => parts.push(Part::Blank),
        (_, Some(Part::Text(text))) => text.push(next),
        _ => parts.push(Part::Text(next.to_string())),
    }
}

fn variable(name: &str) -> Result<Field, Mistake> {
    if let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) {
        return Ok(*field);
    }
    Err(if OF_HTTP.contains(&name) {
        Mistake::NeedsHttp(name.to_owned())
    } else {
        Mistake::Unknown(name.to_owned())
    })
}

/// The sample expression that `inside` begins with, and what follows its bracket.
fn sample(inside: &str) -> Result<(Field, &str), Mistake> {
    let (expression, after) = inside
        .split_once(']')
        .ok_or_else(|| Mistake::Syntax(format!("the bracket of `%[{inside}` is not closed")))?;
    let found = SAMPLES.iter().find(|(known, _)| *known == expression);
    found.map(|(_, field)| (*field, after)).ok_or_else(|| Mistake::Sample(expression.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_long_as_they_can_be() {
        let quoted = Style { quoted: true, ..Style::default() };
        let format = read("%{+Q}o%f-%{-Q}cp%%  x %(f)s").unwrap_or_default();
        assert_eq!(
            format.parts,
            [
                Part::Field(Field::Frontend, quoted),
                Part::Text("-".to_owned()),
                Part::Field(Field::ClientPort, Style::default()),
                Part::Text("%".to_owned()),
                Part::Blank,
                Part::Text("x".to_owned()),
                Part::Blank,
                Part::Text("(f)s".to_owned()),
            ]
        );
        assert!(matches!(read("%cix"), Err(Mistake::Unknown(name)) if name == "cix"));
    }

    #[test]
    fn the_format_of_tcplog_is_one() {
        assert_eq!(tcp().parts.iter().filter(|part| matches!(part, Part::Field(..))).count(), 18);
    }
}
