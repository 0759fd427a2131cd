//! Requests of HTTP: `option httpchk` and `http-check send`.

use crate::config::diagnostic::Diagnostic;
use crate::config::haproxy::codes;
use crate::config::lower::haproxy::check::bytes::is_format;
use crate::config::lower::haproxy::check::ruleset::RequestLine;
use crate::config::lower::haproxy::line::{Line, bad_value, missing};

/// `option httpchk [METHOD] URI [VERSION]`. What is left of old files puts headers behind the version.
pub(super) fn of_option(line: &Line<'_>) -> RequestLine {
    let texts: Vec<&str> = line.values.iter().map(|word| word.text.as_str()).collect();
    let mut request = RequestLine::default();
    match texts.as_slice() {
        [] => {}
        [uri] => request.uri = Some((*uri).to_owned()),
        [method, uri, rest @ ..] => {
            (request.method, request.uri) = (Some((*method).to_owned()), Some((*uri).to_owned()));
            let rest = rest.join(" ");
            let mut lines = rest.split("\r\n");
            request.version = lines.next().filter(|version| !version.is_empty()).map(str::to_owned);
            let headers = lines.filter_map(|header| header.split_once(':'));
            request.headers =
                headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        }
    }
    request
}

/// `http-check send`; the other value is its comment. Nothing where something is wrong, which is reported.
pub(super) fn of_line(
    line: &Line<'_>,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<(RequestLine, Option<String>)> {
    let mut request = RequestLine::default();
    let mut comment = None;
    let mut words = line.values.iter();
    while let Some(word) = words.next() {
        let name = word.text.as_str();
        if !["meth", "uri", "uri-lf", "ver", "hdr", "body", "body-lf", "comment"].contains(&name) {
            let expected = "`http-check send` takes meth, uri, ver, hdr, body and comment";
            diagnostics.push(bad_value(word, expected));
            return None;
        }
        let Some(mut value) = words.next() else {
            diagnostics.push(missing(word.span, format!("`{name}` needs a value")));
            return None;
        };
        let header = value.text.clone();
        if name == "hdr" {
            let Some(text) = words.next() else {
                diagnostics.push(missing(word.span, "`hdr` needs a name and a value".to_owned()));
                return None;
            };
            value = text;
        }
        if (name == "hdr" || name.ends_with("-lf")) && is_format(value) {
            diagnostics.push(
                Diagnostic::error(codes::REFUSED, value.span, "a check cannot send what changes")
                    .label("depends on the moment"),
            );
            return None;
        }
        let text = value.text.clone();
        match name {
            "meth" => request.method = Some(text),
            "uri" | "uri-lf" => request.uri = Some(text),
            "ver" => request.version = Some(text),
            "body" | "body-lf" => request.body = Some(text),
            "comment" => comment = Some(text),
            _ => request.headers.push((header, text)),
        }
    }
    Some((request, comment))
}
