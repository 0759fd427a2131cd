//! What becomes of connections, as the real HAProxy logs and counts it, and as mainstay does: the same configuration, the
//! same clients and servers, both at once.
//!
//! Lines have to be the same byte for byte, but for numbers that are times, ports and processes; counters have to be the
//! same. Where that is not so, [`DIFFERENCES`] says why, and an entry that differs no longer fails.

mod balancers;
mod peers;
#[path = "../ports/mod.rs"]
mod ports;
mod script;

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use balancers::{Balancer, Daemon, HaProxy, InProcess};
use script::{FATES, Fate, configuration};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How far two times of the same fate may be apart, in milliseconds: the machine may be busy.
const TOLERANCE: i64 = 400;

/// `(fate, what differs, why)`.
const DIFFERENCES: &[(&str, &str, &str)] =
    &[("sends_finishes_connecting", "bin", "mainstay reads nothing before a server is connected")];

#[test]
fn fates_are_logged_and_counted_as_by_haproxy() {
    let servers = peers::Servers::start();
    let (theirs, ours) = (Lines::new(), Lines::new());
    let real = HaProxy::start(&configuration(&servers, theirs.port()));
    let own = InProcess::start(&configuration(&servers, ours.port()));
    thread::scope(|scope| {
        for fate in FATES {
            scope.spawn(|| (fate.act)(real.address(fate.name)));
            scope.spawn(|| (fate.act)(own.address(fate.name)));
        }
    });
    let expected = FATES.iter().map(|fate| fate.lines).sum();
    let (theirs, ours) = (theirs.receive(expected), ours.receive(expected));
    let mut findings = String::new();
    for fate in FATES {
        compare_lines(fate, &theirs, &ours, &mut findings);
        // Those without exact numbers depend on what fits into buffers, or are about their lines only.
        let rows = if fate.exact.is_some() { real.counters(fate.name) } else { Vec::new() };
        for (place, fields) in rows {
            let own = own.counters(fate.name, &place);
            for (field, value) in own {
                let real = fields.get(field).copied().unwrap_or(0);
                let listed = DIFFERENCES.iter().any(|(name, what, _)| (*name, *what) == (fate.name, field));
                if (real == value) == listed {
                    let _ = writeln!(
                        findings,
                        "{}/{place}: {field} is {real} in HAProxy, {value} in mainstay, listed: {listed}",
                        fate.name
                    );
                }
            }
        }
    }
    assert!(findings.is_empty(), "{findings}");
}

#[test]
fn changes_of_servers_are_logged_as_by_haproxy() {
    let (theirs, ours) = (Lines::new(), Lines::new());
    let server = peers::late();
    let (real, own) = (
        HaProxy::start(&script::changing(server.address(), theirs.port())),
        Daemon::start(&script::changing(server.address(), ours.port())),
    );
    let (down, also) = (theirs.receive(3), ours.receive(3));
    server.listen();
    let (up, too) = (theirs.receive(2), ours.receive(2));
    let same = |lines: &[String]| lines.iter().map(|line| shape(line, "")).collect::<Vec<_>>();
    let mut sorted = [same(&down), same(&also), same(&up), same(&too)];
    sorted.iter_mut().for_each(|lines| lines.sort_unstable());
    let [down, also, up, too] = sorted;
    assert_eq!(also, down);
    assert_eq!(too, up);
    drop((real, own));
}

fn compare_lines(fate: &Fate, theirs: &[String], ours: &[String], findings: &mut String) {
    let of = |lines: &[String]| -> Vec<String> {
        let mark = format!(" {} ", fate.name);
        lines.iter().filter(|line| line.contains(&mark)).cloned().collect()
    };
    let (theirs, ours) = (of(theirs), of(ours));
    if theirs.len() != fate.lines || ours.len() != fate.lines {
        let _ = writeln!(findings, "{}: {} lines expected\n  {theirs:?}\n  {ours:?}", fate.name, fate.lines);
        return;
    }
    for (real, own) in theirs.iter().zip(&ours) {
        let unlike = shape(real, fate.name) != shape(own, fate.name);
        if unlike || fate.exact.is_some_and(|exact| !alike(&exact(real), &exact(own))) {
            let _ = writeln!(findings, "{}:\n  {real}\n  {own}", fate.name);
        }
    }
}

/// Whether numbers are the same: times, which come first, about, and the rest exactly.
fn alike((times, rest): &(Vec<i64>, Vec<i64>), (other_times, other_rest): &(Vec<i64>, Vec<i64>)) -> bool {
    let near = |(one, other): (&i64, &i64)| (*one < 0) == (*other < 0) && (one - other).abs() <= TOLERANCE;
    times.len() == other_times.len() && times.iter().zip(other_times).all(near) && rest == other_rest
}

/// A line without its numbers.
fn shape(line: &str, fate: &str) -> String {
    let mut shape = String::new();
    let is_number =
        |c: char| c.is_ascii_digit() || fate.starts_with("hexadecimal") && ('A'..='F').contains(&c);
    let mut characters = line.chars().peekable();
    while let Some(next) = characters.next() {
        if is_number(next) {
            while characters.next_if(|c| is_number(*c)).is_some() {}
            shape.push('0');
        } else if next == ' ' && characters.peek() == Some(&' ') {
            // A day below ten has a blank before it.
        } else {
            shape.push(next);
        }
    }
    shape
}

/// Where lines arrive.
struct Lines(UdpSocket);

impl Lines {
    fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out");
        Self(socket)
    }

    fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    /// Waits for so many lines, and a moment for more.
    fn receive(&self, count: usize) -> Vec<String> {
        let mut lines = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        let mut buffer = [0; 65_536];
        loop {
            match self.0.recv(&mut buffer) {
                Ok(length) => lines.push(String::from_utf8_lossy(&buffer[..length]).into_owned()),
                Err(_) if lines.len() >= count => return lines,
                Err(_) => {
                    assert!(
                        Instant::now() < deadline,
                        "{} lines instead of {count}: {lines:#?}",
                        lines.len()
                    );
                }
            }
        }
    }
}
