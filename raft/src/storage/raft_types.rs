//! Type configuration of openraft, and short names for the types that follow from it.

use std::fmt;

use bytes::Bytes;
use openraft::alias;
use quorate_types::{Member, MemberId};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// Opaque commands and answers, members by number; (term, member) elects, so that
    /// one term can have two leaders and only the pair is a fence.
    pub(crate) Types:
        D = ProposedCommand,
        R = MachineAnswer,
        NodeId = MemberId,
        Node = Member,
);

/// Proposed command: bytes that mean nothing here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProposedCommand(pub(crate) Bytes);

impl fmt::Debug for ProposedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for ProposedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Answer of the machine; empty for entries that are not commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineAnswer(pub(crate) Bytes);

pub(crate) type LogEntry = alias::EntryOf<Types>;
pub(crate) type LeaderId = alias::LeaderIdOf<Types>;
pub(crate) type LogEntryId = alias::LogIdOf<Types>;
pub(crate) type StoredVote = alias::VoteOf<Types>;
pub(crate) type GroupMembership = openraft::Membership<MemberId, Member>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type FileSnapshotMeta = alias::SnapshotMetaOf<Types>;
