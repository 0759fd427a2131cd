//! The page of statistics in its forms, and metrics.

use mainstay_engine::admin::Status;
use mainstay_engine::pages::{Form, View};
use mainstay_engine::plan::StatisticsPage;

use crate::metrics;
use crate::runtime_api::Answers;
use crate::runtime_api::statistics::{self, Filter, Line};

use super::answers::{self, Reply};
use super::html;

/// What only those see to whom legends are shown, as in HAProxy.
const LEGENDS: [&str; 3] = ["addr", "cookie", "algo"];

/// The type of metrics, as HAProxy says it.
const METRICS: &str = "text/plain; version=0.0.4";

/// The page, as it is wanted.
pub(super) async fn show(answers: &Answers, page: &StatisticsPage, view: &View, may_change: bool) -> Reply {
    let Ok(status) = answers.status().await else { return answers::unavailable() };
    let lines = lines(&status, page, view);
    let reply = match view.form {
        Form::Csv => Reply::page("text/plain", statistics::csv(&lines)),
        Form::Json => Reply::page("application/json", statistics::json(&lines)),
        Form::Html => {
            let load = answers.load();
            let report = html::Report { status: &status, load, workers: answers.workers(), lines: &lines };
            Reply::page("text/html", html::page(&report, page, view, may_change))
        }
    };
    match page.refresh.filter(|_| !view.no_refresh) {
        Some(refresh) => reply.refresh(refresh.as_secs()),
        None => reply,
    }
}

/// The lines of the proxies that are wanted and may be seen.
fn lines(status: &Status, page: &StatisticsPage, view: &View) -> Vec<Line> {
    let filter = Filter { up: view.up, no_maintenance: view.no_maintenance, ..Filter::default() };
    let mut lines = statistics::lines(status, &filter);
    lines.retain(|line| {
        let name = line.text("pxname").unwrap_or_default();
        let may_be_seen = page.scope.is_empty() || page.scope.iter().any(|wanted| wanted == name);
        may_be_seen && name.contains(&view.scope)
    });
    if !page.legends {
        lines.iter_mut().for_each(|line| line.hide(&LEGENDS));
    }
    lines
}

/// What a scrape is answered with.
pub(super) async fn metrics(answers: &Answers, query: &str) -> Reply {
    let Ok(status) = answers.status().await else { return answers::unavailable() };
    match metrics::of_haproxy(&status, answers.load(), query) {
        Ok(text) => Reply::page(METRICS, text),
        Err(_) => answers::bad_request(),
    }
}
