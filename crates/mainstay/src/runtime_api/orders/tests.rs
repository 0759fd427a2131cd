//! Words that become orders; the answers are held against a running HAProxy in `tests/haproxy_verdicts`.

use super::*;
use crate::runtime_api::commands::{self, Run};
use mainstay_engine::health::order::{AdminState, Weight};

fn parse(line: &str) -> Result<Task, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (command, rest) = commands::find(&words).expect("a command");
    let Run::Order(parse) = command.run else { panic!("{line} is no order") };
    parse(rest)
}

#[test]
fn words_become_orders() {
    let change = |line: &str| match parse(line) {
        Ok(Task::Server { change: Ok(ServerChange::Quiet(order)), .. }) => order,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(change("disable server b/s"), ServerOrder::State(AdminState::Maintenance));
    assert_eq!(change("set weight b/s 50%"), ServerOrder::Weight(Weight::Percent(50)));
    assert_eq!(change("set maxconn server b/s -1"), ServerOrder::Maxconn(0));
    assert_eq!(change("set server b/s check-port 0"), ServerOrder::CheckAddress(None, Some(0)));
    assert_eq!(parse("shutdown session 0x1f"), Ok(Task::KillSession(SessionId(31))));
    assert_eq!(parse("shutdown session 31"), Ok(Task::KillSession(SessionId(31))));
    assert_eq!(parse("set maxconn global -5"), Ok(Task::Other(Order::Maxconn(0))));
}

#[test]
fn numbers_of_any_length_are_no_trouble() {
    for command in [
        "set weight b/s",
        "set maxconn server b/s",
        "set maxconn frontend f",
        "set maxconn global",
        "set rate-limit sessions global",
        "shutdown session",
        "set server b/s check-port",
        "set server b/s addr 1.2.3.4 port",
    ] {
        for number in ["99999999999999999999999999", "-99999999999999999999999999", "-", "+", "%", "0x", "é"]
        {
            let _ = parse(&format!("{command} {number}"));
            let _ = parse(&format!("{command} {number}%"));
        }
    }
}
