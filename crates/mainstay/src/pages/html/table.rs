//! One proxy of the page: a table with a row for each line of `show stat`, and what can be done with its servers.

use std::time::Duration;

use crate::runtime_api::statistics::{Kind, Line};

use super::{Html, span};

/// The columns behind the name, in groups.
const GROUPS: [(&str, &[Column]); 9] = [
    ("State", &[State, Check, Weight]),
    ("Queue", &[Number("Now", "qcur"), Number("Max", "qmax"), Number("Limit", "qlimit")]),
    (
        "Sessions",
        &[
            Number("Now", "scur"),
            Number("Max", "smax"),
            Number("Limit", "slim"),
            Number("Total", "stot"),
            Number("Chosen", "lbtot"),
            Ago("Last", "lastsess"),
        ],
    ),
    ("Sessions/s", &[Number("Now", "rate"), Number("Max", "rate_max"), Limit("Limit", "rate_lim")]),
    ("Bytes", &[Bytes("In", "bin"), Bytes("Out", "bout")]),
    ("Denied", &[Number("Req", "dreq"), Number("Resp", "dresp")]),
    ("Errors", &[Number("Req", "ereq"), Number("Conn", "econ"), Number("Resp", "eresp")]),
    ("Warnings", &[Number("Retr", "wretr"), Number("Redis", "wredis")]),
    (
        "Servers",
        &[
            Number("Act", "act"),
            Number("Bck", "bck"),
            Number("Fails", "chkfail"),
            Number("Downs", "chkdown"),
            Span("Downtime", "downtime"),
            Percent("Throttle", "throttle"),
        ],
    ),
];

/// What a column shows: its name and a field.
#[derive(Clone, Copy)]
enum Column {
    Number(&'static str, &'static str),
    /// 0 is none.
    Limit(&'static str, &'static str),
    Bytes(&'static str, &'static str),
    /// Seconds.
    Span(&'static str, &'static str),
    /// Seconds that have passed; less than none is never.
    Ago(&'static str, &'static str),
    Percent(&'static str, &'static str),
    State,
    Check,
    Weight,
}

use Column::{Ago, Bytes, Check, Limit, Number, Percent, Span, State, Weight};

/// What can be asked for on the page, in words.
const CHOICES: [(&str, &str); 13] = [
    ("ready", "Ready: back into service"),
    ("drain", "Drain: no new connections"),
    ("maint", "Maintenance: no connections, no checks"),
    ("shutdown", "Close its connections"),
    ("dhlth", "Checks: off"),
    ("ehlth", "Checks: on"),
    ("hrunn", "Health: force UP"),
    ("hnolb", "Health: force NOLB"),
    ("hdown", "Health: force DOWN"),
    ("dagent", "Agent: off"),
    ("eagent", "Agent: on"),
    ("arunn", "Agent: force UP"),
    ("adown", "Agent: force DOWN"),
];

/// The proxy that all of `lines` are about. Forms go `to` the page.
pub(super) fn proxy(html: &mut Html, lines: &[Line], to: &str, may_change: bool) {
    let Some(first) = lines.first() else { return };
    let name = first.text("pxname").unwrap_or_default();
    let form = may_change && lines.iter().any(|line| line.kind == Kind::Server);
    html.element("<h2 id=\"", name, "\">");
    html.element("<a href=\"#", name, "\">");
    html.element("", name, "</a> ");
    let legend = [first.text("mode"), lines.last().and_then(|line| line.text("algo"))];
    html.element("<small>", legend.into_iter().flatten().collect::<Vec<_>>().join(", "), "</small></h2>\n");
    if form {
        html.element("<form method=\"post\" action=\"", to, "\">\n");
    }
    html.raw("<div class=\"wide\"><table><thead><tr><th rowspan=\"2\">Name</th>");
    for (group, columns) in GROUPS {
        html.element("<th colspan=\"", columns.len(), "\">");
        html.element("", group, "</th>");
    }
    html.raw("</tr><tr>");
    for column in GROUPS.iter().flat_map(|(_, columns)| *columns) {
        html.element("<th>", column.name(), "</th>");
    }
    html.raw("</tr></thead><tbody>\n");
    for line in lines {
        row(html, line, form);
    }
    html.raw("</tbody></table></div>\n");
    if form {
        choices(html, first.proxy);
    }
}

fn choices(html: &mut Html, proxy: u32) {
    html.raw(
        "<p class=\"order\"><label><input type=\"checkbox\" onclick=\"for (const box of this.form.elements) if (box.name == \
         's') box.checked = this.checked\"> all servers</label> <label>Do with those that are ticked: <select name=\"action\">\
         <option value=\"\"></option>",
    );
    for (action, words) in CHOICES {
        html.element("<option value=\"", action, "\">");
        html.element("", words, "</option>");
    }
    html.element("</select></label> <input type=\"hidden\" name=\"b\" value=\"#", proxy, "\">");
    html.raw("<button>Apply</button></p>\n</form>\n");
}

fn row(html: &mut Html, line: &Line, form: bool) {
    let name = line.text("svname").unwrap_or_default();
    let (row, shown) = match line.kind {
        Kind::Frontend => ("<tr class=\"whole\">", "Frontend"),
        Kind::Backend => ("<tr class=\"whole\">", "Backend"),
        Kind::Server => ("<tr>", name),
    };
    html.raw(row);
    html.element("<th title=\"", line.text("addr").unwrap_or_default(), "\">");
    if form && line.kind == Kind::Server {
        html.element("<label><input type=\"checkbox\" name=\"s\" value=\"", name, "\"> ");
        html.element("", shown, "</label></th>");
    } else {
        html.element("", shown, "</th>");
    }
    for column in GROUPS.iter().flat_map(|(_, columns)| *columns) {
        column.cell(html, line);
    }
    html.raw("</tr>\n");
}

impl Column {
    const fn name(self) -> &'static str {
        match self {
            Number(name, _)
            | Limit(name, _)
            | Bytes(name, _)
            | Span(name, _)
            | Ago(name, _)
            | Percent(name, _) => name,
            State => "State",
            Check => "Last check",
            Weight => "Weight",
        }
    }

    fn cell(self, html: &mut Html, line: &Line) {
        let number = |field| line.number(field).and_then(|number| u64::try_from(number).ok());
        let span = |field| number(field).map(|seconds| span(Duration::from_secs(seconds)));
        let shown = match self {
            State => return state(html, line),
            Check => return check(html, line),
            Number(_, field) => number(field).map(grouped),
            Limit(_, field) => number(field).filter(|limit| *limit > 0).map(grouped),
            Bytes(_, field) => {
                let Some(count) = number(field) else { return html.raw("<td></td>") };
                html.element("<td title=\"", grouped(count), "\">");
                return html.element("", bytes(count), "</td>");
            }
            Span(_, field) | Ago(_, field) => span(field),
            Percent(_, field) => number(field).map(|percent| format!("{percent} %")),
            Weight => number("weight").map(|weight| match number("uweight") {
                Some(given) if given != weight => format!("{weight} of {given}"),
                _ => grouped(weight),
            }),
        };
        html.element("<td>", shown.unwrap_or_default(), "</td>");
    }
}

/// The state as a word with a colour, and since when.
fn state(html: &mut Html, line: &Line) {
    let state = line.text("status").unwrap_or_default();
    let look = match state {
        "OPEN" | "UP" => "good",
        "DOWN" | "DOWN (agent)" | "STOP" => "bad",
        "no check" => "",
        _ if state.starts_with("MAINT") || state.starts_with("DRAIN") || state.starts_with("NOLB") => "off",
        _ => "warn",
    };
    html.element("<td class=\"words\"><span class=\"state ", look, "\">");
    html.element("", state, "</span>");
    if let Some(seconds) = line.number("lastchg").and_then(|seconds| u64::try_from(seconds).ok()) {
        html.element(" <small>", span(Duration::from_secs(seconds)), "</small>");
    }
    html.raw("</td>");
}

/// What the latest check found, and how long it took.
fn check(html: &mut Html, line: &Line) {
    let Some(status) = line.text("check_status") else { return html.raw("<td></td>") };
    let detail = [line.text("check_desc"), line.text("last_chk")].into_iter().flatten();
    let detail: Vec<&str> = detail.filter(|text| !text.is_empty()).collect();
    html.element("<td class=\"words\" title=\"", detail.join(": "), "\">");
    html.text(status);
    if let Some(code) = line.number("check_code").filter(|code| *code > 0) {
        html.text(format_args!("/{code}"));
    }
    if let Some(took) = line.number("check_duration") {
        html.text(format_args!(" in {took}ms"));
    }
    html.raw("</td>");
}

/// A number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A number of bytes, in the unit that suits it.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut tenths, mut unit) = (u128::from(count) * 10 / 1024, 0);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        (tenths, unit) = (tenths / 1024, unit + 1);
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!(
            [0, 1_023, 1_024, 1_536, 5_000_000_000, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "4.6 GiB", "15.9 EiB"]
        );
    }

    #[test]
    fn every_choice_is_understood() {
        for (action, _) in CHOICES {
            assert!(crate::pages::change::ACTIONS.iter().any(|(known, ..)| *known == action), "{action}");
        }
    }
}
