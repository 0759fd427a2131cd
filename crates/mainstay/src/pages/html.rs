//! The page of statistics for people.
//!
//! Owns its head and its end; [`table`] has one proxy. States are words with a colour, not a colour alone; everything
//! that comes from a file, a server or the request is escaped; nothing is loaded from elsewhere.

mod table;

use std::fmt;
use std::time::Duration;

use mainstay_engine::admin::{RouterStatus, Status};
use mainstay_engine::pages::{Changed, View};
use mainstay_engine::plan::{NodeName, StatisticsPage};

use crate::proxy::ProxyLoad;
use crate::runtime_api::statistics::Line;

/// What the page shows.
pub(super) struct Report<'a> {
    pub(super) status: &'a Status,
    pub(super) load: ProxyLoad,
    /// Threads of the data plane.
    pub(super) workers: usize,
    pub(super) lines: &'a [Line],
}

const STYLE: &str = include_str!("page.css");

/// What states mean, with the look of each.
const LEGEND: [(&str, &str, &str); 7] = [
    ("good", "UP", "takes connections"),
    ("warn", "UP 2/3", "up, but checks fail"),
    ("warn", "DOWN 1/2", "down, but checks pass"),
    ("bad", "DOWN", "takes none"),
    ("off", "MAINT", "in maintenance"),
    ("off", "DRAIN, NOLB", "no new connections"),
    ("", "no check", "not checked"),
];

/// The whole page.
pub(super) fn page(report: &Report<'_>, page: &StatisticsPage, view: &View, may_change: bool) -> String {
    let mut html = Html::default();
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<title>Statistics of mainstay</title>\n<link rel=\"icon\" href=\"data:,\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width\">\n<style>\n");
    html.raw(STYLE);
    html.raw("</style>\n</head>\n<body>\n");
    title(&mut html, report, page);
    if let Some(changed) = view.changed {
        outcome(&mut html, changed, page, view);
    }
    navigation(&mut html, page, view);
    if page.scope.is_empty() && view.scope.is_empty() {
        routers(&mut html, &report.status.routers);
    }
    let mut rest = report.lines;
    while let Some(first) = rest.first() {
        let own = rest.iter().take_while(|line| line.proxy == first.proxy).count();
        let (lines, others) = rest.split_at(own);
        table::proxy(&mut html, lines, &link(page, view, |view| view.changed = None), may_change);
        rest = others;
    }
    if report.lines.is_empty() {
        html.raw("<p>No proxy has such a name.</p>\n");
    }
    html.raw("</body>\n</html>\n");
    html.0
}

/// A text of HTML that grows.
#[derive(Debug, Default)]
struct Html(String);

impl Html {
    /// Adds what is HTML already.
    fn raw(&mut self, html: &str) {
        self.0.push_str(html);
    }

    /// Adds text, whatever is in it.
    fn text(&mut self, text: impl fmt::Display) {
        for character in text.to_string().chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
    }

    /// Adds an element that holds text; `opening` is HTML.
    fn element(&mut self, opening: &str, text: impl fmt::Display, closing: &str) {
        self.raw(opening);
        self.text(text);
        self.raw(closing);
    }
}

/// A span as people say it, in its two largest units.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

fn title(html: &mut Html, report: &Report<'_>, page: &StatisticsPage) {
    let Report { status, load, workers, .. } = report;
    html.raw("<h1>mainstay");
    if !page.hide_version {
        html.text(format_args!(" {}", status.version));
    }
    match &page.node {
        Some(NodeName::Given(name)) => html.text(format_args!(" on {name}")),
        Some(NodeName::Machine) => {
            let name = nix::unistd::gethostname().unwrap_or_default();
            html.text(format_args!(" on {}", name.to_string_lossy()));
        }
        None => {}
    }
    html.raw("</h1>\n");
    if let Some(description) = &page.description {
        html.element("<p>", description, "</p>\n");
    }
    html.raw("<div class=\"facts\">");
    let facts = [
        ("pid", std::process::id().to_string()),
        ("running for", span(status.uptime)),
        ("threads", workers.to_string()),
        ("connections", format!("{} of {}", load.sessions, load.maxconn)),
        ("connections/s", format!("{}, at most {}", load.connection_rate, load.connection_rate_max)),
        ("relayed/s", table::bytes(load.bytes_rate)),
    ];
    for (name, value) in facts {
        html.element("<span>", name, " ");
        html.element("<b>", value, "</b></span>");
    }
    if status.stopping {
        html.raw("<span class=\"state warn\">stopping</span>");
    }
    html.raw("</div>\n");
}

fn outcome(html: &mut Html, changed: Changed, page: &StatisticsPage, view: &View) {
    let (look, sentence) = match changed {
        Changed::Done => ("good", "Done."),
        Changed::Nothing => {
            ("", "Nothing was changed: no server or no action was chosen, or it had no effect.")
        }
        Changed::Partly => ("warn", "Done for some servers; the others are not there."),
        Changed::Unclear => ("bad", "Nothing was changed: there is no such backend, server or action."),
        Changed::TooLong => ("bad", "Nothing was changed: too many servers at once; choose fewer."),
        Changed::Denied => ("bad", "Nothing was changed: it is not permitted here."),
    };
    html.element("<p class=\"notice state ", look, "\">");
    html.text(sentence);
    html.element(" <a href=\"", link(page, view, |view| view.changed = None), "\">Remove this</a></p>\n");
}

/// The page, shown otherwise.
fn link(page: &StatisticsPage, view: &View, other: impl FnOnce(&mut View)) -> String {
    let mut view = View { changed: None, ..view.clone() };
    other(&mut view);
    format!("{}{}", page.uri, view.suffix())
}

fn navigation(html: &mut Html, page: &StatisticsPage, view: &View) {
    html.raw("<nav>");
    let up = if view.up { "Show all servers" } else { "Hide servers that are down" };
    let mut links =
        vec![(link(page, view, |_| {}), "Load again"), (link(page, view, |view| view.up = !view.up), up)];
    if let Some(refresh) = page.refresh {
        let text = if view.no_refresh { "Load again by itself" } else { "Stop loading again by itself" };
        links.push((link(page, view, |view| view.no_refresh = !view.no_refresh), text));
        html.element("<span class=\"dim\">loads again every ", span(refresh), "</span>");
    }
    links.push((format!("{};csv;norefresh", page.uri), "CSV"));
    links.push((format!("{};json;norefresh", page.uri), "JSON"));
    for (to, text) in links {
        html.element("<a href=\"", to, "\">");
        html.element("", text, "</a>");
    }
    // A form replaces what stands after `?`, so it is there only where nothing does.
    if !page.uri.contains('?') {
        html.element("<form method=\"get\" action=\"", &page.uri, "\"><label>Name has ");
        html.element("<input name=\"scope\" size=\"10\" maxlength=\"20\" value=\"", &view.scope, "\">");
        html.raw("</label></form>");
    }
    html.raw("</nav>\n<p class=\"facts\">");
    for (look, state, meaning) in LEGEND {
        html.element("<span><span class=\"state ", look, "\">");
        html.element("", state, "</span> ");
        html.element("", meaning, "</span>");
    }
    html.raw("</p>\n");
}

/// The virtual addresses, which HAProxy has none of.
fn routers(html: &mut Html, routers: &[RouterStatus]) {
    if routers.is_empty() {
        return;
    }
    html.raw("<h2>Virtual routers</h2>\n<div class=\"wide\"><table><thead><tr>");
    for name in ["Router", "State", "For", "Priority", "Addresses", "Why"] {
        html.element("<th>", name, "</th>");
    }
    html.raw("</tr></thead><tbody>\n");
    for router in routers {
        let look = match router.state.as_str() {
            "active" => "good",
            "fault" => "bad",
            "handing over" | "stopped" => "warn",
            _ => "",
        };
        html.element("<tr><th>", &router.name, "</th>");
        html.element("<td class=\"words\"><span class=\"state ", look, "\">");
        html.element("", &router.state, "</span></td>");
        html.element("<td>", span(router.since), "</td>");
        html.element("<td>", router.effective_priority, "</td>");
        html.element("<td class=\"words\">", router.addresses.join(", "), "</td>");
        html.element("<td class=\"words\">", &router.reason, "</td></tr>\n");
    }
    html.raw("</tbody></table></div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_shown_is_text() {
        let mut html = Html::default();
        html.element("<b>", "<script>alert(\"1\" & '2')</script>", "</b>");
        let expected = "<b>&lt;script&gt;alert(&quot;1&quot; &amp; &#39;2&#39;)&lt;/script&gt;</b>";
        assert_eq!(html.0, expected);
    }

    #[test]
    fn spans_have_two_units() {
        let spans = [5, 65, 3_700, 90_061].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["5s", "1m05s", "1h01m", "1d01h"]);
    }
}
