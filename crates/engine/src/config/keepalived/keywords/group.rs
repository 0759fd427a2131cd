//! Keywords in `vrrp_sync_group` and in the blocks of what can be tracked.

use super::{Keyword, Place, Values, acted_on, not_yet};

/// `N [reverse]`.
const WEIGHT: Values = Values::Words(1, 2);

/// From a microsecond to an hour.
const DELAY: Values = Values::Decimal(1, 3_600_000_000);

pub(super) const GROUP: &[Keyword] = {
    use Place::SyncGroup as P;
    &[
        acted_on(P, &["group"], Values::Block, "", "the names of its instances"),
        acted_on(P, &["track_script"], Values::Block, "", "scripts that change the priority of all members"),
        acted_on(P, &["track_interface"], Values::Block, "", "interfaces that all members need"),
        acted_on(P, &["track_file"], Values::Block, "", "files that change the priority of all members"),
        acted_on(P, &["track_process"], Values::Block, "", "processes that all members need"),
        not_yet(P, &["track_bfd"], "no priority follows it"),
        acted_on(
            P,
            &["sync_group_tracking_weight", "global_tracking"],
            Values::Nothing,
            "",
            "members may have different weights",
        ),
        not_yet(P, &["smtp_alert"], "no mails are sent"),
    ]
};

pub(super) const TRACKED: &[Keyword] = &[
    acted_on(Place::TrackFile, &["file"], Values::Word, "", "the file"),
    acted_on(
        Place::TrackFile,
        &["weight"],
        WEIGHT,
        "1",
        "what the number is multiplied with, -254 to 254; with 0 any number but 0 is a fault",
    ),
    acted_on(
        Place::TrackFile,
        &["init_file"],
        Values::Words(0, 2),
        "",
        "the number to write at start, and `overwrite` if a file is there",
    ),
    acted_on(
        Place::TrackProcess,
        &["process"],
        Values::Words(1, 64),
        "",
        "the name of the process, or its command line",
    ),
    acted_on(
        Place::TrackProcess,
        &["param_match"],
        Values::Words(0, 1),
        "all",
        "which parameters count: initial or partial",
    ),
    acted_on(
        Place::TrackProcess,
        &["weight"],
        WEIGHT,
        "0",
        "change of priority, -254 to 254, and `reverse` to turn its sign",
    ),
    acted_on(Place::TrackProcess, &["quorum"], Values::Integer(1, 65_535), "1", "how many have to run"),
    acted_on(Place::TrackProcess, &["quorum_max"], Values::Integer(0, 65_535), "", "how many may run"),
    acted_on(Place::TrackProcess, &["delay"], DELAY, "0", "fork_delay and terminate_delay"),
    acted_on(Place::TrackProcess, &["fork_delay"], DELAY, "0", "seconds until enough processes count"),
    acted_on(Place::TrackProcess, &["terminate_delay"], DELAY, "0", "seconds until too few processes count"),
    acted_on(
        Place::TrackProcess,
        &["full_command"],
        Values::Nothing,
        "",
        "the command line's first word counts",
    ),
    acted_on(Place::AnnounceGroup, &["garp_interval"], GAP, "vrrp_garp_interval", "seconds between two"),
    acted_on(Place::AnnounceGroup, &["gna_interval"], GAP, "vrrp_gna_interval", "the same over IPv6"),
    acted_on(Place::AnnounceGroup, &["interface"], Values::Word, "", "the interface it is about"),
    acted_on(Place::AnnounceGroup, &["interfaces"], Values::Block, "", "interfaces that share the times"),
];

/// As in `global_defs`.
const GAP: Values = Values::Decimal(0, 1_000_000);
