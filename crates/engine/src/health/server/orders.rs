//! What orders do to the state of one server.

use super::{Schedule, ServerHealth, State, WarmUp};
use crate::health::order::ForcedHealth;
use crate::health::settings::Settings;
use crate::plan::Server;
use crate::time::Instant;

impl ServerHealth {
    /// A server in the place of this one. Attempts that are still under way are not taken for its own.
    pub(in crate::health) fn successor(&self, settings: &Settings, now: Instant) -> Self {
        Self { attempts: self.attempts, ..Self::new(settings, now, now) }
    }

    /// It goes into maintenance: it is not checked any more.
    pub(in crate::health) fn leave_service(&mut self, now: Instant) {
        (self.state, self.schedule, self.warm_up) = (State::Maintenance, Schedule::Never, None);
        self.since = now;
    }

    /// It comes back from maintenance: trusted at first, checked at once, and slowly, as with HAProxy.
    pub(in crate::health) fn enter_service(&mut self, server: &Server, settings: &Settings, now: Instant) {
        self.state = State::Unchecked;
        self.warm_up = server.slow_start.and_then(|takes| WarmUp::begin(takes, now));
        self.since = now;
        self.stopping = false;
        self.set_checks(settings, now);
        self.set_initial_state(server);
    }

    /// It takes fewer connections, or more, from now on.
    pub(in crate::health) fn drain_or_fill(&mut self, now: Instant) {
        self.since = now;
    }

    /// It is checked from now on, or not any more. Without checks, one that is down stays down.
    pub(in crate::health) fn set_checks(&mut self, settings: &Settings, now: Instant) {
        let checked = settings.check.is_some() && settings.checks_on;
        match self.state {
            State::Maintenance => return,
            State::Unchecked if checked => self.state = State::Trusted,
            State::Trusted | State::Up { .. } if !checked => self.state = State::Unchecked,
            State::Unchecked | State::Trusted | State::Up { .. } | State::Down { .. } => {}
        }
        self.schedule = if checked { Schedule::Waiting { until: now } } else { Schedule::Never };
    }

    /// Its checks go elsewhere: the one under way says nothing any more.
    pub(in crate::health) fn check_again(&mut self, now: Instant) {
        if self.schedule != Schedule::Never {
            self.schedule = Schedule::Waiting { until: now };
        }
    }

    /// It is taken to work, or not to, until the next check; for good where there is none. Says whether that is news.
    pub(in crate::health) fn force(&mut self, health: ForcedHealth, server: &Server, now: Instant) -> bool {
        let was_usable = self.state.usable();
        let state = match (self.state, health) {
            (State::Maintenance, _) => return false,
            (_, ForcedHealth::Stopping) if self.stopping => return false,
            (state, ForcedHealth::Stopping) if state.usable() => state,
            (_, ForcedHealth::Up | ForcedHealth::Stopping) if self.schedule == Schedule::Never => {
                State::Unchecked
            }
            (_, ForcedHealth::Up | ForcedHealth::Stopping) => State::Up { failed: 0 },
            (_, ForcedHealth::Down) => State::Down { passed: 0 },
        };
        let stopping = health == ForcedHealth::Stopping;
        let turned = std::mem::replace(&mut self.stopping, stopping) != stopping;
        if turned {
            self.since = now;
        }
        if self.state == state {
            return turned;
        }
        self.state = state;
        if was_usable != state.usable() {
            self.since = now;
            self.warm_up =
                server.slow_start.filter(|_| state.usable()).and_then(|takes| WarmUp::begin(takes, now));
        }
        true
    }
}
