//! `quorate members`

use quorate_types::Role;

use super::{
    client::{ClientArgs, get_and_print},
    error::CliError,
    output,
};
use crate::admin::cluster_answers::{MemberRow, MembersAnswer};

/// Lists the members.
pub(super) async fn run(args: ClientArgs) -> Result<(), CliError> {
    let print = |answer: &MembersAnswer| table(&answer.members);
    get_and_print(&args, "/v1/cluster/members", print)
        .await
        .map(drop)
}

/// Prints members as a table.
pub(super) fn table(members: &[MemberRow]) -> Result<(), CliError> {
    let rows = members.iter().map(|member| {
        let role = match member.role {
            Role::Voter => "voter",
            Role::Learner => "learner",
        };
        vec![
            member.name.clone(),
            member.id.to_string(),
            role.to_owned(),
            member.state.as_str().to_owned(),
            member.lag.map(|lag| lag.to_string()).unwrap_or_default(),
            member.http.clone(),
            member.admin.clone(),
            member.peer.clone(),
        ]
    });
    output::table(
        &[
            "name", "id", "role", "state", "lag", "http", "admin", "peer",
        ],
        rows,
    )
}
