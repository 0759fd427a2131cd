//! Connections that wait for a slot.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::rig::{Balancer, both, holding};

#[test]
fn a_client_that_ends_its_side_in_the_queue_has_given_up_or_not_as_with_haproxy() {
    // Option, what the client has sent, and whether its connection ends at once rather than with `timeout queue`.
    let cases = [
        ("no option abortonclose", "", true),
        ("no option abortonclose", "hello", false),
        ("option abortonclose", "", true),
        ("option abortonclose", "hello", true),
    ];
    thread::scope(|scope| {
        for (option, sent, at_once) in cases {
            let backend = format!(" timeout queue 5s\n {option}\n server s {} maxconn 1\n", holding(7));
            for (name, balancer) in both(&backend) {
                scope.spawn(move || {
                    let waited = wait_in_queue(&balancer, sent);
                    assert_eq!(
                        waited < Duration::from_secs(4),
                        at_once,
                        "{name}, {option}, {sent:?}: {waited:?}"
                    );
                });
            }
        }
    });
}

/// The place of `qcur` among the statistics.
const QCUR: usize = 2;

/// How long a connection lasts whose client sends something and ends its side while another one has the only slot.
fn wait_in_queue(balancer: &Balancer, sent: &str) -> Duration {
    let mut holder = balancer.connect();
    holder.read_exact(&mut [0]).expect("a server answers");
    let mut client: TcpStream = balancer.connect();
    client.write_all(sent.as_bytes()).expect("it is connected");
    balancer.wait_for(QCUR, "1");
    client.shutdown(Shutdown::Write).expect("it is connected");
    let began = Instant::now();
    match client.read(&mut [0]) {
        Ok(count) => assert_eq!(count, 0, "nobody answers"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
    began.elapsed()
}
