//! Options of the lines in `virtual_routes` and `virtual_rules`.

use super::{Keyword, Place, Values, acted_on, no_effect, not_yet, refused};

pub(super) const ROUTES: &[Keyword] = {
    use Place::Route as P;
    &[
        acted_on(P, &["to"], Values::Word, "", "the network the route is for; the word may be left out"),
        acted_on(P, &["via", "gw"], Values::Word, "none", "the next router"),
        acted_on(P, &["dev", "oif"], Values::Word, "where `via` is found", "the interface"),
        acted_on(P, &["src"], Values::Word, "the interface's", "source address of the host's own packets"),
        acted_on(P, &["table"], Values::Word, "main", "main, default, local or a number"),
        acted_on(
            P,
            &["metric", "priority", "preference"],
            Values::Word,
            "the kernel's",
            "the route with the lowest one counts",
        ),
        acted_on(P, &["protocol"], Values::Word, "keepalived", "who made it, by name or number"),
        acted_on(P, &["scope"], Values::Word, "global", "how far its destination is"),
        acted_on(P, &["mtu"], Values::Word, "the interface's", "largest packet"),
        acted_on(P, &["onlink"], Values::Nothing, "", "`via` is on the link, whatever its address is"),
        acted_on(P, &["unicast"], Values::Nothing, "", "packets go on, the default"),
        acted_on(P, &["blackhole"], Values::Nothing, "", "packets vanish"),
        acted_on(P, &["unreachable"], Values::Nothing, "", "packets are answered with an error"),
        acted_on(P, &["prohibit"], Values::Nothing, "", "packets are answered with an error"),
        acted_on(P, &["throw"], Values::Nothing, "", "the next rule decides"),
        acted_on(P, &["inet", "inet6"], Values::Nothing, "its addresses say", "the family"),
        acted_on(P, &["no_track"], Values::Nothing, "", "it is not put back when somebody removes it"),
        no_effect(P, &["track_group"], "routes of an instance move with that instance"),
        not_yet(P, &["lock"], "the kernel may still lower the MTU"),
        not_yet(P, &["append"], "routes are put before others to the same network"),
        not_yet(
            P,
            &[
                "hoplimit",
                "advmss",
                "rtt",
                "rttvar",
                "reordering",
                "window",
                "cwnd",
                "ssthresh",
                "rto_min",
                "initcwnd",
                "initrwnd",
                "features",
                "congctl",
                "expires",
                "fastopen_no_cookie",
                "quickack",
                "pref",
            ],
            "the route has the kernel's own value of it",
        ),
        refused(
            P,
            &["nexthop", "or", "tos", "dsfield", "realms", "encap", "vrf", "as", "ttl-propagate"],
            "the route would lead packets elsewhere without it",
        ),
        refused(
            P,
            &["local", "broadcast", "multicast", "anycast", "nat", "xresolve"],
            "routes of this kind are not made",
        ),
    ]
};

pub(super) const RULES: &[Keyword] = {
    use Place::Rule as P;
    &[
        acted_on(P, &["from"], Values::Word, "all", "source of the packets it is for"),
        acted_on(P, &["to"], Values::Word, "all", "their destination"),
        acted_on(P, &["iif", "dev"], Values::Word, "any", "the interface they came by"),
        acted_on(P, &["oif"], Values::Word, "any", "the interface their socket is bound to"),
        acted_on(P, &["fwmark"], Values::Word, "any", "their firewall mark, with /MASK if not all of it"),
        acted_on(P, &["table", "lookup"], Values::Word, "", "main, default, local or a number"),
        acted_on(
            P,
            &["priority", "preference", "order", "pref"],
            Values::Word,
            "16384 and below, in the order of the file",
            "when it is asked; the lowest first",
        ),
        acted_on(P, &["protocol"], Values::Word, "keepalived", "who made it, by name or number"),
        acted_on(P, &["blackhole"], Values::Nothing, "", "packets vanish"),
        acted_on(P, &["unreachable"], Values::Nothing, "", "packets are answered with an error"),
        acted_on(P, &["prohibit"], Values::Nothing, "", "packets are answered with an error"),
        acted_on(P, &["inet", "inet6"], Values::Nothing, "its addresses say", "the family"),
        acted_on(P, &["no_track"], Values::Nothing, "", "it is not put back when somebody removes it"),
        no_effect(P, &["track_group"], "rules of an instance move with that instance"),
        refused(
            P,
            &[
                "not",
                "tos",
                "dsfield",
                "realms",
                "goto",
                "nop",
                "nat",
                "map-to",
                "l3mdev",
                "uidrange",
                "tun_id",
                "ip_proto",
                "ipproto",
                "sport",
                "dport",
                "suppress_prefixlength",
                "suppress_ifgroup",
            ],
            "the rule would be for other packets without it",
        ),
    ]
};
