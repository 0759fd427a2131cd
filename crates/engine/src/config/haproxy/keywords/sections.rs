//! Keywords in the sections that are neither `global` nor those of proxies.
//!
//! They are held against this table as HAProxy does it, although mainstay passes most of these sections over.

use super::{Keyword, Place, Values, acted_on, no_effect, refused};

const fn passed_over(section: &'static str, names: &'static [&'static str], values: Values) -> Keyword {
    no_effect(Place::Section(section), names, values, "its section is passed over")
}

const RESOLVERS: Place = Place::Section("resolvers");
/// One word or more.
const SOME: Values = Values::Words(1, 64);
/// A name and an address, and more.
const NAMED: Values = Values::Words(2, 64);
const COUNT: Values = Values::Integer(0, 2_147_483_647);

pub(super) const SECTIONS: &[Keyword] = &[
    acted_on(
        RESOLVERS,
        &["nameserver"],
        Values::Words(2, 2),
        "",
        "whom to ask: a name, and an address with a port, of UDP or with `tcp@` before it of TCP",
    ),
    acted_on(RESOLVERS, &["parse-resolv-conf"], Values::Nothing, "no", "asks those of /etc/resolv.conf, too"),
    acted_on(
        RESOLVERS,
        &["hold valid"],
        Values::Time,
        "10s",
        "with `timeout resolve`, the shorter of the two is the time between two resolutions",
    ),
    acted_on(
        RESOLVERS,
        &["hold nx", "hold timeout", "hold refused", "hold other"],
        Values::Time,
        "30s",
        "how long the last address counts while the name does not resolve",
    ),
    acted_on(
        RESOLVERS,
        &["hold obsolete"],
        Values::Time,
        "0",
        "how long an address counts that is not among the answers any more",
    ),
    acted_on(
        RESOLVERS,
        &["accepted_payload_size"],
        Values::Integer(12, 65_535),
        "512",
        "the largest answer over UDP, in bytes",
    ),
    acted_on(RESOLVERS, &["resolve_retries"], COUNT, "3", "tries until a name counts as not resolved"),
    acted_on(RESOLVERS, &["timeout resolve"], Values::Time, "1s", "time between two resolutions"),
    acted_on(RESOLVERS, &["timeout retry"], Values::Time, "1s", "time between two tries"),
    refused(
        RESOLVERS,
        &["resolution_pool_size"],
        Values::Anything,
        "HAProxy gave it up: it was never in a release",
    ),
    passed_over("peers", &["peer"], SOME),
    passed_over("peers", &["server"], SOME),
    passed_over("peers", &["bind", "table"], SOME),
    passed_over("peers", &["default-server", "default-bind", "log"], Values::Anything),
    passed_over("peers", &["disabled", "enabled"], Values::Nothing),
    passed_over("peers", &["shards"], COUNT),
    passed_over("userlist", &["user", "group"], SOME),
    passed_over("mailers", &["mailer"], Values::Words(2, 2)),
    passed_over("mailers", &["timeout mail"], Values::Time),
    passed_over("cache", &["total-max-size"], Values::Integer(1, 4_095)),
    passed_over("cache", &["max-object-size"], Values::Integer(1, 2_147_483_647)),
    passed_over("cache", &["max-age"], COUNT),
    passed_over("cache", &["max-secondary-entries"], Values::Integer(1, 2_147_483_647)),
    passed_over("cache", &["process-vary"], Values::Word),
    passed_over("http-errors", &["errorfile"], Values::Words(2, 2)),
    passed_over("ring", &["description"], Values::Word),
    passed_over("ring", &["backing-file", "format", "maxlen", "size"], Values::Word),
    passed_over("ring", &["server"], NAMED),
    passed_over("ring", &["timeout connect", "timeout server"], Values::Time),
    passed_over("log-forward", &["bind"], SOME),
    passed_over("log-forward", &["dgram-bind"], Values::Anything),
    passed_over("log-forward", &["log"], Values::Anything),
    passed_over("log-forward", &["timeout client"], Values::Time),
    passed_over("log-forward", &["maxconn", "backlog"], COUNT),
    passed_over(
        "log-forward",
        &["option assume-rfc6587-ntf", "option dont-parse-log", "option host"],
        Values::Anything,
    ),
    passed_over("program", &["command"], SOME),
    passed_over("program", &["user", "group"], Values::Word),
    passed_over("program", &["option start-on-reload"], Values::Nothing),
    passed_over("fcgi-app", &["docroot", "index", "path-info"], Values::Word),
    passed_over("fcgi-app", &["acl", "pass-header", "set-param", "log-stderr"], Values::Anything),
    passed_over(
        "fcgi-app",
        &["option get-values", "option keep-conn", "option max-reqs", "option mpxs-conns"],
        Values::Anything,
    ),
    passed_over("crt-store", &["crt-base", "key-base"], Values::Word),
    passed_over("crt-store", &["load"], SOME),
    passed_over("namespace_list", &["namespace"], Values::Words(1, 3)),
    passed_over("traces", &["trace"], SOME),
    passed_over("log-profile", &["log-tag", "on"], SOME),
    passed_over(
        "acme",
        &[
            "account-key",
            "acme-vars",
            "bits",
            "challenge",
            "challenge-ready",
            "contact",
            "curves",
            "directory",
            "dns-delay",
            "dns-timeout",
            "keytype",
            "map",
            "profile",
            "provider-name",
            "reuse-key",
        ],
        Values::Anything,
    ),
    passed_over("healthcheck", &["type", "tcp-check", "http-check"], Values::Anything),
];
