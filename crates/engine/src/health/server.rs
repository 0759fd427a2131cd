//! The health of one server: when to check it, how many results in a row change its state, and slow start.
//!
//! Owns [`ServerHealth`]. It knows nothing of other servers; [`Health`](crate::health::Health) puts them together.

mod orders;

use std::time::Duration;

use crate::health::agent::AgentHealth;
use crate::health::availability::Availability;
use crate::health::check::{CheckStatus, Verdict};
use crate::health::settings::{AdminState, Settings};
use crate::health::standing::Standing;
use crate::health::view::{Capacity, Warmth};
use crate::jitter::Jitter;
use crate::limits::{CHECK_RESULT_GRACE, SLOW_START_STEP, SLOW_START_STEPS};
use crate::plan::{Check, InitialState, OnError, Server};
use crate::serving::WEIGHT_SCALE;
use crate::time::{Deadline, Instant};

/// The health of one server.
#[derive(Debug)]
pub(super) struct ServerHealth {
    state: State,
    /// When it last came up or went down.
    since: Instant,
    /// The latest result and when it arrived.
    latest: Option<(Verdict, Instant)>,
    /// Whether the latest attempt could not run on this machine.
    unable: bool,
    schedule: Schedule,
    /// Attempts started so far, which is also the number of the latest.
    attempts: u64,
    warm_up: Option<WarmUp>,
    availability: Availability,
    /// Checks that failed while it was up.
    failed_checks: u64,
    /// Up, but it asked for no new connections (`http-check disable-on-404`).
    stopping: bool,
    agent: Option<AgentHealth>,
    /// How the one stands that it follows, if it tracks another server.
    led: Option<Standing>,
    /// How it stood when that was last told.
    told: Standing,
}

/// What is known of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Neither checked nor used.
    Maintenance,
    /// Nobody checks it, so it is trusted.
    Unchecked,
    /// Not checked yet. It is used, and one failed check takes it down, as with HAProxy.
    Trusted,
    /// It works. So many checks in a row have failed since.
    Up {
        /// Fewer than `fall`.
        failed: u32,
    },
    /// It does not work. So many checks in a row have passed since.
    Down {
        /// Fewer than `rise`.
        passed: u32,
    },
}

impl State {
    /// Whether new connections may go there.
    pub(super) const fn usable(self) -> bool {
        matches!(self, Self::Unchecked | Self::Trusted | Self::Up { .. })
    }
}

/// What one result changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing to tell: as expected, late, or about nobody.
    Nothing,
    /// It is up, and so many of `fall` checks in a row have failed.
    GoingDown(u32),
    /// It is down, and so many of `rise` checks in a row have passed.
    GoingUp(u32),
    /// It came up.
    Up,
    /// It went down.
    Down,
    /// It is up and asks for no new connections.
    Stopping,
    /// It asks for new connections again.
    Running,
    /// This machine could not carry the check out, for the first time in a row. That says nothing about the server, so
    /// its state stays.
    Unable,
}

/// The next thing a clock decides about checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Schedule {
    /// Never checked.
    Never,
    /// The next attempt starts then.
    Waiting { until: Instant },
    /// An attempt is under way, and lost when nothing has been heard of it by then.
    Running { started: Instant, lost: Instant },
}

/// A slow start under way.
#[derive(Clone, Copy, Debug)]
struct WarmUp {
    began: Instant,
    takes: Duration,
    next_step: Instant,
}

impl ServerHealth {
    /// A server that is checked for the first time at `first_check`.
    pub(super) fn new(settings: &Settings, first_check: Instant, now: Instant) -> Self {
        let (state, schedule) = match &settings.check {
            _ if settings.out_of_service() => (State::Maintenance, Schedule::Never),
            None => (State::Unchecked, Schedule::Never),
            Some(_) if !settings.checks_on => (State::Unchecked, Schedule::Never),
            Some(_) => (State::Trusted, Schedule::Waiting { until: first_check }),
        };
        let availability = Availability::new(state.usable(), now);
        Self {
            state,
            since: now,
            latest: None,
            unable: false,
            schedule,
            attempts: 0,
            warm_up: None,
            availability,
            failed_checks: 0,
            stopping: false,
            agent: None,
            led: None,
            told: Standing::default(),
        }
    }

    /// Counts how long it is up or down.
    pub(super) fn note_availability(&mut self, now: Instant) {
        self.availability.note(self.usable(), now);
    }

    /// How long it was up or down.
    pub(super) const fn availability(&self) -> &Availability {
        &self.availability
    }

    /// Checks that failed while it was up.
    pub(super) const fn failed_checks(&self) -> u64 {
        self.failed_checks
    }

    /// Whether a slow start is under way.
    pub(super) const fn is_warming_up(&self) -> bool {
        self.warm_up.is_some()
    }

    /// Begins as the configuration wants it, with an agent that is first asked at `first`.
    pub(super) fn begin(&mut self, server: &Server, first: Instant) {
        self.agent = server.agent.as_ref().map(|_| AgentHealth::new(first));
        self.set_initial_state(server);
    }

    /// What is thought of it before its first check.
    pub(super) fn set_initial_state(&mut self, server: &Server) {
        let Some(check) = server.check.as_ref().filter(|_| self.state == State::Trusted) else { return };
        self.state = match server.initial_state {
            InitialState::Up => State::Trusted,
            InitialState::FullyUp => State::Up { failed: 0 },
            InitialState::Down => State::Down { passed: check.rise.saturating_sub(1) },
            InitialState::FullyDown => State::Down { passed: 0 },
        };
    }

    /// Whether it works, all things considered.
    pub(super) fn usable(&self) -> bool {
        let held = self.agent.as_ref().is_some_and(AgentHealth::is_down);
        self.state.usable() && !held && self.led.is_none_or(|led| led.up)
    }

    /// Whether it takes no new connections but those that belong to it.
    pub(super) fn draining(&self, settings: &Settings) -> bool {
        self.standing(settings).takes_none()
    }

    /// How it stands, with what it takes over from the one it tracks.
    pub(super) fn standing(&self, settings: &Settings) -> Standing {
        let led = self.led.unwrap_or(Standing::WORKS);
        Standing {
            up: self.usable(),
            stopping: self.stopping || led.stopping,
            drains: settings.admin == AdminState::Drain || led.drains,
            maintenance: self.state == State::Maintenance || led.maintenance,
        }
    }

    /// How it stood when that was last told, which is `standing` from here on.
    pub(super) const fn tell(&mut self, standing: Standing) -> Standing {
        std::mem::replace(&mut self.told, standing)
    }

    /// Whether it asks for no new connections.
    pub(super) const fn stopping(&self) -> bool {
        self.stopping
    }

    pub(super) const fn agent(&self) -> Option<&AgentHealth> {
        self.agent.as_ref()
    }

    pub(super) const fn agent_mut(&mut self) -> Option<&mut AgentHealth> {
        self.agent.as_mut()
    }

    /// Takes over what the tracked server is; whether that is news.
    pub(super) fn follow(&mut self, led: Standing) -> bool {
        self.led.replace(led) != Some(led)
    }

    /// It came up, or went down, for another reason than its checks.
    pub(super) fn moved(&mut self, server: &Server, now: Instant) {
        self.since = now;
        self.warm_up =
            server.slow_start.filter(|_| self.usable()).and_then(|takes| WarmUp::begin(takes, now));
    }

    /// Connections of clients failed as often as `observe` wants to know.
    pub(super) fn handle_connection_errors(
        &mut self,
        server: &Server,
        verdict: Verdict,
        now: Instant,
    ) -> Change {
        let (Some(check), Some(observe)) = (&server.check, server.observe) else { return Change::Nothing };
        if self.schedule == Schedule::Never {
            return Change::Nothing;
        }
        if let (State::Trusted | State::Up { .. }, OnError::SuddenDeath) = (self.state, observe.on_error)
            && check.fall > 1
        {
            self.state = State::Up { failed: check.fall - 2 };
        }
        let change = match observe.on_error {
            OnError::FastInterval => Change::Nothing,
            OnError::FailCheck | OnError::SuddenDeath => self.failed(check),
            OnError::MarkDown => match self.state {
                State::Trusted | State::Up { .. } => {
                    self.state = State::Up { failed: check.fall.saturating_sub(1) };
                    self.failed(check)
                }
                _ => Change::Nothing,
            },
        };
        if observe.on_error != OnError::FastInterval {
            self.latest = Some((verdict, now));
        }
        if change == Change::Down {
            (self.since, self.warm_up, self.stopping) = (now, None, false);
        }
        if let Schedule::Waiting { until } = &mut self.schedule {
            *until = (*until).min(now + check.fast_interval);
        }
        change
    }

    /// How many results in a row of how many there are, and the word for it, as in HAProxy's logs.
    pub(super) fn progress(&self, check: &Check, weight: u16) -> String {
        match self.state {
            State::Up { failed } => {
                let word = if weight == 0 { "DRAIN" } else { "UP" };
                format!("{}/{} {word}", check.fall.saturating_sub(failed), check.fall)
            }
            State::Down { passed } => format!("{passed}/{} DOWN", check.rise),
            State::Trusted => format!("1/{} UP", check.fall),
            State::Unchecked | State::Maintenance => "no check".to_owned(),
        }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// When it last came up or went down.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// The latest result and when it arrived.
    pub(super) const fn latest(&self) -> Option<&(Verdict, Instant)> {
        self.latest.as_ref()
    }

    /// What it can take at `now`.
    pub(super) fn capacity(&self, server: &Server, settings: &Settings, now: Instant) -> Capacity {
        Capacity {
            usable: self.usable(),
            in_service: settings.admin == AdminState::Ready
                && !settings.out_of_service()
                && settings.weight > 0
                && !server.removed,
            draining: self.draining(settings),
            weight: settings.weight,
            maxconn: settings.maxconn,
            // Without one it is not usable.
            address: settings.address().unwrap_or(server.address),
            warmth: self.warm_up.map_or(Warmth::FULL, |warm_up| warm_up.warmth(now)),
        }
    }

    /// Takes in the result of an attempt. Results that are not of the attempt under way are ignored: it is over already.
    pub(super) fn handle_verdict(
        &mut self,
        server: &Server,
        attempt: u64,
        verdict: Verdict,
        jitter: &mut Jitter,
        now: Instant,
    ) -> Change {
        let (Some(check), Schedule::Running { started, .. }) = (&server.check, self.schedule) else {
            return Change::Nothing;
        };
        if attempt != self.attempts {
            return Change::Nothing;
        }
        let change = if verdict.status == CheckStatus::Sockerr {
            if self.unable { Change::Nothing } else { Change::Unable }
        } else if verdict.status.passed() {
            self.passed(check)
        } else {
            self.failed_checks += u64::from(self.state.usable());
            self.failed(check)
        };
        self.unable = verdict.status == CheckStatus::Sockerr;
        let change = self.stop_or_run(change, verdict.status);
        self.latest = Some((verdict, now));
        match change {
            Change::Up => {
                self.since = now;
                self.warm_up = server.slow_start.and_then(|takes| WarmUp::begin(takes, now));
            }
            Change::Down => {
                self.since = now;
                self.warm_up = None;
            }
            Change::Stopping | Change::Running => self.since = now,
            Change::Nothing | Change::GoingDown(_) | Change::GoingUp(_) | Change::Unable => {}
        }
        let interval = jitter.spread(self.interval(check));
        self.schedule = Schedule::Waiting { until: (started + interval).max(now) };
        change
    }

    /// The number of the attempt to start now, if one is due.
    pub(super) fn next_attempt(&mut self, server: &Server, now: Instant) -> Option<u64> {
        let check = server.check.as_ref()?;
        let Schedule::Waiting { until } = self.schedule else { return None };
        if now < until {
            return None;
        }
        self.attempts += 1;
        let lost = now + check.longest() + CHECK_RESULT_GRACE;
        self.schedule = Schedule::Running { started: now, lost };
        Some(self.attempts)
    }

    /// The attempt of which nothing was heard in time and for how long, if there is one.
    pub(super) fn lost_attempt(&self, now: Instant) -> Option<(u64, Duration)> {
        match self.schedule {
            Schedule::Running { started, lost } if lost <= now => Some((self.attempts, now.since(started))),
            _ => None,
        }
    }

    /// Takes the next step of a slow start, if one is due; says whether it did.
    pub(super) fn warm_up(&mut self, now: Instant) -> bool {
        let Some(warm_up) = self.warm_up.filter(|warm_up| warm_up.next_step <= now) else { return false };
        self.warm_up = warm_up.step(now);
        true
    }

    /// When something is due next.
    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let check = match self.schedule {
            Schedule::Never => None,
            Schedule::Waiting { until } => Some(Deadline { at: until, why: "start a check" }),
            Schedule::Running { lost, .. } => Some(Deadline { at: lost, why: "give up a check" }),
        };
        let warm_up = self.warm_up.map(|warm_up| Deadline { at: warm_up.next_step, why: "slow start" });
        let agent = self.agent.as_ref().and_then(AgentHealth::poll_timeout);
        check.into_iter().chain(warm_up).chain(agent).min()
    }

    /// Notes down whether a server that is up asks for no new connections.
    fn stop_or_run(&mut self, change: Change, status: CheckStatus) -> Change {
        let before = self.stopping;
        self.stopping = match status {
            CheckStatus::L7Okc => matches!(self.state, State::Up { .. }),
            status => before && !status.passed() && self.state.usable(),
        };
        match (change, before, self.stopping) {
            (Change::Nothing, false, true) => Change::Stopping,
            (Change::Nothing, true, false) if self.state.usable() => Change::Running,
            (change, _, _) => change,
        }
    }

    fn passed(&mut self, check: &Check) -> Change {
        let (state, change) = match self.state {
            State::Trusted | State::Up { .. } => (State::Up { failed: 0 }, Change::Nothing),
            State::Down { passed } if passed.saturating_add(1) >= check.rise => {
                (State::Up { failed: 0 }, Change::Up)
            }
            State::Down { passed } => (State::Down { passed: passed + 1 }, Change::GoingUp(passed + 1)),
            state @ (State::Maintenance | State::Unchecked) => (state, Change::Nothing),
        };
        self.state = state;
        change
    }

    fn failed(&mut self, check: &Check) -> Change {
        let (state, change) = match self.state {
            State::Trusted => (State::Down { passed: 0 }, Change::Down),
            State::Up { failed } if failed.saturating_add(1) >= check.fall => {
                (State::Down { passed: 0 }, Change::Down)
            }
            State::Up { failed } => (State::Up { failed: failed + 1 }, Change::GoingDown(failed + 1)),
            State::Down { .. } => (State::Down { passed: 0 }, Change::Nothing),
            state @ (State::Maintenance | State::Unchecked) => (state, Change::Nothing),
        };
        self.state = state;
        change
    }

    /// Time from the start of one attempt to the start of the next. HAProxy counts from the end, and so checks a server
    /// that does not answer half as often as one that does.
    const fn interval(&self, check: &Check) -> Duration {
        match self.state {
            State::Down { passed: 0 } => check.down_interval,
            State::Up { failed: 1.. } | State::Down { .. } => check.fast_interval,
            State::Up { .. } | State::Trusted | State::Unchecked | State::Maintenance => check.interval,
        }
    }
}

impl WarmUp {
    fn begin(takes: Duration, now: Instant) -> Option<Self> {
        Self { began: now, takes, next_step: now }.step(now)
    }

    /// `None` when it is over. HAProxy takes steps of a twentieth and of at least a second as well.
    fn step(self, now: Instant) -> Option<Self> {
        let step = (self.takes / SLOW_START_STEPS).max(SLOW_START_STEP);
        let end = self.began + self.takes;
        (now < end).then(|| Self { next_step: (now + step).min(end), ..self })
    }

    /// HAProxy's formulas: weight rises from one part to [`WEIGHT_SCALE`], maxconn from nothing (but at least one
    /// connection) to all.
    fn warmth(self, now: Instant) -> Warmth {
        let elapsed = now.since(self.began).as_nanos();
        let takes = self.takes.as_nanos().max(1);
        let weight = (elapsed * u128::from(WEIGHT_SCALE) + takes) / takes;
        let maxconn = elapsed * 100 / takes;
        Warmth {
            weight: u16::try_from(weight).unwrap_or(WEIGHT_SCALE).min(WEIGHT_SCALE),
            maxconn: u8::try_from(maxconn).unwrap_or(100).min(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn server(rise: u32, fall: u32) -> Server {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 6443));
        let check = Check {
            fast_interval: SECOND,
            down_interval: 5 * SECOND,
            connect_timeout: SECOND,
            answer_timeout: SECOND,
            rise,
            fall,
            ..Check::new(address)
        };
        Server { check: Some(check), ..Server::new("", address) }
    }

    fn verdict(passed: bool) -> Verdict {
        let status = if passed { CheckStatus::L4Ok } else { CheckStatus::L4Con };
        Verdict { status, code: None, detail: String::new(), took: Duration::ZERO }
    }

    /// HAProxy's own counter: below `rise` it is down, and it starts at `rise`.
    struct HaproxyHealth {
        health: u32,
        rise: u32,
        fall: u32,
    }

    impl HaproxyHealth {
        fn result(&mut self, passed: bool) {
            let most = self.rise + self.fall - 1;
            if passed && self.health < most {
                self.health += 1;
                if self.health >= self.rise {
                    self.health = most;
                }
            } else if !passed && self.health > 0 {
                self.health -= 1;
                if self.health < self.rise {
                    self.health = 0;
                }
            }
        }

        fn interval(&self) -> Duration {
            match self.health {
                health if health == self.rise + self.fall - 1 => 2 * SECOND,
                0 => 5 * SECOND,
                _ => SECOND,
            }
        }
    }

    proptest! {
        #[test]
        fn rise_fall_and_intervals_are_those_of_haproxy(
            rise in 1_u32..5,
            fall in 1_u32..5,
            results in prop::collection::vec(any::<bool>(), 1..60),
        ) {
            let server = server(rise, fall);
            let mut now = Instant::from_nanos(0);
            let mut machine = ServerHealth::new(&Settings::new(&server), now, now);
            let mut haproxy = HaproxyHealth { health: rise, rise, fall };
            let mut jitter = Jitter::new(0, 0);
            for passed in results {
                let attempt = machine.next_attempt(&server, now).unwrap();
                let before = machine.state().usable();
                let change = machine.handle_verdict(&server, attempt, verdict(passed), &mut jitter, now);
                haproxy.result(passed);
                let after = machine.state().usable();
                prop_assert_eq!(after, haproxy.health >= rise);
                prop_assert_eq!(change == Change::Up, !before && after);
                prop_assert_eq!(change == Change::Down, before && !after);
                let next = machine.poll_timeout().unwrap().at;
                prop_assert_eq!(next.since(now), haproxy.interval());
                now = next;
            }
        }
    }

    #[test]
    fn an_attempt_longer_than_the_interval_delays_the_next_one_and_no_more() {
        let server = server(2, 3);
        let start = Instant::from_nanos(0);
        let mut machine = ServerHealth::new(&Settings::new(&server), start, start);
        let attempt = machine.next_attempt(&server, start).unwrap();
        let end = start + 7 * SECOND;
        machine.handle_verdict(&server, attempt, verdict(false), &mut Jitter::new(0, 0), end);
        assert_eq!(machine.poll_timeout().unwrap().at, end);
        assert_eq!(machine.next_attempt(&server, end), Some(attempt + 1));
    }
}
