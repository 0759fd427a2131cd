//! The sections that are neither `global` nor those of proxies. All but `resolvers` and `userlist` are passed over, but read as strictly
//! as HAProxy reads them.
//!
//! Owns [`check`]: their names, their keywords, and what a section refers to inside itself.

use std::collections::BTreeMap;

use crate::config::diagnostic::{Diagnostic, did_you_mean};
use crate::config::haproxy::keywords::{OTHER_SECTIONS, Place, Treatment};
use crate::config::haproxy::{Kind, Section, Word, codes};
use crate::config::lower::haproxy::Reader;
use crate::config::lower::haproxy::address::{self, Host};
use crate::config::lower::haproxy::line::{
    Line, bad_value, check_parameters, missing, recognise, understand,
};
use crate::config::lower::haproxy::page::Userlist;
use crate::config::lower::haproxy::resolvers::lower_resolvers;
use crate::config::source::Span;

/// Sections without a name.
const NAMELESS: [&str; 3] = ["namespace_list", "traces", "crt-list"];

/// The statuses that HAProxy answers itself.
const ANSWERED: [&str; 19] = [
    "200", "400", "401", "403", "404", "405", "407", "408", "410", "413", "421", "422", "425", "429", "500",
    "501", "502", "503", "504",
];

/// Reports everything that is wrong with these sections, and which are passed over; takes in those that are not.
pub(super) fn check(sections: &[Section], reader: &mut Reader<'_, '_>) {
    let mut seen: BTreeMap<(&str, &str), Span> = BTreeMap::new();
    for section in sections {
        let known = OTHER_SECTIONS.iter().find(|(name, _)| *name == section.keyword.text);
        let Some((keyword, consequence)) = known else { continue };
        let diagnostics = &mut *reader.diagnostics;
        if !consequence.is_empty() {
            diagnostics.push(Diagnostic::warning(
                codes::NOT_ACTED_ON,
                section.keyword.span,
                format!("mainstay does not act on section `{keyword}` yet: {consequence}"),
            ));
        }
        if let Some(name) = check_header(keyword, section, diagnostics)
            && let Some(first) = seen.insert((keyword, &name.text), name.span)
        {
            diagnostics.push(twice(keyword, name, first));
        }
        let lines = lines(keyword, section, diagnostics);
        match *keyword {
            "resolvers" => {
                check_resolvers(section, &lines, reader);
                lower_resolvers(section, &lines, reader);
            }
            "mailers" => check_peers(&lines, "mailer", reader),
            "log-forward" => need_bind(section, &lines, diagnostics),
            "userlist" => {
                check_userlist(&lines, diagnostics);
                let list = section.header.first().map(|name| Userlist::of(name, &lines));
                reader.userlists.extend(list);
            }
            "cache" => check_cache(section, &lines, diagnostics),
            "ring" => check_ring(&lines, diagnostics),
            "http-errors" => check_http_errors(&lines, diagnostics),
            "program" => need(section, &lines, "command", "a `command`", diagnostics),
            "fcgi-app" => need(section, &lines, "docroot", "a `docroot`", diagnostics),
            _ => {}
        }
    }
}

/// The name of a section; what is wrong with it is reported.
fn check_header<'a>(
    keyword: &str,
    section: &'a Section,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<&'a Word> {
    if NAMELESS.contains(&keyword) {
        return None;
    }
    let Some(name) = section.header.first() else {
        diagnostics.push(
            Diagnostic::error(codes::VALUE_COUNT, section.keyword.span, format!("`{keyword}` needs a name"))
                .label("a name is missing"),
        );
        return None;
    };
    if let Some(extra) = section.header.get(1) {
        let message = format!("`{}` is one too many after `{keyword}`", extra.text);
        diagnostics.push(Diagnostic::error(codes::VALUE_COUNT, extra.span, message));
    }
    check_name(name, "a section", diagnostics);
    Some(name)
}

/// Reports a name with a character that no name has.
pub(super) fn check_name(name: &Word, what: &str, diagnostics: &mut Vec<Diagnostic>) {
    let odd = |c: &char| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c);
    if let Some(odd) = name.text.chars().find(odd).filter(|_| name.filled) {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_VALUE,
                name.span,
                format!("the name of {what} cannot have `{odd}` in it"),
            )
            .label("letters, digits, `-`, `_`, `.` and `:`"),
        );
    }
}

fn twice(keyword: &str, name: &Word, first: Span) -> Diagnostic {
    let message = format!("there are two sections `{keyword} {}`", name.text);
    let diagnostic = if keyword == "userlist" {
        Diagnostic::warning(codes::SAME_NAME, name.span, format!("{message}; the second one is ignored"))
    } else {
        Diagnostic::error(codes::SAME_NAME, name.span, message)
    };
    diagnostic.label("the second one").related(first, "the first one").hint("rename one of them")
}

fn lines<'a>(
    keyword: &'static str,
    section: &'a Section,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Line<'a>> {
    let place = Place::Section(keyword);
    let mut lines = Vec::new();
    for statement in &section.statements {
        let Some((row, line)) = understand(place, Kind::Other, statement, diagnostics) else { continue };
        if matches!(row.treatment, Treatment::Refused(_)) {
            recognise(place, Kind::Other, statement, diagnostics);
        }
        match line.name {
            "server" | "peer" => {
                check_parameters(Place::Server, line.values.get(2..).unwrap_or_default(), diagnostics);
            }
            "bind" | "dgram-bind" => {
                check_parameters(Place::Bind, line.values.get(1..).unwrap_or_default(), diagnostics);
            }
            "table" => {
                let has = |word: &str| line.values.iter().any(|value| value.text == word);
                if let Some(name) = line.values.first().filter(|_| !has("size") || !has("type")) {
                    let message = "a `table` needs a `type` and a `size`".to_owned();
                    diagnostics.push(missing(name.span, message));
                }
            }
            "default-server" => check_parameters(Place::Server, line.values, diagnostics),
            "default-bind" => check_parameters(Place::Bind, line.values, diagnostics),
            _ => {}
        }
        lines.push(line);
    }
    lines
}

/// Reports that a section has no line `name`.
fn need(section: &Section, lines: &[Line<'_>], name: &str, what: &str, diagnostics: &mut Vec<Diagnostic>) {
    if !lines.iter().any(|line| line.name == name) {
        let message = format!("this `{}` section needs {what}", section.keyword.text);
        diagnostics.push(Diagnostic::error(codes::INCOMPLETE_SECTION, section.keyword.span, message));
    }
}

fn need_bind(section: &Section, lines: &[Line<'_>], diagnostics: &mut Vec<Diagnostic>) {
    let binds = |line: &Line<'_>| ["bind", "dgram-bind"].contains(&line.name) && !line.values.is_empty();
    if !lines.iter().any(binds) {
        let message = "this `log-forward` section has no `bind` or `dgram-bind` line, so it gets no logs";
        diagnostics.push(Diagnostic::warning(codes::NO_BIND, section.keyword.span, message));
    }
}

fn check_resolvers(section: &Section, lines: &[Line<'_>], reader: &mut Reader<'_, '_>) {
    if !lines.iter().any(|line| ["nameserver", "parse-resolv-conf"].contains(&line.name)) {
        reader.diagnostics.push(
            Diagnostic::warning(
                codes::INCOMPLETE_SECTION,
                section.keyword.span,
                "this `resolvers` section has nobody to ask",
            )
            .hint("add `nameserver NAME ADDRESS:53`, or `parse-resolv-conf`"),
        );
    }
    check_peers(lines, "nameserver", reader);
    let mut names: BTreeMap<&str, Span> = BTreeMap::new();
    for name in lines.iter().filter(|line| line.name == "nameserver").filter_map(|line| line.values.first()) {
        check_name(name, "a name server", reader.diagnostics);
        if let Some(first) = names.insert(&name.text, name.span) {
            let message = format!("there are two name servers `{}`", name.text);
            reader.diagnostics.push(
                Diagnostic::error(codes::SAME_NAME, name.span, message)
                    .label("the second one")
                    .related(first, "the first one"),
            );
        }
    }
}

/// Reports what is no address with one port behind a keyword and a name.
fn check_peers(lines: &[Line<'_>], keyword: &str, reader: &mut Reader<'_, '_>) {
    for line in lines.iter().filter(|line| line.name == keyword) {
        let Some(word) = line.values.get(1) else { continue };
        let transport =
            ["tcp@", "udp@", "udp4@", "udp6@"].iter().find_map(|known| word.text.strip_prefix(known));
        let Some(written) = address::parse(word, transport.unwrap_or(&word.text), reader.diagnostics) else {
            continue;
        };
        match &written.ports {
            Some(ports) if ports.start() == ports.end() && *ports.start() > 0 => {}
            Some(_) => reader.diagnostics.push(bad_value(word, "one port from 1 to 65535 was expected")),
            None => reader.diagnostics.push(bad_value(word, "an address with a port was expected")),
        }
        if let Host::Name(name) = &written.host
            && let Err(unresolved) = address::resolve(name, word, reader.surroundings, reader.diagnostics)
        {
            reader.diagnostics.push(*unresolved);
        }
    }
}

fn check_userlist(lines: &[Line<'_>], diagnostics: &mut Vec<Diagnostic>) {
    let named = |keyword: &'static str| {
        let lines = lines.iter().filter(move |line| line.name == keyword);
        lines.filter_map(|line| line.values.first()).map(|word| word.text.as_str())
    };
    let mut seen: BTreeMap<(&str, &str), Span> = BTreeMap::new();
    for line in lines {
        let Some((name, mut rest)) = line.values.split_first() else { continue };
        if let Some(first) = seen.insert((line.name, &name.text), name.span) {
            let message = format!("there are two `{} {}`; the second one is ignored", line.name, name.text);
            diagnostics.push(
                Diagnostic::warning(codes::SAME_NAME, name.span, message).related(first, "the first one"),
            );
        }
        let (known, refers): (&[&str], _) = match line.name {
            "user" => (&["password", "insecure-password", "groups"], "groups"),
            _ => (&["users"], "users"),
        };
        while let Some((option, after)) = rest.split_first() {
            if !known.contains(&option.text.as_str()) {
                let message = format!("unknown keyword `{}` after `{}`", option.text, line.name);
                let diagnostic = Diagnostic::error(codes::UNKNOWN_KEYWORD, option.span, message);
                diagnostics.push(match did_you_mean(&option.text, known.iter().copied()) {
                    Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                    None => diagnostic.label("not a keyword"),
                });
                break;
            }
            if option.text == refers
                && let Some(names) = after.first()
            {
                let target = if refers == "groups" { "group" } else { "user" };
                for missing in names.text.split(',').filter(|name| !named(target).any(|known| known == *name))
                {
                    diagnostics.push(undefined(names, target, missing));
                }
            }
            rest = after.get(1..).unwrap_or_default();
        }
    }
}

fn undefined(word: &Word, what: &str, name: &str) -> Diagnostic {
    Diagnostic::error(codes::UNDEFINED_NAME, word.span, format!("there is no {what} `{name}` here"))
        .label("not defined")
        .hint(format!("add `{what} {name}` to this section"))
}

fn check_cache(section: &Section, lines: &[Line<'_>], diagnostics: &mut Vec<Diagnostic>) {
    need(section, lines, "total-max-size", "a `total-max-size`, in megabytes", diagnostics);
    let number = |name: &str| lines.iter().rfind(|line| line.name == name).and_then(Line::number::<i64>);
    if let Some(total) = number("total-max-size")
        && let Some(line) = lines.iter().find(|line| line.name == "max-object-size")
        && line.number::<i64>().is_some_and(|object| object > total.saturating_mul(1 << 19))
    {
        line.bad_value("an object can take half of `total-max-size`", diagnostics);
    }
    for line in lines.iter().filter(|line| line.name == "process-vary") {
        if let Some(word) = line.values.first().filter(|word| word.text != "on" && word.text != "off") {
            let message = format!("`process-vary` takes `on` or `off`, not `{}`", word.text);
            diagnostics.push(Diagnostic::warning(codes::BAD_VALUE, word.span, message));
        }
    }
}

fn check_ring(lines: &[Line<'_>], diagnostics: &mut Vec<Diagnostic>) {
    const FORMATS: [&str; 8] = ["iso", "local", "raw", "rfc3164", "rfc5424", "short", "priority", "timed"];
    for line in lines {
        let Some(word) = line.values.first().filter(|word| word.filled) else { continue };
        match line.name {
            "format" if !FORMATS.contains(&word.text.as_str()) => {
                diagnostics.push(match did_you_mean(&word.text, FORMATS) {
                    Some(meant) => bad_value(word, "a format of logs was expected")
                        .hint(format!("did you mean `{meant}`?")),
                    None => bad_value(word, "a format of logs was expected").label(FORMATS.join(", ")),
                });
            }
            "size" | "maxlen" if !is_size(&word.text) => {
                diagnostics.push(bad_value(word, &format!("`{}` takes a number of bytes", line.name)));
            }
            _ => {}
        }
    }
    let size = |name: &str| lines.iter().rfind(|line| line.name == name).and_then(Line::number::<u32>);
    let longest = lines.iter().rfind(|line| line.name == "maxlen");
    if let (Some(line), Some(length)) = (longest, size("maxlen"))
        && length > size("size").unwrap_or(DEFAULT_RING)
    {
        let message = "one event cannot be longer than the whole ring";
        diagnostics.push(Diagnostic::warning(codes::OUT_OF_RANGE, line.whole(), message));
    }
}

/// Bytes of a ring without `size`.
const DEFAULT_RING: u32 = 16_384;

/// Whether it is a number of bytes but 0, with or without `k`, `m` or `g`.
fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(['k', 'K', 'm', 'M', 'g', 'G']).unwrap_or(text);
    digits.parse::<u32>().is_ok_and(|size| size > 0)
}

fn check_http_errors(lines: &[Line<'_>], diagnostics: &mut Vec<Diagnostic>) {
    for line in lines {
        let Some(status) = line.values.first().filter(|word| word.filled) else { continue };
        if !ANSWERED.contains(&status.text.as_str()) {
            diagnostics.push(
                bad_value(status, "a status that HAProxy answers was expected")
                    .label("such as 400, 403, 408, 500, 502, 503 or 504"),
            );
        }
    }
}
