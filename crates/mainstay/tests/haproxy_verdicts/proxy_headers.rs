//! PROXY headers, sent and expected.

use crate::cases::Topic;

pub(crate) const TOPIC: Topic = Topic {
    backend: &["default-server send-proxy-v2 check-send-proxy", "default-server proxy-v2-options x"],
    servers: SERVERS,
    frontend: FRONTEND,
    files: &[],
    disagreements: &[
        ("expect-proxy layer4 if", "conditions of connections are not acted on"),
        ("netscaler", "such headers are not read, so servers would get them as data"),
    ],
};

const SERVERS: &[&str] = &[
    "m2 10.0.0.2:6443 send-proxy check check-send-proxy",
    "m2 10.0.0.2:6443 send-proxy-v2 no-send-proxy-v2",
    "m2 10.0.0.2:6443 send-proxy-v2-ssl no-send-proxy-v2-ssl",
    "m2 10.0.0.2:6443 send-proxy-v2-ssl-cn no-send-proxy-v2-ssl-cn no-send-proxy",
    "m2 10.0.0.2:6443 send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
    "m2 10.0.0.2:6443 proxy-v2-options ssl,cert-cn,cert-key,cert-sig,ssl-cipher",
    "m2 10.0.0.2:6443 send-proxy-v2 proxy-v2-options crc32c,",
    "m2 10.0.0.2:6443 send-proxy-v2 proxy-v2-options CRC32C",
    "m2 10.0.0.2:6443 send-proxy-v2 proxy-v2-options",
    "m2 10.0.0.2:6443 send-proxy 2",
    "m2 10.0.0.2:6443 send-proxy-v3",
    "m2 10.0.0.2:6443 no-check-send-proxy",
];

const FRONTEND: &[&str] = &[
    "bind :6444 accept-proxy",
    "bind :6444 accept-proxy yes",
    "bind :6444 accept-netscaler-cip 1",
    "tcp-request connection expect-proxy layer4",
    "tcp-request connection expect-proxy",
    "tcp-request connection expect-proxy layer5",
    "tcp-request connection expect-proxy layer4 now",
    "tcp-request connection expect-proxy layer4 if { src 10.0.0.0/8 }",
    "tcp-request connection expect-netscaler-cip layer4",
];
