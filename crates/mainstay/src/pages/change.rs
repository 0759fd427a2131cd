//! Changes of servers that are asked for on the page of statistics.
//!
//! Owns the form: fields `b` (a backend), `s` (its servers, each a field) and `action`, as HAProxy's page has them. What
//! they ask for goes the way of the orders of the runtime API.

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use mainstay_engine::admin::{PoolStatus, ServerStatus, Status};
use mainstay_engine::health::order::{AdminState, ForcedHealth, Order, ServerOrder};
use mainstay_engine::pages::{Changed, View};
use mainstay_engine::plan::StatisticsPage;

use crate::runtime_api::Answers;

use super::answers::{self, Reply};

/// Most bytes of a form, as many as HAProxy's buffer holds.
const FORM_BYTES: usize = 16 * 1024;

/// Most bytes that are taken of a form that is too long, so that its sender hears what became of it.
const TAKEN_BYTES: usize = 1024 * 1024;

/// Does what the form in `body` asks for, and leads back to the page.
pub(super) async fn carry_out(answers: &Answers, page: &StatisticsPage, view: View, body: Incoming) -> Reply {
    let changed = match receive(body).await {
        Some(form) => change(answers, &form).await,
        None => Changed::TooLong,
    };
    lead_back(page, view, changed)
}

/// Changes nothing.
pub(super) fn denied(page: &StatisticsPage, view: View) -> Reply {
    lead_back(page, view, Changed::Denied)
}

fn lead_back(page: &StatisticsPage, view: View, changed: Changed) -> Reply {
    let view = View { changed: Some(changed), ..view };
    answers::see_other(&format!("{}{}", page.uri, view.suffix()))
}

/// The form; `None` if it is too long or broken off.
async fn receive(mut body: Incoming) -> Option<String> {
    let (mut form, mut taken) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame.ok()?.into_data() else { continue };
        taken += bytes.len();
        if taken > TAKEN_BYTES {
            return None;
        }
        if taken <= FORM_BYTES {
            form.extend_from_slice(&bytes);
        }
    }
    if taken > FORM_BYTES { None } else { String::from_utf8(form).ok() }
}

/// What a form says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Form {
    backend: Option<String>,
    action: Option<String>,
    servers: Vec<String>,
}

impl Form {
    fn parse(text: &str) -> Self {
        let mut form = Self::default();
        for field in text.split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let value = decode(value);
            match name {
                "b" => form.backend = Some(value),
                "action" => form.action = Some(value),
                "s" => form.servers.push(value),
                _ => {}
            }
        }
        form
    }
}

/// What `application/x-www-form-urlencoded` stands for.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if first == b'+' { b' ' } else { first });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn change(answers: &Answers, form: &str) -> Changed {
    let Form { backend, action, servers } = Form::parse(form);
    let Ok(status) = answers.status().await else { return Changed::Unclear };
    let pool = backend.as_deref().map(|backend| find(&status, backend));
    let action = action.as_deref().map(|action| ACTIONS.iter().find(|(known, ..)| *known == action));
    let (pool, (_, wanted, applies)) = match (pool, action) {
        (Some(Some(pool)), Some(Some(action))) => (pool, action),
        (Some(None), _) | (_, Some(None)) => return Changed::Unclear,
        _ => return Changed::Nothing,
    };
    let (mut asked, mut changed) = (0, 0);
    for name in servers {
        let Some(server) = pool.servers.iter().find(|server| server.name == name) else {
            asked += 1;
            continue;
        };
        if !applies(server) {
            continue;
        }
        let order = Order::Server { pool: pool.name.clone(), server: name.clone(), change: *wanted };
        if matches!(answers.order(order).await, Ok(Ok(_))) {
            (asked, changed) = (asked + 1, changed + 1);
        }
    }
    match (asked, changed) {
        (0, _) => Changed::Nothing,
        (_, 0) => Changed::Unclear,
        (asked, changed) if changed < asked => Changed::Partly,
        _ => Changed::Done,
    }
}

/// The backend of a name, or of a number after `#`.
fn find<'a>(status: &'a Status, backend: &str) -> Option<&'a PoolStatus> {
    let number = backend.strip_prefix('#').and_then(|number| number.parse().ok());
    status.pools.iter().find(|pool| number.map_or(pool.name == backend, |number: u32| pool.id == number))
}

/// A word of the form, what it asks for, and of which servers.
type Action = (&'static str, ServerOrder, fn(&ServerStatus) -> bool);

/// The words of HAProxy's form, those that it only still understands included.
pub(super) const ACTIONS: [Action; 17] = [
    ("ready", ServerOrder::State(AdminState::Ready), any),
    ("drain", ServerOrder::State(AdminState::Drain), any),
    ("maint", ServerOrder::State(AdminState::Maintenance), any),
    ("dhlth", ServerOrder::Checks(false), is_checked),
    ("ehlth", ServerOrder::Checks(true), any),
    ("hrunn", ServerOrder::Health(ForcedHealth::Up), any),
    ("hnolb", ServerOrder::Health(ForcedHealth::Stopping), any),
    ("hdown", ServerOrder::Health(ForcedHealth::Down), any),
    ("dagent", ServerOrder::Agent(false), any),
    ("eagent", ServerOrder::Agent(true), any),
    ("arunn", ServerOrder::AgentHealth(true), any),
    ("adown", ServerOrder::AgentHealth(false), any),
    ("shutdown", ServerOrder::ShutdownSessions, any),
    ("enable", ServerOrder::State(AdminState::Ready), |server| server.state == "maintenance"),
    ("disable", ServerOrder::State(AdminState::Maintenance), |server| server.state != "maintenance"),
    ("start", ServerOrder::State(AdminState::Ready), |server| server.state == "drain"),
    ("stop", ServerOrder::State(AdminState::Drain), |server| server.state != "drain"),
];

fn any(_: &ServerStatus) -> bool {
    true
}

fn is_checked(server: &ServerStatus) -> bool {
    server.checks.is_some()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_form_is_read(text in "\\PC{0,60}", name in "[a-z%+&=]{0,20}") {
            Form::parse(&text);
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(Form::parse(&format!("s={encoded}")).servers, [name]);
        }
    }

    #[test]
    fn a_form_is_what_browsers_send() {
        let form = Form::parse("s=a%2fb&s=c+d&x=y&action=ready&b=%238&s=%zz");
        assert_eq!(form.servers, ["a/b", "c d", "%zz"]);
        assert_eq!((form.action.as_deref(), form.backend.as_deref()), (Some("ready"), Some("#8")));
        assert_eq!(Form::parse(""), Form::default());
    }
}
