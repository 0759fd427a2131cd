//! Sync groups: routers that are active, or not, together.
//!
//! Owns [`Groups`]. Routers decide for themselves as long as they can; a member of a group leaves two things to it.
//! 1. What keeps one member from taking part keeps the others from it too.
//! 2. A member that could take over says so and waits: the group becomes active when every member could. That keeps one
//!    router from being active here while the others of its group are active elsewhere.
//!
//! When one member yields, the others follow it make before break, as in any hand-over.

use std::collections::VecDeque;

use crate::admin::GroupStatus;
use crate::engine::Output;
use crate::plan::{Plan, RouterId, SyncGroup};
use crate::time::Instant;
use crate::vrrp::notify::{Moved, Notice, Notifier, What};
use crate::vrrp::router::{Obstacle, Router, Standing};

/// All sync groups of a plan.
#[derive(Debug)]
pub(crate) struct Groups {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    config: SyncGroup,
    /// What all members have in common, as it was last seen; `None` until they have.
    moved: Option<Moved>,
    since: Instant,
    /// Whether its first state is told before those of its members: Keepalived does so unless it waits for a script.
    told_first: bool,
    /// What members have to tell, in the order it happened.
    notices: Vec<(RouterId, Notice)>,
}

impl Groups {
    pub(crate) fn new(plan: &Plan, now: Instant) -> Self {
        let waits = |id: &RouterId| {
            plan.routers
                .get(usize::from(id.0))
                .is_some_and(|router| router.track_scripts.iter().any(|track| track.effect.weight == 0))
        };
        let group = |config: &SyncGroup| Group {
            moved: None,
            since: now,
            told_first: !config.members.iter().any(waits),
            notices: Vec::new(),
            config: config.clone(),
        };
        Self { groups: plan.groups.iter().map(group).collect() }
    }

    /// Brings the members of every group in line with each other, and tells who moved in the order in which they did.
    pub(crate) fn settle(
        &mut self,
        routers: &mut [Router],
        notifier: &Notifier,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) {
        for group in &mut self.groups {
            // What members did by themselves.
            group.each(routers, |_| {});
            group.announce_together(routers, now);
            group.hold_together(routers, now);
            group.move_together(routers, now);
            group.tell(routers, notifier, now, outputs);
        }
        // What is left is of routers in no group.
        for router in routers {
            for notice in router.take_notices() {
                notifier.tell_router(router.config(), notice, outputs);
            }
        }
    }

    /// One for each group of the plan.
    pub(crate) fn status(&self, routers: &[Router], now: Instant) -> Vec<GroupStatus> {
        self.groups.iter().map(|group| group.status(routers, now)).collect()
    }
}

impl Group {
    fn members<'a>(&'a self, routers: &'a [Router]) -> impl Iterator<Item = &'a Router> {
        self.config.members.iter().filter_map(|id| routers.get(usize::from(id.0)))
    }

    /// Does something to every member, in the order of the group, and notes what the member has to tell.
    fn each(&mut self, routers: &mut [Router], mut act: impl FnMut(&mut Router)) {
        for id in &self.config.members {
            let Some(router) = routers.get_mut(usize::from(id.0)) else { continue };
            act(router);
            self.notices.extend(router.take_notices().map(|notice| (*id, notice)));
        }
    }

    /// Tells every member what keeps another one from taking part.
    fn hold_together(&mut self, routers: &mut [Router], now: Instant) {
        let held: Vec<(String, Option<Obstacle>)> = self
            .members(routers)
            .map(|router| (router.config().name.clone(), router.own_obstacle()))
            .collect();
        let group = self.config.name.clone();
        self.each(routers, |router| {
            let name = &router.config().name;
            let mut others = held.iter().filter(|(other, _)| other != name);
            let fault = others.clone().find_map(|(other, obstacle)| match obstacle {
                Some(Obstacle::Fault(why)) => {
                    Some(Obstacle::Fault(format!("router {other} of group {group} is in fault: {why}")))
                }
                _ => None,
            });
            let awaited = others.find_map(|(other, obstacle)| match obstacle {
                Some(Obstacle::Awaited(what)) => {
                    Some(Obstacle::Awaited(format!("{what}, for router {other} of group {group}")))
                }
                _ => None,
            });
            router.handle_group_obstacle(fault.or(awaited), now);
        });
    }

    /// Whoever heard one member with a lower claim was perhaps misled about the others' addresses too.
    fn announce_together(&mut self, routers: &mut [Router], now: Instant) {
        if self.notices.iter().any(|(_, notice)| notice.what == What::HeardLowerPriority) {
            self.each(routers, |router| router.announce_with_group(now));
        }
    }

    fn move_together(&mut self, routers: &mut [Router], now: Instant) {
        let standings: Vec<Standing> = self.members(routers).map(Router::standing).collect();
        let could = |standing: &Standing| match standing {
            Standing::Active | Standing::Following => true,
            Standing::Backup { could_take_over_since } => could_take_over_since.is_some(),
            Standing::Apart => false,
        };
        if standings.iter().all(could) {
            return self.become_active(routers, now);
        }
        let is_backup = |standing: &Standing| matches!(standing, Standing::Backup { .. });
        let Some(led) = self.members(routers).find(|router| is_backup(&router.standing())) else { return };
        let why = format!("because router {} of group {} is one", led.config().name, self.config.name);
        self.each(routers, |router| router.follow_to_backup(&why, now));
    }

    /// The one who made the group complete goes first, as with Keepalived.
    fn become_active(&mut self, routers: &mut [Router], now: Instant) {
        let since = |router: &Router| match router.standing() {
            Standing::Backup { could_take_over_since } => could_take_over_since,
            _ => None,
        };
        let latest = self.members(routers).filter_map(since).max();
        let first = self.members(routers).find(|router| since(router).is_some() && since(router) == latest);
        let first = first.map(|router| router.config().name.clone());
        for leads in [true, false] {
            self.each(routers, |router| {
                if (first.as_ref() == Some(&router.config().name)) == leads {
                    router.become_active_with_group(now);
                }
            });
        }
    }

    /// Tells how members and the group moved since the last time.
    fn tell(
        &mut self,
        routers: &[Router],
        notifier: &Notifier,
        now: Instant,
        outputs: &mut VecDeque<Output>,
    ) {
        let moves: Vec<Option<Moved>> = self.members(routers).map(Router::moved).collect();
        let common =
            moves.first().copied().flatten().filter(|first| moves.iter().all(|it| *it == Some(*first)));
        let is_first = self.moved.is_none();
        let news = common.filter(|_| common != self.moved);
        if news.is_some() {
            (self.moved, self.since) = (common, now);
        }
        // Before the group has a state, its members have nothing to tell.
        if self.moved.is_none() {
            return;
        }
        let leads = is_first && self.told_first && matches!(news, Some(Moved::Backup | Moved::Fault));
        if let Some(moved) = news.filter(|_| leads) {
            // They started together, whichever interface was looked at last.
            let members = &self.config.members;
            self.notices.sort_by_key(|(id, _)| members.iter().position(|member| member == id));
            notifier.tell_group(&self.config, moved, outputs);
        }
        for (id, notice) in self.notices.drain(..) {
            if let Some(router) = routers.get(usize::from(id.0)) {
                notifier.tell_router(router.config(), notice, outputs);
            }
        }
        if let Some(moved) = news.filter(|_| !leads) {
            notifier.tell_group(&self.config, moved, outputs);
        }
    }

    fn status(&self, routers: &[Router], now: Instant) -> GroupStatus {
        let states: Vec<(&str, &str)> = self
            .members(routers)
            .map(|router| (router.config().name.as_str(), router.state_name()))
            .collect();
        let all_alike =
            states.iter().all(|(_, state)| Some(*state) == states.first().map(|(_, first)| *first));
        let listed = || states.iter().map(|(name, state)| format!("{name} is {state}"));
        let faulty = self.members(routers).find_map(|router| match router.own_obstacle()? {
            Obstacle::Fault(why) => Some(format!("router {} is in fault: {why}", router.config().name)),
            Obstacle::Awaited(what) => Some(format!("router {} waits for {what}", router.config().name)),
        });
        GroupStatus {
            name: self.config.name.clone(),
            state: match states.first().filter(|_| all_alike) {
                Some((_, state)) => (*state).to_owned(),
                None => "moving".to_owned(),
            },
            reason: faulty.unwrap_or_else(|| listed().collect::<Vec<_>>().join(", ")),
            since: now.since(self.since),
            routers: states.iter().map(|(name, _)| (*name).to_owned()).collect(),
        }
    }
}
