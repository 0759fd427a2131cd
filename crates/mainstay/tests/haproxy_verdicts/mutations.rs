//! Every keyword in its right form, and with its value missing, one too many, out of range, or misspelt.

/// Where a keyword stands.
#[derive(Clone, Copy)]
enum At {
    Global,
    Front,
    Back,
    Bind,
    Server,
    Resolvers,
}

/// A keyword, a value that it takes, and values that are none or at the edge.
struct Subject(At, &'static str, &'static str, &'static [&'static str]);

const TIME: &[&str] = &["0", "x", "5sec", "-1", "25d", "1us", "24d"];
const COUNT: &[&str] = &["0", "x", "-1", "1x"];

const SUBJECTS: &[Subject] = &[
    Subject(At::Global, "maxconn", "4000", &["0", "x"]),
    Subject(At::Global, "nbthread", "2", &["0", "64", "65", "x"]),
    Subject(At::Global, "spread-checks", "5", &["0", "50", "51", "-1"]),
    Subject(At::Global, "ssl-server-verify", "none", &["required", "maybe"]),
    Subject(At::Global, "ca-base", "/tmp", &[]),
    Subject(At::Global, "user", "root", &["nobody-of-that-name"]),
    Subject(At::Front, "maxconn", "10", &["0", "x"]),
    Subject(At::Front, "backlog", "10", &["0"]),
    Subject(At::Front, "timeout client", "5h", TIME),
    Subject(At::Front, "timeout client-fin", "5s", TIME),
    Subject(At::Front, "mode", "tcp", &["tpc", "health"]),
    Subject(At::Front, "default_backend", "b", &["c"]),
    Subject(At::Front, "use_backend", "b", &["c"]),
    Subject(At::Back, "retries", "3", &["0", "x"]),
    Subject(At::Back, "balance", "leastconn", &["first", "static-rr", "source", "laestconn"]),
    Subject(At::Back, "timeout connect", "5s", TIME),
    Subject(At::Back, "timeout server", "5h", TIME),
    Subject(At::Back, "timeout server-fin", "5s", TIME),
    Subject(At::Back, "timeout tunnel", "5h", TIME),
    Subject(At::Back, "timeout queue", "5s", TIME),
    Subject(At::Back, "timeout check", "5s", TIME),
    Subject(At::Back, "timeout http-request", "5s", TIME),
    Subject(At::Back, "timeout http-keep-alive", "5s", TIME),
    Subject(At::Back, "timeout tarpit", "5s", TIME),
    Subject(At::Back, "option redispatch", "1", &["0", "-1", "x"]),
    Subject(At::Back, "option allbackups", "", &[]),
    Subject(At::Back, "option tcp-check", "", &[]),
    Subject(At::Back, "option ssl-hello-chk", "", &[]),
    Subject(At::Bind, "interface", "lo", &[]),
    Subject(At::Bind, "v4v6", "", &[]),
    Subject(At::Bind, "v6only", "", &[]),
    Subject(At::Server, "check", "", &[]),
    Subject(At::Server, "no-check", "", &[]),
    Subject(At::Server, "inter", "2s", TIME),
    Subject(At::Server, "fastinter", "2s", TIME),
    Subject(At::Server, "downinter", "2s", TIME),
    Subject(At::Server, "rise", "2", COUNT),
    Subject(At::Server, "fall", "2", COUNT),
    Subject(At::Server, "check port", "6444", &["0", "65536", "x"]),
    Subject(At::Server, "check addr", "10.0.0.9", &["300.0.0.1"]),
    Subject(At::Server, "weight", "10", &["0", "256", "257", "-1"]),
    Subject(At::Server, "maxconn", "10", &["0"]),
    Subject(At::Server, "maxqueue", "10", &["0"]),
    Subject(At::Server, "slowstart", "5s", TIME),
    Subject(At::Server, "backup", "", &[]),
    Subject(At::Server, "no-backup", "", &[]),
    Subject(At::Server, "disabled", "", &[]),
    Subject(At::Server, "enabled", "", &[]),
    Subject(At::Server, "verify", "none", &["required", "maybe"]),
    Subject(At::Server, "check-sni", "a", &[]),
    Subject(At::Server, "check-alpn", "http/1.1", &["h2,http/1.1"]),
    Subject(At::Server, "verifyhost", "a", &[]),
    Subject(At::Server, "on-marked-down", "shutdown-sessions", &["shutdown-session"]),
    Subject(At::Server, "init-addr", "libc,none", &["last", "none", "10.0.0.3", "libc none", "no"]),
    Subject(At::Server, "resolve-prefer", "ipv4", &["ipv6", "ipv5"]),
    Subject(At::Server, "resolve-net", "10.0.0.0/8", &["10.0.0.0/8,192.168.0.0/16", "10.0.0.0/99", "x"]),
    Subject(At::Server, "resolve-opts", "allow-dup-ip", &["ignore-weight", "prevent-dup-ip", "allow-dup"]),
    Subject(At::Server, "resolvers", "d", &["dd"]),
    Subject(At::Resolvers, "nameserver b", "127.0.0.1:54", &["127.0.0.1", "127.0.0.1:0", "127.0.0.1:65536"]),
    Subject(At::Resolvers, "resolve_retries", "3", &["0"]),
    Subject(At::Resolvers, "accepted_payload_size", "8192", &["11", "12", "65535", "65536", "x"]),
    Subject(At::Resolvers, "timeout resolve", "1s", TIME),
    Subject(At::Resolvers, "timeout retry", "1s", TIME),
    Subject(At::Resolvers, "hold valid", "1s", TIME),
    Subject(At::Resolvers, "hold obsolete", "1s", TIME),
    Subject(At::Resolvers, "hold nx", "1s", TIME),
    Subject(At::Resolvers, "hold timeout", "1s", TIME),
    Subject(At::Resolvers, "hold refused", "1s", TIME),
    Subject(At::Resolvers, "hold other", "1s", TIME),
    Subject(At::Resolvers, "parse-resolv-conf", "", &[]),
];

/// Lines that the two judge differently, and why.
pub(crate) const DISAGREEMENTS: &[(&str, &str)] = &[
    ("maxconn x", "HAProxy takes what is no number for 0"),
    ("retries x", "HAProxy takes what is no number for 0"),
    ("rise 1x", "HAProxy passes over what follows the number"),
    ("fall 1x", "HAProxy passes over what follows the number"),
    ("check port x", "HAProxy takes what is no number for 0"),
    ("check port 65536", "HAProxy counts on from 0"),
    ("weight \"\"", "HAProxy takes nothing for 0"),
    ("6443 maxconn \"\"", "HAProxy takes nothing for 0"),
    ("maxqueue \"\"", "HAProxy takes nothing for 0"),
    ("10.0.0.2:6443 weight\n", "HAProxy takes nothing for 0"),
    ("10.0.0.2:6443 maxconn\n", "HAProxy takes nothing for 0"),
    ("10.0.0.2:6443 maxqueue\n", "HAProxy takes nothing for 0"),
    ("init-addr\n", "HAProxy takes nothing for its default"),
    ("init-addr \"\"", "HAProxy takes nothing for its default"),
    ("resolve-opts\n", "HAProxy takes nothing for its default"),
    ("balance\n", "HAProxy takes nothing for its default"),
    ("balance \"\"", "HAProxy takes nothing for its default"),
    ("user nobody-of-that-name", "mainstay does not change its user, so it does not look for it"),
    ("1s surplus", "HAProxy passes over what follows the time"),
    ("8192 surplus", "HAProxy passes over what follows the number"),
    ("resolve_retries 3 surplus", "HAProxy passes over what follows the number"),
    ("127.0.0.1:54 surplus", "HAProxy passes over what follows the address"),
    ("parse-resolv-conf  surplus", "HAProxy passes over what follows"),
    ("redispatch 1 surplus", "HAProxy passes over what follows the number"),
    ("resolve-opts \"\"", "HAProxy takes nothing for its default"),
];

/// Every file.
pub(crate) fn cases() -> Vec<String> {
    SUBJECTS.iter().flat_map(mutate).collect()
}

fn mutate(Subject(at, keyword, value, edges): &Subject) -> Vec<String> {
    let misspelt: String =
        keyword.char_indices().filter(|(at, _)| *at != keyword.len() - 2).map(|(_, c)| c).collect();
    let mut lines = vec![format!("{keyword} {value}"), format!("{misspelt} {value}")];
    if !value.is_empty() {
        lines.push((*keyword).to_owned());
        lines.push(format!("{keyword} \"\""));
    }
    lines.push(format!("{keyword} {value} surplus"));
    lines.extend(edges.iter().map(|edge| format!("{keyword} {edge}")));
    lines.iter().map(|line| file(*at, line)).collect()
}

fn file(at: At, line: &str) -> String {
    let here =
        |place: At| if std::mem::discriminant(&place) == std::mem::discriminant(&at) { line } else { "" };
    let defaults = "defaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\n";
    format!(
        "global\n {}\nresolvers d\n nameserver a 127.0.0.1:53\n {}\n{defaults}backend b\n server m1 10.0.0.1:6443\n server m2 10.0.0.2:6443 {}\n {}\nfrontend f\n bind :6443 {}\n default_backend b\n {}\n",
        here(At::Global),
        here(At::Resolvers),
        here(At::Server),
        here(At::Back),
        here(At::Bind),
        here(At::Front),
    )
}
