//! Elections: why and when a member came to lead.

use quorate_clock::Instant;
use serde::{Deserialize, Serialize};

use crate::MemberId;

/// Why a member asks for votes; the vote message carries it.
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

/// How this member came to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionRecord {
    /// Why it asked for votes.
    pub reason: ElectionReason,
    /// The leader before, as far as known.
    pub former: Option<MemberId>,
    /// When this member last heard from it.
    pub lost_at: Option<Instant>,
    /// When this member began to campaign for this term: its timer ran out, the death was
    /// certain, or the leader asked for it.
    pub detected_at: Instant,
    /// When it saw itself elected.
    pub elected_at: Instant,
}
