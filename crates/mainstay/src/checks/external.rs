//! `option external-check`: runs a program with HAProxy's arguments and environment.
//!
//! It gets no more environment than HAProxy gives it, ends with its whole process group when its time is up, and runs as
//! the `user` of `global` where mainstay may choose that.

use std::time::Duration;

use mainstay_engine::health::check::{CheckStatus, Seen};
use mainstay_engine::plan::{Check, ExternalCheck};
use nix::unistd::Uid;
use tokio::time::timeout;

use crate::checks::Finding;
use crate::program::{Running, account};

/// Says what the program found.
pub(super) async fn run(check: &Check, program: &ExternalCheck, seen: &Seen) -> Finding {
    let patience: Duration = check.connect_timeout.max(check.answer_timeout);
    let (arguments, environment) = (arguments(check, program), environment(check, program, seen));
    let account = match program.user.as_ref().filter(|_| Uid::effective().is_root()).map(account).transpose()
    {
        Ok(account) => account,
        Err(phrase) => return Finding::new(CheckStatus::Procerr, phrase),
    };
    let mut running = match Running::start_with(&arguments, account, &environment) {
        Ok(running) => running,
        Err(phrase) => return Finding::new(CheckStatus::Procerr, phrase),
    };
    match timeout(patience, running.wait_for_code()).await {
        Ok(Ok(())) => Finding { code: Some(0), ..Finding::new(CheckStatus::Procok, "") },
        Ok(Err((code, phrase))) => {
            let code = code.and_then(|code| u16::try_from(code).ok());
            Finding { code, ..Finding::new(CheckStatus::Procerr, phrase) }
        }
        Err(_) => {
            running.end().await;
            Finding::new(CheckStatus::Proctout, "")
        }
    }
}

/// The addresses of the proxy and of the server; `NOT_USED` where the proxy has none.
fn arguments(check: &Check, program: &ExternalCheck) -> Vec<String> {
    let unused = || "NOT_USED".to_owned();
    vec![
        program.command.clone(),
        program.proxy.map_or_else(unused, |proxy| proxy.ip().to_string()),
        program.proxy.map_or_else(unused, |proxy| proxy.port().to_string()),
        check.address.ip().to_string(),
        check.address.port().to_string(),
    ]
}

fn environment(check: &Check, program: &ExternalCheck, seen: &Seen) -> Vec<(&'static str, String)> {
    let arguments = arguments(check, program);
    let argument = |index: usize| arguments.get(index).cloned().unwrap_or_default();
    vec![
        ("PATH", program.path.clone()),
        ("HAPROXY_PROXY_NAME", program.proxy_name.clone()),
        ("HAPROXY_PROXY_ID", program.proxy_id.to_string()),
        ("HAPROXY_PROXY_ADDR", argument(1)),
        ("HAPROXY_PROXY_PORT", argument(2)),
        ("HAPROXY_SERVER_NAME", program.server_name.clone()),
        ("HAPROXY_SERVER_ID", program.server_id.to_string()),
        ("HAPROXY_SERVER_ADDR", argument(3)),
        ("HAPROXY_SERVER_PORT", argument(4)),
        ("HAPROXY_SERVER_MAXCONN", program.server_maxconn.to_string()),
        ("HAPROXY_SERVER_CURCONN", seen.sessions.to_string()),
        ("HAPROXY_SERVER_SSL", "0".to_owned()),
        ("HAPROXY_SERVER_PROTO", "tcp".to_owned()),
    ]
}
