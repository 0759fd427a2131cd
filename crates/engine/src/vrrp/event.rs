//! What is worth saying about virtual routers, their peers and what they track.

use std::fmt;
use std::net::IpAddr;

use serde::Serialize;

use crate::event::Severity;
use crate::plan::Priority;

/// Something worth saying about a virtual router, or about a script that routers track.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum VrrpEvent {
    /// A router became active.
    BecameActive {
        /// The router's name.
        router: String,
        /// Why, beginning with "since" or "because".
        reason: String,
    },
    /// A router became a backup.
    BecameBackup {
        /// The router's name.
        router: String,
        /// Why, beginning with "since" or "because".
        reason: String,
    },
    /// A router cannot take part.
    Fault {
        /// The router's name.
        router: String,
        /// What is wrong.
        reason: String,
    },
    /// A backup asked the active router, whose process seems to have ended, whether it lives.
    ActiveChallenged {
        /// The router's name.
        router: String,
        /// The active router's address.
        peer: IpAddr,
    },
    /// A router slept through its peers' patience and started over as a backup.
    Overslept {
        /// The router's name.
        router: String,
        /// How long past its deadline it woke, in seconds.
        late: f64,
    },
    /// A router began to give its addresses away, and keeps them until a successor is heard.
    HandingOver {
        /// The router's name.
        router: String,
        /// Whether the daemon stops after it.
        stopping: bool,
    },
    /// A router gave its addresses away.
    HandedOver {
        /// The router's name.
        router: String,
        /// Who has them now; `None` when nobody was heard in time.
        successor: Option<IpAddr>,
        /// How long it took, in seconds.
        took: f64,
    },
    /// Nobody took over within the bound of a planned hand-over, so the router goes on.
    HandOverUnanswered {
        /// The router's name.
        router: String,
    },
    /// What lets old connections end where they began could not be set up.
    NoDrain {
        /// The router's name.
        router: String,
        /// What went wrong.
        reason: String,
    },
    /// A hand-over was ended by an operator.
    Resumed {
        /// The router's name.
        router: String,
    },
    /// What a router tracks changed its priority.
    PriorityChanged {
        /// The router's name.
        router: String,
        /// Before.
        from: Priority,
        /// From now on.
        to: Priority,
        /// What tracking changes, each as a phrase.
        because: Vec<String>,
    },
    /// Somebody else removed an address of an active router; it was put back.
    AddressRestored {
        /// The router's name.
        router: String,
        /// The address.
        address: IpAddr,
    },
    /// An address could not be installed; it is tried again.
    InstallFailed {
        /// The router's name.
        router: String,
        /// The address.
        address: IpAddr,
        /// The kernel's reason.
        reason: String,
    },
    /// Every address is installed after all.
    InstallRecovered {
        /// The router's name.
        router: String,
    },
    /// A route or rule that somebody else removed was put back.
    RoutingRestored {
        /// The router's name.
        router: String,
        /// The route or rule, as `ip` would say it.
        entry: String,
    },
    /// A route or rule could not be put in force. It is tried again.
    RoutingFailed {
        /// The router's name.
        router: String,
        /// The route or rule, as `ip` would say it.
        entry: String,
        /// The kernel's reason.
        reason: String,
    },
    /// A route or rule is in force after all.
    RoutingRecovered {
        /// The router's name.
        router: String,
        /// The route or rule, as `ip` would say it.
        entry: String,
    },
    /// Adverts could not be sent.
    SendFailed {
        /// The router's name.
        router: String,
        /// The interface they should have left by.
        interface: String,
        /// The kernel's reason.
        reason: String,
    },
    /// A peer's adverts are refused. Unless that is mended, both become active and never notice each other.
    PeerMismatch {
        /// The router's name.
        router: String,
        /// The peer's address.
        peer: IpAddr,
        /// The stable name of what differs, as in `status`.
        mismatch: &'static str,
        /// What differs, as a sentence.
        detail: String,
        /// How to mend it.
        hint: &'static str,
    },
    /// Something is wrong between a router and another on its LAN, apart from refused adverts.
    PeerDiffers {
        /// The router's name.
        router: String,
        /// The other's address, or its hardware address where no more is known.
        who: String,
        /// The stable name of what is wrong, as in `status`.
        difference: &'static str,
        /// Continues a sentence that begins with `who`.
        detail: String,
        /// How to mend it.
        hint: &'static str,
        /// Whether it keeps the group from working.
        harmful: bool,
    },
    /// Something that was wrong is not seen any more.
    DifferenceEnded {
        /// The router's name.
        router: String,
        /// The other's address, or its hardware address where no more is known.
        who: String,
        /// The stable name of what was wrong.
        difference: &'static str,
        /// Whether adverts of it were taken since; otherwise it was not heard any more.
        agrees: bool,
    },
    /// A router is active, and so is another whose adverts it refuses: neither hears the other.
    BothActive {
        /// The router's name.
        router: String,
        /// The other router's address.
        peer: String,
        /// The stable name of what differs.
        mismatch: &'static str,
        /// How to mend it.
        hint: &'static str,
    },
    /// A peer does not sign its adverts, which count all the same (`mode permissive` and `receive-only`).
    UnsignedHeard {
        /// The router's name.
        router: String,
        /// The peer's address.
        peer: IpAddr,
    },
    /// The clocks of two balancers are so far apart that signed adverts are soon refused.
    ClocksDiffer {
        /// The router's name.
        router: String,
        /// The peer's address.
        peer: IpAddr,
        /// How far, and in which direction, as a phrase.
        apart: String,
    },
    /// An active router heard another one advertise with a lower claim.
    PeerAlsoActive {
        /// The router's name.
        router: String,
        /// The other router's address.
        peer: IpAddr,
        /// The other router's priority.
        priority: Priority,
    },
    /// A tracked script turned good.
    ScriptGood {
        /// The script's name.
        script: String,
        /// How the run that decided it ended.
        latest: String,
    },
    /// A tracked script turned bad.
    ScriptBad {
        /// The script's name.
        script: String,
        /// How the run that decided it ended.
        latest: String,
    },
    /// Tracked processes became enough, or too few or too many.
    ProcessesCounted {
        /// Their name.
        process: String,
        /// How many there are.
        count: u32,
        /// Whether that is enough and not too many.
        enough: bool,
    },
    /// Somebody could not be told about a change.
    NotifyFailed {
        /// The program, or the FIFO.
        what: String,
        /// Why.
        reason: String,
    },
    /// Announcements were left out, because more waited for their turn than are kept.
    AnnouncementsDropped {
        /// The interface they were for.
        interface: String,
    },
    /// A run of a tracked script was still going when the next was due, which was left out.
    ScriptOverran {
        /// The script's name.
        script: String,
    },
}

impl VrrpEvent {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::BecameActive { .. }
            | Self::BecameBackup { .. }
            | Self::ActiveChallenged { .. }
            | Self::HandingOver { .. }
            | Self::HandedOver { successor: Some(_), .. }
            | Self::Resumed { .. }
            | Self::PriorityChanged { .. }
            | Self::UnsignedHeard { .. }
            | Self::InstallRecovered { .. }
            | Self::DifferenceEnded { .. }
            | Self::RoutingRecovered { .. }
            | Self::ProcessesCounted { enough: true, .. }
            | Self::ScriptGood { .. } => Severity::Info,
            Self::Overslept { .. }
            | Self::HandedOver { successor: None, .. }
            | Self::HandOverUnanswered { .. }
            | Self::NoDrain { .. }
            | Self::AddressRestored { .. }
            | Self::RoutingRestored { .. }
            | Self::SendFailed { .. }
            | Self::ClocksDiffer { .. }
            | Self::PeerDiffers { harmful: false, .. }
            | Self::ScriptBad { .. }
            | Self::ProcessesCounted { enough: false, .. }
            | Self::NotifyFailed { .. }
            | Self::AnnouncementsDropped { .. }
            | Self::ScriptOverran { .. } => Severity::Warning,
            Self::Fault { .. }
            | Self::InstallFailed { .. }
            | Self::RoutingFailed { .. }
            | Self::PeerMismatch { .. }
            | Self::PeerDiffers { harmful: true, .. }
            | Self::BothActive { .. }
            | Self::PeerAlsoActive { .. } => Severity::Error,
        }
    }
}

impl VrrpEvent {
    /// The sentences about what is tracked, told and announced; of the others there is none here.
    /// What is said about addresses, routes and rules in the kernel; nothing about anything else.
    fn fmt_installed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressRestored { router, address } => {
                write!(f, "router {router} put {address} back, which somebody else had removed")
            }
            Self::RoutingRestored { router, entry } => {
                write!(f, "router {router} put the {entry} back, which somebody else had removed")
            }
            Self::RoutingFailed { router, entry, reason } => {
                write!(f, "router {router} cannot put the {entry} in force: {reason}")
            }
            Self::RoutingRecovered { router, entry } => {
                write!(f, "router {router} has the {entry} in force after all")
            }
            Self::InstallFailed { router, address, reason } => {
                write!(f, "router {router} cannot install {address}: {reason}")
            }
            Self::InstallRecovered { router } => {
                write!(f, "router {router} has all its addresses installed again")
            }
            _ => Ok(()),
        }
    }

    /// What is said about other routers; nothing about anything else.
    fn fmt_peer(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerMismatch { router, peer, mismatch: _, detail, hint } => {
                write!(f, "router {router} refuses adverts from {peer}: {detail}; to mend it, {hint}")
            }
            Self::UnsignedHeard { router, peer } => {
                write!(f, "router {router} accepts adverts from {peer} that are not signed")
            }
            Self::ClocksDiffer { router, peer, apart } => {
                write!(f, "router {router} hears {peer} sign with a clock that is {apart}; set both by NTP")
            }
            Self::PeerDiffers { router, who, difference: _, detail, hint, harmful: _ } => {
                write!(f, "router {router} finds that {who} {detail}; to mend it, {hint}")
            }
            Self::DifferenceEnded { router, who, difference, agrees: true } => {
                write!(f, "router {router} takes the adverts of {who} again ({difference} is mended)")
            }
            Self::DifferenceEnded { router, who, difference, agrees: false } => {
                write!(f, "router {router} sees no more of {who} ({difference} is over)")
            }
            Self::BothActive { router, peer, mismatch, hint } => write!(
                f,
                "router {router} and {peer} are both active, because neither hears the other ({mismatch}); to mend it, \
                 {hint}"
            ),
            Self::PeerAlsoActive { router, peer, priority } => {
                write!(f, "router {router} is active, and so is {peer} with priority {priority}")
            }
            _ => Ok(()),
        }
    }

    /// What is said about what routers track and whom they tell; nothing about anything else.
    fn fmt_tracked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ScriptGood { script, latest } => write!(f, "script {script} is good: {latest}"),
            Self::ScriptBad { script, latest } => write!(f, "script {script} is bad: {latest}"),
            Self::ProcessesCounted { process, count, enough } => {
                let verdict = if *enough { "enough" } else { "not what is wanted" };
                write!(f, "processes {process}: {count} run, which is {verdict}")
            }
            Self::NotifyFailed { what, reason } => write!(f, "{what} is not told about a change: {reason}"),
            Self::AnnouncementsDropped { interface } => {
                write!(f, "announcements on {interface} are left out: too many wait for their turn")
            }
            Self::ScriptOverran { script } => {
                write!(f, "script {script} was still running when its next run was due; that run is left out")
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for VrrpEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecameActive { router, reason } => write!(f, "router {router} is active {reason}"),
            Self::BecameBackup { router, reason } => write!(f, "router {router} is a backup {reason}"),
            Self::Fault { router, reason } => write!(f, "router {router} cannot take part: {reason}"),
            Self::ActiveChallenged { router, peer } => {
                write!(f, "router {router} asks {peer}, whose process seems to have ended, whether it lives")
            }
            Self::Overslept { router, late } => write!(
                f,
                "router {router} woke {late:.3} s late, past its peers' patience, and starts over as a backup"
            ),
            Self::HandingOver { router, stopping } => write!(
                f,
                "router {router} hands over{} and keeps its addresses until a successor is heard",
                if *stopping { " in order to stop" } else { "" }
            ),
            Self::HandedOver { router, successor: Some(successor), took } => {
                write!(f, "router {router} handed over to {successor} in {took:.3} s")
            }
            Self::HandedOver { router, successor: None, took } => {
                write!(f, "router {router} let go after {took:.3} s without hearing a successor")
            }
            Self::HandOverUnanswered { router } => write!(
                f,
                "router {router} heard no successor, stays active with priority 1 and yields to the first that appears"
            ),
            Self::NoDrain { router, reason } => write!(
                f,
                "router {router} moves its addresses without a drain, so connections in flight may be reset: {reason}"
            ),
            Self::Resumed { router } => write!(f, "router {router} takes part with its own priority again"),
            Self::PriorityChanged { router, from, to, because } => {
                write!(f, "router {router} changes its priority from {from} to {to}")?;
                if because.is_empty() { Ok(()) } else { write!(f, " ({})", because.join(", ")) }
            }
            Self::AddressRestored { .. }
            | Self::RoutingRestored { .. }
            | Self::RoutingFailed { .. }
            | Self::RoutingRecovered { .. }
            | Self::InstallFailed { .. }
            | Self::InstallRecovered { .. } => self.fmt_installed(f),
            Self::SendFailed { router, interface, reason } => {
                write!(f, "router {router} cannot send adverts on {interface}: {reason}")
            }
            Self::PeerMismatch { .. }
            | Self::UnsignedHeard { .. }
            | Self::ClocksDiffer { .. }
            | Self::PeerDiffers { .. }
            | Self::DifferenceEnded { .. }
            | Self::BothActive { .. }
            | Self::PeerAlsoActive { .. } => self.fmt_peer(f),
            Self::ScriptGood { .. }
            | Self::ScriptBad { .. }
            | Self::ProcessesCounted { .. }
            | Self::NotifyFailed { .. }
            | Self::AnnouncementsDropped { .. }
            | Self::ScriptOverran { .. } => self.fmt_tracked(f),
        }
    }
}
