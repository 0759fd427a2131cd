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
