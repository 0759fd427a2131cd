//! Every bound, named, with its reason.
//!
//! Hitting one is an error with its name in it, an [`Event`](crate::Event) or a counter in `status`; never silence.

use std::time::Duration;

/// Virtual addresses of one router: the count is one byte on the wire (RFC 9568 §5.2.5), and an advert of that many
/// still fits an Ethernet frame.
pub const ADDRESSES_PER_ROUTER: usize = 255;

/// The kernel removes a virtual address this long after its last renewal, so that a daemon that died or hangs does not
/// answer for it. The kernel counts whole seconds.
pub const ADDRESS_LIFETIME: Duration = Duration::from_secs(1);

/// Time between two renewals of an address: three may be missed before the kernel acts.
pub const ADDRESS_RENEWAL: Duration = Duration::from_millis(250);

/// Entries of a round-robin table that weights may ask for before they are rounded: sixteen servers of any weights are
/// exact, and a table stays within a few pages of memory.
pub const ROTATION_LENGTH: i64 = 4096;

/// Points on a ring of `hash-type consistent` before they are thinned out: sixteen servers of any weights have as many as
/// with HAProxy, and making one takes milliseconds.
pub const RING_LENGTH: u64 = 65_536;

/// Entries of a Maglev table, a prime: ten servers of one weight have shares that differ by 1 %. `nft` takes 20 ms for one such table
/// and 0.4 s for a hundred; in a user namespace, where it may not enlarge its buffer, it can hand four of them over at once.
pub const MAGLEV_ENTRIES: u16 = 1_021;

/// First wait after rules for the kernel could not be put in force. Doubled each time in a row up to
/// [`FORWARDING_RETRY_MAX`]: what keeps the kernel from taking them seldom ends by itself.
pub const FORWARDING_RETRY: Duration = Duration::from_secs(1);

/// Longest wait of [`FORWARDING_RETRY`].
pub const FORWARDING_RETRY_MAX: Duration = Duration::from_secs(60);

/// A check whose result has not come this long after its own time-outs have passed is lost: it is given up, and the next
/// one starts. Far longer than a loaded machine needs to hand a result over.
pub const CHECK_RESULT_GRACE: Duration = Duration::from_secs(5);

/// A question to name servers whose answer has not come this long after its own time-out has passed is lost.
pub const NAME_ANSWER_GRACE: Duration = Duration::from_secs(5);

/// First checks of all servers start within this time, however long their intervals are: until then a dead server is
/// trusted.
pub const FIRST_CHECKS: Duration = Duration::from_secs(1);

/// Steps of a slow start, as many as HAProxy takes.
pub const SLOW_START_STEPS: u32 = 20;

/// Shortest step of a slow start: each one publishes a new view.
pub const SLOW_START_STEP: Duration = Duration::from_secs(1);

/// How long after a planned move old connections may still end where they began: as long as the addresses live that
/// nobody renews, and many times what a handshake and a short request take.
pub const HAND_OVER_DRAIN: Duration = ADDRESS_LIFETIME;

/// How long a complaint about the same peer and subject is not repeated: often enough for a log that rotates.
pub const COMPLAINT_AGAIN: Duration = Duration::from_secs(60);

/// How soon a complaint is made again when its detail changed, so that a peer that varies it cannot flood the log.
pub const COMPLAINT_CHANGED: Duration = Duration::from_secs(1);

/// Complaints one router remembers: more than a LAN has balancers, and little memory for a flood of forged sources.
pub const COMPLAINTS: usize = 64;

/// Differences with others that one router remembers at a time: more than a LAN has balancers. What does not fit is
/// counted.
pub const DIFFERENCES: usize = 32;

/// How long a difference must not be seen before it has ended: longer than the adverts of ordinary routers are apart, and
/// than several probes.
pub const DIFFERENCE_QUIET: Duration = Duration::from_secs(10);

/// How long a router of lower claim may go on being active beside a stronger one before it is said to be deaf: one that
/// hears yields at once, so this is for what was under way and for a busy machine.
pub const YIELD_PATIENCE: Duration = Duration::from_secs(2);

/// How long after a takeover nobody is blamed for answering for an address: the last announcements of the predecessor, and
/// the lifetime of its address ([`ADDRESS_LIFETIME`]), are over by then.
pub const CONFLICT_SETTLING: Duration = Duration::from_secs(2);

/// Two answers of the same host for an address, this far apart, make an address conflict.
pub const CONFLICT_REPEAT: Duration = Duration::from_secs(1);

/// Time between two probes for an address while nobody else answers for it, as long as RFC 5227 §1.1's
/// `DEFEND_INTERVAL`: one small broadcast.
pub const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Time between two probes while somebody does, so that its end is seen soon.
pub const CONFLICT_PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// An address is announced against a conflict at most this often (RFC 5227 §1.1, `DEFEND_INTERVAL`), because two hosts
/// that defend the same address would never end.
pub const DEFEND_INTERVAL: Duration = Duration::from_secs(10);

/// The least a hand-over waits for a successor before [`HAND_OVER_MARGIN`]: a version 3 router that never followed this one
/// may reckon its skew by its own interval, the usual second, however short this one's is.
pub const HAND_OVER_LEAST: Duration = Duration::from_secs(1);

/// Added to the time a hand-over waits for a successor, for its advert to cross the LAN and be read.
pub const HAND_OVER_MARGIN: Duration = Duration::from_millis(100);

/// A burst of announcements because of a lower-priority advert is not repeated sooner, so that forged adverts cannot
/// be turned into a storm of broadcasts.
pub const LOWER_PRIORITY_BURST_GAP: Duration = Duration::from_secs(1);

/// How long a router whose addresses could not be installed leaves the field to its peers before it tries again.
/// Doubled each time in a row up to [`INSTALL_HOLD_MAX`], because every try can cost a takeover there and back.
pub const INSTALL_HOLD: Duration = Duration::from_secs(30);

/// Longest wait of [`INSTALL_HOLD`].
pub const INSTALL_HOLD_MAX: Duration = Duration::from_secs(16 * 60);

/// A script run whose end nobody reported this long after its timeout counts as timed out: the kill takes 2 s at most.
pub const SCRIPT_REPORT_GRACE: Duration = Duration::from_secs(5);

/// Shortest time between two runs of a tracked script.
pub const SCRIPT_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Blocks inside blocks of a configuration file: real ones need three, and the tree is walked recursively.
pub const CONFIG_NESTING: usize = 16;

/// Bytes of one word of a configuration file once its variables are filled in, which can double with every definition.
pub const CONFIG_WORD_BYTES: usize = 65_536;

/// Virtual routers of one plan: four times the virtual router ids of one LAN.
pub const ROUTERS: usize = 1_024;

/// Tracked scripts of one plan: each runs a process every few seconds.
pub const SCRIPTS: usize = 1_024;

/// Tracked files of one plan: each is read every half second.
pub const TRACKED_FILES: usize = 1_024;

/// Tracked processes of one plan: each is compared with every process every second.
pub const TRACKED_PROCESSES: usize = 256;

/// Sync groups of one plan: as many as routers.
pub const GROUPS: usize = ROUTERS;

/// Announcements that wait for their turn on one interface: a burst of all addresses of one router.
pub const ANNOUNCEMENTS_WAITING: usize = 5 * ADDRESSES_PER_ROUTER;

/// Unicast peers of one router: each costs a datagram with every advert.
pub const PEERS_PER_ROUTER: usize = 255;

/// Words of one line of a haproxy.cfg, as many as HAProxy takes.
pub const WORDS_PER_LINE: usize = 64;

/// Ports of one address of a `bind` line: each is a listening socket.
pub const PORTS_PER_BIND: usize = 1_024;

/// What a frontend without any `maxconn` is reckoned to hold, where `fullconn` is a tenth of that. HAProxy reckons with its
/// descriptors; those of an ordinary service are good for this many connections.
pub const USUAL_MAXCONN: u32 = 10_000;

/// Listening addresses of one plan: each is a socket that every acceptor watches.
pub const BINDS: usize = 4_096;

/// Frontends of one plan.
pub const FRONTENDS: usize = 1_024;

/// Pools of one plan.
pub const POOLS: usize = 1_024;

/// Servers of one pool: a choice looks at each of them.
pub const SERVERS_PER_POOL: usize = 4_096;

/// Routes and rules of one router: the kernel is asked for each of them at every renewal of the addresses.
pub const ROUTING_PER_ROUTER: usize = 255;

/// Steps of one check: each may cost a connection or a round trip.
pub const CHECK_STEPS: usize = 256;

/// Flows of one node that its peers are told of, and that this node keeps of one peer: tens of megabytes at most, and
/// many times what the clients of a cluster's API hold.
pub const FLOWS: usize = 200_000;

/// Flows in one message on a peer link: it fits one frame even if they have nothing in common, and a view waits for
/// no more than one of them.
pub const FLOWS_PER_MESSAGE: usize = 1_000;

/// Changed flows that wait to be told to one peer: beyond, telling of all anew is cheaper.
pub const FLOW_CHANGES_WAITING: usize = 50_000;

/// How often peers are told of all flows anew, so that nothing that was lost stays lost.
pub const FLOWS_TOLD_ANEW: Duration = Duration::from_secs(120);

/// How often peers hear that nothing changed, so that they know how old their knowledge is.
pub const FLOWS_WORD: Duration = Duration::from_secs(5);

/// How long flows are kept of a node that does not tell of them any more while nobody has their address: far longer than
/// a takeover takes.
pub const FLOWS_KEPT: Duration = Duration::from_secs(600);

/// The longest a takeover waits for the flows of the predecessor to be in the kernel: some 50,000 are in by then, and
/// clients wait no longer than for one lost packet.
pub const FLOWS_PATIENCE: Duration = Duration::from_millis(200);

/// How long a backup leaves an address to an active router of lower priority that has not told of its flows: longer than a link takes
/// to come back after a cut, when TCP sends again after up to 6.4 s.
pub const FLOWS_AWAITED: Duration = Duration::from_secs(10);

/// Bytes of messages about flows that wait to be read here: ten times the flows of [`FLOWS`].
pub const FLOW_BYTES_WAITING: usize = 16 << 20;
