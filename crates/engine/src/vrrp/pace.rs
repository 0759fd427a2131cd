//! The pace of announcements, for switches that cannot take many at once.
//!
//! Owns [`Pacer`]. What has to wait does so in the order it came; what its router lets go of meanwhile is left out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use crate::engine::Output;
use crate::event::Event;
use crate::limits::ANNOUNCEMENTS_WAITING;
use crate::plan::{AnnounceGap, Family};
use crate::time::{Deadline, Instant};
use crate::vrrp::event::VrrpEvent;

/// Spreads announcements out.
#[derive(Debug)]
pub(crate) struct Pacer {
    gaps: Vec<AnnounceGap>,
    lanes: BTreeMap<LaneId, Lane>,
}

/// Announcements of one family that share their times: on the interfaces of one gap, or on one interface.
type LaneId = (usize, String, Family);

#[derive(Debug, Default)]
struct Lane {
    /// When the next one may go.
    free_at: Instant,
    waiting: VecDeque<(String, IpAddr)>,
}

impl Pacer {
    pub(crate) fn new(gaps: &[AnnounceGap]) -> Self {
        Self { gaps: gaps.to_vec(), lanes: BTreeMap::new() }
    }

    /// Whether anything is ever held back.
    pub(crate) fn is_needed(&self) -> bool {
        !self.gaps.is_empty()
    }

    /// What may be done now in place of `output`: itself, or nothing if it is an announcement that has to wait.
    pub(crate) fn pass(&mut self, output: Output, now: Instant) -> Option<Output> {
        let Output::Announce { interface, address } = output else { return Some(output) };
        let Some((id, gap)) = self.lane(&interface, address) else {
            return Some(Output::Announce { interface, address });
        };
        let lane = self.lanes.entry(id).or_default();
        if lane.waiting.is_empty() && lane.free_at <= now {
            lane.free_at = now + gap;
            return Some(Output::Announce { interface, address });
        }
        if lane.waiting.len() >= ANNOUNCEMENTS_WAITING {
            return Some(Output::Event(Event::Vrrp(VrrpEvent::AnnouncementsDropped { interface })));
        }
        lane.waiting.push_back((interface, address));
        None
    }

    /// The announcements whose turn it is, as far as somebody still `owns` their addresses.
    pub(crate) fn take_due(
        &mut self,
        now: Instant,
        owns: impl Fn(&str, IpAddr) -> bool,
        outputs: &mut VecDeque<Output>,
    ) {
        for ((gap, _, family), lane) in &mut self.lanes {
            while lane.free_at <= now {
                let Some((interface, address)) = lane.waiting.pop_front() else { break };
                if owns(&interface, address) {
                    lane.free_at =
                        now + self.gaps.get(*gap).map_or(Duration::ZERO, |gap| between(gap, *family));
                    outputs.push_back(Output::Announce { interface, address });
                }
            }
        }
    }

    /// When one may go next.
    pub(crate) fn poll_timeout(&self) -> Option<Deadline> {
        let waiting = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        let at = waiting.map(|lane| lane.free_at).min()?;
        Some(Deadline { at, why: "turn of an announcement" })
    }

    /// The lane of an announcement and its gap; `None` if it never waits.
    fn lane(&self, interface: &str, address: IpAddr) -> Option<(LaneId, Duration)> {
        let family = Family::of(address);
        let names = |gap: &&AnnounceGap| gap.interfaces.iter().any(|name| name == interface);
        let named = self.gaps.iter().zip(0..).find(|(gap, _)| names(gap));
        let found = named.or_else(|| self.gaps.iter().zip(0..).find(|(gap, _)| gap.interfaces.is_empty()));
        let (gap, number) = found.filter(|(gap, _)| !between(gap, family).is_zero())?;
        let own = if gap.interfaces.is_empty() { interface.to_owned() } else { String::new() };
        Some(((number, own, family), between(gap, family)))
    }
}

const fn between(gap: &AnnounceGap, family: Family) -> Duration {
    match family {
        Family::Ipv4 => gap.arp,
        Family::Ipv6 => gap.neighbour,
    }
}
