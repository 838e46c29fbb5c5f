//! Leadership: the leader, and the time for which it may act alone.

use std::time::Duration;

use quorate_clock::Instant;

use crate::{ElectionRecord, MemberId};

/// Leadership as this member sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// This member.
    pub me: MemberId,
    /// The term that this member is in.
    pub term: u64,
    /// The leader of that term, when known.
    pub leader: Option<MemberId>,
    /// Whether this member leads: elected, and its first entry of the term committed.
    pub leading: bool,
    /// As leader: the time at which the last heartbeat round that a quorum has answered was
    /// *sent*. As follower: the time at which the last append of the leader arrived. The lease
    /// runs from here.
    pub heard_at: Option<Instant>,
    /// As leader: the length of that lease. The timing in force may be another one by now.
    pub lease: Duration,
    /// As leader: the time from which on nobody else's lease can run any more (votes carry how
    /// much is left of the leases of others that each voter had a part in; see `votes` in the
    /// crate of consensus). A reign activates nothing that is fenced by lease before it.
    pub lease_clear_at: Option<Instant>,
    /// As leader: the election that it won.
    pub election: Option<ElectionRecord>,
}
