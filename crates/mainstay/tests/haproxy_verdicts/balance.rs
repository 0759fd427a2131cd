//! How servers are chosen.

use crate::cases::Topic;

pub(crate) const TOPIC: Topic = Topic {
    backend: &[
        "balance random",
        "balance random()",
        "balance random(3)",
        "balance random(70000)",
        "balance random(0)",
        "balance random(x)",
        "balance random(2",
        "balance source\n hash-type map-based",
        "balance source\n hash-type consistent sdbm avalanche",
        "hash-type map-based crc32 avalanche x",
        "hash-type consistent avalanche",
        "hash-type consistent none",
        "hash-type consistent wt6 foo",
        "hash-type map-based foo",
        "hash-type foo",
        "hash-type",
        "option abortonclose",
        "no option abortonclose",
        "hash-balance-factor 150",
    ],
    servers: &[],
    frontend: &[],
    files: &[],
    disagreements: &[],
};
