//! Leadership: who leads, and for how long a leader may act alone.

use std::time::Duration;

use quorate_clock::Instant;

use crate::{ElectionRecord, MemberId};

/// Who leads, as this member sees it.
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
    /// As leader: when the last heartbeat round that a quorum has answered was *sent*.
    /// As follower: when the last append of the leader arrived. The lease runs from here.
    pub heard_at: Option<Instant>,
    /// As leader: how long that lease is. The present pace may be another one.
    pub lease: Duration,
    /// As leader: nobody else's lease can run any more from here on (votes carry how much
    /// of others' leases is left that each voter had a part in; see `votes` in the crate of consensus).
    /// A reign activates nothing that is fenced by lease before it.
    pub lease_clear_at: Option<Instant>,
    /// As leader: how it came to be.
    pub election: Option<ElectionRecord>,
}
