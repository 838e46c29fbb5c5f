//! The members that could take a connector over now.
//!
//! They are shown so that a standby that can't connect is noticed before it is needed.

use std::collections::BTreeMap;

use quorate_supervisor::connector_status::{ConnectorState, ConnectorStatus};
use quorate_types::{MemberId, Role};
use serde::{Deserialize, Serialize};

use super::member_report::{MemberReply, MemberReport, MemberReportError};

/// The state of a connector on a member that doesn't run it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandbyState {
    /// The process is connected and consumes nothing.
    Standby,
    /// There is no process until one is needed.
    Cold,
    /// The process is being started or is connecting.
    Starting,
    /// The process can't connect.
    Failed,
    /// The member does not answer.
    Unreachable,
}

impl StandbyState {
    /// Returns true if the member could take over now. A cold one could, and takes longer.
    pub fn is_ready(self) -> bool {
        matches!(self, StandbyState::Standby | StandbyState::Cold)
    }
}

/// A voter that could become the connector server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandbyRow {
    /// The voter's name.
    pub member: String,
    /// The connector's state there.
    pub state: StandbyState,
    /// The reason why the voter can't take over, or its last error.
    pub last_error: Option<String>,
}

/// A row of `GET /v1/connectors`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorRow {
    /// The status that the connector server reports.
    #[serde(flatten)]
    pub status: ConnectorStatus,
    /// The other voters; none of a connector that is paused.
    #[serde(default)]
    pub standbys: Vec<StandbyRow>,
    /// The number of voters that could take the connector over now.
    #[serde(default)]
    pub ready_standbys: usize,
}

impl ConnectorRow {
    /// Makes a row. `asked` are the reports of all members, `holder` is the connector server.
    pub fn new(status: ConnectorStatus, holder: MemberId, asked: &[MemberReply]) -> ConnectorRow {
        let paused = status.state == ConnectorState::Paused;
        let others = asked
            .iter()
            .filter(|(member, _)| !paused && member.id != holder && member.role == Role::Voter);
        let standbys: Vec<_> = others
            .map(|(member, own)| standby(member.member.name.clone(), &status, own))
            .collect();
        ConnectorRow {
            ready_standbys: standbys.iter().filter(|it| it.state.is_ready()).count(),
            status,
            standbys,
        }
    }
}

/// The number of names in one sentence.
const NAMED: usize = 5;

/// Warns of standbys that could not take over: one sentence for each member and reason, however
/// many connectors it is about.
pub fn standby_warnings(rows: &[ConnectorRow]) -> Vec<String> {
    let mut groups: BTreeMap<(&str, &str, &str), Vec<String>> = BTreeMap::new();
    for ConnectorRow {
        status, standbys, ..
    } in rows
    {
        for it in standbys.iter().filter(|it| !it.state.is_ready()) {
            let what = match it.state {
                StandbyState::Starting => "still starting",
                StandbyState::Unreachable => "no answer",
                _ => "failed",
            };
            let why = it.last_error.as_deref().unwrap_or_default();
            let names = groups.entry((&it.member, what, why)).or_default();
            names.push(format!("{}/{}", status.kind, status.name));
        }
    }
    let sentence = |((member, what, why), mut names): ((&str, &str, &str), Vec<String>)| {
        let more = names.len().saturating_sub(NAMED);
        names.truncate(NAMED);
        let more = (more > 0).then(|| format!(" and {more} more"));
        let colon = if why.is_empty() { "" } else { ": " };
        format!(
            "{member} could not take over {}{} now: {what}{colon}{why}",
            names.join(", "),
            more.unwrap_or_default()
        )
    };
    groups.into_iter().map(sentence).collect()
}

fn standby(
    member: String,
    of: &ConnectorStatus,
    own: &Result<MemberReport, MemberReportError>,
) -> StandbyRow {
    let own = match own {
        Ok(own) => own,
        Err(why) => {
            return StandbyRow {
                member,
                state: StandbyState::Unreachable,
                last_error: Some(why.to_string()),
            };
        }
    };
    // A member reports them ordered by kind and name.
    let by_name = |it: &ConnectorStatus| (&it.kind, &it.name).cmp(&(&of.kind, &of.name));
    let found = own.connectors.binary_search_by(by_name);
    let found = found.ok().map(|n| &own.connectors[n]);
    let state = match found.map(|it| it.state) {
        None | Some(ConnectorState::Paused) => StandbyState::Cold,
        // Active there already, or still: it is connected.
        Some(ConnectorState::Standby | ConnectorState::Active) => StandbyState::Standby,
        Some(ConnectorState::Starting) => StandbyState::Starting,
        Some(ConnectorState::Failed) => StandbyState::Failed,
    };
    StandbyRow {
        member,
        state,
        last_error: found.and_then(|it| it.last_error.clone()),
    }
}

#[cfg(test)]
mod tests {
    use quorate_types::{Member, MemberStatus};

    use super::*;
    use crate::admin::member_report::{LapsesRow, StrainRow};

    fn status(state: ConnectorState, last_error: Option<&str>) -> ConnectorStatus {
        ConnectorStatus {
            state,
            last_error: last_error.map(str::to_owned),
            ..ConnectorStatus::starting("amqp_channel", "orders", "a")
        }
    }

    fn asked(
        id: MemberId,
        role: Role,
        own: Result<Vec<ConnectorStatus>, MemberReportError>,
    ) -> MemberReply {
        let member = MemberStatus {
            id,
            member: Member {
                name: format!("member-{id}"),
                ..Member::default()
            },
            role,
            lag: None,
            reachable: None,
        };
        let own = own.map(|connectors| MemberReport {
            cluster: String::new(),
            id,
            peer: String::new(),
            connectors,
            strain: StrainRow::default(),
            lapses: LapsesRow::default(),
            insecure: Vec::new(),
            host_warnings: Vec::new(),
            seals: true,
            sealed: None,
            certificates: Vec::new(),
        });
        (member, own)
    }

    #[test]
    fn every_other_voter_is_listed_with_reason() {
        let active = status(ConnectorState::Active, None);
        let all = [
            asked(1, Role::Voter, Ok(vec![active.clone()])),
            asked(
                2,
                Role::Voter,
                Ok(vec![status(ConnectorState::Standby, None)]),
            ),
            asked(
                3,
                Role::Voter,
                Ok(vec![status(ConnectorState::Failed, Some("refused"))]),
            ),
            asked(4, Role::Voter, Ok(vec![])),
            asked(5, Role::Voter, Err(MemberReportError::Silent)),
            asked(6, Role::Learner, Ok(vec![])),
            asked(
                7,
                Role::Voter,
                Ok(vec![status(ConnectorState::Starting, None)]),
            ),
        ];
        let row = ConnectorRow::new(active, 1, &all);
        let states: Vec<_> = row.standbys.iter().map(|it| it.state).collect();
        use StandbyState::{Cold, Failed, Standby, Starting, Unreachable};
        assert_eq!(states, [Standby, Failed, Cold, Unreachable, Starting]);
        assert_eq!(row.ready_standbys, 2);
        let told = standby_warnings(&vec![row; 8]);
        assert_eq!(told.len(), 3, "{told:?}");
        let orders = ["amqp_channel/orders"; NAMED].join(", ");
        assert_eq!(
            told[0],
            format!("member-3 could not take over {orders} and 3 more now: failed: refused")
        );
        assert!(told[1].starts_with("member-5") && told[1].ends_with("no answer: it is not heard"));
        assert!(told[2].starts_with("member-7") && told[2].ends_with("still starting"));
    }

    #[test]
    fn a_paused_one_needs_nobody() {
        let row = ConnectorRow::new(
            status(ConnectorState::Paused, None),
            1,
            &[asked(2, Role::Voter, Err(MemberReportError::Silent))],
        );
        assert_eq!((row.standbys.len(), row.ready_standbys), (0, 0));
        assert!(standby_warnings(&[row]).is_empty());
    }

    #[test]
    fn the_rows_keep_the_fields_of_the_contract() {
        let row = ConnectorRow::new(status(ConnectorState::Active, None), 1, &[]);
        let json = serde_json::to_value(&row).unwrap();
        for field in [
            "kind",
            "name",
            "state",
            "member",
            "epoch",
            "pid",
            "handled",
            "failed",
            "last_message_at",
            "last_error",
            "standbys",
            "ready_standbys",
        ] {
            assert!(json.get(field).is_some(), "{field} is not in {json}");
        }
        assert_eq!(serde_json::from_value::<ConnectorRow>(json).unwrap(), row);
    }
}
