//! The JSON answers of the cluster calls, as the API writes and the command line reads them.

use std::collections::BTreeMap;

use quorate_raft::MemberIdentity;
use quorate_types::{Member, MemberId, Role};
use serde::{Deserialize, Serialize};

use super::{
    certificates::CertificateRow,
    member_report::{LapsesRow, StrainRow},
    standbys::ConnectorRow,
    takeovers::TakeoverRow,
};

/// A member by id, name and addresses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRef {
    /// The member's id.
    pub id: MemberId,
    /// The member's name.
    pub name: String,
    /// The address of the services.
    pub http: String,
    /// The address of the REST API.
    pub admin: String,
    /// The address for other members.
    pub peer: String,
}

impl MemberRef {
    /// Takes the fields from the group's record of a member.
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

/// The member that runs the connectors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorServer {
    /// The member's id.
    pub id: MemberId,
    /// The member's name.
    pub name: String,
    /// The epoch of the reign.
    pub epoch: u64,
}

/// `GET /v1/cluster/leader`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaderAnswer {
    /// The leader.
    pub leader: MemberRef,
    /// The leader's term.
    pub term: u64,
    /// The member that runs the connectors; `null` between two reigns.
    pub connector_server: Option<ConnectorServer>,
    /// The number of voters that may be lost with the cluster still working, when all are up.
    pub failure_tolerance: usize,
}

/// The reachability of a member, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberState {
    /// The leader hears the member.
    Alive,
    /// The leader has not heard the member for longer than the failover promise.
    Unreachable,
    /// There is no leader to say.
    Unknown,
}

impl MemberState {
    /// Returns the word used in JSON and in tables.
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
    /// The member's id.
    pub id: MemberId,
    /// The member's name.
    pub name: String,
    /// The role; voters count for quorums.
    pub role: Role,
    /// The reachability.
    pub state: MemberState,
    /// The address of the services.
    pub http: String,
    /// The address of the REST API.
    pub admin: String,
    /// The address for other members.
    pub peer: String,
    /// Log entries behind the leader; `null` where that is not known.
    pub lag: Option<u64>,
}

/// `GET /v1/cluster/members`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MembersAnswer {
    /// The members, ordered by id.
    pub members: Vec<MemberRow>,
    /// The longest time for which a member may send nothing on a request to a service, in
    /// milliseconds.
    #[serde(default)]
    pub longest_wait_ms: u64,
}

/// `GET /v1/connectors`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorsAnswer {
    /// The connectors, ordered by kind and name.
    pub connectors: Vec<ConnectorRow>,
}

/// The program of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProgram {
    /// The program's version.
    pub version: String,
    /// The services that it carries in code.
    pub services: Vec<String>,
}

/// The cluster's own settings, which are not the members': `GET /v1/cluster/settings`, and the
/// answer to `PUT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// The failover promise, or the one that holds once the change is settled.
    pub failover_ms: u64,
    /// The promise before, while a change is under way.
    pub former_failover_ms: Option<u64>,
    /// The log index at which the promise was set.
    pub revision: u64,
    /// True once every member goes by it.
    pub settled: bool,
    /// The names of the members that have not applied it yet.
    pub missing: Vec<String>,
    /// Members whose own settings name another `failover_ms`, which counts for nothing.
    pub differing: BTreeMap<String, u64>,
}

/// `POST /v1/cluster/join`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The newcomer's identity from now on.
    #[serde(flatten)]
    pub admission: MemberIdentity,
    /// The promise that the newcomer goes by until it has applied the cluster's own.
    pub failover: JoinFailover,
}

/// The failover promise in force at an admission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinFailover {
    /// The log index at which the promise was set.
    pub revision: u64,
    /// The promise by which leases are granted, in milliseconds.
    pub lease_ms: u64,
    /// The promise by which a silent leader is waited for, in milliseconds.
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
    /// The cluster's settings in full; `null` before the first member has made its promise.
    #[serde(default)]
    pub settings: Option<ClusterSettings>,
    /// The last log index that the answering member has applied.
    pub applied: u64,
    /// The log index of the last change of the configuration or of a key.
    pub revision: u64,
    /// The leader; `null` when there is none, as far as that member knows.
    pub leader: Option<MemberRef>,
    /// The term.
    pub term: u64,
    /// The member that runs the connectors.
    pub connector_server: Option<ConnectorServer>,
    /// The members.
    pub members: Vec<MemberRow>,
    /// The members' programs, by member name; only of members that have announced theirs.
    pub programs: BTreeMap<String, MemberProgram>,
    /// Services that only some members' programs carry: service -> names of the members that lack
    /// it.
    pub services_missing: BTreeMap<String, Vec<String>>,
    /// The number of voters that may be lost with the cluster still working, when all are up.
    pub failure_tolerance: usize,
    /// The number of voters that may still be lost now; `null` when there is no leader.
    pub failures_left: Option<usize>,
    /// Connectors by state; `null` when the connector server does not answer.
    pub connectors: Option<BTreeMap<String, usize>>,
    /// The beginning of the connector server's reign, or of the last reign that was recorded.
    #[serde(default)]
    pub last_takeover: Option<TakeoverRow>,
    /// Timing pressure by member name, of members that answer: too slow for their promise or not.
    #[serde(default)]
    pub strain: BTreeMap<String, StrainRow>,
    /// Lapses by member name, of members that answer: leases of their connectors that ran out.
    #[serde(default)]
    pub lapses: BTreeMap<String, LapsesRow>,
    /// Moved members by name, of those that answer: the address that a member gives for itself,
    /// where the members know another one.
    #[serde(default)]
    pub moved: BTreeMap<String, String>,
    /// Listeners beyond loopback without TLS, by member name, of members that answer.
    #[serde(default)]
    pub insecure: BTreeMap<String, Vec<String>>,
    /// Sentences on what a member's host can't do for it, by member name, of members that answer.
    #[serde(default)]
    pub host_warnings: BTreeMap<String, Vec<String>>,
    /// Reasons why members can't open the cluster's secrets, by member name, of those that answer
    /// and can't.
    #[serde(default)]
    pub sealed: BTreeMap<String, String>,
    /// Certificates by member name, of members that answer and have TLS.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub certificates: BTreeMap<String, Vec<CertificateRow>>,
    /// Sentences on what an operator should look at.
    pub warnings: Vec<String>,
}

/// Returns how many of `voters` may be lost with a quorum left.
pub fn failure_tolerance(voters: usize) -> usize {
    voters.saturating_sub(quorum(voters))
}

/// Returns the smallest majority of `voters`.
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tolerance_is_voters_beyond_a_majority() {
        let shown: Vec<_> = (0..=7).map(failure_tolerance).collect();
        assert_eq!(shown, [0, 0, 0, 1, 1, 2, 2, 3]);
    }
}
