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

/// A check whose result has not come this long after its own time-outs have passed is lost: it is given up, and the next
/// one starts. Far longer than a loaded machine needs to hand a result over.
pub const CHECK_RESULT_GRACE: Duration = Duration::from_secs(5);

/// First checks of all servers start within this time, however long their intervals are: until then a dead server is
/// trusted.
pub const FIRST_CHECKS: Duration = Duration::from_secs(1);

/// Steps of a slow start, as many as HAProxy takes.
pub const SLOW_START_STEPS: u32 = 20;

/// Shortest step of a slow start: each one publishes a new view.
pub const SLOW_START_STEP: Duration = Duration::from_secs(1);
