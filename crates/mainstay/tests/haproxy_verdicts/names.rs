//! Servers by name: `resolvers`, `init-addr`, `server-template` and services.

use crate::cases::Topic;

pub(crate) const TOPIC: Topic =
    Topic { backend: &[], servers: &[], frontend: &[], files: FILES, disagreements: DISAGREEMENTS };

/// Lines that the two judge differently, and why.
const DISAGREEMENTS: &[(&str, &str)] = &[
    ("t 3x", "HAProxy passes over what follows the number"),
    ("t 5000", "mainstay has a bound for the servers of a section"),
    ("t 3 localhost check", "HAProxy overlooks in a template that checks have no port"),
    ("init-addr ,", "HAProxy takes nothing for its default"),
];

/// Whole files.
const FILES: &[&str] = &[
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr last\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr libc\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr libc,none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr 10.0.0.1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 init-addr 10.0.0.1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 init-addr last\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a _http._tcp.nowhere.invalid resolvers d\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a _http._tcp.nowhere.invalid:80 resolvers d\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a _http._tcp.nowhere.invalid\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a _http._tcp.nowhere.invalid resolvers d check\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a _http._tcp.nowhere.invalid resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a 10.0.0.1:1 resolvers d\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a 10.0.0.1:1 resolvers nope\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a localhost:1 resolvers nope\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a localhost:1 resolvers d resolve-prefer ipv4 resolve-net 10.0.0.0/8 resolve-opts allow-dup-ip,ignore-weight\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 nowhere.invalid:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 nowhere.invalid:1 init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 nowhere.invalid:1 resolvers d\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 1-3 nowhere.invalid:1 resolvers d init-addr none check\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3-1 nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 0 nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 0-2 nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t x nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 1- nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t -3 nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3x nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 localhost:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 10.0.0.1:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 10.0.0.1:1 check\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 _a._tcp.nowhere.invalid resolvers d init-addr none check\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 _a._tcp.nowhere.invalid resolvers d check\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 _a._tcp.nowhere.invalid\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t/ 3 localhost:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 localhost:1 foo\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 3 localhost check\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 2 localhost:1\n server t1 10.0.0.1:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 2 localhost:1\n server-template t 2 localhost:2\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server-template t 5000 localhost:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n default-server resolvers d init-addr none\n server a nowhere.invalid:1\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d resolve-opts foo init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr none,libc\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr ,\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1-5 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere.invalid:1 resolvers d init-addr 10.0.0.1,none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a nowhere_x.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a -nowhere.invalid:1 resolvers d init-addr none\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a localhost:1 resolve-prefer ipv4\n",
    "resolvers d\n nameserver a 127.0.0.1:53\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5h\n timeout server 5h\nlisten l\n bind :6443\n server a localhost:1 init-addr none check\n",
];
