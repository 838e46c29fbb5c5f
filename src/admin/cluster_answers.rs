//! The JSON answers of the cluster calls, as the admin face writes them and the command
//! line reads them.

use std::collections::BTreeMap;

use quorate_raft::MemberIdentity;
use quorate_types::{Member, MemberId, Role};
use serde::{Deserialize, Serialize};

use super::{
    member_report::{LapsesRow, StrainRow},
    standbys::ConnectorRow,
    takeovers::TakeoverRow,
};

/// A member by id, name and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRef {
    /// Its id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Where its services listen.
    pub http: String,
    /// Where its REST face listens.
    pub admin: String,
    /// Where other members reach it.
    pub peer: String,
}

impl MemberRef {
    /// From what the group knows of it.
    pub fn new(id: MemberId, member: &Member) -> MemberRef {
        let Member {
            name,
            http,
            admin,
            peer,
        } = member.clone();
        MemberRef {
            id,
            name,
            http,
            admin,
            peer,
        }
    }
}

/// Who runs the connectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorServer {
    /// The member's id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// The epoch of its reign.
    pub epoch: u64,
}

/// `GET /v1/cluster/leader`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderAnswer {
    /// Who leads.
    pub leader: MemberRef,
    /// In which term.
    pub term: u64,
    /// Who runs the connectors; `null` between two reigns.
    pub connector_server: Option<ConnectorServer>,
    /// How many voters may be lost with the cluster still working, when all are up.
    pub failure_tolerance: usize,
}

/// Whether a member is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// The leader hears it.
    Alive,
    /// The leader has not heard it for longer than the failover promise.
    Unreachable,
    /// There is no leader to say.
    Unknown,
}

impl MemberState {
    /// The word used in JSON and in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberState::Alive => "alive",
            MemberState::Unreachable => "unreachable",
            MemberState::Unknown => "unknown",
        }
    }
}

/// A row of `GET /v1/cluster/members`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRow {
    /// Its id.
    pub id: MemberId,
    /// Its name.
    pub name: String,
    /// Whether it counts for quorums.
    pub role: Role,
    /// Whether it is heard.
    pub state: MemberState,
    /// Where its services listen.
    pub http: String,
    /// Where its REST face listens.
    pub admin: String,
    /// Where other members reach it.
    pub peer: String,
    /// Log entries behind the leader; `null` where nobody knows.
    pub lag: Option<u64>,
}

/// `GET /v1/cluster/members`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersAnswer {
    /// Ordered by id.
    pub members: Vec<MemberRow>,
    /// How long a member may be without a word on a request to a service, in milliseconds.
    #[serde(default)]
    pub longest_wait_ms: u64,
}

/// `GET /v1/connectors`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorsAnswer {
    /// Ordered by kind and name.
    pub connectors: Vec<ConnectorRow>,
}

/// What a member's program carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProgram {
    /// Its version.
    pub version: String,
    /// The services that it carries in code.
    pub services: Vec<String>,
}

/// The cluster's own settings, which are not the members': `GET /v1/cluster/settings`, and the
/// answer to `PUT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// What the cluster promises, or will once the change is settled.
    pub failover_ms: u64,
    /// What it promised before, while a change is under way.
    pub former_failover_ms: Option<u64>,
    /// The log index at which it was set.
    pub revision: u64,
    /// Whether every member goes by it.
    pub settled: bool,
    /// The names of the members that have not applied it yet.
    pub missing: Vec<String>,
    /// Members whose own settings name another `failover_ms`, which counts for nothing.
    pub differing: BTreeMap<String, u64>,
}

/// `POST /v1/cluster/join`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// Who the newcomer is from now on.
    #[serde(flatten)]
    pub admission: MemberIdentity,
    /// What it goes by until it has applied the promise itself.
    pub failover: JoinFailover,
}

/// The failover promise in force at an admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinFailover {
    /// The log index at which it was set.
    pub revision: u64,
    /// By what leases are granted.
    pub lease_ms: u64,
    /// By what a silent leader is waited for.
    pub patience_ms: u64,
}

/// `GET /v1/cluster/status`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusAnswer {
    /// The cluster's id.
    pub cluster: String,
    /// The name of the member that answers.
    pub answered_by: String,
    /// The cluster's failover promise.
    pub failover_ms: u64,
    /// The same in full; `null` before the first member has made it.
    #[serde(default)]
    pub settings: Option<ClusterSettings>,
    /// The last log index that it has applied.
    pub applied: u64,
    /// The log index of the last change of the configuration or of a key.
    pub revision: u64,
    /// Who leads; `null` when nobody does, as far as that member knows.
    pub leader: Option<MemberRef>,
    /// The term.
    pub term: u64,
    /// Who runs the connectors.
    pub connector_server: Option<ConnectorServer>,
    /// The members.
    pub members: Vec<MemberRow>,
    /// What each member's program carries, by member name; only of those that have said so.
    pub programs: BTreeMap<String, MemberProgram>,
    /// Services that some members' programs carry and others' don't: service -> names of
    /// the members that lack it.
    pub services_missing: BTreeMap<String, Vec<String>>,
    /// How many voters may be lost with the cluster still working, when all are up.
    pub failure_tolerance: usize,
    /// How many more may be lost now; `null` when there is no leader to say.
    pub failures_left: Option<usize>,
    /// Connectors by state; `null` when the connector server does not answer.
    pub connectors: Option<BTreeMap<String, usize>>,
    /// How the connector server's reign began, or the last one that was written of.
    #[serde(default)]
    pub last_takeover: Option<TakeoverRow>,
    /// By member name, of those that answer: whether they are too slow for their promise.
    #[serde(default)]
    pub strain: BTreeMap<String, StrainRow>,
    /// By member name, of those that answer: how often the lease of its connectors lapsed.
    #[serde(default)]
    pub lapses: BTreeMap<String, LapsesRow>,
    /// By member name, of those that answer: where one is reached by its own word, where the
    /// members know it by another address.
    #[serde(default)]
    pub moved: BTreeMap<String, String>,
    /// By member name, of those that answer: what may listen beyond loopback without TLS.
    #[serde(default)]
    pub insecure: BTreeMap<String, Vec<String>>,
    /// What someone should look at.
    pub warnings: Vec<String>,
}

/// How many voters of `voters` may be lost with a quorum left.
pub fn failure_tolerance(voters: usize) -> usize {
    voters.saturating_sub(quorum(voters))
}

/// The smallest majority of `voters`.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_is_what_a_majority_can_spare() {
        let shown: Vec<_> = (0..=7).map(failure_tolerance).collect();
        assert_eq!(shown, [0, 0, 0, 1, 1, 2, 2, 3]);
    }
}
