//! The fates: what the balancer is told, and what its client does.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};

use crate::peers::{Servers, connect, drain, exchange, pause, reset};
use crate::ports::free_address;

/// The numbers of a line: times, which agree about, and others, which agree exactly.
pub(crate) type Numbers = (Vec<i64>, Vec<i64>);

/// One fate.
pub(crate) struct Fate {
    pub(crate) name: &'static str,
    /// Lines of its section. A word in capitals is the address of a server of that kind.
    pub(crate) section: &'static str,
    pub(crate) act: fn(SocketAddr),
    /// How many lines it is worth.
    pub(crate) lines: usize,
    /// The numbers of a line that have to agree.
    pub(crate) exact: Option<fn(&str) -> Numbers>,
}

const fn fate(name: &'static str, section: &'static str, act: fn(SocketAddr)) -> Fate {
    Fate { name, section, act, lines: 1, exact: Some(tcplog) }
}

const fn format(name: &'static str, section: &'static str, lines: usize) -> Fate {
    Fate { name, section, act: talk, lines, exact: None }
}

/// One in which the time depends on how much fits into buffers.
const fn stalled(name: &'static str, section: &'static str, act: fn(SocketAddr)) -> Fate {
    Fate { exact: None, ..fate(name, section, act) }
}

/// Tw, Tc, Tt; bytes, connections but for those of the process, retries and queues of a line of `option tcplog`.
fn tcplog(line: &str) -> Numbers {
    let number = |text: &str| text.trim_matches('+').parse::<i64>().expect("a number");
    let words: Vec<&str> = line.split_whitespace().rev().take(5).collect();
    let [queues, counts, _, bytes, times] = words.as_slice() else { panic!("{line}") };
    let times = times.split('/').map(number).collect();
    let counts = counts.split('/').skip(1).chain(queues.split('/'));
    (times, [number(bytes)].into_iter().chain(counts.map(number)).collect())
}

fn talk(address: SocketAddr) {
    let mut client = connect(address);
    exchange(&mut client, b"hello");
    client.shutdown(Shutdown::Write).expect("it finishes");
    drain(client);
}

fn wait(address: SocketAddr) {
    drain(connect(address));
}

fn talk_and_wait(address: SocketAddr) {
    let mut client = connect(address);
    exchange(&mut client, b"x");
    drain(client);
}

/// Occupies the only slot while another one waits, and lets `act` decide that one's fate.
fn behind_another(address: SocketAddr, act: fn(SocketAddr)) {
    let mut first = connect(address);
    first.write_all(b"x").expect("it takes it");
    pause(300);
    act(address);
    pause(300);
    reset(first);
}

/// Five clients, one after the other, for fewer slots; those that have one stay.
fn crowd(address: SocketAddr) {
    let clients: Vec<_> = (0..5)
        .map(|_| {
            let client = connect(address);
            pause(80);
            client
        })
        .collect();
    // The last one has run out of time in its queue by then.
    pause(700);
    for client in clients {
        reset(client);
        pause(50);
    }
}

const VARIABLES: &str = "B=%B|U=%U|H=%H|ID=%ID|T=%T|Tl=%Tl|t=%t|Ts=%Ts|ms=%ms|Th=%Th|Tc=%Tc|Td=%Td|Tt=%Tt|Tu=%Tu|Tw=%Tw|\
    ac=%ac|fc=%fc|bc=%bc|sc=%sc|rc=%rc|sq=%sq|bq=%bq|b=%b|f=%f|ft=%ft|s=%s|ci=%ci|cp=%cp|fi=%fi|fp=%fp|bi=%bi|bp=%bp|\
    si=%si|sp=%sp|lc=%lc|rt=%rt|pid=%pid|ts=%ts|tsc=%tsc|ST=%ST|sslc=%sslc|hr=%hr";

pub(crate) const FATES: &[Fate] = &[
    fate("talks", "server s ECHOING", talk),
    fate("client_resets", "server s HOLDING", |address| {
        let mut client = connect(address);
        client.write_all(b"x").expect("it takes it");
        pause(200);
        reset(client);
    }),
    fate("client_resets_after_answer", "server s ECHOING", |address| {
        let mut client = connect(address);
        exchange(&mut client, b"x");
        reset(client);
    }),
    fate("server_finishes", "server s FINISHING", wait),
    fate("server_resets", "server s RESETTING", wait),
    fate("server_resets_after_data", "server s BREAKING", wait),
    fate("server_resets_half_closed", "server s SPITEFUL", |address| {
        let mut client = connect(address);
        client.write_all(b"x").expect("it takes it");
        client.shutdown(Shutdown::Write).expect("it finishes");
        drain(client);
    }),
    fate("client_resets_half_closed", "server s FINISHING", |address| {
        let client = connect(address);
        pause(200);
        reset(client);
    }),
    fate("refused", "server s REFUSING", wait),
    fate("refused_at_once", "retries 0\n server s REFUSING", wait),
    fate("redispatched", "option redispatch\n server a REFUSING\n server b ECHOING", talk),
    fate("connect_times_out", "retries 0\n server s SILENT", wait),
    fate("connect_times_out_twice", "server s SILENT", wait),
    fate("resets_connecting", "timeout connect 9s\n server s SILENT", |address| {
        let client = connect(address);
        pause(200);
        reset(client);
    }),
    fate("sends_finishes_connecting", "retries 0\n server s SILENT", |address| {
        let mut client = connect(address);
        pause(100);
        client.write_all(b"x").expect("it takes it");
        client.shutdown(Shutdown::Write).expect("it finishes");
        drain(client);
    }),
    fate("resets_between_tries", "timeout connect 9s\n server s REFUSING", |address| {
        let client = connect(address);
        pause(300);
        reset(client);
    }),
    fate("no_server", "server s REFUSING disabled", wait),
    Fate {
        lines: 5,
        ..fate(
            "maxqueue_of_a_rule",
            "option redispatch\n use-server a if TRUE\n server a HOLDING maxconn 1 maxqueue 1\n \
             server b HOLDING maxconn 1",
            crowd,
        )
    },
    Fate {
        lines: 5,
        ..fate(
            "maxqueue_and_nowhere_else",
            "use-server a if TRUE\n server a HOLDING maxconn 1 maxqueue 1\n server b HOLDING maxconn 1",
            crowd,
        )
    },
    Fate {
        lines: 5,
        ..fate(
            "maxqueue_by_source",
            "balance source\n server a HOLDING maxconn 1 maxqueue 1\n server b HOLDING maxconn 1",
            crowd,
        )
    },
    // A limit that grows while somebody waits lets that one in with mainstay, and nobody before the next end with HAProxy.
    Fate { lines: 5, ..fate("minconn", "fullconn 4\n server a HOLDING minconn 1 maxconn 4", crowd) },
    Fate { lines: 5, ..fate("minconn_alone", "fullconn 9\n server a HOLDING minconn 2", crowd) },
    Fate {
        lines: 2,
        ..fate("queue_times_out", "server s HOLDING maxconn 1", |address| behind_another(address, wait))
    },
    Fate {
        lines: 2,
        ..fate("resets_in_queue", "timeout queue 9s\n server s HOLDING maxconn 1", |address| {
            behind_another(address, |address| {
                let client = connect(address);
                pause(200);
                reset(client);
            });
        })
    },
    Fate {
        lines: 2,
        ..fate("leaves_queue", "timeout queue 9s\n server s HOLDING maxconn 1", |address| {
            behind_another(address, |address| {
                let client = connect(address);
                pause(200);
                drop(client);
            });
        })
    },
    Fate {
        lines: 2,
        ..fate("waits_in_queue", "timeout queue 9s\n server s ECHOING maxconn 1", |address| {
            let mut first = connect(address);
            exchange(&mut first, b"x");
            let mut second = connect(address);
            second.write_all(b"yy").expect("it takes them");
            pause(300);
            first.shutdown(Shutdown::Write).expect("it finishes");
            drain(first);
            exchange_rest(&mut second);
            second.shutdown(Shutdown::Write).expect("it finishes");
            drain(second);
        })
    },
    fate("client_times_out", "timeout client 500ms\n server s ECHOING", talk_and_wait),
    fate("silent_client_times_out", "timeout client 500ms\n server s ECHOING", wait),
    fate("server_times_out", "timeout server 500ms\n server s ECHOING", talk_and_wait),
    fate("silent_server_times_out", "timeout server 500ms\n server s HOLDING", wait),
    fate("both_time_out", "timeout client 500ms\n timeout server 500ms\n server s ECHOING", talk_and_wait),
    fate("tunnel_times_out", "timeout tunnel 500ms\n server s ECHOING", talk_and_wait),
    fate("server_times_out_half_closed", "timeout server 500ms\n server s HOLDING", |address| {
        let mut client = connect(address);
        client.write_all(b"x").expect("it takes it");
        client.shutdown(Shutdown::Write).expect("it finishes");
        drain(client);
    }),
    fate("client_times_out_half_closed", "timeout client 500ms\n server s FINISHING", |address| {
        let client = connect(address);
        pause(1200);
        drop(client);
    }),
    stalled("stalled_client", "timeout client 600ms\n server s FLOODING", |address| {
        let client = connect(address);
        pause(2000);
        drop(client);
    }),
    stalled("stalled_server", "timeout server 600ms\n server s HOLDING", |address| {
        let mut client = connect(address);
        let _ = client.write_all(&vec![b'z'; 64 << 20]);
        reset(client);
    }),
    Fate {
        lines: 0,
        ..fate("says_nothing", "option dontlognull\n timeout client 500ms\n server s ECHOING", wait)
    },
    Fate { lines: 0, ..fate("ends_well", "option dontlog-normal\n server s ECHOING", talk) },
    fate(
        "ends_badly",
        "option dontlog-normal\n option log-separate-errors\n retries 0\n server s REFUSING",
        wait,
    ),
    fate("logged_early", "option logasap\n server s ECHOING", talk),
    fate("refused_early", "option logasap\n retries 0\n server s REFUSING", wait),
    format(
        "layouts",
        "no log\n log TARGET format local local0\n log TARGET format rfc3164 local1\n log TARGET format rfc5424 local2\n log TARGET format priority local3\n log TARGET format short local4\n log TARGET format timed local5\n log TARGET format iso local6\n log TARGET format raw local7\n server s ECHOING",
        8,
    ),
    format(
        "levels",
        "no log\n log TARGET local0 notice\n log TARGET kern info err\n log TARGET local0 debug debug\n server s ECHOING",
        2,
    ),
    format(
        "sampled",
        "no log\n log TARGET sample 1:2 local1\n log TARGET sample 2:2 local2\n server s ECHOING",
        1,
    ),
    format("tagged", "log-tag my-tag\n server s ECHOING", 1),
    format(
        "structured",
        "no log\n log TARGET format rfc5424 local0\n log-format-sd \"%{+Q,+E}o[a@1 from=%ci name=%f]\"\n server s ECHOING",
        1,
    ),
    format(
        "short",
        "no log\n log TARGET len 80 local0\n log-format \"short and a rather long text that does not fit into eighty bytes\"\n server s ECHOING",
        1,
    ),
    format("variables", "log-format \"variables VARIABLES\"\n server s ECHOING", 1),
    format("quoted", "log-format \"quoted %{+Q}o VARIABLES\"\n server s ECHOING", 1),
    format("hexadecimal", "log-format \"hexadecimal %{+X}o VARIABLES\"\n server s ECHOING", 1),
    format(
        "hexadecimal_mixed",
        "log-format \"   hexadecimal_mixed  %{+Q}o %{-Q}ci %ci %{+X}cp %%  x%(y)s %[src] %[src_port] %[dst_port] %f.%f#{}| \"\n server s ECHOING",
        1,
    ),
    format("known_early", "log-format \"known_early %s %t %ci\"\n server s ECHOING", 1),
    Fate {
        act: wait,
        ..format(
            "unknown",
            "log-format \"unknown VARIABLES %{+Q}s %{+Q}bi %{+X}si %{+X}sp %{+Q}si\"\n server s REFUSING disabled",
            1,
        )
    },
    Fate {
        act: wait,
        ..format("given_up", "retries 0\n log-format \"given_up VARIABLES\"\n server s REFUSING", 1)
    },
];

/// Reads the two bytes that were sent long ago.
fn exchange_rest(stream: &mut std::net::TcpStream) {
    use std::io::Read as _;
    stream.read_exact(&mut [0; 2]).expect("they come back");
}

/// One section for each fate; each line of the log goes to `port`.
pub(crate) fn configuration(servers: &Servers, port: u16) -> String {
    let mut text = format!(
        "global\n log 127.0.0.1:{port} local0\n log-tag haproxy\n\
         defaults\n mode tcp\n log global\n option tcplog\n retries 1\n no option redispatch\n\
         timeout connect 500ms\n timeout client 9s\n timeout server 9s\n timeout queue 500ms\n"
    );
    for fate in FATES {
        let mut section = fate.section.replace("VARIABLES", VARIABLES);
        for (word, address) in [
            ("ECHOING", servers.echoing),
            ("HOLDING", servers.holding),
            ("FINISHING", servers.finishing),
            ("RESETTING", servers.resetting),
            ("BREAKING", servers.breaking),
            ("SPITEFUL", servers.spiteful),
            ("FLOODING", servers.flooding),
            ("REFUSING", servers.refusing),
            ("SILENT", servers.silent),
            ("TARGET", SocketAddr::from(([127, 0, 0, 1], port))),
        ] {
            section = section.replace(word, &address.to_string());
        }
        let _ = write!(text, "listen {}\n bind {}\n {section}\n", fate.name, free_address());
    }
    text
}

/// A backend whose servers are not there yet.
pub(crate) fn changing(server: SocketAddr, port: u16) -> String {
    let listen = free_address();
    format!(
        "global\n log 127.0.0.1:{port} local0\n log-tag haproxy\n\
         defaults\n mode tcp\n log global\n timeout connect 2s\n timeout client 9s\n timeout server 9s\n\
         listen changing\n bind {listen}\n server late {server} check inter 200ms rise 1 fall 2\n \
         server other {server} check inter 200ms rise 1 fall 1\n"
    )
}
