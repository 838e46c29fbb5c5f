//! Members: who they are, where they are reached, and whether they count.

use serde::{Deserialize, Serialize};

/// A member's id: 1 for the one that bootstrapped, for every other the index of
/// the log entry that allocated it. Never reused.
pub type MemberId = u64;

/// What the group knows of a member. Addresses are `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The name people use; unique in the cluster.
    pub name: String,
    /// Where its services listen.
    pub http: String,
    /// Where its REST face listens.
    pub admin: String,
    /// Where other members reach it.
    pub peer: String,
}

/// Whether a member counts for quorums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It does.
    Voter,
    /// It only follows.
    Learner,
}

/// One member as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// Its id.
    pub id: MemberId,
    /// Its name and addresses.
    pub member: Member,
    /// Whether it counts for quorums.
    pub role: Role,
    /// Entries behind the leader's log; only the leader knows it of others.
    pub lag: Option<u64>,
    /// Whether the leader has heard from it within `failover`; only the leader knows.
    pub reachable: Option<bool>,
}

/// The members, ordered by id.
pub type MemberList = Vec<MemberStatus>;
