//! Members: ids, names, addresses and roles.

use serde::{Deserialize, Serialize};

/// Id of a member: 1 for the one that bootstrapped, for every other the index of the log entry
/// that allocated it. Never reused.
pub type MemberId = u64;

/// Name and addresses of a member, as the group knows them. Addresses are `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The name people use; unique in the cluster.
    pub name: String,
    /// The address of its services.
    pub http: String,
    /// The address of its REST API.
    pub admin: String,
    /// The address for other members.
    pub peer: String,
}

/// Part of a member in quorums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Counts for quorums.
    Voter,
    /// Only follows.
    Learner,
}

/// State of one member as this one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The id of the member.
    pub id: MemberId,
    /// The name and addresses of the member.
    pub member: Member,
    /// The part of the member in quorums.
    pub role: Role,
    /// Entries behind the leader's log; only the leader knows this of others.
    pub lag: Option<u64>,
    /// `true` if the leader has heard from the member within `failover`; only the leader knows.
    pub reachable: Option<bool>,
}

/// The members, ordered by id.
pub type MemberList = Vec<MemberStatus>;
