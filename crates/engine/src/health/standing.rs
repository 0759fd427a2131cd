//! How a server stands as its log lines see it, and what it means that it stands otherwise than before.

/// How a server stands, all things considered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Checks and agent let it take connections.
    pub up: bool,
    /// It asked for no new connections.
    pub stopping: bool,
    /// It shall take no new connections but those that belong to it.
    pub drains: bool,
    /// It is neither checked nor used.
    pub maintenance: bool,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It came up, or takes new connections again.
    Up,
    /// It went down.
    Down {
        /// It took no new connections before.
        stopping: bool,
    },
    /// It asks for no new connections.
    Stopping,
    /// It went into maintenance.
    EntersMaintenance {
        /// It worked before.
        up: bool,
    },
    /// It came back from maintenance.
    LeavesMaintenance {
        /// It works.
        up: bool,
        /// It drains from here on.
        drains: bool,
    },
    /// It began to drain.
    Drains {
        /// It works.
        up: bool,
    },
    /// It drains no more.
    Fills {
        /// It works.
        up: bool,
    },
}

impl Standing {
    /// In service, and nothing is wrong.
    pub(super) const WORKS: Self = Self { up: true, stopping: false, drains: false, maintenance: false };

    /// Whether it takes no new connections but those that belong to it.
    pub(super) const fn takes_none(self) -> bool {
        self.stopping || self.drains
    }

    /// Whether it counts as a server that works.
    pub(super) const fn works(self) -> bool {
        self.up && !self.maintenance && !self.takes_none()
    }
}

impl Turn {
    /// What changed between two standings, if that is worth a line. As with HAProxy, maintenance counts for more than
    /// health, and health for more than draining.
    pub(super) const fn between(before: Standing, after: Standing) -> Option<Self> {
        let turn = match (before.maintenance, after.maintenance) {
            (false, true) => Self::EntersMaintenance { up: before.up },
            (true, false) => Self::LeavesMaintenance { up: after.up, drains: after.drains },
            (true, true) => return None,
            (false, false) if before.up && !after.up => Self::Down { stopping: before.stopping },
            (false, false) if after.up && after.stopping && !(before.up && before.stopping) => Self::Stopping,
            (false, false) if after.up && (!before.up || before.stopping) && !after.stopping => Self::Up,
            (false, false) => match (before.drains, after.drains) {
                (false, true) => Self::Drains { up: after.up },
                (true, false) => Self::Fills { up: after.up },
                _ => return None,
            },
        };
        Some(turn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Standing = Standing::WORKS;
    const DOWN: Standing = Standing { up: false, ..UP };
    const STOPS: Standing = Standing { stopping: true, ..UP };
    const DRAINS: Standing = Standing { drains: true, ..UP };
    const AWAY: Standing = Standing { up: false, stopping: false, drains: false, maintenance: true };

    #[test]
    fn only_changes_are_told_and_the_weightiest_alone() {
        let told = [
            (UP, DOWN, Some(Turn::Down { stopping: false })),
            (STOPS, DOWN, Some(Turn::Down { stopping: true })),
            (UP, STOPS, Some(Turn::Stopping)),
            (DOWN, STOPS, Some(Turn::Stopping)),
            (STOPS, UP, Some(Turn::Up)),
            (DOWN, UP, Some(Turn::Up)),
            (UP, DRAINS, Some(Turn::Drains { up: true })),
            (DRAINS, UP, Some(Turn::Fills { up: true })),
            (DRAINS, AWAY, Some(Turn::EntersMaintenance { up: true })),
            (DOWN, AWAY, Some(Turn::EntersMaintenance { up: false })),
            (AWAY, DRAINS, Some(Turn::LeavesMaintenance { up: true, drains: true })),
            (AWAY, AWAY, None),
            (STOPS, STOPS, None),
        ];
        for (before, after, expected) in told {
            assert_eq!(Turn::between(before, after), expected, "{before:?} {after:?}");
        }
    }
}
