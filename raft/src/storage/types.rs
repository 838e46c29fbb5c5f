//! What openraft is told of our types, and the short names for the types that follow.

use std::fmt;

use bytes::Bytes;
use openraft::alias;
use quorate_types::{Member, MemberId};
use serde::{Deserialize, Serialize};

openraft::declare_raft_types!(
    /// Opaque commands and answers, members by number; (term, member) elects, so that
    /// one term can have two leaders and only the pair is a fence.
    pub(crate) Types:
        D = Proposal,
        R = Answer,
        NodeId = MemberId,
        Node = Member,
);

/// A proposed command: bytes that mean nothing here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Proposal(pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the machine answered; empty for entries that are not commands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer(pub(crate) Bytes);

pub(crate) type Entry = alias::EntryOf<Types>;
pub(crate) type LeaderId = alias::LeaderIdOf<Types>;
pub(crate) type LogId = alias::LogIdOf<Types>;
pub(crate) type Vote = alias::VoteOf<Types>;
pub(crate) type Membership = openraft::Membership<MemberId, Member>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<Types>;
pub(crate) type Snapshot = alias::SnapshotOf<Types, super::SnapshotFile>;
