//! What the agent of a server says, and when it is asked (`agent-check`).
//!
//! Owns [`AgentHealth`] and the protocol: one line of words such as `75%`, `maxconn:30`, `drain` or `down #too hot`. What
//! the line asks for beside health is carried out as an order of the agent.

use std::time::Duration;

use crate::health::check::{CheckStatus, Verdict};
use crate::health::order::{AdminState, ServerOrder, Weight};
use crate::jitter::Jitter;
use crate::limits::CHECK_RESULT_GRACE;
use crate::plan::Agent;
use crate::time::{Deadline, Instant};

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It said something.
    Line {
        /// All of it.
        line: String,
        /// How long that took.
        took: Duration,
    },
    /// It could not be asked, which says nothing about the server.
    Failed(Verdict),
}

/// What a line means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Whether the server works, if it says so, and the word for it.
    pub(super) health: Option<(bool, String)>,
    /// What follows `#`.
    pub(super) description: String,
    /// The last of each kind, in the order in which they are carried out.
    pub(super) orders: Vec<ServerOrder>,
    /// The first word that nobody knows.
    pub(super) unknown: Option<String>,
}

/// What is known of one agent.
#[derive(Debug)]
pub(super) struct AgentHealth {
    /// Whether it is asked (`enable agent`).
    asked: bool,
    /// It said that the server does not work, and not yet otherwise.
    down: bool,
    latest: Option<(Verdict, Instant)>,
    attempts: u64,
    schedule: Schedule,
}

#[derive(Clone, Copy, Debug)]
enum Schedule {
    Waiting { until: Instant },
    Running { started: Instant, lost: Instant },
}

impl AgentHealth {
    /// One that is asked for the first time at `first`.
    pub(super) const fn new(first: Instant) -> Self {
        Self {
            asked: true,
            down: false,
            latest: None,
            attempts: 0,
            schedule: Schedule::Waiting { until: first },
        }
    }

    /// Whether it holds the server down.
    pub(super) const fn is_down(&self) -> bool {
        self.down
    }

    /// Whether it is asked.
    pub(super) const fn is_asked(&self) -> bool {
        self.asked
    }

    /// Asks it from `now` on, or no more; what it said last counts on. Says whether that is news.
    pub(super) fn set_asked(&mut self, asked: bool, now: Instant) -> bool {
        if self.asked != asked {
            // An answer that is on its way comes too late.
            self.schedule = Schedule::Waiting { until: now };
        }
        std::mem::replace(&mut self.asked, asked) != asked
    }

    /// It is taken to have said so, until it says otherwise. Says whether that is news.
    pub(super) fn force(&mut self, up: bool) -> bool {
        std::mem::replace(&mut self.down, !up) == up
    }

    /// The latest result and when it came.
    pub(super) const fn latest(&self) -> Option<&(Verdict, Instant)> {
        self.latest.as_ref()
    }

    /// The number of the attempt to start now, if one is due. One of which nothing was heard is over.
    pub(super) fn next_attempt(&mut self, agent: &Agent, now: Instant) -> Option<u64> {
        match self.schedule {
            _ if !self.asked => return None,
            Schedule::Waiting { until } if until <= now => {}
            Schedule::Running { lost, .. } if lost <= now => {}
            Schedule::Waiting { .. } | Schedule::Running { .. } => return None,
        }
        self.attempts += 1;
        let lost = now + agent.timeout * 2 + CHECK_RESULT_GRACE;
        self.schedule = Schedule::Running { started: now, lost };
        Some(self.attempts)
    }

    /// Takes in an answer: what the agent said, and whether its opinion of the server changed. Nothing if it is late.
    pub(super) fn handle_answer(
        &mut self,
        agent: &Agent,
        attempt: u64,
        answer: Answer,
        jitter: &mut Jitter,
        now: Instant,
    ) -> Option<(Said, bool)> {
        let Schedule::Running { started, .. } = self.schedule else { return None };
        if attempt != self.attempts {
            return None;
        }
        self.schedule = Schedule::Waiting { until: (started + jitter.spread(agent.interval)).max(now) };
        let (line, took) = match answer {
            Answer::Line { line, took } => (line, took),
            Answer::Failed(verdict) => {
                self.latest = Some((verdict, now));
                return Some((Said::default(), false));
            }
        };
        let Some(said) = Said::read(&line) else {
            let detail = "Ignoring incomplete line from agent".to_owned();
            let verdict = Verdict { status: CheckStatus::L7Rsp, code: None, detail, took };
            self.latest = Some((verdict, now));
            return Some((Said::default(), false));
        };
        let before = self.down;
        self.down = said.health.as_ref().map_or(before, |(up, _)| !up);
        let status = match said.health {
            Some((true, _)) => CheckStatus::L7Ok,
            Some((false, _)) => CheckStatus::L7Sts,
            None => CheckStatus::Checked,
        };
        self.latest = Some((Verdict { status, code: None, detail: said.detail(), took }, now));
        Some((said, before != self.down))
    }

    /// When something is due next.
    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        let next = match self.schedule {
            Schedule::Waiting { until } => Deadline { at: until, why: "ask an agent" },
            Schedule::Running { lost, .. } => Deadline { at: lost, why: "give up asking an agent" },
        };
        self.asked.then_some(next)
    }
}

impl Said {
    /// The first line of `text`; nothing where it has no end.
    pub(super) fn read(text: &str) -> Option<Self> {
        let end = text.find(['\r', '\n'])?;
        let line = text.get(..end)?;
        let between = [' ', '\t', ','];
        // A description is a word of its own that begins so.
        let sharp = line.match_indices('#').map(|(at, _)| line.split_at(at));
        let alone = |(before, _): &(&str, &str)| before.is_empty() || before.ends_with(between);
        let (words, description) = sharp.into_iter().find(alone).unwrap_or((line, ""));
        let description = description.trim_start_matches('#').trim().to_owned();
        let mut said = Self { description, ..Self::default() };
        let (mut state, mut weight, mut maxconn) = (None, None, None);
        for word in words.split(between).filter(|word| !word.is_empty()) {
            match word.to_ascii_lowercase().as_str() {
                "up" => said.health = Some((true, word.to_owned())),
                "down" | "stopped" | "fail" => said.health = Some((false, word.to_owned())),
                "ready" => state = Some(AdminState::Ready),
                "drain" => state = Some(AdminState::Drain),
                "maint" => state = Some(AdminState::Maintenance),
                other => match (other.strip_suffix('%'), other.strip_prefix("maxconn:")) {
                    (Some(percent), _) if percent.parse::<u32>().is_ok() => weight = percent.parse().ok(),
                    (_, Some(limit)) if limit.parse::<u32>().is_ok() => maxconn = limit.parse().ok(),
                    _ => {
                        said.unknown.get_or_insert_with(|| word.to_owned());
                    }
                },
            }
        }
        let orders = [
            state.map(ServerOrder::State),
            weight.map(|percent| ServerOrder::Weight(Weight::Percent(percent))),
            maxconn.map(ServerOrder::Maxconn),
        ];
        said.orders.extend(orders.into_iter().flatten());
        Some(said)
    }

    /// HAProxy's words for it.
    fn detail(&self) -> String {
        match (&self.health, &self.unknown) {
            (Some((up, word)), unknown) => {
                let odd = unknown.as_ref().filter(|_| *up || self.description.is_empty());
                let more = odd.unwrap_or(&self.description);
                if more.is_empty() {
                    format!("via agent : {word}")
                } else {
                    format!("via agent : {word} ({more})")
                }
            }
            (None, Some(unknown)) => format!("agent reports an error : {unknown}"),
            (None, None) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_order_and_the_last_of_a_kind_counts() {
        let said = Said::read("drain, 30% up maxconn:5\tready 75%  # all is well \r\nrest").unwrap();
        let orders = [
            ServerOrder::State(AdminState::Ready),
            ServerOrder::Weight(Weight::Percent(75)),
            ServerOrder::Maxconn(5),
        ];
        assert_eq!(said.orders, orders);
        assert_eq!(said.health, Some((true, "up".to_owned())));
        assert_eq!(said.detail(), "via agent : up (all is well)");
        let said = Said::read("FAIL #too hot\n").unwrap();
        assert_eq!((said.detail().as_str(), said.orders.len()), ("via agent : FAIL (too hot)", 0));
        assert_eq!(Said::read("maxconn:x -1% hello\n").unwrap().unknown.as_deref(), Some("maxconn:x"));
        let said = Said::read("down#hot\n").unwrap();
        assert_eq!((said.detail().as_str(), said.health), ("agent reports an error : down#hot", None));
        assert_eq!(Said::read("50%"), None);
        assert_eq!(Said::read("\n"), Some(Said::default()));
    }
}
