//! Elections: why and when a member came to lead.

use quorate_clock::Instant;
use serde::{Deserialize, Serialize};

use crate::MemberId;

/// Reason for which a member asks for votes; the vote message carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ElectionReason {
    /// The leader has not been heard for too long.
    Timeout,
    /// The leader has asked for it.
    Transfer,
    /// The leader's process has died for sure (see `liveness`).
    Death,
}

impl std::fmt::Display for ElectionReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ElectionReason::Timeout => "timeout",
            ElectionReason::Transfer => "transfer",
            ElectionReason::Death => "death",
        })
    }
}

/// Election by which this member came to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionRecord {
    /// The reason for which it asked for votes.
    pub reason: ElectionReason,
    /// The leader before, as far as known.
    pub former: Option<MemberId>,
    /// The time at which this member last heard from that leader.
    pub lost_at: Option<Instant>,
    /// The time at which this member began to campaign for this term: its timer ran out, the
    /// death was certain, or the leader asked for it.
    pub detected_at: Instant,
    /// The time at which it saw itself elected.
    pub elected_at: Instant,
}
